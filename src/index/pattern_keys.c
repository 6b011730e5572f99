/*-------------------------------------------------------------------------
 *
 * pattern_keys.c
 *	  Keys under which patterns are stored, and by which events find them;
 *	  see pattern_keys.h.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "miscadmin.h"

#include "index/pattern_keys.h"
#include "pattern/address.h"

/* Alternatives of a pair, multiplied, at most. */
#define MAX_PAIR_KEYS 32

/* An event with more keys than this looks at all patterns instead. */
#define MAX_EVENT_KEYS 20000

/* Lengths of prefixes that have keys: every so many bytes, up to a limit. */
#define PREFIX_STEP 4
#define PREFIX_MAX 32

/* Leading bits of addresses that have keys: every so many. */
#define V4_STEP 4
#define V6_STEP 16

typedef enum KeyKind
{
	KIND_SINGLE,
	KIND_PAIR,
	KIND_PREFIX,
	KIND_BLOCK,
	KIND_EXISTS,
	KIND_ALWAYS
} KeyKind;

/*
 * Fields of the envelope that make pairs.  An event has one value for each,
 * so that it has few pairs; other fields narrow enough by themselves.
 */
static const char *const envelope[] = {"account", "source", "detail-type", "region"};

#define NENVELOPE lengthof(envelope)

static int64
hash_key(KeyKind kind, uint64 a, uint64 b)
{
	uint64		parts[2] = {a, b};

	return (int64) hash_bytes_extended((unsigned char *) parts, sizeof(parts), kind + 1);
}

static int64
block_key(EbPathHash path, const EbCidr *address, int bits)
{
	uint8		bytes[16] = {0};

	memcpy(bytes, address->address, bits / 8);
	if (bits % 8 != 0)
		bytes[bits / 8] = address->address[bits / 8] & (0xFF << (8 - bits % 8));
	return hash_key(KIND_BLOCK, path,
					hash_bytes_extended(bytes, sizeof(bytes),
										bits * 2 + (address->is_v6 != 0)));
}

static int
prefix_floor(int len)
{
	return Min(len, PREFIX_MAX) / PREFIX_STEP * PREFIX_STEP;
}

static int64
always_key(void)
{
	return hash_key(KIND_ALWAYS, 0, 0);
}

void
eb_key_list_init(EbKeyList *list)
{
	list->n = 0;
	list->size = 64;
	list->keys = palloc(list->size * sizeof(Datum));
}

void
eb_key_list_add(EbKeyList *list, int64 key)
{
	if (list->n == list->size)
	{
		list->size *= 2;
		list->keys = repalloc_huge(list->keys, (Size) list->size * sizeof(Datum));
	}
	list->keys[list->n++] = Int64GetDatum(key);
}

/* ------------------------------------------------------------------------
 * Patterns
 * ------------------------------------------------------------------------
 */

/* A requirement with its alternatives. */
typedef struct Candidate
{
	const EbRequirement *requirement;
	EbAccess   *accesses;
	int			naccesses;
	bool		exact;			/* single keys only */
	int			envelope;		/* index into that, or -1 */
	double		bits;
} Candidate;

/* Can an alternative be looked for by more than the presence of the path? */
static bool
has_own_key(const EbAccess *access)
{
	switch (access->kind)
	{
		case EB_ACCESS_KEY:
			return true;
		case EB_ACCESS_PREFIX:
			return access->prefix.len >= PREFIX_STEP;
		case EB_ACCESS_BLOCK:
			return access->cidr->bits >= (access->cidr->is_v6 ? V6_STEP : V4_STEP);
		default:
			return false;
	}
}

static void
fill_candidate(const EbProgram *program, const EbRequirement *requirement,
			   Candidate *candidate)
{
	candidate->requirement = requirement;
	candidate->naccesses = eb_accesses(program, requirement, &candidate->accesses);
	candidate->exact = true;
	candidate->envelope = -1;
	for (int i = 0; i < candidate->naccesses; i++)
	{
		EbAccess   *access = &candidate->accesses[i];

		candidate->exact &= access->kind == EB_ACCESS_KEY;
		if (!has_own_key(access))
		{
			access->kind = EB_ACCESS_ANY;
			access->bits = 0;
		}
	}
	if (requirement->depth == 1)
		for (int i = 0; i < NENVELOPE; i++)
			if (requirement->name_len == strlen(envelope[i]) &&
				memcmp(requirement->name, envelope[i], requirement->name_len) == 0)
				candidate->envelope = i;

	/* of two that look alike the one further down says more */
	candidate->bits = eb_access_bits(candidate->accesses, candidate->naccesses) +
		0.5 * Min(requirement->depth, 4);
}

static void
add_access(EbKeyList *list, EbPathHash path, const EbAccess *access)
{
	switch (access->kind)
	{
		case EB_ACCESS_KEY:
			eb_key_list_add(list, hash_key(KIND_SINGLE, access->low, 0));
			break;
		case EB_ACCESS_PREFIX:
			eb_key_list_add(list, hash_key(KIND_PREFIX,
										   eb_key_prefix(path, access->prefix.str,
														 prefix_floor(access->prefix.len)), 0));
			break;
		case EB_ACCESS_BLOCK:
			{
				int			step = access->cidr->is_v6 ? V6_STEP : V4_STEP;

				eb_key_list_add(list, block_key(path, access->cidr,
												access->cidr->bits / step * step));
				break;
			}
		default:
			eb_key_list_add(list, hash_key(KIND_EXISTS, path, 0));
			break;
	}
}

/* The one that looks rarest, or NULL. */
static const Candidate *
best_candidate(const Candidate *candidates, int n)
{
	const Candidate *best = NULL;

	for (int i = 0; i < n; i++)
		if (best == NULL || candidates[i].bits > best->bits)
			best = &candidates[i];
	return best;
}

/* The envelope's other field to make a pair with, or NULL. */
static const Candidate *
find_partner(const Candidate *candidates, int n, const Candidate *first)
{
	const Candidate *best = NULL;

	if (first->envelope < 0 || !first->exact)
		return NULL;
	for (int i = 0; i < n; i++)
	{
		const Candidate *other = &candidates[i];

		if (other != first && other->envelope >= 0 && other->exact &&
			other->naccesses * first->naccesses <= MAX_PAIR_KEYS &&
			(best == NULL || other->bits > best->bits))
			best = other;
	}
	return best;
}

static int64
pair_key(int64 a, int envelope_a, int64 b, int envelope_b)
{
	return envelope_a < envelope_b ? hash_key(KIND_PAIR, a, b) : hash_key(KIND_PAIR, b, a);
}

static void
add_conjunction(const EbProgram *program, uint32 root, EbKeyList *list)
{
	EbRequirement *requirements;
	int			n = eb_requirements(program, root, false, &requirements);
	Candidate  *candidates = palloc(Max(n, 1) * sizeof(Candidate));
	const Candidate *best;
	const Candidate *partner;

	if (n == 0)
	{
		eb_key_list_add(list, always_key());
		return;
	}
	for (int i = 0; i < n; i++)
		fill_candidate(program, &requirements[i], &candidates[i]);
	best = best_candidate(candidates, n);
	partner = find_partner(candidates, n, best);
	for (int i = 0; i < best->naccesses; i++)
	{
		if (partner == NULL)
		{
			add_access(list, best->requirement->path, &best->accesses[i]);
			continue;
		}
		for (int k = 0; k < partner->naccesses; k++)
			eb_key_list_add(list, pair_key(best->accesses[i].low, best->envelope,
										   partner->accesses[k].low, partner->envelope));
	}
}

void
eb_pattern_keys(const EbPattern *pattern, EbKeyList *list)
{
	const EbProgram *program = eb_pattern_program(pattern);

	for (int i = 0; i < program->nconjunctions; i++)
	{
		CHECK_FOR_INTERRUPTS();
		add_conjunction(program, program->roots[i], list);
	}
}

/* ------------------------------------------------------------------------
 * Events
 * ------------------------------------------------------------------------
 */

typedef struct EventKeys
{
	EbKeyList  *list;
	EbPathHash	last_path;		/* of the value before */
	EbPathHash	envelope_paths[NENVELOPE];
	EbKeyList	envelope_keys[NENVELOPE];
} EventKeys;

static void
add_address(EventKeys *keys, EbPathHash path, const EbFolded *folded)
{
	EbCidr		address;

	if (!eb_parse_address(folded->str, folded->len, &address))
		return;
	for (int bits = address.is_v6 ? V6_STEP : V4_STEP; bits <= address.bits;
		 bits += address.is_v6 ? V6_STEP : V4_STEP)
		eb_key_list_add(keys->list, block_key(path, &address, bits));
}

static void
add_leaf(void *context, EbPathHash path, const JsonbValue *scalar)
{
	EventKeys  *keys = context;
	int64		key;

	if (path != keys->last_path)
		eb_key_list_add(keys->list, hash_key(KIND_EXISTS, path, 0));
	keys->last_path = path;

	if (scalar->type == jbvString)
	{
		EbFolded	folded;

		eb_fold(scalar->val.string.val, scalar->val.string.len, &folded);
		key = eb_key_folded(path, &folded);
		for (int len = PREFIX_STEP; len <= Min(folded.len, PREFIX_MAX); len += PREFIX_STEP)
			eb_key_list_add(keys->list,
							hash_key(KIND_PREFIX, eb_key_prefix(path, folded.str, len), 0));
		add_address(keys, path, &folded);
		eb_fold_free(&folded);
	}
	else
		key = eb_key_scalar(path, scalar);
	eb_key_list_add(keys->list, hash_key(KIND_SINGLE, key, 0));

	for (int i = 0; i < NENVELOPE; i++)
		if (path == keys->envelope_paths[i])
			eb_key_list_add(&keys->envelope_keys[i], key);
}

bool
eb_event_keys(JsonbContainer *event, EbKeyList *list)
{
	EventKeys	keys = {.list = list};

	/* what is no object is matched by nothing */
	if (!JsonContainerIsObject(event))
		return true;

	for (int i = 0; i < NENVELOPE; i++)
	{
		keys.envelope_paths[i] = eb_path_extend(EB_PATH_ROOT, true,
												envelope[i], strlen(envelope[i]));
		eb_key_list_init(&keys.envelope_keys[i]);
	}
	eb_key_list_add(list, always_key());
	eb_walk_leaves(event, add_leaf, &keys);

	for (int i = 0; i < NENVELOPE; i++)
	{
		for (int k = i + 1; k < NENVELOPE; k++)
		{
			const EbKeyList *a = &keys.envelope_keys[i];
			const EbKeyList *b = &keys.envelope_keys[k];

			if ((uint64) a->n * b->n > MAX_EVENT_KEYS)
				return false;
			for (int x = 0; x < a->n; x++)
				for (int y = 0; y < b->n; y++)
					eb_key_list_add(list, pair_key(DatumGetInt64(a->keys[x]), i,
												   DatumGetInt64(b->keys[y]), k));
		}
	}
	return list->n <= MAX_EVENT_KEYS;
}
