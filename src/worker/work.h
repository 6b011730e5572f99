/*-------------------------------------------------------------------------
 *
 * work.h
 *	  A delivery that the database has given to us.
 *
 *-------------------------------------------------------------------------
 */
#ifndef EB_WORK_H
#define EB_WORK_H

#include "queue.h"

/* The columns of worker_claim(), in their order; "" where there is none. */
typedef enum EbWorkField
{
	EB_WORK_DELIVERY_ID,
	EB_WORK_ATTEMPT,
	EB_WORK_EVENT_ID,
	EB_WORK_TARGET_ID,
	EB_WORK_TARGET_ARN,
	EB_WORK_INPUT,
	EB_WORK_KIND,
	EB_WORK_RESOURCE,
	EB_WORK_ENDPOINT,
	EB_WORK_METHOD,
	EB_WORK_RATE,
	EB_WORK_HEADERS,
	EB_WORK_SIGNING_SECRET,
	EB_WORK_HTTP_PARAMETERS,
	EB_WORK_NFIELDS
} EbWorkField;

/* What is to be reported of it. */
typedef enum EbWorkOutcome
{
	EB_WORK_DELIVERED,
	EB_WORK_FAILED,				/* may go better next time */
	EB_WORK_REFUSED,			/* will not */
	EB_WORK_POSTPONED			/* not attempted */
} EbWorkOutcome;

typedef struct EbWork
{
	EbQueueItem item;			/* in a line of its destination, or of reports */
	char	   *fields[EB_WORK_NFIELDS];
	struct EbDestination *destination;
	int64		started;

	/* how it went */
	EbWorkOutcome outcome;
	const char *code;			/* AWS's ERROR_CODE */
	char	   *message;
	int64		not_before_ms;
} EbWork;

#endif							/* EB_WORK_H */
