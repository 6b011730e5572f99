/*-------------------------------------------------------------------------
 *
 * sink.c
 *	  Where messages go: the queue and the retries of a sink.
 *
 * A sink is given messages and tries to get rid of each, as often as its
 * retry policy allows.  A delivery goes this way:
 *
 *	  submit -> queue -> in hand: attempt -> delivered ------> done
 *							^	 |-> try again -> wait -+
 *							|	 |-> hopeless, or tried |
 *							|	 |	 too often: given up|-> done
 *							+---------------------------+
 *
 * At most max_jobs deliveries are in hand at once; those that wait for their
 * next attempt count.  With one job, the messages therefore arrive in the
 * order in which they were submitted, and one that is refused for a while
 * holds up those behind it.
 *
 * What kinds of sinks there are, and what an attempt is, is not known here.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres_fe.h"

#include "log.h"
#include "sink.h"

/* Takes deliveries in hand as long as there is room. */
static void
pump(EbSink *sink)
{
	/* An attempt may finish at once and come back to here. */
	if (sink->pumping)
		return;
	sink->pumping = true;
	while (sink->waiting.first && sink->jobs < sink->max_jobs)
	{
		sink->jobs++;
		sink->attempt(sink, eb_queue_pop(&sink->waiting));
	}
	sink->pumping = false;
}

/* Prepares the common part of a sink. */
void
eb_sink_setup(EbSink *sink, const EbRetryPolicy *policy, int max_jobs,
			  EbSinkDone done)
{
	sink->policy = *policy;
	sink->max_jobs = max_jobs;
	sink->done = done;
}

/*
 * Gives a message to a sink, which calls its done() when it is through with
 * it; that may be before this returns.
 */
void
eb_sink_submit(EbSink *sink, EbMessage *message)
{
	EbDelivery *delivery = pg_malloc0(sizeof(EbDelivery));

	delivery->sink = sink;
	delivery->message = message;
	eb_queue_push(&sink->waiting, delivery);
	pump(sink);
}

/* The delivery leaves the sink. */
static void
finish_delivery(EbDelivery *delivery, bool delivered)
{
	EbSink	   *sink = delivery->sink;
	EbMessage  *message = delivery->message;

	free(delivery);
	sink->jobs--;
	sink->done(sink, message, delivered);
	pump(sink);
}

static void
try_again(void *arg)
{
	EbDelivery *delivery = arg;

	delivery->sink->attempt(delivery->sink, delivery);
}

/*
 * Tells how an attempt went.  The reason, for the log, says why it failed.
 * The next attempt is not made within not_before_ms; 0 leaves it to the
 * policy, EB_RETRY_AFTER_NEVER means that there shall be none.
 */
void
eb_sink_finish_attempt(EbDelivery *delivery, EbOutcome outcome,
					   int64 not_before_ms, const char *reason)
{
	EbSink	   *sink = delivery->sink;
	char	   *channel;

	if (outcome == EB_DELIVERED)
	{
		eb_log_debug("%s: delivered", sink->name);
		finish_delivery(delivery, true);
		return;
	}

	delivery->failures++;
	channel = eb_log_quote(delivery->message->source);
	if (outcome == EB_TRY_AGAIN && not_before_ms != EB_RETRY_AFTER_NEVER &&
		delivery->failures <= sink->policy.max_retries)
	{
		int64		delay = eb_retry_delay_ms(&sink->policy, delivery->failures);

		delay = Max(delay, not_before_ms);
		eb_log_warning("%s: message from channel %s: %s; retry %d of %d in %.1f s",
					   sink->name, channel, reason, delivery->failures,
					   sink->policy.max_retries, delay / 1000.0);
		eb_timer_set(&delivery->timer, delay, try_again, delivery);
	}
	else
	{
		if (sink->policy.max_retries != EB_RETRY_BY_OTHERS)
			eb_log_error("%s: message from channel %s given up after %d attempt(s): %s",
						 sink->name, channel, delivery->failures, reason);
		eb_message_note_failure(delivery->message, reason, not_before_ms);
		finish_delivery(delivery, false);
	}
	free(channel);
}
