/*-------------------------------------------------------------------------
 *
 * pipes.h
 *	  What the files of this room share; see run.c.
 *
 *-------------------------------------------------------------------------
 */
#ifndef EB_PIPES_H
#define EB_PIPES_H

#include "utils/jsonb.h"

/* A batch of a pipe's source, and the position behind it. */
typedef struct EbPipeBatch
{
	int64		tick;
	int64		number;
	char	   *records;		/* a JSON array; NULL: just a position */
	Jsonb	   *parsed;			/* the same, or NULL */
	char	  **each;			/* the same one by one, or NULL */
	int			nrecords;
	Datum		oldest;
	bool		expired;
	int64		first_tick;		/* of its first record */
	int64		first_number;
} EbPipeBatch;

/* take.c */
typedef struct EbPipeTake EbPipeTake;

extern EbPipeTake *eb_pipe_take(int64 pipe_id, bool from_queue);
extern bool eb_pipe_next_batch(EbPipeTake *take, EbPipeBatch *batch);

/* run.c */
extern void eb_pipes_init(void);

#endif							/* EB_PIPES_H */
