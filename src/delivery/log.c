/*-------------------------------------------------------------------------
 *
 * log.c
 *	  The delivery log: what has been promised to targets.
 *
 * An event that rules want is one row of the log: the event's text, and the
 * list of targets that it is owed to.  The row is written in the transaction
 * that puts the event, and never changed.  This comment describes the room's
 * design as a whole; the other files refer to it.
 *
 * Tables.  Everything that grows with the traffic lies in three sets of
 * tables that are used by turns, so that it is emptied by TRUNCATE and never
 * by DELETE.  A set is
 *
 *	delivery_log_N		one row per event: the writer's transaction (xid) and
 *						the event's number in it, the event, its targets and
 *						the lane of each; one index, on (xid, no)
 *	delivery_ledger_N	one row per batch that a worker takes, one more when
 *						it is done
 *	delivery_metric_N	one row per batch and target: what happened
 *
 * The sequence delivery_turn tells which set is written to.  It is advanced
 * outside of transactions and read without a lock; nobody relies on it.  A
 * writer who read it long ago still writes a row that is found, because
 * readers look into all three sets.
 *
 * Lanes.  Who delivers depends on the target: queues, channels, buses and
 * log groups are served by any session; functions and procedures by sessions
 * of the role that they run as; webhooks and commands by the client program.
 * Each of these is a lane, and reads the log for itself.
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
 * What a client program has in hand has such a row, too; see client.c.
 *
 * Rotation.  When the current set has grown, any set may follow it that is
 * empty, or can be emptied: whoever maintains locks its tables with NOWAIT,
 * checks that every row has passed in each of its lanes and is older than
 * eventbridge.log_retention, carries over what the ledger's last rows and
 * the counters say, and truncates.  A reader (pg_dump, for one) or a
 * writer's open transaction makes that fail; then the current set goes on
 * growing.  Readers of ours give their lock on the log back as soon as a
 * batch is read.
 *
 * Elsewhere.  Transaction numbers mean nothing in another cluster.  pg_dump
 * takes along only rows that are owed to somebody, and when they are loaded, a
 * trigger on the log (which our own appends do not fire) makes them rows of
 * the loading transaction.  The ledger stays behind.
 *
 * Appending.  Rows are buffered and written a page at a time, when there are
 * many and before commit or prepare.  A row must be written under the
 * subtransaction that put it.  So the buffer notes that for each row: when a
 * subtransaction aborts, its rows are dropped, when it commits, they become
 * its parent's, and when the buffer is full, only the current one's are
 * written.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/skey.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/index.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "commands/sequence.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "storage/bufpage.h"
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
#include "delivery/delivery.h"

/* Columns of delivery_log_N, in the order of sql/parts/delivery.sql. */
enum
{
	LOG_XID = 1,
	LOG_BUS_ID,
	LOG_INGESTION_TIME,
	LOG_NO,
	LOG_HOPS,
	LOG_EVENT_ID,
	LOG_TARGETS,
	LOG_LANES,
	LOG_GROUP_KEY,
	LOG_EVENT,
	LOG_NATTS = LOG_EVENT
};

/* The buffer is written when so many rows, or so many bytes, wait in it. */
#define FLUSH_ROWS	1000
#define FLUSH_BYTES (1024 * 1024)

typedef struct PendingRow
{
	SubTransactionId subid;
	HeapTuple	tuple;
} PendingRow;

static MemoryContext pending_context = NULL;
static PendingRow *pending = NULL;
static int	npending = 0;
static int	pending_size = 0;
static Size pending_bytes = 0;

/* Number of the transaction's next event. */
static int32 next_no = 0;

static TupleDesc log_desc = NULL;

static void append_event(const EbPublishedEvent *event,
						 const EbMatchedTarget *targets, int ntargets);
static void flush_pending(void);

/* A table, index or sequence of ours. */
Oid
eb_delivery_relation(const char *name)
{
	Oid			relid = get_relname_relid(name,
										  get_namespace_oid("eventbridge",
															false));

	if (!OidIsValid(relid))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("relation \"eventbridge.%s\" does not exist", name),
				 errhint("The extension is not created in this database.")));
	return relid;
}

/*
 * Which set is written to.  Reads the sequence's only page as nextval does,
 * but without a lock that lasts.
 */
int
eb_log_turn(void)
{
	Relation	rel = relation_open(eb_delivery_relation("delivery_turn"),
									AccessShareLock);
	Buffer		buffer = ReadBuffer(rel, 0);
	Page		page;
	ItemId		item;
	HeapTupleData tuple;
	int64		turn;

	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	page = BufferGetPage(buffer);
	item = PageGetItemId(page, FirstOffsetNumber);
	tuple.t_data = (HeapTupleHeader) PageGetItem(page, item);
	turn = ((Form_pg_sequence_data) GETSTRUCT(&tuple))->last_value;
	UnlockReleaseBuffer(buffer);
	relation_close(rel, AccessShareLock);
	return (int) (turn % EB_LOG_TURNS);
}

/* ---- appending ---- */

/* The shape of a row; equal in all tables of the log, so taken once. */
static TupleDesc
log_tuple_desc(void)
{
	if (log_desc == NULL)
	{
		Relation	rel = table_open(eb_delivery_relation("delivery_log_0"),
									 AccessShareLock);
		MemoryContext oldcontext = MemoryContextSwitchTo(TopMemoryContext);

		log_desc = CreateTupleDescCopy(RelationGetDescr(rel));
		MemoryContextSwitchTo(oldcontext);
		table_close(rel, AccessShareLock);
	}
	return log_desc;
}

/* Room for one more row. */
static void
reserve_pending(void)
{
	if (pending_context == NULL)
		pending_context = AllocSetContextCreate(TopTransactionContext,
												"eventbridge pending events",
												ALLOCSET_DEFAULT_SIZES);
	if (npending < pending_size)
		return;
	if (pending == NULL)
	{
		pending_size = 64;
		pending = MemoryContextAlloc(TopTransactionContext,
									 pending_size * sizeof(PendingRow));
	}
	else
	{
		pending_size *= 2;
		pending = repalloc(pending, pending_size * sizeof(PendingRow));
	}
}

/*
 * The sink of put events: forms the row and keeps it until it is written.
 */
static void
append_event(const EbPublishedEvent *event, const EbMatchedTarget *targets,
			 int ntargets)
{
	Datum		values[LOG_NATTS];
	bool		nulls[LOG_NATTS] = {0};
	Datum	   *ids = palloc(sizeof(Datum) * ntargets);
	Datum	   *lanes = palloc(sizeof(Datum) * ntargets);
	MemoryContext oldcontext;
	PendingRow *row;
	int			nlanes_noted = 0;

	for (int i = 0; i < ntargets; i++)
	{
		Oid			lane = eb_target_lane(targets[i].target_id);

		ids[i] = Int64GetDatum(targets[i].target_id);
		lanes[i] = ObjectIdGetDatum(lane);
		if (nlanes_noted == 0 || lanes[i] != lanes[i - 1])
			eb_bell_note_lane(lane);
		nlanes_noted++;
	}

	log_tuple_desc();
	reserve_pending();
	oldcontext = MemoryContextSwitchTo(pending_context);
	values[LOG_XID - 1] =
		FullTransactionIdGetDatum(GetTopFullTransactionId());
	values[LOG_BUS_ID - 1] = Int64GetDatum(event->bus_id);
	values[LOG_INGESTION_TIME - 1] =
		TimestampTzGetDatum(event->ingestion_time);
	values[LOG_NO - 1] = Int32GetDatum(next_no++);
	values[LOG_HOPS - 1] = Int32GetDatum(event->hops);
	values[LOG_EVENT_ID - 1] = UUIDPGetDatum(&event->id);
	values[LOG_TARGETS - 1] =
		PointerGetDatum(construct_array(ids, ntargets, INT8OID, sizeof(int64),
										FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
	values[LOG_LANES - 1] =
		PointerGetDatum(construct_array(lanes, ntargets, OIDOID, sizeof(Oid),
										true, TYPALIGN_INT));
	nulls[LOG_GROUP_KEY - 1] = (event->group_key == NULL);
	values[LOG_GROUP_KEY - 1] = event->group_key == NULL ? (Datum) 0 :
		CStringGetTextDatum(event->group_key);
	values[LOG_EVENT - 1] =
		PointerGetDatum(cstring_to_text_with_len(event->text,
												 event->text_len));

	row = &pending[npending];
	row->subid = GetCurrentSubTransactionId();
	row->tuple = heap_form_tuple(log_desc, values, nulls);
	npending++;
	pending_bytes += row->tuple->t_len;
	pfree(DatumGetPointer(values[LOG_TARGETS - 1]));
	pfree(DatumGetPointer(values[LOG_LANES - 1]));
	pfree(DatumGetPointer(values[LOG_EVENT - 1]));
	MemoryContextSwitchTo(oldcontext);
	pfree(ids);
	pfree(lanes);

	if (npending >= FLUSH_ROWS || pending_bytes >= FLUSH_BYTES)
		flush_pending();
}

/* Writes the rows pending[first ..] and their index entries. */
static void
write_rows(int first)
{
	int			turn = eb_log_turn();
	int			nrows = npending - first;
	char		name[NAMEDATALEN];
	Relation	rel;
	Relation	index;
	TupleTableSlot **slots = palloc(sizeof(TupleTableSlot *) * nrows);
	IndexInfo  *index_info;

	snprintf(name, sizeof(name), "delivery_log_%d", turn);
	rel = table_open(eb_delivery_relation(name), RowExclusiveLock);
	snprintf(name, sizeof(name), "delivery_log_%d_xid_no_idx", turn);
	index = index_open(eb_delivery_relation(name), RowExclusiveLock);
	index_info = BuildIndexInfo(index);

	for (int i = 0; i < nrows; i++)
	{
		slots[i] = MakeSingleTupleTableSlot(RelationGetDescr(rel),
											&TTSOpsHeapTuple);
		ExecStoreHeapTuple(pending[first + i].tuple, slots[i], false);
	}
	heap_multi_insert(rel, slots, nrows, GetCurrentCommandId(true), 0, NULL);

	for (int i = 0; i < nrows; i++)
	{
		Datum		values[2];
		bool		nulls[2] = {false, false};

		values[0] = heap_getattr(pending[first + i].tuple, LOG_XID, log_desc,
								 &nulls[0]);
		values[1] = heap_getattr(pending[first + i].tuple, LOG_NO, log_desc,
								 &nulls[1]);
		index_insert(index, values, nulls, &slots[i]->tts_tid, rel,
					 UNIQUE_CHECK_NO, false, index_info);
		ExecDropSingleTupleTableSlot(slots[i]);
	}
	pfree(slots);

	/* Both locks stay until the end: rotation finds out by them. */
	index_close(index, NoLock);
	table_close(rel, NoLock);
}

/*
 * Writes those rows of the buffer that the current subtransaction put; they
 * are its last ones.
 */
static void
flush_pending(void)
{
	SubTransactionId subid = GetCurrentSubTransactionId();
	int			first = npending;
	bool		pushed = false;

	while (first > 0 && pending[first - 1].subid == subid)
		first--;
	if (first == npending)
		return;

	/* At commit there is no snapshot left, but out-of-line storage wants one. */
	if (!ActiveSnapshotSet())
	{
		PushActiveSnapshot(GetTransactionSnapshot());
		pushed = true;
	}
	write_rows(first);
	if (pushed)
		PopActiveSnapshot();

	npending = first;
	if (npending == 0)
	{
		MemoryContextReset(pending_context);
		pending_bytes = 0;
	}
	else
	{
		/* The parents' rows stay; what they take is not worth counting. */
		pending_bytes = 0;
	}
}

/* The buffer's memory goes with the transaction; forget it. */
static void
forget_pending(void)
{
	pending_context = NULL;
	pending = NULL;
	npending = 0;
	pending_size = 0;
	pending_bytes = 0;
	next_no = 0;
}

static void
log_xact_callback(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_PRE_COMMIT:
		case XACT_EVENT_PRE_PREPARE:
			if (npending > 0)
				flush_pending();
			eb_bell_pre_commit(event == XACT_EVENT_PRE_PREPARE);
			break;
		case XACT_EVENT_COMMIT:
		case XACT_EVENT_PREPARE:
		case XACT_EVENT_ABORT:
			forget_pending();
			eb_bell_end(event);
			eb_client_end(event);
			break;
		default:
			break;
	}
}

static void
log_subxact_callback(SubXactEvent event, SubTransactionId subid,
					 SubTransactionId parent, void *arg)
{
	if (event == SUBXACT_EVENT_COMMIT_SUB)
	{
		for (int i = npending - 1; i >= 0 && pending[i].subid == subid; i--)
			pending[i].subid = parent;
	}
	else if (event == SUBXACT_EVENT_ABORT_SUB)
	{
		/* A subtransaction's number is higher than those of its parents. */
		while (npending > 0 && pending[npending - 1].subid >= subid)
			npending--;
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

/* Takes the row if the lane has a target in it. */
static void
take_row(EbBatch *batch, LogCursor *cursor)
{
	TupleDesc	desc = RelationGetDescr(cursor->rel);
	Datum		values[LOG_NATTS];
	bool		nulls[LOG_NATTS];
	ArrayType  *targets;
	ArrayType  *lanes;
	int64	   *target;
	Oid		   *lane;
	int			ntargets;
	EbLogRow   *row = NULL;

	heap_deform_tuple(cursor->tuple, desc, values, nulls);
	targets = DatumGetArrayTypeP(values[LOG_TARGETS - 1]);
	lanes = DatumGetArrayTypeP(values[LOG_LANES - 1]);
	ntargets = ArrayGetNItems(ARR_NDIM(targets), ARR_DIMS(targets));
	if (ntargets != ArrayGetNItems(ARR_NDIM(lanes), ARR_DIMS(lanes)) ||
		ARR_HASNULL(targets) || ARR_HASNULL(lanes))
		elog(ERROR, "malformed row in the delivery log");
	target = (int64 *) ARR_DATA_PTR(targets);
	lane = (Oid *) ARR_DATA_PTR(lanes);

	for (int i = 0; i < ntargets; i++)
	{
		if (lane[i] != batch->lane)
			continue;
		if (row == NULL)
		{
			row = palloc0(sizeof(EbLogRow));
			row->target_ids = palloc(sizeof(int64) * ntargets);
			row->xid = cursor->xid;
			row->no = cursor->no;
			row->event_id = *DatumGetUUIDP(values[LOG_EVENT_ID - 1]);
			row->bus_id = DatumGetInt64(values[LOG_BUS_ID - 1]);
			row->ingestion_time =
				DatumGetTimestampTz(values[LOG_INGESTION_TIME - 1]);
			row->hops = DatumGetInt32(values[LOG_HOPS - 1]);
			row->event = TextDatumGetCString(values[LOG_EVENT - 1]);
			row->event_len = strlen(row->event);
			if (!nulls[LOG_GROUP_KEY - 1])
				row->group_key =
					TextDatumGetCString(values[LOG_GROUP_KEY - 1]);
			batch->rows = lappend(batch->rows, row);
		}
		row->target_ids[row->ntargets++] = target[i];
		batch->ndeliveries++;
	}
	if ((Pointer) targets != DatumGetPointer(values[LOG_TARGETS - 1]))
		pfree(targets);
	if ((Pointer) lanes != DatumGetPointer(values[LOG_LANES - 1]))
		pfree(lanes);
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

	for (int i = 0; i < EB_LOG_TURNS; i++)
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
		for (int i = 0; i < EB_LOG_TURNS; i++)
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
			if (max_deliveries > 0 && batch->ndeliveries >= max_deliveries)
			{
				eb_position_cut(&batch->to, &batch->from, &until,
								next->xid, next->no);
				more = false;
				break;
			}
		}
		advance_cursor(next);
	}

	for (int i = 0; i < EB_LOG_TURNS; i++)
		systable_endscan_ordered(cursors[i].scan);
	return more;
}

/*
 * Reads what lies between batch->from and batch->to for batch->lane, in the
 * order of transactions.  With max_deliveries > 0 the batch may be cut: then
 * batch->to is moved to where it ends.  Everything is allocated in the
 * current context.  The locks on the log do not outlast the call.
 */
void
eb_log_fetch(EbBatch *batch, int max_deliveries)
{
	LogCursor	cursors[EB_LOG_TURNS];
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	const EbLogPosition *from = &batch->from;
	const EbLogPosition until = batch->to;
	bool		more = true;

	batch->rows = NIL;
	batch->ndeliveries = 0;
	batch->nscanned = 0;
	for (int i = 0; i < EB_LOG_TURNS; i++)
	{
		char		name[NAMEDATALEN];

		snprintf(name, sizeof(name), "delivery_log_%d", i);
		cursors[i].rel = table_open(eb_delivery_relation(name),
									AccessShareLock);
		snprintf(name, sizeof(name), "delivery_log_%d_xid_no_idx", i);
		cursors[i].index = index_open(eb_delivery_relation(name),
									  AccessShareLock);
	}

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

	for (int i = 0; i < EB_LOG_TURNS; i++)
	{
		index_close(cursors[i].index, AccessShareLock);
		table_close(cursors[i].rel, AccessShareLock);
	}
	UnregisterSnapshot(snapshot);
}

/*
 * Installs the sink and the callbacks.  Callbacks run in the reverse order of
 * their registration; whoever publishes at pre-commit must register later
 * than this, so that what it publishes is written.
 */
void
eb_log_init(void)
{
	eb_publish_sink = append_event;
	RegisterXactCallback(log_xact_callback, NULL);
	RegisterSubXactCallback(log_subxact_callback, NULL);
}
