/*-------------------------------------------------------------------------
 *
 * receive.c
 *	  The command "receive": from a queue to sinks.
 *
 * There is one session, and one statement at a time in it.  When it is free,
 * the next statement is, in this order:
 *
 *	  REPORT	 messages that all sinks have taken are deleted; the others
 *				 come again later, at the earliest when a sink wants them
 *	  RECEIVE	 look for messages, if there is reason to and room for them
 *
 * Reasons to look are that the last look found something, and that the poll
 * interval is over.
 *
 * No more messages are received than the sinks take at once: the visibility
 * time-out runs from the receipt, and a message that waits here would be
 * received by others too.  For the same reason nothing is tried twice here.
 * How often a message has been received is known to the queue, and from that
 * follows when it comes again; so the back-off goes on wherever it is
 * received next.  If this program dies, messages come again when their
 * visibility time-out is over.
 *
 * Receipts do not belong to the session.  What was received before a
 * connection was lost is reported when there is one again.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres_fe.h"

#include <cjson/cJSON.h>
#include <signal.h>

#include "log.h"
#include "loop.h"
#include "process.h"
#include "receive.h"
#include "reports.h"
#include "sinks.h"

#define PRINTED_AT_ONCE			100
#define LONGEST_DELAY_SECONDS	43200	/* the server's bound */

typedef enum Statement
{
	NONE,
	REPORT,
	RECEIVE
} Statement;

/* There is one of it in a process; signal handlers need it. */
static struct Receiver
{
	const EbReceiveOptions *options;
	EbSession  *session;
	EbSinks		sinks;
	int			room;			/* messages that may be held at once */
	int			received;
	int			held;			/* received, and not reported yet */
	EbReports	reports;		/* what sinks are through with */
	bool		look;			/* there is reason to receive */
	bool		failed;			/* a message was not taken */
	bool		stopping;
	bool		finished;
	EbExit		exit_status;	/* if all goes well from now on */
	EbTimer		poll_timer;
	EbTimer		timeout_timer;
	EbTimer		stop_timer;
} receiver;

static void step(void);

/* ---- the end ---- */

static void
finish(EbExit status)
{
	receiver.exit_status = status;
	receiver.finished = true;
	eb_session_close(receiver.session);
}

static void
stop_timed_out(void *arg)
{
	eb_log_error("%d message(s) were still under way, and will come again",
				 receiver.held);
	eb_process_kill_all(SIGTERM);
	finish(EB_EXIT_GIVEN_UP);
}

/* Receives nothing more; ends when all that is held is reported. */
static void
begin_stop(EbExit status)
{
	if (receiver.stopping)
		return;
	receiver.stopping = true;
	receiver.exit_status = status;
	eb_timer_clear(&receiver.timeout_timer);
	eb_timer_set(&receiver.stop_timer, receiver.options->sinks.stop_timeout_ms,
				 stop_timed_out, NULL);
}

/* SIGTERM or SIGINT: the first time stop, the second time at once. */
static void
stop_signal(int signo)
{
	const char *name = signo == SIGTERM ? "SIGTERM" : "SIGINT";

	if (receiver.stopping)
	{
		eb_log_warning("received %s while stopping: %d message(s) will come again",
					   name, receiver.held);
		eb_process_kill_all(SIGTERM);
		exit(EB_EXIT_ABORTED);
	}
	eb_log_info("received %s: stopping, %d message(s) under way", name,
				receiver.held);
	begin_stop(EB_EXIT_OK);
	step();
}

/* The exit status of a run that was to be bounded. */
static EbExit
bounded_status(void)
{
	return receiver.failed ? EB_EXIT_GIVEN_UP : EB_EXIT_OK;
}

/* --timeout is over. */
static void
run_timed_out(void *arg)
{
	eb_log_info("stopping: --timeout is over, %d message(s) received",
				receiver.received);
	begin_stop(receiver.options->sinks.count > 0 ? EB_EXIT_TIMEOUT : EB_EXIT_OK);
	step();
}

/* ---- reports ---- */

/* In how many seconds a message that was not taken comes again. */
static int
delay_seconds(const EbMessage *message)
{
	int64		delay_ms;

	if (message->receives == 0) /* never attempted */
		return 0;
	if (message->not_before_ms == EB_RETRY_AFTER_NEVER)
		return LONGEST_DELAY_SECONDS;
	delay_ms = eb_retry_delay_ms(&receiver.options->sinks.policy,
								 message->receives);
	delay_ms = Max(delay_ms, message->not_before_ms);
	return (int) Min((delay_ms + 999) / 1000, LONGEST_DELAY_SECONDS);
}

/* A sink is through with a message. */
static void
message_done(EbSink *sink, EbMessage *message, bool delivered)
{
	/* When nobody reads standard output any more, going on has no point. */
	if (!delivered && sink == receiver.sinks.print)
		begin_stop(EB_EXIT_GIVEN_UP);
	if (--message->pending > 0)
		return;
	if (message->failure)
		receiver.failed = true;
	eb_reports_add(&receiver.reports, message);
	step();
}

/* A receipt with a delay is of a message that is to come again. */
static cJSON *
describe_report(const void *item)
{
	const EbMessage *message = item;
	cJSON	   *report = cJSON_CreateObject();

	cJSON_AddStringToObject(report, "receipt", message->receipt);
	if (message->failure)
	{
		int			delay = delay_seconds(message);

		if (delay > 0)
			eb_log_warning("message %s: %s; it comes again in %d s",
						   message->id, message->failure, delay);
		cJSON_AddNumberToObject(report, "delay", delay);
	}
	return report;
}

/* The answer says whether the message was still ours. */
static void
take_report(void *item, const char *answer)
{
	EbMessage  *message = item;

	receiver.held--;
	if (answer == NULL || *answer != 't')
		eb_log_warning("message %s: its visibility time-out was over before it was done",
					   message->id);
	else if (message->failure == NULL)
		eb_log_debug("message %s: done", message->id);
	eb_message_free(message);
}

/* ---- receiving ---- */

/* Asking is worth it if there is room for more than a few. */
static bool
has_room(void)
{
	return receiver.room - receiver.held >= (receiver.room + 3) / 4;
}

static void
send_receive(void)
{
	int			wanted = receiver.room - receiver.held;
	int			count = receiver.options->sinks.count;
	static const char sql[] =
	"SELECT message_id, receipt_handle, body, attributes ->> 'ApproximateReceiveCount',"
	" attributes, message_attributes"
	" FROM eventbridge.receive_messages($1, $2, $3)";
	char		max[16];
	char		visibility_timeout[16];
	const char *values[3] = {receiver.options->queue, max, visibility_timeout};

	if (count > 0)
		wanted = Min(wanted, count - receiver.received);
	snprintf(max, sizeof(max), "%d", wanted);
	snprintf(visibility_timeout, sizeof(visibility_timeout), "%d",
			 receiver.options->visibility_timeout);
	eb_session_send(receiver.session, RECEIVE, sql, 3, values);
}

/* Has a message come again at once, which nobody has seen. */
static void
give_back(EbMessage *message)
{
	eb_message_note_failure(message, "not attempted", 0);
	message->receives = 0;
	eb_reports_add(&receiver.reports, message);
}

static void
take_receive_result(const PGresult *result)
{
	const EbReceiveOptions *options = receiver.options;
	int			n = PQntuples(result);

	receiver.look = n > 0;
	receiver.held += n;
	receiver.received += n;
	for (int i = 0; i < n; i++)
	{
		const char *fields[EB_RECEIVED_NFIELDS];
		EbMessage  *message;

		for (int j = 0; j < EB_RECEIVED_NFIELDS; j++)
			fields[j] = PQgetvalue(result, i, j);
		message = eb_message_create_received(options->queue, fields);
		if (receiver.stopping)
			give_back(message);
		else
			eb_sinks_submit(&receiver.sinks, message);
	}
	if (options->sinks.count > 0 && receiver.received >= options->sinks.count &&
		!receiver.stopping)
	{
		eb_log_info("stopping: %d message(s) received", receiver.received);
		begin_stop(EB_EXIT_OK);
	}
}

static void
take_result(int statement, const PGresult *result)
{
	if (statement == REPORT)
		eb_reports_take(&receiver.reports, result);
	else
		take_receive_result(result);
}

static void
look(void *arg)
{
	receiver.look = true;
	step();
}

/* Sends the next statement if the session is free, and ends if all is done. */
static void
step(void)
{
	const EbReceiveOptions *options = receiver.options;
	bool		idle = receiver.held == 0 && !eb_session_is_busy(receiver.session);

	if (receiver.finished)
		return;
	if (receiver.stopping && idle)
	{
		bool		bounded = options->once || options->sinks.count > 0;

		if (receiver.exit_status == EB_EXIT_OK && bounded)
			receiver.exit_status = bounded_status();
		finish(receiver.exit_status);
		return;
	}
	if (!eb_session_is_free(receiver.session))
		return;
	if (receiver.reports.queue.first)
		eb_reports_send(&receiver.reports);
	else if (receiver.stopping)
		return;
	else if (receiver.look && has_room())
		send_receive();
	else if (options->once && !receiver.look && idle)
		finish(bounded_status());
	else if (!receiver.look && !receiver.poll_timer.armed)
		eb_timer_set(&receiver.poll_timer, options->poll_ms, look, NULL);
}

/* ---- the session ---- */

static void
session_ready(PGconn *conn, bool again)
{
	if (again)
		eb_log_info("connected again");
	else
	{
		char	   *name = eb_log_quote(receiver.options->queue);

		eb_log_info("receiving in database \"%s\" from queue %s", PQdb(conn), name);
		free(name);
		eb_sinks_announce(&receiver.options->sinks);
	}
	receiver.look = true;
	step();
}

static void
session_lost(void)
{
	eb_reports_lost(&receiver.reports);
}

static void
session_failed(void)
{
	finish(EB_EXIT_CONNECTION);
}

/*
 * Reads the options, which follow argv[0], and runs until it is told to stop.
 * The result is the program's exit status.
 */
EbExit
eb_receive_run(int argc, char **argv)
{
	static EbReceiveOptions receive_options;
	static const EbSessionHandlers handlers = {
		/* What is lost in a crash comes again. */
		.setup = "SET synchronous_commit = off;\n"
		"SET default_transaction_isolation = 'read committed';\n",
		.purpose = "receive from the queue",
		.ready = session_ready,
		.lost = session_lost,
		.failed = session_failed,
		.result = take_result,
		.step = step
	};
	const EbReceiveOptions *options = &receive_options;
	bool		only_printed;

	eb_options_parse_receive(&receive_options, argc, argv);
	eb_log_timestamps();
	only_printed = options->sinks.command == NULL &&
		options->sinks.webhook_url == NULL;
	receiver.options = options;
	receiver.room = only_printed ? PRINTED_AT_ONCE : options->sinks.jobs;
	eb_loop_init(stop_signal);
	eb_sinks_open(&receiver.sinks, &options->sinks, message_done);
	receiver.session = eb_session_open(&options->connection, &handlers);
	receiver.reports.session = receiver.session;
	receiver.reports.statement = REPORT;
	receiver.reports.sql =
		"SELECT CASE WHEN r.delay IS NULL THEN eventbridge.delete_message($2, r.receipt)"
		" ELSE eventbridge.change_message_visibility($2, r.receipt, r.delay) END"
		" FROM pg_catalog.json_to_recordset($1) AS r (receipt text, delay integer)";
	receiver.reports.argument = options->queue;
	receiver.reports.describe = describe_report;
	receiver.reports.reported = take_report;
	if (options->sinks.timeout_ms > 0)
		eb_timer_set(&receiver.timeout_timer, options->sinks.timeout_ms,
					 run_timed_out, NULL);
	eb_loop_run(&receiver.finished);
	return receiver.exit_status;
}
