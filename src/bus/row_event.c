/*-------------------------------------------------------------------------
 *
 * row_event.c
 *	  Trigger function put_row_event(): puts a row as an event.
 *
 * Arguments have the form name=value:
 *
 *	source=			required
 *	detail_type=	required
 *	detail=			default $, the whole row as a JSON object
 *	bus=			name or ARN, default "default"
 *	resources=		one string
 *	group_key=		events of one group keep their order where a target asks
 *
 * A value that begins with "$." names a column of the row; everything else is
 * a constant.  The column of detail= has type json or jsonb, or text that
 * holds an object.  The row is the new one, or the old one of a DELETE.
 * Virtual generated columns are not computed for triggers: they are not in the
 * object, and cannot be named.
 *
 * The bus is asked whether the owner of the table may put events on it:
 * whoever writes to the table needs no right of his own, as with other
 * effects of a table's triggers.
 *
 * Arguments are checked once per statement that fires the trigger.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "bus/bus.h"
#include "compat.h"

PG_FUNCTION_INFO_V1(eb_put_row_event);

typedef enum ArgumentId
{
	ARG_SOURCE,
	ARG_DETAIL_TYPE,
	ARG_DETAIL,
	ARG_BUS,
	ARG_RESOURCES,
	ARG_GROUP_KEY,
	NARGUMENTS
} ArgumentId;

static const char *const argument_names[NARGUMENTS] = {
	"source", "detail_type", "detail", "bus", "resources", "group_key"
};

/* The trigger's argument of this name, or NULL. */
static const char *
find_argument(const Trigger *trigger, ArgumentId id)
{
	size_t		len = strlen(argument_names[id]);

	for (int i = 0; i < trigger->tgnargs; i++)
		if (strncmp(trigger->tgargs[i], argument_names[id], len) == 0 &&
			trigger->tgargs[i][len] == '=')
			return trigger->tgargs[i] + len + 1;
	return NULL;
}

/* Refuses what is no argument, or is there twice. */
static void
check_arguments(const Trigger *trigger)
{
	for (int i = 0; i < trigger->tgnargs; i++)
	{
		const char *arg = trigger->tgargs[i];
		const char *value = NULL;

		for (int id = 0; id < NARGUMENTS; id++)
		{
			size_t		len = strlen(argument_names[id]);

			if (strncmp(arg, argument_names[id], len) == 0 && arg[len] == '=')
			{
				value = arg + len + 1;
				if (value != find_argument(trigger, id))
					ereport(ERROR,
							(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							 errmsg("trigger argument \"%s\" is given twice",
									argument_names[id])));
			}
		}
		if (value == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("invalid trigger argument \"%s\"", arg),
					 errhint("Valid arguments have the form name=value, where name is source, detail_type, detail, bus, resources or group_key.")));
	}
	for (int id = ARG_SOURCE; id <= ARG_DETAIL_TYPE; id++)
		if (find_argument(trigger, id) == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("trigger argument \"%s\" is missing",
							argument_names[id])));
}

static int
find_column(TupleDesc desc, const char *name, ArgumentId id)
{
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (att->attisdropped || strcmp(NameStr(att->attname), name) != 0)
			continue;
		if (att->attgenerated == EB_ATTRIBUTE_GENERATED_VIRTUAL)
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("column \"%s\" is a virtual generated column",
							name),
					 errdetail("It is named by the trigger argument \"%s\"; triggers see stored columns only.",
							   argument_names[id])));
		return i + 1;
	}
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_COLUMN),
			 errmsg("column \"%s\" does not exist", name),
			 errdetail("It is named by the trigger argument \"%s\".",
					   argument_names[id])));
	return 0;					/* keep compiler quiet */
}

/*
 * What an argument says for this row, as text; NULL where it is not given or
 * its column is null.
 */
static char *
argument_value(const Trigger *trigger, ArgumentId id, HeapTuple row,
			   TupleDesc desc)
{
	const char *value = find_argument(trigger, id);
	int			column;
	Datum		datum;
	bool		isnull;
	Oid			output;
	bool		is_varlena;

	if (value == NULL)
		return NULL;
	if (strncmp(value, "$.", 2) != 0)
		return pstrdup(value);
	column = find_column(desc, value + 2, id);
	datum = heap_getattr(row, column, desc, &isnull);
	if (isnull)
		return NULL;
	getTypeOutputInfo(TupleDescAttr(desc, column - 1)->atttypid, &output,
					  &is_varlena);
	return OidOutputFunctionCall(output, datum);
}

/*
 * A description of the row in which virtual columns, of which it holds no
 * values, count as dropped; or the same one where there are none.
 */
static TupleDesc
stored_columns(TupleDesc desc)
{
	TupleDesc	stored = desc;

	for (int i = 0; i < desc->natts; i++)
	{
		if (TupleDescAttr(desc, i)->attgenerated !=
			EB_ATTRIBUTE_GENERATED_VIRTUAL)
			continue;
		if (stored == desc)
		{
			stored = CreateTupleDescCopy(desc);
			stored->tdtypeid = RECORDOID;
			stored->tdtypmod = -1;
		}
		TupleDescAttr(stored, i)->attisdropped = true;
		populate_compact_attribute(stored, i);
	}
	return stored == desc ? desc : BlessTupleDesc(stored);
}

/* The compact text of the event's detail, and the same for the matcher. */
static void
write_detail(StringInfo buf, JsonbValue **tree, const Trigger *trigger,
			 HeapTuple row, TupleDesc desc)
{
	const char *value = find_argument(trigger, ARG_DETAIL);
	char	   *json;

	if (value == NULL || strcmp(value, "$") == 0)
	{
		Datum		composite =
			heap_copy_tuple_as_datum(row, stored_columns(desc));

		json = TextDatumGetCString(DirectFunctionCall1(row_to_json,
													   composite));
	}
	else
		json = argument_value(trigger, ARG_DETAIL, row, desc);

	if (json == NULL || !eb_envelope_compact(json, strlen(json), buf, tree))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
				 errmsg("Detail is malformed."),
				 errdetail("AWS error code: MalformedDetail."),
				 errhint("The trigger argument \"detail\" must give a JSON object.")));
}

/* A string that an event cannot do without. */
static char *
required_value(const Trigger *trigger, ArgumentId id, HeapTuple row,
			   TupleDesc desc)
{
	char	   *value = argument_value(trigger, id, row, desc);
	const char *member = id == ARG_SOURCE ? "Source" : "DetailType";

	if (value == NULL || value[0] == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("Parameter %s is not valid. Reason: %s is a required argument.",
						member, member),
				 errdetail("AWS error code: InvalidArgument.")));
	return value;
}

/*
 * The bus, or 0 if there is none, to which events go as they go to an unknown
 * bus: nowhere.
 */
static int64
find_bus(const char *name_or_arn, Oid table_owner)
{
	int64		bus_id = eb_bus_find(name_or_arn);

	if (bus_id != 0 &&
		!eb_bus_allows(bus_id, table_owner, EB_BUS_PUT_EVENTS))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for event bus \"%s\"",
						eb_bus_name_of_arn(name_or_arn)),
				 errdetail("The owner of the table, \"%s\", may not put events on it.",
						   GetUserNameFromId(table_owner, false))));
	return bus_id;
}

Datum
eb_put_row_event(PG_FUNCTION_ARGS)
{
	TriggerData *trigdata = (TriggerData *) fcinfo->context;
	const Trigger *trigger;
	TupleDesc	desc;
	HeapTuple	row;
	char	   *bus;
	char	   *resource;
	int64		bus_id;
	StringInfoData detail;
	JsonbValue *detail_tree;
	EbEnvelope	event = {0};
	pg_uuid_t	id;

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function put_row_event() must be called as a trigger")));
	if (!TRIGGER_FIRED_AFTER(trigdata->tg_event) ||
		!TRIGGER_FIRED_FOR_ROW(trigdata->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function put_row_event() must be fired AFTER and FOR EACH ROW")));

	trigger = trigdata->tg_trigger;
	desc = RelationGetDescr(trigdata->tg_relation);
	row = TRIGGER_FIRED_BY_UPDATE(trigdata->tg_event) ?
		trigdata->tg_newtuple : trigdata->tg_trigtuple;

	/* fn_extra tells which trigger's arguments have been checked. */
	if (fcinfo->flinfo->fn_extra != trigger)
	{
		check_arguments(trigger);
		fcinfo->flinfo->fn_extra = unconstify(Trigger *, trigger);
	}

	bus = argument_value(trigger, ARG_BUS, row, desc);
	bus_id = find_bus(bus ? bus : "default",
					  trigdata->tg_relation->rd_rel->relowner);
	if (bus_id == 0 || !eb_bus_has_rules(bus_id))
		return PointerGetDatum(NULL);

	event.source = required_value(trigger, ARG_SOURCE, row, desc);
	event.detail_type = required_value(trigger, ARG_DETAIL_TYPE, row, desc);
	initStringInfo(&detail);
	write_detail(&detail, &detail_tree, trigger, row, desc);
	event.detail = detail.data;
	event.detail_len = detail.len;
	event.detail_value = detail_tree;
	resource = argument_value(trigger, ARG_RESOURCES, row, desc);
	if (resource != NULL)
	{
		StringInfoData resources;

		initStringInfo(&resources);
		appendStringInfoChar(&resources, '[');
		escape_json(&resources, resource);
		appendStringInfoChar(&resources, ']');
		event.resources = resources.data;
	}
	event.group_key = argument_value(trigger, ARG_GROUP_KEY, row, desc);
	event.time = GetCurrentStatementStartTimestamp();
	eb_bus_put(bus_id, &event, &id);
	return PointerGetDatum(NULL);
}
