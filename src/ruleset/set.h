/*-------------------------------------------------------------------------
 *
 * set.h
 *	  The compiled form of many patterns: private to this room.
 *
 * How it works
 *
 * A field of a conjunction, that is a path and the alternatives for its
 * values, is a predicate.  Rules of one kind repeat the same few predicates;
 * each distinct one is stored once.  Whether it holds is asked of
 * eb_values_match, for the scalars that the event has at the path, and
 * remembered for the rest of the event.
 *
 * Of each conjunction the predicate that least often holds, judged by how
 * often the patterns themselves repeat it, is its access predicate.  Access
 * predicates are found from the event's values by keys: the whole string, its
 * folded form, its first or last bytes, four bytes within it, the leading
 * bits of an address, the hash of a number.  All keys of all paths lie in one
 * hash table.  Ranges of numbers are searched by their bounds; what has no
 * key (anything-but, exists) is asked one by one.
 *
 * A predicate of nothing but whole strings, at a path where there are several,
 * need not be asked at all: its keys tell, and before any trie is run through
 * all keys have been looked up.
 *
 * The conjunctions that share an access predicate form a trie of their other
 * predicates, those first that most conjunctions have in common.  What lies
 * below a predicate is looked at only if that holds.
 *
 * All the paths of all patterns form one tree.  It is laid over the event
 * once; what no path names is stepped over.
 *
 * Why the answer is the matcher's
 *
 * A predicate that holds means: some scalar at the path satisfies it; or the
 * path has none, and absence is accepted.  Where the event has no arrays, all
 * predicates of a conjunction hold if and only if it matches.  Under an array
 * this is still necessary, with one exception, and it is sufficient if no
 * other field of the conjunction lies under the same array: then there is
 * nothing to be consistent with.  So each conjunction carries the nodes that
 * two or more of its fields have in common (its class), and if the event has
 * an array at one of them, eb_pattern_matches decides.  It decides too if the
 * event spells a known path with dots, and in the exception: a field below an
 * array that accepts absence may be absent in the element that speaks for the
 * others although another element has it.
 *
 * Layout
 *
 * Everything is one varlena; references are offsets in bytes from its start,
 * 4-byte aligned, predicates and ranges 8-byte aligned.  The patterns are in it
 * whole, so a set of an older version can be built again from them.  What is
 * asked of predicates is copied out of the patterns, so that it lies together.
 *
 *-------------------------------------------------------------------------
 */
#ifndef EB_RULESET_SET_H
#define EB_RULESET_SET_H

#include "ruleset/ruleset.h"

#define EB_PATTERN_SET_VERSION 1

/* Below this number of patterns each is simply tried. */
#define EB_SET_MIN_INDEXED 3

/*
 * Predicates of a conjunction beside the access predicate that are looked at;
 * a conjunction of more is decided by the matcher.
 */
#define EB_SET_MAX_CHECKED 12

struct EbPatternSet
{
	int32		vl_len_;		/* varlena header */
	uint32		version;		/* EB_PATTERN_SET_VERSION */
	uint32		npatterns;
	uint32		patterns;		/* uint32[npatterns]: offsets of EbPattern */
	uint32		indexed;		/* 0: the patterns are tried one by one */
	uint32		nnodes;
	uint32		nodes;			/* EbSetNode[nnodes]; 0 is the root */
	uint32		npredicates;
	uint32		predicates;		/* EbSetPredicate[npredicates] */
	uint32		nclasses;
	uint32		classes;		/* EbSetList[nclasses] of nodes */
	uint32		entries;		/* EbSetEntry[] */
	uint32		mask;			/* of the hash table: its size less one */
	uint32		tags;			/* uint8[mask + 1]: EB_KEY_TAG, or 0: free */
	uint32		postings;		/* uint32[mask + 1]: offsets of EbSetPosting */
	uint32		nabsent;
	uint32		absent;			/* uint32[nabsent]: access predicates that accept absence */
};

typedef struct EbSetList
{
	uint32		count;
	uint32		offset;
} EbSetList;

typedef struct EbSetChild
{
	uint32		key;
	uint32		key_len;
	uint32		node;
} EbSetChild;

/* Kinds of keys. */
typedef enum EbKeyKind
{
	EB_KEY_STRING,
	EB_KEY_FOLDED,
	EB_KEY_PREFIX,
	EB_KEY_SUFFIX,
	EB_KEY_FOLDED_PREFIX,
	EB_KEY_FOLDED_SUFFIX,
	EB_KEY_GRAM,				/* bytes anywhere in the string */
	EB_KEY_ADDRESS,				/* EbCidr */
	EB_KEY_NUMBER,				/* hash of a number */
	EB_KEY_TRUE,
	EB_KEY_FALSE,
	EB_KEY_NULL,
	EB_NUM_KEY_KINDS
} EbKeyKind;

#define EB_KEY_BIT(kind)	(UINT32_C(1) << (kind))

/* Grams are of this many bytes, or of fewer where a piece is shorter. */
#define EB_MAX_GRAM 4

/* The node has predicates. */
#define EB_SET_NODE_FIELD	0x0001
/* Some of them are ranges of numbers. */
#define EB_SET_NODE_RANGE	0x0002

typedef struct EbSetNode
{
	uint32		nchildren;
	uint32		children;		/* EbSetChild[], in jsonb's order of keys */
	uint32		dotted_lengths; /* as in EbNode */
	uint32		flags;
	uint32		kinds;			/* EB_KEY_BIT of the keys there are */
	/* the lengths of the keys of a kind, or the widths of addresses */
	EbSetList	lengths[EB_KEY_ADDRESS + 1];	/* of uint32, ascending */
	EbSetList	asked;			/* access predicates without key */
	EbSetList	ranges;			/* see EbSetRanges */
} EbSetNode;

/*
 * Ranges in ascending order of their lower bounds; each block of them has the
 * greatest of its upper bounds.  The bounds are doubles somewhat wider than
 * the true ones.
 */
#define EB_RANGE_BLOCK 32

typedef struct EbSetRange
{
	double		lower;
	double		upper;
	uint32		predicate;
	uint32		unused;
} EbSetRange;

static inline uint32
eb_range_blocks(uint32 nranges)
{
	return (nranges + EB_RANGE_BLOCK - 1) / EB_RANGE_BLOCK;
}

#define EB_PREDICATE_ACCEPTS_ABSENCE	0x0001
/* It is one range of numbers, and the bounds below are set. */
#define EB_PREDICATE_RANGE				0x0002

typedef struct EbSetPredicate
{
	double		lower;			/* as in EbSetRange */
	double		upper;
	uint32		node;
	uint32		flags;
	uint32		values;			/* EbValues; offsets in it count from it */
	uint32		first_entry;	/* of an access predicate: its trie */
} EbSetPredicate;

/*
 * An entry of a trie: a predicate, and the first of the entries that are
 * looked at if it holds; or a pattern that matches, and its class.
 */
#define EB_ENTRY_PATTERN	UINT32_C(0x80000000)
/* The predicate holds only if a key has proven it. */
#define EB_ENTRY_EXACT		UINT32_C(0x40000000)
/* The last of those that lie side by side. */
#define EB_ENTRY_LAST		UINT32_C(0x20000000)
#define EB_ENTRY_NUMBER		UINT32_C(0x1FFFFFFF)
/* The class of conjunctions that only the matcher decides. */
#define EB_CLASS_UNDECIDED	0

typedef struct EbSetEntry
{
	uint32		what;
	uint32		next;
} EbSetEntry;

/*
 * The tags lie by themselves, so that a look-up that finds nothing, as most
 * do, touches one byte of a small table.
 */
#define EB_KEY_TAG(hash)	((uint8) ((hash) >> 56) | 1)

/* Set in a posting's predicate: who has the key satisfies it. */
#define EB_POSTING_PROVEN	UINT32_C(0x80000000)
/* The predicate is no access predicate; that it holds is to be remembered. */
#define EB_POSTING_NOTED	UINT32_C(0x40000000)
#define EB_POSTING_NUMBER	UINT32_C(0x3FFFFFFF)

typedef struct EbSetPosting
{
	uint32		node;
	uint32		kind;
	uint32		len;			/* of the key, which follows the predicates */
	uint32		npredicates;
	uint32		predicates[FLEXIBLE_ARRAY_MEMBER];
} EbSetPosting;

static inline const void *
eb_set_at(const EbPatternSet *set, uint32 offset)
{
	return (const char *) set + offset;
}

static inline const EbPattern *
eb_set_pattern(const EbPatternSet *set, uint32 position)
{
	const uint32 *patterns = eb_set_at(set, set->patterns);

	return eb_set_at(set, patterns[position]);
}

/*
 * Hashing of keys, eight bytes a step.  EbHash is the state after whole steps,
 * so that the hashes of all beginnings of a string cost one pass.
 */
typedef uint64 EbHash;

static inline EbHash
eb_hash_mix(EbHash hash, uint64 word)
{
	hash = (hash ^ word) * UINT64CONST(0x9E3779B97F4A7C15);
	return hash ^ (hash >> 32);
}

static inline EbHash
eb_hash_start(uint32 node, EbKeyKind kind)
{
	return eb_hash_mix(UINT64CONST(0xD6E8FEB86659FD93), ((uint64) node << 8) | kind);
}

static inline uint64
eb_hash_word(const char *str)
{
	uint64		word;

	memcpy(&word, str, sizeof(word));
	return word;
}

/* Up to seven bytes. */
static inline uint64
eb_hash_rest(const char *str, uint32 len)
{
	if (len >= 4)
	{
		uint32		low;
		uint32		high;

		memcpy(&low, str, sizeof(low));
		memcpy(&high, str + len - sizeof(high), sizeof(high));
		return low | ((uint64) high << 32);
	}
	if (len == 0)
		return 0;
	return (uint8) str[0] | ((uint64) (uint8) str[len / 2] << 8) |
		((uint64) (uint8) str[len - 1] << 16);
}

/* memcmp() == 0 for what is mostly short, without a call. */
static inline bool
eb_same_bytes(const char *a, const char *b, uint32 len)
{
	uint32		done = 0;

	for (; len - done >= 8; done += 8)
		if (eb_hash_word(a + done) != eb_hash_word(b + done))
			return false;
	return eb_hash_rest(a + done, len - done) == eb_hash_rest(b + done, len - done);
}

static inline EbHash
eb_hash_finish(EbHash hash, uint64 rest, uint32 len)
{
	hash = eb_hash_mix(hash, rest);
	return eb_hash_mix(hash, len);
}

static inline EbHash
eb_hash_bytes(EbHash hash, const char *str, uint32 len)
{
	uint32		done = 0;

	for (; len - done >= 8; done += 8)
		hash = eb_hash_mix(hash, eb_hash_word(str + done));
	return eb_hash_finish(hash, eb_hash_rest(str + done, len - done), len);
}

/* The same from the end of the bytes. */
static inline EbHash
eb_hash_backwards(EbHash hash, const char *str, uint32 len)
{
	uint32		left = len;

	for (; left >= 8; left -= 8)
		hash = eb_hash_mix(hash, eb_hash_word(str + left - 8));
	return eb_hash_finish(hash, eb_hash_rest(str, left), len);
}

static inline bool
eb_key_is_suffix(EbKeyKind kind)
{
	return kind == EB_KEY_SUFFIX || kind == EB_KEY_FOLDED_SUFFIX;
}

static inline EbHash
eb_hash_key(uint32 node, EbKeyKind kind, const char *key, uint32 len)
{
	EbHash		hash = eb_hash_start(node, kind);

	return eb_key_is_suffix(kind) ?
		eb_hash_backwards(hash, key, len) : eb_hash_bytes(hash, key, len);
}

/* number.c */

/*
 * A number as a double: in the same order as the numbers but for the last
 * digits of a double, and not farther from its number than EB_NUMBER_ERROR
 * times that.
 */
#define EB_NUMBER_ERROR 2e-12
extern double eb_number_approximate(Numeric number);

#endif							/* EB_RULESET_SET_H */
