/*-------------------------------------------------------------------------
 *
 * pace.c
 *	  How long a worker waits before it looks for work again.
 *
 * Looking for work costs as much as tens of deliveries, and under load writers
 * would pay for it.  So what comes within a pause is delivered together: the
 * more comes, the longer it is.  The first event after a rest does not wait.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/timestamp.h"

#include "delivery/delivery.h"

/*
 * Milliseconds from the beginning of one look to that of the next, by how many
 * deliveries come in a second, at most.
 */
static const struct
{
	int			rate;
	int			pace;
}			paces[] = {{1000, 5}, {4000, 20}, {8000, 50}, {INT_MAX, 100}};

/*
 * The milliseconds that are left to wait after a look that began at "began".
 * What it found came in since the one before began.
 */
int
eb_pause(TimestampTz since, TimestampTz began, int64 ndeliveries)
{
	double		rate = (double) ndeliveries * USECS_PER_SEC / Max(began - since, 1);
	TimestampTz next;
	int			i = 0;

	while (rate > paces[i].rate && i < lengthof(paces) - 1)
		i++;
	next = TimestampTzPlusMilliseconds(began, paces[i].pace);
	return (int) Min(TimestampDifferenceMilliseconds(GetCurrentTimestamp(), next),
					 paces[i].pace);
}
