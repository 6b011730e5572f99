/*-------------------------------------------------------------------------
 *
 * event_query.h
 *	  A pattern as a search for keys of events.
 *
 * The search is an OR over conjunctions, an AND over the groups of each, an
 * OR over the entries of each group.  Whatever a pattern matches satisfies
 * the search; the reverse does not hold.
 *
 *-------------------------------------------------------------------------
 */
#ifndef EB_INDEX_EVENT_QUERY_H
#define EB_INDEX_EVENT_QUERY_H

#include "index/access.h"

typedef struct EbEventQuery EbEventQuery;

/* One key, or a range of keys, to look for. */
typedef struct EbQueryEntry
{
	EbEventQuery *query;		/* which it belongs to */
	int64		low;
	int64		high;
	bool		range;
} EbQueryEntry;

/* Alternatives: entries members[first] .. members[first + n - 1]. */
typedef struct EbQueryGroup
{
	int			first;
	int			n;
	bool		range;			/* some entry is one */
	bool		any;			/* all values of the path, ... */
	bool		exists;			/* ... which is what the pattern asks for */
	double		bits;			/* see EbAccess */
} EbQueryGroup;

struct EbEventQuery
{
	EbQueryEntry *entries;
	int			nentries;
	EbQueryGroup *groups;
	int			ngroups;
	int		   *members;		/* entry numbers, group after group */
	int			nmembers;
	int		   *chosen;			/* group numbers, conjunction after conjunction */
	int		   *ends;			/* where each conjunction's end in chosen */
	int			nconjunctions;

	/* Some conjunction asks for nothing: the search finds every event. */
	bool		everything;
};

extern EbEventQuery *eb_event_query(const EbPattern *pattern, bool prefixes);

#endif							/* EB_INDEX_EVENT_QUERY_H */
