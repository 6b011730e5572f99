/*-------------------------------------------------------------------------
 *
 * print.c
 *	  The canonical text of a pattern.
 *
 * Two texts of one pattern give the same canonical text if they differ in
 * white space, in escapes, in the spelling of numbers, in the order of
 * fields, in dotted against nested spelling, or in repeated fields.  The
 * order of the values in a list is kept: it is what a reader compares by eye.
 *
 * In a pattern with $or the order of fields can matter (of a path set outside
 * and inside an alternative the later counts), so there the fields stay where
 * they were written.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "nodes/value.h"
#include "utils/builtins.h"
#include "utils/json.h"

#include "pattern/parse.h"

/* A longer number stays as it was written: 1e300 needs no 301 digits. */
#define MAX_NUMBER_LEN 40

static void
print_number(StringInfo out, const char *spelling)
{
	Numeric		number;
	char	   *text;

	if (eb_parse_number(spelling, &number))
	{
		text = numeric_normalize(number);
		if (strlen(text) <= MAX_NUMBER_LEN)
			spelling = text;
	}
	appendStringInfoString(out, spelling);
}

/* A value of the tree, its members in the order of the text. */
void
eb_json_print(StringInfo out, const EbJson *value)
{
	bool		object = value->kind == EB_JSON_OBJECT;

	check_stack_depth();

	switch (value->kind)
	{
		case EB_JSON_OBJECT:
		case EB_JSON_ARRAY:
			appendStringInfoChar(out, object ? '{' : '[');
			for (const EbJson *member = value->first; member != NULL; member = member->next)
			{
				if (member != value->first)
					appendStringInfoString(out, ", ");
				if (object)
				{
					escape_json(out, member->key);
					appendStringInfoString(out, ": ");
				}
				eb_json_print(out, member);
			}
			appendStringInfoChar(out, object ? '}' : ']');
			break;
		case EB_JSON_STRING:
			escape_json(out, value->str);
			break;
		case EB_JSON_NUMBER:
			print_number(out, value->str);
			break;
		default:
			appendStringInfoString(out, value->str);
			break;
	}
}

/* Fields in the order of their segments, a path before what lies below it. */
static int
compare_fields(const ListCell *a, const ListCell *b)
{
	const EbField *fa = lfirst(a);
	const EbField *fb = lfirst(b);

	for (int i = 0; i < fa->path_len && i < fb->path_len; i++)
	{
		if (fa->path[i] == fb->path[i])
			continue;
		if (fa->path[i] == '.')
			return -1;
		if (fb->path[i] == '.')
			return 1;
		return (unsigned char) fa->path[i] < (unsigned char) fb->path[i] ? -1 : 1;
	}
	return fa->path_len < fb->path_len ? -1 : fa->path_len > fb->path_len;
}

static void print_fields(StringInfo out, const List *fields, int from, int to, int skip);

/*
 * Prints fields as members of one object.  Their paths agree in the first
 * seg bytes, and keys are spelled from byte skip on.  Where a path has values
 * and paths below it as well, those below become members of the same object,
 * spelled with dots: no object then has a key twice.
 */
static void
print_members(StringInfo out, const List *fields, int from, int to,
			  int skip, int seg, bool *first)
{
	check_stack_depth();

	while (from < to)
	{
		const EbField *field = list_nth(fields, from);
		const char *dot = memchr(field->path + seg, '.', field->path_len - seg);
		int			end = dot != NULL ? dot - field->path : field->path_len;
		bool		own = dot == NULL;
		int			next;

		for (next = from + 1; next < to; next++)
		{
			const EbField *other = list_nth(fields, next);

			if (other->path_len <= end || other->path[end] != '.' ||
				memcmp(other->path + seg, field->path + seg, end - seg) != 0)
				break;
		}

		if (!*first)
			appendStringInfoString(out, ", ");
		*first = false;
		escape_json(out, pnstrdup(field->path + skip, end - skip));
		appendStringInfoString(out, ": ");
		if (own)
		{
			eb_json_print(out, field->values);
			print_members(out, fields, from + 1, next, skip, end + 1, first);
		}
		else
			print_fields(out, fields, from, next, end + 1);
		from = next;
	}
}

/* Prints fields whose paths agree in the first skip bytes as an object. */
static void
print_fields(StringInfo out, const List *fields, int from, int to, int skip)
{
	bool		first = true;

	appendStringInfoChar(out, '{');
	print_members(out, fields, from, to, skip, skip, &first);
	appendStringInfoChar(out, '}');
}

void
eb_pattern_print(StringInfo out, const EbParsedPattern *parsed)
{
	EbConjunction *conjunction;

	if (parsed->has_or)
	{
		eb_json_print(out, parsed->root);
		return;
	}
	conjunction = linitial(parsed->conjunctions);
	list_sort(conjunction->fields, compare_fields);
	print_fields(out, conjunction->fields, 0, list_length(conjunction->fields), 0);
}

static int
compare_strings(const ListCell *a, const ListCell *b)
{
	return strcmp(strVal(lfirst(a)), strVal(lfirst(b)));
}

/* The conjunctions of a pattern, each as text, in the order of the texts. */
static List *
print_conjunctions(const EbParsedPattern *parsed)
{
	List	   *texts = NIL;
	ListCell   *cell;

	foreach(cell, parsed->conjunctions)
	{
		EbConjunction *conjunction = lfirst(cell);
		StringInfoData out;

		CHECK_FOR_INTERRUPTS();
		list_sort(conjunction->fields, compare_fields);
		initStringInfo(&out);
		print_fields(&out, conjunction->fields, 0, list_length(conjunction->fields), 0);
		texts = lappend(texts, makeString(out.data));
	}
	list_sort(texts, compare_strings);
	return texts;
}

bool
eb_pattern_same_conjunctions(const EbParsedPattern *a, const EbParsedPattern *b)
{
	return equal(print_conjunctions(a), print_conjunctions(b));
}
