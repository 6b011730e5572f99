/*-------------------------------------------------------------------------
 *
 * session.c
 *	  A session that runs one statement at a time.
 *
 * It is kept up like every connection.  The first statement shows whether the
 * database is set up for what we want, and whether we may do it: if that one
 * fails, there is no point in going on.  Any later failure ends the session,
 * and a new one begins.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres_fe.h"

#include "log.h"
#include "session.h"

struct EbSession
{
	const EbSessionHandlers *handlers;
	EbConnection *connection;
	int			statement;		/* that it is busy with, or 0 */
	bool		ready;
	bool		proved;			/* a statement has succeeded */
};

static char *
setup_commands(PGconn *conn, void *arg)
{
	const EbSession *session = arg;

	return pg_strdup(session->handlers->setup);
}

static void
connection_ready(PGconn *conn, bool again, void *arg)
{
	EbSession  *session = arg;

	session->ready = true;
	session->handlers->ready(conn, again);
}

static void
connection_lost(void *arg)
{
	EbSession  *session = arg;

	session->ready = false;
	session->statement = 0;
	session->handlers->lost();
}

static void
connection_failed(void *arg)
{
	EbSession  *session = arg;

	session->ready = false;
	session->handlers->failed();
}

static void
statement_failed(EbSession *session, PGconn *conn)
{
	char	   *reason = pg_strdup(PQerrorMessage(conn));

	if (session->proved)
		eb_connection_restart(session->connection, reason);
	else
	{
		pg_log_error("could not %s: %s", session->handlers->purpose, reason);
		session->statement = 0;
		connection_failed(session);
	}
	free(reason);
}

/* Takes what has arrived. */
static void
connection_input(PGconn *conn, void *arg)
{
	EbSession  *session = arg;
	PGnotify   *notify;
	bool		rung = false;

	while (session->statement != 0 && !PQisBusy(conn))
	{
		PGresult   *result = PQgetResult(conn);

		if (result == NULL)
		{
			session->statement = 0;
			break;
		}
		if (PQresultStatus(result) != PGRES_TUPLES_OK)
		{
			PQclear(result);
			statement_failed(session, conn);
			return;
		}
		session->proved = true;
		session->handlers->result(session->statement, result);
		PQclear(result);
	}
	while ((notify = PQnotifies(conn)) != NULL)
	{
		rung = true;
		PQfreemem(notify);
	}
	if (rung && session->handlers->rung)
		session->handlers->rung();
	session->handlers->step();
}

/* It opens from the loop, so no handler is called before this returns. */
EbSession *
eb_session_open(const EbConnectionOptions *options,
				const EbSessionHandlers *handlers)
{
	static const EbConnectionHandlers connection_handlers = {
		.setup = setup_commands,
		.ready = connection_ready,
		.input = connection_input,
		.lost = connection_lost,
		.failed = connection_failed
	};
	EbSession  *session = pg_malloc0(sizeof(EbSession));

	session->handlers = handlers;
	session->connection = eb_connection_open(options, &connection_handlers,
											 session);
	return session;
}

/* Can a statement be sent? */
bool
eb_session_is_free(const EbSession *session)
{
	return session->ready && session->statement == 0;
}

/* Does one run? */
bool
eb_session_is_busy(const EbSession *session)
{
	return session->statement != 0;
}

/*
 * Sends a statement; the session must be free.  If it is lost meanwhile, lost()
 * is called, maybe before this returns.
 */
void
eb_session_send(EbSession *session, int statement, const char *sql,
				int nvalues, const char *const *values)
{
	session->statement = statement;
	(void) eb_connection_send(session->connection, sql, nvalues, values);
}

/* Asks the server to end the statement that runs; this waits for the server. */
void
eb_session_cancel(EbSession *session)
{
	if (session->statement != 0)
		eb_connection_cancel(session->connection);
}

/*
 * Ends it for good; it may be called from its handlers, so what is left of it
 * stays allocated.
 */
void
eb_session_close(EbSession *session)
{
	session->ready = false;
	eb_connection_close(session->connection);
}
