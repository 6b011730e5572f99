/*-------------------------------------------------------------------------
 *
 * sink_print.c
 *	  Prints messages on standard output, one line each.
 *
 * Standard output may be a pipe whose reader is slow, so it is written only
 * when it is ready.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres_fe.h"

#include <poll.h>
#include <unistd.h>

#include "output.h"
#include "sink.h"

typedef struct PrintSink
{
	EbSink		base;
	bool		payload_only;
	EbDelivery *delivery;		/* the one in hand, or NULL */
	const char *text;			/* what is left of it; "" means its line feed */
	bool		line_feed_left;
} PrintSink;

/*
 * Writes as much as goes in without waiting; true when all is written, or
 * has failed for good, and the delivery is finished.
 */
static bool
write_some(PrintSink *sink)
{
	while (sink->line_feed_left)
	{
		const char *from = *sink->text ? sink->text : "\n";
		ssize_t		n = eb_output_write(STDOUT_FILENO, from, strlen(from));

		if (n == 0)
			return false;
		if (n < 0)
		{
			char		reason[256];

			snprintf(reason, sizeof(reason),
					 "could not write to standard output: %s", strerror(errno));
			sink->line_feed_left = false;
			eb_sink_finish_attempt(sink->delivery, EB_HOPELESS, 0, reason);
			return true;
		}
		if (*sink->text)
			sink->text += n;
		else
			sink->line_feed_left = false;
	}
	eb_sink_finish_attempt(sink->delivery, EB_DELIVERED, 0, NULL);
	return true;
}

static void
output_ready(int fd, short revents, void *arg)
{
	eb_loop_forget(STDOUT_FILENO);
	if (!write_some(arg))
		eb_loop_watch(STDOUT_FILENO, POLLOUT, output_ready, arg);
}

static void
attempt_print(EbSink *base, EbDelivery *delivery)
{
	PrintSink  *sink = (PrintSink *) base;

	sink->delivery = delivery;
	sink->text = sink->payload_only ? delivery->message->payload :
		delivery->message->line;
	sink->line_feed_left = true;
	if (!write_some(sink))
		eb_loop_watch(STDOUT_FILENO, POLLOUT, output_ready, sink);
}

/* A sink that prints; to be set up with one job. */
EbSink *
eb_print_sink_create(bool payload_only)
{
	PrintSink  *sink = pg_malloc0(sizeof(PrintSink));

	sink->base.name = "print";
	sink->base.attempt = attempt_print;
	sink->payload_only = payload_only;
	return &sink->base;
}
