/*-------------------------------------------------------------------------
 *
 * run.c
 *	  run_deliveries(): one pass over what is owed to targets.
 *
 * A pass serves the lanes that this session may serve, batch after batch,
 * until there is nothing left or enough is done.  Each batch takes two
 * transactions: one in which it is claimed, and one for its deliveries, what
 * failed, the counters and the ledger's "done".  Retries that are due come
 * first, a few at a time; each is a transaction of its own.
 *
 * Neither transaction waits for the disk: what a batch does in the database
 * and that it was done are lost together, and then it is done again.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "common/pg_prng.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "delivery/delivery.h"

/* Deliveries of a batch: bounds how much is done again after a crash. */
#define BATCH_DELIVERIES	1000

/* What these take, when they are small. */
#define BATCH_MEMORY		(1024 * 1024)

/* Invocations of user code that share a subtransaction. */
#define GROUP_INVOCATIONS	50

/* Retries that are claimed together. */
#define RETRIES_AT_ONCE		10

/* Seconds beyond which the back-off does not grow. */
#define MAX_BACKOFF			600

PG_FUNCTION_INFO_V1(eb_run_deliveries);

int64		(*eb_run_pipes) (Oid role, int64 max_records) = NULL;

/* ---- transactions ---- */

void
eb_commit(void)
{
	SPI_commit();
	XactIsoLevel = XACT_READ_COMMITTED;
}

void
eb_commit_lazily(void)
{
	(void) set_config_option("synchronous_commit", "off", PGC_USERSET,
							 PGC_S_SESSION, GUC_ACTION_LOCAL, true, 0, false);
	eb_commit();
}

/* ---- targets of a batch ---- */

static HTAB *
create_targets(void)
{
	HASHCTL		ctl = {
		.keysize = sizeof(int64),
		.entrysize = sizeof(EbTarget),
		.hcxt = CurrentMemoryContext
	};

	return hash_create("eventbridge targets", 16, &ctl,
					   HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

static EbTarget *
get_target(HTAB *targets, int64 target_id)
{
	bool		found;
	EbTarget   *target = hash_search(targets, &target_id, HASH_ENTER, &found);

	if (!found)
	{
		memset(target, 0, sizeof(EbTarget));
		target->target_id = target_id;
		target->context = CurrentMemoryContext;
		eb_target_load(target);
	}
	return target;
}

/* ---- counters ---- */

static void
write_metric(const EbTarget *target)
{
	static SPIPlanPtr plans[EB_LOG_TURNS];
	static const Oid types[] = {INT8OID, INT4OID, INT4OID, INT4OID, INT4OID,
	INT4OID, INT4OID, INT4OID, INT8OID, INT8OID, INT8OID};
	Datum		values[11] = {
		Int64GetDatum(target->target_id),
		Int32GetDatum(target->first_attempts),
		Int32GetDatum(target->retries),
		Int32GetDatum(target->successes),
		Int32GetDatum(target->failed),
		Int32GetDatum(target->to_dlq),
		Int32GetDatum(target->not_to_dlq),
		Int32GetDatum(target->looped),
		Int64GetDatum(target->start_latency),
		Int64GetDatum(target->attempt_latency),
		Int64GetDatum(target->latency)
	};
	int			turn = eb_log_turn();

	eb_internal_execute(&plans[turn],
						psprintf("INSERT INTO eventbridge.delivery_metric_%d"
								 " (rule_id, target_id, first_attempts, retries,"
								 " successes, failed, to_dlq, not_to_dlq, looped,"
								 " start_latency, attempt_latency, latency)"
								 " SELECT rule_id, $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11"
								 " FROM eventbridge.target WHERE target_id = $1",
								 turn),
						11, types, values, NULL);
}

static void
write_metrics(HTAB *targets)
{
	HASH_SEQ_STATUS status;
	EbTarget   *target;

	hash_seq_init(&status, targets);
	while ((target = hash_seq_search(&status)) != NULL)
		if (target->exists &&
			(target->first_attempts > 0 || target->retries > 0))
			write_metric(target);
}

/* ---- failures ---- */

/*
 * Microseconds until the next attempt after so many.  Doubles each time, and
 * half of it is up to chance, so that what failed together does not come
 * back together.
 */
static int64
backoff(int attempts)
{
	double		delay = eb_guc_retry_delay * 1000.0 *
		pow(2, Min(attempts - 1, 30));

	delay = Min(delay, MAX_BACKOFF * 1000000.0);
	return (int64) (delay * (0.5 + 0.5 * pg_prng_double(&pg_global_prng_state)));
}

/* Which bound of the target's retry policy is reached, or NULL. */
static const char *
exhausted(const EbTarget *target, const EbLogRow *row, int attempts,
		  int64 delay)
{
	if (attempts - 1 >= target->max_attempts)
		return "MaximumRetryAttempts";
	if (GetCurrentTimestamp() + delay - row->ingestion_time >
		(int64) target->max_age * USECS_PER_SEC)
		return "MaximumEventAgeInSeconds";
	return NULL;
}

static Datum
text_or_null(const char *s, char *null)
{
	*null = (s == NULL) ? 'n' : ' ';
	return s == NULL ? (Datum) 0 : CStringGetTextDatum(s);
}

/* A delivery that failed for good: to its dead-letter queue, or dropped. */
static void
bury(const EbInvocation *invocation, int attempts, const char *condition)
{
	EbTarget   *target = invocation->target;
	const EbLogRow *row = invocation->row;
	const EbOutcome *outcome = &invocation->outcome;
	static SPIPlanPtr plan = NULL;
	static const Oid types[] = {INT8OID, UUIDOID, INT8OID, INT4OID,
	TIMESTAMPTZOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, INT4OID,
	TEXTOID};
	char		nulls[12] = "            ";
	Datum		values[12] = {
		Int64GetDatum(target->target_id),
		UUIDPGetDatum(&row->event_id),
		Int64GetDatum(row->bus_id),
		Int32GetDatum(row->hops),
		TimestampTzGetDatum(row->ingestion_time),
		text_or_null(row->group_key, &nulls[5]),
		CStringGetTextDatum(row->event),
		CStringGetTextDatum(invocation->input),
		CStringGetTextDatum(outcome->code),
		text_or_null(outcome->message, &nulls[9]),
		Int32GetDatum(attempts),
		text_or_null(condition, &nulls[11])
	};
	bool		isnull;
	Datum		sent;

	eb_internal_execute(&plan,
						"SELECT eventbridge._bury($1, $2, $3, $4, $5,"
						" $6, $7, $8, $9, $10, $11, $12)",
						12, types, values, nulls);
	sent = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1,
						 &isnull);
	target->failed++;
	if (!isnull && DatumGetBool(sent))
		target->to_dlq++;
	else if (!isnull)
		target->not_to_dlq++;
}

/* A delivery that is to be tried (again) after the delay. */
static void
insert_retry(int64 target_id, Oid lane, const EbLogRow *row, int attempts,
			 int64 delay, const char *code, const char *message)
{
	static SPIPlanPtr plan = NULL;
	static const Oid types[] = {INT8OID, OIDOID, UUIDOID, INT8OID, INT4OID,
	TIMESTAMPTZOID, TEXTOID, TEXTOID, INT4OID, TIMESTAMPTZOID, TEXTOID, TEXTOID};
	char		nulls[12] = "            ";
	Datum		values[12] = {
		Int64GetDatum(target_id),
		ObjectIdGetDatum(lane),
		UUIDPGetDatum(&row->event_id),
		Int64GetDatum(row->bus_id),
		Int32GetDatum(row->hops),
		TimestampTzGetDatum(row->ingestion_time),
		text_or_null(row->group_key, &nulls[6]),
		CStringGetTextDatum(row->event),
		Int32GetDatum(attempts),
		TimestampTzGetDatum(GetCurrentTimestamp() + delay),
		text_or_null(code, &nulls[10]),
		text_or_null(message, &nulls[11])
	};

	eb_internal_execute(&plan,
						"INSERT INTO eventbridge.delivery_retry"
						" (target_id, lane, event_id, bus_id, hops,"
						" ingestion_time, group_key, event, attempts,"
						" next_attempt, error_code, error_message)"
						" VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
						12, types, values, nulls);
	eb_bell_note_lane(lane);
}

/* ---- a batch ---- */

/* Keeps count of an attempt that was made. */
static void
count_attempt(EbTarget *target, const EbLogRow *row, bool first,
			  TimestampTz started, const EbOutcome *outcome)
{
	TimestampTz now;

	if (outcome->result == EB_MOVED || outcome->result == EB_GONE)
		return;
	now = GetCurrentTimestamp();
	if (first)
	{
		target->first_attempts++;
		target->start_latency += started - row->ingestion_time;
		target->attempt_latency += now - row->ingestion_time;
	}
	else
		target->retries++;
	if (outcome->result == EB_DELIVERED)
	{
		target->successes++;
		target->latency += now - row->ingestion_time;
	}
}

/* Keeps account of a first attempt. */
static void
settle_first(const EbBatch *batch, const EbInvocation *invocation,
			 TimestampTz started)
{
	EbTarget   *target = invocation->target;
	const EbLogRow *row = invocation->row;
	const EbOutcome *outcome = &invocation->outcome;
	int64		delay;
	const char *condition;

	count_attempt(target, row, true, started, outcome);
	switch (outcome->result)
	{
		case EB_DELIVERED:
		case EB_GONE:
			break;
		case EB_MOVED:
			insert_retry(target->target_id, target->lane, row, 0, 0, NULL,
						 NULL);
			break;
		case EB_FAILED:
			delay = backoff(1);
			condition = exhausted(target, row, 1, delay);
			if (condition != NULL)
				bury(invocation, 1, condition);
			else
				insert_retry(target->target_id, batch->lane, row, 1, delay,
							 outcome->code, outcome->message);
			break;
		case EB_REFUSED:
			bury(invocation, 1, NULL);
			break;
	}
}

/* Invocations of user code that share a subtransaction. */
typedef struct InvocationGroup
{
	int			count;
	EbInvocation invocations[GROUP_INVOCATIONS];
} InvocationGroup;

static void
deliver_group(const EbBatch *batch, InvocationGroup *group)
{
	TimestampTz started = GetCurrentTimestamp();

	if (group->count > 1 && eb_invoke(group->invocations, group->count))
	{
		for (int i = 0; i < group->count; i++)
			settle_first(batch, &group->invocations[i], started);
	}
	else
	{
		for (int i = 0; i < group->count; i++)
		{
			started = GetCurrentTimestamp();
			eb_target_deliver(&group->invocations[i]);
			settle_first(batch, &group->invocations[i], started);
		}
	}
	group->count = 0;
}

/*
 * The deliveries of a claimed batch, in the current transaction.  A batch
 * that was taken over has perhaps killed the worker that had it, so user code
 * gets its deliveries as retries.
 */
static void
deliver_batch(const EbBatch *batch)
{
	HTAB	   *targets = create_targets();
	MemoryContext oldcontext = CurrentMemoryContext;
	MemoryContext context = AllocSetContextCreate(oldcontext,
												  "eventbridge delivery",
												  ALLOCSET_DEFAULT_SIZES);
	InvocationGroup group = {0};
	ListCell   *cell;

	foreach(cell, batch->rows)
	{
		EbLogRow   *row = lfirst(cell);

		for (int i = 0; i < row->ntargets; i++)
		{
			EbInvocation *next = &group.invocations[group.count];

			CHECK_FOR_INTERRUPTS();
			MemoryContextSwitchTo(oldcontext);
			next->target = get_target(targets, row->target_ids[i]);
			next->row = row;
			MemoryContextSwitchTo(context);
			if (batch->again && batch->lane != EB_LANE_ANY)
				insert_retry(next->target->target_id, batch->lane, row, 1,
							 backoff(1), "INTERNAL_ERROR",
							 "the worker ended during the invocation");
			else if (!eb_target_prepare(next, batch->lane))
				settle_first(batch, next, GetCurrentTimestamp());
			else if (batch->lane == EB_LANE_ANY ||
					 ++group.count == GROUP_INVOCATIONS)
			{
				group.count = Max(group.count, 1);
				deliver_group(batch, &group);
				MemoryContextReset(context);
			}
		}
	}
	deliver_group(batch, &group);
	MemoryContextSwitchTo(oldcontext);
	write_metrics(targets);
	eb_ledger_finish(batch);
	MemoryContextDelete(context);
}

/*
 * Memory for one batch at a time.  Its first block is kept from batch to
 * batch: to get so much anew each time would cost a tenth of a delivery.
 */
static MemoryContext
batch_context(void)
{
	static MemoryContext context = NULL;

	if (context == NULL)
		context = GenerationContextCreate(TopMemoryContext,
										  "eventbridge batch",
										  BATCH_MEMORY, BATCH_MEMORY,
										  8 * BATCH_MEMORY);
	MemoryContextReset(context);
	return context;
}

/* Serves one batch of the lane.  Returns the number of deliveries. */
static int
run_batch(Oid lane, int max_deliveries)
{
	EbBatch		batch;
	MemoryContext oldcontext = CurrentMemoryContext;
	MemoryContext context = batch_context();
	bool		found;
	int			ndeliveries = 0;

	MemoryContextSwitchTo(context);
	found = eb_ledger_claim(&batch, lane,
							Min(max_deliveries, BATCH_DELIVERIES));
	eb_commit_lazily();
	MemoryContextSwitchTo(context);
	if (found)
	{
		deliver_batch(&batch);
		eb_commit_lazily();
		eb_ledger_release(&batch);
		ndeliveries = batch.ndeliveries;
	}
	MemoryContextSwitchTo(oldcontext);
	MemoryContextReset(context);
	return ndeliveries;
}

/* ---- retries ---- */

typedef struct Retry
{
	int64		retry_id;
	int64		target_id;
	int			attempts;		/* with the one to come */
	EbLogRow	row;
} Retry;

static bool
lock_retry(int64 retry_id)
{
	return eb_lock(EB_LOCK_RETRY, (uint32) (retry_id >> 32),
				   (uint32) retry_id, ExclusiveLock, true, false);
}

static void
unlock_retry(int64 retry_id)
{
	eb_unlock(EB_LOCK_RETRY, (uint32) (retry_id >> 32), (uint32) retry_id,
			  ExclusiveLock, true);
}

/* One row of the claiming statement, in the current context. */
static void
read_retry(Retry *retry, HeapTuple tuple, TupleDesc desc)
{
	bool		isnull;
	Datum		value;

	memset(retry, 0, sizeof(Retry));
	retry->retry_id = DatumGetInt64(SPI_getbinval(tuple, desc, 1, &isnull));
	retry->target_id = DatumGetInt64(SPI_getbinval(tuple, desc, 2, &isnull));
	retry->row.event_id =
		*DatumGetUUIDP(SPI_getbinval(tuple, desc, 3, &isnull));
	retry->row.bus_id = DatumGetInt64(SPI_getbinval(tuple, desc, 4, &isnull));
	retry->row.hops = DatumGetInt32(SPI_getbinval(tuple, desc, 5, &isnull));
	retry->row.ingestion_time =
		DatumGetTimestampTz(SPI_getbinval(tuple, desc, 6, &isnull));
	value = SPI_getbinval(tuple, desc, 7, &isnull);
	retry->row.group_key = isnull ? NULL : TextDatumGetCString(value);
	retry->row.event =
		TextDatumGetCString(SPI_getbinval(tuple, desc, 8, &isnull));
	retry->row.event_len = strlen(retry->row.event);
	retry->attempts = DatumGetInt32(SPI_getbinval(tuple, desc, 9, &isnull));
}

/*
 * The numbers of retries of the lane that are due and that nobody works on;
 * their locks are held by the session, their rows by the transaction.
 */
static int
lock_due_retries(Oid lane, int limit, Datum *ids)
{
	static SPIPlanPtr plan = NULL;
	static const Oid types[] = {OIDOID, INT4OID};
	Datum		values[2] = {ObjectIdGetDatum(lane), Int32GetDatum(limit)};
	uint64		ndue = eb_internal_execute(&plan,
										   "SELECT retry_id FROM eventbridge.delivery_retry"
										   " WHERE lane = $1 AND next_attempt <= clock_timestamp()"
										   " ORDER BY next_attempt LIMIT $2 FOR UPDATE SKIP LOCKED",
										   2, types, values, NULL);
	int			nlocked = 0;

	for (uint64 i = 0; i < ndue; i++)
	{
		bool		isnull;
		Datum		id = SPI_getbinval(SPI_tuptable->vals[i],
									   SPI_tuptable->tupdesc, 1, &isnull);

		if (lock_retry(DatumGetInt64(id)))
			ids[nlocked++] = Int64GetDatum(DatumGetInt64(id));
	}
	return nlocked;
}

/*
 * Claims retries: advances their time, so that they come back if this worker
 * dies, and counts the attempt.  The caller commits.
 */
static int
claim_retries(Oid lane, int limit, Retry *retries)
{
	static SPIPlanPtr plan = NULL;
	static const Oid types[] = {INT8ARRAYOID, FLOAT8OID};
	Datum		ids[RETRIES_AT_ONCE];
	int			nlocked = lock_due_retries(lane, Min(limit, RETRIES_AT_ONCE),
										   ids);
	Datum		values[2];
	uint64		nretries;

	if (nlocked == 0)
		return 0;
	values[0] = PointerGetDatum(construct_array(ids, nlocked, INT8OID,
												sizeof(int64), FLOAT8PASSBYVAL,
												TYPALIGN_DOUBLE));
	values[1] = Float8GetDatum(eb_guc_retry_delay / 1000.0);
	nretries = eb_internal_execute(&plan,
								   "UPDATE eventbridge.delivery_retry SET attempts = attempts + 1,"
								   " next_attempt = clock_timestamp()"
								   " + least(600, $2 * 2 ^ least(attempts, 30)) * '1 s'::interval"
								   " WHERE retry_id = ANY ($1)"
								   " RETURNING retry_id, target_id, event_id, bus_id, hops,"
								   " ingestion_time, group_key, event, attempts",
								   2, types, values, NULL);
	for (uint64 i = 0; i < nretries; i++)
		read_retry(&retries[i], SPI_tuptable->vals[i], SPI_tuptable->tupdesc);
	return (int) nretries;
}

static void
delete_retry(const Retry *retry)
{
	static SPIPlanPtr plan = NULL;
	static const Oid types[] = {INT8OID};
	Datum		values[1] = {Int64GetDatum(retry->retry_id)};

	eb_internal_execute(&plan,
						"DELETE FROM eventbridge.delivery_retry WHERE retry_id = $1",
						1, types, values, NULL);
}

/* Notes what happened and when the next attempt is, or whose it is. */
static void
update_retry(const Retry *retry, Oid lane, int attempts, int64 delay,
			 const EbOutcome *outcome)
{
	static SPIPlanPtr plan = NULL;
	static const Oid types[] = {INT8OID, OIDOID, INT4OID, TIMESTAMPTZOID,
	TEXTOID, TEXTOID};
	char		nulls[6] = "      ";
	Datum		values[6] = {
		Int64GetDatum(retry->retry_id),
		ObjectIdGetDatum(lane),
		Int32GetDatum(attempts),
		TimestampTzGetDatum(GetCurrentTimestamp() + delay),
		text_or_null(outcome->code, &nulls[4]),
		text_or_null(outcome->message, &nulls[5])
	};

	eb_internal_execute(&plan,
						"UPDATE eventbridge.delivery_retry SET lane = $2,"
						" attempts = $3, next_attempt = $4,"
						" error_code = coalesce($5, error_code),"
						" error_message = coalesce($6, error_message)"
						" WHERE retry_id = $1",
						6, types, values, nulls);
}

/* Notes that a delivery that had failed has succeeded. */
static void
note_success(const Retry *retry)
{
	static SPIPlanPtr plan = NULL;
	static const Oid types[] = {UUIDOID, INT8OID, INT4OID};
	Datum		values[3] = {
		UUIDPGetDatum(&retry->row.event_id),
		Int64GetDatum(retry->target_id),
		Int32GetDatum(retry->attempts)
	};

	eb_internal_execute(&plan,
						"INSERT INTO eventbridge.delivery_outcome"
						" (event_id, target_id, status, attempts)"
						" VALUES ($1, $2, 'DELIVERED', $3)",
						3, types, values, NULL);
}

static void
deliver_retry(Oid lane, const Retry *retry)
{
	HTAB	   *targets = create_targets();
	EbTarget   *target = get_target(targets, retry->target_id);
	const EbLogRow *row = &retry->row;
	EbInvocation invocation = {.target = target,.row = row};
	TimestampTz started = GetCurrentTimestamp();
	int64		delay = backoff(retry->attempts);
	const char *condition = NULL;

	if (eb_target_prepare(&invocation, lane))
		eb_target_deliver(&invocation);
	count_attempt(target, row, retry->attempts == 1, started,
				  &invocation.outcome);
	switch (invocation.outcome.result)
	{
		case EB_DELIVERED:
			delete_retry(retry);
			if (retry->attempts > 1)
				note_success(retry);
			break;
		case EB_GONE:
			delete_retry(retry);
			break;
		case EB_MOVED:
			update_retry(retry, target->lane, retry->attempts - 1, 0,
						 &invocation.outcome);
			eb_bell_note_lane(target->lane);
			break;
		case EB_FAILED:
			condition = exhausted(target, row, retry->attempts, delay);
			if (condition == NULL)
			{
				update_retry(retry, lane, retry->attempts, delay,
							 &invocation.outcome);
				break;
			}
			/* FALLTHROUGH */
		case EB_REFUSED:
			delete_retry(retry);
			bury(&invocation, retry->attempts, condition);
			break;
	}
	write_metrics(targets);
}

/* Serves retries of the lane that are due.  Returns their number. */
static int
run_retries(Oid lane, int max_deliveries)
{
	MemoryContext oldcontext = CurrentMemoryContext;
	MemoryContext context = AllocSetContextCreate(oldcontext,
												  "eventbridge retries",
												  ALLOCSET_DEFAULT_SIZES);
	Retry		retries[RETRIES_AT_ONCE];
	int			nretries;

	MemoryContextSwitchTo(context);
	nretries = claim_retries(lane, max_deliveries, retries);
	if (nretries > 0)
		eb_commit_lazily();
	for (int i = 0; i < nretries; i++)
	{
		MemoryContextSwitchTo(context);
		deliver_retry(lane, &retries[i]);
		eb_commit_lazily();
		unlock_retry(retries[i].retry_id);
	}
	MemoryContextSwitchTo(oldcontext);
	MemoryContextDelete(context);
	return nretries;
}

/* ---- maintenance ---- */

/* Microseconds between looks at the log's size, and between tidying up. */
#define ROTATE_INTERVAL		(1 * USECS_PER_SEC)
#define TIDY_INTERVAL		(10 * USECS_PER_SEC)

/*
 * Turns to another table; see log.c, "Rotation".  The sequence is advanced
 * after commit, so that no writer waits for the lock of who empties it.
 */
static void
rotate(SPIPlanPtr *rotate_plan, const char *rotate_sql,
	   SPIPlanPtr *turn_plan, const char *turn_sql)
{
	static const Oid types[] = {INT4OID};
	bool		isnull;
	Datum		next;

	eb_internal_execute(rotate_plan, rotate_sql, 0, NULL, NULL, NULL);
	next = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1,
						 &isnull);
	eb_commit();
	if (!isnull)
	{
		eb_internal_execute(turn_plan, turn_sql, 1, types, &next, NULL);
		eb_commit_lazily();
	}
}

static void
rotate_all(void)
{
	static SPIPlanPtr plans[4] = {NULL};

	rotate(&plans[0], "SELECT eventbridge._rotate()",
		   &plans[1], "SELECT setval('eventbridge.delivery_turn', $1)");
	rotate(&plans[2], "SELECT eventbridge._rotate_stream_log()",
		   &plans[3], "SELECT setval('eventbridge.stream_turn', $1)");
}

/*
 * Looks after the tables, now and then, and in one session at a time.  In a
 * session's first pass it tidies up in any case: the database may have just
 * been restored.
 */
static void
maintain(void)
{
	static TimestampTz last_rotate = 0;
	static TimestampTz last_tidy = 0;
	static SPIPlanPtr tidy_plan = NULL;
	TimestampTz now = GetCurrentTimestamp();

	if (now - last_rotate < ROTATE_INTERVAL ||
		!eb_lock(EB_LOCK_MAINTENANCE, 0, 0, ExclusiveLock, true, false))
		return;
	last_rotate = now;
	if (now - last_tidy >= TIDY_INTERVAL)
	{
		last_tidy = now;
		eb_internal_execute(&tidy_plan, "SELECT eventbridge._tidy()",
							0, NULL, NULL, NULL);
		eb_commit_lazily();
	}
	rotate_all();
	eb_unlock(EB_LOCK_MAINTENANCE, 0, 0, ExclusiveLock, true);
}

/* ---- the pass ---- */

/*
 * The lanes that this session serves.  User code is served only where the
 * session's user calls as himself: not after SET ROLE, not in a function of
 * somebody else.
 */
static int
session_lanes(Oid *lanes)
{
	int			nlanes = 0;

	if (eb_worker_lane(&lanes[0]))
		return 1;
	lanes[nlanes++] = EB_LANE_ANY;
	if (GetUserId() == GetSessionUserId() && !InLocalUserIdChange() &&
		!InSecurityRestrictedOperation())
		lanes[nlanes++] = GetSessionUserId();
	return nlanes;
}

/*
 * Serves what there is, up to about max_deliveries, and returns how many
 * deliveries were attempted.  SPI is connected and may commit.  Claims look at
 * what others have just committed, so this needs READ COMMITTED, whatever the
 * session's default.
 */
int64
eb_run_pass(int64 max_deliveries)
{
	Oid			lanes[2];
	int			nlanes = session_lanes(lanes);
	int64		total = 0;
	int64		before;

	eb_commit();
	do
	{
		before = total;
		maintain();
		for (int i = 0; i < nlanes; i++)
		{
			if (total < max_deliveries)
				total += run_retries(lanes[i],
									 Min(max_deliveries - total, INT_MAX));
			if (total < max_deliveries)
				total += run_batch(lanes[i],
								   Min(max_deliveries - total, INT_MAX));
			if (total < max_deliveries && lanes[i] > EB_LANE_CLIENT &&
				eb_run_pipes != NULL)
				total += eb_run_pipes(lanes[i], max_deliveries - total);
		}
	} while (total > before && total < max_deliveries);
	return total;
}

/*
 * run_deliveries(max_deliveries integer)
 */
Datum
eb_run_deliveries(PG_FUNCTION_ARGS)
{
	int64		max_deliveries = PG_ARGISNULL(0) ? PG_INT64_MAX : PG_GETARG_INT32(0);
	CallContext *call = (CallContext *) fcinfo->context;

	if (max_deliveries <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("max_deliveries must be positive")));
	if (call == NULL || !IsA(call, CallContext) || call->atomic)
		ereport(ERROR,
				(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
				 errmsg("run_deliveries cannot run inside a transaction block"),
				 errdetail("It commits after each batch.")));

	SPI_connect_ext(SPI_OPT_NONATOMIC);
	(void) eb_run_pass(max_deliveries);
	SPI_finish();
	PG_RETURN_VOID();
}
