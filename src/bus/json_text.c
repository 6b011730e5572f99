/*-------------------------------------------------------------------------
 *
 * json_text.c
 *	  check_json_text(): refuses broken JSON with the place and the likely slip.
 *
 * Templates are written by hand.  What type json says about a broken one
 * names the token; this names line and column too, and how to mend it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"

#include "bus/bus.h"
#include "compat.h"
#include "pattern/read.h"

PG_FUNCTION_INFO_V1(eb_check_json_text);

Datum
eb_check_json_text(PG_FUNCTION_ARGS)
{
	char	   *json = text_to_cstring(PG_GETARG_TEXT_PP(0));
	EbFault		fault = {0};
	int			line;
	int			column;

	(void) eb_json_read(json, strlen(json), &fault);
	if (fault.message == NULL)
		PG_RETURN_VOID();
	if (fault.hint == NULL && json[strspn(json, " \t\r\n")] != '{')
		fault.hint = "Only JSON templates are read; a YAML template has to be converted first.";
	eb_text_position(json, fault.at ? fault.at : json, &line, &column);
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
			 errmsg("template is not valid JSON: %s", fault.message),
			 errdetail("Line %d, column %d.", line, column),
			 fault.hint != NULL ? errhint("%s", fault.hint) : 0));
	PG_RETURN_VOID();
}
