/*-------------------------------------------------------------------------
 *
 * owed.c
 *	  Is somebody owed a row of the delivery log?
 *
 * This is asked of each row of the log: by pg_dump, by those who look for work
 * that nobody does, by the rotation of the log, and by views.  So how far each
 * lane has come is read from the ledger once for a snapshot and not once for a
 * row.  It has to be the asking statement's own snapshot: what pg_dump does not
 * find delivered it has to take along.  Of an event that was delivered, as nearly
 * all of the log's are, no more is looked at than its transaction and its lanes.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/xid8.h"

#include "compat.h"
#include "delivery/deliveries.h"
#include "delivery/delivery.h"

PG_FUNCTION_INFO_V1(eb_is_owed);

typedef struct LanePosition
{
	Oid			lane;
	EbLogPosition position;
} LanePosition;

/* How far each lane has come, as a snapshot sees it. */
typedef struct Positions
{
	MemoryContext context;		/* of the lanes */
	TransactionId xmin;			/* these four tell the snapshot */
	TransactionId xmax;
	uint32		xcnt;
	CommandId	curcid;
	int			nlanes;
	LanePosition *lanes;
} Positions;

static bool
are_of_snapshot(const Positions *positions, Snapshot snapshot)
{
	return positions->lanes != NULL && positions->xmin == snapshot->xmin &&
		positions->xmax == snapshot->xmax &&
		positions->xcnt == snapshot->xcnt &&
		positions->curcid == snapshot->curcid;
}

/* Reads them anew. */
static void
read_positions(Positions *positions, Snapshot snapshot)
{
	static SPIPlanPtr plan = NULL;
	MemoryContext oldcontext;
	int			n;

	positions->lanes = NULL;
	MemoryContextReset(positions->context);
	SPI_connect();
	n = (int) eb_internal_look(&plan,
							   "SELECT lane, snapshot::text, xid, no"
							   " FROM eventbridge._positions()",
							   0, NULL, NULL, NULL);
	oldcontext = MemoryContextSwitchTo(positions->context);
	positions->lanes = palloc(sizeof(LanePosition) * Max(n, 1));
	for (int i = 0; i < n; i++)
	{
		LanePosition *lane = &positions->lanes[i];

		lane->lane = eb_result_oid(i, 1);
		eb_position_parse(&lane->position, eb_result_text(i, 2));
		lane->position.part_xid = (uint64) eb_result_int64(i, 3);
		lane->position.part_no = eb_result_int32(i, 4);
	}
	MemoryContextSwitchTo(oldcontext);
	SPI_finish();
	positions->nlanes = n;
	positions->xmin = snapshot->xmin;
	positions->xmax = snapshot->xmax;
	positions->xcnt = snapshot->xcnt;
	positions->curcid = snapshot->curcid;
}

/* Those of the statement's snapshot, kept from row to row. */
static const Positions *
get_positions(FmgrInfo *flinfo)
{
	Positions  *positions = flinfo->fn_extra;
	Snapshot	snapshot = GetActiveSnapshot();

	if (positions == NULL)
	{
		positions = MemoryContextAllocZero(flinfo->fn_mcxt, sizeof(Positions));
		positions->context = AllocSetContextCreate(flinfo->fn_mcxt,
												   "eventbridge positions",
												   ALLOCSET_SMALL_SIZES);
		flinfo->fn_extra = positions;
	}
	if (!are_of_snapshot(positions, snapshot))
		read_positions(positions, snapshot);
	return positions;
}

/* Has the lane been served as far as this? One that never was has not. */
static bool
has_passed(const Positions *positions, Oid lane, uint64 xid, int32 no)
{
	for (int i = 0; i < positions->nlanes; i++)
		if (positions->lanes[i].lane == lane)
			return eb_position_has_event(&positions->lanes[i].position, xid, no);
	return false;
}

/*
 * _is_owed(xid xid8, no integer, deliveries bytea)
 */
Datum
eb_is_owed(PG_FUNCTION_ARGS)
{
	const Positions *positions = get_positions(fcinfo->flinfo);
	uint64		xid = U64FromFullTransactionId(PG_GETARG_FULLTRANSACTIONID(0));
	int32		no = PG_GETARG_INT32(1);
	EbDeliveryReader reader;
	EbDelivery	delivery;

	eb_deliveries_read(&reader, PG_GETARG_BYTEA_PP(2));
	while (eb_deliveries_next(&reader, &delivery))
		if (!has_passed(positions, delivery.lane, xid, no))
			PG_RETURN_BOOL(true);
	PG_RETURN_BOOL(false);
}
