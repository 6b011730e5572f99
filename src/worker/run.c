/*-------------------------------------------------------------------------
 *
 * run.c
 *	  The command "run": from the delivery log to webhooks and commands.
 *
 * There is one session, and one statement at a time in it.  When it is free,
 * the next statement is, in this order:
 *
 *	  REPORT	 how attempts went (worker_report)
 *	  CLAIM		 look for work, if there is reason to and room for it
 *	  others	 that tell writers whether to notify; see lookout.c
 *
 * What is in hand is the session's.  When the connection is lost, what waits
 * is forgotten, for another worker may take it; what is under way goes on, and
 * is reported when there is a session again.
 *
 * What is delivered in the database has a session of its own; see inside.c.
 * With --once, both look until neither has found something: what one delivers
 * may make work for the other.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres_fe.h"

#include <cjson/cJSON.h>
#include <signal.h>

#include "dispatch.h"
#include "inside.h"
#include "log.h"
#include "lookout.h"
#include "loop.h"
#include "process.h"
#include "reports.h"
#include "run.h"
#include "text.h"

#define MAX_DUE_TIMERS		100

typedef enum Statement
{
	CLAIM = EB_LOOKOUT_LOOK,
	REPORT = EB_LOOKOUT_NSTATEMENTS
} Statement;

/* There is one of it in a process; signal handlers need it. */
static struct Runner
{
	const EbRunOptions *options;
	EbSession  *session;
	EbLookout	lookout;
	bool		has_found;		/* claimed something since the last look inside */
	int			ndue_timers;
	int			held;			/* claimed, and not reported yet */
	EbReports	reports;
	bool		stopping;
	bool		finished;
	EbExit		exit_status;
	EbTimer		stop_timer;
} runner;

static void step(void);

static const char *const outcome_names[] = {
	[EB_WORK_DELIVERED] = "DELIVERED",
	[EB_WORK_FAILED] = "FAILED",
	[EB_WORK_REFUSED] = "REFUSED",
	[EB_WORK_POSTPONED] = "POSTPONED"
};

/* ---- when to look ---- */

static void
retry_due(void *timer)
{
	free(timer);
	runner.ndue_timers--;
	eb_lookout_look(&runner.lookout);
}

/*
 * A delivery is due again in so many milliseconds.  When there are many such,
 * some are left to the poll.
 */
static void
look_in(int64 delay_ms)
{
	EbTimer    *timer;

	if (runner.ndue_timers >= MAX_DUE_TIMERS || delay_ms >= runner.lookout.poll_ms)
		return;
	timer = pg_malloc0(sizeof(EbTimer));
	runner.ndue_timers++;
	eb_timer_set(timer, delay_ms + 1, retry_due, timer);
}

/* ---- the end ---- */

static void
finish(EbExit status)
{
	runner.exit_status = status;
	runner.finished = true;
	eb_inside_close();
	eb_session_close(runner.session);
}

/* Gives up what is under way. */
static void
abandon(void)
{
	eb_inside_cancel();
	eb_process_kill_all(SIGTERM);
}

static void
stop_timed_out(void *arg)
{
	if (eb_inside_is_busy())
		eb_log_error("deliveries in the database were still under way, and will be made again");
	if (runner.held > 0)
		eb_log_error("%d deliveries were still under way, and will be made again",
					 runner.held);
	abandon();
	finish(EB_EXIT_GIVEN_UP);
}

/* SIGTERM or SIGINT: the first time stop, the second time at once. */
static void
stop_signal(int signo)
{
	const char *name = signo == SIGTERM ? "SIGTERM" : "SIGINT";

	if (runner.stopping)
	{
		eb_log_warning("received %s while stopping: %d deliveries will be made again",
					   name, runner.held);
		abandon();
		exit(EB_EXIT_ABORTED);
	}
	runner.stopping = true;
	eb_inside_stop();
	eb_dispatch_give_back();
	eb_log_info("received %s: stopping, %d deliveries under way", name,
				runner.held - runner.reports.queue.length);
	eb_timer_set(&runner.stop_timer, runner.options->stop_timeout_ms,
				 stop_timed_out, NULL);
	step();
}

/* ---- reports ---- */

/* A delivery has been attempted, or is given back. */
static void
work_done(EbWork *work)
{
	eb_reports_add(&runner.reports, work);
	step();
}

static cJSON *
describe_report(const void *item)
{
	const EbWork *work = item;
	cJSON	   *report = cJSON_CreateObject();

	cJSON_AddStringToObject(report, "id", work->fields[EB_WORK_DELIVERY_ID]);
	cJSON_AddStringToObject(report, "attempt", work->fields[EB_WORK_ATTEMPT]);
	cJSON_AddStringToObject(report, "outcome", outcome_names[work->outcome]);
	if (work->code)
		cJSON_AddStringToObject(report, "code", work->code);
	if (work->message)
		cJSON_AddStringToObject(report, "message", work->message);
	cJSON_AddNumberToObject(report, "after", (double) work->not_before_ms);
	return report;
}

/* What has become of a delivery; retry_ms is NULL if it was not ours any more. */
static void
log_report(const EbWork *work, const char *retry_ms)
{
	const char *event_id = work->fields[EB_WORK_EVENT_ID];
	char	   *arn = eb_log_quote(work->fields[EB_WORK_TARGET_ARN]);
	const char *message = work->message ? work->message : "";

	if (retry_ms == NULL)
		eb_log_warning("event %s to %s: another worker has taken the delivery",
					   event_id, arn);
	else if (work->outcome == EB_WORK_DELIVERED)
		eb_log_debug("event %s to %s: delivered", event_id, arn);
	else if (work->outcome == EB_WORK_POSTPONED)
		eb_log_debug("event %s to %s: postponed", event_id, arn);
	else if (atoll(retry_ms) > 0)
		eb_log_warning("event %s to %s: %s; attempt %d follows in %.1f s",
					   event_id, arn, message,
					   atoi(work->fields[EB_WORK_ATTEMPT]) + 1,
					   atoll(retry_ms) / 1000.0);
	else
		eb_log_error("event %s to %s: given up after attempt %s: %s",
					 event_id, arn, work->fields[EB_WORK_ATTEMPT], message);
	free(arn);
}

/* The answer is retry_ms. */
static void
take_report(void *item, const char *answer)
{
	EbWork	   *work = item;

	runner.held--;
	log_report(work, answer);
	if (answer && atoll(answer) > 0)
		look_in(atoll(answer));
	eb_work_free(work);
}

/* ---- claims ---- */

static void
send_claim(void)
{
	char		room[32];
	const char *values[1] = {room};

	snprintf(room, sizeof(room), "%d",
			 runner.options->max_deliveries - runner.held);
	eb_session_send(runner.session, CLAIM,
					"SELECT * FROM eventbridge.worker_claim($1)", 1, values);
}

static void
take_claim_result(const PGresult *result)
{
	int			n = PQntuples(result);

	eb_lookout_found(&runner.lookout, n > 0);
	runner.has_found |= n > 0;
	runner.held += n;
	for (int i = 0; i < n; i++)
	{
		EbWork	   *work = pg_malloc0(sizeof(EbWork));

		for (int j = 0; j < EB_WORK_NFIELDS; j++)
			work->fields[j] = pg_strdup(PQgetvalue(result, i, j));
		if (runner.stopping)
		{
			work->outcome = EB_WORK_POSTPONED;
			work_done(work);
		}
		else
			eb_dispatch_take(work);
	}
}

static void
take_result(int statement, const PGresult *result)
{
	if (statement == REPORT)
		eb_reports_take(&runner.reports, result);
	else if (statement == CLAIM)
		take_claim_result(result);
	else
		eb_lookout_take(&runner.lookout, statement, result);
}

/* ---- what is next ---- */

/* A claim is worth it if there is room for more than a few. */
static bool
has_room(void)
{
	int			max = runner.options->max_deliveries;

	return max - runner.held >= (max + 3) / 4;
}

/* With --once, nothing is left here: ends, unless something is left inside. */
static void
end_once(void)
{
	if (eb_inside_is_busy())
		return;
	if (runner.options->in_database && runner.has_found)
	{
		runner.has_found = false;
		eb_inside_look();
	}
	else
		finish(EB_EXIT_OK);
}

/* Sends the next statement if the session is free, and ends if all is done. */
static void
step(void)
{
	EbLookoutStatement next;

	if (runner.stopping && runner.held == 0 && !eb_inside_is_busy() &&
		!eb_session_is_busy(runner.session))
		finish(EB_EXIT_OK);
	if (runner.finished || !eb_session_is_free(runner.session))
		return;
	if (runner.reports.queue.first)
	{
		eb_reports_send(&runner.reports);
		return;
	}
	if (runner.stopping)
		return;
	next = eb_lookout_next(&runner.lookout, has_room());
	if (next == EB_LOOKOUT_LOOK)
		send_claim();
	else if (next != EB_LOOKOUT_NONE)
		eb_lookout_send(&runner.lookout, next);
	else if (runner.options->once && runner.held == 0 && !runner.lookout.look)
		end_once();
	else
		eb_lookout_wait(&runner.lookout);
}

/* Nothing is left inside, or nothing runs there any more. */
static void
inside_idle(void)
{
	if (runner.options->once)
		eb_lookout_look(&runner.lookout);
	else
		step();
}

/* ---- the session ---- */

static void
session_failed(void)
{
	finish(EB_EXIT_CONNECTION);
}

/* The first time, the user has typed the password if there is one. */
static void
session_ready(PGconn *conn, bool again)
{
	static const EbInsideHandlers inside_handlers = {
		.idle = inside_idle,
		.failed = session_failed
	};

	if (again)
		eb_log_info("connected again");
	else
	{
		eb_log_info("delivering from database \"%s\"", PQdb(conn));
		if (runner.options->in_database)
			eb_inside_open(runner.options, &inside_handlers);
	}
	runner.lookout.look = true;
	step();
}

static void
session_lost(void)
{
	eb_reports_lost(&runner.reports);
	eb_lookout_lost(&runner.lookout);
	runner.held -= eb_dispatch_forget_waiting();
}

static void
session_rung(void)
{
	runner.lookout.look = true;
}

/*
 * Reads the options, which follow argv[0], and runs until it is told to stop.
 * The result is the program's exit status.
 */
EbExit
eb_run_run(int argc, char **argv)
{
	static EbRunOptions run_options;
	static const EbSessionHandlers handlers = {
		/* A claim or a report that is lost in a crash is made again. */
		.setup = "SET synchronous_commit = off;\n"
		"SET default_transaction_isolation = 'read committed';\n"
		"LISTEN eventbridge_deliveries_1;\n",
		.purpose = "ask for deliveries",
		.ready = session_ready,
		.lost = session_lost,
		.failed = session_failed,
		.result = take_result,
		.rung = session_rung,
		.step = step
	};
	const EbRunOptions *options = &run_options;

	eb_options_parse_run(&run_options, argc, argv);
	eb_log_timestamps();
	runner.options = options;
	eb_loop_init(stop_signal);
	eb_dispatch_init(options, work_done);
	runner.session = eb_session_open(&options->connection, &handlers);
	runner.reports.session = runner.session;
	runner.reports.statement = REPORT;
	runner.reports.sql =
		"SELECT eventbridge.worker_report(r.id, r.attempt, r.outcome, r.code, r.message, r.after)"
		" FROM pg_catalog.json_to_recordset($1) AS r"
		" (id bigint, attempt integer, outcome text, code text, message text, after bigint)";
	runner.reports.describe = describe_report;
	runner.reports.reported = take_report;
	runner.lookout.session = runner.session;
	runner.lookout.sleep = "eventbridge.worker_sleep('1')";
	runner.lookout.wake = "eventbridge.worker_wake('1')";
	runner.lookout.once = options->once;
	runner.lookout.step = step;
	eb_lookout_init(&runner.lookout);
	eb_loop_run(&runner.finished);
	return runner.exit_status;
}
