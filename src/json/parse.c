/*-------------------------------------------------------------------------
 *
 * parse.c
 *	  JSON text to jsonb, fast where the text is plain.
 *
 * Every event is parsed once by who puts it and once more for each function
 * that gets it, and type jsonb's own input function takes longer than all the
 * rest of a delivery.  It copies each string byte by byte, and then as a whole;
 * here strings are used where they stand.
 *
 * jsonb_in() remains the one that knows what JSON is.  What is read here is
 * the part of it that is common and simple, and it is built into jsonb by the
 * server's own functions.  A text with anything else in it, be it a fault, is
 * left to jsonb_in() as a whole.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/numeric.h"

#include "json/parse.h"

/* The longest number that is read here, and the longest of a plain integer. */
#define MAX_NUMBER_LEN	64
#define MAX_INTEGER_LEN 18

/* The text that has not been read yet, and what has been built. */
typedef struct Reader
{
	const char *p;
	const char *end;
	JsonbParseState *state;
	JsonbValue *result;			/* the whole, once it is closed */
} Reader;

static bool read_value(Reader *reader, JsonbIteratorToken token);

/* The next byte that is not white space; 0 at the end. */
static char
peek(Reader *reader)
{
	while (reader->p < reader->end &&
		   (*reader->p == ' ' || *reader->p == '\t' ||
			*reader->p == '\n' || *reader->p == '\r'))
		reader->p++;
	return reader->p < reader->end ? *reader->p : '\0';
}

static bool
take(Reader *reader, char expected)
{
	if (peek(reader) != expected)
		return false;
	reader->p++;
	return true;
}

static bool
take_word(Reader *reader, const char *word)
{
	size_t		len = strlen(word);

	if (reader->end - reader->p < len || memcmp(reader->p, word, len) != 0)
		return false;
	reader->p += len;
	return true;
}

/* Resolves the escapes of one character; not those by number. */
static bool
unescape(JsonbValue *value, const char *from, const char *end)
{
	static const char escapes[] = "\"\\/bfnrt";
	static const char characters[] = "\"\\/\b\f\n\r\t";
	char	   *to = palloc(end - from);

	value->val.string.val = to;
	for (; from < end; from++)
	{
		if (*from == '\\')
		{
			const char *escape = memchr(escapes, *++from, sizeof(escapes) - 1);

			if (escape == NULL)
				return false;
			*to++ = characters[escape - escapes];
		}
		else
			*to++ = *from;
	}
	value->val.string.len = to - value->val.string.val;
	return true;
}

/* A string; the reader stands at its first quote. */
static bool
read_string(Reader *reader, JsonbValue *value)
{
	const char *start = ++reader->p;
	const char *p = start;
	bool		escaped = false;

	for (; p < reader->end && *p != '"'; p++)
	{
		if ((unsigned char) *p < ' ')
			return false;
		if (*p == '\\')
		{
			escaped = true;
			p++;
		}
	}
	if (p >= reader->end || p - start > JENTRY_OFFLENMASK)
		return false;
	reader->p = p + 1;
	value->type = jbvString;
	value->val.string.val = unconstify(char *, start);
	value->val.string.len = p - start;
	return !escaped || unescape(value, start, p);
}

static const char *
skip_digits(const char *p, const char *end)
{
	while (p < end && *p >= '0' && *p <= '9')
		p++;
	return p;
}

/* Where the number ends that begins at p; NULL if there is none. */
static const char *
number_end(const char *p, const char *end)
{
	const char *digits = p + (*p == '-');

	p = skip_digits(digits, end);
	if (p == digits || (*digits == '0' && p > digits + 1))
		return NULL;
	if (p < end && *p == '.')
	{
		digits = p + 1;
		p = skip_digits(digits, end);
		if (p == digits)
			return NULL;
	}
	if (p < end && (*p == 'e' || *p == 'E'))
	{
		digits = p + 1;
		if (digits < end && (*digits == '+' || *digits == '-'))
			digits++;
		p = skip_digits(digits, end);
		if (p == digits)
			return NULL;
	}
	return p;
}

static bool
read_number(Reader *reader, JsonbValue *value)
{
	const char *start = reader->p;
	const char *end = number_end(start, reader->end);
	char		number[MAX_NUMBER_LEN + 1];

	if (end == NULL || end - start > MAX_NUMBER_LEN)
		return false;
	memcpy(number, start, end - start);
	number[end - start] = '\0';
	value->type = jbvNumeric;
	if (end - start <= MAX_INTEGER_LEN && strpbrk(number, ".eE") == NULL)
		value->val.numeric = int64_to_numeric(strtoi64(number, NULL, 10));
	else
		value->val.numeric =
			DatumGetNumeric(DirectFunctionCall3(numeric_in,
												CStringGetDatum(number),
												ObjectIdGetDatum(InvalidOid),
												Int32GetDatum(-1)));
	reader->p = end;
	return true;
}

static bool
read_object(Reader *reader)
{
	pushJsonbValue(&reader->state, WJB_BEGIN_OBJECT, NULL);
	reader->p++;
	if (peek(reader) != '}')
	{
		do
		{
			JsonbValue	key;

			if (peek(reader) != '"' || !read_string(reader, &key) ||
				!take(reader, ':'))
				return false;
			pushJsonbValue(&reader->state, WJB_KEY, &key);
			if (!read_value(reader, WJB_VALUE))
				return false;
		} while (take(reader, ','));
	}
	if (!take(reader, '}'))
		return false;
	reader->result = pushJsonbValue(&reader->state, WJB_END_OBJECT, NULL);
	return true;
}

static bool
read_array(Reader *reader)
{
	pushJsonbValue(&reader->state, WJB_BEGIN_ARRAY, NULL);
	reader->p++;
	if (peek(reader) != ']')
	{
		do
		{
			if (!read_value(reader, WJB_ELEM))
				return false;
		} while (take(reader, ','));
	}
	if (!take(reader, ']'))
		return false;
	reader->result = pushJsonbValue(&reader->state, WJB_END_ARRAY, NULL);
	return true;
}

/* A value inside of an object or array; false if it is not for us. */
static bool
read_value(Reader *reader, JsonbIteratorToken token)
{
	JsonbValue	value;

	check_stack_depth();
	CHECK_FOR_INTERRUPTS();
	switch (peek(reader))
	{
		case '{':
			return read_object(reader);
		case '[':
			return read_array(reader);
		case '"':
			if (!read_string(reader, &value))
				return false;
			break;
		case 't':
			value.type = jbvBool;
			value.val.boolean = true;
			if (!take_word(reader, "true"))
				return false;
			break;
		case 'f':
			value.type = jbvBool;
			value.val.boolean = false;
			if (!take_word(reader, "false"))
				return false;
			break;
		case 'n':
			value.type = jbvNull;
			if (!take_word(reader, "null"))
				return false;
			break;
		case '\0':
			return false;
		default:
			if (!read_number(reader, &value))
				return false;
			break;
	}
	pushJsonbValue(&reader->state, token, &value);
	return true;
}

/*
 * The text as jsonb, in the current memory context.  Raises the errors of
 * jsonb_in().
 */
Jsonb *
eb_jsonb_from_text(const char *text, int len)
{
	Reader		reader = {.p = text,.end = text + len};
	char		first = peek(&reader);

	if (((first == '{' && read_object(&reader)) ||
		 (first == '[' && read_array(&reader))) &&
		peek(&reader) == '\0' && reader.p == reader.end)
		return JsonbValueToJsonb(reader.result);
	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in,
											  CStringGetDatum(pnstrdup(text, len))));
}
