/*-------------------------------------------------------------------------
 *
 * path.c
 *	  EventBridge's JSON paths: reading and following them.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "miscadmin.h"

#include "compat.h"
#include "json/path.h"

/* What a wildcard has found so far, in the form of its source. */
typedef struct Matches
{
	int			count;
	StringInfoData text;		/* json */
	JsonbParseState *state;		/* jsonb */
} Matches;

static inline bool
is_name_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
		(c >= '0' && c <= '9') || c == '_' || c == '/' || c == '-';
}

/*
 * Note what is wrong and give up.
 */
static EbPath *
refuse(EbPathFault *fault, const char *expected, int position)
{
	fault->expected = expected;
	fault->position = position;
	return NULL;
}

/*
 * Read the digits of an index.  An index beyond all arrays is as good as any
 * other that finds nothing.
 */
static const char *
read_index(const char *p, const char *end, uint32 *index)
{
	uint64		value = 0;

	for (; p < end && *p >= '0' && *p <= '9'; p++)
		value = Min(value * 10 + (*p - '0'), PG_UINT32_MAX);
	*index = (uint32) value;
	return p;
}

/*
 * Compile a path.  Returns NULL and fills *fault if it is none.  The result
 * is one chunk in the current memory context and keeps nothing of the
 * argument.
 */
EbPath *
eb_path_parse(const char *text, int len, EbPathFault *fault)
{
	EbPath	   *path;
	const char *p;
	const char *start;
	const char *end;
	char	   *copy;

	if (pg_mbstrlen_with_len(text, len) > EB_PATH_MAX_LENGTH)
		return refuse(fault, "at most 256 characters", 0);
	if (len == 0 || text[0] != '$')
		return refuse(fault, "\"$\"", 1);

	/* No step is shorter than two characters. */
	path = palloc0(offsetof(EbPath, steps) +
				   (len / 2) * sizeof(EbPathStep) + len + 1);
	copy = (char *) &path->steps[len / 2];
	memcpy(copy, text, len);
	path->text = copy;

	start = copy;
	end = copy + len;
	p = copy + 1;
	while (p < end)
	{
		EbPathStep *step = &path->steps[path->nsteps];

		if (*p == '.')
		{
			step->kind = EB_STEP_MEMBER;
			step->name = ++p;
			while (p < end && is_name_char(*p))
				p++;
			step->name_len = p - step->name;
			if (step->name_len == 0)
				return refuse(fault, "a name of letters, digits, \"_\", \"/\" or \"-\"",
							  p - start + 1);
		}
		else if (*p == '[' && path->nsteps > 0)
		{
			p++;
			if (p < end && *p == '*')
			{
				step->kind = EB_STEP_ALL;
				path->has_wildcard = true;
				p++;
			}
			else if (p < end && *p >= '0' && *p <= '9')
			{
				step->kind = EB_STEP_INDEX;
				p = read_index(p, end, &step->index);
			}
			else
				return refuse(fault, "an index or \"*\"", p - start + 1);
			if (p >= end || *p != ']')
				return refuse(fault, "\"]\"", p - start + 1);
			p++;
		}
		else
			return refuse(fault, path->nsteps > 0 ? "\".\", \"[\" or the end" :
						  "\".\" or the end", p - start + 1);
		path->nsteps++;
	}

	return path;
}

/*
 * The fault as a sentence for DETAIL.
 */
char *
eb_path_fault_detail(const char *text, int len, const EbPathFault *fault)
{
	if (fault->position == 0)
		return psprintf("A path has %s.", fault->expected);
	return psprintf("Path \"%.*s\": expected %s at character %d.",
					len, text, fault->expected, fault->position);
}

/*
 * Take one step from a container in json text.
 */
static bool
step_text(const EbPathStep *step, const EbJson *from, EbJson *found)
{
	EbJsonTextIterator it;
	uint32		index = 0;
	bool		result = false;

	if (from->len == 0 ||
		*from->text != (step->kind == EB_STEP_MEMBER ? '{' : '['))
		return false;

	eb_json_text_iterate(&it, from->text, from->len);
	while (eb_json_text_next(&it))
	{
		if (step->kind == EB_STEP_MEMBER ?
			!eb_json_text_key_equals(&it, step->name, step->name_len) :
			index++ != step->index)
			continue;

		found->text = it.value;
		found->len = it.value_len;
		result = true;

		/* There may be a later member of the same name, which counts. */
		if (step->kind == EB_STEP_INDEX)
			break;
	}
	return result;
}

/*
 * Take one step from a jsonb container.
 */
static bool
step_jsonb(const EbPathStep *step, const EbJson *from, EbJson *found)
{
	JsonbContainer *container;

	if (from->jsonb.type != jbvBinary)
		return false;
	container = from->jsonb.val.binary.data;

	if (step->kind == EB_STEP_MEMBER)
	{
		JsonbValue	value;

		if (!JsonContainerIsObject(container) ||
			getKeyJsonValueFromContainer(container, step->name,
										 step->name_len, &value) == NULL)
			return false;
		found->jsonb = value;
	}
	else
	{
		JsonbValue *value;

		if (!JsonContainerIsArray(container))
			return false;
		value = getIthJsonbValueFromContainer(container, step->index);
		if (value == NULL)
			return false;
		found->jsonb = *value;
	}
	found->text = NULL;
	return true;
}

static inline bool
take_step(const EbPathStep *step, const EbJson *from, EbJson *found)
{
	return from->text != NULL ? step_text(step, from, found) :
		step_jsonb(step, from, found);
}

/*
 * Add one match to the array of matches.
 */
static void
add_match(Matches *matches, const EbJson *value)
{
	if (value->text != NULL)
	{
		if (matches->count == 0)
			initStringInfo(&matches->text);
		appendStringInfoChar(&matches->text, matches->count == 0 ? '[' : ',');
		appendBinaryStringInfo(&matches->text, value->text, value->len);
	}
	else
	{
		JsonbValue	element = value->jsonb;

		if (matches->count == 0)
			pushJsonbValue(&matches->state, WJB_BEGIN_ARRAY, NULL);
		pushJsonbValue(&matches->state, WJB_ELEM, &element);
	}
	matches->count++;
}

/*
 * Follow a path with wildcards from its given step on, and collect what it
 * leads to.  The recursion is no deeper than the path has wildcards.
 */
static void
collect_matches(const EbPath *path, int i, const EbJson *from, Matches *matches)
{
	EbJson		at = *from;
	EbJson		element;

	for (; i < path->nsteps && path->steps[i].kind != EB_STEP_ALL; i++)
	{
		if (!take_step(&path->steps[i], &at, &at))
			return;
	}
	if (i == path->nsteps)
	{
		add_match(matches, &at);
		return;
	}

	check_stack_depth();
	if (at.text != NULL)
	{
		EbJsonTextIterator it;

		if (at.len == 0 || *at.text != '[')
			return;
		eb_json_text_iterate(&it, at.text, at.len);
		while (eb_json_text_next(&it))
		{
			element.text = it.value;
			element.len = it.value_len;
			collect_matches(path, i + 1, &element, matches);
		}
	}
	else
	{
		JsonbIterator *it;
		JsonbIteratorToken token;

		if (eb_json_type(&at) != jbvArray)
			return;
		it = JsonbIteratorInit(at.jsonb.val.binary.data);
		element.text = NULL;
		while ((token = JsonbIteratorNext(&it, &element.jsonb, true)) != WJB_DONE)
		{
			CHECK_FOR_INTERRUPTS();
			if (token == WJB_ELEM)
				collect_matches(path, i + 1, &element, matches);
		}
	}
}

/*
 * Follow the path from a value.  Returns whether it leads to something, and
 * to what.  The array that a wildcard finds is made in the current memory
 * context; anything else points into the source.
 */
bool
eb_path_get(const EbPath *path, const EbJson *from, EbJson *found)
{
	Matches		matches;

	if (!path->has_wildcard)
	{
		*found = *from;
		for (int i = 0; i < path->nsteps; i++)
		{
			if (!take_step(&path->steps[i], found, found))
				return false;
		}
		return true;
	}

	memset(&matches, 0, sizeof(matches));
	collect_matches(path, 0, from, &matches);
	if (matches.count == 0)
		return false;
	if (from->text != NULL)
	{
		appendStringInfoChar(&matches.text, ']');
		found->text = matches.text.data;
		found->len = matches.text.len;
	}
	else
		eb_json_from_jsonb(found,
						   JsonbValueToJsonb(pushJsonbValue(&matches.state,
															WJB_END_ARRAY, NULL)));
	return true;
}
