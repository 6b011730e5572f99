/*-------------------------------------------------------------------------
 *
 * leaves.c
 *	  The scalars of an event and their paths, for functions that talk about
 *	  events.  The matcher does not use it: it never unpacks an event.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/numeric.h"

#include "json/container.h"
#include "pattern/leaves.h"

/* Collects what stands at a path below a value. */
void
eb_find_values(const JsonbValue *value, const char *path, int len, bool at_end,
			EbFindings *found)
{
	const JsonbContainer *container;
	const char *base;
	int			count;
	uint32		offset = 0;
	JsonbValue	below;

	check_stack_depth();
	CHECK_FOR_INTERRUPTS();

	if (value->type != jbvBinary)
	{
		if (at_end && list_length(found->leaves) < EB_MAX_LEAVES)
		{
			EbLeaf	   *leaf = palloc0(sizeof(EbLeaf));

			leaf->value = *value;
			found->leaves = lappend(found->leaves, leaf);
		}
		return;
	}

	container = value->val.binary.data;
	base = eb_container_base(container);
	count = JsonContainerSize(container);
	if (JsonContainerIsArray(container))
	{
		if (count == 0 && at_end)
			found->empty_array = true;
		for (int i = 0; i < count; i++)
		{
			eb_container_get(container, i, base, &below);
			eb_find_values(&below, path, len, at_end, found);
		}
		return;
	}
	if (at_end)
	{
		found->object = true;
		return;
	}
	for (int i = 0; i < count; i++)
	{
		const char *key = base + offset;
		int			key_len = eb_container_step(container, i, &offset);

		if (key_len > len || memcmp(key, path, key_len) != 0 ||
			(key_len < len && path[key_len] != '.'))
			continue;
		eb_container_get(container, count + i, base, &below);
		if (key_len == len)
			eb_find_values(&below, "", 0, true, found);
		else
			eb_find_values(&below, path + key_len + 1, len - key_len - 1, false, found);
	}
}

/* Collects all scalars of the event with their paths. */
void
eb_collect_leaves(const JsonbValue *value, const char *path, List **leaves)
{
	const JsonbContainer *container;
	const char *base;
	int			count;
	uint32		offset = 0;
	JsonbValue	below;

	check_stack_depth();
	CHECK_FOR_INTERRUPTS();

	if (value->type != jbvBinary)
	{
		EbLeaf	   *leaf = palloc0(sizeof(EbLeaf));

		leaf->path = pstrdup(path);
		leaf->value = *value;
		*leaves = lappend(*leaves, leaf);
		return;
	}
	container = value->val.binary.data;
	base = eb_container_base(container);
	count = JsonContainerSize(container);
	for (int i = 0; i < count; i++)
	{
		if (JsonContainerIsArray(container))
		{
			eb_container_get(container, i, base, &below);
			eb_collect_leaves(&below, path, leaves);
		}
		else
		{
			const char *key = base + offset;
			int			key_len = eb_container_step(container, i, &offset);

			eb_container_get(container, count + i, base, &below);
			eb_collect_leaves(&below, psprintf("%s%s%s", path, path[0] != '\0' ? "." : "",
											pnstrdup(key, key_len)), leaves);
		}
	}
}

char *
eb_scalar_text(const JsonbValue *value)
{
	StringInfoData out;

	initStringInfo(&out);
	switch (value->type)
	{
		case jbvString:
			escape_json(&out, pnstrdup(value->val.string.val, value->val.string.len));
			return out.data;
		case jbvNumeric:
			return DatumGetCString(DirectFunctionCall1(numeric_out,
													   NumericGetDatum(value->val.numeric)));
		case jbvBool:
			return pstrdup(value->val.boolean ? "true" : "false");
		default:
			return pstrdup("null");
	}
}
