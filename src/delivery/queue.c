/*-------------------------------------------------------------------------
 *
 * queue.c
 *	  Who receives from a group of a FIFO queue.
 *
 * Queues are tables, and what works on them is SQL; only the right to receive
 * from a group is not a row.  A receiver has it until the end of its
 * transaction, because until then nobody else sees what it has received: the
 * group would look free, with a message in front that is locked, and one that
 * was sent late might come even before that.  A row to be locked in its place
 * would have to be made by senders, who would then wait for each other.
 *
 * Different groups may have the same hash: then two receivers that could work
 * side by side do not.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "fmgr.h"
#include "storage/lock.h"

#include "compat.h"
#include "log/internal.h"

PG_FUNCTION_INFO_V1(eb_lock_queue_group);

/* _lock_queue_group(queue_id bigint, message_group_id text) */
Datum
eb_lock_queue_group(PG_FUNCTION_ARGS)
{
	text	   *group = PG_GETARG_TEXT_PP(1);
	uint64		hash = hash_bytes_extended((unsigned char *) VARDATA_ANY(group),
										   (int) VARSIZE_ANY_EXHDR(group),
										   (uint64) PG_GETARG_INT64(0));

	PG_RETURN_BOOL(eb_lock(EB_LOCK_QUEUE_GROUP, (uint32) (hash >> 32),
						   (uint32) hash, ExclusiveLock, false, false));
}
