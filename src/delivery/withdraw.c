/*-------------------------------------------------------------------------
 *
 * withdraw.c
 *	  Background workers leave a database that a command wants for itself.
 *
 * DROP DATABASE, ALTER DATABASE ... RENAME TO and SET TABLESPACE, and CREATE
 * DATABASE for its template fail while anybody else is connected, but for
 * autovacuum, which the server ends.  Our workers are nobody's session
 * either, so they leave, and are ended if they do not leave soon: what they
 * then have under way is rolled back, and is still owed.
 *
 * Before such a command runs we take the lock on the database that it is
 * going to take itself.  A worker that is being started waits for that lock
 * before it counts as connected, so those that are connected then are all
 * there are to be ended, and none comes until the transaction ends.  The
 * launcher looks whether the database is locked before it starts a worker;
 * so workers come back by themselves if the command fails, and if it does not
 * the launcher forgets the database.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xlog.h"
#include "catalog/pg_database.h"
#include "commands/dbcommands.h"
#include "commands/defrem.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "storage/lmgr.h"
#include "tcop/utility.h"
#include "utils/acl.h"

#include "compat.h"
#include "delivery/delivery.h"

static ProcessUtility_hook_type previous_utility_hook = NULL;

/* The option of this name that has a value, or NULL. */
static DefElem *
find_option(List *options, const char *name)
{
	ListCell   *lc;

	foreach(lc, options)
	{
		DefElem    *option = lfirst_node(DefElem, lc);

		if (strcmp(option->defname, name) == 0 && option->arg != NULL)
			return option;
	}
	return NULL;
}

/*
 * The name of the database that has to be without sessions for the
 * statement, and the lock that the statement takes on it; NULL if it is none
 * of those.
 */
static const char *
wanted_database(Node *statement, LOCKMODE *mode)
{
	*mode = AccessExclusiveLock;
	if (IsA(statement, DropdbStmt))
		return ((DropdbStmt *) statement)->dbname;
	if (IsA(statement, RenameStmt) &&
		((RenameStmt *) statement)->renameType == OBJECT_DATABASE)
		return ((RenameStmt *) statement)->subname;
	if (IsA(statement, AlterDatabaseStmt) &&
		find_option(((AlterDatabaseStmt *) statement)->options, "tablespace"))
		return ((AlterDatabaseStmt *) statement)->dbname;
	if (IsA(statement, CreatedbStmt))
	{
		DefElem    *template = find_option(((CreatedbStmt *) statement)->options,
										   "template");

		*mode = ShareLock;
		return template ? defGetString(template) : "template1";
	}
	return NULL;
}

/*
 * Makes the workers leave that database, if there is one and it is the
 * user's: all else is left to the command, which has its own errors.
 */
static void
withdraw_from(const char *name, LOCKMODE mode)
{
	Oid			database = get_database_oid(name, true);

	if (!OidIsValid(database) || database == MyDatabaseId ||
		!object_ownercheck(DatabaseRelationId, database, GetUserId()))
		return;
	LockSharedObject(DatabaseRelationId, database, 0, mode);
	eb_launcher_withdraw(database);
}

static void
process_utility(PlannedStmt *statement, const char *query,
				bool read_only_tree, ProcessUtilityContext context,
				ParamListInfo params, QueryEnvironment *environment,
				DestReceiver *receiver, QueryCompletion *completion)
{
	LOCKMODE	mode;
	const char *name = wanted_database(statement->utilityStmt, &mode);

	/* A standby has no workers, and takes no such locks. */
	if (name != NULL && !RecoveryInProgress())
		withdraw_from(name, mode);

	if (previous_utility_hook)
		previous_utility_hook(statement, query, read_only_tree, context,
							  params, environment, receiver, completion);
	else
		standard_ProcessUtility(statement, query, read_only_tree, context,
								params, environment, receiver, completion);
}

/* Called when the library is preloaded. */
void
eb_withdraw_init(void)
{
	previous_utility_hook = ProcessUtility_hook;
	ProcessUtility_hook = process_utility;
}
