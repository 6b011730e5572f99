/*-------------------------------------------------------------------------
 *
 * options_sink.c
 *	  The command line of eventbridge-worker: where messages go.
 *
 * A webhook's URL is a secret.  Given as --webhook it can be seen in the
 * list of processes until it is read here, where it is overwritten; given by
 * --webhook-env or --webhook-file it cannot be seen at all.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres_fe.h"

#include "http.h"
#include "log.h"
#include "options.h"
#include "text.h"
#include "worker.h"

/* Prints where messages may go. */
void
eb_options_print_sinks(void)
{
	printf("\nWhere messages go:\n");
	printf("      --print              print them; this is what is done if neither a\n"
		   "                           command nor a webhook is given\n");
	printf("      --exec=COMMAND       run COMMAND by the shell for each, message on its\n"
		   "                           standard input\n");
	printf("      --webhook=URL        post the payload to URL (a payload that is not JSON\n"
		   "                           as {\"text\":\"...\"})\n");
	printf("      --webhook-env=VAR    the same, the URL stands in an environment variable\n");
	printf("      --webhook-file=FILE  the same, the URL stands in a file\n");
	printf("      --payload-only       print, or give to the command, the bare payload\n");
	printf("      --jobs=N             messages in hand at once (default: 1, which keeps\n"
		   "                           their order)\n");
}

/* Prints how long attempts, and stopping, may take. */
void
eb_options_print_attempts(void)
{
	printf("      --exec-timeout=SECONDS\n"
		   "                           end a command after this time (default: 60; 0: never)\n");
	printf("      --webhook-timeout=SECONDS\n"
		   "                           end a request after this time (default: 30)\n");
	printf("      --stop-timeout=SECONDS\n"
		   "                           when stopping, give up after this time what is not\n"
		   "                           delivered (default: 60)\n");
}

/* Takes a webhook's URL; where it comes from is said in messages. */
static void
set_webhook(EbSinkOptions *options, char *url, const char *where)
{
	const char *reason;

	if (options->webhook_url)
	{
		eb_log_error("only one webhook can be given");
		eb_options_usage_error();
	}
	if (!eb_http_check_url(url, &reason))
	{
		/* the URL is not shown: it may be right but for one letter */
		eb_log_error("cannot use the webhook URL from %s: %s", where, reason);
		eb_options_usage_error();
	}
	options->webhook_url = url;
}

static void
set_webhook_from_argument(void *target, char *argument)
{
	set_webhook(target, pg_strdup(argument), "the command line");
	memset(argument, 'x', strlen(argument));
}

static void
set_webhook_from_env(void *target, char *name)
{
	const char *value = getenv(name);
	char	   *url;

	if (value == NULL || *value == '\0')
	{
		eb_log_error("environment variable \"%s\" is not set", name);
		eb_options_usage_error();
	}
	url = pg_strdup(value);

	/* The commands that we start have no need of it. */
	unsetenv(name);
	set_webhook(target, url, "the environment");
}

/* The URL is the file's first line. */
static void
set_webhook_from_file(void *target, char *path)
{
	char	   *line = eb_text_first_line(path);

	if (line == NULL)
	{
		eb_log_error("could not read file \"%s\": %m", path);
		exit(EB_EXIT_USAGE);
	}
	set_webhook(target, line, "the file");
}

static void
set_command(void *target, char *command)
{
	EbSinkOptions *options = target;

	if (options->command)
	{
		eb_log_error("only one command can be given");
		eb_options_usage_error();
	}
	options->command = pg_strdup(command);
}

/* What holds if nothing is said. */
void
eb_options_init_sinks(EbSinkOptions *options)
{
	options->jobs = 1;
	options->policy.first_delay_ms = 1000;
	options->policy.max_delay_ms = 60000;
	options->exec_timeout_ms = 60000;
	options->webhook_timeout_ms = 30000;
	options->stop_timeout_ms = 60000;
}

/* What "listen" and "receive" have in common; the target is an EbSinkOptions. */
#define FIELD(field) offsetof(EbSinkOptions, field)
const EbOption eb_sink_options[] = {
	{"count", EB_OPTION_COUNT, FIELD(count), 1, PG_INT32_MAX},
	{"timeout", EB_OPTION_SECONDS, FIELD(timeout_ms), 1},
	{"print", EB_OPTION_FLAG, FIELD(print)},
	{"exec", EB_OPTION_OTHER,.take = set_command},
	{"webhook", EB_OPTION_OTHER,.take = set_webhook_from_argument},
	{"webhook-env", EB_OPTION_OTHER,.take = set_webhook_from_env},
	{"webhook-file", EB_OPTION_OTHER,.take = set_webhook_from_file},
	{"payload-only", EB_OPTION_FLAG, FIELD(payload_only)},
	{"jobs", EB_OPTION_COUNT, FIELD(jobs), 1, 1000},
	{"retry-delay", EB_OPTION_SECONDS, FIELD(policy.first_delay_ms), 1},
	{"retry-max-delay", EB_OPTION_SECONDS, FIELD(policy.max_delay_ms), 1},
	{"exec-timeout", EB_OPTION_SECONDS, FIELD(exec_timeout_ms), 0},
	{"webhook-timeout", EB_OPTION_SECONDS, FIELD(webhook_timeout_ms), 1},
	{"stop-timeout", EB_OPTION_SECONDS, FIELD(stop_timeout_ms), 0},
	{NULL}
};
#undef FIELD

/* When all options have been read. */
void
eb_options_finish_sinks(EbSinkOptions *options)
{
	if (options->command == NULL && options->webhook_url == NULL)
		options->print = true;
	options->policy.max_delay_ms = Max(options->policy.max_delay_ms,
									   options->policy.first_delay_ms);
}
