/*-------------------------------------------------------------------------
 *
 * parse.h
 *	  JSON text to jsonb.
 *
 *-------------------------------------------------------------------------
 */
#ifndef EB_JSON_PARSE_H
#define EB_JSON_PARSE_H

#include "utils/jsonb.h"

extern JsonbValue *eb_jsonb_tree(const char *text, int len);
extern Jsonb *eb_jsonb_from_text(const char *text, int len);

#endif							/* EB_JSON_PARSE_H */
