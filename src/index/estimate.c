/*-------------------------------------------------------------------------
 *
 * estimate.c
 *	  How many rows an event pattern selects.
 *
 * For events ANALYZE keeps common values and a histogram; the values in both
 * are events, and a pattern can be tried on them.  A histogram of a hundred
 * events cannot tell a thousandth from a millionth, so for patterns that few
 * of the samples satisfy, each field is counted by itself and the shares are
 * multiplied.  A field that no sample satisfies is judged by what the samples
 * have at its path instead: by how many values must have been missed, since
 * those seen repeat so often; by how much lies between two neighbours, for a
 * range; else by the looks of its own values.  The result is kept within what
 * the samples allow.
 *
 * Fields of events hang together: a source has its own kinds of events, and
 * they their states.  So only the share of the rarest field counts in full, of
 * the next its square root, and so on.  That takes too many rows where fields
 * are independent, which does little harm with so few.
 *
 * A sample counts as matching if each field of a conjunction is satisfied
 * somewhere in it; whether in one element of an array is left aside.  Nothing
 * here raises an error.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "access/htup_details.h"
#include "catalog/pg_statistic.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/lsyscache.h"
#include "utils/selfuncs.h"

#include "compat.h"
#include "index/access.h"
#include "index/estimate.h"
#include "index/samples.h"
#include "pattern/match.h"

PG_FUNCTION_INFO_V1(event_pattern_sel);

/* Patterns with more fields than this are estimated without samples. */
#define MAX_FIELDS 500

/* From so many matching samples on, their share is the estimate. */
#define ENOUGH_MATCHES 4

/* Which stored patterns an event matches: few of many. */
#define DEFAULT_MATCHED_BY 0.0001

/* How many of the samples' values a range beyond all of them stands for. */
#define BEYOND 0.1

/* Of a conjunction's fields so many count, the rarest. */
#define MAX_FACTORS 4

/* A field of a conjunction, and what was found about it. */
typedef struct Field
{
	const EbRequirement *requirement;
	bool	   *satisfied;		/* by each sample */
	int			count;			/* of the histogram, how many */
} Field;

typedef struct Estimate
{
	const EbProgram *program;
	Field	   *fields;			/* conjunction after conjunction */
	int			nfields;
	int		   *ends;			/* where each one's end */
	const EbSamples *samples;	/* NULL if there are none */
	int			nsamples;		/* of the histogram */
	double		nrows;			/* of the table */
} Estimate;

static bool
init_estimate(Estimate *estimate, const EbProgram *program)
{
	int			size = 8;

	estimate->program = program;
	estimate->nfields = 0;
	estimate->fields = palloc(size * sizeof(Field));
	estimate->ends = palloc(program->nconjunctions * sizeof(int));
	for (int c = 0; c < program->nconjunctions; c++)
	{
		EbRequirement *requirements;
		int			n = eb_requirements(program, program->roots[c], true, &requirements);

		if (estimate->nfields + n > MAX_FIELDS)
			return false;
		while (estimate->nfields + n > size)
		{
			size *= 2;
			estimate->fields = repalloc(estimate->fields, size * sizeof(Field));
		}
		for (int i = 0; i < n; i++)
		{
			Field		field = {.requirement = &requirements[i]};

			estimate->fields[estimate->nfields++] = field;
		}
		estimate->ends[c] = estimate->nfields;
	}
	return true;
}

/* Tries a field on the samples. */
static void
try_field(const Estimate *estimate, Field *field)
{
	const EbProgram *program = estimate->program;
	const EbSamples *samples = estimate->samples;
	const EbValues *values = eb_program_at(program, field->requirement->values);
	bool	   *has_value = palloc0(samples->n * sizeof(bool));
	int			nleaves;
	const EbSampleLeaf *leaves = eb_sample_leaves(samples, field->requirement->path, &nleaves);

	CHECK_FOR_INTERRUPTS();
	field->satisfied = palloc0(samples->n * sizeof(bool));
	for (int i = 0; i < nleaves; i++)
	{
		bool	   *satisfied = &field->satisfied[leaves[i].sample];

		has_value[leaves[i].sample] = true;
		if (!*satisfied)
			*satisfied = eb_values_match(program, values, &leaves[i].scalar);
	}
	for (int i = 0; i < samples->n; i++)
	{
		if (field->requirement->absent_ok && !has_value[i])
			field->satisfied[i] = true;
		if (!samples->is_object[i])
			field->satisfied[i] = false;
		if (i >= samples->ncommon)
			field->count += field->satisfied[i];
	}
	pfree(has_value);
}

/* Does a sample satisfy all fields of a conjunction? */
static bool
sample_matches(const Estimate *estimate, int sample)
{
	int			i = 0;

	for (int c = 0; c < estimate->program->nconjunctions; c++)
	{
		bool		all = estimate->samples->is_object[sample];

		for (; i < estimate->ends[c]; i++)
			all &= estimate->fields[i].satisfied[sample];
		if (all)
			return true;
	}
	return false;
}

/* ---------- Fields that no sample satisfies ---------- */

/* The share of values that satisfy one alternative, as far as its looks tell. */
static double
guess_by_looks(const EbAccess *access)
{
	return exp2(-Min(access->bits, 14));
}

/* What the histogram has at a path. */
typedef struct Seen
{
	int64	   *keys;			/* ordered */
	int			n;
	double		once;			/* so many of them occur once */
	double		unseen;			/* share of a value that does not occur */
} Seen;

/*
 * How large is the share of a value that does not occur among those at a path,
 * of which all events together have ntotal?  What occurs once tells how much
 * has been missed (Good and Turing), and of how many values in all (Haas and
 * Stokes, as ANALYZE has it).
 */
static void
judge_unseen(Seen *seen, double ntotal)
{
	double		n = seen->n;
	double		distinct = 0;
	double		all;

	seen->once = 0;
	for (int i = 0; i < seen->n;)
	{
		int			first = i;

		while (i < seen->n && seen->keys[i] == seen->keys[first])
			i++;
		distinct++;
		if (i - first == 1)
			seen->once++;
	}
	all = n * distinct / (Max(n - seen->once, 0.5) + seen->once * n / Max(ntotal, n));
	seen->unseen = Max(seen->once, 0.5) / n / Max(all - distinct, 1);
}

/* Without any repetition there are many values, and the looks may tell how many. */
static double
unseen_value(const Seen *seen, double looks)
{
	return seen->once == seen->n ? Min(seen->unseen, looks) : seen->unseen;
}

/* The first of the keys that is not less than a bound. */
static int
search_keys(const Seen *seen, int64 bound)
{
	int			low = 0;
	int			high = seen->n;

	while (low < high)
	{
		int			middle = low + (high - low) / 2;

		if (seen->keys[middle] < bound)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* Are they of one path and domain? */
static bool
are_comparable(int64 a, int64 b)
{
	return a >> EB_KEY_PAYLOAD_BITS == b >> EB_KEY_PAYLOAD_BITS;
}

/* The same for a range, by its neighbours. */
static double
unseen_range(const Seen *seen, int64 low, int64 high)
{
	int			below = search_keys(seen, low) - 1;
	int			above = high == PG_INT64_MAX ? seen->n : search_keys(seen, high + 1);
	double		gap;

	if (below < 0 || above == seen->n ||
		!are_comparable(seen->keys[below], low) || !are_comparable(seen->keys[above], high))
		return BEYOND / seen->n;
	gap = (double) seen->keys[above] - (double) seen->keys[below];
	return Min(((double) high - (double) low + 1) / gap, 1) / seen->n;
}

/* The share of values that satisfy one alternative, given some that do not. */
static double
unseen_share(EbAccess *access, EbPathHash path, const Seen *seen)
{
	switch (access->kind)
	{
		case EB_ACCESS_KEY:
			return unseen_value(seen, guess_by_looks(access));
		case EB_ACCESS_NUMBERS:
			return unseen_range(seen, access->low, access->high);
		case EB_ACCESS_BLOCK:
			if (eb_key_range_cidr(path, access->cidr, &access->low, &access->high))
				return unseen_range(seen, access->low, access->high);
			break;
		case EB_ACCESS_PREFIX:
		case EB_ACCESS_ANY:
			break;
	}
	return guess_by_looks(access);
}

/* Fills in the keys of what the histogram has at a path. */
static void
collect_seen(const EbSamples *samples, EbPathHash path, Seen *seen)
{
	int			nleaves;
	const EbSampleLeaf *leaves = eb_sample_leaves(samples, path, &nleaves);

	seen->keys = palloc(Max(nleaves, 1) * sizeof(int64));
	for (int i = 0; i < nleaves; i++)
		if (leaves[i].sample >= samples->ncommon)
			seen->keys[seen->n++] = leaves[i].key;
}

/* The share of events that satisfy a field which no sample satisfies. */
static double
judge_field(const Estimate *estimate, const EbRequirement *requirement)
{
	const EbValues *values = eb_program_at(estimate->program, requirement->values);
	const EbItem *items = eb_program_at(estimate->program, values->items);
	EbAccess   *accesses;
	int			naccesses;
	Seen		seen = {0};
	double		per_event = 0;	/* values; an array has several */
	double		share = 0;

	if (requirement->absent_ok || (values->flags & EB_VALUES_EXISTS) != 0)
		return 0.5;
	for (int i = 0; i < values->nitems; i++)
		if (items[i].kind == EB_ITEM_ANYTHING_BUT)
			return 0.8;

	if (estimate->nsamples > 0)
		collect_seen(estimate->samples, requirement->path, &seen);
	if (seen.n > 0)
	{
		per_event = (double) seen.n / estimate->nsamples;
		judge_unseen(&seen, per_event * estimate->nrows);
	}
	naccesses = eb_accesses(estimate->program, requirement, &accesses);
	for (int i = 0; i < naccesses; i++)
	{
		CHECK_FOR_INTERRUPTS();
		share += seen.n == 0 ? guess_by_looks(&accesses[i]) :
			per_event * unseen_share(&accesses[i], requirement->path, &seen);
	}
	return Min(share, 1);
}

/* The share of events that satisfy a field. */
static double
field_share(const Estimate *estimate, const Field *field)
{
	double		n = estimate->nsamples;

	if (field->count > 0)
		return field->count / n;
	if (n == 0)
		return judge_field(estimate, field->requirement);
	return Min(judge_field(estimate, field->requirement), 0.5 / n);
}

static int
compare_shares(const void *a, const void *b)
{
	double		da = *(const double *) a;
	double		db = *(const double *) b;

	return da < db ? -1 : da > db;
}

/* The fields' shares multiplied as told above, over all conjunctions. */
static double
multiply_fields(const Estimate *estimate)
{
	double	   *shares = palloc(estimate->nfields * sizeof(double));
	double		result = 0;
	int			i = 0;

	for (int c = 0; c < estimate->program->nconjunctions; c++)
	{
		double		product = 1;
		double		exponent = 1;
		int			n = 0;

		for (; i < estimate->ends[c]; i++)
			shares[n++] = field_share(estimate, &estimate->fields[i]);
		qsort(shares, n, sizeof(double), compare_shares);
		for (int k = 0; k < Min(n, MAX_FACTORS); k++, exponent /= 2)
			product *= pow(shares[k], exponent);
		result += product;
	}
	pfree(shares);
	return Min(result, 1);
}

/* The share among the events that the histogram stands for. */
static double
estimate_rest(const Estimate *estimate)
{
	int			matches = 0;
	double		n = estimate->nsamples;
	double		product;

	if (n == 0)
		return multiply_fields(estimate);
	for (int i = estimate->samples->ncommon; i < estimate->samples->n; i++)
		matches += sample_matches(estimate, i);
	if (matches >= ENOUGH_MATCHES)
		return matches / n;
	product = multiply_fields(estimate);
	return Max(Min(product, (matches + 1.5) / n), matches / 2.0 / n);
}

/* From the statistics of a column of events. */
static double
estimate_from_samples(VariableStatData *vardata, Oid funcid, const EbPattern *pattern)
{
	Estimate	estimate = {0};
	double		nullfrac = 0;
	double		common = 0;		/* share of the common values */
	double		selected = 0;	/* of them, of those that match */

	if (!init_estimate(&estimate, eb_pattern_program(pattern)))
		return EB_DEFAULT_MATCHES;

	if (HeapTupleIsValid(vardata->statsTuple))
	{
		nullfrac = ((Form_pg_statistic) GETSTRUCT(vardata->statsTuple))->stanullfrac;
		if (statistic_proc_security_check(vardata, funcid))
		{
			const EbSamples *samples = eb_samples(vardata->statsTuple);

			estimate.samples = samples;
			estimate.nsamples = samples->n - samples->ncommon;
			estimate.nrows = vardata->rel != NULL ? vardata->rel->tuples : 0;
			for (int i = 0; i < estimate.nfields; i++)
				try_field(&estimate, &estimate.fields[i]);
			for (int i = 0; i < samples->ncommon; i++)
			{
				common += samples->shares[i];
				if (sample_matches(&estimate, i))
					selected += samples->shares[i];
			}
		}
	}
	return selected + estimate_rest(&estimate) * Max(1 - nullfrac - common, 0);
}

double
eb_estimate_matches(PlannerInfo *root, Oid funcid, List *args, int varRelid)
{
	VariableStatData vardata;
	Node	   *other;
	bool		varonleft;
	double		result = EB_DEFAULT_MATCHES;

	if (list_length(args) != 2 ||
		!get_restriction_variable(root, args, varRelid, &vardata, &other, &varonleft))
		return result;

	if (IsA(other, Const) && ((Const *) other)->constisnull)
		result = 0;
	else if (vardata.atttype != JSONBOID)
		result = DEFAULT_MATCHED_BY;
	else if (IsA(other, Const))
		result = estimate_from_samples(&vardata, funcid,
									   eb_pattern_detoast(((Const *) other)->constvalue));
	ReleaseVariableStats(vardata);

	/* one row can always turn up, and a scan never finds all for certain */
	CLAMP_PROBABILITY(result);
	return result;
}

/* event_pattern_sel(root internal, operator oid, args internal, varRelid int) */
Datum
event_pattern_sel(PG_FUNCTION_ARGS)
{
	PlannerInfo *root = (PlannerInfo *) PG_GETARG_POINTER(0);
	Oid			operator = PG_GETARG_OID(1);
	List	   *args = (List *) PG_GETARG_POINTER(2);
	int			varRelid = PG_GETARG_INT32(3);

	PG_RETURN_FLOAT8(eb_estimate_matches(root, get_opcode(operator), args, varRelid));
}
