/*-------------------------------------------------------------------------
 *
 * run.c
 *	  Serving pipes: records from a source, through an enrichment, to a target.
 *
 * A pipe is served by sessions of the role that it runs as, as part of
 * run_deliveries(), by one of them at a time: the lock PIPE keeps the others
 * away, so records keep their order.  Many batches of a stream are read at
 * once, and delivered in one transaction, which notes how far the pipe has come;
 * what a batch does in the database and that it was done are committed
 * together.  After EB_TURN_INTERVAL it is the turn of the role's other pipes and
 * deliveries; what was read and not delivered is read again.
 *
 * A batch that fails holds the pipe: it is tried again, as a whole, in halves
 * or from the record on that failed, until it succeeds, is too old or was
 * tried often enough; then its description goes to the dead-letter queue and
 * the pipe goes on.  A pipe whose role may not use its target, or whose target
 * is gone, stops and says why.
 *
 * Enrichment and functions run as the session's user, each call in a
 * subtransaction, as those of rules do (delivery/invoke.c); everything else
 * is the SQL script's, and runs as its owner.  Enrichment and target of a
 * batch share a subtransaction, so that a batch that fails has done nothing.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
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
#include "delivery/delivery.h"
#include "json/value.h"
#include "pipes/pipes.h"
#include "stream/log.h"
#include "transform/template.h"

PG_FUNCTION_INFO_V1(eb_note_lane);

typedef struct Pipe
{
	int64		pipe_id;
	char	   *arn;
	bool		from_queue;
	EbTarget	enrichment;		/* exists is false if there is none */
	char	   *enrichment_template;	/* or NULL */
	EbTarget	target;
	char	   *target_template;	/* or NULL */
	char	   *variables;		/* of templates */
	bool		logs;			/* more than failures */
	bool		is_held;		/* by a batch that failed */
	char	   *obstacle;		/* or NULL */
} Pipe;


/* What was done in this transaction. */
typedef struct Progress
{
	bool		moved;
	int64		tick;			/* position behind what is done */
	int64		number;
	int64		invocations;
	int64		events;
	int64		bytes;
	int64		skipped;
} Progress;

/* ---- results of our own statements ---- */

static Datum
column(int row, int number, bool *isnull)
{
	return SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc,
						 number, isnull);
}

/* A text in the current memory context, or NULL. */
static char *
column_text(int row, int number)
{
	bool		isnull;
	Datum		value = column(row, number, &isnull);

	return isnull ? NULL : TextDatumGetCString(value);
}

static int64
column_int64(int row, int number)
{
	bool		isnull;
	Datum		value = column(row, number, &isnull);

	return isnull ? 0 : DatumGetInt64(value);
}

static Oid
column_oid(int row, int number)
{
	bool		isnull;
	Datum		value = column(row, number, &isnull);

	return isnull ? InvalidOid : DatumGetObjectId(value);
}

/* ---- the pipe ---- */

/* Reads the pipe; false if it is not running any more. */
static bool
load_pipe(Pipe *pipe, int64 pipe_id)
{
	static SPIPlanPtr plan = NULL;
	static const Oid types[] = {INT8OID};
	Datum		values[1] = {Int64GetDatum(pipe_id)};
	MemoryContext context = CurrentMemoryContext;
	bool		isnull;

	memset(pipe, 0, sizeof(Pipe));
	pipe->pipe_id = pipe_id;
	if (eb_internal_execute(&plan,
							"SELECT arn, source_kind, enrichment, enrichment_template,"
							" target_kind, resource, resource_id, routine, claim_check,"
							" target_template, variables, log_level, obstacle, is_held"
							" FROM eventbridge._pipe_to_run($1)",
							1, types, values, NULL) == 0)
		return false;
	MemoryContextSwitchTo(context);
	pipe->arn = column_text(0, 1);
	pipe->from_queue = strcmp(column_text(0, 2), "queue") == 0;
	pipe->enrichment.function = column_oid(0, 3);
	pipe->enrichment.exists = OidIsValid(pipe->enrichment.function);
	pipe->enrichment.kind = EB_TARGET_FUNCTION;
	pipe->enrichment.context = context;
	pipe->enrichment_template = column_text(0, 4);
	pipe->target.exists = true;
	pipe->target.context = context;
	pipe->target.kind = eb_target_kind(column_text(0, 5));
	pipe->target.name = column_text(0, 6);
	pipe->target.resource_id = column_int64(0, 7);
	pipe->target.function = column_oid(0, 8);
	pipe->target.claim_check = DatumGetBool(column(0, 9, &isnull)) && !isnull;
	pipe->target_template = column_text(0, 10);
	pipe->variables = column_text(0, 11);
	pipe->logs = strcmp(column_text(0, 12), "INFO") == 0;
	pipe->obstacle = column_text(0, 13);
	pipe->is_held = DatumGetBool(column(0, 14, &isnull)) && !isnull;
	return true;
}

static void
halt(const Pipe *pipe)
{
	static SPIPlanPtr plan = NULL;
	static const Oid types[] = {INT8OID, TEXTOID};
	Datum		values[2] = {
		Int64GetDatum(pipe->pipe_id),
		CStringGetTextDatum(pipe->obstacle)
	};

	eb_internal_execute(&plan, "SELECT eventbridge._pipe_halt($1, $2)", 2,
						types, values, NULL);
}

/* ---- what the target receives ---- */

/*
 * The elements of a batch, each through the template if there is one.  NULL
 * and *fault if the template has no result for one of them.
 */
static char **
fill(const Pipe *pipe, const char *template, const char *records,
	 bool from_source, int *ninputs, char **fault)
{
	static SPIPlanPtr plan = NULL;
	static const Oid types[] = {TEXTOID, TEXTOID, TEXTOID, BOOLOID};
	char		nulls[4] = "    ";
	Datum		values[4];
	MemoryContext context = CurrentMemoryContext;
	Datum		array;
	Datum	   *elements;
	char	  **inputs;
	bool		isnull;

	values[0] = eb_text_or_null(template, &nulls[0]);
	values[1] = CStringGetTextDatum(pipe->variables);
	values[2] = CStringGetTextDatum(records);
	values[3] = BoolGetDatum(pipe->from_queue && from_source);
	eb_internal_execute(&plan,
						"SELECT inputs, fault FROM eventbridge._pipe_fill($1, $2, $3, $4)",
						4, types, values, nulls);
	MemoryContextSwitchTo(context);
	*fault = column_text(0, 2);
	*ninputs = 0;
	if (*fault != NULL)
		return NULL;
	array = column(0, 1, &isnull);
	if (isnull)
		return palloc0(sizeof(char *));
	deconstruct_array(DatumGetArrayTypeP(array), TEXTOID, -1, false,
					  TYPALIGN_INT, &elements, NULL, ninputs);
	inputs = palloc(sizeof(char *) * (*ninputs + 1));
	for (int i = 0; i < *ninputs; i++)
		inputs[i] = TextDatumGetCString(elements[i]);
	return inputs;
}

/* A JSON array of the inputs; what a template made that is no JSON is text. */
static char *
join(char **inputs, int ninputs)
{
	StringInfoData out;

	initStringInfo(&out);
	appendStringInfoChar(&out, '[');
	for (int i = 0; i < ninputs; i++)
	{
		if (i > 0)
			appendStringInfoChar(&out, ',');
		if (eb_json_text_is_valid(inputs[i], strlen(inputs[i])))
			appendStringInfoString(&out, inputs[i]);
		else
			escape_json(&out, inputs[i]);
	}
	appendStringInfoChar(&out, ']');
	return out.data;
}

/*
 * What goes to the target: the batch itself, or what the enrichment has made
 * of it.  The array is there as text or as jsonb, or as both.
 */
typedef struct Elements
{
	char	   *text;
	Jsonb	   *jsonb;
	char	  **each;			/* the batch's own records; or NULL */
	int			neach;
} Elements;

static char *
elements_text(Elements *elements)
{
	if (elements->text == NULL)
		elements->text = JsonbToCString(NULL, &elements->jsonb->root,
										VARSIZE(elements->jsonb));
	return elements->text;
}

/* Each element as text. */
static char **
split(Elements *elements, int *n)
{
	JsonbIterator *it;
	EbJson		element = {0};
	char	  **each;

	if (elements->each != NULL)
	{
		*n = elements->neach;
		return elements->each;
	}
	each = palloc(sizeof(char *) * (JB_ROOT_COUNT(elements->jsonb) + 1));
	*n = 0;
	it = JsonbIteratorInit(&elements->jsonb->root);
	(void) JsonbIteratorNext(&it, &element.jsonb, true);
	while (JsonbIteratorNext(&it, &element.jsonb, true) == WJB_ELEM)
	{
		StringInfoData out;

		initStringInfo(&out);
		eb_json_append(&out, &element);
		each[(*n)++] = out.data;
	}
	return each;
}

/*
 * Calls the enrichment.  The answer stands for the batch: an array, or one
 * element; "", {} and [] mean that there is nothing to deliver.  False and
 * *fault if it failed.
 */
static bool
enrich(Pipe *pipe, const EbPipeBatch *batch, Elements *elements, char **fault)
{
	EbInvocation invocation = {
		.target = &pipe->enrichment,
		.wants_result = true
	};
	Jsonb	   *result;

	memset(elements, 0, sizeof(Elements));
	invocation.input = batch->records;
	invocation.input_jsonb = batch->parsed;
	if (pipe->enrichment_template != NULL)
	{
		int			ninputs;
		char	  **inputs = fill(pipe, pipe->enrichment_template,
								  batch->records, true, &ninputs, fault);

		if (inputs == NULL)
			return false;
		invocation.input = join(inputs, ninputs);
		invocation.input_jsonb = NULL;
	}
	if (!eb_invoke(&invocation, 1))
	{
		*fault = invocation.outcome.message;
		return false;
	}
	result = invocation.result;
	if (result == NULL)
		elements->text = "[]";
	else if (JB_ROOT_IS_ARRAY(result) && !JB_ROOT_IS_SCALAR(result))
		elements->jsonb = result;
	else
	{
		char	   *answer = JsonbToCString(NULL, &result->root,
											VARSIZE(result));

		elements->text = strcmp(answer, "\"\"") == 0 ||
			strcmp(answer, "null") == 0 || strcmp(answer, "{}") == 0 ?
			"[]" : psprintf("[%s]", answer);
	}
	return true;
}

/* ---- delivering ---- */

static Datum
text_array(char **texts, int n)
{
	Datum	   *elements = palloc(sizeof(Datum) * Max(n, 1));

	for (int i = 0; i < n; i++)
		elements[i] = CStringGetTextDatum(texts[i]);
	return PointerGetDatum(construct_array(elements, n, TEXTOID, -1, false,
										   TYPALIGN_INT));
}

/* Stores all inputs with one statement, which knows ($1) where. */
static void
store_all(SPIPlanPtr *plan, const char *sql, const Pipe *pipe, char **inputs,
		  int ninputs)
{
	static const Oid types[] = {INT8OID, TEXTARRAYOID};
	Datum		values[2] = {
		Int64GetDatum(pipe->target.resource_id),
		text_array(inputs, ninputs)
	};
	MemoryContext context = CurrentMemoryContext;

	eb_internal_execute(plan, sql, 2, types, values, NULL);
	MemoryContextSwitchTo(context);
}

/*
 * Leaves the inputs to eventbridge-worker, as deliveries owed to the target
 * that the pipe has for that; see _set_pipe_destination().
 */
static void
leave_to_client(const Pipe *pipe, char **inputs, int ninputs)
{
	EbMatchedTarget target = {.target_id = pipe->target.resource_id};

	for (int i = 0; i < ninputs; i++)
	{
		EbPublishedEvent event = {
			.bus_id = EB_DEFAULT_BUS,
			.ingestion_time = GetCurrentTimestamp()
		};
		StringInfoData text;

		initStringInfo(&text);
		if (eb_json_text_is_valid(inputs[i], strlen(inputs[i])))
			appendStringInfoString(&text, inputs[i]);
		else
			escape_json(&text, inputs[i]);
		eb_envelope_new_id(&event.id);
		event.text = text.data;
		event.text_len = text.len;
		eb_publish_sink(&event, &target, 1);
		pfree(text.data);
	}
}

/* Stores each input where the target says; no user code runs. */
static void
deliver_each(Pipe *pipe, char **inputs, int ninputs)
{
	static SPIPlanPtr queue_plan = NULL;
	static SPIPlanPtr log_plan = NULL;
	EbLogRow	row = {0};
	EbInvocation invocation = {.target = &pipe->target,.row = &row};

	if (pipe->target.kind == EB_TARGET_QUEUE)
	{
		store_all(&queue_plan, "INSERT INTO eventbridge.queue_message"
				  " (queue_id, body) SELECT $1, t.body FROM unnest($2) AS t (body)",
				  pipe, inputs, ninputs);
		return;
	}
	if (pipe->target.kind == EB_TARGET_LOG_GROUP)
	{
		store_all(&log_plan, "INSERT INTO eventbridge.log_event"
				  " (log_group_id, message) SELECT $1, t.message FROM unnest($2) AS t (message)",
				  pipe, inputs, ninputs);
		return;
	}
	if (pipe->target.kind == EB_TARGET_CLIENT)
	{
		leave_to_client(pipe, inputs, ninputs);
		return;
	}
	for (int i = 0; i < ninputs; i++)
	{
		CHECK_FOR_INTERRUPTS();
		eb_envelope_new_id(&row.event_id);
		invocation.input = inputs[i];
		eb_target_deliver(&invocation);
	}
}

/* Puts the inputs on a bus.  Returns what was wrong, or NULL. */
static char *
put_events(const Pipe *pipe, const char *records, char **inputs, int ninputs)
{
	static SPIPlanPtr plan = NULL;
	static const Oid types[] = {INT8OID, TEXTOID, TEXTARRAYOID};
	Datum		values[3];
	MemoryContext context = CurrentMemoryContext;

	values[0] = Int64GetDatum(pipe->pipe_id);
	values[1] = CStringGetTextDatum(records);
	values[2] = text_array(inputs, ninputs);
	eb_internal_execute(&plan,
						"SELECT eventbridge._pipe_put_events($1, $2, $3)",
						3, types, values, NULL);
	MemoryContextSwitchTo(context);
	return column_text(0, 1);
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
	MemoryContext context = CurrentMemoryContext;
	Datum		array;
	Datum	   *elements;
	int		   *failed;
	bool		isnull;

	eb_internal_execute(&plan, "SELECT eventbridge._failed_records($1, $2)",
						2, types, values, NULL);
	MemoryContextSwitchTo(context);
	array = column(0, 1, &isnull);
	*nfailed = 0;
	if (isnull)
		return NULL;
	deconstruct_array(DatumGetArrayTypeP(array), INT4OID, sizeof(int32), true,
					  TYPALIGN_INT, &elements, NULL, nfailed);
	failed = palloc0(sizeof(int) * (*nfailed + 1));
	for (int i = 0; i < *nfailed; i++)
		failed[i] = DatumGetInt32(elements[i]);
	*nfailed = Max(*nfailed, 1);
	return failed;
}

/* Entries of level INFO that a batch makes in the pipe's log. */
#define MAX_NOTES	6

typedef struct Note
{
	const char *message_type;
	const char *records;		/* or NULL */
	TimestampTz at;
} Note;

/* How a batch ended. */
typedef struct BatchResult
{
	const char *stage;			/* that failed, or NULL */
	char	   *message;
	int		   *failed;			/* see failed_records */
	int			nfailed;
	bool		skipped;		/* the target was not invoked */
	int			nnotes;			/* to be written when it has ended */
	Note		notes[MAX_NOTES];
} BatchResult;

static void
note(const Pipe *pipe, BatchResult *result, const char *message_type,
	 const char *records)
{
	Note	   *entry = &result->notes[result->nnotes];

	if (!pipe->logs)
		return;
	Assert(result->nnotes < MAX_NOTES);
	entry->message_type = message_type;
	entry->records = records;
	entry->at = GetCurrentTimestamp();
	result->nnotes++;
}

static void
write_notes(const Pipe *pipe, const BatchResult *result)
{
	static SPIPlanPtr plan = NULL;
	static const Oid types[] = {INT8OID, TEXTOID, TEXTOID, TIMESTAMPTZOID};

	for (int i = 0; i < result->nnotes; i++)
	{
		const Note *entry = &result->notes[i];
		char		nulls[4] = "    ";
		Datum		values[4] = {
			Int64GetDatum(pipe->pipe_id),
			CStringGetTextDatum(entry->message_type),
			eb_text_or_null(entry->records, &nulls[2]),
			TimestampTzGetDatum(entry->at)
		};

		eb_internal_execute(&plan,
							"SELECT eventbridge._pipe_note($1, 'INFO', $2, NULL, $3, $4)",
							4, types, values, nulls);
	}
}

/* The batch as one argument, to a function or a procedure. */
static void
call_target(Pipe *pipe, const EbPipeBatch *batch, char *input,
			BatchResult *result)
{
	EbInvocation invocation = {.target = &pipe->target,.input = input};

	result->stage = "TARGET";
	invocation.wants_result = pipe->target.kind == EB_TARGET_FUNCTION &&
		get_func_rettype(pipe->target.function) == JSONBOID;
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

/* Hands the batch, or what stands for it, to the target. */
static void
pass_on(Pipe *pipe, const EbPipeBatch *batch, Elements *elements,
		BatchResult *result)
{
	char	  **inputs;
	int			ninputs;

	if (pipe->target_template == NULL &&
		(elements->each != NULL || elements->jsonb != NULL))
		inputs = split(elements, &ninputs);
	else
		inputs = fill(pipe, pipe->target_template, elements_text(elements),
					  !pipe->enrichment.exists, &ninputs, &result->message);
	if (inputs == NULL)
	{
		result->stage = "TARGET";
		return;
	}
	result->skipped = (ninputs == 0);
	if (result->skipped)
		return;
	note(pipe, result, "TARGET_STAGE_ENTERED", NULL);
	if (pipe->target.kind == EB_TARGET_FUNCTION ||
		pipe->target.kind == EB_TARGET_PROCEDURE)
		call_target(pipe, batch, join(inputs, ninputs), result);
	else if (pipe->target.kind == EB_TARGET_BUS)
	{
		result->message = put_events(pipe, elements_text(elements), inputs,
									 ninputs);
		if (result->message != NULL)
			result->stage = "TARGET";
	}
	else
		deliver_each(pipe, inputs, ninputs);
	if (result->stage != NULL)
		return;
	note(pipe, result, "TARGET_STAGE_SUCCEEDED", NULL);
	note(pipe, result, "EXECUTION_SUCCEEDED", NULL);
}

/*
 * Enriches the batch and hands it on, in a subtransaction: what the enrichment
 * has written goes if the target fails, since it will be called again.  It
 * stays if the target tells which records it failed with; then what the target
 * has done for the others stays, too.
 */
static void
enrich_and_pass_on(Pipe *pipe, const EbPipeBatch *batch, BatchResult *result)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	Elements	elements;

	note(pipe, result, "ENRICHMENT_STAGE_ENTERED", NULL);
	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	if (enrich(pipe, batch, &elements, &result->message))
	{
		note(pipe, result, "ENRICHMENT_STAGE_SUCCEEDED",
			 pipe->logs ? elements_text(&elements) : NULL);
		pass_on(pipe, batch, &elements, result);
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

static void
deliver(Pipe *pipe, const EbPipeBatch *batch, BatchResult *result)
{
	Elements	elements = {.text = batch->records,
		.each = batch->each,.neach = batch->nrecords};

	memset(result, 0, sizeof(BatchResult));
	note(pipe, result, "EXECUTION_STARTED", batch->records);
	if (pipe->enrichment.exists)
		enrich_and_pass_on(pipe, batch, result);
	else
		pass_on(pipe, batch, &elements, result);
	write_notes(pipe, result);
}

/* ---- noting what was done ---- */

/* Takes those of a queue's messages that are not among the failed out of it. */
static void
delete_messages(const EbPipeBatch *batch, const int *failed, int nfailed)
{
	static SPIPlanPtr plan = NULL;
	static const Oid types[] = {TEXTOID, INT4ARRAYOID};
	Datum	   *elements = palloc(sizeof(Datum) * Max(nfailed, 1));
	Datum		values[2];

	for (int i = 0; i < nfailed; i++)
		elements[i] = Int32GetDatum(failed[i]);
	values[0] = CStringGetTextDatum(batch->records);
	values[1] = PointerGetDatum(construct_array(elements, nfailed, INT4OID,
												sizeof(int32), true,
												TYPALIGN_INT));
	eb_internal_execute(&plan,
						"SELECT eventbridge._pipe_delete_messages($1, $2)",
						2, types, values, NULL);
}

/* Says that the pipe is not held up any more. */
static void
release(Pipe *pipe)
{
	static SPIPlanPtr plan = NULL;
	static const Oid types[] = {INT8OID};
	Datum		values[1] = {Int64GetDatum(pipe->pipe_id)};

	eb_internal_execute(&plan,
						"UPDATE eventbridge.pipe_state"
						" SET attempts = 0, batch_limit = NULL, next_attempt = '-infinity'"
						" WHERE pipe_id = $1",
						1, types, values, NULL);
	pipe->is_held = false;
}

/* Notes what was done and how far the pipe has come. */
static void
settle(Pipe *pipe, const Progress *progress)
{
	static SPIPlanPtr plans[EB_LOG_SETS];
	static const Oid types[] = {INT8OID, INT8OID, INT8OID, INT8OID, INT8OID,
	INT8OID, INT8OID};
	char		nulls[7] = "       ";
	Datum		values[7] = {
		Int64GetDatum(pipe->pipe_id),
		Int64GetDatum(progress->tick),
		Int64GetDatum(progress->number),
		Int64GetDatum(progress->invocations),
		Int64GetDatum(progress->events),
		Int64GetDatum(progress->bytes),
		Int64GetDatum(progress->skipped)
	};

	if (!progress->moved)
		return;
	if (pipe->from_queue)
		nulls[1] = nulls[2] = 'n';
	eb_append_execute(&eb_stream_log, plans,
					  "INSERT INTO eventbridge.pipe_progress_%d"
					  " (pipe_id, tick, number, invocations, events,"
					  " event_bytes, target_skipped)"
					  " VALUES ($1, $2, $3, $4, $5, $6, $7)",
					  7, types, values, nulls);
	if (pipe->is_held)
		release(pipe);
}

/* Decides what becomes of a batch that failed from its n-th record on. */
static void
settle_failure(const Pipe *pipe, const EbPipeBatch *batch, const BatchResult *result,
			   int n)
{
	static SPIPlanPtr plan = NULL;
	static const Oid types[] = {INT8OID, TEXTOID, TEXTOID, TEXTOID, INT4OID,
	TIMESTAMPTZOID, INT4OID, INT8OID, INT8OID, INT8OID, INT8OID};
	char		nulls[11] = "           ";
	Datum		values[11] = {
		Int64GetDatum(pipe->pipe_id),
		eb_text_or_null(result->stage, &nulls[1]),
		eb_text_or_null(result->message, &nulls[2]),
		CStringGetTextDatum(batch->records),
		Int32GetDatum(batch->nrecords),
		batch->oldest,
		Int32GetDatum(n),
		Int64GetDatum(batch->first_tick),
		Int64GetDatum(batch->first_number - 1),
		Int64GetDatum(batch->tick),
		Int64GetDatum(batch->number)
	};

	eb_internal_execute(&plan,
						"SELECT eventbridge._pipe_failed($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
						11, types, values, nulls);
}

/* ---- the pass ---- */

/* The pipes of a role that are not waiting. */
static int64 *
runnable_pipes(Oid role, int *npipes)
{
	static SPIPlanPtr plan = NULL;
	static const Oid types[] = {NAMEOID};
	NameData	name;
	Datum		values[1];
	MemoryContext context = CurrentMemoryContext;
	int64	   *pipes;

	namestrcpy(&name, GetUserNameFromId(role, false));
	values[0] = NameGetDatum(&name);
	*npipes = (int) eb_internal_execute(&plan,
										"SELECT p.pipe_id FROM eventbridge.pipe AS p"
										" JOIN eventbridge.pipe_state AS x USING (pipe_id)"
										" WHERE p.role = $1 AND p.current_state = 'RUNNING'"
										" AND x.next_attempt <= clock_timestamp()"
										" ORDER BY p.pipe_id",
										1, types, values, NULL);
	MemoryContextSwitchTo(context);
	pipes = palloc(sizeof(int64) * Max(*npipes, 1));
	for (int i = 0; i < *npipes; i++)
		pipes[i] = column_int64(i, 1);
	return pipes;
}

/* Is the pipe still one that can be served now? */
static bool
is_runnable(Oid role, int64 pipe_id)
{
	int			npipes;
	int64	   *pipes = runnable_pipes(role, &npipes);

	for (int i = 0; i < npipes; i++)
	{
		if (pipes[i] == pipe_id)
			return true;
	}
	return false;
}

/* Delivers one batch.  False if it failed, and the pipe has to wait. */
static bool
run_batch(Pipe *pipe, const EbPipeBatch *batch, Progress *progress)
{
	BatchResult result = {0};

	if (batch->records == NULL)
		return true;
	if (batch->expired)
	{
		settle(pipe, progress);
		memset(progress, 0, sizeof(Progress));
		settle_failure(pipe, batch, &result, 0);
		return true;
	}
	deliver(pipe, batch, &result);
	if (result.stage != NULL)
	{
		bool		known = result.nfailed > 0 && result.failed[0] > 0;
		int			n = known ? result.failed[0] : 1;

		/* A queue's messages come again one by one: some failed, or all. */
		if (pipe->from_queue)
			n = known && result.nfailed < batch->nrecords ? 2 : 1;
		settle(pipe, progress);
		if (pipe->from_queue && known)
			delete_messages(batch, result.failed, result.nfailed);
		settle_failure(pipe, batch, &result, n);
		return false;
	}
	if (pipe->from_queue)
		delete_messages(batch, NULL, 0);
	progress->invocations++;
	progress->events += batch->nrecords;
	progress->bytes += strlen(batch->records);
	progress->skipped += result.skipped;
	return true;
}

/*
 * Takes some batches and delivers them.  Returns the number of records that
 * were taken, 0 if there is nothing to do now.
 */
static int64
run_step(int64 pipe_id, TimestampTz turn_ends)
{
	MemoryContext context = CurrentMemoryContext;
	MemoryContext scratch;
	Pipe		pipe;
	EbPipeTake *take;
	EbPipeBatch batch;
	Progress	progress = {0};
	int64		nrecords = 0;

	if (!load_pipe(&pipe, pipe_id))
		return 0;
	if (pipe.obstacle != NULL)
	{
		halt(&pipe);
		return 0;
	}
	scratch = AllocSetContextCreate(context, "eventbridge batch of a pipe",
									ALLOCSET_DEFAULT_SIZES);
	take = eb_pipe_take(pipe.pipe_id, pipe.from_queue);
	for (;;)
	{
		bool		delivered;

		CHECK_FOR_INTERRUPTS();
		MemoryContextSwitchTo(scratch);
		if (!eb_pipe_next_batch(take, &batch))
			break;
		nrecords += batch.nrecords;
		delivered = run_batch(&pipe, &batch, &progress);
		MemoryContextSwitchTo(context);
		MemoryContextReset(scratch);
		if (!delivered)
			return nrecords;
		progress.moved = true;
		progress.tick = batch.tick;
		progress.number = batch.number;
		if (GetCurrentTimestamp() > turn_ends)
			break;
	}
	MemoryContextSwitchTo(context);
	settle(&pipe, &progress);
	/* There may be records behind ticks that have none. */
	return progress.moved ? Max(nrecords, 1) : nrecords;
}

/*
 * Serves the pipes of the session's role, each for its turn; no more than about
 * max_records.  Returns how many.  SPI is connected and may commit.
 */
static int64
run_pipes(Oid role, int64 max_records)
{
	MemoryContext oldcontext = CurrentMemoryContext;
	MemoryContext context = AllocSetContextCreate(oldcontext,
												  "eventbridge pipes",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext step = AllocSetContextCreate(context,
											   "eventbridge step of a pipe",
											   ALLOCSET_DEFAULT_SIZES);
	int64	   *pipes;
	int			npipes;
	int64		total = 0;

	MemoryContextSwitchTo(context);
	pipes = runnable_pipes(role, &npipes);
	eb_commit_lazily();
	for (int i = 0; i < npipes && total < max_records; i++)
	{
		uint32		high = (uint32) (pipes[i] >> 32);
		uint32		low = (uint32) pipes[i];
		TimestampTz turn_ends = GetCurrentTimestamp() + EB_TURN_INTERVAL;
		int64		taken;

		if (!eb_lock(EB_LOCK_PIPE, high, low, ExclusiveLock, true, false))
			continue;
		do
		{
			MemoryContextSwitchTo(step);
			taken = run_step(pipes[i], turn_ends);
			eb_commit_lazily();
			MemoryContextSwitchTo(context);
			MemoryContextReset(step);
			total += taken;
		} while (taken > 0 && total < max_records &&
				 GetCurrentTimestamp() < turn_ends &&
				 is_runnable(role, pipes[i]));
		eb_unlock(EB_LOCK_PIPE, high, low, ExclusiveLock, true);
	}
	MemoryContextSwitchTo(oldcontext);
	MemoryContextDelete(context);
	return total;
}

/* _note_lane(lane oid): wakes who serves a lane, at commit. */
Datum
eb_note_lane(PG_FUNCTION_ARGS)
{
	eb_bell_note_lane(PG_GETARG_OID(0));
	PG_RETURN_VOID();
}

void
eb_pipes_init(void)
{
	eb_run_pipes = run_pipes;
}
