/*-------------------------------------------------------------------------
 *
 * value.h
 *	  One JSON value, read from jsonb or from json, and written as text.
 *
 * An event reaches us as jsonb or as json.  Code that takes pieces out of it
 * and writes them elsewhere need not care which: it holds an EbJson.  What
 * was read from json keeps the spelling that it has there: order of keys,
 * duplicate keys, digits of numbers and escapes in strings; only the white
 * space between tokens is dropped.  What was read from jsonb has jsonb's.
 *
 * An EbJson points into the datum that it was read from and owns nothing.
 *
 *-------------------------------------------------------------------------
 */
#ifndef EB_JSON_VALUE_H
#define EB_JSON_VALUE_H

#include "lib/stringinfo.h"
#include "utils/jsonb.h"

typedef struct EbJson
{
	const char *text;			/* json: the value's first byte; else NULL */
	int			len;			/* json: bytes up to the value's last */
	JsonbValue	jsonb;			/* jsonb: the value; a container is jbvBinary */
} EbJson;

/* The members of an object, or the elements of an array, in json text. */
typedef struct EbJsonTextIterator
{
	const char *p;
	const char *end;
	bool		object;

	/* the current member or element */
	const char *key;			/* between its quotes, escapes not resolved */
	int			key_len;
	const char *value;
	int			value_len;
} EbJsonTextIterator;

extern void eb_json_from_jsonb(EbJson *value, Jsonb *jsonb);
extern void eb_json_from_text(EbJson *value, const char *text, int len);

/* jbvNull, jbvString, jbvNumeric, jbvBool, jbvArray or jbvObject */
extern enum jbvType eb_json_type(const EbJson *value);

extern void eb_json_append(StringInfo out, const EbJson *value);
extern void eb_json_append_in_string(StringInfo out, const EbJson *value);
extern void eb_json_append_as_text(StringInfo out, const EbJson *value);
extern void eb_json_append_string(StringInfo out, const char *s, int len);

extern void eb_json_text_iterate(EbJsonTextIterator *it,
								 const char *text, int len);
extern bool eb_json_text_next(EbJsonTextIterator *it);
extern bool eb_json_text_key_equals(const EbJsonTextIterator *it,
									const char *name, int len);

#endif							/* EB_JSON_VALUE_H */
