/*-------------------------------------------------------------------------
 *
 * buses_cache.c
 *	  What a backend knows of buses and permissions.
 *
 * They are few, so they are read together, and thrown away when one of them
 * has changed.  They are read as rules_cache.c reads rules.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "bus/bus.h"
#include "bus/tables.h"
#include "compat.h"

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

static BusCache *bus_cache = NULL;

/* Reads all buses into the cache; the caller has set the memory context. */
static void
read_buses(BusCache *into, Snapshot snapshot)
{
	Relation	rel = table_open(eb_table_oids[EB_TABLE_BUS], AccessShareLock);
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
		bus->bus_id = DatumGetInt64(eb_tables_column(tuple, desc, BUS_BUS_ID));
		bus->name = TextDatumGetCString(eb_tables_column(tuple, desc, BUS_NAME));
		bus->owner = pstrdup(NameStr(*DatumGetName(eb_tables_column(tuple, desc,
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
	Relation	rel = table_open(eb_table_oids[EB_TABLE_PERMISSION], AccessShareLock);
	TupleDesc	desc = RelationGetDescr(rel);
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, snapshot,
										  0, NULL);
	HeapTuple	tuple;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		CachedBus  *bus = find_bus(into,
								   DatumGetInt64(eb_tables_column(tuple, desc,
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
		action = TextDatumGetCString(eb_tables_column(tuple, desc,
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

/* Did it exist when buses were read last? */
bool
eb_bus_exists(int64 bus_id)
{
	return bus_cache != NULL && find_bus(bus_cache, bus_id) != NULL;
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

		if (bus_cache->bus_count == eb_table_counts[EB_TABLE_BUS] &&
			bus_cache->permission_count == eb_table_counts[EB_TABLE_PERMISSION])
			return bus_cache;
		bus_cache = NULL;
		MemoryContextDelete(stale);
	}

	/* Built aside: an error while reading leaves nothing half-built. */
	eb_tables_find();
	context = AllocSetContextCreate(CurrentMemoryContext,
									"eventbridge buses",
									ALLOCSET_SMALL_SIZES);
	oldcontext = MemoryContextSwitchTo(context);
	fresh = palloc0(sizeof(BusCache));
	fresh->context = context;
	fresh->bus_count = eb_table_counts[EB_TABLE_BUS];
	fresh->permission_count = eb_table_counts[EB_TABLE_PERMISSION];
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	read_buses(fresh, snapshot);
	read_permissions(fresh, snapshot);
	UnregisterSnapshot(snapshot);
	MemoryContextSwitchTo(oldcontext);

	MemoryContextSetParent(context, CacheMemoryContext);
	bus_cache = fresh;
	eb_rules_forget_gone();
	return bus_cache;
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

/*
 * The name of a bus, for the moment.  NULL if it does not exist; or if there
 * is a role and it has not the rights of the owner.
 */
const char *
eb_bus_name(int64 bus_id, Oid roleid)
{
	CachedBus  *bus = find_bus(get_buses(), bus_id);

	if (bus == NULL || (OidIsValid(roleid) && !has_rights_of(roleid, bus->owner)))
		return NULL;
	return bus->name;
}
