/*-------------------------------------------------------------------------
 *
 * rules_cache.c
 *	  What a backend knows of buses, permissions, rules and targets.
 *
 * Whoever puts an event asks three questions: which bus is meant, may I, and
 * which targets want it.  They are answered from memory.  Buses and
 * permissions are few and are read together; the rules of a bus are read when
 * first asked for, and the targets of a rule when it first matches.
 *
 * The tables are read as the server reads its own catalogs: with a snapshot
 * taken at that moment, at every isolation level.  So a transaction sees what
 * has been committed and what it changed itself, and no rule that another
 * transaction has not committed.
 *
 * Each of the tables has triggers, cache_invalidate(), that send a relcache
 * invalidation for it.  The server delivers it to this backend at the end of
 * the command, to all others after commit, and undoes it when a
 * subtransaction rolls back; that is when our own entries become stale too.
 * The callback may run at any moment in which a lock is taken, so it only
 * counts, for each table; what is stale is renewed at the next question.
 * Whatever is read carries the count from before it was read: an invalidation
 * that arrives meanwhile makes it stale from the beginning.
 *
 * Rules are renewed, not thrown away: of the many rules of a bus one has
 * changed, and the rule set has its own ways to take that in.  A row that
 * stands where it stood and was written by whom it was is the same row, since
 * a place is used again only after the writer of the old row has ended.  The
 * exception are rows that this transaction wrote; they are read again.
 *
 * Even so, of many rules each is looked at.  Where a bus has many and few
 * events have been asked for, they are not read, or not renewed, but the index
 * answers (rules_index.c), until that has cost about as much as reading would
 * have.  So the first event of a backend, and the first after a rule has
 * changed, cost about as little with 100,000 rules as with a thousand.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_authid.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "bus/bus.h"
#include "compat.h"
#include "ruleset/ruleset.h"

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
} CachedBus;

/* Buses and permissions; thrown away when stale. */
typedef struct BusCache
{
	MemoryContext context;
	uint64		bus_count;		/* invalidations before it was read */
	uint64		permission_count;
	int			nbuses;
	CachedBus  *buses;
} BusCache;

/* A rule that is enabled and has a pattern. */
typedef struct CachedRule
{
	int64		rule_id;		/* hash key */
	ItemPointerData tid;		/* the row it was read from */
	TransactionId xmin;
	bool		settled;		/* that was not this transaction's */
	uint64		seen;			/* renewal that met it last */
	char	   *name;
	char	   *owner;
	bool		has_targets;	/* the targets have been read */
	uint64		target_count;	/* invalidations before they were */
	int			ntargets;
	int64	   *target_ids;
} CachedRule;

/* With fewer rules than this the index is not asked. */
#define MANY_RULES 1000
/* An event costs, by the index, as much as reading so many rules ... */
#define READ_PER_EVENT 50
/* ... or looking whether so many have changed. */
#define RENEWED_PER_EVENT 500
/* Events after which the number of rules is looked at again. */
#define EVENTS_TO_CHECK (MANY_RULES / READ_PER_EVENT)

/* The rules of a bus; renewed when stale. */
typedef struct CachedRules
{
	int64		bus_id;			/* hash key */
	MemoryContext context;
	uint64		rule_count;		/* invalidations before the last renewal */
	uint64		renewal;
	bool		valid;			/* has been read at all */
	uint32		asked;			/* events since, while stale, or before it was read */
	uint32		checked;		/* asked: there are too many to read them */
	HTAB	   *by_id;			/* of CachedRule */
	EbRuleSet  *set;			/* their patterns, by rule id */
} CachedRules;

static BusCache *bus_cache = NULL;
static HTAB *rules_cache = NULL;	/* of CachedRules */

/* Invalidations seen so far, by table. */
static uint64 counts[NTABLES];

/* What the callback listens for; InvalidOid where not yet known. */
static Oid	table_oids[NTABLES];

PG_FUNCTION_INFO_V1(eb_cache_invalidate);

/* May run at any time: counts, and nothing else. */
static void
count_invalidation(Datum arg, Oid relid)
{
	for (int i = 0; i < NTABLES; i++)
		if (relid == InvalidOid || relid == table_oids[i])
			counts[i]++;
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

/*
 * Looks up what the callback listens for.  This comes before anything that is
 * read is counted: an invalidation of a table not yet known would be missed.
 */
static void
find_tables(void)
{
	Oid			namespace_oid = get_namespace_oid("eventbridge", true);

	for (int i = 0; i < NTABLES; i++)
	{
		Oid			relid = InvalidOid;

		if (OidIsValid(namespace_oid))
			relid = get_relname_relid(table_names[i], namespace_oid);
		if (!OidIsValid(relid))
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_TABLE),
					 errmsg("table \"eventbridge.%s\" does not exist",
							table_names[i]),
					 errhint("The extension is not created in this database.")));
		table_oids[i] = relid;
	}
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
	Relation	rel = table_open(table_oids[TABLE_EVENT_BUS], AccessShareLock);
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
	Relation	rel = table_open(table_oids[TABLE_PERMISSION], AccessShareLock);
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

/* The place for the rules of a bus, whether they have been read or not. */
static CachedRules *
find_rules(int64 bus_id)
{
	CachedRules *rules;
	bool		found;

	if (rules_cache == NULL)
	{
		HASHCTL		info = {0};

		info.keysize = sizeof(int64);
		info.entrysize = sizeof(CachedRules);
		info.hcxt = CacheMemoryContext;
		rules_cache = hash_create("eventbridge rules by bus", 16, &info,
								  HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	}
	rules = hash_search(rules_cache, &bus_id, HASH_ENTER, &found);
	if (!found)
		memset((char *) rules + sizeof(int64), 0,
			   sizeof(CachedRules) - sizeof(int64));
	return rules;
}

/* What is known of the rules of a bus is forgotten. */
static void
forget_rules(CachedRules *rules)
{
	MemoryContext context = rules->context;

	rules->valid = false;
	rules->by_id = NULL;
	rules->set = NULL;
	rules->context = NULL;
	if (context != NULL)
		MemoryContextDelete(context);
}

/* The rules of buses that are no more are forgotten. */
static void
forget_rules_of_gone_buses(void)
{
	HASH_SEQ_STATUS status;
	CachedRules *rules;

	if (rules_cache == NULL)
		return;
	hash_seq_init(&status, rules_cache);
	while ((rules = hash_seq_search(&status)) != NULL)
		if (find_bus(bus_cache, rules->bus_id) == NULL)
		{
			forget_rules(rules);
			hash_search(rules_cache, &rules->bus_id, HASH_REMOVE, NULL);
		}
}

/*
 * Buses and permissions, read again if they are stale.  What it gave before
 * may be gone then, so callers keep nothing of it across another call.
 */
static BusCache *
get_buses(void)
{
	MemoryContext context;
	MemoryContext oldcontext;
	Snapshot	snapshot;
	BusCache   *fresh;

	AcceptInvalidationMessages();
	if (bus_cache != NULL)
	{
		MemoryContext stale = bus_cache->context;

		if (bus_cache->bus_count == counts[TABLE_EVENT_BUS] &&
			bus_cache->permission_count == counts[TABLE_PERMISSION])
			return bus_cache;
		bus_cache = NULL;
		MemoryContextDelete(stale);
	}

	/* Built aside: an error while reading leaves nothing half-built. */
	find_tables();
	context = AllocSetContextCreate(CurrentMemoryContext,
									"eventbridge buses",
									ALLOCSET_SMALL_SIZES);
	oldcontext = MemoryContextSwitchTo(context);
	fresh = palloc0(sizeof(BusCache));
	fresh->context = context;
	fresh->bus_count = counts[TABLE_EVENT_BUS];
	fresh->permission_count = counts[TABLE_PERMISSION];
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	read_buses(fresh, snapshot);
	read_permissions(fresh, snapshot);
	UnregisterSnapshot(snapshot);
	MemoryContextSwitchTo(oldcontext);

	MemoryContextSetParent(context, CacheMemoryContext);
	bus_cache = fresh;
	forget_rules_of_gone_buses();
	return bus_cache;
}

/* An empty place for the rules of a bus. */
static void
start_rules(CachedRules *rules)
{
	MemoryContext context;
	HASHCTL		info = {0};

	forget_rules(rules);
	context = AllocSetContextCreate(CacheMemoryContext,
									"eventbridge rules of a bus",
									ALLOCSET_DEFAULT_SIZES);
	rules->context = context;
	info.keysize = sizeof(int64);
	info.entrysize = sizeof(CachedRule);
	info.hcxt = context;
	rules->by_id = hash_create("eventbridge rules", 64, &info,
							   HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	rules->set = eb_ruleset_create(context);
}

static void
forget_targets(CachedRule *rule)
{
	rule->has_targets = false;
	rule->ntargets = 0;
	if (rule->target_ids != NULL)
	{
		pfree(rule->target_ids);
		rule->target_ids = NULL;
	}
}

/*
 * Takes in one row: a rule that is new, or has changed, or is what it was.
 */
static void
take_row(CachedRules *rules, HeapTuple tuple, TupleDesc desc)
{
	int64		rule_id = DatumGetInt64(get_column(tuple, desc, RULE_RULE_ID));
	TransactionId xmin = HeapTupleHeaderGetRawXmin(tuple->t_data);
	CachedRule *rule = hash_search(rules->by_id, &rule_id, HASH_FIND, NULL);
	char	   *state;
	Datum		pattern;
	bool		isnull;
	bool		found;

	if (rule != NULL && rule->settled && rule->xmin == xmin &&
		ItemPointerEquals(&rule->tid, &tuple->t_self))
	{
		rule->seen = rules->renewal;
		return;
	}

	state = TextDatumGetCString(get_column(tuple, desc, RULE_STATE));
	pattern = heap_getattr(tuple, RULE_EVENT_PATTERN, desc, &isnull);
	if (strcmp(state, "DISABLED") == 0 || isnull)
		return;

	eb_ruleset_put(rules->set, rule_id, eb_pattern_detoast(pattern));
	rule = hash_search(rules->by_id, &rule_id, HASH_ENTER, &found);
	if (!found)
		memset((char *) rule + sizeof(int64), 0,
			   sizeof(CachedRule) - sizeof(int64));
	else
	{
		pfree(rule->name);
		pfree(rule->owner);
	}
	rule->seen = rules->renewal;
	rule->name = MemoryContextStrdup(rules->context,
									 TextDatumGetCString(get_column(tuple, desc,
																	RULE_NAME)));
	rule->owner = MemoryContextStrdup(rules->context,
									  NameStr(*DatumGetName(get_column(tuple, desc,
																	   RULE_OWNER))));
	rule->tid = tuple->t_self;
	rule->xmin = xmin;
	rule->settled = !TransactionIdIsCurrentTransactionId(xmin);
}

/* Removes the rules that the renewal has not met. */
static void
drop_unseen(CachedRules *rules)
{
	HASH_SEQ_STATUS status;
	CachedRule *rule;

	hash_seq_init(&status, rules->by_id);
	while ((rule = hash_seq_search(&status)) != NULL)
	{
		if (rule->seen == rules->renewal)
			continue;
		eb_ruleset_remove(rules->set, rule->rule_id);
		forget_targets(rule);
		pfree(rule->name);
		pfree(rule->owner);
		hash_search(rules->by_id, &rule->rule_id, HASH_REMOVE, NULL);
	}
}

/* Reads the rules of a bus, or what has changed in them. */
static void
renew_rules(CachedRules *rules)
{
	Relation	rel = table_open(table_oids[TABLE_RULE], AccessShareLock);
	Oid			index = get_relname_relid(rule_index_name,
										  RelationGetNamespace(rel));
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	MemoryContext row_context = AllocSetContextCreate(CurrentMemoryContext,
													  "eventbridge rule",
													  ALLOCSET_DEFAULT_SIZES);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;

	rules->renewal++;
	ScanKeyInit(&key, RULE_BUS_ID, BTEqualStrategyNumber, F_INT8EQ,
				Int64GetDatum(rules->bus_id));
	scan = systable_beginscan(rel, index, OidIsValid(index), snapshot, 1, &key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		MemoryContext oldcontext = MemoryContextSwitchTo(row_context);

		CHECK_FOR_INTERRUPTS();
		take_row(rules, tuple, RelationGetDescr(rel));
		MemoryContextSwitchTo(oldcontext);
		MemoryContextReset(row_context);
	}
	systable_endscan(scan);
	drop_unseen(rules);

	MemoryContextDelete(row_context);
	UnregisterSnapshot(snapshot);
	table_close(rel, AccessShareLock);
}

/* Has the bus more rules than that? */
static bool
has_more_rules(int64 bus_id, int64 number)
{
	Relation	rel = table_open(table_oids[TABLE_RULE], AccessShareLock);
	Oid			index = get_relname_relid(rule_index_name,
										  RelationGetNamespace(rel));
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	ScanKeyData key;
	SysScanDesc scan;
	int64		n = 0;

	ScanKeyInit(&key, RULE_BUS_ID, BTEqualStrategyNumber, F_INT8EQ,
				Int64GetDatum(bus_id));
	scan = systable_beginscan(rel, index, OidIsValid(index), snapshot, 1, &key);
	while (n <= number && HeapTupleIsValid(systable_getnext(scan)))
	{
		CHECK_FOR_INTERRUPTS();
		n++;
	}
	systable_endscan(scan);
	UnregisterSnapshot(snapshot);
	table_close(rel, AccessShareLock);
	return n > number;
}

/*
 * Is it better to ask the index about the next event than to read the rules,
 * or what has changed in them?
 */
static bool
is_index_better(CachedRules *rules)
{
	if (rules->valid)
	{
		int64		n = hash_get_num_entries(rules->by_id);

		return n >= MANY_RULES && rules->asked < n / RENEWED_PER_EVENT;
	}
	if (rules->asked >= rules->checked)
	{
		if (!has_more_rules(rules->bus_id,
							Max(MANY_RULES, (int64) rules->asked * READ_PER_EVENT)))
			return false;
		rules->checked = Max(EVENTS_TO_CHECK, rules->asked * 2);
	}
	return true;
}

/*
 * The rules of a bus as they are now, or NULL if it has none.  With by_index
 * they are not, and the index is to be asked.  An error leaves them to be
 * renewed again.
 */
static CachedRules *
get_rules(int64 bus_id, bool *by_index)
{
	CachedRules *rules;
	uint64		count;

	*by_index = false;
	if (bus_id == 0)
		return NULL;
	AcceptInvalidationMessages();
	rules = find_rules(bus_id);
	if (!rules->valid || rules->rule_count != counts[TABLE_RULE])
	{
		find_tables();
		*by_index = is_index_better(rules);
		if (*by_index)
			return rules;
		/* What an error has left half-renewed is read anew. */
		if (!rules->valid)
			start_rules(rules);
		rules->valid = false;
		count = counts[TABLE_RULE];
		renew_rules(rules);
		rules->rule_count = count;
		rules->valid = true;
		rules->asked = rules->checked = 0;
	}
	return hash_get_num_entries(rules->by_id) > 0 ? rules : NULL;
}

/* The targets of a rule, in the current memory context; returns their number. */
static int
read_targets(int64 rule_id, int64 **target_ids)
{
	Relation	rel = table_open(table_oids[TABLE_TARGET], AccessShareLock);
	Oid			index = get_relname_relid(target_index_name,
										  RelationGetNamespace(rel));
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	int			n = 0;

	*target_ids = NULL;
	ScanKeyInit(&key, TARGET_RULE_ID, BTEqualStrategyNumber, F_INT8EQ,
				Int64GetDatum(rule_id));
	scan = systable_beginscan(rel, index, OidIsValid(index), snapshot, 1, &key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		*target_ids = n == 0 ? palloc(sizeof(int64)) :
			repalloc(*target_ids, (n + 1) * sizeof(int64));
		(*target_ids)[n++] = DatumGetInt64(get_column(tuple, RelationGetDescr(rel),
													  TARGET_TARGET_ID));
	}
	systable_endscan(scan);
	UnregisterSnapshot(snapshot);
	table_close(rel, AccessShareLock);
	return n;
}

/*
 * Sees to it that the targets of a rule are known as they are now.  This is
 * done for rules that match only.
 */
static void
renew_targets(CachedRules *rules, CachedRule *rule)
{
	MemoryContext caller;
	uint64		count;

	if (rule->has_targets && rule->target_count == counts[TABLE_TARGET])
		return;
	forget_targets(rule);
	find_tables();
	count = counts[TABLE_TARGET];
	caller = MemoryContextSwitchTo(rules->context);
	rule->ntargets = read_targets(rule->rule_id, &rule->target_ids);
	MemoryContextSwitchTo(caller);
	rule->target_count = count;
	rule->has_targets = true;
}

bool
eb_bus_has_rules(int64 bus_id)
{
	bool		by_index;

	return get_rules(bus_id, &by_index) != NULL;
}

/* The rules of the bus that want the event, by the index; see rules_index.c. */
static int
ask_index(CachedRules *rules, const JsonbValue *event, EbIndexedRule **found)
{
	Relation	rel = table_open(table_oids[TABLE_RULE], AccessShareLock);
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	int			n = eb_bus_rules_by_index(rel, snapshot, rules->bus_id, event, found);

	UnregisterSnapshot(snapshot);
	table_close(rel, AccessShareLock);
	rules->asked++;
	return n;
}

/* Adds the targets of a rule to those found so far. */
static void
add_targets(EbMatchedTarget **targets, int *n, int64 rule_id,
			const int64 *target_ids, int ntarget_ids)
{
	if (ntarget_ids == 0)
		return;
	*targets = *targets == NULL ? palloc(ntarget_ids * sizeof(EbMatchedTarget)) :
		repalloc(*targets, (*n + ntarget_ids) * sizeof(EbMatchedTarget));
	for (int i = 0; i < ntarget_ids; i++)
	{
		(*targets)[*n].rule_id = rule_id;
		(*targets)[(*n)++].target_id = target_ids[i];
	}
}

/*
 * The targets of the rules that want the event, in the current memory
 * context; returns their number.
 */
int
eb_bus_matching_targets(int64 bus_id, const JsonbValue *event,
						EbMatchedTarget **targets)
{
	bool		by_index;
	CachedRules *rules = get_rules(bus_id, &by_index);
	int			ntargets = 0;
	int			n;

	*targets = NULL;
	if (rules == NULL)
		return 0;
	if (by_index)
	{
		EbIndexedRule *found;

		n = ask_index(rules, event, &found);
		for (int i = 0; i < n; i++)
		{
			int64	   *target_ids;
			int			ntarget_ids = read_targets(found[i].rule_id, &target_ids);

			add_targets(targets, &ntargets, found[i].rule_id, target_ids, ntarget_ids);
		}
	}
	else
	{
		const int64 *ids;

		n = eb_ruleset_match(rules->set, event, &ids);
		for (int i = 0; i < n; i++)
		{
			CachedRule *rule = hash_search(rules->by_id, &ids[i], HASH_FIND, NULL);

			renew_targets(rules, rule);
			add_targets(targets, &ntargets, rule->rule_id, rule->target_ids, rule->ntargets);
		}
	}
	return ntargets;
}

static int
compare_matching(const void *a, const void *b)
{
	return strcmp(((const EbMatchingRule *) a)->name,
				  ((const EbMatchingRule *) b)->name);
}

/*
 * The rules that want the event, in the order of their names, in the current
 * memory context; returns their number.
 */
int
eb_bus_matching_rules(int64 bus_id, const JsonbValue *event,
					  EbMatchingRule **matching)
{
	bool		by_index;
	CachedRules *rules = get_rules(bus_id, &by_index);
	int			n;

	*matching = NULL;
	if (rules == NULL)
		return 0;
	if (by_index)
	{
		EbIndexedRule *found;

		n = ask_index(rules, event, &found);
		*matching = palloc(Max(n, 1) * sizeof(EbMatchingRule));
		for (int i = 0; i < n; i++)
		{
			(*matching)[i].name = found[i].name;
			(*matching)[i].owner = found[i].owner;
		}
	}
	else
	{
		const int64 *ids;

		n = eb_ruleset_match(rules->set, event, &ids);
		*matching = palloc(Max(n, 1) * sizeof(EbMatchingRule));
		for (int i = 0; i < n; i++)
		{
			CachedRule *rule = hash_search(rules->by_id, &ids[i], HASH_FIND, NULL);

			(*matching)[i].name = pstrdup(rule->name);
			(*matching)[i].owner = pstrdup(rule->owner);
		}
	}
	qsort(*matching, n, sizeof(EbMatchingRule), compare_matching);
	return n;
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
	BusCache   *known = get_buses();

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
	CachedBus  *bus = find_bus(get_buses(), bus_id);

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
	CachedBus  *bus = find_bus(get_buses(), bus_id);

	return superuser_arg(roleid) || has_rights_of(roleid, owner) ||
		(bus != NULL && has_rights_of(roleid, bus->owner));
}
