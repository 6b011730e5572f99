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
 * Locks on the log do not outlast the call, so that it can be rotated while a
 * pipe works on what it has read.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/skey.h"
#include "access/table.h"
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

/* Keeps the pack, if some of its records may be wanted. */
static void
consider_pack(Reading *reading, HeapTuple tuple, TupleDesc desc)
{
	const EbStreamRange *range = reading->range;
	int			nbefore = reading->nrecords;
	KeptPack   *kept;
	bool		isnull;
	int64		first;

	if (DatumGetInt64(heap_getattr(tuple, EB_STREAM_LOG_STREAM_ID, desc,
								   &isnull)) != range->stream_id ||
		DatumGetInt64(heap_getattr(tuple, EB_STREAM_LOG_LAST_NUMBER, desc,
								   &isnull)) <= range->after)
		return;
	first = DatumGetInt64(heap_getattr(tuple, EB_STREAM_LOG_FIRST_NUMBER,
									   desc, &isnull));
	if (first > reading->up_to)
		return;

	if (reading->npacks == reading->packs_size)
	{
		reading->packs_size *= 2;
		reading->packs = repalloc_huge(reading->packs, sizeof(KeptPack) *
									   reading->packs_size);
	}
	kept = &reading->packs[reading->npacks];
	kept->data = DatumGetByteaPCopy(heap_getattr(tuple, EB_STREAM_LOG_PACK,
												 desc, &isnull));
	kept->first_number = first;
	eb_pack_scan(kept->data, range->after, note_record, reading);
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

/* The packs of transactions low <= xid < high that lie in the range. */
static void
read_transactions(Reading *reading, Relation rel, Relation index,
				  Snapshot snapshot, uint64 low, uint64 high)
{
	TupleDesc	desc = RelationGetDescr(rel);
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyInit(&keys[0], EB_STREAM_LOG_XID, BTGreaterEqualStrategyNumber,
				F_XID8GE,
				FullTransactionIdGetDatum(FullTransactionIdFromU64(low)));
	ScanKeyInit(&keys[1], EB_STREAM_LOG_XID, BTLessStrategyNumber, F_XID8LT,
				FullTransactionIdGetDatum(FullTransactionIdFromU64(high)));
	scan = systable_beginscan_ordered(rel, index, snapshot, 2, keys);
	while ((tuple = systable_getnext_ordered(scan,
											 ForwardScanDirection)) != NULL)
	{
		bool		isnull;
		Datum		xid = heap_getattr(tuple, EB_STREAM_LOG_XID, desc,
									   &isnull);

		CHECK_FOR_INTERRUPTS();
		if (eb_position_has_xid(&reading->range->later,
								U64FromFullTransactionId(DatumGetFullTransactionId(xid))))
			consider_pack(reading, tuple, desc);
	}
	systable_endscan_ordered(scan);
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
