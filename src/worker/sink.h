/*-------------------------------------------------------------------------
 *
 * sink.h
 *	  Where messages go: the queue and the retries of a sink.
 *
 *-------------------------------------------------------------------------
 */
#ifndef EB_SINK_H
#define EB_SINK_H

#include "loop.h"
#include "message.h"
#include "queue.h"
#include "retry.h"

typedef struct EbSink EbSink;

/* The sink is through with the message. */
typedef void (*EbSinkDone) (EbSink *sink, EbMessage *message, bool delivered);

/* How an attempt ended. */
typedef enum EbOutcome
{
	EB_DELIVERED,
	EB_TRY_AGAIN,				/* may go better next time */
	EB_HOPELESS					/* will not */
} EbOutcome;

/* One message on its way into one sink. */
typedef struct EbDelivery
{
	EbQueueItem item;			/* in the sink's queue */
	EbSink	   *sink;
	EbMessage  *message;
	int			failures;		/* attempts that failed so far */
	EbTimer		timer;			/* the next attempt */
} EbDelivery;

/*
 * A kind of sink embeds this as its first field and fills in name and
 * attempt.  attempt() makes one attempt, and answers for it with
 * eb_sink_finish_attempt(), at once or later.
 */
struct EbSink
{
	const char *name;			/* for the log */
	void		(*attempt) (EbSink *sink, EbDelivery *delivery);

	/* the rest belongs to sink.c */
	EbRetryPolicy policy;
	int			max_jobs;		/* messages in hand at once */
	int			jobs;
	EbQueue		waiting;
	bool		pumping;
	EbSinkDone	done;
};

extern void eb_sink_setup(EbSink *sink, const EbRetryPolicy *policy,
						  int max_jobs, EbSinkDone done);
extern void eb_sink_submit(EbSink *sink, EbMessage *message);
extern void eb_sink_finish_attempt(EbDelivery *delivery, EbOutcome outcome,
								   int64 not_before_ms, const char *reason);

extern EbSink *eb_print_sink_create(bool payload_only);
extern EbSink *eb_command_sink_create(const char *command, int timeout_ms,
									  bool payload_only);
extern EbSink *eb_webhook_sink_create(const char *url, int timeout_ms);

#endif							/* EB_SINK_H */
