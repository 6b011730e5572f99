/*-------------------------------------------------------------------------
 *
 * explain.c
 *	  Why an event matches a pattern, and why not.
 *
 * The matcher is the judge here too: a field's verdict is that of the pattern
 * that consists of this field alone, an alternative's that of the pattern
 * with this alternative alone.  What this file adds is words: it collects the
 * values that the event has at a path and compares them with what was asked
 * in the ways in which people miss.
 *
 * Fields that match alone can still fail together, when their values lie in
 * different elements of an array; that shows in the pairs of fields.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"

#include "compat.h"
#include "pattern/casefold.h"
#include "pattern/leaves.h"
#include "pattern/match.h"
#include "pattern/parse.h"

PG_FUNCTION_INFO_V1(explain_match);

typedef struct Row
{
	const EbField *field;
	EbFindings	found;
	bool		matched;
	char	   *reason;
} Row;

/* ------------------------------------------------------------------------
 * Asking the matcher, and showing what is there
 * ------------------------------------------------------------------------
 */

/* The values found as one jsonb: the value itself, or an array of several. */
static Datum
found_datum(const EbFindings *found, bool *isnull)
{
	StringInfoData out;
	ListCell   *cell;

	*isnull = found->leaves == NIL;
	if (*isnull)
		return (Datum) 0;
	initStringInfo(&out);
	foreach(cell, found->leaves)
		appendStringInfo(&out, "%s%s", foreach_current_index(cell) > 0 ? ", " : "",
						 eb_scalar_text(&((EbLeaf *) lfirst(cell))->value));
	return DirectFunctionCall1(jsonb_in,
							   CStringGetDatum(list_length(found->leaves) == 1 ? out.data :
											   psprintf("[%s]", out.data)));
}

/* Does the event match these fields together? */
static bool
fields_match(const List *fields, JsonbContainer *event)
{
	EbParsedPattern parsed = {0};
	EbConjunction conjunction = {0};
	EbPattern  *pattern;
	bool		result;

	conjunction.fields = list_copy(fields);
	parsed.conjunctions = list_make1(&conjunction);
	pattern = eb_pattern_compile(&parsed);
	result = eb_pattern_matches(pattern, event);
	pfree(pattern);
	return result;
}

/* Does the value satisfy the condition, wherever it stands? */
static bool
condition_holds(const EbCondition *condition, const JsonbValue *value)
{
	EbField		field = {.path = "v", .path_len = 1};
	EbJson		values = {.kind = EB_JSON_ARRAY};
	JsonbPair	pair = {0};
	JsonbValue	event = {.type = jbvObject};
	EbParsedPattern parsed = {0};
	EbConjunction conjunction = {0};

	field.conditions = list_make1((void *) condition);
	field.values = &values;
	conjunction.fields = list_make1(&field);
	parsed.conjunctions = list_make1(&conjunction);

	pair.key.type = jbvString;
	pair.key.val.string.val = "v";
	pair.key.val.string.len = 1;
	pair.value = *value;
	event.val.object.nPairs = 1;
	event.val.object.pairs = &pair;
	return eb_pattern_matches_value(eb_pattern_compile(&parsed), &event);
}

/* ------------------------------------------------------------------------
 * Words
 * ------------------------------------------------------------------------
 */

/* The text that an alternative asks for, if it asks for one. */
static const char *
wanted_string(const EbCondition *condition)
{
	if (condition->kind == EB_CONDITION_STRING ||
		(condition->kind == EB_CONDITION_ITEM && condition->item == EB_ITEM_ADDRESS))
		return condition->str;
	return NULL;
}

static char *
trim(const char *str, int len)
{
	while (len > 0 && isspace((unsigned char) str[len - 1]))
		len--;
	while (len > 0 && isspace((unsigned char) *str))
	{
		str++;
		len--;
	}
	return pnstrdup(str, len);
}

static bool
same_folded(const char *a, int a_len, const char *b)
{
	StringInfoData fa;
	StringInfoData fb;

	initStringInfo(&fa);
	initStringInfo(&fb);
	eb_casefold_key(&fa, a, a_len);
	eb_casefold_key(&fb, b, strlen(b));
	return fa.len == fb.len && memcmp(fa.data, fb.data, fa.len) == 0;
}

/* How a string of the event misses an alternative by little, or NULL. */
static char *
near_miss_string(const EbCondition *condition, const char *str, int len)
{
	char	   *value = pnstrdup(str, len);
	const char *wanted = wanted_string(condition);

	if (wanted != NULL)
	{
		if (same_folded(str, len, wanted))
			return psprintf("\"%s\" differs only in case; {\"equals-ignore-case\": ...} would match", value);
		if (strcmp(trim(str, len), trim(wanted, strlen(wanted))) == 0)
			return psprintf("\"%s\" differs only in white space at its start or end", value);
		return NULL;
	}
	if (condition->kind == EB_CONDITION_NUMBER ||
		(condition->kind == EB_CONDITION_ITEM && condition->item == EB_ITEM_NUMERIC))
	{
		char	   *end;

		(void) strtod(value, &end);
		if (len > 0 && *end == '\0')
			return psprintf("\"%s\" is a string, and the pattern asks for a number", value);
		return NULL;
	}
	if ((condition->kind == EB_CONDITION_TRUE && strcmp(value, "true") == 0) ||
		(condition->kind == EB_CONDITION_FALSE && strcmp(value, "false") == 0) ||
		(condition->kind == EB_CONDITION_NULL && strcmp(value, "null") == 0))
		return psprintf("\"%s\" is a string, and the pattern asks for %s itself", value, value);
	if (condition->kind == EB_CONDITION_ITEM &&
		(condition->item == EB_ITEM_PREFIX || condition->item == EB_ITEM_SUFFIX))
	{
		EbCondition folded = *condition;
		JsonbValue	scalar = {.type = jbvString};

		folded.item = condition->item == EB_ITEM_PREFIX ?
			EB_ITEM_PREFIX_IGNORE_CASE : EB_ITEM_SUFFIX_IGNORE_CASE;
		scalar.val.string.val = value;
		scalar.val.string.len = len;
		if (condition_holds(&folded, &scalar))
			return psprintf("\"%s\" differs only in case from the %s", value,
							condition->item == EB_ITEM_PREFIX ? "prefix" : "suffix");
	}
	return NULL;
}

static char *
near_miss(const EbCondition *condition, const JsonbValue *value)
{
	const char *wanted = wanted_string(condition);

	if (value->type == jbvString)
		return near_miss_string(condition, value->val.string.val, value->val.string.len);
	if (wanted != NULL && strcmp(wanted, eb_scalar_text(value)) == 0)
		return psprintf("%s is %s, and the pattern asks for a string", wanted,
						value->type == jbvNumeric ? "a number" :
						value->type == jbvNull ? "null" : "a boolean");
	return NULL;
}

/* Letters and digits in lower case: names that people mix up are equal so. */
static char *
loose_name(const char *name)
{
	char	   *loose = palloc(strlen(name) + 1);
	char	   *out = loose;

	for (; *name != '\0'; name++)
		if (isalnum((unsigned char) *name) || IS_HIGHBIT_SET(*name))
			*out++ = pg_ascii_tolower((unsigned char) *name);
	*out = '\0';
	return loose;
}

/* Why there is no value at a path, with what stands elsewhere instead. */
static char *
explain_missing(const Row *row, const List *leaves)
{
	ListCell   *cell;
	ListCell   *c;
	char	   *loose = loose_name(row->field->path);

	if (row->found.object)
		return "the path leads to an object; a condition looks at single values, so name the field inside it";
	if (row->found.empty_array)
		return "the path leads to an empty array, which has no value";

	foreach(cell, leaves)
	{
		EbLeaf	   *leaf = lfirst(cell);

		if (strcmp(loose_name(leaf->path), loose) == 0)
			return psprintf("the event has no such field; it has \"%s\"", leaf->path);
	}
	foreach(cell, leaves)
	{
		EbLeaf	   *leaf = lfirst(cell);

		foreach(c, row->field->conditions)
		{
			EbCondition *condition = lfirst(c);

			if ((wanted_string(condition) != NULL || condition->kind == EB_CONDITION_NUMBER) &&
				condition_holds(condition, &leaf->value))
				return psprintf("the event has no such field; it has %s at \"%s\"",
								eb_scalar_text(&leaf->value), leaf->path);
		}
	}
	return "the event has no such field";
}

static char *
explain_mismatch(const Row *row, const List *leaves)
{
	ListCell   *cell;
	ListCell   *c;

	if (row->found.leaves == NIL)
		return explain_missing(row, leaves);

	foreach(cell, row->found.leaves)
	{
		foreach(c, row->field->conditions)
		{
			char	   *reason = near_miss(lfirst(c), &((EbLeaf *) lfirst(cell))->value);

			if (reason != NULL)
				return reason;
		}
	}
	foreach(c, row->field->conditions)
	{
		EbCondition *condition = lfirst(c);

		if (condition->kind == EB_CONDITION_ABSENT && list_length(row->field->conditions) == 1)
			return "the field is there, and the pattern asks that it is not";
	}
	return list_length(row->found.leaves) > 1 ?
		"none of the values satisfies any of the conditions" :
		"the value satisfies none of the conditions";
}

static const char *
condition_words(const EbCondition *condition)
{
	switch (condition->kind)
	{
		case EB_CONDITION_EXISTS:
			return "is there";
		case EB_CONDITION_ITEM:
			break;
		default:
			return "is equal";
	}
	switch (condition->item)
	{
		case EB_ITEM_PREFIX:
			return "begins with the prefix";
		case EB_ITEM_SUFFIX:
			return "ends with the suffix";
		case EB_ITEM_PREFIX_IGNORE_CASE:
			return "begins with the prefix, in whatever case";
		case EB_ITEM_SUFFIX_IGNORE_CASE:
			return "ends with the suffix, in whatever case";
		case EB_ITEM_EQUALS_IGNORE_CASE:
			return "is equal but for case";
		case EB_ITEM_WILDCARD:
			return "fits the wildcard";
		case EB_ITEM_NUMERIC:
			return "lies in the range";
		case EB_ITEM_CIDR:
			return "lies in the block of addresses";
		case EB_ITEM_ADDRESS:
			return "is the same address";
		case EB_ITEM_ANYTHING_BUT:
			return "is none of those refused";
	}
	return "matches";
}

/* Which value satisfied which alternative. */
static char *
explain_success(const Row *row)
{
	ListCell   *cell;
	ListCell   *c;

	foreach(cell, row->found.leaves)
	{
		EbLeaf	   *leaf = lfirst(cell);

		foreach(c, row->field->conditions)
			if (condition_holds(lfirst(c), &leaf->value))
				return psprintf("%s %s", eb_scalar_text(&leaf->value), condition_words(lfirst(c)));
	}
	return "there is no value, as asked";
}

/* ------------------------------------------------------------------------
 * The function
 * ------------------------------------------------------------------------
 */

/* A row for each field of the pattern, in the order of its text. */
static List *
make_rows(const EbParsedPattern *parsed)
{
	List	   *rows = NIL;
	ListCell   *c;
	ListCell   *f;
	ListCell   *r;

	foreach(c, parsed->conjunctions)
	{
		foreach(f, ((EbConjunction *) lfirst(c))->fields)
		{
			bool		known = false;

			foreach(r, rows)
				known |= ((Row *) lfirst(r))->field == lfirst(f);
			if (!known)
			{
				Row		   *row = palloc0(sizeof(Row));

				row->field = lfirst(f);
				rows = lappend(rows, row);
			}
		}
	}
	return rows;
}

static Row *
row_of_field(List *rows, const EbField *field)
{
	ListCell   *r;

	foreach(r, rows)
		if (((Row *) lfirst(r))->field == field)
			return lfirst(r);
	return NULL;
}

/*
 * Fields that all match alone, but not together: says so at those that fail
 * in pairs, or at all of them if it takes more than two to fail.
 */
static void
explain_together(List *rows, const List *fields, JsonbContainer *event)
{
	bool		found = false;
	ListCell   *a;
	ListCell   *b;

	foreach(a, fields)
	{
		foreach(b, fields)
		{
			const EbField *first = lfirst(a);
			const EbField *second = lfirst(b);
			Row		   *row = row_of_field(rows, first);

			CHECK_FOR_INTERRUPTS();
			if (first == second || !row->matched ||
				fields_match(list_make2((void *) first, (void *) second), event))
				continue;
			row->matched = false;
			row->reason = psprintf("matches, but in another element of an array than \"%s\"", second->path);
			found = true;
		}
	}
	if (found)
		return;
	foreach(a, fields)
	{
		Row		   *row = row_of_field(rows, lfirst(a));

		row->matched = false;
		row->reason = "matches, but no element of the array satisfies all fields at once";
	}
}

/* explain_match(event jsonb, pattern event_pattern) → setof (path, condition, found, matched, reason) */
Datum
explain_match(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	Jsonb	   *event = PG_GETARG_JSONB_P(0);
	const EbPattern *pattern = PG_GETARG_EVENT_PATTERN_P(1);
	bool		matches = eb_pattern_matches(pattern, &event->root);
	JsonbValue	root = {.type = jbvBinary};
	EbFault		fault;
	EbParsedPattern *parsed = eb_pattern_check(pnstrdup(pattern->text, pattern->text_len),
											   pattern->text_len, &fault);
	List	   *rows;
	List	   *leaves = NIL;
	ListCell   *cell;

	if (parsed == NULL)
		elog(ERROR, "stored event pattern is not valid: %s", fault.message);
	InitMaterializedSRF(fcinfo, 0);

	rows = make_rows(parsed);
	root.val.binary.data = &event->root;
	if (!matches)
		eb_collect_leaves(&root, "", &leaves);
	foreach(cell, rows)
	{
		Row		   *row = lfirst(cell);

		eb_find_values(&root, row->field->path, row->field->path_len, false, &row->found);
		row->matched = fields_match(list_make1((void *) row->field), &event->root);
		row->reason = row->matched ? explain_success(row) : explain_mismatch(row, leaves);
	}
	if (!matches)
	{
		foreach(cell, parsed->conjunctions)
		{
			List	   *fields = ((EbConjunction *) lfirst(cell))->fields;
			bool		all = true;
			ListCell   *f;

			foreach(f, fields)
				all &= row_of_field(rows, lfirst(f))->matched;
			if (all)
				explain_together(rows, fields, &event->root);
		}
	}

	foreach(cell, rows)
	{
		Row		   *row = lfirst(cell);
		StringInfoData condition;
		Datum		values[5];
		bool		nulls[5] = {false};

		initStringInfo(&condition);
		eb_json_print(&condition, row->field->values);
		values[0] = CStringGetTextDatum(psprintf("$.%s", row->field->path));
		values[1] = DirectFunctionCall1(jsonb_in, CStringGetDatum(condition.data));
		values[2] = found_datum(&row->found, &nulls[2]);
		values[3] = BoolGetDatum(row->matched);
		values[4] = CStringGetTextDatum(row->reason);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}
