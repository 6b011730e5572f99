/*-------------------------------------------------------------------------
 *
 * build.c
 *	  Compiling many patterns into one set; set.h describes what comes out.
 *
 * The steps: collect the tree of paths, the distinct predicates and the
 * conjunctions; count how often each key occurs; choose the access predicate
 * of each conjunction; write.  Everything but the result lives in a memory
 * context of the build.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "miscadmin.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

#include "compat.h"
#include "ruleset/keys.h"

/* ---------- Growing arrays, and numbering of byte strings ---------- */

typedef struct Array
{
	void	   *data;
	uint32		n;
	uint32		allocated;
} Array;

/* The place of a new element, zeroed. */
static void *
append(Array *array, Size size)
{
	void	   *place;

	if (array->n == array->allocated)
	{
		array->allocated = Max(64, array->allocated * 2);
		if (array->data == NULL)
			array->data = MemoryContextAllocHuge(CurrentMemoryContext, array->allocated * size);
		else
			array->data = repalloc_huge(array->data, array->allocated * size);
	}
	place = (char *) array->data + array->n++ * size;
	memset(place, 0, size);
	return place;
}

static void
append_uint32(Array *array, uint32 value)
{
	*(uint32 *) append(array, sizeof(uint32)) = value;
}

/* What is numbered: bytes, in one of several spaces. */
typedef struct ByteName
{
	uint32		space1;
	uint32		space2;
	uint32		len;
	const char *bytes;
} ByteName;

typedef struct NameEntry
{
	ByteName		name;
	uint32		number;
} NameEntry;

static uint32
hash_name(const void *key, Size size)
{
	const ByteName *name = key;

	return (uint32) eb_hash_bytes(eb_hash_mix(name->space1, name->space2), name->bytes, name->len);
}

static int
compare_names(const void *a, const void *b, Size size)
{
	const ByteName *na = a;
	const ByteName *nb = b;

	return !(na->space1 == nb->space1 && na->space2 == nb->space2 && na->len == nb->len &&
			 memcmp(na->bytes, nb->bytes, na->len) == 0);
}

static HTAB *
create_names(const char *title)
{
	HASHCTL		control = {0};

	control.keysize = sizeof(ByteName);
	control.entrysize = sizeof(NameEntry);
	control.hash = hash_name;
	control.match = compare_names;
	control.hcxt = CurrentMemoryContext;
	return hash_create(title, 1024, &control,
					   HASH_ELEM | HASH_FUNCTION | HASH_COMPARE | HASH_CONTEXT);
}

/*
 * The number of a name; a new one gets next.  The bytes must stay, unless
 * copy is given; then a new name gets a copy of them.
 */
static uint32
number_name(HTAB *names, uint32 space1, uint32 space2, const char *bytes, uint32 len,
			bool copy, uint32 next, bool *found)
{
	ByteName		name = {space1, space2, len, bytes};
	NameEntry  *entry = hash_search(names, &name, HASH_ENTER, found);

	if (!*found)
	{
		entry->number = next;
		if (copy)
		{
			char	   *own = palloc(Max(len, 1));

			memcpy(own, bytes, len);
			entry->name.bytes = own;
		}
	}
	return entry->number;
}

/* ---------- What is collected ---------- */

typedef struct PathNode
{
	uint32		parent;
	const char *key;
	uint32		key_len;
	uint32		refs;			/* conjunctions' uses of its predicates */
	uint32		nstrings;		/* predicates of nothing but strings */
	bool		is_field;
} PathNode;

typedef struct Predicate
{
	uint32		node;
	const EbProgram *program;
	uint32		values;
	uint32		refs;			/* conjunctions that have it */
	EbAlternatives alternatives;
	double		likelihood;		/* a guess at how often it holds */
	bool		is_exact;		/* see EB_ENTRY_EXACT */
	bool		is_access;
	uint32		first_entry;
	uint32		end_entry;
} Predicate;

typedef struct Conjunction
{
	uint32		pattern;
	uint32		class;
	uint32		access;
	uint32		first;			/* of its predicates but the access predicate */
	uint32		n;
} Conjunction;

typedef struct KeyCount
{
	uint32		refs;
	uint32		nstrings;		/* predicates of nothing but strings */
	uint32		posting;		/* number among the postings, plus one */
} KeyCount;

/* A key that is written, and a predicate that has it. */
typedef struct KeyUse
{
	uint32		posting;
	uint32		predicate;		/* with EB_POSTING_PROVEN */
} KeyUse;

/* Something that belongs to a node, and is ordered within it. */
typedef struct NodeItem
{
	uint32		node;
	uint32		kind;
	uint32		value;
} NodeItem;

typedef struct NodeRange
{
	uint32		node;
	EbSetRange	range;
} NodeRange;

typedef struct Builder
{
	const EbPattern *const *patterns;
	uint32		npatterns;

	HTAB	   *node_names;
	HTAB	   *predicate_names;
	HTAB	   *class_names;
	HTAB	   *key_names;
	Array		nodes;			/* of PathNode */
	Array		predicates;		/* of Predicate */
	Array		conjunctions;	/* of Conjunction */
	Array		members;		/* uint32: predicates of the conjunctions */
	Array		class_lists;	/* of EbSetList, into class_nodes */
	Array		class_nodes;	/* uint32 */
	Array		keys;			/* of KeyCount */

	Array		entries;		/* of EbSetEntry */
	Array		postings;		/* of ByteName */
	Array		uses;			/* of KeyUse */
	Array		lengths;		/* of NodeItem */
	Array		asked;			/* of NodeItem */
	Array		ranges;			/* of NodeRange */
	Array		absent;			/* uint32 */

	/* of the pattern being read, by number of the program's node */
	uint32	   *node_map;		/* node plus one */
	uint32	   *predicate_map;	/* predicate plus one */
	uint32		map_size;
	StringInfoData text;		/* of a predicate */
	Array		common;			/* uint32: nodes common to several fields */
} Builder;

#define NODE(builder, i)		(&((PathNode *) (builder)->nodes.data)[i])
#define PREDICATE(builder, i)	(&((Predicate *) (builder)->predicates.data)[i])
#define MEMBER(builder, i)		(((uint32 *) (builder)->members.data)[i])

/* ---------- Collecting ---------- */

/* Writes down all that makes up the alternatives, wherever they are stored. */
static void
describe_values(StringInfo out, const EbProgram *program, const EbValues *values)
{
	const EbString *strings = eb_program_at(program, values->strings);
	const uint32 *numbers = eb_program_at(program, values->numbers);
	const EbItem *items = eb_program_at(program, values->items);
	uint32		counts[4] = {values->flags, values->nstrings, values->nnumbers, values->nitems};

	check_stack_depth();
	appendBinaryStringInfo(out, (char *) counts, sizeof(counts));
	for (uint32 i = 0; i < values->nstrings; i++)
	{
		appendBinaryStringInfo(out, (char *) &strings[i].len, sizeof(uint32));
		appendBinaryStringInfo(out, eb_program_at(program, strings[i].offset), strings[i].len);
	}
	for (uint32 i = 0; i < values->nnumbers; i++)
	{
		const struct varlena *number = eb_program_at(program, numbers[i]);

		appendBinaryStringInfo(out, (char *) number, VARSIZE_ANY(number));
	}
	for (uint32 i = 0; i < values->nitems; i++)
	{
		const void *operand = eb_program_at(program, items[i].operand);

		appendBinaryStringInfo(out, (char *) &items[i].kind, sizeof(uint32));
		appendBinaryStringInfo(out, (char *) &items[i].len, sizeof(uint32));
		if (items[i].kind == EB_ITEM_ANYTHING_BUT)
			describe_values(out, program, operand);
		else if (items[i].kind == EB_ITEM_NUMERIC)
		{
			const EbRange *range = operand;
			uint32		bounds[2] = {range->lower, range->upper};
			uint16		flags[4] = {range->lower != 0, range->upper != 0,
			range->lower_inclusive, range->upper_inclusive};

			appendBinaryStringInfo(out, (char *) flags, sizeof(flags));
			for (int k = 0; k < 2; k++)
			{
				const struct varlena *number = eb_program_at(program, bounds[k]);

				if (bounds[k] != 0)
					appendBinaryStringInfo(out, (char *) number, VARSIZE_ANY(number));
			}
		}
		else
			appendBinaryStringInfo(out, operand, items[i].len);
	}
}

static uint32
get_predicate(Builder *builder, uint32 node, const EbProgram *program, uint32 values)
{
	bool		found;
	uint32		number;

	resetStringInfo(&builder->text);
	describe_values(&builder->text, program, eb_program_at(program, values));
	number = number_name(builder->predicate_names, node, 0, builder->text.data,
						 builder->text.len, true, builder->predicates.n, &found);
	if (!found)
	{
		Predicate  *predicate = append(&builder->predicates, sizeof(Predicate));

		predicate->node = node;
		predicate->program = program;
		predicate->values = values;
		NODE(builder, node)->is_field = true;
	}
	return number;
}

/*
 * Collects the fields at and below a node of a conjunction; returns how many
 * there are.
 */
static uint32
collect_fields(Builder *builder, const EbProgram *program, const EbNode *node, uint32 at)
{
	uint32		n = 0;

	check_stack_depth();
	if (node->values != 0)
	{
		if (builder->predicate_map[node->id] == 0)
			builder->predicate_map[node->id] =
				get_predicate(builder, at, program, node->values) + 1;
		append_uint32(&builder->members, builder->predicate_map[node->id] - 1);
		n++;
	}
	for (int i = 0; i < node->nchildren; i++)
	{
		const EbChild *child = &node->children[i];
		const EbNode *below = eb_program_node(program, child->node);

		if (builder->node_map[below->id] == 0)
		{
			const char *key = eb_program_at(program, child->key);
			bool		found;
			uint32		number = number_name(builder->node_names, at, 0, key, child->key_len,
											 false, builder->nodes.n, &found);

			if (!found)
			{
				PathNode	   *fresh = append(&builder->nodes, sizeof(PathNode));

				fresh->parent = at;
				fresh->key = key;
				fresh->key_len = child->key_len;
			}
			builder->node_map[below->id] = number + 1;
		}
		n += collect_fields(builder, program, below, builder->node_map[below->id] - 1);
	}
	if (n > 1 && at != 0)
		append_uint32(&builder->common, at);
	return n;
}

/* The number of the class of conjunctions that have these nodes in common. */
static uint32
get_class(Builder *builder)
{
	Array	   *common = &builder->common;
	bool		found;
	uint32		number = number_name(builder->class_names, 0, 0,
									 common->n == 0 ? "" : common->data, common->n * sizeof(uint32),
									 true, builder->class_lists.n, &found);

	if (!found)
	{
		EbSetList  *list = append(&builder->class_lists, sizeof(EbSetList));

		list->count = common->n;
		list->offset = builder->class_nodes.n;
		for (uint32 i = 0; i < common->n; i++)
			append_uint32(&builder->class_nodes, ((uint32 *) common->data)[i]);
	}
	return number;
}

static void
collect_pattern(Builder *builder, uint32 pattern)
{
	const EbProgram *program = eb_pattern_program(builder->patterns[pattern]);

	if (program->nnodes > builder->map_size)
	{
		builder->map_size = Max(program->nnodes, 2 * builder->map_size);
		builder->node_map = MemoryContextAllocHuge(CurrentMemoryContext,
												   builder->map_size * sizeof(uint32));
		builder->predicate_map = MemoryContextAllocHuge(CurrentMemoryContext,
														builder->map_size * sizeof(uint32));
	}
	memset(builder->node_map, 0, program->nnodes * sizeof(uint32));
	memset(builder->predicate_map, 0, program->nnodes * sizeof(uint32));

	for (uint32 i = 0; i < program->nconjunctions; i++)
	{
		Conjunction *conjunction = append(&builder->conjunctions, sizeof(Conjunction));

		CHECK_FOR_INTERRUPTS();
		conjunction->pattern = pattern;
		conjunction->first = builder->members.n;
		builder->common.n = 0;
		conjunction->n = collect_fields(builder, program,
										eb_program_node(program, program->roots[i]), 0);
		conjunction->class = get_class(builder);
		for (uint32 k = 0; k < conjunction->n; k++)
		{
			Predicate  *predicate = PREDICATE(builder, MEMBER(builder, conjunction->first + k));

			predicate->refs++;
			NODE(builder, predicate->node)->refs++;
		}
	}
}

/* ---------- Choosing access predicates ---------- */

/*
 * Predicates of nothing but strings are told by keys where a path has at
 * least, and a string at most, so many of them.
 */
#define MIN_NOTED 5
#define MAX_NOTED 64

static KeyCount *
find_key(Builder *builder, uint32 node, const EbKey *key)
{
	bool		found;
	uint32		number = number_name(builder->key_names, node, key->kind, key->bytes, key->len,
									 false, builder->keys.n, &found);

	if (!found)
		(void) append(&builder->keys, sizeof(KeyCount));
	return &((KeyCount *) builder->keys.data)[number];
}

static void
count_keys(Builder *builder)
{
	for (uint32 p = 0; p < builder->predicates.n; p++)
	{
		Predicate  *predicate = PREDICATE(builder, p);
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
key_likelihood(Builder *builder, uint32 node, const EbKey *key)
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
choose_key(Builder *builder, uint32 node, const EbAlternative *alternative, double *likelihood)
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
guess_likelihoods(Builder *builder)
{
	for (uint32 p = 0; p < builder->predicates.n; p++)
	{
		Predicate  *predicate = PREDICATE(builder, p);
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

/* Likely ones last. */
static int
compare_likelihood(const void *a, const void *b, void *arg)
{
	const Predicate *pa = PREDICATE((Builder *) arg, *(const uint32 *) a);
	const Predicate *pb = PREDICATE((Builder *) arg, *(const uint32 *) b);

	if (pa->likelihood != pb->likelihood)
		return pa->likelihood < pb->likelihood ? -1 : 1;
	return *(const uint32 *) a < *(const uint32 *) b ? -1 : *(const uint32 *) a > *(const uint32 *) b;
}

/* Those that many conjunctions have first. */
static int
compare_refs(const void *a, const void *b, void *arg)
{
	const Predicate *pa = PREDICATE((Builder *) arg, *(const uint32 *) a);
	const Predicate *pb = PREDICATE((Builder *) arg, *(const uint32 *) b);

	if (pa->refs != pb->refs)
		return pa->refs > pb->refs ? -1 : 1;
	return *(const uint32 *) a < *(const uint32 *) b ? -1 : *(const uint32 *) a > *(const uint32 *) b;
}

static void
choose_access(Builder *builder)
{
	Conjunction *conjunctions = builder->conjunctions.data;

	for (uint32 i = 0; i < builder->conjunctions.n; i++)
	{
		Conjunction *conjunction = &conjunctions[i];
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
choose_exact(Builder *builder)
{
	for (int round = 0; round < 2; round++)
	{
		for (uint32 p = 0; p < builder->predicates.n; p++)
		{
			Predicate  *predicate = PREDICATE(builder, p);
			PathNode   *node = NODE(builder, predicate->node);
			bool		few = true;

			CHECK_FOR_INTERRUPTS();
			if (!has_only_strings(&predicate->alternatives))
				continue;
			node->nstrings += round == 0;
			for (uint32 i = 0; i < predicate->alternatives.n; i++)
			{
				KeyCount   *count = find_key(builder, predicate->node,
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
	const Conjunction *ca = a;
	const Conjunction *cb = b;

	if (ca->access != cb->access)
		return ca->access < cb->access ? -1 : 1;
	for (uint32 i = 0; i < Min(ca->n, cb->n); i++)
	{
		uint32		ma = MEMBER((Builder *) arg, ca->first + i);
		uint32		mb = MEMBER((Builder *) arg, cb->first + i);

		if (ma != mb)
			return ma < mb ? -1 : 1;
	}
	if (ca->n != cb->n)
		return ca->n < cb->n ? -1 : 1;
	return ca->pattern < cb->pattern ? -1 : ca->pattern > cb->pattern;
}

/* Writes the trie of sorted conjunctions that agree in their first depth members. */
static void
write_trie(Builder *builder, const Conjunction *conjunctions, uint32 n, uint32 depth)
{
	uint32		i = 0;

	for (; i < n && conjunctions[i].n == depth; i++)
	{
		EbSetEntry *entry = append(&builder->entries, sizeof(EbSetEntry));

		entry->what = EB_ENTRY_PATTERN | conjunctions[i].pattern;
		entry->next = conjunctions[i].class;
	}
	while (i < n)
	{
		uint32		member = MEMBER(builder, conjunctions[i].first + depth);
		uint32		first = i;
		uint32		at = builder->entries.n;

		((EbSetEntry *) append(&builder->entries, sizeof(EbSetEntry)))->what = member |
			(PREDICATE(builder, member)->is_exact ? EB_ENTRY_EXACT : 0);
		while (i < n && MEMBER(builder, conjunctions[i].first + depth) == member)
			i++;
		write_trie(builder, conjunctions + first, i - first, depth + 1);
		((EbSetEntry *) builder->entries.data)[at].next = builder->entries.n;
	}
}

static void
write_tries(Builder *builder)
{
	Conjunction *conjunctions = builder->conjunctions.data;
	uint32		n = builder->conjunctions.n;

	qsort_arg(conjunctions, n, sizeof(Conjunction), compare_conjunctions, builder);
	for (uint32 first = 0, i = 0; first < n; first = i)
	{
		Predicate  *access = PREDICATE(builder, conjunctions[first].access);

		CHECK_FOR_INTERRUPTS();
		while (i < n && conjunctions[i].access == conjunctions[first].access)
			i++;
		access->first_entry = builder->entries.n;
		write_trie(builder, conjunctions + first, i - first, 0);
		access->end_entry = builder->entries.n;
	}
}

/* ---------- How access predicates are found ---------- */

static void
append_item(Array *array, uint32 node, uint32 kind, uint32 value)
{
	NodeItem   *item = append(array, sizeof(NodeItem));

	item->node = node;
	item->kind = kind;
	item->value = value;
}

static void
use_key(Builder *builder, uint32 p, const EbKey *key)
{
	uint32		node = PREDICATE(builder, p)->node;
	KeyCount   *count = find_key(builder, node, key);
	KeyUse	   *use;

	if (count->posting == 0)
	{
		ByteName	   *posting = append(&builder->postings, sizeof(ByteName));

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
	use = append(&builder->uses, sizeof(KeyUse));
	use->posting = count->posting - 1;
	use->predicate = p | (key->proven ? EB_POSTING_PROVEN : 0) |
		(PREDICATE(builder, p)->is_access ? 0 : EB_POSTING_NOTED);
}

/* A predicate with one alternative that has no key is asked for every value. */
static void
find_ways(Builder *builder, uint32 p)
{
	Predicate  *predicate = PREDICATE(builder, p);
	const EbAlternatives *alternatives = &predicate->alternatives;
	double		likelihood = 0;

	if (alternatives->accepts_absence)
	{
		append_uint32(&builder->absent, p);
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
			NodeRange  *range = append(&builder->ranges, sizeof(NodeRange));

			range->node = predicate->node;
			range->range.lower = alternative->lower;
			range->range.upper = alternative->upper;
			range->range.predicate = p;
		}
		else
			use_key(builder, p, choose_key(builder, predicate->node, alternative, &likelihood));
	}
}

/* ---------- Writing ---------- */

typedef struct Output
{
	char	   *data;
	Size		len;
	Size		allocated;
} Output;

/* Makes room for bytes, zeroed, at the next multiple of align; their offset. */
static uint32
reserve(Output *output, Size size, Size align)
{
	Size		at = TYPEALIGN(align, output->len);
	Size		end = at + size;

	if (end > MaxAllocSize)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("event patterns are too many for one set"),
				 errdetail("A set may have at most %zu bytes.", (Size) MaxAllocSize)));
	if (end > output->allocated)
	{
		output->allocated = Min(Max(end, output->allocated + output->allocated / 2), MaxAllocSize);
		output->data = repalloc_huge(output->data, output->allocated);
	}
	memset(output->data + output->len, 0, end - output->len);
	output->len = end;
	return at;
}

static uint32
emit(Output *output, const void *data, Size size, Size align)
{
	uint32		at = reserve(output, size, align);

	if (size > 0)
		memcpy(output->data + at, data, size);
	return at;
}

static int
compare_items(const void *a, const void *b)
{
	const NodeItem *ia = a;
	const NodeItem *ib = b;

	if (ia->node != ib->node)
		return ia->node < ib->node ? -1 : 1;
	if (ia->kind != ib->kind)
		return ia->kind < ib->kind ? -1 : 1;
	return ia->value < ib->value ? -1 : ia->value > ib->value;
}

static int
compare_ranges(const void *a, const void *b)
{
	const NodeRange *ra = a;
	const NodeRange *rb = b;

	if (ra->node != rb->node)
		return ra->node < rb->node ? -1 : 1;
	return ra->range.lower < rb->range.lower ? -1 : ra->range.lower > rb->range.lower;
}

/* By parent, then as jsonb sorts keys. */
static int
compare_nodes(const void *a, const void *b, void *arg)
{
	const PathNode *na = NODE((Builder *) arg, *(const uint32 *) a);
	const PathNode *nb = NODE((Builder *) arg, *(const uint32 *) b);

	if (na->parent != nb->parent)
		return na->parent < nb->parent ? -1 : 1;
	if (na->key_len != nb->key_len)
		return na->key_len < nb->key_len ? -1 : 1;
	return memcmp(na->key, nb->key, na->key_len);
}

/* The lengths of paths below a node, as EbNode has them; children come later than parents. */
static void
note_lengths(Builder *builder, uint32 *dotted)
{
	uint32	   *all = palloc0(builder->nodes.n * sizeof(uint32));

	for (uint32 i = builder->nodes.n - 1; i > 0; i--)
	{
		const PathNode *node = NODE(builder, i);

		for (int bit = 0; bit <= 31; bit++)
			if (all[i] & (UINT32_C(1) << bit))
				dotted[node->parent] |= EB_LENGTH_BIT(bit + node->key_len + 1);
		all[node->parent] |= dotted[node->parent] | EB_LENGTH_BIT(node->key_len);
	}
}

static void
write_children(Builder *builder, Output *output, EbSetNode *nodes)
{
	uint32		n = builder->nodes.n;
	uint32	   *order = palloc(n * sizeof(uint32));
	uint32	   *keys = palloc(n * sizeof(uint32));

	for (uint32 i = 1; i < n; i++)
	{
		order[i] = i;
		keys[i] = emit(output, NODE(builder, i)->key, NODE(builder, i)->key_len, 1);
	}
	qsort_arg(order + 1, n - 1, sizeof(uint32), compare_nodes, builder);
	for (uint32 i = 1; i < n; i++)
	{
		const PathNode *node = NODE(builder, order[i]);
		EbSetChild	child = {keys[order[i]], node->key_len, order[i]};
		uint32		at = emit(output, &child, sizeof(child), sizeof(uint32));

		if (nodes[node->parent].nchildren++ == 0)
			nodes[node->parent].children = at;
	}
}

/* Ranges of a node, and the greatest upper bounds of their blocks. */
static void
write_ranges(Builder *builder, Output *output, EbSetNode *nodes)
{
	NodeRange  *ranges = builder->ranges.data;
	uint32		n = builder->ranges.n;

	if (n > 1)
		qsort(ranges, n, sizeof(NodeRange), compare_ranges);
	for (uint32 first = 0, i = 0; first < n; first = i)
	{
		EbSetList  *list = &nodes[ranges[first].node].ranges;

		list->offset = reserve(output, 0, sizeof(double));
		for (; i < n && ranges[i].node == ranges[first].node; i++)
			(void) emit(output, &ranges[i].range, sizeof(EbSetRange), sizeof(double));
		list->count = i - first;
		for (uint32 at = first; at < i; at += EB_RANGE_BLOCK)
		{
			double		upper = ranges[at].range.upper;

			for (uint32 k = at; k < Min(i, at + EB_RANGE_BLOCK); k++)
				upper = Max(upper, ranges[k].range.upper);
			(void) emit(output, &upper, sizeof(upper), sizeof(double));
		}
	}
}

static bool
is_range(const EbAlternatives *alternatives)
{
	return alternatives->n == 1 && alternatives->items[0].is_range &&
		!alternatives->accepts_absence;
}

static void
write_nodes(Builder *builder, Output *output)
{
	uint32		n = builder->nodes.n;
	EbSetNode  *nodes = palloc0(n * sizeof(EbSetNode));
	uint32	   *dotted = palloc0(n * sizeof(uint32));
	NodeItem   *items = builder->lengths.data;

	note_lengths(builder, dotted);
	for (uint32 i = 0; i < n; i++)
	{
		nodes[i].dotted_lengths = dotted[i];
		nodes[i].flags = NODE(builder, i)->is_field ? EB_SET_NODE_FIELD : 0;
	}
	for (uint32 p = 0; p < builder->predicates.n; p++)
		if (is_range(&PREDICATE(builder, p)->alternatives))
			nodes[PREDICATE(builder, p)->node].flags |= EB_SET_NODE_RANGE;
	write_children(builder, output, nodes);

	if (builder->lengths.n > 1)
		qsort(items, builder->lengths.n, sizeof(NodeItem), compare_items);
	for (uint32 i = 0; i < builder->lengths.n; i++)
	{
		EbSetNode  *node = &nodes[items[i].node];
		EbSetList  *list;

		node->kinds |= EB_KEY_BIT(items[i].kind);
		if (items[i].kind >= lengthof(node->lengths) ||
			(i > 0 && compare_items(&items[i - 1], &items[i]) == 0))
			continue;
		list = &node->lengths[items[i].kind];
		if (list->count++ == 0)
			list->offset = reserve(output, 0, sizeof(uint32));
		(void) emit(output, &items[i].value, sizeof(uint32), sizeof(uint32));
	}

	items = builder->asked.data;
	if (builder->asked.n > 1)
		qsort(items, builder->asked.n, sizeof(NodeItem), compare_items);
	for (uint32 i = 0; i < builder->asked.n; i++)
	{
		EbSetList  *list = &nodes[items[i].node].asked;
		uint32		at = emit(output, &items[i].value, sizeof(uint32), sizeof(uint32));

		if (list->count++ == 0)
			list->offset = at;
	}
	write_ranges(builder, output, nodes);

	((EbPatternSet *) output->data)->nnodes = n;
	n = emit(output, nodes, n * sizeof(EbSetNode), sizeof(uint32));
	((EbPatternSet *) output->data)->nodes = n;
}

static uint32
write_number(Output *output, const EbProgram *program, uint32 offset)
{
	const struct varlena *number = eb_program_at(program, offset);

	return emit(output, number, VARSIZE_ANY(number), sizeof(uint32));
}

/*
 * Copies the alternatives of a predicate.  Offsets count from start, where the
 * outermost of them lies.
 */
static uint32
write_values(Output *output, uint32 start, const EbProgram *program, const EbValues *values)
{
	const EbString *strings = eb_program_at(program, values->strings);
	const uint32 *numbers = eb_program_at(program, values->numbers);
	const EbItem *items = eb_program_at(program, values->items);
	uint32		at = emit(output, values, sizeof(EbValues), sizeof(uint32));
	uint32		lists[3];

	check_stack_depth();
	if (start == 0)
		start = at;
	lists[0] = emit(output, strings, values->nstrings * sizeof(EbString), sizeof(uint32));
	lists[1] = emit(output, numbers, values->nnumbers * sizeof(uint32), sizeof(uint32));
	lists[2] = emit(output, items, values->nitems * sizeof(EbItem), sizeof(uint32));
	((EbValues *) (output->data + at))->strings = lists[0] - start;
	((EbValues *) (output->data + at))->numbers = lists[1] - start;
	((EbValues *) (output->data + at))->items = lists[2] - start;

	for (uint32 i = 0; i < values->nstrings; i++)
	{
		uint32		string = emit(output, eb_program_at(program, strings[i].offset),
								  strings[i].len, 1);

		((EbString *) (output->data + lists[0]))[i].offset = string - start;
	}
	for (uint32 i = 0; i < values->nnumbers; i++)
		((uint32 *) (output->data + lists[1]))[i] =
			write_number(output, program, numbers[i]) - start;
	for (uint32 i = 0; i < values->nitems; i++)
	{
		const void *operand = eb_program_at(program, items[i].operand);
		uint32		copy;

		if (items[i].kind == EB_ITEM_ANYTHING_BUT)
			copy = write_values(output, start, program, operand);
		else
			copy = emit(output, operand, items[i].len, sizeof(uint32));
		if (items[i].kind == EB_ITEM_NUMERIC)
		{
			EbRange		range = *(const EbRange *) operand;

			if (range.lower != 0)
				range.lower = write_number(output, program, range.lower) - start;
			if (range.upper != 0)
				range.upper = write_number(output, program, range.upper) - start;
			memcpy(output->data + copy, &range, sizeof(range));
		}
		((EbItem *) (output->data + lists[2]))[i].operand = copy - start;
	}
	return at;
}

static void
write_predicates(Builder *builder, Output *output)
{
	uint32		n = builder->predicates.n;
	uint32		at = reserve(output, n * sizeof(EbSetPredicate), sizeof(double));

	for (uint32 p = 0; p < n; p++)
	{
		const Predicate *predicate = PREDICATE(builder, p);
		EbSetPredicate written = {.node = predicate->node};

		CHECK_FOR_INTERRUPTS();
		if (predicate->alternatives.accepts_absence)
			written.flags = EB_PREDICATE_ACCEPTS_ABSENCE;
		else if (is_range(&predicate->alternatives))
		{
			written.flags = EB_PREDICATE_RANGE;
			written.lower = predicate->alternatives.items[0].lower;
			written.upper = predicate->alternatives.items[0].upper;
		}
		written.first_entry = predicate->first_entry;
		written.end_entry = predicate->end_entry;
		written.values = write_values(output, 0, predicate->program,
									  eb_program_at(predicate->program, predicate->values));
		memcpy(output->data + at + p * sizeof(EbSetPredicate), &written, sizeof(written));
	}
	((EbPatternSet *) output->data)->npredicates = n;
	((EbPatternSet *) output->data)->predicates = at;
}

static void
write_classes(Builder *builder, Output *output)
{
	EbSetList  *lists = builder->class_lists.data;
	uint32		nodes = emit(output, builder->class_nodes.data,
							 builder->class_nodes.n * sizeof(uint32), sizeof(uint32));
	uint32		at;

	for (uint32 i = 0; i < builder->class_lists.n; i++)
		lists[i].offset = nodes + lists[i].offset * sizeof(uint32);
	at = emit(output, lists, builder->class_lists.n * sizeof(EbSetList), sizeof(uint32));
	((EbPatternSet *) output->data)->classes = at;
	((EbPatternSet *) output->data)->nclasses = builder->class_lists.n;
}

static int
compare_uses(const void *a, const void *b)
{
	const KeyUse *ua = a;
	const KeyUse *ub = b;

	if (ua->posting != ub->posting)
		return ua->posting < ub->posting ? -1 : 1;
	return ua->predicate < ub->predicate ? -1 : ua->predicate > ub->predicate;
}

static void
write_postings(Builder *builder, Output *output)
{
	KeyUse	   *uses = builder->uses.data;
	uint32		nuses = builder->uses.n;
	ByteName	   *keys = builder->postings.data;
	uint32		size = 16;
	uint32		tags_at;
	uint32		postings_at;

	while (size < builder->postings.n * 2)
		size *= 2;
	tags_at = reserve(output, size, sizeof(uint32));
	postings_at = reserve(output, (Size) size * sizeof(uint32), sizeof(uint32));
	((EbPatternSet *) output->data)->tags = tags_at;
	((EbPatternSet *) output->data)->postings = postings_at;
	((EbPatternSet *) output->data)->mask = size - 1;

	if (nuses > 1)
		qsort(uses, nuses, sizeof(KeyUse), compare_uses);
	for (uint32 first = 0, i = 0; first < nuses; first = i)
	{
		const ByteName *key = &keys[uses[first].posting];
		EbSetPosting header = {key->space1, key->space2, key->len, 0};
		EbHash		hash = eb_hash_key(key->space1, key->space2, key->bytes, key->len);
		uint32		at = emit(output, &header, offsetof(EbSetPosting, predicates), sizeof(uint32));
		uint8	   *tags;
		uint32		slot;

		for (; i < nuses && uses[i].posting == uses[first].posting; i++)
			(void) emit(output, &uses[i].predicate, sizeof(uint32), sizeof(uint32));
		((EbSetPosting *) (output->data + at))->npredicates = i - first;
		(void) emit(output, key->bytes, key->len, 1);

		tags = (uint8 *) output->data + tags_at;
		for (slot = hash & (size - 1); tags[slot] != 0;)
			slot = (slot + 1) & (size - 1);
		tags[slot] = EB_KEY_TAG(hash);
		((uint32 *) (output->data + postings_at))[slot] = at;
	}
}

/* Copies the patterns. */
static void
write_patterns(Builder *builder, Output *output)
{
	uint32	   *offsets = palloc(Max(builder->npatterns, 1) * sizeof(uint32));
	uint32		at;

	for (uint32 i = 0; i < builder->npatterns; i++)
		offsets[i] = emit(output, builder->patterns[i], VARSIZE(builder->patterns[i]),
						  sizeof(uint32));
	at = emit(output, offsets, builder->npatterns * sizeof(uint32), sizeof(uint32));
	((EbPatternSet *) output->data)->npatterns = builder->npatterns;
	((EbPatternSet *) output->data)->patterns = at;
}

static void
build_index(Builder *builder, Output *output)
{
	uint32		at;

	builder->node_names = create_names("event pattern set nodes");
	builder->predicate_names = create_names("event pattern set predicates");
	builder->class_names = create_names("event pattern set classes");
	builder->key_names = create_names("event pattern set keys");
	initStringInfo(&builder->text);
	(void) append(&builder->nodes, sizeof(PathNode));	/* the root */
	(void) append(&builder->class_lists, sizeof(EbSetList));	/* EB_CLASS_UNDECIDED */

	for (uint32 i = 0; i < builder->npatterns; i++)
		collect_pattern(builder, i);
	count_keys(builder);
	guess_likelihoods(builder);
	choose_access(builder);
	choose_exact(builder);
	write_tries(builder);
	for (uint32 p = 0; p < builder->predicates.n; p++)
		if (PREDICATE(builder, p)->is_access || PREDICATE(builder, p)->is_exact)
			find_ways(builder, p);

	write_nodes(builder, output);
	write_predicates(builder, output);
	write_classes(builder, output);
	at = emit(output, builder->entries.data, builder->entries.n * sizeof(EbSetEntry),
			  sizeof(uint32));
	((EbPatternSet *) output->data)->entries = at;
	at = emit(output, builder->absent.data, builder->absent.n * sizeof(uint32), sizeof(uint32));
	((EbPatternSet *) output->data)->absent = at;
	((EbPatternSet *) output->data)->nabsent = builder->absent.n;
	write_postings(builder, output);
	((EbPatternSet *) output->data)->indexed = 1;
}

EbPatternSet *
eb_pattern_set_build(const EbPattern *const *patterns, int npatterns)
{
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext context = AllocSetContextCreate(caller, "event pattern set build",
												  ALLOCSET_DEFAULT_SIZES);
	Builder		builder = {.patterns = patterns, .npatterns = npatterns};
	Output		output = {0};
	Size		size = sizeof(EbPatternSet);
	EbPatternSet *set;

	for (int i = 0; i < npatterns; i++)
		size += VARSIZE(patterns[i]) + 128;
	output.allocated = Min(size, MaxAllocSize);
	output.data = MemoryContextAllocHuge(context, output.allocated);

	MemoryContextSwitchTo(context);
	(void) reserve(&output, sizeof(EbPatternSet), sizeof(double));
	((EbPatternSet *) output.data)->version = EB_PATTERN_SET_VERSION;
	write_patterns(&builder, &output);
	if (npatterns >= EB_SET_MIN_INDEXED)
		build_index(&builder, &output);
	MemoryContextSwitchTo(caller);

	set = MemoryContextAllocHuge(caller, output.len);
	memcpy(set, output.data, output.len);
	SET_VARSIZE(set, output.len);
	MemoryContextDelete(context);
	return set;
}
