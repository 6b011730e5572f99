/*-------------------------------------------------------------------------
 *
 * target.c
 *	  What a target is when it is invoked, and invoking it.
 *
 * A target is read when a batch first meets it, so changes of rules and
 * targets act on what has not been delivered yet.  What was read is kept for
 * the next batch, until anything changes that it was made of: rows of our
 * tables (their triggers send an invalidation; see bus/rules_cache.c),
 * functions, schemas, roles and memberships (the server does), or a setting.
 *
 * Only the lane is decided when an event is put, because it says who will look
 * at the row.  Should the target have changed to another lane meanwhile, who
 * meets it passes it on as a retry.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "commands/async.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/fmgrprotos.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/syscache.h"

#include "bus/bus.h"
#include "compat.h"
#include "delivery/delivery.h"
#include "json/path.h"
#include "json/value.h"
#include "settings.h"
#include "stream/capture.h"
#include "transform/template.h"

/* Columns of _delivery_target(). */
enum
{
	COLUMN_KIND = 1,
	COLUMN_NAME,
	COLUMN_RESOURCE_ID,
	COLUMN_FUNCTION,
	COLUMN_LANE,
	COLUMN_CLAIM_CHECK,
	COLUMN_INPUT,
	COLUMN_INPUT_PATH,
	COLUMN_PATHS_MAP,
	COLUMN_TEMPLATE,
	COLUMN_RULE_NAME,
	COLUMN_RULE_ARN,
	COLUMN_TARGET_ARN,
	COLUMN_ROLE,
	COLUMN_MAX_ATTEMPTS,
	COLUMN_MAX_AGE,
	COLUMN_OBSTACLE_CODE,
	COLUMN_OBSTACLE,
	COLUMN_RULE_ID,
	COLUMN_ORDERED,
	COLUMN_MESSAGE_GROUP_ID,
	COLUMN_DELAY
};

/* ---- changes ---- */

/* The tables that a target is read from. */
static const char *const source_tables[] = {
	"event_bus", "rule", "target", "queue", "topic", "log_group"
};

static Oid	source_oids[lengthof(source_tables)];

/* Changes seen so far. */
static uint64 change_count = 0;

/* These may run at any time: they count, and nothing else. */
static void
count_table_change(Datum arg, Oid relid)
{
	for (int i = 0; i < lengthof(source_oids); i++)
		if (relid == InvalidOid || relid == source_oids[i])
		{
			change_count++;
			return;
		}
}

static void
count_catalog_change(Datum arg, int cacheid, uint32 hashvalue)
{
	change_count++;
}

/* Finds what the callback listens for; before anything is read. */
static void
find_sources(void)
{
	for (int i = 0; i < lengthof(source_tables); i++)
		source_oids[i] = eb_relation(source_tables[i]);
}

/* ---- lanes ---- */

typedef struct LaneEntry
{
	int64		target_id;		/* key */
	Oid			lane;
} LaneEntry;

/* Asks for the lane of a target; that of one that is gone does not matter. */
static Oid
read_lane(int64 target_id)
{
	static SPIPlanPtr plan = NULL;
	static const Oid types[] = {INT8OID};
	Datum		values[1] = {Int64GetDatum(target_id)};
	bool		isnull;
	Oid			lane = EB_LANE_ANY;

	SPI_connect();
	if (eb_internal_read(&plan, "SELECT eventbridge._target_lane($1)",
						 1, types, values, NULL) > 0)
	{
		Datum		value = SPI_getbinval(SPI_tuptable->vals[0],
										  SPI_tuptable->tupdesc, 1, &isnull);

		if (!isnull)
			lane = DatumGetObjectId(value);
	}
	SPI_finish();
	return lane;
}

/*
 * The lane that a target belongs to.  Remembered until a target or a role
 * changes: see the head of this file for what happens when it does later.
 */
Oid
eb_target_lane(int64 target_id)
{
	static HTAB *lanes = NULL;
	static uint64 count = 0;
	LaneEntry  *entry;
	Oid			lane;

	if (lanes != NULL && count != change_count)
	{
		hash_destroy(lanes);
		lanes = NULL;
	}
	if (lanes == NULL)
	{
		HASHCTL		ctl = {.keysize = sizeof(int64),.entrysize = sizeof(LaneEntry)};

		find_sources();
		count = change_count;
		lanes = hash_create("eventbridge lanes", 64, &ctl,
							HASH_ELEM | HASH_BLOBS);
	}
	entry = hash_search(lanes, &target_id, HASH_FIND, NULL);
	if (entry != NULL)
		return entry->lane;

	lane = read_lane(target_id);
	entry = hash_search(lanes, &target_id, HASH_ENTER, NULL);
	entry->lane = lane;
	return lane;
}

/* ---- reading a target ---- */

/* A kind by its name in the table of targets. */
EbTargetKind
eb_target_kind(const char *kind)
{
	static const struct
	{
		const char *name;
		EbTargetKind kind;
	}			kinds[] = {
		{"function", EB_TARGET_FUNCTION},
		{"procedure", EB_TARGET_PROCEDURE},
		{"queue", EB_TARGET_QUEUE},
		{"topic", EB_TARGET_CHANNEL},
		{"event_bus", EB_TARGET_BUS},
		{"log_group", EB_TARGET_LOG_GROUP},
		{"api_destination", EB_TARGET_CLIENT},
		{"task", EB_TARGET_CLIENT}
	};

	for (int i = 0; i < lengthof(kinds); i++)
		if (strcmp(kinds[i].name, kind) == 0)
			return kinds[i].kind;
	elog(ERROR, "unexpected target kind \"%s\"", kind);
	return 0;					/* keep the compiler quiet */
}

/*
 * Targets as they were last read.  Whatever becomes stale makes all of it
 * stale; changes are few.
 */
typedef struct TargetCache
{
	MemoryContext context;
	HTAB	   *targets;		/* of EbTarget */
	uint64		count;			/* changes before it was begun */
	uint64		generation;		/* of the settings in ARNs */
} TargetCache;

static TargetCache *target_cache = NULL;

void
eb_target_init(void)
{
	CacheRegisterRelcacheCallback(count_table_change, (Datum) 0);
	CacheRegisterSyscacheCallback(PROCOID, count_catalog_change, (Datum) 0);
	CacheRegisterSyscacheCallback(NAMESPACEOID, count_catalog_change,
								  (Datum) 0);
	CacheRegisterSyscacheCallback(AUTHOID, count_catalog_change, (Datum) 0);
	CacheRegisterSyscacheCallback(AUTHMEMROLEMEM, count_catalog_change,
								  (Datum) 0);
}

/*
 * The cache, begun anew if it is stale.  Batches still use what the stale one
 * holds, so it stays until the end of their transaction.
 */
static TargetCache *
get_target_cache(void)
{
	MemoryContext context;
	HASHCTL		ctl = {.keysize = sizeof(int64),.entrysize = sizeof(EbTarget)};
	TargetCache *fresh;

	AcceptInvalidationMessages();
	if (target_cache != NULL &&
		target_cache->count == change_count &&
		target_cache->generation == eb_settings_generation)
		return target_cache;

	find_sources();
	context = AllocSetContextCreate(CurrentMemoryContext,
									"eventbridge target cache",
									ALLOCSET_SMALL_SIZES);
	fresh = MemoryContextAllocZero(context, sizeof(TargetCache));
	fresh->context = context;
	fresh->count = change_count;
	fresh->generation = eb_settings_generation;
	ctl.hcxt = context;
	fresh->targets = hash_create("eventbridge target cache", 16, &ctl,
								 HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	if (target_cache != NULL)
		MemoryContextSetParent(target_cache->context, TopTransactionContext);
	MemoryContextSetParent(context, CacheMemoryContext);
	target_cache = fresh;
	return fresh;
}

/* A column of the row as text, or NULL. */
static char *
column_text(int column)
{
	return SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, column);
}

/* A column of the row as a value; "null" stands for null. */
static Datum
column_value(int column, Datum null)
{
	bool		isnull;
	Datum		value = SPI_getbinval(SPI_tuptable->vals[0],
									  SPI_tuptable->tupdesc, column, &isnull);

	return isnull ? null : value;
}

/* Reads a target into the current context. */
static void
read_target(EbTarget *target)
{
	static SPIPlanPtr plan = NULL;
	static const Oid types[] = {INT8OID};
	Datum		values[1] = {Int64GetDatum(target->target_id)};
	char	   *template;

	if (eb_internal_execute(&plan,
							"SELECT * FROM eventbridge._delivery_target($1)",
							1, types, values, NULL) == 0)
		return;

	target->exists = true;
	target->kind = eb_target_kind(column_text(COLUMN_KIND));
	target->name = column_text(COLUMN_NAME);
	target->resource_id = DatumGetInt64(column_value(COLUMN_RESOURCE_ID,
													 Int64GetDatum(0)));
	target->function = DatumGetObjectId(column_value(COLUMN_FUNCTION,
													 ObjectIdGetDatum(InvalidOid)));
	target->lane = DatumGetObjectId(column_value(COLUMN_LANE,
												 ObjectIdGetDatum(InvalidOid)));
	target->claim_check = DatumGetBool(column_value(COLUMN_CLAIM_CHECK,
													BoolGetDatum(false)));
	target->input = column_text(COLUMN_INPUT);
	target->input_path = column_text(COLUMN_INPUT_PATH);
	target->message_group_id = column_text(COLUMN_MESSAGE_GROUP_ID);
	target->delay = DatumGetInt32(column_value(COLUMN_DELAY,
											   Int32GetDatum(0)));
	target->rule_name = column_text(COLUMN_RULE_NAME);
	target->rule_arn = column_text(COLUMN_RULE_ARN);
	target->target_arn = column_text(COLUMN_TARGET_ARN);
	target->role = column_text(COLUMN_ROLE);
	target->obstacle_code = column_text(COLUMN_OBSTACLE_CODE);
	target->obstacle = column_text(COLUMN_OBSTACLE);
	target->rule_id = DatumGetInt64(column_value(COLUMN_RULE_ID,
												 Int64GetDatum(0)));
	target->ordered = DatumGetBool(column_value(COLUMN_ORDERED,
												BoolGetDatum(false)));
	target->max_attempts = DatumGetInt32(column_value(COLUMN_MAX_ATTEMPTS,
													  Int32GetDatum(185)));
	target->max_age = DatumGetInt32(column_value(COLUMN_MAX_AGE,
												 Int32GetDatum(86400)));

	template = column_text(COLUMN_TEMPLATE);
	if (template != NULL)
	{
		char	   *map = column_text(COLUMN_PATHS_MAP);
		List	   *faults = NIL;

		target->template =
			eb_template_parse(EB_TEMPLATE_RULE, template, strlen(template),
							  map == NULL ? NULL :
							  DatumGetJsonbP(DirectFunctionCall1(jsonb_in,
																 CStringGetDatum(map))),
							  NULL, &faults);
		if (faults != NIL)
			target->template = NULL;
		target->bad_template = (faults != NIL);
	}
	if (target->input_path != NULL)
	{
		EbPathFault fault;

		target->path = eb_path_parse(target->input_path,
									 strlen(target->input_path), &fault);
	}
}

/*
 * Gives a target as it is now, for this transaction.  exists is false if it
 * has been removed.
 */
static void
load_target(EbTarget *target)
{
	TargetCache *cache = get_target_cache();
	MemoryContext context = target->context;
	EbTarget   *cached = hash_search(cache->targets, &target->target_id,
									 HASH_FIND, NULL);

	if (cached == NULL)
	{
		MemoryContext oldcontext = MemoryContextSwitchTo(cache->context);

		read_target(target);
		MemoryContextSwitchTo(oldcontext);
		if (!target->exists)
			return;
		cached = hash_search(cache->targets, &target->target_id, HASH_ENTER,
							 NULL);
		*cached = *target;
	}
	*target = *cached;
	target->context = context;
}

/*
 * The targets that a transaction meets, each read once, with their counters;
 * in the current context.
 */
HTAB *
eb_targets_create(void)
{
	HASHCTL		ctl = {
		.keysize = sizeof(int64),
		.entrysize = sizeof(EbTarget),
		.hcxt = CurrentMemoryContext
	};

	return hash_create("eventbridge targets", 16, &ctl,
					   HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

EbTarget *
eb_targets_get(HTAB *targets, int64 target_id)
{
	bool		found;
	EbTarget   *target = hash_search(targets, &target_id, HASH_ENTER, &found);

	if (!found)
	{
		memset(target, 0, sizeof(EbTarget));
		target->target_id = target_id;
		target->context = CurrentMemoryContext;
		load_target(target);
	}
	return target;
}

/* ---- what it receives ---- */

static void
add_variable(JsonbParseState **state, const char *name, const char *text)
{
	JsonbValue	value;

	value.type = jbvString;
	value.val.string.val = (char *) name;
	value.val.string.len = strlen(name);
	pushJsonbValue(state, WJB_KEY, &value);
	value.val.string.val = (char *) text;
	value.val.string.len = strlen(text);
	pushJsonbValue(state, WJB_VALUE, &value);
}

static Jsonb *
predefined_variables(const EbTarget *target, const EbLogRow *row)
{
	JsonbParseState *state = NULL;
	char		time[EB_TIME_LEN];

	eb_envelope_format_time(row->ingestion_time, time);
	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	add_variable(&state, "aws.events.rule-arn", target->rule_arn);
	add_variable(&state, "aws.events.rule-name", target->rule_name);
	add_variable(&state, "aws.events.event.ingestion-time", time);
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

/*
 * Fills the template.  What AWS does not deliver is an error there; it is
 * caught in a subtransaction, and its message returned in *fault.
 */
static char *
fill_template(const EbTarget *target, const EbLogRow *row, char **fault)
{
	MemoryContext oldcontext = CurrentMemoryContext;
	ResourceOwner oldowner = CurrentResourceOwner;
	StringInfoData out;

	initStringInfo(&out);
	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(oldcontext);
	PG_TRY();
	{
		EbJson		event;

		eb_json_from_text(&event, row->event, row->event_len);
		eb_template_fill(target->template, &event,
						 predefined_variables(target, row), &out);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(oldcontext);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		CurrentResourceOwner = oldowner;
		if (error->sqlerrcode != ERRCODE_DATA_EXCEPTION)
			ReThrowError(error);
		*fault = pstrdup(error->message);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(oldcontext);
	CurrentResourceOwner = oldowner;
	return *fault == NULL ? out.data : NULL;
}

/*
 * The value at the input path; an empty string where it leads to nothing, as
 * a template has it.  The event is compact, and so is whatever is found in it.
 */
static char *
value_at_path(const EbTarget *target, const EbLogRow *row, char **fault)
{
	EbJson		event = {.text = row->event,.len = row->event_len};
	EbJson		found;

	if (target->path == NULL)
	{
		*fault = psprintf("input path \"%s\" is not valid",
						  target->input_path);
		return NULL;
	}
	if (!eb_path_get(target->path, &event, &found))
		return "\"\"";
	return pnstrdup(found.text, found.len);
}

/* What the target receives of the event; NULL and *fault if nothing can be. */
static char *
target_input(const EbTarget *target, const EbLogRow *row, char **fault)
{
	if (target->input != NULL)
		return target->input;
	if (target->input_path != NULL)
		return value_at_path(target, row, fault);
	if (target->bad_template)
	{
		*fault = "the input template is not valid";
		return NULL;
	}
	if (target->template != NULL)
		return fill_template(target, row, fault);
	return row->event;
}

/* ---- invoking it ---- */

static void
refuse(EbOutcome *outcome, const char *code, char *message)
{
	outcome->result = EB_REFUSED;
	outcome->code = code;
	outcome->message = message;
}

/* Runs a statement of ours that stores (resource, input, row) somewhere. */
static void
store(SPIPlanPtr *plan, const char *sql, const EbTarget *target,
	  const EbLogRow *row, const char *input)
{
	static const Oid types[] = {INT8OID, TEXTOID, UUIDOID};
	Datum		values[3] = {Int64GetDatum(target->resource_id),
		CStringGetTextDatum(input),
	UUIDPGetDatum(&row->event_id)};

	eb_internal_execute(plan, sql, 3, types, values, NULL);
	pfree(DatumGetPointer(values[1]));
}

/* A message to a queue; with a group, it takes the way of such messages. */
static void
send_message(const EbTarget *target, const EbLogRow *row, const char *input)
{
	static SPIPlanPtr plan = NULL;
	static SPIPlanPtr group_plan = NULL;
	static const Oid types[] = {INT8OID, TEXTOID, UUIDOID, INT4OID};
	static const Oid group_types[] = {INT8OID, TEXTOID, UUIDOID, TEXTOID,
	INT8OID};
	Datum		values[5] = {
		Int64GetDatum(target->resource_id),
		CStringGetTextDatum(input),
		UUIDPGetDatum(&row->event_id)
	};

	if (target->message_group_id == NULL)
	{
		values[3] = Int32GetDatum(target->delay);
		eb_internal_execute(&plan,
							"INSERT INTO eventbridge.queue_message"
							" (queue_id, body, event_id, visible_at)"
							" VALUES ($1, $2, $3,"
							" clock_timestamp() + $4 * interval '1 s')",
							4, types, values, NULL);
	}
	else
	{
		values[3] = CStringGetTextDatum(target->message_group_id);
		values[4] = Int64GetDatum(target->target_id);
		eb_internal_call(&group_plan,
						 "SELECT eventbridge._send_event($1, $2, $3, $4, $5)",
						 5, group_types, values, NULL);
		pfree(DatumGetPointer(values[3]));
	}
	pfree(DatumGetPointer(values[1]));
}

/*
 * A notification with the message or, if that is too long or not wanted, with
 * the id alone, under which get_notification() has the message.  The id also
 * keeps equal messages apart: PostgreSQL drops equal notifications of one
 * transaction.
 */
static void
notify(const EbTarget *target, const EbLogRow *row, const char *input)
{
	static SPIPlanPtr plan = NULL;
	StringInfoData payload;
	pg_uuid_t	id;
	char		id_text[EB_ID_LEN + 1];

	eb_envelope_new_id(&id);
	eb_envelope_format_id(&id, id_text);
	initStringInfo(&payload);
	appendStringInfo(&payload, "{\"MessageId\":\"%.*s\"", EB_ID_LEN, id_text);
	if (!target->claim_check)
	{
		int			len = payload.len;

		appendStringInfoString(&payload, ",\"Message\":");
		if (eb_json_text_is_valid(input, strlen(input)))
			appendStringInfoString(&payload, input);
		else
			escape_json(&payload, input);
		appendStringInfoChar(&payload, '}');
		if (payload.len < EB_NOTIFY_LIMIT)
		{
			Async_Notify(target->name, payload.data);
			return;
		}
		payload.len = len;
		payload.data[len] = '\0';
	}

	{
		EbLogRow	stored = *row;

		stored.event_id = id;
		store(&plan, "INSERT INTO eventbridge.notification"
			  " (topic_id, message, message_id) VALUES ($1, $2, $3)",
			  target, &stored, input);
	}
	appendStringInfoChar(&payload, '}');
	Async_Notify(target->name, payload.data);
}

/* Puts the event on another bus, unless it has come too far. */
static void
forward(EbTarget *target, const EbLogRow *row, EbOutcome *outcome)
{
	EbPublishedEvent event = {
		.id = row->event_id,
		.text = row->event,
		.text_len = row->event_len,
		.ingestion_time = GetCurrentTimestamp(),
		.group_key = row->group_key,
		.hops = row->hops + 1
	};

	if (event.hops > EB_MAX_HOPS)
	{
		target->looped++;
		refuse(outcome, "RESOURCE_LIMIT_EXCEEDED",
			   psprintf("the event has been forwarded %d times", row->hops));
		return;
	}
	eb_bus_publish(target->resource_id, &event, NULL);
	outcome->result = EB_DELIVERED;
}

/* Targets in the database that run no user code; what fails is an error. */
static void
deliver_inside(EbInvocation *invocation)
{
	static SPIPlanPtr log_plan = NULL;
	EbTarget   *target = invocation->target;
	const EbLogRow *row = invocation->row;

	invocation->outcome.result = EB_DELIVERED;
	switch (target->kind)
	{
		case EB_TARGET_QUEUE:
			send_message(target, row, invocation->input);
			break;
		case EB_TARGET_LOG_GROUP:
			store(&log_plan, "INSERT INTO eventbridge.log_event"
				  " (log_group_id, message)"
				  " SELECT $1, $2 WHERE $3 IS NOT NULL",
				  target, row, invocation->input);
			break;
		case EB_TARGET_CHANNEL:
			notify(target, row, invocation->input);
			break;
		case EB_TARGET_BUS:
			forward(target, row, &invocation->outcome);
			break;
		default:
			elog(ERROR, "unexpected target kind %d", (int) target->kind);
	}
}

/*
 * Works out what the target is to receive, on behalf of the lane.  False if
 * there is nothing to invoke: then the outcome says why.
 */
bool
eb_target_prepare(EbInvocation *invocation, Oid lane)
{
	EbTarget   *target = invocation->target;
	EbOutcome  *outcome = &invocation->outcome;
	char	   *fault = NULL;

	memset(outcome, 0, sizeof(EbOutcome));
	invocation->input = invocation->row->event;
	if (!target->exists)
	{
		outcome->result = EB_GONE;
		return false;
	}
	if (target->lane != lane)
	{
		outcome->result = EB_MOVED;
		return false;
	}

	invocation->input = target_input(target, invocation->row, &fault);
	if (invocation->input == NULL)
	{
		invocation->input = invocation->row->event;
		refuse(outcome, "INVALID_JSON", fault);
		return false;
	}
	if (target->obstacle != NULL)
	{
		refuse(outcome, target->obstacle_code, target->obstacle);
		return false;
	}
	return true;
}

/* Invokes what has been prepared; the outcome says how it went. */
void
eb_target_deliver(EbInvocation *invocation)
{
	if (invocation->target->kind == EB_TARGET_FUNCTION ||
		invocation->target->kind == EB_TARGET_PROCEDURE)
		(void) eb_invoke(invocation, 1);
	else
		deliver_inside(invocation);
}
