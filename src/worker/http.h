/*-------------------------------------------------------------------------
 *
 * http.h
 *	  HTTP requests, many in flight.
 *
 *-------------------------------------------------------------------------
 */
#ifndef EB_HTTP_H
#define EB_HTTP_H

#include "fe_utils/simple_list.h"

/* A request; it may be freed when it has been sent. */
typedef struct EbHttpRequest
{
	const char *method;
	const char *url;
	const char *body;			/* or NULL */
	SimpleStringList headers;	/* "Name: value" */
	SimpleStringList secrets;	/* never to be handed out */
	int			timeout_ms;		/* for all of it */
} EbHttpRequest;

/* How a request ended. */
typedef struct EbHttpResult
{
	bool		answered;		/* is there a status? */
	bool		timed_out;		/* if there is none */
	long		status;
	int64		retry_after_ms; /* as eb_retry_after_ms() has it */
	const char *text;			/* what to log: never the URL or a part */
} EbHttpResult;

/* Called once per request, from the loop; the result is valid during the call. */
typedef void (*EbHttpDone) (void *arg, const EbHttpResult *result);

extern void eb_http_init(void);
extern bool eb_http_check_url(const char *url, const char **reason);
extern void eb_http_send(const EbHttpRequest *source, EbHttpDone done,
						 void *arg);
extern void eb_http_post(const char *url, const char *body, int timeout_ms,
						 EbHttpDone done, void *arg);

#endif							/* EB_HTTP_H */
