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
 * eventbridge.worker_idle_time ends, so that it does not stand in the way of
 * DROP DATABASE; it leaves behind when its next retry is due.
 *
 * Shared memory holds a slot per database and lane.
 *
 *	lock		protects the set of slots, and database, lane, state, pid,
 *				latch, start_at and failures of each
 *	wanted		set by who commits work, under a shared lock at least;
 *				cleared by the worker before it looks for work.  A worker
 *				that finds it set under the exclusive lock does not end.
 *	ring		set together with wanted if a client may have to be notified:
 *				with eventbridge.bell = latch the worker does that
 *
 * A worker is told of its slot by the slot's number; what it serves stands
 * there.  When it ends, in whatever way, it marks the slot as idle, and if
 * that was an error as wanted again after a while that doubles each time.
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
#include "storage/lwlock.h"
#include "storage/proc.h"
#include "tcop/pquery.h"
#include "tcop/tcopprot.h"
#include "tcop/utility.h"
#include "utils/builtins.h"
#include "utils/guc.h"
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

/*
 * Milliseconds from one look for work to the next, if it found a little, and
 * if it found more than MANY.
 */
#define PACE			5
#define MANY			20
#define BUSY_PACE		20

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
	Latch	   *latch;			/* of the running worker, else NULL */
	TimestampTz start_at;		/* not before */
	int			failures;		/* in a row */
	TimestampTz retry_at;		/* wanted then; 0 if never */
	volatile bool wanted;
	volatile bool ring;
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

/* A new slot; the lock is held exclusively.  NULL if all are taken. */
static Slot *
add_slot(Oid database, Oid lane)
{
	for (int i = 0; i < MAX_SLOTS; i++)
	{
		Slot	   *slot = &shared->slots[i];

		if (slot->state == SLOT_FREE)
		{
			memset(slot, 0, sizeof(Slot));
			slot->database = database;
			slot->lane = lane;
			slot->state = SLOT_IDLE;
			return slot;
		}
	}
	return NULL;
}

/* Somebody wants the slot's worker; the lock is held. */
static void
want_slot(Slot *slot)
{
	slot->wanted = true;
	slot->ring = true;
	if (slot->latch != NULL)
		SetLatch(slot->latch);
	else if (shared->launcher != NULL)
		SetLatch(shared->launcher);
}

/*
 * Wakes the workers of lanes of this database.  Called after commit: must not
 * fail.  The client's lane has no background worker; its listeners are told
 * by the worker of lane ANY.
 */
void
eb_launcher_wake(const Oid *lanes, int nlanes)
{
	bool		missing = false;

	if (shared == NULL || !eb_guc_background_workers)
		return;
	LWLockAcquire(shared->piece.lock, LW_SHARED);
	for (int i = 0; i < nlanes; i++)
	{
		Slot	   *slot = find_slot(MyDatabaseId, lanes[i]);

		if (slot != NULL)
			want_slot(slot);
		else
			missing = true;
	}
	LWLockRelease(shared->piece.lock);
	if (!missing)
		return;

	LWLockAcquire(shared->piece.lock, LW_EXCLUSIVE);
	for (int i = 0; i < nlanes; i++)
	{
		Slot	   *slot = find_slot(MyDatabaseId, lanes[i]);

		if (slot == NULL)
			slot = add_slot(MyDatabaseId, lanes[i]);
		if (slot != NULL)
			want_slot(slot);
	}
	LWLockRelease(shared->piece.lock);
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

/* Does the slot's database still exist? */
static bool
database_exists(Oid database)
{
	bool		exists;

	StartTransactionCommand();
	exists = SearchSysCacheExists1(DATABASEOID, ObjectIdGetDatum(database));
	CommitTransactionCommand();
	return exists;
}

static void
start_worker(int number)
{
	Slot	   *slot = &shared->slots[number];
	BackgroundWorker worker = {
		.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION,
		.bgw_start_time = BgWorkerStart_RecoveryFinished,
		.bgw_restart_time = BGW_NEVER_RESTART,
		.bgw_main_arg = Int32GetDatum(number)
	};
	bool		exists = database_exists(slot->database);
	BackgroundWorkerHandle *handle;

	snprintf(worker.bgw_library_name, sizeof(worker.bgw_library_name),
			 "eventbridge");
	snprintf(worker.bgw_function_name, sizeof(worker.bgw_function_name),
			 "eb_worker_main");
	snprintf(worker.bgw_type, sizeof(worker.bgw_type), "eventbridge worker");
	snprintf(worker.bgw_name, sizeof(worker.bgw_name),
			 "eventbridge worker for database %u, lane %u",
			 slot->database, slot->lane);

	LWLockAcquire(shared->piece.lock, LW_EXCLUSIVE);
	slot->state = exists ? SLOT_STARTING : SLOT_FREE;
	LWLockRelease(shared->piece.lock);
	if (!exists)
		return;
	if (!RegisterDynamicBackgroundWorker(&worker, &handle))
	{
		LWLockAcquire(shared->piece.lock, LW_EXCLUSIVE);
		slot->state = SLOT_IDLE;
		slot->start_at = GetCurrentTimestamp() + LONGEST_PAUSE * USECS_PER_SEC;
		LWLockRelease(shared->piece.lock);
		ereport(WARNING,
				(errmsg("eventbridge could not start a background worker"),
				 errhint("max_worker_processes may be too low.")));
	}
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

		LWLockAcquire(shared->piece.lock, LW_EXCLUSIVE);
		if (slot->state == SLOT_IDLE && slot->lane != EB_LANE_CLIENT)
		{
			if (slot->wanted)
				due = slot->start_at;
			else if (slot->retry_at != 0)
				due = Max(slot->start_at, slot->retry_at);
			start = (slot->wanted || slot->retry_at != 0) && due <= now;
		}
		LWLockRelease(shared->piece.lock);
		if (start)
			start_worker(i);
		else if (due > now)
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
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);

	before_shmem_exit(forget_launcher, (Datum) 0);
	LWLockAcquire(shared->piece.lock, LW_EXCLUSIVE);
	shared->launcher = MyLatch;
	LWLockRelease(shared->piece.lock);
	add_databases();
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
		if (eb_guc_background_workers)
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
	my_slot->latch = NULL;
	my_slot->state = SLOT_IDLE;
	if (!my_end_is_clean)
	{
		int			pause = Min(FIRST_PAUSE << Min(my_slot->failures, 6),
								LONGEST_PAUSE);

		my_slot->failures++;
		my_slot->start_at = GetCurrentTimestamp() + pause * USECS_PER_SEC;
		my_slot->wanted = true;
	}
	if (shared->launcher != NULL)
		SetLatch(shared->launcher);
	LWLockRelease(shared->piece.lock);
}

static void
enter_slot(int number)
{
	my_slot = &shared->slots[number];
	before_shmem_exit(leave_slot, (Datum) 0);
	LWLockAcquire(shared->piece.lock, LW_EXCLUSIVE);
	my_slot->state = SLOT_RUNNING;
	my_slot->latch = MyLatch;
	my_slot->wanted = true;
	my_slot->retry_at = 0;
	LWLockRelease(shared->piece.lock);
}

/*
 * Ends the worker for want of work, unless some has come just now; returns in
 * that case.
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
	my_slot->latch = NULL;
	my_slot->state = SLOT_IDLE;
	my_end_is_clean = true;
	LWLockRelease(shared->piece.lock);
	proc_exit(0);
}

/*
 * With eventbridge.bell = latch, tells clients that sleep.  The worker of
 * lane ANY does it for all lanes of its database.
 */
static void
ring_for_writers(void)
{
	Oid			lanes[MAX_SLOTS];
	int			nlanes = 0;
	char		channel[NAMEDATALEN];

	if (eb_guc_bell != EB_BELL_LATCH || my_slot->lane != EB_LANE_ANY)
		return;
	LWLockAcquire(shared->piece.lock, LW_SHARED);
	for (int i = 0; i < MAX_SLOTS; i++)
	{
		Slot	   *slot = &shared->slots[i];

		if (slot->state != SLOT_FREE && slot->database == MyDatabaseId &&
			slot->ring)
		{
			slot->ring = false;
			lanes[nlanes++] = slot->lane;
		}
	}
	LWLockRelease(shared->piece.lock);

	for (int i = 0; i < nlanes; i++)
		if (eb_bell_has_sleeper(lanes[i]))
		{
			eb_bell_channel(lanes[i], channel);
			Async_Notify(channel, "");
		}
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
 * costs as much as tens of deliveries, and writers would pay for it.  The
 * first event after a rest does not wait.  Our latch may be set: it is looked
 * at afterwards.
 */
static void
pause_until(TimestampTz end)
{
	long		wait = TimestampDifferenceMilliseconds(GetCurrentTimestamp(),
													   end);

	if (wait > 0)
		(void) WaitLatch(NULL, WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, wait,
						 PG_WAIT_EXTENSION);
}

void
eb_worker_main(Datum arg)
{
	TimestampTz idle_since;

	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	enter_slot(DatumGetInt32(arg));
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnectionByOid(my_slot->database,
											  my_slot->lane,
											  EB_BGWORKER_ROLE_FLAGS);
	idle_since = GetCurrentTimestamp();

	for (;;)
	{
		TimestampTz began;
		TimestampTz now;
		TimestampTz retry_at = 0;
		int64		ndeliveries;
		long		wait;

		ResetLatch(MyLatch);
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
		now = GetCurrentTimestamp();
		if (ndeliveries < 0)
			end_worker(0, true);
		if (ndeliveries > 0)
		{
			idle_since = now;
			my_slot->failures = 0;
			pause_until(TimestampTzPlusMilliseconds(began,
													ndeliveries > MANY ?
													BUSY_PACE : PACE));
			continue;
		}
		if (now - idle_since > eb_guc_worker_idle_time * USECS_PER_SEC)
			end_worker(retry_at, false);
		wait = Min(eb_guc_poll_interval,
				   eb_guc_worker_idle_time * 1000L -
				   (long) ((now - idle_since) / 1000) + 1);
		if (retry_at != 0)
			wait = Min(wait, Max((long) ((retry_at - now) / 1000) + 1, 1));
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 wait, PG_WAIT_EXTENSION);
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
}
