/*-------------------------------------------------------------------------
 *
 * put_events.c
 *	  put_events(), put_event() and matching_rules().
 *
 * Entries have AWS's shape.  A fault of one entry is that entry's result, and
 * the others are put all the same; a fault of the request (what an AWS client
 * would refuse to send) is an error.
 *
 * Detail is a string that holds JSON, as in AWS; here it may also be the
 * object itself.  Its text is kept: a string holds it as it was written, and
 * of an object it is taken from the request, if that came as text.  Only a
 * request of type jsonb has no text left to keep for an object.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "common/jsonapi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "bus/bus.h"
#include "compat.h"
#include "json/parse.h"

PG_FUNCTION_INFO_V1(eb_put_events_jsonb);
PG_FUNCTION_INFO_V1(eb_put_events_text);
PG_FUNCTION_INFO_V1(eb_put_event_text);
PG_FUNCTION_INFO_V1(eb_put_event_jsonb);
PG_FUNCTION_INFO_V1(eb_matching_rules);

/* A piece of text that somebody else holds. */
typedef struct Slice
{
	const char *data;			/* NULL: there is none */
	int			len;
} Slice;

/* One entry of a request, as far as it has been read. */
typedef struct Entry
{
	const char *source;			/* these are NULL where absent */
	const char *detail_type;
	const char *bus;
	const char *resources;
	const char *group_key;
	Slice		detail;			/* text that should be an object */
	JsonbValue *detail_value;	/* the same, where it came as an object */
	bool		has_detail;		/* there is one, of whatever kind */
	bool		has_time;
	TimestampTz time;
} Entry;

/* Why an entry is refused. */
typedef struct EntryFault
{
	const char *code;			/* NULL: it is not */
	const char *message;
} EntryFault;

/* What a request remembers of the bus that it met last. */
typedef struct BusMemo
{
	char	   *name;			/* NULL: none yet */
	int64		bus_id;
	bool		allowed;
} BusMemo;

static const char *const invalid_argument = "InvalidArgument";
static const char *const malformed_detail = "MalformedDetail";

/* ------------------------------ one entry ------------------------------ */

static EntryFault
fault(const char *code, const char *message)
{
	EntryFault	result = {code, message};

	return result;
}

/* Does the bus let the current user put events on it? Asked once per bus. */
static bool
find_bus(BusMemo *memo, const char *name_or_arn)
{
	if (memo->name == NULL || strcmp(memo->name, name_or_arn) != 0)
	{
		memo->bus_id = eb_bus_find(name_or_arn);
		memo->allowed = memo->bus_id == 0 ||
			eb_bus_allows(memo->bus_id, GetUserId(), EB_BUS_PUT_EVENTS);
		if (memo->name)
			pfree(memo->name);
		memo->name = pstrdup(name_or_arn);
	}
	return memo->allowed;
}

/* What an entry cannot do without and does not have, as AWS says it; or NULL. */
static const char *
missing_argument(const Entry *entry)
{
	if (entry->source == NULL || entry->source[0] == '\0')
		return "Parameter Source is not valid. Reason: Source is a required argument.";
	if (entry->detail_type == NULL || entry->detail_type[0] == '\0')
		return "Parameter DetailType is not valid. Reason: DetailType is a required argument.";
	if (!entry->has_detail)
		return "Parameter Detail is not valid. Reason: Detail is a required argument.";
	return NULL;
}

/*
 * Checks an entry and puts it on its bus.  On success *id is the new event's
 * id, else the fault is returned.  An unknown bus is no fault: the event has
 * an id, and nobody gets it.
 */
static EntryFault
put_entry(const Entry *entry, BusMemo *memo, pg_uuid_t *id)
{
	EbEnvelope	event = {0};
	StringInfoData detail;
	JsonbValue *detail_tree = NULL;
	const char *missing = missing_argument(entry);
	bool		allowed;
	bool		wanted;

	if (missing != NULL)
		return fault(invalid_argument, missing);
	allowed = find_bus(memo, entry->bus ? entry->bus : "default");
	wanted = allowed && eb_bus_has_rules(memo->bus_id);
	initStringInfo(&detail);
	if (entry->detail.data == NULL ||
		!eb_envelope_compact(entry->detail.data, entry->detail.len, &detail,
							 wanted && !entry->detail_value ? &detail_tree : NULL))
		return fault(malformed_detail, "Detail is malformed.");
	if (!allowed)
		return fault("AccessDeniedException",
					 psprintf("permission denied for event bus \"%s\"",
							  eb_bus_name_of_arn(memo->name)));
	if (!wanted)
	{
		eb_envelope_new_id(id);
		return fault(NULL, NULL);
	}

	event.source = entry->source;
	event.detail_type = entry->detail_type;
	event.detail = detail.data;
	event.detail_len = detail.len;
	event.detail_value = entry->detail_value ? entry->detail_value : detail_tree;
	event.resources = entry->resources;
	event.time = entry->has_time ? entry->time :
		GetCurrentStatementStartTimestamp();
	event.group_key = entry->group_key;
	eb_bus_put(memo->bus_id, &event, id);
	return fault(NULL, NULL);
}

/* ------------------------- a request's entries ------------------------- */

static void
wrong_type(int index, const char *member, const char *wanted)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid type for parameter Entries[%d].%s", index, member),
			 errdetail("It must be %s.", wanted)));
}

static char *
read_string(int index, const char *member, const JsonbValue *value)
{
	if (value->type != jbvString)
		wrong_type(index, member, "a string");
	return pnstrdup(value->val.string.val, value->val.string.len);
}

/* The compact text of a JSON array of strings. */
static char *
read_resources(int index, const JsonbValue *value)
{
	StringInfoData buf;
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue	element;
	bool		first = true;

	if (value->type != jbvBinary ||
		!JsonContainerIsArray(value->val.binary.data))
		wrong_type(index, "Resources", "an array of strings");
	initStringInfo(&buf);
	appendStringInfoChar(&buf, '[');
	it = JsonbIteratorInit(value->val.binary.data);
	while ((token = JsonbIteratorNext(&it, &element, true)) != WJB_DONE)
	{
		if (token != WJB_ELEM)
			continue;
		if (element.type != jbvString)
			wrong_type(index, "Resources", "an array of strings");
		if (!first)
			appendStringInfoChar(&buf, ',');
		first = false;
		escape_json(&buf, pnstrdup(element.val.string.val,
								   element.val.string.len));
	}
	appendStringInfoChar(&buf, ']');
	return buf.data;
}

/* Refuses a point in time whose year is not one of four digits. */
static TimestampTz
check_time(TimestampTz time)
{
	struct pg_tm tm;
	fsec_t		fsec;

	if (TIMESTAMP_NOT_FINITE(time) ||
		timestamp2tm(time, NULL, &tm, &fsec, NULL, NULL) != 0 ||
		tm.tm_year < 0 || tm.tm_year > 9999)
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				 errmsg("event time out of range"),
				 errdetail("The year of an event's time is between 0000 and 9999.")));
	return time;
}

static void
time_error_context(void *arg)
{
	errcontext("Entries[%d].Time", *(int *) arg);
}

/* A point in time: text that type timestamptz takes, or seconds since 1970. */
static TimestampTz
read_time(int index, const JsonbValue *value)
{
	ErrorContextCallback error_context = {
		.previous = error_context_stack,
		.callback = time_error_context,
		.arg = &index
	};
	TimestampTz result;
	Datum		time;

	error_context_stack = &error_context;

	if (value->type == jbvNumeric)
		time = DirectFunctionCall1(float8_timestamptz,
								   DirectFunctionCall1(numeric_float8,
													   NumericGetDatum(value->val.numeric)));
	else if (value->type == jbvString)
		time = DirectFunctionCall3(timestamptz_in,
								   CStringGetDatum(read_string(index, "Time",
															   value)),
								   ObjectIdGetDatum(InvalidOid),
								   Int32GetDatum(-1));
	else
	{
		wrong_type(index, "Time", "a string or a number");
		return 0;				/* keep compiler quiet */
	}
	result = check_time(DatumGetTimestampTz(time));
	error_context_stack = error_context.previous;
	return result;
}

/* A detail that came as an object; written is its text, where known. */
static void
set_detail_object(Entry *entry, JsonbContainer *object, int len, Slice written)
{
	entry->detail_value = palloc(sizeof(JsonbValue));
	entry->detail_value->type = jbvBinary;
	entry->detail_value->val.binary.data = object;
	entry->detail_value->val.binary.len = len;
	entry->detail = written;
	if (written.data == NULL)
	{
		entry->detail.data = JsonbToCString(NULL, object, len);
		entry->detail.len = strlen(entry->detail.data);
	}
}

/* The detail: the text of a string, or an object. */
static void
read_detail(Entry *entry, const JsonbValue *value, Slice written)
{
	entry->has_detail = true;
	if (value->type == jbvString)
	{
		entry->detail.data = value->val.string.val;
		entry->detail.len = value->val.string.len;
	}
	else if (value->type == jbvBinary &&
			 JsonContainerIsObject(value->val.binary.data))
		set_detail_object(entry, value->val.binary.data,
						  value->val.binary.len, written);
}

static bool
key_is(const JsonbValue *key, const char *name)
{
	return key->val.string.len == strlen(name) &&
		memcmp(key->val.string.val, name, key->val.string.len) == 0;
}

/* Reads one entry; written is the text of its Detail, where known. */
static void
read_entry(Entry *entry, int index, JsonbContainer *object, Slice written)
{
	JsonbIterator *it = JsonbIteratorInit(object);
	JsonbIteratorToken token;
	JsonbValue	key;
	JsonbValue	value;

	memset(entry, 0, sizeof(Entry));
	while ((token = JsonbIteratorNext(&it, &key, true)) != WJB_DONE)
	{
		if (token != WJB_KEY)
			continue;
		(void) JsonbIteratorNext(&it, &value, true);
		if (value.type == jbvNull)
			continue;			/* as if it were absent */
		if (key_is(&key, "Source"))
			entry->source = read_string(index, "Source", &value);
		else if (key_is(&key, "DetailType"))
			entry->detail_type = read_string(index, "DetailType", &value);
		else if (key_is(&key, "Detail"))
			read_detail(entry, &value, written);
		else if (key_is(&key, "EventBusName"))
			entry->bus = read_string(index, "EventBusName", &value);
		else if (key_is(&key, "Resources"))
			entry->resources = read_resources(index, &value);
		else if (key_is(&key, "Time"))
		{
			entry->time = read_time(index, &value);
			entry->has_time = true;
		}
		else if (key_is(&key, "GroupKey"))
			entry->group_key = read_string(index, "GroupKey", &value);
		else if (!key_is(&key, "TraceHeader"))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("unknown parameter \"%s\" in Entries[%d]",
							pnstrdup(key.val.string.val, key.val.string.len),
							index),
					 errdetail("It must be one of: Time, Source, Resources, DetailType, Detail, EventBusName, TraceHeader, GroupKey.")));
	}
}

/*
 * The array of entries in a request, which is that array or, as the AWS
 * command line writes it, an object with the one member Entries.
 */
static JsonbContainer *
find_entries(Jsonb *request, bool *wrapped)
{
	JsonbValue	value;

	*wrapped = false;
	if (JB_ROOT_IS_ARRAY(request) && !JB_ROOT_IS_SCALAR(request))
		return &request->root;
	if (JB_ROOT_IS_OBJECT(request) && JB_ROOT_COUNT(request) == 1 &&
		getKeyJsonValueFromContainer(&request->root, "Entries",
									 strlen("Entries"), &value) != NULL &&
		value.type == jbvBinary && JsonContainerIsArray(value.val.binary.data))
	{
		*wrapped = true;
		return value.val.binary.data;
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("entries must be a JSON array of objects")));
	return NULL;				/* keep compiler quiet */
}

/*
 * Finds the text of each Detail that is an object: an array with one slice
 * for each entry.  The request is valid JSON, so its tokens are enough: level
 * is the nesting at which the members of an entry stand.
 */
static Slice *
find_written_details(char *json, int len, int nentries, bool wrapped)
{
	JsonLexContext *lex = eb_make_json_lex_context(json, len);
	Slice	   *details = palloc0(Max(nentries, 1) * sizeof(Slice));
	int			level = wrapped ? 3 : 2;
	int			nesting = 0;
	int			index = -1;
	bool		is_detail = false;	/* the value of a Detail follows */
	bool		is_key = false; /* a member's name follows */
	const char *start = NULL;

	while (json_lex(lex) == JSON_SUCCESS && lex->token_type != JSON_TOKEN_END)
	{
		JsonTokenType token = lex->token_type;

		CHECK_FOR_INTERRUPTS();
		if (token == JSON_TOKEN_OBJECT_START || token == JSON_TOKEN_ARRAY_START)
		{
			nesting++;
			if (nesting == level - 1)
				index = -1;		/* of equal members the last counts */
			else if (nesting == level)
			{
				if (++index < nentries)
					details[index].data = NULL;
				is_key = true;
			}
			else if (nesting == level + 1)
				start = lex->token_start;
		}
		else if (token == JSON_TOKEN_OBJECT_END || token == JSON_TOKEN_ARRAY_END)
		{
			nesting--;
			if (nesting == level && is_detail && index < nentries)
			{
				details[index].data = start;
				details[index].len = lex->token_terminator - start;
			}
		}
		else if (nesting == level)
		{
			if (token == JSON_TOKEN_COMMA)
				is_key = true;
			else if (token == JSON_TOKEN_STRING && is_key)
			{
				is_detail = strcmp(lex->strval->data, "Detail") == 0;
				is_key = false;
			}
		}
	}
	return details;
}

static void
push_string(JsonbParseState **state, JsonbIteratorToken token,
			const char *string)
{
	JsonbValue	value;

	value.type = jbvString;
	value.val.string.val = unconstify(char *, string);
	value.val.string.len = strlen(string);
	pushJsonbValue(state, token, &value);
}

/*
 * Puts all entries and returns AWS's result.  json is the request's text, or
 * NULL where there is none.
 */
static Jsonb *
put_entries(Jsonb *request, char *json, int json_len)
{
	bool		wrapped;
	JsonbContainer *entries = find_entries(request, &wrapped);
	Slice	   *written = NULL;
	Slice		none = {NULL, 0};
	BusMemo		memo = {0};
	JsonbParseState *state = NULL;
	JsonbIterator *it = JsonbIteratorInit(entries);
	JsonbIteratorToken token;
	JsonbValue	value;
	MemoryContext result_context = CurrentMemoryContext;
	MemoryContext entry_context = AllocSetContextCreate(CurrentMemoryContext,
														"put_events entry",
														ALLOCSET_DEFAULT_SIZES);
	int			index = 0;
	int			nfailed = 0;

	if (json != NULL)
		written = find_written_details(json, json_len,
									   JsonContainerSize(entries), wrapped);

	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	push_string(&state, WJB_KEY, "Entries");
	pushJsonbValue(&state, WJB_BEGIN_ARRAY, NULL);
	while ((token = JsonbIteratorNext(&it, &value, true)) != WJB_DONE)
	{
		Entry		entry;
		EntryFault	refused;
		pg_uuid_t	id;

		if (token != WJB_ELEM)
			continue;
		CHECK_FOR_INTERRUPTS();
		if (value.type != jbvBinary ||
			!JsonContainerIsObject(value.val.binary.data))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("entries must be a JSON array of objects")));

		MemoryContextSwitchTo(entry_context);
		read_entry(&entry, index, value.val.binary.data,
				   written ? written[index] : none);
		MemoryContextSwitchTo(result_context);
		find_bus(&memo, entry.bus ? entry.bus : "default");
		MemoryContextSwitchTo(entry_context);
		refused = put_entry(&entry, &memo, &id);
		MemoryContextSwitchTo(result_context);

		pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
		if (refused.code == NULL)
		{
			char	   *id_text = palloc(EB_ID_LEN + 1);

			eb_envelope_format_id(&id, id_text);
			push_string(&state, WJB_KEY, "EventId");
			push_string(&state, WJB_VALUE, id_text);
		}
		else
		{
			nfailed++;
			push_string(&state, WJB_KEY, "ErrorCode");
			push_string(&state, WJB_VALUE, refused.code);
			push_string(&state, WJB_KEY, "ErrorMessage");
			push_string(&state, WJB_VALUE, pstrdup(refused.message));
		}
		pushJsonbValue(&state, WJB_END_OBJECT, NULL);
		MemoryContextReset(entry_context);
		index++;
	}
	pushJsonbValue(&state, WJB_END_ARRAY, NULL);
	push_string(&state, WJB_KEY, "FailedEntryCount");
	value.type = jbvNumeric;
	value.val.numeric = int64_to_numeric(nfailed);
	pushJsonbValue(&state, WJB_VALUE, &value);
	MemoryContextDelete(entry_context);
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

/* put_events(entries jsonb) */
Datum
eb_put_events_jsonb(PG_FUNCTION_ARGS)
{
	PG_RETURN_JSONB_P(put_entries(PG_GETARG_JSONB_P(0), NULL, 0));
}

/* put_events(entries text) and put_events(entries json) */
Datum
eb_put_events_text(PG_FUNCTION_ARGS)
{
	char	   *json = text_to_cstring(PG_GETARG_TEXT_PP(0));
	int			len = strlen(json);

	PG_RETURN_JSONB_P(put_entries(eb_jsonb_from_text(json, len), json, len));
}

/* ------------------------------ put_event ------------------------------ */

static char *
string_argument(FunctionCallInfo fcinfo, int n)
{
	return PG_ARGISNULL(n) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(n));
}

/* The compact JSON text of an array of text. */
static char *
resources_argument(FunctionCallInfo fcinfo, int n)
{
	StringInfoData buf;
	Datum	   *elements;
	bool	   *nulls;
	int			nelements;

	if (PG_ARGISNULL(n))
		return NULL;
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(n), TEXTOID, -1, false,
					  TYPALIGN_INT, &elements, &nulls, &nelements);
	initStringInfo(&buf);
	appendStringInfoChar(&buf, '[');
	for (int i = 0; i < nelements; i++)
	{
		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("resources must not contain nulls")));
		if (i > 0)
			appendStringInfoChar(&buf, ',');
		escape_json(&buf, TextDatumGetCString(elements[i]));
	}
	appendStringInfoChar(&buf, ']');
	return buf.data;
}

/*
 * put_event(source, detail_type, detail, event_bus_name, resources,
 * event_time, group_key): as put_events() with one entry, of which the detail is
 * there, but what is wrong with it is an error.
 */
static pg_uuid_t *
put_one(FunctionCallInfo fcinfo, Entry *entry)
{
	EntryFault	refused;
	BusMemo		memo = {0};
	pg_uuid_t  *id = palloc(sizeof(pg_uuid_t));

	entry->source = string_argument(fcinfo, 0);
	entry->detail_type = string_argument(fcinfo, 1);
	entry->has_detail = !PG_ARGISNULL(2);
	entry->bus = string_argument(fcinfo, 3);
	entry->resources = resources_argument(fcinfo, 4);
	if (!PG_ARGISNULL(5))
	{
		entry->has_time = true;
		entry->time = check_time(PG_GETARG_TIMESTAMPTZ(5));
	}
	entry->group_key = string_argument(fcinfo, 6);

	refused = put_entry(entry, &memo, id);
	if (refused.code != NULL)
		ereport(ERROR,
				(errcode(strcmp(refused.code, invalid_argument) == 0 ?
						 ERRCODE_INVALID_PARAMETER_VALUE :
						 strcmp(refused.code, malformed_detail) == 0 ?
						 ERRCODE_INVALID_TEXT_REPRESENTATION :
						 ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg_internal("%s", refused.message),
				 errdetail("AWS error code: %s.", refused.code)));
	return id;
}

/* put_event() with detail of type text or json */
Datum
eb_put_event_text(PG_FUNCTION_ARGS)
{
	Entry		entry = {0};

	if (!PG_ARGISNULL(2))
	{
		text	   *detail = PG_GETARG_TEXT_PP(2);

		entry.detail.data = VARDATA_ANY(detail);
		entry.detail.len = VARSIZE_ANY_EXHDR(detail);
	}
	PG_RETURN_UUID_P(put_one(fcinfo, &entry));
}

/* put_event() with detail of type jsonb; its text tells if it is no object. */
Datum
eb_put_event_jsonb(PG_FUNCTION_ARGS)
{
	Entry		entry = {0};
	Slice		none = {NULL, 0};

	if (!PG_ARGISNULL(2))
	{
		Jsonb	   *detail = PG_GETARG_JSONB_P(2);

		set_detail_object(&entry, &detail->root, VARSIZE_ANY_EXHDR(detail), none);
	}
	PG_RETURN_UUID_P(put_one(fcinfo, &entry));
}

/* ---------------------------- matching_rules --------------------------- */

/*
 * matching_rules(event jsonb, event_bus_name text): the names of the enabled
 * rules that want the event, in order.  For who may put rules on the bus, and
 * only those rules that he may know of.
 */
Datum
eb_matching_rules(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	Jsonb	   *event = PG_GETARG_JSONB_P(0);
	char	   *bus = text_to_cstring(PG_GETARG_TEXT_PP(1));
	int64		bus_id = eb_bus_find(bus);
	JsonbValue	value;
	EbMatchingRule *matching;
	int			nmatching;

	if (bus_id == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("Event bus %s does not exist.",
						eb_bus_name_of_arn(bus)),
				 errdetail("AWS error code: ResourceNotFoundException.")));
	if (!eb_bus_allows(bus_id, GetUserId(), EB_BUS_PUT_RULE))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for event bus \"%s\"",
						eb_bus_name_of_arn(bus)),
				 errdetail("AWS error code: AccessDeniedException.")));

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	value.type = jbvBinary;
	value.val.binary.data = &event->root;
	value.val.binary.len = VARSIZE_ANY_EXHDR(event);
	nmatching = eb_bus_matching_rules(bus_id, &value, &matching);
	for (int i = 0; i < nmatching; i++)
	{
		Datum		name = CStringGetTextDatum(matching[i].name);
		bool		isnull = false;

		if (eb_bus_shows_rule(bus_id, GetUserId(), matching[i].owner))
			tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, &name,
								 &isnull);
	}
	return (Datum) 0;
}
