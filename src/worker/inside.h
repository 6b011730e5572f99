/*-------------------------------------------------------------------------
 *
 * inside.h
 *	  Deliveries to targets in the database.
 *
 *-------------------------------------------------------------------------
 */
#ifndef EB_INSIDE_H
#define EB_INSIDE_H

#include "options.h"

typedef struct EbInsideHandlers
{
	/* With --once: nothing is left.  When stopping: nothing runs any more. */
	void		(*idle) (void);

	/* There will be no session; a message has been logged. */
	void		(*failed) (void);
} EbInsideHandlers;

extern void eb_inside_open(const EbRunOptions *options,
						   const EbInsideHandlers *handlers);
extern bool eb_inside_is_busy(void);
extern void eb_inside_look(void);
extern void eb_inside_stop(void);
extern void eb_inside_cancel(void);
extern void eb_inside_close(void);

#endif							/* EB_INSIDE_H */
