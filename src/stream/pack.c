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
#include "stream/pack.h"

/* A pack up to this size lies in a page, with its row; see toast_tuple_target. */
#define PACK_SIZE		Min(8000, BLCKSZ - 192)

/* So many tables have open packs at most. */
#define MAX_PACKS		16

/*
 * A record with more bytes of values than this is kept without its images.
 * So its readers are free of errors: what takes two bytes of a json value may
 * take 72 in a tree of it, and 20 in jsonb, which end at 1 GB and 256 MB.
 */
#define HUGE_RECORD		(16 * 1024 * 1024)

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
	if (capture->expired)
		flags |= RECORD_EXPIRED;

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
