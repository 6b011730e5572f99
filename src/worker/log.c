/*-------------------------------------------------------------------------
 *
 * log.c
 *	  How eventbridge-worker logs.
 *
 * Logging is PostgreSQL's own (common/logging.h): to standard error, with
 * its levels and labels.  This file adds the time in front, and a safe way
 * to show text that comes from outside.
 *
 * Two kinds of text are never logged: the URL of a webhook, whose path is
 * its password, and the payload of a message, which may be private.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres_fe.h"

#include <sys/time.h>
#include <time.h>

#include "log.h"
#include "pqexpbuffer.h"

/* Prints the time, in UTC, in front of a message. */
static void
print_timestamp(void)
{
	struct timeval now;
	struct tm	utc;
	time_t		seconds;
	char		text[32];

	gettimeofday(&now, NULL);
	seconds = now.tv_sec;
	gmtime_r(&seconds, &utc);
	strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", &utc);
	fprintf(stderr, "%s.%03d UTC ", text, (int) (now.tv_usec / 1000));
}

/* From now on every message carries the time. */
void
eb_log_timestamps(void)
{
	pg_logging_set_pre_callback(print_timestamp);
}

/*
 * Text from outside, in double quotes and on one line: quotes are doubled and
 * control characters shown as \xNN, so that nobody can forge a log line.  The result is
 * malloc'd.
 */
char *
eb_log_quote(const char *text)
{
	PQExpBufferData buf;
	char	   *result;

	initPQExpBuffer(&buf);
	appendPQExpBufferChar(&buf, '"');
	for (const char *p = text; *p; p++)
	{
		unsigned char c = (unsigned char) *p;

		if (c < 0x20 || c == 0x7f)
			appendPQExpBuffer(&buf, "\\x%02x", c);
		else if (c == '"')
			appendPQExpBufferStr(&buf, "\"\"");
		else
			appendPQExpBufferChar(&buf, *p);
	}
	appendPQExpBufferChar(&buf, '"');
	result = pg_strdup(buf.data);
	termPQExpBuffer(&buf);
	return result;
}
