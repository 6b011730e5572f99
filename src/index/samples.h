/*-------------------------------------------------------------------------
 *
 * samples.h
 *	  What ANALYZE has kept of a column of events, ready to be asked.
 *
 *-------------------------------------------------------------------------
 */
#ifndef EB_INDEX_SAMPLES_H
#define EB_INDEX_SAMPLES_H

#include "access/htup.h"

#include "index/keys.h"

/* A scalar of a sample. */
typedef struct EbSampleLeaf
{
	EbPathHash	path;
	int64		key;			/* its key, see keys.h */
	int			sample;
	JsonbValue	scalar;
} EbSampleLeaf;

/*
 * Samples 0 .. ncommon - 1 are common values, with their shares of all rows;
 * the others, from the histogram, stand for all the rest.
 */
typedef struct EbSamples
{
	int			n;
	int			ncommon;
	bool	   *is_object;		/* of each sample */
	float4	   *shares;			/* of each common value */
	EbSampleLeaf *leaves;		/* by path, then by key */
	int			nleaves;
} EbSamples;

/*
 * The samples in a row of pg_statistic.  What is returned is good until the
 * next call.
 */
extern const EbSamples *eb_samples(HeapTuple statistics);

/* The leaves at a path; their number may be 0. */
extern const EbSampleLeaf *eb_sample_leaves(const EbSamples *samples,
											EbPathHash path, int *n);

#endif							/* EB_INDEX_SAMPLES_H */
