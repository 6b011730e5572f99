/*-------------------------------------------------------------------------
 *
 * tables.c
 *	  Where the tables of buses, permissions, rules and targets are, and when
 *	  they have changed.
 *
 * Each of the tables has triggers, cache_invalidate(), that send a relcache
 * invalidation for it.  The server delivers it to this backend at the end of
 * the command, to all others after commit, and undoes it when a
 * subtransaction rolls back; that is when what a backend keeps in memory
 * becomes stale too.  The callback may run at any moment in which a lock is
 * taken, so it only counts, for each table; what is stale is renewed at the
 * next question.  Whatever is read carries the count from before it was read:
 * an invalidation that arrives meanwhile makes it stale from the beginning.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/skey.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "bus/tables.h"
#include "compat.h"

static const char *const table_names[EB_NUM_TABLES] = {
	"event_bus", "event_bus_permission", "rule", "target"
};

uint64		eb_table_counts[EB_NUM_TABLES];
Oid			eb_table_oids[EB_NUM_TABLES];

/* The transaction that last changed one of them in this backend. */
static TransactionId changed_by = InvalidTransactionId;

PG_FUNCTION_INFO_V1(eb_cache_invalidate);

/* May run at any time: counts, and nothing else. */
static void
count_invalidation(Datum arg, Oid relid)
{
	for (int i = 0; i < EB_NUM_TABLES; i++)
		if (relid == InvalidOid || relid == eb_table_oids[i])
			eb_table_counts[i]++;
}

void
eb_tables_init(void)
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
	changed_by = GetTopTransactionIdIfAny();
	PG_RETURN_POINTER(NULL);
}

/* Has the transaction that runs now changed any of the tables itself? */
bool
eb_tables_changed_here(void)
{
	return TransactionIdIsValid(changed_by) && changed_by == GetTopTransactionIdIfAny();
}

/*
 * Looks up what the callback listens for.  This comes before anything that is
 * read is counted: an invalidation of a table not yet known would be missed.
 */
void
eb_tables_find(void)
{
	Oid			namespace_oid = get_namespace_oid("eventbridge", true);

	for (int i = 0; i < EB_NUM_TABLES; i++)
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
		eb_table_oids[i] = relid;
	}
}

/*
 * Begins to read the rows that have the value in a column of type bigint, with
 * the index of that name, which has the column first; without, should it be
 * gone.  The next row is systable_getnext(scan->scan).
 */
void
eb_tables_begin_scan(EbTableScan *scan, EbTable table, const char *index_name,
					 AttrNumber column, int64 value)
{
	Oid			index;
	ScanKeyData key;

	scan->rel = table_open(eb_table_oids[table], AccessShareLock);
	scan->desc = RelationGetDescr(scan->rel);
	index = get_relname_relid(index_name, RelationGetNamespace(scan->rel));
	scan->snapshot = RegisterSnapshot(GetLatestSnapshot());
	ScanKeyInit(&key, column, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(value));
	scan->scan = systable_beginscan(scan->rel, index, OidIsValid(index),
									scan->snapshot, 1, &key);
}

void
eb_tables_end_scan(EbTableScan *scan)
{
	systable_endscan(scan->scan);
	UnregisterSnapshot(scan->snapshot);
	table_close(scan->rel, AccessShareLock);
}

/* A column that is declared NOT NULL. */
Datum
eb_tables_column(HeapTuple tuple, TupleDesc desc, int attnum)
{
	bool		isnull;
	Datum		value = heap_getattr(tuple, attnum, desc, &isnull);

	if (isnull)
		elog(ERROR, "unexpected null in column %d", attnum);
	return value;
}
