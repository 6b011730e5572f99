/*-------------------------------------------------------------------------
 *
 * pipes.h
 *	  Pipes; see run.c.
 *
 *-------------------------------------------------------------------------
 */
#ifndef EB_PIPES_H
#define EB_PIPES_H

extern void eb_pipes_init(void);

#endif							/* EB_PIPES_H */
