/*-------------------------------------------------------------------------
 *
 * record_tree.c
 *	  A stream record as a tree of JsonbValue.
 *
 * Who reads records as jsonb gets the tree that the parser of the record's
 * text would make, at a fraction of its cost: JsonbValueToJsonb() takes it as
 * it is.  Therefore members stand in jsonb's own order, shorter names first,
 * and none twice; a column's place among the others is worked out with the
 * head of its pack.  What the tree says must be what record.c writes.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/numeric.h"

#include "compat.h"
#include "stream/capture.h"

/* Members that a record, and what changed in it, have at most. */
#define MAX_ROOT		10
#define MAX_DYNAMODB	7

/* The tree of an attribute value that a pack has as JSON text. */
static void
parse_cell(const EbCell *cell, JsonbValue *result)
{
	char	   *text = pnstrdup(cell->json, cell->json_len);
	Datum		jsonb = DirectFunctionCall1(jsonb_in, CStringGetDatum(text));
	JsonbIterator *it = JsonbIteratorInit(&DatumGetJsonbP(jsonb)->root);
	JsonbParseState *state = NULL;
	JsonbValue *tree = NULL;
	JsonbValue	value;
	JsonbIteratorToken token;

	while ((token = JsonbIteratorNext(&it, &value, false)) != WJB_DONE)
		tree = pushJsonbValue(&state, token,
							  token < WJB_BEGIN_ARRAY ? &value : NULL);
	*result = *tree;
}

static void
add_image(JsonbValue *dynamodb, const char *name, EbCapture *capture,
		  EbImage *image, const int *columns, int ncolumns)
{
	JsonbValue *object = eb_tree_add(dynamodb, name);

	eb_tree_object(object, ncolumns);
	for (int i = 0; i < ncolumns; i++)
	{
		EbCell	   *cell = eb_get_cell(capture, image, columns[i]);
		JsonbValue *member = eb_tree_add(object,
										 capture->columns[columns[i]].name);

		if (cell->json != NULL)
			parse_cell(cell, member);
		else
			eb_attribute_value_object(&cell->value, member);
	}
}

static void
add_number(JsonbValue *object, const char *name, int64 value)
{
	JsonbValue *member = eb_tree_add(object, name);

	member->type = jbvNumeric;
	member->val.numeric = int64_to_numeric(value);
}

static void
add_changed(JsonbValue *root, EbCapture *capture)
{
	JsonbValue *member = eb_tree_add(root, EB_CHANGED);

	member->type = jbvArray;
	member->val.array.rawScalar = false;
	member->val.array.nElems = capture->nchanged;
	member->val.array.elems = palloc(sizeof(JsonbValue) *
									 Max(capture->nchanged, 1));
	for (int i = 0; i < capture->nchanged; i++)
	{
		EbColumn   *column = &capture->columns[capture->changed[i]];
		JsonbValue *element = &member->val.array.elems[i];

		element->type = jbvString;
		element->val.string.val = column->name;
		element->val.string.len = column->name_len;
	}
}

static void
add_dynamodb(JsonbValue *root, EbCapture *capture, const EbRecord *record,
			 const char *sequence_number)
{
	JsonbValue *dynamodb = eb_tree_add(root, "dynamodb");
	EbEventName event = record->event;

	eb_tree_object(dynamodb, MAX_DYNAMODB);
	if (record->fits || record->keys_fit)
		add_image(dynamodb, "Keys", capture, eb_key_image(capture, event),
				  capture->sorted_keys, capture->nsorted_keys);
	if (record->fits && eb_shows_new_image(capture, event))
		add_image(dynamodb, "NewImage", capture, &capture->new_image,
				  capture->sorted_columns, capture->ncolumns);
	if (record->fits && eb_shows_old_image(capture, event))
		add_image(dynamodb, "OldImage", capture, &capture->old_image,
				  capture->sorted_columns, capture->ncolumns);
	add_number(dynamodb, "SizeBytes", record->size);
	eb_tree_add_string(dynamodb, "SequenceNumber", sequence_number);
	eb_tree_add_string(dynamodb, "StreamViewType",
					   eb_view_type_name(capture->arguments->view_type));
	add_number(dynamodb, "ApproximateCreationDateTime", record->time);
}

static void
add_identity(JsonbValue *root)
{
	JsonbValue *identity = eb_tree_add(root, EB_USER_IDENTITY);

	eb_tree_object(identity, 2);
	eb_tree_add_string(identity, "type", EB_EXPIRY_TYPE);
	eb_tree_add_string(identity, "principalId", EB_EXPIRY_PRINCIPAL);
}

/*
 * Makes the tree of a record whose cells are all there, in the current memory
 * context.  It points into the capture.
 */
void
eb_record_tree(EbCapture *capture, const EbRecord *record,
			   const char *sequence_number, JsonbValue *root)
{
	eb_tree_object(root, MAX_ROOT);
	if (record->tells_changed)
		add_changed(root, capture);
	eb_tree_add_string(root, "eventID", capture->event_id);
	add_dynamodb(root, capture, record, sequence_number);
	eb_tree_add_string(root, "awsRegion", capture->region);
	eb_tree_add_string(root, "eventName", eb_event_name(record->event));
	if (!record->fits)
	{
		JsonbValue *member = eb_tree_add(root, "claimCheck");

		member->type = jbvBool;
		member->val.boolean = true;
	}
	eb_tree_add_string(root, "eventSource", "aws:dynamodb");
	eb_tree_add_string(root, "eventVersion", "1.1");
	if (record->expired)
		add_identity(root);
	eb_tree_add_string(root, "eventSourceARN", capture->arn);
}
