/*-------------------------------------------------------------------------
 *
 * position.c
 *	  Places in a log; see position.h.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "lib/stringinfo.h"
#include "utils/fmgrprotos.h"
#include "utils/snapmgr.h"
#include "utils/xid8.h"

#include "log/position.h"

PG_FUNCTION_INFO_V1(eb_has_passed);

/* Has the whole transaction passed? */
bool
eb_position_has_xid(const EbLogPosition *position, uint64 xid)
{
	int			low = 0;
	int			high = position->nxip;

	if (xid >= position->xmax)
		return false;
	while (low < high)
	{
		int			middle = low + (high - low) / 2;

		if (position->xip[middle] == xid)
			return false;
		if (position->xip[middle] < xid)
			low = middle + 1;
		else
			high = middle;
	}
	return true;
}

/* Has event number no of the transaction passed? */
bool
eb_position_has_event(const EbLogPosition *position, uint64 xid, int32 no)
{
	if (xid == position->part_xid)
		return no <= position->part_no;
	return eb_position_has_xid(position, xid);
}

/*
 * The position of a reader who went from "from" towards "until" in the order
 * of transactions and has just read event "no" of transaction "xid".  What
 * has passed in it is what has passed in "from", and of what has passed in
 * "until" the transactions before this one.  Allocates the list in the
 * current context.
 */
void
eb_position_cut(EbLogPosition *result, const EbLogPosition *from,
				const EbLogPosition *until, uint64 xid, int32 no)
{
	result->xip = palloc(sizeof(uint64) * (from->nxip + until->nxip + 1));
	result->nxip = 0;
	result->xmax = Max(from->xmax, xid);
	result->part_xid = xid;
	result->part_no = no;

	for (int i = 0; i < from->nxip; i++)
	{
		uint64		running = from->xip[i];

		if (running >= xid || !eb_position_has_xid(until, running))
			result->xip[result->nxip++] = running;
	}
	for (int i = 0; i < until->nxip; i++)
	{
		uint64		running = until->xip[i];

		if (running >= from->xmax && running < xid)
			result->xip[result->nxip++] = running;
	}
}

/* The position of who has read all that the active snapshot shows. */
void
eb_position_now(EbLogPosition *position)
{
	Datum		snapshot = DirectFunctionCall1(pg_current_snapshot, (Datum) 0);

	eb_position_parse(position,
					  DatumGetCString(DirectFunctionCall1(pg_snapshot_out,
														  snapshot)));
}

/* Read one number and the character after it. */
static uint64
parse_xid(const char **text, const char *whole)
{
	char	   *end;
	uint64		xid = strtou64(*text, &end, 10);

	if (end == *text)
		elog(ERROR, "malformed snapshot \"%s\" of a log's reader", whole);
	*text = *end ? end + 1 : end;
	return xid;
}

/* From the text of a pg_snapshot, xmin:xmax:xip,xip; no part is set. */
void
eb_position_parse(EbLogPosition *position, const char *snapshot)
{
	const char *text = snapshot;
	int			size = 1;

	memset(position, 0, sizeof(EbLogPosition));
	for (const char *s = snapshot; *s; s++)
		size += (*s == ',');
	position->xip = palloc(sizeof(uint64) * size);

	parse_xid(&text, snapshot);
	position->xmax = parse_xid(&text, snapshot);
	while (*text)
		position->xip[position->nxip++] = parse_xid(&text, snapshot);
}

/* The snapshot as text of a pg_snapshot; the part is not in it. */
char *
eb_position_snapshot(const EbLogPosition *position)
{
	StringInfoData buf;

	initStringInfo(&buf);
	appendStringInfo(&buf, UINT64_FORMAT ":" UINT64_FORMAT ":",
					 position->nxip > 0 ? position->xip[0] : position->xmax,
					 position->xmax);
	for (int i = 0; i < position->nxip; i++)
		appendStringInfo(&buf, "%s" UINT64_FORMAT, i ? "," : "",
						 position->xip[i]);
	return buf.data;
}

/*
 * _has_passed(snapshot pg_snapshot, part_xid bigint, part_no integer,
 * xid xid8, no integer): has the event passed?  No position is the beginning.
 */
Datum
eb_has_passed(PG_FUNCTION_ARGS)
{
	uint64		xid = U64FromFullTransactionId(PG_GETARG_FULLTRANSACTIONID(3));

	if (PG_ARGISNULL(0))
		PG_RETURN_BOOL(false);
	if (xid == (uint64) PG_GETARG_INT64(1))
		PG_RETURN_BOOL(PG_GETARG_INT32(4) <= PG_GETARG_INT32(2));
	PG_RETURN_DATUM(DirectFunctionCall2(pg_visible_in_snapshot,
										PG_GETARG_DATUM(3),
										PG_GETARG_DATUM(0)));
}
