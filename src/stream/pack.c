/*-------------------------------------------------------------------------
 *
 * pack.c
 *	  Row images of changes, packed, and the records made of them.
 *
 * What a stream keeps is not the record but what the record is made of: the
 * values of the row as they are stored.  Making the text of a record costs
 * several times as much as copying them, and most of it can be left to who
 * reads.  Changes of one table that follow one another in a transaction share
 * a pack, a row of the stream's log that fills about a page: so the costs of
 * a row and of its index entry are shared too.
 *
 * A pack begins with all that its records need but their values: names and
 * types of the columns, which of them are the key, region and ARN.  So it can
 * be read after the table was altered or dropped, and in another cluster.  A
 * value goes in as it is stored only if it means the same there; others, such
 * as those of enums and composite types, go in as the JSON text that they will
 * have in the record.  Values that are stored out of line or compressed are
 * fetched.
 *
 * Numbers are in the byte order of the machine, unaligned:
 *
 *	pack	version (1 byte), view type (1), length of the head (4), number of
 *			columns (2), of key columns (2), the columns, key columns (2
 *			each), region, ARN, then records
 *	column	type (4, or 0: JSON text), name
 *	record	length (4), capture number (8), time (8), event id (16), event (1),
 *			flags (1); if it is a claim check, SizeBytes (8); if it tells the
 *			changed columns, their number (2) and they (2 each); then values:
 *			of the new image, of the old one, as far as the view type shows
 *			them, or of the key columns alone if it shows none
 *	value	tag (1): null; so many bytes as the type has; length (4) and
 *			bytes; or length (4), its share of SizeBytes (8) and JSON text
 *
 * Names, region and ARN end with a zero byte.
 *
 * A pack belongs to a subtransaction, as do the rows of append.c.  At most one
 * subtransaction has open packs, the last one that captured something: packs
 * of its parents are closed when it does.  All are closed before commit.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/detoast.h"
#include "access/tupmacs.h"
#include "access/xact.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "stream/capture.h"

PG_FUNCTION_INFO_V1(eb_unpack_numbers);
PG_FUNCTION_INFO_V1(eb_unpack_records);

#define PACK_VERSION	1

/* A pack up to this size lies in a page, with its row; see toast_tuple_target. */
#define PACK_SIZE		Min(8000, BLCKSZ - 192)

/* So many tables have open packs at most. */
#define MAX_PACKS		16

/*
 * A record with more bytes of values than this is kept without its images,
 * which also keeps its text below 1 GB, and so its readers free of errors.
 */
#define HUGE_RECORD		(64 * 1024 * 1024)

/* flags of a record */
#define RECORD_CLAIM_CHECK	0x01	/* without images */
#define RECORD_NO_KEYS		0x02	/* nor keys */
#define RECORD_CHANGED		0x04	/* with the changed columns */

typedef enum ValueTag
{
	VALUE_NULL,
	VALUE_FIXED,
	VALUE_VARIABLE,
	VALUE_JSON
} ValueTag;

typedef struct OpenPack
{
	EbCapture  *capture;
	StringInfoData data;
	int64		first_number;
	int64		last_number;
	TimestampTz captured_at;
} OpenPack;

static OpenPack packs[MAX_PACKS];
static int	npacks = 0;
static SubTransactionId packs_subid = InvalidSubTransactionId;
static StringInfoData scratch;

/* ---- writing ---- */

static inline void
put(StringInfo out, const void *data, int len)
{
	appendBinaryStringInfo(out, data, len);
}

static void
put_string(StringInfo out, const char *text)
{
	put(out, text, strlen(text) + 1);
}

static void
put_head(StringInfo out, EbCapture *capture)
{
	char		version = PACK_VERSION;
	char		view_type = (char) capture->arguments->view_type;
	int32		len = 0;
	int16		n = (int16) capture->ncolumns;
	int16		nkeys = (int16) capture->nkeys;

	put(out, &version, 1);
	put(out, &view_type, 1);
	put(out, &len, sizeof(len));
	put(out, &n, sizeof(n));
	put(out, &nkeys, sizeof(nkeys));
	for (int i = 0; i < capture->ncolumns; i++)
	{
		Oid			type = eb_value_type_stored_as(capture->columns[i].type);

		put(out, &type, sizeof(type));
		put_string(out, capture->columns[i].name);
	}
	for (int i = 0; i < capture->nkeys; i++)
	{
		int16		key = (int16) capture->keys[i];

		put(out, &key, sizeof(key));
	}
	put_string(out, capture->region);
	put_string(out, capture->arn);
	len = out->len;
	memcpy(out->data + 2, &len, sizeof(len));
}

static void
put_bytes(StringInfo out, ValueTag tag, const char *data, int32 len)
{
	appendStringInfoCharMacro(out, (char) tag);
	put(out, &len, sizeof(len));
	put(out, data, len);
}

/* A value that only this server, at this moment, can convert. */
static void
put_json(StringInfo out, EbCapture *capture, EbImage *image, int column)
{
	EbCell	   *cell = eb_get_cell(capture, image, column);
	StringInfoData json;
	JsonbValue	object;
	int32		len;

	initStringInfo(&json);
	eb_attribute_value_object(&cell->value, &object);
	eb_append_json(&json, &object, MaxAllocSize / 2);
	len = json.len;
	appendStringInfoCharMacro(out, (char) VALUE_JSON);
	put(out, &len, sizeof(len));
	put(out, &cell->size, sizeof(cell->size));
	put(out, json.data, json.len);
	pfree(json.data);
}

static void
put_value(StringInfo out, EbCapture *capture, EbImage *image, int column)
{
	EbColumn   *info = &capture->columns[column];
	bool		isnull;
	Datum		value = slot_getattr(image->slot, info->attnum, &isnull);

	if (isnull)
		appendStringInfoCharMacro(out, (char) VALUE_NULL);
	else if (!info->is_portable)
		put_json(out, capture, image, column);
	else if (info->attlen == -1)
	{
		struct varlena *stored = (struct varlena *) DatumGetPointer(value);
		struct varlena *plain = pg_detoast_datum_packed(stored);

		put_bytes(out, VALUE_VARIABLE, VARDATA_ANY(plain),
				  VARSIZE_ANY_EXHDR(plain));
		if (plain != stored)
			pfree(plain);
	}
	else
	{
		appendStringInfoCharMacro(out, (char) VALUE_FIXED);
		if (info->attbyval)
		{
			char		bytes[sizeof(Datum)];

			store_att_byval(bytes, value, info->attlen);
			put(out, bytes, info->attlen);
		}
		else
			put(out, DatumGetPointer(value), info->attlen);
	}
}

static void
put_image(StringInfo out, EbCapture *capture, EbImage *image)
{
	for (int i = 0; i < capture->ncolumns; i++)
		put_value(out, capture, image, i);
}

/* Bytes of the values that the record has to show. */
static Size
image_size(EbCapture *capture, EbImage *image)
{
	Size		size = 0;

	for (int i = 0; i < capture->ncolumns; i++)
		size += eb_value_length(capture, image, i);
	return size;
}

static Size
keys_size(EbCapture *capture, EbEventName event)
{
	Size		size = 0;

	for (int i = 0; i < capture->nkeys; i++)
		size += eb_value_length(capture, eb_key_image(capture, event),
								capture->keys[i]);
	return size;
}

static void
put_keys(StringInfo out, EbCapture *capture, EbEventName event)
{
	for (int i = 0; i < capture->nkeys; i++)
		put_value(out, capture, eb_key_image(capture, event),
				  capture->keys[i]);
}

static void
put_changed(StringInfo out, EbCapture *capture)
{
	int16		n = (int16) capture->nchanged;

	put(out, &n, sizeof(n));
	for (int i = 0; i < capture->nchanged; i++)
	{
		int16		column = (int16) capture->changed[i];

		put(out, &column, sizeof(column));
	}
}

static void
put_record(StringInfo out, EbCapture *capture, EbEventName event)
{
	bool		new_image = eb_shows_new_image(capture, event);
	bool		old_image = eb_shows_old_image(capture, event);
	TimestampTz time = GetCurrentStatementStartTimestamp();
	char		event_byte = (char) event;
	char		flags = 0;
	int32		len = 0;

	if (capture->has_varlena &&
		(new_image ? image_size(capture, &capture->new_image) : 0) +
		(old_image ? image_size(capture, &capture->old_image) : 0) +
		keys_size(capture, event) > HUGE_RECORD)
		flags |= RECORD_CLAIM_CHECK;
	if (flags != 0 && keys_size(capture, event) > HUGE_RECORD / 2)
		flags |= RECORD_NO_KEYS;
	if (capture->arguments->changed && event == EB_EVENT_MODIFY)
		flags |= RECORD_CHANGED;

	put(out, &len, sizeof(len));
	put(out, &capture->number, sizeof(capture->number));
	put(out, &time, sizeof(time));
	put(out, capture->event_bits, sizeof(capture->event_bits));
	put(out, &event_byte, 1);
	put(out, &flags, 1);
	if (flags & RECORD_CLAIM_CHECK)
	{
		int64		size = eb_record_size(capture, event);

		put(out, &size, sizeof(size));
		new_image = old_image = false;
	}
	if (flags & RECORD_CHANGED)
		put_changed(out, capture);
	if (new_image)
		put_image(out, capture, &capture->new_image);
	if (old_image)
		put_image(out, capture, &capture->old_image);
	if (!new_image && !old_image && !(flags & RECORD_NO_KEYS))
		put_keys(out, capture, event);
	len = out->len;
	memcpy(out->data, &len, sizeof(len));
}

/* ---- open packs ---- */

static void
close_pack(int i)
{
	OpenPack   *pack = &packs[i];

	eb_stream_log_append(pack->capture->wants, packs_subid,
						 pack->captured_at, pack->first_number,
						 pack->last_number, &pack->data);
	pfree(pack->data.data);
	npacks--;
	memmove(&packs[i], &packs[i + 1], sizeof(OpenPack) * (npacks - i));
}

static void
close_packs(void)
{
	while (npacks > 0)
		close_pack(0);
}

/* The table's open pack, with room for so many bytes more. */
static OpenPack *
get_pack(EbCapture *capture, int len)
{
	MemoryContext oldcontext;
	OpenPack   *pack;

	for (int i = npacks - 1; i >= 0; i--)
	{
		if (packs[i].capture != capture)
			continue;
		if (packs[i].data.len + len <= PACK_SIZE)
			return &packs[i];
		close_pack(i);
		break;
	}
	if (npacks == MAX_PACKS)
		close_pack(0);

	pack = &packs[npacks];
	oldcontext = MemoryContextSwitchTo(TopTransactionContext);
	initStringInfo(&pack->data);
	MemoryContextSwitchTo(oldcontext);
	pack->capture = capture;
	pack->first_number = capture->number;
	put_head(&pack->data, capture);
	npacks++;
	return pack;
}

/*
 * Keeps the change of the row whose images are in the capture, in the current
 * subtransaction.  The capture has a number and an event id.
 */
void
eb_pack_change(EbCapture *capture, EbEventName event)
{
	OpenPack   *pack;

	if (scratch.data == NULL)
	{
		MemoryContext oldcontext = MemoryContextSwitchTo(TopMemoryContext);

		initStringInfo(&scratch);
		MemoryContextSwitchTo(oldcontext);
	}
	resetStringInfo(&scratch);
	put_record(&scratch, capture, event);

	if (packs_subid != GetCurrentSubTransactionId())
	{
		close_packs();
		packs_subid = GetCurrentSubTransactionId();
	}
	pack = get_pack(capture, scratch.len);
	put(&pack->data, scratch.data, scratch.len);
	pack->last_number = capture->number;
	pack->captured_at = GetCurrentStatementStartTimestamp();

	/* The memory of a huge record is not kept for the next one. */
	if (scratch.maxlen > 1024 * 1024)
	{
		pfree(scratch.data);
		scratch.data = NULL;
	}
}

static void
xact_callback(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_PRE_COMMIT:
		case XACT_EVENT_PRE_PREPARE:
			close_packs();
			break;
		case XACT_EVENT_COMMIT:
		case XACT_EVENT_PREPARE:
		case XACT_EVENT_ABORT:
			/* Their memory goes with the transaction. */
			npacks = 0;
			packs_subid = InvalidSubTransactionId;
			break;
		default:
			break;
	}
}

static void
subxact_callback(SubXactEvent event, SubTransactionId subid,
				 SubTransactionId parent, void *arg)
{
	/* A subtransaction's number is higher than those of its parents. */
	if (packs_subid < subid)
		return;
	if (event == SUBXACT_EVENT_COMMIT_SUB)
		packs_subid = parent;
	else if (event == SUBXACT_EVENT_ABORT_SUB)
	{
		while (npacks > 0)
			pfree(packs[--npacks].data.data);
		packs_subid = parent;
	}
}

/* To be called after eb_append_init(); see there. */
void
eb_pack_init(void)
{
	RegisterXactCallback(xact_callback, NULL);
	RegisterSubXactCallback(subxact_callback, NULL);
}

/* ---- reading ---- */

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

/*
 * _unpack_numbers(pack bytea, after bigint): numbers and times of the records
 * whose number is higher.
 */
Datum
eb_unpack_numbers(PG_FUNCTION_ARGS)
{
	int64		after = PG_GETARG_INT64(1);
	ReturnSetInfo *rsinfo;
	PackReader	pack;
	PackReader	record;
	Datum		values[2];
	bool		nulls[2] = {0};
	TimestampTz time;
	int64		number;
	int32		head_len;

	InitMaterializedSRF(fcinfo, 0);
	rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	read_pack(PG_GETARG_BYTEA_PP(0), &pack);
	take(&pack, 2);
	take_into(&pack, &head_len, sizeof(head_len));
	take(&pack, head_len - 2 - (int64) sizeof(head_len));
	while (take_record(&pack, &record, &number, &time))
	{
		if (number <= after)
			continue;
		values[0] = Int64GetDatum(number);
		values[1] = TimestampTzGetDatum(time);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values,
							 nulls);
	}
	return (Datum) 0;
}

/* What the last pack began with, and what it was read as. */
typedef struct HeadCache
{
	MemoryContext context;
	char	   *head;
	int			len;
	EbCapture  *capture;
} HeadCache;

/* The head of a pack; one that is like the one before is not read again. */
static EbCapture *
get_head(FunctionCallInfo fcinfo, PackReader *pack)
{
	HeadCache  *cache = fcinfo->flinfo->fn_extra;
	PackReader	peek = *pack;
	MemoryContext oldcontext;
	int32		len;

	take(&peek, 2);
	take_into(&peek, &len, sizeof(len));
	peek = *pack;
	take(&peek, len);
	if (cache != NULL && cache->capture != NULL && cache->len == len &&
		memcmp(cache->head, pack->next, len) == 0)
	{
		pack->next = peek.next;
		return cache->capture;
	}

	if (cache == NULL)
	{
		cache = MemoryContextAllocZero(fcinfo->flinfo->fn_mcxt,
									   sizeof(HeadCache));
		cache->context = AllocSetContextCreate(fcinfo->flinfo->fn_mcxt,
											   "eventbridge pack",
											   ALLOCSET_SMALL_SIZES);
		fcinfo->flinfo->fn_extra = cache;
	}
	cache->capture = NULL;
	MemoryContextReset(cache->context);
	oldcontext = MemoryContextSwitchTo(cache->context);
	cache->head = palloc(Max(len, 1));
	memcpy(cache->head, pack->next, len);
	cache->len = len;
	cache->capture = take_head(pack);
	MemoryContextSwitchTo(oldcontext);
	if (pack->next != peek.next)
		broken_pack();
	return cache->capture;
}

/*
 * _unpack_records(pack bytea, after bigint, up_to bigint): the records whose
 * numbers lie between, with their text before and behind the sequence number.
 */
Datum
eb_unpack_records(PG_FUNCTION_ARGS)
{
	int64		after = PG_GETARG_INT64(1);
	int64		up_to = PG_GETARG_INT64(2);
	ReturnSetInfo *rsinfo;
	PackReader	pack;
	PackReader	reader;
	EbCapture  *capture;
	MemoryContext context;
	MemoryContext oldcontext;
	TimestampTz time;
	int64		number;

	InitMaterializedSRF(fcinfo, 0);
	rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	read_pack(PG_GETARG_BYTEA_PP(0), &pack);
	capture = get_head(fcinfo, &pack);
	context = AllocSetContextCreate(CurrentMemoryContext,
									"eventbridge record",
									ALLOCSET_DEFAULT_SIZES);
	while (take_record(&pack, &reader, &number, &time))
	{
		Datum		values[4];
		bool		nulls[4] = {0};
		StringInfoData head;
		StringInfoData tail;
		EbRecord	record = {0};
		char		event;
		char		flags;

		CHECK_FOR_INTERRUPTS();
		if (number <= after || number > up_to)
			continue;
		oldcontext = MemoryContextSwitchTo(context);
		capture->row++;
		take_into(&reader, capture->event_bits, sizeof(capture->event_bits));
		take_into(&reader, &event, 1);
		take_into(&reader, &flags, 1);
		if (event < 0 || event >= EB_NEVENTS)
			broken_pack();
		record.event = (EbEventName) event;
		record.time = timestamptz_to_time_t(time);
		record.fits = (flags & RECORD_CLAIM_CHECK) == 0;
		record.keys_fit = (flags & RECORD_NO_KEYS) == 0;
		if (!record.fits)
			take_into(&reader, &record.size, sizeof(record.size));
		record.tells_changed = (flags & RECORD_CHANGED) != 0;
		if (record.tells_changed)
			take_changed(&reader, capture);
		take_images(&reader, capture, &record);
		eb_write_event_id(capture);

		initStringInfo(&head);
		initStringInfo(&tail);
		eb_record_text(capture, &record, &head, &tail);
		values[0] = Int64GetDatum(number);
		values[1] = TimestampTzGetDatum(time);
		values[2] = PointerGetDatum(cstring_to_text_with_len(head.data,
															 head.len));
		values[3] = PointerGetDatum(cstring_to_text_with_len(tail.data,
															 tail.len));
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values,
							 nulls);
		MemoryContextSwitchTo(oldcontext);
		MemoryContextReset(context);
	}
	MemoryContextDelete(context);
	return (Datum) 0;
}
