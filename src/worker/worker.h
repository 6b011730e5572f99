/*-------------------------------------------------------------------------
 *
 * worker.h
 *	  What every part of eventbridge-worker knows: how the program may end.
 *
 *-------------------------------------------------------------------------
 */
#ifndef EB_WORKER_H
#define EB_WORKER_H

#define EB_PROGNAME "eventbridge-worker"

/* Exit statuses; "eventbridge-worker --help" explains them to the user. */
typedef enum EbExit
{
	EB_EXIT_OK = 0,				/* stopped cleanly */
	EB_EXIT_USAGE = 1,			/* bad option, or no memory left */
	EB_EXIT_CONNECTION = 2,		/* no connection at start */
	EB_EXIT_GIVEN_UP = 3,		/* a message could not be delivered */
	EB_EXIT_TIMEOUT = 4,		/* --timeout came before --count was reached */
	EB_EXIT_ABORTED = 5			/* second signal: stopped at once */
} EbExit;

#endif							/* EB_WORKER_H */
