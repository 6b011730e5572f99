/*-------------------------------------------------------------------------
 *
 * background.c
 *	  What a background worker for deliveries does.
 *
 * It serves the lane of its slot (slots.c): it looks for work as long as there
 * is some, then sleeps until somebody commits more or a retry is due, and ends
 * when it has had nothing to do for eventbridge.worker_idle_time.  It leaves
 * behind when its next retry is due.  It also ends when it is sent away, for
 * the sake of a command that wants the database for itself (withdraw.c), and
 * if an error reaches it; then the launcher starts another after a pause.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <signal.h>

#include "access/xact.h"
#include "commands/async.h"
#include "commands/extension.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "tcop/pquery.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/portal.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "delivery/delivery.h"
#include "delivery/slots.h"

static EbSlot *my_slot = NULL;
static bool at_rest = false;

PGDLLEXPORT void eb_worker_main(Datum arg);

/* The one lane that a background worker serves. */
bool
eb_worker_lane(Oid *lane)
{
	if (my_slot == NULL)
		return false;
	*lane = my_slot->lane;
	return true;
}

/* ---- coming and going ---- */

/* Runs when the worker ends, in whatever way. */
static void
leave_slot(int code, Datum arg)
{
	eb_slot_leave(my_slot, at_rest);
}

/* Ends the process if nobody expects it any more. */
static void
enter_slot(int number)
{
	my_slot = eb_slot_enter(number);
	if (my_slot == NULL)
		proc_exit(0);
	before_shmem_exit(leave_slot, (Datum) 0);
}

/*
 * Ends the worker for want of work, unless some has come just now; returns in
 * that case.
 */
static void
end_worker(TimestampTz retry_at, bool forget)
{
	if (!eb_slot_rest(my_slot, retry_at, forget))
		return;
	at_rest = true;
	proc_exit(0);
}

/* ---- looking for work ---- */

static void
ring(Oid lane)
{
	char		channel[NAMEDATALEN];

	if (!eb_bell_has_sleeper(lane))
		return;
	eb_bell_channel(lane, channel);
	Async_Notify(channel, "");
}

/* With eventbridge.bell = latch, tells clients that sleep. */
static void
ring_for_writers(void)
{
	bool		own;
	bool		client;

	eb_slot_take_rings(my_slot, &own, &client);
	if (own)
		ring(my_slot->lane);
	if (client)
		ring(EB_LANE_CLIENT);
}

/*
 * Wants workers for the lanes of this database that have work.  Asked once by
 * each worker: after a restart nobody else has said so.  It reads the whole
 * log, so the worker's own work comes first.
 */
static void
want_lanes_with_work(void)
{
	static SPIPlanPtr plan = NULL;
	static bool asked = false;
	uint64		nlanes;
	Oid		   *lanes;

	if (asked || my_slot->lane != EB_LANE_ANY)
		return;
	asked = true;
	nlanes = eb_internal_execute(&plan,
								 "SELECT l FROM eventbridge._lanes_with_work() AS l",
								 0, NULL, NULL, NULL);
	lanes = palloc(sizeof(Oid) * (nlanes + 1));
	for (uint64 i = 0; i < nlanes; i++)
	{
		bool		isnull;

		lanes[i] = DatumGetObjectId(SPI_getbinval(SPI_tuptable->vals[i],
												  SPI_tuptable->tupdesc, 1,
												  &isnull));
	}
	eb_launcher_wake(lanes, (int) nlanes);
}

/*
 * A pass commits as a procedure does, and for that it has to run in a portal:
 * there the server keeps the snapshot that it renews after each commit.
 */
static Portal
open_portal(void)
{
	Portal		portal = CreateNewPortal();

	portal->visible = false;
	portal->resowner = CurrentResourceOwner;
	portal->status = PORTAL_READY;
	MarkPortalActive(portal);
	ActivePortal = portal;
	PortalContext = portal->portalContext;
	return portal;
}

static void
close_portal(Portal portal)
{
	if (portal->portalSnapshot != NULL)
	{
		PopActiveSnapshot();
		portal->portalSnapshot = NULL;
	}
	ActivePortal = NULL;
	PortalContext = NULL;
	MarkPortalDone(portal);
	PortalDrop(portal, false);
}

/*
 * Looks for work once.  Returns the number of deliveries; if there were none,
 * *retry_at is when the next retry is due, or 0.  -1 if the extension is not
 * in this database.  An error ends the worker.
 */
static int64
work_once(TimestampTz *retry_at)
{
	int64		ndeliveries = -1;

	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	if (OidIsValid(get_extension_oid("eventbridge", true)))
	{
		Portal		portal = open_portal();

		pgstat_report_activity(STATE_RUNNING, "delivering");
		MemoryContextSwitchTo(PortalContext);
		SPI_connect_ext(SPI_OPT_NONATOMIC);
		ring_for_writers();
		ndeliveries = eb_run_turn(PG_INT64_MAX, true);
		want_lanes_with_work();
		if (ndeliveries == 0)
			*retry_at = eb_next_attempt(my_slot->lane);
		SPI_finish();
		close_portal(portal);
	}
	CommitTransactionCommand();
	pgstat_report_stat(false);
	pgstat_report_activity(STATE_IDLE, NULL);
	return ndeliveries;
}

/*
 * Waits for as long as pace.c says; also if nothing was found, because writers
 * may only have rung for somebody else.  Our latch may be set: it is looked at
 * afterwards.
 */
static void
pause_after_look(TimestampTz since, TimestampTz began, int64 ndeliveries)
{
	int			pause = eb_pause(since, began, ndeliveries);

	if (pause > 0)
		(void) WaitLatch(NULL, WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, pause,
						 PG_WAIT_EXTENSION);
}

/*
 * Sleeps until there may be work, or the worker is to end because there has
 * been none since idle_since.
 */
static void
wait_for_work(TimestampTz idle_since, TimestampTz retry_at)
{
	TimestampTz now = GetCurrentTimestamp();
	long		wait;

	if (now - idle_since > eb_guc_worker_idle_time * USECS_PER_SEC)
		end_worker(retry_at, false);
	wait = Min(eb_guc_poll_interval,
			   eb_guc_worker_idle_time * 1000L -
			   (long) ((now - idle_since) / 1000) + 1);
	if (retry_at != 0)
		wait = Min(wait, (long) ((retry_at - now) / 1000) + 1);
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
					 Max(wait, 1), PG_WAIT_EXTENSION);
}

void
eb_worker_main(Datum arg)
{
	TimestampTz idle_since;
	TimestampTz began;

	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	enter_slot(DatumGetInt32(arg));
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnectionByOid(my_slot->database,
											  my_slot->lane,
											  EB_BGWORKER_ROLE_FLAGS);
	idle_since = began = GetCurrentTimestamp();

	for (;;)
	{
		TimestampTz since = began;
		TimestampTz retry_at = 0;
		int64		ndeliveries;

		ResetLatch(MyLatch);
		if (my_slot->leave)
			proc_exit(0);
		CHECK_FOR_INTERRUPTS();
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
		}
		if (!eb_guc_background_workers)
			end_worker(0, true);

		my_slot->wanted = false;
		pg_memory_barrier();
		began = GetCurrentTimestamp();
		ndeliveries = work_once(&retry_at);
		if (ndeliveries < 0)
			end_worker(0, true);
		my_slot->failures = 0;
		pause_after_look(since, began, ndeliveries);
		if (ndeliveries > 0)
			idle_since = GetCurrentTimestamp();
		else
			wait_for_work(idle_since, retry_at);
	}
}
