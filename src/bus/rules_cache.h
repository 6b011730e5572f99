/*-------------------------------------------------------------------------
 *
 * rules_cache.h
 *	  What a backend keeps of the rules of a bus, for the files that keep it;
 *	  others see bus.h.
 *
 *-------------------------------------------------------------------------
 */
#ifndef EB_RULES_CACHE_H
#define EB_RULES_CACHE_H

#include "storage/dsm.h"
#include "storage/itemptr.h"
#include "utils/hsearch.h"

#include "bus/rules_shared.h"
#include "ruleset/ruleset.h"

/* A rule that is enabled and has a pattern; not of the image. */
typedef struct EbCachedRule
{
	int64		rule_id;		/* hash key */
	ItemPointerData tid;		/* the row it was read from */
	TransactionId xmin;
	bool		settled;		/* that was not this transaction's */
	uint64		seen;			/* renewal that met it last */
	char	   *name;
	char	   *owner;
} EbCachedRule;

/* The targets of a rule that has matched. */
typedef struct EbCachedTargets
{
	int64		rule_id;		/* hash key */
	bool		valid;			/* they have been read */
	uint64		target_count;	/* invalidations before they were */
	int			ntargets;
	int64	   *target_ids;
} EbCachedTargets;

/* The rules of a bus; renewed when stale. */
typedef struct EbCachedRules
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
	HTAB	   *by_id;			/* of EbCachedRule */
	HTAB	   *targets;		/* of EbCachedTargets */
	EbRuleSet  *set;			/* the patterns, by rule id */
} EbCachedRules;

/* rules_cache.c */
extern EbCachedRules *eb_rules_find(int64 bus_id);
extern void eb_rules_start(EbCachedRules *rules, dsm_segment *segment);
extern bool eb_rules_take_image(EbCachedRules *rules);
extern bool eb_rules_read(EbCachedRules *rules);
extern bool eb_rules_are_more(int64 bus_id, int64 number);

/* rules_renew.c */
extern EbCachedRules *eb_rules_get(int64 bus_id, bool *by_index);

#endif							/* EB_RULES_CACHE_H */
