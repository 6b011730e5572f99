/*-------------------------------------------------------------------------
 *
 * http.c
 *	  HTTP requests, many in flight.
 *
 * libcurl's multi interface does the work, driven by our loop: curl says
 * which descriptors and which time-out it waits for, the loop tells it when
 * one of them is ready.  Connections are kept and used again.
 *
 * Redirects are not followed: a POST would become a GET, and a webhook that
 * has moved is for people to look at.  Only http and https URLs are taken.
 *
 * The URL of a webhook is a secret, so nothing that may repeat it is handed
 * out: not curl's message if it tells something of the path, and of the
 * response's body only a few words, such as Slack's "invalid_payload", that
 * tell nothing of the URL (many servers' error pages tell the path) or of
 * another secret that was sent.  To tell something is to have eight characters
 * in a row in common: servers repeat parts of what they do not like.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres_fe.h"

#include <curl/curl.h>
#include <fcntl.h>
#include <poll.h>

#include "http.h"
#include "log.h"
#include "loop.h"
#include "pqexpbuffer.h"
#include "retry.h"
#include "worker.h"

#define CONNECT_TIMEOUT_MS 10000
#define MAX_WORD 64				/* of a response's body */
#define TELLING_LEN 8

/* Text that is handed out consists of these. */
#define WORD_CHARACTERS \
	"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-. "

typedef struct Request
{
	CURL	   *easy;
	char	   *url;
	char	   *body;
	struct curl_slist *headers; /* its own, or NULL */
	SimpleStringList secrets;
	char		error[CURL_ERROR_SIZE];
	char		answer[MAX_WORD + 1];	/* the body's beginning */
	size_t		answer_len;		/* of the whole body */
	int64		retry_after_ms;
	EbHttpDone	done;
	void	   *arg;
} Request;

static CURLM *multi = NULL;
static EbTimer multi_timer;

/* Does the text tell something of the secret? */
static bool
tells(const char *text, const char *secret)
{
	size_t		len = Min(strlen(secret), TELLING_LEN);

	if (len == 0)
		return false;
	for (; strlen(secret) >= len; secret++)
		for (const char *p = strchr(text, *secret); p; p = strchr(p + 1, *secret))
			if (strncmp(p, secret, len) == 0)
				return true;
	return false;
}

/* Does it tell something of the secrets that were sent? */
static bool
tells_secret(const Request *request, const char *text)
{
	for (SimpleStringListCell *cell = request->secrets.head; cell;
		 cell = cell->next)
		if (tells(text, cell->val))
			return true;
	return false;
}

/* Is the answer a few words that tell nothing? */
static bool
is_answer_usable(const Request *request)
{
	size_t		len = strspn(request->answer, WORD_CHARACTERS);

	return len > 0 && len == request->answer_len &&
		!tells(request->answer, request->url) &&
		!tells_secret(request, request->answer);
}

/* Does curl's message tell nothing? */
static bool
is_error_usable(const Request *request)
{
	const char *scheme_end = strstr(request->url, "://");
	const char *path = scheme_end ? scheme_end + 3 : request->url;

	/* It may well name the host. */
	path += strcspn(path, "/?#");
	if (*path)
		path++;
	return request->error[0] != '\0' && !tells(request->error, path) &&
		!tells_secret(request, request->error);
}

/* Calls back for a request that has ended, and frees it. */
static void
finish_request(Request *request, CURLcode code)
{
	EbHttpResult result = {0};
	PQExpBufferData text;

	curl_easy_getinfo(request->easy, CURLINFO_RESPONSE_CODE, &result.status);
	result.answered = (code == CURLE_OK && result.status != 0);
	result.timed_out = (code == CURLE_OPERATION_TIMEDOUT);
	result.retry_after_ms = request->retry_after_ms;

	initPQExpBuffer(&text);
	if (result.answered)
	{
		appendPQExpBuffer(&text, "HTTP status %ld", result.status);
		if (is_answer_usable(request))
			appendPQExpBuffer(&text, " (%s)", request->answer);
	}
	else
		appendPQExpBufferStr(&text, is_error_usable(request) ? request->error :
							 curl_easy_strerror(code));
	result.text = text.data;

	curl_multi_remove_handle(multi, request->easy);
	curl_easy_cleanup(request->easy);
	request->done(request->arg, &result);

	termPQExpBuffer(&text);
	curl_slist_free_all(request->headers);
	simple_string_list_destroy(&request->secrets);
	free(request->url);
	free(request->body);
	free(request);
}

static void
finish_requests(void)
{
	CURLMsg    *msg;
	int			left;

	while ((msg = curl_multi_info_read(multi, &left)) != NULL)
	{
		CURLcode	code = msg->data.result;
		Request    *request;

		if (msg->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, (char **) &request);
		finish_request(request, code);
	}
}

/* A descriptor of curl's is ready. */
static void
socket_ready(int fd, short revents, void *arg)
{
	int			mask = 0;
	int			running;

	if (revents & (POLLIN | POLLHUP))
		mask |= CURL_CSELECT_IN;
	if (revents & POLLOUT)
		mask |= CURL_CSELECT_OUT;
	if (revents & (POLLERR | POLLNVAL))
		mask |= CURL_CSELECT_ERR;
	curl_multi_socket_action(multi, fd, mask, &running);
	finish_requests();
}

/* The time-out that curl asked for is over. */
static void
timer_fired(void *arg)
{
	int			running;

	curl_multi_socket_action(multi, CURL_SOCKET_TIMEOUT, 0, &running);
	finish_requests();
}

/* curl says what to wait for on a descriptor. */
static int
watch_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket_arg)
{
	switch (what)
	{
		case CURL_POLL_IN:
			eb_loop_watch(fd, POLLIN, socket_ready, NULL);
			break;
		case CURL_POLL_OUT:
			eb_loop_watch(fd, POLLOUT, socket_ready, NULL);
			break;
		case CURL_POLL_INOUT:
			eb_loop_watch(fd, POLLIN | POLLOUT, socket_ready, NULL);
			break;
		default:
			eb_loop_forget(fd);
			break;
	}
	return 0;
}

/* curl says how long to wait at most. */
static int
set_timer(CURLM *handle, long timeout_ms, void *arg)
{
	if (timeout_ms < 0)
		eb_timer_clear(&multi_timer);
	else
		eb_timer_set(&multi_timer, timeout_ms, timer_fired, NULL);
	return 0;
}

/* A new socket must not be inherited by the commands that we start. */
static int
prepare_socket(void *arg, curl_socket_t fd, curlsocktype purpose)
{
	fcntl(fd, F_SETFD, FD_CLOEXEC);
	return CURL_SOCKOPT_OK;
}

/* To be called once, before the first request and after eb_loop_init(). */
void
eb_http_init(void)
{
	if (multi)
		return;
	if (curl_global_init(CURL_GLOBAL_ALL) != 0 ||
		(multi = curl_multi_init()) == NULL)
	{
		eb_log_error("could not initialize libcurl");
		exit(EB_EXIT_USAGE);
	}
	curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, watch_socket);
	curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, set_timer);
}

/* Can requests be sent to this URL?  If not, the reason does not repeat it. */
bool
eb_http_check_url(const char *url, const char **reason)
{
	CURLU	   *parts = curl_url();
	char	   *scheme = NULL;
	bool		ok = false;

	if (curl_url_set(parts, CURLUPART_URL, url, 0) != CURLUE_OK)
		*reason = "it is not a URL";
	else if (curl_url_get(parts, CURLUPART_SCHEME, &scheme, 0) != CURLUE_OK ||
			 (strcmp(scheme, "http") != 0 && strcmp(scheme, "https") != 0))
		*reason = "only http and https URLs are supported";
	else
		ok = true;
	curl_free(scheme);
	curl_url_cleanup(parts);
	return ok;
}

/* Keeps the beginning of the response's body. */
static size_t
take_body(char *data, size_t size, size_t count, void *arg)
{
	Request    *request = arg;
	size_t		len = size * count;
	size_t		room = MAX_WORD - Min(request->answer_len, MAX_WORD);

	memcpy(request->answer + MAX_WORD - room, data, Min(len, room));
	request->answer_len += len;
	return len;
}

/* Looks for Retry-After. */
static size_t
take_header(char *data, size_t size, size_t count, void *arg)
{
	static const char name[] = "retry-after:";
	Request    *request = arg;
	size_t		len = size * count;

	if (len >= sizeof(name) && pg_strncasecmp(data, name, sizeof(name) - 1) == 0)
	{
		/* what curl hands over is not terminated */
		char	   *value = pnstrdup(data, len);

		request->retry_after_ms = eb_retry_after_ms(value + sizeof(name) - 1);
		free(value);
	}
	return len;
}

/* Says which method, and what body. */
static void
set_method(Request *request, const char *method)
{
	CURL	   *easy = request->easy;

	if (request->body)
	{
		curl_easy_setopt(easy, CURLOPT_POST, 1L);
		curl_easy_setopt(easy, CURLOPT_POSTFIELDS, request->body);
		curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE,
						 (curl_off_t) strlen(request->body));
	}
	else if (strcmp(method, "HEAD") == 0)
		curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
	if (strcmp(method, request->body ? "POST" : "GET") != 0)
		curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, method);
}

static void
out_of_memory(void)
{
	eb_log_error("out of memory");
	exit(EB_EXIT_USAGE);
}

/* A request that lacks one of its headers must not be sent. */
static void
add_header(Request *request, const char *header)
{
	struct curl_slist *grown = curl_slist_append(request->headers, header);

	if (grown == NULL)
		out_of_memory();
	request->headers = grown;
}

/* Says how the request is to be made, and what becomes of the answer. */
static void
set_options(Request *request, int timeout_ms)
{
	CURL	   *easy = request->easy;

	curl_easy_setopt(easy, CURLOPT_USERAGENT,
					 EB_PROGNAME "/" EVENTBRIDGE_VERSION);
	curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long) CONNECT_TIMEOUT_MS);
	curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long) timeout_ms);
#if LIBCURL_VERSION_NUM >= 0x075700
	/* else the loop waits for a resolver that does not know the time-out */
	curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
#endif
	curl_easy_setopt(easy, CURLOPT_SOCKOPTFUNCTION, prepare_socket);
	curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, request->error);
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, take_body);
	curl_easy_setopt(easy, CURLOPT_WRITEDATA, request);
	curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, take_header);
	curl_easy_setopt(easy, CURLOPT_HEADERDATA, request);
	curl_easy_setopt(easy, CURLOPT_PRIVATE, request);
}

/*
 * Sends a request, and calls done() when there is an answer, or will be none.
 */
void
eb_http_send(const EbHttpRequest *source, EbHttpDone done, void *arg)
{
	Request    *request = pg_malloc0(sizeof(Request));

	request->easy = curl_easy_init();
	if (request->easy == NULL)
		out_of_memory();
	request->url = pg_strdup(source->url);
	request->body = source->body ? pg_strdup(source->body) : NULL;
	request->retry_after_ms = EB_RETRY_AFTER_NONE;
	request->done = done;
	request->arg = arg;
	add_header(request, "Expect:");
	for (SimpleStringListCell *cell = source->headers.head; cell;
		 cell = cell->next)
		add_header(request, cell->val);
	for (SimpleStringListCell *cell = source->secrets.head; cell;
		 cell = cell->next)
		simple_string_list_append(&request->secrets, cell->val);

	set_options(request, source->timeout_ms);
	set_method(request, source->method);
	curl_easy_setopt(request->easy, CURLOPT_HTTPHEADER, request->headers);

	/* curl asks for a time-out of 0 then, and starts when that is over. */
	if (curl_easy_setopt(request->easy, CURLOPT_URL, request->url) != CURLE_OK ||
		curl_multi_add_handle(multi, request->easy) != CURLM_OK)
		out_of_memory();
}

/* Posts a JSON text. */
void
eb_http_post(const char *url, const char *body, int timeout_ms,
			 EbHttpDone done, void *arg)
{
	EbHttpRequest request = {
		.method = "POST",
		.url = url,
		.body = body,
		.timeout_ms = timeout_ms
	};

	simple_string_list_append(&request.headers, "Content-Type: application/json");
	eb_http_send(&request, done, arg);
	simple_string_list_destroy(&request.headers);
}
