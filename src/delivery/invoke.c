/*-------------------------------------------------------------------------
 *
 * invoke.c
 *	  Calls a function or procedure that is a target.
 *
 * This is the only place where user code runs.  It runs as the session's
 * user, who is the role that the target runs as: a session is never switched
 * to another role for it.  What an invocation set with SET is undone, so that
 * the next one finds the session as it was.
 *
 * Invocations run in subtransactions, so that one that fails undoes nothing
 * but itself.  A subtransaction costs as much as a small function, so several
 * invocations share one; if one of them fails, all are undone and made again,
 * each in its own.
 *
 * A procedure that commits cannot run in a subtransaction, and nothing of ours
 * may be open around it: no snapshot, no SPI connection.  So its delivery has
 * a row of its own by then, claimed as retries are, and it is called as the
 * CALL statement would.  Where that cannot be (a pipe, or a CALL
 * run_deliveries() inside of a block, whose SPI connection lies below us and
 * would be lost when we abort), it runs in a subtransaction like a function,
 * and its COMMIT is an error.
 *
 * An invocation may take eventbridge.invocation_timeout.  The timer cancels
 * it in the way a user would; a flag tells the two apart.  A cancel by the
 * user ends the whole pass.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <signal.h>

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "commands/defrem.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "storage/latch.h"
#include "tcop/dest.h"
#include "tcop/pquery.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/portal.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"
#include "utils/timeout.h"

#include "compat.h"
#include "delivery/delivery.h"
#include "json/parse.h"

static TimeoutId invocation_timer = MAX_TIMEOUTS;
static bool timer_runs = false; /* whatever the setting has become since */
static int	timer_limit;		/* milliseconds */
static volatile sig_atomic_t timed_out = false;

/* Signal handler: cancel, and remember that it was us. */
static void
invocation_timed_out(void)
{
	timed_out = true;
	InterruptPending = true;
	QueryCancelPending = true;
	SetLatch(MyLatch);
}

static void
start_timer(void)
{
	timed_out = false;
	if (eb_guc_invocation_timeout <= 0)
		return;
	if (invocation_timer == MAX_TIMEOUTS)
		invocation_timer = RegisterTimeout(USER_TIMEOUT, invocation_timed_out);
	timer_limit = eb_guc_invocation_timeout;
	timer_runs = true;
	enable_timeout_after(invocation_timer, timer_limit);
}

/* True if the timer has run out.  A cancel that nobody took is taken back. */
static bool
stop_timer(void)
{
	if (!timer_runs)
		return false;
	timer_runs = false;
	disable_timeout(invocation_timer, false);
	if (timed_out)
		QueryCancelPending = false;
	return timed_out;
}

/* The input as a value of the routine's one argument. */
static Datum
input_argument(const EbInvocation *invocation)
{
	if (invocation->input_jsonb != NULL)
		return JsonbPGetDatum(invocation->input_jsonb);
	if (invocation->input == NULL)
		return JsonbPGetDatum(eb_log_row_jsonb(invocation->row));
	return JsonbPGetDatum(eb_jsonb_from_text(invocation->input,
											 strlen(invocation->input)));
}

/*
 * CALLs a procedure.  If not atomic, it may commit: then what the current
 * context holds must outlive that.
 */
static void
call_procedure(EbInvocation *invocation, bool atomic)
{
	Oid			function = invocation->target->function;
	CallStmt   *call = makeNode(CallStmt);
	Const	   *argument = makeConst(JSONBOID, -1, InvalidOid, -1,
									 input_argument(invocation), false, false);

	call->funcexpr = makeFuncExpr(function, get_func_rettype(function),
								  list_make1(argument), InvalidOid, InvalidOid,
								  COERCE_EXPLICIT_CALL);
	if (atomic)
		PushActiveSnapshot(GetTransactionSnapshot());
	else
		EnsurePortalSnapshotExists();
	ExecuteCallStmt(call, NULL, atomic, None_Receiver);
	if (atomic)
		PopActiveSnapshot();
}

/* What the function gives, if anybody wants it, goes to the caller's context. */
static void
call_function(EbInvocation *invocation, MemoryContext caller)
{
	EbTarget   *target = invocation->target;
	Datum		result;

	LOCAL_FCINFO(fcinfo, 1);

	if (target->flinfo.fn_oid != target->function)
		fmgr_info_cxt(target->function, &target->flinfo,
					  target->context);
	InitFunctionCallInfoData(*fcinfo, &target->flinfo, 1, InvalidOid, NULL,
							 NULL);
	fcinfo->args[0].value = input_argument(invocation);
	fcinfo->args[0].isnull = false;
	PushActiveSnapshot(GetTransactionSnapshot());
	result = FunctionCallInvoke(fcinfo);
	if (invocation->wants_result && !fcinfo->isnull)
	{
		MemoryContext oldcontext = MemoryContextSwitchTo(caller);

		invocation->result = DatumGetJsonbPCopy(result);
		MemoryContextSwitchTo(oldcontext);
	}
	PopActiveSnapshot();
}

/*
 * One call in the current subtransaction; errors are raised.  The scratch context
 * is used from call to call: what one leaves behind is worth no memory of its
 * own, which many calls would have to get and give back.
 */
static void
invoke(EbInvocation *invocation, MemoryContext scratch)
{
	MemoryContext caller = MemoryContextSwitchTo(scratch);
	int			guc_level = NewGUCNestLevel();

	start_timer();
	if (invocation->target->kind == EB_TARGET_PROCEDURE)
		call_procedure(invocation, true);
	else
		call_function(invocation, caller);
	(void) stop_timer();
	AtEOXact_GUC(false, guc_level);
	CommandCounterIncrement();
	MemoryContextSwitchTo(caller);
	MemoryContextReset(scratch);
}

/* What an error of an invocation means. */
static void
set_failure(EbOutcome *outcome, const ErrorData *error)
{
	outcome->result = EB_FAILED;
	if (error->sqlerrcode == ERRCODE_QUERY_CANCELED)
	{
		outcome->code = "TIMEOUT";
		outcome->message = psprintf("the invocation took longer than %d ms",
									timer_limit);
	}
	else if (error->sqlerrcode == ERRCODE_INVALID_TRANSACTION_TERMINATION)
	{
		outcome->code = "ERROR_FROM_TARGET";
		outcome->message = psprintf("%s (a procedure may commit as the target of a rule, when a background worker or CALL run_deliveries() as a statement of its own calls it, unless it is SECURITY DEFINER or has a SET clause)",
									error->message);
	}
	else
	{
		outcome->code = "ERROR_FROM_TARGET";
		outcome->message = pstrdup(error->message ? error->message :
								   "missing error text");
	}
}

/*
 * Makes the invocations in one subtransaction.  If all succeed, says so in
 * their outcomes.  If one fails, nothing has happened; of a single invocation
 * the outcome tells why.  Only a cancel by the user is raised.
 */
bool
eb_invoke(EbInvocation *invocations, int ninvocations)
{
	MemoryContext oldcontext = CurrentMemoryContext;
	MemoryContext scratch = AllocSetContextCreate(oldcontext,
												  "eventbridge invocation",
												  ALLOCSET_DEFAULT_SIZES);
	ResourceOwner oldowner = CurrentResourceOwner;
	volatile bool ok = false;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(oldcontext);
	PG_TRY();
	{
		for (int i = 0; i < ninvocations; i++)
			invoke(&invocations[i], scratch);
		ReleaseCurrentSubTransaction();
		ok = true;
	}
	PG_CATCH();
	{
		ErrorData  *error;
		bool		is_timeout = stop_timer();

		MemoryContextSwitchTo(oldcontext);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(oldcontext);
		CurrentResourceOwner = oldowner;

		/* What the server keeps for calls may be half-made. */
		for (int i = 0; i < ninvocations; i++)
			invocations[i].target->flinfo.fn_oid = InvalidOid;
		if (error->sqlerrcode == ERRCODE_QUERY_CANCELED && !is_timeout)
			ReThrowError(error);
		if (ninvocations == 1)
			set_failure(&invocations[0].outcome, error);
		FreeErrorData(error);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(oldcontext);
	CurrentResourceOwner = oldowner;
	MemoryContextDelete(scratch);
	for (int i = 0; ok && i < ninvocations; i++)
		invocations[i].outcome.result = EB_DELIVERED;
	return ok;
}

/* ---- procedures that may commit ---- */

/*
 * What a procedure SET and committed is not undone by anybody else.  The
 * session must be its role's again, for whose deliveries it is; and a
 * background worker has no settings that somebody could miss.
 */
static void
reset_session(void)
{
	Oid			lane;

	if (!eb_session_is_its_own())
	{
		/* No value is the one that it began with. */
		(void) set_config_option("session_authorization", NULL, PGC_USERSET,
								 PGC_S_SESSION, GUC_ACTION_SET, true, 0, false);
		(void) set_config_option("role", "none", PGC_USERSET, PGC_S_SESSION,
								 GUC_ACTION_SET, true, 0, false);
	}
	if (eb_worker_lane(&lane))
		ResetAllOptions();
}

/* A new transaction in place of one that failed. */
static void
abort_transaction(void)
{
	AbortCurrentTransaction();

	/* It was popped with all the others. */
	ActivePortal->portalSnapshot = NULL;
	StartTransactionCommand();
	XactIsoLevel = XACT_READ_COMMITTED;
}

/*
 * Calls a procedure that may commit.  Begins and ends in some transaction,
 * perhaps not the same one: nothing that was read of the target is valid
 * afterwards.  SPI is connected, by the caller alone and nobody below him,
 * and is connected anew: what was allocated in its context is gone.
 *
 * "claimed" are rows whose locks the session holds, that of the delivery and
 * others.  The procedure may ROLLBACK, which gives such locks away, so another
 * kind of lock keeps the rows meanwhile.
 */
void
eb_invoke_procedure(EbInvocation *invocation, const EbRetry *claimed,
					int nclaimed)
{
	MemoryContext oldcontext = CurrentMemoryContext;
	ErrorData  *volatile error = NULL;
	volatile bool is_timeout = false;

	for (int i = 0; i < nclaimed; i++)
		eb_retry_lock_beyond_abort(claimed[i].retry_id);
	SPI_finish();
	MemoryContextSwitchTo(oldcontext);
	PG_TRY();
	{
		start_timer();
		call_procedure(invocation, false);
		(void) stop_timer();
		invocation->outcome.result = EB_DELIVERED;
	}
	PG_CATCH();
	{
		is_timeout = stop_timer();
		MemoryContextSwitchTo(oldcontext);
		error = CopyErrorData();
		FlushErrorState();
	}
	PG_END_TRY();

	if (error != NULL)
		abort_transaction();
	reset_session();

	/* What callers let SPI copy goes where the connection was made. */
	MemoryContextSwitchTo(PortalContext);
	SPI_connect_ext(SPI_OPT_NONATOMIC);
	MemoryContextSwitchTo(oldcontext);
	for (int i = 0; i < nclaimed; i++)
		eb_retry_lock_until_abort(claimed[i].retry_id);
	if (error != NULL)
	{
		if (error->sqlerrcode == ERRCODE_QUERY_CANCELED && !is_timeout)
			ReThrowError(error);
		set_failure(&invocation->outcome, error);
		FreeErrorData(error);
	}
}
