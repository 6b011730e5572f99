/*-------------------------------------------------------------------------
 *
 * array.c
 *	  A jsonb array of objects and arrays that are jsonb already.
 *
 * jsonb's form, as utils/jsonb.h describes it: a header with the number of
 * elements, an entry for each, and their data.  A container begins at a
 * multiple of four bytes; what is left free before it counts as its own.  An
 * entry tells its length, every JB_OFFSET_STRIDE-th where it ends.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "compat.h"
#include "json/array.h"

/* An empty array; its buffers are in the current memory context. */
void
eb_jsonb_array_init(EbJsonbArray *array)
{
	initStringInfo(&array->data);
	array->nelements = 0;
	array->size = 64;
	array->ends = palloc(sizeof(uint32) * array->size);
}

/* Empty again, with the same buffers. */
void
eb_jsonb_array_reset(EbJsonbArray *array)
{
	resetStringInfo(&array->data);
	array->nelements = 0;
}

/* Adds an object or array; it is copied. */
void
eb_jsonb_array_add(EbJsonbArray *array, const Jsonb *element)
{
	static const char padding[ALIGNOF_INT] = {0};

	Assert(!JB_ROOT_IS_SCALAR(element));
	appendBinaryStringInfo(&array->data, padding,
						   INTALIGN(array->data.len) - array->data.len);
	appendBinaryStringInfo(&array->data, (const char *) &element->root,
						   VARSIZE(element) - VARHDRSZ);
	if (array->data.len > JENTRY_OFFLENMASK)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("total size of jsonb array elements exceeds the maximum of %d bytes",
						JENTRY_OFFLENMASK)));
	if (array->nelements == array->size)
	{
		array->size *= 2;
		array->ends = repalloc(array->ends, sizeof(uint32) * array->size);
	}
	array->ends[array->nelements++] = array->data.len;
}

/* The array, in the current memory context. */
Jsonb *
eb_jsonb_array_make(const EbJsonbArray *array)
{
	int			n = array->nelements;
	Size		size = offsetof(Jsonb, root.children) + sizeof(JEntry) * n;
	Jsonb	   *result = palloc(size + array->data.len);
	JEntry	   *entries = result->root.children;
	uint32		start = 0;

	SET_VARSIZE(result, size + array->data.len);
	result->root.header = JB_FARRAY | n;
	for (int i = 0; i < n; i++)
	{
		uint32		end = array->ends[i];

		entries[i] = JENTRY_ISCONTAINER |
			(i % JB_OFFSET_STRIDE == 0 ? JENTRY_HAS_OFF | end : end - start);
		start = end;
	}
	memcpy((char *) result + size, array->data.data, array->data.len);
	return result;
}
