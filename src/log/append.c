/*-------------------------------------------------------------------------
 *
 * append.c
 *	  Appending rows to a log, many at a time.
 *
 * A log consists of EB_LOG_SETS sets of tables.  What is put here goes to the
 * table that has the log's name and the number of the set behind it; the
 * others of the set are written by SQL.  A sequence tells which set is written
 * to.  It is advanced outside of transactions and read without a lock; nobody
 * relies on it: a writer who read it long ago still writes a row that is
 * found, because readers look into all sets.  So it need not be read each
 * time, either.  How sets are emptied is said in sql/parts/log.sql.
 *
 * Rows are buffered and written a page at a time, when there are many and
 * before commit or prepare.  A row must be written under the subtransaction
 * that made it.  So the buffer notes that for each row: when a subtransaction
 * aborts, its rows are dropped, when it commits, they become its parent's,
 * and when the buffer is full, only the current one's are written.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/index.h"
#include "catalog/pg_type.h"
#include "commands/sequence.h"
#include "executor/executor.h"
#include "executor/tuptable.h"
#include "storage/bufmgr.h"
#include "storage/bufpage.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "log/append.h"
#include "log/internal.h"

/* The buffer is written when so many rows, or so many bytes, wait in it. */
#define FLUSH_ROWS	1000
#define FLUSH_BYTES (1024 * 1024)

/* For so many microseconds nobody asks again which set is written to. */
#define TURN_INTERVAL	(100 * INT64CONST(1000))

static EbAppendLog *logs = NULL;

/* May run at any time: says what is stale, and nothing else. */
static void
forget_relations(Datum arg, Oid relid)
{
	for (EbAppendLog *log = logs; log != NULL; log = log->next)
	{
		bool		concerned = !OidIsValid(relid) || relid == log->sequence;

		for (int i = 0; i < EB_LOG_SETS; i++)
			concerned = concerned || relid == log->tables[i];
		if (concerned)
		{
			log->found = false;
			log->turn_read_at = 0;
		}
	}
}

/*
 * Finds the log's relations by their names, unless they are known and have not
 * changed since.  The shape of a row may have changed with them.
 */
static void
find_relations(EbAppendLog *log)
{
	char		name[NAMEDATALEN];

	if (log->found)
		return;
	log->sequence = eb_relation(log->turn);
	for (int i = 0; i < EB_LOG_SETS; i++)
	{
		snprintf(name, sizeof(name), "%s_%d", log->name, i);
		log->tables[i] = eb_relation(name);
	}
	log->found = true;
	if (log->desc != NULL && log->nrows == 0)
	{
		FreeTupleDesc(log->desc);
		log->desc = NULL;
	}
}

/*
 * Opens one of the log's relations.  It may have been dropped, and created
 * anew, since it was found.
 */
static Relation
open_found(EbAppendLog *log, const Oid *relid, LOCKMODE mode)
{
	for (;;)
	{
		Relation	rel;

		find_relations(log);
		rel = try_relation_open(*relid, mode);
		if (rel != NULL)
			return rel;
		log->found = false;
	}
}

/* Reads the sequence's only page as nextval does. */
static int64
read_sequence(EbAppendLog *log)
{
	Relation	rel = open_found(log, &log->sequence, AccessShareLock);
	Buffer		buffer = ReadBuffer(rel, 0);
	Page		page;
	ItemId		item;
	HeapTupleData tuple;
	int64		value;

	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	page = BufferGetPage(buffer);
	item = PageGetItemId(page, FirstOffsetNumber);
	tuple.t_data = (HeapTupleHeader) PageGetItem(page, item);
	value = ((Form_pg_sequence_data) GETSTRUCT(&tuple))->last_value;
	UnlockReleaseBuffer(buffer);
	relation_close(rel, AccessShareLock);
	return value;
}

/* Which set is written to, or was a moment ago. */
static int
current_set(EbAppendLog *log)
{
	TimestampTz now = GetCurrentTimestamp();

	if (log->turn_read_at == 0 || now < log->turn_read_at ||
		now - log->turn_read_at > TURN_INTERVAL)
	{
		log->last_turn = (int) (read_sequence(log) % EB_LOG_SETS);
		log->turn_read_at = now;
	}
	return log->last_turn;
}

/* The table of a set that rows are appended to. */
Oid
eb_append_table(EbAppendLog *log, int set_no)
{
	find_relations(log);
	return log->tables[set_no];
}

/* Opens it, and its readers' index, both with the lock. */
Relation
eb_append_open(EbAppendLog *log, int set_no, LOCKMODE mode, Relation *index)
{
	Relation	rel = open_found(log, &log->tables[set_no], mode);
	char		name[NAMEDATALEN];

	snprintf(name, sizeof(name), "%s_%d_%s", log->name, set_no,
			 log->index_suffix);
	*index = index_open(eb_relation(name), mode);
	return rel;
}

/*
 * Runs a statement of ours on the set that is written to, whose number stands
 * for the %d in it.  "plans" has a plan for each set.  SPI must be connected.
 */
void
eb_append_execute(EbAppendLog *log, SPIPlanPtr *plans, const char *sql,
				  int nargs, const Oid *types, Datum *values,
				  const char *nulls)
{
	int			set_no = current_set(log);
	char	   *statement = psprintf(sql, set_no);

	eb_internal_call(&plans[set_no], statement, nargs, types, values, nulls);
	pfree(statement);
}

/* Takes the shape of a row from one of the tables. */
static void
lookup_desc(EbAppendLog *log)
{
	Relation	rel;
	MemoryContext oldcontext;

	find_relations(log);
	if (log->desc != NULL)
		return;
	rel = open_found(log, &log->tables[0], AccessShareLock);
	oldcontext = MemoryContextSwitchTo(TopMemoryContext);
	log->desc = CreateTupleDescCopy(RelationGetDescr(rel));
	MemoryContextSwitchTo(oldcontext);
	relation_close(rel, AccessShareLock);
}

/* Room for one more row. */
static void
reserve(EbAppendLog *log)
{
	if (log->context == NULL)
		log->context = AllocSetContextCreate(TopTransactionContext,
											 "eventbridge pending rows",
											 ALLOCSET_DEFAULT_SIZES);
	if (log->nrows < log->size)
		return;
	if (log->rows == NULL)
	{
		log->size = 64;
		log->rows = MemoryContextAlloc(TopTransactionContext,
									   log->size * sizeof(EbPendingRow));
	}
	else
	{
		log->size *= 2;
		log->rows = repalloc(log->rows, log->size * sizeof(EbPendingRow));
	}
}

/*
 * Makes the entries of one index for rows that have been written.  The log has
 * one index that our readers use.  There may be others: somebody's own, or one
 * that REINDEX CONCURRENTLY is about to put in the place of ours.
 */
static void
insert_index_entries(Relation rel, Oid index_oid, TupleTableSlot **slots,
					 int nrows)
{
	Relation	index = index_open(index_oid, RowExclusiveLock);
	IndexInfo  *info = BuildIndexInfo(index);
	EState	   *estate = NULL;
	ExprState  *predicate = NULL;

	if (info->ii_Expressions != NIL || info->ii_Predicate != NIL)
	{
		estate = CreateExecutorState();
		predicate = ExecPrepareQual(info->ii_Predicate, estate);
	}
	for (int i = 0; i < nrows && info->ii_ReadyForInserts; i++)
	{
		Datum		values[INDEX_MAX_KEYS];
		bool		nulls[INDEX_MAX_KEYS];

		if (estate != NULL)
		{
			ResetPerTupleExprContext(estate);
			GetPerTupleExprContext(estate)->ecxt_scantuple = slots[i];
			if (!ExecQual(predicate, GetPerTupleExprContext(estate)))
				continue;
		}
		FormIndexDatum(info, slots[i], estate, values, nulls);
		index_insert(index, values, nulls, &slots[i]->tts_tid, rel,
					 info->ii_Unique ? UNIQUE_CHECK_YES : UNIQUE_CHECK_NO,
					 false, info);
	}
	if (estate != NULL)
		FreeExecutorState(estate);

	/* The lock stays until the end: rotation finds out by it. */
	index_close(index, NoLock);
}

/* Writes the rows from "first" on, and their index entries. */
static void
write_rows(EbAppendLog *log, int first)
{
	int			set_no = current_set(log);
	int			nrows = log->nrows - first;
	Relation	rel = open_found(log, &log->tables[set_no], RowExclusiveLock);
	List	   *indexes = RelationGetIndexList(rel);
	TupleTableSlot **slots = palloc(sizeof(TupleTableSlot *) * nrows);
	ListCell   *cell;

	for (int i = 0; i < nrows; i++)
	{
		slots[i] = MakeSingleTupleTableSlot(RelationGetDescr(rel),
											&TTSOpsHeapTuple);
		ExecStoreHeapTuple(log->rows[first + i].tuple, slots[i], false);
	}
	heap_multi_insert(rel, slots, nrows, GetCurrentCommandId(true), 0, NULL);
	foreach(cell, indexes)
		insert_index_entries(rel, lfirst_oid(cell), slots, nrows);

	for (int i = 0; i < nrows; i++)
		ExecDropSingleTupleTableSlot(slots[i]);
	pfree(slots);
	list_free(indexes);

	/* The lock stays until the end, like that of the index. */
	relation_close(rel, NoLock);
}

/*
 * Writes those rows of the buffer that the current subtransaction made; they
 * are its last ones.
 */
static void
flush(EbAppendLog *log)
{
	SubTransactionId subid = GetCurrentSubTransactionId();
	int			first = log->nrows;
	bool		pushed = false;

	while (first > 0 && log->rows[first - 1].subid == subid)
		first--;
	if (first == log->nrows)
		return;

	/* At commit there is no snapshot left, but out-of-line storage wants one. */
	if (!ActiveSnapshotSet())
	{
		PushActiveSnapshot(GetTransactionSnapshot());
		pushed = true;
	}
	write_rows(log, first);
	if (pushed)
		PopActiveSnapshot();

	/* Rows of the parents stay; what they take is not worth counting. */
	log->nrows = first;
	log->bytes = 0;
	if (log->nrows == 0)
		MemoryContextReset(log->context);
}

/*
 * Appends a row that the subtransaction made, which is the current one or a
 * parent of it that has had no row of this log appended since the current one
 * began to.  It is copied, and need not be visible in the table before commit.
 */
void
eb_append_row(EbAppendLog *log, SubTransactionId subid, const Datum *values,
			  const bool *nulls)
{
	MemoryContext oldcontext;
	EbPendingRow *row;

	lookup_desc(log);
	reserve(log);
	oldcontext = MemoryContextSwitchTo(log->context);
	row = &log->rows[log->nrows];
	row->subid = subid;
	row->tuple = heap_form_tuple(log->desc, (Datum *) values, (bool *) nulls);
	log->nrows++;
	log->bytes += row->tuple->t_len;
	MemoryContextSwitchTo(oldcontext);

	if (log->nrows >= FLUSH_ROWS || log->bytes >= FLUSH_BYTES)
		flush(log);
}

static void
xact_callback(XactEvent event, void *arg)
{
	for (EbAppendLog *log = logs; log != NULL; log = log->next)
	{
		switch (event)
		{
			case XACT_EVENT_PRE_COMMIT:
			case XACT_EVENT_PRE_PREPARE:
				if (log->nrows > 0)
					flush(log);
				break;
			case XACT_EVENT_COMMIT:
			case XACT_EVENT_PREPARE:
			case XACT_EVENT_ABORT:
				/* The buffer's memory goes with the transaction. */
				log->context = NULL;
				log->rows = NULL;
				log->nrows = 0;
				log->size = 0;
				log->bytes = 0;
				break;
			default:
				break;
		}
	}
}

static void
subxact_callback(SubXactEvent event, SubTransactionId subid,
				 SubTransactionId parent, void *arg)
{
	for (EbAppendLog *log = logs; log != NULL; log = log->next)
	{
		if (event == SUBXACT_EVENT_COMMIT_SUB)
		{
			for (int i = log->nrows - 1;
				 i >= 0 && log->rows[i].subid == subid; i--)
				log->rows[i].subid = parent;
		}
		else if (event == SUBXACT_EVENT_ABORT_SUB)
		{
			/* A subtransaction's number is higher than those of its parents. */
			while (log->nrows > 0 && log->rows[log->nrows - 1].subid >= subid)
				log->nrows--;
		}
	}
}

/* Has rows of this log written; it must live as long as the process. */
void
eb_append_register(EbAppendLog *log)
{
	log->next = logs;
	logs = log;
}

/* The first of all logs. */
EbAppendLog *
eb_append_logs(void)
{
	return logs;
}

/*
 * Callbacks run in the reverse order of their registration; whoever appends
 * at pre-commit must register later than this, so that what it appends is
 * written.
 */
void
eb_append_init(void)
{
	RegisterXactCallback(xact_callback, NULL);
	RegisterSubXactCallback(subxact_callback, NULL);
	CacheRegisterRelcacheCallback(forget_relations, (Datum) 0);
}
