/*-------------------------------------------------------------------------
 *
 * order.c
 *	  Deliveries to targets that want the events of one group in order.
 *
 * A delivery to such a target of an event that has a group gets a row in
 * delivery_retry when its batch is read, and waits there for its turn: it is
 * claimed only while no other row of its target and group comes before it.
 * So each is settled before the next is invoked, whoever works at it, and
 * different groups do not wait for one another.  Rows are claimed, retried
 * and buried as all rows of delivery_retry.
 *
 * Which comes before which.  The log is read in the order of transaction
 * numbers.  That is not the order in which transactions do things: one that
 * began early may wait for the row lock of one that began later, and put its
 * event after the other has committed.  Therefore a writer notes with the
 * event the number that the next transaction will get (order_xid).  If an
 * event was put after another's transaction had committed, that transaction's
 * number is below its order_xid, and the other's order_xid is not above it;
 * if they are equal, the times of putting tell them apart.  So the rows of a
 * group come in the order (order_xid, ingestion_time, order_no).  A row whose
 * attempts have begun stays before all others: what commits late comes after
 * it.
 *
 * When a row may be claimed.  All that comes before it must have a row, or be
 * settled.  Whatever was committed before the event was put is visible in any
 * snapshot that shows the event.  But a batch may end in the middle of what
 * its snapshot shows, at some transaction: then those behind it have no rows
 * yet.  Other batches may be open.  So a row has to wait until all batches up
 * to its own are done, and until what has been done without a gap ends at a
 * real snapshot, or at a transaction that is not below its order_xid.
 *
 * Of two workers who look for rows at the same moment one could see an event
 * that has just come and belongs before the one that the other claims.  So
 * they look one after the other, under the lock ORDER of their lane, until
 * their claims are committed.
 *
 * What comes with a dump or from another lane has an order that means nothing
 * here; it comes first.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "delivery/delivery.h"

/* Is the delivery one that has to wait for its turn? */
bool
eb_order_applies(const EbTarget *target, const EbLogRow *row)
{
	return target->exists && target->ordered && row->group_key != NULL;
}

/* Has a delivery of the batch wait for its turn. */
void
eb_order_insert(const EbBatch *batch, const EbTarget *target,
				EbLogRow *row)
{
	static SPIPlanPtr plan = NULL;
	static const Oid types[] = {INT8OID, OIDOID, UUIDOID, INT8OID, INT4OID,
	TIMESTAMPTZOID, TEXTOID, TEXTOID, INT8OID, INT4OID, INT8OID};
	bool		at_home = (target->lane == batch->lane);
	Datum		values[11] = {
		Int64GetDatum(target->target_id),
		ObjectIdGetDatum(target->lane),
		UUIDPGetDatum(&row->event_id),
		Int64GetDatum(row->bus_id),
		Int32GetDatum(row->hops),
		TimestampTzGetDatum(row->ingestion_time),
		CStringGetTextDatum(row->group_key),
		CStringGetTextDatum(eb_log_row_text(row)),
		Int64GetDatum(at_home ? row->order_xid : 0),
		Int32GetDatum(row->no),
		Int64GetDatum(at_home ? batch->number : 0)
	};

	eb_internal_execute(&plan,
						"INSERT INTO eventbridge.delivery_retry"
						" (target_id, lane, event_id, bus_id, hops,"
						" ingestion_time, group_key, event, attempts,"
						" next_attempt, order_group, order_xid, order_no,"
						" order_batch)"
						" VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0,"
						" 'infinity', hashtextextended($7, 0), $9, $10, $11)",
						11, types, values, NULL);
	eb_bell_note_lane(target->lane);
}

/*
 * The lane gets its first batch: rows that it has been given before that come
 * from elsewhere.
 */
void
eb_order_forget(Oid lane)
{
	static SPIPlanPtr plan = NULL;
	static const Oid types[] = {OIDOID};
	Datum		values[1] = {ObjectIdGetDatum(lane)};

	eb_internal_execute(&plan,
						"UPDATE eventbridge.delivery_retry"
						" SET order_xid = 0, order_batch = 0"
						" WHERE lane = $1 AND order_group IS NOT NULL",
						1, types, values, NULL);
}

/* Does the lane have any such row? */
static bool
lane_has_rows(Oid lane)
{
	static SPIPlanPtr plan = NULL;
	static const Oid types[] = {OIDOID};
	Datum		values[1] = {ObjectIdGetDatum(lane)};
	bool		has_rows;

	eb_internal_execute(&plan, "SELECT eventbridge._has_order($1)",
						1, types, values, NULL);
	has_rows = eb_result_bool(0, 1);
	SPI_freetuptable(SPI_tuptable);
	return has_rows;
}

/* The group where the last look ended. */
typedef struct GroupCursor
{
	Oid			lane;
	int64		target_id;
	int64		group;
	bool		at_start;
} GroupCursor;

static void
rewind_cursor(GroupCursor *cursor, Oid lane)
{
	cursor->lane = lane;
	cursor->target_id = 0;
	cursor->group = 0;
	cursor->at_start = true;
}

/*
 * Locks rows from the cursor on.  Returns their number, and in *nlooked how
 * many might have been.
 */
static int
lock_from_cursor(GroupCursor *cursor, int limit, int64 before_batch,
				 int64 until_xid, Datum *ids, uint64 *nlooked)
{
	static SPIPlanPtr plan = NULL;
	static const Oid types[] = {OIDOID, INT4OID, INT8OID, INT8OID, INT8OID,
	INT8OID};
	Datum		values[6] = {
		ObjectIdGetDatum(cursor->lane),
		Int32GetDatum(limit),
		Int64GetDatum(before_batch),
		Int64GetDatum(until_xid),
		Int64GetDatum(cursor->target_id),
		Int64GetDatum(cursor->group)
	};
	int			nlocked = 0;

	*nlooked = eb_internal_execute(&plan,
								   "SELECT retry_id, target_id, order_group"
								   " FROM eventbridge._due_in_order($1, $2, $3, $4, $5, $6)",
								   6, types, values, NULL);
	for (uint64 i = 0; i < *nlooked; i++)
	{
		int64		id = eb_result_int64(i, 1);

		if (eb_retry_lock(id))
			ids[nlocked++] = Int64GetDatum(id);
		cursor->target_id = eb_result_int64(i, 2);
		cursor->group = eb_result_int64(i, 3);
		cursor->at_start = false;
	}
	SPI_freetuptable(SPI_tuptable);
	return nlocked;
}

/* Until the transaction's end, nobody else looks for rows of the lane. */
void
eb_order_lock(Oid lane)
{
	eb_lock(EB_LOCK_ORDER, lane, 0, ExclusiveLock, false, true);
}

/*
 * The numbers of rows whose turn it is; their locks are held by the session.
 * Goes round the groups, so that none is kept out by others that always have
 * something.  The caller claims them, and commits.
 */
int
eb_order_lock_due(Oid lane, int limit, Datum *ids)
{
	static GroupCursor cursor = {.lane = InvalidOid,.at_start = true};
	int64		before_batch;
	int64		until_xid;
	bool		has_wrapped;
	uint64		nlooked;
	int			nlocked;

	if (limit <= 0 || !lane_has_rows(lane))
		return 0;
	eb_order_lock(lane);
	eb_ledger_settled(lane, &before_batch, &until_xid);

	if (cursor.lane != lane)
		rewind_cursor(&cursor, lane);
	has_wrapped = cursor.at_start;
	for (;;)
	{
		CHECK_FOR_INTERRUPTS();
		nlocked = lock_from_cursor(&cursor, limit, before_batch, until_xid,
								   ids, &nlooked);
		if (nlooked < limit)
			rewind_cursor(&cursor, lane);
		if (nlocked > 0 || (nlooked < limit && has_wrapped))
			return nlocked;
		has_wrapped = has_wrapped || cursor.at_start;
	}
}
