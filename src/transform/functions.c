/*-------------------------------------------------------------------------
 *
 * functions.c
 *	  Paths and templates as SQL functions.
 *
 * A function keeps what it compiled from its constant-like arguments, a path
 * or a template with its paths map, for the next call.  It is used again if
 * the arguments have the same bytes, so a query that takes its template from
 * a table is right as well, and only as slow as its templates change.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/tuplestore.h"

#include "compat.h"
#include "transform/template.h"

PG_FUNCTION_INFO_V1(input_path);
PG_FUNCTION_INFO_V1(json_input_path);
PG_FUNCTION_INFO_V1(transform_input);
PG_FUNCTION_INFO_V1(json_transform_input);
PG_FUNCTION_INFO_V1(transform_pipe_input);
PG_FUNCTION_INFO_V1(json_transform_pipe_input);
PG_FUNCTION_INFO_V1(check_input_transformer);
PG_FUNCTION_INFO_V1(check_pipe_input_template);
PG_FUNCTION_INFO_V1(check_target_input);

/*
 * What a function keeps between calls, and the arguments that it was made
 * from.  All of it but this struct is in a context of its own.
 */
typedef struct Compiled
{
	MemoryContext context;
	char	   *text;			/* path or template */
	int			text_len;
	char	   *map;			/* paths map as stored, or NULL */
	int			map_len;
	EbPath	   *path;
	EbTemplate *template;
	StringInfoData buffer;		/* for results; keeps its size */
} Compiled;

/* A buffer larger than this is not kept. */
#define EB_KEPT_BUFFER_SIZE		(64 * 1024)

/*
 * The compiled form if it was made from these arguments, else NULL.
 */
static Compiled *
find_compiled(FunctionCallInfo fcinfo, text *source, struct varlena *map)
{
	Compiled   *compiled = fcinfo->flinfo->fn_extra;

	if (compiled == NULL ||
		compiled->text_len != VARSIZE_ANY_EXHDR(source) ||
		memcmp(compiled->text, VARDATA_ANY(source), compiled->text_len) != 0)
		return NULL;
	if ((map == NULL) != (compiled->map == NULL))
		return NULL;
	if (map != NULL &&
		(compiled->map_len != VARSIZE_ANY_EXHDR(map) ||
		 memcmp(compiled->map, VARDATA_ANY(map), compiled->map_len) != 0))
		return NULL;
	return compiled;
}

/*
 * A new compiled form, empty but for the copies of its arguments.  It is
 * the current context's child until keep_compiled is called, so an error in
 * between leaves nothing behind.
 */
static Compiled *
make_compiled(text *source, struct varlena *map)
{
	MemoryContext context;
	Compiled   *compiled;

	context = AllocSetContextCreate(CurrentMemoryContext,
									"eventbridge compiled template",
									ALLOCSET_SMALL_SIZES);
	compiled = MemoryContextAllocZero(context, sizeof(Compiled));
	compiled->context = context;
	compiled->text_len = VARSIZE_ANY_EXHDR(source);
	compiled->text = MemoryContextAlloc(context, compiled->text_len + 1);
	memcpy(compiled->text, VARDATA_ANY(source), compiled->text_len);
	if (map != NULL)
	{
		compiled->map_len = VARSIZE_ANY_EXHDR(map);
		compiled->map = MemoryContextAlloc(context, compiled->map_len + 1);
		memcpy(compiled->map, VARDATA_ANY(map), compiled->map_len);
	}
	return compiled;
}

static void
keep_compiled(FunctionCallInfo fcinfo, Compiled *compiled)
{
	Compiled   *old = fcinfo->flinfo->fn_extra;

	MemoryContextSetParent(compiled->context, fcinfo->flinfo->fn_mcxt);
	fcinfo->flinfo->fn_extra = compiled;
	if (old != NULL)
		MemoryContextDelete(old->context);
}

/*
 * The path that the argument spells.
 */
static const EbPath *
get_path(FunctionCallInfo fcinfo, int argno)
{
	text	   *source = PG_GETARG_TEXT_PP(argno);
	Compiled   *compiled = find_compiled(fcinfo, source, NULL);
	MemoryContext old;
	EbPathFault fault;

	if (compiled != NULL)
		return compiled->path;

	compiled = make_compiled(source, NULL);
	old = MemoryContextSwitchTo(compiled->context);
	compiled->path = eb_path_parse(compiled->text, compiled->text_len, &fault);
	MemoryContextSwitchTo(old);
	if (compiled->path == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("InputPath is invalid."),
				 errdetail_internal("%s",
									eb_path_fault_detail(compiled->text,
														 compiled->text_len,
														 &fault))));
	keep_compiled(fcinfo, compiled);
	return compiled->path;
}

/*
 * The template that the arguments make; a pipe's has no map.
 */
static Compiled *
get_template(FunctionCallInfo fcinfo, EbTemplateKind kind,
			 int map_argno, int template_argno)
{
	text	   *source = PG_GETARG_TEXT_PP(template_argno);
	struct varlena *map = NULL;
	Compiled   *compiled;
	MemoryContext old;
	List	   *faults = NIL;

	if (kind == EB_TEMPLATE_RULE && !PG_ARGISNULL(map_argno))
		map = PG_DETOAST_DATUM_PACKED(PG_GETARG_DATUM(map_argno));
	compiled = find_compiled(fcinfo, source, map);
	if (compiled != NULL)
		return compiled;

	compiled = make_compiled(source, map);
	old = MemoryContextSwitchTo(compiled->context);
	compiled->template =
		eb_template_parse(kind,
						  compiled->text, compiled->text_len,
						  map ? DatumGetJsonbP(PointerGetDatum(map)) : NULL,
						  NULL, &faults);
	initStringInfo(&compiled->buffer);
	MemoryContextSwitchTo(old);
	if (faults != NIL)
	{
		EbTemplateFault *fault = linitial(faults);

		ereport(ERROR,
				(errcode(fault->sqlerrcode),
				 errmsg_internal("%s", fault->message),
				 fault->detail ? errdetail_internal("%s", fault->detail) : 0));
	}
	keep_compiled(fcinfo, compiled);
	return compiled;
}

/*
 * The work of all transform functions, whose arguments are event, for a rule
 * the paths map, template, variables; only map and variables may be NULL.
 */
static Datum
transform(FunctionCallInfo fcinfo, EbTemplateKind kind, bool event_is_json)
{
	int			template_argno = kind == EB_TEMPLATE_RULE ? 2 : 1;
	int			variables_argno = template_argno + 1;
	Compiled   *compiled;
	EbJson		event;
	Jsonb	   *variables = NULL;
	text	   *result;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(template_argno))
		PG_RETURN_NULL();

	compiled = get_template(fcinfo, kind, 1, template_argno);
	if (event_is_json)
	{
		text	   *source = PG_GETARG_TEXT_PP(0);

		eb_json_from_text(&event, VARDATA_ANY(source),
						  VARSIZE_ANY_EXHDR(source));
	}
	else
		eb_json_from_jsonb(&event, PG_GETARG_JSONB_P(0));
	if (!PG_ARGISNULL(variables_argno))
	{
		variables = PG_GETARG_JSONB_P(variables_argno);
		if (!JB_ROOT_IS_OBJECT(variables))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("variables must be a JSON object")));
	}

	resetStringInfo(&compiled->buffer);
	eb_template_fill(compiled->template, &event, variables, &compiled->buffer);
	result = cstring_to_text_with_len(compiled->buffer.data,
									  compiled->buffer.len);
	if (compiled->buffer.maxlen > EB_KEPT_BUFFER_SIZE)
	{
		MemoryContext old = MemoryContextSwitchTo(compiled->context);

		pfree(compiled->buffer.data);
		initStringInfo(&compiled->buffer);
		MemoryContextSwitchTo(old);
	}
	PG_RETURN_TEXT_P(result);
}

Datum
transform_input(PG_FUNCTION_ARGS)
{
	return transform(fcinfo, EB_TEMPLATE_RULE, false);
}

Datum
json_transform_input(PG_FUNCTION_ARGS)
{
	return transform(fcinfo, EB_TEMPLATE_RULE, true);
}

Datum
transform_pipe_input(PG_FUNCTION_ARGS)
{
	return transform(fcinfo, EB_TEMPLATE_PIPE, false);
}

Datum
json_transform_pipe_input(PG_FUNCTION_ARGS)
{
	return transform(fcinfo, EB_TEMPLATE_PIPE, true);
}

Datum
input_path(PG_FUNCTION_ARGS)
{
	EbJson		event;
	EbJson		found;

	eb_json_from_jsonb(&event, PG_GETARG_JSONB_P(0));
	if (!eb_path_get(get_path(fcinfo, 1), &event, &found))
		PG_RETURN_NULL();
	PG_RETURN_JSONB_P(JsonbValueToJsonb(&found.jsonb));
}

Datum
json_input_path(PG_FUNCTION_ARGS)
{
	text	   *source = PG_GETARG_TEXT_PP(0);
	EbJson		event;
	EbJson		found;
	StringInfoData out;

	eb_json_from_text(&event, VARDATA_ANY(source), VARSIZE_ANY_EXHDR(source));
	if (!eb_path_get(get_path(fcinfo, 1), &event, &found))
		PG_RETURN_NULL();
	initStringInfo(&out);
	eb_json_append(&out, &found);
	PG_RETURN_TEXT_P(cstring_to_text_with_len(out.data, out.len));
}

/*
 * Give the faults as the rows of a result (message text, detail text).
 */
static void
return_faults(FunctionCallInfo fcinfo, List *faults)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	ListCell   *lc;

	InitMaterializedSRF(fcinfo, 0);
	foreach(lc, faults)
	{
		EbTemplateFault *fault = lfirst(lc);
		Datum		values[2] = {0};
		bool		nulls[2] = {false, fault->detail == NULL};

		values[0] = CStringGetTextDatum(fault->message);
		if (fault->detail != NULL)
			values[1] = CStringGetTextDatum(fault->detail);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
}

/*
 * Each fault of a transformer as a row; arguments are paths map, template,
 * target id.
 */
Datum
check_input_transformer(PG_FUNCTION_ARGS)
{
	text	   *template = PG_ARGISNULL(1) ? NULL : PG_GETARG_TEXT_PP(1);
	List	   *faults = NIL;

	/* AWS wants a template: none is as wrong as an empty one */
	(void) eb_template_parse(EB_TEMPLATE_RULE,
							 template ? VARDATA_ANY(template) : "",
							 template ? VARSIZE_ANY_EXHDR(template) : 0,
							 PG_ARGISNULL(0) ? NULL : PG_GETARG_JSONB_P(0),
							 PG_ARGISNULL(2) ? NULL :
							 text_to_cstring(PG_GETARG_TEXT_PP(2)),
							 &faults);
	return_faults(fcinfo, faults);
	return (Datum) 0;
}

/*
 * Each fault of a pipe's template as a row.
 */
Datum
check_pipe_input_template(PG_FUNCTION_ARGS)
{
	text	   *template = PG_GETARG_TEXT_PP(0);
	List	   *faults = NIL;

	(void) eb_template_parse(EB_TEMPLATE_PIPE,
							 VARDATA_ANY(template), VARSIZE_ANY_EXHDR(template),
							 NULL, NULL, &faults);
	return_faults(fcinfo, faults);
	return (Datum) 0;
}

/*
 * Each fault in the input options of a target (an entry of PutTargets' list)
 * as a row.
 */
Datum
check_target_input(PG_FUNCTION_ARGS)
{
	Jsonb	   *target = PG_GETARG_JSONB_P(0);
	List	   *faults = NIL;

	if (!JB_ROOT_IS_OBJECT(target))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("target must be a JSON object")));
	eb_target_input_check(target, &faults);
	return_faults(fcinfo, faults);
	return (Datum) 0;
}
