/*-------------------------------------------------------------------------
 *
 * deliver.c
 *	  One batch of a pipe, through its enrichment to its target.
 *
 * Enrichment and functions run as the session's user, each call in a
 * subtransaction, as those of rules do (delivery/invoke.c); everything else
 * is the SQL script's, and runs as its owner.  Enrichment and target of a
 * batch share a subtransaction, so that a batch that fails has done nothing.
 *
 * A function or procedure gets the batch, or what the enrichment made of it,
 * as one array.  For all other targets it is taken apart into inputs, which
 * are texts: without a template each element is one.  They are an array of
 * SQL from the beginning, which most of these targets are handed as it is.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/timestamp.h"

#include "bus/bus.h"
#include "compat.h"
#include "json/value.h"
#include "pipes/pipes.h"
#include "transform/template.h"

/*
 * What goes to the target: the batch itself, or what the enrichment has made
 * of it.  The array is there as text or as jsonb, or as both.
 */
typedef struct Elements
{
	char	   *text;
	Jsonb	   *jsonb;
	const EbPipeBatch *batch;	/* whose text it is, or NULL */
} Elements;

static char *
elements_text(Elements *elements)
{
	if (elements->text == NULL)
		elements->text = JsonbToCString(NULL, &elements->jsonb->root,
										VARSIZE(elements->jsonb));
	return elements->text;
}

static bool
elements_are_none(const Elements *elements)
{
	return elements->jsonb != NULL ? JB_ROOT_COUNT(elements->jsonb) == 0 :
		strcmp(elements->text, "[]") == 0;
}

/* ---- what the target receives ---- */

/*
 * The elements of a JSON array, each through the template if there is one:
 * text[], or NULL if there are none or if the template has no result for one
 * of them; then *fault tells.
 */
static ArrayType *
fill(const EbPipe *pipe, const char *template, const char *records,
	 bool from_source, char **fault)
{
	static SPIPlanPtr plan = NULL;
	static const Oid types[] = {TEXTOID, TEXTOID, TEXTOID, BOOLOID};
	char		nulls[4] = "    ";
	Datum		values[4];
	ArrayType  *inputs = NULL;
	Datum		value;
	bool		isnull;

	values[0] = eb_text_or_null(template, &nulls[0]);
	values[1] = CStringGetTextDatum(pipe->variables);
	values[2] = CStringGetTextDatum(records);
	values[3] = BoolGetDatum(pipe->from_queue && from_source);
	eb_internal_execute(&plan,
						"SELECT inputs, fault FROM eventbridge._pipe_fill($1, $2, $3, $4)",
						4, types, values, nulls);
	*fault = eb_result_text(0, 2);
	value = eb_result(0, 1, &isnull);
	if (*fault == NULL && !isnull)
		inputs = DatumGetArrayTypePCopy(value);
	SPI_freetuptable(SPI_tuptable);
	return inputs;
}

/*
 * text[] is written as it is stored, since the inputs of a batch are many: a
 * header, and each text with its length, at a multiple of four bytes.
 */
static void
begin_texts(StringInfo out)
{
	initStringInfo(out);
	appendStringInfoSpaces(out, ARR_OVERHEAD_NONULLS(1));
}

static int
begin_text(StringInfo out)
{
	static const char padding[ALIGNOF_INT] = {0};
	int			start = INTALIGN(out->len);

	appendBinaryStringInfo(out, padding, start - out->len);
	appendStringInfoSpaces(out, VARHDRSZ);
	return start;
}

static void
end_text(StringInfo out, int start)
{
	SET_VARSIZE(out->data + start, out->len - start);
}

static ArrayType *
end_texts(StringInfo out, int n)
{
	ArrayType  *array = (ArrayType *) out->data;

	SET_VARSIZE(array, out->len);
	array->ndim = 1;
	array->dataoffset = 0;
	array->elemtype = TEXTOID;
	ARR_DIMS(array)[0] = n;
	ARR_LBOUND(array)[0] = 1;
	return array;
}

/* The records of a batch, each as it is. */
static ArrayType *
split_batch(const EbPipeBatch *batch)
{
	StringInfoData out;

	begin_texts(&out);
	enlargeStringInfo(&out, batch->records_len + batch->nrecords *
					  (VARHDRSZ + ALIGNOF_INT));
	for (int i = 0; i < batch->nrecords; i++)
	{
		int			start = begin_text(&out);

		appendBinaryStringInfo(&out, batch->records + batch->starts[i],
							   batch->starts[i + 1] - 1 - batch->starts[i]);
		end_text(&out, start);
	}
	return end_texts(&out, batch->nrecords);
}

/* The elements of an array that has some. */
static ArrayType *
split_jsonb(Jsonb *jsonb)
{
	StringInfoData out;
	JsonbIterator *it = JsonbIteratorInit(&jsonb->root);
	EbJson		element = {0};
	int			n = 0;

	begin_texts(&out);
	enlargeStringInfo(&out, VARSIZE(jsonb));
	(void) JsonbIteratorNext(&it, &element.jsonb, true);
	while (JsonbIteratorNext(&it, &element.jsonb, true) == WJB_ELEM)
	{
		int			start = begin_text(&out);

		eb_json_append(&out, &element);
		end_text(&out, start);
		n++;
	}
	return end_texts(&out, n);
}

/* The inputs that there are for these elements; see fill(). */
static ArrayType *
make_inputs(const EbPipe *pipe, Elements *elements, char **fault)
{
	if (pipe->target_template == NULL && elements->batch != NULL &&
		elements->batch->starts != NULL)
		return split_batch(elements->batch);
	if (pipe->target_template == NULL && elements->jsonb != NULL)
		return split_jsonb(elements->jsonb);
	return fill(pipe, pipe->target_template, elements_text(elements),
				!pipe->enrichment.exists, fault);
}

/* Each input as a string. */
static char **
input_strings(ArrayType *inputs, int *ninputs)
{
	Datum	   *elements;
	char	  **strings;

	deconstruct_array(inputs, TEXTOID, -1, false, TYPALIGN_INT, &elements,
					  NULL, ninputs);
	strings = palloc(sizeof(char *) * Max(*ninputs, 1));
	for (int i = 0; i < *ninputs; i++)
		strings[i] = TextDatumGetCString(elements[i]);
	return strings;
}

static void
append_as_json(StringInfo out, const char *input)
{
	if (eb_json_text_is_valid(input, strlen(input)))
		appendStringInfoString(out, input);
	else
		escape_json(out, input);
}

/* A JSON array of the inputs; what a template made that is no JSON is text. */
static char *
join(ArrayType *inputs)
{
	int			ninputs;
	char	  **strings = input_strings(inputs, &ninputs);
	StringInfoData out;

	initStringInfo(&out);
	appendStringInfoChar(&out, '[');
	for (int i = 0; i < ninputs; i++)
	{
		if (i > 0)
			appendStringInfoChar(&out, ',');
		append_as_json(&out, strings[i]);
	}
	appendStringInfoChar(&out, ']');
	return out.data;
}

/* ---- enrichment ---- */

/*
 * The answer of an enrichment stands for the batch: an array, or one element;
 * "", {} and [] mean that there is nothing to deliver.
 */
static void
take_answer(Elements *elements, Jsonb *answer)
{
	char	   *text;

	memset(elements, 0, sizeof(Elements));
	if (answer == NULL)
		elements->text = "[]";
	else if (JB_ROOT_IS_ARRAY(answer) && !JB_ROOT_IS_SCALAR(answer))
		elements->jsonb = answer;
	else
	{
		text = JsonbToCString(NULL, &answer->root, VARSIZE(answer));
		elements->text = strcmp(text, "\"\"") == 0 ||
			strcmp(text, "null") == 0 || strcmp(text, "{}") == 0 ?
			"[]" : psprintf("[%s]", text);
	}
}

/* Calls the enrichment.  False and *fault if it failed. */
static bool
enrich(EbPipe *pipe, const EbPipeBatch *batch, Elements *elements,
	   char **fault)
{
	EbInvocation invocation = {
		.target = &pipe->enrichment,
		.wants_result = true,
		.input = batch->records,
		.input_jsonb = batch->parsed
	};

	if (pipe->enrichment_template != NULL)
	{
		ArrayType  *inputs = fill(pipe, pipe->enrichment_template,
								  batch->records, true, fault);

		if (inputs == NULL)
			return false;
		invocation.input = join(inputs);
		invocation.input_jsonb = NULL;
	}
	if (!eb_invoke(&invocation, 1))
	{
		*fault = invocation.outcome.message;
		return false;
	}
	take_answer(elements, invocation.result);
	return true;
}

/* ---- delivering ---- */

/*
 * Stores all inputs with one statement, which knows ($1) where and ($3) how
 * many seconds they are to be delayed.
 */
static void
store_all(SPIPlanPtr *plan, const char *sql, const EbPipe *pipe,
		  ArrayType *inputs)
{
	static const Oid types[] = {INT8OID, TEXTARRAYOID, INT4OID};
	Datum		values[3] = {
		Int64GetDatum(pipe->target.resource_id),
		PointerGetDatum(inputs),
		Int32GetDatum(pipe->target.delay)
	};

	eb_internal_call(plan, sql, 3, types, values, NULL);
}

/*
 * Leaves the inputs to eventbridge-worker, as deliveries owed to the target
 * that the pipe has for that; see _set_pipe_destination().
 */
static void
leave_to_client(const EbPipe *pipe, char **inputs, int ninputs)
{
	EbMatchedTarget target = {.target_id = pipe->target.resource_id};
	StringInfoData text;

	initStringInfo(&text);
	for (int i = 0; i < ninputs; i++)
	{
		EbPublishedEvent event = {
			.bus_id = EB_DEFAULT_BUS,
			.ingestion_time = GetCurrentTimestamp()
		};

		CHECK_FOR_INTERRUPTS();
		resetStringInfo(&text);
		append_as_json(&text, inputs[i]);
		eb_envelope_new_id(&event.id);
		event.text = text.data;
		event.text_len = text.len;
		eb_publish_sink(&event, &target, 1);
	}
}

/* Hands each input to the target, one after the other. */
static void
deliver_each(EbPipe *pipe, ArrayType *inputs)
{
	EbLogRow	row = {0};
	EbInvocation invocation = {.target = &pipe->target,.row = &row};
	int			ninputs;
	char	  **strings = input_strings(inputs, &ninputs);

	if (pipe->target.kind == EB_TARGET_CLIENT)
	{
		leave_to_client(pipe, strings, ninputs);
		return;
	}
	for (int i = 0; i < ninputs; i++)
	{
		CHECK_FOR_INTERRUPTS();
		eb_envelope_new_id(&row.event_id);
		invocation.input = strings[i];
		eb_target_deliver(&invocation);
	}
}

/*
 * Hands over inputs for which the target's parameters may look into the
 * record, by the given function.
 */
static void
hand_over(SPIPlanPtr *plan, const char *sql, const EbPipe *pipe,
		  Elements *elements, ArrayType *inputs, EbPipeResult *result)
{
	static const Oid types[] = {INT8OID, TEXTOID, TEXTARRAYOID};
	Datum		values[3];

	values[0] = Int64GetDatum(pipe->pipe_id);
	values[1] = CStringGetTextDatum(elements_text(elements));
	values[2] = PointerGetDatum(inputs);
	eb_internal_execute(plan, sql, 3, types, values, NULL);
	result->message = eb_result_text(0, 1);
	SPI_freetuptable(SPI_tuptable);
	if (result->message != NULL)
		result->stage = "TARGET";
}

/* Puts the inputs where the target says; no user code runs. */
static void
deliver_inputs(EbPipe *pipe, Elements *elements, ArrayType *inputs,
			   EbPipeResult *result)
{
	static SPIPlanPtr queue_plan = NULL;
	static SPIPlanPtr group_plan = NULL;
	static SPIPlanPtr log_plan = NULL;
	static SPIPlanPtr bus_plan = NULL;

	switch (pipe->target.kind)
	{
		case EB_TARGET_QUEUE:
			if (pipe->has_groups)
			{
				hand_over(&group_plan,
						  "SELECT eventbridge._pipe_send_messages($1, $2, $3)",
						  pipe, elements, inputs, result);
				break;
			}
			store_all(&queue_plan, "INSERT INTO eventbridge.queue_message"
					  " (queue_id, body, visible_at)"
					  " SELECT $1, unnest($2),"
					  " clock_timestamp() + $3 * interval '1 s'", pipe, inputs);
			break;
		case EB_TARGET_LOG_GROUP:
			store_all(&log_plan, "INSERT INTO eventbridge.log_event"
					  " (log_group_id, message) SELECT $1, unnest($2)",
					  pipe, inputs);
			break;
		case EB_TARGET_BUS:
			hand_over(&bus_plan,
					  "SELECT eventbridge._pipe_put_events($1, $2, $3)",
					  pipe, elements, inputs, result);
			break;
		default:
			deliver_each(pipe, inputs);
	}
}

/*
 * Which of the batch's records the target says that it failed with: their
 * numbers from 1, none if it is content.  All if it names one that we do not
 * know; then the only number is 0.
 */
static int *
failed_records(const Jsonb *answer, const char *records, int *nfailed)
{
	static SPIPlanPtr plan = NULL;
	static const Oid types[] = {JSONBOID, TEXTOID};
	Datum		values[2] = {JsonbPGetDatum(answer), CStringGetTextDatum(records)};
	Datum		array;
	Datum	   *elements;
	int		   *failed = NULL;
	bool		isnull;

	eb_internal_execute(&plan, "SELECT eventbridge._failed_records($1, $2)",
						2, types, values, NULL);
	array = eb_result(0, 1, &isnull);
	*nfailed = 0;
	if (!isnull)
	{
		deconstruct_array(DatumGetArrayTypeP(array), INT4OID, sizeof(int32),
						  true, TYPALIGN_INT, &elements, NULL, nfailed);
		failed = palloc0(sizeof(int) * (*nfailed + 1));
		for (int i = 0; i < *nfailed; i++)
			failed[i] = DatumGetInt32(elements[i]);
		*nfailed = Max(*nfailed, 1);
	}
	SPI_freetuptable(SPI_tuptable);
	return failed;
}

/* Calls a function or a procedure with all elements as one array. */
static void
call_target(EbPipe *pipe, const EbPipeBatch *batch,
			const Elements *elements, ArrayType *inputs, EbPipeResult *result)
{
	EbInvocation invocation = {.target = &pipe->target};

	if (inputs != NULL)
		invocation.input = join(inputs);
	else
	{
		invocation.input = elements->text;
		invocation.input_jsonb = elements->jsonb;
	}
	invocation.wants_result = pipe->target.kind == EB_TARGET_FUNCTION &&
		get_func_rettype(pipe->target.function) == JSONBOID;
	result->stage = "TARGET";
	if (!eb_invoke(&invocation, 1))
	{
		result->message = invocation.outcome.message;
		return;
	}
	if (invocation.result != NULL)
		result->failed = failed_records(invocation.result, batch->records,
										&result->nfailed);
	if (result->nfailed > 0)
		result->message = "the target failed with some records";
	else
		result->stage = NULL;
}

/* ---- the pipe's log ---- */

/* Entries of level INFO that a batch makes in the pipe's log. */
#define MAX_NOTES	6

typedef struct Note
{
	const char *message_type;
	const char *records;		/* or NULL */
	TimestampTz at;
} Note;

/* What is to be logged when the batch has ended. */
typedef struct Notes
{
	int			count;
	Note		entries[MAX_NOTES];
} Notes;

static void
note(const EbPipe *pipe, Notes *notes, const char *message_type,
	 const char *records)
{
	Note	   *entry = &notes->entries[notes->count];

	if (!pipe->logs)
		return;
	Assert(notes->count < MAX_NOTES);
	entry->message_type = message_type;
	entry->records = records;
	entry->at = GetCurrentTimestamp();
	notes->count++;
}

static void
write_notes(const EbPipe *pipe, const Notes *notes)
{
	static SPIPlanPtr plan = NULL;
	static const Oid types[] = {INT8OID, TEXTOID, TEXTOID, TIMESTAMPTZOID};

	for (int i = 0; i < notes->count; i++)
	{
		const Note *entry = &notes->entries[i];
		char		nulls[4] = "    ";
		Datum		values[4] = {
			Int64GetDatum(pipe->pipe_id),
			CStringGetTextDatum(entry->message_type),
			eb_text_or_null(entry->records, &nulls[2]),
			TimestampTzGetDatum(entry->at)
		};

		eb_internal_call(&plan,
							"SELECT eventbridge._pipe_note($1, 'INFO', $2, NULL, $3, $4)",
							4, types, values, nulls);
	}
}

/* ---- the batch ---- */

/* Hands the batch, or what stands for it, to the target. */
static void
pass_on(EbPipe *pipe, const EbPipeBatch *batch, Elements *elements,
		EbPipeResult *result, Notes *notes)
{
	bool		is_called = pipe->target.kind == EB_TARGET_FUNCTION ||
		pipe->target.kind == EB_TARGET_PROCEDURE;
	ArrayType  *inputs = NULL;

	result->skipped = elements_are_none(elements);
	if (result->skipped)
		return;
	if (!is_called || pipe->target_template != NULL)
	{
		inputs = make_inputs(pipe, elements, &result->message);
		if (inputs == NULL)
		{
			result->stage = "TARGET";
			return;
		}
	}
	note(pipe, notes, "TARGET_STAGE_ENTERED", NULL);
	if (is_called)
		call_target(pipe, batch, elements, inputs, result);
	else
		deliver_inputs(pipe, elements, inputs, result);
	if (result->stage != NULL)
		return;
	note(pipe, notes, "TARGET_STAGE_SUCCEEDED", NULL);
	note(pipe, notes, "EXECUTION_SUCCEEDED", NULL);
}

/*
 * Enriches the batch and hands it on, in a subtransaction: what the enrichment
 * has written goes if the target fails, since it will be called again.  It
 * stays if the target tells which records it failed with; then what the target
 * has done for the others stays, too.
 */
static void
enrich_and_pass_on(EbPipe *pipe, const EbPipeBatch *batch,
				   EbPipeResult *result, Notes *notes)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	Elements	elements;

	note(pipe, notes, "ENRICHMENT_STAGE_ENTERED", NULL);
	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	if (enrich(pipe, batch, &elements, &result->message))
	{
		note(pipe, notes, "ENRICHMENT_STAGE_SUCCEEDED",
			 pipe->logs ? elements_text(&elements) : NULL);
		pass_on(pipe, batch, &elements, result, notes);
	}
	else
		result->stage = "ENRICHMENT";
	if (result->stage == NULL || result->nfailed > 0)
		ReleaseCurrentSubTransaction();
	else
	{
		RollbackAndReleaseCurrentSubTransaction();
		/* What the server keeps for calls may go with it. */
		pipe->enrichment.flinfo.fn_oid = InvalidOid;
		pipe->target.flinfo.fn_oid = InvalidOid;
	}
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
}

/*
 * Delivers a batch, and says in result how it ended.  If it failed it has done
 * nothing, except for records that a target says it did not fail with.
 */
void
eb_pipe_deliver(EbPipe *pipe, const EbPipeBatch *batch, EbPipeResult *result)
{
	Elements	elements = {
		.text = batch->records,
		.jsonb = batch->parsed,
		.batch = batch
	};
	Notes		notes = {0};

	memset(result, 0, sizeof(EbPipeResult));
	note(pipe, &notes, "EXECUTION_STARTED", batch->records);
	if (pipe->enrichment.exists)
		enrich_and_pass_on(pipe, batch, result, &notes);
	else
		pass_on(pipe, batch, &elements, result, &notes);
	write_notes(pipe, &notes);
}
