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

enum
{
	OPT_COUNT = EB_OPT_SINK,
	OPT_TIMEOUT,
	OPT_PRINT,
	OPT_EXEC,
	OPT_WEBHOOK,
	OPT_WEBHOOK_ENV,
	OPT_WEBHOOK_FILE,
	OPT_PAYLOAD_ONLY,
	OPT_JOBS,
	OPT_RETRY_DELAY,
	OPT_RETRY_MAX_DELAY,
	OPT_EXEC_TIMEOUT,
	OPT_WEBHOOK_TIMEOUT,
	OPT_STOP_TIMEOUT
};

const struct option eb_sink_options[] = {
	{"count", required_argument, NULL, OPT_COUNT},
	{"timeout", required_argument, NULL, OPT_TIMEOUT},
	{"print", no_argument, NULL, OPT_PRINT},
	{"exec", required_argument, NULL, OPT_EXEC},
	{"webhook", required_argument, NULL, OPT_WEBHOOK},
	{"webhook-env", required_argument, NULL, OPT_WEBHOOK_ENV},
	{"webhook-file", required_argument, NULL, OPT_WEBHOOK_FILE},
	{"payload-only", no_argument, NULL, OPT_PAYLOAD_ONLY},
	{"jobs", required_argument, NULL, OPT_JOBS},
	{"retry-delay", required_argument, NULL, OPT_RETRY_DELAY},
	{"retry-max-delay", required_argument, NULL, OPT_RETRY_MAX_DELAY},
	{"exec-timeout", required_argument, NULL, OPT_EXEC_TIMEOUT},
	{"webhook-timeout", required_argument, NULL, OPT_WEBHOOK_TIMEOUT},
	{"stop-timeout", required_argument, NULL, OPT_STOP_TIMEOUT},
	{NULL, 0, NULL, 0}
};

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
set_webhook_from_env(EbSinkOptions *options, const char *name)
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
	set_webhook(options, url, "the environment");
}

/* The URL is the file's first line. */
static void
set_webhook_from_file(EbSinkOptions *options, const char *path)
{
	char	   *line = eb_text_first_line(path);

	if (line == NULL)
	{
		eb_log_error("could not read file \"%s\": %m", path);
		exit(EB_EXIT_USAGE);
	}
	set_webhook(options, line, "the file");
}

static void
set_command(EbSinkOptions *options, const char *command)
{
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

/* Takes one option of the table; target is an EbSinkOptions. */
bool
eb_options_take_sink(void *target, int opt, const char *name)
{
	EbSinkOptions *options = target;

	switch (opt)
	{
		case OPT_COUNT:
			options->count = eb_options_parse_count(name, optarg, 1, PG_INT32_MAX);
			break;
		case OPT_TIMEOUT:
			options->timeout_ms = eb_options_parse_seconds(name, optarg, 1);
			break;
		case OPT_PRINT:
			options->print = true;
			break;
		case OPT_EXEC:
			set_command(options, optarg);
			break;
		case OPT_WEBHOOK:
			set_webhook(options, pg_strdup(optarg), "the command line");
			memset(optarg, 'x', strlen(optarg));
			break;
		case OPT_WEBHOOK_ENV:
			set_webhook_from_env(options, optarg);
			break;
		case OPT_WEBHOOK_FILE:
			set_webhook_from_file(options, optarg);
			break;
		case OPT_PAYLOAD_ONLY:
			options->payload_only = true;
			break;
		case OPT_JOBS:
			options->jobs = eb_options_parse_count(name, optarg, 1, 1000);
			break;
		case OPT_RETRY_DELAY:
			options->policy.first_delay_ms = eb_options_parse_seconds(name, optarg, 1);
			break;
		case OPT_RETRY_MAX_DELAY:
			options->policy.max_delay_ms = eb_options_parse_seconds(name, optarg, 1);
			break;
		case OPT_EXEC_TIMEOUT:
			options->exec_timeout_ms = eb_options_parse_seconds(name, optarg, 0);
			break;
		case OPT_WEBHOOK_TIMEOUT:
			options->webhook_timeout_ms = eb_options_parse_seconds(name, optarg, 1);
			break;
		case OPT_STOP_TIMEOUT:
			options->stop_timeout_ms = eb_options_parse_seconds(name, optarg, 0);
			break;
		default:
			return false;
	}
	return true;
}

/* When all options have been read. */
void
eb_options_finish_sinks(EbSinkOptions *options)
{
	if (options->command == NULL && options->webhook_url == NULL)
		options->print = true;
	options->policy.max_delay_ms = Max(options->policy.max_delay_ms,
									   options->policy.first_delay_ms);
}
