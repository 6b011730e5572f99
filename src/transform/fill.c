/*-------------------------------------------------------------------------
 *
 * fill.c
 *	  Input templates: filling the parts from an event.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "compat.h"
#include "transform/template.h"

/* The members of <aws.events.event>, in the order in which AWS writes them. */
static const struct
{
	const char *name;
	const char *written;
}			envelope_members[] = {
	{"id", "id"},
	{"account", "account"},
	{"detail-type", "detailType"},
	{"time", "time"},
	{"source", "source"},
	{"region", "region"},
	{"resources", "resources"},
	{"version", "version"},
};

/*
 * One member of an object by its name, which is ASCII.
 */
static bool
get_member(const EbJson *object, const char *name, int len, EbJson *found)
{
	bool		result = false;

	if (object->text == NULL)
	{
		JsonbValue	value;

		if (object->jsonb.type != jbvBinary ||
			!JsonContainerIsObject(object->jsonb.val.binary.data) ||
			getKeyJsonValueFromContainer(object->jsonb.val.binary.data,
										 name, len, &value) == NULL)
			return false;
		found->text = NULL;
		found->jsonb = value;
		return true;
	}

	if (eb_json_type(object) == jbvObject)
	{
		EbJsonTextIterator it;

		eb_json_text_iterate(&it, object->text, object->len);
		while (eb_json_text_next(&it))
		{
			if (eb_json_text_key_equals(&it, name, len))
			{
				found->text = it.value;
				found->len = it.value_len;
				result = true;
			}
		}
	}
	return result;
}

/*
 * Is this a member that append_envelope has written already, or must not
 * write?  The key is one of json text, whose escapes are not resolved, if
 * escaped is set.
 */
static bool
is_envelope_name(const char *key, int len, bool escaped)
{
	static const char *const detail = "detail";
	EbJsonTextIterator it = {.key = key, .key_len = len};

	for (int i = 0; i <= lengthof(envelope_members); i++)
	{
		const char *name = i < lengthof(envelope_members) ?
			envelope_members[i].name : detail;
		int			name_len = strlen(name);

		if (escaped ? eb_json_text_key_equals(&it, name, name_len) :
			(len == name_len && memcmp(key, name, len) == 0))
			return true;
	}
	return false;
}

/*
 * Append the members of the event that no ordinary envelope has, such as
 * replay-name.
 */
static void
append_other_members(StringInfo out, const EbJson *event, const char *separator)
{
	EbJson		value;

	if (event->text == NULL)
	{
		JsonbIterator *it = JsonbIteratorInit(event->jsonb.val.binary.data);
		JsonbIteratorToken token;
		JsonbValue	key;

		value.text = NULL;
		while ((token = JsonbIteratorNext(&it, &key, true)) != WJB_DONE)
		{
			if (token != WJB_KEY)
				continue;
			(void) JsonbIteratorNext(&it, &value.jsonb, true);
			if (is_envelope_name(key.val.string.val, key.val.string.len, false))
				continue;
			appendStringInfoString(out, separator);
			eb_json_append_string(out, key.val.string.val, key.val.string.len);
			appendStringInfoChar(out, ':');
			eb_json_append(out, &value);
			separator = ",";
		}
	}
	else
	{
		EbJsonTextIterator it;

		eb_json_text_iterate(&it, event->text, event->len);
		while (eb_json_text_next(&it))
		{
			if (is_envelope_name(it.key, it.key_len, true))
				continue;
			appendStringInfo(out, "%s\"%.*s\":", separator, it.key_len, it.key);
			value.text = it.value;
			value.len = it.value_len;
			eb_json_append(out, &value);
			separator = ",";
		}
	}
}

/*
 * Append what <aws.events.event> stands for: the event without its detail,
 * with the one name that AWS writes differently.
 */
static void
append_envelope(StringInfo out, const EbJson *event)
{
	const char *separator = "";
	EbJson		value;

	if (eb_json_type(event) != jbvObject)
	{
		eb_json_append(out, event);
		return;
	}

	appendStringInfoChar(out, '{');
	for (int i = 0; i < lengthof(envelope_members); i++)
	{
		if (!get_member(event, envelope_members[i].name,
						strlen(envelope_members[i].name), &value))
			continue;
		appendStringInfo(out, "%s\"%s\":", separator, envelope_members[i].written);
		eb_json_append(out, &value);
		separator = ",";
	}
	append_other_members(out, event, separator);
	appendStringInfoChar(out, '}');
}

/*
 * The value of a variable; false if it has none.
 */
static bool
get_value(const EbVariable *variable, const EbJson *event, Jsonb *variables,
		  EbJson *value)
{
	EbJson		object;

	switch (variable->source)
	{
		case EB_VARIABLE_PATH:
			return eb_path_get(variable->path, event, value);

		case EB_VARIABLE_PREDEFINED:
			if (variables == NULL)
				return false;
			eb_json_from_jsonb(&object, variables);
			return get_member(&object, variable->name, variable->name_len, value);

		case EB_VARIABLE_EVENT:
		case EB_VARIABLE_ENVELOPE:
			*value = *event;
			return true;
	}
	return false;				/* keep compiler quiet */
}

/*
 * AWS delivers nothing if an object or array would come to stand inside a
 * JSON string.
 */
static void
refuse_container(const EbTemplate *template, const EbTemplatePart *part,
				 enum jbvType type)
{
	const EbVariable *variable = &template->variables[part->variable];
	const char *what = type == jbvObject ? "an object" : "an array";
	int			line;
	int			column;

	eb_template_locate(template, part->offset, &line, &column);
	ereport(ERROR,
			(errcode(ERRCODE_DATA_EXCEPTION),
			 errmsg("value of placeholder \"%s\" inside a JSON string is %s",
					variable->name, what),
			 variable->path != NULL ?
			 errdetail("The placeholder stands at line %d, column %d of the template, its value at path %s of the event.",
					   line, column, variable->path->text) :
			 errdetail("The placeholder stands at line %d, column %d of the template.",
					   line, column),
			 errhint("Write the placeholder without quotes around it.")));
}

/*
 * Append a value where a placeholder stands.
 */
static void
append_value(StringInfo out, const EbTemplate *template,
			 const EbTemplatePart *part, const EbJson *value)
{
	enum jbvType type;

	switch (part->position)
	{
		case EB_POSITION_VALUE:
			if (template->variables[part->variable].source == EB_VARIABLE_ENVELOPE)
				append_envelope(out, value);
			else
				eb_json_append(out, value);
			break;

		case EB_POSITION_STRING:
			type = eb_json_type(value);
			if (type == jbvObject || type == jbvArray)
				refuse_container(template, part, type);
			eb_json_append_in_string(out, value);
			break;

		case EB_POSITION_TEXT:
			eb_json_append_as_text(out, value);
			break;
	}
}

void
eb_template_fill(const EbTemplate *template, const EbJson *event,
				 Jsonb *variables, StringInfo out)
{
	for (int i = 0; i < template->nparts; i++)
	{
		const EbTemplatePart *part = &template->parts[i];
		EbJson		value;

		appendBinaryStringInfo(out, part->literal, part->literal_len);
		if (part->variable < 0)
			continue;
		if (get_value(&template->variables[part->variable], event, variables,
					  &value))
			append_value(out, template, part, &value);
		else if (part->position == EB_POSITION_VALUE)
			appendBinaryStringInfo(out, "\"\"", 2);
	}
}
