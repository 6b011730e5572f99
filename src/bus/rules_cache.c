/*-------------------------------------------------------------------------
 *
 * rules_cache.c
 *	  What a backend knows of rules and targets.
 *
 * Whoever puts an event asks which targets want it.  That is answered from
 * memory: the rules of a bus are read when first asked for, and the targets of
 * a rule when it first matches.
 *
 * The tables are read as the server reads its own catalogs: with a snapshot
 * taken at that moment, at every isolation level.  So a transaction sees what
 * has been committed and what it changed itself, and no rule that another
 * transaction has not committed.  tables.c tells how a backend learns that
 * what it has read is out of date.
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
 * Many rules are kept in an image that the backends share, if the library is
 * preloaded (rules_shared.c).  The rows of the table are looked at all the
 * same, but the rules whose rows are in the image are not read; the backend
 * keeps the others, as if the image were something that it had read before.
 * Where there is no image, or too little of it is of use, one backend makes
 * another; the rest go on with the index, or with what they have.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "bus/bus.h"
#include "bus/rules_shared.h"
#include "bus/tables.h"
#include "compat.h"
#include "log/internal.h"
#include "ruleset/ruleset.h"

/* Index by which rules are read per bus, and targets per rule. */
static const char *const rule_index_name = "rule_bus_id_name_key";
static const char *const target_index_name = "target_rule_id_id_key";

/* A rule that is enabled and has a pattern; not of the image. */
typedef struct CachedRule
{
	int64		rule_id;		/* hash key */
	ItemPointerData tid;		/* the row it was read from */
	TransactionId xmin;
	bool		settled;		/* that was not this transaction's */
	uint64		seen;			/* renewal that met it last */
	char	   *name;
	char	   *owner;
} CachedRule;

/* The targets of a rule that has matched. */
typedef struct CachedTargets
{
	int64		rule_id;		/* hash key */
	bool		valid;			/* they have been read */
	uint64		target_count;	/* invalidations before they were */
	int			ntargets;
	int64	   *target_ids;
} CachedTargets;

/* With fewer rules than this the index is not asked. */
#define MANY_RULES 1000
/*
 * With more than this the rules are not read at all: a set has room for about
 * half as many again, and is not to fail who puts an event.
 */
#define MOST_RULES 1000000
/* An event costs, by the index, as much as reading so many rules ... */
#define READ_PER_EVENT 50
/* ... or looking whether so many have changed. */
#define RENEWED_PER_EVENT 500
/* Events after which the number of rules is looked at again. */
#define EVENTS_TO_CHECK (MANY_RULES / READ_PER_EVENT)
/* An image is made again when more than this part of the rules have changed. */
#define IMAGE_RATIO 16

/* The rules of a bus; renewed when stale. */
typedef struct CachedRules
{
	int64		bus_id;			/* hash key */
	MemoryContext context;
	uint64		rule_count;		/* invalidations before the last renewal */
	uint64		renewal;
	bool		valid;			/* has been read at all */
	uint64		asked;			/* events since, while stale, or before it was read */
	uint64		checked;		/* asked: there are too many to read them */
	bool		is_first;		/* there is no image, either */
	dsm_segment *segment;		/* of the image, or NULL */
	const EbRuleImage *image;
	HTAB	   *by_id;			/* of CachedRule */
	HTAB	   *targets;		/* of CachedTargets */
	EbRuleSet  *set;			/* the patterns, by rule id */
} CachedRules;

static HTAB *rules_cache = NULL;	/* of CachedRules */

/* Called when the library is loaded. */
void
eb_bus_init(void)
{
	eb_tables_init();
	eb_shared_rules_init();
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
	dsm_segment *segment = rules->segment;

	rules->valid = false;
	rules->image = NULL;
	rules->by_id = NULL;
	rules->targets = NULL;
	rules->set = NULL;
	rules->context = NULL;
	rules->segment = NULL;
	if (context != NULL)
		MemoryContextDelete(context);
	if (segment != NULL)
		dsm_detach(segment);
}

/* The rules of buses that are no more are forgotten. */
void
eb_rules_forget_gone(void)
{
	HASH_SEQ_STATUS status;
	CachedRules *rules;

	eb_shared_rules_retain(eb_table_oids[EB_TABLE_RULE], eb_bus_exists);
	if (rules_cache == NULL)
		return;
	hash_seq_init(&status, rules_cache);
	while ((rules = hash_seq_search(&status)) != NULL)
		if (!eb_bus_exists(rules->bus_id))
		{
			forget_rules(rules);
			hash_search(rules_cache, &rules->bus_id, HASH_REMOVE, NULL);
		}
}

static HTAB *
create_by_id(const char *title, Size entry_size, MemoryContext context)
{
	HASHCTL		info = {0};

	info.keysize = sizeof(int64);
	info.entrysize = entry_size;
	info.hcxt = context;
	return hash_create(title, 64, &info, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

/* An empty place for the rules of a bus, with an image or without (NULL). */
static void
start_rules(CachedRules *rules, dsm_segment *segment)
{
	MemoryContext context;

	forget_rules(rules);
	rules->segment = segment;
	context = AllocSetContextCreate(CacheMemoryContext,
									"eventbridge rules of a bus",
									ALLOCSET_DEFAULT_SIZES);
	rules->context = context;
	rules->by_id = create_by_id("eventbridge rules", sizeof(CachedRule), context);
	rules->targets = create_by_id("eventbridge targets", sizeof(CachedTargets), context);
	if (segment == NULL)
		rules->set = eb_ruleset_create(context);
	else
	{
		const EbRuleImage *image = dsm_segment_address(segment);

		rules->set = eb_ruleset_create_on(context, eb_image_at(image, image->set),
										  eb_image_at(image, image->ids));
		rules->image = image;
	}
}

/*
 * If there is an image for the bus that is not ours, we start anew with that,
 * and have read nothing.
 */
static bool
take_image(CachedRules *rules)
{
	Oid			table = eb_table_oids[EB_TABLE_RULE];
	dsm_segment *segment;
	uint64		number;

	(void) eb_shared_rules_look(table, rules->bus_id, &number);
	if (number == 0 || (rules->image != NULL && rules->image->number == number))
		return false;
	segment = eb_shared_rules_attach(table, rules->bus_id);
	if (segment == NULL)
		return false;
	start_rules(rules, segment);
	return true;
}

/* A rule that was read is no more, or its image has it. */
static void
drop_rule(CachedRules *rules, CachedRule *rule)
{
	CachedTargets *targets = hash_search(rules->targets, &rule->rule_id, HASH_REMOVE, NULL);

	if (targets != NULL && targets->target_ids != NULL)
		pfree(targets->target_ids);
	eb_ruleset_remove(rules->set, rule->rule_id);
	pfree(rule->name);
	pfree(rule->owner);
	hash_search(rules->by_id, &rule->rule_id, HASH_REMOVE, NULL);
}

static bool
is_same_row(HeapTuple tuple, TransactionId xmin, ItemPointerData tid)
{
	return HeapTupleHeaderGetRawXmin(tuple->t_data) == xmin &&
		ItemPointerEquals(&tuple->t_self, &tid);
}

/*
 * Is the row in the image?  Then its rule is taken from there.  *next is the
 * row that is expected, as they come in the same order.
 */
static bool
take_from_image(CachedRules *rules, HeapTuple tuple, int64 rule_id,
				CachedRule *rule, uint32 *next)
{
	const EbRuleImage *image = rules->image;
	const EbImageRow *rows = eb_image_rows(image);
	const EbImageRow *row;

	if (*next < image->nrules && rows[*next].rule_id == rule_id)
		row = &rows[*next];
	else
		row = eb_image_find(image, rule_id);
	if (row == NULL)
		return false;
	*next = row - rows + 1;
	if (!is_same_row(tuple, row->xmin, row->tid))
		return false;
	if (rule != NULL)
		drop_rule(rules, rule);
	eb_ruleset_restore(rules->set, row->position);
	return true;
}

/*
 * Takes in one row: a rule that is new, or has changed, or is what it was.
 */
static void
take_row(CachedRules *rules, HeapTuple tuple, TupleDesc desc, uint32 *next)
{
	int64		rule_id = DatumGetInt64(eb_tables_column(tuple, desc, RULE_RULE_ID));
	TransactionId xmin = HeapTupleHeaderGetRawXmin(tuple->t_data);
	CachedRule *rule = NULL;
	char	   *state;
	Datum		pattern;
	bool		isnull;
	bool		found;

	if (hash_get_num_entries(rules->by_id) > 0)
		rule = hash_search(rules->by_id, &rule_id, HASH_FIND, NULL);
	if (rules->image != NULL && take_from_image(rules, tuple, rule_id, rule, next))
		return;
	if (rule != NULL && rule->settled && is_same_row(tuple, rule->xmin, rule->tid))
	{
		rule->seen = rules->renewal;
		return;
	}

	state = TextDatumGetCString(eb_tables_column(tuple, desc, RULE_STATE));
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
									 TextDatumGetCString(eb_tables_column(tuple, desc,
																		  RULE_NAME)));
	rule->owner = MemoryContextStrdup(rules->context,
									  NameStr(*DatumGetName(eb_tables_column(tuple, desc,
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
		if (rule->seen != rules->renewal)
			drop_rule(rules, rule);
}

/*
 * Reads the rules of a bus, or what has changed in them.  What an error leaves
 * half-renewed is not valid, and is read anew.
 */
static void
read_rules(CachedRules *rules)
{
	uint64		count = eb_table_counts[EB_TABLE_RULE];
	Relation	rel = table_open(eb_table_oids[EB_TABLE_RULE], AccessShareLock);
	Oid			index = get_relname_relid(rule_index_name,
										  RelationGetNamespace(rel));
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	MemoryContext row_context = AllocSetContextCreate(CurrentMemoryContext,
													  "eventbridge rule",
													  ALLOCSET_DEFAULT_SIZES);
	uint32		next = 0;
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;

	rules->valid = false;
	rules->renewal++;
	if (rules->image != NULL)
		eb_ruleset_hide_base(rules->set);
	ScanKeyInit(&key, RULE_BUS_ID, BTEqualStrategyNumber, F_INT8EQ,
				Int64GetDatum(rules->bus_id));
	scan = systable_beginscan(rel, index, OidIsValid(index), snapshot, 1, &key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		MemoryContext oldcontext = MemoryContextSwitchTo(row_context);

		CHECK_FOR_INTERRUPTS();
		take_row(rules, tuple, RelationGetDescr(rel), &next);
		MemoryContextSwitchTo(oldcontext);
		MemoryContextReset(row_context);
	}
	systable_endscan(scan);
	drop_unseen(rules);

	MemoryContextDelete(row_context);
	UnregisterSnapshot(snapshot);
	table_close(rel, AccessShareLock);
	rules->rule_count = count;
	rules->valid = true;
	rules->asked = rules->checked = 0;
}

/* ---------- Sharing ---------- */

/*
 * Are there many rules, and too few of them in an image?  What this
 * transaction has changed is not for others, so it makes no images.
 */
static bool
is_worth_sharing(const CachedRules *rules)
{
	int			n = eb_ruleset_count(rules->set);
	int			own = hash_get_num_entries(rules->by_id);

	if (n < MANY_RULES)
		return false;
	if (rules->image != NULL)
	{
		int			of_no_use = rules->image->nrules - (n - own);

		if (Max(own, of_no_use) <= n / IMAGE_RATIO)
			return false;
	}
	return eb_shared_rules_possible() && !eb_shared_rules_failed() &&
		!eb_tables_changed_here();
}

static int
compare_new_rows(const void *a, const void *b)
{
	return strcmp(((const EbNewRow *) a)->name, ((const EbNewRow *) b)->name);
}

/* The rows of the rules with these numbers; false if one is not committed. */
static bool
collect_rows(const CachedRules *rules, const int64 *ids, int n, EbNewRow *rows)
{
	for (int i = 0; i < n; i++)
	{
		const CachedRule *rule = hash_search(rules->by_id, &ids[i], HASH_FIND, NULL);

		if (rule == NULL)
		{
			rows[i].row = *eb_image_find(rules->image, ids[i]);
			rows[i].name = eb_image_name(rules->image, rows[i].row.name);
			rows[i].owner = eb_image_name(rules->image, rows[i].row.owner);
		}
		else if (rule->settled)
		{
			rows[i].row.rule_id = rule->rule_id;
			rows[i].row.tid = rule->tid;
			rows[i].row.xmin = rule->xmin;
			rows[i].name = rule->name;
			rows[i].owner = rule->owner;
		}
		else
			return false;
		rows[i].row.position = i;
	}
	qsort(rows, n, sizeof(EbNewRow), compare_new_rows);
	return true;
}

/*
 * Puts the rules into an image of their own, and starts anew with that.  False
 * if it could not be; then nothing has changed.
 */
static bool
share_rules(CachedRules *rules)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "eventbridge rules to be shared",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext caller = MemoryContextSwitchTo(context);
	int			n = eb_ruleset_count(rules->set);
	EbNewRow   *rows = MemoryContextAllocHuge(context, n * sizeof(EbNewRow));
	int64	   *ids;
	EbPatternSet *set = eb_ruleset_compile(rules->set, &ids);
	dsm_segment *segment = NULL;

	if (collect_rows(rules, ids, n, rows))
		segment = eb_shared_rules_publish(eb_table_oids[EB_TABLE_RULE], rules->bus_id,
										  set, ids, n, rows);
	if (segment != NULL)
		start_rules(rules, segment);
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(context);
	return segment != NULL;
}

static bool
lock_image(const CachedRules *rules)
{
	return eb_lock(EB_LOCK_RULES, (uint32) (rules->bus_id >> 32), (uint32) rules->bus_id,
				   ExclusiveLock, false, false);
}

static void
unlock_image(const CachedRules *rules)
{
	eb_unlock(EB_LOCK_RULES, (uint32) (rules->bus_id >> 32), (uint32) rules->bus_id,
			  ExclusiveLock, false);
}

/*
 * Reads the rules of a bus, or what has changed in them, with an image if
 * there is one or should be.  False if they are many and another backend is
 * just making their image: it is not worth while to read them all.
 */
static bool
renew_rules(CachedRules *rules)
{
	bool		locked = false;

	/* If it has asked the index before, there are many. */
	if (rules->is_first && rules->asked > 0 && eb_shared_rules_possible())
	{
		if (!lock_image(rules))
			return false;
		locked = true;
	}
	if (!rules->valid)
		start_rules(rules, NULL);
	(void) take_image(rules);
	read_rules(rules);

	if (rules->image != NULL && eb_ruleset_count(rules->set) < MANY_RULES / 2 &&
		!eb_tables_changed_here())
	{
		eb_shared_rules_retire(eb_table_oids[EB_TABLE_RULE], rules->bus_id);
		start_rules(rules, NULL);
		read_rules(rules);
	}
	if (is_worth_sharing(rules) && (locked || lock_image(rules)))
	{
		locked = true;
		if (take_image(rules) || share_rules(rules))
			read_rules(rules);
	}
	if (locked)
		unlock_image(rules);
	return true;
}

/* Has the bus more rules than that? */
static bool
has_more_rules(int64 bus_id, int64 number)
{
	Relation	rel = table_open(eb_table_oids[EB_TABLE_RULE], AccessShareLock);
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
	Oid			table = eb_table_oids[EB_TABLE_RULE];
	int64		n;
	uint64		number;

	if (rules->valid)
		n = eb_ruleset_count(rules->set);
	else
		n = eb_shared_rules_look(table, rules->bus_id, &number);
	rules->is_first = !rules->valid && n == 0;
	if (!rules->is_first)
		return n >= MOST_RULES ||
			(n >= MANY_RULES && rules->asked < n / RENEWED_PER_EVENT);

	/* Without an image it is what all backends have asked for that counts. */
	eb_shared_rules_demand(table, rules->bus_id, 0, &rules->asked, &rules->checked);
	if (rules->asked >= rules->checked)
	{
		uint64		worth = Min(rules->asked, MOST_RULES) * READ_PER_EVENT;
		bool		too_many = has_more_rules(rules->bus_id,
											  Min(Max(worth, MANY_RULES), MOST_RULES));

		/* The others look again later, also while we read the rules for all. */
		if (too_many || rules->asked > 0)
			rules->checked = Max(EVENTS_TO_CHECK, rules->asked * 2);
		eb_shared_rules_demand(table, rules->bus_id, 0, &rules->asked, &rules->checked);
		return too_many;
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

	*by_index = false;
	if (bus_id == 0)
		return NULL;
	AcceptInvalidationMessages();
	rules = find_rules(bus_id);
	if (!rules->valid || rules->rule_count != eb_table_counts[EB_TABLE_RULE])
	{
		eb_tables_find();
		*by_index = is_index_better(rules) || !renew_rules(rules);
		if (*by_index)
			return rules;
	}
	return eb_ruleset_count(rules->set) > 0 ? rules : NULL;
}

/* The targets of a rule, in the current memory context; returns their number. */
static int
read_targets(int64 rule_id, int64 **target_ids)
{
	Relation	rel = table_open(eb_table_oids[EB_TABLE_TARGET], AccessShareLock);
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
		(*target_ids)[n++] = DatumGetInt64(eb_tables_column(tuple, RelationGetDescr(rel),
													  TARGET_TARGET_ID));
	}
	systable_endscan(scan);
	UnregisterSnapshot(snapshot);
	table_close(rel, AccessShareLock);
	return n;
}

/* The targets of a rule that matches, as they are now. */
static const CachedTargets *
get_targets(CachedRules *rules, int64 rule_id)
{
	MemoryContext caller;
	CachedTargets *targets;
	uint64		count;
	bool		found;

	targets = hash_search(rules->targets, &rule_id, HASH_ENTER, &found);
	if (!found)
		memset((char *) targets + sizeof(int64), 0,
			   sizeof(CachedTargets) - sizeof(int64));
	if (targets->valid && targets->target_count == eb_table_counts[EB_TABLE_TARGET])
		return targets;

	targets->valid = false;
	targets->ntargets = 0;
	if (targets->target_ids != NULL)
		pfree(targets->target_ids);
	targets->target_ids = NULL;
	eb_tables_find();
	count = eb_table_counts[EB_TABLE_TARGET];
	caller = MemoryContextSwitchTo(rules->context);
	targets->ntargets = read_targets(rule_id, &targets->target_ids);
	MemoryContextSwitchTo(caller);
	targets->target_count = count;
	targets->valid = true;
	return targets;
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
			const CachedTargets *known = get_targets(rules, ids[i]);

			add_targets(targets, &ntargets, ids[i], known->target_ids, known->ntargets);
		}
	}
	return ntargets;
}

/* Name and owner of a rule, for the moment. */
static void
get_names(const CachedRules *rules, int64 rule_id, const char **name, const char **owner)
{
	const CachedRule *rule = hash_search(rules->by_id, &rule_id, HASH_FIND, NULL);

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

