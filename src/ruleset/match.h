/*-------------------------------------------------------------------------
 *
 * match.h
 *	  What the files that match with a set share.
 *
 * walk.c walks the event and notes its values, lookup.c finds access
 * predicates by the keys of the values, and match.c runs their tries.
 *
 *-------------------------------------------------------------------------
 */
#ifndef EB_RULESET_MATCH_H
#define EB_RULESET_MATCH_H

#include "lib/stringinfo.h"
#include "utils/jsonb.h"

#include "ruleset/set.h"

/* What is known of a predicate, below the number of the event. */
#define MEMO_FALSE		1
#define MEMO_TRUE		2
#define MEMO_VALUE		3
#define MEMO_FOUND		4		/* it is among those whose tries are run through */
#define MEMO_BITS		3
#define MAX_GENERATION	(UINT32_MAX >> MEMO_BITS)

/* A scalar of the event. */
typedef struct EbLeaf
{
	JsonbValue	value;
	double		number;			/* about; set where the node has ranges */
	uint32		node;
	int32		next;			/* of the same node, or -1 */
} EbLeaf;

typedef struct EbNodeState
{
	uint32		leaf_generation;	/* there are leaves */
	uint32		array_generation;	/* an array was met here */
	int32		first;
	int32		last;
	bool		below_array;
} EbNodeState;

struct EbMatchState
{
	MemoryContext context;
	uint32		generation;		/* of the event: 1 .. MAX_GENERATION */
	uint32		max_nodes;
	uint32		max_predicates;
	uint32		max_patterns;
	uint32		max_leaves;
	EbNodeState *nodes;
	uint32	   *predicates;		/* generation and MEMO bits */
	uint32	   *found;			/* access predicates */
	uint32	   *patterns;		/* generation in which it was decided */
	int32	   *positions;		/* of those that match */
	EbLeaf	   *leaves;
	StringInfoData folded;
};

/* A key to be looked up. */
typedef struct EbLookUp
{
	EbHash		hash;
	const char *key;
	uint32		len;
	uint32		node;
	EbKeyKind	kind;
	uint32		slot;			/* where it may be */
	EbCidr		own;			/* place for a key that is not in the event */
} EbLookUp;

/* So many are looked up at once, while memory is being waited for. */
#define MAX_LOOKUPS 32

typedef struct EbSetMatcher
{
	const EbPatternSet *set;
	EbMatchState *state;
	const JsonbValue *event;
	const EbSetNode *nodes;
	const EbSetPredicate *predicates;
	const EbSetEntry *entries;
	uint32		generation;
	const uint8 *tags;
	int			nleaves;
	int			nlookups;
	int			nfound;
	int			nmatching;
	bool		doubtful;		/* the matcher decides whatever is found from here on */
	EbLookUp	lookups[MAX_LOOKUPS];
} EbSetMatcher;

#if defined(__GNUC__)
#define prefetch(address) __builtin_prefetch(address)
#else
#define prefetch(address) ((void) (address))
#endif

/* An access predicate may hold, or does if that is proven. */
static inline void
note_found(EbSetMatcher *matcher, uint32 predicate_id, bool proven)
{
	EbMatchState *state = matcher->state;
	uint32	   *memo = &state->predicates[predicate_id];

	if (*memo >> MEMO_BITS != matcher->generation)
		*memo = matcher->generation << MEMO_BITS;
	if (proven)
		*memo |= MEMO_TRUE;
	if ((*memo & MEMO_FOUND) == 0)
	{
		*memo |= MEMO_FOUND;
		state->found[matcher->nfound++] = predicate_id;
	}
}

/* walk.c */
extern void eb_set_walk(EbSetMatcher *matcher);

/* lookup.c */
extern void eb_set_look_up(EbSetMatcher *matcher);

#endif							/* EB_RULESET_MATCH_H */
