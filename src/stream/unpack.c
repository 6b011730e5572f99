/*-------------------------------------------------------------------------
 *
 * unpack.c
 *	  The records of a pack; pack.c describes the format.
 *
 * The text of a record comes in two parts, before and behind its sequence
 * number, which only who reads knows.  Packs that follow one another mostly
 * begin alike; an unpacker keeps what the last one's head was read as.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/tupmacs.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "stream/capture.h"
#include "stream/pack.h"

PG_FUNCTION_INFO_V1(eb_unpack_records_srf);

struct EbUnpacker
{
	MemoryContext head_context; /* of the head that was read last */
	MemoryContext record_context;
	char	   *head;
	int			len;
	EbCapture  *capture;		/* what it was read as, or NULL */
};

typedef struct PackReader
{
	const char *next;
	const char *end;
} PackReader;

static void
broken_pack(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg("malformed pack of stream records")));
}

static const char *
take(PackReader *reader, int64 len)
{
	const char *data = reader->next;

	if (len < 0 || len > reader->end - reader->next)
		broken_pack();
	reader->next += len;
	return data;
}

static void
take_into(PackReader *reader, void *target, int len)
{
	memcpy(target, take(reader, len), len);
}

static const char *
take_string(PackReader *reader)
{
	const char *data = reader->next;
	const char *zero = memchr(data, '\0', reader->end - data);

	if (zero == NULL)
		broken_pack();
	reader->next = zero + 1;
	return data;
}

/*
 * What the records of a pack have in common, as a capture that has no
 * trigger, in the current memory context.
 */
static EbCapture *
take_head(PackReader *reader)
{
	EbCapture  *capture = palloc0(sizeof(EbCapture));
	char		version;
	char		view_type;
	int32		len;
	int16		ncolumns;
	int16		nkeys;

	take_into(reader, &version, 1);
	take_into(reader, &view_type, 1);
	take_into(reader, &len, sizeof(len));
	take_into(reader, &ncolumns, sizeof(ncolumns));
	take_into(reader, &nkeys, sizeof(nkeys));
	if (version != PACK_VERSION || view_type < 0 ||
		view_type > EB_VIEW_NEW_AND_OLD_IMAGES || ncolumns < 0 ||
		nkeys < 0 || nkeys > ncolumns)
		broken_pack();

	capture->context = CurrentMemoryContext;
	capture->arguments = palloc0(sizeof(EbStreamArguments));
	capture->arguments->view_type = (EbViewType) view_type;
	capture->ncolumns = ncolumns;
	capture->columns = palloc0(sizeof(EbColumn) * Max(ncolumns, 1));
	capture->new_image.cells = palloc0(sizeof(EbCell) * Max(ncolumns, 1));
	capture->old_image.cells = palloc0(sizeof(EbCell) * Max(ncolumns, 1));
	capture->changed = palloc(sizeof(int) * Max(ncolumns, 1));
	for (int i = 0; i < ncolumns; i++)
	{
		EbColumn   *column = &capture->columns[i];
		Oid			type;

		take_into(reader, &type, sizeof(type));
		eb_column_init(column, take_string(reader), type);
		if (OidIsValid(type))
			get_typlenbyval(type, &column->attlen, &column->attbyval);
	}
	capture->nkeys = nkeys;
	capture->keys = palloc(sizeof(int) * Max(nkeys, 1));
	for (int i = 0; i < nkeys; i++)
	{
		int16		key;

		take_into(reader, &key, sizeof(key));
		if (key < 0 || key >= ncolumns)
			broken_pack();
		capture->keys[i] = key;
	}
	capture->region = pstrdup(take_string(reader));
	capture->arn = pstrdup(take_string(reader));
	eb_write_constants(capture);
	return capture;
}

static void
take_value(PackReader *reader, EbCapture *capture, EbImage *image, int column)
{
	EbColumn   *info = &capture->columns[column];
	EbCell	   *cell = &image->cells[column];
	Datum		value = (Datum) 0;
	char		tag;
	int32		len;

	take_into(reader, &tag, 1);
	cell->row = capture->row;
	cell->json = NULL;
	if (tag == VALUE_JSON)
	{
		take_into(reader, &len, sizeof(len));
		take_into(reader, &cell->size, sizeof(cell->size));
		cell->json = take(reader, len);
		cell->json_len = len;
		return;
	}
	if (tag == VALUE_NULL)
	{
		cell->size = eb_set_attribute_null(&cell->value);
		return;
	}
	if (info->type == NULL ||
		tag != (info->attlen == -1 ? VALUE_VARIABLE : VALUE_FIXED))
		broken_pack();
	if (tag == VALUE_VARIABLE)
	{
		const char *data;
		struct varlena *varlena;

		take_into(reader, &len, sizeof(len));
		data = take(reader, len);
		varlena = palloc(VARHDRSZ + (Size) len);
		SET_VARSIZE(varlena, VARHDRSZ + len);
		memcpy(VARDATA(varlena), data, len);
		value = PointerGetDatum(varlena);
	}
	else
	{
		/* A copy is aligned, and as long as a Datum at least. */
		char	   *bytes = palloc0(Max(info->attlen, sizeof(Datum)));

		take_into(reader, bytes, info->attlen);
		value = info->attbyval ? fetch_att(bytes, true, info->attlen) :
			PointerGetDatum(bytes);
	}
	cell->size = eb_attribute_value(info->type, value, false, &cell->value);
}

static void
take_changed(PackReader *reader, EbCapture *capture)
{
	int16		n;

	take_into(reader, &n, sizeof(n));
	if (n < 0 || n > capture->ncolumns)
		broken_pack();
	capture->nchanged = n;
	for (int i = 0; i < n; i++)
	{
		int16		column;

		take_into(reader, &column, sizeof(column));
		if (column < 0 || column >= capture->ncolumns)
			broken_pack();
		capture->changed[i] = column;
	}
}

/* Takes the record that reader holds, whose head is read, into the cells. */
static void
take_images(PackReader *reader, EbCapture *capture, EbRecord *record)
{
	EbImage    *keys = eb_key_image(capture, record->event);
	EbImage    *other = keys == &capture->new_image ? &capture->old_image :
	&capture->new_image;
	bool		new_image = record->fits &&
		eb_shows_new_image(capture, record->event);
	bool		old_image = record->fits &&
		eb_shows_old_image(capture, record->event);

	for (int i = 0; i < capture->ncolumns && new_image; i++)
		take_value(reader, capture, &capture->new_image, i);
	for (int i = 0; i < capture->ncolumns && old_image; i++)
		take_value(reader, capture, &capture->old_image, i);
	for (int i = 0; i < capture->nkeys && record->keys_fit; i++)
	{
		int			key = capture->keys[i];

		if (!new_image && !old_image)
			take_value(reader, capture, keys, key);
		else if (keys->cells[key].row != capture->row)
			keys->cells[key] = other->cells[key];
	}
	if (record->fits)
		record->size = eb_record_size(capture, record->event);
}

/* The next record of a pack: its number and time, and where it ends. */
static bool
take_record(PackReader *pack, PackReader *record, int64 *number,
			TimestampTz *time)
{
	int32		len;

	if (pack->next == pack->end)
		return false;
	record->next = pack->next;
	take_into(pack, &len, sizeof(len));
	take(pack, len - (int64) sizeof(len));
	record->end = pack->next;
	take(record, sizeof(len));
	take_into(record, number, sizeof(*number));
	take_into(record, time, sizeof(*time));
	return true;
}

static void
read_pack(bytea *data, PackReader *pack)
{
	pack->next = VARDATA_ANY(data);
	pack->end = pack->next + VARSIZE_ANY_EXHDR(data);
}

/* Numbers and times of the records whose number is higher. */
void
eb_unpack_numbers(bytea *data, int64 after, EbNumberSink sink, void *arg)
{
	PackReader	pack;
	PackReader	record;
	TimestampTz time;
	int64		number;
	int32		head_len;

	read_pack(data, &pack);
	take(&pack, 2);
	take_into(&pack, &head_len, sizeof(head_len));
	take(&pack, head_len - 2 - (int64) sizeof(head_len));
	while (take_record(&pack, &record, &number, &time))
	{
		if (number > after)
			sink(number, time, arg);
	}
}

/* An unpacker in the current memory context. */
EbUnpacker *
eb_unpacker_create(void)
{
	EbUnpacker *unpacker = palloc0(sizeof(EbUnpacker));

	unpacker->head_context = AllocSetContextCreate(CurrentMemoryContext,
												   "eventbridge pack",
												   ALLOCSET_SMALL_SIZES);
	unpacker->record_context = AllocSetContextCreate(CurrentMemoryContext,
													 "eventbridge record",
													 ALLOCSET_DEFAULT_SIZES);
	return unpacker;
}

void
eb_unpacker_destroy(EbUnpacker *unpacker)
{
	MemoryContextDelete(unpacker->record_context);
	MemoryContextDelete(unpacker->head_context);
	pfree(unpacker);
}

/* The head of a pack; one that is like the one before is not read again. */
static EbCapture *
get_head(EbUnpacker *unpacker, PackReader *pack)
{
	PackReader	peek = *pack;
	MemoryContext oldcontext;
	int32		len;

	take(&peek, 2);
	take_into(&peek, &len, sizeof(len));
	peek = *pack;
	take(&peek, len);
	if (unpacker->capture != NULL && unpacker->len == len &&
		memcmp(unpacker->head, pack->next, len) == 0)
	{
		pack->next = peek.next;
		return unpacker->capture;
	}

	unpacker->capture = NULL;
	MemoryContextReset(unpacker->head_context);
	oldcontext = MemoryContextSwitchTo(unpacker->head_context);
	unpacker->head = palloc(Max(len, 1));
	memcpy(unpacker->head, pack->next, len);
	unpacker->len = len;
	unpacker->capture = take_head(pack);
	MemoryContextSwitchTo(oldcontext);
	if (pack->next != peek.next)
		broken_pack();
	return unpacker->capture;
}

/* The text of the record that reader holds, before and behind the number. */
static void
write_record(EbCapture *capture, PackReader *reader, TimestampTz time,
			 StringInfo head, StringInfo tail)
{
	EbRecord	record = {0};
	char		event;
	char		flags;

	capture->row++;
	take_into(reader, capture->event_bits, sizeof(capture->event_bits));
	take_into(reader, &event, 1);
	take_into(reader, &flags, 1);
	if (event < 0 || event >= EB_NEVENTS)
		broken_pack();
	record.event = (EbEventName) event;
	record.time = timestamptz_to_time_t(time);
	record.fits = (flags & RECORD_CLAIM_CHECK) == 0;
	record.keys_fit = (flags & RECORD_NO_KEYS) == 0;
	if (!record.fits)
		take_into(reader, &record.size, sizeof(record.size));
	record.expired = (flags & RECORD_EXPIRED) != 0;
	record.tells_changed = (flags & RECORD_CHANGED) != 0;
	if (record.tells_changed)
		take_changed(reader, capture);
	take_images(reader, capture, &record);
	eb_write_event_id(capture);

	initStringInfo(head);
	initStringInfo(tail);
	eb_record_text(capture, &record, head, tail);
}

/*
 * The records after < number <= up_to.  The sink is called in the caller's
 * memory context; the texts that it gets last until it returns.
 */
void
eb_unpack_records(EbUnpacker *unpacker, bytea *data, int64 after, int64 up_to,
				  EbRecordSink sink, void *arg)
{
	PackReader	pack;
	PackReader	reader;
	EbCapture  *capture;
	TimestampTz time;
	int64		number;

	read_pack(data, &pack);
	capture = get_head(unpacker, &pack);
	while (take_record(&pack, &reader, &number, &time))
	{
		MemoryContext oldcontext;
		StringInfoData head;
		StringInfoData tail;

		CHECK_FOR_INTERRUPTS();
		if (number <= after || number > up_to)
			continue;
		oldcontext = MemoryContextSwitchTo(unpacker->record_context);
		write_record(capture, &reader, time, &head, &tail);
		MemoryContextSwitchTo(oldcontext);
		sink(number, time, &head, &tail, arg);
		MemoryContextReset(unpacker->record_context);
	}
}

static void
put_record(int64 number, TimestampTz time, StringInfo head, StringInfo tail,
		   void *arg)
{
	ReturnSetInfo *rsinfo = arg;
	bool		nulls[4] = {0};
	Datum		values[4] = {
		Int64GetDatum(number),
		TimestampTzGetDatum(time),
		PointerGetDatum(cstring_to_text_with_len(head->data, head->len)),
		PointerGetDatum(cstring_to_text_with_len(tail->data, tail->len))
	};

	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	pfree(DatumGetPointer(values[2]));
	pfree(DatumGetPointer(values[3]));
}

/*
 * _unpack_records(pack bytea, after bigint, up_to bigint): the records whose
 * numbers lie between, with their text before and behind the sequence number.
 */
Datum
eb_unpack_records_srf(PG_FUNCTION_ARGS)
{
	InitMaterializedSRF(fcinfo, 0);
	eb_unpack_records(eb_unpacker_create(), PG_GETARG_BYTEA_PP(0),
					  PG_GETARG_INT64(1), PG_GETARG_INT64(2), put_record,
					  fcinfo->resultinfo);
	return (Datum) 0;
}
