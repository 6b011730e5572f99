/*-------------------------------------------------------------------------
 *
 * tables.h
 *	  The tables of buses, permissions, rules and targets, as the files that
 *	  keep what they hold in memory see them.
 *
 *-------------------------------------------------------------------------
 */
#ifndef EB_BUS_TABLES_H
#define EB_BUS_TABLES_H

#include "access/genam.h"
#include "access/htup.h"
#include "access/tupdesc.h"
#include "utils/relcache.h"
#include "utils/snapshot.h"

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
	TARGET_RULE_ID,
	TARGET_ID,
	TARGET_ARN,
	TARGET_KIND,
	TARGET_RESOURCE,
	TARGET_ROLE_ARN,
	TARGET_ROLE
};

typedef enum EbTable
{
	EB_TABLE_BUS,
	EB_TABLE_PERMISSION,
	EB_TABLE_RULE,
	EB_TABLE_TARGET,
	EB_NUM_TABLES
} EbTable;

/* A scan of the rows that are of one bus or rule, as committed last. */
typedef struct EbTableScan
{
	Relation	rel;
	TupleDesc	desc;
	Snapshot	snapshot;
	SysScanDesc scan;
} EbTableScan;

/* Invalidations seen so far, by table; see tables.c. */
extern uint64 eb_table_counts[EB_NUM_TABLES];

/* Where the tables are; InvalidOid where not yet known. */
extern Oid	eb_table_oids[EB_NUM_TABLES];

extern void eb_tables_init(void);
extern void eb_tables_find(void);
extern bool eb_tables_changed_here(void);
extern void eb_tables_begin_scan(EbTableScan *scan, EbTable table,
								 const char *index_name, AttrNumber column, int64 value);
extern void eb_tables_end_scan(EbTableScan *scan);
extern Datum eb_tables_column(HeapTuple tuple, TupleDesc desc, int attnum);

#endif							/* EB_BUS_TABLES_H */
