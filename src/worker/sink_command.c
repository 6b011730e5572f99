/*-------------------------------------------------------------------------
 *
 * sink_command.c
 *	  Gives each message to a command, on its standard input.
 *
 * The command's exit status decides: 0 means delivered; 126 and 127, with
 * which the shell says that there is no such command, that there is no hope;
 * any other status, a signal, or a time-out, that it may be tried again.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres_fe.h"

#include "process.h"
#include "sink.h"

typedef struct CommandSink
{
	EbSink		base;
	const char *command;
	int			timeout_ms;
	bool		payload_only;
} CommandSink;

static void
command_ended(void *arg, EbProcessEnd end, const char *reason)
{
	EbOutcome	outcome = EB_TRY_AGAIN;

	if (end == EB_PROCESS_SUCCEEDED)
		outcome = EB_DELIVERED;
	else if (end == EB_PROCESS_MISSING)
		outcome = EB_HOPELESS;
	eb_sink_finish_attempt(arg, outcome, 0, reason);
}

static void
attempt_command(EbSink *base, EbDelivery *delivery)
{
	CommandSink *sink = (CommandSink *) base;
	char	   *input = psprintf("%s\n", sink->payload_only ?
								 delivery->message->payload :
								 delivery->message->line);

	if (eb_process_start(sink->command, input, sink->timeout_ms,
						 command_ended, delivery) == NULL)
		eb_sink_finish_attempt(delivery, EB_TRY_AGAIN, 0,
							   "the command could not be started");
	free(input);
}

/* A sink that runs a command, which must stay allocated. */
EbSink *
eb_command_sink_create(const char *command, int timeout_ms, bool payload_only)
{
	CommandSink *sink = pg_malloc0(sizeof(CommandSink));

	eb_process_init();
	sink->base.name = "command";
	sink->base.attempt = attempt_command;
	sink->command = command;
	sink->timeout_ms = timeout_ms;
	sink->payload_only = payload_only;
	return &sink->base;
}
