/*-------------------------------------------------------------------------
 *
 * check.c
 *	  The input options of a target, checked as PutTargets does.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "mb/pg_wchar.h"

#include "compat.h"
#include "transform/template.h"

#define EB_INPUT_MAX_LENGTH		8192	/* characters; AWS's limit */

/*
 * A member of the target; a JSON null is like none, as in AWS's interface.
 */
static bool
get_option(JsonbContainer *object, const char *name, JsonbValue *value)
{
	return getKeyJsonValueFromContainer(object, name, strlen(name), value) != NULL &&
		value->type != jbvNull;
}

static void
check_input(const JsonbValue *input, const char *id, List **faults)
{
	if (input->type != jbvString ||
		!eb_json_text_is_valid(input->val.string.val, input->val.string.len))
		eb_template_add_fault(faults, ERRCODE_INVALID_PARAMETER_VALUE,
							  psprintf("JSON syntax error in input for target %s", id),
							  input->type != jbvString ?
							  "Input is a string that holds JSON." : NULL);
	else if (pg_mbstrlen_with_len(input->val.string.val, input->val.string.len) >
			 EB_INPUT_MAX_LENGTH)
		eb_template_add_constraint(faults, ERRCODE_PROGRAM_LIMIT_EXCEEDED,
								   "input",
								   input->val.string.val, input->val.string.len,
								   "Member must have length less than or equal to 8192");
}

static void
check_input_path(const JsonbValue *input_path, const char *id, List **faults)
{
	EbPathFault fault;
	const char *detail = "InputPath is a string.";

	if (input_path->type == jbvString)
	{
		const char *text = input_path->val.string.val;
		int			len = input_path->val.string.len;

		if (eb_path_parse(text, len, &fault) != NULL)
			return;
		if (fault.position == 0)
		{
			eb_template_add_constraint(faults, ERRCODE_PROGRAM_LIMIT_EXCEEDED,
									   "inputPath", text, len,
									   "Member must have length less than or equal to 256");
			return;
		}
		detail = eb_path_fault_detail(text, len, &fault);
	}
	eb_template_add_fault(faults, ERRCODE_INVALID_PARAMETER_VALUE,
						  psprintf("InputPath for target %s is invalid.", id),
						  detail);
}

static void
check_transformer(const JsonbValue *transformer, const char *id, List **faults)
{
	JsonbValue	value;
	Jsonb	   *paths_map = NULL;
	const char *text = "";
	int			len = 0;

	if (transformer->type == jbvBinary &&
		JsonContainerIsObject(transformer->val.binary.data))
	{
		JsonbContainer *object = transformer->val.binary.data;

		if (get_option(object, "InputPathsMap", &value))
			paths_map = JsonbValueToJsonb(&value);
		if (get_option(object, "InputTemplate", &value) &&
			value.type == jbvString)
		{
			text = value.val.string.val;
			len = value.val.string.len;
		}
	}
	(void) eb_template_parse(EB_TEMPLATE_RULE, text, len, paths_map, id, faults);
}

void
eb_target_input_check(Jsonb *target, List **faults)
{
	JsonbValue	id_value;
	JsonbValue	input;
	JsonbValue	path;
	JsonbValue	transformer;
	bool		has_input = get_option(&target->root, "Input", &input);
	bool		has_path = get_option(&target->root, "InputPath", &path);
	bool		has_transformer = get_option(&target->root, "InputTransformer",
											 &transformer);
	const char *id = "";

	if (get_option(&target->root, "Id", &id_value) && id_value.type == jbvString)
		id = pnstrdup(id_value.val.string.val, id_value.val.string.len);

	if (has_input + has_path + has_transformer > 1)
		eb_template_add_fault(faults, ERRCODE_INVALID_PARAMETER_VALUE,
							  psprintf("Only one of Input, InputPath, or InputTransformer must be provided for target %s.",
									   id),
							  NULL);
	if (has_input)
		check_input(&input, id, faults);
	if (has_path)
		check_input_path(&path, id, faults);
	if (has_transformer)
		check_transformer(&transformer, id, faults);
}
