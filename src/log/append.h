/*-------------------------------------------------------------------------
 *
 * append.h
 *	  Logs: tables that rows are only ever appended to, and that are used by
 *	  turns; see append.c.
 *
 *-------------------------------------------------------------------------
 */
#ifndef EB_APPEND_H
#define EB_APPEND_H

#include "access/htup.h"
#include "access/tupdesc.h"
#include "datatype/timestamp.h"

/* A log lies in this many tables by turns. */
#define EB_LOG_TURNS	3

typedef struct EbPendingRow
{
	SubTransactionId subid;
	HeapTuple	tuple;
} EbPendingRow;

typedef struct EbAppendLog
{
	/* set by who defines the log */
	const char *name;			/* of the tables, less "_N" */
	const char *turn;			/* sequence: which table is written to */

	/* append.c's own */
	struct EbAppendLog *next;
	bool		found;			/* the next two are valid */
	Oid			sequence;
	Oid			tables[EB_LOG_TURNS];
	int			last_turn;
	TimestampTz turn_read_at;	/* when last_turn was; 0: it is not known */
	TupleDesc	desc;			/* equal in all tables of the log, or NULL */
	MemoryContext context;		/* of the rows */
	EbPendingRow *rows;
	int			nrows;
	int			size;
	Size		bytes;
} EbAppendLog;

extern void eb_append_init(void);
extern void eb_append_register(EbAppendLog *log);
extern void eb_append_row(EbAppendLog *log, SubTransactionId subid,
						  const Datum *values, const bool *nulls);
extern int	eb_append_turn(EbAppendLog *log);

#endif							/* EB_APPEND_H */
