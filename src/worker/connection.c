/*-------------------------------------------------------------------------
 *
 * connection.c
 *	  A connection to the database that is kept up.
 *
 * A connection is in one of four states:
 *
 *	  CONNECTING -> SETTING_UP -> READY
 *		  ^ |			| |		   |
 *		  | v			v |		   v
 *		WAITING <-------+-+--------+	(failed or lost: back-off)
 *
 * Nothing waits for the server outside of the loop, but for what libpq cannot
 * do otherwise: it resolves names, and may ask a Kerberos server.  Setting up
 * means to set search_path to empty, so that nothing
 * the database's users have made is called by mistake, and then to run the
 * caller's commands, all in one transaction.
 *
 * After each failure in a row the pause gets longer.  The row ends when there
 * is a session again; but if its user gave the last one up, when he says that
 * this one does better, or it has been there for long.
 *
 * The time that connecting may take is for the attempt as a whole, all hosts
 * of a connection string that has several included.
 *
 * A peer that vanished without a word is noticed by keep-alive packets;
 * their times are ours unless the connection string has others.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres_fe.h"

#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include "common/string.h"
#include "connection.h"
#include "log.h"
#include "loop.h"
#include "pqexpbuffer.h"
#include "retry.h"
#include "worker.h"

#define DEFAULT_CONNECT_TIMEOUT_MS 30000
#define CANCEL_TIMEOUT_S 10
#define LONG_SESSION_MS 60000

/* No end of retries: a server that is away comes back some day. */
static const EbRetryPolicy reconnect_policy = {
	.max_retries = PG_INT32_MAX,
	.first_delay_ms = 500,
	.max_delay_ms = 30000
};

typedef enum State
{
	WAITING,
	CONNECTING,
	SETTING_UP,
	READY
} State;

struct EbConnection
{
	EbConnectionOptions options;
	EbConnectionHandlers handlers;
	void	   *arg;
	State		state;
	PGconn	   *conn;			/* NULL while WAITING */
	int			fd;				/* watched, or -1 */
	bool		was_ready;		/* at any time */
	bool		paused;
	int64		ready_since;
	bool		unproved;		/* a session was given up by its user */
	int			failures;		/* in a row */
	EbTimer		timer;			/* time-out, or end of WAITING */
};

/* Typed by the user, for all connections of the process; or NULL. */
static char *password = NULL;

static void start_connecting(void *arg);
static void connect_ready(int fd, short revents, void *arg);
static void session_ready(int fd, short revents, void *arg);

static void
unwatch(EbConnection *c)
{
	if (c->fd >= 0)
		eb_loop_forget(c->fd);
	c->fd = -1;
}

static void
watch(EbConnection *c, short events, EbFdHandler handler)
{
	unwatch(c);
	c->fd = PQsocket(c->conn);
	eb_loop_watch(c->fd, events, handler, c);
}

/* Ends the session, if there is one. */
static void
drop(EbConnection *c)
{
	unwatch(c);
	eb_timer_clear(&c->timer);
	if (c->conn)
		PQfinish(c->conn);
	c->conn = NULL;
	c->state = WAITING;
}

/*
 * Asks the user for the password.  Signals end the program here as they do
 * any other: the loop, which else takes care of them, does not run.
 */
static void
ask_password(void)
{
	struct sigaction dfl = {.sa_handler = SIG_DFL};
	struct sigaction old_int;
	struct sigaction old_term;

	sigemptyset(&dfl.sa_mask);
	sigaction(SIGINT, &dfl, &old_int);
	sigaction(SIGTERM, &dfl, &old_term);
	free(password);
	password = simple_prompt("Password: ", false);
	sigaction(SIGINT, &old_int, NULL);
	sigaction(SIGTERM, &old_term, NULL);
}

/* There is no session any more, and shall be one again some time. */
static void
lose(EbConnection *c, const char *trouble, const char *reason)
{
	bool		was_session = (c->state == READY);
	int64		delay;

	if (was_session && eb_loop_now() - c->ready_since > LONG_SESSION_MS)
		eb_connection_prove(c);
	delay = eb_retry_delay_ms(&reconnect_policy, ++c->failures);
	eb_log_warning("%s: %s", trouble, reason);
	eb_log_info("reconnecting in %.1f s", delay / 1000.0);
	drop(c);
	eb_timer_set(&c->timer, delay, start_connecting, c);
	if (was_session && c->handlers.lost)
		c->handlers.lost(c->arg);
}

/* Connecting or the session failed: what now? */
static void
fail(EbConnection *c, const char *reason)
{
	if (!c->was_ready && c->state == CONNECTING && password == NULL &&
		PQconnectionNeedsPassword(c->conn) &&
		c->options.prompt != EB_PROMPT_NEVER)
	{
		drop(c);
		ask_password();
		start_connecting(c);
	}
	else if (!c->was_ready)
	{
		eb_log_error("%s", reason);
		drop(c);
		c->handlers.failed(c->arg);
	}
	else
		lose(c, c->state == READY ? "connection lost" : "could not reconnect",
			 reason);
}

static void
time_out(void *arg)
{
	fail(arg, "no answer from the server in time");
}

/* The server's messages that are no errors. */
static void
log_notice(void *arg, const char *message)
{
	eb_log_warning("message from the server: %s", message);
}

/* How long connecting may take: as connect_timeout says, if it does. */
static int
connect_timeout_ms(PGconn *conn)
{
	PQconninfoOption *all = PQconninfo(conn);
	int			seconds = 0;

	for (PQconninfoOption *option = all; option && option->keyword; option++)
	{
		if (strcmp(option->keyword, "connect_timeout") == 0 && option->val)
			seconds = atoi(option->val);
	}
	PQconninfoFree(all);
	if (seconds <= 0 || seconds > 86400)
		return DEFAULT_CONNECT_TIMEOUT_MS;
	return seconds * 1000;
}

/* Begins a new attempt. */
static void
start_connecting(void *arg)
{
	EbConnection *c = arg;
	const char *keywords[12];
	const char *values[12];
	int			n = 0;

#define ADD(keyword, value) (keywords[n] = (keyword), values[n++] = (value))
	/* What stands before dbname can be overridden by it, the rest cannot. */
	ADD("keepalives_idle", "30");
	ADD("keepalives_interval", "10");
	ADD("keepalives_count", "3");
	ADD("host", c->options.host);
	ADD("port", c->options.port);
	ADD("user", c->options.username);
	ADD("password", password);
	ADD("dbname", c->options.dbname);
	ADD("fallback_application_name", EB_PROGNAME);
	ADD("client_encoding", "UTF8");
	ADD(NULL, NULL);
#undef ADD

	c->conn = PQconnectStartParams(keywords, values, true);
	if (c->conn == NULL)
	{
		eb_log_error("out of memory");
		exit(EB_EXIT_USAGE);
	}
	c->state = CONNECTING;
	if (PQstatus(c->conn) == CONNECTION_BAD)
	{
		fail(c, PQerrorMessage(c->conn));
		return;
	}
	PQsetNoticeProcessor(c->conn, log_notice, NULL);
	eb_timer_set(&c->timer, connect_timeout_ms(c->conn), time_out, c);
	watch(c, POLLOUT, connect_ready);
}

/*
 * Sends what setting up takes.
 *
 * We want UTF-8.  But a database in SQL_ASCII may hold anything, and the
 * server ends a session to which it has to send a notification that is not
 * valid in the client's encoding; there, we take the bytes as they are.
 */
static void
start_setup(EbConnection *c)
{
	const char *encoding = PQparameterStatus(c->conn, "server_encoding");
	bool		raw = encoding && strcmp(encoding, "SQL_ASCII") == 0;
	char	   *commands = c->handlers.setup(c->conn, c->arg);
	char	   *all = psprintf("SELECT pg_catalog.set_config('search_path', '', false),"
							   " pg_catalog.pg_backend_pid();\n%s%s",
							   raw ? "SET client_encoding = 'SQL_ASCII';\n" : "",
							   commands);

	c->state = SETTING_UP;
	if (PQsetnonblocking(c->conn, 1) != 0 || !PQsendQuery(c->conn, all))
		fail(c, PQerrorMessage(c->conn));
	else
		watch(c, POLLIN | POLLOUT, session_ready);
	free(commands);
	free(all);
}

/* Goes on with connecting. */
static void
connect_ready(int fd, short revents, void *arg)
{
	EbConnection *c = arg;

	/* libpq may close the socket and take another one. */
	unwatch(c);
	switch (PQconnectPoll(c->conn))
	{
		case PGRES_POLLING_READING:
			watch(c, POLLIN, connect_ready);
			break;
		case PGRES_POLLING_WRITING:
			watch(c, POLLOUT, connect_ready);
			break;
		case PGRES_POLLING_OK:
			start_setup(c);
			break;
		default:
			fail(c, PQerrorMessage(c->conn));
			break;
	}
}

/*
 * If the session's process is not the one that the connection speaks of,
 * there is a pooler in between.
 */
static void
check_for_pooler(PGconn *conn, const PGresult *result)
{
	if (PQntuples(result) == 1 && PQnfields(result) == 2 &&
		atoi(PQgetvalue(result, 0, 1)) != PQbackendPID(conn))
	{
		eb_log_warning("there seems to be a connection pooler before the server");
		eb_log_warning_detail("LISTEN works only if the pooler keeps one server connection for the whole session.");
	}
}

/* Takes the results of setting up. */
static void
continue_setup(EbConnection *c)
{
	bool		again = c->was_ready;

	while (!PQisBusy(c->conn))
	{
		PGresult   *result = PQgetResult(c->conn);
		ExecStatusType status;

		if (result == NULL)
		{
			c->state = READY;
			c->was_ready = true;
			c->ready_since = eb_loop_now();
			if (!c->unproved)
				c->failures = 0;
			eb_timer_clear(&c->timer);
			c->handlers.ready(c->conn, again, c->arg);
			return;
		}
		status = PQresultStatus(result);
		if (status == PGRES_TUPLES_OK)
			check_for_pooler(c->conn, result);
		PQclear(result);
		if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK)
		{
			fail(c, PQerrorMessage(c->conn));
			return;
		}
	}
}

/* Something arrived from the server, or it takes more from us. */
static void
session_ready(int fd, short revents, void *arg)
{
	EbConnection *c = arg;
	bool		alive = true;
	int			unsent = 0;

	if (revents & ~POLLOUT)
		alive = PQconsumeInput(c->conn) != 0;
	if (alive)
		alive = (unsent = PQflush(c->conn)) >= 0;
	if (alive && c->state == SETTING_UP)
	{
		continue_setup(c);
		if (c->conn == NULL)
			return;
	}
	if (c->state == READY)
	{
		/* What came before the end still counts. */
		c->handlers.input(c->conn, c->arg);
		if (c->conn == NULL)
			return;
		/* It may have sent something. */
		if (alive)
			alive = (unsent = PQflush(c->conn)) >= 0;
	}
	if (!alive)
		fail(c, PQerrorMessage(c->conn));
	else if (c->paused)
		unwatch(c);
	else
		watch(c, unsent ? POLLIN | POLLOUT : POLLIN, session_ready);
}

/*
 * Opens a connection, which tries to stay up from then on.  If the first
 * attempt fails, failed() is called and there are no more.
 */
EbConnection *
eb_connection_open(const EbConnectionOptions *options,
				   const EbConnectionHandlers *handlers, void *arg)
{
	EbConnection *c = pg_malloc0(sizeof(EbConnection));

	c->options = *options;
	c->handlers = *handlers;
	c->arg = arg;
	c->fd = -1;
	if (options->prompt == EB_PROMPT_ALWAYS && password == NULL)
		ask_password();

	/* From the loop, so that no handler is called before we return. */
	eb_timer_set(&c->timer, 0, start_connecting, c);
	return c;
}

/* Reads nothing more from the server for the time being. */
void
eb_connection_pause(EbConnection *c)
{
	c->paused = true;
	if (c->state == READY)
		unwatch(c);
}

/* Reads again, and has input() called for what has been read already. */
void
eb_connection_resume(EbConnection *c)
{
	c->paused = false;
	if (c->state == READY)
	{
		c->handlers.input(c->conn, c->arg);
		if (c->conn && !c->paused)
			watch(c, POLLIN, session_ready);
	}
}

/*
 * Sends a statement, whose results are for input() to take.  False if there
 * is no session that could take it, or none any more.
 */
bool
eb_connection_send(EbConnection *c, const char *sql, int nvalues,
				   const char *const *values)
{
	int			unsent = -1;

	if (c->conn == NULL || c->state != READY)
		return false;
	if (PQsendQueryParams(c->conn, sql, nvalues, NULL, values, NULL, NULL, 0))
		unsent = PQflush(c->conn);
	if (unsent < 0)
	{
		fail(c, PQerrorMessage(c->conn));
		return false;
	}
	watch(c, unsent ? POLLIN | POLLOUT : POLLIN, session_ready);
	return true;
}

/*
 * Asks the server to cancel what the session is doing.  libpq waits until the
 * server has closed the connection that this takes, and a server that stands
 * still never does.  So a process of its own does it, which an alarm ends and
 * nobody waits for: to be called when the program ends.  After fork() it calls
 * nothing that may not be called in a signal handler either.
 */
void
eb_connection_cancel(EbConnection *c)
{
	PGcancel   *cancel = c->conn ? PQgetCancel(c->conn) : NULL;
	pid_t		pid = cancel ? fork() : -1;

	if (pid == 0)
	{
		char		error[256];

		signal(SIGALRM, SIG_DFL);
		alarm(CANCEL_TIMEOUT_S);
		for (int fd = 0; fd <= STDERR_FILENO; fd++)
			close(fd);
		(void) PQcancel(cancel, error, sizeof(error));
		_exit(0);
	}
	if (cancel && pid < 0)
		eb_log_warning("could not start a process: %m");
	PQfreeCancel(cancel);
}

/*
 * Gives the session up because of trouble with what it is for; there will be
 * another one.
 */
void
eb_connection_restart(EbConnection *c, const char *trouble, const char *reason)
{
	lose(c, trouble, reason);
	c->unproved = true;
}

/* What was in trouble goes well. */
void
eb_connection_prove(EbConnection *c)
{
	c->unproved = false;
	c->failures = 0;
}

/*
 * Closes the connection for good; it may be called from its handlers.  What
 * is left of it stays allocated, since the caller may be one of them.
 */
void
eb_connection_close(EbConnection *c)
{
	drop(c);
}
