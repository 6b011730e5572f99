/*-------------------------------------------------------------------------
 *
 * pack.h
 *	  Packs of row images: what their writer (pack.c, which describes the
 *	  format) and their readers (unpack.c) share.
 *
 *-------------------------------------------------------------------------
 */
#ifndef EB_PACK_H
#define EB_PACK_H

#include "datatype/timestamp.h"
#include "lib/stringinfo.h"
#include "utils/jsonb.h"

#define PACK_VERSION	1

/* flags of a record */
#define RECORD_CLAIM_CHECK	0x01	/* without images */
#define RECORD_NO_KEYS		0x02	/* nor keys */
#define RECORD_CHANGED		0x04	/* with the changed columns */
#define RECORD_EXPIRED		0x08	/* the row has expired */

typedef enum ValueTag
{
	VALUE_NULL,
	VALUE_FIXED,
	VALUE_VARIABLE,
	VALUE_JSON
} ValueTag;

/* A record in its pack. */
typedef struct EbPackedRecord
{
	int64		number;
	TimestampTz time;
	bytea	   *pack;
	const char *data;			/* its event id, and all behind */
	const char *end;
} EbPackedRecord;

typedef void (*EbPackedRecordSink) (const EbPackedRecord *record, void *arg);

/* unpack.c */
typedef struct EbUnpacker EbUnpacker;

extern void eb_pack_scan(bytea *pack, int64 after, EbPackedRecordSink sink,
						 void *arg);

extern EbUnpacker *eb_unpacker_create(void);
extern void eb_unpacker_destroy(EbUnpacker *unpacker);
extern void eb_unpack(EbUnpacker *unpacker, const EbPackedRecord *record,
					  int64 tick);
extern void eb_unpacked_text(EbUnpacker *unpacker, StringInfo out);
extern JsonbValue *eb_unpacked_tree(EbUnpacker *unpacker);

#endif							/* EB_PACK_H */
