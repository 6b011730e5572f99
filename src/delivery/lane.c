/*-------------------------------------------------------------------------
 *
 * lane.c
 *	  Who delivers to a target.
 *
 * The lane of a target is 0 (EB_LANE_ANY) for what any session may deliver,
 * 1 (EB_LANE_CLIENT) for what only the client program can, and for functions
 * and procedures the oid of the role that they run as: only sessions of that
 * role invoke them.
 *
 * The lane is decided when an event is put, because it says who will look at
 * the row.  Should the target have changed to another lane meanwhile, who meets
 * it passes it on as a retry.  As each session that puts events asks, it is
 * answered from the tables and the server's caches, without a statement.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "fmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"

#include "bus/tables.h"
#include "delivery/delivery.h"

PG_FUNCTION_INFO_V1(eb_lane);
PG_FUNCTION_INFO_V1(eb_lane_of_target);

/* The lane of targets of a kind that run as the role. */
static Oid
lane_of(const char *kind, const char *role)
{
	switch (eb_target_kind(kind))
	{
		case EB_TARGET_FUNCTION:
		case EB_TARGET_PROCEDURE:
			/* None, where the role is gone: any session will say so. */
			return get_role_oid(role, true);
		case EB_TARGET_CLIENT:
			return EB_LANE_CLIENT;
		default:
			return EB_LANE_ANY;
	}
}

/* The owner of a rule, as whom its targets run that name no role. */
static void
read_owner(int64 rule_id, NameData *owner)
{
	EbTableScan scan;
	HeapTuple	tuple;

	eb_tables_begin_scan(&scan, EB_TABLE_RULE, "rule_pkey", RULE_RULE_ID, rule_id);
	if (HeapTupleIsValid(tuple = systable_getnext(scan.scan)))
		*owner = *DatumGetName(eb_tables_column(tuple, scan.desc, RULE_OWNER));
	eb_tables_end_scan(&scan);
}

/* Reads the lane of a target; that of one that is gone does not matter. */
static Oid
read_lane(int64 target_id)
{
	EbTableScan scan;
	HeapTuple	tuple;
	Oid			lane = EB_LANE_ANY;

	eb_tables_find();
	eb_tables_begin_scan(&scan, EB_TABLE_TARGET, "target_pkey", TARGET_TARGET_ID, target_id);
	if (HeapTupleIsValid(tuple = systable_getnext(scan.scan)))
	{
		bool		isnull;
		Datum		named = heap_getattr(tuple, TARGET_ROLE, scan.desc, &isnull);
		NameData	role = {""};

		if (isnull)
			read_owner(DatumGetInt64(eb_tables_column(tuple, scan.desc, TARGET_RULE_ID)), &role);
		else
			role = *DatumGetName(named);
		lane = lane_of(TextDatumGetCString(eb_tables_column(tuple, scan.desc, TARGET_KIND)),
					   NameStr(role));
	}
	eb_tables_end_scan(&scan);
	return lane;
}

typedef struct LaneEntry
{
	int64		target_id;		/* key */
	Oid			lane;
} LaneEntry;

/* The lane of a target; remembered until a target or a role changes. */
Oid
eb_target_lane(int64 target_id)
{
	static HTAB *lanes = NULL;
	static uint64 count = 0;
	LaneEntry  *entry;
	Oid			lane;

	if (lanes != NULL && count != eb_target_changes)
	{
		hash_destroy(lanes);
		lanes = NULL;
	}
	if (lanes == NULL)
	{
		HASHCTL		ctl = {.keysize = sizeof(int64),.entrysize = sizeof(LaneEntry)};

		count = eb_target_watch();
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

/* _lane(kind, role): see lane_of(). */
Datum
eb_lane(PG_FUNCTION_ARGS)
{
	PG_RETURN_OID(lane_of(text_to_cstring(PG_GETARG_TEXT_PP(0)), NameStr(*PG_GETARG_NAME(1))));
}

/* _target_lane(target_id): see eb_target_lane(). */
Datum
eb_lane_of_target(PG_FUNCTION_ARGS)
{
	PG_RETURN_OID(eb_target_lane(PG_GETARG_INT64(0)));
}
