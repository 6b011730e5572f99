/*-------------------------------------------------------------------------
 *
 * attribute_value.c
 *	  SQL values as DynamoDB attribute values.
 *
 * The conversion of a type is worked out once (EbValueType) and used for
 * many values.  It is chosen by the type's base type, never by a value:
 *
 *	boolean							BOOL
 *	integers, oid, floats, numeric	N; NaN and infinity S
 *	bytea							B
 *	json, jsonb, hstore				M, L or a scalar
 *	arrays							L, nested by dimension
 *	composite types					M
 *	SQL null						NULL
 *	all others						S, the output text
 *
 * What is converted must mean the same in every session: dates and times are
 * ISO 8601 and timestamps with time zone are in UTC, intervals have the
 * default style and floats their shortest exact text, whatever DateStyle,
 * TimeZone, IntervalStyle and extra_float_digits say; bounds of ranges
 * likewise.  Only money depends on the locale, as it always does.
 *
 * Results are allocated in the current memory context and may point into the
 * value given.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "access/htup_details.h"
#include "access/tupdesc.h"
#include "catalog/dependency.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "common/base64.h"
#include "common/shortest_dec.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "parser/parse_coerce.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/datetime.h"
#include "utils/json.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/multirangetypes.h"
#include "utils/numeric.h"
#include "utils/rangetypes.h"
#include "utils/timestamp.h"
#include "utils/typcache.h"

#include "compat.h"
#include "stream/attribute_value.h"

typedef enum EbValueKind
{
	EB_VALUE_BOOL,
	EB_VALUE_INT2,
	EB_VALUE_INT4,
	EB_VALUE_INT8,
	EB_VALUE_OID,
	EB_VALUE_FLOAT4,
	EB_VALUE_FLOAT8,
	EB_VALUE_NUMERIC,
	EB_VALUE_TEXT,				/* a varlena whose content is its text */
	EB_VALUE_NAME,
	EB_VALUE_BYTEA,
	EB_VALUE_DATETIME,
	EB_VALUE_INTERVAL,
	EB_VALUE_JSON,
	EB_VALUE_JSONB,
	EB_VALUE_HSTORE,			/* by way of its cast to jsonb */
	EB_VALUE_ARRAY,
	EB_VALUE_COMPOSITE,
	EB_VALUE_RANGE,
	EB_VALUE_MULTIRANGE,
	EB_VALUE_OUTPUT				/* whatever its output function says */
} EbValueKind;

/* A column of a composite type; type is NULL for a dropped one. */
typedef struct EbCompositeColumn
{
	EbValueType *type;
	int64		name_size;
} EbCompositeColumn;

struct EbValueType
{
	EbValueKind kind;
	Oid			typid;			/* never a domain */
	MemoryContext context;		/* where this struct lives */
	FmgrInfo	function;		/* output function; of hstore, the cast */

	/* elements of an array, bounds of a range, ranges of a multirange */
	EbValueType *element;
	int16		element_len;
	bool		element_byval;
	char		element_align;
	TypeCacheEntry *range;

	/* columns of a composite type, as of a version of its definition */
	MemoryContext columns_context;
	uint64		columns_version;
	EbCompositeColumn *columns;
};

static int64 composite_attribute_value(EbValueType *type, Datum value,
									   JsonbPair *result);

/* The cast of the hstore extension's type to jsonb, if that is what it is. */
static Oid
hstore_cast(Oid typid)
{
	Oid			extension;
	Oid			function;

	if (typid < FirstNormalObjectId)
		return InvalidOid;
	extension = getExtensionOfObject(TypeRelationId, typid);
	if (!OidIsValid(extension) ||
		extension != get_extension_oid("hstore", true))
		return InvalidOid;
	if (find_coercion_pathway(JSONBOID, typid, COERCION_EXPLICIT,
							  &function) != COERCION_PATH_FUNC)
		return InvalidOid;
	return function;
}

static EbValueKind
builtin_kind(Oid typid)
{
	switch (typid)
	{
		case BOOLOID:
			return EB_VALUE_BOOL;
		case INT2OID:
			return EB_VALUE_INT2;
		case INT4OID:
			return EB_VALUE_INT4;
		case INT8OID:
			return EB_VALUE_INT8;
		case OIDOID:
			return EB_VALUE_OID;
		case FLOAT4OID:
			return EB_VALUE_FLOAT4;
		case FLOAT8OID:
			return EB_VALUE_FLOAT8;
		case NUMERICOID:
			return EB_VALUE_NUMERIC;
		case TEXTOID:
		case VARCHAROID:
		case BPCHAROID:
			return EB_VALUE_TEXT;
		case NAMEOID:
			return EB_VALUE_NAME;
		case BYTEAOID:
			return EB_VALUE_BYTEA;
		case DATEOID:
		case TIMEOID:
		case TIMETZOID:
		case TIMESTAMPOID:
		case TIMESTAMPTZOID:
			return EB_VALUE_DATETIME;
		case INTERVALOID:
			return EB_VALUE_INTERVAL;
		case JSONOID:
			return EB_VALUE_JSON;
		case JSONBOID:
			return EB_VALUE_JSONB;
		default:
			return EB_VALUE_OUTPUT;
	}
}

/*
 * Works out how values of a type are converted.  The result lives in the
 * context, and is good for as long as the type exists.
 */
EbValueType *
eb_value_type_make(Oid typid, MemoryContext context)
{
	EbValueType *type = MemoryContextAllocZero(context, sizeof(EbValueType));
	Oid			element;
	Oid			function;
	bool		is_varlena;

	check_stack_depth();

	typid = getBaseType(typid);
	type->typid = typid;
	type->context = context;
	type->kind = builtin_kind(typid);
	if (type->kind != EB_VALUE_OUTPUT && type->kind != EB_VALUE_INTERVAL)
		return type;

	if (OidIsValid(element = get_element_type(typid)))
	{
		type->kind = EB_VALUE_ARRAY;
		type->element = eb_value_type_make(element, context);
		get_typlenbyvalalign(element, &type->element_len,
							 &type->element_byval, &type->element_align);
	}
	else if (type_is_rowtype(typid))
		type->kind = EB_VALUE_COMPOSITE;
	else if (type_is_range(typid))
	{
		type->kind = EB_VALUE_RANGE;
		type->range = lookup_type_cache(typid, TYPECACHE_RANGE_INFO);
		type->element = eb_value_type_make(type->range->rngelemtype->type_id,
										   context);
		getTypeOutputInfo(type->range->rngelemtype->type_id, &function,
						  &is_varlena);
		fmgr_info_cxt(function, &type->element->function, context);
	}
	else if (type_is_multirange(typid))
	{
		type->kind = EB_VALUE_MULTIRANGE;
		type->range = lookup_type_cache(typid,
										TYPECACHE_MULTIRANGE_INFO)->rngtype;
		type->element = eb_value_type_make(type->range->type_id, context);
	}
	else if (OidIsValid(function = hstore_cast(typid)))
	{
		type->kind = EB_VALUE_HSTORE;
		fmgr_info_cxt(function, &type->function, context);
	}
	else
	{
		getTypeOutputInfo(typid, &function, &is_varlena);
		fmgr_info_cxt(function, &type->function, context);
	}
	return type;
}

/*
 * Do different stored values of the type always make different attribute
 * values?  Not so for numeric, where 1.0 and 1.00 are the same N.
 */
bool
eb_value_type_image_decides(const EbValueType *type)
{
	switch (type->kind)
	{
		case EB_VALUE_BOOL:
		case EB_VALUE_INT2:
		case EB_VALUE_INT4:
		case EB_VALUE_INT8:
		case EB_VALUE_OID:
		case EB_VALUE_TEXT:
		case EB_VALUE_BYTEA:
			return true;
		default:
			return false;
	}
}

/*
 * The type as which a stored value can be converted at another time, perhaps
 * in another cluster: the type itself if its values mean the same whatever
 * the catalogs say, as an enum's or a composite's do not; else InvalidOid.
 */
Oid
eb_value_type_stored_as(const EbValueType *type)
{
	switch (type->kind)
	{
		case EB_VALUE_BOOL:
		case EB_VALUE_INT2:
		case EB_VALUE_INT4:
		case EB_VALUE_INT8:
		case EB_VALUE_OID:
		case EB_VALUE_FLOAT4:
		case EB_VALUE_FLOAT8:
		case EB_VALUE_NUMERIC:
		case EB_VALUE_TEXT:
		case EB_VALUE_NAME:
		case EB_VALUE_BYTEA:
		case EB_VALUE_DATETIME:
		case EB_VALUE_INTERVAL:
		case EB_VALUE_JSON:
		case EB_VALUE_JSONB:
			return type->typid;
		default:
			return type->typid == UUIDOID ? UUIDOID : InvalidOid;
	}
}

static int64
float_attribute_value(double value, char *text, int len, JsonbPair *result)
{
	if (isnan(value))
		return eb_set_attribute_string(result, "NaN", 3);
	if (isinf(value))
		return value > 0 ? eb_set_attribute_string(result, "Infinity", 8) :
			eb_set_attribute_string(result, "-Infinity", 9);
	if (value == 0)
		return eb_attribute_number("0", 1, result); /* there is no -0 */
	return eb_attribute_number(text, len, result);
}

static int64
bytea_attribute_value(bytea *value, JsonbPair *result)
{
	int			len = VARSIZE_ANY_EXHDR(value);
	int			encoded_len;
	char	   *encoded;

	/* About 3/4 of a palloc's limit is the most that can be encoded. */
	encoded_len = pg_b64_enc_len(len);
	encoded = palloc(Max(encoded_len, 1));
	encoded_len = pg_b64_encode((void *) VARDATA_ANY(value), len,
								encoded, encoded_len);
	if (encoded_len < 0)
		elog(ERROR, "could not encode %d bytes in base64", len);

	eb_set_attribute_value(result, "B", 1);
	result->value.type = jbvString;
	result->value.val.string.val = encoded;
	result->value.val.string.len = encoded_len;
	return len;
}

static int64
datetime_attribute_value(Oid typid, Datum value, JsonbPair *result)
{
	char	   *text = palloc(MAXDATELEN + 1);
	int			utc = 0;

	JsonEncodeDateTime(text, value, typid, &utc);
	return eb_set_attribute_string(result, text, strlen(text));
}

static int64
interval_attribute_value(EbValueType *type, Datum value, JsonbPair *result)
{
	Interval   *interval = DatumGetIntervalP(value);
	char	   *text;

	if (INTERVAL_NOT_FINITE(interval))
		text = OutputFunctionCall(&type->function, value);
	else
	{
		struct pg_itm itm;

		text = palloc(MAXDATELEN + 1);
		interval2itm(*interval, &itm);
		EncodeInterval(&itm, INTSTYLE_POSTGRES, text);
	}
	return eb_set_attribute_string(result, text, strlen(text));
}

/*
 * One dimension of an array, with all below it.  *next is the element to go
 * on with.
 */
static int64
array_attribute_value(EbValueType *type, const int *dims, int ndims,
					  Datum *values, bool *nulls, int *next,
					  JsonbPair *result)
{
	int			nelems = ndims > 0 ? dims[0] : 0;
	JsonbPair  *elements = palloc(sizeof(JsonbPair) * Max(nelems, 1));
	JsonbValue *list = palloc(sizeof(JsonbValue) * Max(nelems, 1));
	int64		size = 3;

	for (int i = 0; i < nelems; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (ndims > 1)
			size += 1 + array_attribute_value(type, dims + 1, ndims - 1,
											  values, nulls, next,
											  &elements[i]);
		else
		{
			size += 1 + eb_attribute_value(type->element, values[*next],
										   nulls[*next], &elements[i]);
			(*next)++;
		}
		eb_attribute_value_object(&elements[i], &list[i]);
	}

	eb_set_attribute_value(result, "L", 1);
	result->value.type = jbvArray;
	result->value.val.array.nElems = nelems;
	result->value.val.array.elems = list;
	result->value.val.array.rawScalar = false;
	return size;
}

/* Works out the columns of a composite type, unless that is done already. */
static void
prepare_columns(EbValueType *type, TupleDesc desc, uint64 version)
{
	MemoryContext context;
	EbCompositeColumn *columns;

	if (type->columns != NULL && type->columns_version == version)
		return;

	context = AllocSetContextCreate(CurrentMemoryContext,
									"eventbridge composite type",
									ALLOCSET_SMALL_SIZES);
	columns = MemoryContextAllocZero(context,
									 sizeof(EbCompositeColumn) *
									 Max(desc->natts, 1));
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (att->attisdropped)
			continue;
		columns[i].type = eb_value_type_make(att->atttypid, context);
		columns[i].name_size = eb_utf8_length(NameStr(att->attname),
											  strlen(NameStr(att->attname)));
	}

	/* Complete: it may take the place of what there was. */
	if (type->columns != NULL)
		MemoryContextDelete(type->columns_context);
	MemoryContextSetParent(context, type->context);
	type->columns_context = context;
	type->columns = columns;
	type->columns_version = version;
}

static int64
composite_attribute_value(EbValueType *type, Datum value, JsonbPair *result)
{
	HeapTupleHeader header = DatumGetHeapTupleHeader(value);
	Oid			typid = HeapTupleHeaderGetTypeId(header);
	int32		typmod = HeapTupleHeaderGetTypMod(header);
	TupleDesc	desc = lookup_rowtype_tupdesc(typid, typmod);
	HeapTupleData tuple;
	Datum	   *values;
	bool	   *nulls;
	JsonbPair  *members;
	JsonbPair  *map;
	int64		size = 3;
	int			n = 0;

	prepare_columns(type, desc, assign_record_type_identifier(typid, typmod));

	tuple.t_len = HeapTupleHeaderGetDatumLength(header);
	ItemPointerSetInvalid(&tuple.t_self);
	tuple.t_tableOid = InvalidOid;
	tuple.t_data = header;

	values = palloc(sizeof(Datum) * Max(desc->natts, 1));
	nulls = palloc(sizeof(bool) * Max(desc->natts, 1));
	members = palloc(sizeof(JsonbPair) * Max(desc->natts, 1));
	map = palloc(sizeof(JsonbPair) * Max(desc->natts, 1));
	heap_deform_tuple(&tuple, desc, values, nulls);

	for (int i = 0; i < desc->natts; i++)
	{
		EbCompositeColumn *column = &type->columns[i];
		char	   *name;

		if (column->type == NULL)
			continue;
		name = pstrdup(NameStr(TupleDescAttr(desc, i)->attname));
		size += 1 + column->name_size +
			eb_attribute_value(column->type, values[i], nulls[i],
							   &members[n]);
		map[n].key.type = jbvString;
		map[n].key.val.string.val = name;
		map[n].key.val.string.len = strlen(name);
		eb_attribute_value_object(&members[n], &map[n].value);
		n++;
	}
	ReleaseTupleDesc(desc);

	eb_set_attribute_value(result, "M", 1);
	result->value.type = jbvObject;
	result->value.val.object.nPairs = n;
	result->value.val.object.pairs = map;
	return size;
}

/* Appends a bound the way the range types' output does. */
static void
append_bound(StringInfo out, EbValueType *type, const RangeBound *bound)
{
	JsonbPair	pair;
	const char *text;
	int			len;
	bool		quote;

	eb_attribute_value(type, bound->val, false, &pair);
	if (pair.value.type == jbvString && pair.key.val.string.val[0] != 'B')
	{
		text = pair.value.val.string.val;
		len = pair.value.val.string.len;
	}
	else
	{
		text = OutputFunctionCall(&type->function, bound->val);
		len = strlen(text);
	}

	quote = (len == 0);
	for (int i = 0; i < len && !quote; i++)
		quote = strchr("\"\\()[], \t\n\r\v\f", text[i]) != NULL;

	if (!quote)
	{
		appendBinaryStringInfo(out, text, len);
		return;
	}
	appendStringInfoCharMacro(out, '"');
	for (int i = 0; i < len; i++)
	{
		if (text[i] == '"' || text[i] == '\\')
			appendStringInfoCharMacro(out, text[i]);
		appendStringInfoCharMacro(out, text[i]);
	}
	appendStringInfoCharMacro(out, '"');
}

static void
append_range(StringInfo out, EbValueType *type, RangeType *range)
{
	RangeBound	lower;
	RangeBound	upper;
	bool		empty;

	range_deserialize(type->range, range, &lower, &upper, &empty);
	if (empty)
	{
		appendStringInfoString(out, "empty");
		return;
	}
	appendStringInfoCharMacro(out, lower.inclusive ? '[' : '(');
	if (!lower.infinite)
		append_bound(out, type->element, &lower);
	appendStringInfoCharMacro(out, ',');
	if (!upper.infinite)
		append_bound(out, type->element, &upper);
	appendStringInfoCharMacro(out, upper.inclusive ? ']' : ')');
}

static int64
range_attribute_value(EbValueType *type, Datum value, JsonbPair *result)
{
	StringInfoData text;

	initStringInfo(&text);
	if (type->kind == EB_VALUE_RANGE)
		append_range(&text, type, DatumGetRangeTypeP(value));
	else
	{
		RangeType **ranges;
		int32		nranges;

		multirange_deserialize(type->range, DatumGetMultirangeTypeP(value),
							   &nranges, &ranges);
		appendStringInfoCharMacro(&text, '{');
		for (int i = 0; i < nranges; i++)
		{
			CHECK_FOR_INTERRUPTS();
			if (i > 0)
				appendStringInfoCharMacro(&text, ',');
			append_range(&text, type->element, ranges[i]);
		}
		appendStringInfoCharMacro(&text, '}');
	}
	return eb_set_attribute_string(result, text.data, text.len);
}

static int64
integer_attribute_value(int64 value, JsonbPair *result)
{
	char	   *text = palloc(MAXINT8LEN + 1);

	return eb_attribute_number(text, pg_lltoa(value, text), result);
}

static int64
text_attribute_value(Datum value, JsonbPair *result)
{
	text	   *packed = DatumGetTextPP(value);

	return eb_set_attribute_string(result, VARDATA_ANY(packed),
								   VARSIZE_ANY_EXHDR(packed));
}

static int64
shortest_attribute_value(double value, bool is_float4, JsonbPair *result)
{
	char	   *text = palloc(Max(DOUBLE_SHORTEST_DECIMAL_LEN,
								  FLOAT_SHORTEST_DECIMAL_LEN));
	int			len;

	if (is_float4)
		len = float_to_shortest_decimal_buf((float) value, text);
	else
		len = double_to_shortest_decimal_buf(value, text);
	return float_attribute_value(value, text, len, result);
}

static int64
array_value(EbValueType *type, Datum value, JsonbPair *result)
{
	ArrayType  *array = DatumGetArrayTypeP(value);
	Datum	   *values;
	bool	   *nulls;
	int			nvalues;
	int			next = 0;

	deconstruct_array(array, ARR_ELEMTYPE(array), type->element_len,
					  type->element_byval, type->element_align,
					  &values, &nulls, &nvalues);
	return array_attribute_value(type, ARR_DIMS(array), ARR_NDIM(array),
								 values, nulls, &next, result);
}

/*
 * Converts a value, and returns its share of SizeBytes.
 */
int64
eb_attribute_value(EbValueType *type, Datum value, bool isnull,
				   JsonbPair *result)
{
	char	   *str;

	check_stack_depth();

	if (isnull)
		return eb_set_attribute_null(result);

	switch (type->kind)
	{
		case EB_VALUE_BOOL:
			return eb_set_attribute_bool(result, DatumGetBool(value));
		case EB_VALUE_INT2:
			return integer_attribute_value(DatumGetInt16(value), result);
		case EB_VALUE_INT4:
			return integer_attribute_value(DatumGetInt32(value), result);
		case EB_VALUE_INT8:
			return integer_attribute_value(DatumGetInt64(value), result);
		case EB_VALUE_OID:
			return integer_attribute_value(DatumGetObjectId(value), result);
		case EB_VALUE_FLOAT4:
			return shortest_attribute_value(DatumGetFloat4(value), true,
											result);
		case EB_VALUE_FLOAT8:
			return shortest_attribute_value(DatumGetFloat8(value), false,
											result);
		case EB_VALUE_NUMERIC:
			return eb_attribute_numeric(DatumGetNumeric(value), result);
		case EB_VALUE_TEXT:
			return text_attribute_value(value, result);
		case EB_VALUE_NAME:
			str = NameStr(*DatumGetName(value));
			return eb_set_attribute_string(result, str, strlen(str));
		case EB_VALUE_BYTEA:
			return bytea_attribute_value(DatumGetByteaPP(value), result);
		case EB_VALUE_DATETIME:
			return datetime_attribute_value(type->typid, value, result);
		case EB_VALUE_INTERVAL:
			return interval_attribute_value(type, value, result);
		case EB_VALUE_JSON:
			return eb_attribute_value_of_json(DatumGetTextPP(value), result);
		case EB_VALUE_JSONB:
			return eb_attribute_value_of_jsonb(DatumGetJsonbP(value), result);
		case EB_VALUE_HSTORE:
			value = FunctionCall1(&type->function, value);
			return eb_attribute_value_of_jsonb(DatumGetJsonbP(value), result);
		case EB_VALUE_ARRAY:
			return array_value(type, value, result);
		case EB_VALUE_COMPOSITE:
			return composite_attribute_value(type, value, result);
		case EB_VALUE_RANGE:
		case EB_VALUE_MULTIRANGE:
			return range_attribute_value(type, value, result);
		case EB_VALUE_OUTPUT:
			str = OutputFunctionCall(&type->function, value);
			return eb_set_attribute_string(result, str, strlen(str));
	}
	elog(ERROR, "unexpected kind of value: %d", (int) type->kind);
}
