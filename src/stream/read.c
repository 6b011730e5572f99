/*-------------------------------------------------------------------------
 *
 * read.c
 *	  Reading the log of streams; log.c describes its order.
 *
 * The batch of a tick is read through the index on transactions, as the
 * delivery log is (delivery/log.c): those that were running at the tick before
 * and have ended since, and all from there on to this one.  Its packs come in
 * any order, and it may be larger than memory.  So while it is read, only the
 * packs are kept that can have one of the first max_records: after twice as
 * many were seen, the upper half is dropped, and with it all packs that begin
 * above, now and later.  If even the packs of so many are too large, fewer
 * have to do.  Records are left in their packs; see unpack.c.
 *
 * A large batch is read piece by piece, and each piece goes through all of the
 * batch's entries in the index.  They say whose the packs are and which
 * numbers they have, so only those of the piece are fetched.
 *
 * Locks on the log do not outlast the call, so that it can be rotated while a
 * pipe works on what it has read.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/itup.h"
#include "access/relscan.h"
#include "access/skey.h"
#include "access/table.h"
#include "access/tableam.h"
#include "executor/tuptable.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/xid8.h"

#include "compat.h"
#include "log/append.h"
#include "stream/log.h"
#include "stream/pack.h"
#include "stream/read.h"

PG_FUNCTION_INFO_V1(eb_stream_batch);

typedef struct KeptPack
{
	bytea	   *data;
	int64		first_number;
} KeptPack;

typedef struct Reading
{
	const EbStreamRange *range;
	int			max_records;
	Size		max_bytes;		/* of packs */
	int64		up_to;			/* higher numbers are not wanted */

	EbPackedRecord *records;
	int			nrecords;
	int			records_size;
	KeptPack   *packs;
	int			npacks;
	int			packs_size;
	Size		bytes;			/* of the packs */
} Reading;

static int
compare_records(const void *a, const void *b)
{
	int64		x = ((const EbPackedRecord *) a)->number;
	int64		y = ((const EbPackedRecord *) b)->number;

	return x < y ? -1 : x > y;
}

/* ---- what is wanted ---- */

/* Forgets all but the lowest max_records, and the packs above. */
static void
cut(Reading *reading)
{
	int			nkept = 0;

	qsort(reading->records, reading->nrecords, sizeof(EbPackedRecord),
		  compare_records);
	if (reading->nrecords <= reading->max_records)
		return;
	reading->nrecords = reading->max_records;
	reading->up_to = reading->records[reading->nrecords - 1].number;
	for (int i = 0; i < reading->npacks; i++)
	{
		if (reading->packs[i].first_number <= reading->up_to)
		{
			reading->packs[nkept++] = reading->packs[i];
			continue;
		}
		reading->bytes -= VARSIZE(reading->packs[i].data);
		pfree(reading->packs[i].data);
	}
	reading->npacks = nkept;
}

/* Forgets what is too much. */
static void
cut_to_limits(Reading *reading)
{
	if (reading->nrecords / 2 >= reading->max_records)
		cut(reading);
	while (reading->bytes > reading->max_bytes && reading->max_records > 1)
	{
		reading->max_records = Min(reading->max_records,
								   Max(reading->nrecords, 2)) / 2;
		cut(reading);
	}
}

static void
note_record(const EbPackedRecord *record, void *arg)
{
	Reading    *reading = arg;

	if (record->number > reading->up_to ||
		record->time <= reading->range->since)
		return;
	if (reading->nrecords == reading->records_size)
	{
		reading->records_size *= 2;
		reading->records = repalloc_huge(reading->records,
										 sizeof(EbPackedRecord) *
										 reading->records_size);
	}
	reading->records[reading->nrecords++] = *record;
}

/* Keeps the pack, if some of its records are wanted. */
static void
consider_pack(Reading *reading, TupleTableSlot *slot, int64 first_number)
{
	int			nbefore = reading->nrecords;
	KeptPack   *kept;
	bool		isnull;

	if (reading->npacks == reading->packs_size)
	{
		reading->packs_size *= 2;
		reading->packs = repalloc_huge(reading->packs, sizeof(KeptPack) *
									   reading->packs_size);
	}
	kept = &reading->packs[reading->npacks];
	kept->data = DatumGetByteaPCopy(slot_getattr(slot, EB_STREAM_LOG_PACK,
												 &isnull));
	kept->first_number = first_number;
	eb_pack_scan(kept->data, reading->range->after, note_record, reading);
	if (reading->nrecords == nbefore)
	{
		pfree(kept->data);
		return;
	}
	reading->bytes += VARSIZE(kept->data);
	reading->npacks++;
	cut_to_limits(reading);
}

/* ---- reading ---- */

/* A column of the index entry that the scan is at; all are of eight bytes. */
static int64
entry_column(IndexScanDesc scan, int column)
{
	bool		isnull;

	return DatumGetInt64(index_getattr(scan->xs_itup, column,
									   scan->xs_itupdesc, &isnull));
}

/* May the pack of this entry have records that are wanted? */
static bool
is_wanted(const Reading *reading, IndexScanDesc scan)
{
	uint64		xid = (uint64) entry_column(scan, EB_STREAM_INDEX_XID);

	return entry_column(scan, EB_STREAM_INDEX_FIRST_NUMBER) <= reading->up_to &&
		eb_position_has_xid(&reading->range->later, xid);
}

/* The packs of transactions low <= xid < high that lie in the range. */
static void
read_transactions(Reading *reading, Relation rel, Relation index,
				  Snapshot snapshot, uint64 low, uint64 high)
{
	TupleTableSlot *slot = table_slot_create(rel, NULL);
	ScanKeyData keys[4];
	IndexScanDesc scan;

	ScanKeyInit(&keys[0], EB_STREAM_INDEX_XID, BTGreaterEqualStrategyNumber,
				F_XID8GE,
				FullTransactionIdGetDatum(FullTransactionIdFromU64(low)));
	ScanKeyInit(&keys[1], EB_STREAM_INDEX_XID, BTLessStrategyNumber, F_XID8LT,
				FullTransactionIdGetDatum(FullTransactionIdFromU64(high)));
	ScanKeyInit(&keys[2], EB_STREAM_INDEX_STREAM_ID, BTEqualStrategyNumber,
				F_INT8EQ, Int64GetDatum(reading->range->stream_id));
	ScanKeyInit(&keys[3], EB_STREAM_INDEX_LAST_NUMBER,
				BTGreaterStrategyNumber, F_INT8GT,
				Int64GetDatum(reading->range->after));
	scan = EB_INDEX_BEGINSCAN(rel, index, snapshot, lengthof(keys));
	scan->xs_want_itup = true;
	index_rescan(scan, keys, lengthof(keys), NULL, 0);
	while (index_getnext_tid(scan, ForwardScanDirection) != NULL)
	{
		CHECK_FOR_INTERRUPTS();
		if (is_wanted(reading, scan) && index_fetch_heap(scan, slot))
			consider_pack(reading, slot,
						  entry_column(scan, EB_STREAM_INDEX_FIRST_NUMBER));
	}
	index_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
}

static void
read_set(Reading *reading, int set_no, Snapshot snapshot)
{
	const EbLogPosition *earlier = &reading->range->earlier;
	const EbLogPosition *later = &reading->range->later;
	Relation	index;
	Relation	rel = eb_append_open(&eb_stream_log, set_no, AccessShareLock,
									 &index);

	/* Those that ran before and have ended meanwhile. */
	for (int i = 0; i < earlier->nxip; i++)
	{
		uint64		xid = earlier->xip[i];

		if (eb_position_has_xid(later, xid))
			read_transactions(reading, rel, index, snapshot, xid, xid + 1);
	}
	read_transactions(reading, rel, index, snapshot, earlier->xmax,
					  later->xmax);
	index_close(index, AccessShareLock);
	table_close(rel, AccessShareLock);
}

/*
 * The first records of the range, in the order of their numbers: at most
 * max_records, and fewer if their packs have about max_bytes together.  All
 * is allocated in the current context, and has to stay there as long as the
 * records are used.
 */
void
eb_stream_read(const EbStreamRange *range, int max_records, Size max_bytes,
			   EbStreamRecords *result)
{
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	Reading		reading = {
		.range = range,
		.max_records = max_records,
		.max_bytes = max_bytes,
		.up_to = PG_INT64_MAX,
		.records_size = 256,
		.packs_size = 64
	};

	reading.records = palloc(sizeof(EbPackedRecord) * reading.records_size);
	reading.packs = palloc(sizeof(KeptPack) * reading.packs_size);
	for (int i = 0; i < EB_LOG_SETS; i++)
		read_set(&reading, i, snapshot);
	UnregisterSnapshot(snapshot);
	cut(&reading);
	pfree(reading.packs);

	result->records = reading.records;
	result->nrecords = reading.nrecords;
	result->complete = reading.up_to == PG_INT64_MAX;
}

/*
 * _stream_batch(stream_id bigint, tick bigint, earlier pg_snapshot, later
 * pg_snapshot, after bigint, since timestamptz, max_records integer): records
 * of a stream between two ticks' snapshots, as eb_stream_read gives them.
 */
Datum
eb_stream_batch(PG_FUNCTION_ARGS)
{
	EbStreamRange range = {
		.stream_id = PG_GETARG_INT64(0),
		.tick = PG_GETARG_INT64(1),
		.after = PG_GETARG_INT64(4),
		.since = PG_GETARG_TIMESTAMPTZ(5)
	};
	ReturnSetInfo *rsinfo;
	EbUnpacker *unpacker = eb_unpacker_create();
	EbStreamRecords read;
	StringInfoData text;

	InitMaterializedSRF(fcinfo, 0);
	rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	eb_position_parse(&range.earlier,
					  DatumGetCString(DirectFunctionCall1(pg_snapshot_out,
														  PG_GETARG_DATUM(2))));
	eb_position_parse(&range.later,
					  DatumGetCString(DirectFunctionCall1(pg_snapshot_out,
														  PG_GETARG_DATUM(3))));
	eb_stream_read(&range, PG_GETARG_INT32(6), SIZE_MAX, &read);
	initStringInfo(&text);
	for (int i = 0; i < read.nrecords; i++)
	{
		Datum		values[2] = {Int64GetDatum(read.records[i].number)};
		bool		nulls[2] = {0};

		CHECK_FOR_INTERRUPTS();
		resetStringInfo(&text);
		eb_unpack(unpacker, &read.records[i], range.tick);
		eb_unpacked_text(unpacker, &text);
		values[1] = PointerGetDatum(cstring_to_text_with_len(text.data,
															 text.len));
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values,
							 nulls);
		pfree(DatumGetPointer(values[1]));
	}
	eb_unpacker_destroy(unpacker);
	return (Datum) 0;
}
