/*-------------------------------------------------------------------------
 *
 * parse.c
 *	  Input templates: from text to parts.
 *
 * One pass cuts the text into literal stretches and placeholders.  In a JSON
 * template the same pass checks the JSON around the placeholders, with a
 * placeholder standing for a value: if the template passes, every text that
 * is filled from it is JSON, and filling need not check again.
 *
 * A placeholder is "<", one or more characters, ">".  There is no escape for
 * the brackets, so whatever has that shape is one, known name or not; only
 * brackets around nothing, or with a quote, backslash or control character
 * in between, are literal text.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "miscadmin.h"

#include "compat.h"
#include "transform/template.h"

typedef struct Parser
{
	EbTemplate *template;
	const char *p;				/* next character to look at */
	const char *end;
	const char *literal;		/* where the current literal stretch began */
	bool		placeholders;	/* false: just JSON, no "<" is special */
	int			max_parts;
	int			max_variables;
	const char *target_id;
	List	   *faults;
	bool		broken;			/* the JSON is, and this has been reported */
} Parser;

static bool parse_value(Parser *parser);

/*
 * Faults
 */

void
eb_template_add_fault(List **faults, int sqlerrcode, const char *message,
					  const char *detail)
{
	EbTemplateFault *fault = palloc(sizeof(EbTemplateFault));

	fault->sqlerrcode = sqlerrcode;
	fault->message = message;
	fault->detail = detail;
	*faults = lappend(*faults, fault);
}

/*
 * A constraint of AWS's service model is broken.  Of a long value only the
 * beginning is quoted.
 */
void
eb_template_add_constraint(List **faults, int sqlerrcode, const char *member,
						   const char *value, int len, const char *constraint)
{
	int			clipped = pg_mbcliplen(value, len, 100);

	eb_template_add_fault(faults, sqlerrcode,
						  psprintf("1 validation error detected: Value '%.*s%s' at '%s' failed to satisfy constraint: %s",
								   clipped, value, clipped < len ? "..." : "",
								   member, constraint),
						  NULL);
}

static void
add_fault(Parser *parser, const char *message, const char *detail)
{
	eb_template_add_fault(&parser->faults, ERRCODE_INVALID_PARAMETER_VALUE,
						  message, detail);
}

/*
 * "InputTemplate for target T", or without target.
 */
static const char *
subject(Parser *parser, const char *what)
{
	if (parser->target_id == NULL)
		return what;
	return psprintf("%s for target %s", what, parser->target_id);
}

/*
 * Line and column of a byte of the template, both counted from 1, the column
 * in characters.
 */
void
eb_template_locate(const EbTemplate *template, int offset,
				   int *line, int *column)
{
	int			line_start = 0;

	*line = 1;
	for (int i = 0; i < offset; i++)
	{
		if (template->text[i] == '\n')
		{
			(*line)++;
			line_start = i + 1;
		}
	}
	*column = 1 + pg_mbstrlen_with_len(template->text + line_start,
									   offset - line_start);
}

static char *
place(Parser *parser, const char *at)
{
	int			line;
	int			column;

	eb_template_locate(parser->template, at - parser->template->text,
					   &line, &column);
	return psprintf("line %d, column %d", line, column);
}

/*
 * The JSON goes on otherwise than it should.  Only the first such place is
 * reported, for what follows from it would be noise.
 */
static bool
syntax_fault(Parser *parser, const char *expected)
{
	if (!parser->broken)
		add_fault(parser,
				  psprintf("%s is not valid JSON.",
						   subject(parser, "InputTemplate")),
				  psprintf("Expected %s at %s.", expected,
						   place(parser, parser->p)));
	parser->broken = true;
	return false;
}

/*
 * Variables
 */

static const char *const rule_names[] = {
	"aws.events.rule-arn",
	"aws.events.rule-name",
	"aws.events.event.ingestion-time",
	NULL
};

static const char *const pipe_names[] = {
	"aws.pipes.pipe-arn",
	"aws.pipes.pipe-name",
	"aws.pipes.source-arn",
	"aws.pipes.enrichment-arn",
	"aws.pipes.target-arn",
	"aws.pipes.event.ingestion-time",
	NULL
};

static bool
name_is(const char *name, int len, const char *literal)
{
	return len == strlen(literal) && memcmp(name, literal, len) == 0;
}

/*
 * If this is the name of a predefined variable, say where its value comes
 * from.
 */
static bool
find_predefined(EbTemplateKind kind, const char *name, int len,
				EbVariableSource *source, bool *json_field_only)
{
	const char *const *names = kind == EB_TEMPLATE_RULE ? rule_names : pipe_names;

	*json_field_only = false;
	for (; *names != NULL; names++)
	{
		if (name_is(name, len, *names))
		{
			*source = EB_VARIABLE_PREDEFINED;
			return true;
		}
	}

	if (kind == EB_TEMPLATE_RULE)
	{
		*json_field_only = true;
		*source = EB_VARIABLE_ENVELOPE;
		if (name_is(name, len, "aws.events.event"))
			return true;
		*source = EB_VARIABLE_EVENT;
		return name_is(name, len, "aws.events.event.json");
	}

	*source = EB_VARIABLE_EVENT;
	if (name_is(name, len, "aws.pipes.event"))
		return true;
	*json_field_only = true;
	return name_is(name, len, "aws.pipes.event.json");
}

/*
 * Add a variable and return its number.
 */
static int
add_variable(Parser *parser, const char *name, int len,
			 EbVariableSource source, bool json_field_only, EbPath *path)
{
	EbTemplate *template = parser->template;
	EbVariable *variable;

	if (template->nvariables == parser->max_variables)
	{
		parser->max_variables = Max(8, parser->max_variables * 2);
		if (template->variables == NULL)
			template->variables = palloc(parser->max_variables * sizeof(EbVariable));
		else
			template->variables = repalloc(template->variables,
										   parser->max_variables * sizeof(EbVariable));
	}
	variable = &template->variables[template->nvariables];
	variable->name = pnstrdup(name, len);
	variable->name_len = len;
	variable->source = source;
	variable->json_field_only = json_field_only;
	variable->path = path;
	return template->nvariables++;
}

static bool
is_map_key(const char *key, int len)
{
	for (int i = 0; i < len; i++)
	{
		char		c = key[i];

		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
			  (c >= '0' && c <= '9') || c == '_' || c == '-'))
			return false;
	}
	return true;
}

/*
 * One entry of the paths map becomes a variable, whether or not the template
 * uses it: its path is checked in any case.
 */
static void
add_map_entry(Parser *parser, const JsonbValue *key, const JsonbValue *value)
{
	const char *name = key->val.string.val;
	int			len = key->val.string.len;
	EbPath	   *path = NULL;
	EbPathFault fault;

	if (len == 0)
		eb_template_add_constraint(&parser->faults, ERRCODE_INVALID_PARAMETER_VALUE,
								   "inputTransformer.inputPathsMap", name, len,
								   "Map keys must satisfy constraint: [Member must have length greater than or equal to 1]");
	else if (!is_map_key(name, len))
		eb_template_add_constraint(&parser->faults, ERRCODE_INVALID_PARAMETER_VALUE,
								   "inputTransformer.inputPathsMap", name, len,
								   "Map keys must satisfy constraint: [Member must satisfy regular expression pattern: [A-Za-z0-9\\_\\-]+]");
	else if (len > EB_PATHS_MAP_KEY_LENGTH)
		eb_template_add_constraint(&parser->faults, ERRCODE_PROGRAM_LIMIT_EXCEEDED,
								   "inputTransformer.inputPathsMap", name, len,
								   "Map keys must satisfy constraint: [Member must have length less than or equal to 256]");

	if (value->type != jbvString)
		add_fault(parser,
				  psprintf("%s is invalid.", subject(parser, "InputPath")),
				  psprintf("The value of \"%.*s\" in the paths map is not a string.",
						   len, name));
	else if (pg_mbstrlen_with_len(value->val.string.val, value->val.string.len) >
			 EB_PATH_MAX_LENGTH)
		eb_template_add_constraint(&parser->faults, ERRCODE_PROGRAM_LIMIT_EXCEEDED,
								   "inputTransformer.inputPathsMap",
								   value->val.string.val, value->val.string.len,
								   "Map value must satisfy constraint: [Member must have length less than or equal to 256]");
	else
	{
		path = eb_path_parse(value->val.string.val, value->val.string.len, &fault);
		if (path == NULL)
			add_fault(parser,
					  psprintf("%s is invalid.", subject(parser, "InputPath")),
					  eb_path_fault_detail(value->val.string.val,
										   value->val.string.len, &fault));
	}

	add_variable(parser, name, len, EB_VARIABLE_PATH, false, path);
}

static void
add_paths_map(Parser *parser, Jsonb *map)
{
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue	key;
	JsonbValue	value;

	if (!JB_ROOT_IS_OBJECT(map))
	{
		add_fault(parser, "input paths map must be a JSON object", NULL);
		return;
	}
	if (JB_ROOT_COUNT(map) > EB_PATHS_MAP_MAX_SIZE)
	{
		EbJson		whole;
		StringInfoData text;

		initStringInfo(&text);
		eb_json_from_jsonb(&whole, map);
		eb_json_append(&text, &whole);
		eb_template_add_constraint(&parser->faults, ERRCODE_PROGRAM_LIMIT_EXCEEDED,
								   "inputTransformer.inputPathsMap", text.data, text.len,
								   "Member must have length less than or equal to 100");
		return;
	}

	it = JsonbIteratorInit(&map->root);
	while ((token = JsonbIteratorNext(&it, &key, true)) != WJB_DONE)
	{
		if (token != WJB_KEY)
			continue;
		(void) JsonbIteratorNext(&it, &value, true);
		add_map_entry(parser, &key, &value);
	}
}

/*
 * The variable that a placeholder names, or -1 with a fault reported.
 */
static int
resolve_variable(Parser *parser, const char *name, int len)
{
	EbTemplate *template = parser->template;
	EbVariableSource source;
	bool		json_field_only;
	EbPath	   *path;
	EbPathFault fault;

	for (int i = 0; i < template->nvariables; i++)
	{
		if (template->variables[i].name_len == len &&
			memcmp(template->variables[i].name, name, len) == 0)
			return i;
	}

	if (find_predefined(template->kind, name, len, &source, &json_field_only))
		return add_variable(parser, name, len, source, json_field_only, NULL);

	if (template->kind == EB_TEMPLATE_RULE)
	{
		add_fault(parser,
				  psprintf("%s contains invalid placeholder %.*s.",
						   subject(parser, "InputTemplate"), len, name),
				  psprintf("The placeholder at %s is neither a key of the paths map nor a predefined variable.",
						   place(parser, parser->p)));
		return -1;
	}

	path = eb_path_parse(name, len, &fault);
	if (path == NULL)
	{
		add_fault(parser,
				  "Invalid json path reference or predefined variable for placeholder",
				  psprintf("The placeholder at %s is <%.*s>. %s",
						   place(parser, parser->p), len, name,
						   name[0] == '$' ?
						   eb_path_fault_detail(name, len, &fault) :
						   "It names no predefined variable."));
		return -1;
	}
	return add_variable(parser, name, len, EB_VARIABLE_PATH, false, path);
}

/*
 * Placeholders
 */

/*
 * Length of the name if a placeholder begins at p, else 0.
 */
static int
placeholder_name_len(const char *p, const char *end)
{
	const char *name = p + 1;

	if (p >= end || *p != '<')
		return 0;
	for (p = name; p < end; p++)
	{
		if (*p == '>')
			return p - name;
		if (*p == '<' || *p == '"' || *p == '\\' || (unsigned char) *p < 0x20)
			return 0;
	}
	return 0;
}

static void
add_part(Parser *parser, const char *literal, int literal_len,
		 int variable, EbPosition position, int offset)
{
	EbTemplate *template = parser->template;
	EbTemplatePart *part;

	if (template->nparts == parser->max_parts)
	{
		parser->max_parts = Max(8, parser->max_parts * 2);
		if (template->parts == NULL)
			template->parts = palloc(parser->max_parts * sizeof(EbTemplatePart));
		else
			template->parts = repalloc(template->parts,
									   parser->max_parts * sizeof(EbTemplatePart));
	}
	part = &template->parts[template->nparts++];
	part->literal = literal;
	part->literal_len = literal_len;
	part->variable = variable;
	part->position = position;
	part->offset = offset;
}

/*
 * Take the placeholder at p, if there is one, as standing at this position.
 */
static bool
take_placeholder(Parser *parser, EbPosition position)
{
	const char *name = parser->p + 1;
	int			len;
	int			number;

	len = parser->placeholders ?
		placeholder_name_len(parser->p, parser->end) : 0;
	if (len == 0)
		return false;

	number = resolve_variable(parser, name, len);
	if (number >= 0)
	{
		EbVariable *variable = &parser->template->variables[number];

		if (variable->json_field_only && position != EB_POSITION_VALUE)
			add_fault(parser,
					  psprintf(position == EB_POSITION_TEXT ?
							   "%s contains placeholder %.*s valid only for JSON template." :
							   "%s contains placeholder %.*s valid only as the value of a JSON field.",
							   subject(parser, "InputTemplate"), len, name),
					  psprintf("The placeholder stands at %s.",
							   place(parser, parser->p)));
		add_part(parser, parser->literal, parser->p - parser->literal,
				 number, position, parser->p - parser->template->text);
	}
	parser->p = name + len + 1;
	parser->literal = parser->p;
	return true;
}

/*
 * The same where an object's key should be, or within a key.
 */
static bool
refuse_key_placeholder(Parser *parser)
{
	int			len;

	len = parser->placeholders ?
		placeholder_name_len(parser->p, parser->end) : 0;
	if (len == 0)
		return false;

	add_fault(parser,
			  psprintf("%s contains placeholder %.*s in an object key.",
					   subject(parser, "InputTemplate"), len, parser->p + 1),
			  psprintf("The placeholder stands at %s; it can stand only for a value.",
					   place(parser, parser->p)));
	parser->p += len + 2;
	return true;
}

/*
 * JSON templates
 *
 * Each function takes what it is named for and returns whether it was there.
 */

static void
take_space(Parser *parser)
{
	while (parser->p < parser->end &&
		   (*parser->p == ' ' || *parser->p == '\t' ||
			*parser->p == '\n' || *parser->p == '\r'))
		parser->p++;
}

/*
 * Take the character if it comes next, after white space.
 */
static bool
take_char(Parser *parser, char c)
{
	take_space(parser);
	if (parser->p >= parser->end || *parser->p != c)
		return false;
	parser->p++;
	return true;
}

static bool
is_hex_digit(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') ||
		(c >= 'A' && c <= 'F');
}

static bool
parse_escape(Parser *parser)
{
	parser->p++;
	if (parser->p >= parser->end)
		return syntax_fault(parser, "an escape sequence");
	if (*parser->p == 'u')
	{
		parser->p++;
		for (int i = 0; i < 4; i++)
		{
			if (parser->p >= parser->end || !is_hex_digit(*parser->p))
				return syntax_fault(parser, "a hexadecimal digit");
			parser->p++;
		}
		return true;
	}
	if (*parser->p == '\0' || strchr("\"\\/bfnrt", *parser->p) == NULL)
		return syntax_fault(parser, "an escape sequence");
	parser->p++;
	return true;
}

/*
 * A string, from its opening quote on.
 */
static bool
parse_string(Parser *parser, bool is_key)
{
	parser->p++;
	while (parser->p < parser->end)
	{
		char		c = *parser->p;

		if (c == '"')
		{
			parser->p++;
			return true;
		}
		if (c == '\\')
		{
			if (!parse_escape(parser))
				return false;
		}
		else if ((unsigned char) c < 0x20)
			return syntax_fault(parser, "an escape sequence in place of a control character");
		else if (c == '<' &&
				 (is_key ? refuse_key_placeholder(parser) :
				  take_placeholder(parser, EB_POSITION_STRING)))
			continue;
		else
			parser->p++;
	}
	return syntax_fault(parser, "a closing quote");
}

static bool
take_digits(Parser *parser)
{
	const char *start = parser->p;

	while (parser->p < parser->end && *parser->p >= '0' && *parser->p <= '9')
		parser->p++;
	return parser->p > start;
}

static bool
parse_number(Parser *parser)
{
	if (*parser->p == '-')
		parser->p++;
	if (parser->p < parser->end && *parser->p == '0')
		parser->p++;
	else if (!take_digits(parser))
		return syntax_fault(parser, "a digit");
	if (parser->p < parser->end && *parser->p == '.')
	{
		parser->p++;
		if (!take_digits(parser))
			return syntax_fault(parser, "a digit");
	}
	if (parser->p < parser->end && (*parser->p == 'e' || *parser->p == 'E'))
	{
		parser->p++;
		if (parser->p < parser->end && (*parser->p == '+' || *parser->p == '-'))
			parser->p++;
		if (!take_digits(parser))
			return syntax_fault(parser, "a digit");
	}
	return true;
}

static bool
parse_word(Parser *parser)
{
	static const char *const words[] = {"true", "false", "null"};

	for (int i = 0; i < lengthof(words); i++)
	{
		int			len = strlen(words[i]);

		if (parser->end - parser->p >= len &&
			memcmp(parser->p, words[i], len) == 0)
		{
			parser->p += len;
			return true;
		}
	}
	return syntax_fault(parser, parser->placeholders ?
						"a JSON value or a placeholder" : "a JSON value");
}

static bool
parse_array(Parser *parser)
{
	parser->p++;
	if (take_char(parser, ']'))
		return true;
	do
	{
		if (!parse_value(parser))
			return false;
	} while (take_char(parser, ','));
	if (take_char(parser, ']'))
		return true;
	return syntax_fault(parser, "\",\" or \"]\"");
}

static bool
parse_object(Parser *parser)
{
	parser->p++;
	if (take_char(parser, '}'))
		return true;
	do
	{
		take_space(parser);
		if (parser->p < parser->end && *parser->p == '"')
		{
			if (!parse_string(parser, true))
				return false;
		}
		else if (!refuse_key_placeholder(parser))
			return syntax_fault(parser, "an object key in double quotes");
		if (!take_char(parser, ':'))
			return syntax_fault(parser, "\":\"");
		if (!parse_value(parser))
			return false;
	} while (take_char(parser, ','));
	if (take_char(parser, '}'))
		return true;
	return syntax_fault(parser, "\",\" or \"}\"");
}

static bool
parse_value(Parser *parser)
{
	check_stack_depth();

	take_space(parser);
	if (parser->p >= parser->end)
		return syntax_fault(parser, "a JSON value");
	switch (*parser->p)
	{
		case '{':
			return parse_object(parser);
		case '[':
			return parse_array(parser);
		case '"':
			return parse_string(parser, false);
		case '-':
		case '0':
		case '1':
		case '2':
		case '3':
		case '4':
		case '5':
		case '6':
		case '7':
		case '8':
		case '9':
			return parse_number(parser);
		case '<':
			if (take_placeholder(parser, EB_POSITION_VALUE))
				return true;
			return parse_word(parser);
		default:
			return parse_word(parser);
	}
}

/*
 * One JSON value and nothing else.
 */
static bool
parse_document(Parser *parser)
{
	if (!parse_value(parser))
		return false;
	take_space(parser);
	if (parser->p < parser->end)
		return syntax_fault(parser, "the end of the template");
	return true;
}

/*
 * String templates
 */

static inline bool
is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/*
 * Is every line that is not blank text in double quotes?  Between the first
 * and the last quote of a line any character may stand, for AWS takes inner
 * quotes with and without a backslash.
 */
static bool
lines_are_quoted(const char *p, const char *end)
{
	bool		found = false;

	while (p < end)
	{
		const char *newline = memchr(p, '\n', end - p);
		const char *next = newline ? newline + 1 : end;
		const char *last = next;

		while (p < last && is_space(*p))
			p++;
		while (last > p && is_space(last[-1]))
			last--;
		if (last > p)
		{
			if (last - p < 2 || *p != '"' || last[-1] != '"')
				return false;
			found = true;
		}
		p = next;
	}
	return found;
}

static void
parse_text(Parser *parser)
{
	while (parser->p < parser->end)
	{
		if (!take_placeholder(parser, EB_POSITION_TEXT))
			parser->p++;
	}
}

/*
 * Whole templates
 */

static void
parse_template(Parser *parser)
{
	EbTemplate *template = parser->template;
	const char *first = parser->p;
	const char *last = parser->end;

	while (first < last && is_space(*first))
		first++;
	while (last > first && is_space(last[-1]))
		last--;

	if (first < last && *first == '{')
	{
		if (!parse_document(parser))
			return;
	}
	else if (lines_are_quoted(first, last))
		parse_text(parser);
	else if (last - first >= 3 &&
			 placeholder_name_len(first, last) == last - first - 2)
	{
		/* as if it stood in quotes */
		add_part(parser, "\"", 1, -1, EB_POSITION_TEXT, 0);
		parser->literal = parser->p = first;
		parse_text(parser);
		add_part(parser, "\"", 1, -1, EB_POSITION_TEXT, 0);
		return;
	}
	else
	{
		/* AWS's complaints about the placeholders come first */
		parse_text(parser);
		add_fault(parser,
				  psprintf("%s is neither a JSON object nor text in double quotes.",
						   subject(parser, "InputTemplate")),
				  "A template is a JSON object, or lines of text each in double quotes, or one placeholder.");
		return;
	}

	if (parser->end > parser->literal)
		add_part(parser, parser->literal, parser->end - parser->literal,
				 -1, EB_POSITION_TEXT, template->len);
}

EbTemplate *
eb_template_parse(EbTemplateKind kind, const char *text, int len,
				  Jsonb *paths_map, const char *target_id, List **faults)
{
	EbTemplate *template = palloc0(sizeof(EbTemplate));
	Parser		parser = {0};

	template->kind = kind;
	template->text = text;
	template->len = len;
	parser.template = template;
	parser.p = parser.literal = text;
	parser.end = text + len;
	parser.placeholders = true;
	parser.target_id = target_id;

	if (paths_map != NULL)
		add_paths_map(&parser, paths_map);
	if (len == 0 && kind == EB_TEMPLATE_RULE)
		eb_template_add_constraint(&parser.faults, ERRCODE_INVALID_PARAMETER_VALUE,
								   "inputTransformer.inputTemplate", text, len,
								   "Member must have length greater than or equal to 1");
	else if (pg_mbstrlen_with_len(text, len) > EB_TEMPLATE_MAX_LENGTH)
		eb_template_add_constraint(&parser.faults, ERRCODE_PROGRAM_LIMIT_EXCEEDED,
								   kind == EB_TEMPLATE_RULE ?
								   "inputTransformer.inputTemplate" : "inputTemplate",
								   text, len,
								   "Member must have length less than or equal to 8192");
	else
		parse_template(&parser);

	*faults = list_concat(*faults, parser.faults);
	return template;
}

/*
 * Is this text JSON?
 */
bool
eb_json_text_is_valid(const char *text, int len)
{
	EbTemplate	template = {0};
	Parser		parser = {0};

	template.text = text;
	template.len = len;
	parser.template = &template;
	parser.p = parser.literal = text;
	parser.end = text + len;
	return parse_document(&parser);
}
