/*-------------------------------------------------------------------------
 *
 * keys.h
 *	  Keys that stand for what an event has at a path.
 *
 * A key is 64 bits:
 *
 *		18 bits		hash of the path, its segments joined with dots
 *		 2 bits		domain
 *		44 bits		payload
 *
 *		domain		payload
 *		VALUE		hash of path and value: a string with its case folded,
 *					true, false, null, an IPv6 address
 *		NUMBER		the number, in an encoding that keeps the order and rounds
 *					towards zero to 36 significant bits
 *		ADDRESS		a string that is an IPv4 address: the address
 *		PREFIX		hash of path and the first bytes of a folded string; only
 *					in indexes that keep prefixes
 *
 * All values of one path are neighbours, and numbers and addresses are in
 * order.  So exists, ranges and blocks of addresses are ranges of keys that
 * cost no space of their own, and a single string, number or address is a
 * single key.  There is no key for a string as it stands: few values differ
 * in case alone, and the matcher looks at what is found.
 *
 * The path is hashed byte by byte, so that {"a": {"b": 1}} and {"a.b": 1}
 * give the same key without the path being put together.
 *
 * Keys are stored in indexes on disk: what is defined here cannot change
 * without a new operator class.
 *
 *-------------------------------------------------------------------------
 */
#ifndef EB_INDEX_KEYS_H
#define EB_INDEX_KEYS_H

#include "utils/jsonb.h"

#include "pattern/pattern.h"

#define EB_KEY_PAYLOAD_BITS	44
#define EB_KEY_PATH_SHIFT	46

typedef enum EbKeyDomain
{
	EB_KEY_VALUE,
	EB_KEY_NUMBER,
	EB_KEY_ADDRESS,
	EB_KEY_PREFIX
} EbKeyDomain;

/* A path while it is put together: state of the hash. */
typedef uint64 EbPathHash;

#define EB_PATH_ROOT	UINT64CONST(0xcbf29ce484222325)

/* The path one segment (or several, joined with dots) further down. */
extern EbPathHash eb_path_extend(EbPathHash path, bool is_root,
								 const char *key, int len);

/*
 * The lengths, in bytes of the folded string, of which an index that keeps
 * prefixes has keys.  Each costs as much as a field of its own; with these
 * the index stays below two and a half times jsonb_path_ops's.
 */
#define EB_PREFIX_LENGTHS	{4, 10, 20}

/* A string with its case folded, which is what its keys are made of. */
typedef struct EbFolded
{
	char	   *str;
	int			len;
} EbFolded;

extern void eb_fold(const char *str, int len, EbFolded *folded);
extern void eb_fold_units(const char *units, int units_len, EbFolded *folded);
extern void eb_fold_free(EbFolded *folded);

/* Keys of single values. */
extern int64 eb_key_folded(EbPathHash path, const EbFolded *folded);
extern int64 eb_key_string(EbPathHash path, const char *str, int len);
extern int64 eb_key_number(EbPathHash path, Numeric number);
extern int64 eb_key_bool(EbPathHash path, bool value);
extern int64 eb_key_null(EbPathHash path);
extern int64 eb_key_address(EbPathHash path, const EbCidr *address);
extern int64 eb_key_scalar(EbPathHash path, const JsonbValue *scalar);

/* The key of the first len bytes of a folded string. */
extern int64 eb_key_prefix(EbPathHash path, const char *folded, int len);

/* Bounds of ranges of keys, both inclusive. */
extern void eb_key_range_any(EbPathHash path, int64 *low, int64 *high);
extern void eb_key_range_number(EbPathHash path, Numeric lower, Numeric upper,
								int64 *low, int64 *high);
extern bool eb_key_range_cidr(EbPathHash path, const EbCidr *cidr,
							  int64 *low, int64 *high);

/*
 * Calls leaf() for every scalar of an event with its path.  An event that is
 * not an object has none.
 */
typedef void (*EbLeafFunction) (void *context, EbPathHash path,
								const JsonbValue *scalar);
extern void eb_walk_leaves(JsonbContainer *event, EbLeafFunction leaf,
						   void *context);

#endif							/* EB_INDEX_KEYS_H */
