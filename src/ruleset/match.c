/*-------------------------------------------------------------------------
 *
 * match.c
 *	  One event against a compiled set of patterns; set.h tells how.
 *
 * The event is walked once, and the scalars at known paths are noted.  Then
 * their keys are looked up, which gives access predicates; then the trie of
 * each of these that holds is run through.
 *
 * Nothing is allocated for an event but what the state keeps: arrays with a
 * place for each node, predicate and pattern of the set.  They are never
 * cleared: a place is valid if it carries the number of the current event.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "miscadmin.h"
#include "utils/memutils.h"

#include "compat.h"
#include "json/container.h"
#include "pattern/match.h"
#include "ruleset/match.h"

EbMatchState *
eb_match_state_create(MemoryContext context)
{
	EbMatchState *state = MemoryContextAllocZero(context, sizeof(EbMatchState));
	MemoryContext caller = MemoryContextSwitchTo(context);

	state->context = context;
	initStringInfo(&state->folded);
	MemoryContextSwitchTo(caller);
	return state;
}

/* Replaces an array by one of n elements, all zero. */
static void
replace_array(EbMatchState *state, void **array, uint32 n, Size size)
{
	void	   *fresh = MemoryContextAllocExtended(state->context, n * size,
												   MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);

	if (*array != NULL)
		pfree(*array);
	*array = fresh;
}

static uint32
grown_size(uint32 wanted, uint32 allocated)
{
	return Max(wanted, allocated + allocated / 2);
}

/* Makes room for a set and begins a new event. */
static void
begin_event(EbMatchState *state, const EbPatternSet *set)
{
	if (set->nnodes > state->max_nodes)
	{
		uint32		n = grown_size(set->nnodes, state->max_nodes);

		replace_array(state, (void **) &state->nodes, n, sizeof(EbNodeState));
		state->max_nodes = n;
	}
	if (set->npredicates > state->max_predicates)
	{
		uint32		n = grown_size(set->npredicates, state->max_predicates);

		replace_array(state, (void **) &state->predicates, n, sizeof(uint32));
		replace_array(state, (void **) &state->found, n, sizeof(uint32));
		state->max_predicates = n;
	}
	if (set->npatterns > state->max_patterns)
	{
		uint32		n = grown_size(set->npatterns, state->max_patterns);

		replace_array(state, (void **) &state->patterns, n, sizeof(uint32));
		replace_array(state, (void **) &state->positions, n, sizeof(int32));
		state->max_patterns = n;
	}

	if (state->generation == MAX_GENERATION)
	{
		memset(state->nodes, 0, state->max_nodes * sizeof(EbNodeState));
		memset(state->predicates, 0, state->max_predicates * sizeof(uint32));
		memset(state->patterns, 0, state->max_patterns * sizeof(uint32));
		state->generation = 0;
	}
	state->generation++;
}

/* ---------- Predicates, tries, results ---------- */

/*
 * Does the leaf lie in the range?  Only close to the bounds the numbers
 * themselves are compared.
 */
static bool
in_range(const EbSetPredicate *predicate, const EbValues *values, const EbLeaf *leaf)
{
	double		number = leaf->number;

	if (leaf->value.type != jbvNumeric || number < predicate->lower || number > predicate->upper)
		return false;
	if (fabs(number) < 1e100 && fabs(number) > 1e-100 &&
		(isinf(predicate->lower) ||
		 number - predicate->lower > EB_NUMBER_ERROR * (fabs(number) + fabs(predicate->lower))) &&
		(isinf(predicate->upper) ||
		 predicate->upper - number > EB_NUMBER_ERROR * (fabs(number) + fabs(predicate->upper))))
		return true;
	return eb_values_match((const EbProgram *) values, values, &leaf->value);
}

/* Does the predicate hold?  See set.h for what that means. */
static bool
evaluate(EbSetMatcher *matcher, uint32 predicate_id)
{
	const EbSetPredicate *predicate = &matcher->predicates[predicate_id];
	EbMatchState *state = matcher->state;
	const EbNodeState *node = &state->nodes[predicate->node];
	bool		has_leaf = node->leaf_generation == matcher->generation;
	uint32	   *memo = &state->predicates[predicate_id];
	bool		result = false;

	if (has_leaf)
	{
		const EbValues *values = eb_set_at(matcher->set, predicate->values);

		for (int32 i = node->first; i >= 0 && !result; i = state->leaves[i].next)
		{
			CHECK_FOR_INTERRUPTS();
			result = (predicate->flags & EB_PREDICATE_RANGE) ?
				in_range(predicate, values, &state->leaves[i]) :
				eb_values_match((const EbProgram *) values, values, &state->leaves[i].value);
		}
	}
	if (!result && (predicate->flags & EB_PREDICATE_ACCEPTS_ABSENCE))
	{
		if (!has_leaf)
			result = true;
		else if (node->below_array || matcher->doubtful)
			result = matcher->doubtful = true;
	}

	if (*memo >> MEMO_BITS != matcher->generation)
		*memo = matcher->generation << MEMO_BITS;
	*memo |= result ? MEMO_TRUE : MEMO_FALSE;
	return result;
}

static inline bool
holds(EbSetMatcher *matcher, uint32 predicate_id)
{
	uint32		memo = matcher->state->predicates[predicate_id];

	if (memo >> MEMO_BITS == matcher->generation && (memo & MEMO_VALUE) != 0)
		return (memo & MEMO_TRUE) != 0;
	return evaluate(matcher, predicate_id);
}

/* Must the matcher decide on a conjunction all of whose predicates hold? */
static inline bool
is_undecided(EbSetMatcher *matcher, uint32 class_id)
{
	const EbSetList *class;
	const uint32 *nodes;

	if (matcher->doubtful || class_id == EB_CLASS_UNDECIDED)
		return true;
	class = (const EbSetList *) eb_set_at(matcher->set, matcher->set->classes) + class_id;
	nodes = eb_set_at(matcher->set, class->offset);
	for (uint32 i = 0; i < class->count; i++)
		if (matcher->state->nodes[nodes[i]].array_generation == matcher->generation)
			return true;
	return false;
}

static void
report(EbSetMatcher *matcher, uint32 position, uint32 class_id)
{
	EbMatchState *state = matcher->state;

	if (state->patterns[position] == matcher->generation)
		return;
	state->patterns[position] = matcher->generation;
	if (is_undecided(matcher, class_id))
	{
		CHECK_FOR_INTERRUPTS();
		if (!eb_pattern_matches_value(eb_set_pattern(matcher->set, position), matcher->event))
			return;
	}
	state->positions[matcher->nmatching++] = position;
}

/*
 * Which of the conjunctions below a predicate hold?  Not deeper than
 * EB_SET_MAX_CHECKED.
 */
static void
run_trie(EbSetMatcher *matcher, uint32 first_entry)
{
	const uint32 *memos = matcher->state->predicates;
	uint32		proven = (matcher->generation << MEMO_BITS) | MEMO_TRUE;
	const EbSetEntry *entry = &matcher->entries[first_entry];

	for (;; entry++)
	{
		uint32		what = entry->what & EB_ENTRY_NUMBER;

		if (entry->what & EB_ENTRY_PATTERN)
			report(matcher, what, entry->next);
		else if ((entry->what & EB_ENTRY_EXACT) ?
				 (memos[what] & ~MEMO_FOUND) == proven : holds(matcher, what))
			run_trie(matcher, entry->next);
		if (entry->what & EB_ENTRY_LAST)
			break;
	}
}

/* ---------- Entry ---------- */

static int
compare_positions(const void *a, const void *b)
{
	int32		pa = *(const int32 *) a;
	int32		pb = *(const int32 *) b;

	return pa < pb ? -1 : pa > pb;
}

static int
match_each(const EbPatternSet *set, EbMatchState *state, const JsonbValue *event)
{
	int			n = 0;

	for (int i = 0; i < set->npatterns; i++)
		if (eb_pattern_matches_value(eb_set_pattern(set, i), event))
			state->positions[n++] = i;
	return n;
}

int
eb_pattern_set_match(const EbPatternSet *set, EbMatchState *state,
					 const JsonbValue *event, const int32 **positions)
{
	EbSetMatcher matcher;

	begin_event(state, set);
	*positions = state->positions;
	if (!eb_value_is_object(event))
		return 0;
	if (!set->indexed)
		return match_each(set, state, event);

	matcher.set = set;
	matcher.state = state;
	matcher.event = event;
	matcher.nodes = eb_set_at(set, set->nodes);
	matcher.predicates = eb_set_at(set, set->predicates);
	matcher.entries = eb_set_at(set, set->entries);
	matcher.tags = eb_set_at(set, set->tags);
	matcher.generation = state->generation;
	matcher.nleaves = matcher.nlookups = matcher.nfound = matcher.nmatching = 0;
	matcher.doubtful = false;

	eb_set_walk(&matcher);
	eb_set_look_up(&matcher);
	for (int i = 0; i < matcher.nfound; i++)
	{
		const EbSetPredicate *predicate = &matcher.predicates[state->found[i]];

		eb_prefetch(&matcher.entries[predicate->first_entry]);
		eb_prefetch(eb_set_at(set, predicate->values));
	}
	for (int i = 0; i < matcher.nfound; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (holds(&matcher, state->found[i]))
			run_trie(&matcher, matcher.predicates[state->found[i]].first_entry);
	}

	if (matcher.nmatching > 1)
		qsort(state->positions, matcher.nmatching, sizeof(int32), compare_positions);
	return matcher.nmatching;
}
