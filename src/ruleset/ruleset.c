/*-------------------------------------------------------------------------
 *
 * ruleset.c
 *	  Patterns by number, which come and go.
 *
 * A compiled set cannot be changed, so a rule set is a few of them, from old
 * and large to new and small, and a list of patterns put since the last one
 * was compiled.  When the list is long enough it is compiled, together with
 * the newest sets that are not much larger than what is compiled with them;
 * so there are few sets, and a pattern is compiled again only some few times
 * while the whole grows.  A pattern that is removed or replaced is marked in
 * its set, and left out when that set is next compiled.
 *
 * A short list is tried pattern by pattern, and each further set is a further
 * walk over the event; so when that has cost about as much as compiling would,
 * short lists and small sets are compiled too.
 *
 * Each set lives in a context of its own and is complete before it takes the
 * place of others: an error while compiling changes nothing.
 *
 * A rule set may lie on a base, a set that was compiled before and that others
 * use too.  It is the oldest of the sets and is never compiled again.  Its
 * patterns are not among the locations, which would cost about as much as the
 * patterns of all that is put later: they are found by their numbers, which
 * are in order.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

#include "compat.h"
#include "ruleset/set.h"

/* So many patterns are tried one by one before they are compiled. */
#define MAX_PENDING 32
/* A set is compiled again when what is newer is more than this part of it. */
#define LEVEL_RATIO 8
#define MAX_LEVELS 16
/* Compiling a pattern takes as long as trying so many; about. */
#define TRIES_PER_COMPILED 64
/* Compiling takes as long as compiling so many patterns more. */
#define COMPILE_OVERHEAD 8
/* Matching with one more set takes as long as trying so many patterns. */
#define TRIES_PER_LEVEL 5
/* Larger sets are compiled again only for what LEVEL_RATIO says. */
#define MAX_TRIED_LEVEL 10000

/* Patterns by position: of a compiled set, or of the list of the newest. */
typedef struct Level
{
	MemoryContext context;
	const EbPatternSet *set;	/* NULL: not compiled */
	int			n;
	int			allocated;
	int			nlive;
	int64	   *ids;
	bool	   *live;
	const EbPattern **patterns; /* of the list only */
} Level;

typedef struct Location
{
	int64		id;
	int			level;			/* PENDING: the list */
	int			position;
} Location;

#define PENDING (-1)

struct EbRuleSet
{
	MemoryContext context;
	HTAB	   *locations;		/* but of the base */
	int			nbases;			/* 1: the first level is the base */
	int			nlevels;
	Level		levels[MAX_LEVELS]; /* oldest first */
	Level		pending;
	int64		tries;			/* spent since the last compilation; in patterns */
	EbMatchState *state;
	int			max_ids;
	int64	   *ids;			/* the answer */
};

static void
create_level(Level *level, MemoryContext parent, int allocated)
{
	MemoryContext caller;

	memset(level, 0, sizeof(Level));
	level->context = AllocSetContextCreate(parent, "event rules", ALLOCSET_DEFAULT_SIZES);
	caller = MemoryContextSwitchTo(level->context);
	level->allocated = allocated;
	level->ids = MemoryContextAllocHuge(level->context, allocated * sizeof(int64));
	level->live = MemoryContextAllocHuge(level->context, allocated * sizeof(bool));
	level->patterns = MemoryContextAllocHuge(level->context, allocated * sizeof(EbPattern *));
	MemoryContextSwitchTo(caller);
}

EbRuleSet *
eb_ruleset_create(MemoryContext parent)
{
	MemoryContext context = AllocSetContextCreate(parent, "event rule set",
												  ALLOCSET_DEFAULT_SIZES);
	EbRuleSet  *ruleset = MemoryContextAllocZero(context, sizeof(EbRuleSet));
	HASHCTL		control = {0};

	ruleset->context = context;
	control.keysize = sizeof(int64);
	control.entrysize = sizeof(Location);
	control.hcxt = context;
	ruleset->locations = hash_create("event rules by number", 256, &control,
									 HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	ruleset->state = eb_match_state_create(context);
	create_level(&ruleset->pending, context, 2 * MAX_PENDING);
	return ruleset;
}

EbRuleSet *
eb_ruleset_create_on(MemoryContext parent, const EbPatternSet *base, const int64 *ids)
{
	EbRuleSet  *ruleset = eb_ruleset_create(parent);
	Level	   *level = &ruleset->levels[0];

	memset(level, 0, sizeof(Level));
	level->context = ruleset->context;
	level->set = base;
	level->n = level->allocated = base->npatterns;
	level->ids = unconstify(int64 *, ids);
	level->live = MemoryContextAllocExtended(ruleset->context,
											 Max(level->n, 1) * sizeof(bool),
											 MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	ruleset->nbases = ruleset->nlevels = 1;
	return ruleset;
}

int
eb_ruleset_count(const EbRuleSet *ruleset)
{
	return hash_get_num_entries(ruleset->locations) +
		(ruleset->nbases > 0 ? ruleset->levels[0].nlive : 0);
}

/* The position of a number in the base, or -1. */
static int
find_in_base(const EbRuleSet *ruleset, int64 id)
{
	const Level *base = &ruleset->levels[0];
	int			low = 0;
	int			high = ruleset->nbases > 0 ? base->n : 0;

	while (low < high)
	{
		int			middle = low + (high - low) / 2;

		if (base->ids[middle] == id)
			return middle;
		if (base->ids[middle] < id)
			low = middle + 1;
		else
			high = middle;
	}
	return -1;
}

/* The pattern at a position of the base, or -1, takes part no longer. */
static bool
hide(EbRuleSet *ruleset, int position)
{
	Level	   *base = &ruleset->levels[0];

	if (position < 0 || !base->live[position])
		return false;
	base->live[position] = false;
	base->nlive--;
	return true;
}

void
eb_ruleset_hide_base(EbRuleSet *ruleset)
{
	Level	   *base = &ruleset->levels[0];

	Assert(ruleset->nbases > 0);
	memset(base->live, 0, base->n * sizeof(bool));
	base->nlive = 0;
}

void
eb_ruleset_restore(EbRuleSet *ruleset, int position)
{
	Level	   *base = &ruleset->levels[0];

	Assert(ruleset->nbases > 0 && position >= 0 && position < base->n);
	if (base->live[position])
		return;
	if (hash_get_num_entries(ruleset->locations) > 0)
		(void) eb_ruleset_remove(ruleset, base->ids[position]);
	base->live[position] = true;
	base->nlive++;
}

/* Marks what is at a location as gone. */
static void
bury(EbRuleSet *ruleset, const Location *location)
{
	Level	   *level = location->level == PENDING ?
		&ruleset->pending : &ruleset->levels[location->level];

	level->live[location->position] = false;
	level->nlive--;
}

void
eb_ruleset_put(EbRuleSet *ruleset, int64 id, const EbPattern *pattern)
{
	Level	   *pending = &ruleset->pending;
	EbPattern  *copy;
	Location   *location;
	bool		found;

	/* whatever can fail comes before anything is changed */
	if (pending->n == pending->allocated)
	{
		int			allocated = pending->allocated * 2;

		pending->ids = repalloc_huge(pending->ids, allocated * sizeof(int64));
		pending->live = repalloc_huge(pending->live, allocated * sizeof(bool));
		pending->patterns = repalloc_huge(pending->patterns, allocated * sizeof(EbPattern *));
		pending->allocated = allocated;
	}
	copy = MemoryContextAllocHuge(pending->context, VARSIZE(pattern));
	memcpy(copy, pattern, VARSIZE(pattern));
	location = hash_search(ruleset->locations, &id, HASH_ENTER, &found);

	if (found)
		bury(ruleset, location);
	else
		(void) hide(ruleset, find_in_base(ruleset, id));
	location->level = PENDING;
	location->position = pending->n;
	pending->ids[pending->n] = id;
	pending->live[pending->n] = true;
	pending->patterns[pending->n] = copy;
	pending->n++;
	pending->nlive++;
}

bool
eb_ruleset_remove(EbRuleSet *ruleset, int64 id)
{
	Location   *location = hash_search(ruleset->locations, &id, HASH_FIND, NULL);

	if (location == NULL)
		return hide(ruleset, find_in_base(ruleset, id));
	bury(ruleset, location);
	(void) hash_search(ruleset->locations, &id, HASH_REMOVE, NULL);
	return true;
}

static const EbPattern *
level_pattern(const Level *level, int position)
{
	return level->set != NULL ? eb_set_pattern(level->set, position) : level->patterns[position];
}

static int
compare_ids(const void *a, const void *b)
{
	int64		ia = *(const int64 *) a;
	int64		ib = *(const int64 *) b;

	return ia < ib ? -1 : ia > ib;
}

/* A pattern by its number; the number comes first, for compare_ids(). */
typedef struct Numbered
{
	int64		id;
	const EbPattern *pattern;
} Numbered;

EbPatternSet *
eb_ruleset_compile(const EbRuleSet *ruleset, int64 **ids)
{
	int			n = eb_ruleset_count(ruleset);
	Numbered   *all = MemoryContextAllocHuge(CurrentMemoryContext, Max(n, 1) * sizeof(Numbered));
	const EbPattern **patterns;
	EbPatternSet *set;
	int			filled = 0;

	for (int i = 0; i <= ruleset->nlevels; i++)
	{
		const Level *level = i < ruleset->nlevels ? &ruleset->levels[i] : &ruleset->pending;

		for (int k = 0; k < level->n; k++)
			if (level->live[k])
				all[filled++] = (Numbered) {level->ids[k], level_pattern(level, k)};
	}
	Assert(filled == n);
	if (n > 1)
		qsort(all, n, sizeof(Numbered), compare_ids);

	patterns = MemoryContextAllocHuge(CurrentMemoryContext, Max(n, 1) * sizeof(EbPattern *));
	*ids = MemoryContextAllocHuge(CurrentMemoryContext, Max(n, 1) * sizeof(int64));
	for (int i = 0; i < n; i++)
	{
		(*ids)[i] = all[i].id;
		patterns[i] = all[i].pattern;
	}
	pfree(all);
	set = eb_pattern_set_build(patterns, n);
	pfree(patterns);
	return set;
}

/*
 * Compiles the list and all levels from first on into one set, which takes
 * the place of level first.
 */
static void
compile_levels(EbRuleSet *ruleset, int first)
{
	Level		compiled;
	Level		fresh;
	const EbPattern **patterns;
	MemoryContext caller;
	int			n = ruleset->pending.nlive;

	for (int i = first; i < ruleset->nlevels; i++)
		n += ruleset->levels[i].nlive;

	/* below the caller's context until nothing can fail any more */
	create_level(&fresh, CurrentMemoryContext, 2 * MAX_PENDING);
	create_level(&compiled, CurrentMemoryContext, Max(n, 1));
	patterns = compiled.patterns;
	for (int i = first; i <= ruleset->nlevels; i++)
	{
		const Level *level = i < ruleset->nlevels ? &ruleset->levels[i] : &ruleset->pending;

		for (int k = 0; k < level->n; k++)
		{
			if (!level->live[k])
				continue;
			patterns[compiled.n] = level_pattern(level, k);
			compiled.ids[compiled.n] = level->ids[k];
			compiled.live[compiled.n++] = true;
		}
	}
	compiled.nlive = compiled.n;
	caller = MemoryContextSwitchTo(compiled.context);
	compiled.set = eb_pattern_set_build(patterns, compiled.n);
	MemoryContextSwitchTo(caller);
	pfree(patterns);
	compiled.patterns = NULL;

	for (int k = 0; k < compiled.n; k++)
	{
		Location   *location = hash_search(ruleset->locations, &compiled.ids[k], HASH_FIND, NULL);

		location->level = first;
		location->position = k;
	}
	MemoryContextSetParent(compiled.context, ruleset->context);
	MemoryContextSetParent(fresh.context, ruleset->context);
	for (int i = first; i < ruleset->nlevels; i++)
		MemoryContextDelete(ruleset->levels[i].context);
	MemoryContextDelete(ruleset->pending.context);
	ruleset->pending = fresh;
	ruleset->levels[first] = compiled;
	ruleset->nlevels = first + 1;
	ruleset->tries = 0;
}

/*
 * Has as much been spent on the list and on small sets as compiling them
 * takes?  Then it gives the first level to be compiled with the list.
 */
static bool
is_worth_compiling(const EbRuleSet *ruleset, int *first)
{
	int			n = ruleset->pending.nlive;
	int64		max = ruleset->tries / TRIES_PER_COMPILED - COMPILE_OVERHEAD;

	*first = ruleset->nlevels;
	while (*first > ruleset->nbases && ruleset->levels[*first - 1].n <= MAX_TRIED_LEVEL &&
		   n + ruleset->levels[*first - 1].nlive <= max)
		n += ruleset->levels[--*first].nlive;

	/* a set takes the place of several, or of patterns that were tried */
	return n <= max &&
		(*first < ruleset->nlevels - (ruleset->pending.n == 0) ||
		 ruleset->pending.nlive >= EB_SET_MIN_INDEXED);
}

/* Keeps the list short, and the levels few and mostly live. */
static void
settle(EbRuleSet *ruleset)
{
	int			first = ruleset->nlevels;
	int			newer = ruleset->pending.n;
	int			dead = 0;

	for (int i = ruleset->nbases; i < ruleset->nlevels; i++)
	{
		const Level *level = &ruleset->levels[i];

		if (level->n - level->nlive > level->n / 2 && level->n > MAX_PENDING && dead == 0)
			dead = i + 1;
	}
	if (newer <= MAX_PENDING && dead == 0)
	{
		if (ruleset->tries > COMPILE_OVERHEAD * TRIES_PER_COMPILED &&
			is_worth_compiling(ruleset, &first))
			compile_levels(ruleset, Min(first, MAX_LEVELS - 1));
		return;
	}
	while (first > ruleset->nbases && ruleset->levels[first - 1].nlive <= newer * LEVEL_RATIO)
		newer += ruleset->levels[--first].n;
	if (dead > 0)
		first = Min(first, dead - 1);
	compile_levels(ruleset, Min(first, MAX_LEVELS - 1));
}

static void
add_id(EbRuleSet *ruleset, int *n, int64 id)
{
	if (*n == ruleset->max_ids)
	{
		int			allocated = Max(64, ruleset->max_ids * 2);

		if (ruleset->ids == NULL)
			ruleset->ids = MemoryContextAllocHuge(ruleset->context, allocated * sizeof(int64));
		else
			ruleset->ids = repalloc_huge(ruleset->ids, allocated * sizeof(int64));
		ruleset->max_ids = allocated;
	}
	ruleset->ids[(*n)++] = id;
}

int
eb_ruleset_match(EbRuleSet *ruleset, const JsonbValue *event, const int64 **ids)
{
	const Level *pending = &ruleset->pending;
	int			n = 0;

	settle(ruleset);
	ruleset->tries += pending->nlive + Max(ruleset->nlevels - 1, 0) * TRIES_PER_LEVEL;
	for (int i = 0; i < ruleset->nlevels; i++)
	{
		const Level *level = &ruleset->levels[i];
		const int32 *positions;
		int			matching = eb_pattern_set_match(level->set, ruleset->state, event, &positions);

		for (int k = 0; k < matching; k++)
			if (level->live[positions[k]])
				add_id(ruleset, &n, level->ids[positions[k]]);
	}
	for (int i = 0; i < pending->n; i++)
		if (pending->live[i] && eb_pattern_matches_value(pending->patterns[i], event))
			add_id(ruleset, &n, pending->ids[i]);

	if (n > 1)
		qsort(ruleset->ids, n, sizeof(int64), compare_ids);
	*ids = ruleset->ids;
	return n;
}
