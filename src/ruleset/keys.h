/*-------------------------------------------------------------------------
 *
 * keys.h
 *	  What must be in an event for a predicate to hold.
 *
 *-------------------------------------------------------------------------
 */
#ifndef EB_RULESET_KEYS_H
#define EB_RULESET_KEYS_H

#include "ruleset/set.h"

typedef struct EbKey
{
	EbKeyKind	kind;
	const char *bytes;
	uint32		len;
	bool		proven;			/* an event with the key satisfies it, too */
} EbKey;

/*
 * One of the alternatives of a predicate.  Any value that satisfies it has
 * all of the keys, if there are any, or lies in the range.
 */
typedef struct EbAlternative
{
	uint32		nkeys;
	EbKey	   *keys;
	bool		is_range;
	double		lower;
	double		upper;
} EbAlternative;

typedef struct EbAlternatives
{
	uint32		n;
	EbAlternative *items;
	bool		accepts_absence;
} EbAlternatives;

/* Allocates in the current memory context; keys may point into the program. */
extern void eb_find_alternatives(const EbProgram *program,
								 const EbValues *values,
								 EbAlternatives *result);

#endif							/* EB_RULESET_KEYS_H */
