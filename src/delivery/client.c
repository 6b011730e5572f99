/*-------------------------------------------------------------------------
 *
 * client.c
 *	  What the client program delivers: claims and reports.
 *
 * A client cannot hold a transaction open while a request is under way, so
 * what it has in hand is written down: worker_claim() takes a batch of the
 * lane and in the same transaction turns each of its deliveries into a row of
 * delivery_retry, and says that the batch is done.  Retries that are due have
 * such a row already.  A row in hand counts the attempt that is being made,
 * and its next_attempt is the end of the client's lease: by then it comes
 * back if the client died.  As long as the client lives, the lock RETRY, held
 * by its session, keeps others from the row, however long the attempt takes.
 *
 * worker_report() says how an attempt went.  It is known by the row and the
 * number of the attempt.  So a client that lost its connection meanwhile can
 * still report, unless somebody else has made the next attempt.
 *
 * The locks are the session's, but an abort releases them nevertheless; then
 * nothing is in hand any more, and the leases count.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "compat.h"
#include "delivery/delivery.h"

PG_FUNCTION_INFO_V1(eb_worker_claim);
PG_FUNCTION_INFO_V1(eb_worker_report);

/* Columns of worker_claim(); from CLAIM_KIND on, those of the statement below. */
enum
{
	CLAIM_DELIVERY_ID,
	CLAIM_ATTEMPT,
	CLAIM_EVENT_ID,
	CLAIM_TARGET_ID,
	CLAIM_TARGET_ARN,
	CLAIM_INPUT,
	CLAIM_KIND,
	CLAIM_NATTS = CLAIM_KIND + 8
};

/* What is in hand. */
typedef struct InHand
{
	int64		retry_id;		/* key */
	TimestampTz started;
} InHand;

static HTAB *in_hand = NULL;

/* A claim under way. */
typedef struct Claim
{
	HTAB	   *targets;		/* of EbTarget */
	HTAB	   *places;			/* of Place */
	ReturnSetInfo *result;
	bool		new_in_order;	/* of what is new, some waits for its turn */
} Claim;

/* Where a target leads to outside of the database. */
typedef struct Place
{
	int64		target_id;		/* key */
	Datum		values[CLAIM_NATTS - CLAIM_KIND];
	bool		nulls[CLAIM_NATTS - CLAIM_KIND];
} Place;

/* ---- what is in hand ---- */

static void
take_in_hand(int64 retry_id)
{
	InHand	   *entry;

	if (in_hand == NULL)
	{
		HASHCTL		ctl = {.keysize = sizeof(int64),.entrysize = sizeof(InHand)};

		in_hand = hash_create("eventbridge deliveries in hand", 128, &ctl,
							  HASH_ELEM | HASH_BLOBS);
	}
	entry = hash_search(in_hand, &retry_id, HASH_ENTER, NULL);
	entry->started = GetCurrentTimestamp();
}

/* The transaction is over; nothing here may fail. */
void
eb_client_end(XactEvent event)
{
	if (event != XACT_EVENT_ABORT || in_hand == NULL)
		return;
	hash_destroy(in_hand);
	in_hand = NULL;
}

/* ---- claims ---- */

static HTAB *
create_places(void)
{
	HASHCTL		ctl = {
		.keysize = sizeof(int64),
		.entrysize = sizeof(Place),
		.hcxt = CurrentMemoryContext
	};

	return hash_create("eventbridge places", 16, &ctl,
					   HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

static Place *
get_place(HTAB *places, int64 target_id)
{
	static SPIPlanPtr plan = NULL;
	static const Oid types[] = {INT8OID};
	Datum		values[1] = {Int64GetDatum(target_id)};
	bool		found;
	Place	   *place = hash_search(places, &target_id, HASH_ENTER, &found);

	if (found)
		return place;
	memset(place->nulls, true, sizeof(place->nulls));
	if (eb_internal_execute(&plan,
							"SELECT t.kind, t.resource, d.invocation_endpoint, d.http_method,"
							" d.invocation_rate_limit_per_second, d.header_parameters,"
							" d.signing_secret, t.parameters -> 'HttpParameters'"
							" FROM eventbridge.target AS t"
							" LEFT JOIN eventbridge.api_destination AS d"
							" ON t.kind = 'api_destination' AND d.name = t.resource"
							" WHERE t.target_id = $1",
							1, types, values, NULL) > 0)
	{
		HeapTuple	tuple = heap_copytuple(SPI_tuptable->vals[0]);

		heap_deform_tuple(tuple, SPI_tuptable->tupdesc, place->values,
						  place->nulls);
	}
	SPI_freetuptable(SPI_tuptable);
	return place;
}

/* Gives a delivery that has a row and its lock to the client. */
static void
hand_over(Claim *claim, int64 retry_id, int attempt,
		  const EbInvocation *invocation)
{
	const EbTarget *target = invocation->target;
	const Place *place = get_place(claim->places, target->target_id);
	Datum		values[CLAIM_NATTS];
	bool		nulls[CLAIM_NATTS] = {0};

	take_in_hand(retry_id);
	values[CLAIM_DELIVERY_ID] = Int64GetDatum(retry_id);
	values[CLAIM_ATTEMPT] = Int32GetDatum(attempt);
	values[CLAIM_EVENT_ID] = UUIDPGetDatum(&invocation->row->event_id);
	values[CLAIM_TARGET_ID] = Int64GetDatum(target->target_id);
	values[CLAIM_TARGET_ARN] = CStringGetTextDatum(target->target_arn);
	values[CLAIM_INPUT] = CStringGetTextDatum(eb_invocation_input(invocation));
	memcpy(&values[CLAIM_KIND], place->values, sizeof(place->values));
	memcpy(&nulls[CLAIM_KIND], place->nulls, sizeof(place->nulls));
	tuplestore_putvalues(claim->result->setResult, claim->result->setDesc,
						 values, nulls);
}

/* Claims retries that are due.  Returns their number. */
static int
claim_retries(Claim *claim, int limit)
{
	int			total = 0;
	int			n;

	do
	{
		EbRetry		retries[EB_RETRIES_AT_ONCE];

		n = eb_retry_claim(EB_LANE_CLIENT, limit - total, retries);
		for (int i = 0; i < n; i++)
		{
			EbInvocation invocation = {
				.target = eb_targets_get(claim->targets, retries[i].target_id),
				.row = &retries[i].row
			};

			if (eb_target_prepare(&invocation, EB_LANE_CLIENT))
				hand_over(claim, retries[i].retry_id, retries[i].attempts,
						  &invocation);
			else
			{
				(void) eb_settle_retry(EB_LANE_CLIENT, &retries[i], &invocation,
									   GetCurrentTimestamp(), 0);
				eb_retry_unlock(retries[i].retry_id);
			}
		}
		total += n;
	} while (n == EB_RETRIES_AT_ONCE && total < limit);
	return total;
}

/*
 * Claims what has not been tried yet.  The batch is done when this commits,
 * and until then nobody else looks at the lane's batches.
 */
static void
claim_batch(Claim *claim, int limit)
{
	EbBatch		batch;
	ListCell   *cell;

	if (!eb_ledger_claim(&batch, EB_LANE_CLIENT, limit))
	{
		claim->new_in_order = batch.closes;
		return;
	}
	foreach(cell, batch.rows)
	{
		EbLogRow   *row = lfirst(cell);

		eb_count_matches(claim->targets, row);
		for (int i = 0; i < row->ntargets; i++)
		{
			EbInvocation invocation = {
				.target = eb_targets_get(claim->targets, row->target_ids[i]),
				.row = row
			};
			int64		retry_id;

			CHECK_FOR_INTERRUPTS();
			if (eb_order_applies(invocation.target, row))
			{
				eb_order_insert(&batch, invocation.target, row);
				claim->new_in_order = true;
				continue;
			}
			if (!eb_target_prepare(&invocation, EB_LANE_CLIENT))
			{
				eb_settle_first(&batch, &invocation, GetCurrentTimestamp());
				continue;
			}
			retry_id = eb_retry_insert(row->target_ids[i], EB_LANE_CLIENT, row,
									   1, eb_guc_retry_delay * INT64CONST(1000),
									   NULL, NULL);
			if (!eb_retry_lock(retry_id))
				elog(ERROR, "new delivery " INT64_FORMAT " is locked already",
					 retry_id);
			hand_over(claim, retry_id, 1, &invocation);
		}
	}
	eb_ledger_finish(&batch);
	eb_ledger_release(&batch);
}

/* Claims must be able to see what others commit, and to be kept as a whole. */
static void
check_transaction(const char *function)
{
	if (IsolationUsesXactSnapshot())
		ereport(ERROR,
				(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
				 errmsg("%s needs transaction isolation level READ COMMITTED",
						function)));
	if (GetCurrentTransactionNestLevel() > 1)
		ereport(ERROR,
				(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
				 errmsg("%s cannot run inside a subtransaction", function)));
}

/*
 * worker_claim(max_deliveries integer)
 *
 * Retries get at most half of the room, so that what comes back again and
 * again does not keep out what is new.
 */
Datum
eb_worker_claim(PG_FUNCTION_ARGS)
{
	int			max_deliveries = PG_GETARG_INT32(0);
	Claim		claim = {.result = (ReturnSetInfo *) fcinfo->resultinfo};
	int			nretries;

	if (max_deliveries <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("max_deliveries must be positive")));
	check_transaction("worker_claim");
	InitMaterializedSRF(fcinfo, 0);

	SPI_connect();
	claim.targets = eb_targets_create();
	claim.places = create_places();
	nretries = claim_retries(&claim, (max_deliveries + 1) / 2);
	if (nretries < max_deliveries)
	{
		/*
		 * The second look below needs ORDER, and who has it, from a first
		 * look that found something, may be about to wait for CLAIM.  So
		 * everybody takes them in this order, even if no second look follows:
		 * only who comes here takes either for this lane.
		 */
		eb_order_lock(EB_LANE_CLIENT);
		claim_batch(&claim, max_deliveries - nretries);
	}
	if (claim.new_in_order)
		(void) claim_retries(&claim, max_deliveries - nretries);
	eb_metrics_write(claim.targets);
	SPI_finish();
	return (Datum) 0;
}

/* ---- reports ---- */

typedef struct ReportOutcome
{
	const char *name;
	bool		postponed;
	EbResult	result;
} ReportOutcome;

static const ReportOutcome *
outcome_argument(const char *name)
{
	static const ReportOutcome outcomes[] = {
		{"DELIVERED", false, EB_DELIVERED},
		{"FAILED", false, EB_FAILED},
		{"REFUSED", false, EB_REFUSED},
		{"POSTPONED", true, EB_FAILED}
	};

	for (int i = 0; i < lengthof(outcomes); i++)
		if (strcmp(outcomes[i].name, name) == 0)
			return &outcomes[i];
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid outcome \"%s\"", name),
			 errhint("It must be DELIVERED, FAILED, REFUSED or POSTPONED.")));
	return NULL;				/* keep the compiler quiet */
}

static char *
text_argument(FunctionCallInfo fcinfo, int n)
{
	return PG_ARGISNULL(n) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(n));
}

/*
 * Settles a delivery whose lock is held.  False if it is not that attempt any
 * more; else *delay says in how many microseconds the next is made.
 */
static bool
settle(int64 retry_id, int attempt, const ReportOutcome *how,
	   const EbOutcome *outcome, TimestampTz started, int64 not_before,
	   int64 *delay)
{
	EbRetry		retry;
	EbInvocation invocation = {0};
	HTAB	   *targets;

	if (attempt < 1 || !eb_retry_read(EB_LANE_CLIENT, retry_id, &retry) ||
		retry.attempts != attempt)
		return false;
	if (how->postponed)
	{
		static const EbOutcome nothing = {0};

		eb_retry_update(&retry, EB_LANE_CLIENT, attempt - 1, not_before,
						&nothing);
		*delay = not_before;
		if (not_before == 0)
			eb_bell_note_lane(EB_LANE_CLIENT);
		return true;
	}

	targets = eb_targets_create();
	invocation.target = eb_targets_get(targets, retry.target_id);
	invocation.row = &retry.row;

	/* A dead letter needs to know what the target was to receive. */
	(void) eb_target_prepare(&invocation, EB_LANE_CLIENT);
	if (invocation.outcome.result != EB_GONE)
		invocation.outcome = *outcome;
	*delay = eb_settle_retry(EB_LANE_CLIENT, &retry, &invocation, started,
							 not_before);
	eb_metrics_write(targets);

	/* It may be the next one's turn. */
	if (retry.ordered && *delay == 0)
		eb_bell_note_lane(EB_LANE_CLIENT);
	return true;
}

/*
 * worker_report(delivery_id bigint, attempt integer, outcome text,
 *				 error_code text, error_message text, retry_after_ms bigint)
 */
Datum
eb_worker_report(PG_FUNCTION_ARGS)
{
	int64		retry_id;
	const ReportOutcome *how;
	EbOutcome	outcome = {0};
	int64		not_before = 0;
	int64		delay = 0;
	InHand	   *entry = NULL;
	TimestampTz started;
	bool		settled;

	for (int i = 0; i < 3; i++)
		if (PG_ARGISNULL(i))
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("delivery_id, attempt and outcome must not be null")));
	retry_id = PG_GETARG_INT64(0);
	how = outcome_argument(text_argument(fcinfo, 2));
	outcome.result = how->result;
	if (how->result != EB_DELIVERED)
	{
		outcome.code = text_argument(fcinfo, 3);
		if (outcome.code == NULL)
			outcome.code = "UNKNOWN";
		outcome.message = text_argument(fcinfo, 4);
	}
	if (!PG_ARGISNULL(5))
		not_before = Min(Max(PG_GETARG_INT64(5), 0), 86400 * INT64CONST(1000)) * 1000;
	check_transaction("worker_report");

	if (in_hand != NULL)
		entry = hash_search(in_hand, &retry_id, HASH_FIND, NULL);
	if (entry == NULL && !eb_retry_lock(retry_id))
		PG_RETURN_NULL();
	started = (entry != NULL) ? entry->started : GetCurrentTimestamp();

	SPI_connect();
	settled = settle(retry_id, PG_GETARG_INT32(1), how, &outcome, started,
					 not_before, &delay);
	SPI_finish();

	/* From now on the row is locked, by this transaction, or settled. */
	if (entry != NULL)
		hash_search(in_hand, &retry_id, HASH_REMOVE, NULL);
	eb_retry_unlock(retry_id);
	if (!settled)
		PG_RETURN_NULL();
	PG_RETURN_INT64((delay + 999) / 1000);
}
