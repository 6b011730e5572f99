/*-------------------------------------------------------------------------
 *
 * template.h
 *	  Input templates: text with placeholders, filled from an event.
 *
 * A template is parsed once and then filled for any number of events.  It
 * comes in two kinds, which differ only in what a placeholder may name: a
 * rule's template names the variables of a paths map, a pipe's has the paths
 * in the placeholders themselves.
 *
 * The form follows from the text.  What opens with "{" is a JSON template:
 * it must be JSON in which placeholders stand for values, or in strings.
 * Filled values are written as JSON, or escaped within strings, so that the
 * result is always JSON.  Text in double quotes, one or more lines of it, is
 * a string template: values go in as they read, unescaped, and the quotes
 * stay.  A placeholder alone is short for a string template of nothing else.
 * Any other text is refused.
 *
 *-------------------------------------------------------------------------
 */
#ifndef EB_TRANSFORM_TEMPLATE_H
#define EB_TRANSFORM_TEMPLATE_H

#include "lib/stringinfo.h"
#include "nodes/pg_list.h"
#include "utils/jsonb.h"

#include "json/path.h"
#include "json/value.h"

/* AWS's limits */
#define EB_TEMPLATE_MAX_LENGTH	8192	/* characters */
#define EB_PATHS_MAP_MAX_SIZE	100
#define EB_PATHS_MAP_KEY_LENGTH 256

typedef enum EbTemplateKind
{
	EB_TEMPLATE_RULE,			/* <name>, <aws.events.*> */
	EB_TEMPLATE_PIPE			/* <$.path>, <aws.pipes.*> */
} EbTemplateKind;

/* Where a variable's value comes from. */
typedef enum EbVariableSource
{
	EB_VARIABLE_PATH,			/* a path into the event */
	EB_VARIABLE_PREDEFINED,		/* what the caller says about rule or pipe */
	EB_VARIABLE_EVENT,			/* the whole event */
	EB_VARIABLE_ENVELOPE		/* the event without its detail */
} EbVariableSource;

typedef struct EbVariable
{
	const char *name;			/* as in the placeholder, terminated */
	int			name_len;
	EbVariableSource source;
	bool		json_field_only;	/* may stand only as a value in JSON */
	EbPath	   *path;			/* EB_VARIABLE_PATH; NULL if it is faulty */
} EbVariable;

typedef enum EbPosition
{
	EB_POSITION_VALUE,			/* in JSON, where a value stands */
	EB_POSITION_STRING,			/* in a string of a JSON template */
	EB_POSITION_TEXT			/* in a string template */
} EbPosition;

/* A stretch of literal text, then a placeholder unless it is the last. */
typedef struct EbTemplatePart
{
	const char *literal;
	int			literal_len;
	int			variable;		/* number of the variable, or -1 */
	EbPosition	position;
	int			offset;			/* of the placeholder in the template */
} EbTemplatePart;

typedef struct EbTemplate
{
	EbTemplateKind kind;
	const char *text;			/* as written */
	int			len;
	int			nvariables;
	EbVariable *variables;
	int			nparts;
	EbTemplatePart *parts;
} EbTemplate;

/*
 * Something wrong with a template or paths map.  The message is AWS's where
 * AWS has one.
 */
typedef struct EbTemplateFault
{
	int			sqlerrcode;
	const char *message;
	const char *detail;			/* or NULL */
} EbTemplateFault;

/*
 * parse.c: never throws for what is wrong with the template; appends to
 * *faults (EbTemplateFault) instead, and the result must not be filled if
 * there are any.  The result lives in the current memory context and refers
 * to text.  target_id, if there is one, is named in the messages.
 */
extern EbTemplate *eb_template_parse(EbTemplateKind kind,
									 const char *text, int len,
									 Jsonb *paths_map, const char *target_id,
									 List **faults);
extern bool eb_json_text_is_valid(const char *text, int len);
extern void eb_template_add_fault(List **faults, int sqlerrcode,
								  const char *message, const char *detail);
extern void eb_template_add_constraint(List **faults, int sqlerrcode,
									   const char *member,
									   const char *value, int len,
									   const char *constraint);

/*
 * check.c: the input options of a target, an entry of PutTargets' list, which
 * must be an object; appends to *faults what is wrong with them.
 */
extern void eb_target_input_check(Jsonb *target, List **faults);

/*
 * fill.c: appends the filled template to out.  variables is an object with
 * the values of predefined variables by their names, or NULL; what it lacks
 * is treated like a path that leads to nothing.  Throws ERRCODE_DATA_EXCEPTION
 * where AWS delivers nothing.
 */
extern void eb_template_fill(const EbTemplate *template, const EbJson *event,
							 Jsonb *variables, StringInfo out);
extern void eb_template_locate(const EbTemplate *template, int offset,
							   int *line, int *column);

#endif							/* EB_TRANSFORM_TEMPLATE_H */
