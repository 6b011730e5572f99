/*-------------------------------------------------------------------------
 *
 * access.c
 *	  What an event must have, if a pattern is to match it; see access.h.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "miscadmin.h"
#include "utils/builtins.h"

#include "index/access.h"
#include "json/container.h"
#include "pattern/address.h"

typedef struct Collector
{
	const EbProgram *program;
	EbRequirement *requirements;
	int			n;
	int			size;
	bool		all_fields;
} Collector;

static void
collect_requirements(Collector *collector, const EbNode *node,
					 const EbRequirement *here)
{
	const EbProgram *program = collector->program;

	check_stack_depth();
	CHECK_FOR_INTERRUPTS();

	/* nothing below need be there */
	if ((node->flags & EB_NODE_ABSENT_OK) != 0 && !collector->all_fields)
		return;

	if (node->values != 0)
	{
		const EbValues *values = eb_program_at(program, node->values);
		bool		absent_ok = (values->flags & EB_VALUES_ABSENT) != 0;

		if (!absent_ok || collector->all_fields)
		{
			if (collector->n == collector->size)
			{
				collector->size *= 2;
				collector->requirements = repalloc(collector->requirements,
												   collector->size * sizeof(EbRequirement));
			}
			collector->requirements[collector->n] = *here;
			collector->requirements[collector->n].values = node->values;
			collector->requirements[collector->n].absent_ok = absent_ok;
			collector->n++;
		}
	}
	for (int i = 0; i < node->nchildren; i++)
	{
		const EbChild *child = &node->children[i];
		EbRequirement below = {0};

		below.name = eb_program_at(program, child->key);
		below.name_len = child->key_len;
		below.path = eb_path_extend(here->path, here->depth == 0,
									below.name, below.name_len);
		below.depth = here->depth + 1;
		collect_requirements(collector, eb_program_node(program, child->node), &below);
	}
}

int
eb_requirements(const EbProgram *program, uint32 root, bool all_fields,
				EbRequirement **requirements)
{
	Collector	collector = {.program = program, .size = 8, .all_fields = all_fields};
	EbRequirement top = {.path = EB_PATH_ROOT};

	collector.requirements = palloc(collector.size * sizeof(EbRequirement));
	collect_requirements(&collector, eb_program_node(program, root), &top);
	*requirements = collector.requirements;
	return collector.n;
}

/*
 * Digits are what identifies: account numbers, keys, addresses of instances.
 * Letters mostly form words, of which a system has few.
 */
static double
string_bits(const char *str, int len)
{
	double		bits = 2;

	for (int i = 0; i < len && bits < 40; i++)
		bits += (str[i] >= '0' && str[i] <= '9') ? 2 : 0.25;
	return bits;
}

static double
number_bits(Numeric number)
{
	char	   *text = DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(number)));
	double		bits = string_bits(text, strlen(text));

	pfree(text);
	return bits;
}

static void
set_key(EbAccess *access, int64 key, double bits)
{
	access->kind = EB_ACCESS_KEY;
	access->low = access->high = key;
	access->bits = bits;
}

static void
set_prefix(EbAccess *access, const EbFolded *folded)
{
	access->prefix = *folded;
	if (folded->len == 0)
		return;
	access->kind = EB_ACCESS_PREFIX;
	access->bits = string_bits(folded->str, folded->len) - 1;
}

/* NULL where there is none. */
static Numeric
get_number(const EbProgram *program, uint32 offset)
{
	return offset == 0 ? NULL : (Numeric) eb_program_at(program, offset);
}

/* access is EB_ACCESS_ANY, and remains that if nothing narrower is known. */
static void
access_item(const EbProgram *program, EbPathHash path, const EbItem *item, EbAccess *access)
{
	const void *operand = eb_program_at(program, item->operand);
	EbFolded	folded;

	switch ((EbItemKind) item->kind)
	{
		case EB_ITEM_PREFIX:
			eb_fold(operand, item->len, &folded);
			set_prefix(access, &folded);
			break;
		case EB_ITEM_PREFIX_IGNORE_CASE:
			eb_fold_units(operand, item->len, &folded);
			set_prefix(access, &folded);
			break;
		case EB_ITEM_EQUALS_IGNORE_CASE:
			eb_fold_units(operand, item->len, &folded);
			set_key(access, eb_key_folded(path, &folded),
					string_bits(folded.str, folded.len));
			break;
		case EB_ITEM_WILDCARD:
			{
				const EbWildcard *wildcard = operand;

				eb_fold((const char *) &wildcard->lens[wildcard->npieces],
						wildcard->lens[0], &folded);
				if (wildcard->npieces == 1)
					set_key(access, eb_key_folded(path, &folded),
							string_bits(folded.str, folded.len));
				else
					set_prefix(access, &folded);
				break;
			}
		case EB_ITEM_NUMERIC:
			{
				const EbRange *range = operand;
				Numeric		lower = get_number(program, range->lower);
				Numeric		upper = get_number(program, range->upper);

				access->kind = EB_ACCESS_NUMBERS;
				eb_key_range_number(path, lower, upper, &access->low, &access->high);
				access->bits = lower != NULL && upper != NULL ? 3 : 1.5;
				break;
			}
		case EB_ITEM_ADDRESS:
			set_key(access, eb_key_address(path, operand), 16);
			break;
		case EB_ITEM_CIDR:
			access->cidr = operand;
			access->kind = EB_ACCESS_BLOCK;
			access->bits = access->cidr->bits / (access->cidr->is_v6 ? 6.0 : 2.0);
			break;
		case EB_ITEM_SUFFIX:
		case EB_ITEM_SUFFIX_IGNORE_CASE:
			access->bits = 2;
			break;
		case EB_ITEM_ANYTHING_BUT:
			break;
	}
}

int
eb_accesses(const EbProgram *program, const EbRequirement *requirement,
			EbAccess **accesses)
{
	const EbValues *values = eb_program_at(program, requirement->values);
	const EbString *strings = eb_program_at(program, values->strings);
	const uint32 *numbers = eb_program_at(program, values->numbers);
	const EbItem *items = eb_program_at(program, values->items);
	EbPathHash	path = requirement->path;
	Size		most = 3 + (Size) values->nstrings + values->nnumbers + values->nitems;
	EbAccess   *list = palloc_extended(most * sizeof(EbAccess), MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	int			n = 0;

	*accesses = list;
	if (values->flags & EB_VALUES_EXISTS)
	{
		list[0].kind = EB_ACCESS_ANY;
		return 1;
	}
	if (values->flags & EB_VALUES_TRUE)
		set_key(&list[n++], eb_key_bool(path, true), 1);
	if (values->flags & EB_VALUES_FALSE)
		set_key(&list[n++], eb_key_bool(path, false), 1);
	if (values->flags & EB_VALUES_NULL)
		set_key(&list[n++], eb_key_null(path), 1);
	for (int i = 0; i < values->nstrings; i++)
	{
		const char *str = eb_program_at(program, strings[i].offset);

		set_key(&list[n++], eb_key_string(path, str, strings[i].len),
				string_bits(str, strings[i].len));
	}
	for (int i = 0; i < values->nnumbers; i++)
	{
		Numeric		number = (Numeric) eb_program_at(program, numbers[i]);

		set_key(&list[n++], eb_key_number(path, number), number_bits(number));
	}
	for (int i = 0; i < values->nitems; i++)
	{
		EbAccess   *access = &list[n++];

		CHECK_FOR_INTERRUPTS();
		access->kind = EB_ACCESS_ANY;
		access_item(program, path, &items[i], access);
		if (access->kind == EB_ACCESS_ANY)
		{
			list[0] = *access;
			return 1;
		}
	}
	return n;
}

double
eb_access_bits(const EbAccess *accesses, int naccesses)
{
	double		share = 0;

	for (int i = 0; i < naccesses; i++)
		share += exp2(-accesses[i].bits);
	return share >= 1 ? 0 : -log2(share);
}
