/*-------------------------------------------------------------------------
 *
 * match.c
 *	  One event against a compiled set of patterns; set.h tells how.
 *
 * The event is walked once, and the scalars at known paths are noted.  Then
 * their keys are looked up, which gives access predicates; then the trie of
 * each of these that holds is run through.  Nothing is allocated for an event but what the state
 * keeps: arrays with a place for each node, predicate and pattern of the set.
 * They are never cleared: a place is valid if it carries the number of the
 * current event.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "common/hashfn.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/numeric.h"

#include "compat.h"
#include "json/container.h"
#include "pattern/address.h"
#include "pattern/casefold.h"
#include "pattern/match.h"
#include "ruleset/set.h"

/* What is known of a predicate, below the number of the event. */
#define MEMO_FALSE		1
#define MEMO_TRUE		2
#define MEMO_VALUE		3
#define MEMO_FOUND		4		/* it is among those whose tries are run through */
#define MEMO_BITS		3
#define MAX_GENERATION	(UINT32_MAX >> MEMO_BITS)

/* A scalar of the event. */
typedef struct Leaf
{
	JsonbValue	value;
	double		number;			/* about; set where the node has ranges */
	uint32		node;
	int32		next;			/* of the same node, or -1 */
} Leaf;

typedef struct NodeState
{
	uint32		leaf_generation;	/* there are leaves */
	uint32		array_generation;	/* an array was met here */
	int32		first;
	int32		last;
	bool		below_array;
} NodeState;

struct EbMatchState
{
	MemoryContext context;
	uint32		generation;		/* of the event: 1 .. MAX_GENERATION */
	uint32		max_nodes;
	uint32		max_predicates;
	uint32		max_patterns;
	uint32		max_leaves;
	NodeState  *nodes;
	uint32	   *predicates;		/* generation and MEMO bits */
	uint32	   *found;			/* access predicates */
	uint32	   *patterns;		/* generation in which it was decided */
	int32	   *positions;		/* of those that match */
	Leaf	   *leaves;
	StringInfoData folded;
};

/* A key to be looked up. */
typedef struct LookUp
{
	EbHash		hash;
	const char *key;
	uint32		len;
	uint32		node;
	EbKeyKind	kind;
	uint32		slot;			/* where it may be */
	EbCidr		own;			/* place for a key that is not in the event */
} LookUp;

/* So many are looked up at once, while memory is being waited for. */
#define MAX_LOOKUPS 32

typedef struct Matcher
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
	LookUp		lookups[MAX_LOOKUPS];
} Matcher;

#if defined(__GNUC__)
#define prefetch(address) __builtin_prefetch(address)
#else
#define prefetch(address) ((void) (address))
#endif

static void walk_value(Matcher *matcher, uint32 node_id,
					   const JsonbValue *value, bool in_array);

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

/* Gives an array room for n elements, all zero; true if it was replaced. */
static void
reserve(EbMatchState *state, void **array, uint32 *allocated, uint32 n, Size size)
{
	if (n <= *allocated)
		return;
	n = Max(n, *allocated + *allocated / 2);
	if (*array != NULL)
		pfree(*array);
	*array = NULL;
	*allocated = 0;
	*array = MemoryContextAllocExtended(state->context, n * size,
										MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	*allocated = n;
}

/* Makes room for a set and begins a new event. */
static void
begin_event(EbMatchState *state, const EbPatternSet *set)
{
	reserve(state, (void **) &state->nodes, &state->max_nodes,
			set->nnodes, sizeof(NodeState));
	if (set->npredicates > state->max_predicates)
	{
		uint32		allocated = state->max_predicates;

		reserve(state, (void **) &state->predicates, &allocated,
				set->npredicates, sizeof(uint32));
		reserve(state, (void **) &state->found, &state->max_predicates,
				set->npredicates, sizeof(uint32));
	}
	if (set->npatterns > state->max_patterns)
	{
		uint32		allocated = state->max_patterns;

		reserve(state, (void **) &state->patterns, &allocated,
				set->npatterns, sizeof(uint32));
		reserve(state, (void **) &state->positions, &state->max_patterns,
				set->npatterns, sizeof(int32));
	}

	if (state->generation == MAX_GENERATION)
	{
		memset(state->nodes, 0, state->max_nodes * sizeof(NodeState));
		memset(state->predicates, 0, state->max_predicates * sizeof(uint32));
		memset(state->patterns, 0, state->max_patterns * sizeof(uint32));
		state->generation = 0;
	}
	state->generation++;
}

/* ---------- The walk over the event ---------- */

static void
add_leaf(Matcher *matcher, uint32 node_id, const JsonbValue *value, bool in_array)
{
	EbMatchState *state = matcher->state;
	NodeState  *node = &state->nodes[node_id];
	int			n = matcher->nleaves;

	if ((matcher->nodes[node_id].flags & EB_SET_NODE_FIELD) == 0)
		return;
	if (n == state->max_leaves)
	{
		uint32		allocated = Max(64, state->max_leaves * 2);

		if (state->leaves == NULL)
			state->leaves = MemoryContextAllocHuge(state->context, allocated * sizeof(Leaf));
		else
			state->leaves = repalloc_huge(state->leaves, allocated * sizeof(Leaf));
		state->max_leaves = allocated;
	}
	state->leaves[n].value = *value;
	state->leaves[n].node = node_id;
	state->leaves[n].next = -1;
	if (value->type == jbvNumeric && (matcher->nodes[node_id].flags & EB_SET_NODE_RANGE))
		state->leaves[n].number = eb_number_approximate(value->val.numeric);
	if (node->leaf_generation == matcher->generation)
	{
		state->leaves[node->last].next = n;
		node->below_array |= in_array;
	}
	else
	{
		node->leaf_generation = matcher->generation;
		node->first = n;
		node->below_array = in_array;
	}
	node->last = n;
	matcher->nleaves++;
}

static inline int
compare_key(const EbPatternSet *set, const EbSetChild *child, const char *key, uint32 len)
{
	if (child->key_len != len)
		return child->key_len < len ? -1 : 1;
	return memcmp(eb_set_at(set, child->key), key, len);
}

/* The first of the node's children, from low on, whose key is not less. */
static uint32
search_children(const EbPatternSet *set, const EbSetNode *node, uint32 low,
				const char *key, uint32 len)
{
	const EbSetChild *children = eb_set_at(set, node->children);
	uint32		high = node->nchildren;

	while (low < high)
	{
		uint32		middle = low + (high - low) / 2;

		if (compare_key(set, &children[middle], key, len) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static bool
find_child(const EbPatternSet *set, const EbSetNode *node, const char *key,
		   uint32 len, uint32 *child)
{
	const EbSetChild *children = eb_set_at(set, node->children);
	uint32		at = search_children(set, node, 0, key, len);

	if (at == node->nchildren || compare_key(set, &children[at], key, len) != 0)
		return false;
	*child = children[at].node;
	return true;
}

/* Is it a name with dots that leads to a path below the node? */
static bool
find_dotted(Matcher *matcher, const EbSetNode *node, const char *key, uint32 len,
			uint32 *below)
{
	const char *end = key + len;

	if ((node->dotted_lengths & EB_LENGTH_BIT(len)) == 0 || memchr(key, '.', len) == NULL)
		return false;
	for (;;)
	{
		const char *dot = memchr(key, '.', end - key);

		if (!find_child(matcher->set, node, key, (dot != NULL ? dot : end) - key, below))
			return false;
		if (dot == NULL)
			break;
		node = &matcher->nodes[*below];
		key = dot + 1;
	}
	matcher->doubtful = true;
	return true;
}

/* Entries of an object for which there is a node. */
typedef struct Found
{
	int			index;
	uint32		node;
} Found;

#define BATCH 32

/*
 * Children and keys are sorted alike, so one pass over both finds the pairs;
 * where there are many more children than keys, each key is searched.  The
 * values' places follow from the lengths of all entries before them; they are
 * added up once.
 */
static void
walk_container(Matcher *matcher, uint32 node_id, const JsonbContainer *object, bool in_array)
{
	const EbPatternSet *set = matcher->set;
	const EbSetNode *node = &matcher->nodes[node_id];
	const EbSetChild *children = eb_set_at(set, node->children);
	const char *base = eb_container_base(object);
	int			nkeys = JsonContainerSize(object);
	bool		search = node->nchildren > 8 * (uint32) nkeys;
	uint32		next = 0;
	uint32		key_offset = 0;
	uint32		value_offset = 0;
	int			value_index = -1;
	int			i = 0;

	while (i < nkeys)
	{
		Found		found[BATCH];
		int			n = 0;

		for (; i < nkeys && n < BATCH; i++)
		{
			uint32		start = key_offset;
			uint32		len = eb_container_step(object, i, &key_offset);
			const char *key = base + start;
			int			order = 1;

			if (search)
				next = search_children(set, node, next, key, len);
			for (; next < node->nchildren; next++)
			{
				order = compare_key(set, &children[next], key, len);
				if (order >= 0)
					break;
			}
			if (next < node->nchildren && order == 0)
			{
				found[n].index = i;
				found[n++].node = children[next++].node;
			}
			else if (find_dotted(matcher, node, key, len, &found[n].node))
				found[n++].index = i;
			else if (next == node->nchildren && node->dotted_lengths == 0)
				i = nkeys;
		}

		for (int k = 0; k < n; k++)
		{
			JsonbValue	value;
			uint32		start;
			uint32		len;

			if (value_index < 0)
			{
				value_index = nkeys;
				value_offset = getJsonbOffset(object, nkeys);
			}
			while (value_index < nkeys + found[k].index)
				(void) eb_container_step(object, value_index++, &value_offset);
			start = value_offset;
			len = eb_container_step(object, value_index++, &value_offset);
			eb_container_fill(object, nkeys + found[k].index, base, start, len, &value);
			walk_value(matcher, found[k].node, &value, in_array);
		}
	}
}

static void
walk_pairs(Matcher *matcher, uint32 node_id, const JsonbValue *object, bool in_array)
{
	const EbSetNode *node = &matcher->nodes[node_id];

	for (int i = 0; i < object->val.object.nPairs; i++)
	{
		const JsonbPair *pair = &object->val.object.pairs[i];
		const char *key = pair->key.val.string.val;
		uint32		len = pair->key.val.string.len;
		uint32		below;

		if (find_child(matcher->set, node, key, len, &below) ||
			find_dotted(matcher, node, key, len, &below))
			walk_value(matcher, below, &pair->value, in_array);
	}
}

static void
walk_array(Matcher *matcher, uint32 node_id, const JsonbValue *value)
{
	matcher->state->nodes[node_id].array_generation = matcher->generation;
	if (value->type == jbvArray)
	{
		for (int i = 0; i < value->val.array.nElems; i++)
			walk_value(matcher, node_id, &value->val.array.elems[i], true);
	}
	else
	{
		const JsonbContainer *array = value->val.binary.data;
		const char *base = eb_container_base(array);
		int			count = JsonContainerSize(array);
		uint32		offset = 0;

		for (int i = 0; i < count; i++)
		{
			uint32		start = offset;
			uint32		len = eb_container_step(array, i, &offset);
			JsonbValue	element;

			CHECK_FOR_INTERRUPTS();
			eb_container_fill(array, i, base, start, len, &element);
			walk_value(matcher, node_id, &element, true);
		}
	}
}

static void
walk_value(Matcher *matcher, uint32 node_id, const JsonbValue *value, bool in_array)
{
	if (value->type != jbvBinary && value->type != jbvObject && value->type != jbvArray)
	{
		add_leaf(matcher, node_id, value, in_array);
		return;
	}

	check_stack_depth();
	if (eb_value_is_array(value))
		walk_array(matcher, node_id, value);
	else if (matcher->nodes[node_id].nchildren == 0)
		return;
	else if (value->type == jbvObject)
		walk_pairs(matcher, node_id, value, in_array);
	else
		walk_container(matcher, node_id, value->val.binary.data, in_array);
}

/* ---------- Predicates, tries, results ---------- */

/*
 * Does the leaf lie in the range?  Only close to the bounds the numbers
 * themselves are compared.
 */
static bool
in_range(const EbSetPredicate *predicate, const EbValues *values, const Leaf *leaf)
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
evaluate(Matcher *matcher, uint32 predicate_id)
{
	const EbSetPredicate *predicate = &matcher->predicates[predicate_id];
	EbMatchState *state = matcher->state;
	const NodeState *node = &state->nodes[predicate->node];
	bool		has_leaf = node->leaf_generation == matcher->generation;
	uint32	   *memo = &state->predicates[predicate_id];
	bool		result = false;

	if (has_leaf)
	{
		const EbValues *values = eb_set_at(matcher->set, predicate->values);

		for (int32 i = node->first; i >= 0 && !result; i = state->leaves[i].next)
			result = (predicate->flags & EB_PREDICATE_RANGE) ?
				in_range(predicate, values, &state->leaves[i]) :
				eb_values_match((const EbProgram *) values, values, &state->leaves[i].value);
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
holds(Matcher *matcher, uint32 predicate_id)
{
	uint32		memo = matcher->state->predicates[predicate_id];

	if (memo >> MEMO_BITS == matcher->generation && (memo & MEMO_VALUE) != 0)
		return (memo & MEMO_TRUE) != 0;
	return evaluate(matcher, predicate_id);
}

/* Must the matcher decide on a conjunction all of whose predicates hold? */
static inline bool
is_undecided(Matcher *matcher, uint32 class_id)
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
report(Matcher *matcher, uint32 position, uint32 class_id)
{
	EbMatchState *state = matcher->state;

	if (state->patterns[position] == matcher->generation)
		return;
	state->patterns[position] = matcher->generation;
	if (!is_undecided(matcher, class_id) ||
		eb_pattern_matches_value(eb_set_pattern(matcher->set, position), matcher->event))
		state->positions[matcher->nmatching++] = position;
}

/* An access predicate may hold, or does if that is proven. */
static inline void
found(Matcher *matcher, uint32 predicate_id, bool proven)
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

/* Which of the conjunctions of an access predicate hold? */
static void
run_trie(Matcher *matcher, uint32 predicate_id)
{
	const EbSetPredicate *predicate = &matcher->predicates[predicate_id];
	const uint32 *memos = matcher->state->predicates;
	uint32		proven = (matcher->generation << MEMO_BITS) | MEMO_TRUE;
	uint32		end = predicate->end_entry;

	if (!holds(matcher, predicate_id))
		return;
	for (uint32 at = predicate->first_entry; at < end;)
	{
		const EbSetEntry *entry = &matcher->entries[at];
		bool		holding;

		if (entry->what & EB_ENTRY_PATTERN)
		{
			report(matcher, entry->what & ~EB_ENTRY_PATTERN, entry->next);
			at++;
			continue;
		}
		if (entry->what & EB_ENTRY_EXACT)
			holding = (memos[entry->what & EB_ENTRY_NUMBER] & ~MEMO_FOUND) == proven;
		else
			holding = holds(matcher, entry->what);
		at = holding ? at + 1 : entry->next;
	}
}

/* ---------- Keys ---------- */

/* The next slot, from one on, that may hold the key; false if there is none. */
static inline bool
find_slot(const Matcher *matcher, LookUp *lookup)
{
	uint8		tag = EB_KEY_TAG(lookup->hash);

	for (;; lookup->slot = (lookup->slot + 1) & matcher->set->mask)
	{
		if (matcher->tags[lookup->slot] == tag)
			return true;
		if (matcher->tags[lookup->slot] == 0)
			return false;
	}
}

/* Takes up what a posting says. */
static void
take_posting(Matcher *matcher, const EbSetPosting *posting)
{
	for (uint32 i = 0; i < posting->npredicates; i++)
	{
		uint32		what = posting->predicates[i];

		if (what & EB_POSTING_NOTED)
			matcher->state->predicates[what & EB_POSTING_NUMBER] =
				(matcher->generation << MEMO_BITS) | MEMO_TRUE;
		else
		{
			prefetch(&matcher->predicates[what & EB_POSTING_NUMBER]);
			found(matcher, what & EB_POSTING_NUMBER, (what & EB_POSTING_PROVEN) != 0);
		}
	}
}

/*
 * Looks up what has been queued, step by step, so that the memory that one
 * look-up needs is on its way while the others are served.
 */
static void
look_up_queued(Matcher *matcher)
{
	const EbPatternSet *set = matcher->set;
	const uint32 *postings = eb_set_at(set, set->postings);
	LookUp	   *hits[MAX_LOOKUPS];
	int			nhits = 0;

	for (int i = 0; i < matcher->nlookups; i++)
		if (find_slot(matcher, &matcher->lookups[i]))
		{
			hits[nhits++] = &matcher->lookups[i];
			prefetch(&postings[matcher->lookups[i].slot]);
		}
	for (int i = 0; i < nhits; i++)
		prefetch(eb_set_at(set, postings[hits[i]->slot]));
	for (int i = 0; i < nhits; i++)
	{
		LookUp	   *hit = hits[i];

		do
		{
			const EbSetPosting *posting = eb_set_at(set, postings[hit->slot]);

			if (posting->node == hit->node && posting->kind == hit->kind &&
				posting->len == hit->len &&
				memcmp(&posting->predicates[posting->npredicates], hit->key, hit->len) == 0)
			{
				take_posting(matcher, posting);
				break;
			}
			hit->slot = (hit->slot + 1) & set->mask;
		} while (find_slot(matcher, hit));
	}
	matcher->nlookups = 0;
}

/* Queues a key, which has to stay until it is looked up. */
static inline LookUp *
look_up(Matcher *matcher, uint32 node_id, EbKeyKind kind, EbHash hash,
		const char *key, uint32 len)
{
	LookUp	   *lookup;

	if (matcher->nlookups == MAX_LOOKUPS)
		look_up_queued(matcher);
	lookup = &matcher->lookups[matcher->nlookups++];
	lookup->hash = hash;
	lookup->slot = hash & matcher->set->mask;
	prefetch(&matcher->tags[lookup->slot]);
	lookup->node = node_id;
	lookup->kind = kind;
	lookup->key = key;
	lookup->len = len;
	return lookup;
}

static void
look_up_key(Matcher *matcher, uint32 node_id, EbKeyKind kind, const char *key, uint32 len)
{
	look_up(matcher, node_id, kind, eb_hash_key(node_id, kind, key, len), key, len);
}

/* The same for a key that does not stay. */
static void
look_up_own_key(Matcher *matcher, uint32 node_id, EbKeyKind kind, const void *key, uint32 len)
{
	LookUp	   *lookup = look_up(matcher, node_id, kind,
								 eb_hash_key(node_id, kind, key, len), key, len);

	memcpy(&lookup->own, key, len);
	lookup->key = (const char *) &lookup->own;
}

/* The beginnings, or ends, of a string that are as long as some key. */
static void
look_up_parts(Matcher *matcher, uint32 node_id, EbKeyKind kind, const char *str, uint32 len)
{
	const EbSetList *list = &matcher->nodes[node_id].lengths[kind];
	const uint32 *lengths = eb_set_at(matcher->set, list->offset);
	bool		suffix = eb_key_is_suffix(kind);
	const char *end = str + len;
	EbHash		hash = eb_hash_start(node_id, kind);
	uint32		done = 0;

	for (uint32 i = 0; i < list->count && lengths[i] <= len; i++)
	{
		uint32		part = lengths[i];

		for (; part - done >= 8; done += 8)
			hash = eb_hash_mix(hash, eb_hash_word(suffix ? end - done - 8 : str + done));
		look_up(matcher, node_id, kind,
				eb_hash_finish(hash, eb_hash_rest(suffix ? end - part : str + done, part - done), part),
				suffix ? end - part : str, part);
	}
}

static void
look_up_grams(Matcher *matcher, uint32 node_id, const char *str, uint32 len)
{
	const EbSetList *list = &matcher->nodes[node_id].lengths[EB_KEY_GRAM];
	const uint32 *lengths = eb_set_at(matcher->set, list->offset);

	for (uint32 i = 0; i < list->count; i++)
		for (uint32 at = 0; at + lengths[i] <= len; at++)
			look_up_key(matcher, node_id, EB_KEY_GRAM, str + at, lengths[i]);
}

static void
look_up_address(Matcher *matcher, uint32 node_id, const char *str, uint32 len)
{
	const EbSetList *list = &matcher->nodes[node_id].lengths[EB_KEY_ADDRESS];
	const uint32 *widths = eb_set_at(matcher->set, list->offset);
	EbCidr		address;

	if (!eb_parse_address(str, len, &address))
		return;
	for (uint32 i = 0; i < list->count; i++)
	{
		EbCidr		block = address;

		if ((widths[i] >> 8) != address.is_v6)
			continue;
		block.bits = widths[i] & 0xFF;
		for (int k = 0; k < 16; k++)
			if (k * 8 + 8 > block.bits)
				block.address[k] &= k * 8 >= block.bits ? 0 : 0xFF << (8 - block.bits % 8);
		look_up_own_key(matcher, node_id, EB_KEY_ADDRESS, &block, sizeof(block));
	}
}

/* The form of the string in which case does not count. */
static void
fold(StringInfo folded, const char *str, uint32 len)
{
	resetStringInfo(folded);
	enlargeStringInfo(folded, len);
	for (uint32 i = 0; i < len; i++)
	{
		if (IS_HIGHBIT_SET(str[i]))
		{
			resetStringInfo(folded);
			eb_casefold_key(folded, str, len);
			return;
		}
		folded->data[i] = str[i] >= 'a' && str[i] <= 'z' ? str[i] - ('a' - 'A') : str[i];
	}
	folded->len = len;
}

static void
look_up_string(Matcher *matcher, uint32 node_id, uint32 kinds, const char *str, uint32 len)
{
	const uint32 folded_kinds = EB_KEY_BIT(EB_KEY_FOLDED) |
		EB_KEY_BIT(EB_KEY_FOLDED_PREFIX) | EB_KEY_BIT(EB_KEY_FOLDED_SUFFIX);

	if (kinds & EB_KEY_BIT(EB_KEY_STRING))
		look_up_key(matcher, node_id, EB_KEY_STRING, str, len);
	if (kinds & EB_KEY_BIT(EB_KEY_PREFIX))
		look_up_parts(matcher, node_id, EB_KEY_PREFIX, str, len);
	if (kinds & EB_KEY_BIT(EB_KEY_SUFFIX))
		look_up_parts(matcher, node_id, EB_KEY_SUFFIX, str, len);
	if (kinds & EB_KEY_BIT(EB_KEY_GRAM))
		look_up_grams(matcher, node_id, str, len);
	if (kinds & EB_KEY_BIT(EB_KEY_ADDRESS))
		look_up_address(matcher, node_id, str, len);
	if (kinds & folded_kinds)
	{
		StringInfo	folded = &matcher->state->folded;

		/* the string before it may be waiting to be looked up */
		look_up_queued(matcher);
		fold(folded, str, len);
		if (kinds & EB_KEY_BIT(EB_KEY_FOLDED))
			look_up_key(matcher, node_id, EB_KEY_FOLDED, folded->data, folded->len);
		if (kinds & EB_KEY_BIT(EB_KEY_FOLDED_PREFIX))
			look_up_parts(matcher, node_id, EB_KEY_FOLDED_PREFIX, folded->data, folded->len);
		if (kinds & EB_KEY_BIT(EB_KEY_FOLDED_SUFFIX))
			look_up_parts(matcher, node_id, EB_KEY_FOLDED_SUFFIX, folded->data, folded->len);
	}
}

/* Finds the ranges that may hold a number. */
static void
look_up_ranges(Matcher *matcher, const EbSetList *list, double number)
{
	const EbSetRange *ranges = eb_set_at(matcher->set, list->offset);
	const double *uppers = (const double *) &ranges[list->count];
	uint32		low = 0;
	uint32		high = list->count;

	/* those from low on begin above the number */
	while (low < high)
	{
		uint32		middle = low + (high - low) / 2;

		if (ranges[middle].lower <= number)
			low = middle + 1;
		else
			high = middle;
	}
	for (uint32 block = 0; block < eb_range_blocks(low); block++)
	{
		if (uppers[block] < number)
			continue;
		for (uint32 i = block * EB_RANGE_BLOCK; i < Min(low, (block + 1) * EB_RANGE_BLOCK); i++)
			if (ranges[i].upper >= number)
				found(matcher, ranges[i].predicate, false);
	}
}

static void
look_up_number(Matcher *matcher, uint32 node_id, const EbSetNode *node, Numeric number)
{
	if (node->kinds & EB_KEY_BIT(EB_KEY_NUMBER))
	{
		uint32		hash = DatumGetUInt32(DirectFunctionCall1(hash_numeric,
															  NumericGetDatum(number)));

		look_up_own_key(matcher, node_id, EB_KEY_NUMBER, &hash, sizeof(hash));
	}
	if (node->ranges.count > 0)
	{
		double		approximate = eb_number_approximate(number);

		if (!isnan(approximate))
			look_up_ranges(matcher, &node->ranges, approximate);
	}
}

static void
look_up_leaf(Matcher *matcher, const JsonbValue *value, uint32 node_id, bool first)
{
	const EbSetNode *node = &matcher->nodes[node_id];

	/* whatever these are asked, they are asked of all leaves of the node */
	if (first && node->asked.count > 0)
	{
		const uint32 *asked = eb_set_at(matcher->set, node->asked.offset);

		for (uint32 i = 0; i < node->asked.count; i++)
			found(matcher, asked[i], false);
	}

	switch (value->type)
	{
		case jbvString:
			if (node->kinds != 0)
				look_up_string(matcher, node_id, node->kinds,
							   value->val.string.val, value->val.string.len);
			break;
		case jbvNumeric:
			look_up_number(matcher, node_id, node, value->val.numeric);
			break;
		case jbvBool:
		case jbvNull:
			{
				EbKeyKind	kind = value->type == jbvNull ? EB_KEY_NULL :
					value->val.boolean ? EB_KEY_TRUE : EB_KEY_FALSE;

				if (node->kinds & EB_KEY_BIT(kind))
					look_up_key(matcher, node_id, kind, "", 0);
				break;
			}
		default:
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
	Matcher		matcher;
	const uint32 *absent;

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

	walk_value(&matcher, 0, event, false);
	for (int i = 0; i < matcher.nleaves; i++)
	{
		uint32		node = state->leaves[i].node;

		CHECK_FOR_INTERRUPTS();
		look_up_leaf(&matcher, &state->leaves[i].value, node,
					 state->nodes[node].first == i);
	}
	look_up_queued(&matcher);
	absent = eb_set_at(set, set->absent);
	for (uint32 i = 0; i < set->nabsent; i++)
		found(&matcher, absent[i], false);

	for (int i = 0; i < matcher.nfound; i++)
	{
		const EbSetPredicate *predicate = &matcher.predicates[state->found[i]];

		prefetch(&matcher.entries[predicate->first_entry]);
		prefetch(eb_set_at(set, predicate->values));
	}
	for (int i = 0; i < matcher.nfound; i++)
	{
		CHECK_FOR_INTERRUPTS();
		run_trie(&matcher, state->found[i]);
	}

	if (matcher.nmatching > 1)
		qsort(state->positions, matcher.nmatching, sizeof(int32), compare_positions);
	return matcher.nmatching;
}
