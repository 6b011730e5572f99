/*-------------------------------------------------------------------------
 *
 * build.h
 *	  What the files that build a set share.
 *
 * collect.c reads the patterns, choose.c decides how they will be found, and
 * build.c writes the set.  Everything lives in a memory context of the build.
 *
 *-------------------------------------------------------------------------
 */
#ifndef EB_RULESET_BUILD_H
#define EB_RULESET_BUILD_H

#include "lib/stringinfo.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

#include "ruleset/keys.h"

/* An array that grows. */
typedef struct EbArray
{
	void	   *data;
	uint32		n;
	uint32		allocated;
} EbArray;

/* The place of a new element, zeroed. */
static inline void *
eb_array_append(EbArray *array, Size size)
{
	void	   *place;

	if (array->n == array->allocated)
	{
		array->allocated = Max(64, array->allocated * 2);
		if (array->data == NULL)
			array->data = MemoryContextAllocHuge(CurrentMemoryContext, array->allocated * size);
		else
			array->data = repalloc_huge(array->data, array->allocated * size);
	}
	place = (char *) array->data + array->n++ * size;
	memset(place, 0, size);
	return place;
}

static inline void
eb_array_append_uint32(EbArray *array, uint32 value)
{
	*(uint32 *) eb_array_append(array, sizeof(uint32)) = value;
}

/* What is numbered: bytes, in one of several spaces. */
typedef struct EbByteName
{
	uint32		space1;
	uint32		space2;
	uint32		len;
	const char *bytes;
} EbByteName;

typedef struct EbBuildNode
{
	uint32		parent;
	const char *key;
	uint32		key_len;
	uint32		refs;			/* conjunctions' uses of its predicates */
	uint32		nstrings;		/* predicates of nothing but strings */
	bool		is_field;
} EbBuildNode;

typedef struct EbBuildPredicate
{
	uint32		node;
	const EbProgram *program;
	uint32		values;
	uint32		refs;			/* conjunctions that have it */
	EbAlternatives alternatives;
	double		likelihood;		/* a guess at how often it holds */
	bool		is_exact;		/* see EB_ENTRY_EXACT */
	bool		is_access;
	uint32		first_entry;
} EbBuildPredicate;

typedef struct EbBuildConjunction
{
	uint32		pattern;
	uint32		class;
	uint32		access;
	uint32		first;			/* of its predicates but the access predicate */
	uint32		n;
} EbBuildConjunction;

typedef struct EbKeyCount
{
	uint32		refs;
	uint32		nstrings;		/* predicates of nothing but strings */
	uint32		posting;		/* number among the postings, plus one */
} EbKeyCount;

/* A key that is written, and a predicate that has it. */
typedef struct EbKeyUse
{
	uint32		posting;
	uint32		predicate;		/* with EB_POSTING_PROVEN */
} EbKeyUse;

/* Something that belongs to a node, and is ordered within it. */
typedef struct EbNodeItem
{
	uint32		node;
	uint32		kind;
	uint32		value;
} EbNodeItem;

typedef struct EbNodeRange
{
	uint32		node;
	EbSetRange	range;
} EbNodeRange;

typedef struct EbBuilder
{
	const EbPattern *const *patterns;
	uint32		npatterns;

	HTAB	   *node_names;
	HTAB	   *predicate_names;
	HTAB	   *class_names;
	HTAB	   *key_names;
	EbArray		nodes;			/* of EbBuildNode */
	EbArray		predicates;		/* of EbBuildPredicate */
	EbArray		conjunctions;	/* of EbBuildConjunction */
	EbArray		members;		/* uint32: predicates of the conjunctions */
	EbArray		class_lists;	/* of EbSetList, into class_nodes */
	EbArray		class_nodes;	/* uint32 */
	EbArray		keys;			/* of EbKeyCount */

	EbArray		entries;		/* of EbSetEntry */
	EbArray		postings;		/* of EbByteName */
	EbArray		uses;			/* of EbKeyUse */
	EbArray		lengths;		/* of EbNodeItem */
	EbArray		asked;			/* of EbNodeItem */
	EbArray		ranges;			/* of EbNodeRange */
	EbArray		absent;			/* uint32 */

	/* of the pattern being read, by number of the program's node */
	uint32	   *node_map;		/* node plus one */
	uint32	   *predicate_map;	/* predicate plus one */
	uint32		map_size;
	StringInfoData text;		/* of a predicate */
	EbArray		common;			/* uint32: nodes common to several fields */
} EbBuilder;

#define NODE(builder, i)		(&((EbBuildNode *) (builder)->nodes.data)[i])
#define PREDICATE(builder, i)	(&((EbBuildPredicate *) (builder)->predicates.data)[i])
#define MEMBER(builder, i)		(((uint32 *) (builder)->members.data)[i])

/* collect.c */
extern HTAB *eb_builder_create_names(const char *title);
extern uint32 eb_builder_number(HTAB *names, uint32 space1, uint32 space2,
								const char *bytes, uint32 len, bool copy,
								uint32 next, bool *found);
extern void eb_builder_collect(EbBuilder *builder);

/* choose.c */
extern void eb_builder_choose(EbBuilder *builder);

#endif							/* EB_RULESET_BUILD_H */
