/*-------------------------------------------------------------------------
 *
 * log.h
 *	  The tables of the stream log; see log.c.
 *
 *-------------------------------------------------------------------------
 */
#ifndef EB_STREAM_LOG_H
#define EB_STREAM_LOG_H

#include "log/append.h"

/* Columns of stream_log_N, in the order of sql/parts/stream_log.sql. */
enum
{
	EB_STREAM_LOG_XID = 1,
	EB_STREAM_LOG_STREAM_ID,
	EB_STREAM_LOG_CAPTURED_AT,
	EB_STREAM_LOG_FIRST_NUMBER,
	EB_STREAM_LOG_LAST_NUMBER,
	EB_STREAM_LOG_PACK,
	EB_STREAM_LOG_NATTS = EB_STREAM_LOG_PACK
};

/* Columns of its index. */
enum
{
	EB_STREAM_INDEX_XID = 1,
	EB_STREAM_INDEX_STREAM_ID,
	EB_STREAM_INDEX_FIRST_NUMBER,
	EB_STREAM_INDEX_LAST_NUMBER
};

extern EbAppendLog eb_stream_log;

#endif							/* EB_STREAM_LOG_H */
