/*-------------------------------------------------------------------------
 *
 * estimate.h
 *	  How many rows an event pattern selects.
 *
 *-------------------------------------------------------------------------
 */
#ifndef EB_INDEX_ESTIMATE_H
#define EB_INDEX_ESTIMATE_H

#include "nodes/pathnodes.h"

/*
 * The share of rows for which event @~ pattern (or its commutator, or one of
 * their functions: funcid) holds; args are its two arguments in order.
 */
extern double eb_estimate_matches(PlannerInfo *root, Oid funcid, List *args,
								  int varRelid);

/* Without knowledge of the data. */
#define EB_DEFAULT_MATCHES	0.001

#endif							/* EB_INDEX_ESTIMATE_H */
