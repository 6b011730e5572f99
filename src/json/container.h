/*-------------------------------------------------------------------------
 *
 * container.h
 *	  Reading a jsonb container entry by entry, without iterators.
 *
 * jsonb's own iterator allocates a level for each container and walks all of
 * it; the matcher wants single entries of objects whose other entries it does
 * not touch.
 *
 *-------------------------------------------------------------------------
 */
#ifndef EB_JSON_CONTAINER_H
#define EB_JSON_CONTAINER_H

#include "utils/jsonb.h"

/* Where the entries' data start: an object has keys and values. */
static inline const char *
eb_container_base(const JsonbContainer *container)
{
	uint32		count = JsonContainerSize(container);

	if (JsonContainerIsObject(container))
		count *= 2;
	return (const char *) (container->children + count);
}

/*
 * The entry at an index, whose data start at offset, as a value that points
 * into the container.
 */
static inline void
eb_container_fill(const JsonbContainer *container, int index,
				  const char *base, uint32 offset, uint32 len, JsonbValue *value)
{
	JEntry		entry = container->children[index];

	if (JBE_ISSTRING(entry))
	{
		value->type = jbvString;
		value->val.string.val = (char *) base + offset;
		value->val.string.len = len;
	}
	else if (JBE_ISNUMERIC(entry))
	{
		value->type = jbvNumeric;
		value->val.numeric = (Numeric) (base + INTALIGN(offset));
	}
	else if (JBE_ISBOOL_TRUE(entry) || JBE_ISBOOL_FALSE(entry))
	{
		value->type = jbvBool;
		value->val.boolean = JBE_ISBOOL_TRUE(entry);
	}
	else if (JBE_ISNULL(entry))
		value->type = jbvNull;
	else
	{
		uint32		start = INTALIGN(offset);

		value->type = jbvBinary;
		value->val.binary.data = (JsonbContainer *) (base + start);
		value->val.binary.len = len - (start - offset);
	}
}

/* The entry at an index, wherever it starts. */
static inline void
eb_container_get(const JsonbContainer *container, int index,
				 const char *base, JsonbValue *value)
{
	eb_container_fill(container, index, base,
					  getJsonbOffset(container, index),
					  getJsonbLength(container, index), value);
}

/* Steps over an entry: *offset moves from its start to its end. */
static inline uint32
eb_container_step(const JsonbContainer *container, int index, uint32 *offset)
{
	JEntry		entry = container->children[index];
	uint32		start = *offset;

	if (JBE_HAS_OFF(entry))
		*offset = JBE_OFFLENFLD(entry);
	else
		*offset += JBE_OFFLENFLD(entry);
	return *offset - start;
}

/* Is the value an object, or an array, in either form? */
static inline bool
eb_value_is_object(const JsonbValue *value)
{
	return value->type == jbvObject ||
		(value->type == jbvBinary && JsonContainerIsObject(value->val.binary.data));
}

static inline bool
eb_value_is_array(const JsonbValue *value)
{
	return value->type == jbvArray ||
		(value->type == jbvBinary && JsonContainerIsArray(value->val.binary.data));
}

#endif							/* EB_JSON_CONTAINER_H */
