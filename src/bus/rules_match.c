/*-------------------------------------------------------------------------
 *
 * rules_match.c
 *	  Which rules of a bus, and which targets, want an event.
 *
 * The rules come from memory, or from the index where that costs less
 * (rules_renew.c).  The targets of a rule are read when it first matches, and
 * kept until the table of targets changes; with the index they are read each
 * time.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "bus/bus.h"
#include "bus/rules_cache.h"
#include "bus/tables.h"
#include "compat.h"

/* Index by which targets are read per rule. */
static const char *const target_index_name = "target_rule_id_id_key";

/* The targets of a rule, in the current memory context; returns their number. */
static int
read_targets(int64 rule_id, int64 **target_ids)
{
	EbTableScan scan;
	HeapTuple	tuple;
	int			n = 0;

	*target_ids = NULL;
	eb_tables_begin_scan(&scan, EB_TABLE_TARGET, target_index_name, TARGET_RULE_ID, rule_id);
	while (HeapTupleIsValid(tuple = systable_getnext(scan.scan)))
	{
		*target_ids = n == 0 ? palloc(sizeof(int64)) :
			repalloc(*target_ids, (n + 1) * sizeof(int64));
		(*target_ids)[n++] =
			DatumGetInt64(eb_tables_column(tuple, scan.desc, TARGET_TARGET_ID));
	}
	eb_tables_end_scan(&scan);
	return n;
}

/* The targets of a rule that matches, as they are now. */
static const EbCachedTargets *
get_targets(EbCachedRules *rules, int64 rule_id)
{
	EbCachedTargets *targets;
	int64	   *target_ids;
	uint64		count;
	int			n;
	bool		found;

	targets = hash_search(rules->targets, &rule_id, HASH_ENTER, &found);
	if (!found)
		memset((char *) targets + sizeof(int64), 0,
			   sizeof(EbCachedTargets) - sizeof(int64));
	if (targets->valid && targets->target_count == eb_table_counts[EB_TABLE_TARGET])
		return targets;

	targets->valid = false;
	targets->ntargets = 0;
	if (targets->target_ids != NULL)
		pfree(targets->target_ids);
	targets->target_ids = NULL;
	eb_tables_find();
	count = eb_table_counts[EB_TABLE_TARGET];
	n = read_targets(rule_id, &target_ids);
	if (n > 0)
	{
		targets->target_ids = MemoryContextAlloc(rules->context, n * sizeof(int64));
		memcpy(targets->target_ids, target_ids, n * sizeof(int64));
		pfree(target_ids);
	}
	targets->ntargets = n;
	targets->target_count = count;
	targets->valid = true;
	return targets;
}

bool
eb_bus_has_rules(int64 bus_id)
{
	bool		by_index;

	return eb_rules_get(bus_id, &by_index) != NULL;
}

/* The rules of the bus that want the event, by the index; see rules_index.c. */
static int
ask_index(EbCachedRules *rules, const JsonbValue *event, EbIndexedRule **found)
{
	Relation	rel = table_open(eb_table_oids[EB_TABLE_RULE], AccessShareLock);
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	int			n = eb_bus_rules_by_index(rel, snapshot, rules->bus_id, event, found);

	UnregisterSnapshot(snapshot);
	table_close(rel, AccessShareLock);
	if (rules->is_first)
		eb_shared_rules_demand(eb_table_oids[EB_TABLE_RULE], rules->bus_id, 1,
							   &rules->asked, &rules->checked);
	else
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
	EbCachedRules *rules = eb_rules_get(bus_id, &by_index);
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
			const EbCachedTargets *known = get_targets(rules, ids[i]);

			add_targets(targets, &ntargets, ids[i], known->target_ids, known->ntargets);
		}
	}
	return ntargets;
}

/* Name and owner of a rule, for the moment. */
static void
get_names(const EbCachedRules *rules, int64 rule_id, const char **name, const char **owner)
{
	const EbCachedRule *rule = hash_search(rules->by_id, &rule_id, HASH_FIND, NULL);

	if (rule != NULL)
	{
		*name = rule->name;
		*owner = rule->owner;
	}
	else
	{
		const EbImageRow *row = eb_image_find(rules->image, rule_id);

		*name = eb_image_name(rules->image, row->name);
		*owner = eb_image_name(rules->image, row->owner);
	}
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
	EbCachedRules *rules = eb_rules_get(bus_id, &by_index);
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
			const char *name;
			const char *owner;

			get_names(rules, ids[i], &name, &owner);
			(*matching)[i].name = pstrdup(name);
			(*matching)[i].owner = pstrdup(owner);
		}
	}
	qsort(*matching, n, sizeof(EbMatchingRule), compare_matching);
	return n;
}
