/*-------------------------------------------------------------------------
 *
 * session.c
 *	  A session that runs one statement at a time.
 *
 * It is kept up like every connection.  The first statement shows whether the
 * database is set up for what we want, and whether we may do it: if that one
 * fails, there is no point in going on.  Any later failure ends the session,
 * and a new one begins; if the same statement fails again and again, after
 * longer and longer pauses.
 *
 * A statement takes as long as it takes, but when it is long, the log says so:
 * a server that stands still, or a lock, shall not go unnoticed.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres_fe.h"

#include "log.h"
#include "loop.h"
#include "session.h"

#define LONG_MS		60000

struct EbSession
{
	const EbSessionHandlers *handlers;
	EbConnection *connection;
	int			statement;		/* that it is busy with, or 0 */
	bool		ready;
	int			failed;			/* the one that failed last, or 0 */
	bool		proved;			/* a statement has succeeded */
	EbTimer		long_timer;
};

/* No statement runs any more. */
static void
end_statement(EbSession *session)
{
	session->statement = 0;
	eb_timer_clear(&session->long_timer);
}

static void
takes_long(void *arg)
{
	const EbSession *session = arg;

	eb_log_warning("waiting to %s: no answer from the server for %d s",
				   session->handlers->purpose, LONG_MS / 1000);
}

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
	end_statement(session);
	session->handlers->lost();
}

static void
connection_failed(void *arg)
{
	EbSession  *session = arg;

	session->ready = false;
	session->handlers->failed();
}

/* The session may have ended with it, even because of it. */
static void
statement_failed(EbSession *session, const PGresult *result)
{
	const char *severity = PQresultErrorField(result,
											  PG_DIAG_SEVERITY_NONLOCALIZED);
	bool		lost = severity == NULL || strcmp(severity, "ERROR") != 0;
	char	   *reason = pg_strdup(PQresultErrorMessage(result));

	session->failed = session->statement;
	if (session->proved)
		eb_connection_restart(session->connection,
							  lost ? "connection lost" : "statement failed",
							  reason);
	else
	{
		eb_log_error("could not %s: %s", session->handlers->purpose, reason);
		end_statement(session);
		connection_failed(session);
	}
	free(reason);
}

static void
statement_succeeded(EbSession *session, const PGresult *result)
{
	session->proved = true;
	if (session->failed == session->statement)
	{
		session->failed = 0;
		eb_connection_prove(session->connection);
	}
	session->handlers->result(session->statement, result);
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
			end_statement(session);
			break;
		}
		if (PQresultStatus(result) != PGRES_TUPLES_OK)
		{
			statement_failed(session, result);
			PQclear(result);
			return;
		}
		statement_succeeded(session, result);
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
	eb_timer_set(&session->long_timer, LONG_MS, takes_long, session);
	(void) eb_connection_send(session->connection, sql, nvalues, values);
}

/* Asks the server to end the statement that runs; for the program's end. */
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
	eb_timer_clear(&session->long_timer);
	eb_connection_close(session->connection);
}
