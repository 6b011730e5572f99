/*-------------------------------------------------------------------------
 *
 * grammar.c
 *	  Which token of a JSON text may come next.
 *
 * No recursion, so no depth of nesting costs any stack.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/jsonapi.h"

#include "json/grammar.h"

/* At the beginning of a text. */
void
eb_json_grammar_init(EbJsonGrammar *grammar)
{
	grammar->want = EB_WANT_VALUE;
	grammar->nesting = 0;
}

/* Where a value has ended: what may come next. */
static bool
value_ended(EbJsonGrammar *grammar)
{
	grammar->want = grammar->nesting == 0 ? EB_WANT_END : EB_WANT_NEXT;
	return true;
}

/* Are we in an object (or array), at a place where it may end? */
static bool
may_close(const EbJsonGrammar *grammar, bool object)
{
	if (grammar->want == EB_WANT_NEXT)
		return eb_json_grammar_in_object(grammar) == object;
	return grammar->want == (object ? EB_WANT_FIRST_KEY : EB_WANT_FIRST_VALUE);
}

/* Takes a token; false if it may not stand here, or nests too deeply. */
bool
eb_json_grammar_take(EbJsonGrammar *grammar, JsonTokenType token)
{
	bool		value_wanted = (grammar->want == EB_WANT_VALUE ||
								grammar->want == EB_WANT_FIRST_VALUE);
	bool		object = (token == JSON_TOKEN_OBJECT_START ||
						  token == JSON_TOKEN_OBJECT_END);

	switch (token)
	{
		case JSON_TOKEN_OBJECT_START:
		case JSON_TOKEN_ARRAY_START:
			if (!value_wanted || grammar->nesting == EB_JSON_MAX_NESTING)
				return false;
			grammar->in_object[grammar->nesting++] = object;
			grammar->want = object ? EB_WANT_FIRST_KEY : EB_WANT_FIRST_VALUE;
			return true;
		case JSON_TOKEN_OBJECT_END:
		case JSON_TOKEN_ARRAY_END:
			if (!may_close(grammar, object))
				return false;
			grammar->nesting--;
			return value_ended(grammar);
		case JSON_TOKEN_COLON:
			if (grammar->want != EB_WANT_COLON)
				return false;
			grammar->want = EB_WANT_VALUE;
			return true;
		case JSON_TOKEN_COMMA:
			if (grammar->want != EB_WANT_NEXT)
				return false;
			grammar->want = eb_json_grammar_in_object(grammar) ?
				EB_WANT_KEY : EB_WANT_VALUE;
			return true;
		case JSON_TOKEN_STRING:
			if (eb_json_grammar_wants_key(grammar))
			{
				grammar->want = EB_WANT_COLON;
				return true;
			}
			return value_wanted && value_ended(grammar);
		case JSON_TOKEN_NUMBER:
		case JSON_TOKEN_TRUE:
		case JSON_TOKEN_FALSE:
		case JSON_TOKEN_NULL:
			return value_wanted && value_ended(grammar);
		default:
			return false;
	}
}
