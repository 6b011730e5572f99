/*-------------------------------------------------------------------------
 *
 * main.c
 *	  eventbridge-worker: what happens in the database, brought out of it.
 *
 * The program's parts, each knowing only those below it:
 *
 *	  main		 which command
 *	  listen	 the command "listen": notifications to sinks
 *	  options	 the command line
 *	  sink_*	 the kinds of sinks: print, command, webhook
 *	  sink		 queue and retries, common to all sinks
 *	  http, process, connection
 *				 requests, commands, the database
 *	  message, retry
 *				 forms of a message; when to try again
 *	  loop, log	 descriptors, timers and signals; messages to the user
 *
 *-------------------------------------------------------------------------
 */
#include "postgres_fe.h"

#include "listen.h"
#include "log.h"
#include "options.h"
#include "worker.h"

int
main(int argc, char **argv)
{
	static EbListenOptions options; /* the loop's handlers see it, too */
	const char *command = argc > 1 ? argv[1] : NULL;

	pg_logging_init(EB_PROGNAME);
	if (command && (strcmp(command, "--help") == 0 || strcmp(command, "-?") == 0))
	{
		eb_options_print_help();
		return EB_EXIT_OK;
	}
	if (command && (strcmp(command, "--version") == 0 || strcmp(command, "-V") == 0))
	{
		printf("%s %s\n", EB_PROGNAME, EVENTBRIDGE_VERSION);
		return EB_EXIT_OK;
	}
	if (command == NULL || strcmp(command, "listen") != 0)
	{
		if (command)
			pg_log_error("unknown command \"%s\"", command);
		else
			pg_log_error("no command given");
		pg_log_error_hint("Try \"%s --help\" for more information.", EB_PROGNAME);
		return EB_EXIT_USAGE;
	}

	/* getopt takes its first argument for the program's name. */
	argv[1] = argv[0];
	eb_options_parse_listen(&options, argc - 1, argv + 1);
	eb_log_timestamps();
	return eb_listen_run(&options);
}
