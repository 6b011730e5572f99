/*-------------------------------------------------------------------------
 *
 * ruleset.h
 *	  Many patterns against one event.
 *
 * Two things are offered.  An EbPatternSet is immutable: many patterns
 * compiled into one allocation that can be copied, stored and shared as it
 * is.  It is the SQL type event_pattern_set.  An EbRuleSet is made of such
 * sets and can be changed: patterns are put and removed by a number that the
 * caller chooses.
 *
 * Both give exactly the patterns that eb_pattern_matches says match.
 *
 *-------------------------------------------------------------------------
 */
#ifndef EB_RULESET_H
#define EB_RULESET_H

#include "pattern/pattern.h"

typedef struct EbPatternSet EbPatternSet;

/*
 * What matching needs to remember while it looks at one event.  It may be
 * used with one set after another, but only by one call at a time.  It grows
 * with the largest set it was used with.
 */
typedef struct EbMatchState EbMatchState;

/* build.c: the set is allocated in the current memory context. */
extern EbPatternSet *eb_pattern_set_build(const EbPattern *const *patterns,
										  int npatterns);

/* match.c */
extern EbMatchState *eb_match_state_create(MemoryContext context);

/*
 * The patterns of the set that match the event, as positions from 0 in
 * ascending order; they are valid until the state is used again.
 */
extern int	eb_pattern_set_match(const EbPatternSet *set, EbMatchState *state,
								 const JsonbValue *event,
								 const int32 **positions);

/*
 * ruleset.c: patterns by number.
 *
 * A rule set lives in a memory context of its own below parent; deleting that
 * deletes it.  It keeps copies of the patterns.  Putting a number that is
 * there replaces its pattern.  Nothing is compiled before the next match:
 * then what was put since is compiled together if it is much, and tried one
 * by one if it is little.  So one change to a large set costs microseconds,
 * and putting many patterns before the first match is the way to load a set.
 */
typedef struct EbRuleSet EbRuleSet;

extern EbRuleSet *eb_ruleset_create(MemoryContext parent);
extern void eb_ruleset_put(EbRuleSet *ruleset, int64 id,
						   const EbPattern *pattern);
extern bool eb_ruleset_remove(EbRuleSet *ruleset, int64 id);
extern int	eb_ruleset_count(const EbRuleSet *ruleset);

/*
 * A rule set on a base: a compiled set that others may use too, and that lasts
 * as long as the rule set; ids are the numbers of its patterns, ascending.
 * None of them takes part at first.  eb_ruleset_restore lets the pattern at a
 * position take part, in place of what was put by its number; putting or
 * removing that number hides it again, and eb_ruleset_hide_base hides all.
 */
extern EbRuleSet *eb_ruleset_create_on(MemoryContext parent,
									   const EbPatternSet *base, const int64 *ids);
extern void eb_ruleset_hide_base(EbRuleSet *ruleset);
extern void eb_ruleset_restore(EbRuleSet *ruleset, int position);

/*
 * All the patterns as one compiled set, with their numbers, ascending, by
 * position; both in the current memory context.
 */
extern EbPatternSet *eb_ruleset_compile(const EbRuleSet *ruleset, int64 **ids);

/*
 * The numbers of the patterns that match, in ascending order; valid until the
 * set is used again.  An error leaves the set as it was.
 */
extern int	eb_ruleset_match(EbRuleSet *ruleset, const JsonbValue *event,
							 const int64 **ids);

#endif							/* EB_RULESET_H */
