/*-------------------------------------------------------------------------
 *
 * parse.c
 *	  From the tree of a pattern's text to conjunctions of fields.
 *
 * The grammar and the messages are AWS's.  The tree is walked from left to
 * right, depth first, and the first fault ends the walk, so that the fault
 * reported is the one AWS reports.
 *
 * What a pattern means is decided here as AWS decides it: a rule is a list of
 * maps from full path to conditions.  A field is put into every map, where it
 * replaces a field of the same path; $or replaces the maps by one copy of
 * each for every alternative.  So of repeated paths the last counts, and an
 * alternative of $or may replace what stands outside, for itself alone.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/json.h"

#include "compat.h"
#include "pattern/address.h"
#include "pattern/parse.h"

/* Where the walk is: for the path in a message, and for a field's path. */
typedef struct Place
{
	const struct Place *up;
	const char *key;			/* NULL: an element of a list */
	int			index;
} Place;

typedef struct Parser
{
	EbParsedPattern *pattern;
	EbFault    *fault;			/* what the walk found */
	EbFault    *read_fault;		/* what the reader found */
} Parser;

/* Names that AWS's engine does not take as fields inside $or. */
static const char *const reserved_names[] = {
	"exactly", "prefix", "suffix", "equals-ignore-case", "wildcard",
	"anything-but", "numeric", "exists", "cidr", "=", "<", "<=", ">", ">=",
	"regex", "not-wildcard", "not-equals-ignore-case", "date-after",
	"date-on-or-after", "date-before", "date-on-or-before", "in-date-range",
	"ip-address-in-range", "ip-address-not-in-range"
};

static bool parse_object(Parser *parser, const EbJson *object,
						 const Place *place);

/* ------------------------------------------------------------------------
 * Faults
 * ------------------------------------------------------------------------
 */

static void
append_place(StringInfo out, const Place *place)
{
	const char *p;

	if (place == NULL)
		return;
	append_place(out, place->up);
	if (place->key == NULL)
	{
		appendStringInfo(out, "[%d]", place->index);
		return;
	}
	for (p = place->key; isalnum((unsigned char) *p) || strchr("_-/$", *p); p++)
		if (*p == '\0')
			break;
	if (*p == '\0' && p > place->key)
		appendStringInfo(out, ".%s", place->key);
	else
	{
		appendStringInfoChar(out, '[');
		escape_json(out, place->key);
		appendStringInfoChar(out, ']');
	}
}

/*
 * Reports a fault at a value of the tree; always returns false.  If the tree
 * breaks off there, the fault is the reader's.
 */
static bool
fault_at(Parser *parser, const EbJson *at, const Place *place,
		 char *message, const char *hint)
{
	StringInfoData path;

	if (parser->fault->message != NULL)
		return false;

	if (at != NULL && at->kind == EB_JSON_BROKEN)
		*parser->fault = *parser->read_fault;
	else
	{
		parser->fault->sqlstate = ERRCODE_DATA_EXCEPTION;
		parser->fault->message = message;
		parser->fault->hint = hint != NULL ? pstrdup(hint) : NULL;
		parser->fault->at = at != NULL ? at->start : NULL;
	}
	initStringInfo(&path);
	appendStringInfoChar(&path, '$');
	append_place(&path, place);
	parser->fault->path = path.data;
	return false;
}

/* What AWS's parser shows of a token; NULL is the end of a list. */
static const char *
token_text(const EbJson *value)
{
	if (value == NULL)
		return "]";
	switch (value->kind)
	{
		case EB_JSON_OBJECT:
			return "{";
		case EB_JSON_ARRAY:
			return "[";
		default:
			return value->str;
	}
}

/* How a value that stands alone would be written as a list. */
static char *
hint_list(const EbJson *value)
{
	StringInfoData text;

	initStringInfo(&text);
	if (value->kind == EB_JSON_STRING)
		escape_json(&text, value->str);
	else if (value->str != NULL)
		appendStringInfoString(&text, value->str);
	return psprintf("Values stand in a list: write [%s].", text.data);
}

/* The operator that was probably meant by a name, or NULL. */
static const char *
hint_operator(const char *name)
{
	static const struct
	{
		const char *wrong;
		const char *right;
	}			others[] = {
		{"startswith", "prefix"}, {"beginswith", "prefix"},
		{"begins-with", "prefix"}, {"starts-with", "prefix"},
		{"endswith", "suffix"}, {"ends-with", "suffix"},
		{"not", "anything-but"}, {"not-equals", "anything-but"},
		{"equalsignorecase", "equals-ignore-case"},
		{"ignore-case", "equals-ignore-case"},
		{"anythingbut", "anything-but"}, {"like", "wildcard"},
		{"contains", "wildcard"}, {"matches", "wildcard"},
		{"ip", "cidr"}, {"present", "exists"}, {"exist", "exists"},
		{"between", "numeric"}, {"range", "numeric"}, {"number", "numeric"}
	};
	char	   *folded = pstrdup(name);

	for (char *p = folded; *p != '\0'; p++)
		*p = *p == '_' ? '-' : pg_ascii_tolower((unsigned char) *p);
	for (int i = 0; i < 9; i++)
		if (strcmp(folded, reserved_names[i]) == 0)
			return reserved_names[i];
	for (int i = 0; i < lengthof(others); i++)
		if (strcmp(folded, others[i].wrong) == 0)
			return others[i].right;
	return NULL;
}

/* ------------------------------------------------------------------------
 * Match expressions: { "operator": operand }
 * ------------------------------------------------------------------------
 */

static EbCondition *
make_condition(EbConditionKind kind)
{
	EbCondition *condition = palloc0(sizeof(EbCondition));

	condition->kind = kind;
	return condition;
}

/* An alternative whose operand is a string. */
static EbCondition *
make_item(EbItemKind item, const EbJson *operand)
{
	EbCondition *condition = make_condition(EB_CONDITION_ITEM);

	condition->item = item;
	condition->str = operand->str;
	condition->len = operand->len;
	return condition;
}

static EbCondition *
make_string(const EbJson *value)
{
	EbCondition *condition = make_condition(EB_CONDITION_STRING);

	condition->str = value->str;
	condition->len = value->len;
	return condition;
}

/* A number to compare with must be one that a double holds exactly as written. */
static bool
parse_comparable(Parser *parser, const EbJson *value, const Place *place,
				 Numeric *number)
{
	if (eb_parse_number(value->str, number) && eb_number_is_double(*number))
		return true;
	return fault_at(parser, value, place,
					psprintf("Cannot compare number : %s", value->str),
					"Numbers are compared as far as a double-precision number holds them: about 15 significant digits.");
}

/*
 * The operand of prefix or suffix: a string, or { "equals-ignore-case": string }.
 */
static EbCondition *
parse_affix(Parser *parser, const EbJson *operand, const Place *place,
			bool prefix)
{
	const EbJson *inner;

	if (operand->kind == EB_JSON_STRING)
		return make_item(prefix ? EB_ITEM_PREFIX : EB_ITEM_SUFFIX, operand);

	if (operand->kind != EB_JSON_OBJECT)
	{
		fault_at(parser, operand, place,
				 psprintf("%s match pattern must be a string", prefix ? "prefix" : "suffix"),
				 operand->kind != EB_JSON_ARRAY ? NULL :
				 prefix ? "Give each prefix an expression of its own: [{\"prefix\": \"a\"}, {\"prefix\": \"b\"}]." :
				 "Give each suffix an expression of its own: [{\"suffix\": \"a\"}, {\"suffix\": \"b\"}].");
		return NULL;
	}

	inner = operand->first;
	if (inner == NULL || inner->kind == EB_JSON_BROKEN)
	{
		fault_at(parser, inner ? inner : operand, place,
				 psprintf("%s expression name not found", prefix ? "Prefix" : "Suffix"), NULL);
		return NULL;
	}
	if (strcmp(inner->key, "equals-ignore-case") != 0)
	{
		fault_at(parser, inner, place,
				 psprintf("Unsupported %s pattern: %s", prefix ? "prefix" : "suffix", inner->key),
				 "Only \"equals-ignore-case\" may stand here.");
		return NULL;
	}
	if (inner->kind != EB_JSON_STRING)
	{
		fault_at(parser, inner, place,
				 pstrdup("equals-ignore-case match pattern must be a string"), NULL);
		return NULL;
	}
	if (inner->next != NULL)
	{
		fault_at(parser, inner->next, place,
				 pstrdup("Only one key allowed in match expression"), NULL);
		return NULL;
	}
	return make_item(prefix ? EB_ITEM_PREFIX_IGNORE_CASE :
					 EB_ITEM_SUFFIX_IGNORE_CASE, inner);
}

/* A wildcard's operand, also under anything-but. */
static EbCondition *
parse_wildcard(Parser *parser, const EbJson *operand, const Place *place)
{
	char	   *message;

	if (operand->kind != EB_JSON_STRING)
	{
		fault_at(parser, operand, place,
				 pstrdup("wildcard match pattern must be a string"), NULL);
		return NULL;
	}
	message = eb_check_wildcard(operand->str, operand->len);
	if (message != NULL)
	{
		fault_at(parser, operand, place, message,
				 strncmp(message, "Consecutive", 11) == 0 ?
				 "One \"*\" already stands for any run of characters." :
				 "Only \"\\*\" and \"\\\\\" are escapes; in JSON text the backslash is doubled.");
		return NULL;
	}
	return make_item(EB_ITEM_WILDCARD, operand);
}

/* The operand of anything-but without an inner operator. */
static bool
parse_refused_scalars(Parser *parser, const EbJson *operand,
					  const Place *place, List **refused)
{
	const EbJson *value = operand->kind == EB_JSON_ARRAY ? operand->first : operand;
	bool		has_number = false;
	bool		has_string = false;

	for (; value != NULL; value = operand->kind == EB_JSON_ARRAY ? value->next : NULL)
	{
		if (value->kind == EB_JSON_STRING)
		{
			*refused = lappend(*refused, make_string(value));
			has_string = true;
		}
		else if (value->kind == EB_JSON_NUMBER)
		{
			EbCondition *condition = make_condition(EB_CONDITION_NUMBER);

			if (!parse_comparable(parser, value, place, &condition->number))
				return false;
			*refused = lappend(*refused, condition);
			has_number = true;
		}
		else
			return fault_at(parser, value, place,
							pstrdup("Inside anything but list, start|null|boolean is not supported."),
							NULL);
	}
	if (has_number == has_string)
		return fault_at(parser, operand, place,
						pstrdup("Inside anything but list, either all values are number or string, mixed type is not supported"),
						has_number ? "A value that is to be neither of a string and a number needs two fields; one anything-but takes one type." : NULL);
	return true;
}

/* The operand of an inner operator of anything-but: one string, or a list. */
static bool
parse_refused_items(Parser *parser, const EbJson *operand, EbItemKind item,
					const Place *place, List **refused)
{
	const EbJson *value = operand->kind == EB_JSON_ARRAY ? operand->first : operand;

	if (value == NULL)
		return fault_at(parser, operand, place,
						pstrdup("Empty arrays are not allowed"), NULL);

	for (; value != NULL; value = operand->kind == EB_JSON_ARRAY ? value->next : NULL)
	{
		EbCondition *condition;

		if (item == EB_ITEM_WILDCARD)
		{
			condition = parse_wildcard(parser, value, place);
			if (condition == NULL)
				return false;
		}
		else
		{
			bool		affix = item != EB_ITEM_EQUALS_IGNORE_CASE;

			if (value->kind != EB_JSON_STRING)
				return fault_at(parser, value, place,
								pstrdup(affix ? "prefix/suffix match pattern must be a string" :
										"Inside anything-but/equals-ignore-case list, number|start|null|boolean is not supported."),
								NULL);
			if (affix && value->len == 0)
				return fault_at(parser, value, place,
								pstrdup("Null prefix/suffix not allowed"),
								"Every string begins and ends with the empty string, so nothing would match.");
			condition = make_item(item, value);
		}
		*refused = lappend(*refused, condition);
	}
	return true;
}

static EbCondition *
parse_anything_but(Parser *parser, const EbJson *operand, const Place *place)
{
	EbCondition *condition = make_condition(EB_CONDITION_ITEM);
	const EbJson *values = operand;
	EbItemKind	item = EB_ITEM_ANYTHING_BUT;

	condition->item = EB_ITEM_ANYTHING_BUT;
	if (operand->kind == EB_JSON_OBJECT)
	{
		values = operand->first;
		if (values == NULL || values->kind == EB_JSON_BROKEN)
		{
			fault_at(parser, values ? values : operand, place,
					 pstrdup("Anything-But expression name not found"), NULL);
			return NULL;
		}
		if (strcmp(values->key, "equals-ignore-case") == 0)
			item = EB_ITEM_EQUALS_IGNORE_CASE;
		else if (strcmp(values->key, "prefix") == 0)
			item = EB_ITEM_PREFIX;
		else if (strcmp(values->key, "suffix") == 0)
			item = EB_ITEM_SUFFIX;
		else if (strcmp(values->key, "wildcard") == 0)
			item = EB_ITEM_WILDCARD;
		else
		{
			fault_at(parser, values, place,
					 psprintf("Unsupported anything-but pattern: %s", values->key),
					 "Under anything-but may stand prefix, suffix, equals-ignore-case and wildcard.");
			return NULL;
		}
	}

	if (values->kind != EB_JSON_ARRAY && values->kind != EB_JSON_STRING &&
		values->kind != EB_JSON_NUMBER)
	{
		fault_at(parser, values, place,
				 pstrdup("Value of anything-but must be an array or single string/number value."),
				 values->kind == EB_JSON_NULL ? "To ask that a field is present use {\"exists\": true}." : NULL);
		return NULL;
	}
	if (item == EB_ITEM_ANYTHING_BUT ?
		!parse_refused_scalars(parser, values, place, &condition->refused) :
		!parse_refused_items(parser, values, item, place, &condition->refused))
		return NULL;
	if (item != EB_ITEM_ANYTHING_BUT && values->next != NULL)
	{
		fault_at(parser, values->next, place,
				 pstrdup("Too many elements in numeric expression"), NULL);
		return NULL;
	}
	return condition;
}

/* The rest of a numeric expression after a lower bound: [">", 1, "<", 2]. */
static EbCondition *
parse_upper_bound(Parser *parser, EbCondition *range, const EbJson *operator,
				  const Place *place)
{
	const EbJson *bound;

	if (operator->kind != EB_JSON_STRING)
	{
		fault_at(parser, operator, place,
				 psprintf("Bad value in numeric range: %s", token_text(operator)), NULL);
		return NULL;
	}
	if (strcmp(operator->str, "<") != 0 && strcmp(operator->str, "<=") != 0)
	{
		fault_at(parser, operator, place,
				 psprintf("Bad numeric range operator: %s", operator->str),
				 "A range is a lower bound followed by an upper one: [\">\", 0, \"<=\", 5].");
		return NULL;
	}
	range->upper_inclusive = operator->str[1] == '=';

	bound = operator->next;
	if (bound == NULL || bound->kind != EB_JSON_NUMBER)
	{
		fault_at(parser, bound ? bound : operator, place,
				 psprintf("Value of %s must be numeric", operator->str), NULL);
		return NULL;
	}
	if (bound->next != NULL)
	{
		fault_at(parser, bound->next, place,
				 pstrdup("Too many terms in numeric range expression"), NULL);
		return NULL;
	}
	if (!parse_comparable(parser, bound, place, &range->upper))
		return NULL;
	if (DatumGetInt32(DirectFunctionCall2(numeric_cmp,
										  NumericGetDatum(range->lower),
										  NumericGetDatum(range->upper))) >= 0)
	{
		fault_at(parser, bound, place,
				 pstrdup("Bottom must be less than top"),
				 "For one value write [\"=\", value].");
		return NULL;
	}
	return range;
}

static EbCondition *
parse_numeric(Parser *parser, const EbJson *operand, const Place *place)
{
	EbCondition *range = make_condition(EB_CONDITION_ITEM);
	const EbJson *operator = operand->first;
	const EbJson *bound;
	const char *name;
	Numeric		number;

	range->item = EB_ITEM_NUMERIC;
	if (operand->kind != EB_JSON_ARRAY)
	{
		fault_at(parser, operand, place, pstrdup("Value of numeric must be an array."),
				 operand->kind == EB_JSON_NUMBER ?
				 psprintf("Write {\"numeric\": [\"=\", %s]}.", operand->str) :
				 "Write the operator and the number as two elements: {\"numeric\": [\">\", 5]}.");
		return NULL;
	}
	if (operator == NULL || operator->kind != EB_JSON_STRING)
	{
		fault_at(parser, operator ? operator : operand, place,
				 psprintf("Invalid member in numeric match: %s",
						  operator && operator->kind == EB_JSON_BROKEN ? "" : token_text(operator)),
				 "A numeric match starts with an operator: [\"=\", 5].");
		return NULL;
	}
	name = operator->str;
	if (strcmp(name, "=") != 0 && strcmp(name, "<") != 0 && strcmp(name, "<=") != 0 &&
		strcmp(name, ">") != 0 && strcmp(name, ">=") != 0)
	{
		fault_at(parser, operator, place,
				 psprintf("Unrecognized numeric range operator: %s", name),
				 "The operators are =, <, <=, > and >=.");
		return NULL;
	}

	bound = operator->next;
	if (bound == NULL || bound->kind != EB_JSON_NUMBER)
	{
		fault_at(parser, bound ? bound : operator, place,
				 psprintf("Value of %s must be numeric", name[0] == '=' ? "equals" : name),
				 bound && bound->kind == EB_JSON_STRING ? "Write the number without quotes." : NULL);
		return NULL;
	}
	if (name[0] != '>' && bound->next != NULL)
	{
		fault_at(parser, bound->next, place,
				 pstrdup("Too many elements in numeric expression"),
				 name[0] == '<' ? "In a range the lower bound comes first: [\">\", 0, \"<\", 1]." : NULL);
		return NULL;
	}
	if (!parse_comparable(parser, bound, place, &number))
		return NULL;

	if (name[0] == '=')
	{
		EbCondition *equal = make_condition(EB_CONDITION_NUMBER);

		equal->number = number;
		return equal;
	}
	if (name[0] == '<')
	{
		range->upper = number;
		range->upper_inclusive = name[1] == '=';
		return range;
	}
	range->lower = number;
	range->lower_inclusive = name[1] == '=';
	if (bound->next != NULL)
		return parse_upper_bound(parser, range, bound->next, place);
	return range;
}

static EbCondition *
parse_cidr(Parser *parser, const EbJson *operand, const Place *place)
{
	EbCondition *condition = make_condition(EB_CONDITION_ITEM);
	char	   *message;

	condition->item = EB_ITEM_CIDR;
	if (operand->kind != EB_JSON_STRING)
	{
		/* AWS's own words. */
		fault_at(parser, operand, place, pstrdup("prefix match pattern must be a string"), NULL);
		return NULL;
	}
	message = eb_parse_cidr(operand->str, &condition->cidr);
	if (message != NULL)
	{
		fault_at(parser, operand, place, message,
				 strstr(message, "mask bits must be <") != NULL ?
				 "For a single address write the address itself as a string." :
				 "A block of addresses is written as in \"10.0.0.0/24\" or \"2001:db8::/32\".");
		return NULL;
	}
	return condition;
}

/* Is the place an element of what was probably meant as alternatives? */
static bool
is_or_list(const Place *place)
{
	const char *key = place->up != NULL ? place->up->key : NULL;

	return key != NULL && pg_strcasecmp(key + (*key == '$'), "or") == 0;
}

/* One match expression, all of it but the check for a second operator. */
static EbCondition *
parse_operator(Parser *parser, const EbJson *operand, const Place *place)
{
	const char *name = operand->key;
	const char *meant;

	if (strcmp(name, "prefix") == 0 || strcmp(name, "suffix") == 0)
		return parse_affix(parser, operand, place, name[0] == 'p');
	if (strcmp(name, "anything-but") == 0)
		return parse_anything_but(parser, operand, place);
	if (strcmp(name, "numeric") == 0)
		return parse_numeric(parser, operand, place);
	if (strcmp(name, "wildcard") == 0)
		return parse_wildcard(parser, operand, place);
	if (strcmp(name, "cidr") == 0)
		return parse_cidr(parser, operand, place);
	if (strcmp(name, "exists") == 0)
	{
		if (operand->kind == EB_JSON_TRUE || operand->kind == EB_JSON_FALSE)
			return make_condition(operand->kind == EB_JSON_TRUE ?
								  EB_CONDITION_EXISTS : EB_CONDITION_ABSENT);
		fault_at(parser, operand, place,
				 pstrdup("exists match pattern must be either true or false."),
				 operand->kind == EB_JSON_STRING ? "Write true or false without quotes." : NULL);
		return NULL;
	}
	if (strcmp(name, "equals-ignore-case") == 0 || strcmp(name, "exactly") == 0)
	{
		if (operand->kind == EB_JSON_STRING)
			return name[1] == 'q' ?
				make_item(EB_ITEM_EQUALS_IGNORE_CASE, operand) : make_string(operand);
		fault_at(parser, operand, place,
				 psprintf("%s match pattern must be a string",
						  name[1] == 'q' ? "equals-ignore-case" : "exact"),
				 operand->kind == EB_JSON_ARRAY ? "Give each string an expression of its own." : NULL);
		return NULL;
	}

	meant = hint_operator(name);
	fault_at(parser, operand, place,
			 psprintf("Unrecognized match type %s", name),
			 meant != NULL ? psprintf("The operator is called \"%s\".", meant) :
			 is_or_list(place) ? "Alternatives stand under \"$or\", as a list of two or more objects; none of their fields may have the name of an operator." :
			 "An object inside a list is a match expression. A nested field is written without the list: {\"detail\": {\"state\": [\"running\"]}}.");
	return NULL;
}

static EbCondition *
parse_expression(Parser *parser, const EbJson *expression, const Place *place)
{
	const EbJson *operand = expression->first;
	EbCondition *condition;

	if (operand == NULL || (operand->kind == EB_JSON_BROKEN && operand->key == NULL))
	{
		fault_at(parser, operand ? operand : expression, place,
				 pstrdup("Match expression name not found"), NULL);
		return NULL;
	}
	condition = parse_operator(parser, operand, place);
	if (condition != NULL && operand->next != NULL)
	{
		bool		numeric = strcmp(operand->key, "numeric") == 0 ||
			strcmp(operand->key, "anything-but") == 0;

		fault_at(parser, operand->next, place,
				 pstrdup(numeric ? "Too many elements in numeric expression" :
						 "Only one key allowed in match expression"),
				 "Alternatives are expressions of their own: [{\"prefix\": \"a\"}, {\"suffix\": \"b\"}].");
		return NULL;
	}
	return condition;
}

/* ------------------------------------------------------------------------
 * Fields and $or
 * ------------------------------------------------------------------------
 */

/* A plain value; a string that is an IP address matches by address. */
static EbCondition *
parse_scalar(Parser *parser, const EbJson *value, const Place *place)
{
	EbCondition *condition;

	switch (value->kind)
	{
		case EB_JSON_STRING:
			condition = make_string(value);
			if (eb_parse_address(value->str, value->len, &condition->cidr))
			{
				condition->kind = EB_CONDITION_ITEM;
				condition->item = EB_ITEM_ADDRESS;
			}
			return condition;
		case EB_JSON_NUMBER:
			condition = make_condition(EB_CONDITION_NUMBER);
			if (eb_parse_number(value->str, &condition->number))
				return condition;
			fault_at(parser, value, place,
					 psprintf("Cannot compare number : %s", value->str), NULL);
			return NULL;
		case EB_JSON_TRUE:
			return make_condition(EB_CONDITION_TRUE);
		case EB_JSON_FALSE:
			return make_condition(EB_CONDITION_FALSE);
		case EB_JSON_NULL:
			return make_condition(EB_CONDITION_NULL);
		default:
			fault_at(parser, value, place,
					 pstrdup("Match value must be String, number, true, false, or null"),
					 value->kind == EB_JSON_ARRAY ? "Lists are not nested: write [\"a\", \"b\"]." : NULL);
			return NULL;
	}
}

/* Joins the keys of a place with dots. */
static char *
join_path(const Place *place, int *len)
{
	StringInfoData path;
	List	   *keys = NIL;
	ListCell   *cell;

	for (; place != NULL; place = place->up)
		keys = lcons((void *) place->key, keys);
	initStringInfo(&path);
	foreach(cell, keys)
	{
		if (foreach_current_index(cell) > 0)
			appendStringInfoChar(&path, '.');
		appendStringInfoString(&path, lfirst(cell));
	}
	list_free(keys);
	*len = path.len;
	return path.data;
}

/* Puts a field into a conjunction, in place of one of the same path. */
static void
put_field(EbConjunction *conjunction, EbField *field)
{
	ListCell   *cell;

	foreach(cell, conjunction->fields)
	{
		EbField    *other = lfirst(cell);

		if (other->path_len == field->path_len &&
			memcmp(other->path, field->path, field->path_len) == 0)
		{
			lfirst(cell) = field;
			return;
		}
	}
	conjunction->fields = lappend(conjunction->fields, field);
}

static bool
parse_field(Parser *parser, const EbJson *values, const Place *place)
{
	EbField    *field = palloc0(sizeof(EbField));
	ListCell   *cell;
	Place		element = {.up = place};
	int			segments = 1;

	if (values->first == NULL)
		return fault_at(parser, values, place, pstrdup("Empty arrays are not allowed"),
						"To ask that a field is missing use [{\"exists\": false}].");

	for (const EbJson *value = values->first; value != NULL; value = value->next)
	{
		EbCondition *condition;

		CHECK_FOR_INTERRUPTS();
		condition = value->kind == EB_JSON_OBJECT ?
			parse_expression(parser, value, &element) :
			parse_scalar(parser, value, &element);
		if (condition == NULL)
			return false;
		field->conditions = lappend(field->conditions, condition);
		element.index++;
	}

	field->values = values;
	field->path = join_path(place, &field->path_len);
	for (const char *p = field->path; *p != '\0'; p++)
		segments += *p == '.';
	if (segments > EB_MAX_DEPTH)
	{
		fault_at(parser, values, place,
				 psprintf("event pattern is nested more than %d levels deep", EB_MAX_DEPTH), NULL);
		parser->fault->sqlstate = ERRCODE_PROGRAM_LIMIT_EXCEEDED;
		return false;
	}

	if (parser->pattern->conjunctions == NIL)
		parser->pattern->conjunctions = list_make1(palloc0(sizeof(EbConjunction)));
	foreach(cell, parser->pattern->conjunctions)
	{
		CHECK_FOR_INTERRUPTS();
		put_field(lfirst(cell), field);
	}
	return true;
}

/* Is there a reserved name anywhere inside an alternative of $or? */
static bool
names_reserved(const EbJson *object)
{
	check_stack_depth();

	for (const EbJson *member = object->first; member != NULL; member = member->next)
	{
		if (member->key == NULL)
			continue;
		for (int i = 0; i < lengthof(reserved_names); i++)
			if (strcmp(member->key, reserved_names[i]) == 0)
				return true;
		if (member->kind == EB_JSON_OBJECT && names_reserved(member))
			return true;
	}
	return false;
}

/*
 * Is the member $or as an operator?  Otherwise it is a field of that name,
 * for patterns that are older than the operator.
 */
bool
eb_is_or_relationship(const EbJson *member)
{
	int			alternatives = 0;

	if (strcmp(member->key, "$or") != 0 || member->kind != EB_JSON_ARRAY)
		return false;
	for (const EbJson *value = member->first; value != NULL; value = value->next)
	{
		if (value->kind != EB_JSON_OBJECT || value->first == NULL ||
			names_reserved(value))
			return value->kind == EB_JSON_BROKEN && alternatives > 0;
		alternatives++;
	}
	return alternatives >= 2;
}

/* Replaces the conjunctions by one copy of each for every alternative. */
static bool
parse_or(Parser *parser, const EbJson *alternatives, const Place *place)
{
	List	   *before = parser->pattern->conjunctions;
	List	   *after = NIL;
	Place		or_place = {.up = place, .key = "$or"};
	Place		element = {.up = &or_place};

	parser->pattern->has_or = true;
	for (const EbJson *value = alternatives->first; value != NULL; value = value->next)
	{
		ListCell   *cell;

		if (value->kind == EB_JSON_BROKEN)
			return fault_at(parser, value, &element, NULL, NULL);

		parser->pattern->conjunctions = NIL;
		foreach(cell, before)
		{
			EbConjunction *copy = palloc0(sizeof(EbConjunction));

			copy->fields = list_copy(((EbConjunction *) lfirst(cell))->fields);
			parser->pattern->conjunctions =
				lappend(parser->pattern->conjunctions, copy);
		}

		/* The path of a field does not show $or, that of a message does. */
		if (!parse_object(parser, value, place))
			return false;
		after = list_concat(after, parser->pattern->conjunctions);
		if (list_length(after) > EB_MAX_CONJUNCTIONS)
		{
			fault_at(parser, value, &element,
					 psprintf("The $or relationships of a pattern must not make more than %d combinations", EB_MAX_CONJUNCTIONS),
					 "Alternatives of one field are written as a list of its values; $or is for alternatives of different fields.");
			parser->fault->sqlstate = ERRCODE_PROGRAM_LIMIT_EXCEEDED;
			return false;
		}
		element.index++;
	}
	parser->pattern->conjunctions = after;
	return true;
}

static bool
parse_object(Parser *parser, const EbJson *object, const Place *place)
{
	check_stack_depth();

	if (object->first == NULL)
		return fault_at(parser, object, place, pstrdup("Empty objects are not allowed"), NULL);

	for (const EbJson *member = object->first; member != NULL; member = member->next)
	{
		Place		here = {.up = place, .key = member->key};

		CHECK_FOR_INTERRUPTS();
		if (member->key == NULL)
			return fault_at(parser, member, place, NULL, NULL);
		if (eb_is_or_relationship(member))
		{
			if (!parse_or(parser, member, place))
				return false;
			continue;
		}
		if (member->kind == EB_JSON_OBJECT)
		{
			if (!parse_object(parser, member, &here))
				return false;
		}
		else if (member->kind == EB_JSON_ARRAY)
		{
			if (!parse_field(parser, member, &here))
				return false;
		}
		else
			return fault_at(parser, member, &here,
							psprintf("\"%s\" must be an object or an array", member->key),
							member->kind == EB_JSON_BROKEN ? NULL : hint_list(member));
	}
	return true;
}

/* AWS checks the complexity of wildcards when all else has been read. */
static bool
check_wildcards(Parser *parser)
{
	ListCell   *c,
			   *f,
			   *v,
			   *r;

	foreach(c, parser->pattern->conjunctions)
	{
		foreach(f, ((EbConjunction *) lfirst(c))->fields)
		{
			EbField    *field = lfirst(f);

			foreach(v, field->conditions)
			{
				EbCondition *condition = lfirst(v);
				List	   *candidates = condition->kind == EB_CONDITION_ITEM && condition->item == EB_ITEM_ANYTHING_BUT ?
					condition->refused : list_make1(condition);

				foreach(r, candidates)
				{
					EbCondition *wildcard = lfirst(r);

					CHECK_FOR_INTERRUPTS();
					if (wildcard->kind != EB_CONDITION_ITEM || wildcard->item != EB_ITEM_WILDCARD ||
						eb_wildcard_complexity(wildcard->str, wildcard->len) <= EB_MAX_WILDCARD_STATES)
						continue;
					fault_at(parser, field->values, NULL,
							 pstrdup("Rule is too complex - try using fewer wildcard characters or fewer repeating character sequences after a wildcard character"),
							 NULL);
					parser->fault->sqlstate = ERRCODE_PROGRAM_LIMIT_EXCEEDED;
					parser->fault->path = psprintf("$.%s", field->path);
					return false;
				}
			}
		}

		/* All conjunctions hold the fields of the same lists. */
		if (!parser->pattern->has_or)
			break;
	}
	return true;
}

/* A hint for a text that is JSON but no object. */
static const char *
hint_not_object(const EbJson *root)
{
	if (root->kind == EB_JSON_STRING && root->len > 0 && root->str[0] == '{')
		return "The text is a JSON string that holds a pattern: remove the quotes around it and the backslashes inside.";
	if (root->kind == EB_JSON_ARRAY && root->first != NULL && root->first->kind == EB_JSON_OBJECT)
		return "A pattern is one object; alternatives are written with $or.";
	return "A pattern is an object, such as {\"source\": [\"aws.ec2\"]}.";
}

EbParsedPattern *
eb_pattern_check(const char *text, int len, EbFault *fault)
{
	EbFault		read_fault = {0};
	EbParsedPattern *pattern = palloc0(sizeof(EbParsedPattern));
	Parser		parser = {.pattern = pattern, .fault = fault, .read_fault = &read_fault};
	EbJson	   *root;

	memset(fault, 0, sizeof(EbFault));
	root = eb_json_read(text, len, &read_fault);
	pattern->root = root;

	if (len == 0 || strspn(text, " \t\r\n") == len)
	{
		fault_at(&parser, NULL, NULL, pstrdup("Filter is not an object"), NULL);
		return NULL;
	}
	if (root->kind != EB_JSON_OBJECT)
	{
		if (root->kind == EB_JSON_BROKEN && read_fault.hint == NULL)
			read_fault.hint = pstrdup(hint_not_object(root));
		fault_at(&parser, root, NULL, pstrdup("Filter is not an object"),
				 root->kind == EB_JSON_BROKEN ? NULL : hint_not_object(root));
		return NULL;
	}
	if (!parse_object(&parser, root, NULL))
		return NULL;
	if (read_fault.message != NULL)
	{
		*fault = read_fault;
		fault->path = pstrdup("$");
		return NULL;
	}
	if (!check_wildcards(&parser))
		return NULL;
	return pattern;
}
