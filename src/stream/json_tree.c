/*-------------------------------------------------------------------------
 *
 * json_tree.c
 *	  Trees of JsonbValue as JSON text and as jsonb.
 *
 * Trees are made of jbvObject, jbvArray and scalars.  Text keeps the order
 * of the tree's members; jsonb has an order of its own.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/numeric.h"

#include "stream/attribute_value.h"

/* An empty object with room for so many members. */
void
eb_tree_object(JsonbValue *object, int max_members)
{
	object->type = jbvObject;
	object->val.object.nPairs = 0;
	object->val.object.pairs = palloc(sizeof(JsonbPair) * Max(max_members, 1));
}

/*
 * Adds a member to an object that has room for it, and points to the name;
 * its value is to be set.
 */
JsonbValue *
eb_tree_add(JsonbValue *object, const char *name)
{
	JsonbPair  *pair = &object->val.object.pairs[object->val.object.nPairs++];

	memset(pair, 0, sizeof(JsonbPair));
	pair->key.type = jbvString;
	pair->key.val.string.val = (char *) name;
	pair->key.val.string.len = strlen(name);
	return &pair->value;
}

void
eb_tree_add_string(JsonbValue *object, const char *name, const char *value)
{
	JsonbValue *member = eb_tree_add(object, name);

	member->type = jbvString;
	member->val.string.val = (char *) value;
	member->val.string.len = strlen(value);
}

/* Appends a string with its quotation marks. */
void
eb_append_json_string(StringInfo out, const char *text, int len)
{
	const char *end = text + len;
	const char *run = text;

	appendStringInfoCharMacro(out, '"');
	for (const char *p = text; p < end; p++)
	{
		unsigned char c = (unsigned char) *p;
		const char *escape;

		if (likely(c >= ' ' && c != '"' && c != '\\'))
			continue;
		appendBinaryStringInfo(out, run, p - run);
		run = p + 1;
		switch (c)
		{
			case '"':
				escape = "\\\"";
				break;
			case '\\':
				escape = "\\\\";
				break;
			case '\b':
				escape = "\\b";
				break;
			case '\f':
				escape = "\\f";
				break;
			case '\n':
				escape = "\\n";
				break;
			case '\r':
				escape = "\\r";
				break;
			case '\t':
				escape = "\\t";
				break;
			default:
				appendStringInfo(out, "\\u%04x", c);
				continue;
		}
		appendBinaryStringInfo(out, escape, 2);
	}
	appendBinaryStringInfo(out, run, end - run);
	appendStringInfoCharMacro(out, '"');
}

/*
 * Appends a value.  Stops early, in the middle of the JSON, once the buffer
 * holds more than limit bytes: the caller, who has set the limit, looks at
 * the length and throws the text away.
 */
void
eb_append_json(StringInfo out, const JsonbValue *value, int limit)
{
	check_stack_depth();

	switch (value->type)
	{
		case jbvNull:
			appendBinaryStringInfo(out, "null", 4);
			break;
		case jbvString:
			if (value->val.string.len > limit - out->len)
			{
				/* JSON is never shorter than the string; just go over it. */
				appendStringInfoSpaces(out, Max(limit - out->len, 0) + 1);
				break;
			}
			eb_append_json_string(out, value->val.string.val,
								  value->val.string.len);
			break;
		case jbvNumeric:
			appendStringInfoString(out,
								   DatumGetCString(DirectFunctionCall1(numeric_out,
																	   NumericGetDatum(value->val.numeric))));
			break;
		case jbvBool:
			appendStringInfoString(out, value->val.boolean ? "true" : "false");
			break;
		case jbvArray:
			appendStringInfoCharMacro(out, '[');
			for (int i = 0; i < value->val.array.nElems; i++)
			{
				CHECK_FOR_INTERRUPTS();
				if (out->len > limit)
					return;
				if (i > 0)
					appendStringInfoCharMacro(out, ',');
				eb_append_json(out, &value->val.array.elems[i], limit);
			}
			appendStringInfoCharMacro(out, ']');
			break;
		case jbvObject:
			appendStringInfoCharMacro(out, '{');
			for (int i = 0; i < value->val.object.nPairs; i++)
			{
				const JsonbPair *pair = &value->val.object.pairs[i];

				CHECK_FOR_INTERRUPTS();
				if (out->len > limit)
					return;
				if (i > 0)
					appendStringInfoCharMacro(out, ',');
				eb_append_json_string(out, pair->key.val.string.val,
									  pair->key.val.string.len);
				appendStringInfoCharMacro(out, ':');
				eb_append_json(out, &pair->value, limit);
			}
			appendStringInfoCharMacro(out, '}');
			break;
		default:
			elog(ERROR, "unexpected kind of JSON value: %d", (int) value->type);
	}
}

static JsonbValue *
push_tree(JsonbParseState **state, JsonbIteratorToken token,
		  const JsonbValue *value)
{
	check_stack_depth();

	if (value->type == jbvObject)
	{
		pushJsonbValue(state, WJB_BEGIN_OBJECT, NULL);
		for (int i = 0; i < value->val.object.nPairs; i++)
		{
			JsonbPair  *pair = &value->val.object.pairs[i];

			CHECK_FOR_INTERRUPTS();
			pushJsonbValue(state, WJB_KEY, &pair->key);
			push_tree(state, WJB_VALUE, &pair->value);
		}
		return pushJsonbValue(state, WJB_END_OBJECT, NULL);
	}
	if (value->type == jbvArray)
	{
		pushJsonbValue(state, WJB_BEGIN_ARRAY, NULL);
		for (int i = 0; i < value->val.array.nElems; i++)
		{
			CHECK_FOR_INTERRUPTS();
			push_tree(state, WJB_ELEM, &value->val.array.elems[i]);
		}
		return pushJsonbValue(state, WJB_END_ARRAY, NULL);
	}
	return pushJsonbValue(state, token, unconstify(JsonbValue *, value));
}

/* The jsonb of an object or array. */
Jsonb *
eb_tree_to_jsonb(const JsonbValue *value)
{
	JsonbParseState *state = NULL;

	return JsonbValueToJsonb(push_tree(&state, WJB_VALUE, value));
}
