/*-------------------------------------------------------------------------
 *
 * log.c
 *	  How eventbridge-worker logs.
 *
 * Messages go to standard error and look like those of PostgreSQL's own
 * programs.  PostgreSQL's functions are not used for it, since they wait for
 * whoever reads standard error, and with them all deliveries would.  Here, what
 * does not go in at once is kept, and written from the loop when it does; when
 * too much is kept, further messages are left out, and their number is told
 * afterwards.  At the program's end there is a little time for the rest.
 *
 * What a message tells may come from outside, so control characters in it, those
 * of C1 in UTF-8 included, are shown as \xNN, and its second line and those
 * after it are indented: nobody can forge a line of the log.
 *
 * Two kinds of text are never logged: the URL of a webhook, whose path is
 * its password, and the payload of a message, which may be private.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres_fe.h"

#include <poll.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "log.h"
#include "loop.h"
#include "output.h"
#include "pqexpbuffer.h"
#include "worker.h"

#define MAX_WAITING			(64 * 1024)
#define PATIENCE_AT_EXIT_MS	1000

static EbLogLevel lowest_level = EB_LOG_INFO;
static bool with_time = false;
static PQExpBuffer waiting = NULL;	/* not written yet */
static int	left_out = 0;		/* messages that found no room there */

static bool write_waiting(void);

/* Less important messages are not shown. */
void
eb_log_set_level(EbLogLevel level)
{
	lowest_level = level;
}

/* From now on every message carries the time. */
void
eb_log_timestamps(void)
{
	with_time = true;
}

/* ---- text ---- */

/* Appends the time, in UTC. */
static void
append_time(PQExpBuffer buf)
{
	struct timeval now;
	struct tm	utc;
	time_t		seconds;
	char		text[32];

	gettimeofday(&now, NULL);
	seconds = now.tv_sec;
	gmtime_r(&seconds, &utc);
	strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", &utc);
	appendPQExpBuffer(buf, "%s.%03d UTC ", text, (int) (now.tv_usec / 1000));
}

/* Appends a character of the text as it may be shown; returns what follows. */
static const char *
append_shown(PQExpBuffer buf, const char *text)
{
	const unsigned char *c = (const unsigned char *) text;

	if (c[0] == 0xc2 && c[1] >= 0x80 && c[1] < 0xa0)
	{
		appendPQExpBuffer(buf, "\\x%02x\\x%02x", c[0], c[1]);
		return text + 2;
	}
	if (c[0] < 0x20 || c[0] == 0x7f)
		appendPQExpBuffer(buf, "\\x%02x", c[0]);
	else
		appendPQExpBufferChar(buf, *text);
	return text + 1;
}

/* A line, or some: without white space at the end, and indented. */
static void
append_message(PQExpBuffer buf, const char *text)
{
	size_t		len = strlen(text);

	while (len > 0 && strchr(" \t\r\n", text[len - 1]))
		len--;
	for (const char *p = text; p < text + len;)
	{
		if (*p != '\n' && *p != '\t')
		{
			p = append_shown(buf, p);
			continue;
		}
		appendPQExpBufferStr(buf, *p == '\n' ? "\n\t" : "\t");
		p++;
	}
	appendPQExpBufferChar(buf, '\n');
}

/* Text from outside, in double quotes, which are doubled in it.  malloc'd. */
char *
eb_log_quote(const char *text)
{
	PQExpBufferData buf;
	char	   *result;

	initPQExpBuffer(&buf);
	appendPQExpBufferChar(&buf, '"');
	for (const char *p = text; *p; p = append_shown(&buf, p))
		if (*p == '"')
			appendPQExpBufferChar(&buf, '"');
	appendPQExpBufferChar(&buf, '"');
	result = pg_strdup(buf.data);
	termPQExpBuffer(&buf);
	return result;
}

/* ---- standard error ---- */

/* The program ends: somebody may still be reading, if slowly. */
static void
write_at_exit(void)
{
	int64		deadline = eb_loop_now() + PATIENCE_AT_EXIT_MS;
	struct pollfd out = {.fd = STDERR_FILENO,.events = POLLOUT};

	while (!write_waiting())
	{
		int64		left = deadline - eb_loop_now();

		if (left <= 0)
			return;
		(void) poll(&out, 1, (int) left);
	}
}

static void
error_ready(int fd, short revents, void *arg)
{
	if (write_waiting())
		eb_loop_forget(fd);
}

static void
add_line(const char *label, const char *text)
{
	if (waiting == NULL)
	{
		waiting = createPQExpBuffer();
		atexit(write_at_exit);
	}
	if (with_time)
		append_time(waiting);
	appendPQExpBuffer(waiting, "%s: %s", EB_PROGNAME, label);
	append_message(waiting, text);
}

/* Writes what goes in without waiting.  True if nothing is left. */
static bool
write_waiting(void)
{
	size_t		written = 0;

	while (written < waiting->len)
	{
		ssize_t		n = eb_output_write(STDERR_FILENO, waiting->data + written,
										waiting->len - written);

		if (n < 0)
			n = waiting->len - written; /* nobody will ever read it */
		if (n == 0)
			break;
		written += n;
		if (written == waiting->len && left_out > 0)
		{
			char		text[128];

			snprintf(text, sizeof(text),
					 "%d message(s) left out here, because standard error was not read",
					 left_out);
			left_out = 0;
			add_line("warning: ", text);
		}
	}
	memmove(waiting->data, waiting->data + written, waiting->len - written);
	waiting->len -= written;
	waiting->data[waiting->len] = '\0';
	return waiting->len == 0;
}

/* Logs a message, or a part of one, which the label says. */
void
eb_log(EbLogLevel level, const char *label, const char *format,...)
{
	int			save_errno = errno;
	va_list		args;
	char	   *text;
	int			len;

	if (level < lowest_level)
		return;
	if (waiting && waiting->len > MAX_WAITING)
	{
		left_out++;
		return;
	}
	va_start(args, format);
	len = vsnprintf(NULL, 0, format, args);
	va_end(args);
	if (len < 0)
		return;
	text = pg_malloc(len + 1);
	errno = save_errno;
	va_start(args, format);
	vsnprintf(text, len + 1, format, args);
	va_end(args);
	add_line(label, text);
	free(text);
	if (!write_waiting())
		eb_loop_watch(STDERR_FILENO, POLLOUT, error_ready, NULL);
	errno = save_errno;
}
