/*-------------------------------------------------------------------------
 *
 * match_dotted.c
 *	  Objects in which names with dots spell paths of the pattern.
 *
 * {"a": {"b": 1}, "a.b": 2} has two values at the path a.b, and they lie in
 * different parts of the event.  A field is satisfied by either; but what
 * shares an array with other fields has to be chosen together with them.  So
 * each field that can be reached in several ways is assigned to one of them,
 * and the assignments are tried one after another.
 *
 * A field that accepts absence may also be absent, then in every way that
 * leads to it; assigned to one way it must have a value there, lest a value
 * in another way go unseen.
 *
 * The number of assignments grows with the number of fields that an event
 * spells more than once.  Events with such names are rare and those with more
 * than a few are artificial; beyond EB_MAX_SPELLINGS assignments the event is
 * refused.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "nodes/pg_list.h"
#include "utils/memutils.h"

#include "json/container.h"
#include "pattern/match.h"

/* What is asked of a field while an assignment is tried. */
typedef enum FieldMode
{
	MODE_SKIP,					/* nothing: another way answers for it */
	MODE_ANY,
	MODE_POSITIVE,				/* a value that satisfies it */
	MODE_ABSENT					/* no value */
} FieldMode;

/*
 * Fields are numbered in the order of a walk through the tree below the node
 * where matching went over to this file; a node's own field comes first.
 */
typedef struct Dotted
{
	const EbProgram *program;
	uint8	   *modes;			/* FieldMode of each field */
	int			nfields;
	int			tried;			/* assignments */
} Dotted;

/* A value of the object, and the node it belongs to. */
typedef struct Way
{
	JsonbValue	value;
	const EbNode *node;
	int			first;			/* its fields: first .. end - 1 */
	int			end;
} Way;

static EbOutcome match_modes(Dotted *dotted, const EbNode *node, int first,
							 const JsonbValue *value);

static int
count_fields(const EbProgram *program, const EbNode *node)
{
	int			n = node->values != 0;

	check_stack_depth();
	for (int i = 0; i < node->nchildren; i++)
		n += count_fields(program, eb_program_node(program, node->children[i].node));
	return n;
}

/* May the field that ends at the node be without a value? */
static bool
accepts_absence(Dotted *dotted, const EbNode *node, int field)
{
	const EbValues *values = eb_program_at(dotted->program, node->values);

	switch ((FieldMode) dotted->modes[field])
	{
		case MODE_SKIP:
			return true;
		case MODE_POSITIVE:
			return false;
		default:
			return (values->flags & EB_VALUES_ABSENT) != 0;
	}
}

/* May all fields at and below the node? */
static bool
all_accept_absence(Dotted *dotted, const EbNode *node, int *field, bool own)
{
	bool		result = true;

	if (node->values != 0)
	{
		if (own)
			result = accepts_absence(dotted, node, *field);
		(*field)++;
	}
	for (int i = 0; i < node->nchildren; i++)
		result &= all_accept_absence(dotted,
									 eb_program_node(dotted->program, node->children[i].node),
									 field, true);
	return result;
}

static EbOutcome
match_scalar(Dotted *dotted, const EbNode *node, int first, const JsonbValue *scalar)
{
	int			field = first;

	if (!all_accept_absence(dotted, node, &field, false))
		return EB_OUTCOME_FAIL;
	if (node->values == 0 || dotted->modes[first] == MODE_SKIP)
		return EB_OUTCOME_ABSENT;
	if (dotted->modes[first] != MODE_ABSENT &&
		eb_values_match(dotted->program, eb_program_at(dotted->program, node->values), scalar))
		return EB_OUTCOME_POSITIVE;
	return EB_OUTCOME_FAIL;
}

/* What the elements come to, one by one. */
static EbOutcome
match_elements(Dotted *dotted, const EbNode *node, int first, const JsonbValue *value)
{
	EbOutcome	outcome = EB_OUTCOME_ABSENT;
	JsonbIterator *iterator = NULL;
	JsonbValue	element;
	JsonbIteratorToken token;
	int			i = 0;
	int			field = first;

	if (value->type == jbvBinary)
	{
		iterator = JsonbIteratorInit(value->val.binary.data);
		(void) JsonbIteratorNext(&iterator, &element, true);
	}
	for (;;)
	{
		EbOutcome	one;

		CHECK_FOR_INTERRUPTS();
		if (iterator != NULL)
		{
			token = JsonbIteratorNext(&iterator, &element, true);
			if (token != WJB_ELEM)
				break;
		}
		else
		{
			if (i == value->val.array.nElems)
				break;
			element = value->val.array.elems[i++];
		}
		one = match_modes(dotted, node, first, &element);
		if (one == EB_OUTCOME_POSITIVE)
			return EB_OUTCOME_POSITIVE;
		if (one == EB_OUTCOME_FAIL)
			outcome = EB_OUTCOME_FAIL;
	}
	if (outcome == EB_OUTCOME_ABSENT && !all_accept_absence(dotted, node, &field, true))
		return EB_OUTCOME_FAIL;
	return outcome;
}

/* Scalars are bound to no element; see match_array() of match.c. */
static EbOutcome
match_array(Dotted *dotted, const EbNode *node, int first, const JsonbValue *value)
{
	EbOutcome	outcome = match_elements(dotted, node, first, value);
	uint8	   *own = &dotted->modes[first];

	if (outcome == EB_OUTCOME_FAIL && node->values != 0 && node->nchildren > 0 &&
		(*own == MODE_ANY || *own == MODE_POSITIVE) &&
		eb_has_matching_scalar(dotted->program, node, value))
	{
		uint8		asked = *own;

		*own = MODE_SKIP;
		outcome = match_elements(dotted, node, first, value);
		if (outcome != EB_OUTCOME_POSITIVE)
			outcome = EB_OUTCOME_FAIL;
		*own = asked;
	}
	return outcome;
}

/* The way that a name opens from a node, if it opens one. */
static Way *
open_way(Dotted *dotted, const EbNode *node, int first, const char *key, int len,
		 const JsonbValue *value)
{
	const char *end = key + len;

	for (;;)
	{
		const char *dot = memchr(key, '.', end - key);
		int			size = (dot != NULL ? dot : end) - key;
		const EbNode *next = NULL;

		first += node->values != 0;
		for (int i = 0; i < node->nchildren; i++)
		{
			const EbChild *child = &node->children[i];
			const EbNode *below = eb_program_node(dotted->program, child->node);

			if (child->key_len == size &&
				memcmp(eb_program_at(dotted->program, child->key), key, size) == 0)
			{
				next = below;
				break;
			}
			first += count_fields(dotted->program, below);
		}
		if (next == NULL)
			return NULL;
		node = next;
		if (dot == NULL)
		{
			Way		   *way = palloc(sizeof(Way));

			way->value = *value;
			way->node = node;
			way->first = first;
			way->end = first + count_fields(dotted->program, node);
			return way;
		}
		key = dot + 1;
	}
}

/* All ways from an object to paths of the node. */
static List *
open_ways(Dotted *dotted, const EbNode *node, int first, const JsonbValue *object)
{
	List	   *ways = NIL;
	Way		   *way;

	if (object->type == jbvObject)
	{
		for (int i = 0; i < object->val.object.nPairs; i++)
		{
			JsonbPair  *pair = &object->val.object.pairs[i];

			way = open_way(dotted, node, first, pair->key.val.string.val,
						   pair->key.val.string.len, &pair->value);
			if (way != NULL)
				ways = lappend(ways, way);
		}
	}
	else
	{
		JsonbContainer *container = object->val.binary.data;
		const char *base = eb_container_base(container);
		int			nkeys = JsonContainerSize(container);
		uint32		offset = 0;

		for (int i = 0; i < nkeys; i++)
		{
			uint32		start = offset;
			uint32		len = eb_container_step(container, i, &offset);
			JsonbValue	value;

			eb_container_get(container, nkeys + i, base, &value);
			way = open_way(dotted, node, first, base + start, len, &value);
			if (way != NULL)
				ways = lappend(ways, way);
		}
	}
	return ways;
}

/*
 * Tries one assignment: choice[f] is the way of field f, or -1 for absent in
 * all ways, counted from the node's first field; nways[f] is how many ways
 * lead to it.
 */
static EbOutcome
try_assignment(Dotted *dotted, int first, int nfields, List *ways,
			   const int *choice, const int *nways)
{
	uint8	   *modes = dotted->modes + first;
	uint8	   *asked = palloc(nfields);
	EbOutcome	outcome = EB_OUTCOME_ABSENT;
	ListCell   *cell;

	if (++dotted->tried > EB_MAX_SPELLINGS)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("event spells too many paths of the event pattern in more than one way"),
				 errdetail("More than %d combinations of nested and dotted names would have to be tried.",
						   EB_MAX_SPELLINGS)));

	memcpy(asked, modes, nfields);
	foreach(cell, ways)
	{
		Way		   *way = lfirst(cell);
		EbOutcome	one;

		CHECK_FOR_INTERRUPTS();
		for (int f = 0; f < nfields; f++)
		{
			if (asked[f] == MODE_SKIP || first + f < way->first || first + f >= way->end)
				modes[f] = MODE_SKIP;
			else if (choice[f] < 0)
				modes[f] = MODE_ABSENT;
			else if (choice[f] != foreach_current_index(cell))
				modes[f] = MODE_SKIP;
			else
				modes[f] = nways[f] > 1 ? MODE_POSITIVE : asked[f];
		}
		one = match_modes(dotted, way->node, way->first, &way->value);
		if (one == EB_OUTCOME_FAIL)
		{
			outcome = EB_OUTCOME_FAIL;
			break;
		}
		if (one == EB_OUTCOME_POSITIVE)
			outcome = EB_OUTCOME_POSITIVE;
	}
	memcpy(modes, asked, nfields);
	pfree(asked);
	return outcome;
}

/* The next way after the current one that leads to a field, or -1. */
static int
next_way(List *ways, int field, int current)
{
	for (int i = current + 1; i < list_length(ways); i++)
	{
		Way		   *way = list_nth(ways, i);

		if (field >= way->first && field < way->end)
			return i;
	}
	return -1;
}

/* The nodes' fields that the walk numbers, in its order. */
static void
collect_fields(const EbProgram *program, const EbNode *node, List **fields)
{
	if (node->values != 0)
		*fields = lappend(*fields, (void *) node);
	for (int i = 0; i < node->nchildren; i++)
		collect_fields(program, eb_program_node(program, node->children[i].node), fields);
}

static EbOutcome
match_object(Dotted *dotted, const EbNode *node, int first, const JsonbValue *object)
{
	List	   *ways = open_ways(dotted, node, first, object);
	List	   *fields = NIL;
	int			nfields;
	int		   *choice;
	int		   *nways;
	EbOutcome	best = EB_OUTCOME_FAIL;

	collect_fields(dotted->program, node, &fields);
	nfields = list_length(fields);
	choice = palloc(nfields * sizeof(int));
	nways = palloc0(nfields * sizeof(int));

	for (int f = 0; f < nfields; f++)
	{
		choice[f] = next_way(ways, first + f, -1);
		for (int way = choice[f]; way >= 0; way = next_way(ways, first + f, way))
			nways[f]++;
		if (nways[f] == 0 && dotted->modes[first + f] != MODE_SKIP &&
			!accepts_absence(dotted, list_nth(fields, f), first + f))
			return EB_OUTCOME_FAIL;
	}

	for (;;)
	{
		EbOutcome	outcome = try_assignment(dotted, first, nfields, ways, choice, nways);
		int			f;

		best = Max(best, outcome);
		if (best == EB_OUTCOME_POSITIVE)
			break;

		/* count up: the choices of a field end with absence where accepted */
		for (f = 0; f < nfields; f++)
		{
			bool		absent = choice[f] < 0;

			if (nways[f] < 2 || dotted->modes[first + f] == MODE_SKIP)
				continue;
			choice[f] = absent ? next_way(ways, first + f, -1) :
				next_way(ways, first + f, choice[f]);
			if (choice[f] >= 0 && !absent)
				break;
			if (choice[f] < 0 && accepts_absence(dotted, list_nth(fields, f), first + f))
				break;
			if (choice[f] < 0)
				choice[f] = next_way(ways, first + f, -1);
		}
		if (f == nfields)
			break;
	}
	return best;
}

static EbOutcome
match_modes(Dotted *dotted, const EbNode *node, int first, const JsonbValue *value)
{
	check_stack_depth();

	if (eb_value_is_object(value))
		return match_object(dotted, node, first, value);
	if (eb_value_is_array(value))
		return match_array(dotted, node, first, value);
	return match_scalar(dotted, node, first, value);
}

EbOutcome
eb_match_dotted(const EbProgram *program, const EbNode *node, bool answered,
				const JsonbValue *object)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "event pattern spellings",
												  ALLOCSET_SMALL_SIZES);
	MemoryContext caller = MemoryContextSwitchTo(context);
	Dotted		dotted = {.program = program};
	EbOutcome	outcome;

	dotted.nfields = count_fields(program, node);
	dotted.modes = palloc(dotted.nfields);
	memset(dotted.modes, MODE_ANY, dotted.nfields);
	if (answered)
		dotted.modes[0] = MODE_SKIP;
	outcome = match_object(&dotted, node, 0, object);

	MemoryContextSwitchTo(caller);
	MemoryContextDelete(context);
	return outcome;
}
