/*-------------------------------------------------------------------------
 *
 * keys.c
 *	  Keys that stand for what an event has at a path; see keys.h.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "common/hashfn.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/numeric.h"

#include "index/keys.h"
#include "json/container.h"
#include "pattern/address.h"
#include "pattern/casefold.h"

#define PAYLOAD_MASK ((UINT64CONST(1) << EB_KEY_PAYLOAD_BITS) - 1)

/* Seeds that keep kinds of values apart. */
#define SEED_TRUE		1
#define SEED_FALSE		2
#define SEED_NULL		3
#define SEED_ADDRESS	4
#define SEED_PREFIX		5

/* Numbers: one bit of sign, exponent, leading bits of the mantissa. */
#define EXPONENT_BITS	8
#define EXPONENT_BIAS	64
#define MANTISSA_BITS	(EB_KEY_PAYLOAD_BITS - 1 - EXPONENT_BITS)

/* ------------------------------------------------------------------------
 * Paths
 * ------------------------------------------------------------------------
 */

static inline uint64
extend_byte(uint64 hash, unsigned char byte)
{
	/* FNV-1a */
	return (hash ^ byte) * UINT64CONST(0x100000001b3);
}

EbPathHash
eb_path_extend(EbPathHash path, bool is_root, const char *key, int len)
{
	if (!is_root)
		path = extend_byte(path, '.');
	for (int i = 0; i < len; i++)
		path = extend_byte(path, (unsigned char) key[i]);
	return path;
}

/* Spreads what FNV leaves in the low bits over all of them. */
static inline uint64
mix(uint64 hash)
{
	hash ^= hash >> 32;
	hash *= UINT64CONST(0x9fb21c651e98df25);
	hash ^= hash >> 29;
	hash *= UINT64CONST(0x9e3779b97f4a7c15);
	return hash ^ (hash >> 32);
}

static inline int64
make_key(EbPathHash path, EbKeyDomain domain, uint64 payload)
{
	return (int64) ((mix(path) >> EB_KEY_PATH_SHIFT << EB_KEY_PATH_SHIFT) |
					((uint64) domain << EB_KEY_PAYLOAD_BITS) |
					(payload & PAYLOAD_MASK));
}

/* ------------------------------------------------------------------------
 * Strings
 * ------------------------------------------------------------------------
 */

/*
 * Folds the case of a string.  What eb_casefold_key gives is in upper case
 * where ASCII is concerned; lower case is as good.
 */
void
eb_fold(const char *str, int len, EbFolded *folded)
{
	StringInfoData key;
	char	   *out = palloc(len + 1);

	for (int i = 0; i < len; i++)
	{
		if (IS_HIGHBIT_SET(str[i]))
		{
			pfree(out);
			initStringInfo(&key);
			eb_casefold_key(&key, str, len);
			out = key.data;
			len = key.len;
			for (i = 0; i < len; i++)
				if (out[i] >= 'A' && out[i] <= 'Z')
					out[i] |= 0x20;
			break;
		}
		out[i] = (str[i] >= 'A' && str[i] <= 'Z') ? str[i] | 0x20 : str[i];
	}
	folded->str = out;
	folded->len = len;
}

/*
 * The same for a pattern's string that is stored as units (see casefold.h).
 * Both forms of a unit fold alike, so one of them will do.
 */
void
eb_fold_units(const char *units, int units_len, EbFolded *folded)
{
	const char *end = units + units_len;
	StringInfoData str;

	initStringInfo(&str);
	while (units < end)
	{
		int			len1 = (uint8) units[0];
		int			len2 = (uint8) units[1];

		appendBinaryStringInfo(&str, units + 2, len1);
		units += 2 + len1 + len2;
	}
	eb_fold(str.data, str.len, folded);
	pfree(str.data);
}

void
eb_fold_free(EbFolded *folded)
{
	pfree(folded->str);
}

static inline uint64
hash_value(EbPathHash path, uint64 seed, const char *bytes, int len)
{
	return hash_bytes_extended((const unsigned char *) bytes, len, path + seed);
}

/*
 * Whether a string is an address is judged by its folded form, so that all
 * strings that may match one another have one key.
 */
int64
eb_key_folded(EbPathHash path, const EbFolded *folded)
{
	EbCidr		address;

	if (eb_parse_address(folded->str, folded->len, &address))
		return eb_key_address(path, &address);
	return make_key(path, EB_KEY_VALUE, hash_value(path, 0, folded->str, folded->len));
}

int64
eb_key_string(EbPathHash path, const char *str, int len)
{
	EbFolded	folded;
	int64		key;

	eb_fold(str, len, &folded);
	key = eb_key_folded(path, &folded);
	eb_fold_free(&folded);
	return key;
}

int64
eb_key_prefix(EbPathHash path, const char *folded, int len)
{
	return make_key(path, EB_KEY_PREFIX, hash_value(path, SEED_PREFIX, folded, len));
}

int64
eb_key_address(EbPathHash path, const EbCidr *address)
{
	const uint8 *a = address->address;

	if (address->is_v6)
		return make_key(path, EB_KEY_VALUE,
						hash_value(path, SEED_ADDRESS, (const char *) a, 16));
	return make_key(path, EB_KEY_ADDRESS,
					(uint32) a[0] << 24 | (uint32) a[1] << 16 | (uint32) a[2] << 8 | a[3]);
}

/* ------------------------------------------------------------------------
 * Other values
 * ------------------------------------------------------------------------
 */

/*
 * A number of JSON, so neither infinite nor NaN, as an unsigned integer that
 * grows with it.  Exponents beyond what the bits hold become the least and the
 * greatest one.
 */
static uint64
encode_number(Numeric number)
{
	double		value;
	bool		negative;
	int			exponent;
	uint64		bits = 0;

	value = DatumGetFloat8(DirectFunctionCall1(numeric_float8_no_overflow,
											   NumericGetDatum(number)));
	negative = value < 0;
	value = fabs(value);
	if (isinf(value))
		bits = PAYLOAD_MASK >> 1;
	else if (value > 0)
	{
		double		mantissa = frexp(value, &exponent) * 2 - 1;		/* [0, 1) */

		exponent += EXPONENT_BIAS;
		if (exponent >= (1 << EXPONENT_BITS))
			bits = PAYLOAD_MASK >> 1;
		else if (exponent > 0)
			bits = ((uint64) exponent << MANTISSA_BITS) |
				(uint64) ldexp(mantissa, MANTISSA_BITS);
		else
			bits = 1;
	}
	return negative ? (PAYLOAD_MASK >> 1) - bits :
		bits + (UINT64CONST(1) << (EB_KEY_PAYLOAD_BITS - 1));
}

int64
eb_key_number(EbPathHash path, Numeric number)
{
	return make_key(path, EB_KEY_NUMBER, encode_number(number));
}

int64
eb_key_bool(EbPathHash path, bool value)
{
	return make_key(path, EB_KEY_VALUE,
					hash_value(path, value ? SEED_TRUE : SEED_FALSE, "", 0));
}

int64
eb_key_null(EbPathHash path)
{
	return make_key(path, EB_KEY_VALUE, hash_value(path, SEED_NULL, "", 0));
}

int64
eb_key_scalar(EbPathHash path, const JsonbValue *scalar)
{
	switch (scalar->type)
	{
		case jbvString:
			return eb_key_string(path, scalar->val.string.val, scalar->val.string.len);
		case jbvNumeric:
			return eb_key_number(path, scalar->val.numeric);
		case jbvBool:
			return eb_key_bool(path, scalar->val.boolean);
		default:
			return eb_key_null(path);
	}
}

/* ------------------------------------------------------------------------
 * Ranges
 * ------------------------------------------------------------------------
 */

void
eb_key_range_any(EbPathHash path, int64 *low, int64 *high)
{
	*low = make_key(path, EB_KEY_VALUE, 0);
	*high = make_key(path, EB_KEY_ADDRESS, PAYLOAD_MASK);
}

/* NULL: no bound. */
void
eb_key_range_number(EbPathHash path, Numeric lower, Numeric upper,
					int64 *low, int64 *high)
{
	*low = make_key(path, EB_KEY_NUMBER, lower != NULL ? encode_number(lower) : 0);
	*high = make_key(path, EB_KEY_NUMBER, upper != NULL ? encode_number(upper) : PAYLOAD_MASK);
}

/* False for IPv6, whose addresses have no order among the keys. */
bool
eb_key_range_cidr(EbPathHash path, const EbCidr *cidr, int64 *low, int64 *high)
{
	if (cidr->is_v6)
		return false;
	*low = eb_key_address(path, cidr);
	*high = *low + (int64) ((UINT64CONST(1) << (32 - cidr->bits)) - 1);
	return true;
}

/* ------------------------------------------------------------------------
 * Events
 * ------------------------------------------------------------------------
 */

typedef struct Walk
{
	EbLeafFunction leaf;
	void	   *context;
} Walk;

static void walk_container(const Walk *walk, EbPathHash path, bool is_root,
						   const JsonbContainer *container);

static inline void
walk_value(const Walk *walk, EbPathHash path, const JsonbValue *value)
{
	if (value->type == jbvBinary)
		walk_container(walk, path, false, value->val.binary.data);
	else
		walk->leaf(walk->context, path, value);
}

/* The elements of an array, also of one inside an array, are at its path. */
static void
walk_container(const Walk *walk, EbPathHash path, bool is_root,
			   const JsonbContainer *container)
{
	const char *base = eb_container_base(container);
	uint32		count = JsonContainerSize(container);
	uint32		offset = 0;
	uint32		key_offset = 0;
	bool		object = JsonContainerIsObject(container);

	check_stack_depth();

	if (object && count > 0)
		offset = getJsonbOffset(container, count);
	for (uint32 i = 0; i < count; i++)
	{
		EbPathHash	below = path;
		int			index = object ? count + i : i;
		uint32		start;
		uint32		len;
		JsonbValue	value;

		CHECK_FOR_INTERRUPTS();
		if (object)
		{
			start = key_offset;
			len = eb_container_step(container, i, &key_offset);
			below = eb_path_extend(path, is_root, base + start, len);
		}
		start = offset;
		len = eb_container_step(container, index, &offset);
		eb_container_fill(container, index, base, start, len, &value);
		walk_value(walk, below, &value);
	}
}

void
eb_walk_leaves(JsonbContainer *event, EbLeafFunction leaf, void *context)
{
	Walk		walk = {.leaf = leaf, .context = context};

	if (JsonContainerIsObject(event))
		walk_container(&walk, EB_PATH_ROOT, true, event);
}
