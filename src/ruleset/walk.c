/*-------------------------------------------------------------------------
 *
 * walk.c
 *	  Matching with a set: the scalars that an event has at known paths.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/memutils.h"

#include "compat.h"
#include "json/container.h"
#include "ruleset/match.h"

static void walk_value(EbSetMatcher *matcher, uint32 node_id,
					   const JsonbValue *value, bool in_array);

static void
add_leaf(EbSetMatcher *matcher, uint32 node_id, const JsonbValue *value, bool in_array)
{
	EbMatchState *state = matcher->state;
	EbNodeState *node = &state->nodes[node_id];
	int			n = matcher->nleaves;

	if ((matcher->nodes[node_id].flags & EB_SET_NODE_FIELD) == 0)
		return;
	if (n == state->max_leaves)
	{
		uint32		allocated = Max(64, state->max_leaves * 2);

		if (state->leaves == NULL)
			state->leaves = MemoryContextAllocHuge(state->context, allocated * sizeof(EbLeaf));
		else
			state->leaves = repalloc_huge(state->leaves, allocated * sizeof(EbLeaf));
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
	return eb_same_bytes(eb_set_at(set, child->key), key, len) ? 0 :
		memcmp(eb_set_at(set, child->key), key, len);
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
find_dotted(EbSetMatcher *matcher, const EbSetNode *node, const char *key, uint32 len,
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
walk_container(EbSetMatcher *matcher, uint32 node_id, const JsonbContainer *object, bool in_array)
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

		CHECK_FOR_INTERRUPTS();
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
walk_pairs(EbSetMatcher *matcher, uint32 node_id, const JsonbValue *object, bool in_array)
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
walk_array(EbSetMatcher *matcher, uint32 node_id, const JsonbValue *value)
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
walk_value(EbSetMatcher *matcher, uint32 node_id, const JsonbValue *value, bool in_array)
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

void
eb_set_walk(EbSetMatcher *matcher)
{
	walk_value(matcher, 0, matcher->event, false);
}
