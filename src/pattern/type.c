/*-------------------------------------------------------------------------
 *
 * type.c
 *	  The type event_pattern: input and output, comparison, casts.
 *
 * The canonical text is the value.  Equality and hashing look at nothing
 * else, and the binary form is a version byte and that text, parsed and
 * checked again when it is received.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "libpq/pqformat.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"

#include "compat.h"
#include "pattern/parse.h"

#define RECV_VERSION 1

PG_FUNCTION_INFO_V1(event_pattern_in);
PG_FUNCTION_INFO_V1(event_pattern_out);
PG_FUNCTION_INFO_V1(event_pattern_recv);
PG_FUNCTION_INFO_V1(event_pattern_send);
PG_FUNCTION_INFO_V1(event_pattern_eq);
PG_FUNCTION_INFO_V1(event_pattern_ne);
PG_FUNCTION_INFO_V1(event_pattern_lt);
PG_FUNCTION_INFO_V1(event_pattern_le);
PG_FUNCTION_INFO_V1(event_pattern_gt);
PG_FUNCTION_INFO_V1(event_pattern_ge);
PG_FUNCTION_INFO_V1(event_pattern_cmp);
PG_FUNCTION_INFO_V1(event_pattern_hash);
PG_FUNCTION_INFO_V1(event_pattern_hash_extended);
PG_FUNCTION_INFO_V1(event_pattern_from_json);
PG_FUNCTION_INFO_V1(event_pattern_from_jsonb);
PG_FUNCTION_INFO_V1(event_pattern_to_jsonb);

/*
 * Parses, checks and compiles the text of a pattern, which is terminated.  A
 * fault is reported through escontext; the result is NULL then.
 */
EbPattern *
eb_pattern_parse(const char *text, int len, Node *escontext)
{
	EbFault		fault;
	EbParsedPattern *parsed = eb_pattern_check(text, len, &fault);

	if (parsed == NULL)
	{
		int			line;
		int			column;

		if (fault.at == NULL)
			ereturn(escontext, NULL,
					(errcode(fault.sqlstate),
					 errmsg("Event pattern is not valid. Reason: %s", fault.message),
					 errdetail("At %s.", fault.path),
					 fault.hint != NULL ? errhint("%s", fault.hint) : 0));
		eb_text_position(text, fault.at, &line, &column);
		ereturn(escontext, NULL,
				(errcode(fault.sqlstate),
				 errmsg("Event pattern is not valid. Reason: %s", fault.message),
				 errdetail("At %s, line %d, column %d.", fault.path, line, column),
				 fault.hint != NULL ? errhint("%s", fault.hint) : 0));
	}
	return eb_pattern_compile(parsed);
}

/*
 * Tells of a field name that AWS's own API uses in one place, and that people
 * take for the envelope's.  It is allowed, but nearly always a slip.
 */
static void
notice_misspelled_fields(const EbPattern *pattern)
{
	if (eb_pattern_names_path(pattern, "detailType", strlen("detailType")))
		ereport(NOTICE,
				(errmsg("event pattern names the field \"detailType\", which events do not have"),
				 errhint("The field is called \"detail-type\".")));
}

/*
 * A pattern whose program can be run.  One that was stored with another
 * format of the program is compiled again.
 */
const EbPattern *
eb_pattern_detoast(Datum datum)
{
	EbPattern  *pattern = (EbPattern *) PG_DETOAST_DATUM(datum);

	if (unlikely(pattern->version != EB_PATTERN_VERSION))
	{
		char	   *text = pnstrdup(pattern->text, pattern->text_len);

		pattern = eb_pattern_parse(text, pattern->text_len, NULL);
	}
	return pattern;
}

Datum
event_pattern_in(PG_FUNCTION_ARGS)
{
	char	   *text = PG_GETARG_CSTRING(0);
	EbPattern  *pattern = eb_pattern_parse(text, strlen(text), fcinfo->context);

	if (pattern == NULL)
		PG_RETURN_NULL();
	notice_misspelled_fields(pattern);
	PG_RETURN_POINTER(pattern);
}

Datum
event_pattern_out(PG_FUNCTION_ARGS)
{
	const EbPattern *pattern = (EbPattern *) PG_GETARG_VARLENA_P(0);

	PG_RETURN_CSTRING(pnstrdup(pattern->text, pattern->text_len));
}

Datum
event_pattern_recv(PG_FUNCTION_ARGS)
{
	StringInfo	buf = (StringInfo) PG_GETARG_POINTER(0);
	int			version = pq_getmsgbyte(buf);
	char	   *text;
	int			len;

	if (version != RECV_VERSION)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
				 errmsg("unsupported event_pattern version number %d", version)));
	text = pq_getmsgtext(buf, buf->len - buf->cursor, &len);
	PG_RETURN_POINTER(eb_pattern_parse(text, len, NULL));
}

Datum
event_pattern_send(PG_FUNCTION_ARGS)
{
	const EbPattern *pattern = (EbPattern *) PG_GETARG_VARLENA_P(0);
	StringInfoData buf;

	pq_begintypsend(&buf);
	pq_sendbyte(&buf, RECV_VERSION);
	pq_sendtext(&buf, pattern->text, pattern->text_len);
	PG_RETURN_BYTEA_P(pq_endtypsend(&buf));
}

/*
 * The order of the canonical texts, by bytes: an order without meaning, for
 * sorting and merging.
 */
static int
compare_texts(const EbPattern *a, const EbPattern *b)
{
	int			order = memcmp(a->text, b->text, Min(a->text_len, b->text_len));

	if (order != 0)
		return order;
	return (a->text_len > b->text_len) - (a->text_len < b->text_len);
}

/* Compares the two arguments of an SQL function. */
static int
compare_arguments(FunctionCallInfo fcinfo)
{
	EbPattern  *a = (EbPattern *) PG_GETARG_VARLENA_P(0);
	EbPattern  *b = (EbPattern *) PG_GETARG_VARLENA_P(1);
	int			order = compare_texts(a, b);

	PG_FREE_IF_COPY(a, 0);
	PG_FREE_IF_COPY(b, 1);
	return order;
}

Datum
event_pattern_eq(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare_arguments(fcinfo) == 0);
}

Datum
event_pattern_ne(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare_arguments(fcinfo) != 0);
}

Datum
event_pattern_lt(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare_arguments(fcinfo) < 0);
}

Datum
event_pattern_le(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare_arguments(fcinfo) <= 0);
}

Datum
event_pattern_gt(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare_arguments(fcinfo) > 0);
}

Datum
event_pattern_ge(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare_arguments(fcinfo) >= 0);
}

Datum
event_pattern_cmp(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(compare_arguments(fcinfo));
}

Datum
event_pattern_hash(PG_FUNCTION_ARGS)
{
	const EbPattern *pattern = (EbPattern *) PG_GETARG_VARLENA_P(0);

	PG_RETURN_DATUM(hash_any((const unsigned char *) pattern->text, pattern->text_len));
}

Datum
event_pattern_hash_extended(PG_FUNCTION_ARGS)
{
	const EbPattern *pattern = (EbPattern *) PG_GETARG_VARLENA_P(0);

	PG_RETURN_DATUM(hash_any_extended((const unsigned char *) pattern->text,
									  pattern->text_len, PG_GETARG_INT64(1)));
}

/* The text of a json value is parsed as it stands, repeated keys and all. */
Datum
event_pattern_from_json(PG_FUNCTION_ARGS)
{
	char	   *source = text_to_cstring(PG_GETARG_TEXT_PP(0));

	PG_RETURN_POINTER(eb_pattern_parse(source, strlen(source), fcinfo->context));
}

Datum
event_pattern_from_jsonb(PG_FUNCTION_ARGS)
{
	Jsonb	   *value = PG_GETARG_JSONB_P(0);
	char	   *text = JsonbToCString(NULL, &value->root, VARSIZE(value));

	PG_RETURN_POINTER(eb_pattern_parse(text, strlen(text), fcinfo->context));
}

/*
 * jsonb sorts fields and keeps one of equal names.  Of a pattern with $or
 * that may change the meaning; such a pattern has no jsonb form.
 */
Datum
event_pattern_to_jsonb(PG_FUNCTION_ARGS)
{
	const EbPattern *pattern = (EbPattern *) PG_GETARG_VARLENA_P(0);
	char	   *source = pnstrdup(pattern->text, pattern->text_len);
	Jsonb	   *value = DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(source)));
	EbFault		fault;
	EbParsedPattern *parsed = eb_pattern_check(source, pattern->text_len, &fault);

	if (parsed != NULL && parsed->has_or)
	{
		char	   *text = JsonbToCString(NULL, &value->root, VARSIZE(value));
		EbParsedPattern *again = eb_pattern_check(text, strlen(text), &fault);

		if (again == NULL || !eb_pattern_same_conjunctions(parsed, again))
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("event pattern cannot be cast to jsonb"),
					 errdetail("The order or the repetition of its fields matters, and jsonb keeps neither."),
					 errhint("Cast it to text.")));
	}
	PG_RETURN_JSONB_P(value);
}
