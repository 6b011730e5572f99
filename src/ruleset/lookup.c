/*-------------------------------------------------------------------------
 *
 * lookup.c
 *	  Matching with a set: which access predicates may hold, by the keys of
 *	  the event's values.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/numeric.h"

#include "compat.h"
#include "pattern/address.h"
#include "pattern/casefold.h"
#include "ruleset/match.h"

/* The next slot, from one on, that may hold the key; false if there is none. */
static inline bool
find_slot(const EbSetMatcher *matcher, EbLookUp *lookup)
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
take_posting(EbSetMatcher *matcher, const EbSetPosting *posting)
{
	for (uint32 i = 0; i < posting->npredicates; i++)
	{
		uint32		what = posting->predicates[i];

		if (what & EB_POSTING_NOTED)
			matcher->state->predicates[what & EB_POSTING_NUMBER] =
				(matcher->generation << MEMO_BITS) | MEMO_TRUE;
		else
		{
			eb_prefetch(&matcher->predicates[what & EB_POSTING_NUMBER]);
			note_found(matcher, what & EB_POSTING_NUMBER, (what & EB_POSTING_PROVEN) != 0);
		}
	}
}

/*
 * Looks up what has been queued, step by step, so that the memory that one
 * look-up needs is on its way while the others are served.
 */
static void
look_up_queued(EbSetMatcher *matcher)
{
	const EbPatternSet *set = matcher->set;
	const uint32 *postings = eb_set_at(set, set->postings);
	EbLookUp   *hits[MAX_LOOKUPS];
	int			nhits = 0;

	for (int i = 0; i < matcher->nlookups; i++)
		if (find_slot(matcher, &matcher->lookups[i]))
		{
			hits[nhits++] = &matcher->lookups[i];
			eb_prefetch(&postings[matcher->lookups[i].slot]);
		}
	for (int i = 0; i < nhits; i++)
		eb_prefetch(eb_set_at(set, postings[hits[i]->slot]));
	for (int i = 0; i < nhits; i++)
	{
		EbLookUp   *hit = hits[i];

		do
		{
			const EbSetPosting *posting = eb_set_at(set, postings[hit->slot]);

			if (posting->node == hit->node && posting->kind == hit->kind &&
				posting->len == hit->len &&
				eb_same_bytes((const char *) &posting->predicates[posting->npredicates],
							  hit->key, hit->len))
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
static inline EbLookUp *
look_up(EbSetMatcher *matcher, uint32 node_id, EbKeyKind kind, EbHash hash,
		const char *key, uint32 len)
{
	EbLookUp   *lookup;

	if (matcher->nlookups == MAX_LOOKUPS)
	{
		CHECK_FOR_INTERRUPTS();
		look_up_queued(matcher);
	}
	lookup = &matcher->lookups[matcher->nlookups++];
	lookup->hash = hash;
	lookup->slot = hash & matcher->set->mask;
	eb_prefetch(&matcher->tags[lookup->slot]);
	lookup->node = node_id;
	lookup->kind = kind;
	lookup->key = key;
	lookup->len = len;
	return lookup;
}

static void
look_up_key(EbSetMatcher *matcher, uint32 node_id, EbKeyKind kind, const char *key, uint32 len)
{
	look_up(matcher, node_id, kind, eb_hash_key(node_id, kind, key, len), key, len);
}

/* The same for a key that does not stay. */
static void
look_up_own_key(EbSetMatcher *matcher, uint32 node_id, EbKeyKind kind, const void *key, uint32 len)
{
	EbLookUp   *lookup = look_up(matcher, node_id, kind,
								 eb_hash_key(node_id, kind, key, len), key, len);

	memcpy(&lookup->own, key, len);
	lookup->key = (const char *) &lookup->own;
}

/* The beginnings, or ends, of a string that are as long as some key. */
static void
look_up_parts(EbSetMatcher *matcher, uint32 node_id, EbKeyKind kind, const char *str, uint32 len)
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
				eb_hash_finish(hash, eb_hash_rest(suffix ? end - part : str + done, part - done),
							   part),
				suffix ? end - part : str, part);
	}
}

static void
look_up_grams(EbSetMatcher *matcher, uint32 node_id, const char *str, uint32 len)
{
	const EbSetList *list = &matcher->nodes[node_id].lengths[EB_KEY_GRAM];
	const uint32 *lengths = eb_set_at(matcher->set, list->offset);

	for (uint32 i = 0; i < list->count; i++)
		for (uint32 at = 0; at + lengths[i] <= len; at++)
			look_up_key(matcher, node_id, EB_KEY_GRAM, str + at, lengths[i]);
}

static void
look_up_address(EbSetMatcher *matcher, uint32 node_id, const char *str, uint32 len)
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
look_up_string(EbSetMatcher *matcher, uint32 node_id, uint32 kinds, const char *str, uint32 len)
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
look_up_ranges(EbSetMatcher *matcher, const EbSetList *list, double number)
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
				note_found(matcher, ranges[i].predicate, false);
	}
}

static void
look_up_number(EbSetMatcher *matcher, uint32 node_id, const EbSetNode *node, Numeric number)
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
look_up_leaf(EbSetMatcher *matcher, const JsonbValue *value, uint32 node_id, bool first)
{
	const EbSetNode *node = &matcher->nodes[node_id];

	/* whatever these are asked, they are asked of all leaves of the node */
	if (first && node->asked.count > 0)
	{
		const uint32 *asked = eb_set_at(matcher->set, node->asked.offset);

		for (uint32 i = 0; i < node->asked.count; i++)
			note_found(matcher, asked[i], false);
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

void
eb_set_look_up(EbSetMatcher *matcher)
{
	EbMatchState *state = matcher->state;
	const uint32 *absent = eb_set_at(matcher->set, matcher->set->absent);

	for (int i = 0; i < matcher->nleaves; i++)
	{
		uint32		node = state->leaves[i].node;

		CHECK_FOR_INTERRUPTS();
		look_up_leaf(matcher, &state->leaves[i].value, node, state->nodes[node].first == i);
	}
	look_up_queued(matcher);
	for (uint32 i = 0; i < matcher->set->nabsent; i++)
		note_found(matcher, absent[i], false);
}
