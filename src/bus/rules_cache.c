/*-------------------------------------------------------------------------
 *
 * rules_cache.c
 *	  What a backend keeps of rules, and how it reads them.
 *
 * Whoever puts an event asks which targets want it.  That is answered from
 * memory: the rules of a bus are read when first asked for, and the targets of
 * a rule when it first matches (rules_match.c).
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
 * Of many rules, most may be in an image that the backends share
 * (rules_shared.c).  The rows of the table are looked at all the same, but the
 * rules whose rows are in the image are not read; the backend keeps the
 * others, as if the image were something that it had read before.
 *
 * rules_renew.c decides when all this is worth it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/detoast.h"
#include "access/genam.h"
#include "access/htup_details.h"
#include "access/xact.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "bus/bus.h"
#include "bus/rules_cache.h"
#include "bus/tables.h"
#include "compat.h"

/* Index by which rules are read per bus. */
static const char *const rule_index_name = "rule_bus_id_name_key";

/*
 * Rules are not read whose patterns take more than this: a set takes some four
 * times as much.
 */
#define MOST_BYTES ((Size) 128 * 1024 * 1024)

static HTAB *rules_cache = NULL;	/* of EbCachedRules */

/* Called when the library is loaded. */
void
eb_bus_init(void)
{
	eb_tables_init();
	eb_shared_rules_init();
}

/* The place for the rules of a bus, whether they have been read or not. */
EbCachedRules *
eb_rules_find(int64 bus_id)
{
	EbCachedRules *rules;
	bool		found;

	if (rules_cache == NULL)
	{
		HASHCTL		info = {0};

		info.keysize = sizeof(int64);
		info.entrysize = sizeof(EbCachedRules);
		info.hcxt = CacheMemoryContext;
		rules_cache = hash_create("eventbridge rules by bus", 16, &info,
								  HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	}
	rules = hash_search(rules_cache, &bus_id, HASH_ENTER, &found);
	if (!found)
		memset((char *) rules + sizeof(int64), 0,
			   sizeof(EbCachedRules) - sizeof(int64));
	return rules;
}

/* What is known of the rules of a bus is forgotten. */
static void
forget_rules(EbCachedRules *rules)
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
	EbCachedRules *rules;

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
void
eb_rules_start(EbCachedRules *rules, dsm_segment *segment)
{
	MemoryContext context;

	forget_rules(rules);
	rules->segment = segment;
	context = AllocSetContextCreate(CacheMemoryContext,
									"eventbridge rules of a bus",
									ALLOCSET_DEFAULT_SIZES);
	rules->context = context;
	rules->by_id = create_by_id("eventbridge rules", sizeof(EbCachedRule), context);
	rules->targets = create_by_id("eventbridge targets", sizeof(EbCachedTargets), context);
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
bool
eb_rules_take_image(EbCachedRules *rules)
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
	eb_rules_start(rules, segment);
	return true;
}

/* A rule that was read is no more, or its image has it. */
static void
drop_rule(EbCachedRules *rules, EbCachedRule *rule)
{
	EbCachedTargets *targets = hash_search(rules->targets, &rule->rule_id, HASH_REMOVE, NULL);

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
take_from_image(EbCachedRules *rules, HeapTuple tuple, int64 rule_id,
				EbCachedRule *rule, uint32 *next)
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
take_row(EbCachedRules *rules, HeapTuple tuple, TupleDesc desc, uint32 *next)
{
	int64		rule_id = DatumGetInt64(eb_tables_column(tuple, desc, RULE_RULE_ID));
	TransactionId xmin = HeapTupleHeaderGetRawXmin(tuple->t_data);
	EbCachedRule *rule = NULL;
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
			   sizeof(EbCachedRule) - sizeof(int64));
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
drop_unseen(EbCachedRules *rules)
{
	HASH_SEQ_STATUS status;
	EbCachedRule *rule;

	hash_seq_init(&status, rules->by_id);
	while ((rule = hash_seq_search(&status)) != NULL)
		if (rule->seen != rules->renewal)
			drop_rule(rules, rule);
}

/* The size of the pattern in a row, which is not fetched for that. */
static Size
pattern_size(HeapTuple tuple, TupleDesc desc)
{
	bool		isnull;
	Datum		pattern = heap_getattr(tuple, RULE_EVENT_PATTERN, desc, &isnull);

	return isnull ? 0 : toast_raw_datum_size(pattern);
}

/*
 * Reads the rules of a bus, or what has changed in them.  What an error leaves
 * half-renewed is not valid, and is read anew.  False if their patterns take
 * too much memory; then nothing is kept of them.
 */
bool
eb_rules_read(EbCachedRules *rules)
{
	uint64		count = eb_table_counts[EB_TABLE_RULE];
	MemoryContext row_context = AllocSetContextCreate(CurrentMemoryContext,
													  "eventbridge rule",
													  ALLOCSET_DEFAULT_SIZES);
	uint32		next = 0;
	Size		bytes = 0;
	EbTableScan scan;
	HeapTuple	tuple;

	rules->valid = false;
	rules->renewal++;
	if (rules->image != NULL)
		eb_ruleset_hide_base(rules->set);
	eb_tables_begin_scan(&scan, EB_TABLE_RULE, rule_index_name, RULE_BUS_ID, rules->bus_id);
	while (bytes <= MOST_BYTES && HeapTupleIsValid(tuple = systable_getnext(scan.scan)))
	{
		MemoryContext oldcontext = MemoryContextSwitchTo(row_context);

		CHECK_FOR_INTERRUPTS();
		bytes += pattern_size(tuple, scan.desc);
		take_row(rules, tuple, scan.desc, &next);
		MemoryContextSwitchTo(oldcontext);
		MemoryContextReset(row_context);
	}
	eb_tables_end_scan(&scan);
	MemoryContextDelete(row_context);
	if (bytes > MOST_BYTES)
	{
		forget_rules(rules);
		return false;
	}
	drop_unseen(rules);
	rules->rule_count = count;
	rules->valid = true;
	rules->asked = rules->checked = 0;
	return true;
}

/* Has the bus more rules than that, or more than can be read? */
bool
eb_rules_are_more(int64 bus_id, int64 number)
{
	EbTableScan scan;
	HeapTuple	tuple;
	int64		n = 0;
	Size		bytes = 0;

	eb_tables_begin_scan(&scan, EB_TABLE_RULE, rule_index_name, RULE_BUS_ID, bus_id);
	while (n <= number && bytes <= MOST_BYTES &&
		   HeapTupleIsValid(tuple = systable_getnext(scan.scan)))
	{
		CHECK_FOR_INTERRUPTS();
		bytes += pattern_size(tuple, scan.desc);
		n++;
	}
	eb_tables_end_scan(&scan);
	return n > number || bytes > MOST_BYTES;
}
