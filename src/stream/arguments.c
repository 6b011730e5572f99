/*-------------------------------------------------------------------------
 *
 * arguments.c
 *	  The arguments of a stream trigger: name=value, each of them text.
 *
 * CREATE TRIGGER takes any text for an argument and asks nobody, so a trigger
 * made by hand finds out at its first row; check_stream_arguments says it
 * before.  Both come here.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "compat.h"
#include "stream/capture.h"

PG_FUNCTION_INFO_V1(check_stream_arguments);

static const struct
{
	const char *name;
	EbViewType	view_type;
}			view_types[] = {
	{"KEYS_ONLY", EB_VIEW_KEYS_ONLY},
	{"NEW_IMAGE", EB_VIEW_NEW_IMAGE},
	{"OLD_IMAGE", EB_VIEW_OLD_IMAGE},
	{"NEW_AND_OLD_IMAGES", EB_VIEW_NEW_AND_OLD_IMAGES}
};

const char *
eb_view_type_name(EbViewType view_type)
{
	for (int i = 0; i < lengthof(view_types); i++)
	{
		if (view_types[i].view_type == view_type)
			return view_types[i].name;
	}
	elog(ERROR, "unexpected view type: %d", (int) view_type);
}

/* Names the argument in errors that others raise about its value. */
void
eb_stream_argument_context(void *arg)
{
	errcontext("argument \"%s\" of a stream trigger", (const char *) arg);
}

static EbViewType
parse_view_type(const char *value)
{
	for (int i = 0; i < lengthof(view_types); i++)
	{
		if (strcmp(view_types[i].name, value) == 0)
			return view_types[i].view_type;
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid value for argument \"%s\": \"%s\"",
					"view_type", value),
			 errhint("Valid values are KEYS_ONLY, NEW_IMAGE, OLD_IMAGE and NEW_AND_OLD_IMAGES.")));
}

static char *
parse_channel(char *value)
{
	if (*value == '\0' || strlen(value) >= NAMEDATALEN)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value for argument \"%s\": \"%s\"",
						"notify", value),
				 errdetail("The name of a channel has 1 to %d bytes.",
						   NAMEDATALEN - 1)));
	return value;
}

static bool
parse_switch(const char *name, const char *value)
{
	bool		result;

	if (!parse_bool(value, &result))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value for argument \"%s\": \"%s\"",
						name, value),
				 errhint("Valid values are on and off.")));
	return result;
}

static EbPattern *
parse_filter(const char *value)
{
	ErrorContextCallback callback;
	EbPattern  *pattern;

	callback.callback = eb_stream_argument_context;
	callback.arg = "filter";
	callback.previous = error_context_stack;
	error_context_stack = &callback;
	pattern = eb_pattern_parse(value, strlen(value), NULL);
	error_context_stack = callback.previous;
	return pattern;
}

/* Takes a text argument that may be given once. */
static void
set_once(char **target, const char *name, char *value)
{
	if (*target != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"%s\" is given more than once", name)));
	*target = value;
}

static void
check_combination(const EbStreamArguments *arguments)
{
	for (int i = 0; i < arguments->nfilters && !arguments->changed; i++)
	{
		if (eb_pattern_names_path(arguments->filters[i], EB_CHANGED,
								  strlen(EB_CHANGED)))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("a filter names \"%s\", which the records do not have",
							EB_CHANGED),
					 errhint("Add the argument changed=on.")));
	}
	if (arguments->log)
	{
		if (arguments->channel != NULL || arguments->nfilters > 0 ||
			arguments->claim_check || arguments->input_path != NULL ||
			arguments->input_paths_map != NULL ||
			arguments->input_template != NULL)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("argument \"%s\" goes with \"%s\" and \"%s\" alone",
							"log", "view_type", "changed"),
					 errhint("A stream made by enable_stream keeps what its retention and its pipes want.")));
		return;
	}
	if (arguments->channel == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"%s\" is missing", "notify"),
				 errhint("Name the channel that the records are sent to: notify=CHANNEL.")));
	if (arguments->input_path != NULL && arguments->input_template != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("arguments \"%s\" and \"%s\" exclude each other",
						"input_path", "input_template")));
	if (arguments->input_paths_map != NULL &&
		arguments->input_template == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"%s\" needs argument \"%s\"",
						"input_paths_map", "input_template")));
}

/*
 * Parses the arguments, each "name=value", and reports the first fault.  The
 * result is allocated in the current memory context.
 */
EbStreamArguments *
eb_stream_arguments_parse(int nargs, char **args)
{
	EbStreamArguments *arguments = palloc0(sizeof(EbStreamArguments));
	char	   *view_type = NULL;
	char	   *claim_check = NULL;
	char	   *changed = NULL;
	char	   *log = NULL;

	arguments->filters = palloc(sizeof(EbPattern *) * Max(nargs, 1));

	for (int i = 0; i < nargs; i++)
	{
		char	   *name = pstrdup(args[i]);
		char	   *value = strchr(name, '=');

		if (value == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("invalid argument \"%s\" of a stream trigger",
							name),
					 errhint("Arguments have the form name=value.")));
		*value++ = '\0';

		if (strcmp(name, "filter") == 0)
			arguments->filters[arguments->nfilters++] = parse_filter(value);
		else if (strcmp(name, "view_type") == 0)
			set_once(&view_type, name, value);
		else if (strcmp(name, "notify") == 0)
			set_once(&arguments->channel, name, parse_channel(value));
		else if (strcmp(name, "claim_check") == 0)
			set_once(&claim_check, name, value);
		else if (strcmp(name, "changed") == 0)
			set_once(&changed, name, value);
		else if (strcmp(name, "log") == 0)
			set_once(&log, name, value);
		else if (strcmp(name, "input_path") == 0)
			set_once(&arguments->input_path, name, value);
		else if (strcmp(name, "input_paths_map") == 0)
			set_once(&arguments->input_paths_map, name, value);
		else if (strcmp(name, "input_template") == 0)
			set_once(&arguments->input_template, name, value);
		else
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("unrecognized argument \"%s\" of a stream trigger",
							name),
					 errhint("Arguments are view_type, filter, notify, changed, claim_check, input_path, input_paths_map, input_template and log.")));
	}

	arguments->view_type = view_type == NULL ? EB_VIEW_NEW_AND_OLD_IMAGES :
		parse_view_type(view_type);
	arguments->claim_check = claim_check != NULL &&
		parse_switch("claim_check", claim_check);
	arguments->changed = changed != NULL &&
		parse_switch("changed", changed);
	arguments->log = log != NULL && parse_switch("log", log);
	check_combination(arguments);
	return arguments;
}

/* SQL function: raises the error that the trigger would raise, or none. */
Datum
check_stream_arguments(PG_FUNCTION_ARGS)
{
	ArrayType  *array = PG_GETARG_ARRAYTYPE_P(0);
	Datum	   *values;
	bool	   *nulls;
	int			nvalues;
	char	  **args;

	deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT,
					  &values, &nulls, &nvalues);
	args = palloc(sizeof(char *) * Max(nvalues, 1));
	for (int i = 0; i < nvalues; i++)
	{
		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("an argument of a stream trigger must not be null")));
		args[i] = TextDatumGetCString(values[i]);
	}
	(void) eb_transform_make(eb_stream_arguments_parse(nvalues, args),
							 get_func_namespace(fcinfo->flinfo->fn_oid));
	PG_RETURN_VOID();
}
