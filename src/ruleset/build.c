/*-------------------------------------------------------------------------
 *
 * build.c
 *	  Building a set: writing it; set.h describes what comes out.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"

#include "compat.h"
#include "ruleset/build.h"

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
	const EbNodeItem *ia = a;
	const EbNodeItem *ib = b;

	if (ia->node != ib->node)
		return ia->node < ib->node ? -1 : 1;
	if (ia->kind != ib->kind)
		return ia->kind < ib->kind ? -1 : 1;
	return ia->value < ib->value ? -1 : ia->value > ib->value;
}

static int
compare_ranges(const void *a, const void *b)
{
	const EbNodeRange *ra = a;
	const EbNodeRange *rb = b;

	if (ra->node != rb->node)
		return ra->node < rb->node ? -1 : 1;
	return ra->range.lower < rb->range.lower ? -1 : ra->range.lower > rb->range.lower;
}

/* By parent, then as jsonb sorts keys. */
static int
compare_nodes(const void *a, const void *b, void *arg)
{
	const EbBuildNode *na = NODE((EbBuilder *) arg, *(const uint32 *) a);
	const EbBuildNode *nb = NODE((EbBuilder *) arg, *(const uint32 *) b);

	if (na->parent != nb->parent)
		return na->parent < nb->parent ? -1 : 1;
	if (na->key_len != nb->key_len)
		return na->key_len < nb->key_len ? -1 : 1;
	return memcmp(na->key, nb->key, na->key_len);
}

/* The lengths of paths below a node, as EbNode has them; children come later than parents. */
static void
note_lengths(EbBuilder *builder, uint32 *dotted)
{
	uint32	   *all = palloc0(builder->nodes.n * sizeof(uint32));

	for (uint32 i = builder->nodes.n - 1; i > 0; i--)
	{
		const EbBuildNode *node = NODE(builder, i);

		for (int bit = 0; bit <= 31; bit++)
			if (all[i] & (UINT32_C(1) << bit))
				dotted[node->parent] |= EB_LENGTH_BIT(bit + node->key_len + 1);
		all[node->parent] |= dotted[node->parent] | EB_LENGTH_BIT(node->key_len);
	}
}

static void
write_children(EbBuilder *builder, Output *output, EbSetNode *nodes)
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
		const EbBuildNode *node = NODE(builder, order[i]);
		EbSetChild	child = {keys[order[i]], node->key_len, order[i]};
		uint32		at = emit(output, &child, sizeof(child), sizeof(uint32));

		if (nodes[node->parent].nchildren++ == 0)
			nodes[node->parent].children = at;
	}
}

/* Ranges of a node, and the greatest upper bounds of their blocks. */
static void
write_ranges(EbBuilder *builder, Output *output, EbSetNode *nodes)
{
	EbNodeRange *ranges = builder->ranges.data;
	uint32		n = builder->ranges.n;

	if (n > 1)
		qsort(ranges, n, sizeof(EbNodeRange), compare_ranges);
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
write_nodes(EbBuilder *builder, Output *output)
{
	uint32		n = builder->nodes.n;
	EbSetNode  *nodes = palloc0(n * sizeof(EbSetNode));
	uint32	   *dotted = palloc0(n * sizeof(uint32));
	EbNodeItem *items = builder->lengths.data;

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
		qsort(items, builder->lengths.n, sizeof(EbNodeItem), compare_items);
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
		qsort(items, builder->asked.n, sizeof(EbNodeItem), compare_items);
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
write_predicates(EbBuilder *builder, Output *output)
{
	uint32		n = builder->predicates.n;
	uint32		at = reserve(output, n * sizeof(EbSetPredicate), sizeof(double));

	for (uint32 p = 0; p < n; p++)
	{
		const EbBuildPredicate *predicate = PREDICATE(builder, p);
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
		written.values = write_values(output, 0, predicate->program,
									  eb_program_at(predicate->program, predicate->values));
		memcpy(output->data + at + p * sizeof(EbSetPredicate), &written, sizeof(written));
	}
	((EbPatternSet *) output->data)->npredicates = n;
	((EbPatternSet *) output->data)->predicates = at;
}

static void
write_classes(EbBuilder *builder, Output *output)
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
	const EbKeyUse *ua = a;
	const EbKeyUse *ub = b;

	if (ua->posting != ub->posting)
		return ua->posting < ub->posting ? -1 : 1;
	return ua->predicate < ub->predicate ? -1 : ua->predicate > ub->predicate;
}

static void
write_postings(EbBuilder *builder, Output *output)
{
	EbKeyUse   *uses = builder->uses.data;
	uint32		nuses = builder->uses.n;
	EbByteName *keys = builder->postings.data;
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
		qsort(uses, nuses, sizeof(EbKeyUse), compare_uses);
	for (uint32 first = 0, i = 0; first < nuses; first = i)
	{
		const EbByteName *key = &keys[uses[first].posting];
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
write_patterns(EbBuilder *builder, Output *output)
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
build_index(EbBuilder *builder, Output *output)
{
	uint32		at;

	eb_builder_collect(builder);
	eb_builder_choose(builder);

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
	EbBuilder	builder = {.patterns = patterns, .npatterns = npatterns};
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
