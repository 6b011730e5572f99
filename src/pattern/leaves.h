/*-------------------------------------------------------------------------
 *
 * leaves.h
 *	  The scalars of an event and their paths.
 *
 *-------------------------------------------------------------------------
 */
#ifndef EB_PATTERN_LEAVES_H
#define EB_PATTERN_LEAVES_H

#include "nodes/pg_list.h"
#include "utils/jsonb.h"

/* More values than this at one path are not collected. */
#define EB_MAX_LEAVES 100

/* A scalar of an event; its path is the segments joined with dots. */
typedef struct EbLeaf
{
	char	   *path;			/* NULL from eb_find_values */
	JsonbValue	value;
} EbLeaf;

/* What an event has at one path. */
typedef struct EbFindings
{
	List	   *leaves;			/* of EbLeaf */
	bool		object;			/* an object stands there */
	bool		empty_array;
} EbFindings;

/*
 * Adds what stands at a path below a value to *found; at_end with an empty
 * path is the value itself.  Arrays stand for their elements, and names with
 * dots for nested ones.
 */
extern void eb_find_values(const JsonbValue *value, const char *path, int len,
						   bool at_end, EbFindings *found);

/* Adds all scalars at and below a value, whose own path is given. */
extern void eb_collect_leaves(const JsonbValue *value, const char *path,
							  List **leaves);

/* A scalar as JSON text. */
extern char *eb_scalar_text(const JsonbValue *value);

#endif							/* EB_PATTERN_LEAVES_H */
