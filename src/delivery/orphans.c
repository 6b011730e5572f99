/*-------------------------------------------------------------------------
 *
 * orphans.c
 *	  What is owed to the lane of a role that has been dropped.
 *
 * Nobody serves such a lane any more, and as long as it is owed something the
 * log cannot rotate.  So any session that looks after the tables takes the
 * lane's batches and passes each delivery on to where its target is served
 * now: to the role that has the name now, if there is one; else to the lane
 * of any session, which finds that there is no such role, and buries it.
 *
 * No target is invoked here, whatever it looks like: what this session knows
 * of it may be from before the role was dropped.  Then a delivery is passed
 * on to the same lane, and _tidy(), which looks after retries, finds it there.
 *
 * To find the lanes takes a look at the whole log.  It is made seldom, by
 * whichever session is the first when it is time again: a sequence, which is
 * advanced outside of transactions, says when the last one was made.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/timestamp.h"

#include "delivery/delivery.h"

/* Seconds from one look at the log to the next, and from one look at the clock. */
#define LOOK_INTERVAL		"600"
#define CLOCK_INTERVAL		(10 * USECS_PER_SEC)

/* Passes on all deliveries of a claimed batch, in the current transaction. */
static void
pass_on(const EbBatch *batch)
{
	HTAB	   *targets = eb_targets_create();
	ListCell   *cell;

	foreach(cell, batch->rows)
	{
		EbLogRow   *row = lfirst(cell);

		eb_count_matches(targets, row);
		for (int i = 0; i < row->ntargets; i++)
		{
			EbTarget   *target = eb_targets_get(targets, row->target_ids[i]);

			CHECK_FOR_INTERRUPTS();
			if (eb_order_applies(target, row))
				eb_order_insert(batch, target, row);
			else if (target->exists)
				(void) eb_retry_insert(target->target_id, target->lane, row,
									   0, 0, NULL, NULL);
		}
	}
	eb_metrics_write(targets);
	eb_ledger_finish(batch);
}

/* The lanes that are named in the log and have no role, in the current context. */
static List *
find_orphans(void)
{
	static SPIPlanPtr plan = NULL;
	List	   *lanes = NIL;
	uint64		nlanes =
		eb_internal_execute(&plan,
							"SELECT l FROM eventbridge._lanes_without_role() AS l",
							0, NULL, NULL, NULL);

	for (uint64 i = 0; i < nlanes; i++)
		lanes = lappend_oid(lanes, eb_result_oid(i, 1));
	SPI_freetuptable(SPI_tuptable);
	return lanes;
}

/*
 * Is it time for a look at the log?  Then the time until the next one begins.  A
 * last look in the future was made while the clock was wrong, and does not count.
 */
static bool
is_due(void)
{
	static SPIPlanPtr plan = NULL;
	static TimestampTz next_check = 0;
	TimestampTz now = GetCurrentTimestamp();
	bool		due;

	if (now < next_check)
		return false;
	next_check = now + CLOCK_INTERVAL;
	due = eb_internal_execute(&plan,
							  "SELECT setval('eventbridge.delivery_orphan_look', extract(epoch FROM clock_timestamp())::bigint)"
							  " FROM eventbridge.delivery_orphan_look AS l"
							  " WHERE abs(extract(epoch FROM clock_timestamp()) - l.last_value) > " LOOK_INTERVAL,
							  0, NULL, NULL, NULL) > 0;
	SPI_freetuptable(SPI_tuptable);
	return due;
}

/*
 * Passes on what is owed to roles that are gone, if it is time to look; returns
 * the number of deliveries.  SPI is connected and may commit.
 */
int64
eb_orphans_pass_on(void)
{
	int64		total = 0;
	List	   *lanes;
	ListCell   *cell;

	if (!is_due())
		return 0;
	lanes = find_orphans();
	eb_commit_lazily();
	foreach(cell, lanes)
	{
		bool		is_full;
		bool		closes;
		int			ndeliveries;

		while ((ndeliveries = eb_run_batch(lfirst_oid(cell), INT_MAX, pass_on, &is_full, &closes)) > 0)
		{
			CHECK_FOR_INTERRUPTS();
			total += ndeliveries;
		}
	}
	return total;
}
