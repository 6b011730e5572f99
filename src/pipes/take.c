/*-------------------------------------------------------------------------
 *
 * take.c
 *	  The next batches of a pipe.
 *
 * Records of a stream are listed by thousands, and cut into batches one after
 * the other; only then are they made of what their packs hold, in memory that
 * is used again for the next batch.  So what is listed and not delivered in
 * this turn has cost little.
 *
 * Filters have been asked when the rows were captured, but for all pipes of
 * the stream together, and before there were sequence numbers.  So they look
 * again, at each record's tree, before its text is written.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "delivery/delivery.h"
#include "json/array.h"
#include "log/internal.h"
#include "pattern/pattern.h"
#include "pipes/pipes.h"
#include "stream/read.h"

/* About so many records are read at once, or what takes so many bytes. */
#define READ_RECORDS	10000
#define READ_BYTES		(64 * 1024 * 1024)

/* A batch that has so many bytes of text is full, as in AWS. */
#define BATCH_BYTES		(6 * 1024 * 1024)

typedef struct SourceRecord
{
	int64		tick;
	EbPackedRecord packed;
} SourceRecord;

struct EbPipeTake
{
	bool		from_queue;
	int64		pipe_id;

	/* what cuts batches */
	int			nfilters;
	const EbPattern **filters;
	int			batch_size;
	bool		held;			/* by a batch that failed */
	int			window;			/* seconds */
	TimestampTz too_old;		/* records from before then, if not 0 */
	bool		wants_jsonb;	/* batches as jsonb, too */

	/* what batches are made with */
	EbUnpacker *unpacker;
	StringInfoData text;
	int		   *starts;
	EbJsonbArray jsonb;

	int			nrecords;		/* read */
	int			size;			/* of the array */
	SourceRecord *records;
	bool		at_end;			/* there are no more, up to the tick */
	int64		end_tick;
	int			next;			/* record to be cut */
	int			nbatches;		/* cut */
	bool		done;
};

typedef EbPipeTake Take;

static void
load_limits(Take *take, int64 pipe_id)
{
	static SPIPlanPtr plan = NULL;
	static const Oid types[] = {INT8OID};
	Datum		values[1] = {Int64GetDatum(pipe_id)};
	Datum		filters;
	bool		isnull;

	eb_internal_execute(&plan, "SELECT * FROM eventbridge._pipe_limits($1)",
						1, types, values, NULL);
	filters = eb_result(0, 1, &isnull);
	if (!isnull)
	{
		ArrayType  *array = DatumGetArrayTypePCopy(filters);
		Datum	   *elements;
		int16		len;
		bool		byval;
		char		align;

		get_typlenbyvalalign(ARR_ELEMTYPE(array), &len, &byval, &align);
		deconstruct_array(array, ARR_ELEMTYPE(array), len, byval, align,
						  &elements, NULL, &take->nfilters);
		take->filters = palloc(sizeof(EbPattern *) * Max(take->nfilters, 1));
		for (int i = 0; i < take->nfilters; i++)
			take->filters[i] = eb_pattern_detoast(elements[i]);
	}
	take->batch_size = DatumGetInt32(eb_result(0, 2, &isnull));
	take->held = DatumGetBool(eb_result(0, 3, &isnull));
	take->window = DatumGetInt32(eb_result(0, 4, &isnull));
	if (DatumGetInt32(eb_result(0, 5, &isnull)) > 0)
		take->too_old = GetCurrentTimestamp() -
			DatumGetInt32(eb_result(0, 5, &isnull)) * USECS_PER_SEC;
	SPI_freetuptable(SPI_tuptable);
}

/* ---- reading ---- */

/* A tick's batch, from a row of _pipe_ticks(). */
static void
load_range(EbStreamRange *range, uint64 row)
{
	bool		isnull;

	memset(range, 0, sizeof(EbStreamRange));
	range->stream_id = DatumGetInt64(eb_result(row, 1, &isnull));
	range->tick = DatumGetInt64(eb_result(row, 2, &isnull));
	eb_position_parse(&range->earlier,
					  TextDatumGetCString(eb_result(row, 3, &isnull)));
	eb_position_parse(&range->later,
					  TextDatumGetCString(eb_result(row, 4, &isnull)));
	range->after = DatumGetInt64(eb_result(row, 5, &isnull));
	range->since = DT_NOBEGIN;
}

/* Adds records of the range; false if there are more in it. */
static bool
add_records(Take *take, const EbStreamRange *range, int max_records)
{
	EbStreamRecords read;
	int			n;

	eb_stream_read(range, max_records, READ_BYTES, &read);
	n = take->nrecords + read.nrecords;
	if (n > take->size)
	{
		take->size = n + n / 2;
		take->records = take->records == NULL ?
			palloc(sizeof(SourceRecord) * take->size) :
			repalloc_huge(take->records, sizeof(SourceRecord) * take->size);
	}
	for (int i = 0; i < read.nrecords; i++)
	{
		SourceRecord *record = &take->records[take->nrecords++];

		record->tick = range->tick;
		record->packed = read.records[i];
	}
	pfree(read.records);
	return read.complete;
}

static void
read_stream(Take *take)
{
	static SPIPlanPtr plan = NULL;
	static const Oid types[] = {INT8OID};
	int			size = take->batch_size;
	int			limit = take->held && take->nfilters == 0 ? size :
		Max(size, READ_RECORDS / size * size);
	Datum		values[1] = {Int64GetDatum(take->pipe_id)};
	MemoryContext context = CurrentMemoryContext;
	EbStreamRange *ranges;
	int			nranges;

	nranges = (int) eb_internal_execute(&plan,
										"SELECT stream_id, tick, earlier::text, later::text, after"
										" FROM eventbridge._pipe_ticks($1)",
										1, types, values, NULL);
	ranges = palloc(sizeof(EbStreamRange) * Max(nranges, 1));
	for (int i = 0; i < nranges; i++)
		load_range(&ranges[i], i);
	SPI_freetuptable(SPI_tuptable);
	/* So that others see the tick, and the tables of positions can rotate. */
	eb_commit_lazily();
	MemoryContextSwitchTo(context);

	take->at_end = nranges > 0;
	for (int i = 0; i < nranges && take->at_end; i++)
		take->at_end = take->nrecords < limit &&
			add_records(take, &ranges[i], limit - take->nrecords);
	if (take->at_end)
		take->end_tick = ranges[nranges - 1].tick;
}

/* ---- cutting ---- */

static bool
passes(const Take *take, const JsonbValue *record)
{
	for (int i = 0; i < take->nfilters; i++)
		if (eb_pattern_matches_value(take->filters[i], record))
			return true;
	return take->nfilters == 0;
}

static bool
is_expired(const Take *take, const SourceRecord *record)
{
	return record->packed.time < take->too_old;
}

/*
 * Adds the next record of the take to the batch, if the filters want it.
 * False if the batch is full before.
 */
static bool
cut_record(Take *take, EbPipeBatch *batch)
{
	const SourceRecord *record = &take->records[take->next];
	StringInfo	text = &take->text;
	int			len = text->len;
	JsonbValue *tree = NULL;

	eb_unpack(take->unpacker, &record->packed, record->tick);
	if (take->nfilters > 0 || take->wants_jsonb)
		tree = eb_unpacked_tree(take->unpacker);
	if (passes(take, tree))
	{
		appendStringInfoChar(text, batch->nrecords == 0 ? '[' : ',');
		take->starts[batch->nrecords] = text->len;
		eb_unpacked_text(take->unpacker, text);
		if (batch->nrecords > 0 && text->len >= BATCH_BYTES)
		{
			text->len = len;
			return false;
		}
		if (take->wants_jsonb)
		{
			Jsonb	   *jsonb = JsonbValueToJsonb(tree);

			eb_jsonb_array_add(&take->jsonb, jsonb);
			pfree(jsonb);
		}
		if (batch->nrecords++ == 0)
		{
			batch->oldest = record->packed.time;
			batch->first_tick = record->tick;
			batch->first_number = record->packed.number;
		}
	}
	take->next++;
	return true;
}

/* Cuts records which the filters want, all expired or none. */
static void
cut_records(Take *take, EbPipeBatch *batch)
{
	resetStringInfo(&take->text);
	eb_jsonb_array_reset(&take->jsonb);
	batch->expired = is_expired(take, &take->records[take->next]);
	while (batch->nrecords < take->batch_size &&
		   take->next < take->nrecords &&
		   is_expired(take, &take->records[take->next]) == batch->expired)
	{
		CHECK_FOR_INTERRUPTS();
		if (!cut_record(take, batch))
			break;
	}
}

/* May the batch wait for more? */
static bool
may_wait(const Take *take, const EbPipeBatch *batch)
{
	if (batch->expired || take->next < take->nrecords ||
		batch->nrecords == take->batch_size)
		return false;
	if (!take->at_end)
		return take->nbatches > 0;	/* the next read brings more */
	return take->window > 0 && batch->oldest >
		GetCurrentTimestamp() - take->window * USECS_PER_SEC;
}

/* Points the batch to what was cut. */
static void
show_records(Take *take, EbPipeBatch *batch)
{
	appendStringInfoChar(&take->text, ']');
	take->starts[batch->nrecords] = take->text.len;
	batch->records = take->text.data;
	batch->records_len = take->text.len;
	batch->starts = take->starts;
	if (take->wants_jsonb)
		batch->parsed = eb_jsonb_array_make(&take->jsonb);
}

/* The next batch of the records that were read. */
static bool
cut_batch(Take *take, EbPipeBatch *batch)
{
	int			first = take->next;

	if (take->next == take->nrecords)
	{
		/* What is not wanted at the end is done with, too. */
		take->done = true;
		batch->tick = take->end_tick;
		batch->number = PG_INT64_MAX;
		return take->at_end;
	}
	cut_records(take, batch);
	batch->tick = take->records[take->next - 1].tick;
	batch->number = take->records[take->next - 1].packed.number;
	if (batch->nrecords == 0)
		batch->nrecords = take->next - first;
	else if (may_wait(take, batch))
	{
		take->done = true;
		return false;
	}
	else
		show_records(take, batch);
	take->nbatches++;
	/* What is behind a batch that had failed is read when it is done. */
	if (take->held)
		take->done = true;
	return true;
}

/* ---- queues ---- */

/* The next batch of messages; what was delivered before has been deleted. */
static bool
receive(Take *take, EbPipeBatch *batch)
{
	static SPIPlanPtr plan = NULL;
	static const Oid types[] = {INT8OID};
	Datum		values[1] = {Int64GetDatum(take->pipe_id)};
	uint64		n = eb_internal_execute(&plan,
										"SELECT records, record_count, oldest"
										" FROM eventbridge._pipe_receive($1)",
										1, types, values, NULL);

	take->done = (n == 0);
	if (n > 0)
	{
		bool		isnull;
		Datum		records = eb_result(0, 1, &isnull);

		if (!isnull)
		{
			batch->records = TextDatumGetCString(records);
			batch->records_len = strlen(batch->records);
		}
		batch->nrecords = DatumGetInt32(eb_result(0, 2, &isnull));
		batch->oldest = DatumGetTimestampTz(eb_result(0, 3, &isnull));
	}
	SPI_freetuptable(SPI_tuptable);
	return n > 0;
}

/* ---- both ---- */

/*
 * Begins to take batches of a pipe's stream; what it keeps is in the current
 * context.  Commits.
 */
EbPipeTake *
eb_pipe_take_stream(int64 pipe_id, bool wants_jsonb)
{
	EbPipeTake *take = palloc0(sizeof(EbPipeTake));

	take->pipe_id = pipe_id;
	take->wants_jsonb = wants_jsonb;
	load_limits(take, pipe_id);
	take->unpacker = eb_unpacker_create();
	initStringInfo(&take->text);
	eb_jsonb_array_init(&take->jsonb);
	take->starts = palloc(sizeof(int) * (take->batch_size + 1));
	read_stream(take);
	return take;
}

/* Likewise, of a queue. */
EbPipeTake *
eb_pipe_take_queue(int64 pipe_id)
{
	EbPipeTake *take = palloc0(sizeof(EbPipeTake));

	take->pipe_id = pipe_id;
	take->from_queue = true;
	return take;
}

/*
 * The next batch; false if there are no more in this take.  It lasts until the
 * one after it, or the current context, is gone.  Messages of a queue stay
 * locked until the end of the transaction.
 */
bool
eb_pipe_next_batch(EbPipeTake *take, EbPipeBatch *batch)
{
	memset(batch, 0, sizeof(EbPipeBatch));
	if (take->done)
		return false;
	if (take->from_queue)
		return receive(take, batch);
	return cut_batch(take, batch);
}
