/*-------------------------------------------------------------------------
 *
 * reports.c
 *	  What the database is to be told, in the order in which it happened.
 *
 * An item stays in the line until it has been answered for.  When a session
 * is lost it is not known what became of the statement that ran in it, so all
 * that it held is reported again.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres_fe.h"

#include <cjson/cJSON.h>

#include "reports.h"
#include "text.h"

#define AT_ONCE		100

/* The item has an EbQueueItem as its first field, as all in a queue. */
void
eb_reports_add(EbReports *reports, void *item)
{
	eb_queue_push(&reports->queue, item);
}

/* Sends the oldest ones.  The session must be free. */
void
eb_reports_send(EbReports *reports)
{
	cJSON	   *all = cJSON_CreateArray();
	const char *values[2] = {NULL, reports->argument};
	char	   *text;
	int			n = 0;

	for (const EbQueueItem *item = reports->queue.first; item && n < AT_ONCE;
		 item = item->next, n++)
		cJSON_AddItemToArray(all, reports->describe(item));
	text = eb_text_print_json(all);
	values[0] = text;
	reports->nrunning = n;
	eb_session_send(reports->session, reports->statement, reports->sql,
					reports->argument ? 2 : 1, values);
	free(text);
}

/* Takes the result of what eb_reports_send() has sent. */
void
eb_reports_take(EbReports *reports, const PGresult *result)
{
	int			n = Min(PQntuples(result), reports->nrunning);

	reports->nrunning = 0;
	for (int i = 0; i < n; i++)
		reports->reported(eb_queue_pop(&reports->queue),
						  PQgetisnull(result, i, 0) ? NULL :
						  PQgetvalue(result, i, 0));
}

/* There is no session for the time being. */
void
eb_reports_lost(EbReports *reports)
{
	reports->nrunning = 0;
}
