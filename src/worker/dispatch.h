/*-------------------------------------------------------------------------
 *
 * dispatch.h
 *	  Deliveries in hand, each in the line of its destination.
 *
 *-------------------------------------------------------------------------
 */
#ifndef EB_DISPATCH_H
#define EB_DISPATCH_H

#include "options.h"
#include "work.h"

/* We are through with it; it says how it went, and is the callee's now. */
typedef void (*EbWorkDone) (EbWork *work);

extern void eb_dispatch_init(const EbRunOptions *options, EbWorkDone done);
extern void eb_dispatch_take(EbWork *work);
extern void eb_dispatch_give_back(void);
extern int	eb_dispatch_forget_waiting(void);
extern void eb_work_free(EbWork *work);

#endif							/* EB_DISPATCH_H */
