/*-------------------------------------------------------------------------
 *
 * internal.h
 *	  What the rooms with tables of their own share: statements that run as
 *	  the owner of those tables, and locks.
 *
 *-------------------------------------------------------------------------
 */
#ifndef EB_INTERNAL_H
#define EB_INTERNAL_H

#include "executor/spi.h"
#include "storage/lock.h"

/* A table, index or sequence of ours. */
extern Oid	eb_relation(const char *name);

extern uint64 eb_internal_execute(SPIPlanPtr *plan, const char *sql,
								  int nargs, const Oid *types,
								  Datum *values, const char *nulls);

extern void eb_internal_call(SPIPlanPtr *plan, const char *sql, int nargs,
							 const Oid *types, Datum *values,
							 const char *nulls);

extern uint64 eb_internal_look(SPIPlanPtr *plan, const char *sql,
							   int nargs, const Oid *types,
							   Datum *values, const char *nulls);

extern uint64 eb_internal_read(SPIPlanPtr *plan, const char *sql,
							   int nargs, const Oid *types,
							   Datum *values, const char *nulls);

/* A column, from 1, of a row of the last statement's result, from 0. */
extern Datum eb_result(uint64 row, int column, bool *isnull);
extern char *eb_result_text(uint64 row, int column);
extern int64 eb_result_int64(uint64 row, int column);
extern int32 eb_result_int32(uint64 row, int column);
extern Oid	eb_result_oid(uint64 row, int column);
extern bool eb_result_bool(uint64 row, int column);

/* A text argument; *null is set as SPI wants it. */
extern Datum eb_text_or_null(const char *s, char *null);

/* Whom a lock keeps out of what; see internal.c. */
typedef enum EbLockClass
{
	EB_LOCK_CLAIM = 0xEB00,		/* who takes the next batch of a lane */
	EB_LOCK_BATCH,				/* who works on a batch */
	EB_LOCK_RETRY,				/* who works on a retry */
	EB_LOCK_PROCEDURE,			/* and whose procedure may abort */
	EB_LOCK_ORDER,				/* who claims from the groups of a lane */
	EB_LOCK_BELL,				/* who sleeps */
	EB_LOCK_MAINTENANCE,		/* who rotates */
	EB_LOCK_TICK,				/* who ends a batch of stream records */
	EB_LOCK_PIPE,				/* who serves a pipe */
	EB_LOCK_RULES,				/* who puts rules into shared memory */
	EB_LOCK_QUEUE_GROUP			/* who receives from a group of a FIFO queue */
} EbLockClass;

extern bool eb_lock(EbLockClass class, uint32 key1, uint32 key2,
					LOCKMODE mode, bool session, bool wait);
extern void eb_unlock(EbLockClass class, uint32 key1, uint32 key2,
					  LOCKMODE mode, bool session);

/* The same, exclusive and the session's, and no abort releases it. */
extern bool eb_lock_beyond_abort(EbLockClass class, uint32 key1, uint32 key2);
extern void eb_unlock_beyond_abort(EbLockClass class, uint32 key1,
								   uint32 key2);

#endif							/* EB_INTERNAL_H */
