/*-------------------------------------------------------------------------
 *
 * sink_webhook.c
 *	  Posts each message to a URL.
 *
 * Any 2xx status means delivered.  429 (too many requests), 408 (the server
 * waited too long for the request) and 5xx mean to try again, after the time
 * that Retry-After asks for if there is one and it is longer than ours; so
 * does a request that got no answer.  What else the server says, a redirect
 * included, it would say again.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres_fe.h"

#include "http.h"
#include "sink.h"

typedef struct WebhookSink
{
	EbSink		base;
	const char *url;
	int			timeout_ms;
} WebhookSink;

static void
request_ended(void *arg, const EbHttpResult *result)
{
	EbDelivery *delivery = arg;
	EbOutcome	outcome = EB_HOPELESS;
	int64		not_before_ms = result->retry_after_ms;

	if (!result->answered || result->status == 429 ||
		result->status == 408 || result->status >= 500)
		outcome = EB_TRY_AGAIN;
	else if (result->status >= 200 && result->status <= 299)
		outcome = EB_DELIVERED;
	if (not_before_ms == EB_RETRY_AFTER_NONE)
		not_before_ms = 0;
	eb_sink_finish_attempt(delivery, outcome, not_before_ms, result->text);
}

static void
attempt_post(EbSink *base, EbDelivery *delivery)
{
	WebhookSink *sink = (WebhookSink *) base;
	char	   *body = eb_message_webhook_body(delivery->message);

	eb_http_post(sink->url, body, sink->timeout_ms, request_ended, delivery);
	free(body);
}

/* A sink that posts; the URL, which was checked before, must stay allocated. */
EbSink *
eb_webhook_sink_create(const char *url, int timeout_ms)
{
	WebhookSink *sink = pg_malloc0(sizeof(WebhookSink));

	eb_http_init();
	sink->base.name = "webhook";
	sink->base.attempt = attempt_post;
	sink->url = url;
	sink->timeout_ms = timeout_ms;
	return &sink->base;
}
