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

#include "json/grammar.h"

extern JsonbIteratorToken eb_jsonb_place(const EbJsonGrammar *grammar);
extern JsonbValue *eb_jsonb_push_token(JsonbParseState **state,
									   const JsonLexContext *lex,
									   JsonbIteratorToken place);
extern JsonbValue *eb_jsonb_tree(const char *text, int len);
extern Jsonb *eb_jsonb_from_text(const char *text, int len);

#endif							/* EB_JSON_PARSE_H */
