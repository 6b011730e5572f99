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
 * many numbers were seen, the upper half is dropped, and with it all packs
 * that begin above, now and later.  Only then are records made.
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
	MemoryContext context;		/* of packs and numbers */

	int			max_records;
	int64		up_to;			/* higher numbers are not wanted */
	int64	   *numbers;
	int			nnumbers;
	int			numbers_size;
	KeptPack   *packs;
	int			npacks;
	int			packs_size;

	EbStreamRecord *records;
	int			nrecords;
} Reading;

static int
compare_numbers(const void *a, const void *b)
{
	int64		x = *(const int64 *) a;
	int64		y = *(const int64 *) b;

	return x < y ? -1 : x > y;
}

static int
compare_records(const void *a, const void *b)
{
	return compare_numbers(&((const EbStreamRecord *) a)->number,
						   &((const EbStreamRecord *) b)->number);
}

/* ---- what is wanted ---- */

/* Forgets all but the lowest max_records numbers, and the packs above. */
static void
cut(Reading *reading)
{
	int			nkept = 0;

	qsort(reading->numbers, reading->nnumbers, sizeof(int64),
		  compare_numbers);
	reading->nnumbers = Min(reading->nnumbers, reading->max_records);
	if (reading->nnumbers == 0)
		return;
	reading->up_to = reading->numbers[reading->nnumbers - 1];
	for (int i = 0; i < reading->npacks; i++)
	{
		if (reading->packs[i].first_number <= reading->up_to)
			reading->packs[nkept++] = reading->packs[i];
		else
			pfree(reading->packs[i].data);
	}
	reading->npacks = nkept;
}

static void
note_number(int64 number, TimestampTz time, void *arg)
{
	Reading    *reading = arg;

	if (number > reading->up_to || time <= reading->range->since)
		return;
	if (reading->nnumbers == reading->numbers_size)
	{
		reading->numbers_size *= 2;
		reading->numbers = repalloc_huge(reading->numbers, sizeof(int64) *
										 reading->numbers_size);
	}
	reading->numbers[reading->nnumbers++] = number;
}

/* Keeps the pack, if some of its records may be wanted. */
static void
consider_pack(Reading *reading, HeapTuple tuple, TupleDesc desc)
{
	const EbStreamRange *range = reading->range;
	int			nbefore = reading->nnumbers;
	MemoryContext oldcontext;
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

	oldcontext = MemoryContextSwitchTo(reading->context);
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
	eb_unpack_numbers(kept->data, range->after, note_number, reading);
	if (reading->nnumbers == nbefore)
		pfree(kept->data);
	else
		reading->npacks++;
	if (reading->nnumbers / 2 >= reading->max_records)
		cut(reading);
	MemoryContextSwitchTo(oldcontext);
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

/* Makes a record, in the caller's memory context. */
static void
make_record(int64 number, TimestampTz time, StringInfo head, StringInfo tail,
			void *arg)
{
	Reading    *reading = arg;
	EbStreamRecord *record;
	char		sequence_number[64];
	int			len;
	char	   *text;

	if (time <= reading->range->since)
		return;
	if (reading->nrecords == reading->nnumbers)
		elog(ERROR, "a pack of stream records has changed");
	len = snprintf(sequence_number, sizeof(sequence_number),
				   INT64_FORMAT "%019lld", reading->range->tick,
				   (long long) number);
	text = palloc(head->len + len + tail->len + 1);
	memcpy(text, head->data, head->len);
	memcpy(text + head->len, sequence_number, len);
	memcpy(text + head->len + len, tail->data, tail->len + 1);

	record = &reading->records[reading->nrecords++];
	record->number = number;
	record->time = time;
	record->text = text;
}

/*
 * The first records of the range, at most max_records, in the order of their
 * numbers.  Everything is allocated in the current context.
 */
EbStreamRecord *
eb_stream_read(const EbStreamRange *range, int max_records, int *nrecords)
{
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	EbUnpacker *unpacker;
	Reading		reading = {
		.range = range,
		.max_records = max_records,
		.up_to = PG_INT64_MAX,
		.numbers_size = 64,
		.packs_size = 64
	};

	reading.context = AllocSetContextCreate(CurrentMemoryContext,
											"eventbridge packs of a stream",
											ALLOCSET_DEFAULT_SIZES);
	reading.numbers = MemoryContextAlloc(reading.context, sizeof(int64) *
										 reading.numbers_size);
	reading.packs = MemoryContextAlloc(reading.context, sizeof(KeptPack) *
									   reading.packs_size);
	for (int i = 0; i < EB_LOG_SETS; i++)
		read_set(&reading, i, snapshot);
	UnregisterSnapshot(snapshot);
	cut(&reading);

	reading.records = MemoryContextAllocHuge(CurrentMemoryContext,
											 sizeof(EbStreamRecord) *
											 (reading.nnumbers + 1));
	unpacker = eb_unpacker_create();
	for (int i = 0; i < reading.npacks; i++)
		eb_unpack_records(unpacker, reading.packs[i].data, range->after,
						  reading.up_to, make_record, &reading);
	eb_unpacker_destroy(unpacker);
	MemoryContextDelete(reading.context);
	qsort(reading.records, reading.nrecords, sizeof(EbStreamRecord),
		  compare_records);
	*nrecords = reading.nrecords;
	return reading.records;
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
	EbStreamRecord *records;
	int			nrecords;

	InitMaterializedSRF(fcinfo, 0);
	rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	eb_position_parse(&range.earlier,
					  DatumGetCString(DirectFunctionCall1(pg_snapshot_out,
														  PG_GETARG_DATUM(2))));
	eb_position_parse(&range.later,
					  DatumGetCString(DirectFunctionCall1(pg_snapshot_out,
														  PG_GETARG_DATUM(3))));
	records = eb_stream_read(&range, PG_GETARG_INT32(6), &nrecords);
	for (int i = 0; i < nrecords; i++)
	{
		Datum		values[2] = {
			Int64GetDatum(records[i].number),
			CStringGetTextDatum(records[i].text)
		};
		bool		nulls[2] = {0};

		CHECK_FOR_INTERRUPTS();
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values,
							 nulls);
		pfree(records[i].text);
		pfree(DatumGetPointer(values[1]));
	}
	return (Datum) 0;
}
