/*-------------------------------------------------------------------------
 *
 * target.c
 *	  What a target is when it is invoked.
 *
 * A target is read when a batch first meets it, so changes of rules and
 * targets act on what has not been delivered yet.  What was read is kept for
 * the next batch, until anything changes that it was made of: rows of our
 * tables (their triggers send an invalidation; see bus/tables.c),
 * functions, schemas, roles and memberships (the server does), or a setting.
 *
 * Only the lane is decided when an event is put; see lane.c.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

#include "compat.h"
#include "delivery/delivery.h"
#include "json/path.h"
#include "settings.h"
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

uint64		eb_target_changes = 0;

/* These may run at any time: they count, and nothing else. */
static void
count_table_change(Datum arg, Oid relid)
{
	for (int i = 0; i < lengthof(source_oids); i++)
		if (relid == InvalidOid || relid == source_oids[i])
		{
			eb_target_changes++;
			return;
		}
}

static void
count_catalog_change(Datum arg, int cacheid, uint32 hashvalue)
{
	eb_target_changes++;
}

/*
 * Finds what the callback listens for, and returns how many changes have been
 * seen; before anything is read, which is stale when eb_target_changes is not
 * that any more.
 */
uint64
eb_target_watch(void)
{
	for (int i = 0; i < lengthof(source_tables); i++)
		source_oids[i] = eb_relation(source_tables[i]);
	return eb_target_changes;
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
	uint64		count;

	AcceptInvalidationMessages();
	if (target_cache != NULL &&
		target_cache->count == eb_target_changes &&
		target_cache->generation == eb_settings_generation)
		return target_cache;

	count = eb_target_watch();
	context = AllocSetContextCreate(CurrentMemoryContext,
									"eventbridge target cache",
									ALLOCSET_SMALL_SIZES);
	fresh = MemoryContextAllocZero(context, sizeof(TargetCache));
	fresh->context = context;
	fresh->count = count;
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
	Datum		value = eb_result(0, column, &isnull);

	return isnull ? null : value;
}

/* A target from SPI's result, which has a row for it. */
static void
read_columns(EbTarget *target)
{
	char	   *template;

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

/* Reads a target into the current context. */
static void
read_target(EbTarget *target)
{
	static SPIPlanPtr plan = NULL;
	static const Oid types[] = {INT8OID};
	Datum		values[1] = {Int64GetDatum(target->target_id)};

	if (eb_internal_execute(&plan,
							"SELECT * FROM eventbridge._delivery_target($1)",
							1, types, values, NULL) > 0)
		read_columns(target);
	SPI_freetuptable(SPI_tuptable);
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
