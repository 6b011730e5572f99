/*-------------------------------------------------------------------------
 *
 * pipes.h
 *	  What the files of this room share; see run.c.
 *
 *-------------------------------------------------------------------------
 */
#ifndef EB_PIPES_H
#define EB_PIPES_H

#include "datatype/timestamp.h"
#include "utils/jsonb.h"

#include "delivery/delivery.h"

/* A pipe as it is served. */
typedef struct EbPipe
{
	int64		pipe_id;
	bool		from_queue;
	EbTarget	enrichment;		/* exists is false if there is none */
	char	   *enrichment_template;	/* or NULL */
	EbTarget	target;
	char	   *target_template;	/* or NULL */
	char	   *variables;		/* of templates */
	bool		logs;			/* more than failures */
	bool		is_held;		/* by a batch that failed */
	bool		has_groups;		/* messages to the target have a group */
	char	   *obstacle;		/* or NULL */
} EbPipe;

/*
 * A batch of a pipe's source, and the position behind it.  Without records it
 * is just a position.
 */
typedef struct EbPipeBatch
{
	int64		tick;
	int64		number;
	char	   *records;		/* a JSON array, or NULL */
	Size		records_len;
	int		   *starts;			/* where records begin in it, and the end; or
								 * NULL.  Between two is a comma. */
	Jsonb	   *parsed;			/* the same array, or NULL */
	int			nrecords;
	TimestampTz oldest;
	bool		expired;
	int64		first_tick;		/* of its first record */
	int64		first_number;
} EbPipeBatch;

/* take.c */
typedef struct EbPipeTake EbPipeTake;

extern EbPipeTake *eb_pipe_take_stream(int64 pipe_id, bool wants_jsonb);
extern EbPipeTake *eb_pipe_take_queue(int64 pipe_id);
extern bool eb_pipe_next_batch(EbPipeTake *take, EbPipeBatch *batch);

/* How a batch ended. */
typedef struct EbPipeResult
{
	const char *stage;			/* that failed, or NULL */
	char	   *message;
	int		   *failed;			/* records, from 1; see failed_records() */
	int			nfailed;
	bool		skipped;		/* the target was not invoked */
} EbPipeResult;

/* deliver.c */
extern void eb_pipe_deliver(EbPipe *pipe, const EbPipeBatch *batch,
							EbPipeResult *result);

/* run.c */
extern void eb_pipes_init(void);

#endif							/* EB_PIPES_H */
