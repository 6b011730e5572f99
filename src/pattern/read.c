/*-------------------------------------------------------------------------
 *
 * read.c
 *	  JSON text to a tree with positions.
 *
 * Tokens come from PostgreSQL's JSON lexer; the grammar on top is a plain
 * recursive descent.  Faults are worded as the JSON parser behind AWS words
 * them, where its wording is recorded.
 *
 * A fault does not lose what was read before it: every container that is
 * open when it happens ends with a value of kind EB_JSON_BROKEN.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/jsonapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"

#include "compat.h"
#include "pattern/pattern.h"
#include "pattern/read.h"

#define EXPECTED_VALUE \
	"(JSON String, Number, Array, Object or token 'null', 'true' or 'false')"

typedef struct Reader
{
	JsonLexContext *lex;
	const char *start;
	const char *end;
	const char *token;			/* where the current token starts */
	JsonTokenType type;
	EbFault    *fault;
	int			depth;
} Reader;

static EbJson *read_value(Reader *reader);

/* Describes the first fault; later ones follow from it. */
static void
set_fault(Reader *reader, int sqlstate, const char *at, char *message,
		  char *hint)
{
	if (reader->fault->message != NULL)
		return;
	reader->fault->sqlstate = sqlstate;
	reader->fault->message = message;
	reader->fault->hint = hint;
	reader->fault->at = at;
}

static void
set_syntax_fault(Reader *reader, const char *at, char *message, char *hint)
{
	set_fault(reader, ERRCODE_INVALID_TEXT_REPRESENTATION, at, message, hint);
}

/* The run of letters and digits that starts at a place, for messages. */
static char *
word_at(const char *at, const char *end)
{
	const char *p = at;

	while (p < end && (isalnum((unsigned char) *p) || *p == '_' ||
					   IS_HIGHBIT_SET(*p)))
		p += pg_mblen(p);
	return pnstrdup(at, Min(p, end) - at);
}

/* What people write that JSON does not have, or forget. */
static char *
hint_for_character(Reader *reader, const char *expected)
{
	const char *at = reader->token;
	const char *end = reader->end;
	const char *before = at;

	while (before > reader->start && strchr(" \t\r\n", before[-1]) != NULL)
		before--;
	switch (*at)
	{
		case '#':
			return "JSON has no comments; remove the text from \"#\" to the end of the line.";
		case '/':
			if (at + 1 < end && (at[1] == '/' || at[1] == '*'))
				return "JSON has no comments; remove the comment.";
			return NULL;
		case '\'':
			return "JSON strings stand in double quotes.";
		case ']':
		case '}':
			if (before > reader->start && before[-1] == ',')
				return "Remove the comma before the closing bracket.";
			if (before > reader->start && before[-1] == ':')
				return "A value is missing.";
			if (strstr(expected, *at == '}' ? "Array" : "Object entries") != NULL)
				return *at == '}' ? "A \"]\" is missing before it." : "A \"}\" is missing before it.";
			return NULL;
		default:
			return NULL;
	}
}

/* What a word that is no literal of JSON was meant to be. */
static char *
hint_for_word(const char *word)
{
	if (pg_strcasecmp(word, "true") == 0 || pg_strcasecmp(word, "false") == 0 ||
		pg_strcasecmp(word, "null") == 0)
		return "JSON has true, false and null in lower case.";
	if (pg_strcasecmp(word, "none") == 0 || pg_strcasecmp(word, "nil") == 0 ||
		pg_strcasecmp(word, "undefined") == 0)
		return "JSON's word for it is null.";
	return "Strings stand in double quotes.";
}

/* The text of a character as a message quotes it. */
static char *
character_at(const char *at)
{
	return psprintf("Unexpected character ('%s' (code %u))",
					pnstrdup(at, pg_mblen(at)),
					(GetDatabaseEncoding() == PG_UTF8 && IS_HIGHBIT_SET(*at)) ?
					utf8_to_unicode((const unsigned char *) at) :
					(unsigned int) (unsigned char) *at);
}

/* A token that the lexer took, or a character, which cannot stand here. */
static void
fault_unexpected(Reader *reader, const char *expected)
{
	const char *at = reader->token;
	char	   *hint;

	if (at >= reader->end)
	{
		set_syntax_fault(reader, at,
						 pstrdup("Unexpected end-of-input"),
						 "The text ends before all brackets are closed.");
		return;
	}

	hint = hint_for_character(reader, expected);
	if (isalpha((unsigned char) *at) || IS_HIGHBIT_SET(*at))
	{
		if (strncmp(expected, "double-quote", 12) == 0 && hint == NULL)
			hint = "Names stand in double quotes.";
		if (strncmp(expected, "a valid value", 13) == 0)
		{
			/* What stands for the whole text is not a forgotten quote. */
			if (hint == NULL && reader->depth > 0)
				hint = hint_for_word(word_at(at, reader->end));
			set_syntax_fault(reader, at,
							 psprintf("Unrecognized token '%s': was expecting " EXPECTED_VALUE,
									  word_at(at, reader->end)), hint);
			return;
		}
	}
	set_syntax_fault(reader, at,
					 psprintf("%s: %s %s", character_at(at),
							  strncmp(expected, "a valid value", 13) == 0 ? "expected" : "was expecting",
							  expected), hint);
}

/* The text that starts like a number is none: where it goes wrong, and why. */
static void
fault_in_number(Reader *reader)
{
	const char *at = reader->token;
	const char *end = reader->end;
	const char *p = at + (*at == '-');
	const char *why = NULL;

	if (p + 1 < end && *p == '0' && isdigit((unsigned char) p[1]))
	{
		set_syntax_fault(reader, at,
						 pstrdup("Invalid numeric value: Leading zeroes not allowed"),
						 NULL);
		return;
	}
	if (p >= end || !isdigit((unsigned char) *p))
		why = "expected digit (0-9) to follow minus sign, for valid numeric value";
	while (p < end && isdigit((unsigned char) *p))
		p++;
	if (why == NULL && p < end && *p == '.')
	{
		p++;
		if (p >= end || !isdigit((unsigned char) *p))
			why = "Decimal point not followed by a digit";
		while (p < end && isdigit((unsigned char) *p))
			p++;
	}
	if (why == NULL && p < end && (*p == 'e' || *p == 'E'))
	{
		p++;
		if (p < end && (*p == '+' || *p == '-'))
			p++;
		if (p >= end || !isdigit((unsigned char) *p))
			why = "Exponent indicator not followed by a digit";
	}

	if (why == NULL)
		set_syntax_fault(reader, at,
						 psprintf("Unrecognized token '%s'", word_at(at, end)),
						 NULL);
	else if (p >= end)
		set_syntax_fault(reader, p, pstrdup("Unexpected end-of-input"),
						 "The text ends before all brackets are closed.");
	else
		set_syntax_fault(reader, p,
						 psprintf("%s in numeric value: %s", character_at(p), why),
						 NULL);
}

/* The lexer refused the token; say so in the words of AWS's parser. */
static void
fault_from_lexer(Reader *reader, JsonParseErrorType error)
{
	const char *at = reader->token;
	const char *p;

	switch (error)
	{
		case JSON_ESCAPING_REQUIRED:
			for (p = at; p < reader->end && (unsigned char) *p >= ' '; p++)
				;
			set_syntax_fault(reader, p,
							 psprintf("Illegal unquoted character ((CTRL-CHAR, code %d)): has to be escaped using backslash to be included in string value",
									  (unsigned char) *p),
							 "Write a line break inside a string as \\n.");
			break;
		case JSON_UNICODE_CODE_POINT_ZERO:
			set_syntax_fault(reader, at,
							 pstrdup("\\u0000 cannot be converted to text"),
							 NULL);
			break;
		case JSON_ESCAPING_INVALID:
		case JSON_UNICODE_ESCAPE_FORMAT:
		case JSON_UNICODE_HIGH_SURROGATE:
		case JSON_UNICODE_LOW_SURROGATE:
		case JSON_UNICODE_HIGH_ESCAPE:
			set_syntax_fault(reader, at,
							 pstrdup("Unrecognized character escape"),
							 "Only \\\" \\\\ \\/ \\b \\f \\n \\r \\t and \\uXXXX are escapes.");
			break;
		default:
			if (at < reader->end && *at == '"')
				set_syntax_fault(reader, at,
								 pstrdup("Unexpected end-of-input: was expecting closing quote for a string value"),
								 "A double quote is missing.");
			else if (at < reader->end &&
					 (isdigit((unsigned char) at[0]) || at[0] == '-'))
				fault_in_number(reader);
			else
				fault_unexpected(reader, "a valid value " EXPECTED_VALUE);
			break;
	}
}

/*
 * Steps to the next token.  expected says, for the message, what may stand
 * there.  Returns false at a fault.
 */
static bool
next_token(Reader *reader, const char *expected)
{
	JsonParseErrorType error;

	if (reader->fault->message != NULL)
		return false;

	error = json_lex(reader->lex);
	reader->token = reader->lex->token_start != NULL ?
		reader->lex->token_start : reader->end;
	reader->type = reader->lex->token_type;
	if (error == JSON_SUCCESS)
		return true;

	if (error == JSON_INVALID_TOKEN && expected != NULL &&
		reader->token < reader->end && *reader->token != '"' &&
		!isdigit((unsigned char) *reader->token) && *reader->token != '-')
		fault_unexpected(reader, expected);
	else
		fault_from_lexer(reader, error);
	return false;
}

static EbJson *
make_value(Reader *reader, EbJsonKind kind)
{
	EbJson	   *value = palloc0(sizeof(EbJson));

	value->kind = kind;
	value->start = reader->token;
	return value;
}

/*
 * Reads members after an opening brace, or elements after an opening
 * bracket, up to the closing one.  At a fault the list ends with a value of
 * kind EB_JSON_BROKEN.
 */
static void
read_members(Reader *reader, EbJson *container)
{
	bool		object = container->kind == EB_JSON_OBJECT;
	JsonTokenType close = object ? JSON_TOKEN_OBJECT_END : JSON_TOKEN_ARRAY_END;
	const char *separator = object ?
	"comma to separate Object entries" : "comma to separate Array entries";
	EbJson	  **link = &container->first;
	bool		first = true;

	for (;;)
	{
		EbJson	   *value;
		char	   *key = NULL;
		const char *key_start = NULL;
		int			key_len = 0;

		CHECK_FOR_INTERRUPTS();

		if (!next_token(reader, object ? "double-quote to start field name" :
						"a valid value " EXPECTED_VALUE))
			break;
		if (reader->type == close && first)
			return;
		if (object)
		{
			if (reader->type != JSON_TOKEN_STRING)
			{
				fault_unexpected(reader, "double-quote to start field name");
				break;
			}
			key = pstrdup(reader->lex->strval->data);
			key_len = reader->lex->strval->len;
			key_start = reader->token;
			if (!next_token(reader, "a colon to separate field name and value"))
				break;
			if (reader->type != JSON_TOKEN_COLON)
			{
				fault_unexpected(reader, "a colon to separate field name and value");
				break;
			}
			if (!next_token(reader, "a valid value " EXPECTED_VALUE))
				break;
		}
		first = false;

		value = read_value(reader);
		value->key = key;
		value->key_len = key_len;
		value->key_start = key_start;
		*link = value;
		link = &value->next;
		if (reader->fault->message != NULL)
			break;

		if (!next_token(reader, separator))
			break;
		if (reader->type == close)
			return;
		if (reader->type != JSON_TOKEN_COMMA)
		{
			if (reader->token >= reader->end)
				set_syntax_fault(reader, container->start,
								 psprintf("Unexpected end-of-input: expected close marker for %s",
										  object ? "Object" : "Array"),
								 "The bracket that opens here is never closed.");
			else
				fault_unexpected(reader, separator);
			break;
		}
	}

	*link = make_value(reader, EB_JSON_BROKEN);
}

/* Reads the value that starts with the current token. */
static EbJson *
read_value(Reader *reader)
{
	EbJson	   *value;

	check_stack_depth();

	switch (reader->type)
	{
		case JSON_TOKEN_OBJECT_START:
		case JSON_TOKEN_ARRAY_START:
			value = make_value(reader, reader->type == JSON_TOKEN_OBJECT_START ?
							   EB_JSON_OBJECT : EB_JSON_ARRAY);
			if (++reader->depth > EB_MAX_DEPTH)
			{
				set_fault(reader, ERRCODE_PROGRAM_LIMIT_EXCEEDED, reader->token,
						  psprintf("event pattern is nested more than %d levels deep", EB_MAX_DEPTH),
						  NULL);
				value->kind = EB_JSON_BROKEN;
				return value;
			}
			read_members(reader, value);
			reader->depth--;
			return value;
		case JSON_TOKEN_STRING:
			value = make_value(reader, EB_JSON_STRING);
			value->str = pstrdup(reader->lex->strval->data);
			value->len = reader->lex->strval->len;
			return value;
		case JSON_TOKEN_NUMBER:
		case JSON_TOKEN_TRUE:
		case JSON_TOKEN_FALSE:
		case JSON_TOKEN_NULL:
			value = make_value(reader,
							   reader->type == JSON_TOKEN_NUMBER ? EB_JSON_NUMBER :
							   reader->type == JSON_TOKEN_TRUE ? EB_JSON_TRUE :
							   reader->type == JSON_TOKEN_FALSE ? EB_JSON_FALSE :
							   EB_JSON_NULL);
			value->len = reader->lex->token_terminator - reader->token;
			value->str = pnstrdup(reader->token, value->len);
			return value;
		default:
			fault_unexpected(reader, "a valid value " EXPECTED_VALUE);
			return make_value(reader, EB_JSON_BROKEN);
	}
}

EbJson *
eb_json_read(const char *text, int len, EbFault *fault)
{
	Reader		reader = {0};
	EbJson	   *value;

	reader.lex = eb_make_json_lex_context((char *) text, len);
	reader.start = text;
	reader.end = text + len;
	reader.fault = fault;

	if (!next_token(&reader, "a valid value " EXPECTED_VALUE))
		return make_value(&reader, EB_JSON_BROKEN);
	value = read_value(&reader);

	/*
	 * Text after the value is refused, though AWS's engine ignores it: no one
	 * writes it on purpose.
	 */
	if (fault->message != NULL)
		return value;
	if (!next_token(&reader, NULL))
		fault->hint = "Remove what follows the closing bracket.";
	else if (reader.type != JSON_TOKEN_END)
		set_syntax_fault(&reader, reader.token,
						 psprintf("%s: was expecting the end of the text", character_at(reader.token)),
						 "Remove what follows the closing bracket.");
	return value;
}

void
eb_text_position(const char *text, const char *at, int *line, int *column)
{
	*line = 1;
	*column = 1;
	while (text < at)
	{
		if (*text == '\n')
		{
			(*line)++;
			*column = 1;
		}
		else
			(*column)++;
		text += pg_mblen(text);
	}
}
