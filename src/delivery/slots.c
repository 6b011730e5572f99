/*-------------------------------------------------------------------------
 *
 * slots.c
 *	  Which background workers there are and should be, in shared memory.
 *
 * A worker serves one lane of one database, see launcher.c.  Each has a slot:
 * whoever commits work says there that a worker is wanted, the launcher that
 * it starts one, and the worker that it is there, or has gone.
 *
 *	lock		protects the set of slots, and database, lane, state, pid,
 *				latch, start_at, failures and retry_at of each; but failures
 *				in a row are forgotten by the running worker without it
 *	refused		is the launcher's, as long as there is no worker
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
 * An idle slot that nobody wants may become another's.  A worker has its slot
 * from when it enters until it leaves, which it does once, so what it leaves
 * is its own and not a successor's.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <signal.h>

#include "miscadmin.h"
#include "pgstat.h"
#include "storage/lwlock.h"
#include "storage/procarray.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "delivery/delivery.h"
#include "delivery/slots.h"
#include "shmem.h"

/* Milliseconds that workers have to leave a database: when asked, and when ended. */
#define GRACE			300
#define WITHDRAWAL		5000

typedef struct SharedState
{
	EbSharedPiece piece;		/* with the lock */
	Latch	   *launcher;		/* or NULL */
	EbSlot		slots[EB_MAX_SLOTS];
} SharedState;

static SharedState *shared = NULL;

static void
attach_shared(EbSharedPiece *piece)
{
	shared = (SharedState *) piece;
}

/* Called when the library is preloaded. */
void
eb_slots_init(void)
{
	eb_shmem_reserve("eventbridge", sizeof(SharedState), attach_shared);
}

/* ---- the set of slots ---- */

/* The lock is held. */
static EbSlot *
find_slot(Oid database, Oid lane)
{
	for (int i = 0; i < EB_MAX_SLOTS; i++)
	{
		EbSlot	   *slot = &shared->slots[i];

		if (slot->state != EB_SLOT_FREE && slot->database == database &&
			slot->lane == lane)
			return slot;
	}
	return NULL;
}

/*
 * A new slot; the lock is held exclusively.  NULL if all are taken by somebody
 * who has a worker, or wants one.
 */
static EbSlot *
add_slot(Oid database, Oid lane)
{
	EbSlot	   *found = NULL;

	for (int i = 0; i < EB_MAX_SLOTS; i++)
	{
		EbSlot	   *slot = &shared->slots[i];

		if (slot->state == EB_SLOT_FREE ||
			(slot->state == EB_SLOT_IDLE && !slot->wanted && slot->retry_at == 0))
			found = slot;
		if (slot->state == EB_SLOT_FREE)
			break;
	}
	if (found != NULL)
	{
		memset(found, 0, sizeof(EbSlot));
		found->database = database;
		found->lane = lane;
		found->state = EB_SLOT_IDLE;
	}
	return found;
}

/* The slot's worker has failed; the lock is held exclusively. */
static void
note_failure(EbSlot *slot)
{
	int			pause = Min(EB_FIRST_PAUSE << Min(slot->failures, 6),
							EB_LONGEST_PAUSE);

	slot->state = EB_SLOT_IDLE;
	slot->failures++;
	slot->start_at = GetCurrentTimestamp() + pause * USECS_PER_SEC;
	slot->wanted = true;
}

/* ---- for who has work, or wants a database ---- */

/* Are there background workers? */
bool
eb_launcher_is_on(void)
{
	return shared != NULL && eb_guc_background_workers;
}

/* Somebody wants the slot's worker; the lock is held. */
static void
want_slot(EbSlot *slot)
{
	slot->wanted = true;
	if (slot->latch != NULL)
		SetLatch(slot->latch);
	else if (shared->launcher != NULL)
		SetLatch(shared->launcher);
}

/*
 * Wants the worker that has to do with a lane of this database; the lock is
 * held.  False if it has no slot.
 */
static bool
want_lane(Oid lane)
{
	bool		ring = (eb_guc_bell == EB_BELL_LATCH);
	EbSlot	   *slot;

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
 * Asks the workers that are connected to the database to leave, or ends them;
 * returns their number.
 */
static int
send_away(Oid database, bool at_once, int *pids)
{
	int			npids = 0;

	LWLockAcquire(shared->piece.lock, LW_EXCLUSIVE);
	for (int i = 0; i < EB_MAX_SLOTS; i++)
	{
		EbSlot	   *slot = &shared->slots[i];

		if (slot->state != EB_SLOT_RUNNING || slot->database != database)
			continue;
		slot->leave = true;
		if (at_once)
			kill(slot->pid, SIGTERM);
		else
			SetLatch(slot->latch);
		pids[npids++] = slot->pid;
	}
	LWLockRelease(shared->piece.lock);
	return npids;
}

/* Waits until the processes are gone, so many milliseconds at most. */
static bool
wait_until_gone(const int *pids, int npids, int timeout)
{
	TimestampTz end = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), timeout);

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
	return npids == 0;
}

/*
 * Has the workers that are connected to this database leave.  Who is at work may
 * end its turn, which mostly is short, and is ended itself if that takes
 * longer.  The caller holds a lock that keeps others from connecting.
 */
void
eb_launcher_withdraw(Oid database)
{
	int			pids[EB_MAX_SLOTS];

	if (shared != NULL &&
		!wait_until_gone(pids, send_away(database, false, pids), GRACE))
		(void) wait_until_gone(pids, send_away(database, true, pids), WITHDRAWAL);
}

/* ---- for the launcher ---- */

/* Where to wake the launcher from now on; NULL when it is gone. */
void
eb_slots_set_launcher(Latch *latch)
{
	LWLockAcquire(shared->piece.lock, LW_EXCLUSIVE);
	shared->launcher = latch;
	LWLockRelease(shared->piece.lock);
}

EbSlot *
eb_slots_get(int number)
{
	return &shared->slots[number];
}

/* Wants a worker for a lane; the launcher looks at all slots afterwards. */
void
eb_slots_want(Oid database, Oid lane)
{
	EbSlot	   *slot;

	LWLockAcquire(shared->piece.lock, LW_EXCLUSIVE);
	slot = find_slot(database, lane);
	if (slot == NULL)
		slot = add_slot(database, lane);
	if (slot != NULL)
		slot->wanted = true;
	LWLockRelease(shared->piece.lock);
}

/*
 * Is the slot's worker to be started now?  *due is when it will have to be, or
 * 0.  has_vanished() says whether one that has been started ended before it
 * could enter.
 */
bool
eb_slot_is_due(int number, bool (*has_vanished) (int number),
			   TimestampTz now, TimestampTz *due)
{
	EbSlot	   *slot = &shared->slots[number];

	*due = 0;
	LWLockAcquire(shared->piece.lock, LW_EXCLUSIVE);
	if (slot->state == EB_SLOT_STARTING && has_vanished(number))
		note_failure(slot);
	if (slot->state == EB_SLOT_IDLE)
	{
		if (slot->wanted)
			*due = Max(slot->start_at, 1);
		else if (slot->retry_at != 0)
			*due = Max(slot->start_at, slot->retry_at);
	}
	LWLockRelease(shared->piece.lock);
	return *due != 0 && *due <= now;
}

/* A worker is going to be registered for the slot. */
void
eb_slot_start(EbSlot *slot)
{
	LWLockAcquire(shared->piece.lock, LW_EXCLUSIVE);
	slot->state = EB_SLOT_STARTING;
	LWLockRelease(shared->piece.lock);
}

/* The slot has no worker until then. */
void
eb_slot_postpone(EbSlot *slot, TimestampTz until)
{
	LWLockAcquire(shared->piece.lock, LW_EXCLUSIVE);
	slot->state = EB_SLOT_IDLE;
	slot->start_at = until;
	LWLockRelease(shared->piece.lock);
}

/* Nobody will want the slot's worker any more. */
void
eb_slot_free(EbSlot *slot)
{
	LWLockAcquire(shared->piece.lock, LW_EXCLUSIVE);
	slot->state = EB_SLOT_FREE;
	LWLockRelease(shared->piece.lock);
}

/* ---- for a worker ---- */

/* The slot is this worker's from now on.  NULL if nobody expects it any more. */
EbSlot *
eb_slot_enter(int number)
{
	EbSlot	   *slot = &shared->slots[number];
	bool		expected;

	LWLockAcquire(shared->piece.lock, LW_EXCLUSIVE);
	expected = (slot->state == EB_SLOT_STARTING);
	if (expected)
	{
		slot->state = EB_SLOT_RUNNING;
		slot->pid = MyProcPid;
		slot->latch = MyLatch;
		slot->refused = false;
		slot->leave = false;
		slot->wanted = true;
		slot->retry_at = 0;
	}
	LWLockRelease(shared->piece.lock);
	return expected ? slot : NULL;
}

/*
 * The worker is about to end for want of work, and wanted again at retry_at.
 * False if work has come just now, unless that is to be forgotten.  What comes
 * from now on finds the slot wanted when eb_slot_leave() has left it.
 */
bool
eb_slot_rest(EbSlot *slot, TimestampTz retry_at, bool forget)
{
	bool		may_rest;

	LWLockAcquire(shared->piece.lock, LW_EXCLUSIVE);
	may_rest = forget || !slot->wanted;
	if (may_rest)
	{
		slot->wanted = false;
		slot->failures = 0;
		slot->retry_at = retry_at;
	}
	LWLockRelease(shared->piece.lock);
	return may_rest;
}

/* Which bells is the worker to ring?  They count as rung. */
void
eb_slot_take_rings(EbSlot *slot, bool *own, bool *client)
{
	*own = *client = false;
	if (!slot->ring && !slot->ring_client)
		return;
	LWLockAcquire(shared->piece.lock, LW_EXCLUSIVE);
	*own = slot->ring;
	*client = slot->ring_client;
	slot->ring = false;
	slot->ring_client = false;
	LWLockRelease(shared->piece.lock);
}

/* The worker ends: at rest, sent away, or for an error. */
void
eb_slot_leave(EbSlot *slot, bool at_rest)
{
	LWLockAcquire(shared->piece.lock, LW_EXCLUSIVE);
	slot->pid = 0;
	slot->latch = NULL;
	if (slot->leave || at_rest)
		slot->state = EB_SLOT_IDLE;
	else
		note_failure(slot);
	if (slot->leave)
		slot->wanted = true;
	if (shared->launcher != NULL)
		SetLatch(shared->launcher);
	LWLockRelease(shared->piece.lock);
}
