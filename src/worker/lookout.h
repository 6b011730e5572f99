/*-------------------------------------------------------------------------
 *
 * lookout.h
 *	  When to look for work, and when to sleep.
 *
 *-------------------------------------------------------------------------
 */
#ifndef EB_LOOKOUT_H
#define EB_LOOKOUT_H

#include "loop.h"
#include "session.h"

/* The owner's own statements are numbered from EB_LOOKOUT_NSTATEMENTS. */
typedef enum EbLookoutStatement
{
	EB_LOOKOUT_NONE,
	EB_LOOKOUT_WAKE,
	EB_LOOKOUT_LOOK,			/* the owner's to send and to take */
	EB_LOOKOUT_SLEEP,
	EB_LOOKOUT_REST,
	EB_LOOKOUT_NSTATEMENTS
} EbLookoutStatement;

/* Lives inside its owner, who sets what is above the line. */
typedef struct EbLookout
{
	EbSession  *session;
	const char *sleep;			/* SQL expression: falls asleep, gives writers */
	const char *wake;			/* SQL expression: wakes */
	bool		once;			/* look, but never sleep */
	void		(*step) (void); /* there is a new reason to look */
	/* ---- */
	bool		look;			/* there is reason to */
	bool		asleep;
	bool		has_woken;		/* found work while asleep */
	char	   *writers;		/* whose end is awaited, or NULL */
	bool		rest_due;		/* time to ask for it */
	int			rest_ms;
	EbTimer		rest_timer;
	EbTimer		poll_timer;
	int			poll_ms;
} EbLookout;

extern void eb_lookout_init(EbLookout *lookout);
extern void eb_lookout_lost(EbLookout *lookout);
extern void eb_lookout_look(void *lookout);
extern void eb_lookout_found(EbLookout *lookout, bool found);
extern EbLookoutStatement eb_lookout_next(const EbLookout *lookout,
										  bool has_room);
extern void eb_lookout_send(EbLookout *lookout, EbLookoutStatement statement);
extern void eb_lookout_take(EbLookout *lookout, EbLookoutStatement statement,
							const PGresult *result);
extern void eb_lookout_wait(EbLookout *lookout);

#endif							/* EB_LOOKOUT_H */
