/*-------------------------------------------------------------------------
 *
 * connection.h
 *	  A connection to the database that is kept up.
 *
 *-------------------------------------------------------------------------
 */
#ifndef EB_CONNECTION_H
#define EB_CONNECTION_H

#include "libpq-fe.h"

typedef enum EbPrompt
{
	EB_PROMPT_IF_NEEDED,
	EB_PROMPT_NEVER,
	EB_PROMPT_ALWAYS
} EbPrompt;

/* What the user said about the connection; NULL: nothing. */
typedef struct EbConnectionOptions
{
	char	   *host;
	char	   *port;
	char	   *username;
	char	   *dbname;			/* or a connection string or URI */
	EbPrompt	prompt;
} EbConnectionOptions;

typedef struct EbConnection EbConnection;

/* Called from the loop. */
typedef struct EbConnectionHandlers
{
	/* The commands to send when connected; malloc'd. */
	char	   *(*setup) (PGconn *conn, void *arg);

	/* The commands are done; again after each reconnection. */
	void		(*ready) (PGconn *conn, bool again, void *arg);

	/* Something has arrived. */
	void		(*input) (PGconn *conn, void *arg);

	/* There is no session for the time being; may be NULL. */
	void		(*lost) (void *arg);

	/* The very first attempt failed; a message has been logged. */
	void		(*failed) (void *arg);
} EbConnectionHandlers;

extern EbConnection *eb_connection_open(const EbConnectionOptions *options,
										const EbConnectionHandlers *handlers,
										void *arg);
extern void eb_connection_pause(EbConnection *c);
extern void eb_connection_resume(EbConnection *c);
extern bool eb_connection_send(EbConnection *c, const char *sql, int nvalues,
							   const char *const *values);
extern void eb_connection_restart(EbConnection *c, const char *trouble,
								  const char *reason);
extern void eb_connection_prove(EbConnection *c);
extern void eb_connection_cancel(EbConnection *c);
extern void eb_connection_close(EbConnection *c);

#endif							/* EB_CONNECTION_H */
