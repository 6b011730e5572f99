/*-------------------------------------------------------------------------
 *
 * reports.h
 *	  What the database is to be told, in the order in which it happened.
 *
 *-------------------------------------------------------------------------
 */
#ifndef EB_REPORTS_H
#define EB_REPORTS_H

#include "queue.h"
#include "session.h"

/* Lives inside its owner, who sets what is above the line. */
typedef struct EbReports
{
	EbSession  *session;
	int			statement;		/* the number of the statement that reports */
	const char *sql;			/* $1: a JSON array; one row for each of it */
	const char *argument;		/* $2, or NULL: there is none */

	/* The item as JSON. */
	struct cJSON *(*describe) (const void *item);

	/* It has been reported, and is the callee's; NULL: the answer is null. */
	void		(*reported) (void *item, const char *answer);
	/* ---- */
	EbQueue		queue;
	int			nrunning;		/* of them in the running statement */
} EbReports;

extern void eb_reports_add(EbReports *reports, void *item);
extern void eb_reports_send(EbReports *reports);
extern void eb_reports_take(EbReports *reports, const PGresult *result);
extern void eb_reports_lost(EbReports *reports);

#endif							/* EB_REPORTS_H */
