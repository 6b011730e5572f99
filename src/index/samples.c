/*-------------------------------------------------------------------------
 *
 * samples.c
 *	  What ANALYZE has kept of a column of events, ready to be asked.
 *
 * ANALYZE keeps common values and a histogram; the values in both are events
 * (none of more than a kilobyte, which it leaves out).  To decompress them and
 * walk through them takes five times as long as all other planning of a simple
 * query.  So the scalars of the last few columns that were asked for are kept
 * by the backend, sorted by path: typically 350 kB for a column.  A row of
 * pg_statistic is never changed in place, so its transaction and place tell
 * whether what was kept is still what the catalog says.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_statistic.h"
#include "miscadmin.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "index/samples.h"

/* Columns whose samples are kept. */
#define MAX_COLUMNS 8

/* Of more values of either kind only so many are taken. */
#define MAX_SAMPLES 200

/* A version of a row of pg_statistic. */
typedef struct Source
{
	Oid			relation;		/* invalid: of extended statistics, read each time */
	int			attribute;
	bool		inherited;
	TransactionId xmin;
	ItemPointerData tid;
} Source;

typedef struct Column
{
	MemoryContext context;		/* holds the samples; NULL: unused */
	Source		source;
	EbSamples	samples;
} Column;

static Column columns[MAX_COLUMNS];
static int	oldest_column = 0;

/* Samples while their leaves are collected. */
typedef struct Collector
{
	EbSamples  *samples;
	int			size;			/* of leaves */
} Collector;

static void
collect_leaf(void *context, EbPathHash path, const JsonbValue *scalar)
{
	Collector  *collector = context;
	EbSamples  *samples = collector->samples;
	EbSampleLeaf *leaf;

	if (samples->nleaves == collector->size)
	{
		collector->size *= 2;
		samples->leaves = repalloc_huge(samples->leaves, collector->size * sizeof(EbSampleLeaf));
	}
	leaf = &samples->leaves[samples->nleaves++];
	leaf->path = path;
	leaf->key = eb_key_scalar(path, scalar);
	leaf->sample = samples->n;
	leaf->scalar = *scalar;
}

/* Takes the next sample. */
static void
collect_sample(Collector *collector, Datum value)
{
	EbSamples  *samples = collector->samples;
	Jsonb	   *event = (Jsonb *) PG_DETOAST_DATUM_COPY(value);

	CHECK_FOR_INTERRUPTS();
	samples->is_object[samples->n] = JB_ROOT_IS_OBJECT(event);
	eb_walk_leaves(&event->root, collect_leaf, collector);
	samples->n++;
}

static int
compare_leaves(const void *a, const void *b)
{
	const EbSampleLeaf *la = a;
	const EbSampleLeaf *lb = b;

	if (la->path != lb->path)
		return la->path < lb->path ? -1 : 1;
	if (la->key != lb->key)
		return la->key < lb->key ? -1 : 1;
	return 0;
}

/* Reads a row of pg_statistic; all is allocated in the current context. */
static void
read_samples(HeapTuple statistics, EbSamples *samples)
{
	Collector	collector = {.samples = samples, .size = 1024};
	AttStatsSlot slot;

	memset(samples, 0, sizeof(EbSamples));
	samples->is_object = palloc(2 * MAX_SAMPLES * sizeof(bool));
	samples->shares = palloc(MAX_SAMPLES * sizeof(float4));
	samples->leaves = palloc(collector.size * sizeof(EbSampleLeaf));

	if (get_attstatsslot(&slot, statistics, STATISTIC_KIND_MCV, InvalidOid,
						 ATTSTATSSLOT_VALUES | ATTSTATSSLOT_NUMBERS))
	{
		/* the most common come first */
		for (int i = 0; i < Min(Min(slot.nvalues, slot.nnumbers), MAX_SAMPLES); i++)
		{
			samples->shares[i] = slot.numbers[i];
			collect_sample(&collector, slot.values[i]);
		}
		free_attstatsslot(&slot);
	}
	samples->ncommon = samples->n;
	if (get_attstatsslot(&slot, statistics, STATISTIC_KIND_HISTOGRAM, InvalidOid,
						 ATTSTATSSLOT_VALUES))
	{
		int			step = (slot.nvalues + MAX_SAMPLES - 1) / MAX_SAMPLES;

		for (int i = 0; i < slot.nvalues; i += step)
			collect_sample(&collector, slot.values[i]);
		free_attstatsslot(&slot);
	}
	qsort(samples->leaves, samples->nleaves, sizeof(EbSampleLeaf), compare_leaves);
}

static bool
same_source(const Source *a, const Source *b)
{
	return OidIsValid(a->relation) && a->relation == b->relation &&
		a->attribute == b->attribute && a->inherited == b->inherited &&
		a->xmin == b->xmin && ItemPointerEquals((ItemPointer) &a->tid, (ItemPointer) &b->tid);
}

const EbSamples *
eb_samples(HeapTuple statistics)
{
	Form_pg_statistic row = (Form_pg_statistic) GETSTRUCT(statistics);
	Source		source = {0};
	EbSamples	samples;
	MemoryContext context;
	MemoryContext caller;
	Column	   *column;

	source.relation = row->starelid;
	source.attribute = row->staattnum;
	source.inherited = row->stainherit;
	source.xmin = HeapTupleHeaderGetRawXmin(statistics->t_data);
	source.tid = statistics->t_self;
	for (int i = 0; i < MAX_COLUMNS; i++)
		if (columns[i].context != NULL && same_source(&columns[i].source, &source))
			return &columns[i].samples;

	/* below the caller's context until nothing can fail any more */
	context = AllocSetContextCreate(CurrentMemoryContext, "eventbridge samples of events",
									ALLOCSET_DEFAULT_SIZES);
	caller = MemoryContextSwitchTo(context);
	read_samples(statistics, &samples);
	MemoryContextSwitchTo(caller);

	column = &columns[oldest_column];
	oldest_column = (oldest_column + 1) % MAX_COLUMNS;
	if (column->context != NULL)
		MemoryContextDelete(column->context);
	MemoryContextSetParent(context, CacheMemoryContext);
	column->context = context;
	column->source = source;
	column->samples = samples;
	return &column->samples;
}

const EbSampleLeaf *
eb_sample_leaves(const EbSamples *samples, EbPathHash path, int *n)
{
	int			low = 0;
	int			high = samples->nleaves;
	int			first;

	while (low < high)
	{
		int			middle = low + (high - low) / 2;

		if (samples->leaves[middle].path < path)
			low = middle + 1;
		else
			high = middle;
	}
	first = low;
	while (low < samples->nleaves && samples->leaves[low].path == path)
		low++;
	*n = low - first;
	return &samples->leaves[first];
}
