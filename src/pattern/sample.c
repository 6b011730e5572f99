/*-------------------------------------------------------------------------
 *
 * sample.c
 *	  A starting pattern from a sample event.
 *
 * The pattern names the values that the sample has at some paths, and so
 * matches the sample.  Where the caller names no paths, it takes the fields
 * that say of what kind an event is; an event without any of them gives all
 * its values.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/json.h"

#include "pattern/leaves.h"
#include "pattern/pattern.h"

PG_FUNCTION_INFO_V1(event_pattern_from);

/* Events of AWS services, CloudTrail calls within them, stream records. */
static const char *const kind_paths[] = {
	"source", "detail-type", "detail.eventSource", "detail.eventName",
	"eventSource", "eventName"
};

/* Appends "path": [value, ...] for the leaves that have the path. */
static void
append_field(StringInfo out, const char *path, const List *leaves)
{
	StringInfoData values;
	ListCell   *cell;

	initStringInfo(&values);
	foreach(cell, leaves)
	{
		EbLeaf	   *leaf = lfirst(cell);
		char	   *text;

		if (leaf->path != NULL && strcmp(leaf->path, path) != 0)
			continue;
		text = eb_scalar_text(&leaf->value);
		appendStringInfo(&values, "%s%s", values.len > 0 ? ", " : "", text);
	}
	appendStringInfoString(out, out->len > 1 ? ", " : "");
	escape_json(out, path);
	appendStringInfo(out, ": [%s]", values.data);
}

/* Adds the fields at and below a path; false if the event has no value there. */
static bool
add_path(StringInfo out, const JsonbValue *event, const char *path)
{
	EbFindings	found = {0};
	List	   *leaves = NIL;
	ListCell   *cell;
	bool		added = false;
	int			len = strlen(path);

	eb_find_values(event, path, len, false, &found);
	if (found.leaves != NIL)
	{
		append_field(out, path, found.leaves);
		added = true;
	}
	if (!found.object)
		return added;

	eb_collect_leaves(event, "", &leaves);
	foreach(cell, leaves)
	{
		EbLeaf	   *leaf = lfirst(cell);
		bool		first = true;

		if (strncmp(leaf->path, path, len) != 0 || leaf->path[len] != '.')
			continue;
		for (int i = 0; i < foreach_current_index(cell) && first; i++)
			first = strcmp(((EbLeaf *) list_nth(leaves, i))->path, leaf->path) != 0;
		if (first)
			append_field(out, leaf->path, leaves);
		added = true;
	}
	return added;
}

static void
add_paths(StringInfo out, const JsonbValue *event, ArrayType *paths)
{
	Datum	   *elements;
	bool	   *nulls;
	int			n;

	deconstruct_array(paths, TEXTOID, -1, false, TYPALIGN_INT, &elements, &nulls, &n);
	for (int i = 0; i < n; i++)
	{
		char	   *path;

		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("path must not be null")));
		path = TextDatumGetCString(elements[i]);
		if (strncmp(path, "$.", 2) == 0)
			path += 2;
		if (!add_path(out, event, path))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("event has no value at path \"%s\"", path),
					 errhint("A path is written as in detail.state or $.detail.state.")));
	}
}

/* event_pattern_from(event jsonb, paths text[]) → event_pattern */
Datum
event_pattern_from(PG_FUNCTION_ARGS)
{
	Jsonb	   *event;
	JsonbValue	root = {.type = jbvBinary};
	StringInfoData out;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	event = PG_GETARG_JSONB_P(0);
	if (!JB_ROOT_IS_OBJECT(event))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("event must be a JSON object")));
	root.val.binary.data = &event->root;

	initStringInfo(&out);
	appendStringInfoChar(&out, '{');
	if (!PG_ARGISNULL(1))
		add_paths(&out, &root, PG_GETARG_ARRAYTYPE_P(1));
	else
	{
		for (int i = 0; i < lengthof(kind_paths); i++)
			(void) add_path(&out, &root, kind_paths[i]);
		if (out.len == 1)
		{
			JsonbIterator *iterator = JsonbIteratorInit(&event->root);
			JsonbIteratorToken token;
			JsonbValue	key;

			while ((token = JsonbIteratorNext(&iterator, &key, true)) != WJB_DONE)
				if (token == WJB_KEY)
					(void) add_path(&out, &root, pnstrdup(key.val.string.val, key.val.string.len));
		}
	}
	appendStringInfoChar(&out, '}');
	PG_RETURN_POINTER(eb_pattern_parse(out.data, out.len, NULL));
}
