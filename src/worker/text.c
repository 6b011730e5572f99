/*-------------------------------------------------------------------------
 *
 * text.c
 *	  Text that is fit to be handed on.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres_fe.h"

#include <cjson/cJSON.h>

#include "log.h"
#include "mb/pg_wchar.h"
#include "pqexpbuffer.h"
#include "text.h"
#include "worker.h"

/* The text with everything that is not UTF-8 replaced by U+FFFD.  malloc'd. */
char *
eb_text_force_utf8(const char *text)
{
	PQExpBufferData buf;
	char	   *result;

	initPQExpBuffer(&buf);
	for (;;)
	{
		int			len = (int) strlen(text);
		int			valid = pg_encoding_verifymbstr(PG_UTF8, text, len);

		appendBinaryPQExpBuffer(&buf, text, valid);
		if (valid >= len)
			break;
		appendPQExpBufferStr(&buf, "\xEF\xBF\xBD");
		text += valid + 1;
	}
	result = pg_strdup(buf.data);
	termPQExpBuffer(&buf);
	return result;
}

/*
 * The first line of a file, without white space at its end; malloc'd.  NULL,
 * and errno, if it cannot be read, or is too long to be what it should be.
 */
char *
eb_text_first_line(const char *path)
{
	FILE	   *file = fopen(path, "r");
	char		line[8192] = "";
	size_t		len;
	int			error = 0;

	if (file == NULL)
		return NULL;
	if (fgets(line, sizeof(line), file) == NULL && ferror(file))
		error = errno;
	fclose(file);
	len = strlen(line);
	if (len == sizeof(line) - 1 && line[len - 1] != '\n')
		error = EFBIG;
	if (error != 0)
	{
		errno = error;
		return NULL;
	}
	while (len > 0 && strchr(" \t\r\n", line[len - 1]))
		line[--len] = '\0';
	return pg_strdup(line);
}

/* Prints the object on one line and deletes it.  malloc'd. */
char *
eb_text_print_json(cJSON *object)
{
	char	   *printed = cJSON_PrintUnformatted(object);
	char	   *result;

	if (printed == NULL)
	{
		eb_log_error("out of memory");
		exit(EB_EXIT_USAGE);
	}
	result = pg_strdup(printed);
	cJSON_free(printed);
	cJSON_Delete(object);
	return result;
}
