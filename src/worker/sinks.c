/*-------------------------------------------------------------------------
 *
 * sinks.c
 *	  All the sinks that messages go to.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres_fe.h"

#include "log.h"
#include "sinks.h"

static void
add_sink(EbSinks *sinks, EbSink *sink, const EbRetryPolicy *policy, int jobs,
		 EbSinkDone done)
{
	eb_sink_setup(sink, policy, jobs, done);
	sinks->all[sinks->n++] = sink;
}

/* Makes the sinks that were asked for; the options must stay. */
void
eb_sinks_open(EbSinks *sinks, const EbSinkOptions *options, EbSinkDone done)
{
	const EbRetryPolicy *policy = &options->policy;

	if (options->print)
	{
		sinks->print = eb_print_sink_create(options->payload_only);
		add_sink(sinks, sinks->print, policy, 1, done);
	}
	if (options->command)
		add_sink(sinks, eb_command_sink_create(options->command,
											   options->exec_timeout_ms,
											   options->payload_only),
				 policy, options->jobs, done);
	if (options->webhook_url)
		add_sink(sinks, eb_webhook_sink_create(options->webhook_url,
											   options->webhook_timeout_ms),
				 policy, options->jobs, done);
}

/*
 * Gives a message to all of them.  Each call of done() counts pending down by
 * itself; the last one may come, and free the message, before this returns.
 */
void
eb_sinks_submit(EbSinks *sinks, EbMessage *message)
{
	message->pending = sinks->n;
	for (int i = 0; i < sinks->n; i++)
		eb_sink_submit(sinks->all[i], message);
}

/* Says to the user what is done with messages. */
void
eb_sinks_announce(const EbSinkOptions *options)
{
	eb_log_info("messages go to:%s%s%s",
				options->print ? " standard output" : "",
				options->command ? " command" : "",
				options->webhook_url ? " webhook" : "");
}
