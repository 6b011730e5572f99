/*-------------------------------------------------------------------------
 *
 * position.h
 *	  A place in a log, between what has passed and what has not.
 *
 * The log's rows have no order that a reader could follow: a transaction
 * that began early may commit late.  What a reader has seen is therefore
 * told by a snapshot: the rows of the transactions that are visible in it.
 * Between two snapshots lies a batch; no row is in none of the batches, or
 * in two.
 *
 * A snapshot need not have been one that the server took.  To cut a long
 * batch we make one up, which ends at some transaction, and to cut a long
 * transaction we add how far into it we are: the number of its last event
 * that has passed.
 *
 *-------------------------------------------------------------------------
 */
#ifndef EB_POSITION_H
#define EB_POSITION_H

typedef struct EbLogPosition
{
	uint64		xmax;			/* transactions from here on have not passed */
	int			nxip;
	uint64	   *xip;			/* nor these below xmax; ascending */
	uint64		part_xid;		/* of this one, which is not visible, events up
								 * to part_no have passed; or 0 */
	int32		part_no;
} EbLogPosition;

/* Transaction ids of a new cluster begin with 3: before every event. */
#define EB_LOG_POSITION_START { .xmax = 3 }

extern bool eb_position_has_xid(const EbLogPosition *position, uint64 xid);
extern bool eb_position_has_event(const EbLogPosition *position, uint64 xid,
								  int32 no);
extern void eb_position_cut(EbLogPosition *result, const EbLogPosition *from,
							const EbLogPosition *until, uint64 xid, int32 no);
extern void eb_position_now(EbLogPosition *position);
extern void eb_position_parse(EbLogPosition *position, const char *snapshot);
extern char *eb_position_snapshot(const EbLogPosition *position);

#endif							/* EB_POSITION_H */
