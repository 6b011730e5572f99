/*-------------------------------------------------------------------------
 *
 * choose.c
 *	  Building a set: how each conjunction will be found, and in which order
 *	  its predicates are looked at.
 *
 * How often a predicate will hold is not known.  The patterns themselves are
 * taken for a sample of the values: what many rules name is frequent.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"

#include "compat.h"
#include "ruleset/build.h"

/*
 * Predicates of nothing but strings are told by keys where a path has at
 * least, and a string at most, so many of them.
 */
#define MIN_NOTED 5
#define MAX_NOTED 64

static EbKeyCount *
find_key(EbBuilder *builder, uint32 node, const EbKey *key)
{
	bool		found;
	uint32		number = eb_builder_number(builder->key_names, node, key->kind, key->bytes,
										   key->len, false, builder->keys.n, &found);

	if (!found)
		(void) eb_array_append(&builder->keys, sizeof(EbKeyCount));
	return &((EbKeyCount *) builder->keys.data)[number];
}

static void
count_keys(EbBuilder *builder)
{
	for (uint32 p = 0; p < builder->predicates.n; p++)
	{
		EbBuildPredicate *predicate = PREDICATE(builder, p);
		EbAlternatives *alternatives = &predicate->alternatives;

		CHECK_FOR_INTERRUPTS();
		eb_find_alternatives(predicate->program,
							 eb_program_at(predicate->program, predicate->values), alternatives);
		for (uint32 i = 0; i < alternatives->n; i++)
			for (uint32 k = 0; k < alternatives->items[i].nkeys; k++)
				find_key(builder, predicate->node, &alternatives->items[i].keys[k])->refs +=
					predicate->refs;
	}
}

/*
 * How often may a value have the key?  The patterns themselves are taken as
 * the sample: values that many rules name are taken for frequent.  Short keys
 * are frequent anyway.
 */
static double
key_likelihood(EbBuilder *builder, uint32 node, const EbKey *key)
{
	double		seen = (double) find_key(builder, node, key)->refs /
		(NODE(builder, node)->refs + 10.0);
	double		least = 0;

	switch (key->kind)
	{
		case EB_KEY_TRUE:
		case EB_KEY_FALSE:
		case EB_KEY_NULL:
			least = 0.3;
			break;
		case EB_KEY_PREFIX:
		case EB_KEY_SUFFIX:
		case EB_KEY_FOLDED_PREFIX:
		case EB_KEY_FOLDED_SUFFIX:
			least = key->len == 1 ? 0.2 : key->len == 2 ? 0.05 : 0;
			break;
		case EB_KEY_GRAM:
			/* costs a look-up for each byte of the value, too */
			least = key->len == 1 ? 0.5 : key->len == 2 ? 0.2 : 0.03;
			break;
		case EB_KEY_ADDRESS:
			least = 1.0 / (1 << Min(((const EbCidr *) key->bytes)->bits / 2, 20));
			break;
		default:
			break;
	}
	return Max(seen, least);
}

/* Of the keys of an alternative the least frequent. */
static const EbKey *
choose_key(EbBuilder *builder, uint32 node, const EbAlternative *alternative, double *likelihood)
{
	const EbKey *best = NULL;

	for (uint32 k = 0; k < alternative->nkeys; k++)
	{
		const EbKey *key = &alternative->keys[k];
		double		one = key_likelihood(builder, node, key);

		if (best == NULL || one < *likelihood)
		{
			best = key;
			*likelihood = one;
		}
	}
	return best;
}

static void
guess_likelihoods(EbBuilder *builder)
{
	for (uint32 p = 0; p < builder->predicates.n; p++)
	{
		EbBuildPredicate *predicate = PREDICATE(builder, p);
		double		sum = 0;

		CHECK_FOR_INTERRUPTS();
		for (uint32 i = 0; i < predicate->alternatives.n; i++)
		{
			const EbAlternative *alternative = &predicate->alternatives.items[i];
			double		likelihood = 0.9;

			if (alternative->is_range)
				likelihood = 0.4;
			else
				(void) choose_key(builder, predicate->node, alternative, &likelihood);
			sum += likelihood;
		}
		predicate->likelihood = predicate->alternatives.accepts_absence ? 1.0 : Min(sum, 0.95);
	}
}

static inline int
compare_numbers(uint32 a, uint32 b)
{
	return a < b ? -1 : a > b;
}

/* Likely ones last. */
static int
compare_likelihood(const void *a, const void *b, void *arg)
{
	const EbBuildPredicate *pa = PREDICATE((EbBuilder *) arg, *(const uint32 *) a);
	const EbBuildPredicate *pb = PREDICATE((EbBuilder *) arg, *(const uint32 *) b);

	if (pa->likelihood != pb->likelihood)
		return pa->likelihood < pb->likelihood ? -1 : 1;
	return compare_numbers(*(const uint32 *) a, *(const uint32 *) b);
}

/* Those that many conjunctions have first. */
static int
compare_refs(const void *a, const void *b, void *arg)
{
	const EbBuildPredicate *pa = PREDICATE((EbBuilder *) arg, *(const uint32 *) a);
	const EbBuildPredicate *pb = PREDICATE((EbBuilder *) arg, *(const uint32 *) b);

	if (pa->refs != pb->refs)
		return pa->refs > pb->refs ? -1 : 1;
	return compare_numbers(*(const uint32 *) a, *(const uint32 *) b);
}

static void
choose_access(EbBuilder *builder)
{
	EbBuildConjunction *conjunctions = builder->conjunctions.data;

	for (uint32 i = 0; i < builder->conjunctions.n; i++)
	{
		EbBuildConjunction *conjunction = &conjunctions[i];
		uint32	   *members = &MEMBER(builder, conjunction->first);

		CHECK_FOR_INTERRUPTS();
		qsort_arg(members, conjunction->n, sizeof(uint32), compare_likelihood, builder);
		conjunction->access = members[0];
		PREDICATE(builder, conjunction->access)->is_access = true;
		conjunction->first++;
		conjunction->n--;
		if (conjunction->n > EB_SET_MAX_CHECKED)
		{
			conjunction->n = EB_SET_MAX_CHECKED;
			conjunction->class = EB_CLASS_UNDECIDED;
		}
		qsort_arg(members + 1, conjunction->n, sizeof(uint32), compare_refs, builder);
	}
}

/* Is the predicate one of nothing but whole strings? */
static bool
has_only_strings(const EbAlternatives *alternatives)
{
	if (alternatives->n == 0 || alternatives->accepts_absence)
		return false;
	for (uint32 i = 0; i < alternatives->n; i++)
		if (alternatives->items[i].nkeys != 1 ||
			alternatives->items[i].keys[0].kind != EB_KEY_STRING)
			return false;
	return true;
}

/*
 * Decides which predicates are told by their keys alone.  A look-up for each
 * value of the path must pay, and no value may bring along too many of them.
 */
static void
choose_exact(EbBuilder *builder)
{
	for (int round = 0; round < 2; round++)
	{
		for (uint32 p = 0; p < builder->predicates.n; p++)
		{
			EbBuildPredicate *predicate = PREDICATE(builder, p);
			EbBuildNode *node = NODE(builder, predicate->node);
			bool		few = true;

			CHECK_FOR_INTERRUPTS();
			if (!has_only_strings(&predicate->alternatives))
				continue;
			node->nstrings += round == 0;
			for (uint32 i = 0; i < predicate->alternatives.n; i++)
			{
				EbKeyCount *count = find_key(builder, predicate->node,
											 predicate->alternatives.items[i].keys);

				count->nstrings += round == 0;
				few &= count->nstrings <= MAX_NOTED;
			}
			if (round == 1)
				predicate->is_exact = predicate->is_access || (few && node->nstrings >= MIN_NOTED);
		}
	}
}

/* ---------- Tries ---------- */

/* By access predicate, then by the other predicates, then by pattern. */
static int
compare_conjunctions(const void *a, const void *b, void *arg)
{
	const EbBuildConjunction *ca = a;
	const EbBuildConjunction *cb = b;

	if (ca->access != cb->access)
		return compare_numbers(ca->access, cb->access);
	for (uint32 i = 0; i < Min(ca->n, cb->n); i++)
	{
		uint32		ma = MEMBER((EbBuilder *) arg, ca->first + i);
		uint32		mb = MEMBER((EbBuilder *) arg, cb->first + i);

		if (ma != mb)
			return compare_numbers(ma, mb);
	}
	if (ca->n != cb->n)
		return compare_numbers(ca->n, cb->n);
	return compare_numbers(ca->pattern, cb->pattern);
}

/*
 * Writes the trie of sorted conjunctions that agree in their first depth
 * members: first the entries of this level, then what lies below each.
 */
static void
write_trie(EbBuilder *builder, const EbBuildConjunction *conjunctions, uint32 n, uint32 depth)
{
	uint32		at = builder->entries.n;
	uint32		i = 0;

	for (; i < n && conjunctions[i].n == depth; i++)
	{
		EbSetEntry *entry = eb_array_append(&builder->entries, sizeof(EbSetEntry));

		entry->what = EB_ENTRY_PATTERN | conjunctions[i].pattern;
		entry->next = conjunctions[i].class;
	}
	at += i;
	for (uint32 k = i; k < n; k++)
	{
		uint32		member = MEMBER(builder, conjunctions[k].first + depth);

		if (k > i && MEMBER(builder, conjunctions[k - 1].first + depth) == member)
			continue;
		((EbSetEntry *) eb_array_append(&builder->entries, sizeof(EbSetEntry)))->what = member |
			(PREDICATE(builder, member)->is_exact ? EB_ENTRY_EXACT : 0);
	}
	((EbSetEntry *) builder->entries.data)[builder->entries.n - 1].what |= EB_ENTRY_LAST;

	for (uint32 first = i; i < n; first = i, at++)
	{
		uint32		member = MEMBER(builder, conjunctions[first].first + depth);

		while (i < n && MEMBER(builder, conjunctions[i].first + depth) == member)
			i++;
		((EbSetEntry *) builder->entries.data)[at].next = builder->entries.n;
		write_trie(builder, conjunctions + first, i - first, depth + 1);
	}
}

static void
write_tries(EbBuilder *builder)
{
	EbBuildConjunction *conjunctions = builder->conjunctions.data;
	uint32		n = builder->conjunctions.n;

	qsort_arg(conjunctions, n, sizeof(EbBuildConjunction), compare_conjunctions, builder);
	for (uint32 first = 0, i = 0; first < n; first = i)
	{
		EbBuildPredicate *access = PREDICATE(builder, conjunctions[first].access);

		CHECK_FOR_INTERRUPTS();
		while (i < n && conjunctions[i].access == conjunctions[first].access)
			i++;
		access->first_entry = builder->entries.n;
		write_trie(builder, conjunctions + first, i - first, 0);
	}
}

/* ---------- How access predicates are found ---------- */

static void
append_item(EbArray *array, uint32 node, uint32 kind, uint32 value)
{
	EbNodeItem *item = eb_array_append(array, sizeof(EbNodeItem));

	item->node = node;
	item->kind = kind;
	item->value = value;
}

static void
use_key(EbBuilder *builder, uint32 p, const EbKey *key)
{
	uint32		node = PREDICATE(builder, p)->node;
	EbKeyCount *count = find_key(builder, node, key);
	EbKeyUse   *use;

	if (count->posting == 0)
	{
		EbByteName *posting = eb_array_append(&builder->postings, sizeof(EbByteName));

		count->posting = builder->postings.n;
		posting->space1 = node;
		posting->space2 = key->kind;
		posting->len = key->len;
		posting->bytes = key->bytes;
		if (key->kind == EB_KEY_ADDRESS)
		{
			const EbCidr *cidr = (const EbCidr *) key->bytes;

			append_item(&builder->lengths, node, key->kind, (uint32) cidr->is_v6 << 8 | cidr->bits);
		}
		else
			append_item(&builder->lengths, node, key->kind, key->len);
	}
	use = eb_array_append(&builder->uses, sizeof(EbKeyUse));
	use->posting = count->posting - 1;
	use->predicate = p | (key->proven ? EB_POSTING_PROVEN : 0) |
		(PREDICATE(builder, p)->is_access ? 0 : EB_POSTING_NOTED);
}

/* A predicate with one alternative that has no key is asked for every value. */
static void
find_ways(EbBuilder *builder, uint32 p)
{
	EbBuildPredicate *predicate = PREDICATE(builder, p);
	const EbAlternatives *alternatives = &predicate->alternatives;
	double		likelihood = 0;

	if (alternatives->accepts_absence)
	{
		eb_array_append_uint32(&builder->absent, p);
		return;
	}
	for (uint32 i = 0; i < alternatives->n; i++)
		if (!alternatives->items[i].is_range && alternatives->items[i].nkeys == 0)
		{
			append_item(&builder->asked, predicate->node, 0, p);
			return;
		}
	for (uint32 i = 0; i < alternatives->n; i++)
	{
		const EbAlternative *alternative = &alternatives->items[i];

		if (alternative->is_range)
		{
			EbNodeRange *range = eb_array_append(&builder->ranges, sizeof(EbNodeRange));

			range->node = predicate->node;
			range->range.lower = alternative->lower;
			range->range.upper = alternative->upper;
			range->range.predicate = p;
		}
		else
			use_key(builder, p, choose_key(builder, predicate->node, alternative, &likelihood));
	}
}

void
eb_builder_choose(EbBuilder *builder)
{
	builder->key_names = eb_builder_create_names("event pattern set keys");
	count_keys(builder);
	guess_likelihoods(builder);
	choose_access(builder);
	choose_exact(builder);
	write_tries(builder);
	for (uint32 p = 0; p < builder->predicates.n; p++)
		if (PREDICATE(builder, p)->is_access || PREDICATE(builder, p)->is_exact)
			find_ways(builder, p);
}
