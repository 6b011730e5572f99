/*-------------------------------------------------------------------------
 *
 * unpack.c
 *	  The records of a pack; pack.c describes the format.
 *
 * Who reads first lists the records of packs, and unpacks them later, one at
 * a time and in the order of their numbers, which may lead from pack to pack.
 * Packs mostly begin alike; an unpacker keeps what the heads that it met were
 * read as.
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

/* So many different heads are kept at a time. */
#define MAX_HEADS	16

typedef struct PackHead
{
	const char *bytes;
	int			len;
	EbCapture  *capture;		/* what it was read as */
} PackHead;

struct EbUnpacker
{
	MemoryContext context;		/* of all this */
	MemoryContext head_context;
	MemoryContext record_context;
	int			nheads;
	PackHead	heads[MAX_HEADS];
	bytea	   *pack;			/* of the record at hand; or NULL */

	/* the record at hand */
	EbCapture  *capture;
	EbRecord	record;
	char		sequence_number[2 * MAXINT8LEN + 1];
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

/* Which of two columns comes first in jsonb? */
static int
compare_columns(const void *a, const void *b, void *arg)
{
	const EbColumn *columns = arg;
	const EbColumn *x = &columns[*(const int *) a];
	const EbColumn *y = &columns[*(const int *) b];

	if (x->name_len != y->name_len)
		return x->name_len < y->name_len ? -1 : 1;
	return memcmp(x->name, y->name, x->name_len);
}

static void
sort_columns(EbCapture *capture)
{
	int			n = 0;

	capture->sorted_columns = palloc(sizeof(int) * Max(capture->ncolumns, 1));
	for (int i = 0; i < capture->ncolumns; i++)
		capture->sorted_columns[i] = i;
	qsort_arg(capture->sorted_columns, capture->ncolumns, sizeof(int),
			  compare_columns, capture->columns);

	capture->sorted_keys = palloc(sizeof(int) * Max(capture->nkeys, 1));
	memcpy(capture->sorted_keys, capture->keys, sizeof(int) * capture->nkeys);
	qsort_arg(capture->sorted_keys, capture->nkeys, sizeof(int),
			  compare_columns, capture->columns);
	/* An index may have a column twice. */
	for (int i = 0; i < capture->nkeys; i++)
	{
		if (i == 0 || capture->sorted_keys[i] != capture->sorted_keys[i - 1])
			capture->sorted_keys[n++] = capture->sorted_keys[i];
	}
	capture->nsorted_keys = n;
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
	sort_columns(capture);
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

/* The next record of a pack; false if there are no more. */
static bool
take_record(PackReader *pack, EbPackedRecord *record)
{
	PackReader	reader = *pack;
	int32		len;

	if (pack->next == pack->end)
		return false;
	take_into(pack, &len, sizeof(len));
	take(pack, len - (int64) sizeof(len));
	reader.end = pack->next;
	take(&reader, sizeof(len));
	take_into(&reader, &record->number, sizeof(record->number));
	take_into(&reader, &record->time, sizeof(record->time));
	record->data = reader.next;
	record->end = reader.end;
	return true;
}

/* A reader at the beginning of a pack, and the length of its head. */
static int32
read_pack(bytea *data, PackReader *pack)
{
	PackReader	reader;
	int32		head_len;

	pack->next = VARDATA_ANY(data);
	pack->end = pack->next + VARSIZE_ANY_EXHDR(data);
	reader = *pack;
	take(&reader, 2);
	take_into(&reader, &head_len, sizeof(head_len));
	take(&reader, head_len - 2 - (int64) sizeof(head_len));
	return head_len;
}

/* Lists the records whose number is higher; they point into the pack. */
void
eb_pack_scan(bytea *data, int64 after, EbPackedRecordSink sink, void *arg)
{
	EbPackedRecord record = {.pack = data};
	PackReader	pack;
	int32		head_len = read_pack(data, &pack);

	take(&pack, head_len);
	while (take_record(&pack, &record))
	{
		if (record.number > after)
			sink(&record, arg);
	}
}

/* An unpacker in the current memory context. */
EbUnpacker *
eb_unpacker_create(void)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "eventbridge unpacker",
												  ALLOCSET_SMALL_SIZES);
	EbUnpacker *unpacker = MemoryContextAllocZero(context,
												  sizeof(EbUnpacker));

	unpacker->context = context;
	unpacker->head_context = AllocSetContextCreate(context,
												   "eventbridge heads of packs",
												   ALLOCSET_SMALL_SIZES);
	unpacker->record_context = AllocSetContextCreate(context,
													 "eventbridge record",
													 ALLOCSET_DEFAULT_SIZES);
	return unpacker;
}

void
eb_unpacker_destroy(EbUnpacker *unpacker)
{
	MemoryContextDelete(unpacker->context);
}

/* What the head of a pack was read as, now or before. */
static EbCapture *
get_head(EbUnpacker *unpacker, bytea *data)
{
	MemoryContext oldcontext;
	PackReader	pack;
	int32		len = read_pack(data, &pack);
	PackReader	reader = {.next = pack.next,.end = pack.next + len};
	PackHead   *head;
	char	   *bytes;

	for (int i = 0; i < unpacker->nheads; i++)
	{
		head = &unpacker->heads[i];
		if (head->len == len && memcmp(head->bytes, pack.next, len) == 0)
			return head->capture;
	}
	if (unpacker->nheads == MAX_HEADS)
	{
		unpacker->nheads = 0;
		MemoryContextReset(unpacker->head_context);
	}

	oldcontext = MemoryContextSwitchTo(unpacker->head_context);
	head = &unpacker->heads[unpacker->nheads];
	head->capture = take_head(&reader);
	if (reader.next != reader.end)
		broken_pack();
	bytes = palloc(len);
	memcpy(bytes, pack.next, len);
	head->bytes = bytes;
	head->len = len;
	unpacker->nheads++;
	MemoryContextSwitchTo(oldcontext);
	return head->capture;
}

/* Takes the record that the reader holds, whose head is read. */
static void
take_contents(PackReader *reader, EbCapture *capture, EbRecord *record)
{
	char		event;
	char		flags;

	memset(record, 0, sizeof(EbRecord));
	capture->row++;
	take_into(reader, capture->event_bits, sizeof(capture->event_bits));
	take_into(reader, &event, 1);
	take_into(reader, &flags, 1);
	if (event < 0 || event >= EB_NEVENTS)
		broken_pack();
	record->event = (EbEventName) event;
	record->fits = (flags & RECORD_CLAIM_CHECK) == 0;
	record->keys_fit = (flags & RECORD_NO_KEYS) == 0;
	if (!record->fits)
		take_into(reader, &record->size, sizeof(record->size));
	record->expired = (flags & RECORD_EXPIRED) != 0;
	record->tells_changed = (flags & RECORD_CHANGED) != 0;
	if (record->tells_changed)
		take_changed(reader, capture);
	take_images(reader, capture, record);
	eb_write_event_id(capture);
}

/*
 * Makes this the record at hand, whose text or tree can be had until the next
 * one is.  The pack must stay where it is meanwhile.
 */
void
eb_unpack(EbUnpacker *unpacker, const EbPackedRecord *record, int64 tick)
{
	PackReader	reader = {.next = record->data,.end = record->end};
	MemoryContext oldcontext;

	MemoryContextReset(unpacker->record_context);
	if (unpacker->pack != record->pack)
	{
		unpacker->pack = NULL;
		unpacker->capture = get_head(unpacker, record->pack);
		unpacker->pack = record->pack;
	}
	oldcontext = MemoryContextSwitchTo(unpacker->record_context);
	take_contents(&reader, unpacker->capture, &unpacker->record);
	unpacker->record.time = timestamptz_to_time_t(record->time);
	snprintf(unpacker->sequence_number, sizeof(unpacker->sequence_number),
			 INT64_FORMAT "%019lld", tick, (long long) record->number);
	MemoryContextSwitchTo(oldcontext);
}

/* Appends the text of the record at hand. */
void
eb_unpacked_text(EbUnpacker *unpacker, StringInfo out)
{
	MemoryContext oldcontext;

	oldcontext = MemoryContextSwitchTo(unpacker->record_context);
	eb_record_head(unpacker->capture, &unpacker->record, out);
	appendStringInfoString(out, unpacker->sequence_number);
	eb_record_tail(unpacker->capture, &unpacker->record, out);
	MemoryContextSwitchTo(oldcontext);
}

/* The record at hand as a tree that JsonbValueToJsonb() takes. */
JsonbValue *
eb_unpacked_tree(EbUnpacker *unpacker)
{
	MemoryContext oldcontext;
	JsonbValue *root;

	oldcontext = MemoryContextSwitchTo(unpacker->record_context);
	root = palloc(sizeof(JsonbValue));
	eb_record_tree(unpacker->capture, &unpacker->record,
				   unpacker->sequence_number, root);
	MemoryContextSwitchTo(oldcontext);
	return root;
}

typedef struct UnpackCall
{
	ReturnSetInfo *rsinfo;
	EbUnpacker *unpacker;
	int64		up_to;
} UnpackCall;

static void
put_record(const EbPackedRecord *record, void *arg)
{
	UnpackCall *call = arg;
	EbUnpacker *unpacker = call->unpacker;
	MemoryContext oldcontext;
	StringInfoData head;
	StringInfoData tail;
	bool		nulls[4] = {0};
	Datum		values[4];

	CHECK_FOR_INTERRUPTS();
	if (record->number > call->up_to)
		return;
	eb_unpack(unpacker, record, 0);
	oldcontext = MemoryContextSwitchTo(unpacker->record_context);
	initStringInfo(&head);
	initStringInfo(&tail);
	eb_record_head(unpacker->capture, &unpacker->record, &head);
	eb_record_tail(unpacker->capture, &unpacker->record, &tail);
	values[0] = Int64GetDatum(record->number);
	values[1] = TimestampTzGetDatum(record->time);
	values[2] = PointerGetDatum(cstring_to_text_with_len(head.data, head.len));
	values[3] = PointerGetDatum(cstring_to_text_with_len(tail.data, tail.len));
	tuplestore_putvalues(call->rsinfo->setResult, call->rsinfo->setDesc,
						 values, nulls);
	MemoryContextSwitchTo(oldcontext);
}

/*
 * _unpack_records(pack bytea, after bigint, up_to bigint): the records whose
 * numbers lie between, with their text before and behind the sequence number.
 */
Datum
eb_unpack_records_srf(PG_FUNCTION_ARGS)
{
	UnpackCall	call = {
		.unpacker = eb_unpacker_create(),
		.up_to = PG_GETARG_INT64(2)
	};

	InitMaterializedSRF(fcinfo, 0);
	call.rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	eb_pack_scan(PG_GETARG_BYTEA_PP(0), PG_GETARG_INT64(1), put_record,
				 &call);
	eb_unpacker_destroy(call.unpacker);
	return (Datum) 0;
}
