/*-------------------------------------------------------------------------
 *
 * functions.c
 *	  The type event_pattern_set, its aggregate, and match_any.
 *
 * A value of the type is the compiled set itself, so using it costs nothing
 * but reading it.  As text it is a JSON array of patterns; the binary form is
 * a version byte and that text.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/detoast.h"
#include "catalog/pg_type.h"
#include "libpq/pqformat.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"

#include "compat.h"
#include "pattern/read.h"
#include "ruleset/set.h"

#define RECV_VERSION 1

PG_FUNCTION_INFO_V1(event_pattern_set_in);
PG_FUNCTION_INFO_V1(event_pattern_set_out);
PG_FUNCTION_INFO_V1(event_pattern_set_recv);
PG_FUNCTION_INFO_V1(event_pattern_set_send);
PG_FUNCTION_INFO_V1(event_pattern_set_transition);
PG_FUNCTION_INFO_V1(event_pattern_set_final);
PG_FUNCTION_INFO_V1(match_any);

/* ---------- The type ---------- */

/* A set of another version is built again from its patterns. */
static const EbPatternSet *
current_version(const EbPatternSet *set)
{
	const EbPattern **patterns;

	if (likely(set->version == EB_PATTERN_SET_VERSION))
		return set;
	patterns = palloc(Max(set->npatterns, 1) * sizeof(EbPattern *));
	for (uint32 i = 0; i < set->npatterns; i++)
		patterns[i] = eb_pattern_detoast(PointerGetDatum(eb_set_pattern(set, i)));
	return eb_pattern_set_build(patterns, set->npatterns);
}

/* The set in a JSON array of patterns; NULL after a soft error. */
static EbPatternSet *
parse_set(char *text, int len, Node *escontext)
{
	EbFault		fault = {0};
	const EbJson *json = eb_json_read(text, len, &fault);
	const EbPattern **patterns;
	int			n = 0;

	if (fault.message != NULL)
	{
		int			line;
		int			column;

		eb_text_position(text, fault.at, &line, &column);
		ereturn(escontext, NULL,
				(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
				 errmsg("invalid input syntax for type %s", "event_pattern_set"),
				 errdetail("%s, at line %d, column %d.", fault.message, line, column)));
	}
	if (json->kind != EB_JSON_ARRAY)
		ereturn(escontext, NULL,
				(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
				 errmsg("invalid input syntax for type %s", "event_pattern_set"),
				 errdetail("A set is written as a JSON array of event patterns.")));

	for (const EbJson *element = json->first; element != NULL; element = element->next)
		n++;
	patterns = palloc(Max(n, 1) * sizeof(EbPattern *));
	n = 0;
	for (const EbJson *element = json->first; element != NULL; element = element->next)
	{
		const char *end = element->next != NULL ? element->next->start : text + len;
		char	   *one;

		/* up to the comma before the next element, or the closing bracket */
		do
			end--;
		while (*end != (element->next != NULL ? ',' : ']'));
		one = pnstrdup(element->start, end - element->start);
		patterns[n] = eb_pattern_parse(one, strlen(one), escontext);
		if (patterns[n] == NULL)
			return NULL;
		n++;
	}
	return eb_pattern_set_build(patterns, n);
}

static void
print_set(StringInfo out, const EbPatternSet *set)
{
	appendStringInfoChar(out, '[');
	for (uint32 i = 0; i < set->npatterns; i++)
	{
		const EbPattern *pattern = eb_set_pattern(set, i);

		if (i > 0)
			appendStringInfoString(out, ", ");
		appendBinaryStringInfo(out, pattern->text, pattern->text_len);
	}
	appendStringInfoChar(out, ']');
}

Datum
event_pattern_set_in(PG_FUNCTION_ARGS)
{
	char	   *text = PG_GETARG_CSTRING(0);
	EbPatternSet *set = parse_set(text, strlen(text), fcinfo->context);

	if (set == NULL)
		PG_RETURN_NULL();
	PG_RETURN_POINTER(set);
}

Datum
event_pattern_set_out(PG_FUNCTION_ARGS)
{
	const EbPatternSet *set = (EbPatternSet *) PG_GETARG_VARLENA_P(0);
	StringInfoData text;

	initStringInfo(&text);
	print_set(&text, set);
	PG_RETURN_CSTRING(text.data);
}

Datum
event_pattern_set_recv(PG_FUNCTION_ARGS)
{
	StringInfo	buf = (StringInfo) PG_GETARG_POINTER(0);
	int			version = pq_getmsgbyte(buf);
	char	   *text;
	int			len;

	if (version != RECV_VERSION)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
				 errmsg("unsupported event_pattern_set version number %d", version)));
	text = pq_getmsgtext(buf, buf->len - buf->cursor, &len);
	PG_RETURN_POINTER(parse_set(text, len, NULL));
}

Datum
event_pattern_set_send(PG_FUNCTION_ARGS)
{
	const EbPatternSet *set = (EbPatternSet *) PG_GETARG_VARLENA_P(0);
	StringInfoData text;
	StringInfoData buf;

	initStringInfo(&text);
	print_set(&text, set);
	pq_begintypsend(&buf);
	pq_sendbyte(&buf, RECV_VERSION);
	pq_sendtext(&buf, text.data, text.len);
	PG_RETURN_BYTEA_P(pq_endtypsend(&buf));
}

/* ---------- The aggregate ---------- */

typedef struct Collected
{
	int			n;
	int			allocated;
	const EbPattern **patterns;
} Collected;

/*
 * Collects a pattern.  A null takes no place: positions count the patterns
 * that there are.
 */
Datum
event_pattern_set_transition(PG_FUNCTION_ARGS)
{
	Collected  *collected = PG_ARGISNULL(0) ? NULL : (Collected *) PG_GETARG_POINTER(0);
	MemoryContext context;
	MemoryContext caller;

	if (!AggCheckCallContext(fcinfo, &context))
		elog(ERROR, "event_pattern_set_transition called in non-aggregate context");
	caller = MemoryContextSwitchTo(context);
	if (collected == NULL)
	{
		collected = palloc0(sizeof(Collected));
		collected->allocated = 64;
		collected->patterns = palloc(collected->allocated * sizeof(EbPattern *));
	}
	if (!PG_ARGISNULL(1))
	{
		if (collected->n == collected->allocated)
		{
			collected->allocated *= 2;
			collected->patterns = repalloc_huge(collected->patterns,
												collected->allocated * sizeof(EbPattern *));
		}
		collected->patterns[collected->n++] =
			eb_pattern_detoast(PointerGetDatum(PG_DETOAST_DATUM_COPY(PG_GETARG_DATUM(1))));
	}
	MemoryContextSwitchTo(caller);
	PG_RETURN_POINTER(collected);
}

Datum
event_pattern_set_final(PG_FUNCTION_ARGS)
{
	Collected  *collected = PG_ARGISNULL(0) ? NULL : (Collected *) PG_GETARG_POINTER(0);

	if (collected == NULL)
		PG_RETURN_POINTER(eb_pattern_set_build(NULL, 0));
	PG_RETURN_POINTER(eb_pattern_set_build(collected->patterns, collected->n));
}

/* ---------- Matching ---------- */

/*
 * What a call site of match_any keeps: the state, and the last set that had
 * to be fetched from a table's storage, or built again.
 */
typedef struct CallSite
{
	EbMatchState *state;
	struct varatt_external toasted;
	const EbPatternSet *fetched;
	MemoryContext fetched_context;
} CallSite;

static const EbPatternSet *
get_set(CallSite *site, MemoryContext context, Datum datum)
{
	struct varlena *value = (struct varlena *) DatumGetPointer(datum);
	struct varatt_external toasted;
	MemoryContext caller;

	if (!VARATT_IS_EXTERNAL_ONDISK(value))
		return current_version((const EbPatternSet *) PG_DETOAST_DATUM(datum));

	VARATT_EXTERNAL_GET_POINTER(toasted, value);
	if (site->fetched != NULL && memcmp(&site->toasted, &toasted, sizeof(toasted)) == 0)
		return site->fetched;
	site->fetched = NULL;
	if (site->fetched_context == NULL)
		site->fetched_context = AllocSetContextCreate(context, "event pattern set",
													  ALLOCSET_DEFAULT_SIZES);
	MemoryContextReset(site->fetched_context);
	caller = MemoryContextSwitchTo(site->fetched_context);
	site->fetched = current_version((const EbPatternSet *) PG_DETOAST_DATUM(datum));
	MemoryContextSwitchTo(caller);
	site->toasted = toasted;
	return site->fetched;
}

/* An array of positions, counted from 1. */
static ArrayType *
make_positions(const int32 *positions, int n)
{
	Size		size = ARR_OVERHEAD_NONULLS(1) + n * sizeof(int32);
	ArrayType  *array;
	int32	   *elements;

	if (n == 0)
		return construct_empty_array(INT4OID);
	array = palloc(size);
	SET_VARSIZE(array, size);
	array->ndim = 1;
	array->dataoffset = 0;
	array->elemtype = INT4OID;
	ARR_DIMS(array)[0] = n;
	ARR_LBOUND(array)[0] = 1;
	elements = (int32 *) ARR_DATA_PTR(array);
	for (int i = 0; i < n; i++)
		elements[i] = positions[i] + 1;
	return array;
}

/* match_any(event jsonb, patterns event_pattern_set) → int[] */
Datum
match_any(PG_FUNCTION_ARGS)
{
	Jsonb	   *event = PG_GETARG_JSONB_P(0);
	CallSite   *site = fcinfo->flinfo->fn_extra;
	const int32 *positions;
	JsonbValue	value;
	int			n;

	if (site == NULL)
	{
		site = MemoryContextAllocZero(fcinfo->flinfo->fn_mcxt, sizeof(CallSite));
		site->state = eb_match_state_create(fcinfo->flinfo->fn_mcxt);
		fcinfo->flinfo->fn_extra = site;
	}
	value.type = jbvBinary;
	value.val.binary.data = &event->root;
	value.val.binary.len = VARSIZE(event) - VARHDRSZ;
	n = eb_pattern_set_match(get_set(site, fcinfo->flinfo->fn_mcxt, PG_GETARG_DATUM(1)),
							 site->state, &value, &positions);
	PG_RETURN_ARRAYTYPE_P(make_positions(positions, n));
}
