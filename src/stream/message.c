/*-------------------------------------------------------------------------
 *
 * message.c
 *	  The message that a trigger's input_path or input_template makes of a
 *	  record.
 *
 * The transformation is that of the SQL functions json_input_path and
 * json_transform_input, which keep what they compile with the call's
 * FmgrInfo; so one FmgrInfo for the life of the trigger's entry has the
 * template parsed once.
 *
 * What is wrong with a template is found when the entry is made.  But some
 * records cannot be put into a valid template (AWS delivers nothing for
 * them), and that is no reason to fail the statement that changed the row:
 * the error becomes a warning, the message a claim check.  To be able to go
 * on after an error the transformation runs in a subtransaction.
 *
 * Two records may make equal messages, of which PostgreSQL would keep one.
 * Messages are JSON, where blanks at the end mean nothing: each has as many
 * spaces and tabs there as it takes to number the messages of a transaction;
 * the first has none.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "nodes/pg_list.h"
#include "nodes/value.h"
#include "parser/parse_func.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

#include "compat.h"
#include "stream/capture.h"

struct EbTransform
{
	FmgrInfo	function;
	int			nargs;			/* behind the record */
	Datum		args[3];
	bool		nulls[3];
};

static void
lookup_function(EbTransform *transform, Oid schema, const char *name,
				int nargs, const Oid *argtypes)
{
	List	   *qualified = list_make2(makeString(get_namespace_name(schema)),
									   makeString(pstrdup(name)));

	fmgr_info_cxt(LookupFuncName(qualified, nargs, argtypes, false),
				  &transform->function, CurrentMemoryContext);
}

static Datum
call_transform(EbTransform *transform, text *record, bool *isnull)
{
	LOCAL_FCINFO(fcinfo, 4);
	Datum		result;

	InitFunctionCallInfoData(*fcinfo, &transform->function,
							 transform->nargs + 1, InvalidOid, NULL, NULL);
	fcinfo->args[0].value = PointerGetDatum(record);
	fcinfo->args[0].isnull = false;
	for (int i = 0; i < transform->nargs; i++)
	{
		fcinfo->args[i + 1].value = transform->args[i];
		fcinfo->args[i + 1].isnull = transform->nulls[i];
	}
	result = FunctionCallInvoke(fcinfo);
	*isnull = fcinfo->isnull;
	return result;
}

/* Raises the first fault of a template, if it has one. */
static void
check_template(const EbTransform *transform, Oid schema)
{
	Oid			argtypes[2] = {JSONBOID, TEXTOID};
	Datum		args[2] = {transform->args[0], transform->args[1]};
	char		nulls[3] = {transform->nulls[0] ? 'n' : ' ', ' ', '\0'};
	char	   *query;

	query = psprintf("SELECT message, detail FROM %s.check_input_transformer($1, $2) LIMIT 1",
					 quote_identifier(get_namespace_name(schema)));
	SPI_connect();
	if (SPI_execute_with_args(query, 2, argtypes, args, nulls, true, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not check an input template");
	if (SPI_processed > 0)
	{
		TupleDesc	desc = SPI_tuptable->tupdesc;
		char	   *message = SPI_getvalue(SPI_tuptable->vals[0], desc, 1);
		char	   *detail = SPI_getvalue(SPI_tuptable->vals[0], desc, 2);

		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg_internal("%s", message),
				 detail ? errdetail_internal("%s", detail) : 0));
	}
	SPI_finish();
}

static void
make_path_transform(EbTransform *transform, const char *path, Oid schema)
{
	Oid			argtypes[2] = {JSONOID, TEXTOID};
	bool		isnull;

	lookup_function(transform, schema, "json_input_path", 2, argtypes);
	transform->nargs = 1;
	transform->args[0] = CStringGetTextDatum(path);
	transform->nulls[0] = false;
	/* Reports a faulty path. */
	(void) call_transform(transform, cstring_to_text("{}"), &isnull);
}

/* Runs with another argument's name in the context of errors. */
static Datum
parse_paths_map(const char *map)
{
	ErrorContextCallback callback;
	Datum		result;

	callback.callback = eb_stream_argument_context;
	callback.arg = "input_paths_map";
	callback.previous = error_context_stack;
	error_context_stack = &callback;
	result = DirectFunctionCall1(jsonb_in, CStringGetDatum(map));
	error_context_stack = callback.previous;
	return result;
}

static void
make_template_transform(EbTransform *transform, const char *template,
						Oid schema)
{
	Oid			argtypes[4] = {JSONOID, JSONBOID, TEXTOID, JSONBOID};

	lookup_function(transform, schema, "json_transform_input", 4, argtypes);
	transform->nargs = 3;
	transform->args[1] = CStringGetTextDatum(template);
	transform->nulls[2] = true;
	check_template(transform, schema);
}

/*
 * The transformation that the arguments ask for, or NULL if they ask for
 * none.  Raises an error that names the argument if there is something wrong
 * with it.  The result is allocated in the current memory context.
 */
EbTransform *
eb_transform_make(const EbStreamArguments *arguments, Oid schema)
{
	EbTransform *transform;
	ErrorContextCallback callback;

	if (arguments->input_path == NULL && arguments->input_template == NULL)
		return NULL;

	transform = palloc0(sizeof(EbTransform));
	transform->nulls[0] = true;
	if (arguments->input_paths_map != NULL)
	{
		transform->args[0] = parse_paths_map(arguments->input_paths_map);
		transform->nulls[0] = false;
	}

	callback.callback = eb_stream_argument_context;
	callback.arg = arguments->input_path != NULL ? "input_path" :
		"input_template";
	callback.previous = error_context_stack;
	error_context_stack = &callback;
	if (arguments->input_path != NULL)
		make_path_transform(transform, arguments->input_path, schema);
	else
		make_template_transform(transform, arguments->input_template, schema);
	error_context_stack = callback.previous;
	return transform;
}

/* Numbers a message, in blanks: the digits of base 2 without a zero. */
static void
append_number(StringInfo message)
{
	static FullTransactionId transaction;
	static uint32 number;
	FullTransactionId current = GetTopFullTransactionId();

	if (!FullTransactionIdEquals(transaction, current))
	{
		transaction = current;
		number = 0;
	}
	for (uint32 n = number++; n > 0; n = (n - 1) / 2)
		appendStringInfoCharMacro(message, (n - 1) % 2 == 0 ? ' ' : '\t');
}

/*
 * Turns the record in message into what is to be sent.  Returns false, with
 * a warning, if the transformation has no result for it.
 */
bool
eb_transform_record(EbTransform *transform, StringInfo message)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	text	   *record = cstring_to_text_with_len(message->data, message->len);
	volatile bool done = false;

	resetStringInfo(message);
	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		bool		isnull;
		Datum		result = call_transform(transform, record, &isnull);

		if (isnull)
			appendStringInfoString(message, "\"\"");
		else
		{
			text	   *value = DatumGetTextPP(result);

			appendBinaryStringInfo(message, VARDATA_ANY(value),
								   VARSIZE_ANY_EXHDR(value));
		}
		ReleaseCurrentSubTransaction();
		done = true;
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		if (ERRCODE_TO_CATEGORY(error->sqlerrcode) != ERRCODE_DATA_EXCEPTION)
			PG_RE_THROW();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		ereport(WARNING,
				(errcode(error->sqlerrcode),
				 errmsg("a record could not be transformed, a claim check is sent in its place"),
				 errdetail_internal("%s", error->message)));
		FreeErrorData(error);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;

	if (done)
		append_number(message);
	return done;
}
