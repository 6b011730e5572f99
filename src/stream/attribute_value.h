/*-------------------------------------------------------------------------
 *
 * attribute_value.h
 *	  PostgreSQL values as DynamoDB attribute values, and back.
 *
 * An attribute value is an object with one member, whose key names the type:
 * {"S": "text"}, {"N": "1.5"}, {"M": {...}}.  In memory it is that member, a
 * JsonbPair; its value is a tree of jbvObject, jbvArray and scalars, which
 * the pattern matcher takes as it is.
 *
 *-------------------------------------------------------------------------
 */
#ifndef EB_ATTRIBUTE_VALUE_H
#define EB_ATTRIBUTE_VALUE_H

#include "fmgr.h"
#include "lib/stringinfo.h"
#include "utils/jsonb.h"

/* A json value nested deeper than this is given as its text. */
#define EB_MAX_VALUE_DEPTH		500

/* How values of one PostgreSQL type are converted. */
typedef struct EbValueType EbValueType;

/* attribute_value.c */
extern EbValueType *eb_value_type_make(Oid typid, MemoryContext context);
extern bool eb_value_type_image_decides(const EbValueType *type);
extern Oid	eb_value_type_stored_as(const EbValueType *type);
extern int64 eb_attribute_value(EbValueType *type, Datum value, bool isnull,
								JsonbPair *result);
extern int64 eb_utf8_length(const char *text, int len);

/* attribute_json.c */
extern int64 eb_attribute_value_of_jsonb(Jsonb *jsonb, JsonbPair *result);
extern int64 eb_attribute_value_of_json(text *json, JsonbPair *result);
extern int64 eb_attribute_number(const char *text, int len,
								 JsonbPair *result);
extern int64 eb_attribute_numeric(Numeric number, JsonbPair *result);
extern bool eb_attribute_values_equal(const JsonbPair *a, const JsonbPair *b);

/* json_tree.c */
extern void eb_tree_object(JsonbValue *object, int max_members);
extern JsonbValue *eb_tree_add(JsonbValue *object, const char *name);
extern void eb_tree_add_string(JsonbValue *object, const char *name,
							   const char *value);
extern void eb_append_json_string(StringInfo out, const char *text, int len);
extern void eb_append_json(StringInfo out, const JsonbValue *value,
						   int limit);
extern Jsonb *eb_tree_to_jsonb(const JsonbValue *value);

/* Gives an attribute value its type and content. */
static inline void
eb_set_attribute_value(JsonbPair *result, const char *type, int type_len)
{
	result->key.type = jbvString;
	result->key.val.string.val = (char *) type;
	result->key.val.string.len = type_len;
}

static inline int64
eb_set_attribute_string(JsonbPair *result, const char *text, int len)
{
	eb_set_attribute_value(result, "S", 1);
	result->value.type = jbvString;
	result->value.val.string.val = (char *) text;
	result->value.val.string.len = len;
	return eb_utf8_length(text, len);
}

static inline int64
eb_set_attribute_null(JsonbPair *result)
{
	eb_set_attribute_value(result, "NULL", 4);
	result->value.type = jbvBool;
	result->value.val.boolean = true;
	return 1;
}

static inline int64
eb_set_attribute_bool(JsonbPair *result, bool value)
{
	eb_set_attribute_value(result, "BOOL", 4);
	result->value.type = jbvBool;
	result->value.val.boolean = value;
	return 1;
}

/* Wraps an attribute value into the object that it is in JSON. */
static inline void
eb_attribute_value_object(JsonbPair *attribute, JsonbValue *object)
{
	object->type = jbvObject;
	object->val.object.nPairs = 1;
	object->val.object.pairs = attribute;
}

#endif							/* EB_ATTRIBUTE_VALUE_H */
