/*-------------------------------------------------------------------------
 *
 * compile.c
 *	  From conjunctions of fields to the stored form.
 *
 * Each conjunction becomes a tree over path segments, written from the leaves
 * up.  A node is written once for each path and content: conjunctions that
 * agree below a path share what stands there, which keeps a pattern with many
 * $or combinations small, and lets the matcher remember what it found for a
 * node.  Equal content at different paths is not shared, because then a node
 * would no longer stand for one place of the event.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

#include "compat.h"
#include "pattern/casefold.h"
#include "pattern/parse.h"

/* What is already written, by the hash of its path and content. */
typedef struct SharedEntry
{
	uint64		hash;
	const char *path;
	int			path_len;
	int			size;
	uint32		offset;
} SharedEntry;

/* Lists already written, by the parsed list. */
typedef struct ListEntry
{
	const List *conditions;
	uint32		offset;
} ListEntry;

typedef struct Compiler
{
	StringInfoData program;
	HTAB	   *shared;
	HTAB	   *lists;
	uint32		nnodes;
} Compiler;

/* Appends bytes, aligned; returns their offset. */
static uint32
emit(Compiler *compiler, const void *data, int len)
{
	uint32		offset;

	while (compiler->program.len % sizeof(uint32) != 0)
		appendStringInfoCharMacro(&compiler->program, '\0');
	offset = compiler->program.len;
	appendBinaryStringInfo(&compiler->program, data, len);
	return offset;
}

static uint32
emit_numeric(Compiler *compiler, Numeric number)
{
	return number == NULL ? 0 : emit(compiler, number, VARSIZE(number));
}

/* The pieces of a wildcard between its stars, escapes resolved. */
static uint32
emit_wildcard(Compiler *compiler, const char *str, int len, uint32 *size)
{
	StringInfoData lens;
	StringInfoData bytes;
	uint32		npieces = 1;
	uint32		piece_len = 0;
	uint32		offset;

	initStringInfo(&lens);
	initStringInfo(&bytes);
	for (int i = 0; i < len; i++)
	{
		if (str[i] == '*')
		{
			appendBinaryStringInfo(&lens, (char *) &piece_len, sizeof(piece_len));
			piece_len = 0;
			npieces++;
			continue;
		}
		if (str[i] == '\\')
			i++;
		appendStringInfoCharMacro(&bytes, str[i]);
		piece_len++;
	}
	appendBinaryStringInfo(&lens, (char *) &piece_len, sizeof(piece_len));

	offset = emit(compiler, &npieces, sizeof(npieces));
	appendBinaryStringInfo(&compiler->program, lens.data, lens.len);
	appendBinaryStringInfo(&compiler->program, bytes.data, bytes.len);
	*size = sizeof(npieces) + lens.len + bytes.len;
	return offset;
}

static uint32 emit_values(Compiler *compiler, const List *conditions);

static EbItem
emit_item(Compiler *compiler, const EbCondition *condition)
{
	EbItem		item = {.kind = condition->item};

	switch (condition->item)
	{
		case EB_ITEM_PREFIX:
		case EB_ITEM_SUFFIX:
			item.len = condition->len;
			item.operand = emit(compiler, condition->str, condition->len);
			break;
		case EB_ITEM_PREFIX_IGNORE_CASE:
		case EB_ITEM_SUFFIX_IGNORE_CASE:
		case EB_ITEM_EQUALS_IGNORE_CASE:
			{
				StringInfoData units;

				initStringInfo(&units);
				eb_casefold_append(&units, condition->str, condition->len,
								   condition->item == EB_ITEM_SUFFIX_IGNORE_CASE);
				item.len = units.len;
				item.operand = emit(compiler, units.data, units.len);
				break;
			}
		case EB_ITEM_WILDCARD:
			item.operand = emit_wildcard(compiler, condition->str, condition->len, &item.len);
			break;
		case EB_ITEM_NUMERIC:
			{
				EbRange		range = {0};

				range.lower = emit_numeric(compiler, condition->lower);
				range.upper = emit_numeric(compiler, condition->upper);
				range.lower_inclusive = condition->lower_inclusive;
				range.upper_inclusive = condition->upper_inclusive;
				item.len = sizeof(range);
				item.operand = emit(compiler, &range, sizeof(range));
				break;
			}
		case EB_ITEM_CIDR:
		case EB_ITEM_ADDRESS:
			item.len = sizeof(EbCidr);
			item.operand = emit(compiler, &condition->cidr, sizeof(EbCidr));
			break;
		case EB_ITEM_ANYTHING_BUT:
			item.len = sizeof(EbValues);
			item.operand = emit_values(compiler, condition->refused);
			break;
	}
	return item;
}

/* By length first: most strings then differ without being compared. */
static int
compare_strings(const ListCell *a, const ListCell *b)
{
	const EbCondition *ca = lfirst(a);
	const EbCondition *cb = lfirst(b);

	if (ca->len != cb->len)
		return ca->len < cb->len ? -1 : 1;
	return memcmp(ca->str, cb->str, ca->len);
}

static int
compare_numbers(const ListCell *a, const ListCell *b)
{
	return DatumGetInt32(DirectFunctionCall2(numeric_cmp,
											 NumericGetDatum(((EbCondition *) lfirst(a))->number),
											 NumericGetDatum(((EbCondition *) lfirst(b))->number)));
}

/* Writes a list of alternatives; returns the offset of its EbValues. */
static uint32
emit_values(Compiler *compiler, const List *conditions)
{
	EbValues	values = {0};
	List	   *strings = NIL;
	List	   *numbers = NIL;
	List	   *items = NIL;
	StringInfoData array;
	ListCell   *cell;

	foreach(cell, conditions)
	{
		EbCondition *condition = lfirst(cell);

		switch (condition->kind)
		{
			case EB_CONDITION_EXISTS:
				values.flags |= EB_VALUES_EXISTS;
				break;
			case EB_CONDITION_ABSENT:
				values.flags |= EB_VALUES_ABSENT;
				break;
			case EB_CONDITION_TRUE:
				values.flags |= EB_VALUES_TRUE;
				break;
			case EB_CONDITION_FALSE:
				values.flags |= EB_VALUES_FALSE;
				break;
			case EB_CONDITION_NULL:
				values.flags |= EB_VALUES_NULL;
				break;
			case EB_CONDITION_STRING:
				strings = lappend(strings, condition);
				break;
			case EB_CONDITION_NUMBER:
				numbers = lappend(numbers, condition);
				break;
			case EB_CONDITION_ITEM:
				items = lappend(items, condition);
				break;
		}
	}
	list_sort(strings, compare_strings);
	list_sort(numbers, compare_numbers);

	initStringInfo(&array);
	foreach(cell, strings)
	{
		EbCondition *condition = lfirst(cell);
		EbString	string = {.len = condition->len};

		string.offset = emit(compiler, condition->str, condition->len);
		appendBinaryStringInfo(&array, (char *) &string, sizeof(string));
	}
	values.nstrings = list_length(strings);
	values.strings = emit(compiler, array.data, array.len);

	resetStringInfo(&array);
	foreach(cell, numbers)
	{
		uint32		offset = emit_numeric(compiler, ((EbCondition *) lfirst(cell))->number);

		appendBinaryStringInfo(&array, (char *) &offset, sizeof(offset));
	}
	values.nnumbers = list_length(numbers);
	values.numbers = emit(compiler, array.data, array.len);

	resetStringInfo(&array);
	foreach(cell, items)
	{
		EbItem		item = emit_item(compiler, lfirst(cell));

		appendBinaryStringInfo(&array, (char *) &item, sizeof(item));
	}
	values.nitems = list_length(items);
	values.items = emit(compiler, array.data, array.len);

	return emit(compiler, &values, sizeof(values));
}

/* The same, once for each parsed list. */
static uint32
emit_field_values(Compiler *compiler, const List *conditions)
{
	bool		found;
	ListEntry  *entry = hash_search(compiler->lists, &conditions, HASH_ENTER, &found);

	if (!found)
		entry->offset = emit_values(compiler, conditions);
	return entry->offset;
}

/* A segment under which some fields lie, while a node is being put together. */
typedef struct Segment
{
	const char *key;
	int			len;
	List	   *fields;			/* of EbField */
	EbChild		child;
} Segment;

/* As jsonb sorts the keys of an object. */
static int
compare_segments(const ListCell *a, const ListCell *b)
{
	const Segment *sa = lfirst(a);
	const Segment *sb = lfirst(b);

	if (sa->len != sb->len)
		return sa->len < sb->len ? -1 : 1;
	return memcmp(sa->key, sb->key, sa->len);
}

/*
 * Sorts fields whose paths agree in their first skip bytes by the segment
 * that follows.  *own becomes the field that ends there, or NULL.
 */
static List *
split_fields(const List *fields, int skip, const EbField **own)
{
	List	   *segments = NIL;
	ListCell   *cell;

	*own = NULL;
	foreach(cell, fields)
	{
		EbField    *field = lfirst(cell);
		const char *key = field->path + skip;
		int			rest = field->path_len - skip;
		const char *dot;
		Segment    *segment = NULL;
		ListCell   *other;

		if (rest < 0)
		{
			*own = field;
			continue;
		}
		dot = memchr(key, '.', rest);
		if (dot != NULL)
			rest = dot - key;
		foreach(other, segments)
		{
			Segment    *candidate = lfirst(other);

			if (candidate->len == rest && memcmp(candidate->key, key, rest) == 0)
			{
				segment = candidate;
				break;
			}
		}
		if (segment == NULL)
		{
			segment = palloc0(sizeof(Segment));
			segment->key = key;
			segment->len = rest;
			segments = lappend(segments, segment);
		}
		segment->fields = lappend(segment->fields, field);
	}
	list_sort(segments, compare_segments);
	return segments;
}

/*
 * Writes bytes, unless the same are there for the same path.  *found tells.
 */
static uint32
emit_shared(Compiler *compiler, const void *data, int size,
			const char *path, int path_len, bool *found)
{
	uint64		hash;
	SharedEntry *entry;

	hash = hash_bytes_extended(data, size, 0) ^
		hash_bytes_extended((const unsigned char *) path, path_len, 1);
	entry = hash_search(compiler->shared, &hash, HASH_ENTER, found);
	if (*found)
	{
		if (entry->size == size && entry->path_len == path_len &&
			memcmp(compiler->program.data + entry->offset, data, size) == 0 &&
			memcmp(entry->path, path, path_len) == 0)
			return entry->offset;

		/* equal hashes by chance: the newer one is not shared */
		*found = false;
		return emit(compiler, data, size);
	}
	entry->path = path;
	entry->path_len = path_len;
	entry->size = size;
	entry->offset = emit(compiler, data, size);
	return entry->offset;
}

/* Bits of the lengths that a bit set of lengths has, each longer by len. */
static uint32
lengthen(uint32 lengths, int len)
{
	uint32		result = 0;

	for (int bit = 0; bit <= 31; bit++)
		if (lengths & (UINT32_C(1) << bit))
			result |= EB_LENGTH_BIT(bit + len);
	return result;
}

/*
 * Writes the tree of the fields whose paths agree in their first skip bytes
 * (separator included); returns its offset.
 */
static uint32
emit_tree(Compiler *compiler, const List *fields, int skip)
{
	const EbField *own;
	const EbField *any = linitial(fields);
	List	   *segments = split_fields(fields, skip, &own);
	int			size = offsetof(EbNode, children) + list_length(segments) * sizeof(EbChild);
	EbNode	   *node = palloc0(size);
	ListCell   *cell;
	uint32		offset;
	bool		found;

	check_stack_depth();
	CHECK_FOR_INTERRUPTS();

	if (list_length(segments) > PG_UINT16_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("event pattern names more than %d fields of one object", PG_UINT16_MAX)));

	node->flags = EB_NODE_ABSENT_OK | EB_NODE_BELOW_ABSENT_OK;
	if (own != NULL)
	{
		const EbValues *values;

		node->values = emit_field_values(compiler, own->conditions);
		values = (const EbValues *) (compiler->program.data + node->values);
		if ((values->flags & EB_VALUES_ABSENT) == 0)
			node->flags &= ~EB_NODE_ABSENT_OK;
	}
	foreach(cell, segments)
	{
		Segment    *segment = lfirst(cell);
		EbChild    *child = &node->children[node->nchildren++];
		const EbNode *below;
		uint32		lengths;

		child->key = emit_shared(compiler, segment->key, segment->len, "", 0, &found);
		child->key_len = segment->len;
		child->node = emit_tree(compiler, segment->fields, skip + segment->len + 1);

		below = (const EbNode *) (compiler->program.data + child->node);
		if ((below->flags & EB_NODE_ABSENT_OK) == 0)
			node->flags = 0;
		lengths = below->dotted_lengths;
		for (int i = 0; i < below->nchildren; i++)
			lengths |= EB_LENGTH_BIT(below->children[i].key_len);
		node->dotted_lengths |= lengthen(lengths, segment->len + 1);
	}

	/* a node's number is not part of its content */
	offset = emit_shared(compiler, node, size, any->path,
						 Max(Min(skip - 1, any->path_len), 0), &found);
	if (!found)
		((EbNode *) (compiler->program.data + offset))->id = compiler->nnodes++;
	return offset;
}

static HTAB *
create_table(const char *name, Size keysize, Size entrysize)
{
	HASHCTL		control = {0};

	control.keysize = keysize;
	control.entrysize = entrysize;
	control.hcxt = CurrentMemoryContext;
	return hash_create(name, 64, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

/* Writes the program; what it refers to follows the header. */
static void
emit_program(Compiler *compiler, const EbParsedPattern *parsed)
{
	int			n = list_length(parsed->conjunctions);
	int			size = offsetof(EbProgram, roots) + n * sizeof(uint32);
	EbProgram  *header = palloc0(size);
	ListCell   *cell;

	emit(compiler, header, size);
	foreach(cell, parsed->conjunctions)
	{
		uint32		root = emit_tree(compiler, ((EbConjunction *) lfirst(cell))->fields, 0);
		bool		known = false;

		for (int i = 0; i < header->nconjunctions; i++)
			known |= header->roots[i] == root;
		if (!known)
			header->roots[header->nconjunctions++] = root;
	}
	emit(compiler, "", 0);
	header->size = compiler->program.len;
	header->nnodes = compiler->nnodes;
	memcpy(compiler->program.data, header, size);
}

/*
 * Compiles in a memory context of its own; the result is allocated in the
 * caller's.
 */
EbPattern *
eb_pattern_compile(const EbParsedPattern *parsed)
{
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext context = AllocSetContextCreate(caller, "event pattern compiler",
												  ALLOCSET_DEFAULT_SIZES);
	Compiler	compiler = {0};
	StringInfoData text;
	EbPattern  *pattern;
	Size		start;
	Size		size;

	MemoryContextSwitchTo(context);
	initStringInfo(&text);
	eb_pattern_print(&text, parsed);

	initStringInfo(&compiler.program);
	compiler.shared = create_table("event pattern nodes", sizeof(uint64), sizeof(SharedEntry));
	compiler.lists = create_table("event pattern lists", sizeof(List *), sizeof(ListEntry));
	emit_program(&compiler, parsed);

	start = INTALIGN(offsetof(EbPattern, text) + text.len);
	size = start + compiler.program.len;
	if (!AllocSizeIsValid(size))
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("event pattern is too large")));
	pattern = MemoryContextAllocZero(caller, size);
	SET_VARSIZE(pattern, size);
	pattern->version = EB_PATTERN_VERSION;
	pattern->text_len = text.len;
	memcpy(pattern->text, text.data, text.len);
	memcpy((char *) pattern + start, compiler.program.data, compiler.program.len);

	MemoryContextSwitchTo(caller);
	MemoryContextDelete(context);
	return pattern;
}
