/*-------------------------------------------------------------------------
 *
 * value.c
 *	  One JSON value, read from jsonb or from json, and written as text.
 *
 * A json datum was checked when it was made, so the reader here is no parser:
 * it finds where a value ends by its quotes and brackets alone, in one pass
 * and without recursion.  It never reads past the end of what it was given,
 * whatever is in there.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "compat.h"
#include "json/container.h"
#include "json/value.h"

#define EB_IS_JSON_SPACE(c) \
	((c) == ' ' || (c) == '\n' || (c) == '\r' || (c) == '\t')

/*
 * Reading json text
 */

static inline const char *
skip_space(const char *p, const char *end)
{
	while (p < end && EB_IS_JSON_SPACE(*p))
		p++;
	return p;
}

/*
 * The first byte after the string whose opening quote is at p.
 */
static const char *
skip_string(const char *p, const char *end)
{
	const char *start = p + 1;

	/* A quote ends it unless an odd number of backslashes stands before. */
	for (p = start; p < end; p++)
	{
		const char *before;

		p = memchr(p, '"', end - p);
		if (p == NULL)
			return end;
		for (before = p; before > start && before[-1] == '\\'; before--)
			;
		if ((p - before) % 2 == 0)
			return p + 1;
	}
	return end;
}

/*
 * The first byte after the object or array that begins at p.
 */
static const char *
skip_container(const char *p, const char *end)
{
	int			depth = 0;

	while (p < end)
	{
		switch (*p)
		{
			case '"':
				p = skip_string(p, end);
				continue;
			case '{':
			case '[':
				depth++;
				break;
			case '}':
			case ']':
				if (--depth == 0)
					return p + 1;
				break;
			default:
				break;
		}
		p++;
	}
	return end;
}

/*
 * The first byte after the value that begins at p.
 */
static const char *
skip_value(const char *p, const char *end)
{
	if (p >= end)
		return end;
	if (*p == '"')
		return skip_string(p, end);
	if (*p == '{' || *p == '[')
		return skip_container(p, end);
	while (p < end && *p != ',' && *p != '}' && *p != ']' &&
		   !EB_IS_JSON_SPACE(*p))
		p++;
	return p;
}

/*
 * Prepare to walk over the container that the text is.  Of any other value
 * nothing will be found.
 */
void
eb_json_text_iterate(EbJsonTextIterator *it, const char *text, int len)
{
	memset(it, 0, sizeof(*it));
	it->p = it->end = text + len;
	if (len > 0 && (*text == '{' || *text == '['))
	{
		it->p = text + 1;
		it->object = (*text == '{');
	}
}

/*
 * Step to the next member or element; false when there is none.
 */
bool
eb_json_text_next(EbJsonTextIterator *it)
{
	const char *p = skip_space(it->p, it->end);

	CHECK_FOR_INTERRUPTS();

	if (p < it->end && *p == ',')
		p = skip_space(p + 1, it->end);
	if (p >= it->end || *p == '}' || *p == ']')
		return false;

	if (it->object)
	{
		const char *key_end;

		if (*p != '"')
			return false;
		key_end = skip_string(p, it->end);
		it->key = p + 1;
		it->key_len = Max(key_end - p - 2, 0);
		p = skip_space(key_end, it->end);
		if (p >= it->end || *p != ':')
			return false;
		p = skip_space(p + 1, it->end);
	}

	it->value = p;
	it->p = skip_value(p, it->end);
	it->value_len = it->p - p;
	return it->value_len > 0;
}

/*
 * Value of the four hexadecimal digits at p, or -1.
 */
static int
hex4_value(const char *p, const char *end)
{
	int			value = 0;

	if (end - p < 4)
		return -1;
	for (int i = 0; i < 4; i++)
	{
		char		c = p[i];

		value <<= 4;
		if (c >= '0' && c <= '9')
			value += c - '0';
		else if (c >= 'a' && c <= 'f')
			value += c - 'a' + 10;
		else if (c >= 'A' && c <= 'F')
			value += c - 'A' + 10;
		else
			return -1;
	}
	return value;
}

/*
 * What the escape \c stands for; 0 if it is not an escape of one letter.
 */
static inline char
simple_escape(char c)
{
	switch (c)
	{
		case '"':
		case '\\':
		case '/':
			return c;
		case 'b':
			return '\b';
		case 'f':
			return '\f';
		case 'n':
			return '\n';
		case 'r':
			return '\r';
		case 't':
			return '\t';
		default:
			return 0;
	}
}

/*
 * Is the current member's key this name?  The name is plain ASCII; the key
 * may be spelt with escapes.
 */
bool
eb_json_text_key_equals(const EbJsonTextIterator *it, const char *name, int len)
{
	const char *p = it->key;
	const char *end = p + it->key_len;

	if (it->key_len == len)
		return memcmp(p, name, len) == 0;
	if (it->key_len < len || memchr(p, '\\', it->key_len) == NULL)
		return false;

	for (int i = 0; i < len; i++)
	{
		int			c;

		if (p >= end)
			return false;
		c = (unsigned char) *p++;
		if (c == '\\' && p < end)
		{
			if (*p == 'u')
			{
				c = hex4_value(p + 1, end);
				p += 5;
			}
			else
				c = simple_escape(*p++);
		}
		if (c != (unsigned char) name[i])
			return false;
	}
	return p == end;
}

/*
 * Append the character that the \u escape after p's backslash stands for;
 * p is at the 'u'.  Returns the first byte after the escape, which is two
 * escapes long for a character beyond the basic plane.
 */
static const char *
append_unicode_escape(StringInfo out, const char *p, const char *end)
{
	unsigned char buf[MAX_UNICODE_EQUIVALENT_STRING + 1];
	int			c = hex4_value(p + 1, end);

	p += 5;
	if (c == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNTRANSLATABLE_CHARACTER),
				 errmsg("unsupported Unicode escape sequence"),
				 errdetail("\\u0000 cannot be converted to text.")));
	if (c >= 0xD800 && c <= 0xDBFF && end - p >= 6 && p[0] == '\\' && p[1] == 'u')
	{
		int			low = hex4_value(p + 2, end);

		if (low >= 0xDC00 && low <= 0xDFFF)
		{
			c = 0x10000 + ((c - 0xD800) << 10) + (low - 0xDC00);
			p += 6;
		}
	}
	if (c < 0 || (c >= 0xD800 && c <= 0xDFFF))
		ereport(ERROR,
				(errcode(ERRCODE_UNTRANSLATABLE_CHARACTER),
				 errmsg("unsupported Unicode escape sequence"),
				 errdetail("A surrogate that is not part of a pair cannot be converted to text.")));

	pg_unicode_to_server(c, buf);
	appendStringInfoString(out, (char *) buf);
	return p;
}

/*
 * Append what a string of json text says: the bytes between its quotes with
 * the escapes resolved.
 */
static void
append_decoded(StringInfo out, const char *p, const char *end)
{
	while (p < end)
	{
		const char *escape = memchr(p, '\\', end - p);
		char		c;

		if (escape == NULL || escape + 1 >= end)
			escape = end;
		appendBinaryStringInfo(out, p, escape - p);
		if (escape == end)
			break;

		p = escape + 1;
		if (*p == 'u')
			p = append_unicode_escape(out, p, end);
		else if ((c = simple_escape(*p++)) != 0)
			appendStringInfoChar(out, c);
	}
}

/*
 * Append json text without the white space between its tokens.
 */
static void
append_compact(StringInfo out, const char *p, int len)
{
	const char *end = p + len;
	char	   *to;

	enlargeStringInfo(out, len);
	to = out->data + out->len;
	while (p < end)
	{
		if (*p == '"')
		{
			const char *after = skip_string(p, end);

			memcpy(to, p, after - p);
			to += after - p;
			p = after;
		}
		else if (EB_IS_JSON_SPACE(*p))
			p++;
		else
			*to++ = *p++;
	}
	out->len = to - out->data;
	out->data[out->len] = '\0';
}

/*
 * Writing jsonb
 */

/*
 * Append the string's bytes, escaped for standing between double quotes.
 */
static void
append_escaped(StringInfo out, const char *s, int len)
{
	const char *end = s + len;

	while (s < end)
	{
		const char *run = s;
		unsigned char c = 0;

		while (s < end)
		{
			c = (unsigned char) *s;
			if (c < 0x20 || c == '"' || c == '\\')
				break;
			s++;
		}
		if (s > run)
			appendBinaryStringInfo(out, run, s - run);
		if (s == end)
			break;

		s++;
		switch (c)
		{
			case '"':
			case '\\':
				appendStringInfoChar(out, '\\');
				appendStringInfoChar(out, c);
				break;
			case '\b':
				appendStringInfoString(out, "\\b");
				break;
			case '\f':
				appendStringInfoString(out, "\\f");
				break;
			case '\n':
				appendStringInfoString(out, "\\n");
				break;
			case '\r':
				appendStringInfoString(out, "\\r");
				break;
			case '\t':
				appendStringInfoString(out, "\\t");
				break;
			default:
				appendStringInfo(out, "\\u%04x", c);
				break;
		}
	}
}

/*
 * Append the bytes as a JSON string, with its quotes.
 */
void
eb_json_append_string(StringInfo out, const char *s, int len)
{
	appendStringInfoCharMacro(out, '"');
	append_escaped(out, s, len);
	appendStringInfoCharMacro(out, '"');
}

/*
 * Append a jsonb scalar; a string with its quotes.
 */
static void
append_jsonb_scalar(StringInfo out, const JsonbValue *value)
{
	switch (value->type)
	{
		case jbvNull:
			appendBinaryStringInfo(out, "null", 4);
			break;
		case jbvString:
			eb_json_append_string(out, value->val.string.val,
								  value->val.string.len);
			break;
		case jbvNumeric:
			appendStringInfoString(out,
								   DatumGetCString(DirectFunctionCall1(numeric_out,
																	   NumericGetDatum(value->val.numeric))));
			break;
		case jbvBool:
			if (value->val.boolean)
				appendBinaryStringInfo(out, "true", 4);
			else
				appendBinaryStringInfo(out, "false", 5);
			break;
		default:
			elog(ERROR, "unexpected jsonb value type: %d", (int) value->type);
	}
}

static void append_jsonb_container(StringInfo out,
								   const JsonbContainer *container);

/*
 * Append the entry of a container whose data start at *offset, which moves
 * behind them.
 */
static inline void
append_jsonb_entry(StringInfo out, const JsonbContainer *container,
				   uint32 index, const char *base, uint32 *offset)
{
	uint32		start = *offset;
	uint32		len = eb_container_step(container, index, offset);
	JsonbValue	value;

	eb_container_fill(container, index, base, start, len, &value);
	if (value.type == jbvBinary)
		append_jsonb_container(out, value.val.binary.data);
	else
		append_jsonb_scalar(out, &value);
}

/*
 * Append a jsonb object or array without any white space.  Entry by entry: an
 * iterator would cost twice as much as the writing.
 */
static void
append_jsonb_container(StringInfo out, const JsonbContainer *container)
{
	const char *base = eb_container_base(container);
	uint32		count = JsonContainerSize(container);
	bool		is_object = JsonContainerIsObject(container);
	uint32		key_offset = 0;
	uint32		offset = is_object ? getJsonbOffset(container, count) : 0;

	check_stack_depth();
	CHECK_FOR_INTERRUPTS();

	appendStringInfoCharMacro(out, is_object ? '{' : '[');
	for (uint32 i = 0; i < count; i++)
	{
		if (i > 0)
			appendStringInfoCharMacro(out, ',');
		if (is_object)
		{
			append_jsonb_entry(out, container, i, base, &key_offset);
			appendStringInfoCharMacro(out, ':');
			append_jsonb_entry(out, container, count + i, base, &offset);
		}
		else
			append_jsonb_entry(out, container, i, base, &offset);
	}
	appendStringInfoCharMacro(out, is_object ? '}' : ']');
}

/*
 * Both
 */

/*
 * The value that a jsonb datum is.
 */
void
eb_json_from_jsonb(EbJson *value, Jsonb *jsonb)
{
	value->text = NULL;
	value->len = 0;
	if (JB_ROOT_IS_SCALAR(jsonb))
		JsonbExtractScalar(&jsonb->root, &value->jsonb);
	else
	{
		value->jsonb.type = jbvBinary;
		value->jsonb.val.binary.data = &jsonb->root;
		value->jsonb.val.binary.len = VARSIZE(jsonb) - VARHDRSZ;
	}
}

/*
 * The value that the contents of a json datum are.
 */
void
eb_json_from_text(EbJson *value, const char *text, int len)
{
	const char *end = text + len;

	text = skip_space(text, end);
	value->text = text;
	value->len = skip_value(text, end) - text;
}

enum jbvType
eb_json_type(const EbJson *value)
{
	if (value->text == NULL)
	{
		if (value->jsonb.type != jbvBinary)
			return value->jsonb.type;
		return JsonContainerIsObject(value->jsonb.val.binary.data) ?
			jbvObject : jbvArray;
	}

	switch (value->len > 0 ? *value->text : 'n')
	{
		case '{':
			return jbvObject;
		case '[':
			return jbvArray;
		case '"':
			return jbvString;
		case 't':
		case 'f':
			return jbvBool;
		case 'n':
			return jbvNull;
		default:
			return jbvNumeric;
	}
}

/*
 * Append the value as compact JSON.
 */
void
eb_json_append(StringInfo out, const EbJson *value)
{
	if (value->text != NULL)
		append_compact(out, value->text, value->len);
	else if (value->jsonb.type == jbvBinary)
		append_jsonb_container(out, value->jsonb.val.binary.data);
	else
		append_jsonb_scalar(out, &value->jsonb);
}

/*
 * Append a scalar so that it can stand inside a JSON string: of a string what
 * is between its quotes, of anything else its JSON.
 */
void
eb_json_append_in_string(StringInfo out, const EbJson *value)
{
	if (eb_json_type(value) != jbvString)
		eb_json_append(out, value);
	else if (value->text != NULL)
		appendBinaryStringInfo(out, value->text + 1, Max(value->len - 2, 0));
	else
		append_escaped(out, value->jsonb.val.string.val,
					   value->jsonb.val.string.len);
}

/*
 * Append the json text of an object or array without white space and without
 * the quotes around its strings, whose characters are escaped only where they
 * must be: people are to read it, and many programs write é as \u00e9.
 */
static void
append_unquoted(StringInfo out, const char *p, int len)
{
	const char *end = p + len;
	StringInfoData decoded;

	initStringInfo(&decoded);
	while (p < end)
	{
		if (*p == '"')
		{
			const char *after = skip_string(p, end);

			resetStringInfo(&decoded);
			append_decoded(&decoded, p + 1, Max(after - 1, p + 1));
			append_escaped(out, decoded.data, decoded.len);
			p = after;
		}
		else if (EB_IS_JSON_SPACE(*p))
			p++;
		else
			appendStringInfoChar(out, *p++);
	}
	pfree(decoded.data);
}

/*
 * Append the value as AWS puts it into text: a string as it reads, an object
 * or array as compact JSON from which every double quote is taken out,
 * anything else as its JSON.
 */
void
eb_json_append_as_text(StringInfo out, const EbJson *value)
{
	int			start = out->len;
	char	   *from;
	char	   *to;
	char	   *end;

	switch (eb_json_type(value))
	{
		case jbvString:
			if (value->text != NULL)
				append_decoded(out, value->text + 1,
							   value->text + Max(value->len - 1, 1));
			else
				appendBinaryStringInfo(out, value->jsonb.val.string.val,
									   value->jsonb.val.string.len);
			break;

		case jbvObject:
		case jbvArray:
			if (value->text != NULL)
				append_unquoted(out, value->text, value->len);
			else
				eb_json_append(out, value);
			end = out->data + out->len;
			for (from = to = out->data + start; from < end; from++)
			{
				if (*from != '"')
					*to++ = *from;
			}
			*to = '\0';
			out->len = to - out->data;
			break;

		default:
			eb_json_append(out, value);
			break;
	}
}
