/*-------------------------------------------------------------------------
 *
 * message.h
 *	  A received message and its forms.
 *
 *-------------------------------------------------------------------------
 */
#ifndef EB_MESSAGE_H
#define EB_MESSAGE_H

#include "queue.h"

typedef struct EbMessage
{
	EbQueueItem item;			/* in the line of reports */
	char	   *source;			/* the channel or the queue that it comes from */
	char	   *payload;		/* valid UTF-8 */
	char	   *json;			/* the payload as one line of JSON, or NULL */
	char	   *line;			/* the whole message as one line of JSON */
	int			pending;		/* sinks that are not done with it */

	/* a message of a queue */
	char	   *id;
	char	   *receipt;
	int			receives;		/* how often it has been received */

	/* if a sink did not take it */
	char	   *failure;		/* why; NULL: all did */
	int64		not_before_ms;	/* as for eb_sink_finish_attempt() */
} EbMessage;

/* The columns of a message of a queue, in their order; all are text. */
typedef enum EbReceivedField
{
	EB_RECEIVED_ID,
	EB_RECEIVED_RECEIPT,
	EB_RECEIVED_BODY,
	EB_RECEIVED_COUNT,
	EB_RECEIVED_ATTRIBUTES,
	EB_RECEIVED_MESSAGE_ATTRIBUTES, /* "" if it has none */
	EB_RECEIVED_NFIELDS
} EbReceivedField;

extern EbMessage *eb_message_create(const char *channel, int pid,
									const char *payload);
extern EbMessage *eb_message_create_received(const char *queue,
											 const char *const *fields);
extern void eb_message_note_failure(EbMessage *message, const char *reason,
									int64 not_before_ms);
extern char *eb_message_webhook_body(const EbMessage *message);
extern void eb_message_free(EbMessage *message);

#endif							/* EB_MESSAGE_H */
