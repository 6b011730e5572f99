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

/* unpack.c */
typedef struct EbUnpacker EbUnpacker;
typedef void (*EbNumberSink) (int64 number, TimestampTz time, void *arg);
typedef void (*EbRecordSink) (int64 number, TimestampTz time, StringInfo head,
							  StringInfo tail, void *arg);

extern EbUnpacker *eb_unpacker_create(void);
extern void eb_unpacker_destroy(EbUnpacker *unpacker);
extern void eb_unpack_numbers(bytea *data, int64 after, EbNumberSink sink,
							  void *arg);
extern void eb_unpack_records(EbUnpacker *unpacker, bytea *data, int64 after,
							  int64 up_to, EbRecordSink sink, void *arg);

#endif							/* EB_PACK_H */
