/*-------------------------------------------------------------------------
 *
 * internal.c
 *	  Statements of our own, and our locks.
 *
 * Deliveries run in the sessions of ordinary roles, next to user code that
 * may have changed search_path; changes of tables are captured in any.  Our
 * own statements read and write tables that those roles have no right to, so
 * they run as the owner of the extension's tables, with a search_path that
 * holds pg_catalog alone.  No user code runs inside.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/lock.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "compat.h"
#include "log/internal.h"

Oid
eb_relation(const char *name)
{
	Oid			relid = get_relname_relid(name,
										  get_namespace_oid("eventbridge",
															false));

	if (!OidIsValid(relid))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("relation \"eventbridge.%s\" does not exist", name),
				 errhint("The extension is not created in this database.")));
	return relid;
}

static Oid
relation_owner(Oid relid)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	Oid			owner;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for relation %u", relid);
	owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
	ReleaseSysCache(tuple);
	return owner;
}

typedef struct Internal
{
	Oid			userid;
	int			sec_context;
	int			guc_level;
} Internal;

/*
 * From here to end() the session is the extension's owner.  An
 * error in between puts everything back, as (sub)transaction abort does.
 */
static void
begin(Internal *state)
{
	GetUserIdAndSecContext(&state->userid, &state->sec_context);
	SetUserIdAndSecContext(relation_owner(eb_relation("delivery_retry")),
						   state->sec_context | SECURITY_LOCAL_USERID_CHANGE |
						   SECURITY_RESTRICTED_OPERATION);
	state->guc_level = NewGUCNestLevel();
	(void) set_config_option("search_path", "pg_catalog, pg_temp",
							 PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE,
							 true, 0, false);
}

static void
end(Internal *state)
{
	AtEOXact_GUC(false, state->guc_level);
	SetUserIdAndSecContext(state->userid, state->sec_context);
}

/*
 * Runs a statement whose plan is kept in *plan.  One plan serves all arguments:
 * our statements are written for an index, and the server would go on planning
 * some of them anew each time, because it can guess less of the generic plan.
 * Leaves the memory context as it was, which SPI does not.
 */
static uint64
execute(SPIPlanPtr *plan, const char *sql, int nargs, const Oid *types,
		Datum *values, const char *nulls, bool read_only)
{
	MemoryContext oldcontext = CurrentMemoryContext;
	Internal	state;
	int			result;

	begin(&state);
	if (*plan == NULL)
	{
		SPIPlanPtr	prepared = SPI_prepare_cursor(sql, nargs, (Oid *) types,
												  CURSOR_OPT_GENERIC_PLAN);

		if (prepared == NULL)
			elog(ERROR, "could not prepare \"%s\": %s", sql,
				 SPI_result_code_string(SPI_result));
		SPI_keepplan(prepared);
		*plan = prepared;
	}
	result = SPI_execute_plan(*plan, values, nulls, read_only, 0);
	if (result < 0)
		elog(ERROR, "could not execute \"%s\": %s", sql,
			 SPI_result_code_string(result));
	end(&state);
	MemoryContextSwitchTo(oldcontext);
	return SPI_processed;
}

/* A text argument; *null is set as SPI wants it. */
Datum
eb_text_or_null(const char *s, char *null)
{
	*null = (s == NULL) ? 'n' : ' ';
	return s == NULL ? (Datum) 0 : CStringGetTextDatum(s);
}

/*
 * Runs one statement of ours, whose plan is kept in *plan; the result is in
 * SPI_tuptable, and lasts until the connection ends.  SPI must be connected.
 * Returns the number of rows.
 */
uint64
eb_internal_execute(SPIPlanPtr *plan, const char *sql, int nargs,
					const Oid *types, Datum *values, const char *nulls)
{
	return execute(plan, sql, nargs, types, values, nulls, false);
}

/*
 * The same for a statement whose result, if it has one, nobody looks at.  A
 * result takes memory until the connection ends, unless it is freed.
 */
void
eb_internal_call(SPIPlanPtr *plan, const char *sql, int nargs,
				 const Oid *types, Datum *values, const char *nulls)
{
	(void) execute(plan, sql, nargs, types, values, nulls, false);
	SPI_freetuptable(SPI_tuptable);
}

/* The same for a statement that only reads, and sees what its caller's does. */
uint64
eb_internal_look(SPIPlanPtr *plan, const char *sql, int nargs,
				 const Oid *types, Datum *values, const char *nulls)
{
	return execute(plan, sql, nargs, types, values, nulls, true);
}

/*
 * The same for a statement that only reads, and that sees what is committed
 * now, and what this transaction did, also under REPEATABLE READ: as the
 * server reads its own catalogs.
 */
uint64
eb_internal_read(SPIPlanPtr *plan, const char *sql, int nargs,
				 const Oid *types, Datum *values, const char *nulls)
{
	uint64		nrows;

	PushActiveSnapshot(GetLatestSnapshot());
	nrows = eb_internal_look(plan, sql, nargs, types, values, nulls);
	PopActiveSnapshot();
	return nrows;
}

Datum
eb_result(uint64 row, int column, bool *isnull)
{
	return SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc,
						 column, isnull);
}

/* A string in the current memory context; NULL for null. */
char *
eb_result_text(uint64 row, int column)
{
	bool		isnull;
	Datum		value = eb_result(row, column, &isnull);

	return isnull ? NULL : TextDatumGetCString(value);
}

/* 0 for null. */
int64
eb_result_int64(uint64 row, int column)
{
	bool		isnull;
	Datum		value = eb_result(row, column, &isnull);

	return isnull ? 0 : DatumGetInt64(value);
}

/* 0 for null. */
int32
eb_result_int32(uint64 row, int column)
{
	bool		isnull;
	Datum		value = eb_result(row, column, &isnull);

	return isnull ? 0 : DatumGetInt32(value);
}

/* InvalidOid for null. */
Oid
eb_result_oid(uint64 row, int column)
{
	bool		isnull;
	Datum		value = eb_result(row, column, &isnull);

	return isnull ? InvalidOid : DatumGetObjectId(value);
}

/* False for null. */
bool
eb_result_bool(uint64 row, int column)
{
	bool		isnull;
	Datum		value = eb_result(row, column, &isnull);

	return !isnull && DatumGetBool(value);
}

/*
 * Our locks look like locks on objects, with a class where those
 * have a column.  They are not advisory locks: user code that calls
 * pg_advisory_unlock_all() must not give a claim away.  The server releases
 * such locks when a transaction aborts, also those of the session.  Not when
 * a session ends between transactions, though: that is for us to do.
 */
static void
release_at_exit(int code, Datum arg)
{
	/* If there is a transaction, it will be aborted. */
	if (!IsTransactionOrTransactionBlock())
		LockReleaseAll(DEFAULT_LOCKMETHOD, true);
}

static void
register_release_at_exit(void)
{
	static bool registered = false;

	if (!registered)
		before_shmem_exit(release_at_exit, (Datum) 0);
	registered = true;
}

static void
set_lock_tag(LOCKTAG *tag, EbLockClass class, uint32 key1, uint32 key2)
{
	SET_LOCKTAG_OBJECT(*tag, MyDatabaseId, key1, key2, class);
}

/*
 * False if it was not to wait and somebody else holds it, or if the session
 * is to take what it has already.
 */
bool
eb_lock(EbLockClass class, uint32 key1, uint32 key2, LOCKMODE mode,
		bool session, bool wait)
{
	LOCKTAG		tag;

	if (session)
		register_release_at_exit();
	set_lock_tag(&tag, class, key1, key2);
	switch (LockAcquire(&tag, mode, session, !wait))
	{
		case LOCKACQUIRE_NOT_AVAIL:
			return false;
		case LOCKACQUIRE_ALREADY_HELD:
		case LOCKACQUIRE_ALREADY_CLEAR:
			if (!session)
				return true;
			LockRelease(&tag, mode, session);
			return false;
		default:
			return true;
	}
}

void
eb_unlock(EbLockClass class, uint32 key1, uint32 key2, LOCKMODE mode,
		  bool session)
{
	LOCKTAG		tag;

	set_lock_tag(&tag, class, key1, key2);
	LockRelease(&tag, mode, session);
}

/*
 * A lock of the method of advisory locks, which abort leaves to the session.
 * None of their functions knows its tag, but pg_advisory_unlock_all()
 * releases it: so it is held only where an abort must be outlived.
 */
static void
set_lock_tag_beyond_abort(LOCKTAG *tag, EbLockClass class, uint32 key1,
						  uint32 key2)
{
	set_lock_tag(tag, class, key1, key2);
	tag->locktag_lockmethodid = USER_LOCKMETHOD;
}

/* Does not wait.  True as well if the session has it already. */
bool
eb_lock_beyond_abort(EbLockClass class, uint32 key1, uint32 key2)
{
	LOCKTAG		tag;

	set_lock_tag_beyond_abort(&tag, class, key1, key2);
	switch (LockAcquire(&tag, ExclusiveLock, true, true))
	{
		case LOCKACQUIRE_NOT_AVAIL:
			return false;
		case LOCKACQUIRE_ALREADY_HELD:
		case LOCKACQUIRE_ALREADY_CLEAR:
			LockRelease(&tag, ExclusiveLock, true);
			return true;
		default:
			return true;
	}
}

void
eb_unlock_beyond_abort(EbLockClass class, uint32 key1, uint32 key2)
{
	LOCKTAG		tag;

	set_lock_tag_beyond_abort(&tag, class, key1, key2);
	LockRelease(&tag, ExclusiveLock, true);
}
