/*-------------------------------------------------------------------------
 *
 * rules_renew.c
 *	  When the rules of a bus are read, shared, or looked up by the index.
 *
 * Reading the rules, or what has changed in them, means to look at each
 * (rules_cache.c).  Where a bus has many and few events have been asked for,
 * they are not read, or not renewed, but the index answers (rules_index.c),
 * until that has cost about as much as reading would have.  So the first event
 * of a backend, and the first after a rule has changed, cost about as little
 * with 100,000 rules as with a thousand.
 *
 * Many rules are kept in an image that the backends share, if the library is
 * preloaded (rules_shared.c).  Where there is no image, or too little of it is
 * of use, one backend makes another; the rest go on with the index, or with
 * what they have.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/inval.h"
#include "utils/memutils.h"

#include "bus/bus.h"
#include "bus/rules_cache.h"
#include "bus/tables.h"
#include "compat.h"
#include "log/internal.h"

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

/* ---------- Sharing ---------- */

/*
 * Are there many rules, and too few of them in an image?  What this
 * transaction has changed is not for others, so it makes no images.
 */
static bool
is_worth_sharing(const EbCachedRules *rules)
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
collect_rows(const EbCachedRules *rules, const int64 *ids, int n, EbNewRow *rows)
{
	for (int i = 0; i < n; i++)
	{
		const EbCachedRule *rule = hash_search(rules->by_id, &ids[i], HASH_FIND, NULL);

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
share_rules(EbCachedRules *rules)
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
		eb_rules_start(rules, segment);
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(context);
	return segment != NULL;
}

static bool
lock_image(const EbCachedRules *rules)
{
	return eb_lock(EB_LOCK_RULES, (uint32) (rules->bus_id >> 32), (uint32) rules->bus_id,
				   ExclusiveLock, false, false);
}

static void
unlock_image(const EbCachedRules *rules)
{
	eb_unlock(EB_LOCK_RULES, (uint32) (rules->bus_id >> 32), (uint32) rules->bus_id,
			  ExclusiveLock, false);
}

/*
 * Reads the rules with the image that there is, if there is one, unless it has
 * become too much, or not worth it.  False if there is too much to read.
 */
static bool
read_with_image(EbCachedRules *rules)
{
	bool		is_little;
	bool		had_image;

	if (!rules->valid)
		eb_rules_start(rules, NULL);
	(void) eb_rules_take_image(rules);
	had_image = rules->image != NULL;
	is_little = eb_rules_read(rules);

	if (!had_image || eb_tables_changed_here() ||
		(is_little && eb_ruleset_count(rules->set) >= MANY_RULES / 2))
		return is_little;
	eb_shared_rules_retire(eb_table_oids[EB_TABLE_RULE], rules->bus_id);
	if (!is_little)
		return false;
	eb_rules_start(rules, NULL);
	return eb_rules_read(rules);
}

/*
 * Reads the rules of a bus, or what has changed in them, with an image if
 * there is one or should be.  False if the index is to be asked: there is too
 * much to read, or much, and another backend is just making the image.
 */
static bool
renew_rules(EbCachedRules *rules)
{
	bool		locked = false;
	bool		is_read;

	/* If it has asked the index before, there are many. */
	if (rules->is_first && rules->asked > 0 && eb_shared_rules_possible())
	{
		if (!lock_image(rules))
			return false;
		locked = true;
	}
	is_read = read_with_image(rules);
	if (is_read && is_worth_sharing(rules) && (locked || lock_image(rules)))
	{
		locked = true;
		if (eb_rules_take_image(rules) || share_rules(rules))
			is_read = eb_rules_read(rules);
	}
	if (locked)
		unlock_image(rules);
	return is_read;
}

/* ---------- Choosing ---------- */

/*
 * Is it better to ask the index about the next event than to read the rules,
 * or what has changed in them?
 */
static bool
is_index_better(EbCachedRules *rules)
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
		bool		too_many = eb_rules_are_more(rules->bus_id,
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
EbCachedRules *
eb_rules_get(int64 bus_id, bool *by_index)
{
	EbCachedRules *rules;

	*by_index = false;
	if (bus_id == 0)
		return NULL;
	AcceptInvalidationMessages();
	rules = eb_rules_find(bus_id);
	if (!rules->valid || rules->rule_count != eb_table_counts[EB_TABLE_RULE])
	{
		eb_tables_find();
		*by_index = is_index_better(rules) || !renew_rules(rules);
		if (*by_index)
			return rules;
	}
	return eb_ruleset_count(rules->set) > 0 ? rules : NULL;
}
