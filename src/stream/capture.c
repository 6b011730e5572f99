/*-------------------------------------------------------------------------
 *
 * capture.c
 *	  What a stream trigger knows about itself and its table, kept for the
 *	  life of the session.
 *
 * An entry is built at the trigger's first row: arguments parsed, columns and
 * key looked up, and for each kind of event what its filters can be told
 * before a row is seen.  A filter is a pattern over a whole record, but most
 * of a record follows from the trigger alone; so each filter is judged on
 * that part first, which often says that no insert, or no removal, can ever
 * match.  For what remains a skeleton is laid out, the record as a tree of
 * only those members that some filter names.  Then a row that nobody wants
 * costs the conversion of the columns that the filters name, and the match.
 *
 * Entries are marked as invalid by callbacks, which may come at any time, and
 * are thrown away at the next row; their memory lasts to the end of the
 * transaction, in case somebody up the stack still uses it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_index.h"
#include "catalog/pg_trigger.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

#include "compat.h"
#include "settings.h"
#include "stream/capture.h"

typedef struct EbCaptureKey
{
	Oid			relation;
	Oid			trigger;
} EbCaptureKey;

typedef struct EbCaptureEntry
{
	EbCaptureKey key;			/* must be first */
	bool		valid;
	EbCapture  *capture;		/* NULL until it is complete */
} EbCaptureEntry;

static HTAB *captures = NULL;
static MemoryContext captures_context = NULL;
static bool some_invalid = false;

/*
 * A table changed: marks its entries, and those of streams named after it.
 * An entry that is just being built does not know its tables yet.
 */
static void
relation_changed(Datum arg, Oid relid)
{
	HASH_SEQ_STATUS scan;
	EbCaptureEntry *entry;

	hash_seq_init(&scan, captures);
	while ((entry = hash_seq_search(&scan)) != NULL)
	{
		if (relid == InvalidOid || relid == entry->key.relation ||
			entry->capture == NULL ||
			relid == entry->capture->root_relation ||
			relid == entry->capture->sequence)
		{
			entry->valid = false;
			some_invalid = true;
		}
	}
}

/* A schema changed, perhaps its name, which stands in ARNs. */
static void
schema_changed(Datum arg, int cacheid, uint32 hashvalue)
{
	relation_changed(arg, InvalidOid);
}

static void
init_captures(void)
{
	HASHCTL		control = {
		.keysize = sizeof(EbCaptureKey),
		.entrysize = sizeof(EbCaptureEntry)
	};

	captures_context = AllocSetContextCreate(CacheMemoryContext,
											 "eventbridge capture",
											 ALLOCSET_SMALL_SIZES);
	control.hcxt = captures_context;
	captures = hash_create("eventbridge capture", 32, &control,
						   HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	CacheRegisterRelcacheCallback(relation_changed, (Datum) 0);
	CacheRegisterSyscacheCallback(NAMESPACEOID, schema_changed, (Datum) 0);
}

static void
discard_invalid(void)
{
	HASH_SEQ_STATUS scan;
	EbCaptureEntry *entry;

	some_invalid = false;
	hash_seq_init(&scan, captures);
	while ((entry = hash_seq_search(&scan)) != NULL)
	{
		if (entry->valid)
			continue;
		if (entry->capture != NULL)
			MemoryContextSetParent(entry->capture->context,
								   TopTransactionContext);
		hash_search(captures, &entry->key, HASH_REMOVE, NULL);
	}
}

/*
 * The table that the trigger was made on, which is a partitioned table if the
 * trigger was cloned for a partition, and the trigger's name there.
 */
static Oid
root_of_trigger(Oid relid, Oid trigger, char **name)
{
	Relation	pg_trigger = table_open(TriggerRelationId, AccessShareLock);

	while (OidIsValid(trigger))
	{
		ScanKeyData scankey;
		SysScanDesc scan;
		HeapTuple	tuple;
		Form_pg_trigger form;

		ScanKeyInit(&scankey, Anum_pg_trigger_oid, BTEqualStrategyNumber,
					F_OIDEQ, ObjectIdGetDatum(trigger));
		scan = systable_beginscan(pg_trigger, TriggerOidIndexId, true, NULL,
								  1, &scankey);
		tuple = systable_getnext(scan);
		if (!HeapTupleIsValid(tuple))
			elog(ERROR, "could not find trigger %u", trigger);
		form = (Form_pg_trigger) GETSTRUCT(tuple);
		relid = form->tgrelid;
		*name = pstrdup(NameStr(form->tgname));
		trigger = form->tgparentid;
		systable_endscan(scan);
	}
	table_close(pg_trigger, AccessShareLock);
	return relid;
}

/* The stream's ARN: the table by its full name, and the label. */
static char *
stream_arn(Oid relid, const char *label)
{
	return psprintf("arn:aws:dynamodb:%s:%s:table/%s.%s/stream/%s",
					eb_guc_region, eb_guc_account_id,
					get_namespace_name(get_rel_namespace(relid)),
					get_rel_name(relid), label);
}

/* Sets what follows from a column's name and type. */
void
eb_column_init(EbColumn *column, const char *name, Oid typid)
{
	StringInfoData json_name;

	column->name = pstrdup(name);
	column->name_len = strlen(name);
	column->name_size = eb_utf8_length(name, column->name_len);
	initStringInfo(&json_name);
	eb_append_json_string(&json_name, name, column->name_len);
	appendStringInfoChar(&json_name, ':');
	column->json_name = json_name.data;
	column->json_name_len = json_name.len;
	if (OidIsValid(typid))
		column->type = eb_value_type_make(typid, CurrentMemoryContext);
}

/* Columns that are stored; a virtual generated column is not. */
static void
lookup_columns(EbCapture *capture, TupleDesc desc)
{
	capture->columns = palloc0(sizeof(EbColumn) * Max(desc->natts, 1));
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);
		EbColumn   *column = &capture->columns[capture->ncolumns];

		if (att->attisdropped ||
			att->attgenerated == EB_ATTRIBUTE_GENERATED_VIRTUAL)
			continue;
		column->attnum = att->attnum;
		column->attlen = att->attlen;
		column->attbyval = att->attbyval;
		eb_column_init(column, NameStr(att->attname), att->atttypid);
		column->image_decides = eb_value_type_image_decides(column->type);
		column->is_portable =
			OidIsValid(eb_value_type_stored_as(column->type));
		capture->has_varlena |= column->attlen == -1;
		capture->ncolumns++;
	}
	capture->new_image.cells =
		palloc0(sizeof(EbCell) * Max(capture->ncolumns, 1));
	capture->old_image.cells =
		palloc0(sizeof(EbCell) * Max(capture->ncolumns, 1));
	capture->changed = palloc(sizeof(int) * Max(capture->ncolumns, 1));
}

/* The index that identifies rows: the primary key, else replica identity. */
static Oid
key_index(Relation relation)
{
	List	   *indexes = RelationGetIndexList(relation);
	ListCell   *cell;

	foreach(cell, indexes)
	{
		HeapTuple	tuple = SearchSysCache1(INDEXRELID,
											ObjectIdGetDatum(lfirst_oid(cell)));
		bool		is_primary = false;

		if (HeapTupleIsValid(tuple))
		{
			Form_pg_index form = (Form_pg_index) GETSTRUCT(tuple);

			is_primary = form->indisprimary && form->indisvalid;
			ReleaseSysCache(tuple);
		}
		if (is_primary)
			return lfirst_oid(cell);
	}
	return RelationGetReplicaIndex(relation);
}

static void
lookup_keys(EbCapture *capture, Relation relation)
{
	Oid			index = key_index(relation);
	HeapTuple	tuple;
	Form_pg_index form;

	if (!OidIsValid(index))
		return;
	tuple = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(index));
	if (!HeapTupleIsValid(tuple))
		return;
	form = (Form_pg_index) GETSTRUCT(tuple);
	capture->keys = palloc(sizeof(int) * form->indnkeyatts);
	for (int i = 0; i < form->indnkeyatts; i++)
	{
		for (int column = 0; column < capture->ncolumns; column++)
		{
			if (capture->columns[column].attnum == form->indkey.values[i])
				capture->keys[capture->nkeys++] = column;
		}
	}
	ReleaseSysCache(tuple);
}

/*
 * The parts of the record's text that are the same for every row; the last
 * brace is left to who writes the record.
 */
void
eb_write_constants(EbCapture *capture)
{
	StringInfoData text;

	initStringInfo(&text);
	eb_append_json_string(&text, capture->arn, strlen(capture->arn));
	capture->tail = psprintf(",\"StreamViewType\":\"%s\"},\"eventSourceARN\":%s",
							 eb_view_type_name(capture->arguments->view_type),
							 text.data);
	for (int event = 0; event < EB_NEVENTS; event++)
		capture->head[event] =
			psprintf("\",\"eventName\":\"%s\",\"eventVersion\":\"1.1\","
					 "\"eventSource\":\"aws:dynamodb\",\"awsRegion\":\"%s\","
					 "\"dynamodb\":{\"ApproximateCreationDateTime\":",
					 eb_event_name(event), capture->region);
}

/* The members of a record, at its top, that are the same for every row. */
static void
add_constants(JsonbValue *record, EbEventName event, const char *arn)
{
	eb_tree_add_string(record, "eventName", eb_event_name(event));
	eb_tree_add_string(record, "eventVersion", "1.1");
	eb_tree_add_string(record, "eventSource", "aws:dynamodb");
	eb_tree_add_string(record, "awsRegion", pstrdup(eb_guc_region));
	eb_tree_add_string(record, "eventSourceARN", arn);
}

#define NCONSTANTS	5

static bool
tells_changed(const EbCapture *capture, EbEventName event)
{
	return capture->arguments->changed && event == EB_EVENT_MODIFY;
}

static bool
is_key(const JsonbValue *key, const char *name)
{
	return key->val.string.len == strlen(name) &&
		memcmp(key->val.string.val, name, strlen(name)) == 0;
}

/* Is the member known before a row is seen, if only not to be there? */
static bool
is_constant(const EbCapture *capture, EbEventName event,
			const JsonbValue *constants, const JsonbValue *key)
{
	if (is_key(key, EB_CHANGED) && !tells_changed(capture, event))
		return true;
	if (is_key(key, EB_USER_IDENTITY) && event != EB_EVENT_REMOVE)
		return true;
	for (int i = 0; i < constants->val.object.nPairs; i++)
	{
		if (is_key(key, constants->val.object.pairs[i].key.val.string.val))
			return true;
	}
	return false;
}

/*
 * Judges a filter on the constants alone.  Its fields at the top of the
 * pattern that name constants make a pattern of their own; if that does not
 * match, the whole cannot.  Whatever else the pattern has is left out, which
 * only makes the part match more.
 */
static EbVerdict
judge_filter(const EbCapture *capture, EbEventName event,
			 const EbPattern *filter, const JsonbValue *constants)
{
	char	   *text = pnstrdup(filter->text, filter->text_len);
	Jsonb	   *jsonb;
	JsonbIterator *it;
	JsonbParseState *state = NULL;
	JsonbValue	key;
	JsonbValue *result;
	EbPattern  *part;
	char	   *part_text;
	bool		is_whole = true;
	int			nfields = 0;

	if (strstr(text, "\\u0000") != NULL)
		return EB_VERDICT_LOOK; /* jsonb cannot hold it */
	jsonb = DatumGetJsonbP(DirectFunctionCall1(jsonb_in,
											   CStringGetDatum(text)));

	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	it = JsonbIteratorInit(&jsonb->root);
	JsonbIteratorNext(&it, &key, true);
	while (JsonbIteratorNext(&it, &key, true) == WJB_KEY)
	{
		JsonbValue	value;

		JsonbIteratorNext(&it, &value, true);
		if (!is_constant(capture, event, constants, &key))
		{
			is_whole = false;
			continue;
		}
		pushJsonbValue(&state, WJB_KEY, &key);
		pushJsonbValue(&state, WJB_VALUE, &value);
		nfields++;
	}
	result = pushJsonbValue(&state, WJB_END_OBJECT, NULL);
	if (nfields == 0)
		return EB_VERDICT_LOOK;

	jsonb = JsonbValueToJsonb(result);
	part_text = JsonbToCString(NULL, &jsonb->root, VARSIZE(jsonb));
	part = eb_pattern_parse(part_text, strlen(part_text), NULL);
	if (!eb_pattern_matches_value(part, constants))
		return EB_VERDICT_NEVER;
	return is_whole ? EB_VERDICT_ALWAYS : EB_VERDICT_LOOK;
}

static bool
wants_everything(const EbCapture *capture)
{
	if (capture->wants != NULL)
		return capture->wants->everything;
	return capture->arguments->nfilters == 0;
}

static void
judge_filters(EbCapture *capture, const char *arn)
{
	EbStreamArguments *arguments = capture->arguments;
	MemoryContext scratch;

	scratch = AllocSetContextCreate(CurrentMemoryContext,
									"eventbridge scratch",
									ALLOCSET_DEFAULT_SIZES);
	for (int event = 0; event < EB_NEVENTS; event++)
		capture->verdicts[event] = palloc(sizeof(EbVerdict) *
										  Max(arguments->nfilters, 1));

	MemoryContextSwitchTo(scratch);
	for (int event = 0; event < EB_NEVENTS; event++)
	{
		JsonbValue	constants;
		EbVerdict	verdict;

		eb_tree_object(&constants, NCONSTANTS);
		add_constants(&constants, event, arn);

		verdict = wants_everything(capture) ? EB_VERDICT_ALWAYS :
			EB_VERDICT_NEVER;
		for (int i = 0; i < arguments->nfilters; i++)
		{
			EbVerdict	one = judge_filter(capture, event,
										   arguments->filters[i], &constants);

			capture->verdicts[event][i] = one;
			if (one == EB_VERDICT_ALWAYS)
				verdict = EB_VERDICT_ALWAYS;
			else if (one == EB_VERDICT_LOOK && verdict == EB_VERDICT_NEVER)
				verdict = EB_VERDICT_LOOK;
		}
		capture->verdict[event] = verdict;
	}
	MemoryContextSwitchTo(capture->context);
	MemoryContextDelete(scratch);
}

/* Does any filter that has to look at rows look at or below this path? */
static bool
is_named(EbCapture *capture, EbEventName event, const char *path)
{
	int			len = strlen(path);

	for (int i = 0; i < capture->arguments->nfilters; i++)
	{
		if (capture->verdicts[event][i] == EB_VERDICT_LOOK &&
			eb_pattern_names_path(capture->arguments->filters[i], path, len))
			return true;
	}
	return false;
}

/* Adds one of Keys, NewImage and OldImage, with the columns that are named. */
static void
add_image(EbCapture *capture, EbEventName event, JsonbValue *dynamodb,
		  const char *name, bool old_image, const int *columns, int ncolumns)
{
	EbSkeleton *skeleton = &capture->skeletons[event];
	EbImage    *image = old_image ? &capture->old_image : &capture->new_image;
	JsonbValue *object = eb_tree_add(dynamodb, name);

	eb_tree_object(object, ncolumns);
	for (int i = 0; i < ncolumns; i++)
	{
		int			column = columns == NULL ? i : columns[i];
		char	   *path = psprintf("dynamodb.%s.%s", name,
									capture->columns[column].name);

		if (is_named(capture, event, path))
		{
			eb_attribute_value_object(&image->cells[column].value,
									  eb_tree_add(object, capture->columns[column].name));
			skeleton->cells[skeleton->ncells].old_image = old_image;
			skeleton->cells[skeleton->ncells].column = column;
			skeleton->ncells++;
		}
		pfree(path);
	}
}

/* The array of the changed columns' names, with room for all. */
static void
add_changed(EbCapture *capture, EbSkeleton *skeleton)
{
	JsonbValue *member = eb_tree_add(&skeleton->root, EB_CHANGED);

	member->type = jbvArray;
	member->val.array.rawScalar = false;
	member->val.array.nElems = 0;
	member->val.array.elems = palloc(sizeof(JsonbValue) *
									 Max(capture->ncolumns, 1));
	skeleton->changed = member;
}

static void
build_skeleton(EbCapture *capture, EbEventName event, const char *arn)
{
	EbSkeleton *skeleton = &capture->skeletons[event];
	EbViewType	view = capture->arguments->view_type;
	JsonbValue *dynamodb;
	JsonbValue *member;

	skeleton->cells = palloc(sizeof(skeleton->cells[0]) *
							 (capture->ncolumns * 2 + capture->nkeys + 1));
	eb_tree_object(&skeleton->root, NCONSTANTS + 4);

	skeleton->needs_event_id = is_named(capture, event, "eventID");
	if (skeleton->needs_event_id)
	{
		member = eb_tree_add(&skeleton->root, "eventID");
		member->type = jbvString;
		member->val.string.val = capture->event_id;
		member->val.string.len = 32;
	}
	add_constants(&skeleton->root, event, arn);

	dynamodb = eb_tree_add(&skeleton->root, "dynamodb");
	eb_tree_object(dynamodb, 7);
	eb_tree_add_string(dynamodb, "StreamViewType", eb_view_type_name(view));
	if (is_named(capture, event, "dynamodb.ApproximateCreationDateTime"))
	{
		skeleton->time = eb_tree_add(dynamodb, "ApproximateCreationDateTime");
		skeleton->time->type = jbvNumeric;
	}
	if (is_named(capture, event, "dynamodb.SizeBytes"))
	{
		skeleton->size = eb_tree_add(dynamodb, "SizeBytes");
		skeleton->size->type = jbvNumeric;
	}
	skeleton->needs_sequence_number =
		is_named(capture, event, "dynamodb.SequenceNumber");
	if (skeleton->needs_sequence_number)
	{
		member = eb_tree_add(dynamodb, "SequenceNumber");
		member->type = jbvString;
		member->val.string.val = capture->sequence_number;
		member->val.string.len = EB_SEQUENCE_NUMBER_LEN;
	}

	add_image(capture, event, dynamodb, "Keys", event == EB_EVENT_REMOVE,
			  capture->keys, capture->nkeys);
	if (event != EB_EVENT_REMOVE && (view & EB_VIEW_NEW_IMAGE))
		add_image(capture, event, dynamodb, "NewImage", false,
				  NULL, capture->ncolumns);
	if (event != EB_EVENT_INSERT && (view & EB_VIEW_OLD_IMAGE))
		add_image(capture, event, dynamodb, "OldImage", true,
				  NULL, capture->ncolumns);
	if (tells_changed(capture, event) && is_named(capture, event, EB_CHANGED))
		add_changed(capture, skeleton);
	if (event == EB_EVENT_REMOVE && is_named(capture, event, EB_USER_IDENTITY))
	{
		skeleton->identity = eb_tree_add(&skeleton->root, EB_USER_IDENTITY);
		eb_tree_object(skeleton->identity, 2);
		eb_tree_add_string(skeleton->identity, "type", EB_EXPIRY_TYPE);
		eb_tree_add_string(skeleton->identity, "principalId", EB_EXPIRY_PRINCIPAL);
	}
}

/* A trigger that writes the log has the filters of those who read it. */
static void
follow_stream(EbCapture *capture)
{
	EbStreamWants *wants = eb_stream_wants(capture->root_relation);

	capture->wants = wants;
	capture->arguments->nfilters = wants->nfilters;
	capture->arguments->filters = wants->filters;
}

/* Works everything out.  The current memory context is the capture's own. */
static EbCapture *
build_capture(TriggerData *trigdata, Oid function)
{
	EbCapture  *capture = palloc0(sizeof(EbCapture));
	Trigger    *trigger = trigdata->tg_trigger;
	Oid			schema = get_func_namespace(function);
	char	   *trigger_name = NULL;
	char	   *arn;

	capture->context = CurrentMemoryContext;
	capture->settings_generation = eb_settings_generation;
	capture->arguments = eb_stream_arguments_parse(trigger->tgnargs,
												   trigger->tgargs);
	capture->transform = eb_transform_make(capture->arguments, schema);
	capture->sequence = get_relname_relid("capture_number", schema);
	if (!OidIsValid(capture->sequence))
		elog(ERROR, "could not find sequence \"%s\"", "capture_number");

	capture->root_relation =
		root_of_trigger(RelationGetRelid(trigdata->tg_relation),
						trigger->tgoid, &trigger_name);
	if (capture->arguments->log)
		follow_stream(capture);
	arn = stream_arn(capture->root_relation,
					 capture->wants != NULL && capture->wants->label != NULL ?
					 capture->wants->label : trigger_name);

	lookup_columns(capture, RelationGetDescr(trigdata->tg_relation));
	lookup_keys(capture, trigdata->tg_relation);
	capture->region = pstrdup(eb_guc_region);
	capture->arn = arn;
	eb_write_constants(capture);
	judge_filters(capture, arn);
	for (int event = 0; event < EB_NEVENTS; event++)
	{
		if (capture->verdict[event] == EB_VERDICT_LOOK)
			build_skeleton(capture, event, arn);
	}
	return capture;
}

/* Says whose arguments an error is about. */
static void
trigger_error_context(void *arg)
{
	TriggerData *trigdata = arg;

	errcontext("stream trigger \"%s\" on table \"%s\"",
			   trigdata->tg_trigger->tgname,
			   RelationGetRelationName(trigdata->tg_relation));
}

/*
 * Makes an entry's contents.  They are built aside, so that an error leaves
 * nothing half done.  The entry counts as valid from the start, and keeps
 * what callbacks say meanwhile.
 */
static void
make_capture(EbCaptureEntry *entry, TriggerData *trigdata, Oid function)
{
	MemoryContext context;
	MemoryContext old_context;
	EbCapture  *capture;
	ErrorContextCallback callback;

	callback.callback = trigger_error_context;
	callback.arg = trigdata;
	callback.previous = error_context_stack;
	error_context_stack = &callback;

	entry->valid = true;
	entry->capture = NULL;
	context = AllocSetContextCreate(CurrentMemoryContext,
									"eventbridge capture of a table",
									ALLOCSET_SMALL_SIZES);
	old_context = MemoryContextSwitchTo(context);
	capture = build_capture(trigdata, function);
	MemoryContextSwitchTo(old_context);
	MemoryContextSetParent(context, captures_context);
	entry->capture = capture;

	error_context_stack = callback.previous;
}

/*
 * What is known of the trigger that was fired.  It stays good until the end
 * of the transaction at least.
 */
EbCapture *
eb_capture_get(TriggerData *trigdata, Oid function)
{
	EbCaptureKey key = {
		.relation = RelationGetRelid(trigdata->tg_relation),
		.trigger = trigdata->tg_trigger->tgoid
	};
	EbCaptureEntry *entry;
	bool		found;

	if (unlikely(captures == NULL))
		init_captures();
	if (unlikely(some_invalid))
		discard_invalid();

	entry = hash_search(captures, &key, HASH_ENTER, &found);
	if (!found)
		entry->capture = NULL;
	else if (entry->capture != NULL &&
			 entry->capture->settings_generation != eb_settings_generation)
	{
		MemoryContextSetParent(entry->capture->context,
							   TopTransactionContext);
		entry->capture = NULL;
	}
	if (unlikely(entry->capture == NULL))
		make_capture(entry, trigdata, function);
	return entry->capture;
}
