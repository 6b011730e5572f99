/*-------------------------------------------------------------------------
 *
 * pattern_keys.h
 *	  Keys under which patterns are stored, and by which events find them.
 *
 * Each conjunction of a pattern is stored under one of its requirements, the
 * one that looks rarest, with a key for each alternative.  An event matches
 * only if it has one of the keys of one conjunction.  The keys are hashes of
 *
 *		SINGLE	path and value, as in keys.h
 *		PAIR	two such: exact values of two fields of AWS's envelope, none of
 *				which narrows much by itself
 *		PREFIX	path and the beginning of a folded string
 *		BLOCK	path and the leading bits of an address
 *		EXISTS	path
 *		ALWAYS	nothing: the conjunction asks for nothing that must be there
 *
 * Which requirement is taken depends on the pattern alone, never on data seen
 * or not seen: the index needs no statistics and stays right.
 *
 * Keys are stored in indexes on disk: what is defined here cannot change
 * without a new operator class.
 *
 *-------------------------------------------------------------------------
 */
#ifndef EB_INDEX_PATTERN_KEYS_H
#define EB_INDEX_PATTERN_KEYS_H

#include "index/access.h"

/* Keys while they are collected. */
typedef struct EbKeyList
{
	Datum	   *keys;			/* of int8 */
	int32		n;
	int32		size;
} EbKeyList;

extern void eb_key_list_init(EbKeyList *list);
extern void eb_key_list_add(EbKeyList *list, int64 key);

/* The keys of a pattern. */
extern void eb_pattern_keys(const EbPattern *pattern, EbKeyList *list);

/*
 * The keys by which an event finds patterns.  Returns false if there would be
 * too many, so that all patterns have to be looked at.
 */
extern bool eb_event_keys(JsonbContainer *event, EbKeyList *list);

#endif							/* EB_INDEX_PATTERN_KEYS_H */
