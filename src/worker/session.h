/*-------------------------------------------------------------------------
 *
 * session.h
 *	  A session that runs one statement at a time.
 *
 *-------------------------------------------------------------------------
 */
#ifndef EB_SESSION_H
#define EB_SESSION_H

#include "connection.h"

/* Called from the loop.  Statements are numbered by the caller, from 1. */
typedef struct EbSessionHandlers
{
	const char *setup;			/* commands to run when connected */
	const char *purpose;		/* "could not ...", if the first statement fails */

	/* There is a session, or one again; it is free. */
	void		(*ready) (PGconn *conn, bool again);

	/* There is none for the time being; a statement that ran is forgotten. */
	void		(*lost) (void);

	/* There will be none; a message has been logged. */
	void		(*failed) (void);

	/* A statement's result. */
	void		(*result) (int statement, const PGresult *result);

	/* Something was notified; may be NULL. */
	void		(*rung) (void);

	/* Something has happened: the time to send what is next. */
	void		(*step) (void);
} EbSessionHandlers;

typedef struct EbSession EbSession;

extern EbSession *eb_session_open(const EbConnectionOptions *options,
								  const EbSessionHandlers *handlers);
extern bool eb_session_is_free(const EbSession *session);
extern bool eb_session_is_busy(const EbSession *session);
extern void eb_session_send(EbSession *session, int statement,
							const char *sql, int nvalues,
							const char *const *values);
extern void eb_session_cancel(EbSession *session);
extern void eb_session_close(EbSession *session);

#endif							/* EB_SESSION_H */
