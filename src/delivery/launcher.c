/*-------------------------------------------------------------------------
 *
 * launcher.c
 *	  Background workers for deliveries, when the library is preloaded.
 *
 * A launcher, connected to no database, starts workers; a worker serves one
 * lane of one database: one for what any session may deliver, and one more
 * per role that has function targets, connected as that role.  Workers are
 * started when somebody commits work for their lane, and after a restart of
 * the server once per database.  A worker that has had nothing to do for
 * eventbridge.worker_idle_time ends; it leaves behind when its next retry is
 * due.  Workers also end when a command wants their database for itself, see
 * withdraw.c.
 *
 * Shared memory holds a slot per database and lane.
 *
 *	lock		protects the set of slots, and database, lane, state, pid,
 *				latch, start_at, failures and retry_at of each
 *	wanted		set by who commits work, under a shared lock at least;
 *				cleared by the worker before it looks for work.  A worker
 *				that finds it set under the exclusive lock does not end.
 *	ring, ring_client
 *				set together with wanted where eventbridge.bell is latch: the
 *				worker is to notify clients of its lane, or of the clients'
 *				lane.  That one has no slot; the worker of lane ANY rings.
 *	leave		set under the exclusive lock: the worker is to end, but is still
 *				wanted
 *
 * A slot's states:
 *
 *	FREE -> IDLE		somebody wants a worker
 *	IDLE -> STARTING	the launcher has one registered
 *	STARTING -> RUNNING	it is there: it was told the slot's number, and what it
 *						serves stands in the slot
 *	RUNNING -> IDLE		it ends, in whatever way; if that was an error the slot
 *						is wanted again, after a pause that doubles each time
 *	STARTING -> IDLE	it ended before it got there; the launcher finds out
 *	IDLE -> FREE		the database or the role is gone
 *
 * An idle slot that nobody wants may become another's.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_database.h"
#include "commands/async.h"
#include "commands/extension.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lock.h"
#include "storage/lwlock.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "tcop/pquery.h"
#include "tcop/tcopprot.h"
#include "tcop/utility.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/portal.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "delivery/delivery.h"
#include "shmem.h"

#define MAX_SLOTS		256

/* Seconds until a worker that failed is started again, at first and at most. */
#define FIRST_PAUSE		1
#define LONGEST_PAUSE	60

/* Seconds until one that found no free process is. */
#define REGISTER_PAUSE	5

/* Milliseconds that workers have to leave a database. */
#define WITHDRAWAL		5000

/*
 * Milliseconds from one look for work to the next, by how many deliveries
 * come in a second.
 */
static const struct
{
	int			rate;
	int			pace;
}			paces[] = {{1000, 5}, {4000, 20}, {8000, 50}, {INT_MAX, 100}};

typedef enum SlotState
{
	SLOT_FREE,
	SLOT_IDLE,					/* no worker */
	SLOT_STARTING,
	SLOT_RUNNING
} SlotState;

typedef struct Slot
{
	SlotState	state;
	Oid			database;
	Oid			lane;
	int			pid;			/* of the running worker, else 0 */
	Latch	   *latch;			/* of the running worker, else NULL */
	TimestampTz start_at;		/* not before */
	int			failures;		/* in a row */
	TimestampTz retry_at;		/* wanted then; 0 if never */
	volatile bool wanted;
	volatile bool ring;
	volatile bool ring_client;
	volatile bool leave;
} Slot;

typedef struct SharedState
{
	EbSharedPiece piece;		/* with the lock */
	Latch	   *launcher;		/* or NULL */
	Slot		slots[MAX_SLOTS];
} SharedState;

static SharedState *shared = NULL;
static Slot *my_slot = NULL;
static bool my_end_is_clean = false;

/* The launcher's own: whom it has started last, by slot. */
static BackgroundWorkerHandle *handles[MAX_SLOTS];

PGDLLEXPORT void eb_launcher_main(Datum arg);
PGDLLEXPORT void eb_worker_main(Datum arg);

/* ---- shared memory ---- */

static void
attach_shared(EbSharedPiece *piece)
{
	shared = (SharedState *) piece;
}

static Slot *
find_slot(Oid database, Oid lane)
{
	for (int i = 0; i < MAX_SLOTS; i++)
	{
		Slot	   *slot = &shared->slots[i];

		if (slot->state != SLOT_FREE && slot->database == database &&
			slot->lane == lane)
			return slot;
	}
	return NULL;
}

/*
 * A new slot; the lock is held exclusively.  NULL if all are taken by somebody
 * who has a worker, or wants one.
 */
static Slot *
add_slot(Oid database, Oid lane)
{
	Slot	   *found = NULL;

	for (int i = 0; i < MAX_SLOTS; i++)
	{
		Slot	   *slot = &shared->slots[i];

		if (slot->state == SLOT_FREE ||
			(slot->state == SLOT_IDLE && !slot->wanted && slot->retry_at == 0))
			found = slot;
		if (slot->state == SLOT_FREE)
			break;
	}
	if (found != NULL)
	{
		memset(found, 0, sizeof(Slot));
		found->database = database;
		found->lane = lane;
		found->state = SLOT_IDLE;
	}
	return found;
}

/* Somebody wants the slot's worker; the lock is held. */
static void
want_slot(Slot *slot)
{
	slot->wanted = true;
	if (slot->latch != NULL)
		SetLatch(slot->latch);
	else if (shared->launcher != NULL)
		SetLatch(shared->launcher);
}

/* Are there background workers? */
bool
eb_launcher_is_on(void)
{
	return shared != NULL && eb_guc_background_workers;
}

/*
 * Wants the worker that has to do with a lane of this database; the lock is
 * held.  False if it has no slot.
 */
static bool
want_lane(Oid lane)
{
	bool		ring = (eb_guc_bell == EB_BELL_LATCH);
	Slot	   *slot;

	if (lane == EB_LANE_CLIENT && !ring)
		return true;
	slot = find_slot(MyDatabaseId, lane == EB_LANE_CLIENT ? EB_LANE_ANY : lane);
	if (slot == NULL)
		return false;
	if (ring && lane == EB_LANE_CLIENT)
		slot->ring_client = true;
	else if (ring)
		slot->ring = true;
	want_slot(slot);
	return true;
}

/*
 * Wakes the workers of lanes of this database.  Called after commit: must not
 * fail.
 */
void
eb_launcher_wake(const Oid *lanes, int nlanes)
{
	bool		missing = false;

	if (!eb_launcher_is_on())
		return;
	LWLockAcquire(shared->piece.lock, LW_SHARED);
	for (int i = 0; i < nlanes; i++)
		if (!want_lane(lanes[i]))
			missing = true;
	LWLockRelease(shared->piece.lock);
	if (!missing)
		return;

	LWLockAcquire(shared->piece.lock, LW_EXCLUSIVE);
	for (int i = 0; i < nlanes; i++)
		if (!want_lane(lanes[i]) &&
			add_slot(MyDatabaseId, lanes[i] == EB_LANE_CLIENT ?
					 EB_LANE_ANY : lanes[i]) != NULL)
			(void) want_lane(lanes[i]);
	LWLockRelease(shared->piece.lock);
}

/*
 * Ends the workers that are connected to this database, and waits some seconds
 * until they are gone.  The caller holds a lock that keeps others from
 * connecting.
 */
void
eb_launcher_withdraw(Oid database)
{
	TimestampTz end = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), WITHDRAWAL);
	int			pids[MAX_SLOTS];
	int			npids = 0;

	if (shared == NULL)
		return;
	LWLockAcquire(shared->piece.lock, LW_EXCLUSIVE);
	for (int i = 0; i < MAX_SLOTS; i++)
	{
		Slot	   *slot = &shared->slots[i];

		if (slot->state == SLOT_RUNNING && slot->database == database)
		{
			slot->leave = true;
			kill(slot->pid, SIGTERM);
			pids[npids++] = slot->pid;
		}
	}
	LWLockRelease(shared->piece.lock);

	while (npids > 0 && GetCurrentTimestamp() < end)
	{
		if (BackendPidGetProc(pids[npids - 1]) == NULL)
		{
			npids--;
			continue;
		}
		CHECK_FOR_INTERRUPTS();
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 10, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
	}
}

/* ---- launcher ---- */

/* A slot for every database that can be connected to. */
static void
add_databases(void)
{
	Relation	rel;
	TableScanDesc scan;
	HeapTuple	tuple;

	StartTransactionCommand();
	(void) GetTransactionSnapshot();
	rel = table_open(DatabaseRelationId, AccessShareLock);
	scan = table_beginscan_catalog(rel, 0, NULL);
	LWLockAcquire(shared->piece.lock, LW_EXCLUSIVE);
	while (HeapTupleIsValid(tuple = heap_getnext(scan, ForwardScanDirection)))
	{
		Form_pg_database database = (Form_pg_database) GETSTRUCT(tuple);
		Slot	   *slot;

		if (!database->datallowconn || database->datistemplate)
			continue;
		slot = find_slot(database->oid, EB_LANE_ANY);
		if (slot == NULL)
			slot = add_slot(database->oid, EB_LANE_ANY);
		if (slot != NULL)
			slot->wanted = true;
	}
	LWLockRelease(shared->piece.lock);
	table_endscan(scan);
	table_close(rel, AccessShareLock);
	CommitTransactionCommand();
}

typedef enum Admission
{
	CONNECT_NOW,
	CONNECT_LATER,
	CONNECT_NEVER				/* database or role is gone */
} Admission;

/*
 * Can a worker for this lane connect to the database?  Not while a command has
 * locked it, which may be about to drop it, and not if it allows no connections.
 */
static Admission
ask_admission(Oid database, Oid lane)
{
	Admission	admission = CONNECT_NEVER;
	LOCKTAG		tag;
	HeapTuple	tuple;

	SET_LOCKTAG_OBJECT(tag, InvalidOid, DatabaseRelationId, database, 0);
	StartTransactionCommand();
	if (LockAcquire(&tag, RowExclusiveLock, false, true) == LOCKACQUIRE_NOT_AVAIL)
		admission = CONNECT_LATER;
	else
	{
		/* What the lock's last holder has committed. */
		AcceptInvalidationMessages();
		tuple = SearchSysCache1(DATABASEOID, ObjectIdGetDatum(database));
		if (HeapTupleIsValid(tuple))
		{
			if (lane == EB_LANE_ANY ||
				SearchSysCacheExists1(AUTHOID, ObjectIdGetDatum(lane)))
				admission = ((Form_pg_database) GETSTRUCT(tuple))->datallowconn ?
					CONNECT_NOW : CONNECT_LATER;
			ReleaseSysCache(tuple);
		}
	}
	CommitTransactionCommand();
	return admission;
}

/* Gives up the last handle that the slot had. */
static void
set_handle(int number, BackgroundWorkerHandle *handle)
{
	if (handles[number] != NULL)
		pfree(handles[number]);
	handles[number] = handle;
}

static bool
register_worker(int number)
{
	const Slot *slot = &shared->slots[number];
	BackgroundWorkerHandle *handle = NULL;
	MemoryContext oldcontext;
	bool		registered;
	BackgroundWorker worker = {
		.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION,
		.bgw_start_time = BgWorkerStart_RecoveryFinished,
		.bgw_restart_time = BGW_NEVER_RESTART,
		.bgw_main_arg = Int32GetDatum(number),
		.bgw_notify_pid = MyProcPid
	};

	snprintf(worker.bgw_library_name, sizeof(worker.bgw_library_name),
			 "eventbridge");
	snprintf(worker.bgw_function_name, sizeof(worker.bgw_function_name),
			 "eb_worker_main");
	snprintf(worker.bgw_type, sizeof(worker.bgw_type), "eventbridge worker");
	snprintf(worker.bgw_name, sizeof(worker.bgw_name),
			 "eventbridge worker for database %u, lane %u",
			 slot->database, slot->lane);
	oldcontext = MemoryContextSwitchTo(TopMemoryContext);
	registered = RegisterDynamicBackgroundWorker(&worker, &handle);
	MemoryContextSwitchTo(oldcontext);
	set_handle(number, registered ? handle : NULL);
	return registered;
}

/* There are too few processes for all workers; said now and then. */
static void
warn_of_too_few(void)
{
	static TimestampTz last_time = 0;
	TimestampTz now = GetCurrentTimestamp();

	if (now - last_time < LONGEST_PAUSE * USECS_PER_SEC)
		return;
	last_time = now;
	ereport(WARNING,
			(errmsg("eventbridge could not start a background worker"),
			 errhint("max_worker_processes may be too low.")));
}

/* Starts the slot's worker.  Returns when to try again, or 0. */
static TimestampTz
start_worker(int number)
{
	Slot	   *slot = &shared->slots[number];
	Admission	admission = ask_admission(slot->database, slot->lane);
	TimestampTz again = 0;

	LWLockAcquire(shared->piece.lock, LW_EXCLUSIVE);
	if (admission == CONNECT_NOW)
		slot->state = SLOT_STARTING;
	else if (admission == CONNECT_NEVER)
		slot->state = SLOT_FREE;
	else
		slot->start_at = again =
			GetCurrentTimestamp() + FIRST_PAUSE * USECS_PER_SEC;
	LWLockRelease(shared->piece.lock);
	if (admission != CONNECT_NOW || register_worker(number))
		return again;

	LWLockAcquire(shared->piece.lock, LW_EXCLUSIVE);
	slot->state = SLOT_IDLE;
	slot->start_at = again =
		GetCurrentTimestamp() + REGISTER_PAUSE * USECS_PER_SEC;
	LWLockRelease(shared->piece.lock);
	warn_of_too_few();
	return again;
}

/* The slot's worker has failed; the lock is held exclusively. */
static void
note_failure(Slot *slot)
{
	int			pause = Min(FIRST_PAUSE << Min(slot->failures, 6),
							LONGEST_PAUSE);

	slot->state = SLOT_IDLE;
	slot->failures++;
	slot->start_at = GetCurrentTimestamp() + pause * USECS_PER_SEC;
	slot->wanted = true;
}

/* Has the slot's worker ended before it could say that it was there? */
static bool
has_vanished(int number)
{
	pid_t		pid;

	/* An earlier launcher has started it.  If it comes, it comes too late. */
	if (handles[number] == NULL)
		return true;
	return GetBackgroundWorkerPid(handles[number], &pid) == BGWH_STOPPED;
}

/*
 * Starts what is wanted and due.  Returns the milliseconds until something
 * will be.
 */
static long
start_workers(void)
{
	TimestampTz now = GetCurrentTimestamp();
	long		wait = Max(eb_guc_poll_interval, 1000);

	for (int i = 0; i < MAX_SLOTS; i++)
	{
		Slot	   *slot = &shared->slots[i];
		TimestampTz due = 0;
		bool		start = false;

		if (slot->state == SLOT_FREE)
			continue;
		LWLockAcquire(shared->piece.lock, LW_EXCLUSIVE);
		if (slot->state == SLOT_STARTING && has_vanished(i))
			note_failure(slot);
		if (slot->state == SLOT_IDLE)
		{
			if (slot->wanted)
				due = slot->start_at;
			else if (slot->retry_at != 0)
				due = Max(slot->start_at, slot->retry_at);
			start = (slot->wanted || slot->retry_at != 0) && due <= now;
		}
		LWLockRelease(shared->piece.lock);
		if (start)
			due = start_worker(i);
		if (due > now)
			wait = Min(wait, (long) ((due - now) / 1000) + 1);
	}
	return wait;
}

static void
forget_launcher(int code, Datum arg)
{
	LWLockAcquire(shared->piece.lock, LW_EXCLUSIVE);
	shared->launcher = NULL;
	LWLockRelease(shared->piece.lock);
}

void
eb_launcher_main(Datum arg)
{
	bool		was_on = false;

	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);

	before_shmem_exit(forget_launcher, (Datum) 0);
	LWLockAcquire(shared->piece.lock, LW_EXCLUSIVE);
	shared->launcher = MyLatch;
	LWLockRelease(shared->piece.lock);
	ereport(LOG, (errmsg("eventbridge launcher started")));

	for (;;)
	{
		long		wait = LONGEST_PAUSE * 1000;

		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
		}

		/* While there were no workers, nobody has said what there is to do. */
		if (eb_guc_background_workers && !was_on)
			add_databases();
		was_on = eb_guc_background_workers;
		if (was_on)
			wait = start_workers();
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 wait, PG_WAIT_EXTENSION);
	}
}

/* ---- worker ---- */

/* The one lane that a background worker serves. */
bool
eb_worker_lane(Oid *lane)
{
	if (my_slot == NULL)
		return false;
	*lane = my_slot->lane;
	return true;
}

/* Runs when the worker ends, in whatever way. */
static void
leave_slot(int code, Datum arg)
{
	LWLockAcquire(shared->piece.lock, LW_EXCLUSIVE);
	my_slot->pid = 0;
	my_slot->latch = NULL;
	if (my_slot->leave || my_end_is_clean)
		my_slot->state = SLOT_IDLE;
	else
		note_failure(my_slot);
	if (my_slot->leave)
		my_slot->wanted = true;
	if (shared->launcher != NULL)
		SetLatch(shared->launcher);
	LWLockRelease(shared->piece.lock);
}

/* Ends the process if nobody expects it any more. */
static void
enter_slot(int number)
{
	Slot	   *slot = &shared->slots[number];
	bool		expected;

	LWLockAcquire(shared->piece.lock, LW_EXCLUSIVE);
	expected = (slot->state == SLOT_STARTING);
	if (expected)
	{
		slot->state = SLOT_RUNNING;
		slot->pid = MyProcPid;
		slot->latch = MyLatch;
		slot->leave = false;
		slot->wanted = true;
		slot->retry_at = 0;
	}
	LWLockRelease(shared->piece.lock);
	if (!expected)
		proc_exit(0);
	my_slot = slot;
	before_shmem_exit(leave_slot, (Datum) 0);
}

/*
 * Ends the worker for want of work, unless some has come just now; returns in
 * that case.  What comes from now on finds the slot wanted when leave_slot has
 * left it.
 */
static void
end_worker(TimestampTz retry_at, bool forget)
{
	LWLockAcquire(shared->piece.lock, LW_EXCLUSIVE);
	if (my_slot->wanted && !forget)
	{
		LWLockRelease(shared->piece.lock);
		return;
	}
	my_slot->wanted = false;
	my_slot->failures = 0;
	my_slot->retry_at = retry_at;
	my_end_is_clean = true;
	LWLockRelease(shared->piece.lock);
	proc_exit(0);
}

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
	bool		own = my_slot->ring;
	bool		client = my_slot->ring_client;

	if (!own && !client)
		return;
	LWLockAcquire(shared->piece.lock, LW_EXCLUSIVE);
	my_slot->ring = false;
	my_slot->ring_client = false;
	LWLockRelease(shared->piece.lock);
	if (own)
		ring(my_slot->lane);
	if (client)
		ring(EB_LANE_CLIENT);
}

/* Which lanes of this database have work?  Asked once, after a restart. */
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
 * Looks for work once.  Returns the number of deliveries, or if there were
 * none when the next retry is due; -1 if the extension is not in this database.  An error ends
 * the worker.
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
		want_lanes_with_work();
		ndeliveries = eb_run_turn(PG_INT64_MAX, true);
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
 * Under load, what comes within a pause is delivered together: looking for work
 * costs as much as tens of deliveries, and writers would pay for it; also where
 * it finds nothing, because they only rang for somebody else.  The first event
 * after a rest does not wait.  "began" and
 * "since" are when the last look began and the one before, and what it found
 * came in between.  Our latch may be set: it is looked at afterwards.
 */
static void
pause_after_look(TimestampTz since, TimestampTz began, int64 ndeliveries)
{
	double		rate = (double) ndeliveries * USECS_PER_SEC / Max(began - since, 1);
	int			i = 0;
	long		wait;

	while (rate > paces[i].rate && i < lengthof(paces) - 1)
		i++;
	wait = TimestampDifferenceMilliseconds(GetCurrentTimestamp(),
										   TimestampTzPlusMilliseconds(began,
																	   paces[i].pace));
	if (wait > 0)
		(void) WaitLatch(NULL, WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 Min(wait, paces[i].pace), PG_WAIT_EXTENSION);
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

/* Called when the library is loaded. */
void
eb_launcher_init(void)
{
	BackgroundWorker worker = {
		.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION,
		.bgw_start_time = BgWorkerStart_RecoveryFinished,
		.bgw_restart_time = 5
	};

	if (!process_shared_preload_libraries_in_progress || IsBinaryUpgrade)
		return;
	eb_shmem_reserve("eventbridge", sizeof(SharedState), attach_shared);

	snprintf(worker.bgw_library_name, sizeof(worker.bgw_library_name),
			 "eventbridge");
	snprintf(worker.bgw_function_name, sizeof(worker.bgw_function_name),
			 "eb_launcher_main");
	snprintf(worker.bgw_name, sizeof(worker.bgw_name), "eventbridge launcher");
	snprintf(worker.bgw_type, sizeof(worker.bgw_type), "eventbridge launcher");
	RegisterBackgroundWorker(&worker);
	eb_withdraw_init();
}
