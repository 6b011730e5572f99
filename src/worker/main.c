/*-------------------------------------------------------------------------
 *
 * main.c
 *	  eventbridge-worker: what happens in the database, brought out of it.
 *
 * The program's parts, each knowing only those below it:
 *
 *	  main		 which command
 *	  run		 the command "run": the delivery log to targets
 *	  inside	 its deliveries to targets in the database
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
 *	  reports	 what the database is to be told
 *	  lookout	 when to look for work, and when to sleep
 *	  session	 a connection with one statement at a time
 *	  http, process, connection
 *				 requests, commands, the database
 *	  message, retry, text
 *				 forms of a message; when to try again; text from outside
 *	  loop, log	 descriptors, timers and signals; messages to the user
 *	  output, queue
 *				 writing without waiting; lines of things
 *
 *-------------------------------------------------------------------------
 */
#include "postgres_fe.h"

#include <fcntl.h>
#include <unistd.h>

#include "listen.h"
#include "log.h"
#include "options.h"
#include "receive.h"
#include "run.h"
#include "worker.h"

/* Commands get the command line from their own name on. */
static const struct
{
	const char *name;
	EbExit		(*run) (int argc, char **argv);
}			commands[] = {
	{"listen", eb_listen_run},
	{"receive", eb_receive_run},
	{"run", eb_run_run}
};

/*
 * If one of them is closed, the next descriptor that is opened takes its
 * place, and what is meant for the log goes to the server.
 */
static void
open_standard_descriptors(void)
{
	int			fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
}

int
main(int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : NULL;

	open_standard_descriptors();
	if (name && (strcmp(name, "--help") == 0 || strcmp(name, "-?") == 0))
	{
		eb_options_print_help();
		return EB_EXIT_OK;
	}
	if (name && (strcmp(name, "--version") == 0 || strcmp(name, "-V") == 0))
	{
		printf("%s %s\n", EB_PROGNAME, EVENTBRIDGE_VERSION);
		return EB_EXIT_OK;
	}
	for (int i = 0; name && i < lengthof(commands); i++)
	{
		if (strcmp(name, commands[i].name) != 0)
			continue;

		/* getopt takes its first argument for the program's name. */
		argv[1] = argv[0];
		return commands[i].run(argc - 1, argv + 1);
	}

	if (name)
		eb_log_error("unknown command \"%s\"", name);
	else
		eb_log_error("no command given");
	eb_options_usage_error();
	return EB_EXIT_USAGE;		/* not reached */
}
