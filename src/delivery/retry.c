/*-------------------------------------------------------------------------
 *
 * retry.c
 *	  Deliveries that have a row of their own.
 *
 * See log.c, "Failures".  Besides what failed, these are the deliveries that
 * a client program has in hand, that wait for their turn, that call
 * procedures, or that came from another lane: see client.c, order.c, run.c and
 * settle.c.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "delivery/delivery.h"

/* A delivery that is to be tried (again) after the delay.  Returns its id. */
int64
eb_retry_insert(int64 target_id, Oid lane, EbLogRow *row, int attempts,
				int64 delay, const char *code, const char *message)
{
	static SPIPlanPtr plan = NULL;
	static const Oid types[] = {INT8OID, OIDOID, UUIDOID, INT8OID, INT4OID,
	TIMESTAMPTZOID, TEXTOID, TEXTOID, INT4OID, TIMESTAMPTZOID, TEXTOID, TEXTOID};
	char		nulls[12] = "            ";
	Datum		values[12] = {
		Int64GetDatum(target_id),
		ObjectIdGetDatum(lane),
		UUIDPGetDatum(&row->event_id),
		Int64GetDatum(row->bus_id),
		Int32GetDatum(row->hops),
		TimestampTzGetDatum(row->ingestion_time),
		eb_text_or_null(row->group_key, &nulls[6]),
		CStringGetTextDatum(eb_log_row_text(row)),
		Int32GetDatum(attempts),
		TimestampTzGetDatum(GetCurrentTimestamp() + delay),
		eb_text_or_null(code, &nulls[10]),
		eb_text_or_null(message, &nulls[11])
	};
	int64		retry_id;

	eb_internal_execute(&plan,
						"INSERT INTO eventbridge.delivery_retry"
						" (target_id, lane, event_id, bus_id, hops,"
						" ingestion_time, group_key, event, attempts,"
						" next_attempt, error_code, error_message)"
						" VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)"
						" RETURNING retry_id",
						12, types, values, nulls);
	retry_id = eb_result_int64(0, 1);
	SPI_freetuptable(SPI_tuptable);

	/* Clients that sleep can do nothing about it yet. */
	if (lane != EB_LANE_CLIENT || delay == 0)
		eb_bell_note_lane(lane);
	return retry_id;
}

/*
 * The claim on a row, held by the session.  Also looks whether a procedure is
 * running for it.
 */
bool
eb_retry_lock(int64 retry_id)
{
	uint32		high = (uint32) (retry_id >> 32);
	uint32		low = (uint32) retry_id;

	if (!eb_lock(EB_LOCK_RETRY, high, low, ExclusiveLock, true, false))
		return false;
	if (!eb_lock_beyond_abort(EB_LOCK_PROCEDURE, high, low))
	{
		eb_retry_unlock(retry_id);
		return false;
	}
	eb_unlock_beyond_abort(EB_LOCK_PROCEDURE, high, low);
	return true;
}

/* For a row whose lock the session holds: keeps it, even if it is lost. */
void
eb_retry_lock_beyond_abort(int64 retry_id)
{
	if (!eb_lock_beyond_abort(EB_LOCK_PROCEDURE, (uint32) (retry_id >> 32),
							  (uint32) retry_id))
		elog(ERROR, "a procedure is running for delivery " INT64_FORMAT " already",
			 retry_id);
}

/*
 * The other way round: has the row's lock again, if it was lost, and gives
 * back what has kept it.  Others may hold either for as long as it takes to
 * see that they cannot have both.
 */
void
eb_retry_lock_until_abort(int64 retry_id)
{
	uint32		high = (uint32) (retry_id >> 32);
	uint32		low = (uint32) retry_id;

	(void) eb_lock(EB_LOCK_RETRY, high, low, ExclusiveLock, true, true);
	if (eb_lock_beyond_abort(EB_LOCK_PROCEDURE, high, low))
		eb_unlock_beyond_abort(EB_LOCK_PROCEDURE, high, low);
}

void
eb_retry_unlock(int64 retry_id)
{
	eb_unlock(EB_LOCK_RETRY, (uint32) (retry_id >> 32), (uint32) retry_id,
			  ExclusiveLock, true);
}

/* The columns of a row, wherever one is read. */
#define RETRY_COLUMNS \
	"retry_id, target_id, event_id, bus_id, hops," \
	" ingestion_time, group_key, event, attempts," \
	" order_group IS NOT NULL"

/* One row of SPI's result, in the current context. */
static void
read_retry(EbRetry *retry, uint64 row)
{
	bool		isnull;

	memset(retry, 0, sizeof(EbRetry));
	retry->retry_id = eb_result_int64(row, 1);
	retry->target_id = eb_result_int64(row, 2);
	retry->row.event_id = *DatumGetUUIDP(eb_result(row, 3, &isnull));
	retry->row.bus_id = eb_result_int64(row, 4);
	retry->row.hops = DatumGetInt32(eb_result(row, 5, &isnull));
	retry->row.ingestion_time = DatumGetTimestampTz(eb_result(row, 6, &isnull));
	retry->row.group_key = eb_result_text(row, 7);
	retry->row.text = eb_result_text(row, 8);
	retry->row.size = strlen(retry->row.text);
	retry->attempts = DatumGetInt32(eb_result(row, 9, &isnull));
	retry->ordered = eb_result_bool(row, 10);
}

/*
 * The numbers of retries of the lane that are due and that nobody works on;
 * their locks are held by the session, their rows by the transaction.  Looks
 * on as long as there are others in between: those that a worker has had in
 * hand for longer than their lease.
 */
static int
lock_due_retries(Oid lane, int limit, Datum *ids)
{
	static SPIPlanPtr plan = NULL;
	static const Oid types[] = {OIDOID, INT4OID, TIMESTAMPTZOID, INT8OID};
	Datum		values[4] = {ObjectIdGetDatum(lane), Int32GetDatum(limit),
	TimestampTzGetDatum(DT_NOBEGIN), Int64GetDatum(0)};
	uint64		ndue;
	int			nlocked = 0;

	do
	{
		CHECK_FOR_INTERRUPTS();
		ndue = eb_internal_execute(&plan,
								   "SELECT retry_id, next_attempt FROM eventbridge.delivery_retry"
								   " WHERE lane = $1 AND next_attempt <= clock_timestamp()"
								   " AND order_group IS NULL"
								   " AND next_attempt >= $3"
								   " AND (next_attempt, retry_id) > ($3, $4)"
								   " ORDER BY next_attempt, retry_id LIMIT $2"
								   " FOR UPDATE SKIP LOCKED",
								   4, types, values, NULL);
		for (uint64 i = 0; i < ndue && nlocked < limit; i++)
		{
			int64		id = eb_result_int64(i, 1);
			bool		isnull;

			if (eb_retry_lock(id))
				ids[nlocked++] = Int64GetDatum(id);
			values[2] = eb_result(i, 2, &isnull);
			values[3] = Int64GetDatum(id);
		}
		SPI_freetuptable(SPI_tuptable);
	} while (ndue == limit && nlocked < limit);
	return nlocked;
}

/*
 * Claims retries: advances their time, so that they come back if this worker
 * dies, and counts the attempt.  The caller commits.
 */
int
eb_retry_claim(Oid lane, int limit, EbRetry *retries)
{
	static SPIPlanPtr plan = NULL;
	static const Oid types[] = {INT8ARRAYOID, FLOAT8OID};
	Datum		ids[EB_RETRIES_AT_ONCE];
	int			nlocked = lock_due_retries(lane, Min(limit, EB_RETRIES_AT_ONCE),
										   ids);
	Datum		values[2];
	uint64		nretries;

	nlocked += eb_order_lock_due(lane, Min(limit, EB_RETRIES_AT_ONCE) - nlocked,
								 &ids[nlocked]);
	if (nlocked == 0)
		return 0;
	values[0] = PointerGetDatum(construct_array(ids, nlocked, INT8OID,
												sizeof(int64), FLOAT8PASSBYVAL,
												TYPALIGN_DOUBLE));
	values[1] = Float8GetDatum(eb_guc_retry_delay / 1000.0);
	nretries = eb_internal_execute(&plan,
								   "UPDATE eventbridge.delivery_retry SET attempts = attempts + 1,"
								   " next_attempt = clock_timestamp()"
								   " + least(600, $2 * 2 ^ least(attempts, 30)) * '1 s'::interval"
								   " WHERE retry_id = ANY ($1)"
								   " RETURNING " RETRY_COLUMNS,
								   2, types, values, NULL);
	for (uint64 i = 0; i < nretries; i++)
		read_retry(&retries[i], i);
	SPI_freetuptable(SPI_tuptable);
	return (int) nretries;
}

/*
 * Reads the row, for a change of it, into the current context.  False if the
 * lane has none.  The caller has the row's lock, so whoever else has locked
 * the row itself only looks for work, and will let go of it.
 */
bool
eb_retry_read(Oid lane, int64 retry_id, EbRetry *retry)
{
	static SPIPlanPtr plan = NULL;
	static const Oid types[] = {OIDOID, INT8OID};
	Datum		values[2] = {ObjectIdGetDatum(lane), Int64GetDatum(retry_id)};
	bool		found;

	found = eb_internal_execute(&plan,
								"SELECT " RETRY_COLUMNS
								" FROM eventbridge.delivery_retry"
								" WHERE lane = $1 AND retry_id = $2 FOR UPDATE",
								2, types, values, NULL) > 0;
	if (found)
		read_retry(retry, 0);
	SPI_freetuptable(SPI_tuptable);
	return found;
}

void
eb_retry_delete(const EbRetry *retry)
{
	static SPIPlanPtr plan = NULL;
	static const Oid types[] = {INT8OID};
	Datum		values[1] = {Int64GetDatum(retry->retry_id)};

	eb_internal_execute(&plan,
						"DELETE FROM eventbridge.delivery_retry WHERE retry_id = $1",
						1, types, values, NULL);
}

/* Notes what happened and when the next attempt is, or whose it is. */
void
eb_retry_update(const EbRetry *retry, Oid lane, int attempts, int64 delay,
				const EbOutcome *outcome)
{
	static SPIPlanPtr plan = NULL;
	static const Oid types[] = {INT8OID, OIDOID, INT4OID, TIMESTAMPTZOID,
	TEXTOID, TEXTOID};
	char		nulls[6] = "      ";
	Datum		values[6] = {
		Int64GetDatum(retry->retry_id),
		ObjectIdGetDatum(lane),
		Int32GetDatum(attempts),
		TimestampTzGetDatum(GetCurrentTimestamp() + delay),
		eb_text_or_null(outcome->code, &nulls[4]),
		eb_text_or_null(outcome->message, &nulls[5])
	};

	eb_internal_execute(&plan,
						"UPDATE eventbridge.delivery_retry SET lane = $2,"
						" attempts = $3, next_attempt ="
						" CASE WHEN lane <> $2 AND order_group IS NOT NULL"
						" THEN 'infinity' ELSE $4 END,"
						" order_xid = CASE WHEN lane = $2 THEN order_xid"
						" WHEN order_group IS NOT NULL THEN 0 END,"
						" order_batch = CASE WHEN lane = $2 THEN order_batch"
						" WHEN order_group IS NOT NULL THEN 0 END,"
						" error_code = coalesce($5, error_code),"
						" error_message = coalesce($6, error_message)"
						" WHERE retry_id = $1",
						6, types, values, nulls);
}

/* Notes that a delivery that had failed has succeeded. */
void
eb_retry_note_success(const EbRetry *retry)
{
	static SPIPlanPtr plan = NULL;
	static const Oid types[] = {UUIDOID, INT8OID, INT4OID};
	Datum		values[3] = {
		UUIDPGetDatum(&retry->row.event_id),
		Int64GetDatum(retry->target_id),
		Int32GetDatum(retry->attempts)
	};

	eb_internal_execute(&plan,
						"INSERT INTO eventbridge.delivery_outcome"
						" (event_id, target_id, status, attempts)"
						" VALUES ($1, $2, 'DELIVERED', $3)",
						3, types, values, NULL);
}
