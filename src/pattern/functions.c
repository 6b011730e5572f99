/*-------------------------------------------------------------------------
 *
 * functions.c
 *	  SQL functions on patterns: match, check, test.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"

#include "compat.h"
#include "pattern/parse.h"

PG_FUNCTION_INFO_V1(event_pattern_matches);
PG_FUNCTION_INFO_V1(event_pattern_matched_by);
PG_FUNCTION_INFO_V1(check_event_pattern);
PG_FUNCTION_INFO_V1(test_event_pattern);

/* matches(event jsonb, pattern event_pattern), also jsonb @~ event_pattern */
Datum
event_pattern_matches(PG_FUNCTION_ARGS)
{
	Jsonb	   *event = PG_GETARG_JSONB_P(0);
	const EbPattern *pattern = PG_GETARG_EVENT_PATTERN_P(1);

	PG_RETURN_BOOL(eb_pattern_matches(pattern, &event->root));
}

/* event_pattern ~@ jsonb */
Datum
event_pattern_matched_by(PG_FUNCTION_ARGS)
{
	const EbPattern *pattern = PG_GETARG_EVENT_PATTERN_P(0);
	Jsonb	   *event = PG_GETARG_JSONB_P(1);

	PG_RETURN_BOOL(eb_pattern_matches(pattern, &event->root));
}

/*
 * check_event_pattern(pattern text) → setof (message, line_number,
 * column_number, path): the first fault, or no row.
 */
Datum
check_event_pattern(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	char	   *source = text_to_cstring(PG_GETARG_TEXT_PP(0));
	EbFault		fault;
	Datum		values[4];
	bool		nulls[4] = {false};
	int			line;
	int			column;

	InitMaterializedSRF(fcinfo, 0);
	if (eb_pattern_check(source, strlen(source), &fault) != NULL)
		return (Datum) 0;

	values[0] = CStringGetTextDatum(fault.message);
	nulls[1] = nulls[2] = fault.at == NULL;
	if (fault.at != NULL)
	{
		eb_text_position(source, fault.at, &line, &column);
		values[1] = Int32GetDatum(line);
		values[2] = Int32GetDatum(column);
	}
	values[3] = CStringGetTextDatum(fault.path);
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	return (Datum) 0;
}

/* What AWS's TestEventPattern wants an event to have. */
static const char *const envelope_fields[] = {
	"id", "account", "source", "time", "region", "detail-type"
};

static void
check_envelope(const char *text)
{
	EbFault		fault = {0};
	const EbJson *event = eb_json_read(text, strlen(text), &fault);

	if (fault.message != NULL)
	{
		int			line;
		int			column;

		eb_text_position(text, fault.at, &line, &column);
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("Parameter Event is not valid."),
				 errdetail("%s, at line %d, column %d.", fault.message, line, column)));
	}
	if (event->kind != EB_JSON_OBJECT)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("Parameter Event is not valid."),
				 errdetail("The event is not a JSON object.")));

	for (int i = 0; i < lengthof(envelope_fields); i++)
	{
		const EbJson *member = event->first;

		while (member != NULL && strcmp(member->key, envelope_fields[i]) != 0)
			member = member->next;
		if (member == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("Parameter Event is not valid."),
					 errdetail("The event has no field \"%s\".", envelope_fields[i]),
					 errhint("To match a value that is no complete event, use the function matches.")));
	}
}

/* test_event_pattern(event_pattern text, event text) → boolean */
Datum
test_event_pattern(PG_FUNCTION_ARGS)
{
	char	   *pattern_text = text_to_cstring(PG_GETARG_TEXT_PP(0));
	char	   *event_text = text_to_cstring(PG_GETARG_TEXT_PP(1));
	EbPattern  *pattern;
	Jsonb	   *event;

	check_envelope(event_text);
	pattern = eb_pattern_parse(pattern_text, strlen(pattern_text), NULL);
	event = DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(event_text)));
	PG_RETURN_BOOL(eb_pattern_matches(pattern, &event->root));
}
