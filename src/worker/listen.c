/*-------------------------------------------------------------------------
 *
 * listen.c
 *	  The command "listen": from notifications to sinks.
 *
 * Every notification becomes a message, which is given to every sink and
 * kept until all of them are through with it.
 *
 * When many messages are held, because a sink is slow, the connection is not
 * read for a while: the server then keeps what comes.  Not without limit,
 * though (its queue is 8 GB for all databases together), and a notification
 * that is sent while nobody is connected reaches nobody.  So a notification
 * is a bell, and not a safe way to carry data: after a reconnection a warning
 * says that some may have been missed.
 *
 * To stop means to close the connection, to wait until the sinks are through
 * with what is held, and then to leave the loop.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres_fe.h"

#include <signal.h>
#include <unistd.h>

#include "listen.h"
#include "log.h"
#include "loop.h"
#include "pqexpbuffer.h"
#include "process.h"
#include "sinks.h"

/* Stop reading at the first, read again at the second. */
#define MAX_HELD 10000
#define RESUME_HELD 5000

/* There is one of it in a process; signal handlers need it. */
static struct Listener
{
	const EbListenOptions *options;
	EbConnection *connection;
	EbSinks		sinks;
	int			received;
	int			held;
	int			given_up;
	bool		paused;
	bool		stopping;
	bool		timed_out;
	bool		finished;
	EbExit		exit_status;	/* if nothing else speaks against it */
	EbTimer		timeout_timer;
	EbTimer		stop_timer;
	EbTimer		resume_timer;
} listener;

/* The time that stopping may take is over. */
static void
stop_timed_out(void *arg)
{
	eb_log_error("%d message(s) given up: not delivered in time", listener.held);
	listener.given_up += listener.held;
	eb_process_kill_all(SIGTERM);
	listener.finished = true;
}

/* Receives nothing more; ends when all that is held is delivered. */
static void
begin_stop(void)
{
	if (listener.stopping)
		return;
	listener.stopping = true;
	eb_connection_close(listener.connection);
	eb_timer_clear(&listener.timeout_timer);
	if (listener.held == 0)
		listener.finished = true;
	else
		eb_timer_set(&listener.stop_timer, listener.options->sinks.stop_timeout_ms,
					 stop_timed_out, NULL);
}

/* SIGTERM or SIGINT: the first time stop, the second time at once. */
static void
stop_signal(int signo)
{
	const char *name = signo == SIGTERM ? "SIGTERM" : "SIGINT";

	if (listener.stopping)
	{
		eb_log_warning("received %s while stopping: %d message(s) dropped", name,
					   listener.held);
		eb_process_kill_all(SIGTERM);
		exit(EB_EXIT_ABORTED);
	}
	eb_log_info("received %s: stopping, %d message(s) to be delivered", name,
				listener.held);
	begin_stop();
}

/* --timeout is over. */
static void
run_timed_out(void *arg)
{
	const EbSinkOptions *options = &listener.options->sinks;

	eb_log_info("stopping: --timeout is over, %d message(s) received",
				listener.received);
	if (options->count > 0 && listener.received < options->count)
		listener.timed_out = true;
	begin_stop();
}

static void
resume_reading(void *arg)
{
	if (listener.stopping || !listener.paused)
		return;
	listener.paused = false;
	eb_log_debug("reading again, %d messages held", listener.held);
	eb_connection_resume(listener.connection);
}

/* A sink is through with a message. */
static void
message_done(EbSink *sink, EbMessage *message, bool delivered)
{
	if (!delivered)
		listener.given_up++;
	if (--message->pending == 0)
	{
		eb_message_free(message);
		listener.held--;
		if (listener.stopping && listener.held == 0)
			listener.finished = true;
		else if (listener.paused && listener.held == RESUME_HELD)
			eb_timer_set(&listener.resume_timer, 0, resume_reading, NULL);
	}

	/* When nobody reads standard output any more, going on has no point. */
	if (!delivered && !listener.stopping &&
		(listener.options->stop_on_failure || sink == listener.sinks.print))
	{
		eb_log_info("stopping because of the failure");
		begin_stop();
	}
}

/* Takes what has arrived. */
static void
take_notifications(PGconn *conn, void *arg)
{
	PGnotify   *notify;

	while (!listener.stopping && !listener.paused &&
		   (notify = PQnotifies(conn)) != NULL)
	{
		EbMessage  *message = eb_message_create(notify->relname, notify->be_pid,
												notify->extra);

		PQfreemem(notify);
		listener.received++;
		listener.held++;
		eb_sinks_submit(&listener.sinks, message);

		if (listener.options->sinks.count > 0 &&
			listener.received >= listener.options->sinks.count)
		{
			eb_log_info("stopping: %d message(s) received", listener.received);
			begin_stop();
		}
		else if (listener.held >= MAX_HELD)
		{
			eb_log_debug("not reading for now, %d messages held", listener.held);
			listener.paused = true;
			eb_connection_pause(listener.connection);
		}
	}
}

/* The commands that make the session listen. */
static char *
listen_commands(PGconn *conn, void *arg)
{
	PQExpBufferData buf;
	char	   *result;

	initPQExpBuffer(&buf);
	for (SimpleStringListCell *cell = listener.options->channels.head; cell;
		 cell = cell->next)
	{
		char	   *name = PQescapeIdentifier(conn, cell->val, strlen(cell->val));

		if (name == NULL)
		{
			eb_log_error("cannot use channel name: %s", PQerrorMessage(conn));
			exit(EB_EXIT_USAGE);
		}
		appendPQExpBuffer(&buf, "LISTEN %s;\n", name);
		PQfreemem(name);
	}
	result = pg_strdup(buf.data);
	termPQExpBuffer(&buf);
	return result;
}

/* Says to what we listen, and what is done with it. */
static void
announce(PGconn *conn, bool again, void *arg)
{
	const EbListenOptions *options = listener.options;
	PQExpBufferData buf;

	if (again)
	{
		eb_log_info("connected again and listening");
		eb_log_warning("messages sent while there was no connection are lost");
		return;
	}
	initPQExpBuffer(&buf);
	for (SimpleStringListCell *cell = options->channels.head; cell;
		 cell = cell->next)
	{
		char	   *name = eb_log_quote(cell->val);

		appendPQExpBuffer(&buf, "%s%s", buf.len > 0 ? ", " : "", name);
		free(name);
	}
	eb_log_info("listening in database \"%s\" on channel %s", PQdb(conn), buf.data);
	termPQExpBuffer(&buf);
	eb_sinks_announce(&options->sinks);
}

static void
connection_failed(void *arg)
{
	listener.exit_status = EB_EXIT_CONNECTION;
	listener.finished = true;
}

/*
 * Reads the options, which follow argv[0], and runs until it is told to stop.
 * The result is the program's exit status.
 */
EbExit
eb_listen_run(int argc, char **argv)
{
	static EbListenOptions listen_options;
	static const EbConnectionHandlers handlers = {
		.setup = listen_commands,
		.ready = announce,
		.input = take_notifications,
		.failed = connection_failed
	};
	const EbListenOptions *options = &listen_options;

	eb_options_parse_listen(&listen_options, argc, argv);
	eb_log_timestamps();
	listener.options = options;
	eb_loop_init(stop_signal);

	eb_sinks_open(&listener.sinks, &options->sinks, message_done);
	listener.connection = eb_connection_open(&options->connection, &handlers, NULL);
	if (options->sinks.timeout_ms > 0)
		eb_timer_set(&listener.timeout_timer, options->sinks.timeout_ms,
					 run_timed_out, NULL);
	eb_loop_run(&listener.finished);

	if (listener.exit_status != EB_EXIT_OK)
		return listener.exit_status;
	if (listener.given_up > 0)
		return EB_EXIT_GIVEN_UP;
	return listener.timed_out ? EB_EXIT_TIMEOUT : EB_EXIT_OK;
}
