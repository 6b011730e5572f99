/*-------------------------------------------------------------------------
 *
 * ledger.c
 *	  Which batches there are, and who has them.
 *
 * See log.c, "Claims".  Rows of the ledger are only ever appended.  A row
 * with done = false makes a batch: where it begins and ends, and which
 * earlier batches of the lane were open then.  A row with done = true ends
 * it.  Batches of a lane are numbered from 1.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "delivery/delivery.h"

/*
 * Rows of other lanes that a look may pass before its end is recorded
 * although it found nothing, so that the next look need not pass them again.
 */
#define RECORD_AFTER_ROWS	500

/* The columns of a row, wherever one is read. */
#define LEDGER_COLUMNS \
	"batch, from_snapshot::text, from_xid, from_no," \
	" to_snapshot::text, to_xid, to_no, open"

enum
{
	LEDGER_BATCH = 1,
	LEDGER_FROM_SNAPSHOT,
	LEDGER_FROM_XID,
	LEDGER_FROM_NO,
	LEDGER_TO_SNAPSHOT,
	LEDGER_TO_XID,
	LEDGER_TO_NO,
	LEDGER_OPEN
};

/* A position from three columns of the first row of SPI's result. */
static void
read_position(EbLogPosition *position, int column)
{
	bool		isnull;

	eb_position_parse(position, eb_result_text(0, column));
	position->part_xid = (uint64) eb_result_int64(0, column + 1);
	position->part_no = DatumGetInt32(eb_result(0, column + 2, &isnull));
}

/* A copy of an array in the first row of SPI's result. */
static Datum
read_array(int column)
{
	bool		isnull;

	return PointerGetDatum(DatumGetArrayTypePCopy(eb_result(0, column,
														   &isnull)));
}

/*
 * The lane's last batch: its number and end, and which batches may be open,
 * itself included.  False if the lane has none yet.
 */
static bool
read_last(Oid lane, EbBatch *last, Datum *open)
{
	static SPIPlanPtr plan = NULL;
	static const Oid types[] = {OIDOID};
	Datum		values[1] = {ObjectIdGetDatum(lane)};
	bool		found;

	found = eb_internal_execute(&plan,
								"SELECT " LEDGER_COLUMNS " || batch FROM ("
								"(SELECT * FROM eventbridge.delivery_ledger_0 WHERE lane = $1 AND NOT done ORDER BY batch DESC LIMIT 1)"
								" UNION ALL "
								"(SELECT * FROM eventbridge.delivery_ledger_1 WHERE lane = $1 AND NOT done ORDER BY batch DESC LIMIT 1)"
								" UNION ALL "
								"(SELECT * FROM eventbridge.delivery_ledger_2 WHERE lane = $1 AND NOT done ORDER BY batch DESC LIMIT 1)"
								") AS ledger ORDER BY batch DESC LIMIT 1",
								1, types, values, NULL) > 0;
	if (found)
	{
		last->number = eb_result_int64(0, LEDGER_BATCH);
		read_position(&last->to, LEDGER_TO_SNAPSHOT);
		*open = read_array(LEDGER_OPEN);
	}
	SPI_freetuptable(SPI_tuptable);
	return found;
}

/*
 * Of these batches, those that are not done, in their order.  They are few;
 * OFFSET keeps the planner, to whom the ledger has no statistics, from
 * reading all of it for a join.
 */
static Datum
still_open(Oid lane, Datum open)
{
	static SPIPlanPtr plan = NULL;
	static const Oid types[] = {OIDOID, INT8ARRAYOID};
	Datum		values[2] = {ObjectIdGetDatum(lane), open};
	Datum		result;

	eb_internal_execute(&plan,
						"SELECT coalesce(array_agg(number ORDER BY number), '{}')"
						" FROM unnest($2) AS number"
						" WHERE NOT EXISTS (SELECT FROM eventbridge.delivery_ledger_0 WHERE lane = $1 AND batch = number AND done OFFSET 0)"
						" AND NOT EXISTS (SELECT FROM eventbridge.delivery_ledger_1 WHERE lane = $1 AND batch = number AND done OFFSET 0)"
						" AND NOT EXISTS (SELECT FROM eventbridge.delivery_ledger_2 WHERE lane = $1 AND batch = number AND done OFFSET 0)",
						2, types, values, NULL);
	result = read_array(1);
	SPI_freetuptable(SPI_tuptable);
	return result;
}

/* Reads where a batch begins and ends. */
static void
read_batch(EbBatch *batch)
{
	static SPIPlanPtr plan = NULL;
	static const Oid types[] = {OIDOID, INT8OID};
	Datum		values[2] = {ObjectIdGetDatum(batch->lane),
	Int64GetDatum(batch->number)};

	if (eb_internal_execute(&plan,
							"SELECT " LEDGER_COLUMNS
							" FROM eventbridge.delivery_ledger"
							" WHERE lane = $1 AND batch = $2 AND NOT done",
							2, types, values, NULL) == 0)
		elog(ERROR, "batch " INT64_FORMAT " of lane %u is not in the ledger",
			 batch->number, batch->lane);
	read_position(&batch->from, LEDGER_FROM_SNAPSHOT);
	read_position(&batch->to, LEDGER_TO_SNAPSHOT);
	SPI_freetuptable(SPI_tuptable);
}

static void
write_batch(const EbBatch *batch, Datum open)
{
	static SPIPlanPtr plans[EB_LOG_SETS];
	static const Oid types[] = {OIDOID, INT8OID, TEXTOID, INT8OID, INT4OID,
	TEXTOID, INT8OID, INT4OID, INT8ARRAYOID};
	Datum		values[9] = {
		ObjectIdGetDatum(batch->lane),
		Int64GetDatum(batch->number),
		CStringGetTextDatum(eb_position_snapshot(&batch->from)),
		Int64GetDatum((int64) batch->from.part_xid),
		Int32GetDatum(batch->from.part_no),
		CStringGetTextDatum(eb_position_snapshot(&batch->to)),
		Int64GetDatum((int64) batch->to.part_xid),
		Int32GetDatum(batch->to.part_no),
		open
	};

	if (batch->number == 1)
		eb_order_forget(batch->lane);
	eb_append_execute(&eb_delivery_log, plans,
					  "INSERT INTO eventbridge.delivery_ledger_%d"
					  " (lane, batch, done, from_snapshot, from_xid, from_no,"
					  " to_snapshot, to_xid, to_no, open)"
					  " VALUES ($1, $2, false, $3::pg_snapshot, $4, $5,"
					  " $6::pg_snapshot, $7, $8, $9)",
					  9, types, values, NULL);
}

/* Says that the batch is done; commits with its effects. */
void
eb_ledger_finish(const EbBatch *batch)
{
	static SPIPlanPtr plans[EB_LOG_SETS];
	static const Oid types[] = {OIDOID, INT8OID};
	Datum		values[2] = {ObjectIdGetDatum(batch->lane),
	Int64GetDatum(batch->number)};

	eb_append_execute(&eb_delivery_log, plans,
					  "INSERT INTO eventbridge.delivery_ledger_%d"
					  " (lane, batch, done) VALUES ($1, $2, true)",
					  2, types, values, NULL);
}

static bool
lock_batch(const EbBatch *batch)
{
	return eb_lock(EB_LOCK_BATCH, batch->lane, (uint32) batch->number,
				   ExclusiveLock, true, false);
}

/* Gives the session's claim back; after the end of the transaction. */
void
eb_ledger_release(const EbBatch *batch)
{
	eb_unlock(EB_LOCK_BATCH, batch->lane, (uint32) batch->number,
			  ExclusiveLock, true);
}

/*
 * Looks for an open batch whose worker is gone, and takes it.  A worker gives
 * its lock back after "done" is committed: so who gets the lock must look
 * again whether the batch is done.
 */
static bool
take_over(EbBatch *batch, Datum open)
{
	Datum	   *numbers;
	int			nnumbers;

	deconstruct_array(DatumGetArrayTypeP(open), INT8OID, sizeof(int64),
					  FLOAT8PASSBYVAL, TYPALIGN_DOUBLE,
					  &numbers, NULL, &nnumbers);
	for (int i = 0; i < nnumbers; i++)
	{
		Datum		one = PointerGetDatum(construct_array(&numbers[i], 1,
														  INT8OID,
														  sizeof(int64),
														  FLOAT8PASSBYVAL,
														  TYPALIGN_DOUBLE));
		Datum		rest;

		batch->number = DatumGetInt64(numbers[i]);
		if (!lock_batch(batch))
			continue;
		rest = still_open(batch->lane, one);
		if (ArrayGetNItems(ARR_NDIM(DatumGetArrayTypeP(rest)),
						   ARR_DIMS(DatumGetArrayTypeP(rest))) == 0)
		{
			eb_ledger_release(batch);
			continue;
		}
		batch->again = true;
		read_batch(batch);
		eb_log_fetch(batch, 0);
		return true;
	}
	return false;
}

/*
 * Takes the lane's next batch: an open one whose worker is gone, or what has
 * come since the last.  False if there is nothing; then batch->closes says
 * whether what waits for its turn may be due by that.  The batch is allocated in
 * the current context, and its lock is held by the session.  The caller
 * commits at once, for others wait until then.
 */
bool
eb_ledger_claim(EbBatch *batch, Oid lane, int max_deliveries)
{
	static const EbLogPosition start = EB_LOG_POSITION_START;
	EbBatch		last = {.to = start};
	Datum		open;

	memset(batch, 0, sizeof(EbBatch));
	batch->lane = lane;
	eb_lock(EB_LOCK_CLAIM, lane, 0, ExclusiveLock, false, true);

	if (read_last(lane, &last, &open))
	{
		open = still_open(lane, open);
		if (take_over(batch, open))
			return true;
	}
	else
		open = PointerGetDatum(construct_empty_array(INT8OID));

	batch->number = last.number + 1;
	batch->from = last.to;
	PushActiveSnapshot(GetLatestSnapshot());
	eb_position_now(&batch->to);
	PopActiveSnapshot();
	eb_log_fetch(batch, max_deliveries);

	if (batch->rows != NIL)
	{
		write_batch(batch, open);
		if (!lock_batch(batch))
			elog(ERROR, "a new batch of lane %u is locked already", lane);
		return true;
	}

	/* After a batch that was cut, order.c wants to know that nothing follows. */
	batch->closes = (last.to.part_xid != 0);
	if (batch->nscanned >= RECORD_AFTER_ROWS || batch->closes)
	{
		write_batch(batch, open);
		eb_ledger_finish(batch);
	}
	return false;
}

/*
 * What has been done without a gap: all batches before *before_batch; and if
 * the last of them was cut, *until_xid is the transaction where.
 */
void
eb_ledger_settled(Oid lane, int64 *before_batch, int64 *until_xid)
{
	EbBatch		last;
	Datum		open;
	Datum	   *numbers;
	int			nnumbers;
	uint64		part_xid;

	*before_batch = PG_INT64_MAX;
	*until_xid = PG_INT64_MAX;
	if (!read_last(lane, &last, &open))
		return;
	deconstruct_array(DatumGetArrayTypeP(still_open(lane, open)), INT8OID,
					  sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE,
					  &numbers, NULL, &nnumbers);
	if (nnumbers > 0)
	{
		EbBatch		first = {.lane = lane,.number = DatumGetInt64(numbers[0])};

		read_batch(&first);
		*before_batch = first.number;
		part_xid = first.from.part_xid;
	}
	else
	{
		*before_batch = last.number + 1;
		part_xid = last.to.part_xid;
	}
	if (part_xid != 0)
		*until_xid = (int64) part_xid;
}
