/*-------------------------------------------------------------------------
 *
 * take.c
 *	  The next batches of a pipe.
 *
 * Records of a stream are read by thousands, as text, and cut into batches
 * one after the other, each in memory that is used again for the next.  A
 * stretch of them as long as a batch is parsed at once, as one JSON array, and
 * the filters look at its elements.  If they want all of it, which is the rule
 * because they have been asked when the rows were captured, it is a batch as
 * it is, and the enrichment gets what has been parsed here.  Otherwise the
 * batch is what they want of as many records as it takes to fill it.
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
#include "log/internal.h"
#include "pattern/pattern.h"
#include "pipes/pipes.h"
#include "stream/read.h"

/* About so many records are read at once. */
#define READ_RECORDS	10000

typedef struct SourceRecord
{
	int64		tick;
	int64		number;
	TimestampTz time;
	char	   *text;
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

static Datum
column(uint64 row, int number, bool *isnull)
{
	return SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc,
						 number, isnull);
}

static void
load_limits(Take *take, int64 pipe_id)
{
	static SPIPlanPtr plan = NULL;
	static const Oid types[] = {INT8OID};
	Datum		values[1] = {Int64GetDatum(pipe_id)};
	MemoryContext context = CurrentMemoryContext;
	Datum		filters;
	bool		isnull;

	eb_internal_execute(&plan, "SELECT * FROM eventbridge._pipe_limits($1)",
						1, types, values, NULL);
	MemoryContextSwitchTo(context);
	filters = column(0, 1, &isnull);
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
	take->batch_size = DatumGetInt32(column(0, 2, &isnull));
	take->held = DatumGetBool(column(0, 3, &isnull));
	take->window = DatumGetInt32(column(0, 4, &isnull));
	if (DatumGetInt32(column(0, 5, &isnull)) > 0)
		take->too_old = GetCurrentTimestamp() -
			DatumGetInt32(column(0, 5, &isnull)) * USECS_PER_SEC;
	SPI_freetuptable(SPI_tuptable);
}

/* ---- reading ---- */

/* A tick's batch, from a row of _pipe_ticks(). */
static void
load_range(EbStreamRange *range, uint64 row)
{
	bool		isnull;

	memset(range, 0, sizeof(EbStreamRange));
	range->stream_id = DatumGetInt64(column(row, 1, &isnull));
	range->tick = DatumGetInt64(column(row, 2, &isnull));
	eb_position_parse(&range->earlier,
					  TextDatumGetCString(column(row, 3, &isnull)));
	eb_position_parse(&range->later,
					  TextDatumGetCString(column(row, 4, &isnull)));
	range->after = DatumGetInt64(column(row, 5, &isnull));
	range->since = DT_NOBEGIN;
}

static void
add_records(Take *take, const EbStreamRange *range, int max_records)
{
	int			n;
	EbStreamRecord *records = eb_stream_read(range, max_records, &n);

	if (take->nrecords + n > take->size)
	{
		take->size = take->nrecords + n + take->nrecords / 2;
		take->records = take->records == NULL ?
			MemoryContextAllocHuge(CurrentMemoryContext,
								   sizeof(SourceRecord) * take->size) :
			repalloc_huge(take->records, sizeof(SourceRecord) * take->size);
	}
	for (int i = 0; i < n; i++)
	{
		SourceRecord *record = &take->records[take->nrecords++];

		record->tick = range->tick;
		record->number = records[i].number;
		record->time = records[i].time;
		record->text = records[i].text;
	}
	pfree(records);
}

static void
read_stream(Take *take, int64 pipe_id)
{
	static SPIPlanPtr plan = NULL;
	static const Oid types[] = {INT8OID};
	int			size = take->batch_size;
	int			limit = take->held && take->nfilters == 0 ? size :
		Max(size, READ_RECORDS / size * size);
	Datum		values[1] = {Int64GetDatum(pipe_id)};
	MemoryContext context = CurrentMemoryContext;
	EbStreamRange *ranges;
	int			nranges;
	int			i;

	nranges = (int) eb_internal_execute(&plan,
										"SELECT stream_id, tick, earlier::text, later::text, after"
										" FROM eventbridge._pipe_ticks($1)",
										1, types, values, NULL);
	MemoryContextSwitchTo(context);
	ranges = palloc(sizeof(EbStreamRange) * Max(nranges, 1));
	for (i = 0; i < nranges; i++)
		load_range(&ranges[i], i);
	SPI_freetuptable(SPI_tuptable);
	/* So that others see the tick, and the tables of positions can rotate. */
	eb_commit_lazily();
	MemoryContextSwitchTo(context);

	for (i = 0; i < nranges && take->nrecords < limit; i++)
		add_records(take, &ranges[i], limit - take->nrecords);
	/* A batch that is read to the limit may have more. */
	take->at_end = nranges > 0 && take->nrecords < limit;
	if (take->at_end)
		take->end_tick = ranges[nranges - 1].tick;
}

/* ---- cutting ---- */

/* The texts of records as one JSON array. */
static char *
join_records(SourceRecord **records, int n)
{
	StringInfoData out;

	initStringInfo(&out);
	for (int i = 0; i < n; i++)
	{
		appendStringInfoChar(&out, i == 0 ? '[' : ',');
		appendStringInfoString(&out, records[i]->text);
	}
	appendStringInfoChar(&out, ']');
	return out.data;
}

static bool
passes(const Take *take, const JsonbValue *record)
{
	for (int i = 0; i < take->nfilters; i++)
		if (eb_pattern_matches_value(take->filters[i], record))
			return true;
	return false;
}

static bool
is_expired(const Take *take, const SourceRecord *record)
{
	return record->time < take->too_old;
}

/*
 * Leaves those of the records which the filters want; returns their number.
 * If these are all, *text and *parsed are the array of them.
 */
static int
filter(const Take *take, SourceRecord **records, int n, char **text,
	   Jsonb **parsed)
{
	JsonbIterator *it;
	JsonbValue	record;
	int			nwanted = 0;

	*text = NULL;
	*parsed = NULL;
	if (take->nfilters == 0)
		return n;
	*text = join_records(records, n);
	*parsed = DatumGetJsonbP(DirectFunctionCall1(jsonb_in,
												 CStringGetDatum(*text)));
	it = JsonbIteratorInit(&(*parsed)->root);
	(void) JsonbIteratorNext(&it, &record, true);
	for (int i = 0; i < n; i++)
	{
		if (JsonbIteratorNext(&it, &record, true) != WJB_ELEM)
			elog(ERROR, "unexpected number of records");
		if (passes(take, &record))
			records[nwanted++] = records[i];
	}
	return nwanted;
}

/* Collects records that the filters want, all of them expired or none. */
static int
collect(Take *take, EbPipeBatch *batch, SourceRecord **wanted)
{
	int			nwanted = 0;

	batch->expired = is_expired(take, &take->records[take->next]);
	while (nwanted < take->batch_size && take->next < take->nrecords)
	{
		int			n = 0;
		int			nleft;
		char	   *text;
		Jsonb	   *parsed;

		CHECK_FOR_INTERRUPTS();
		while (nwanted + n < take->batch_size &&
			   take->next < take->nrecords &&
			   is_expired(take, &take->records[take->next]) == batch->expired)
			wanted[nwanted + n++] = &take->records[take->next++];
		if (n == 0)
			break;
		nleft = filter(take, wanted + nwanted, n, &text, &parsed);
		if (nwanted == 0 && nleft == n)
		{
			batch->records = text;
			batch->parsed = parsed;
		}
		else if (nleft > 0)
			batch->records = NULL;
		nwanted += nleft;
	}
	return nwanted;
}

/* May a batch that is not full wait for more? */
static bool
may_wait(const Take *take, const EbPipeBatch *batch, SourceRecord **wanted)
{
	if (batch->nrecords == take->batch_size || batch->expired ||
		take->next < take->nrecords)
		return false;
	if (!take->at_end)
		return take->nbatches > 0;	/* the next read brings more */
	return take->window > 0 &&
		wanted[0]->time > GetCurrentTimestamp() - take->window * USECS_PER_SEC;
}

static void
fill_batch(EbPipeBatch *batch, SourceRecord **wanted)
{
	int			n = batch->nrecords;

	batch->oldest = TimestampTzGetDatum(wanted[0]->time);
	batch->first_tick = wanted[0]->tick;
	batch->first_number = wanted[0]->number;
	batch->each = palloc(sizeof(char *) * n);
	for (int i = 0; i < n; i++)
		batch->each[i] = wanted[i]->text;
	if (batch->records == NULL)
	{
		batch->records = join_records(wanted, n);
		batch->parsed = NULL;
	}
}

/* The next batch of the records that were read. */
static bool
cut_batch(Take *take, EbPipeBatch *batch)
{
	SourceRecord **wanted;
	int			first = take->next;

	if (take->next == take->nrecords)
	{
		/* What is not wanted at the end is done with, too. */
		take->done = true;
		batch->tick = take->end_tick;
		batch->number = PG_INT64_MAX;
		return take->at_end;
	}
	wanted = palloc(sizeof(SourceRecord *) * take->batch_size);
	batch->nrecords = collect(take, batch, wanted);
	batch->tick = take->records[take->next - 1].tick;
	batch->number = take->records[take->next - 1].number;
	if (batch->nrecords == 0)
	{
		batch->records = NULL;
		batch->nrecords = take->next - first;
	}
	else if (may_wait(take, batch, wanted))
	{
		take->done = true;
		return false;
	}
	else
		fill_batch(batch, wanted);
	take->nbatches++;
	/* What is behind a batch that had failed is read when it is done. */
	if (take->held)
		take->done = true;
	return true;
}

/* ---- queues ---- */

static bool
receive(Take *take, EbPipeBatch *batch)
{
	static SPIPlanPtr plan = NULL;
	static const Oid types[] = {INT8OID};
	Datum		values[1] = {Int64GetDatum(take->pipe_id)};
	MemoryContext context = CurrentMemoryContext;
	uint64		n = eb_internal_execute(&plan,
										"SELECT records, record_count, oldest"
										" FROM eventbridge._pipe_receive($1)",
										1, types, values, NULL);

	MemoryContextSwitchTo(context);
	take->done = true;
	if (n > 0)
	{
		bool		isnull;
		Datum		records = column(0, 1, &isnull);

		if (!isnull)
			batch->records = TextDatumGetCString(records);
		batch->nrecords = DatumGetInt32(column(0, 2, &isnull));
		batch->oldest = column(0, 3, &isnull);
	}
	SPI_freetuptable(SPI_tuptable);
	return n > 0;
}

/* ---- both ---- */

/* Begins to take batches of a pipe; what it keeps is in the current context. */
EbPipeTake *
eb_pipe_take(int64 pipe_id, bool from_queue)
{
	EbPipeTake *take = palloc0(sizeof(EbPipeTake));

	take->pipe_id = pipe_id;
	take->from_queue = from_queue;
	if (!from_queue)
	{
		load_limits(take, pipe_id);
		read_stream(take, pipe_id);
	}
	return take;
}

/*
 * The next batch, in the current context; false if there are no more in this take.
 * Messages of a queue stay locked until the end of the transaction.
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
