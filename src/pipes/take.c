/*-------------------------------------------------------------------------
 *
 * take.c
 *	  The next batches of a pipe.
 *
 * Records of a stream come in thousands, as text.  A stretch of them as long
 * as a batch is parsed at once, as one JSON array, and the filters look at its
 * elements.  If they want all of it, which is the rule because the filters have
 * been asked when the rows were captured, it is a batch as it is, and the
 * enrichment gets what has been parsed here.  Otherwise what they want is put
 * together anew.
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
#include "log/internal.h"
#include "pattern/pattern.h"
#include "pipes/pipes.h"

/* About so many records are read at once. */
#define READ_RECORDS	50000

typedef struct SourceRecord
{
	int64		tick;
	int64		number;
	TimestampTz time;
	char	   *text;
} SourceRecord;

/* A stretch of records that was parsed and is wanted as a whole. */
typedef struct Stretch
{
	int			first;			/* among the wanted records */
	int			count;
	char	   *text;
	Jsonb	   *parsed;
} Stretch;

typedef struct Take
{
	/* what cuts batches */
	int			nfilters;
	const EbPattern **filters;
	int			batch_size;
	bool		held;			/* by a batch that failed */
	int			window;
	int			max_age;

	int			nrecords;		/* read */
	SourceRecord *records;
	bool		at_end;			/* there are no more, up to the tick */
	int64		end_tick;

	int			nwanted;
	SourceRecord *wanted;
	int			nstretches;
	Stretch    *stretches;
} Take;

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
	take->max_age = DatumGetInt32(column(0, 5, &isnull));
	SPI_freetuptable(SPI_tuptable);
}

/* ---- reading ---- */

/* The arrays of one row of _pipe_read(). */
static void
add_records(Take *take, uint64 row, int64 tick)
{
	Datum	   *numbers;
	Datum	   *times;
	Datum	   *texts;
	bool		isnull;
	int			n;

	deconstruct_array(DatumGetArrayTypeP(column(row, 2, &isnull)), INT8OID,
					  sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE,
					  &numbers, NULL, &n);
	deconstruct_array(DatumGetArrayTypeP(column(row, 3, &isnull)),
					  TIMESTAMPTZOID, sizeof(int64), FLOAT8PASSBYVAL,
					  TYPALIGN_DOUBLE, &times, NULL, &n);
	deconstruct_array(DatumGetArrayTypeP(column(row, 4, &isnull)), TEXTOID,
					  -1, false, TYPALIGN_INT, &texts, NULL, &n);
	take->records = take->records == NULL ?
		palloc(sizeof(SourceRecord) * Max(n, 1)) :
		repalloc_huge(take->records,
					  sizeof(SourceRecord) * (take->nrecords + n));
	for (int i = 0; i < n; i++)
	{
		SourceRecord *record = &take->records[take->nrecords++];

		record->tick = tick;
		record->number = DatumGetInt64(numbers[i]);
		record->time = DatumGetTimestampTz(times[i]);
		record->text = TextDatumGetCString(texts[i]);
	}
	pfree(numbers);
	pfree(times);
	pfree(texts);
}

static void
read_stream(Take *take, int64 pipe_id)
{
	static SPIPlanPtr plan = NULL;
	static const Oid types[] = {INT8OID, INT4OID};
	int			size = take->batch_size;
	Datum		values[2] = {
		Int64GetDatum(pipe_id),
		Int32GetDatum(take->held ? size : Max(size, READ_RECORDS / size * size))
	};
	MemoryContext context = CurrentMemoryContext;
	uint64		nrows = eb_internal_execute(&plan,
											"SELECT tick, numbers, times, records"
											" FROM eventbridge._pipe_read($1, $2)",
											2, types, values, NULL);

	MemoryContextSwitchTo(context);
	for (uint64 i = 0; i < nrows; i++)
	{
		bool		isnull;
		int64		tick = DatumGetInt64(column(i, 1, &isnull));

		(void) column(i, 2, &isnull);
		if (!isnull)
			add_records(take, i, tick);
		else
		{
			take->at_end = true;
			take->end_tick = tick;
		}
	}
	SPI_freetuptable(SPI_tuptable);
}

/* ---- filtering ---- */

/* The texts of records as one JSON array. */
static char *
join_records(const SourceRecord *records, int n)
{
	StringInfoData out;

	initStringInfo(&out);
	for (int i = 0; i < n; i++)
	{
		appendStringInfoChar(&out, i == 0 ? '[' : ',');
		appendStringInfoString(&out, records[i].text);
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
	return take->nfilters == 0;
}

static void
filter_stretch(Take *take, const SourceRecord *records, int n)
{
	char	   *text = join_records(records, n);
	Jsonb	   *parsed = DatumGetJsonbP(DirectFunctionCall1(jsonb_in,
															CStringGetDatum(text)));
	JsonbIterator *it = JsonbIteratorInit(&parsed->root);
	JsonbValue	record;
	int			first = take->nwanted;

	(void) JsonbIteratorNext(&it, &record, true);
	for (int i = 0; i < n; i++)
	{
		if (JsonbIteratorNext(&it, &record, true) != WJB_ELEM)
			elog(ERROR, "unexpected number of records");
		if (passes(take, &record))
			take->wanted[take->nwanted++] = records[i];
	}
	if (take->nwanted - first == n)
	{
		Stretch    *stretch = &take->stretches[take->nstretches++];

		stretch->first = first;
		stretch->count = n;
		stretch->text = text;
		stretch->parsed = parsed;
	}
	else
	{
		pfree(text);
		pfree(parsed);
	}
}

static void
filter_records(Take *take)
{
	int			size = take->batch_size;

	if (take->nfilters == 0)
	{
		take->wanted = take->records;
		take->nwanted = take->nrecords;
		return;
	}
	take->wanted = palloc(sizeof(SourceRecord) * Max(take->nrecords, 1));
	take->stretches = palloc(sizeof(Stretch) * (take->nrecords / size + 1));
	for (int i = 0; i < take->nrecords; i += size)
	{
		CHECK_FOR_INTERRUPTS();
		filter_stretch(take, &take->records[i], Min(size, take->nrecords - i));
	}
}

/* ---- cutting ---- */

/* How many records at the head are too old to be processed. */
static int
count_expired(const Take *take)
{
	TimestampTz limit = GetCurrentTimestamp() -
		take->max_age * USECS_PER_SEC;
	int			n = 0;

	if (take->max_age <= 0)
		return 0;
	while (n < take->nwanted && take->wanted[n].time < limit)
		n++;
	return n;
}

/* Leaves out a batch that is not full and may wait for the rest of its window. */
static void
leave_window(Take *take, int nexpired)
{
	int			rest = (take->nwanted - nexpired) % take->batch_size;

	if (rest == 0 || take->window <= 0 ||
		take->wanted[take->nwanted - rest].time <=
		GetCurrentTimestamp() - take->window * USECS_PER_SEC)
		return;
	take->nwanted -= rest;
	take->at_end = false;
}

static void
fill_batch(Take *take, EbPipeBatch *batch, int first, int n)
{
	const SourceRecord *records = &take->wanted[first];

	batch->tick = records[n - 1].tick;
	batch->number = records[n - 1].number;
	batch->nrecords = n;
	batch->oldest = TimestampTzGetDatum(records[0].time);
	batch->first_tick = records[0].tick;
	batch->first_number = records[0].number;
	batch->each = palloc(sizeof(char *) * n);
	for (int i = 0; i < n; i++)
		batch->each[i] = records[i].text;
	for (int i = 0; i < take->nstretches && batch->records == NULL; i++)
	{
		const Stretch *stretch = &take->stretches[i];

		if (stretch->first == first && stretch->count == n)
		{
			batch->records = stretch->text;
			batch->parsed = stretch->parsed;
		}
	}
	if (batch->records == NULL)
		batch->records = join_records(records, n);
}

static EbPipeBatch *
cut_batches(Take *take, int *nbatches)
{
	int			nexpired = count_expired(take);
	EbPipeBatch *batches;
	int			first = 0;

	leave_window(take, nexpired);
	batches = palloc0(sizeof(EbPipeBatch) *
					  (take->nwanted / take->batch_size + 3));
	*nbatches = 0;
	while (first < take->nwanted)
	{
		EbPipeBatch *batch = &batches[(*nbatches)++];
		int			n = Min(take->batch_size,
							(first < nexpired ? nexpired : take->nwanted) - first);

		fill_batch(take, batch, first, n);
		batch->expired = (first < nexpired);
		first += n;
	}

	/* What the filters dropped at the end is done with, too. */
	if (take->at_end || (take->nwanted == 0 && take->nrecords > 0 &&
						 take->window <= 0))
	{
		EbPipeBatch *batch = &batches[(*nbatches)++];

		batch->tick = take->at_end ? take->end_tick :
			take->records[take->nrecords - 1].tick;
		batch->number = take->at_end ? PG_INT64_MAX :
			take->records[take->nrecords - 1].number;
		batch->nrecords = take->at_end ? 0 : take->nrecords;
	}
	return batches;
}

/* ---- queues ---- */

static EbPipeBatch *
take_queue(int64 pipe_id, int *nbatches)
{
	static SPIPlanPtr plan = NULL;
	static const Oid types[] = {INT8OID};
	Datum		values[1] = {Int64GetDatum(pipe_id)};
	MemoryContext context = CurrentMemoryContext;
	EbPipeBatch *batch;

	*nbatches = (int) eb_internal_execute(&plan,
										  "SELECT records, record_count, oldest"
										  " FROM eventbridge._pipe_receive($1)",
										  1, types, values, NULL);
	MemoryContextSwitchTo(context);
	batch = palloc0(sizeof(EbPipeBatch));
	if (*nbatches > 0)
	{
		bool		isnull;
		Datum		records = column(0, 1, &isnull);

		if (!isnull)
			batch->records = TextDatumGetCString(records);
		batch->nrecords = DatumGetInt32(column(0, 2, &isnull));
		batch->oldest = column(0, 3, &isnull);
	}
	SPI_freetuptable(SPI_tuptable);
	return batch;
}

/*
 * The next batches of a pipe, in the current memory context; messages of a
 * queue stay locked until the end of the transaction.
 */
EbPipeBatch *
eb_pipe_take(int64 pipe_id, bool from_queue, int *nbatches)
{
	Take		take = {0};

	if (from_queue)
		return take_queue(pipe_id, nbatches);
	load_limits(&take, pipe_id);
	read_stream(&take, pipe_id);
	filter_records(&take);
	return cut_batches(&take, nbatches);
}
