/*-------------------------------------------------------------------------
 *
 * message.h
 *	  A received message and its forms.
 *
 *-------------------------------------------------------------------------
 */
#ifndef EB_MESSAGE_H
#define EB_MESSAGE_H

typedef struct EbMessage
{
	char	   *channel;		/* as the server sent it */
	char	   *payload;		/* valid UTF-8 */
	char	   *json;			/* the payload as one line of JSON, or NULL */
	char	   *line;			/* the whole message as one line of JSON */
	int			pending;		/* sinks that are not done with it */
} EbMessage;

extern EbMessage *eb_message_create(const char *channel, int pid,
									const char *payload);
extern char *eb_message_webhook_body(const EbMessage *message);
extern void eb_message_free(EbMessage *message);

#endif							/* EB_MESSAGE_H */
