/*-------------------------------------------------------------------------
 *
 * read.h
 *	  Reading the log of streams; see read.c.
 *
 *-------------------------------------------------------------------------
 */
#ifndef EB_STREAM_READ_H
#define EB_STREAM_READ_H

#include "datatype/timestamp.h"

#include "log/position.h"
#include "stream/pack.h"

/* A tick's batch of a stream, from some record on. */
typedef struct EbStreamRange
{
	int64		stream_id;
	int64		tick;
	EbLogPosition earlier;		/* the snapshot of the tick before */
	EbLogPosition later;		/* its own */
	int64		after;			/* capture number */
	TimestampTz since;			/* only what was captured later */
} EbStreamRange;

/*
 * The first records of a range, as they lie in their packs.  None is missing
 * up to the last of them; complete says that there are no more behind it.
 */
typedef struct EbStreamRecords
{
	EbPackedRecord *records;
	int			nrecords;
	bool		complete;
} EbStreamRecords;

extern void eb_stream_read(const EbStreamRange *range, int max_records,
						   Size max_bytes, EbStreamRecords *result);

#endif							/* EB_STREAM_READ_H */
