/*-------------------------------------------------------------------------
 *
 * event_pattern_ops.c
 *	  GIN operator class event_pattern_ops: event_pattern ~@ jsonb.
 *
 * The other direction: which of the stored patterns match an event?  A
 * pattern is stored under the keys of pattern_keys.h, an event looks for all
 * keys that it could have been stored under, and one found is enough.  What
 * is found is rechecked: the matcher decides.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/gin.h"
#include "fmgr.h"

#include "compat.h"
#include "index/pattern_keys.h"

PG_FUNCTION_INFO_V1(event_pattern_ops_extract_value);
PG_FUNCTION_INFO_V1(event_pattern_ops_extract_query);
PG_FUNCTION_INFO_V1(event_pattern_ops_consistent);
PG_FUNCTION_INFO_V1(event_pattern_ops_tri_consistent);

/* event_pattern_ops_extract_value(pattern, nkeys internal) → keys */
Datum
event_pattern_ops_extract_value(PG_FUNCTION_ARGS)
{
	const EbPattern *pattern = PG_GETARG_EVENT_PATTERN_P(0);
	int32	   *nkeys = (int32 *) PG_GETARG_POINTER(1);
	EbKeyList	list;

	eb_key_list_init(&list);
	eb_pattern_keys(pattern, &list);
	*nkeys = list.n;
	PG_RETURN_POINTER(list.keys);
}

static int
compare_keys(const void *a, const void *b)
{
	int64		ka = DatumGetInt64(*(const Datum *) a);
	int64		kb = DatumGetInt64(*(const Datum *) b);

	return ka < kb ? -1 : ka > kb;
}

/*
 * event_pattern_ops_extract_query(event, nkeys, strategy, partial, extra,
 * nulls, mode) → keys
 */
Datum
event_pattern_ops_extract_query(PG_FUNCTION_ARGS)
{
	Jsonb	   *event = PG_GETARG_JSONB_P(0);
	int32	   *nkeys = (int32 *) PG_GETARG_POINTER(1);
	int32	   *mode = (int32 *) PG_GETARG_POINTER(6);
	EbKeyList	list;
	int			n = 0;

	eb_key_list_init(&list);
	if (!eb_event_keys(&event->root, &list))
	{
		*nkeys = 0;
		*mode = GIN_SEARCH_MODE_ALL;
		PG_RETURN_POINTER(NULL);
	}

	/* GIN would look for equal keys twice; in order it reads its pages in order */
	qsort(list.keys, list.n, sizeof(Datum), compare_keys);
	for (int i = 0; i < list.n; i++)
		if (n == 0 || list.keys[i] != list.keys[n - 1])
			list.keys[n++] = list.keys[i];
	*nkeys = n;
	PG_RETURN_POINTER(list.keys);
}

/* Every key that was found is reason enough to look at the pattern. */
Datum
event_pattern_ops_consistent(PG_FUNCTION_ARGS)
{
	bool	   *recheck = (bool *) PG_GETARG_POINTER(5);

	*recheck = true;
	PG_RETURN_BOOL(true);
}

Datum
event_pattern_ops_tri_consistent(PG_FUNCTION_ARGS)
{
	const GinTernaryValue *check = (const GinTernaryValue *) PG_GETARG_POINTER(0);
	int32		nkeys = PG_GETARG_INT32(3);

	for (int i = 0; i < nkeys; i++)
		if (check[i] != GIN_FALSE)
			PG_RETURN_GIN_TERNARY_VALUE(GIN_MAYBE);
	PG_RETURN_GIN_TERNARY_VALUE(nkeys == 0 ? GIN_MAYBE : GIN_FALSE);
}
