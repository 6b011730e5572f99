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
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/latch.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"
#include "utils/timeout.h"

#include "compat.h"
#include "delivery/delivery.h"

static TimeoutId invocation_timer = MAX_TIMEOUTS;
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
	enable_timeout_after(invocation_timer, eb_guc_invocation_timeout);
}

/* True if the timer has run out.  A cancel that nobody took is taken back. */
static bool
stop_timer(void)
{
	if (eb_guc_invocation_timeout <= 0)
		return false;
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
	return DirectFunctionCall1(jsonb_in, CStringGetDatum(invocation->input));
}

/* CALLs a procedure.  It may not commit: see EB_TARGET_PROCEDURE. */
static void
call_procedure(EbInvocation *invocation)
{
	EbTarget   *target = invocation->target;
	char	   *sql = psprintf("CALL %s($1)",
							   quote_qualified_identifier(get_namespace_name(get_func_namespace(target->function)),
														  get_func_name(target->function)));
	Oid			types[1] = {JSONBOID};
	Datum		values[1] = {input_argument(invocation)};
	int			result = SPI_execute_with_args(sql, 1, types, values, NULL,
											   false, 0);

	if (result < 0)
		elog(ERROR, "could not execute \"%s\": %s", sql,
			 SPI_result_code_string(result));
}

static void
call_function(EbInvocation *invocation)
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
		invocation->result = DatumGetJsonbPCopy(result);
	PopActiveSnapshot();
}

/* One call in the current subtransaction; errors are raised. */
static void
invoke(EbInvocation *invocation)
{
	int			guc_level = NewGUCNestLevel();

	start_timer();
	if (invocation->target->kind == EB_TARGET_PROCEDURE)
		call_procedure(invocation);
	else
		call_function(invocation);
	(void) stop_timer();
	AtEOXact_GUC(false, guc_level);
	CommandCounterIncrement();
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
									eb_guc_invocation_timeout);
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
	ResourceOwner oldowner = CurrentResourceOwner;
	volatile bool ok = false;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(oldcontext);
	PG_TRY();
	{
		for (int i = 0; i < ninvocations; i++)
			invoke(&invocations[i]);
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
	for (int i = 0; ok && i < ninvocations; i++)
		invocations[i].outcome.result = EB_DELIVERED;
	return ok;
}
