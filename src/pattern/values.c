/*-------------------------------------------------------------------------
 *
 * values.c
 *	  One scalar of an event against the alternatives of a field.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/numeric.h"

#include "pattern/address.h"
#include "pattern/casefold.h"
#include "pattern/match.h"

/* Up to this many strings are compared one by one. */
#define LINEAR_STRINGS 8

static int
compare_numbers(Numeric a, Numeric b)
{
	return DatumGetInt32(DirectFunctionCall2(numeric_cmp,
											 NumericGetDatum(a),
											 NumericGetDatum(b)));
}

static Numeric
program_numeric(const EbProgram *program, uint32 offset)
{
	return (Numeric) eb_program_at(program, offset);
}

static bool
match_strings(const EbProgram *program, const EbValues *values,
			  const char *str, int len)
{
	const EbString *strings = eb_program_at(program, values->strings);
	int			low = 0;
	int			high = values->nstrings;

	if (values->nstrings <= LINEAR_STRINGS)
	{
		for (int i = 0; i < high; i++)
			if (strings[i].len == len &&
				memcmp(eb_program_at(program, strings[i].offset), str, len) == 0)
				return true;
		return false;
	}

	while (low < high)
	{
		int			middle = (low + high) / 2;
		int			order = len - (int) strings[middle].len;

		if (order == 0)
			order = memcmp(str, eb_program_at(program, strings[middle].offset), len);
		if (order == 0)
			return true;
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return false;
}

static bool
match_numbers(const EbProgram *program, const EbValues *values, Numeric number)
{
	const uint32 *numbers = eb_program_at(program, values->numbers);
	int			low = 0;
	int			high = values->nnumbers;

	while (low < high)
	{
		int			middle = (low + high) / 2;
		int			order = compare_numbers(number, program_numeric(program, numbers[middle]));

		if (order == 0)
			return true;
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return false;
}

static bool
match_range(const EbProgram *program, const EbRange *range, Numeric number)
{
	int			order;

	if (numeric_is_nan(number))
		return false;
	if (range->lower != 0)
	{
		order = compare_numbers(number, program_numeric(program, range->lower));
		if (order < 0 || (order == 0 && !range->lower_inclusive))
			return false;
	}
	if (range->upper != 0)
	{
		order = compare_numbers(number, program_numeric(program, range->upper));
		if (order > 0 || (order == 0 && !range->upper_inclusive))
			return false;
	}
	return true;
}

/*
 * The first piece is anchored at the start and the last one at the end; each
 * piece between is taken where it first occurs, which leaves the most to
 * those after it.
 */
static bool
match_wildcard(const EbWildcard *wildcard, const char *str, int len)
{
	const char *piece = (const char *) &wildcard->lens[wildcard->npieces];
	int			last = wildcard->npieces - 1;

	if (last == 0)
		return len == wildcard->lens[0] && memcmp(str, piece, len) == 0;

	if (len < wildcard->lens[0] || memcmp(str, piece, wildcard->lens[0]) != 0)
		return false;
	str += wildcard->lens[0];
	len -= wildcard->lens[0];
	piece += wildcard->lens[0];

	for (int i = 1; i < last; i++)
	{
		const char *found;

		if (wildcard->lens[i] == 0)
			continue;
		found = memmem(str, len, piece, wildcard->lens[i]);
		if (found == NULL)
			return false;
		len -= found + wildcard->lens[i] - str;
		str = found + wildcard->lens[i];
		piece += wildcard->lens[i];
	}
	return len >= wildcard->lens[last] &&
		memcmp(str + len - wildcard->lens[last], piece, wildcard->lens[last]) == 0;
}

bool
eb_item_match(const EbProgram *program, const EbItem *item,
			  const JsonbValue *scalar)
{
	const char *operand = eb_program_at(program, item->operand);
	const char *str = scalar->val.string.val;
	int			len = scalar->val.string.len;
	EbCidr		address;

	if (item->kind == EB_ITEM_ANYTHING_BUT)
		return !eb_values_match(program, (const EbValues *) operand, scalar);
	if (item->kind == EB_ITEM_NUMERIC)
		return scalar->type == jbvNumeric &&
			match_range(program, (const EbRange *) operand, scalar->val.numeric);

	if (scalar->type != jbvString)
		return false;
	switch ((EbItemKind) item->kind)
	{
		case EB_ITEM_PREFIX:
			return len >= item->len && memcmp(str, operand, item->len) == 0;
		case EB_ITEM_SUFFIX:
			return len >= item->len &&
				memcmp(str + len - item->len, operand, item->len) == 0;
		case EB_ITEM_PREFIX_IGNORE_CASE:
			return eb_casefold_match(operand, item->len, str, len, false) >= 0;
		case EB_ITEM_SUFFIX_IGNORE_CASE:
			return eb_casefold_match(operand, item->len, str, len, true) >= 0;
		case EB_ITEM_EQUALS_IGNORE_CASE:
			return eb_casefold_match(operand, item->len, str, len, false) == len;
		case EB_ITEM_WILDCARD:
			return match_wildcard((const EbWildcard *) operand, str, len);
		case EB_ITEM_CIDR:
		case EB_ITEM_ADDRESS:
			return eb_parse_address(str, len, &address) &&
				eb_cidr_contains((const EbCidr *) operand, &address);
		case EB_ITEM_NUMERIC:
		case EB_ITEM_ANYTHING_BUT:
			break;
	}
	return false;
}

bool
eb_values_match(const EbProgram *program, const EbValues *values,
				const JsonbValue *scalar)
{
	const EbItem *items;

	if (values->flags & EB_VALUES_EXISTS)
		return true;

	switch (scalar->type)
	{
		case jbvString:
			if (values->nstrings > 0 &&
				match_strings(program, values, scalar->val.string.val, scalar->val.string.len))
				return true;
			break;
		case jbvNumeric:
			if (values->nnumbers > 0 && match_numbers(program, values, scalar->val.numeric))
				return true;
			break;
		case jbvBool:
			if (values->flags & (scalar->val.boolean ? EB_VALUES_TRUE : EB_VALUES_FALSE))
				return true;
			break;
		case jbvNull:
			if (values->flags & EB_VALUES_NULL)
				return true;
			break;
		default:
			return false;
	}

	items = eb_program_at(program, values->items);
	for (int i = 0; i < values->nitems; i++)
		if (eb_item_match(program, &items[i], scalar))
			return true;
	return false;
}
