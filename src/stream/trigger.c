/*-------------------------------------------------------------------------
 *
 * trigger.c
 *	  The trigger function stream: entry point.
 *
 * An AFTER trigger FOR EACH ROW of INSERT, UPDATE or DELETE.  It sees what
 * happened to rows, however it came about: COPY, MERGE and a foreign key's
 * action look like the statements they stand for, INSERT ... ON CONFLICT DO
 * UPDATE is the one or the other, and a row that moves to another partition
 * is deleted there and inserted here.  TRUNCATE touches no row and makes no
 * record.
 *
 * An update of a key column is the removal of one item and the insertion of
 * another; an update that leaves every attribute value as it was is nothing.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "commands/trigger.h"

#include "compat.h"
#include "settings.h"
#include "stream/capture.h"

PG_FUNCTION_INFO_V1(stream);

static void
check_called_as_trigger(FunctionCallInfo fcinfo)
{
	TriggerData *trigdata = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("a stream trigger function can only be called as a trigger")));
	if (!TRIGGER_FIRED_AFTER(trigdata->tg_event) ||
		!TRIGGER_FIRED_FOR_ROW(trigdata->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("trigger \"%s\" must be fired AFTER INSERT, UPDATE or DELETE FOR EACH ROW",
						trigdata->tg_trigger->tgname)));
}

Datum
stream(PG_FUNCTION_ARGS)
{
	TriggerData *trigdata = (TriggerData *) fcinfo->context;
	EbCapture  *capture;

	check_called_as_trigger(fcinfo);

	capture = eb_capture_get(trigdata, fcinfo->flinfo->fn_oid);
	capture->row++;
	capture->expired = eb_guc_time_to_live &&
		TRIGGER_FIRED_BY_DELETE(trigdata->tg_event);

	if (TRIGGER_FIRED_BY_INSERT(trigdata->tg_event))
	{
		capture->new_image.slot = trigdata->tg_trigslot;
		eb_capture_change(capture, EB_EVENT_INSERT);
	}
	else if (TRIGGER_FIRED_BY_DELETE(trigdata->tg_event))
	{
		capture->old_image.slot = trigdata->tg_trigslot;
		eb_capture_change(capture, EB_EVENT_REMOVE);
	}
	else
	{
		capture->old_image.slot = trigdata->tg_trigslot;
		capture->new_image.slot = trigdata->tg_newslot;
		if (eb_capture_key_changed(capture))
		{
			eb_capture_change(capture, EB_EVENT_REMOVE);
			eb_capture_change(capture, EB_EVENT_INSERT);
		}
		else
			eb_capture_change(capture, EB_EVENT_MODIFY);
	}

	/* The return value of an AFTER trigger is ignored. */
	return PointerGetDatum(NULL);
}
