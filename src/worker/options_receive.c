/*-------------------------------------------------------------------------
 *
 * options_receive.c
 *	  The command line of eventbridge-worker receive.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres_fe.h"

#include "log.h"
#include "options.h"
#include "worker.h"

#define MAX_VISIBILITY_TIMEOUT	43200	/* the server's, which is SQS's */

static void
print_help(void)
{
	printf("%s receive brings the messages of a queue to standard output,\n"
		   "commands and webhooks.\n\n", EB_PROGNAME);
	printf("Usage:\n"
		   "  %s receive [OPTION]... --queue=NAME [DBNAME [USERNAME]]\n\n",
		   EB_PROGNAME);
	printf("Each message becomes one line of JSON:\n"
		   "  {\"queue\":\"...\",\"messageId\":\"...\",\"body\":...,\"attributes\":{...}}\n"
		   "with \"messageAttributes\" if it has some. A body that is JSON stands there as\n"
		   "JSON, any other as a string; it is the payload. A message that has been taken\n"
		   "is deleted from the queue; any other comes again, also if the program dies.\n\n");
	printf("What to receive:\n");
	printf("      --queue=NAME         the queue, by its name or ARN\n");
	printf("      --once               stop when there is nothing to receive\n");
	printf("      --count=N            stop after N messages\n");
	printf("      --timeout=SECONDS    stop after this time\n");
	printf("      --poll-interval=SECONDS\n"
		   "                           look into an empty queue so often (default: 1)\n");
	printf("      --visibility-timeout=SECONDS\n"
		   "                           nobody else receives a message for this time (default:\n"
		   "                           that of an attempt and 30 more)\n");
	eb_options_print_sinks();
	printf("\nFailures:\n");
	printf("      --retry-delay=SECONDS\n"
		   "                           a message that was not taken comes again after this\n"
		   "                           time, doubled for each further failure, less a random\n"
		   "                           part (default: 1)\n");
	printf("      --retry-max-delay=SECONDS\n"
		   "                           longest such wait (default: 60)\n");
	eb_options_print_attempts();
	eb_options_print_common();
	printf("\nA command that ends with status 0 has taken the message, and so has a webhook\n"
		   "that answers 2xx. Otherwise the message stays in the queue: it comes again, not\n"
		   "before the time that Retry-After asks for, until it is older than the queue\n"
		   "keeps messages.\n");
	printf("\nSIGTERM and SIGINT stop the program after it is through with what it has\n"
		   "received; a second one stops it at once.\n");
	printf("\nExit status:\n"
		   "  0  stopped by a signal, or as --once, --count or --timeout asked\n"
		   "  1  wrong option, or no resources left\n"
		   "  2  no connection could be made at start, or the queue cannot be read\n"
		   "  3  with --once or --count, a message was not taken; standard output was\n"
		   "     closed; or what was under way did not end in time\n"
		   "  4  --timeout came before --count was reached\n"
		   "  5  stopped at once by a second signal\n");
}

static void
set_queue(void *target, char *name)
{
	EbReceiveOptions *options = target;

	if (options->queue)
	{
		eb_log_error("only one queue can be given");
		eb_options_usage_error();
	}
	options->queue = pg_strdup(name);
}

static const EbOption receive_options[] = {
	{"queue", EB_OPTION_OTHER,.take = set_queue},
	{"once", EB_OPTION_FLAG, offsetof(EbReceiveOptions, once)},
	{"poll-interval", EB_OPTION_SECONDS, offsetof(EbReceiveOptions, poll_ms), 1},
	{"visibility-timeout", EB_OPTION_COUNT, offsetof(EbReceiveOptions, visibility_timeout), 1, MAX_VISIBILITY_TIMEOUT},
	{NULL}
};

/*
 * How long a message is ours, in seconds, if the user does not say: an attempt
 * with all sinks at once, and then some to report it.
 */
static int
default_visibility_timeout(const EbSinkOptions *sinks)
{
	int64		longest_ms = 0;

	if (sinks->command && sinks->exec_timeout_ms == 0)
		return MAX_VISIBILITY_TIMEOUT;
	if (sinks->command)
		longest_ms = sinks->exec_timeout_ms;
	if (sinks->webhook_url)
		longest_ms = Max(longest_ms, sinks->webhook_timeout_ms);
	return (int) Min(longest_ms / 1000 + 30, MAX_VISIBILITY_TIMEOUT);
}

/* Reads the options of "receive"; see eb_options_read(). */
void
eb_options_parse_receive(EbReceiveOptions *options, int argc, char **argv)
{
	const EbOptionTable tables[] = {
		{receive_options, options},
		{eb_sink_options, &options->sinks}
	};

	memset(options, 0, sizeof(*options));
	eb_options_init_sinks(&options->sinks);
	options->sinks.policy.max_retries = EB_RETRY_BY_OTHERS;
	options->poll_ms = 1000;
	eb_options_read(tables, lengthof(tables), &options->connection, print_help,
					argc, argv);
	if (options->queue == NULL)
	{
		eb_log_error("no queue given");
		eb_options_usage_error();
	}
	eb_options_finish_sinks(&options->sinks);
	if (options->visibility_timeout == 0)
		options->visibility_timeout = default_visibility_timeout(&options->sinks);
}
