/*-------------------------------------------------------------------------
 *
 * collect.c
 *	  Building a set: the tree of paths, the distinct predicates and the
 *	  conjunctions of all patterns.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"

#include "compat.h"
#include "ruleset/build.h"

/* ---------- Numbering of byte strings ---------- */

typedef struct NameEntry
{
	EbByteName	name;
	uint32		number;
} NameEntry;

static uint32
hash_name(const void *key, Size size)
{
	const EbByteName *name = key;

	return (uint32) eb_hash_bytes(eb_hash_mix(name->space1, name->space2), name->bytes, name->len);
}

static int
compare_names(const void *a, const void *b, Size size)
{
	const EbByteName *na = a;
	const EbByteName *nb = b;

	return !(na->space1 == nb->space1 && na->space2 == nb->space2 && na->len == nb->len &&
			 memcmp(na->bytes, nb->bytes, na->len) == 0);
}

HTAB *
eb_builder_create_names(const char *title)
{
	HASHCTL		control = {0};

	control.keysize = sizeof(EbByteName);
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
uint32
eb_builder_number(HTAB *names, uint32 space1, uint32 space2, const char *bytes, uint32 len,
				  bool copy, uint32 next, bool *found)
{
	EbByteName	name = {space1, space2, len, bytes};
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
get_predicate(EbBuilder *builder, uint32 node, const EbProgram *program, uint32 values)
{
	bool		found;
	uint32		number;

	resetStringInfo(&builder->text);
	describe_values(&builder->text, program, eb_program_at(program, values));
	number = eb_builder_number(builder->predicate_names, node, 0, builder->text.data,
							   builder->text.len, true, builder->predicates.n, &found);
	if (!found)
	{
		EbBuildPredicate *predicate = eb_array_append(&builder->predicates,
													  sizeof(EbBuildPredicate));

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
collect_fields(EbBuilder *builder, const EbProgram *program, const EbNode *node, uint32 at)
{
	uint32		n = 0;

	check_stack_depth();
	if (node->values != 0)
	{
		if (builder->predicate_map[node->id] == 0)
			builder->predicate_map[node->id] =
				get_predicate(builder, at, program, node->values) + 1;
		eb_array_append_uint32(&builder->members, builder->predicate_map[node->id] - 1);
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
			uint32		number = eb_builder_number(builder->node_names, at, 0, key,
												   child->key_len, false, builder->nodes.n,
												   &found);

			if (!found)
			{
				EbBuildNode *fresh = eb_array_append(&builder->nodes, sizeof(EbBuildNode));

				fresh->parent = at;
				fresh->key = key;
				fresh->key_len = child->key_len;
			}
			builder->node_map[below->id] = number + 1;
		}
		n += collect_fields(builder, program, below, builder->node_map[below->id] - 1);
	}
	if (n > 1 && at != 0)
		eb_array_append_uint32(&builder->common, at);
	return n;
}

/* The number of the class of conjunctions that have these nodes in common. */
static uint32
get_class(EbBuilder *builder)
{
	EbArray	   *common = &builder->common;
	bool		found;
	uint32		number = eb_builder_number(builder->class_names, 0, 0,
										   common->n == 0 ? "" : common->data,
										   common->n * sizeof(uint32), true,
										   builder->class_lists.n, &found);

	if (!found)
	{
		EbSetList  *list = eb_array_append(&builder->class_lists, sizeof(EbSetList));

		list->count = common->n;
		list->offset = builder->class_nodes.n;
		for (uint32 i = 0; i < common->n; i++)
			eb_array_append_uint32(&builder->class_nodes, ((uint32 *) common->data)[i]);
	}
	return number;
}

static void
collect_pattern(EbBuilder *builder, uint32 pattern)
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
		EbBuildConjunction *conjunction = eb_array_append(&builder->conjunctions,
														  sizeof(EbBuildConjunction));

		CHECK_FOR_INTERRUPTS();
		conjunction->pattern = pattern;
		conjunction->first = builder->members.n;
		builder->common.n = 0;
		conjunction->n = collect_fields(builder, program,
										eb_program_node(program, program->roots[i]), 0);
		conjunction->class = get_class(builder);
		for (uint32 k = 0; k < conjunction->n; k++)
		{
			uint32		member = MEMBER(builder, conjunction->first + k);
			EbBuildPredicate *predicate = PREDICATE(builder, member);

			predicate->refs++;
			NODE(builder, predicate->node)->refs++;
		}
	}
}

void
eb_builder_collect(EbBuilder *builder)
{
	builder->node_names = eb_builder_create_names("event pattern set nodes");
	builder->predicate_names = eb_builder_create_names("event pattern set predicates");
	builder->class_names = eb_builder_create_names("event pattern set classes");
	initStringInfo(&builder->text);
	(void) eb_array_append(&builder->nodes, sizeof(EbBuildNode));	/* the root */
	(void) eb_array_append(&builder->class_lists, sizeof(EbSetList));	/* EB_CLASS_UNDECIDED */

	for (uint32 i = 0; i < builder->npatterns; i++)
		collect_pattern(builder, i);
}
