/*-------------------------------------------------------------------------
 *
 * gate.c
 *	  The way from a public management function to the one that does it.
 *
 * Management functions write tables that their callers may not touch, so
 * their bodies are SECURITY DEFINER.  Such a body has to know who called it,
 * and SQL does not tell: session_user is not the caller where SET ROLE or
 * another SECURITY DEFINER function stands in between, and an argument could
 * be forged.  Therefore each of them is two functions.  The public one,
 * f(...), is this C function, which runs with its caller's rights; it notes
 * who that is and calls the function _f with the same arguments, which does
 * the work and asks caller() for the note.
 *
 * _f is reached in this way only: called by itself it fails, also for those
 * who were granted EXECUTE on everything in the schema.
 *
 * What is wrong with a request is an error with a message of its own.  That
 * it was found deep inside _f is nobody's business, so the context of such an
 * error begins with whatever called f.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_proc.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "bus/bus.h"
#include "compat.h"
#include "settings.h"

PG_FUNCTION_INFO_V1(eb_gate);
PG_FUNCTION_INFO_V1(eb_caller);
PG_FUNCTION_INFO_V1(eb_arn);
PG_FUNCTION_INFO_V1(eb_acts_as);
PG_FUNCTION_INFO_V1(eb_may_become);
PG_FUNCTION_INFO_V1(eb_bus_allows_role);

/* Who came through the gate; InvalidOid outside. */
static Oid	gate_caller = InvalidOid;

/* The function behind the gate: same schema and arguments, "_" before the name. */
static Oid
find_inner(Oid outer)
{
	HeapTuple	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(outer));
	Form_pg_proc form;
	char	   *name;
	Oid			inner;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for function %u", outer);
	form = (Form_pg_proc) GETSTRUCT(tuple);
	name = psprintf("_%s", NameStr(form->proname));
	inner = GetSysCacheOid3(PROCNAMEARGSNSP, Anum_pg_proc_oid,
							CStringGetDatum(name),
							PointerGetDatum(&form->proargtypes),
							ObjectIdGetDatum(form->pronamespace));
	if (!OidIsValid(inner))
		elog(ERROR, "function \"%s\" does not exist", name);
	ReleaseSysCache(tuple);
	return inner;
}

/* The line of an error's context behind which the caller's lines begin. */
#define GATE_CONTEXT "management function of eventbridge"

static void
gate_error_context(void *arg)
{
	errcontext(GATE_CONTEXT);
}

/* Throws the error that was caught again, without the lines of _f. */
static void
rethrow_from_gate(MemoryContext context)
{
	ErrorData  *error;
	char	   *caller;

	MemoryContextSwitchTo(context);
	error = CopyErrorData();
	FlushErrorState();
	if (error->context != NULL &&
		ERRCODE_TO_CATEGORY(error->sqlerrcode) != ERRCODE_INTERNAL_ERROR &&
		(caller = strstr(error->context, GATE_CONTEXT)) != NULL)
	{
		caller += strlen(GATE_CONTEXT);
		error->context = *caller == '\n' ? caller + 1 : NULL;
	}
	ReThrowError(error);
}

/* Every public management function. */
Datum
eb_gate(PG_FUNCTION_ARGS)
{
	FmgrInfo   *inner = fcinfo->flinfo->fn_extra;
	Oid			outer_caller = gate_caller;
	MemoryContext context = CurrentMemoryContext;
	ErrorContextCallback error_context = {
		.previous = error_context_stack,
		.callback = gate_error_context
	};
	Datum		result;

	LOCAL_FCINFO(call, FUNC_MAX_ARGS);

	if (inner == NULL)
	{
		inner = MemoryContextAlloc(fcinfo->flinfo->fn_mcxt, sizeof(FmgrInfo));
		fmgr_info_cxt(find_inner(fcinfo->flinfo->fn_oid), inner,
					  fcinfo->flinfo->fn_mcxt);
		fcinfo->flinfo->fn_extra = inner;
	}
	InitFunctionCallInfoData(*call, inner, fcinfo->nargs,
							 fcinfo->fncollation, NULL, NULL);
	for (int i = 0; i < fcinfo->nargs; i++)
		call->args[i] = fcinfo->args[i];

	gate_caller = GetUserId();
	PG_TRY();
	{
		error_context_stack = &error_context;
		result = FunctionCallInvoke(call);
		error_context_stack = error_context.previous;
	}
	PG_CATCH();
	{
		gate_caller = outer_caller;
		rethrow_from_gate(context);
	}
	PG_END_TRY();
	gate_caller = outer_caller;

	fcinfo->isnull = call->isnull;
	return result;
}

/* caller(): the role that called the management function now running. */
Datum
eb_caller(PG_FUNCTION_ARGS)
{
	if (!OidIsValid(gate_caller))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("internal function called directly"),
				 errhint("Call the function of the same name without the underscore.")));
	PG_RETURN_DATUM(DirectFunctionCall1(namein,
										CStringGetDatum(GetUserNameFromId(gate_caller,
																		  false))));
}

/* arn(service, resource): an ARN of this region and account. */
Datum
eb_arn(PG_FUNCTION_ARGS)
{
	char	   *service = text_to_cstring(PG_GETARG_TEXT_PP(0));
	char	   *resource = text_to_cstring(PG_GETARG_TEXT_PP(1));

	/* Roles are not bound to a region. */
	PG_RETURN_TEXT_P(cstring_to_text(psprintf("arn:aws:%s:%s:%s:%s", service,
											  strcmp(service, "iam") == 0 ?
											  "" : eb_guc_region,
											  eb_guc_account_id, resource)));
}

/*
 * acts_as(role, other): has the role the rights of the other?  A superuser
 * has those of every role, also of one that is gone.
 */
Datum
eb_acts_as(PG_FUNCTION_ARGS)
{
	Oid			role = get_role_oid(NameStr(*PG_GETARG_NAME(0)), true);
	Oid			other = get_role_oid(NameStr(*PG_GETARG_NAME(1)), true);

	if (!OidIsValid(role))
		PG_RETURN_BOOL(false);
	if (superuser_arg(role))
		PG_RETURN_BOOL(true);
	PG_RETURN_BOOL(OidIsValid(other) && has_privs_of_role(role, other));
}

/* may_become(role, other): may the role SET ROLE to the other? */
Datum
eb_may_become(PG_FUNCTION_ARGS)
{
	Oid			role = get_role_oid(NameStr(*PG_GETARG_NAME(0)), true);
	Oid			other = get_role_oid(NameStr(*PG_GETARG_NAME(1)), true);

	PG_RETURN_BOOL(OidIsValid(role) && OidIsValid(other) &&
				   member_can_set_role(role, other));
}

/* bus_allows(bus_id, role, action): see eb_bus_allows(). */
Datum
eb_bus_allows_role(PG_FUNCTION_ARGS)
{
	Oid			role = get_role_oid(NameStr(*PG_GETARG_NAME(1)), true);
	char	   *action = text_to_cstring(PG_GETARG_TEXT_PP(2));

	if (!OidIsValid(role))
		PG_RETURN_BOOL(false);
	PG_RETURN_BOOL(eb_bus_allows(PG_GETARG_INT64(0), role,
								 strcmp(action, "events:PutEvents") == 0 ?
								 EB_BUS_PUT_EVENTS : EB_BUS_PUT_RULE));
}
