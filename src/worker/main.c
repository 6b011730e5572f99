/*-------------------------------------------------------------------------
 *
 * main.c
 *	  eventbridge-worker: what happens in the database, brought out of it.
 *
 * The program's parts, each knowing only those below it:
 *
 *	  main		 which command
 *	  run		 the command "run": the delivery log to targets
 *	  dispatch	 its deliveries in hand: lines, rates, outcomes
 *	  request, secret
 *				 what is sent to an API destination
 *	  listen	 the command "listen": notifications to sinks
 *	  receive	 the command "receive": a queue's messages to sinks
 *	  sinks		 those that the user asked for
 *	  sink_*	 the kinds of sinks: print, command, webhook
 *	  sink		 queue and retries, common to all sinks
 *	  options, options_*
 *				 the command line
 *	  session	 a connection with one statement at a time
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
#include "receive.h"
#include "run.h"
#include "worker.h"

int
main(int argc, char **argv)
{
	/* the loop's handlers see them, too */
	static EbListenOptions listen_options;
	static EbReceiveOptions receive_options;
	static EbRunOptions run_options;
	const char *command = argc > 1 ? argv[1] : NULL;

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

	/* getopt takes its first argument for the program's name. */
	if (command)
		argv[1] = argv[0];
	if (command && strcmp(command, "listen") == 0)
	{
		eb_options_parse_listen(&listen_options, argc - 1, argv + 1);
		eb_log_timestamps();
		return eb_listen_run(&listen_options);
	}
	if (command && strcmp(command, "receive") == 0)
	{
		eb_options_parse_receive(&receive_options, argc - 1, argv + 1);
		eb_log_timestamps();
		return eb_receive_run(&receive_options);
	}
	if (command && strcmp(command, "run") == 0)
	{
		eb_options_parse_run(&run_options, argc - 1, argv + 1);
		eb_log_timestamps();
		return eb_run_run(&run_options);
	}

	if (command)
		eb_log_error("unknown command \"%s\"", command);
	else
		eb_log_error("no command given");
	eb_options_usage_error();
	return EB_EXIT_USAGE;		/* not reached */
}
