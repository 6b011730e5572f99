/*-------------------------------------------------------------------------
 *
 * run.c
 *	  The command "run": from the delivery log to webhooks and commands.
 *
 * There is one session, and one statement at a time in it.  When it is free,
 * the next statement is, in this order:
 *
 *	  REPORT	 how attempts went (worker_report)
 *	  WAKE		 there was work: writers need not notify (worker_wake)
 *	  CLAIM		 look for work, if there is reason to and room for it
 *	  SLEEP		 nothing to do: writers, notify from now on (worker_sleep)
 *	  REST		 have those ended who were writing then (worker_may_rest)
 *
 * Reasons to look are a notification, a retry that is due, that the last look
 * found something, and that eventbridge.poll_interval is over.  After SLEEP,
 * and after REST has answered yes, it looks once more; see the server's
 * bell.c for why.
 *
 * What is in hand is the session's.  When the connection is lost, what waits
 * is forgotten, for another worker may take it; what is under way goes on, and
 * is reported when there is a session again.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres_fe.h"

#include <cjson/cJSON.h>
#include <signal.h>

#include "dispatch.h"
#include "log.h"
#include "loop.h"
#include "process.h"
#include "run.h"
#include "session.h"

#define REPORTS_AT_ONCE		100
#define MAX_DUE_TIMERS		100
#define FIRST_REST_MS		20
#define MAX_REST_MS			1000

typedef enum Statement
{
	NONE,
	REPORT,
	WAKE,
	CLAIM,
	SLEEP,
	REST
} Statement;

/* There is one of it in a process; signal handlers need it. */
static struct Runner
{
	const EbRunOptions *options;
	bool		look;			/* there is reason to claim */
	bool		asleep;
	bool		has_woken;		/* found work while asleep */
	char	   *writers;		/* whose end is awaited, or NULL */
	bool		rest_due;		/* time to ask for it */
	int			rest_ms;
	EbTimer		rest_timer;
	EbTimer		poll_timer;
	int			poll_ms;
	int			ndue_timers;
	int			held;			/* claimed, and no report of it yet */
	EbWork	   *reports;		/* oldest first */
	EbWork	   *last_report;
	int			nreports;
	int			nreporting;		/* of them in the running statement */
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
look(void *arg)
{
	runner.look = true;
	step();
}

static void
retry_due(void *timer)
{
	free(timer);
	runner.ndue_timers--;
	look(NULL);
}

/*
 * A delivery is due again in so many milliseconds.  When there are many such,
 * some are left to the poll.
 */
static void
look_in(int64 delay_ms)
{
	EbTimer    *timer;

	if (runner.ndue_timers >= MAX_DUE_TIMERS || delay_ms >= runner.poll_ms)
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
	eb_session_close();
}

static void
stop_timed_out(void *arg)
{
	pg_log_error("%d deliveries were still under way, and will be made again",
				 runner.held);
	eb_process_kill_all(SIGTERM);
	finish(EB_EXIT_GIVEN_UP);
}

/* SIGTERM or SIGINT: the first time stop, the second time at once. */
static void
stop_signal(int signo)
{
	const char *name = signo == SIGTERM ? "SIGTERM" : "SIGINT";

	if (runner.stopping)
	{
		pg_log_warning("received %s while stopping: %d deliveries will be made again",
					   name, runner.held);
		eb_process_kill_all(SIGTERM);
		exit(EB_EXIT_ABORTED);
	}
	runner.stopping = true;
	eb_dispatch_give_back();
	pg_log_info("received %s: stopping, %d deliveries under way", name,
				runner.held - runner.nreports);
	eb_timer_set(&runner.stop_timer, runner.options->stop_timeout_ms,
				 stop_timed_out, NULL);
	step();
}

/* ---- reports ---- */

/* A delivery has been attempted, or is given back. */
static void
work_done(EbWork *work)
{
	work->next = NULL;
	if (runner.last_report)
		runner.last_report->next = work;
	else
		runner.reports = work;
	runner.last_report = work;
	runner.nreports++;
	step();
}

static void
send_reports(void)
{
	static const char sql[] =
	"SELECT eventbridge.worker_report(r.id, r.attempt, r.outcome, r.code, r.message, r.after)"
	" FROM pg_catalog.json_to_recordset($1) AS r"
	" (id bigint, attempt integer, outcome text, code text, message text, after bigint)";
	cJSON	   *all = cJSON_CreateArray();
	const char *values[1];
	char	   *text;
	int			n = 0;

	for (const EbWork *work = runner.reports; work && n < REPORTS_AT_ONCE;
		 work = work->next, n++)
	{
		cJSON	   *one = cJSON_CreateObject();

		cJSON_AddStringToObject(one, "id", work->fields[EB_WORK_DELIVERY_ID]);
		cJSON_AddStringToObject(one, "attempt", work->fields[EB_WORK_ATTEMPT]);
		cJSON_AddStringToObject(one, "outcome", outcome_names[work->outcome]);
		if (work->code)
			cJSON_AddStringToObject(one, "code", work->code);
		if (work->message)
			cJSON_AddStringToObject(one, "message", work->message);
		cJSON_AddNumberToObject(one, "after", (double) work->not_before_ms);
		cJSON_AddItemToArray(all, one);
	}
	text = cJSON_PrintUnformatted(all);
	cJSON_Delete(all);
	values[0] = text;
	runner.nreporting = n;
	eb_session_send(REPORT, sql, 1, values);
	cJSON_free(text);
}

/* What has become of a delivery; retry_ms is NULL if it was not ours any more. */
static void
log_report(const EbWork *work, const char *retry_ms)
{
	const char *event_id = work->fields[EB_WORK_EVENT_ID];
	char	   *arn = eb_log_quote(work->fields[EB_WORK_TARGET_ARN]);
	const char *message = work->message ? work->message : "";

	if (retry_ms == NULL)
		pg_log_warning("event %s to %s: another worker has taken the delivery",
					   event_id, arn);
	else if (work->outcome == EB_WORK_DELIVERED)
		pg_log_debug("event %s to %s: delivered", event_id, arn);
	else if (work->outcome == EB_WORK_POSTPONED)
		pg_log_debug("event %s to %s: postponed", event_id, arn);
	else if (atoll(retry_ms) > 0)
		pg_log_warning("event %s to %s: %s; attempt %d follows in %.1f s",
					   event_id, arn, message,
					   atoi(work->fields[EB_WORK_ATTEMPT]) + 1,
					   atoll(retry_ms) / 1000.0);
	else
		pg_log_error("event %s to %s: given up after attempt %s: %s",
					 event_id, arn, work->fields[EB_WORK_ATTEMPT], message);
	free(arn);
}

static void
take_report_result(const PGresult *result)
{
	for (int i = 0; i < PQntuples(result) && runner.nreporting > 0; i++)
	{
		EbWork	   *work = runner.reports;
		const char *retry_ms = PQgetisnull(result, i, 0) ? NULL :
			PQgetvalue(result, i, 0);

		runner.reports = work->next;
		if (runner.reports == NULL)
			runner.last_report = NULL;
		runner.nreports--;
		runner.nreporting--;
		runner.held--;
		log_report(work, retry_ms);
		if (retry_ms && atoll(retry_ms) > 0)
			look_in(atoll(retry_ms));
		eb_work_free(work);
	}
}

/* ---- the other statements ---- */

static void
send_claim(void)
{
	char		room[32];
	const char *values[1] = {room};

	snprintf(room, sizeof(room), "%d",
			 runner.options->max_deliveries - runner.held);
	eb_session_send(CLAIM, "SELECT * FROM eventbridge.worker_claim($1)", 1,
					values);
}

static void
take_claim_result(const PGresult *result)
{
	int			n = PQntuples(result);

	runner.look = (n > 0);
	runner.has_woken = runner.asleep && n > 0;
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
rest_timer_fired(void *arg)
{
	runner.rest_due = true;
	step();
}

/* Asks again some time whether the writers have ended. */
static void
await_writers(void)
{
	runner.rest_due = false;
	eb_timer_set(&runner.rest_timer, runner.rest_ms, rest_timer_fired, NULL);
	runner.rest_ms = Min(runner.rest_ms * 2, MAX_REST_MS);
}

static void
take_sleep_result(const PGresult *result)
{
	runner.asleep = true;
	runner.look = true;
	runner.rest_ms = FIRST_REST_MS;
	free(runner.writers);
	runner.writers = NULL;
	if (*PQgetvalue(result, 0, 0))
	{
		runner.writers = pg_strdup(PQgetvalue(result, 0, 0));
		await_writers();
	}
	runner.poll_ms = Max(atoi(PQgetvalue(result, 0, 1)), 1);
}

static void
take_rest_result(const PGresult *result)
{
	if (*PQgetvalue(result, 0, 0) != 't')
	{
		await_writers();
		return;
	}
	free(runner.writers);
	runner.writers = NULL;
	runner.look = true;
}

static void
take_result(int statement, const PGresult *result)
{
	switch ((Statement) statement)
	{
		case REPORT:
			take_report_result(result);
			break;
		case WAKE:
			runner.asleep = false;
			runner.has_woken = false;
			free(runner.writers);
			runner.writers = NULL;
			eb_timer_clear(&runner.rest_timer);
			break;
		case CLAIM:
			take_claim_result(result);
			break;
		case SLEEP:
			take_sleep_result(result);
			break;
		case REST:
			take_rest_result(result);
			break;
		case NONE:
			break;
	}
}

/* ---- what is next ---- */

/* A claim is worth it if there is room for more than a few. */
static bool
has_room(void)
{
	int			max = runner.options->max_deliveries;

	return max - runner.held >= (max + 3) / 4;
}

static Statement
next_statement(void)
{
	if (runner.reports)
		return REPORT;
	if (runner.stopping)
		return NONE;
	if (runner.has_woken)
		return WAKE;
	if (runner.look && has_room())
		return CLAIM;
	if (runner.look || runner.options->once)
		return NONE;
	if (!runner.asleep)
		return SLEEP;
	if (runner.writers && runner.rest_due)
		return REST;
	return NONE;
}

static void
send_statement(Statement statement)
{
	switch (statement)
	{
		case REPORT:
			send_reports();
			break;
		case WAKE:
			eb_session_send(WAKE, "SELECT eventbridge.worker_wake('1')", 0, NULL);
			break;
		case CLAIM:
			send_claim();
			break;
		case SLEEP:
			eb_session_send(SLEEP,
							"SELECT eventbridge.worker_sleep('1'),"
							" (EXTRACT(epoch FROM pg_catalog.current_setting('eventbridge.poll_interval')::interval) * 1000)::integer",
							0, NULL);
			break;
		case REST:
			eb_session_send(REST, "SELECT eventbridge.worker_may_rest($1)", 1,
							(const char *const *) &runner.writers);
			break;
		case NONE:
			break;
	}
}

/* Sends the next statement if the session is free, and ends if all is done. */
static void
step(void)
{
	Statement	next;

	if (runner.stopping && runner.held == 0 && !eb_session_is_busy())
		finish(EB_EXIT_OK);
	if (runner.finished || !eb_session_is_free())
		return;
	next = next_statement();
	if (next != NONE)
		send_statement(next);
	else if (runner.options->once && runner.held == 0 && !runner.look)
		finish(EB_EXIT_OK);
	else if (!runner.poll_timer.armed)
		eb_timer_set(&runner.poll_timer, runner.poll_ms, look, NULL);
}

/* ---- the session ---- */

static void
session_ready(PGconn *conn, bool again)
{
	if (again)
		pg_log_info("connected again");
	else
		pg_log_info("delivering from database \"%s\"", PQdb(conn));
	runner.look = true;
	step();
}

static void
session_lost(void)
{
	runner.nreporting = 0;
	runner.asleep = false;
	runner.has_woken = false;
	free(runner.writers);
	runner.writers = NULL;
	eb_timer_clear(&runner.rest_timer);
	runner.held -= eb_dispatch_forget_waiting();
}

static void
session_failed(void)
{
	finish(EB_EXIT_CONNECTION);
}

static void
session_rung(void)
{
	runner.look = true;
}

/* Runs until it is told to stop; the result is the program's exit status. */
EbExit
eb_run_run(const EbRunOptions *options)
{
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

	runner.options = options;
	runner.poll_ms = 5000;
	eb_loop_init();
	signal(SIGPIPE, SIG_IGN);
	eb_loop_signal(SIGTERM, stop_signal);
	eb_loop_signal(SIGINT, stop_signal);
	eb_dispatch_init(options, work_done);
	eb_session_open(&options->connection, &handlers);
	while (!runner.finished)
		eb_loop_once();
	return runner.exit_status;
}
