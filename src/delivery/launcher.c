/*-------------------------------------------------------------------------
 *
 * launcher.c
 *	  Starts background workers for deliveries, when the library is preloaded.
 *
 * The launcher is connected to no database.  A worker serves one lane of one
 * database: one for what any session may deliver, and one more per role that
 * has function targets, connected as that role.  Workers are started when
 * somebody commits work for their lane, which stands in the slots (slots.c),
 * and after a restart of the server once per database.  What a worker does is
 * in background.c.
 *
 * No worker is started that the server would turn away: that would be an error
 * in its log each time.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_database.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lock.h"
#include "tcop/tcopprot.h"
#include "utils/acl.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "delivery/delivery.h"
#include "delivery/slots.h"

/* Seconds until a worker that found no free process is tried again. */
#define REGISTER_PAUSE	5

/* Whom the launcher has started last, by slot. */
static BackgroundWorkerHandle *handles[EB_MAX_SLOTS];

PGDLLEXPORT void eb_launcher_main(Datum arg);

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
	while (HeapTupleIsValid(tuple = heap_getnext(scan, ForwardScanDirection)))
	{
		Form_pg_database database = (Form_pg_database) GETSTRUCT(tuple);

		if (database->datallowconn && !database->datistemplate)
			eb_slots_want(database->oid, EB_LANE_ANY);
	}
	table_endscan(scan);
	table_close(rel, AccessShareLock);
	CommitTransactionCommand();
}

/* ---- may a worker connect? ---- */

typedef enum Admission
{
	CONNECT_NOW,
	CONNECT_LATER,
	CONNECT_REFUSED,			/* until somebody gives the role the right */
	CONNECT_NEVER				/* database or role is gone */
} Admission;

/*
 * May the role connect to the database?  If it may not, that is said once, and
 * no worker is started whose end the log would tell each time.
 */
static bool
role_may_connect(EbSlot *slot, Form_pg_authid role, Form_pg_database database)
{
	bool		no_login = EB_BGWORKER_NEEDS_LOGIN && !role->rolcanlogin;

	if (!no_login &&
		eb_database_aclcheck(database->oid, role->oid, ACL_CONNECT) == ACLCHECK_OK)
		return true;
	if (slot->refused)
		return false;
	slot->refused = true;
	ereport(WARNING,
			(errmsg("eventbridge starts no background worker for role \"%s\"", NameStr(role->rolname)),
			 no_login ?
			 errdetail("The role is not permitted to log in, which this version of the server asks of background workers, too.") :
			 errdetail("The role is not permitted to connect to database \"%s\".", NameStr(database->datname)),
			 no_login ?
			 errhint("Until it is, with ALTER ROLE ... LOGIN, what its functions, procedures and pipes are owed waits.") :
			 errhint("Until it is, with GRANT CONNECT ON DATABASE, what its functions, procedures and pipes are owed waits.")));
	return false;
}

/* Can a worker be connected to the database as the lane's role? */
static Admission
ask_role(EbSlot *slot, Form_pg_database database)
{
	Admission	admission;
	HeapTuple	tuple;

	if (slot->lane == EB_LANE_ANY)
		return CONNECT_NOW;
	tuple = SearchSysCache1(AUTHOID, ObjectIdGetDatum(slot->lane));
	if (!HeapTupleIsValid(tuple))
		return CONNECT_NEVER;
	admission = role_may_connect(slot, (Form_pg_authid) GETSTRUCT(tuple), database) ?
		CONNECT_NOW : CONNECT_REFUSED;
	ReleaseSysCache(tuple);
	return admission;
}

/*
 * Can a worker for this lane connect to the database?  Not while a command has
 * locked it, which may be about to drop it, and not if it allows no connections.
 */
static Admission
ask_admission(EbSlot *slot)
{
	Admission	admission = CONNECT_NEVER;
	LOCKTAG		tag;
	HeapTuple	tuple;

	SET_LOCKTAG_OBJECT(tag, InvalidOid, DatabaseRelationId, slot->database, 0);
	StartTransactionCommand();
	if (LockAcquire(&tag, RowExclusiveLock, false, true) == LOCKACQUIRE_NOT_AVAIL)
		admission = CONNECT_LATER;
	else
	{
		/* What the lock's last holder has committed. */
		AcceptInvalidationMessages();
		tuple = SearchSysCache1(DATABASEOID, ObjectIdGetDatum(slot->database));
		if (HeapTupleIsValid(tuple))
		{
			Form_pg_database database = (Form_pg_database) GETSTRUCT(tuple);

			admission = ask_role(slot, database);
			if (admission == CONNECT_NOW && !database->datallowconn)
				admission = CONNECT_LATER;
			ReleaseSysCache(tuple);
		}
	}
	CommitTransactionCommand();
	return admission;
}

/* ---- starting workers ---- */

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
	const EbSlot *slot = eb_slots_get(number);
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

	if (now - last_time < EB_LONGEST_PAUSE * USECS_PER_SEC)
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
	EbSlot	   *slot = eb_slots_get(number);
	TimestampTz again;
	int			pause = EB_FIRST_PAUSE * 1000;

	switch (ask_admission(slot))
	{
		case CONNECT_NEVER:
			eb_slot_free(slot);
			return 0;
		case CONNECT_NOW:
			eb_slot_start(slot);
			if (register_worker(number))
				return 0;
			warn_of_too_few();
			pause = REGISTER_PAUSE * 1000;
			break;
		case CONNECT_REFUSED:
			pause = Min(Max(eb_guc_poll_interval, pause), EB_LONGEST_PAUSE * 1000);
			break;
		case CONNECT_LATER:
			break;
	}
	again = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), pause);
	eb_slot_postpone(slot, again);
	return again;
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

	for (int i = 0; i < EB_MAX_SLOTS; i++)
	{
		TimestampTz due;

		if (eb_slots_get(i)->state == EB_SLOT_FREE)
			continue;
		if (eb_slot_is_due(i, has_vanished, now, &due))
			due = start_worker(i);
		if (due > now)
			wait = Min(wait, (long) ((due - now) / 1000) + 1);
	}
	return wait;
}

static void
forget_launcher(int code, Datum arg)
{
	eb_slots_set_launcher(NULL);
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
	eb_slots_set_launcher(MyLatch);
	ereport(LOG, (errmsg("eventbridge launcher started")));

	for (;;)
	{
		long		wait = EB_LONGEST_PAUSE * 1000;

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
	eb_slots_init();

	snprintf(worker.bgw_library_name, sizeof(worker.bgw_library_name),
			 "eventbridge");
	snprintf(worker.bgw_function_name, sizeof(worker.bgw_function_name),
			 "eb_launcher_main");
	snprintf(worker.bgw_name, sizeof(worker.bgw_name), "eventbridge launcher");
	snprintf(worker.bgw_type, sizeof(worker.bgw_type), "eventbridge launcher");
	RegisterBackgroundWorker(&worker);
	eb_withdraw_init();
}
