/*-------------------------------------------------------------------------
 *
 * envelope_parse.c
 *	  The text of an event as jsonb.
 *
 * Each function that gets an event gets it as jsonb, and to make that of the
 * text took nearly half of a worker's time: nine members were found token by
 * token, and sorted.  But nearly all texts come from eb_envelope_write(), so
 * their members, and the order of these in jsonb, are known before.  Such a
 * text is taken to pieces here; its detail alone goes through the lexer.
 *
 * This is a short cut and no second meaning: whatever is not exactly as
 * eb_envelope_write() has it, or has an escape outside of the detail, is left
 * to eb_jsonb_from_text(), and so are all errors.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/jsonb.h"

#include "bus/bus.h"
#include "json/parse.h"

/* The members of an envelope as jsonb sorts them: by length, then by bytes. */
enum
{
	PAIR_ID,
	PAIR_TIME,
	PAIR_DETAIL,
	PAIR_REGION,
	PAIR_SOURCE,
	PAIR_ACCOUNT,
	PAIR_VERSION,
	PAIR_RESOURCES,
	PAIR_DETAIL_TYPE,
	NPAIRS
};

static const char *const names[NPAIRS] = {
	"id", "time", "detail", "region", "source", "account", "version",
	"resources", "detail-type"
};

/* The strings of an envelope in the order of the text, and what precedes them. */
static const struct
{
	const char *before;
	int			pair;
}			strings[] = {
	{"{\"version\":", PAIR_VERSION},
	{",\"id\":", PAIR_ID},
	{",\"detail-type\":", PAIR_DETAIL_TYPE},
	{",\"source\":", PAIR_SOURCE},
	{",\"account\":", PAIR_ACCOUNT},
	{",\"time\":", PAIR_TIME},
	{",\"region\":", PAIR_REGION}
};

/* What has not been read yet. */
typedef struct Rest
{
	const char *at;
	const char *end;
} Rest;

static bool
take(Rest *rest, const char *expected)
{
	size_t		len = strlen(expected);

	if ((size_t) (rest->end - rest->at) < len ||
		memcmp(rest->at, expected, len) != 0)
		return false;
	rest->at += len;
	return true;
}

/* A string that stands in the text as it is. */
static bool
take_string(Rest *rest, JsonbValue *value)
{
	const char *start;

	if (!take(rest, "\""))
		return false;
	for (start = rest->at; rest->at < rest->end && *rest->at != '"'; rest->at++)
		if (*rest->at == '\\' || (unsigned char) *rest->at < ' ')
			return false;
	value->type = jbvString;
	value->val.string.val = unconstify(char *, start);
	value->val.string.len = rest->at - start;
	return take(rest, "\"");
}

/* An array of such strings. */
static bool
take_strings(Rest *rest, JsonbValue *value)
{
	int			size = 4;

	if (!take(rest, "["))
		return false;
	value->type = jbvArray;
	value->val.array.rawScalar = false;
	value->val.array.nElems = 0;
	value->val.array.elems = palloc(size * sizeof(JsonbValue));
	if (take(rest, "]"))
		return true;
	do
	{
		if (value->val.array.nElems == size)
		{
			size *= 2;
			value->val.array.elems = repalloc(value->val.array.elems,
											  size * sizeof(JsonbValue));
		}
		if (!take_string(rest, &value->val.array.elems[value->val.array.nElems++]))
			return false;
	} while (take(rest, ","));
	return take(rest, "]");
}

/* An object or array, which is all that is left but for the last brace. */
static bool
take_detail(Rest *rest, JsonbValue *value)
{
	JsonbValue *tree;

	if (rest->at == rest->end || rest->end[-1] != '}')
		return false;
	tree = eb_jsonb_tree(rest->at, rest->end - rest->at - 1);
	if (tree == NULL)
		return false;
	*value = *tree;
	return true;
}

static bool
take_envelope(Rest *rest, JsonbPair *pairs)
{
	for (int i = 0; i < lengthof(strings); i++)
		if (!take(rest, strings[i].before) ||
			!take_string(rest, &pairs[strings[i].pair].value))
			return false;
	return take(rest, ",\"resources\":") &&
		take_strings(rest, &pairs[PAIR_RESOURCES].value) &&
		take(rest, ",\"detail\":") &&
		take_detail(rest, &pairs[PAIR_DETAIL].value);
}

Jsonb *
eb_envelope_to_jsonb(const char *text, int len)
{
	Rest		rest = {.at = text,.end = text + len};
	JsonbValue	envelope;
	JsonbPair	pairs[NPAIRS];

	if (!take_envelope(&rest, pairs))
		return eb_jsonb_from_text(text, len);
	for (int i = 0; i < NPAIRS; i++)
	{
		pairs[i].key.type = jbvString;
		pairs[i].key.val.string.val = unconstify(char *, names[i]);
		pairs[i].key.val.string.len = strlen(names[i]);
		pairs[i].order = i;
	}
	envelope.type = jbvObject;
	envelope.val.object.nPairs = NPAIRS;
	envelope.val.object.pairs = pairs;
	return JsonbValueToJsonb(&envelope);
}
