/*-------------------------------------------------------------------------
 *
 * message.c
 *	  A received message and its forms.
 *
 * A message is shown as one line of JSON, a notification and one of a queue:
 *
 *	  {"channel":"c","pid":123,"payload":...,"received":"...Z"}
 *	  {"queue":"q","messageId":"...","body":...,"attributes":{...}}
 *
 * A payload that is JSON stands there as JSON, any other as a string.  cJSON
 * says whether it is, but its value is not used: it keeps numbers as
 * doubles, and 12345678901234567890 must leave as it came.  So the payload's
 * own text goes in, less the white space.  cJSON also lets some things pass
 * that are not JSON (01, or \uZZZZ and raw line feeds in strings); since those
 * would spoil the line for every other reader, the text is checked again
 * while the white space is taken out.  And it takes no number of more than 63
 * characters, so it is shown shorter ones.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres_fe.h"

#include <cjson/cJSON.h>
#include <sys/time.h>
#include <time.h>

#include "message.h"
#include "retry.h"
#include "text.h"

/* Passes over one or more digits; NULL if there is none. */
static const char *
skip_digits(const char *p)
{
	if (*p < '0' || *p > '9')
		return NULL;
	while (*p >= '0' && *p <= '9')
		p++;
	return p;
}

/* Passes over a number as JSON has them; NULL if it is not one. */
static const char *
skip_number(const char *p)
{
	if (*p == '-')
		p++;
	p = (*p == '0') ? p + 1 : skip_digits(p);
	if (p && *p == '.')
		p = skip_digits(p + 1);
	if (p && (*p == 'e' || *p == 'E'))
	{
		p++;
		if (*p == '+' || *p == '-')
			p++;
		p = skip_digits(p);
	}
	return p;
}

/*
 * Takes the white space out of a text that cJSON took.  False if something
 * in it is not JSON after all.
 *
 * (cJSON_Minify() takes the quote after an escaped backslash for an escaped
 * one, and then removes white space from within strings.)
 */
static bool
compact_json(char *text)
{
	const char *in = text;
	char	   *out = text;
	bool		in_string = false;

	while (*in)
	{
		const char *end = in + 1;
		unsigned char c = (unsigned char) *in;

		if (in_string)
		{
			if (c < 0x20)
				return false;
			if (c == '"')
				in_string = false;
			else if (c == '\\')
			{
				end++;
				if (in[1] == 'u')
				{
					if (strspn(in + 2, "0123456789abcdefABCDEF") < 4)
						return false;
					end += 4;
				}
			}
		}
		else if (c == ' ' || c == '\t' || c == '\n' || c == '\r')
		{
			in++;
			continue;
		}
		else if (c == '-' || (c >= '0' && c <= '9'))
		{
			end = skip_number(in);
			if (end == NULL || (*end && strchr(",]} \t\n\r", *end) == NULL))
				return false;
		}
		else if (c < 0x20 || c >= 0x7f)
			return false;
		else
			in_string = (c == '"');

		memmove(out, in, end - in);
		out += end - in;
		in = end;
	}
	*out = '\0';
	return true;
}

/*
 * The text with a 0 in the place of every number, malloc'd.  It is JSON if the
 * text is, and if it is while the text is not, that is compact_json()'s to see.
 */
static char *
replace_numbers(const char *text)
{
	char	   *result = pg_malloc(strlen(text) + 1);
	char	   *out = result;
	bool		in_string = false;

	while (*text)
	{
		const char *end = NULL;

		if (!in_string && (*text == '-' || (*text >= '0' && *text <= '9')))
			end = skip_number(text);
		if (end)
		{
			*out++ = '0';
			text = end;
			continue;
		}
		if (*text == '"')
			in_string = !in_string;
		else if (in_string && *text == '\\' && text[1])
			*out++ = *text++;
		*out++ = *text++;
	}
	*out = '\0';
	return result;
}

/* The payload as JSON on one line, or NULL if it is not JSON.  malloc'd. */
static char *
payload_as_json(const char *payload)
{
	char	   *text = replace_numbers(payload);
	cJSON	   *parsed = cJSON_ParseWithOpts(text, NULL, true);

	free(text);
	if (parsed == NULL)
		return NULL;
	cJSON_Delete(parsed);

	text = pg_strdup(payload);
	if (compact_json(text))
		return text;
	free(text);
	return NULL;
}

/* The time now as in 2030-01-31T12:00:00.123Z. */
static void
format_now(char *buffer, size_t size)
{
	struct timeval now;
	struct tm	utc;
	time_t		seconds;
	size_t		len;

	gettimeofday(&now, NULL);
	seconds = now.tv_sec;
	gmtime_r(&seconds, &utc);
	len = strftime(buffer, size, "%Y-%m-%dT%H:%M:%S", &utc);
	snprintf(buffer + len, size - len, ".%03dZ", (int) (now.tv_usec / 1000));
}

/* Adds the payload, as JSON if it is. */
static void
add_payload(cJSON *object, const char *name, const EbMessage *message)
{
	if (message->json)
		cJSON_AddRawToObject(object, name, message->json);
	else
		cJSON_AddStringToObject(object, name, message->payload);
}

static EbMessage *
create_message(const char *source, const char *payload)
{
	EbMessage  *message = pg_malloc0(sizeof(EbMessage));

	message->source = eb_text_force_utf8(source);
	message->payload = eb_text_force_utf8(payload);
	message->json = payload_as_json(message->payload);
	return message;
}

/* A new message, received now. */
EbMessage *
eb_message_create(const char *channel, int pid, const char *payload)
{
	EbMessage  *message = create_message(channel, payload);
	cJSON	   *object = cJSON_CreateObject();
	char		received[40];

	format_now(received, sizeof(received));
	cJSON_AddStringToObject(object, "channel", message->source);
	cJSON_AddNumberToObject(object, "pid", pid);
	add_payload(object, "payload", message);
	cJSON_AddStringToObject(object, "received", received);
	message->line = eb_text_print_json(object);
	return message;
}

/* Adds what is JSON for certain, on one line. */
static void
add_json(cJSON *object, const char *name, const char *text)
{
	char	   *valid = eb_text_force_utf8(text);
	char	   *json = payload_as_json(valid);

	cJSON_AddRawToObject(object, name, json ? json : valid);
	free(json);
	free(valid);
}

/* A message of a queue. */
EbMessage *
eb_message_create_received(const char *queue, const char *const *fields)
{
	EbMessage  *message = create_message(queue, fields[EB_RECEIVED_BODY]);
	cJSON	   *object = cJSON_CreateObject();

	message->id = pg_strdup(fields[EB_RECEIVED_ID]);
	message->receipt = pg_strdup(fields[EB_RECEIVED_RECEIPT]);
	message->receives = atoi(fields[EB_RECEIVED_COUNT]);
	cJSON_AddStringToObject(object, "queue", message->source);
	cJSON_AddStringToObject(object, "messageId", message->id);
	add_payload(object, "body", message);
	add_json(object, "attributes", fields[EB_RECEIVED_ATTRIBUTES]);
	if (*fields[EB_RECEIVED_MESSAGE_ATTRIBUTES])
		add_json(object, "messageAttributes",
				 fields[EB_RECEIVED_MESSAGE_ATTRIBUTES]);
	message->line = eb_text_print_json(object);
	return message;
}

/* A sink has not taken it; of several the last reason and the longest time. */
void
eb_message_note_failure(EbMessage *message, const char *reason,
						int64 not_before_ms)
{
	free(message->failure);
	message->failure = pg_strdup(reason);
	if (not_before_ms == EB_RETRY_AFTER_NEVER ||
		message->not_before_ms == EB_RETRY_AFTER_NEVER)
		message->not_before_ms = EB_RETRY_AFTER_NEVER;
	else
		message->not_before_ms = Max(message->not_before_ms, not_before_ms);
}

/*
 * What a webhook gets: a JSON payload as it is; other text as the message
 * that chat services take, {"text": "..."}.  malloc'd.
 */
char *
eb_message_webhook_body(const EbMessage *message)
{
	cJSON	   *object;

	if (message->json)
		return pg_strdup(message->json);
	object = cJSON_CreateObject();
	cJSON_AddStringToObject(object, "text", message->payload);
	return eb_text_print_json(object);
}

void
eb_message_free(EbMessage *message)
{
	free(message->source);
	free(message->payload);
	free(message->json);
	free(message->line);
	free(message->id);
	free(message->receipt);
	free(message->failure);
	free(message);
}
