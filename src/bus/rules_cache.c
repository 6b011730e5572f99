/*-------------------------------------------------------------------------
 *
 * rules_cache.c
 *	  What a backend knows of buses, permissions, rules and targets.
 *
 * Whoever puts an event asks three questions: which bus is meant, may I, and
 * which rules want it.  They are answered from memory.  Buses and permissions
 * are few and are read together; the rules of a bus are read when first asked
 * for.
 *
 * The tables are read as the server reads its own catalogs: with a snapshot
 * taken at that moment, at every isolation level.  So a transaction sees what
 * has been committed and what it changed itself, and no rule that another
 * transaction has not committed.
 *
 * Each of the tables has triggers, cache_invalidate(), that send a relcache
 * invalidation for it.  The server delivers it to this backend at
 * the end of the command, to all others after commit, and undoes it when a
 * subtransaction rolls back; that is when our own entries become stale too.
 * The callback may run at any moment in which a lock is taken, so it only
 * counts; what is stale is thrown away at the next question.  A cache carries
 * the count from before it was read: an invalidation that arrives while it is
 * being read makes it stale from the beginning.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/pg_authid.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "bus/bus.h"
#include "compat.h"

/* Columns of the tables, in the order of sql/parts/bus.sql. */
enum
{
	BUS_BUS_ID = 1,
	BUS_NAME,
	BUS_OWNER
};

enum
{
	PERMISSION_BUS_ID = 1,
	PERMISSION_STATEMENT_ID,
	PERMISSION_ACTION,
	PERMISSION_PRINCIPAL
};

enum
{
	RULE_RULE_ID = 1,
	RULE_BUS_ID,
	RULE_NAME,
	RULE_OWNER,
	RULE_STATE,
	RULE_EVENT_PATTERN
};

enum
{
	TARGET_TARGET_ID = 1,
	TARGET_RULE_ID
};

enum
{
	TABLE_EVENT_BUS,
	TABLE_PERMISSION,
	TABLE_RULE,
	TABLE_TARGET,
	NTABLES
};

static const char *const table_names[NTABLES] = {
	"event_bus", "event_bus_permission", "rule", "target"
};

/* Index by which rules are read per bus, and targets per rule. */
static const char *const rule_index_name = "rule_bus_id_name_key";
static const char *const target_index_name = "target_rule_id_id_key";

typedef struct CachedPermission
{
	EbBusAction action;
	char	   *principal;		/* role, or NULL for every role */
} CachedPermission;

typedef struct CachedBus
{
	int64		bus_id;
	char	   *name;
	char	   *owner;
	int			npermissions;
	CachedPermission *permissions;
	EbBusRules *rules;			/* NULL until asked for */
	MemoryContext rules_context;
} CachedBus;

typedef struct BusCache
{
	MemoryContext context;
	uint64		generation;		/* invalidations seen before it was read */
	int			nbuses;
	CachedBus  *buses;
} BusCache;

static BusCache *cache = NULL;

/* Invalidations seen so far. */
static uint64 generation = 0;

/* What the callback listens for; InvalidOid where not yet known. */
static Oid	table_oids[NTABLES];

static BusCache *get_cache(void);

PG_FUNCTION_INFO_V1(eb_cache_invalidate);

/* May run at any time: counts, and nothing else. */
static void
count_invalidation(Datum arg, Oid relid)
{
	if (relid == InvalidOid)
		generation++;
	else
		for (int i = 0; i < NTABLES; i++)
			if (relid == table_oids[i])
				generation++;
}

void
eb_bus_init(void)
{
	CacheRegisterRelcacheCallback(count_invalidation, (Datum) 0);
}

/*
 * Trigger on each of the tables: makes every backend forget what it knows of
 * them, in the sense of this file's first comment.
 */
Datum
eb_cache_invalidate(PG_FUNCTION_ARGS)
{
	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function cache_invalidate() must be called as a trigger")));
	CacheInvalidateRelcache(((TriggerData *) fcinfo->context)->tg_relation);
	PG_RETURN_POINTER(NULL);
}

/* A table of ours, opened for reading. */
static Relation
open_table(int which)
{
	Oid			namespace_oid = get_namespace_oid("eventbridge", true);
	Oid			relid = InvalidOid;

	if (OidIsValid(namespace_oid))
		relid = get_relname_relid(table_names[which], namespace_oid);
	if (!OidIsValid(relid))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("table \"eventbridge.%s\" does not exist",
						table_names[which]),
				 errhint("The extension is not created in this database.")));
	table_oids[which] = relid;
	return table_open(relid, AccessShareLock);
}

/* A column that is declared NOT NULL. */
static Datum
get_column(HeapTuple tuple, TupleDesc desc, int attnum)
{
	bool		isnull;
	Datum		value = heap_getattr(tuple, attnum, desc, &isnull);

	if (isnull)
		elog(ERROR, "unexpected null in column %d", attnum);
	return value;
}

/* Reads all buses into the cache; the caller has set the memory context. */
static void
read_buses(BusCache *into, Snapshot snapshot)
{
	Relation	rel = open_table(TABLE_EVENT_BUS);
	TupleDesc	desc = RelationGetDescr(rel);
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, snapshot,
										  0, NULL);
	HeapTuple	tuple;
	int			allocated = 8;

	into->buses = palloc(allocated * sizeof(CachedBus));
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		CachedBus  *bus;

		if (into->nbuses == allocated)
		{
			allocated *= 2;
			into->buses = repalloc(into->buses,
								   allocated * sizeof(CachedBus));
		}
		bus = &into->buses[into->nbuses++];
		memset(bus, 0, sizeof(CachedBus));
		bus->bus_id = DatumGetInt64(get_column(tuple, desc, BUS_BUS_ID));
		bus->name = TextDatumGetCString(get_column(tuple, desc, BUS_NAME));
		bus->owner = pstrdup(NameStr(*DatumGetName(get_column(tuple, desc,
															  BUS_OWNER))));
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
}

static CachedBus *
find_bus(BusCache *in, int64 bus_id)
{
	for (int i = 0; i < in->nbuses; i++)
		if (in->buses[i].bus_id == bus_id)
			return &in->buses[i];
	return NULL;
}

/* Reads all permissions; the caller has set the memory context. */
static void
read_permissions(BusCache *into, Snapshot snapshot)
{
	Relation	rel = open_table(TABLE_PERMISSION);
	TupleDesc	desc = RelationGetDescr(rel);
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, snapshot,
										  0, NULL);
	HeapTuple	tuple;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		CachedBus  *bus = find_bus(into,
								   DatumGetInt64(get_column(tuple, desc,
															PERMISSION_BUS_ID)));
		CachedPermission *permission;
		char	   *action;
		Datum		principal;
		bool		isnull;

		if (bus == NULL)
			continue;
		bus->permissions = bus->npermissions == 0 ?
			palloc(sizeof(CachedPermission)) :
			repalloc(bus->permissions,
					 (bus->npermissions + 1) * sizeof(CachedPermission));
		permission = &bus->permissions[bus->npermissions++];
		action = TextDatumGetCString(get_column(tuple, desc,
												PERMISSION_ACTION));
		permission->action = strcmp(action, "events:PutEvents") == 0 ?
			EB_BUS_PUT_EVENTS : EB_BUS_PUT_RULE;
		principal = heap_getattr(tuple, PERMISSION_PRINCIPAL, desc, &isnull);
		permission->principal = isnull ? NULL :
			pstrdup(NameStr(*DatumGetName(principal)));
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
}

/*
 * The cache, read again if it is stale.  What it gave before may be gone
 * then, so callers keep nothing of it across anything that may ask again.
 */
static BusCache *
get_cache(void)
{
	MemoryContext context;
	MemoryContext oldcontext;
	Snapshot	snapshot;
	BusCache   *fresh;

	AcceptInvalidationMessages();
	if (cache != NULL && cache->generation == generation)
		return cache;

	if (cache != NULL)
	{
		MemoryContext old = cache->context;

		cache = NULL;
		MemoryContextDelete(old);
	}

	/* Built aside: an error while reading leaves nothing half-built. */
	context = AllocSetContextCreate(CurrentMemoryContext,
									"eventbridge bus cache",
									ALLOCSET_SMALL_SIZES);
	oldcontext = MemoryContextSwitchTo(context);
	fresh = palloc0(sizeof(BusCache));
	fresh->context = context;
	fresh->generation = generation;
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	read_buses(fresh, snapshot);
	read_permissions(fresh, snapshot);
	UnregisterSnapshot(snapshot);
	MemoryContextSwitchTo(oldcontext);

	MemoryContextSetParent(context, CacheMemoryContext);
	cache = fresh;
	return cache;
}

/* Reads the targets of one rule. */
static void
read_targets(EbCachedRule *rule, Relation rel, Oid index_oid,
			 Snapshot snapshot)
{
	TupleDesc	desc = RelationGetDescr(rel);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyInit(&key, TARGET_RULE_ID, BTEqualStrategyNumber, F_INT8EQ,
				Int64GetDatum(rule->rule_id));
	scan = systable_beginscan(rel, index_oid, OidIsValid(index_oid),
							  snapshot, 1, &key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		rule->target_ids = rule->ntargets == 0 ?
			palloc(sizeof(int64)) :
			repalloc(rule->target_ids,
					 (rule->ntargets + 1) * sizeof(int64));
		rule->target_ids[rule->ntargets++] =
			DatumGetInt64(get_column(tuple, desc, TARGET_TARGET_ID));
	}
	systable_endscan(scan);
}

static int
compare_rules(const void *a, const void *b)
{
	return strcmp(((const EbCachedRule *) a)->name,
				  ((const EbCachedRule *) b)->name);
}

/* Reads the enabled rules of a bus that have a pattern, and their targets. */
static void
read_rules(EbBusRules *into, int64 bus_id, Snapshot snapshot)
{
	Relation	rule_rel = open_table(TABLE_RULE);
	Relation	target_rel = open_table(TABLE_TARGET);
	TupleDesc	desc = RelationGetDescr(rule_rel);
	Oid			rule_index = get_relname_relid(rule_index_name,
											   RelationGetNamespace(rule_rel));
	Oid			target_index = get_relname_relid(target_index_name,
												 RelationGetNamespace(target_rel));
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	int			allocated = 16;

	into->rules = palloc(allocated * sizeof(EbCachedRule));
	ScanKeyInit(&key, RULE_BUS_ID, BTEqualStrategyNumber, F_INT8EQ,
				Int64GetDatum(bus_id));
	scan = systable_beginscan(rule_rel, rule_index, OidIsValid(rule_index),
							  snapshot, 1, &key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		EbCachedRule *rule;
		char	   *state;
		Datum		pattern;
		bool		isnull;

		CHECK_FOR_INTERRUPTS();
		state = TextDatumGetCString(get_column(tuple, desc, RULE_STATE));
		if (strcmp(state, "DISABLED") == 0)
			continue;
		pattern = heap_getattr(tuple, RULE_EVENT_PATTERN, desc, &isnull);
		if (isnull)
			continue;

		if (into->nrules == allocated)
		{
			allocated *= 2;
			into->rules = repalloc_huge(into->rules,
										allocated * sizeof(EbCachedRule));
		}
		rule = &into->rules[into->nrules++];
		memset(rule, 0, sizeof(EbCachedRule));
		rule->rule_id = DatumGetInt64(get_column(tuple, desc, RULE_RULE_ID));
		rule->name = TextDatumGetCString(get_column(tuple, desc, RULE_NAME));
		rule->owner = pstrdup(NameStr(*DatumGetName(get_column(tuple, desc,
															   RULE_OWNER))));
		/* The copy outlives the buffer that the tuple is in. */
		rule->pattern = eb_pattern_detoast(PointerGetDatum(PG_DETOAST_DATUM_COPY(pattern)));
		read_targets(rule, target_rel, target_index, snapshot);
		into->ntargets += rule->ntargets;
	}
	systable_endscan(scan);
	table_close(target_rel, AccessShareLock);
	table_close(rule_rel, AccessShareLock);

	/* The index orders by collation; ours is the order of bytes. */
	qsort(into->rules, into->nrules, sizeof(EbCachedRule), compare_rules);
}

/*
 * The rules of a bus, or NULL if there is no such bus.  Valid until the cache
 * is asked again.
 */
const EbBusRules *
eb_bus_rules(int64 bus_id)
{
	CachedBus  *bus = find_bus(get_cache(), bus_id);
	MemoryContext context;
	MemoryContext oldcontext;
	Snapshot	snapshot;
	EbBusRules *rules;

	if (bus == NULL)
		return NULL;
	if (bus->rules != NULL)
		return bus->rules;

	context = AllocSetContextCreate(CurrentMemoryContext,
									"eventbridge rules of a bus",
									ALLOCSET_DEFAULT_SIZES);
	oldcontext = MemoryContextSwitchTo(context);
	rules = palloc0(sizeof(EbBusRules));
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	read_rules(rules, bus_id, snapshot);
	UnregisterSnapshot(snapshot);
	MemoryContextSwitchTo(oldcontext);

	/*
	 * Opening the tables may have brought an invalidation; then these rules
	 * are used this once and thrown away with the cache at the next question.
	 */
	MemoryContextSetParent(context, cache->context);
	bus->rules = rules;
	return rules;
}

/*
 * Which of the rules want the event?  Fills in their positions, in the order
 * of their names; there must be room for all.
 */
int
eb_bus_matching_rules(const EbBusRules *rules, const JsonbValue *event,
					  int *matching)
{
	int			n = 0;

	for (int i = 0; i < rules->nrules; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (eb_pattern_matches_value(rules->rules[i].pattern, event))
			matching[n++] = i;
	}
	return n;
}

bool
eb_bus_has_rules(int64 bus_id)
{
	const EbBusRules *rules = eb_bus_rules(bus_id);

	return rules != NULL && rules->ntargets > 0;
}

/* The name in the ARN of a bus; what is no such ARN is a name already. */
const char *
eb_bus_name_of_arn(const char *name_or_arn)
{
	const char *found;

	if (strncmp(name_or_arn, "arn:", 4) != 0)
		return name_or_arn;
	found = strstr(name_or_arn, ":event-bus/");
	return found == NULL ? name_or_arn : found + strlen(":event-bus/");
}

int64
eb_bus_find(const char *name_or_arn)
{
	const char *name = eb_bus_name_of_arn(name_or_arn);
	BusCache   *known = get_cache();

	for (int i = 0; i < known->nbuses; i++)
		if (strcmp(known->buses[i].name, name) == 0)
			return known->buses[i].bus_id;
	return 0;
}

/* Has the user the rights of the named role? A role that is gone has none. */
static bool
has_rights_of(Oid user, const char *role)
{
	Oid			oid = get_role_oid(role, true);

	return OidIsValid(oid) && has_privs_of_role(user, oid);
}

bool
eb_bus_allows(int64 bus_id, Oid roleid, EbBusAction action)
{
	CachedBus  *bus = find_bus(get_cache(), bus_id);

	if (bus == NULL)
		return false;
	if (superuser_arg(roleid) || has_rights_of(roleid, bus->owner))
		return true;
	for (int i = 0; i < bus->npermissions; i++)
	{
		CachedPermission *permission = &bus->permissions[i];

		if (permission->action == action &&
			(permission->principal == NULL ||
			 has_rights_of(roleid, permission->principal)))
			return true;
	}
	return false;
}

/* May the role know of a rule on the bus? Its owner may, and the bus's. */
bool
eb_bus_shows_rule(int64 bus_id, Oid roleid, const char *owner)
{
	CachedBus  *bus = find_bus(get_cache(), bus_id);

	return superuser_arg(roleid) || has_rights_of(roleid, owner) ||
		(bus != NULL && has_rights_of(roleid, bus->owner));
}
