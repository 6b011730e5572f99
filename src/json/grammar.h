/*-------------------------------------------------------------------------
 *
 * grammar.h
 *	  Which token of a JSON text may come next.
 *
 * The server's lexer tells the tokens; its parser, which knows their order,
 * calls back for each and copies what it hands over.  Who wants to look at
 * the tokens where they stand asks here.
 *
 *-------------------------------------------------------------------------
 */
#ifndef EB_JSON_GRAMMAR_H
#define EB_JSON_GRAMMAR_H

#include "compat.h"

/* AWS's limit on the nesting of an event. */
#define EB_JSON_MAX_NESTING	1000

/* What may come next. */
typedef enum EbJsonWant
{
	EB_WANT_VALUE,
	EB_WANT_FIRST_VALUE,		/* of an array, or its end */
	EB_WANT_FIRST_KEY,			/* of an object, or its end */
	EB_WANT_KEY,
	EB_WANT_COLON,
	EB_WANT_NEXT,				/* a comma, or the end of what we are in */
	EB_WANT_END					/* of the text */
} EbJsonWant;

typedef struct EbJsonGrammar
{
	EbJsonWant	want;
	int			nesting;
	bool		in_object[EB_JSON_MAX_NESTING];
} EbJsonGrammar;

extern void eb_json_grammar_init(EbJsonGrammar *grammar);
extern bool eb_json_grammar_take(EbJsonGrammar *grammar, JsonTokenType token);

/* Would a string be the name of a member? */
static inline bool
eb_json_grammar_wants_key(const EbJsonGrammar *grammar)
{
	return grammar->want == EB_WANT_FIRST_KEY || grammar->want == EB_WANT_KEY;
}

/* Are we in an object, rather than in an array or outside of everything? */
static inline bool
eb_json_grammar_in_object(const EbJsonGrammar *grammar)
{
	return grammar->nesting > 0 && grammar->in_object[grammar->nesting - 1];
}

/* May the text end here? */
static inline bool
eb_json_grammar_is_complete(const EbJsonGrammar *grammar)
{
	return grammar->want == EB_WANT_END;
}

#endif							/* EB_JSON_GRAMMAR_H */
