/*-------------------------------------------------------------------------
 *
 * run.c
 *	  run_deliveries(): one pass over what is owed to targets; and
 *	  worker_deliver(), a part of it, for a client that does nothing else.
 *
 * A pass serves the lanes that this session may serve, and the pipes of its
 * role, by turns, until there is nothing left or enough is done.  Each batch
 * takes two transactions: one in which it is claimed, and one for its
 * deliveries, what failed, the counters and the ledger's "done".  Retries that
 * are due come first, a few at a time; each is a transaction of its own.  A
 * procedure may end transactions by itself, so its deliveries are given rows
 * as retries have them, and are made from there.
 *
 * Neither transaction waits for the disk: what a batch does in the database
 * and that it was done are lost together, and then it is done again.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "storage/proc.h"
#include "utils/guc.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "delivery/delivery.h"

/*
 * Deliveries of a batch: bounds how much is done again after a crash.  Events
 * that are long make it end earlier; see log.c.
 */
#define BATCH_DELIVERIES	2000

/* What these take, when they are small. */
#define BATCH_MEMORY		(1024 * 1024)

/*
 * Invocations of user code that share a subtransaction: the fewest and the most,
 * and what their events take at most.
 */
#define FEW_INVOCATIONS		50
#define MANY_INVOCATIONS	400
#define GROUP_BYTES			(1024 * 1024)

PG_FUNCTION_INFO_V1(eb_run_deliveries);
PG_FUNCTION_INFO_V1(eb_worker_deliver);

int64		(*eb_run_pipes) (Oid role, int64 max_records) = NULL;

/* ---- transactions ---- */

static void
commit(void)
{
	SPI_commit();
	XactIsoLevel = XACT_READ_COMMITTED;
}

void
eb_commit_lazily(void)
{
	(void) set_config_option("synchronous_commit", "off", PGC_USERSET,
							 PGC_S_SESSION, GUC_ACTION_LOCAL, true, 0, false);
	commit();
}

/* Invocations of user code that share a subtransaction. */
typedef struct InvocationGroup
{
	int			count;
	int64		bytes;			/* of their events */
	EbInvocation invocations[MANY_INVOCATIONS];
} InvocationGroup;

/*
 * How many share one now.  The subtransaction costs something, and the server
 * plans a function in SQL anew in each.  But a failure has the whole group made
 * again, one by one; so groups grow as long as nothing fails.
 */
static int	group_size = FEW_INVOCATIONS;

static bool
group_is_full(const InvocationGroup *group)
{
	return group->count >= group_size || group->bytes >= GROUP_BYTES;
}

static void
deliver_group(const EbBatch *batch, InvocationGroup *group)
{
	TimestampTz started = GetCurrentTimestamp();

	if (group->count > 1 && eb_invoke(group->invocations, group->count))
	{
		for (int i = 0; i < group->count; i++)
			eb_settle_first(batch, &group->invocations[i], started);
		if (group->count >= group_size)
			group_size = Min(group_size * 2, MANY_INVOCATIONS);
	}
	else
	{
		if (group->count > 1)
			group_size = FEW_INVOCATIONS;
		for (int i = 0; i < group->count; i++)
		{
			started = GetCurrentTimestamp();
			eb_target_deliver(&group->invocations[i]);
			eb_settle_first(batch, &group->invocations[i], started);
		}
	}
	group->count = 0;
	group->bytes = 0;
}

/*
 * The deliveries of a claimed batch, in the current transaction.  A batch
 * that was taken over has perhaps killed the worker that had it, so user code
 * gets its deliveries as retries.
 */
static void
deliver_batch(const EbBatch *batch)
{
	HTAB	   *targets = eb_targets_create();
	MemoryContext oldcontext = CurrentMemoryContext;
	MemoryContext context = AllocSetContextCreate(oldcontext,
												  "eventbridge delivery",
												  ALLOCSET_DEFAULT_SIZES);
	InvocationGroup *group = palloc0(sizeof(InvocationGroup));
	ListCell   *cell;

	foreach(cell, batch->rows)
	{
		EbLogRow   *row = lfirst(cell);

		MemoryContextSwitchTo(oldcontext);
		eb_count_matches(targets, row);
		for (int i = 0; i < row->ntargets; i++)
		{
			EbInvocation *next = &group->invocations[group->count];

			CHECK_FOR_INTERRUPTS();
			if (group->count == 0)
				MemoryContextReset(context);
			MemoryContextSwitchTo(oldcontext);
			next->target = eb_targets_get(targets, row->target_ids[i]);
			next->row = row;
			MemoryContextSwitchTo(context);
			if (eb_order_applies(next->target, row))
				eb_order_insert(batch, next->target, row);
			else if (batch->again && batch->lane != EB_LANE_ANY)
				(void) eb_retry_insert(next->target->target_id, batch->lane,
									   row, 1, eb_backoff(1), "INTERNAL_ERROR",
									   "the worker ended during the invocation");
			else if (!eb_target_prepare(next, batch->lane))
				eb_settle_first(batch, next, GetCurrentTimestamp());
			else if (next->target->kind == EB_TARGET_PROCEDURE)
				(void) eb_retry_insert(next->target->target_id, batch->lane,
									   row, 0, 0, NULL, NULL);
			else
			{
				group->count++;
				group->bytes += row->size;
				if (batch->lane != EB_LANE_ANY && !group_is_full(group))
					continue;
				deliver_group(batch, group);
			}
		}
	}
	deliver_group(batch, group);
	MemoryContextSwitchTo(oldcontext);
	eb_metrics_write(targets);
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

/*
 * Claims one batch of the lane and serves it, each in a transaction.  Returns the
 * number of deliveries, and in *is_full whether there may be more; with none,
 * *closes says whether deliveries that wait for their turn may be due by that.
 */
int
eb_run_batch(Oid lane, int max_deliveries, void (*serve) (const EbBatch *),
			 bool *is_full, bool *closes)
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
		serve(&batch);
		eb_commit_lazily();
		eb_ledger_release(&batch);
		ndeliveries = batch.ndeliveries;
	}
	else
		*closes = batch.closes;
	*is_full = batch.is_full;
	MemoryContextSwitchTo(oldcontext);
	MemoryContextReset(context);
	return ndeliveries;
}

/*
 * Serves batches of the lane for a turn, as long as they are full: what comes
 * meanwhile is better delivered many at a time.  *closes: see eb_run_batch().
 */
static int64
run_batches(Oid lane, int64 max_deliveries, bool *closes)
{
	TimestampTz turn_ends = GetCurrentTimestamp() + EB_TURN_INTERVAL;
	int64		total = 0;
	bool		is_full;

	*closes = false;
	do
		total += eb_run_batch(lane, Min(max_deliveries - total, INT_MAX),
							  deliver_batch, &is_full, closes);
	while (is_full && total < max_deliveries &&
		   GetCurrentTimestamp() < turn_ends);
	return total;
}

/* ---- retries ---- */

/*
 * Makes one attempt, in the current transaction.  Or, if it is to call a
 * procedure and procedures may commit, does nothing and returns false.
 */
static bool
deliver_retry(Oid lane, EbRetry *retry, bool procedures_may_commit)
{
	HTAB	   *targets = eb_targets_create();
	EbInvocation invocation = {
		.target = eb_targets_get(targets, retry->target_id),
		.row = &retry->row
	};
	TimestampTz started = GetCurrentTimestamp();

	if (eb_target_prepare(&invocation, lane))
	{
		if (procedures_may_commit &&
			invocation.target->kind == EB_TARGET_PROCEDURE)
			return false;
		eb_target_deliver(&invocation);
	}
	eb_settle_retry(lane, retry, &invocation, started, 0);
	eb_metrics_write(targets);
	return true;
}

/*
 * Makes an attempt that calls a procedure, for the first of these rows, and
 * settles it in whatever transaction that ended in.
 */
static void
deliver_by_procedure(Oid lane, EbRetry *retries, int nretries)
{
	MemoryContext context = CurrentMemoryContext;
	HTAB	   *targets = eb_targets_create();
	EbInvocation invocation = {
		.target = eb_targets_get(targets, retries[0].target_id),
		.row = &retries[0].row
	};
	TimestampTz started = GetCurrentTimestamp();

	if (eb_target_prepare(&invocation, lane))
	{
		if (invocation.input != NULL)
			invocation.input = pstrdup(invocation.input);
		eb_invoke_procedure(&invocation, retries, nretries);
		MemoryContextSwitchTo(context);
		targets = eb_targets_create();
		invocation.target = eb_targets_get(targets, retries[0].target_id);
		if (!invocation.target->exists)
			invocation.outcome.result = EB_GONE;
	}
	eb_settle_retry(lane, &retries[0], &invocation, started, 0);
	eb_metrics_write(targets);
}

/* Serves some retries of the lane that are due.  Returns their number. */
static int
run_some_retries(Oid lane, int max_deliveries, bool procedures_may_commit)
{
	MemoryContext oldcontext = CurrentMemoryContext;
	MemoryContext context = AllocSetContextCreate(oldcontext,
												  "eventbridge retries",
												  ALLOCSET_DEFAULT_SIZES);
	EbRetry		retries[EB_RETRIES_AT_ONCE];
	int			nretries;
	int			nprocedures = 0;

	MemoryContextSwitchTo(context);
	nretries = eb_retry_claim(lane, max_deliveries, retries);
	if (nretries > 0)
		eb_commit_lazily();
	for (int i = 0; i < nretries; i++)
	{
		MemoryContextSwitchTo(context);
		if (!deliver_retry(lane, &retries[i], procedures_may_commit))
		{
			retries[nprocedures++] = retries[i];
			continue;
		}
		eb_commit_lazily();
		eb_retry_unlock(retries[i].retry_id);
	}
	for (int i = 0; i < nprocedures; i++)
	{
		MemoryContextSwitchTo(context);
		deliver_by_procedure(lane, &retries[i], nprocedures - i);
		eb_commit_lazily();
		eb_retry_unlock(retries[i].retry_id);
	}
	MemoryContextSwitchTo(oldcontext);
	MemoryContextDelete(context);
	return nretries;
}

/* Serves retries of the lane that are due, for a turn. */
static int64
run_retries(Oid lane, int64 max_deliveries, bool procedures_may_commit)
{
	TimestampTz turn_ends = GetCurrentTimestamp() + EB_TURN_INTERVAL;
	int64		total = 0;
	int			nretries;

	do
	{
		nretries = run_some_retries(lane,
									Min(max_deliveries - total, INT_MAX),
									procedures_may_commit);
		total += nretries;
	} while (nretries > 0 && total < max_deliveries &&
			 GetCurrentTimestamp() < turn_ends);
	return total;
}

/* ---- maintenance ---- */

/* Microseconds between looks at the log's size, and between tidying up. */
#define ROTATE_INTERVAL		(1 * USECS_PER_SEC)
#define TIDY_INTERVAL		(10 * USECS_PER_SEC)

/*
 * Has each log go on in another set of its tables, if it is time and one is
 * free; see log.c, "Rotation".  The sequence is advanced after commit, so that
 * no writer waits for the lock of who empties the set.
 */
static void
rotate(void)
{
	static const Oid types[] = {INT4OID};

	for (EbAppendLog *log = eb_append_logs(); log != NULL; log = log->next)
	{
		char	   *sql = psprintf("SELECT eventbridge._rotate_%s()", log->name);
		Datum		next;
		bool		isnull;

		eb_internal_execute(&log->rotate_plan, sql, 0, NULL, NULL, NULL);
		next = eb_result(0, 1, &isnull);
		SPI_freetuptable(SPI_tuptable);
		commit();
		if (isnull)
			continue;
		sql = psprintf("SELECT setval('eventbridge.%s', $1)", log->turn);
		eb_internal_call(&log->turn_plan, sql, 1, types, &next, NULL);
		eb_commit_lazily();
	}
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
		eb_internal_call(&tidy_plan, "SELECT eventbridge._tidy()",
						 0, NULL, NULL, NULL);
		eb_commit_lazily();
	}
	rotate();
	eb_unlock(EB_LOCK_MAINTENANCE, 0, 0, ExclusiveLock, true);
}

/* ---- the pass ---- */

/*
 * Is the session that of the role which it was authenticated as, and of nobody
 * else meanwhile?  User code runs in such a session only, because it could
 * undo what the session has become since: after SET ROLE by RESET ROLE, and
 * after a superuser's SET SESSION AUTHORIZATION by RESET SESSION
 * AUTHORIZATION, which would make it a superuser.  To compare with the
 * session's user is therefore not enough.  MyProc has the role that was
 * authenticated in all versions, and in background workers, too.
 */
bool
eb_session_is_its_own(void)
{
	return GetSessionUserId() == MyProc->roleId &&
		GetUserId() == GetSessionUserId();
}

/*
 * The lanes that this session serves: that of its role only where the role
 * calls as itself, and not in a function of somebody else.
 */
static int
session_lanes(Oid *lanes)
{
	int			nlanes = 0;

	if (eb_worker_lane(&lanes[0]))
		return 1;
	lanes[nlanes++] = EB_LANE_ANY;
	if (eb_session_is_its_own() && !InLocalUserIdChange() &&
		!InSecurityRestrictedOperation())
		lanes[nlanes++] = MyProc->roleId;
	return nlanes;
}

/*
 * Gives each lane, and its pipes, a turn, and returns how many deliveries were
 * attempted, up to about max_deliveries.  SPI is connected and may commit; if
 * procedures may, too, it is the only connection, and another one when this
 * returns.  Leaves the current context as PortalContext.  Claims look at what
 * others have just committed, so this needs READ COMMITTED, whatever the
 * session's default.
 */
int64
eb_run_turn(int64 max_deliveries, bool procedures_may_commit)
{
	MemoryContext context = AllocSetContextCreate(PortalContext,
												  "eventbridge turn",
												  ALLOCSET_SMALL_SIZES);
	Oid			lanes[2];
	int			nlanes = session_lanes(lanes);
	int64		total = 0;

	MemoryContextSwitchTo(context);
	commit();
	maintain();
	for (int i = 0; i < nlanes; i++)
	{
		bool		closes = false;

		if (total < max_deliveries)
			total += run_retries(lanes[i], max_deliveries - total,
								 procedures_may_commit);
		if (total < max_deliveries)
			total += run_batches(lanes[i], max_deliveries - total, &closes);
		if (total < max_deliveries && closes)
			total += run_retries(lanes[i], max_deliveries - total,
								 procedures_may_commit);
		if (total < max_deliveries && lanes[i] > EB_LANE_CLIENT &&
			eb_run_pipes != NULL)
			total += eb_run_pipes(lanes[i], max_deliveries - total);
	}
	if (total < max_deliveries)
		total += eb_orphans_pass_on();
	MemoryContextSwitchTo(PortalContext);
	MemoryContextDelete(context);
	return total;
}

/*
 * When the lane has to be served next although nobody rings; 0: no need.  SPI
 * is connected.
 */
TimestampTz
eb_next_attempt(Oid lane)
{
	static SPIPlanPtr plan = NULL;
	static const Oid types[] = {OIDOID};
	Datum		values[1] = {ObjectIdGetDatum(lane)};
	bool		isnull;
	Datum		value;
	TimestampTz next;

	eb_internal_execute(&plan,
						"SELECT eventbridge._next_attempt($1)",
						1, types, values, NULL);
	value = eb_result(0, 1, &isnull);
	next = isnull ? 0 : DatumGetTimestampTz(value);
	SPI_freetuptable(SPI_tuptable);
	return next;
}

/*
 * Connects to SPI for a procedure that is called by the name.  The result is
 * whether the procedures that it calls may commit, too: who calls from a
 * block that may commit has a connection already.
 */
static bool
begin_call(FunctionCallInfo fcinfo, const char *name)
{
	CallContext *call = (CallContext *) fcinfo->context;
	bool		is_alone;

	if (call == NULL || !IsA(call, CallContext) || call->atomic)
		ereport(ERROR,
				(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
				 errmsg("%s cannot run inside a transaction block", name),
				 errdetail("It commits after each batch.")));
	is_alone = !SPI_inside_nonatomic_context();
	SPI_connect_ext(SPI_OPT_NONATOMIC);
	return is_alone;
}

/*
 * run_deliveries(max_deliveries integer)
 */
Datum
eb_run_deliveries(PG_FUNCTION_ARGS)
{
	int64		max_deliveries = PG_ARGISNULL(0) ? PG_INT64_MAX : PG_GETARG_INT32(0);
	MemoryContext oldcontext = CurrentMemoryContext;
	bool		is_alone;
	int64		total = 0;
	int64		ndeliveries;

	if (max_deliveries <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("max_deliveries must be positive")));
	is_alone = begin_call(fcinfo, "run_deliveries");
	do
	{
		ndeliveries = eb_run_turn(max_deliveries - total, is_alone);
		total += ndeliveries;
	} while (ndeliveries > 0 && total < max_deliveries);
	SPI_finish();
	MemoryContextSwitchTo(oldcontext);
	PG_RETURN_VOID();
}

/* Milliseconds until one of this session's lanes has to be served; -1: none. */
static int64
next_look(void)
{
	Oid			lanes[2];
	int			nlanes = session_lanes(lanes);
	TimestampTz first = 0;

	for (int i = 0; i < nlanes; i++)
	{
		TimestampTz next = eb_next_attempt(lanes[i]);

		if (next != 0 && (first == 0 || next < first))
			first = next;
	}
	if (first == 0)
		return -1;
	return Max(TimestampDifferenceMilliseconds(GetCurrentTimestamp(), first),
			   1);
}

/*
 * worker_deliver(INOUT next_look bigint, INOUT pause integer)
 */
Datum
eb_worker_deliver(PG_FUNCTION_ARGS)
{
	static TimestampTz last_began = 0;
	MemoryContext oldcontext = CurrentMemoryContext;
	bool		is_alone = begin_call(fcinfo, "worker_deliver");
	TimestampTz began = GetCurrentTimestamp();
	int64		ndeliveries = eb_run_turn(PG_INT64_MAX, is_alone);
	int64		next = ndeliveries > 0 ? 0 : next_look();
	Datum		values[2];
	bool		nulls[2] = {next < 0, false};
	TupleDesc	desc;

	SPI_finish();
	MemoryContextSwitchTo(oldcontext);
	values[0] = Int64GetDatum(next);
	values[1] = Int32GetDatum(eb_pause(last_began, began, ndeliveries));
	last_began = began;

	desc = CreateTemplateTupleDesc(2);
	TupleDescInitEntry(desc, 1, "next_look", INT8OID, -1, 0);
	TupleDescInitEntry(desc, 2, "pause", INT4OID, -1, 0);
	desc = BlessTupleDesc(desc);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(desc, values, nulls)));
}
