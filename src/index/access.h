/*-------------------------------------------------------------------------
 *
 * access.h
 *	  What an event must have, if a pattern is to match it.
 *
 * A conjunction matches only if each of its fields that does not accept
 * absence has a value at its path that satisfies one alternative.  Such a
 * field is a requirement; each of its alternatives says by which keys (see
 * keys.h) a value that satisfies it can be found.  Both operator classes and
 * the estimates start from here; whether an event matches is the matcher's
 * decision.
 *
 *-------------------------------------------------------------------------
 */
#ifndef EB_INDEX_ACCESS_H
#define EB_INDEX_ACCESS_H

#include "index/keys.h"
#include "pattern/pattern.h"

typedef struct EbRequirement
{
	EbPathHash	path;
	uint32		values;			/* offset of EbValues */
	int			depth;			/* segments of the path */
	const char *name;			/* of a path of one segment; not terminated */
	int			name_len;
	bool		absent_ok;		/* no requirement: the path may have no value */
} EbRequirement;

typedef enum EbAccessKind
{
	EB_ACCESS_KEY,				/* one key: low */
	EB_ACCESS_NUMBERS,			/* low .. high */
	EB_ACCESS_BLOCK,			/* of addresses, in cidr */
	EB_ACCESS_PREFIX,			/* folded strings that begin with prefix */
	EB_ACCESS_ANY				/* any value at the path */
} EbAccessKind;

typedef struct EbAccess
{
	EbAccessKind kind;
	int64		low;
	int64		high;
	EbFolded	prefix;
	const EbCidr *cidr;

	/*
	 * A guess at how rare such values are: of 2^bits events one has it.  It
	 * comes from the looks of the operand alone.
	 */
	double		bits;
} EbAccess;

/*
 * The requirements of the conjunction with this root; returns their number.
 * On demand, all its fields, those that accept absence marked as such.
 */
extern int	eb_requirements(const EbProgram *program, uint32 root, bool all_fields,
							EbRequirement **requirements);

/*
 * The alternatives of a requirement; returns their number.  If any is
 * EB_ACCESS_ANY there is only that one.
 */
extern int	eb_accesses(const EbProgram *program, const EbRequirement *requirement,
						EbAccess **accesses);

/* The same guess for all of them together. */
extern double eb_access_bits(const EbAccess *accesses, int naccesses);

#endif							/* EB_INDEX_ACCESS_H */
