/*-------------------------------------------------------------------------
 *
 * bell.c
 *	  Telling workers that there is work.
 *
 * The bell is no promise: a worker looks by itself each
 * eventbridge.poll_interval.  It is there so that it need not wait so long.
 *
 * Background workers are woken through shared memory after the commit; see
 * slots.c.  Clients listen on a channel of their lane, and a notification
 * has its price: from PreCommit_Notify to the end of the commit the writer
 * holds a lock that there is only one of.  So a writer rings only where
 * somebody sleeps:
 *
 *	1. A worker that finds nothing to do takes the lock BELL of its lane in
 *	   ShareLock, for its session (worker_sleep).
 *	2. A writer tests at pre-commit whether it gets that lock in
 *	   RowExclusiveLock, and gives it back at once.  It rings if it does not
 *	   get it.  Writers do not disturb each other, sleepers neither.
 *	3. Between the writer's test and its commit a worker may fall asleep and
 *	   see nothing.  So, having the lock, the worker waits until those who
 *	   were writing to a log at that moment have ended (worker_may_rest),
 *	   and looks once more.  Whoever writes later meets the lock.
 *
 * While it waits in step 3 the worker need not be idle: it holds the lock, so
 * it is told of what is new, and looks for itself at short intervals.
 *
 * NOTIFY is not possible in a transaction that is prepared; its work is found
 * at the next look.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "commands/async.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "storage/proc.h"
#include "utils/builtins.h"

#include "compat.h"
#include "delivery/delivery.h"

PG_FUNCTION_INFO_V1(eb_note_lane);
PG_FUNCTION_INFO_V1(eb_worker_sleep);
PG_FUNCTION_INFO_V1(eb_worker_may_rest);
PG_FUNCTION_INFO_V1(eb_worker_wake);

/* The lanes for which this transaction wrote; too many are not worth it. */
#define MAX_LANES	64

static Oid	noted[MAX_LANES];
static int	nnoted = 0;

/* Lanes whose lock this session holds, as a sleeper. */
static Oid	sleeping[MAX_LANES];
static int	nsleeping = 0;

void
eb_bell_note_lane(Oid lane)
{
	for (int i = 0; i < nnoted; i++)
		if (noted[i] == lane)
			return;
	if (nnoted < MAX_LANES)
		noted[nnoted++] = lane;
}

/* _note_lane(lane oid): the same, for work that is not written by C. */
Datum
eb_note_lane(PG_FUNCTION_ARGS)
{
	eb_bell_note_lane(PG_GETARG_OID(0));
	PG_RETURN_VOID();
}

/* NAMEDATALEN bytes are enough. */
void
eb_bell_channel(Oid lane, char *channel)
{
	snprintf(channel, NAMEDATALEN, "eventbridge_deliveries_%u", lane);
}

/* Does a client sleep that serves the lane? */
bool
eb_bell_has_sleeper(Oid lane)
{
	if (!eb_lock(EB_LOCK_BELL, lane, 0, RowExclusiveLock, false, false))
		return true;
	eb_unlock(EB_LOCK_BELL, lane, 0, RowExclusiveLock, false);
	return false;
}

void
eb_bell_pre_commit(bool prepare)
{
	char		channel[NAMEDATALEN];

	/* The latch needs a background worker to ring for us. */
	if (prepare || eb_guc_bell == EB_BELL_OFF ||
		(eb_guc_bell == EB_BELL_LATCH && eb_launcher_is_on()))
		return;
	for (int i = 0; i < nnoted; i++)
	{
		if (!eb_bell_has_sleeper(noted[i]))
			continue;
		eb_bell_channel(noted[i], channel);
		Async_Notify(channel, "");
	}
}

/* The transaction is over; nothing here may fail. */
void
eb_bell_end(XactEvent event)
{
	if (event == XACT_EVENT_COMMIT && nnoted > 0)
		eb_launcher_wake(noted, nnoted);
	nnoted = 0;

	/* An abort has released the locks of the session, too. */
	if (event == XACT_EVENT_ABORT)
		nsleeping = 0;
}

/* ---- for clients ---- */

/* The session sleeps from now on; saying so again changes nothing. */
static void
fall_asleep(Oid lane)
{
	for (int i = 0; i < nsleeping; i++)
		if (sleeping[i] == lane)
			return;
	if (nsleeping == MAX_LANES)
		elog(ERROR, "too many lanes");
	eb_lock(EB_LOCK_BELL, lane, 0, ShareLock, true, true);
	sleeping[nsleeping++] = lane;
}

/* A lane that the caller may serve. */
static Oid
lane_argument(FunctionCallInfo fcinfo)
{
	Oid			lane = PG_GETARG_OID(0);

	if (lane != EB_LANE_ANY && lane != EB_LANE_CLIENT &&
		lane != MyProc->roleId)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%u is not a lane that this session serves", lane),
				 errdetail("It must be 0, 1, or the number of the session's role.")));
	return lane;
}

/* Appends those who hold a lock on the table that a writer takes. */
static void
append_writers(StringInfo buf, Oid table)
{
	LOCKTAG		tag;
	VirtualTransactionId *writers;
	int			nwriters;

	SET_LOCKTAG_RELATION(tag, MyDatabaseId, table);
	writers = GetLockConflicts(&tag, ShareLock, &nwriters);
	for (int i = 0; i < nwriters; i++)
		if (EB_VXID_PROC(writers[i]) >= 0)
			appendStringInfo(buf, "%s%d/%u", buf->len > 0 ? "," : "",
							 EB_VXID_PROC(writers[i]),
							 writers[i].localTransactionId);
}

/*
 * worker_sleep(lane oid) returns text: who is writing now, events or, for
 * pipes, records of a stream.
 */
Datum
eb_worker_sleep(PG_FUNCTION_ARGS)
{
	Oid			lane = lane_argument(fcinfo);
	StringInfoData buf;

	fall_asleep(lane);
	initStringInfo(&buf);
	for (EbAppendLog *log = eb_append_logs(); log != NULL; log = log->next)
		for (int i = 0; i < EB_LOG_SETS; i++)
			append_writers(&buf, eb_append_table(log, i));
	PG_RETURN_TEXT_P(cstring_to_text_with_len(buf.data, buf.len));
}

/*
 * worker_may_rest(writers text) returns boolean: have they all ended?
 */
Datum
eb_worker_may_rest(PG_FUNCTION_ARGS)
{
	char	   *writers = text_to_cstring(PG_GETARG_TEXT_PP(0));
	bool		all_gone = true;

	while (*writers && all_gone)
	{
		VirtualTransactionId vxid;
		char	   *end;

		EB_VXID_PROC(vxid) = strtol(writers, &end, 10);
		if (*end != '/')
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("invalid list of writers"),
					 errhint("Give what worker_sleep has returned.")));
		vxid.localTransactionId = strtoul(end + 1, &writers, 10);
		if (*writers == ',')
			writers++;
		if (VirtualTransactionIdIsValid(vxid))
			all_gone = VirtualXactLock(vxid, false);
	}
	PG_RETURN_BOOL(all_gone);
}

/* worker_wake(lane oid) */
Datum
eb_worker_wake(PG_FUNCTION_ARGS)
{
	Oid			lane = lane_argument(fcinfo);

	for (int i = 0; i < nsleeping; i++)
		if (sleeping[i] == lane)
		{
			eb_unlock(EB_LOCK_BELL, lane, 0, ShareLock, true);
			sleeping[i] = sleeping[--nsleeping];
			break;
		}
	PG_RETURN_VOID();
}
