/*-------------------------------------------------------------------------
 *
 * log_row.c
 *	  A row of the delivery log, of an event and back.
 *
 * Writers pay for the log by the byte: for WAL, and for pages that nobody has
 * touched before.  So a new event is stored as what its envelope is made of,
 * which is half as long as its text.  Who reads the row makes of that what the
 * target wants: jsonb for a function, for all others the text.
 *
 * What a pipe leaves to the client program is a text and nothing else.  So is an
 * event that a rule forwards at the second attempt, or later: a row of
 * delivery_retry has its text.  Such a text is stored as it is, in the column
 * "event", which is null otherwise.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/xid8.h"

#include "compat.h"
#include "delivery/deliveries.h"
#include "delivery/delivery.h"
#include "delivery/log_row.h"
#include "json/parse.h"

/* What an envelope takes beside its parts of variable length, as a rule. */
#define ENVELOPE_LEN	200

PG_FUNCTION_INFO_V1(eb_event_text);

/* A string that is terminated, or NULL. */
static void
set_text(Datum *values, bool *nulls, int column, const char *s)
{
	nulls[column - 1] = (s == NULL);
	if (s != NULL)
		values[column - 1] = CStringGetTextDatum(s);
}

/* A string that is not. */
static void
set_text_with_len(Datum *values, bool *nulls, int column, const char *s,
				  int len)
{
	nulls[column - 1] = false;
	values[column - 1] = PointerGetDatum(cstring_to_text_with_len(s, len));
}

/*
 * What the text is written of; the settings are those of now.  Of the time an
 * event tells whole seconds only: that of most is in those of the ingestion.
 */
static void
set_envelope(Datum *values, bool *nulls, const EbEnvelope *event,
			 TimestampTz ingestion_time)
{
	const char *resources = event->resources;

	nulls[LOG_EVENT_TIME - 1] =
		event->time / USECS_PER_SEC == ingestion_time / USECS_PER_SEC;
	values[LOG_EVENT_TIME - 1] = TimestampTzGetDatum(event->time);
	set_text(values, nulls, LOG_SOURCE, event->source);
	set_text(values, nulls, LOG_DETAIL_TYPE, event->detail_type);
	set_text(values, nulls, LOG_ACCOUNT, eb_envelope_account(event));
	set_text(values, nulls, LOG_REGION, eb_envelope_region(event));
	set_text(values, nulls, LOG_RESOURCES,
			 resources != NULL && strcmp(resources, "[]") != 0 ? resources : NULL);
	set_text_with_len(values, nulls, LOG_DETAIL, event->detail,
					  event->detail_len);
}

/*
 * The values of a row, in the current memory context: event number "no" of the
 * transaction, and whom it is owed to.
 */
void
eb_log_row_form(const EbPublishedEvent *event, int32 no,
				const EbDelivery *deliveries, int ndeliveries,
				Datum *values, bool *nulls)
{
	memset(nulls, true, sizeof(bool) * LOG_NATTS);
	for (int column = LOG_XID; column <= LOG_DELIVERIES; column++)
		nulls[column - 1] = (column == LOG_EVENT_TIME);

	values[LOG_XID - 1] =
		FullTransactionIdGetDatum(GetTopFullTransactionId());
	values[LOG_BUS_ID - 1] = Int64GetDatum(event->bus_id);
	values[LOG_INGESTION_TIME - 1] =
		TimestampTzGetDatum(event->ingestion_time);
	values[LOG_NO - 1] = Int32GetDatum(no);
	values[LOG_HOPS - 1] = Int32GetDatum(event->hops);
	values[LOG_EVENT_ID - 1] = UUIDPGetDatum(&event->id);
	values[LOG_DELIVERIES - 1] =
		PointerGetDatum(eb_deliveries_form(deliveries, ndeliveries));
	set_text(values, nulls, LOG_GROUP_KEY, event->group_key);
	if (event->group_key != NULL)
	{
		nulls[LOG_ORDER_XID - 1] = false;
		values[LOG_ORDER_XID - 1] =
			Int64GetDatum((int64) U64FromFullTransactionId(ReadNextFullTransactionId()));
	}
	if (event->made_of != NULL)
		set_envelope(values, nulls, event->made_of, event->ingestion_time);
	else
		set_text_with_len(values, nulls, LOG_EVENT, event->text,
						  event->text_len);
}

/* A string from a column, or NULL. */
static char *
get_text(const Datum *values, const bool *nulls, int column)
{
	return nulls[column - 1] ? NULL :
		TextDatumGetCString(values[column - 1]);
}

/* The string of a column, not terminated. */
static const char *
get_text_with_len(const Datum *values, int column, int *len)
{
	text	   *value = DatumGetTextPP(values[column - 1]);

	*len = VARSIZE_ANY_EXHDR(value);
	if ((Pointer) value != DatumGetPointer(values[column - 1]))
		return VARDATA_ANY(value);
	return memcpy(palloc(*len), VARDATA_ANY(value), *len);
}

/* What the text of the event is made of; *size receives how long it is, about. */
static EbEnvelope *
get_envelope(const Datum *values, const bool *nulls, int *size)
{
	EbEnvelope *event = palloc0(sizeof(EbEnvelope));

	for (int column = LOG_SOURCE; column <= LOG_DETAIL; column++)
		if (nulls[column - 1] && column != LOG_RESOURCES)
			elog(ERROR, "malformed row in the delivery log");
	event->time = DatumGetTimestampTz(values[nulls[LOG_EVENT_TIME - 1] ?
											 LOG_INGESTION_TIME - 1 :
											 LOG_EVENT_TIME - 1]);
	event->source = get_text(values, nulls, LOG_SOURCE);
	event->detail_type = get_text(values, nulls, LOG_DETAIL_TYPE);
	event->account = get_text(values, nulls, LOG_ACCOUNT);
	event->region = get_text(values, nulls, LOG_REGION);
	event->resources = get_text(values, nulls, LOG_RESOURCES);
	event->detail = get_text_with_len(values, LOG_DETAIL, &event->detail_len);
	*size = ENVELOPE_LEN + strlen(event->source) + strlen(event->detail_type) +
		(event->resources ? strlen(event->resources) : 0) + event->detail_len;
	return event;
}

/*
 * Reads the event of a row, in the current memory context.  Its id, and all that
 * is not of the event itself, is for the caller to read.
 */
void
eb_log_row_read(EbLogRow *row, const Datum *values, const bool *nulls)
{
	if (nulls[LOG_EVENT - 1])
		row->made_of = get_envelope(values, nulls, &row->size);
	else
	{
		row->text = TextDatumGetCString(values[LOG_EVENT - 1]);
		row->size = strlen(row->text);
	}
}

/* The event's text.  It stays with the row, whatever the current context is. */
char *
eb_log_row_text(EbLogRow *row)
{
	void	   *made_of = unconstify(EbEnvelope *, row->made_of);
	StringInfoData buf;
	MemoryContext oldcontext;

	if (row->text != NULL)
		return row->text;
	oldcontext = MemoryContextSwitchTo(GetMemoryChunkContext(made_of));
	buf.len = 0;
	buf.maxlen = row->size;
	buf.data = palloc(buf.maxlen);
	eb_envelope_write(&buf, &row->event_id, row->made_of);
	MemoryContextSwitchTo(oldcontext);
	row->text = buf.data;
	return row->text;
}

/*
 * The event as jsonb, in the current memory context.  If somebody else than we
 * has written the row, and it is no JSON, an error.
 */
Jsonb *
eb_log_row_jsonb(const EbLogRow *row)
{
	if (row->made_of != NULL)
		return eb_envelope_to_jsonb(&row->event_id, row->made_of);
	return eb_jsonb_from_text(row->text, strlen(row->text));
}

/*
 * _event_text(event_id uuid, event_time timestamptz, source text,
 * detail_type text, account text, region text, resources text, detail text):
 * the text of an event in such columns.
 */
Datum
eb_event_text(PG_FUNCTION_ARGS)
{
	Datum		values[LOG_NATTS];
	bool		nulls[LOG_NATTS];
	EbLogRow	row = {0};

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		PG_RETURN_NULL();
	memset(nulls, true, sizeof(nulls));
	row.event_id = *PG_GETARG_UUID_P(0);
	nulls[LOG_EVENT_TIME - 1] = false;
	values[LOG_EVENT_TIME - 1] = PG_GETARG_DATUM(1);
	for (int i = 0; i < LOG_NATTS - LOG_EVENT; i++)
	{
		nulls[LOG_SOURCE - 1 + i] = PG_ARGISNULL(2 + i);
		values[LOG_SOURCE - 1 + i] = PG_GETARG_DATUM(2 + i);
	}
	eb_log_row_read(&row, values, nulls);
	PG_RETURN_TEXT_P(cstring_to_text(eb_log_row_text(&row)));
}
