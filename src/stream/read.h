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

typedef struct EbStreamRecord
{
	int64		number;
	TimestampTz time;
	char	   *text;
} EbStreamRecord;

extern EbStreamRecord *eb_stream_read(const EbStreamRange *range,
									  int max_records, int *nrecords);

#endif							/* EB_STREAM_READ_H */
