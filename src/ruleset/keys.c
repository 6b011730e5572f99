/*-------------------------------------------------------------------------
 *
 * keys.c
 *	  What must be in an event for a predicate to hold.
 *
 * Everything here has to be necessary, nothing has to be sufficient, except
 * where a key is marked as proven.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <float.h>
#include <math.h>

#include "utils/builtins.h"
#include "utils/numeric.h"

#include "compat.h"
#include "pattern/casefold.h"
#include "ruleset/keys.h"

static EbAlternative *
add_alternative(EbAlternatives *result, uint32 max_keys)
{
	EbAlternative *alternative = &result->items[result->n++];

	memset(alternative, 0, sizeof(EbAlternative));
	alternative->keys = max_keys == 0 ? NULL : palloc(max_keys * sizeof(EbKey));
	return alternative;
}

static void
add_key(EbAlternative *alternative, EbKeyKind kind, const char *bytes, uint32 len, bool proven)
{
	EbKey	   *key = &alternative->keys[alternative->nkeys++];

	key->kind = kind;
	key->bytes = bytes;
	key->len = len;
	key->proven = proven;
}

static void
add_number(EbAlternatives *result, Numeric number)
{
	uint32	   *hash = palloc(sizeof(uint32));

	*hash = DatumGetUInt32(DirectFunctionCall1(hash_numeric, NumericGetDatum(number)));
	add_key(add_alternative(result, 1), EB_KEY_NUMBER, (char *) hash, sizeof(uint32), false);
}

/* Makes room for what approximation may lose. */
static double
widen(double bound, int direction)
{
	return isinf(bound) ? bound : bound + direction * (fabs(bound) * 1e-13 + DBL_MIN);
}

static void
add_range(EbAlternatives *result, const EbProgram *program, const EbRange *range)
{
	Numeric		lower = range->lower == 0 ? NULL : (Numeric) eb_program_at(program, range->lower);
	Numeric		upper = range->upper == 0 ? NULL : (Numeric) eb_program_at(program, range->upper);
	EbAlternative *alternative;

	if (lower != NULL && upper != NULL &&
		DatumGetBool(DirectFunctionCall2(numeric_eq, NumericGetDatum(lower),
										 NumericGetDatum(upper))))
	{
		add_number(result, lower);
		return;
	}
	alternative = add_alternative(result, 0);
	alternative->is_range = true;
	alternative->lower = lower == NULL ? -INFINITY : widen(eb_number_approximate(lower), -1);
	alternative->upper = upper == NULL ? INFINITY : widen(eb_number_approximate(upper), 1);
}

/* The key of folded units, those of a suffix in reverse order; see casefold.h. */
static void
add_folded(EbAlternatives *result, EbKeyKind kind, const char *units, uint32 len)
{
	EbAlternative *alternative = add_alternative(result, 1);
	StringInfoData key;
	const char **starts = palloc((len / 2 + 1) * sizeof(char *));
	int			n = 0;

	for (const char *unit = units; unit < units + len;
		 unit += 2 + (uint8) unit[0] + (uint8) unit[1])
		starts[n++] = unit;

	initStringInfo(&key);
	for (int i = 0; i < n; i++)
	{
		const char *unit = starts[kind == EB_KEY_FOLDED_SUFFIX ? n - 1 - i : i];

		eb_casefold_key(&key, unit + 2, (uint8) unit[0]);
	}
	if (key.len > 0 || kind == EB_KEY_FOLDED)
		add_key(alternative, kind, key.data, key.len, false);
}

/* Has the alternative a gram of these bytes already? */
static bool
has_gram(const EbAlternative *alternative, const char *bytes, uint32 len)
{
	for (uint32 i = 0; i < alternative->nkeys; i++)
		if (alternative->keys[i].kind == EB_KEY_GRAM && alternative->keys[i].len == len &&
			memcmp(alternative->keys[i].bytes, bytes, len) == 0)
			return true;
	return false;
}

/* The pieces at the ends, and grams of those between. */
static void
add_wildcard(EbAlternatives *result, const EbWildcard *wildcard)
{
	const char *piece = (const char *) &wildcard->lens[wildcard->npieces];
	uint32		last = wildcard->npieces - 1;
	uint32		total = 2;
	EbAlternative *alternative;

	for (uint32 i = 0; i <= last; i++)
		total += wildcard->lens[i];
	alternative = add_alternative(result, total);
	if (last == 0)
	{
		add_key(alternative, EB_KEY_STRING, piece, wildcard->lens[0], true);
		return;
	}
	for (uint32 i = 0; i <= last; piece += wildcard->lens[i], i++)
	{
		uint32		len = wildcard->lens[i];
		uint32		gram = Min(len, EB_MAX_GRAM);

		if (len == 0)
			continue;
		if (i == 0)
			add_key(alternative, EB_KEY_PREFIX, piece, len, false);
		else if (i == last)
			add_key(alternative, EB_KEY_SUFFIX, piece, len, false);
		else
			for (uint32 at = 0; at + gram <= len && at < 64; at++)
				if (!has_gram(alternative, piece + at, gram))
					add_key(alternative, EB_KEY_GRAM, piece + at, gram, false);
	}
}

static void
add_item(EbAlternatives *result, const EbProgram *program, const EbItem *item)
{
	const char *operand = eb_program_at(program, item->operand);

	switch ((EbItemKind) item->kind)
	{
		case EB_ITEM_PREFIX:
		case EB_ITEM_SUFFIX:
			{
				EbAlternative *alternative = add_alternative(result, 1);

				if (item->len > 0)
					add_key(alternative,
							item->kind == EB_ITEM_PREFIX ? EB_KEY_PREFIX : EB_KEY_SUFFIX,
							operand, item->len, true);
				break;
			}
		case EB_ITEM_PREFIX_IGNORE_CASE:
			add_folded(result, EB_KEY_FOLDED_PREFIX, operand, item->len);
			break;
		case EB_ITEM_SUFFIX_IGNORE_CASE:
			add_folded(result, EB_KEY_FOLDED_SUFFIX, operand, item->len);
			break;
		case EB_ITEM_EQUALS_IGNORE_CASE:
			add_folded(result, EB_KEY_FOLDED, operand, item->len);
			break;
		case EB_ITEM_WILDCARD:
			add_wildcard(result, (const EbWildcard *) operand);
			break;
		case EB_ITEM_NUMERIC:
			add_range(result, program, (const EbRange *) operand);
			break;
		case EB_ITEM_CIDR:
		case EB_ITEM_ADDRESS:
			add_key(add_alternative(result, 1), EB_KEY_ADDRESS, operand, sizeof(EbCidr), false);
			break;
		case EB_ITEM_ANYTHING_BUT:
			(void) add_alternative(result, 0);
			break;
	}
}

void
eb_find_alternatives(const EbProgram *program, const EbValues *values,
					 EbAlternatives *result)
{
	static const struct
	{
		uint32		flag;
		EbKeyKind	kind;
	}			literals[] = {
		{EB_VALUES_TRUE, EB_KEY_TRUE},
		{EB_VALUES_FALSE, EB_KEY_FALSE},
		{EB_VALUES_NULL, EB_KEY_NULL}
	};
	const EbString *strings = eb_program_at(program, values->strings);
	const uint32 *numbers = eb_program_at(program, values->numbers);
	const EbItem *items = eb_program_at(program, values->items);

	result->n = 0;
	result->items = palloc((values->nstrings + values->nnumbers + values->nitems +
							lengthof(literals) + 1) * sizeof(EbAlternative));
	result->accepts_absence = (values->flags & EB_VALUES_ABSENT) != 0;

	if (values->flags & EB_VALUES_EXISTS)
		(void) add_alternative(result, 0);
	for (int i = 0; i < lengthof(literals); i++)
		if (values->flags & literals[i].flag)
			add_key(add_alternative(result, 1), literals[i].kind, "", 0, true);
	for (uint32 i = 0; i < values->nstrings; i++)
		add_key(add_alternative(result, 1), EB_KEY_STRING,
				eb_program_at(program, strings[i].offset), strings[i].len, true);
	for (uint32 i = 0; i < values->nnumbers; i++)
		add_number(result, (Numeric) eb_program_at(program, numbers[i]));
	for (uint32 i = 0; i < values->nitems; i++)
		add_item(result, program, &items[i]);
}
