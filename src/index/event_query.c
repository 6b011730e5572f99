/*-------------------------------------------------------------------------
 *
 * event_query.c
 *	  A pattern as a search for keys of events.
 *
 * Looking for a single key costs little, and GIN starts from the rarest one.
 * A range has to be read from end to end before the first row is found, so
 * ranges are left out where single keys narrow the search enough.
 *
 * All values of a path are read only for "exists", if there is nothing else
 * to look for.  For what no key helps with (a suffix, anything-but) that would
 * be worse than a scan of the table, and the planner would not see it: it
 * takes every range for a hundred keys.  Such a search finds everything, and
 * the planner takes it for what it costs.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/hsearch.h"

#include "index/event_query.h"

/* Single keys of one conjunction that are looked for, at most. */
#define MAX_CHOSEN 6

/* A conjunction with a key as rare as this needs no ranges. */
#define RARE_BITS 14

/* Nor is a range of use that is not at least as rare as this. */
#define NARROW_BITS 3

typedef struct EntryKey
{
	int64		low;
	int64		high;
} EntryKey;

typedef struct EntryHash
{
	EntryKey	key;
	int			entry;
} EntryHash;

/* The same alternatives at the same path, which conjunctions share. */
typedef struct GroupKey
{
	EbPathHash	path;
	uint64		values;
} GroupKey;

typedef struct GroupHash
{
	GroupKey	key;
	int			group;
} GroupHash;

typedef struct Builder
{
	const EbProgram *program;
	EbEventQuery *query;
	bool		prefixes;
	HTAB	   *entries;
	HTAB	   *groups;
	int			entries_size;
	int			groups_size;
	int			members_size;
	int			chosen_size;
	int			nchosen;
} Builder;

/* Makes room for one more element of an array. */
#define ENSURE_ROOM(array, n, size) \
	do { \
		if ((n) == (size)) \
		{ \
			(size) *= 2; \
			(array) = repalloc_huge((array), (Size) (size) * sizeof(*(array))); \
		} \
	} while (0)

static HTAB *
create_table(const char *name, Size keysize, Size entrysize)
{
	HASHCTL		control = {0};

	control.keysize = keysize;
	control.entrysize = entrysize;
	control.hcxt = CurrentMemoryContext;
	return hash_create(name, 32, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

/* The number of an entry, which is added if it is new. */
static int
find_entry(Builder *builder, int64 low, int64 high)
{
	EbEventQuery *query = builder->query;
	EntryKey	key = {.low = low, .high = high};
	bool		found;
	EntryHash  *hash = hash_search(builder->entries, &key, HASH_ENTER, &found);

	if (!found)
	{
		EbQueryEntry *entry;

		ENSURE_ROOM(query->entries, query->nentries, builder->entries_size);
		entry = &query->entries[query->nentries];
		entry->query = query;
		entry->low = low;
		entry->high = high;
		entry->range = low != high;
		hash->entry = query->nentries++;
	}
	return hash->entry;
}

static void
add_member(Builder *builder, EbQueryGroup *group, int64 low, int64 high)
{
	EbEventQuery *query = builder->query;

	ENSURE_ROOM(query->members, query->nmembers, builder->members_size);
	query->members[query->nmembers++] = find_entry(builder, low, high);
	group->n++;
	group->range |= low != high;
}

/* All values of the path. */
static void
set_any(Builder *builder, EbQueryGroup *group, EbPathHash path)
{
	int64		low;
	int64		high;

	eb_key_range_any(path, &low, &high);
	builder->query->nmembers = group->first;
	group->n = 0;
	group->any = true;
	group->range = true;
	add_member(builder, group, low, high);
}

/* The longest prefix of a string of this length that has a key; 0: none. */
static int
indexed_prefix(int len)
{
	static const int lengths[] = EB_PREFIX_LENGTHS;
	int			result = 0;

	for (int i = 0; i < lengthof(lengths) && lengths[i] <= len; i++)
		result = lengths[i];
	return result;
}

static void
fill_group(Builder *builder, EbQueryGroup *group, const EbRequirement *requirement)
{
	const EbValues *values = eb_program_at(builder->program, requirement->values);
	EbAccess   *accesses;
	int			n = eb_accesses(builder->program, requirement, &accesses);

	group->bits = eb_access_bits(accesses, n);
	group->exists = (values->flags & EB_VALUES_EXISTS) != 0;
	for (int i = 0; i < n; i++)
	{
		EbAccess   *access = &accesses[i];

		switch (access->kind)
		{
			case EB_ACCESS_KEY:
			case EB_ACCESS_NUMBERS:
				add_member(builder, group, access->low, access->high);
				continue;
			case EB_ACCESS_BLOCK:
				if (!eb_key_range_cidr(requirement->path, access->cidr,
									   &access->low, &access->high))
					break;
				add_member(builder, group, access->low, access->high);
				continue;
			case EB_ACCESS_PREFIX:
				if (!builder->prefixes || indexed_prefix(access->prefix.len) == 0)
					break;
				access->low = eb_key_prefix(requirement->path, access->prefix.str,
											indexed_prefix(access->prefix.len));
				add_member(builder, group, access->low, access->low);
				continue;
			case EB_ACCESS_ANY:
				break;
		}
		set_any(builder, group, requirement->path);
		break;
	}
	pfree(accesses);
}

/* The number of a requirement's group. */
static int
find_group(Builder *builder, const EbRequirement *requirement)
{
	EbEventQuery *query = builder->query;
	GroupKey	key = {.path = requirement->path, .values = requirement->values};
	bool		found;
	GroupHash  *hash = hash_search(builder->groups, &key, HASH_ENTER, &found);

	if (!found)
	{
		EbQueryGroup group = {0};

		ENSURE_ROOM(query->groups, query->ngroups, builder->groups_size);
		group.first = query->nmembers;
		fill_group(builder, &group, requirement);
		hash->group = query->ngroups;
		query->groups[query->ngroups++] = group;
	}
	return hash->group;
}

static void
choose(Builder *builder, int group)
{
	ENSURE_ROOM(builder->query->chosen, builder->nchosen, builder->chosen_size);
	builder->query->chosen[builder->nchosen++] = group;
}

/* Rarest first; what is no range before what is. */
static int
compare_groups(const void *a, const void *b, void *context)
{
	const EbQueryGroup *groups = context;
	const EbQueryGroup *ga = &groups[*(const int *) a];
	const EbQueryGroup *gb = &groups[*(const int *) b];

	if (ga->any != gb->any)
		return ga->any ? 1 : -1;
	if (ga->any && ga->exists != gb->exists)
		return ga->exists ? -1 : 1;
	if (ga->range != gb->range)
		return ga->range ? 1 : -1;
	if (ga->bits != gb->bits)
		return ga->bits > gb->bits ? -1 : 1;
	return 0;
}

/* Chooses the groups to look for; false if the conjunction has none. */
static bool
add_conjunction(Builder *builder, uint32 root)
{
	EbEventQuery *query = builder->query;
	EbRequirement *requirements;
	int			n = eb_requirements(builder->program, root, false, &requirements);
	int		   *groups = palloc(Max(n, 1) * sizeof(int));
	int			nsingle = 0;
	double		best;

	if (n == 0)
		return false;
	for (int i = 0; i < n; i++)
		groups[i] = find_group(builder, &requirements[i]);
	qsort_arg(groups, n, sizeof(int), compare_groups, query->groups);

	if (query->groups[groups[0]].any && !query->groups[groups[0]].exists)
		return false;
	best = query->groups[groups[0]].bits;
	for (int i = 0; i < n; i++)
	{
		const EbQueryGroup *group = &query->groups[groups[i]];

		if (!group->range)
		{
			if (nsingle++ < MAX_CHOSEN)
				choose(builder, groups[i]);
		}
		else if (i == 0 || (!group->any && group->bits >= NARROW_BITS &&
							(nsingle == 0 || best < RARE_BITS)))
			choose(builder, groups[i]);
	}
	query->ends[query->nconjunctions++] = builder->nchosen;
	pfree(groups);
	pfree(requirements);
	return true;
}

/*
 * Drops the entries that only groups have which no conjunction chose: GIN
 * would read them, ranges above all.
 */
static void
drop_unused(EbEventQuery *query, int nchosen)
{
	int		   *numbers = palloc(query->nentries * sizeof(int));
	int			n = 0;

	memset(numbers, -1, query->nentries * sizeof(int));
	for (int i = 0; i < nchosen; i++)
	{
		const EbQueryGroup *group = &query->groups[query->chosen[i]];

		for (int m = group->first; m < group->first + group->n; m++)
			numbers[query->members[m]] = 0;
	}
	for (int i = 0; i < query->nentries; i++)
	{
		if (numbers[i] < 0)
			continue;
		query->entries[n] = query->entries[i];
		numbers[i] = n++;
	}
	for (int m = 0; m < query->nmembers; m++)
		query->members[m] = numbers[query->members[m]];
	query->nentries = n;
	pfree(numbers);
}

/*
 * The search for a pattern, in an index that keeps prefixes or in one that
 * does not.
 */
EbEventQuery *
eb_event_query(const EbPattern *pattern, bool prefixes)
{
	Builder		builder = {.prefixes = prefixes};
	EbEventQuery *query = palloc0(sizeof(EbEventQuery));

	builder.program = eb_pattern_program(pattern);
	builder.query = query;
	builder.entries = create_table("event query entries", sizeof(EntryKey), sizeof(EntryHash));
	builder.groups = create_table("event query groups", sizeof(GroupKey), sizeof(GroupHash));
	builder.entries_size = builder.groups_size = builder.members_size = builder.chosen_size = 8;
	query->entries = palloc(builder.entries_size * sizeof(EbQueryEntry));
	query->groups = palloc(builder.groups_size * sizeof(EbQueryGroup));
	query->members = palloc(builder.members_size * sizeof(int));
	query->chosen = palloc(builder.chosen_size * sizeof(int));
	query->ends = palloc(builder.program->nconjunctions * sizeof(int));

	for (int i = 0; i < builder.program->nconjunctions; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (!add_conjunction(&builder, builder.program->roots[i]))
		{
			query->everything = true;
			query->nentries = 0;
			break;
		}
	}
	if (!query->everything)
		drop_unused(query, builder.nchosen);
	hash_destroy(builder.entries);
	hash_destroy(builder.groups);
	return query;
}
