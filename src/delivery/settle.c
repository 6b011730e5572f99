/*-------------------------------------------------------------------------
 *
 * settle.c
 *	  What follows from how a delivery went.
 *
 * Whoever has attempted a delivery, in the database or outside of it, settles
 * it here: it is counted, tried again, buried or done with.  Back-off, the
 * bounds of the retry policy and the dead letters have their one definition
 * in this file.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "common/pg_prng.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "delivery/delivery.h"

/* Seconds beyond which the back-off does not grow. */
#define MAX_BACKOFF			600

/* ---- counters ---- */

static void
write_metric(const EbTarget *target)
{
	static SPIPlanPtr plans[EB_LOG_SETS];
	static const Oid types[] = {INT8OID, INT4OID, INT4OID, INT4OID, INT4OID,
	INT4OID, INT4OID, INT4OID, INT8OID, INT8OID, INT8OID, INT4OID, INT4OID};
	Datum		values[13] = {
		Int64GetDatum(target->target_id),
		Int32GetDatum(target->first_attempts),
		Int32GetDatum(target->retries),
		Int32GetDatum(target->successes),
		Int32GetDatum(target->failed),
		Int32GetDatum(target->to_dlq),
		Int32GetDatum(target->not_to_dlq),
		Int32GetDatum(target->looped),
		Int64GetDatum(target->start_latency),
		Int64GetDatum(target->attempt_latency),
		Int64GetDatum(target->latency),
		Int32GetDatum(target->matched),
		Int32GetDatum(target->matched_first)
	};

	eb_append_execute(&eb_delivery_log, plans,
					  "INSERT INTO eventbridge.delivery_metric_%d"
					  " (rule_id, target_id, first_attempts, retries,"
					  " successes, failed, to_dlq, not_to_dlq, looped,"
					  " start_latency, attempt_latency, latency,"
					  " matched, matched_first)"
					  " SELECT rule_id, $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13"
					  " FROM eventbridge.target WHERE target_id = $1",
					  13, types, values, NULL);
}

/*
 * Counts the rules that matched the event of a row of the log.  Each is
 * counted at the first of its targets that are still there, in whichever lane
 * that is served, so the lanes need not ask one another.  To be called once
 * in each lane, when the row is read.
 *
 * The row names the targets rule by rule, so the nearest earlier one that is
 * still there tells: it is of the same rule, or this one is the rule's first.
 */
void
eb_count_matches(HTAB *targets, const EbLogRow *row)
{
	const EbTarget *earlier = NULL;
	int			next = 0;

	for (int i = 0; next < row->ntargets; i++)
	{
		EbTarget   *target = eb_targets_get(targets, row->all_target_ids[i]);
		bool		is_ours = target->target_id == row->target_ids[next];

		if (is_ours)
			next++;
		if (!target->exists)
			continue;
		if (is_ours &&
			(earlier == NULL || earlier->rule_id != target->rule_id))
		{
			target->matched++;
			if (earlier == NULL)
				target->matched_first++;
		}
		earlier = target;
	}
}

/* Appends what the transaction counted. */
void
eb_metrics_write(HTAB *targets)
{
	HASH_SEQ_STATUS status;
	EbTarget   *target;

	hash_seq_init(&status, targets);
	while ((target = hash_seq_search(&status)) != NULL)
		if (target->exists &&
			(target->first_attempts > 0 || target->retries > 0 ||
			 target->matched > 0))
			write_metric(target);
}

/* ---- failures ---- */

/*
 * Microseconds until the next attempt after so many.  Doubles each time, and
 * half of it is up to chance, so that what failed together does not come
 * back together.
 */
int64
eb_backoff(int attempts)
{
	double		delay = eb_guc_retry_delay * 1000.0 *
		pow(2, Min(attempts - 1, 30));

	delay = Min(delay, MAX_BACKOFF * 1000000.0);
	return (int64) (delay * (0.5 + 0.5 * pg_prng_double(&pg_global_prng_state)));
}

/* Which bound of the target's retry policy is reached, or NULL. */
static const char *
exhausted(const EbTarget *target, const EbLogRow *row, int attempts,
		  int64 delay)
{
	if (attempts - 1 >= target->max_attempts)
		return "MaximumRetryAttempts";
	if (GetCurrentTimestamp() + delay - row->ingestion_time >
		(int64) target->max_age * USECS_PER_SEC)
		return "MaximumEventAgeInSeconds";
	return NULL;
}

/* A delivery that failed for good: to its dead-letter queue, or dropped. */
static void
bury(const EbInvocation *invocation, int attempts, const char *condition)
{
	EbTarget   *target = invocation->target;
	EbLogRow   *row = invocation->row;
	const EbOutcome *outcome = &invocation->outcome;
	static SPIPlanPtr plan = NULL;
	static const Oid types[] = {INT8OID, UUIDOID, INT8OID, INT4OID,
	TIMESTAMPTZOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, INT4OID,
	TEXTOID};
	char		nulls[12] = "            ";
	Datum		values[12] = {
		Int64GetDatum(target->target_id),
		UUIDPGetDatum(&row->event_id),
		Int64GetDatum(row->bus_id),
		Int32GetDatum(row->hops),
		TimestampTzGetDatum(row->ingestion_time),
		eb_text_or_null(row->group_key, &nulls[5]),
		CStringGetTextDatum(eb_log_row_text(row)),
		CStringGetTextDatum(eb_invocation_input(invocation)),
		CStringGetTextDatum(outcome->code),
		eb_text_or_null(outcome->message, &nulls[9]),
		Int32GetDatum(attempts),
		eb_text_or_null(condition, &nulls[11])
	};
	bool		has_queue;
	bool		sent;
	bool		isnull;

	eb_internal_execute(&plan,
						"SELECT eventbridge._bury($1, $2, $3, $4, $5,"
						" $6, $7, $8, $9, $10, $11, $12)",
						12, types, values, nulls);
	(void) eb_result(0, 1, &isnull);
	has_queue = !isnull;
	sent = eb_result_bool(0, 1);
	SPI_freetuptable(SPI_tuptable);
	target->failed++;
	if (sent)
		target->to_dlq++;
	else if (has_queue)
		target->not_to_dlq++;
}

/* Keeps count of an attempt that was made. */
static void
count_attempt(EbTarget *target, const EbLogRow *row, bool first,
			  TimestampTz started, const EbOutcome *outcome)
{
	TimestampTz now;

	if (outcome->result == EB_MOVED || outcome->result == EB_GONE)
		return;
	now = GetCurrentTimestamp();
	if (first)
	{
		target->first_attempts++;
		target->start_latency += started - row->ingestion_time;
		target->attempt_latency += now - row->ingestion_time;
	}
	else
		target->retries++;
	if (outcome->result == EB_DELIVERED)
	{
		target->successes++;
		target->latency += now - row->ingestion_time;
	}
}

/* ---- settling ---- */

/* Keeps account of a first attempt, made as part of a batch. */
void
eb_settle_first(const EbBatch *batch, const EbInvocation *invocation,
				TimestampTz started)
{
	EbTarget   *target = invocation->target;
	EbLogRow   *row = invocation->row;
	const EbOutcome *outcome = &invocation->outcome;
	int64		delay;
	const char *condition;

	count_attempt(target, row, true, started, outcome);
	switch (outcome->result)
	{
		case EB_DELIVERED:
		case EB_GONE:
			break;
		case EB_MOVED:
			(void) eb_retry_insert(target->target_id, target->lane, row, 0, 0,
								   NULL, NULL);
			break;
		case EB_FAILED:
			delay = eb_backoff(1);
			condition = exhausted(target, row, 1, delay);
			if (condition != NULL)
				bury(invocation, 1, condition);
			else
				(void) eb_retry_insert(target->target_id, batch->lane, row, 1,
									   delay, outcome->code, outcome->message);
			break;
		case EB_REFUSED:
			bury(invocation, 1, NULL);
			break;
	}
}

/*
 * Keeps account of an attempt to make a delivery that has a row of its own.
 * The next one, if there is one, is made after the back-off, and not within
 * not_before microseconds.  Returns the microseconds until then, or 0 if
 * there is none.
 */
int64
eb_settle_retry(Oid lane, const EbRetry *retry, const EbInvocation *invocation,
				TimestampTz started, int64 not_before)
{
	EbTarget   *target = invocation->target;
	const EbLogRow *row = invocation->row;
	const EbOutcome *outcome = &invocation->outcome;
	int64		delay = Max(eb_backoff(retry->attempts), not_before);
	const char *condition = NULL;

	count_attempt(target, row, retry->attempts == 1, started, outcome);
	switch (outcome->result)
	{
		case EB_DELIVERED:
			eb_retry_delete(retry);
			if (retry->attempts > 1)
				eb_retry_note_success(retry);
			break;
		case EB_GONE:
			eb_retry_delete(retry);
			break;
		case EB_MOVED:
			eb_retry_update(retry, target->lane, retry->attempts - 1, 0,
							outcome);
			eb_bell_note_lane(target->lane);
			break;
		case EB_FAILED:
			condition = exhausted(target, row, retry->attempts, delay);
			if (condition == NULL)
			{
				eb_retry_update(retry, lane, retry->attempts, delay, outcome);
				return delay;
			}
			/* FALLTHROUGH */
		case EB_REFUSED:
			eb_retry_delete(retry);
			bury(invocation, retry->attempts, condition);
			break;
	}
	return 0;
}
