/*-------------------------------------------------------------------------
 *
 * sinks.h
 *	  All the sinks that messages go to.
 *
 *-------------------------------------------------------------------------
 */
#ifndef EB_SINKS_H
#define EB_SINKS_H

#include "options.h"
#include "sink.h"

typedef struct EbSinks
{
	EbSink	   *all[3];
	int			n;
	EbSink	   *print;			/* NULL: none */
} EbSinks;

extern void eb_sinks_open(EbSinks *sinks, const EbSinkOptions *options,
						  EbSinkDone done);
extern void eb_sinks_submit(EbSinks *sinks, EbMessage *message);
extern void eb_sinks_announce(const EbSinkOptions *options);

#endif							/* EB_SINKS_H */
