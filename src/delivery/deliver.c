/*-------------------------------------------------------------------------
 *
 * deliver.c
 *	  One delivery: what the target receives, and giving it that.
 *
 * Queues, channels, buses and log groups take it here.  Functions and
 * procedures are user code: see invoke.c.  What the client program delivers is
 * only prepared here; see client.c.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "commands/async.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

#include "bus/bus.h"
#include "compat.h"
#include "delivery/delivery.h"
#include "json/path.h"
#include "json/value.h"
#include "stream/capture.h"
#include "transform/template.h"

/* ---- what it receives ---- */

static void
add_variable(JsonbParseState **state, const char *name, const char *text)
{
	JsonbValue	value;

	value.type = jbvString;
	value.val.string.val = (char *) name;
	value.val.string.len = strlen(name);
	pushJsonbValue(state, WJB_KEY, &value);
	value.val.string.val = (char *) text;
	value.val.string.len = strlen(text);
	pushJsonbValue(state, WJB_VALUE, &value);
}

static Jsonb *
predefined_variables(const EbTarget *target, const EbLogRow *row)
{
	JsonbParseState *state = NULL;
	char		time[EB_TIME_LEN];

	eb_envelope_format_time(row->ingestion_time, time);
	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	add_variable(&state, "aws.events.rule-arn", target->rule_arn);
	add_variable(&state, "aws.events.rule-name", target->rule_name);
	add_variable(&state, "aws.events.event.ingestion-time", time);
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

/*
 * Fills the template.  What AWS does not deliver is an error there; it is
 * caught in a subtransaction, and its message returned in *fault.
 */
static char *
fill_template(const EbTarget *target, EbLogRow *row, char **fault)
{
	MemoryContext oldcontext = CurrentMemoryContext;
	ResourceOwner oldowner = CurrentResourceOwner;
	char	   *text = eb_log_row_text(row);
	StringInfoData out;

	initStringInfo(&out);
	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(oldcontext);
	PG_TRY();
	{
		EbJson		event;

		eb_json_from_text(&event, text, strlen(text));
		eb_template_fill(target->template, &event,
						 predefined_variables(target, row), &out);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(oldcontext);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		CurrentResourceOwner = oldowner;
		if (error->sqlerrcode != ERRCODE_DATA_EXCEPTION)
			ReThrowError(error);
		*fault = pstrdup(error->message);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(oldcontext);
	CurrentResourceOwner = oldowner;
	return *fault == NULL ? out.data : NULL;
}

/*
 * The value at the input path; an empty string where it leads to nothing, as
 * a template has it.  The event is compact, and so is whatever is found in it.
 */
static char *
value_at_path(const EbTarget *target, EbLogRow *row, char **fault)
{
	EbJson		event = {.text = eb_log_row_text(row)};
	EbJson		found;

	if (target->path == NULL)
	{
		*fault = psprintf("input path \"%s\" is not valid",
						  target->input_path);
		return NULL;
	}
	event.len = strlen(event.text);
	if (!eb_path_get(target->path, &event, &found))
		return "\"\"";
	return pnstrdup(found.text, found.len);
}

/*
 * What the target receives: NULL for the whole event.  If there is nothing that
 * it could receive, *fault says why.
 */
static char *
target_input(const EbTarget *target, EbLogRow *row, char **fault)
{
	if (target->input != NULL)
		return target->input;
	if (target->input_path != NULL)
		return value_at_path(target, row, fault);
	if (target->bad_template)
	{
		*fault = "the input template is not valid";
		return NULL;
	}
	if (target->template != NULL)
		return fill_template(target, row, fault);
	return NULL;
}

/* The same as text. */
char *
eb_invocation_input(const EbInvocation *invocation)
{
	return invocation->input != NULL ? invocation->input :
		eb_log_row_text(invocation->row);
}

/* ---- invoking it ---- */

static void
refuse(EbOutcome *outcome, const char *code, char *message)
{
	outcome->result = EB_REFUSED;
	outcome->code = code;
	outcome->message = message;
}

/* Runs a statement of ours that stores (resource, input, row) somewhere. */
static void
store(SPIPlanPtr *plan, const char *sql, const EbTarget *target,
	  const EbLogRow *row, const char *input)
{
	static const Oid types[] = {INT8OID, TEXTOID, UUIDOID};
	Datum		values[3] = {Int64GetDatum(target->resource_id),
		CStringGetTextDatum(input),
	UUIDPGetDatum(&row->event_id)};

	eb_internal_call(plan, sql, 3, types, values, NULL);
	pfree(DatumGetPointer(values[1]));
}

/* A message to a queue; with a group, it takes the way of such messages. */
static void
send_message(const EbTarget *target, const EbLogRow *row, const char *input)
{
	static SPIPlanPtr plan = NULL;
	static SPIPlanPtr group_plan = NULL;
	static const Oid types[] = {INT8OID, TEXTOID, UUIDOID, INT4OID};
	static const Oid group_types[] = {INT8OID, TEXTOID, UUIDOID, TEXTOID,
	INT8OID};
	Datum		values[5] = {
		Int64GetDatum(target->resource_id),
		CStringGetTextDatum(input),
		UUIDPGetDatum(&row->event_id)
	};

	if (target->message_group_id == NULL)
	{
		values[3] = Int32GetDatum(target->delay);
		eb_internal_call(&plan,
						 "INSERT INTO eventbridge.queue_message"
						 " (queue_id, body, event_id, visible_at)"
						 " VALUES ($1, $2, $3,"
						 " clock_timestamp() + $4 * interval '1 s')",
						 4, types, values, NULL);
	}
	else
	{
		values[3] = CStringGetTextDatum(target->message_group_id);
		values[4] = Int64GetDatum(target->target_id);
		eb_internal_call(&group_plan,
						 "SELECT eventbridge._send_event($1, $2, $3, $4, $5)",
						 5, group_types, values, NULL);
		pfree(DatumGetPointer(values[3]));
	}
	pfree(DatumGetPointer(values[1]));
}

/*
 * A notification with the message or, if that is too long or not wanted, with
 * the id alone, under which get_notification() has the message.  The id also
 * keeps equal messages apart: PostgreSQL drops equal notifications of one
 * transaction.
 */
static void
notify(const EbTarget *target, const EbLogRow *row, const char *input)
{
	static SPIPlanPtr plan = NULL;
	StringInfoData payload;
	pg_uuid_t	id;
	char		id_text[EB_ID_LEN + 1];

	eb_envelope_new_id(&id);
	eb_envelope_format_id(&id, id_text);
	initStringInfo(&payload);
	appendStringInfo(&payload, "{\"MessageId\":\"%.*s\"", EB_ID_LEN, id_text);
	if (!target->claim_check)
	{
		int			len = payload.len;

		appendStringInfoString(&payload, ",\"Message\":");
		if (eb_json_text_is_valid(input, strlen(input)))
			appendStringInfoString(&payload, input);
		else
			escape_json(&payload, input);
		appendStringInfoChar(&payload, '}');
		if (payload.len < EB_NOTIFY_LIMIT)
		{
			Async_Notify(target->name, payload.data);
			return;
		}
		payload.len = len;
		payload.data[len] = '\0';
	}

	{
		EbLogRow	stored = *row;

		stored.event_id = id;
		store(&plan, "INSERT INTO eventbridge.notification"
			  " (topic_id, message, message_id) VALUES ($1, $2, $3)",
			  target, &stored, input);
	}
	appendStringInfoChar(&payload, '}');
	Async_Notify(target->name, payload.data);
}

/* Puts the event on another bus, unless it has come too far. */
static void
forward(EbTarget *target, const EbLogRow *row, EbOutcome *outcome)
{
	EbPublishedEvent event = {
		.id = row->event_id,
		.made_of = row->made_of,
		.text = row->text,
		.text_len = row->made_of == NULL ? strlen(row->text) : 0,
		.group_key = row->group_key,
		.hops = row->hops + 1
	};

	if (event.hops > EB_MAX_HOPS)
	{
		target->looped++;
		refuse(outcome, "RESOURCE_LIMIT_EXCEEDED",
			   psprintf("the event has been forwarded %d times", row->hops));
		return;
	}
	eb_bus_publish(target->resource_id, &event);
	outcome->result = EB_DELIVERED;
}

/* Targets in the database that run no user code; what fails is an error. */
static void
deliver_inside(EbInvocation *invocation)
{
	static SPIPlanPtr log_plan = NULL;
	EbTarget   *target = invocation->target;
	const EbLogRow *row = invocation->row;

	invocation->outcome.result = EB_DELIVERED;
	switch (target->kind)
	{
		case EB_TARGET_QUEUE:
			send_message(target, row, eb_invocation_input(invocation));
			break;
		case EB_TARGET_LOG_GROUP:
			store(&log_plan, "INSERT INTO eventbridge.log_event"
				  " (log_group_id, message)"
				  " SELECT $1, $2 WHERE $3 IS NOT NULL",
				  target, row, eb_invocation_input(invocation));
			break;
		case EB_TARGET_CHANNEL:
			notify(target, row, eb_invocation_input(invocation));
			break;
		case EB_TARGET_BUS:
			forward(target, row, &invocation->outcome);
			break;
		default:
			elog(ERROR, "unexpected target kind %d", (int) target->kind);
	}
}

/*
 * Works out what the target is to receive, on behalf of the lane.  False if
 * there is nothing to invoke: then the outcome says why.
 */
bool
eb_target_prepare(EbInvocation *invocation, Oid lane)
{
	EbTarget   *target = invocation->target;
	EbOutcome  *outcome = &invocation->outcome;
	char	   *fault = NULL;

	memset(outcome, 0, sizeof(EbOutcome));
	invocation->input = NULL;
	if (!target->exists)
	{
		outcome->result = EB_GONE;
		return false;
	}
	if (target->lane != lane)
	{
		outcome->result = EB_MOVED;
		return false;
	}

	invocation->input = target_input(target, invocation->row, &fault);
	if (fault != NULL)
	{
		refuse(outcome, "INVALID_JSON", fault);
		return false;
	}
	if (target->obstacle != NULL)
	{
		refuse(outcome, target->obstacle_code, target->obstacle);
		return false;
	}
	return true;
}

/* Invokes what has been prepared; the outcome says how it went. */
void
eb_target_deliver(EbInvocation *invocation)
{
	if (invocation->target->kind == EB_TARGET_FUNCTION ||
		invocation->target->kind == EB_TARGET_PROCEDURE)
		(void) eb_invoke(invocation, 1);
	else
		deliver_inside(invocation);
}
