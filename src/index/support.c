/*-------------------------------------------------------------------------
 *
 * support.c
 *	  Planner support for matches(event, pattern) and its commutator.
 *
 * Three things for the planner:
 *
 * - The functions use an index of event_ops or event_pattern_ops as their
 *   operators do.
 *
 * - They are estimated as the operators are.
 *
 * - A constant pattern uses an index of jsonb's own classes by a condition
 *   event @@ jsonpath on its exact strings, numbers, true, false and null.
 *   Nothing else gives a condition.  The index must find every event that the
 *   pattern matches, also one that spells paths with dots or has the value in
 *   arrays of arrays:
 *
 *   jsonb_ops has keys for names and for values, wherever they stand.
 *   "$.** == value", the value at any depth, holds for every spelling; where
 *   the path has one segment, which no other spelling leads to,
 *   "$.name.** == value".
 *
 *   jsonb_path_ops has keys for values with their paths, so only paths of one
 *   segment can be used.  Arrays do not show in these keys, however many lie
 *   within one another, and "$.name == value" finds the value in all of them.
 *   (Evaluated on a row, the condition would see one level only.  It never is:
 *   the planner keeps the original condition for the rows found, and a test
 *   makes sure of it.)
 *
 *   A table that has an index of event_ops as well uses that one.
 *
 * Never raises an error: what is not known gets no answer.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_am.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "nodes/supportnodes.h"
#include "optimizer/optimizer.h"
#include "optimizer/paths.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/json.h"
#include "utils/jsonpath.h"
#include "utils/lsyscache.h"

#include "compat.h"
#include "index/access.h"
#include "index/estimate.h"

PG_FUNCTION_INFO_V1(event_pattern_support);

/* The strategy of @~ and ~@ in our classes, and of operators in jsonb's. */
#define MATCH_STRATEGY			1
#define JSONB_EXISTS_STRATEGY	9
#define JSONB_PATH_STRATEGY		16

/* A derived condition compares with this many values at most. */
#define MAX_COMPARISONS 100

/* A derived condition while it is written. */
typedef struct Derivation
{
	const EbProgram *program;
	bool		any_depth;		/* jsonb_ops */
	StringInfoData path;
	int			comparisons;
} Derivation;

/*
 * The operator event @@ jsonpath of an operator family of jsonb's, or
 * InvalidOid.  *any_depth tells jsonb_ops from jsonb_path_ops: it has names as
 * keys of their own.
 */
static Oid
find_path_operator(Oid opfamily, bool *any_depth)
{
	Oid			operator = get_opfamily_member(opfamily, JSONBOID, JSONPATHOID,
											   JSONB_PATH_STRATEGY);
	Oid			exists = get_opfamily_member(opfamily, JSONBOID, TEXTOID, JSONB_EXISTS_STRATEGY);

	if (!OidIsValid(operator) || get_opcode(operator) != F_JSONB_PATH_MATCH_OPR)
		return InvalidOid;
	*any_depth = OidIsValid(exists) && get_opcode(exists) == F_JSONB_EXISTS;
	return operator;
}

/* Writes " || PATH == ", without the first separator. */
static void
begin_comparison(Derivation *derivation, const EbRequirement *requirement, bool *first)
{
	appendStringInfoString(&derivation->path, *first ? "$" : " || $");
	*first = false;
	if (requirement->depth == 1)
	{
		appendStringInfoChar(&derivation->path, '.');
		escape_json(&derivation->path, pnstrdup(requirement->name, requirement->name_len));
	}
	if (derivation->any_depth)
		appendStringInfoString(&derivation->path, ".**");
	appendStringInfoString(&derivation->path, " == ");
	derivation->comparisons++;
}

/* Writes the values of a field as comparisons. */
static void
write_values(Derivation *derivation, const EbRequirement *requirement, const EbValues *values)
{
	static const struct
	{
		uint32		flag;
		const char *literal;
	}			literals[] = {
		{EB_VALUES_TRUE, "true"}, {EB_VALUES_FALSE, "false"}, {EB_VALUES_NULL, "null"}
	};
	const EbProgram *program = derivation->program;
	const EbString *strings = eb_program_at(program, values->strings);
	const uint32 *numbers = eb_program_at(program, values->numbers);
	bool		first = true;

	for (int i = 0; i < lengthof(literals); i++)
	{
		if ((values->flags & literals[i].flag) == 0)
			continue;
		begin_comparison(derivation, requirement, &first);
		appendStringInfoString(&derivation->path, literals[i].literal);
	}
	for (int i = 0; i < values->nstrings; i++)
	{
		begin_comparison(derivation, requirement, &first);
		escape_json(&derivation->path,
					pnstrdup(eb_program_at(program, strings[i].offset), strings[i].len));
	}
	for (int i = 0; i < values->nnumbers; i++)
	{
		Datum		number = PointerGetDatum(eb_program_at(program, numbers[i]));

		begin_comparison(derivation, requirement, &first);
		appendStringInfoString(&derivation->path,
							   DatumGetCString(DirectFunctionCall1(numeric_out, number)));
	}
}

/* Writes what a conjunction implies; false if that is nothing. */
static bool
write_conjunction(Derivation *derivation, uint32 root)
{
	EbRequirement *requirements;
	int			n = eb_requirements(derivation->program, root, false, &requirements);
	bool		any = false;

	for (int i = 0; i < n; i++)
	{
		const EbValues *values = eb_program_at(derivation->program, requirements[i].values);

		if ((requirements[i].depth > 1 && !derivation->any_depth) ||
			values->nitems > 0 || (values->flags & EB_VALUES_EXISTS) != 0 ||
			derivation->comparisons + values->nstrings + values->nnumbers > MAX_COMPARISONS)
			continue;
		appendStringInfoString(&derivation->path, any ? " && (" : "(");
		write_values(derivation, &requirements[i], values);
		appendStringInfoChar(&derivation->path, ')');
		any = true;
	}
	return any;
}

/* A condition that the pattern implies, as a jsonpath; NULL if there is none. */
static Const *
derive_path(const EbPattern *pattern, bool any_depth)
{
	Derivation	derivation = {.program = eb_pattern_program(pattern), .any_depth = any_depth};
	Datum		path;

	initStringInfo(&derivation.path);
	for (int i = 0; i < derivation.program->nconjunctions; i++)
	{
		appendStringInfoString(&derivation.path, i > 0 ? " || (" : "(");
		if (!write_conjunction(&derivation, derivation.program->roots[i]))
			return NULL;
		appendStringInfoChar(&derivation.path, ')');
	}
	path = DirectFunctionCall1(jsonpath_in, CStringGetDatum(derivation.path.data));
	return makeConst(JSONPATHOID, -1, InvalidOid, -1, path, false, false);
}

/*
 * Has the table an index of our own class on the events?  It finds fewer rows
 * than a derived condition, but the planner, which takes two indexes that
 * answer one condition to find the same rows, would use the one that is
 * cheaper to read.
 */
static bool
has_own_index(const SupportRequestIndexCondition *request, Node *indexed, Oid pattern_type)
{
	ListCell   *cell;

	foreach(cell, request->index->rel->indexlist)
	{
		IndexOptInfo *index = lfirst(cell);

		if (index->indpred != NIL && !index->predOK)
			continue;
		for (int column = 0; column < index->nkeycolumns; column++)
			if (OidIsValid(get_opfamily_member(index->opfamily[column], JSONBOID, pattern_type,
											   MATCH_STRATEGY)) &&
				match_index_to_operand(indexed, column, index))
				return true;
	}
	return false;
}

/* The index conditions for an index on one of the arguments. */
static List *
index_condition(SupportRequestIndexCondition *request)
{
	List	   *args;
	Node	   *indexed;
	Node	   *other;
	Oid			operator;

	if (IsA(request->node, FuncExpr))
		args = ((FuncExpr *) request->node)->args;
	else if (IsA(request->node, OpExpr))
		args = ((OpExpr *) request->node)->args;
	else
		return NIL;
	if (list_length(args) != 2 || request->indexarg < 0 || request->indexarg > 1)
		return NIL;
	indexed = list_nth(args, request->indexarg);
	other = list_nth(args, 1 - request->indexarg);
	if (!is_pseudo_constant_for_index(request->root, other, request->index))
		return NIL;

	operator = get_opfamily_member(request->opfamily, exprType(indexed), exprType(other),
								   MATCH_STRATEGY);
	if (OidIsValid(operator))
	{
		request->lossy = false;
		return list_make1(make_opclause(operator, BOOLOID, false,
										(Expr *) indexed, (Expr *) other,
										InvalidOid, InvalidOid));
	}

	if (exprType(indexed) == JSONBOID && IsA(other, Const) && !((Const *) other)->constisnull)
	{
		bool		any_depth;
		Const	   *path = NULL;

		operator = find_path_operator(request->opfamily, &any_depth);
		if (OidIsValid(operator) && !has_own_index(request, indexed, exprType(other)))
			path = derive_path(eb_pattern_detoast(((Const *) other)->constvalue), any_depth);
		if (path != NULL)
		{
			request->lossy = true;
			return list_make1(make_opclause(operator, BOOLOID, false,
											(Expr *) indexed, (Expr *) path,
											InvalidOid, InvalidOid));
		}
	}
	return NIL;
}

/* event_pattern_support(request internal) → internal */
Datum
event_pattern_support(PG_FUNCTION_ARGS)
{
	Node	   *request = (Node *) PG_GETARG_POINTER(0);

	if (IsA(request, SupportRequestIndexCondition))
		PG_RETURN_POINTER(index_condition((SupportRequestIndexCondition *) request));
	if (IsA(request, SupportRequestSelectivity))
	{
		SupportRequestSelectivity *selectivity = (SupportRequestSelectivity *) request;

		if (selectivity->is_join)
			PG_RETURN_POINTER(NULL);
		selectivity->selectivity = eb_estimate_matches(selectivity->root, selectivity->funcid,
													   selectivity->args, selectivity->varRelid);
		PG_RETURN_POINTER(selectivity);
	}
	PG_RETURN_POINTER(NULL);
}
