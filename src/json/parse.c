/*-------------------------------------------------------------------------
 *
 * parse.c
 *	  JSON text to jsonb.
 *
 * Every event is parsed once by who puts it and once more for each function
 * that gets it, and type jsonb's own input function takes longer than all the
 * rest of a delivery: it copies each string byte by byte, and then as a whole.
 * Here the server's lexer is asked for the tokens, and strings without escapes
 * are used where they stand in the text.
 *
 * What is wrong with a text is for jsonb_in() to say: it gets each that is not
 * an object or array here.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/jsonapi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/numeric.h"

#include "compat.h"
#include "json/grammar.h"
#include "json/parse.h"

/* An integer of no more characters fits 64 bits. */
#define MAX_INTEGER_LEN 18

/* The string that the lexer has just read. */
static void
set_string(JsonbValue *value, const JsonLexContext *lex)
{
	const char *start = lex->token_start + 1;
	int			len = lex->token_terminator - 1 - start;

	value->type = jbvString;
	if (memchr(start, '\\', len) == NULL)
	{
		value->val.string.val = unconstify(char *, start);
		value->val.string.len = len;
	}
	else
	{
		value->val.string.val = pnstrdup(lex->strval->data, lex->strval->len);
		value->val.string.len = lex->strval->len;
	}
}

/* The number that the lexer has just read. */
static void
set_number(JsonbValue *value, const JsonLexContext *lex)
{
	int			len = lex->token_terminator - lex->token_start;
	char	   *number = pnstrdup(lex->token_start, len);

	value->type = jbvNumeric;
	if (len <= MAX_INTEGER_LEN && strpbrk(number, ".eE") == NULL)
		value->val.numeric = int64_to_numeric(strtoi64(number, NULL, 10));
	else
		value->val.numeric =
			DatumGetNumeric(DirectFunctionCall3(numeric_in,
												CStringGetDatum(number),
												ObjectIdGetDatum(InvalidOid),
												Int32GetDatum(-1)));
	pfree(number);
}

static void
set_scalar(JsonbValue *value, const JsonLexContext *lex)
{
	switch (lex->token_type)
	{
		case JSON_TOKEN_STRING:
			set_string(value, lex);
			break;
		case JSON_TOKEN_NUMBER:
			set_number(value, lex);
			break;
		case JSON_TOKEN_NULL:
			value->type = jbvNull;
			break;
		default:
			value->type = jbvBool;
			value->val.boolean = lex->token_type == JSON_TOKEN_TRUE;
			break;
	}
}

/* What a scalar would be, as the grammar is before the next token. */
JsonbIteratorToken
eb_jsonb_place(const EbJsonGrammar *grammar)
{
	return eb_json_grammar_wants_key(grammar) ? WJB_KEY :
		eb_json_grammar_in_object(grammar) ? WJB_VALUE : WJB_ELEM;
}

/*
 * Adds the token that the lexer has just read, for a text that is an object or
 * array; place is what a scalar would be there.  Returns the whole, in the
 * current memory context, if that is what it closes; its strings may stand in
 * the text.
 */
JsonbValue *
eb_jsonb_push_token(JsonbParseState **state, const JsonLexContext *lex,
					JsonbIteratorToken place)
{
	JsonbValue	value;

	switch (lex->token_type)
	{
		case JSON_TOKEN_OBJECT_START:
			return pushJsonbValue(state, WJB_BEGIN_OBJECT, NULL);
		case JSON_TOKEN_ARRAY_START:
			return pushJsonbValue(state, WJB_BEGIN_ARRAY, NULL);
		case JSON_TOKEN_OBJECT_END:
			return pushJsonbValue(state, WJB_END_OBJECT, NULL);
		case JSON_TOKEN_ARRAY_END:
			return pushJsonbValue(state, WJB_END_ARRAY, NULL);
		case JSON_TOKEN_COLON:
		case JSON_TOKEN_COMMA:
			return NULL;
		default:
			set_scalar(&value, lex);
			return pushJsonbValue(state, place, &value);
	}
}

/*
 * The value tree of an object or array, in the current memory context; its
 * strings may stand in the text.  NULL for anything else.
 */
JsonbValue *
eb_jsonb_tree(const char *text, int len)
{
	/* Where there are no escapes the lexer need not resolve any. */
	JsonLexContext *lex =
		eb_make_json_lex_context_for(unconstify(char *, text), len,
									 memchr(text, '\\', len) != NULL);
	JsonbParseState *state = NULL;
	JsonbValue *tree = NULL;
	EbJsonGrammar grammar;

	eb_json_grammar_init(&grammar);
	for (;;)
	{
		JsonbIteratorToken place = eb_jsonb_place(&grammar);

		CHECK_FOR_INTERRUPTS();
		if (json_lex(lex) != JSON_SUCCESS)
			return NULL;
		if (lex->token_type == JSON_TOKEN_END)
			return eb_json_grammar_is_complete(&grammar) ? tree : NULL;
		if (!eb_json_grammar_take(&grammar, lex->token_type))
			return NULL;
		if (tree == NULL && eb_json_grammar_is_complete(&grammar) &&
			lex->token_type != JSON_TOKEN_OBJECT_END &&
			lex->token_type != JSON_TOKEN_ARRAY_END)
			return NULL;		/* a scalar alone */
		tree = eb_jsonb_push_token(&state, lex, place);
	}
}

/*
 * The text as jsonb, in the current memory context.  Raises the errors of
 * jsonb_in().
 */
Jsonb *
eb_jsonb_from_text(const char *text, int len)
{
	JsonbValue *tree = eb_jsonb_tree(text, len);

	if (tree != NULL)
		return JsonbValueToJsonb(tree);
	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in,
											  CStringGetDatum(pnstrdup(text, len))));
}
