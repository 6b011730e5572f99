/*-------------------------------------------------------------------------
 *
 * pattern.h
 *	  The pattern type: its stored form, and the one matcher.
 *
 * A pattern is stored as a header, its canonical text, and a program.  The
 * text is the value: output, comparison and hashing use it alone.  The
 * program is what the matcher runs; it follows from the text, and a pattern
 * whose program has an older format is compiled again from its text when it
 * is read.  So the format of the program may change from release to release
 * without touching stored patterns.
 *
 * The program is position independent: every reference is an offset in bytes
 * from the start of the program, and everything in it is 4-byte aligned.
 *
 * $or is multiplied out: a program is a list of conjunctions, and an event
 * matches if one of them does.  A conjunction is a tree over path segments,
 * in which each node may carry the condition on the values at its path.
 * Equal subtrees are stored once, so that conjunctions which differ in one
 * place share the rest.
 *
 *-------------------------------------------------------------------------
 */
#ifndef EB_PATTERN_H
#define EB_PATTERN_H

#include "fmgr.h"
#include "nodes/nodes.h"
#include "utils/jsonb.h"

#ifndef EB_PATTERN_VERSION
#define EB_PATTERN_VERSION		1
#endif

/* Documented limits of the language; what exceeds one is refused by name. */
#define EB_MAX_CONJUNCTIONS		1000	/* AWS's: combinations of $or alternatives */
#define EB_MAX_DEPTH			500 /* levels of nesting, and segments of a path */
#define EB_MAX_WILDCARD_STATES	10	/* AWS's complexity measure of wildcards */
#define EB_MAX_SPELLINGS		10000	/* see match_dotted.c */

typedef struct EbPattern
{
	int32		vl_len_;		/* varlena header */
	uint8		version;		/* EB_PATTERN_VERSION */
	uint8		reserved[3];	/* zero */
	uint32		text_len;		/* canonical text, in the database encoding */
	char		text[FLEXIBLE_ARRAY_MEMBER];	/* text, padding, program */
} EbPattern;

typedef struct EbProgram
{
	uint32		size;			/* of the whole program, in bytes */
	uint32		nnodes;			/* nodes are numbered 0 .. nnodes - 1 */
	uint32		nconjunctions;
	uint32		roots[FLEXIBLE_ARRAY_MEMBER];	/* the conjunctions' root nodes */
} EbProgram;

/* Every field at or below the node accepts that its path has no value. */
#define EB_NODE_ABSENT_OK		0x0001
/* The same for the fields below it alone. */
#define EB_NODE_BELOW_ABSENT_OK	0x0002

typedef struct EbChild
{
	uint32		key;			/* path segment; not terminated */
	uint32		key_len;
	uint32		node;
} EbChild;

typedef struct EbNode
{
	uint32		id;
	uint32		values;			/* EbValues of the field that ends here, or 0 */
	uint32		dotted_lengths; /* see below */
	uint16		flags;
	uint16		nchildren;
	EbChild		children[FLEXIBLE_ARRAY_MEMBER];	/* in jsonb's order of keys */
} EbNode;

/*
 * An event may spell a path with dots: {"a.b": 1} is {"a": {"b": 1}}.  Bit n
 * of dotted_lengths tells that some path of two or more segments below the
 * node is n bytes long when joined with dots (bit 31: 31 or more).  A key of
 * the event whose length has no bit need not be looked at for dots.
 */
#define EB_LENGTH_BIT(len)		(UINT32_C(1) << Min((len), 31))

/* Alternatives that need no operand. */
#define EB_VALUES_EXISTS		0x0001	/* exists: true */
#define EB_VALUES_ABSENT		0x0002	/* exists: false */
#define EB_VALUES_TRUE			0x0004
#define EB_VALUES_FALSE			0x0008
#define EB_VALUES_NULL			0x0010

typedef struct EbString
{
	uint32		offset;			/* bytes, not terminated */
	uint32		len;
} EbString;

/*
 * The alternatives of one field, any of which suffices: the flags, nstrings
 * EbString (exact strings, sorted by length, then bytes), nnumbers offsets of
 * numerics (sorted by value), nitems EbItem.
 */
typedef struct EbValues
{
	uint32		flags;
	uint32		nstrings;
	uint32		nnumbers;
	uint32		nitems;
	uint32		strings;		/* offset of EbString[nstrings] */
	uint32		numbers;		/* offset of uint32[nnumbers] */
	uint32		items;			/* offset of EbItem[nitems] */
} EbValues;

typedef enum EbItemKind
{
	EB_ITEM_PREFIX,				/* operand: bytes */
	EB_ITEM_SUFFIX,				/* operand: bytes */
	EB_ITEM_PREFIX_IGNORE_CASE, /* operand: folded units, see casefold.h */
	EB_ITEM_SUFFIX_IGNORE_CASE, /* operand: folded units */
	EB_ITEM_EQUALS_IGNORE_CASE, /* operand: folded units */
	EB_ITEM_WILDCARD,			/* operand: EbWildcard */
	EB_ITEM_NUMERIC,			/* operand: EbRange */
	EB_ITEM_CIDR,				/* operand: EbCidr */
	EB_ITEM_ADDRESS,			/* operand: EbCidr of full length; an exact
								 * string that is an IP address */
	EB_ITEM_ANYTHING_BUT		/* operand: EbValues that must not match */
} EbItemKind;

typedef struct EbItem
{
	uint32		kind;			/* EbItemKind */
	uint32		operand;		/* offset */
	uint32		len;			/* of the operand, in bytes */
} EbItem;

/*
 * A wildcard is the literal pieces between its stars: n stars separate n + 1
 * pieces, which may be empty.  The bytes of all pieces follow one another
 * after the lengths.
 */
typedef struct EbWildcard
{
	uint32		npieces;
	uint32		lens[FLEXIBLE_ARRAY_MEMBER];
} EbWildcard;

/* A range of numbers; a bound's offset is 0 where there is none. */
typedef struct EbRange
{
	uint32		lower;			/* numeric */
	uint32		upper;			/* numeric */
	uint16		lower_inclusive;
	uint16		upper_inclusive;
} EbRange;

/* A block of addresses; an IPv4 address uses the first 4 bytes. */
typedef struct EbCidr
{
	uint8		address[16];	/* host bits are zero */
	uint16		is_v6;
	uint16		bits;
} EbCidr;

static inline const EbProgram *
eb_pattern_program(const EbPattern *pattern)
{
	return (const EbProgram *)
		((const char *) pattern +
		 INTALIGN(offsetof(EbPattern, text) + pattern->text_len));
}

/* What a program's offset refers to. */
static inline const void *
eb_program_at(const EbProgram *program, uint32 offset)
{
	return (const char *) program + offset;
}

static inline const EbNode *
eb_program_node(const EbProgram *program, uint32 offset)
{
	return (const EbNode *) eb_program_at(program, offset);
}

/* parse.c, compile.c */
extern EbPattern *eb_pattern_parse(const char *text, int len, Node *escontext);

/* type.c */
extern const EbPattern *eb_pattern_detoast(Datum datum);

#define PG_GETARG_EVENT_PATTERN_P(n) eb_pattern_detoast(PG_GETARG_DATUM(n))

/*
 * match.c
 *
 * eb_pattern_matches: does the event match?  The event is a jsonb container,
 * or a value tree of jbvObject, jbvArray and scalars (in which jbvBinary may
 * stand anywhere), so that a caller need not serialize an event that exists
 * only in pieces; the keys of a jbvObject may stand in any order.  Anything
 * but an object does not match.  Allocates nothing that outlives the call.
 */
extern bool eb_pattern_matches(const EbPattern *pattern,
							   JsonbContainer *event);
extern bool eb_pattern_matches_value(const EbPattern *pattern,
									 const JsonbValue *event);

/*
 * Could the pattern look at or below this path (segments joined with dots)?
 * For callers that build an event piece by piece and want to leave out what
 * no condition names.
 */
extern bool eb_pattern_names_path(const EbPattern *pattern,
								  const char *path, int path_len);

#endif							/* EB_PATTERN_H */
