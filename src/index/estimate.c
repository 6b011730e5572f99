/*-------------------------------------------------------------------------
 *
 * estimate.c
 *	  How many rows an event pattern selects.
 *
 * For events ANALYZE keeps common values and a histogram; the values in both
 * are events, and a pattern can be tried on them.  A histogram of a hundred
 * events cannot tell a thousandth from a millionth, so for patterns that few
 * of the samples satisfy, each field is counted by itself and the shares are
 * multiplied, as the planner does with conditions that it knows nothing
 * about; a field that no sample satisfies is judged by the looks of its
 * values.  The result is kept within what the samples allow.
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
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/selfuncs.h"

#include "compat.h"
#include "index/access.h"
#include "index/estimate.h"
#include "pattern/match.h"

PG_FUNCTION_INFO_V1(event_pattern_sel);

/* Of more samples only so many are tried, evenly spread. */
#define MAX_SAMPLES 200

/* Patterns with more fields than this are estimated without samples. */
#define MAX_FIELDS 500

/* From so many matching samples on, their share is the estimate. */
#define ENOUGH_MATCHES 4

/* Which stored patterns an event matches: few of many. */
#define DEFAULT_MATCHED_BY 0.0001

/* A field of a conjunction, and what was found about it. */
typedef struct Field
{
	const EbRequirement *requirement;
	bool		has_value;		/* in the sample at hand */
	bool		satisfied;
	int			count;			/* samples that satisfy it */
} Field;

typedef struct Estimate
{
	const EbProgram *program;
	Field	   *fields;			/* conjunction after conjunction */
	int			nfields;
	int		   *ends;			/* where each one's end */
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

static void
try_leaf(void *context, EbPathHash path, const JsonbValue *scalar)
{
	Estimate   *estimate = context;

	for (int i = 0; i < estimate->nfields; i++)
	{
		Field	   *field = &estimate->fields[i];

		if (field->requirement->path != path)
			continue;
		field->has_value = true;
		if (!field->satisfied)
			field->satisfied = eb_values_match(estimate->program,
											   eb_program_at(estimate->program, field->requirement->values),
											   scalar);
	}
}

/* Does the event satisfy all fields of a conjunction?  Counts what it does. */
static bool
try_sample(Estimate *estimate, Jsonb *event)
{
	bool		result = false;
	int			i = 0;

	for (int f = 0; f < estimate->nfields; f++)
		estimate->fields[f].has_value = estimate->fields[f].satisfied = false;
	eb_walk_leaves(&event->root, try_leaf, estimate);
	for (int c = 0; c < estimate->program->nconjunctions; c++)
	{
		bool		all = JB_ROOT_IS_OBJECT(event);

		for (; i < estimate->ends[c]; i++)
		{
			Field	   *field = &estimate->fields[i];

			if (field->requirement->absent_ok && !field->has_value)
				field->satisfied = true;
			field->count += field->satisfied;
			all &= field->satisfied;
		}
		result |= all;
	}
	return result;
}

/* The share of events that satisfy a field, as far as its looks tell. */
static double
guess_field(const EbProgram *program, const EbRequirement *requirement)
{
	const EbValues *values = eb_program_at(program, requirement->values);
	const EbItem *items = eb_program_at(program, values->items);
	EbAccess   *accesses;
	int			n;

	if (requirement->absent_ok || (values->flags & EB_VALUES_EXISTS) != 0)
		return 0.5;
	for (int i = 0; i < values->nitems; i++)
		if (items[i].kind == EB_ITEM_ANYTHING_BUT)
			return 0.8;
	n = eb_accesses(program, requirement, &accesses);
	return exp2(-Min(eb_access_bits(accesses, n), 14));
}

/* The fields' shares multiplied, over all conjunctions. */
static double
multiply_fields(const Estimate *estimate, int nsamples)
{
	double		result = 0;
	int			i = 0;

	for (int c = 0; c < estimate->program->nconjunctions; c++)
	{
		double		product = 1;

		for (; i < estimate->ends[c]; i++)
		{
			const Field *field = &estimate->fields[i];
			double		share;

			if (field->count > 0)
				share = (double) field->count / nsamples;
			else
			{
				share = guess_field(estimate->program, field->requirement);
				if (nsamples > 0)
					share = Min(share, 0.5 / nsamples);
			}
			product *= share;
		}
		result += product;
	}
	return Min(result, 1);
}

/* The share among events of which nsamples were tried and matches matched. */
static double
combine(const Estimate *estimate, int nsamples, int matches)
{
	double		product;

	if (nsamples > 0 && matches >= ENOUGH_MATCHES)
		return (double) matches / nsamples;
	product = multiply_fields(estimate, nsamples);
	if (nsamples == 0)
		return product;
	return Max(Min(product, (matches + 1.5) / nsamples), matches / 2.0 / nsamples);
}

/* From the statistics of a column of events. */
static double
estimate_from_samples(VariableStatData *vardata, Oid funcid, const EbPattern *pattern)
{
	Estimate	estimate;
	AttStatsSlot slot;
	double		nullfrac = 0;
	double		common = 0;		/* share of the common values */
	double		selected = 0;	/* of them, of those that match */
	int			nsamples = 0;
	int			matches = 0;

	if (!init_estimate(&estimate, eb_pattern_program(pattern)))
		return EB_DEFAULT_MATCHES;

	if (HeapTupleIsValid(vardata->statsTuple))
	{
		nullfrac = ((Form_pg_statistic) GETSTRUCT(vardata->statsTuple))->stanullfrac;
		if (statistic_proc_security_check(vardata, funcid))
		{
			if (get_attstatsslot(&slot, vardata->statsTuple, STATISTIC_KIND_MCV,
								 InvalidOid, ATTSTATSSLOT_VALUES | ATTSTATSSLOT_NUMBERS))
			{
				for (int i = 0; i < Min(slot.nvalues, slot.nnumbers); i++)
				{
					CHECK_FOR_INTERRUPTS();
					common += slot.numbers[i];
					if (try_sample(&estimate, DatumGetJsonbP(slot.values[i])))
						selected += slot.numbers[i];
				}
				for (int f = 0; f < estimate.nfields; f++)
					estimate.fields[f].count = 0;
				free_attstatsslot(&slot);
			}
			if (get_attstatsslot(&slot, vardata->statsTuple, STATISTIC_KIND_HISTOGRAM,
								 InvalidOid, ATTSTATSSLOT_VALUES))
			{
				int			step = (slot.nvalues + MAX_SAMPLES - 1) / MAX_SAMPLES;

				for (int i = 0; i < slot.nvalues; i += step)
				{
					CHECK_FOR_INTERRUPTS();
					nsamples++;
					matches += try_sample(&estimate, DatumGetJsonbP(slot.values[i]));
				}
				free_attstatsslot(&slot);
			}
		}
	}
	return selected + combine(&estimate, nsamples, matches) *
		Max(1 - nullfrac - common, 0);
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
