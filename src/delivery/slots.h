/*-------------------------------------------------------------------------
 *
 * slots.h
 *	  The slots of background workers, for the launcher and the workers;
 *	  slots.c tells what they are.  Others see delivery.h.
 *
 *-------------------------------------------------------------------------
 */
#ifndef EB_SLOTS_H
#define EB_SLOTS_H

#include "datatype/timestamp.h"
#include "storage/latch.h"

#define EB_MAX_SLOTS	256

/* Seconds until a worker that failed is started again, at first and at most. */
#define EB_FIRST_PAUSE		1
#define EB_LONGEST_PAUSE	60

typedef enum EbSlotState
{
	EB_SLOT_FREE,
	EB_SLOT_IDLE,				/* no worker */
	EB_SLOT_STARTING,
	EB_SLOT_RUNNING
} EbSlotState;

typedef struct EbSlot
{
	EbSlotState state;
	Oid			database;
	Oid			lane;
	int			pid;			/* of the running worker, else 0 */
	Latch	   *latch;			/* of the running worker, else NULL */
	TimestampTz start_at;		/* not before */
	int			failures;		/* in a row */
	TimestampTz retry_at;		/* wanted then; 0 if never */
	bool		refused;		/* the log says that it can have no worker */
	volatile bool wanted;
	volatile bool ring;
	volatile bool ring_client;
	volatile bool leave;
} EbSlot;

extern void eb_slots_init(void);

/* For the launcher. */
extern void eb_slots_set_launcher(Latch *latch);
extern EbSlot *eb_slots_get(int number);
extern void eb_slots_want(Oid database, Oid lane);
extern bool eb_slot_is_due(int number, bool (*has_vanished) (int number),
						   TimestampTz now, TimestampTz *due);
extern void eb_slot_start(EbSlot *slot);
extern void eb_slot_postpone(EbSlot *slot, TimestampTz until);
extern void eb_slot_free(EbSlot *slot);

/* For a worker. */
extern EbSlot *eb_slot_enter(int number);
extern bool eb_slot_rest(EbSlot *slot, TimestampTz retry_at, bool forget);
extern void eb_slot_take_rings(EbSlot *slot, bool *own, bool *client);
extern void eb_slot_leave(EbSlot *slot, bool at_rest);

#endif							/* EB_SLOTS_H */
