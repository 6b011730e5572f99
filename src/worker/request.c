/*-------------------------------------------------------------------------
 *
 * request.c
 *	  The HTTP request that an API destination is to get.
 *
 * The endpoint's asterisks are replaced by the target's PathParameterValues
 * in their order, its QueryStringParameters are added, and its
 * HeaderParameters are sent unless the destination has a header of that name.
 * What comes from a target goes into the URL escaped, and behind the host, so
 * it can change neither host nor query.
 *
 * Every request carries the headers of the Standard Webhooks specification:
 * webhook-id, which is the same for all attempts of a delivery,
 * webhook-timestamp, and webhook-signature if the destination has a signing
 * secret.  The signature is the HMAC with SHA-256, by the secret, of
 * "id.timestamp.body".
 *
 *-------------------------------------------------------------------------
 */
#include "postgres_fe.h"

#include <cjson/cJSON.h>
#include <curl/curl.h>
#include <time.h>

#include "common/base64.h"
#include "common/hmac.h"
#include "common/sha2.h"
#include "pqexpbuffer.h"
#include "request.h"
#include "secret.h"

/* Headers that say how the request is sent, which is not for targets to say. */
static const char *const reserved_headers[] = {
	"connection", "content-length", "expect", "host", "te", "trailer",
	"transfer-encoding", "upgrade", "webhook-id", "webhook-signature",
	"webhook-timestamp"
};

static bool
is_reserved(const char *name)
{
	for (int i = 0; i < lengthof(reserved_headers); i++)
		if (pg_strcasecmp(reserved_headers[i], name) == 0)
			return true;
	return false;
}

static bool
is_token(const char *text)
{
	return *text != '\0' &&
		text[strspn(text, "abcdefghijklmnopqrstuvwxyz"
					"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#$%&'*+.^_`|~-")] == '\0';
}

static bool
has_control_character(const char *text)
{
	for (; *text; text++)
		if ((unsigned char) *text < 0x20 || *text == 0x7f)
			return true;
	return false;
}

static void
append_escaped(PQExpBuffer buf, const char *text)
{
	for (; *text; text++)
	{
		unsigned char c = (unsigned char) *text;

		if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
			(c >= '0' && c <= '9') || strchr("-._~", c))
			appendPQExpBufferChar(buf, c);
		else
			appendPQExpBuffer(buf, "%%%02X", c);
	}
}

/* ---- the URL ---- */

/*
 * A path of "." or ".." would be taken for a step in the tree, escaped or
 * not.
 */
static bool
append_path_value(PQExpBuffer buf, const cJSON *value)
{
	if (!cJSON_IsString(value) || strcmp(value->valuestring, ".") == 0 ||
		strcmp(value->valuestring, "..") == 0)
		return false;
	append_escaped(buf, value->valuestring);
	return true;
}

/* Fills in what the target says about the URL; NULL, and why, if it cannot. */
static char *
fill_url(const char *endpoint, const cJSON *parameters, const char **problem)
{
	const cJSON *value = cJSON_GetObjectItemCaseSensitive(parameters,
														  "PathParameterValues");
	const cJSON *query = cJSON_GetObjectItemCaseSensitive(parameters,
														  "QueryStringParameters");
	char		separator = strchr(endpoint, '?') ? '&' : '?';
	const char *host = strstr(endpoint, "://");
	const char *path = host ? host + 3 + strcspn(host + 3, "/?#") : endpoint;
	PQExpBufferData buf;
	char	   *result;

	value = value ? value->child : NULL;
	initPQExpBuffer(&buf);
	for (const char *p = endpoint; *p; p++)
	{
		if (*p != '*' || p < path || value == NULL)
		{
			appendPQExpBufferChar(&buf, *p);
			continue;
		}
		if (!append_path_value(&buf, value))
		{
			*problem = "a path parameter is not valid";
			termPQExpBuffer(&buf);
			return NULL;
		}
		value = value->next;
	}
	for (value = query ? query->child : NULL; value; value = value->next)
	{
		if (!cJSON_IsString(value))
			continue;
		appendPQExpBufferChar(&buf, separator);
		append_escaped(&buf, value->string);
		appendPQExpBufferChar(&buf, '=');
		append_escaped(&buf, value->valuestring);
		separator = '&';
	}
	result = pg_strdup(buf.data);
	termPQExpBuffer(&buf);
	return result;
}

/*
 * The URL's host, malloc'd; or NULL, and why, if nothing may be sent there:
 * https, or http on this machine, as when an API destination is created.
 */
static char *
url_host(const char *url, const char **problem)
{
	CURLU	   *parts = curl_url();
	char	   *scheme = NULL;
	char	   *host = NULL;
	char	   *result = NULL;

	*problem = "the endpoint is not an https URL";
	if (curl_url_set(parts, CURLUPART_URL, url, 0) == CURLUE_OK &&
		curl_url_get(parts, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
		curl_url_get(parts, CURLUPART_HOST, &host, 0) == CURLUE_OK &&
		(strcmp(scheme, "https") == 0 ||
		 (strcmp(scheme, "http") == 0 &&
		  (strcmp(host, "localhost") == 0 || strcmp(host, "127.0.0.1") == 0 ||
		   strcmp(host, "[::1]") == 0))))
		result = pg_strdup(host);
	curl_free(scheme);
	curl_free(host);
	curl_url_cleanup(parts);
	return result;
}

/*
 * A text, or what it refers to; malloc'd.  What was resolved is noted among
 * the request's secrets.  The host may be NULL: then it is the URL itself.
 */
static char *
resolve(EbHttpRequest *request, const char *text, const char *host,
		const char **problem)
{
	char	   *value;

	if (!eb_secret_is_reference(text))
		return pg_strdup(text);
	if (host && !eb_secret_may_go_to(text, host))
	{
		*problem = "a secret is not among those that the worker was allowed to send to this host";
		return NULL;
	}
	value = eb_secret_resolve(text, problem);
	if (value)
		simple_string_list_append(&request->secrets, value);
	return value;
}

/* Sets the URL and gives the host, malloc'd. */
static char *
set_url(EbHttpRequest *request, const EbWork *work, const cJSON *parameters,
		const char **problem)
{
	const char *source = work->fields[EB_WORK_ENDPOINT];
	char	   *endpoint = resolve(request, source, NULL, problem);
	char	   *host = NULL;

	if (endpoint == NULL)
		return NULL;
	request->url = fill_url(endpoint, parameters, problem);
	free(endpoint);
	if (request->url)
		host = url_host(request->url, problem);
	if (host && eb_secret_is_reference(source) &&
		!eb_secret_may_go_to(source, host))
	{
		*problem = "a secret is not among those that the worker was allowed to send to this host";
		free(host);
		return NULL;
	}
	return host;
}

/* ---- headers ---- */

static bool
has_header(const EbHttpRequest *request, const char *name)
{
	size_t		len = strlen(name);

	for (SimpleStringListCell *cell = request->headers.head; cell;
		 cell = cell->next)
		if (pg_strncasecmp(cell->val, name, len) == 0 && cell->val[len] == ':')
			return true;
	return false;
}

static void
add_header(EbHttpRequest *request, const char *name, const char *value)
{
	/* curl leaves out a header without a value, but for this spelling */
	char	   *line = *value ? psprintf("%s: %s", name, value) :
		psprintf("%s;", name);

	simple_string_list_append(&request->headers, line);
	free(line);
}

/* The headers of a JSON object; those that are there already stay. */
static bool
add_headers(EbHttpRequest *request, const cJSON *headers, const char *host,
			bool resolve_values, const char **problem)
{
	for (const cJSON *header = headers ? headers->child : NULL; header;
		 header = header->next)
	{
		char	   *value;

		if (!cJSON_IsString(header) || is_reserved(header->string) ||
			has_header(request, header->string))
			continue;
		value = resolve_values ?
			resolve(request, header->valuestring, host, problem) :
			pg_strdup(header->valuestring);
		if (value == NULL)
			return false;
		if (!is_token(header->string) || has_control_character(value))
		{
			*problem = "a header parameter is not valid";
			free(value);
			return false;
		}
		add_header(request, header->string, value);
		free(value);
	}
	return true;
}

/* ---- the signature ---- */

/* Signs id, time and body by the secret, which is base64; NULL if it is not. */
static char *
sign(const char *secret, const char *id, const char *timestamp, const char *body)
{
	static const char prefix[] = "whsec_";
	char	   *content = psprintf("%s.%s.%s", id, timestamp, body);
	char		digest[PG_SHA256_DIGEST_LENGTH];
	char		text[64];
	char	   *result = NULL;
	char	   *key;
	int			key_len;
	int			text_len;
	pg_hmac_ctx *ctx = pg_hmac_create(PG_SHA256);

	if (strncmp(secret, prefix, strlen(prefix)) == 0)
		secret += strlen(prefix);
	key_len = pg_b64_dec_len(strlen(secret)) + 1;
	key = pg_malloc0(key_len);
	key_len = pg_b64_decode(secret, strlen(secret), (void *) key, key_len);
	if (key_len > 0 && ctx &&
		pg_hmac_init(ctx, (void *) key, key_len) == 0 &&
		pg_hmac_update(ctx, (void *) content, strlen(content)) == 0 &&
		pg_hmac_final(ctx, (void *) digest, sizeof(digest)) == 0 &&
		(text_len = pg_b64_encode((void *) digest, sizeof(digest), text,
								  sizeof(text))) > 0)
		result = psprintf("v1,%.*s", text_len, text);
	if (ctx)
		pg_hmac_free(ctx);
	free(key);
	free(content);
	return result;
}

static bool
add_webhook_headers(EbHttpRequest *request, const EbWork *work,
					const char *host, const char **problem)
{
	const char *reference = work->fields[EB_WORK_SIGNING_SECRET];
	char	   *id = psprintf("%s_%s", work->fields[EB_WORK_EVENT_ID],
							  work->fields[EB_WORK_TARGET_ID]);
	char	   *timestamp = psprintf("%lld", (long long) time(NULL));
	bool		ok = true;

	add_header(request, "webhook-id", id);
	add_header(request, "webhook-timestamp", timestamp);
	if (*reference)
	{
		char	   *secret = resolve(request, reference, host, problem);
		char	   *signature = NULL;

		if (secret)
		{
			signature = sign(secret, id, timestamp,
							 request->body ? request->body : "");
			if (signature)
				add_header(request, "webhook-signature", signature);
			else
				*problem = "the signing secret is not base64";
		}
		ok = (signature != NULL);
		free(signature);
		free(secret);
	}
	free(id);
	free(timestamp);
	return ok;
}

/* ---- the request ---- */

/*
 * Makes the request of a delivery; NULL, and why, if that is not possible
 * with what the target, the destination and the worker's configuration say.
 */
EbHttpRequest *
eb_request_create(const EbWork *work, int timeout_ms, const char **problem)
{
	EbHttpRequest *request = pg_malloc0(sizeof(EbHttpRequest));
	const char *method = work->fields[EB_WORK_METHOD];
	cJSON	   *parameters = cJSON_Parse(work->fields[EB_WORK_HTTP_PARAMETERS]);
	cJSON	   *headers = cJSON_Parse(work->fields[EB_WORK_HEADERS]);
	char	   *host;
	bool		ok = false;

	request->method = pg_strdup(method);
	request->timeout_ms = timeout_ms;
	if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0)
		request->body = pg_strdup(work->fields[EB_WORK_INPUT]);
	host = set_url(request, work, parameters, problem);
	if (host &&
		add_headers(request, headers, host, true, problem) &&
		add_headers(request,
					cJSON_GetObjectItemCaseSensitive(parameters, "HeaderParameters"),
					host, false, problem))
	{
		if (request->body && !has_header(request, "Content-Type"))
			add_header(request, "Content-Type", "application/json; charset=utf-8");
		ok = add_webhook_headers(request, work, host, problem);
	}
	free(host);
	cJSON_Delete(parameters);
	cJSON_Delete(headers);
	if (!ok)
	{
		eb_request_free(request);
		return NULL;
	}
	return request;
}

void
eb_request_free(EbHttpRequest *request)
{
	free((char *) request->method);
	free((char *) request->url);
	free((char *) request->body);
	simple_string_list_destroy(&request->headers);
	simple_string_list_destroy(&request->secrets);
	free(request);
}
