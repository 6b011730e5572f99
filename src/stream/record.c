/*-------------------------------------------------------------------------
 *
 * record.c
 *	  One change: filtered, made a stream record, sent.
 *
 * In this order: what the trigger alone decides; the filters, on a tree that
 * holds only what they name; whether an update changed anything; and only
 * then the record.
 *
 * A record is sent as its JSON text, in AWS's order of members.  What does
 * not fit a notification, or is private, is replaced by a claim check: the
 * record without its images, marked by a member "claimCheck", and without
 * its Keys too if even they are too long.  Since every record has an eventID
 * of its own, no two are equal, and PostgreSQL, which drops equal
 * notifications of one transaction, drops none of them.  A transformed
 * message need not have an id; see message.c.
 *
 * A trigger that writes a stream's log stores the row's images, and the
 * record is made of them when it is read; see pack.c.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/detoast.h"
#include "access/xact.h"
#include "commands/async.h"
#include "commands/sequence.h"
#include "common/pg_prng.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/memutils.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "stream/capture.h"

/*
 * A value stored in more bytes than this is not converted for a notification,
 * where its record cannot fit; it counts its stored size.
 */
#define HUGE_VALUE			(1024 * 1024)

static const char *const event_names[] = {"INSERT", "MODIFY", "REMOVE"};

const char *
eb_event_name(EbEventName event)
{
	return event_names[event];
}

/* A column's value in the row at hand, converted at most once. */
EbCell *
eb_get_cell(EbCapture *capture, EbImage *image, int column)
{
	EbCell	   *cell = &image->cells[column];

	if (cell->row != capture->row)
	{
		EbColumn   *info = &capture->columns[column];
		Datum		value;
		bool		isnull;

		value = slot_getattr(image->slot, info->attnum, &isnull);
		cell->size = eb_attribute_value(info->type, value, isnull,
										&cell->value);
		cell->json = NULL;
		cell->row = capture->row;
	}
	return cell;
}

/* Stored size of a value of variable length in its plain form, else 0. */
Size
eb_value_length(EbCapture *capture, EbImage *image, int column)
{
	EbColumn   *info = &capture->columns[column];
	Datum		value;
	bool		isnull;

	if (info->attlen != -1)
		return 0;
	value = slot_getattr(image->slot, info->attnum, &isnull);
	return isnull ? 0 : toast_raw_datum_size(value);
}

/* Both are pointers to the same value out of line. */
static bool
same_toast_pointer(Datum a, Datum b)
{
	return VARATT_IS_EXTERNAL_ONDISK(DatumGetPointer(a)) &&
		VARATT_IS_EXTERNAL_ONDISK(DatumGetPointer(b)) &&
		memcmp(DatumGetPointer(a), DatumGetPointer(b),
			   VARSIZE_EXTERNAL(DatumGetPointer(a))) == 0;
}

/*
 * Did the column's attribute value change?  Most often the stored values
 * tell; only for types like numeric or json, which store one value in many
 * ways, the attribute values are compared.
 */
static bool
column_changed(EbCapture *capture, int column)
{
	EbColumn   *info = &capture->columns[column];
	Datum		old_value;
	Datum		new_value;
	bool		old_isnull;
	bool		new_isnull;

	old_value = slot_getattr(capture->old_image.slot, info->attnum,
							 &old_isnull);
	new_value = slot_getattr(capture->new_image.slot, info->attnum,
							 &new_isnull);
	if (old_isnull || new_isnull)
		return old_isnull != new_isnull;
	if (info->attlen == -1 && same_toast_pointer(old_value, new_value))
		return false;
	if (datum_image_eq(old_value, new_value, info->attbyval, info->attlen))
		return false;
	if (info->image_decides ||
		(info->attlen == -1 &&
		 (toast_raw_datum_size(old_value) > HUGE_VALUE ||
		  toast_raw_datum_size(new_value) > HUGE_VALUE)))
		return true;
	return !eb_attribute_values_equal(&eb_get_cell(capture, &capture->old_image,
												column)->value,
									  &eb_get_cell(capture, &capture->new_image,
												column)->value);
}

/* Did an update change the key, and so make another item of the row? */
bool
eb_capture_key_changed(EbCapture *capture)
{
	for (int i = 0; i < capture->nkeys; i++)
	{
		if (column_changed(capture, capture->keys[i]))
			return true;
	}
	return false;
}

/* Finds all columns that the update at hand changed. */
static void
find_changed(EbCapture *capture)
{
	if (capture->has_changed)
		return;
	capture->nchanged = 0;
	for (int i = 0; i < capture->ncolumns; i++)
	{
		if (column_changed(capture, i))
			capture->changed[capture->nchanged++] = i;
	}
	capture->has_changed = true;
}

/* Did the update at hand change anything?  Finds all of it if that is told. */
static bool
row_changed(EbCapture *capture)
{
	if (capture->arguments->changed)
		find_changed(capture);
	if (capture->has_changed)
		return capture->nchanged > 0;
	for (int i = 0; i < capture->ncolumns; i++)
	{
		if (column_changed(capture, i))
			return true;
	}
	return false;
}

static void
fill_changed(EbCapture *capture, JsonbValue *array)
{
	find_changed(capture);
	array->val.array.nElems = capture->nchanged;
	for (int i = 0; i < capture->nchanged; i++)
	{
		EbColumn   *column = &capture->columns[capture->changed[i]];
		JsonbValue *element = &array->val.array.elems[i];

		element->type = jbvString;
		element->val.string.val = column->name;
		element->val.string.len = column->name_len;
	}
}

/* The event id's text: 128 bits in hexadecimal. */
void
eb_write_event_id(EbCapture *capture)
{
	static const char digits[] = "0123456789abcdef";
	char	   *out = capture->event_id;

	for (int half = 0; half < 2; half++)
	{
		uint64		bits = capture->event_bits[half];

		for (int i = 0; i < 16; i++, bits >>= 4)
			*out++ = digits[bits & 15];
	}
}

/* Gives the record at hand its eventID, which is random. */
static void
assign_event_bits(EbCapture *capture)
{
	static pg_prng_state state;
	static bool seeded = false;

	if (capture->has_event_id)
		return;
	if (!seeded)
	{
		if (!pg_prng_strong_seed(&state))
			ereport(ERROR,
					(errcode(ERRCODE_INTERNAL_ERROR),
					 errmsg("could not generate random values")));
		seeded = true;
	}
	capture->event_bits[0] = pg_prng_uint64(&state);
	capture->event_bits[1] = pg_prng_uint64(&state);
	capture->has_event_id = true;
}

static void
assign_event_id(EbCapture *capture)
{
	assign_event_bits(capture);
	eb_write_event_id(capture);
}

/*
 * Gives the record at hand its capture number.  It is taken while the row is
 * locked, so that the changes of one row have rising numbers; the order of
 * commits, which is not known yet, may be another.
 */
static void
assign_number(EbCapture *capture)
{
	if (capture->has_sequence_number)
		return;
	capture->number = nextval_internal(capture->sequence, false);
	capture->has_sequence_number = true;
}

static void
assign_sequence_number(EbCapture *capture)
{
	assign_number(capture);
	snprintf(capture->sequence_number, sizeof(capture->sequence_number),
			 "%0*lld", EB_SEQUENCE_NUMBER_LEN, (long long) capture->number);
}

/* Seconds since 1970 of the statement that changes the row. */
static int64
creation_time(void)
{
	return timestamptz_to_time_t(GetCurrentStatementStartTimestamp());
}

static int64
column_size(EbCapture *capture, EbRecord *record, EbImage *image, int column)
{
	EbColumn   *info = &capture->columns[column];

	if (capture->transform == NULL && image->slot != NULL &&
		eb_value_length(capture, image, column) > HUGE_VALUE)
	{
		record->fits = false;
		return info->name_size + eb_value_length(capture, image, column);
	}
	return info->name_size + eb_get_cell(capture, image, column)->size;
}

bool
eb_shows_new_image(EbCapture *capture, EbEventName event)
{
	return event != EB_EVENT_REMOVE &&
		(capture->arguments->view_type & EB_VIEW_NEW_IMAGE);
}

bool
eb_shows_old_image(EbCapture *capture, EbEventName event)
{
	return event != EB_EVENT_INSERT &&
		(capture->arguments->view_type & EB_VIEW_OLD_IMAGE);
}

/* The image that Keys are taken from. */
EbImage *
eb_key_image(EbCapture *capture, EbEventName event)
{
	return event == EB_EVENT_REMOVE ? &capture->old_image :
		&capture->new_image;
}

/* Converts all that the record shows, and adds up SizeBytes. */
static void
measure_record(EbCapture *capture, EbEventName event, EbRecord *record)
{
	record->event = event;
	record->tells_changed = capture->arguments->changed &&
		event == EB_EVENT_MODIFY;
	record->expired = capture->expired;
	record->fits = true;
	record->time = creation_time();
	record->size = 0;
	for (int i = 0; i < capture->nkeys; i++)
		record->size += column_size(capture, record,
									eb_key_image(capture, event),
									capture->keys[i]);
	for (int i = 0; i < capture->ncolumns; i++)
	{
		if (eb_shows_new_image(capture, event))
			record->size += column_size(capture, record,
										&capture->new_image, i);
		if (eb_shows_old_image(capture, event))
			record->size += column_size(capture, record,
										&capture->old_image, i);
	}
}

/* Do the filters want the change?  Looks at no more columns than they do. */
static bool
is_wanted(EbCapture *capture, EbEventName event)
{
	EbSkeleton *skeleton = &capture->skeletons[event];

	if (capture->verdict[event] != EB_VERDICT_LOOK)
		return capture->verdict[event] == EB_VERDICT_ALWAYS;

	for (int i = 0; i < skeleton->ncells; i++)
		eb_get_cell(capture,
				 skeleton->cells[i].old_image ? &capture->old_image :
				 &capture->new_image,
				 skeleton->cells[i].column);
	if (skeleton->needs_event_id)
		assign_event_id(capture);
	if (skeleton->needs_sequence_number)
		assign_sequence_number(capture);
	if (skeleton->time != NULL)
		skeleton->time->val.numeric = int64_to_numeric(creation_time());
	if (skeleton->size != NULL)
	{
		EbRecord	record;

		measure_record(capture, event, &record);
		skeleton->size->val.numeric = int64_to_numeric(record.size);
	}
	if (skeleton->changed != NULL)
		fill_changed(capture, skeleton->changed);
	if (skeleton->identity != NULL)
		skeleton->identity->val.object.nPairs = capture->expired ? 2 : 0;

	for (int i = 0; i < capture->arguments->nfilters; i++)
	{
		if (capture->verdicts[event][i] == EB_VERDICT_LOOK &&
			eb_pattern_matches_value(capture->arguments->filters[i],
									 &skeleton->root))
			return true;
	}
	return false;
}

static void
append_int64(StringInfo out, int64 value)
{
	char		text[MAXINT8LEN + 1];

	appendBinaryStringInfo(out, text, pg_lltoa(value, text));
}

/* Appends an image, or Keys; see eb_append_json about limit. */
static void
append_image(StringInfo out, EbCapture *capture, EbImage *image,
			 const int *columns, int ncolumns, int limit)
{
	appendStringInfoCharMacro(out, '{');
	for (int i = 0; i < ncolumns && out->len <= limit; i++)
	{
		int			column = columns == NULL ? i : columns[i];
		EbColumn   *info = &capture->columns[column];
		EbCell	   *cell = eb_get_cell(capture, image, column);
		JsonbValue	object;

		if (i > 0)
			appendStringInfoCharMacro(out, ',');
		appendBinaryStringInfo(out, info->json_name, info->json_name_len);
		if (cell->json != NULL)
			appendBinaryStringInfo(out, cell->json, cell->json_len);
		else
		{
			eb_attribute_value_object(&cell->value, &object);
			eb_append_json(out, &object, limit);
		}
	}
	appendStringInfoCharMacro(out, '}');
}

static void
append_changed(StringInfo out, EbCapture *capture)
{
	appendStringInfoString(out, ",\"" EB_CHANGED "\":[");
	for (int i = 0; i < capture->nchanged; i++)
	{
		EbColumn   *column = &capture->columns[capture->changed[i]];

		if (i > 0)
			appendStringInfoCharMacro(out, ',');
		/* without the colon */
		appendBinaryStringInfo(out, column->json_name,
							   column->json_name_len - 1);
	}
	appendStringInfoCharMacro(out, ']');
}

/* What follows the sequence number. */
static void
append_tail(StringInfo out, EbCapture *capture, const EbRecord *record)
{
	appendStringInfoString(out, "\",\"SizeBytes\":");
	append_int64(out, record->size);
	appendStringInfoString(out, capture->tail);
	if (record->expired)
		appendStringInfoString(out, ",\"" EB_USER_IDENTITY
							   "\":{\"type\":\"" EB_EXPIRY_TYPE
							   "\",\"principalId\":\"" EB_EXPIRY_PRINCIPAL
							   "\"}");
	if (record->tells_changed)
		append_changed(out, capture);
	appendStringInfoCharMacro(out, '}');
}

static void
append_numbers(StringInfo out, EbCapture *capture, const EbRecord *record)
{
	appendStringInfoString(out, "\"SequenceNumber\":\"");
	appendBinaryStringInfo(out, capture->sequence_number,
						   EB_SEQUENCE_NUMBER_LEN);
	append_tail(out, capture, record);
}

/* The record as AWS has it, up to the sequence number. */
static void
append_head(StringInfo out, EbCapture *capture, const EbRecord *record,
			  int limit)
{
	EbEventName event = record->event;

	appendStringInfoString(out, "{\"eventID\":\"");
	appendBinaryStringInfo(out, capture->event_id, 32);
	appendStringInfoString(out, capture->head[event]);
	append_int64(out, record->time);
	appendStringInfoString(out, ",\"Keys\":");
	append_image(out, capture, eb_key_image(capture, event), capture->keys,
				 capture->nkeys, limit);
	if (eb_shows_new_image(capture, event))
	{
		appendStringInfoString(out, ",\"NewImage\":");
		append_image(out, capture, &capture->new_image, NULL,
					 capture->ncolumns, limit);
	}
	if (eb_shows_old_image(capture, event))
	{
		appendStringInfoString(out, ",\"OldImage\":");
		append_image(out, capture, &capture->old_image, NULL,
					 capture->ncolumns, limit);
	}
	appendStringInfoCharMacro(out, ',');
}

static void
append_record(StringInfo out, EbCapture *capture, const EbRecord *record,
			  int limit)
{
	append_head(out, capture, record, limit);
	append_numbers(out, capture, record);
}

static void
append_claim_check_head(StringInfo out, EbCapture *capture, const EbRecord *record,
				   bool with_keys, int limit)
{
	appendStringInfoString(out, "{\"claimCheck\":true,\"eventID\":\"");
	appendBinaryStringInfo(out, capture->event_id, 32);
	appendStringInfoString(out, capture->head[record->event]);
	append_int64(out, record->time);
	appendStringInfoCharMacro(out, ',');
	if (with_keys)
	{
		appendStringInfoString(out, "\"Keys\":");
		append_image(out, capture, eb_key_image(capture, record->event),
					 capture->keys, capture->nkeys, limit);
		appendStringInfoCharMacro(out, ',');
	}
}

static void
append_claim_check(StringInfo out, EbCapture *capture, const EbRecord *record,
				   bool with_keys, int limit)
{
	append_claim_check_head(out, capture, record, with_keys, limit);
	append_numbers(out, capture, record);
}

/* No column of the key is too long to be looked at. */
static bool
keys_may_fit(EbCapture *capture, EbEventName event)
{
	for (int i = 0; i < capture->nkeys; i++)
	{
		if (eb_value_length(capture, eb_key_image(capture, event),
						 capture->keys[i]) > HUGE_VALUE)
			return false;
	}
	return true;
}

/*
 * A claim check always fits: if it has to, it has nothing of the row but its
 * size, nor names of columns.
 */
static void
build_claim_check(StringInfo message, EbCapture *capture, EbRecord *record)
{
	resetStringInfo(message);
	if (keys_may_fit(capture, record->event))
	{
		append_claim_check(message, capture, record, true, EB_NOTIFY_LIMIT);
		if (message->len < EB_NOTIFY_LIMIT)
			return;
		resetStringInfo(message);
	}
	record->tells_changed = false;
	append_claim_check(message, capture, record, false, EB_NOTIFY_LIMIT);
}

static void
send_record(EbCapture *capture, EbEventName event)
{
	StringInfoData message;
	EbRecord		record;

	assign_event_id(capture);
	assign_sequence_number(capture);
	measure_record(capture, event, &record);

	initStringInfo(&message);
	if (capture->arguments->claim_check)
		record.fits = false;
	if (record.fits)
	{
		if (capture->transform == NULL)
			append_record(&message, capture, &record, EB_NOTIFY_LIMIT);
		else
		{
			append_record(&message, capture, &record, MaxAllocSize);
			record.fits = eb_transform_record(capture->transform, &message);
		}
		record.fits = record.fits && message.len < EB_NOTIFY_LIMIT;
	}
	if (!record.fits)
		build_claim_check(&message, capture, &record);
	Async_Notify(capture->arguments->channel, message.data);
	pfree(message.data);
}

/* SizeBytes of the change at hand; of values that are long, by stored size. */
int64
eb_record_size(EbCapture *capture, EbEventName event)
{
	EbRecord	record;

	measure_record(capture, event, &record);
	return record.size;
}

/*
 * Appends the text of a record whose cells are all there, up to where the
 * digits of the sequence number begin.
 */
void
eb_record_head(EbCapture *capture, const EbRecord *record, StringInfo out)
{
	int			limit = out->len + MaxAllocSize / 2;

	if (record->fits)
		append_head(out, capture, record, limit);
	else
		append_claim_check_head(out, capture, record, record->keys_fit, limit);
	appendStringInfoString(out, "\"SequenceNumber\":\"");
}

/* Appends what stands behind these digits. */
void
eb_record_tail(EbCapture *capture, const EbRecord *record, StringInfo out)
{
	append_tail(out, capture, record);
}

/*
 * Handles a change of the row whose images are in the capture: does nothing
 * if no filter wants it or if it changed nothing, else sends or logs its
 * record.
 */
void
eb_capture_change(EbCapture *capture, EbEventName event)
{
	capture->has_event_id = false;
	capture->has_sequence_number = false;
	capture->has_changed = false;

	if (!is_wanted(capture, event))
		return;
	if (event == EB_EVENT_MODIFY && !row_changed(capture))
		return;
	if (capture->wants != NULL)
	{
		assign_event_bits(capture);
		assign_number(capture);
		eb_pack_change(capture, event);
	}
	else
		send_record(capture, event);
}
