/*-------------------------------------------------------------------------
 *
 * dispatch.c
 *	  Deliveries in hand, each in the line of its destination.
 *
 * A destination is an API destination or a task.  Each has a line of its own,
 * a bound on what is under way there at once, and the rate that
 * InvocationRateLimitPerSecond allows.
 *
 * What the worker may hold is bounded, and no destination may use it up, be
 * it that it hangs or that it is slow.  So a line is only as long as what the
 * destination takes in about a second, by its rate and by how long it has
 * been taking; what is more is postponed: the database gets it back, to be
 * given out again when its turn will have come.  Those turns are spread like
 * the destination's pace, up to a minute ahead.
 *
 *	  take -> line -> under way -> done
 *		 |	   |
 *		 +-----+--> postponed: done, too
 *
 *-------------------------------------------------------------------------
 */
#include "postgres_fe.h"

#include "dispatch.h"
#include "http.h"
#include "loop.h"
#include "process.h"
#include "request.h"
#include "retry.h"
#include "text.h"

#define LINE_MS				1000	/* a line's length, in time */
#define MAX_POSTPONE_MS		60000

typedef struct EbDestination
{
	char	   *kind;
	char	   *resource;
	EbQueue		waiting;
	EbQueue		running;
	double		mean_ms;		/* that an attempt took lately */
	double		rate;			/* per second, 0: any */
	double		tokens;			/* attempts that the rate allows now */
	int64		refilled;		/* when they were counted */
	int64		next_turn;		/* of what is postponed next */
	EbTimer		timer;			/* next token */
	bool		pumping;
	struct EbDestination *next;
} EbDestination;

static const EbRunOptions *options;
static EbWorkDone done;
static EbDestination *destinations = NULL;

static void pump(void *arg);

void
eb_work_free(EbWork *work)
{
	for (int i = 0; i < EB_WORK_NFIELDS; i++)
		free(work->fields[i]);
	free(work->message);
	free(work);
}

/* We are through with it. */
static void
finish(EbWork *work, EbWorkOutcome outcome, const char *code,
	   const char *message, int64 not_before_ms)
{
	work->outcome = outcome;
	work->code = code;
	work->message = message ? eb_text_force_utf8(message) : NULL;
	work->not_before_ms = not_before_ms;
	done(work);
}

/* An attempt has ended. */
static void
finish_attempt(EbWork *work, EbWorkOutcome outcome, const char *code,
			   const char *message, int64 not_before_ms)
{
	EbDestination *d = work->destination;

	eb_queue_remove(&d->running, work);
	d->mean_ms += ((double) (eb_loop_now() - work->started) - d->mean_ms) / 4;
	finish(work, outcome, code, message, not_before_ms);
	pump(d);
}

/* ---- commands ---- */

/* The command that a task stands for, or NULL. */
static const char *
find_command(const char *task)
{
	size_t		len = strlen(task);

	for (SimpleStringListCell *cell = options->commands.head; cell;
		 cell = cell->next)
		if (strncmp(cell->val, task, len) == 0 && cell->val[len] == '=')
			return cell->val + len + 1;
	return NULL;
}

/*
 * Its exit status decides: 0 means delivered; 126 and 127, with which the
 * shell says that there is no such command, that there is no hope; any other
 * status, a signal, or a time-out, that it may be tried again.
 */
static void
command_ended(void *arg, EbProcessEnd end, const char *reason)
{
	static const struct
	{
		EbWorkOutcome outcome;
		const char *code;
	}			meanings[] = {
		[EB_PROCESS_SUCCEEDED] = {EB_WORK_DELIVERED, NULL},
		[EB_PROCESS_FAILED] = {EB_WORK_FAILED, "ERROR_FROM_TARGET"},
		[EB_PROCESS_MISSING] = {EB_WORK_REFUSED, "NO_RESOURCE"},
		[EB_PROCESS_TIMED_OUT] = {EB_WORK_FAILED, "TIMEOUT"}
	};

	finish_attempt(arg, meanings[end].outcome, meanings[end].code,
				   end == EB_PROCESS_SUCCEEDED ? NULL : reason, 0);
}

static void
start_command(EbWork *work)
{
	const char *command = find_command(work->fields[EB_WORK_RESOURCE]);
	char	   *input;

	if (command == NULL)
	{
		finish_attempt(work, EB_WORK_REFUSED, "NO_PERMISSIONS",
					   "the worker's configuration has no command for this task", 0);
		return;
	}
	input = psprintf("%s\n", work->fields[EB_WORK_INPUT]);
	if (eb_process_start(command, input, options->command_timeout_ms,
						 command_ended, work) == NULL)
		finish_attempt(work, EB_WORK_FAILED, "INTERNAL_ERROR",
					   "the command could not be started", 0);
	free(input);
}

/* ---- requests ---- */

/*
 * Any 2xx status means delivered.  What is tried again is what API
 * destinations try again: 401, 407, 409, 429 and 5xx, and requests that got
 * no answer.
 */
static void
request_ended(void *arg, const EbHttpResult *result)
{
	EbWork	   *work = arg;
	EbWorkOutcome outcome = EB_WORK_FAILED;
	const char *code;

	if (!result->answered)
		code = result->timed_out ? "TIMEOUT" : "CONNECTION_FAILURE";
	else if (result->status >= 200 && result->status <= 299)
	{
		finish_attempt(work, EB_WORK_DELIVERED, NULL, NULL, 0);
		return;
	}
	else if (result->status == 429)
		code = "THROTTLING";
	else if (result->status >= 500)
		code = "ERROR_FROM_TARGET";
	else
	{
		code = "SDK_CLIENT_ERROR";
		if (result->status != 401 && result->status != 407 &&
			result->status != 409)
			outcome = EB_WORK_REFUSED;
	}
	if (result->retry_after_ms == EB_RETRY_AFTER_NEVER)
		outcome = EB_WORK_REFUSED;
	finish_attempt(work, outcome, code, result->text,
				   Max(result->retry_after_ms, 0));
}

static void
start_request(EbWork *work)
{
	const char *problem = NULL;
	EbHttpRequest *request = eb_request_create(work, options->webhook_timeout_ms,
											   &problem);

	/* Configuration can be mended, so what fails here is tried again. */
	if (request == NULL)
	{
		finish_attempt(work, EB_WORK_FAILED, "INVALID_PARAMETER", problem, 0);
		return;
	}
	eb_http_send(request, request_ended, work);
	eb_request_free(request);
}

/* ---- lines ---- */

static EbDestination *
get_destination(const EbWork *work)
{
	const char *kind = work->fields[EB_WORK_KIND];
	const char *resource = work->fields[EB_WORK_RESOURCE];
	EbDestination *d;

	for (d = destinations; d; d = d->next)
		if (strcmp(d->resource, resource) == 0 && strcmp(d->kind, kind) == 0)
			return d;
	d = pg_malloc0(sizeof(EbDestination));
	d->kind = pg_strdup(kind);
	d->resource = pg_strdup(resource);
	d->refilled = eb_loop_now();
	d->tokens = 1;
	d->next = destinations;
	destinations = d;
	return d;
}

/* Counts the attempts that the rate allows by now: at most those of 0.1 s. */
static void
refill(EbDestination *d)
{
	int64		now = eb_loop_now();

	if (d->rate == 0)
		d->tokens = options->jobs;
	else
	{
		d->tokens += (now - d->refilled) * d->rate / 1000.0;
		d->tokens = Min(d->tokens, Max(d->rate / 10.0, 1));
	}
	d->refilled = now;
}

/* Milliseconds from one attempt to the next, as things are. */
static double
pace_ms(const EbDestination *d)
{
	double		each = d->mean_ms;

	/* What is under way may take long before it counts. */
	for (const EbQueueItem *item = d->running.first; item; item = item->next)
		each = Max(each, (double) (eb_loop_now() - ((const EbWork *) item)->started));
	each /= options->jobs;
	return d->rate > 0 ? Max(each, 1000.0 / d->rate) : each;
}

/* How many may wait: for their time, and never so many that others cannot. */
static int
line_limit(const EbDestination *d)
{
	double		pace = pace_ms(d);
	int			limit = Max(options->max_deliveries / 2, 1);

	if (pace * limit > LINE_MS)
		limit = (int) (LINE_MS / pace);
	return Max(limit, 1);
}

/* Gives a delivery back until its turn will have come. */
static void
postpone(EbDestination *d, EbWork *work)
{
	double		pace = pace_ms(d);
	int64		now = eb_loop_now();
	int64		delay;

	d->next_turn = Max(d->next_turn, now + (int64) (d->waiting.length * pace));
	delay = Min(d->next_turn - now, MAX_POSTPONE_MS);
	d->next_turn = now + delay + (int64) pace;
	finish(work, EB_WORK_POSTPONED, NULL, NULL, Max(delay, 100));
}

/* Takes the last of the line out of it. */
static EbWork *
pop_last(EbDestination *d)
{
	EbWork	   *work = (EbWork *) d->waiting.last;

	eb_queue_remove(&d->waiting, work);
	return work;
}

/* Starts what may be started. */
static void
pump(void *arg)
{
	EbDestination *d = arg;

	/* An attempt may end at once and come back to here. */
	if (d->pumping)
		return;
	d->pumping = true;
	while (d->waiting.first && d->running.length < options->jobs)
	{
		EbWork	   *work;

		refill(d);
		if (d->tokens < 1)
		{
			eb_timer_set(&d->timer, (int64) ((1 - d->tokens) * 1000 / d->rate) + 1,
						 pump, d);
			break;
		}
		d->tokens -= 1;
		work = eb_queue_pop(&d->waiting);
		eb_queue_push(&d->running, work);
		work->started = eb_loop_now();
		if (strcmp(d->kind, "task") == 0)
			start_command(work);
		else
			start_request(work);
	}
	while (d->waiting.length > line_limit(d))
		postpone(d, pop_last(d));
	d->pumping = false;
}

/* To be called once. */
void
eb_dispatch_init(const EbRunOptions *run_options, EbWorkDone work_done)
{
	options = run_options;
	done = work_done;
	eb_http_init();
	eb_process_init();
}

/* Takes a delivery in hand; done() may be called before this returns. */
void
eb_dispatch_take(EbWork *work)
{
	EbDestination *d = get_destination(work);

	d->rate = atof(work->fields[EB_WORK_RATE]) / options->share;
	work->destination = d;
	eb_queue_push(&d->waiting, work);
	pump(d);
}

/* Gives back what has not been started. */
void
eb_dispatch_give_back(void)
{
	for (EbDestination *d = destinations; d; d = d->next)
		while (d->waiting.last)
			finish(pop_last(d), EB_WORK_POSTPONED, NULL, NULL, 0);
}

/* The same when there is nobody to give it to.  Returns how many. */
int
eb_dispatch_forget_waiting(void)
{
	int			n = 0;

	for (EbDestination *d = destinations; d; d = d->next)
		while (d->waiting.last)
		{
			eb_work_free(pop_last(d));
			n++;
		}
	return n;
}
