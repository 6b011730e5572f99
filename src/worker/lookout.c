/*-------------------------------------------------------------------------
 *
 * lookout.c
 *	  When to look for work, and when to sleep.
 *
 * A session that serves deliveries sends, when it has nothing better to do,
 * the first of these for which there is a reason:
 *
 *	  WAKE		 there was work: writers need not notify (worker_wake)
 *	  LOOK		 look for work, if there is room for it
 *	  SLEEP		 nothing to do: writers, notify from now on (worker_sleep)
 *	  REST		 have those ended who were writing then (worker_may_rest)
 *
 * Reasons to look are a notification, a retry that is due, that the last look
 * found something, and that eventbridge.poll_interval is over.  After SLEEP,
 * and after REST has answered yes, it looks once more; see the server's
 * bell.c for why.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres_fe.h"

#include "lookout.h"

#define FIRST_REST_MS		20
#define MAX_REST_MS			1000
#define DEFAULT_POLL_MS		5000

void
eb_lookout_init(EbLookout *lookout)
{
	lookout->poll_ms = DEFAULT_POLL_MS;
}

static void
forget_writers(EbLookout *lookout)
{
	free(lookout->writers);
	lookout->writers = NULL;
	eb_timer_clear(&lookout->rest_timer);
}

static void
wake_up(EbLookout *lookout)
{
	lookout->asleep = false;
	lookout->has_woken = false;
	forget_writers(lookout);
}

/* The session has ended, and its sleep with it. */
void
eb_lookout_lost(EbLookout *lookout)
{
	wake_up(lookout);
}

/* There is reason to look. */
void
eb_lookout_look(void *arg)
{
	EbLookout  *lookout = arg;

	lookout->look = true;
	lookout->step();
}

/* It has looked; where there was something, there may be more. */
void
eb_lookout_found(EbLookout *lookout, bool found)
{
	lookout->look = found;
	lookout->has_woken = lookout->asleep && found;
}

static void
rest_timer_fired(void *arg)
{
	EbLookout  *lookout = arg;

	lookout->rest_due = true;
	lookout->step();
}

/* Asks again some time whether the writers have ended. */
static void
await_writers(EbLookout *lookout)
{
	lookout->rest_due = false;
	eb_timer_set(&lookout->rest_timer, lookout->rest_ms, rest_timer_fired,
				 lookout);
	lookout->rest_ms = Min(lookout->rest_ms * 2, MAX_REST_MS);
}

static void
take_sleep_result(EbLookout *lookout, const PGresult *result)
{
	lookout->asleep = true;
	lookout->look = true;
	lookout->rest_ms = FIRST_REST_MS;
	forget_writers(lookout);
	if (*PQgetvalue(result, 0, 0))
	{
		lookout->writers = pg_strdup(PQgetvalue(result, 0, 0));
		await_writers(lookout);
	}
	lookout->poll_ms = Max(atoi(PQgetvalue(result, 0, 1)), 1);
}

static void
take_rest_result(EbLookout *lookout, const PGresult *result)
{
	if (*PQgetvalue(result, 0, 0) != 't')
	{
		await_writers(lookout);
		return;
	}
	forget_writers(lookout);
	lookout->look = true;
}

/* Takes the result of a statement that eb_lookout_send() has sent. */
void
eb_lookout_take(EbLookout *lookout, EbLookoutStatement statement,
				const PGresult *result)
{
	if (statement == EB_LOOKOUT_WAKE)
		wake_up(lookout);
	else if (statement == EB_LOOKOUT_SLEEP)
		take_sleep_result(lookout, result);
	else if (statement == EB_LOOKOUT_REST)
		take_rest_result(lookout, result);
}

/* Which statement is next. */
EbLookoutStatement
eb_lookout_next(const EbLookout *lookout, bool has_room)
{
	if (lookout->has_woken)
		return EB_LOOKOUT_WAKE;
	if (lookout->look)
		return has_room ? EB_LOOKOUT_LOOK : EB_LOOKOUT_NONE;
	if (lookout->once)
		return EB_LOOKOUT_NONE;
	if (!lookout->asleep)
		return EB_LOOKOUT_SLEEP;
	if (lookout->writers && lookout->rest_due)
		return EB_LOOKOUT_REST;
	return EB_LOOKOUT_NONE;
}

/* Sends one that is not the owner's.  The session must be free. */
void
eb_lookout_send(EbLookout *lookout, EbLookoutStatement statement)
{
	char	   *sql;

	if (statement == EB_LOOKOUT_REST)
	{
		eb_session_send(lookout->session, statement,
						"SELECT eventbridge.worker_may_rest($1)", 1,
						(const char *const *) &lookout->writers);
		return;
	}
	if (statement == EB_LOOKOUT_WAKE)
		sql = psprintf("SELECT %s", lookout->wake);
	else
		sql = psprintf("SELECT %s,"
					   " (EXTRACT(epoch FROM pg_catalog.current_setting('eventbridge.poll_interval')::interval) * 1000)::integer",
					   lookout->sleep);
	eb_session_send(lookout->session, statement, sql, 0, NULL);
	free(sql);
}

/* There is nothing to do: looks when the poll interval is over. */
void
eb_lookout_wait(EbLookout *lookout)
{
	if (!lookout->poll_timer.armed)
		eb_timer_set(&lookout->poll_timer, lookout->poll_ms, eb_lookout_look,
					 lookout);
}
