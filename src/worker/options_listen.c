/*-------------------------------------------------------------------------
 *
 * options_listen.c
 *	  The command line of eventbridge-worker listen.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres_fe.h"

#include "log.h"
#include "options.h"
#include "worker.h"

static void
print_help(void)
{
	printf("%s listen brings PostgreSQL's notifications to standard output,\n"
		   "commands and webhooks.\n\n", EB_PROGNAME);
	printf("Usage:\n"
		   "  %s listen [OPTION]... --channel=NAME... [DBNAME [USERNAME]]\n\n",
		   EB_PROGNAME);
	printf("Each message that is notified on a channel becomes one line of JSON:\n"
		   "  {\"channel\":\"...\",\"pid\":...,\"payload\":...,\"received\":\"...\"}\n"
		   "A payload that is JSON stands there as JSON, any other as a string.\n\n");
	printf("What to listen to:\n");
	printf("      --channel=NAME       listen on this channel; may be given several times\n"
		   "                           (NAME is taken as it is: upper case stays)\n");
	printf("      --count=N            stop after N messages\n");
	printf("      --timeout=SECONDS    stop after this time\n");
	eb_options_print_sinks();
	printf("\nFailures:\n");
	printf("      --retries=N          attempts after the first one (default: 8)\n");
	printf("      --retry-delay=SECONDS\n"
		   "                           wait before the first of them, doubled for each\n"
		   "                           further one, less a random part (default: 1)\n");
	printf("      --retry-max-delay=SECONDS\n"
		   "                           longest such wait (default: 60)\n");
	eb_options_print_attempts();
	printf("      --stop-on-failure    stop when a message had to be given up\n");
	eb_options_print_common();
	printf("\nA command that ends with status 0 has taken the message; 126 and 127 are not\n"
		   "tried again, any other is.  A webhook that answers 2xx has taken it; 408, 429,\n"
		   "5xx and no answer are tried again, not before the time that Retry-After asks\n"
		   "for; any other answer is not.\n");
	printf("\nSIGTERM and SIGINT stop the program after it has delivered what it holds; a\n"
		   "second one stops it at once.\n");
	printf("\nExit status:\n"
		   "  0  stopped by a signal, --count or --timeout, and everything was delivered\n"
		   "  1  wrong option, or no resources left\n"
		   "  2  no connection could be made at start\n"
		   "  3  a message had to be given up\n"
		   "  4  --timeout came before --count was reached\n"
		   "  5  stopped at once by a second signal\n");
}

static void
add_channel(void *target, char *name)
{
	EbListenOptions *options = target;

	if (*name == '\0')
	{
		eb_log_error("channel name must not be empty");
		eb_options_usage_error();
	}
	if (strlen(name) >= NAMEDATALEN)
	{
		eb_log_error("channel name \"%s\" is too long", name);
		eb_log_error_detail("It must be shorter than %d bytes.", NAMEDATALEN);
		eb_options_usage_error();
	}
	if (!simple_string_list_member(&options->channels, name))
		simple_string_list_append(&options->channels, name);
}

static const EbOption listen_options[] = {
	{"channel", EB_OPTION_OTHER,.take = add_channel},
	{"retries", EB_OPTION_COUNT, offsetof(EbListenOptions, sinks.policy.max_retries), 0, 1000},
	{"stop-on-failure", EB_OPTION_FLAG, offsetof(EbListenOptions, stop_on_failure)},
	{NULL}
};

/* Reads the options of "listen"; see eb_options_read(). */
void
eb_options_parse_listen(EbListenOptions *options, int argc, char **argv)
{
	const EbOptionTable tables[] = {
		{listen_options, options},
		{eb_sink_options, &options->sinks}
	};

	memset(options, 0, sizeof(*options));
	eb_options_init_sinks(&options->sinks);
	options->sinks.policy.max_retries = 8;
	eb_options_read(tables, lengthof(tables), &options->connection, print_help,
					argc, argv);
	if (options->channels.head == NULL)
	{
		eb_log_error("no channel given");
		eb_options_usage_error();
	}
	eb_options_finish_sinks(&options->sinks);
}
