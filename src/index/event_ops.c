/*-------------------------------------------------------------------------
 *
 * event_ops.c
 *	  GIN operator class event_ops: jsonb @~ event_pattern.
 *
 * An event is stored under one key for each of its scalars (see keys.h), and
 * with the option "prefixes" also under the beginnings of its strings.  A
 * pattern becomes a search for keys (see event_query.h).  What the search
 * finds is always rechecked: the matcher decides.  A pattern that asks for
 * nothing which an event must have finds every event, by a scan of the whole
 * index, which the planner takes for what it costs.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/gin.h"
#include "access/reloptions.h"
#include "fmgr.h"

#include "compat.h"
#include "index/event_query.h"

PG_FUNCTION_INFO_V1(event_ops_extract_value);
PG_FUNCTION_INFO_V1(event_ops_extract_query);
PG_FUNCTION_INFO_V1(event_ops_consistent);
PG_FUNCTION_INFO_V1(event_ops_compare_partial);
PG_FUNCTION_INFO_V1(event_ops_tri_consistent);
PG_FUNCTION_INFO_V1(event_ops_options);

/* Options of the operator class. */
typedef struct EventOpsOptions
{
	int32		vl_len_;		/* varlena header */
	bool		prefixes;
} EventOpsOptions;

static bool
keeps_prefixes(FunctionCallInfo fcinfo)
{
	if (!PG_HAS_OPCLASS_OPTIONS())
		return false;
	return ((EventOpsOptions *) PG_GET_OPCLASS_OPTIONS())->prefixes;
}

/* Keys while they are collected. */
typedef struct KeyList
{
	Datum	   *keys;
	int32		n;
	int32		size;
	bool		prefixes;
} KeyList;

static inline void
add_key(KeyList *list, int64 key)
{
	if (list->n == list->size)
	{
		list->size *= 2;
		list->keys = repalloc_huge(list->keys, (Size) list->size * sizeof(Datum));
	}
	list->keys[list->n++] = Int64GetDatum(key);
}

static void
add_leaf(void *context, EbPathHash path, const JsonbValue *scalar)
{
	static const int lengths[] = EB_PREFIX_LENGTHS;
	KeyList    *list = context;
	EbFolded	folded;

	if (!list->prefixes || scalar->type != jbvString)
	{
		add_key(list, eb_key_scalar(path, scalar));
		return;
	}
	eb_fold(scalar->val.string.val, scalar->val.string.len, &folded);
	add_key(list, eb_key_folded(path, &folded));
	for (int i = 0; i < lengthof(lengths) && lengths[i] <= folded.len; i++)
		add_key(list, eb_key_prefix(path, folded.str, lengths[i]));
	eb_fold_free(&folded);
}

/* event_ops_extract_value(event jsonb, nkeys internal) → keys */
Datum
event_ops_extract_value(PG_FUNCTION_ARGS)
{
	Jsonb	   *event = PG_GETARG_JSONB_P(0);
	int32	   *nkeys = (int32 *) PG_GETARG_POINTER(1);
	KeyList		list = {.size = 64, .prefixes = keeps_prefixes(fcinfo)};

	list.keys = palloc(list.size * sizeof(Datum));
	eb_walk_leaves(&event->root, add_leaf, &list);
	*nkeys = list.n;
	PG_RETURN_POINTER(list.keys);
}

/*
 * event_ops_extract_query(pattern, nkeys, strategy, partial, extra, nulls,
 * mode) → keys
 */
Datum
event_ops_extract_query(PG_FUNCTION_ARGS)
{
	const EbPattern *pattern = PG_GETARG_EVENT_PATTERN_P(0);
	int32	   *nkeys = (int32 *) PG_GETARG_POINTER(1);
	bool	  **partial = (bool **) PG_GETARG_POINTER(3);
	Pointer   **extra = (Pointer **) PG_GETARG_POINTER(4);
	int32	   *mode = (int32 *) PG_GETARG_POINTER(6);
	EbEventQuery *query = eb_event_query(pattern, keeps_prefixes(fcinfo));
	Datum	   *keys;

	*nkeys = 0;
	if (query->everything)
	{
		*mode = GIN_SEARCH_MODE_ALL;
		PG_RETURN_POINTER(NULL);
	}

	keys = palloc(query->nentries * sizeof(Datum));
	*extra = palloc(query->nentries * sizeof(Pointer));
	*partial = palloc(query->nentries * sizeof(bool));
	for (int i = 0; i < query->nentries; i++)
	{
		keys[i] = Int64GetDatum(query->entries[i].low);
		(*extra)[i] = (Pointer) &query->entries[i];
		(*partial)[i] = query->entries[i].range;
	}
	*nkeys = query->nentries;
	PG_RETURN_POINTER(keys);
}

/* Ranges: everything from the key looked for to the end of the range. */
Datum
event_ops_compare_partial(PG_FUNCTION_ARGS)
{
	int64		key = PG_GETARG_INT64(1);
	const EbQueryEntry *entry = (EbQueryEntry *) PG_GETARG_POINTER(3);

	PG_RETURN_INT32(key <= entry->high ? 0 : 1);
}

/* May an event match that has the keys which are not marked GIN_FALSE? */
static bool
may_match(const GinTernaryValue *check, int32 nkeys, const Pointer *extra)
{
	const EbEventQuery *query;
	int			i = 0;

	if (nkeys == 0)
		return true;
	query = ((const EbQueryEntry *) extra[0])->query;
	for (int c = 0; c < query->nconjunctions; c++)
	{
		bool		possible = true;

		for (; i < query->ends[c]; i++)
		{
			const EbQueryGroup *group = &query->groups[query->chosen[i]];
			bool		any = false;

			for (int m = group->first; m < group->first + group->n && !any; m++)
				any = check[query->members[m]] != GIN_FALSE;
			if (!any)
			{
				possible = false;
				i = query->ends[c];
				break;
			}
		}
		if (possible)
			return true;
	}
	return false;
}

Datum
event_ops_consistent(PG_FUNCTION_ARGS)
{
	/* GIN_FALSE and GIN_TRUE are false and true */
	const GinTernaryValue *check = (const GinTernaryValue *) PG_GETARG_POINTER(0);
	int32		nkeys = PG_GETARG_INT32(3);
	const Pointer *extra = (const Pointer *) PG_GETARG_POINTER(4);
	bool	   *recheck = (bool *) PG_GETARG_POINTER(5);

	*recheck = true;
	PG_RETURN_BOOL(may_match(check, nkeys, extra));
}

Datum
event_ops_tri_consistent(PG_FUNCTION_ARGS)
{
	const GinTernaryValue *check = (const GinTernaryValue *) PG_GETARG_POINTER(0);
	int32		nkeys = PG_GETARG_INT32(3);
	const Pointer *extra = (const Pointer *) PG_GETARG_POINTER(4);

	PG_RETURN_GIN_TERNARY_VALUE(may_match(check, nkeys, extra) ? GIN_MAYBE : GIN_FALSE);
}

Datum
event_ops_options(PG_FUNCTION_ARGS)
{
	local_relopts *relopts = (local_relopts *) PG_GETARG_POINTER(0);

	init_local_reloptions(relopts, sizeof(EventOpsOptions));
	add_local_bool_reloption(relopts, "prefixes",
							 "keep keys of the beginnings of strings",
							 false, offsetof(EventOpsOptions, prefixes));
	PG_RETURN_VOID();
}
