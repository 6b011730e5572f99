/*-------------------------------------------------------------------------
 *
 * log.c
 *	  The delivery log: what has been promised to targets.
 *
 * An event that rules want is one row of the log: what the event is made of
 * (log_row.c), and the list of targets that it is owed to.  The row is written
 * in the transaction that puts the event, and never changed.  This comment
 * describes the room's design as a whole; the other files refer to it.
 *
 * Tables.  Everything that grows with the traffic lies in three sets of
 * tables that are used by turns, so that it is emptied by TRUNCATE and never
 * by DELETE.  A set is
 *
 *	delivery_log_N		one row per event: the writer's transaction (xid) and
 *						the event's number in it, the event, its targets and
 *						the lane of each (deliveries.c); one index, on (xid, no)
 *	delivery_ledger_N	one row per batch that a worker takes, one more when
 *						it is done
 *	delivery_metric_N	one row per batch and target: what happened
 *
 * The sequence delivery_turn tells which set is written to.
 *
 * Lanes.  Who delivers depends on the target: queues, channels, buses and
 * log groups are served by any session; functions and procedures by sessions
 * of the role that they run as; webhooks and commands by the client program.
 * Each of these is a lane, and reads the log for itself.  For a role that is
 * gone somebody else does: see orphans.c.
 *
 * Reading.  A position in the log is a snapshot (position.h).  A batch is
 * what is visible at one position and was not at the one before.  So what
 * commits late is in a later batch, whatever its transaction's number, and a
 * transaction that runs for long holds up nothing but itself.  From the old
 * position's xmax on, transactions are read by an index scan over a range;
 * those that were running then and have ended since, one by one.
 *
 * Claims.  A worker takes the lock CLAIM of its lane, looks for batches whose
 * worker died (their row is not followed by a "done", and their lock BATCH is
 * free), takes over the oldest of them, or else reads on from the last batch
 * and writes a row for the new one.  It locks BATCH for its session, and
 * commits.  Then it delivers, and commits the effects together with "done".
 * So a batch's effects in the database happen exactly once; a batch is never
 * in two hands; and since the claim is a lock, who dies gives it back at
 * once.  A worker's row lists which earlier batches were not known to be
 * done, so the last row of a lane tells all that is open.
 *
 * A batch that is taken over may have killed its worker.  Its invocations of
 * user code are not repeated in one go but become retries, each on its own.
 *
 * Failures.  What a target fails to take becomes a row of delivery_retry, an
 * ordinary table, with its own copy of the event.  Before a retry is invoked,
 * its next time is advanced and committed: should the worker die, that is
 * when it is due again.  The lock RETRY keeps others from it until then.
 * What a client program has in hand has such a row, too; see client.c.  So
 * has what waits for its turn, because its target wants events in order; see
 * order.c.
 *
 * Rotation.  When the current set has grown or is old, any set may follow it
 * that is empty, or can be emptied: whoever maintains locks its tables with
 * NOWAIT, checks that every row has passed in each of its lanes and is older
 * than eventbridge.log_retention, carries over what the ledger's last rows
 * and the counters say, and truncates.  A reader (pg_dump, for one) or a
 * writer's open transaction makes that fail; then the current set goes on
 * growing.  Readers of ours give their lock on the log back as soon as a
 * batch is read.  All logs rotate in this way: sql/parts/log.sql.
 *
 * Elsewhere.  Transaction numbers mean nothing in another cluster.  pg_dump
 * takes along only rows that are owed to somebody, and when they are loaded, a
 * trigger on the log (which our own appends do not fire) makes them rows of
 * the loading transaction.  The ledger stays behind.
 *
 * Appending.  See log/append.c.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/skey.h"
#include "access/table.h"
#include "access/transam.h"
#include "access/xact.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/xid8.h"

#include "bus/publish.h"
#include "compat.h"
#include "delivery/deliveries.h"
#include "delivery/delivery.h"
#include "delivery/log_row.h"

EbAppendLog eb_delivery_log = {
	.name = "delivery_log",
	.index_suffix = "xid_no_idx",
	.turn = "delivery_turn"
};

/* A batch takes up so much, and one event: all of it is held in memory. */
#define BATCH_BYTES		(8 * 1024 * 1024)

/* Number of the transaction's next event. */
static int32 next_no = 0;

/* ---- appending ---- */

/* The sink of put events; what it allocates is for its caller to reset. */
static void
append_event(const EbPublishedEvent *event, const EbMatchedTarget *targets,
			 int ntargets)
{
	Datum		values[LOG_NATTS];
	bool		nulls[LOG_NATTS];
	EbDelivery *deliveries = palloc(sizeof(EbDelivery) * ntargets);

	for (int i = 0; i < ntargets; i++)
	{
		deliveries[i].target_id = targets[i].target_id;
		deliveries[i].lane = eb_target_lane(targets[i].target_id);
		if (i == 0 || deliveries[i].lane != deliveries[i - 1].lane)
			eb_bell_note_lane(deliveries[i].lane);
	}
	eb_log_row_form(event, next_no++, deliveries, ntargets, values, nulls);
	eb_append_row(&eb_delivery_log, GetCurrentSubTransactionId(), values, nulls);
}

static void
log_xact_callback(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_PRE_COMMIT:
		case XACT_EVENT_PRE_PREPARE:
			eb_bell_pre_commit(event == XACT_EVENT_PRE_PREPARE);
			break;
		case XACT_EVENT_COMMIT:
		case XACT_EVENT_PREPARE:
		case XACT_EVENT_ABORT:
			next_no = 0;
			eb_bell_end(event);
			eb_client_end(event);
			break;
		default:
			break;
	}
}

/* ---- reading ---- */

/* One table of the log, read in the order of (xid, no). */
typedef struct LogCursor
{
	Relation	rel;
	Relation	index;
	SysScanDesc scan;
	HeapTuple	tuple;			/* the next row, or NULL */
	uint64		xid;
	int32		no;
} LogCursor;

static void
advance_cursor(LogCursor *cursor)
{
	bool		isnull;
	TupleDesc	desc = RelationGetDescr(cursor->rel);

	cursor->tuple = systable_getnext_ordered(cursor->scan,
											 ForwardScanDirection);
	if (cursor->tuple == NULL)
		return;
	cursor->xid =
		U64FromFullTransactionId(DatumGetFullTransactionId(heap_getattr(cursor->tuple,
																		LOG_XID,
																		desc,
																		&isnull)));
	cursor->no = DatumGetInt32(heap_getattr(cursor->tuple, LOG_NO, desc,
											&isnull));
}

/* Is a target of the lane among them? */
static bool
have_lane(const bytea *deliveries, Oid lane)
{
	EbDeliveryReader reader;
	EbDelivery	delivery;

	eb_deliveries_read(&reader, deliveries);
	while (eb_deliveries_next(&reader, &delivery))
		if (delivery.lane == lane)
			return true;
	return false;
}

/* The targets of a row: all, and those of the lane. */
static void
read_targets(EbLogRow *row, const bytea *deliveries, Oid lane)
{
	EbDeliveryReader reader;
	EbDelivery	delivery;
	int			most;
	int			n = 0;

	eb_deliveries_read(&reader, deliveries);
	most = eb_deliveries_most(&reader);
	row->target_ids = palloc(sizeof(int64) * most * 2);
	row->all_target_ids = row->target_ids + most;
	while (eb_deliveries_next(&reader, &delivery))
	{
		row->all_target_ids[n++] = delivery.target_id;
		if (delivery.lane == lane)
			row->target_ids[row->ntargets++] = delivery.target_id;
	}
}

/* Takes the row if the lane has a target in it. */
static void
take_row(EbBatch *batch, LogCursor *cursor)
{
	Datum		values[LOG_NATTS];
	bool		nulls[LOG_NATTS];
	bytea	   *deliveries;
	EbLogRow   *row;

	heap_deform_tuple(cursor->tuple, RelationGetDescr(cursor->rel), values,
					  nulls);
	deliveries = DatumGetByteaPP(values[LOG_DELIVERIES - 1]);
	if (have_lane(deliveries, batch->lane))
	{
		row = palloc0(sizeof(EbLogRow));
		row->xid = cursor->xid;
		row->no = cursor->no;
		row->event_id = *DatumGetUUIDP(values[LOG_EVENT_ID - 1]);
		row->bus_id = DatumGetInt64(values[LOG_BUS_ID - 1]);
		row->ingestion_time =
			DatumGetTimestampTz(values[LOG_INGESTION_TIME - 1]);
		row->hops = DatumGetInt32(values[LOG_HOPS - 1]);
		read_targets(row, deliveries, batch->lane);
		eb_log_row_read(row, values, nulls);
		if (!nulls[LOG_GROUP_KEY - 1])
			row->group_key = TextDatumGetCString(values[LOG_GROUP_KEY - 1]);
		if (!nulls[LOG_ORDER_XID - 1])
			row->order_xid = DatumGetInt64(values[LOG_ORDER_XID - 1]);
		batch->rows = lappend(batch->rows, row);
		batch->nbytes += row->size;
		batch->ndeliveries += row->ntargets;
	}
	if ((Pointer) deliveries != DatumGetPointer(values[LOG_DELIVERIES - 1]))
		pfree(deliveries);
}

/*
 * Reads the rows of transactions low <= xid < high that lie in the batch.
 * False when the batch became full; then it ends after the last row read.
 */
static bool
read_range(EbBatch *batch, LogCursor *cursors, Snapshot snapshot,
		   uint64 low, uint64 high, int max_deliveries)
{
	const EbLogPosition until = batch->to;
	bool		more = true;

	for (int i = 0; i < EB_LOG_SETS; i++)
	{
		ScanKeyData keys[2];

		ScanKeyInit(&keys[0], LOG_XID, BTGreaterEqualStrategyNumber,
					F_XID8GE,
					FullTransactionIdGetDatum(FullTransactionIdFromU64(low)));
		ScanKeyInit(&keys[1], LOG_XID, BTLessStrategyNumber, F_XID8LT,
					FullTransactionIdGetDatum(FullTransactionIdFromU64(high)));
		cursors[i].scan = systable_beginscan_ordered(cursors[i].rel,
													 cursors[i].index,
													 snapshot, 2, keys);
		advance_cursor(&cursors[i]);
	}

	for (;;)
	{
		LogCursor  *next = NULL;

		CHECK_FOR_INTERRUPTS();
		for (int i = 0; i < EB_LOG_SETS; i++)
		{
			LogCursor  *c = &cursors[i];

			if (c->tuple != NULL &&
				(next == NULL || c->xid < next->xid ||
				 (c->xid == next->xid && c->no < next->no)))
				next = c;
		}
		if (next == NULL)
			break;

		batch->nscanned++;
		if (eb_position_has_event(&until, next->xid, next->no) &&
			!eb_position_has_event(&batch->from, next->xid, next->no))
		{
			take_row(batch, next);
			if (max_deliveries > 0 &&
				(batch->ndeliveries >= max_deliveries ||
				 batch->nbytes >= BATCH_BYTES))
			{
				batch->is_full = true;
				eb_position_cut(&batch->to, &batch->from, &until,
								next->xid, next->no);
				more = false;
				break;
			}
		}
		advance_cursor(next);
	}

	for (int i = 0; i < EB_LOG_SETS; i++)
		systable_endscan_ordered(cursors[i].scan);
	return more;
}

/*
 * Reads what lies between batch->from and batch->to for batch->lane, in the
 * order of transactions.  With max_deliveries > 0 the batch may be cut, there
 * or where its events have become long: then batch->to is moved to where it
 * ends.  Everything is allocated in the current context.  The locks on the log
 * do not outlast the call.
 */
void
eb_log_fetch(EbBatch *batch, int max_deliveries)
{
	LogCursor	cursors[EB_LOG_SETS];
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	const EbLogPosition *from = &batch->from;
	const EbLogPosition until = batch->to;
	bool		more = true;

	batch->rows = NIL;
	batch->ndeliveries = 0;
	batch->nbytes = 0;
	batch->is_full = false;
	batch->nscanned = 0;
	for (int i = 0; i < EB_LOG_SETS; i++)
		cursors[i].rel = eb_append_open(&eb_delivery_log, i, AccessShareLock,
										&cursors[i].index);

	/* Those that ran before and have ended meanwhile. */
	for (int i = 0; i < from->nxip && more; i++)
	{
		uint64		xid = from->xip[i];

		if (eb_position_has_xid(&until, xid) || xid == until.part_xid)
			more = read_range(batch, cursors, snapshot, xid, xid + 1,
							  max_deliveries);
	}
	if (more)
		read_range(batch, cursors, snapshot, from->xmax,
				   Max(until.xmax, until.part_xid + 1), max_deliveries);

	for (int i = 0; i < EB_LOG_SETS; i++)
	{
		index_close(cursors[i].index, AccessShareLock);
		table_close(cursors[i].rel, AccessShareLock);
	}
	UnregisterSnapshot(snapshot);
}

/*
 * Installs the sink and the callback.  Whoever publishes at pre-commit must
 * register later than this, so that the bell is rung for it.
 */
void
eb_log_init(void)
{
	eb_publish_sink = append_event;
	eb_append_register(&eb_delivery_log);
	RegisterXactCallback(log_xact_callback, NULL);
}
