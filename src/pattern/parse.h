/*-------------------------------------------------------------------------
 *
 * parse.h
 *	  A pattern between its text and its stored form.
 *
 *-------------------------------------------------------------------------
 */
#ifndef EB_PATTERN_PARSE_H
#define EB_PATTERN_PARSE_H

#include "utils/numeric.h"

#include "pattern/pattern.h"
#include "pattern/read.h"

typedef enum EbConditionKind
{
	EB_CONDITION_EXISTS,
	EB_CONDITION_ABSENT,
	EB_CONDITION_TRUE,
	EB_CONDITION_FALSE,
	EB_CONDITION_NULL,
	EB_CONDITION_STRING,
	EB_CONDITION_NUMBER,
	EB_CONDITION_ITEM			/* whatever EbItemKind says */
} EbConditionKind;

/* One alternative of a field's list of values. */
typedef struct EbCondition
{
	EbConditionKind kind;
	EbItemKind	item;
	char	   *str;			/* string operand; terminated */
	int			len;
	Numeric		number;			/* EB_CONDITION_NUMBER */
	Numeric		lower;			/* EB_ITEM_NUMERIC; NULL: no bound */
	Numeric		upper;
	bool		lower_inclusive;
	bool		upper_inclusive;
	EbCidr		cidr;			/* EB_ITEM_CIDR, EB_ITEM_ADDRESS */
	List	   *refused;		/* EB_ITEM_ANYTHING_BUT: of EbCondition */
} EbCondition;

/* A full path and what its values are asked. */
typedef struct EbField
{
	char	   *path;			/* segments joined with dots; terminated */
	int			path_len;
	List	   *conditions;		/* of EbCondition */
	const EbJson *values;		/* the list in the tree */
} EbField;

typedef struct EbConjunction
{
	List	   *fields;			/* of EbField, no path twice */
} EbConjunction;

typedef struct EbParsedPattern
{
	const EbJson *root;
	bool		has_or;
	List	   *conjunctions;	/* of EbConjunction */
} EbParsedPattern;

/*
 * parse.c: returns NULL and describes the first fault, in the order of the
 * text, if the text is not a pattern.
 */
extern EbParsedPattern *eb_pattern_check(const char *text, int len,
										 EbFault *fault);
extern bool eb_is_or_relationship(const EbJson *member);

/* compile.c */
extern EbPattern *eb_pattern_compile(const EbParsedPattern *parsed);

/* print.c: the canonical text of a pattern, and of a part of one. */
extern void eb_pattern_print(StringInfo out, const EbParsedPattern *parsed);
extern void eb_json_print(StringInfo out, const EbJson *value);

/* Do two patterns consist of the same conjunctions, in whatever order? */
extern bool eb_pattern_same_conjunctions(const EbParsedPattern *a,
										 const EbParsedPattern *b);

/* operand.c */
extern bool eb_parse_number(const char *text, Numeric *number);
extern bool eb_number_is_double(Numeric number);
extern char *eb_parse_cidr(const char *text, EbCidr *cidr);
extern char *eb_check_wildcard(const char *text, int len);
extern int	eb_wildcard_complexity(const char *text, int len);

#endif							/* EB_PATTERN_PARSE_H */
