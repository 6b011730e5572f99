/*-------------------------------------------------------------------------
 *
 * sink_print.c
 *	  Prints messages on standard output, one line each.
 *
 * Standard output may be a pipe whose reader is slow, so it is written only
 * when it is ready: poll() promises that PIPE_BUF bytes then go in without
 * waiting.  (It is not made non-blocking: that would change it for every
 * other process that has it, too.)
 *
 *-------------------------------------------------------------------------
 */
#include "postgres_fe.h"

#include <limits.h>
#include <poll.h>
#include <unistd.h>

#include "sink.h"

#ifndef PIPE_BUF
#define PIPE_BUF 512			/* POSIX: at least this */
#endif

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
	struct pollfd out = {.fd = STDOUT_FILENO,.events = POLLOUT};

	while (sink->line_feed_left)
	{
		const char *from = *sink->text ? sink->text : "\n";
		ssize_t		n;

		if (poll(&out, 1, 0) <= 0)
			return false;
		n = write(STDOUT_FILENO, from, Min(strlen(from), PIPE_BUF));
		if (n < 0 && (errno == EINTR || errno == EAGAIN))
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
