/*-------------------------------------------------------------------------
 *
 * marshall.c
 *	  SQL functions: marshall, unmarshall.
 *
 * What would be a map stands without its {"M": ...} when it is the whole: a
 * row, an hstore or a JSON object becomes an item, as NewImage of a stream
 * record is one.  So unmarshall takes an item or one attribute value.  What
 * it was given follows from its content: the member of an attribute value is
 * a string, boolean or array, where that of an item is an object; only
 * {"M": {...}} needs a look inside, and there exactly one reading is valid.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/base64.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/numeric.h"

#include "compat.h"
#include "stream/attribute_value.h"

PG_FUNCTION_INFO_V1(marshall);
PG_FUNCTION_INFO_V1(unmarshall);

/* Kept between calls of marshall in one expression. */
typedef struct MarshallCache
{
	Oid			typid;
	EbValueType *type;
} MarshallCache;

/* Where in the input we are, for messages. */
typedef struct Path
{
	const struct Path *parent;
	const char *key;			/* NULL: an element of an array */
	int			len;			/* of the key, or the element's index */
} Path;

typedef enum AttributeType
{
	TYPE_NONE,					/* not the name of a type */
	TYPE_S,
	TYPE_N,
	TYPE_B,
	TYPE_BOOL,
	TYPE_NULL,
	TYPE_M,
	TYPE_L,
	TYPE_SS,
	TYPE_NS,
	TYPE_BS
} AttributeType;

static const struct
{
	const char *name;
	AttributeType type;
	const char *content;		/* what its value must be */
}			attribute_types[] = {
	{"S", TYPE_S, "a string"},
	{"N", TYPE_N, "a string with a decimal number"},
	{"B", TYPE_B, "a string in base64"},
	{"BOOL", TYPE_BOOL, "true or false"},
	{"NULL", TYPE_NULL, "true"},
	{"M", TYPE_M, "an object"},
	{"L", TYPE_L, "an array"},
	{"SS", TYPE_SS, "an array of strings"},
	{"NS", TYPE_NS, "an array of strings with decimal numbers"},
	{"BS", TYPE_BS, "an array of strings in base64"}
};

static JsonbValue *unmarshall_value(JsonbParseState **state,
									JsonbIteratorToken token,
									const JsonbValue *value,
									const Path *path);

Datum
marshall(PG_FUNCTION_ARGS)
{
	MarshallCache *cache = fcinfo->flinfo->fn_extra;
	Oid			typid = get_fn_expr_argtype(fcinfo->flinfo, 0);
	JsonbPair	attribute;
	JsonbValue	object;
	Datum		value = PG_ARGISNULL(0) ? (Datum) 0 : PG_GETARG_DATUM(0);

	if (!OidIsValid(typid))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("could not determine the type of the value to marshall")));

	if (cache == NULL || cache->typid != typid)
	{
		cache = MemoryContextAlloc(fcinfo->flinfo->fn_mcxt,
								   sizeof(MarshallCache));
		cache->typid = typid;
		cache->type = eb_value_type_make(typid, fcinfo->flinfo->fn_mcxt);
		fcinfo->flinfo->fn_extra = cache;
	}

	eb_attribute_value(cache->type, value, PG_ARGISNULL(0), &attribute);
	if (attribute.value.type == jbvObject)
		PG_RETURN_JSONB_P(eb_tree_to_jsonb(&attribute.value));
	eb_attribute_value_object(&attribute, &object);
	PG_RETURN_JSONB_P(eb_tree_to_jsonb(&object));
}

static void
append_path(StringInfo out, const Path *path)
{
	if (path == NULL)
	{
		appendStringInfoChar(out, '$');
		return;
	}
	append_path(out, path->parent);
	if (path->key == NULL)
		appendStringInfo(out, "[%d]", path->len);
	else
	{
		appendStringInfoChar(out, '.');
		appendBinaryStringInfo(out, path->key, path->len);
	}
}

static char *
path_text(const Path *path)
{
	StringInfoData text;

	initStringInfo(&text);
	append_path(&text, path);
	return text.data;
}

static void
report_not_attribute_value(const Path *path)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATA_EXCEPTION),
			 errmsg("invalid attribute value at \"%s\"", path_text(path)),
			 errdetail("An attribute value is an object with one member, named S, N, B, BOOL, NULL, M, L, SS, NS or BS.")));
}

static void
report_content(int type_index, const Path *path)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATA_EXCEPTION),
			 errmsg("invalid attribute value at \"%s\"", path_text(path)),
			 errdetail("The value of %s must be %s.",
					   attribute_types[type_index].name,
					   attribute_types[type_index].content)));
}

/*
 * The one member of an object: its key and value, and the index of its type.
 * Returns false if the value is anything but an object with one member that
 * is named like a type.
 */
static bool
get_member(const JsonbValue *value, JsonbValue *key, JsonbValue *content,
		   int *type_index)
{
	JsonbIterator *it;

	if (value->type != jbvBinary ||
		!JsonContainerIsObject(value->val.binary.data) ||
		JsonContainerSize(value->val.binary.data) != 1)
		return false;
	it = JsonbIteratorInit(value->val.binary.data);
	JsonbIteratorNext(&it, key, true);
	JsonbIteratorNext(&it, key, true);
	JsonbIteratorNext(&it, content, true);
	for (int i = 0; i < lengthof(attribute_types); i++)
	{
		const char *name = attribute_types[i].name;

		if (strlen(name) == key->val.string.len &&
			memcmp(name, key->val.string.val, key->val.string.len) == 0)
		{
			*type_index = i;
			return true;
		}
	}
	return false;
}

static bool
is_object(const JsonbValue *value)
{
	return value->type == jbvBinary &&
		JsonContainerIsObject(value->val.binary.data);
}

/* Is it one attribute value?  If not, it may be an item. */
static bool
is_attribute_value(const JsonbValue *value)
{
	JsonbValue	key;
	JsonbValue	content;
	JsonbIterator *it;
	int			type_index;

	check_stack_depth();

	if (!get_member(value, &key, &content, &type_index))
		return false;
	if (attribute_types[type_index].type != TYPE_M)
		return !is_object(&content);
	if (!is_object(&content))
		return true;

	it = JsonbIteratorInit(content.val.binary.data);
	JsonbIteratorNext(&it, &key, true);
	while (JsonbIteratorNext(&it, &key, true) == WJB_KEY)
	{
		JsonbValue	member;

		CHECK_FOR_INTERRUPTS();
		JsonbIteratorNext(&it, &member, true);
		if (!is_attribute_value(&member))
			return false;
	}
	return true;
}

/* A scalar of the result: alone, or pushed into what is being built. */
static JsonbValue *
emit_scalar(JsonbParseState **state, JsonbIteratorToken token,
			const JsonbValue *scalar)
{
	JsonbValue *copy;

	if (*state != NULL)
		return pushJsonbValue(state, token, unconstify(JsonbValue *, scalar));
	copy = palloc(sizeof(JsonbValue));
	*copy = *scalar;
	return copy;
}

/*
 * Reads a decimal number.  Returns false if it is none: "NaN", hexadecimal
 * digits and other things that numeric would take are not numbers here.
 */
static bool
read_number(const JsonbValue *string, JsonbValue *number)
{
	char	   *text = pnstrdup(string->val.string.val,
								string->val.string.len);
	const char *p = text;
	int			digits;

	if (*p == '+' || *p == '-')
		p++;
	digits = strspn(p, "0123456789");
	p += digits;
	if (*p == '.')
	{
		int			fraction = strspn(p + 1, "0123456789");

		digits += fraction;
		p += 1 + fraction;
	}
	if (digits == 0)
		return false;
	if (*p == 'e' || *p == 'E')
	{
		p++;
		if (*p == '+' || *p == '-')
			p++;
		digits = strspn(p, "0123456789");
		if (digits == 0)
			return false;
		p += digits;
	}
	if (*p != '\0' || p - text != string->val.string.len)
		return false;

	number->type = jbvNumeric;
	number->val.numeric =
		DatumGetNumeric(DirectFunctionCall3(numeric_in, CStringGetDatum(text),
											ObjectIdGetDatum(InvalidOid),
											Int32GetDatum(-1)));
	return true;
}

static bool
is_base64(const JsonbValue *string)
{
	int			len = pg_b64_dec_len(string->val.string.len);
	void	   *decoded = palloc(Max(len, 1));

	return pg_b64_decode(string->val.string.val, string->val.string.len,
						 decoded, len) >= 0;
}

static JsonbValue *
unmarshall_map(JsonbParseState **state, JsonbContainer *map, const Path *path)
{
	JsonbIterator *it = JsonbIteratorInit(map);
	JsonbValue	key;

	pushJsonbValue(state, WJB_BEGIN_OBJECT, NULL);
	JsonbIteratorNext(&it, &key, true);
	while (JsonbIteratorNext(&it, &key, true) == WJB_KEY)
	{
		JsonbValue	member;
		Path		member_path = {path, key.val.string.val, key.val.string.len};

		CHECK_FOR_INTERRUPTS();
		pushJsonbValue(state, WJB_KEY, &key);
		JsonbIteratorNext(&it, &member, true);
		unmarshall_value(state, WJB_VALUE, &member, &member_path);
	}
	return pushJsonbValue(state, WJB_END_OBJECT, NULL);
}

/* A list of attribute values, or a set, whose elements have no type key. */
static JsonbValue *
unmarshall_array(JsonbParseState **state, JsonbContainer *array,
				 int type_index, const Path *path)
{
	AttributeType type = attribute_types[type_index].type;
	JsonbIterator *it = JsonbIteratorInit(array);
	JsonbValue	element;
	JsonbValue	number;
	Path		element_path = {path, NULL, 0};

	pushJsonbValue(state, WJB_BEGIN_ARRAY, NULL);
	JsonbIteratorNext(&it, &element, true);
	for (; JsonbIteratorNext(&it, &element, true) == WJB_ELEM;
		 element_path.len++)
	{
		CHECK_FOR_INTERRUPTS();
		if (type == TYPE_L)
		{
			unmarshall_value(state, WJB_ELEM, &element, &element_path);
			continue;
		}
		if (element.type != jbvString ||
			(type == TYPE_NS && !read_number(&element, &number)) ||
			(type == TYPE_BS && !is_base64(&element)))
			report_content(type_index, path);
		pushJsonbValue(state, WJB_ELEM, type == TYPE_NS ? &number : &element);
	}
	return pushJsonbValue(state, WJB_END_ARRAY, NULL);
}

static JsonbValue *
unmarshall_value(JsonbParseState **state, JsonbIteratorToken token,
				 const JsonbValue *value, const Path *path)
{
	JsonbValue	key;
	JsonbValue	content;
	JsonbValue	scalar;
	int			type_index;
	bool		valid;

	check_stack_depth();

	if (!get_member(value, &key, &content, &type_index))
		report_not_attribute_value(path);

	switch (attribute_types[type_index].type)
	{
		case TYPE_S:
			valid = (content.type == jbvString);
			scalar = content;
			break;
		case TYPE_N:
			valid = (content.type == jbvString &&
					 read_number(&content, &scalar));
			break;
		case TYPE_B:
			valid = (content.type == jbvString && is_base64(&content));
			scalar = content;
			break;
		case TYPE_BOOL:
			valid = (content.type == jbvBool);
			scalar = content;
			break;
		case TYPE_NULL:
			valid = (content.type == jbvBool && content.val.boolean);
			scalar.type = jbvNull;
			break;
		case TYPE_M:
			if (!is_object(&content))
				report_content(type_index, path);
			return unmarshall_map(state, content.val.binary.data, path);
		default:
			if (content.type != jbvBinary ||
				!JsonContainerIsArray(content.val.binary.data))
				report_content(type_index, path);
			return unmarshall_array(state, content.val.binary.data,
									type_index, path);
	}
	if (!valid)
		report_content(type_index, path);
	return emit_scalar(state, token, &scalar);
}

Datum
unmarshall(PG_FUNCTION_ARGS)
{
	Jsonb	   *input = PG_GETARG_JSONB_P(0);
	JsonbParseState *state = NULL;
	JsonbValue	root;
	JsonbValue *result;

	if (!JB_ROOT_IS_OBJECT(input))
		report_not_attribute_value(NULL);

	root.type = jbvBinary;
	root.val.binary.data = &input->root;
	root.val.binary.len = VARSIZE(input) - VARHDRSZ;
	if (is_attribute_value(&root))
		result = unmarshall_value(&state, WJB_VALUE, &root, NULL);
	else
		result = unmarshall_map(&state, &input->root, NULL);
	PG_RETURN_JSONB_P(JsonbValueToJsonb(result));
}
