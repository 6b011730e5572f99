/*-------------------------------------------------------------------------
 *
 * options_run.c
 *	  The command line of eventbridge-worker run.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres_fe.h"

#include "log.h"
#include "options.h"
#include "secret.h"
#include "worker.h"

static void
print_help(void)
{
	printf("%s run delivers events to API destinations and tasks, the targets of\n"
		   "rules that are outside of the database, and if it is told to, to all others.\n\n",
		   EB_PROGNAME);
	printf("Usage:\n  %s run [OPTION]... [DBNAME [USERNAME]]\n\n", EB_PROGNAME);
	printf("      --allow-command=NAME=COMMAND\n"
		   "                           for the task NAME run COMMAND by the shell, input on\n"
		   "                           its standard input; may be given several times\n");
	printf("      --allow-secret=REFERENCE[@HOST]\n"
		   "                           use the secret that an API destination refers to as\n"
		   "                           env:NAME (an environment variable) or file:NAME (the\n"
		   "                           first line of a file), for requests to HOST only if\n"
		   "                           there is one; may be given several times\n");
	printf("      --in-database        deliver to the targets in the database, too: functions\n"
		   "                           and procedures that run as the role of the connection,\n"
		   "                           its pipes, and queues, topics, buses and log groups\n");
	printf("      --once               deliver what is due and end\n");
	printf("      --jobs=N             deliveries under way at once to one API destination\n"
		   "                           or task (default: 10)\n");
	printf("      --max-deliveries=N   deliveries in hand at once (default: 500)\n");
	printf("      --share=N            this is one of N workers: keep to an Nth of what the rate\n"
		   "                           limit of an API destination allows (default: 1)\n");
	printf("      --webhook-timeout=SECONDS\n"
		   "                           time for a request (default: 5)\n");
	printf("      --command-timeout=SECONDS\n"
		   "                           time for a command, 0 for no limit (default: 60)\n");
	printf("      --stop-timeout=SECONDS\n"
		   "                           when stopping, time for what is under way\n"
		   "                           (default: 60)\n");
	eb_options_print_common();
	printf("\nA request that is answered by 2xx has been delivered. 401, 407, 409, 429, 5xx\n"
		   "and no answer are tried again, not before the time that Retry-After asks for;\n"
		   "after any other answer the event goes to the target's dead-letter queue. A\n"
		   "command that ends with status 0 has taken the event; 126 and 127 are not tried\n"
		   "again, any other is.\n");
	printf("\nSIGTERM and SIGINT stop the program after what is under way has ended; what\n"
		   "waits is given back. After --stop-timeout, what is under way in the database is\n"
		   "cancelled. A second signal stops it at once: what was under way is delivered\n"
		   "again.\n");
	printf("\nExit status:\n"
		   "  0  stopped by a signal, or nothing was left to do\n"
		   "  1  wrong option, or no resources left\n"
		   "  2  no connection could be made at start, or the database is not set up\n"
		   "  3  what was under way did not end in time\n"
		   "  5  stopped at once by a second signal\n");
}

static void
allow_command(void *target, char *text)
{
	EbRunOptions *options = target;
	const char *sign = strchr(text, '=');

	if (sign == NULL || sign == text || sign[1] == '\0')
	{
		eb_log_error("invalid value \"%s\" for option --allow-command", text);
		eb_log_error_detail("It must be NAME=COMMAND.");
		eb_options_usage_error();
	}
	simple_string_list_append(&options->commands, text);
}

static void
allow_secret(void *target, char *text)
{
	const char *reason;

	if (!eb_secret_allow(text, &reason))
	{
		eb_log_error("invalid value \"%s\" for option --allow-secret: %s", text,
					 reason);
		eb_options_usage_error();
	}
}

static const EbOption run_options[] = {
	{"allow-command", EB_OPTION_OTHER,.take = allow_command},
	{"allow-secret", EB_OPTION_OTHER,.take = allow_secret},
	{"command-timeout", EB_OPTION_SECONDS, offsetof(EbRunOptions, command_timeout_ms), 0},
	{"in-database", EB_OPTION_FLAG, offsetof(EbRunOptions, in_database)},
	{"jobs", EB_OPTION_COUNT, offsetof(EbRunOptions, jobs), 1, 1000},
	{"max-deliveries", EB_OPTION_COUNT, offsetof(EbRunOptions, max_deliveries), 1, 10000},
	{"once", EB_OPTION_FLAG, offsetof(EbRunOptions, once)},
	{"share", EB_OPTION_COUNT, offsetof(EbRunOptions, share), 1, 1000},
	{"stop-timeout", EB_OPTION_SECONDS, offsetof(EbRunOptions, stop_timeout_ms), 0},
	{"webhook-timeout", EB_OPTION_SECONDS, offsetof(EbRunOptions, webhook_timeout_ms), 1},
	{NULL}
};

/* Reads the options of "run"; see eb_options_read(). */
void
eb_options_parse_run(EbRunOptions *options, int argc, char **argv)
{
	const EbOptionTable tables[] = {{run_options, options}};

	memset(options, 0, sizeof(*options));
	options->max_deliveries = 500;
	options->jobs = 10;
	options->share = 1;
	options->webhook_timeout_ms = 5000;
	options->command_timeout_ms = 60000;
	options->stop_timeout_ms = 60000;
	eb_options_read(tables, lengthof(tables), &options->connection, print_help,
					argc, argv);
}
