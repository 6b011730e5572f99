/*-------------------------------------------------------------------------
 *
 * inside.c
 *	  Deliveries to targets in the database, for "run --in-database".
 *
 * The server makes them itself, when it is told to, as the role that we are
 * connected as.  A session of its own does nothing else, because a turn
 * (worker_deliver) lasts as long as the functions that it calls.  It serves
 * two lanes: what any session may serve, and what this role alone may.
 *
 * When a turn has found something, the next one begins after the pause that the
 * server asks for: what comes meanwhile is better delivered many at a time.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres_fe.h"

#include "inside.h"
#include "log.h"
#include "lookout.h"

/* What is due, and has not been found, is in the hands of somebody else. */
#define SHORTEST_WAIT_MS	50

#define OWN_LANE "(SELECT oid FROM pg_catalog.pg_roles WHERE rolname = session_user)"

/* There is one of it in a process. */
static struct Inside
{
	const EbInsideHandlers *handlers;
	EbSession  *session;		/* NULL: never opened */
	EbLookout	lookout;
	bool		paused;
	bool		done;			/* with --once: nothing is left */
	bool		stopping;
	EbTimer		pause_timer;
	EbTimer		due_timer;
} inside;

static void step(void);

static void
pause_ended(void *arg)
{
	inside.paused = false;
	step();
}

static void
take_turn(const PGresult *result)
{
	int64		next_ms = PQgetisnull(result, 0, 0) ? -1 :
		atoll(PQgetvalue(result, 0, 0));

	eb_lookout_found(&inside.lookout, next_ms == 0);
	if (next_ms == 0)
	{
		inside.paused = true;
		eb_timer_set(&inside.pause_timer, atoi(PQgetvalue(result, 0, 1)), pause_ended, NULL);
	}
	else if (next_ms > 0 && next_ms < inside.lookout.poll_ms)
		eb_timer_set(&inside.due_timer, Max(next_ms, SHORTEST_WAIT_MS),
					 eb_lookout_look, &inside.lookout);
}

static void
take_result(int statement, const PGresult *result)
{
	if (statement == EB_LOOKOUT_LOOK)
		take_turn(result);
	else
		eb_lookout_take(&inside.lookout, statement, result);
}

/* Sends the next statement if the session is free. */
static void
step(void)
{
	EbLookoutStatement next;

	if (inside.stopping)
	{
		if (!eb_session_is_busy(inside.session))
			inside.handlers->idle();
		return;
	}
	if (inside.done || !eb_session_is_free(inside.session))
		return;
	next = eb_lookout_next(&inside.lookout, !inside.paused);
	if (next == EB_LOOKOUT_LOOK)
		eb_session_send(inside.session, next,
						"CALL eventbridge.worker_deliver()", 0, NULL);
	else if (next != EB_LOOKOUT_NONE)
		eb_lookout_send(&inside.lookout, next);
	else if (inside.paused)
		return;
	else if (inside.lookout.once)
	{
		inside.done = true;
		inside.handlers->idle();
	}
	else
		eb_lookout_wait(&inside.lookout);
}

/* ---- the session ---- */

/* The first statement is SLEEP, unless that is not wanted: it needs a grant. */
static void
session_ready(PGconn *conn, bool again)
{
	char	   *role = eb_log_quote(PQuser(conn));

	if (again)
		eb_log_info("connected again, for targets in the database");
	else
		eb_log_info("delivering to targets in the database as role %s", role);
	free(role);
	inside.lookout.look = again || inside.lookout.once;
	step();
}

static void
session_lost(void)
{
	inside.paused = false;
	eb_timer_clear(&inside.pause_timer);
	eb_lookout_lost(&inside.lookout);
	step();
}

static void
session_failed(void)
{
	inside.handlers->failed();
}

static void
session_rung(void)
{
	inside.lookout.look = true;
}

/* To be called once.  The connection asks for no password. */
void
eb_inside_open(const EbRunOptions *options, const EbInsideHandlers *handlers)
{
	static const EbSessionHandlers session_handlers = {
		/* Targets find what they find when others serve them. */
		.setup = "RESET search_path;\n"
		"SET statement_timeout = 0;\n"
		"SET default_transaction_isolation = 'read committed';\n"
		"LISTEN eventbridge_deliveries_0;\n"
		"DO $$BEGIN EXECUTE pg_catalog.format('LISTEN eventbridge_deliveries_%s', " OWN_LANE "); END$$;\n",
		.purpose = "deliver in the database",
		.ready = session_ready,
		.lost = session_lost,
		.failed = session_failed,
		.result = take_result,
		.rung = session_rung,
		.step = step
	};
	EbConnectionOptions connection = options->connection;

	if (connection.prompt == EB_PROMPT_IF_NEEDED)
		connection.prompt = EB_PROMPT_NEVER;
	inside.handlers = handlers;
	inside.session = eb_session_open(&connection, &session_handlers);
	inside.lookout.session = inside.session;
	inside.lookout.sleep =
		"pg_catalog.concat_ws(',', NULLIF(eventbridge.worker_sleep('0'), ''),"
		" NULLIF(eventbridge.worker_sleep(" OWN_LANE "), ''))";
	inside.lookout.wake =
		"eventbridge.worker_wake('0'), eventbridge.worker_wake(" OWN_LANE ")";
	inside.lookout.once = options->once;
	inside.lookout.step = step;
	eb_lookout_init(&inside.lookout);
}

/* Does a statement run?  With --once, also: may there be something left? */
bool
eb_inside_is_busy(void)
{
	if (inside.session == NULL)
		return false;
	return eb_session_is_busy(inside.session) ||
		(inside.lookout.once && !inside.stopping && !inside.done);
}

/* There may be something again. */
void
eb_inside_look(void)
{
	inside.done = false;
	eb_lookout_look(&inside.lookout);
}

/* Begins nothing more. */
void
eb_inside_stop(void)
{
	inside.stopping = true;
}

/* Ends the turn that runs; what it has not committed is done again. */
void
eb_inside_cancel(void)
{
	if (inside.session)
		eb_session_cancel(inside.session);
}

void
eb_inside_close(void)
{
	if (inside.session)
		eb_session_close(inside.session);
}
