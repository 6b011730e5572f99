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
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "pipes/pipes.h"
#include "stream/log.h"

/*
 * What a batch of a thousand records takes.  A block of this size is kept from
 * batch to batch of a turn: to get so much anew each time would cost a tenth
 * of a batch.
 */
#define BATCH_MEMORY		(4 * 1024 * 1024)

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

/* ---- the pipe ---- */

/* Reads the pipe; false if it is not running any more. */
static bool
load_pipe(EbPipe *pipe, int64 pipe_id)
{
	static SPIPlanPtr plan = NULL;
	static const Oid types[] = {INT8OID};
	Datum		values[1] = {Int64GetDatum(pipe_id)};

	memset(pipe, 0, sizeof(EbPipe));
	pipe->pipe_id = pipe_id;
	if (eb_internal_execute(&plan,
							"SELECT source_kind, enrichment, enrichment_template,"
							" target_kind, resource, resource_id, routine, claim_check,"
							" target_template, variables, log_level, obstacle, is_held,"
							" has_groups, delay_seconds"
							" FROM eventbridge._pipe_to_run($1)",
							1, types, values, NULL) == 0)
		return false;
	pipe->from_queue = strcmp(eb_result_text(0, 1), "queue") == 0;
	pipe->enrichment.function = eb_result_oid(0, 2);
	pipe->enrichment.exists = OidIsValid(pipe->enrichment.function);
	pipe->enrichment.kind = EB_TARGET_FUNCTION;
	pipe->enrichment.context = CurrentMemoryContext;
	pipe->enrichment_template = eb_result_text(0, 3);
	pipe->target.exists = true;
	pipe->target.context = CurrentMemoryContext;
	pipe->target.kind = eb_target_kind(eb_result_text(0, 4));
	pipe->target.name = eb_result_text(0, 5);
	pipe->target.resource_id = eb_result_int64(0, 6);
	pipe->target.function = eb_result_oid(0, 7);
	pipe->target.claim_check = eb_result_bool(0, 8);
	pipe->target_template = eb_result_text(0, 9);
	pipe->variables = eb_result_text(0, 10);
	pipe->logs = strcmp(eb_result_text(0, 11), "INFO") == 0;
	pipe->obstacle = eb_result_text(0, 12);
	pipe->is_held = eb_result_bool(0, 13);
	pipe->has_groups = eb_result_bool(0, 14);
	pipe->target.delay = eb_result_int32(0, 15);
	SPI_freetuptable(SPI_tuptable);
	return true;
}

static void
halt(const EbPipe *pipe)
{
	static SPIPlanPtr plan = NULL;
	static const Oid types[] = {INT8OID, TEXTOID};
	Datum		values[2] = {
		Int64GetDatum(pipe->pipe_id),
		CStringGetTextDatum(pipe->obstacle)
	};

	eb_internal_call(&plan, "SELECT eventbridge._pipe_halt($1, $2)", 2,
						types, values, NULL);
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
	eb_internal_call(&plan,
						"SELECT eventbridge._pipe_delete_messages($1, $2)",
						2, types, values, NULL);
}

/* Says that the pipe is not held up any more. */
static void
release(EbPipe *pipe)
{
	static SPIPlanPtr plan = NULL;
	static const Oid types[] = {INT8OID};
	Datum		values[1] = {Int64GetDatum(pipe->pipe_id)};

	eb_internal_call(&plan,
						"UPDATE eventbridge.pipe_state"
						" SET attempts = 0, batch_limit = NULL, next_attempt = '-infinity'"
						" WHERE pipe_id = $1",
						1, types, values, NULL);
	pipe->is_held = false;
}

/* Notes what was done and how far the pipe has come. */
static void
settle(EbPipe *pipe, const Progress *progress)
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
settle_failure(const EbPipe *pipe, const EbPipeBatch *batch, const EbPipeResult *result,
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
		TimestampTzGetDatum(batch->oldest),
		Int32GetDatum(n),
		Int64GetDatum(batch->first_tick),
		Int64GetDatum(batch->first_number - 1),
		Int64GetDatum(batch->tick),
		Int64GetDatum(batch->number)
	};

	eb_internal_call(&plan,
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
	pipes = palloc(sizeof(int64) * Max(*npipes, 1));
	for (int i = 0; i < *npipes; i++)
		pipes[i] = eb_result_int64(i, 1);
	SPI_freetuptable(SPI_tuptable);
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
run_batch(EbPipe *pipe, const EbPipeBatch *batch, Progress *progress)
{
	EbPipeResult result = {0};

	if (batch->records == NULL)
		return true;
	if (batch->expired)
	{
		settle(pipe, progress);
		memset(progress, 0, sizeof(Progress));
		settle_failure(pipe, batch, &result, 0);
		return true;
	}
	eb_pipe_deliver(pipe, batch, &result);
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
	progress->bytes += batch->records_len;
	progress->skipped += result.skipped;
	return true;
}

/* Will batches be handed to user code as they are, as jsonb? */
static bool
wants_jsonb(const EbPipe *pipe)
{
	if (pipe->enrichment.exists)
		return pipe->enrichment_template == NULL;
	return pipe->target_template == NULL &&
		(pipe->target.kind == EB_TARGET_FUNCTION ||
		 pipe->target.kind == EB_TARGET_PROCEDURE);
}

/*
 * Takes some batches and delivers them, each in "scratch".  Returns the number
 * of records that were taken, 0 if there is nothing to do now.
 */
static int64
run_step(int64 pipe_id, TimestampTz turn_ends, MemoryContext scratch)
{
	MemoryContext context = CurrentMemoryContext;
	EbPipe		pipe;
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
	take = pipe.from_queue ? eb_pipe_take_queue(pipe_id) :
		eb_pipe_take_stream(pipe_id, wants_jsonb(&pipe));
	for (;;)
	{
		bool		delivered;

		CHECK_FOR_INTERRUPTS();
		MemoryContextReset(scratch);
		MemoryContextSwitchTo(scratch);
		if (!eb_pipe_next_batch(take, &batch))
			break;
		nrecords += batch.nrecords;
		delivered = run_batch(&pipe, &batch, &progress);
		MemoryContextSwitchTo(context);
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

/* Serves a pipe for a turn; see run_pipes(). */
static int64
run_pipe(Oid role, int64 pipe_id, int64 max_records)
{
	MemoryContext context = CurrentMemoryContext;
	MemoryContext step = AllocSetContextCreate(context,
											   "eventbridge step of a pipe",
											   ALLOCSET_DEFAULT_SIZES);
	MemoryContext batch = GenerationContextCreate(context,
												  "eventbridge batch of a pipe",
												  BATCH_MEMORY, BATCH_MEMORY,
												  8 * BATCH_MEMORY);
	TimestampTz turn_ends = GetCurrentTimestamp() + EB_TURN_INTERVAL;
	int64		total = 0;
	int64		taken;

	do
	{
		MemoryContextSwitchTo(step);
		taken = run_step(pipe_id, turn_ends, batch);
		eb_commit_lazily();
		MemoryContextSwitchTo(context);
		MemoryContextReset(step);
		total += taken;
	} while (taken > 0 && total < max_records &&
			 GetCurrentTimestamp() < turn_ends && is_runnable(role, pipe_id));
	MemoryContextDelete(batch);
	MemoryContextDelete(step);
	return total;
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

		if (!eb_lock(EB_LOCK_PIPE, high, low, ExclusiveLock, true, false))
			continue;
		MemoryContextSwitchTo(context);
		total += run_pipe(role, pipes[i], max_records - total);
		eb_unlock(EB_LOCK_PIPE, high, low, ExclusiveLock, true);
	}
	MemoryContextSwitchTo(oldcontext);
	MemoryContextDelete(context);
	return total;
}

void
eb_pipes_init(void)
{
	eb_run_pipes = run_pipes;
}
