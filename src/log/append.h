/*-------------------------------------------------------------------------
 *
 * append.h
 *	  Logs: tables that rows are only ever appended to, in sets that are used
 *	  by turns; see append.c.
 *
 *-------------------------------------------------------------------------
 */
#ifndef EB_APPEND_H
#define EB_APPEND_H

#include "access/htup.h"
#include "access/tupdesc.h"
#include "datatype/timestamp.h"
#include "executor/spi.h"
#include "storage/lockdefs.h"
#include "utils/relcache.h"

/* There are so many sets of a log's tables. */
#define EB_LOG_SETS		3

typedef struct EbPendingRow
{
	SubTransactionId subid;
	HeapTuple	tuple;
} EbPendingRow;

typedef struct EbAppendLog
{
	/* set by who defines the log */
	const char *name;			/* of the table that rows are appended to */
	const char *index_suffix;	/* its readers' index is T_suffix */
	const char *turn;			/* sequence: which set is written to */

	struct EbAppendLog *next;	/* another one; see eb_append_logs */
	SPIPlanPtr	rotate_plan;	/* of who has it rotate */
	SPIPlanPtr	turn_plan;

	/* append.c's own */
	bool		found;			/* the next two are valid */
	Oid			sequence;
	Oid			tables[EB_LOG_SETS];
	int			last_turn;
	TimestampTz turn_read_at;	/* when last_turn was; 0: it is not known */
	TupleDesc	desc;			/* equal in all sets, or NULL */
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
extern EbAppendLog *eb_append_logs(void);
extern Oid	eb_append_table(EbAppendLog *log, int set_no);
extern Relation eb_append_open(EbAppendLog *log, int set_no, LOCKMODE mode,
							   Relation *index);
extern void eb_append_execute(EbAppendLog *log, SPIPlanPtr *plans,
							  const char *sql, int nargs, const Oid *types,
							  Datum *values, const char *nulls);

#endif							/* EB_APPEND_H */
