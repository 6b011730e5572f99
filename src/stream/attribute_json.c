/*-------------------------------------------------------------------------
 *
 * attribute_json.c
 *	  Attribute values of numbers, json and jsonb; comparison.
 *
 * The sizes that the functions return are those of SizeBytes in a stream
 * record: a string counts its UTF-8 bytes, a number half its significant
 * digits, rounded up, plus 1, a boolean or null 1, a map or list 3 plus 1 for
 * each element plus the elements and their names.
 *
 * The type json holds texts that jsonb, and so an attribute value, cannot:
 * an escaped zero byte or half a surrogate pair, numbers out of numeric's
 * range, nesting without a useful limit.  A row with such a value must not
 * fail to be written because somebody listens, so the value is given as a
 * string, its text.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/numeric.h"

#include "compat.h"
#include "stream/attribute_value.h"

/* Longest number of a json value that is read as one; numeric's own limits
 * are beyond. */
#define MAX_NUMBER_LENGTH	10000
#define MAX_EXPONENT		5000

static int64 container_attribute_value(JsonbIterator **it,
									   JsonbIteratorToken token,
									   JsonbValue *value, int depth,
									   JsonbPair *result);

/* Bytes that a text counts for, and that is its bytes in UTF-8. */
int64
eb_utf8_length(const char *text, int len)
{
	int			encoding = GetDatabaseEncoding();
	char	   *converted;
	int64		converted_len;

	if (encoding == PG_UTF8 || encoding == PG_SQL_ASCII ||
		encoding == PG_MULE_INTERNAL)
		return len;
	for (int i = 0;; i++)
	{
		if (i == len)
			return len;			/* nothing but ASCII */
		if (IS_HIGHBIT_SET(text[i]))
			break;
	}
	converted = pg_server_to_any(text, len, PG_UTF8);
	converted_len = strlen(converted);
	if (converted != text)
		pfree(converted);
	return converted_len;
}

/* Half the significant digits, rounded up, plus 1. */
static int64
number_size(const char *text, int len)
{
	int			digits = 0;
	int			zeros = 0;		/* since the last digit that is not 0 */

	for (int i = 0; i < len; i++)
	{
		char		c = text[i];

		if (c == 'e' || c == 'E')
			break;
		if (c < '0' || c > '9')
			continue;
		if (c != '0')
		{
			digits += zeros + 1;
			zeros = 0;
		}
		else if (digits > 0)
			zeros++;
	}
	return (digits + 1) / 2 + 1;
}

/* The attribute value of a decimal number, whose text is taken as it is. */
int64
eb_attribute_number(const char *text, int len, JsonbPair *result)
{
	eb_set_attribute_value(result, "N", 1);
	result->value.type = jbvString;
	result->value.val.string.val = (char *) text;
	result->value.val.string.len = len;
	return number_size(text, len);
}

/*
 * The attribute value of a numeric: all its digits without zeros at the end
 * of the fraction.  What is not a number is given as a string.
 */
int64
eb_attribute_numeric(Numeric number, JsonbPair *result)
{
	char	   *text = DatumGetCString(DirectFunctionCall1(numeric_out,
														   NumericGetDatum(number)));
	int			len = strlen(text);

	if (numeric_is_nan(number) || numeric_is_inf(number))
		return eb_set_attribute_string(result, text, len);
	if (memchr(text, '.', len) != NULL)
	{
		while (text[len - 1] == '0')
			len--;
		if (text[len - 1] == '.')
			len--;
	}
	return eb_attribute_number(text, len, result);
}

static int64
scalar_attribute_value(const JsonbValue *value, JsonbPair *result)
{
	switch (value->type)
	{
		case jbvNull:
			return eb_set_attribute_null(result);
		case jbvString:
			return eb_set_attribute_string(result, value->val.string.val,
										   value->val.string.len);
		case jbvNumeric:
			return eb_attribute_numeric(value->val.numeric, result);
		case jbvBool:
			return eb_set_attribute_bool(result, value->val.boolean);
		default:
			elog(ERROR, "unexpected kind of jsonb value: %d",
				 (int) value->type);
	}
	return 0;					/* keep compiler quiet */
}

static int64
list_attribute_value(JsonbIterator **it, int nelems, int depth,
					 JsonbPair *result)
{
	JsonbPair  *elements = palloc(sizeof(JsonbPair) * Max(nelems, 1));
	JsonbValue *list = palloc(sizeof(JsonbValue) * Max(nelems, 1));
	JsonbIteratorToken token;
	JsonbValue	value;
	int64		size = 3;
	int			n = 0;

	while ((token = JsonbIteratorNext(it, &value, false)) != WJB_END_ARRAY)
	{
		int64		element_size;

		CHECK_FOR_INTERRUPTS();
		Assert(n < nelems);
		element_size = container_attribute_value(it, token, &value, depth + 1,
												 &elements[n]);
		if (element_size < 0)
			return -1;
		eb_attribute_value_object(&elements[n], &list[n]);
		size += 1 + element_size;
		n++;
	}

	eb_set_attribute_value(result, "L", 1);
	result->value.type = jbvArray;
	result->value.val.array.nElems = n;
	result->value.val.array.elems = list;
	result->value.val.array.rawScalar = false;
	return size;
}

static int64
map_attribute_value(JsonbIterator **it, int npairs, int depth,
					JsonbPair *result)
{
	JsonbPair  *members = palloc(sizeof(JsonbPair) * Max(npairs, 1));
	JsonbPair  *map = palloc(sizeof(JsonbPair) * Max(npairs, 1));
	JsonbValue	value;
	int64		size = 3;
	int			n = 0;

	while (JsonbIteratorNext(it, &map[n].key, false) != WJB_END_OBJECT)
	{
		JsonbIteratorToken token;
		int64		member_size;

		CHECK_FOR_INTERRUPTS();
		Assert(n < npairs);
		token = JsonbIteratorNext(it, &value, false);
		member_size = container_attribute_value(it, token, &value, depth + 1,
												&members[n]);
		if (member_size < 0)
			return -1;
		eb_attribute_value_object(&members[n], &map[n].value);
		size += 1 + member_size +
			eb_utf8_length(map[n].key.val.string.val,
						   map[n].key.val.string.len);
		n++;
	}

	eb_set_attribute_value(result, "M", 1);
	result->value.type = jbvObject;
	result->value.val.object.nPairs = n;
	result->value.val.object.pairs = map;
	return size;
}

/*
 * Converts what the iterator has just given: a scalar, or a container whose
 * elements are still to come.  Returns -1 if it is nested too deeply.
 */
static int64
container_attribute_value(JsonbIterator **it, JsonbIteratorToken token,
						  JsonbValue *value, int depth, JsonbPair *result)
{
	check_stack_depth();
	if (depth > EB_MAX_VALUE_DEPTH)
		return -1;
	if (token == WJB_BEGIN_ARRAY)
		return list_attribute_value(it, value->val.array.nElems, depth,
									result);
	if (token == WJB_BEGIN_OBJECT)
		return map_attribute_value(it, value->val.object.nPairs, depth,
								   result);
	return scalar_attribute_value(value, result);
}

/* The result points into the jsonb. */
int64
eb_attribute_value_of_jsonb(Jsonb *jsonb, JsonbPair *result)
{
	JsonbIterator *it = JsonbIteratorInit(&jsonb->root);
	JsonbIteratorToken token;
	JsonbValue	value;
	int64		size;

	token = JsonbIteratorNext(&it, &value, false);
	if (token == WJB_BEGIN_ARRAY && value.val.array.rawScalar)
		token = JsonbIteratorNext(&it, &value, false);
	size = container_attribute_value(&it, token, &value, 0, result);
	if (size < 0)
	{
		char	   *text = JsonbToCString(NULL, &jsonb->root, VARSIZE(jsonb));

		size = eb_set_attribute_string(result, text, strlen(text));
	}
	return size;
}

/* Value of four hexadecimal digits, which the json type has checked. */
static uint32
hex4(const char *p)
{
	uint32		code = 0;

	for (int i = 0; i < 4; i++)
	{
		char		c = p[i];

		code = code * 16 +
			(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
	}
	return code;
}

/*
 * Skips a string of valid JSON; *p stands behind its opening quotation mark,
 * then behind the closing one.  Returns false if jsonb cannot hold it.
 */
static bool
skip_string(const char **p)
{
	const char *s = *p;

	for (; *s != '"'; s++)
	{
		uint32		code;

		if (*s != '\\')
			continue;
		s++;
		if (*s != 'u')
			continue;
		code = hex4(s + 1);
		s += 4;
		if (code == 0)
			return false;
		if (code >= 0x80 && GetDatabaseEncoding() != PG_UTF8)
			return false;		/* perhaps; this is not worth a closer look */
		if (code >= 0xDC00 && code <= 0xDFFF)
			return false;
		if (code >= 0xD800 && code <= 0xDBFF)
		{
			if (s[1] != '\\' || s[2] != 'u')
				return false;
			code = hex4(s + 3);
			if (code < 0xDC00 || code > 0xDFFF)
				return false;
			s += 6;
		}
	}
	*p = s + 1;
	return true;
}

/* Skips a number of valid JSON; false if it may be out of numeric's range. */
static bool
skip_number(const char **p)
{
	const char *start = *p;
	const char *s = start;
	long		exponent = 0;

	while ((*s >= '0' && *s <= '9') || *s == '-' || *s == '.')
		s++;
	if (*s == 'e' || *s == 'E')
	{
		s++;
		if (*s == '+' || *s == '-')
			s++;
		for (; *s >= '0' && *s <= '9'; s++)
			exponent = Min(exponent * 10 + (*s - '0'), MAX_EXPONENT + 1);
	}
	*p = s;
	return exponent <= MAX_EXPONENT && s - start <= MAX_NUMBER_LENGTH;
}

/* Can jsonb hold this value of type json? */
static bool
json_fits_jsonb(const char *json)
{
	const char *p = json;
	int			depth = 0;

	while (*p != '\0')
	{
		char		c = *p;

		if (c == '"')
		{
			p++;
			if (!skip_string(&p))
				return false;
		}
		else if (c == '-' || (c >= '0' && c <= '9'))
		{
			if (!skip_number(&p))
				return false;
		}
		else
		{
			if ((c == '{' || c == '[') && ++depth > EB_MAX_VALUE_DEPTH)
				return false;
			if (c == '}' || c == ']')
				depth--;
			p++;
		}
	}
	return true;
}

/* Of duplicate keys the last counts. */
int64
eb_attribute_value_of_json(text *json, JsonbPair *result)
{
	char	   *str = text_to_cstring(json);
	Datum		jsonb;

	if (!json_fits_jsonb(str))
		return eb_set_attribute_string(result, str, strlen(str));
	jsonb = DirectFunctionCall1(jsonb_in, CStringGetDatum(str));
	return eb_attribute_value_of_jsonb(DatumGetJsonbP(jsonb), result);
}

static bool
values_equal(const JsonbValue *a, const JsonbValue *b)
{
	check_stack_depth();

	if (a->type != b->type)
		return false;
	switch (a->type)
	{
		case jbvNull:
			return true;
		case jbvBool:
			return a->val.boolean == b->val.boolean;
		case jbvString:
			return a->val.string.len == b->val.string.len &&
				memcmp(a->val.string.val, b->val.string.val,
					   a->val.string.len) == 0;
		case jbvArray:
			if (a->val.array.nElems != b->val.array.nElems)
				return false;
			for (int i = 0; i < a->val.array.nElems; i++)
			{
				CHECK_FOR_INTERRUPTS();
				if (!values_equal(&a->val.array.elems[i],
								  &b->val.array.elems[i]))
					return false;
			}
			return true;
		case jbvObject:
			if (a->val.object.nPairs != b->val.object.nPairs)
				return false;
			for (int i = 0; i < a->val.object.nPairs; i++)
			{
				CHECK_FOR_INTERRUPTS();
				if (!eb_attribute_values_equal(&a->val.object.pairs[i],
											   &b->val.object.pairs[i]))
					return false;
			}
			return true;
		default:
			return false;		/* attribute values hold nothing else */
	}
}

/*
 * Are two attribute values the same?  Both must come from one type, so that
 * members of maps stand in the same order.
 */
bool
eb_attribute_values_equal(const JsonbPair *a, const JsonbPair *b)
{
	return a->key.val.string.len == b->key.val.string.len &&
		memcmp(a->key.val.string.val, b->key.val.string.val,
			   a->key.val.string.len) == 0 &&
		values_equal(&a->value, &b->value);
}
