/*-------------------------------------------------------------------------
 *
 * read.h
 *	  JSON text as a tree that remembers where everything stood.
 *
 * Patterns are read from text, not by way of jsonb, because positions,
 * repeated keys and the order of members matter to what a pattern means and
 * to how its faults are reported.  The lexer is PostgreSQL's own.
 *
 *-------------------------------------------------------------------------
 */
#ifndef EB_PATTERN_READ_H
#define EB_PATTERN_READ_H

#include "nodes/pg_list.h"

typedef enum EbJsonKind
{
	EB_JSON_OBJECT,
	EB_JSON_ARRAY,
	EB_JSON_STRING,
	EB_JSON_NUMBER,
	EB_JSON_TRUE,
	EB_JSON_FALSE,
	EB_JSON_NULL,
	EB_JSON_BROKEN				/* the text could not be read beyond here */
} EbJsonKind;

/*
 * A value.  str is the de-escaped content of a string, the spelling of a
 * number or literal, and NULL otherwise; key is the name under which an
 * object holds the value, NULL elsewhere.  Both are terminated.
 */
typedef struct EbJson
{
	EbJsonKind	kind;
	const char *start;			/* where the value starts in the text */
	char	   *str;
	int			len;
	char	   *key;
	int			key_len;
	const char *key_start;
	struct EbJson *first;		/* members or elements, in the order of the text */
	struct EbJson *next;
} EbJson;

/*
 * What is wrong with a text, for callers that raise it and for callers that
 * only tell.  message is NULL as long as nothing is.
 */
typedef struct EbFault
{
	int			sqlstate;
	char	   *message;		/* AWS's text where AWS has one */
	char	   *hint;			/* how to mend it, or NULL */
	const char *at;				/* where in the text; NULL: nowhere in particular */
	char	   *path;			/* JSON path of the place, set by the parser */
} EbFault;

/*
 * Reads one JSON value.  At a fault, which is described in *fault, the tree
 * ends with a value of kind EB_JSON_BROKEN: so a caller that walks it from
 * left to right meets the faults in the order of the text, its own and the
 * reader's.
 */
extern EbJson *eb_json_read(const char *text, int len, EbFault *fault);

/* Line and column (in characters), both from 1, of a place in a text. */
extern void eb_text_position(const char *text, const char *at,
							 int *line, int *column);

#endif							/* EB_PATTERN_READ_H */
