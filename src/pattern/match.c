/*-------------------------------------------------------------------------
 *
 * match.c
 *	  Does an event match a pattern?  The one place where that is decided.
 *
 * A conjunction's tree is laid over the event.  An object hands each of its
 * values to the child of its name; all children must be satisfied.  An array
 * stands for its elements: one of them must satisfy everything that is asked
 * below, but for its scalars (see match_array).  That is AWS's array
 * consistency, and needs no search, because what
 * is asked below one node never concerns two arrays that do not lie within
 * one another.  A scalar is tried on the field that ends at the node.  So
 * each part of the event is looked at once for each node that stands for it,
 * and the time is linear in the event.
 *
 * Only the names that the pattern knows are looked up; the rest of the event
 * is stepped over, never unpacked.  Of an object's values, those of fields
 * without further levels are tried first: they are cheapest, and most events
 * fail there.
 *
 * A pattern with $or has several conjunctions.  On the way from the root down
 * to the first array a node stands for exactly one value of the event, so its
 * outcome is kept for the conjunctions that share it.
 *
 * Keys that spell a path with dots are recognized by length and handed to
 * match_dotted.c, where one path can lead to several values.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"

#include "json/container.h"
#include "pattern/match.h"

/* Children of a node that are kept on the stack while an object is read. */
#define STACK_CHILDREN 16
/* Nodes of a program whose outcomes are kept on the stack. */
#define STACK_NODES 256

typedef struct Matcher
{
	const EbProgram *program;

	/*
	 * Outcomes of nodes, plus one; 0: not known.  NULL below arrays, and if
	 * there is one conjunction only.
	 */
	uint8	   *outcomes;

	/*
	 * A node whose own field a scalar of an array has answered, while what is
	 * below it is looked for in the array's other elements; see match_array().
	 */
	const EbNode *answered;
} Matcher;

static EbOutcome match_value(Matcher *matcher, const EbNode *node,
							 const JsonbValue *value);

/* The child of a name, or NULL. */
static const EbChild *
find_child(const EbProgram *program, const EbNode *node, const char *key, int len)
{
	int			low = 0;
	int			high = node->nchildren;

	while (low < high)
	{
		int			middle = (low + high) / 2;
		const EbChild *child = &node->children[middle];
		int			order = len - (int) child->key_len;

		if (order == 0)
			order = memcmp(key, eb_program_at(program, child->key), len);
		if (order == 0)
			return child;
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return NULL;
}

/*
 * The node to which a path below a node leads, segments joined with dots;
 * NULL if the pattern does not know it.
 */
static const EbNode *
follow_path(const EbProgram *program, const EbNode *node, const char *path, int len)
{
	const char *end = path + len;

	for (;;)
	{
		const char *dot = memchr(path, '.', end - path);
		const EbChild *child = find_child(program, node, path,
										  (dot != NULL ? dot : end) - path);

		if (child == NULL)
			return NULL;
		node = eb_program_node(program, child->node);
		if (dot == NULL)
			return node;
		path = dot + 1;
	}
}

/* Is it a name with dots that leads to a path below the node? */
static inline bool
is_dotted_name(const EbProgram *program, const EbNode *node, const char *key, int len)
{
	return (node->dotted_lengths & EB_LENGTH_BIT(len)) != 0 &&
		memchr(key, '.', len) != NULL &&
		follow_path(program, node, key, len) != NULL;
}

/* A scalar is the value of the field that ends here; the fields below have none. */
static inline EbOutcome
match_scalar(Matcher *matcher, const EbNode *node, const JsonbValue *scalar)
{
	if ((node->flags & EB_NODE_BELOW_ABSENT_OK) == 0)
		return EB_OUTCOME_FAIL;
	if (node->values == 0 || matcher->answered == node)
		return EB_OUTCOME_ABSENT;
	return eb_values_match(matcher->program,
						   eb_program_at(matcher->program, node->values),
						   scalar) ? EB_OUTCOME_POSITIVE : EB_OUTCOME_FAIL;
}

/* Takes up an element's outcome; true if the array's is settled by it. */
static inline bool
join_element(EbOutcome *array, EbOutcome element)
{
	if (element == EB_OUTCOME_FAIL)
		*array = EB_OUTCOME_FAIL;
	else if (element == EB_OUTCOME_POSITIVE)
		*array = EB_OUTCOME_POSITIVE;
	return element == EB_OUTCOME_POSITIVE;
}

/* Does a scalar among the elements satisfy the field that ends at the node? */
bool
eb_has_matching_scalar(const EbProgram *program, const EbNode *node,
					   const JsonbValue *value)
{
	const EbValues *values = eb_program_at(program, node->values);
	int			count = value->type == jbvArray ? value->val.array.nElems :
		JsonContainerSize(value->val.binary.data);

	for (int i = 0; i < count; i++)
	{
		JsonbValue	element;

		CHECK_FOR_INTERRUPTS();
		if (value->type == jbvArray)
			element = value->val.array.elems[i];
		else
			eb_container_get(value->val.binary.data, i,
							 eb_container_base(value->val.binary.data), &element);
		if (element.type != jbvBinary && element.type != jbvObject &&
			element.type != jbvArray &&
			eb_values_match(program, values, &element))
			return true;
	}
	return false;
}

/* What the elements come to, one by one. */
static EbOutcome
match_elements(Matcher *matcher, const EbNode *node, const JsonbValue *value)
{
	EbOutcome	outcome = EB_OUTCOME_ABSENT;

	if (value->type == jbvArray)
	{
		for (int i = 0; i < value->val.array.nElems; i++)
			if (join_element(&outcome, match_value(matcher, node, &value->val.array.elems[i])))
				break;
	}
	else
	{
		const JsonbContainer *array = value->val.binary.data;
		const char *base = eb_container_base(array);
		uint32		count = JsonContainerSize(array);
		uint32		offset = 0;

		for (int i = 0; i < count; i++)
		{
			uint32		start = offset;
			uint32		len = eb_container_step(array, i, &offset);
			JsonbValue	element;

			CHECK_FOR_INTERRUPTS();
			eb_container_fill(array, i, base, start, len, &element);
			if (join_element(&outcome, match_value(matcher, node, &element)))
				break;
		}
	}
	return outcome;
}

/*
 * A scalar of an array is bound to no element: AWS lets only objects and arrays
 * in an array bind what lies in them.  That shows where one path of a pattern is
 * the beginning of another: {"a": ["q"], "a.b": ["x"]} matches
 * {"a": ["q", {"b": "x"}]}.
 */
static EbOutcome
match_array(Matcher *matcher, const EbNode *node, const JsonbValue *value)
{
	Matcher		inner = {
		.program = matcher->program,
		.answered = matcher->answered == node ? node : NULL
	};
	EbOutcome	outcome = match_elements(&inner, node, value);

	if (outcome == EB_OUTCOME_FAIL && node->values != 0 && node->nchildren > 0 &&
		inner.answered == NULL && eb_has_matching_scalar(inner.program, node, value))
	{
		inner.answered = node;
		if (match_elements(&inner, node, value) == EB_OUTCOME_POSITIVE)
			return EB_OUTCOME_POSITIVE;
	}
	if (outcome == EB_OUTCOME_ABSENT && (node->flags & EB_NODE_ABSENT_OK) == 0)
		return EB_OUTCOME_FAIL;
	return outcome;
}

/* What is known of a node's child while an object is read. */
#define CHILD_MISSING	(-1)
#define CHILD_DONE		(-2)

/* Takes up a child's outcome; true if the object's is settled by it. */
static inline bool
join_child(EbOutcome *object, EbOutcome child)
{
	if (child != EB_OUTCOME_ABSENT)
		*object = child;
	return child == EB_OUTCOME_FAIL;
}

static inline EbOutcome
match_entry(Matcher *matcher, const EbNode *child, const JsonbContainer *object, int entry)
{
	JsonbValue	value;

	eb_container_get(object, JsonContainerSize(object) + entry,
					 eb_container_base(object), &value);
	return match_value(matcher, child, &value);
}

/* As jsonb compares keys: by length, then by bytes. */
static inline int
compare_key(const char *key, int len, const char *other, int other_len)
{
	if (len != other_len)
		return len - other_len;
	if (len > 0 && *key != *other)
		return (unsigned char) *key - (unsigned char) *other;
	return memcmp(key, other, len);
}

/*
 * Walks over an object's keys and the node's children, both of which are in
 * jsonb's order, and tries at once the children that have no further levels:
 * a path of one segment has no other spelling, so a failure there is final,
 * and most events fail there.  entries[i] tells what was found for child i.
 *
 * *dotted tells that the object has a name with dots that counts; then the
 * outcome is not known unless it is FAIL.
 */
static EbOutcome
match_keys(Matcher *matcher, const EbNode *node, const JsonbContainer *object,
		   int *entries, bool *dotted)
{
	const EbProgram *program = matcher->program;
	const char *base = eb_container_base(object);
	int			nkeys = JsonContainerSize(object);
	EbOutcome	outcome = EB_OUTCOME_ABSENT;
	uint32		offset = 0;
	int			next = 0;
	bool		may_be_dotted = node->dotted_lengths != 0;

	/* the last key is the longest; mostly it is shorter than any dotted name */
	if (may_be_dotted && nkeys > 0)
	{
		uint32		longest = EB_LENGTH_BIT(getJsonbLength(object, nkeys - 1));

		may_be_dotted = (node->dotted_lengths & (longest | (longest - 1))) != 0;
	}

	for (int i = 0; i < nkeys; i++)
	{
		uint32		start = offset;
		uint32		len = eb_container_step(object, i, &offset);
		int			order = 1;

		while (next < node->nchildren && node->children[next].key_len <= len)
		{
			const EbChild *child = &node->children[next];
			const EbNode *below;

			order = compare_key(eb_program_at(program, child->key), child->key_len,
								base + start, len);
			if (order > 0)
				break;
			below = eb_program_node(program, child->node);
			entries[next] = order == 0 ? i : CHILD_MISSING;
			if (below->nchildren == 0)
			{
				if (order == 0)
				{
					entries[next] = CHILD_DONE;
					if (join_child(&outcome, match_entry(matcher, below, object, i)))
						return EB_OUTCOME_FAIL;
				}
				else if ((below->flags & EB_NODE_ABSENT_OK) == 0)
					return EB_OUTCOME_FAIL;
			}
			next++;
			if (order == 0)
				break;
		}
		if (order != 0 && may_be_dotted &&
			is_dotted_name(program, node, base + start, len))
			*dotted = true;
		if (next == node->nchildren && (*dotted || !may_be_dotted))
			break;
	}
	while (next < node->nchildren)
		entries[next++] = CHILD_MISSING;
	return outcome;
}

/* The same for an object in pieces; its keys are in no particular order. */
static EbOutcome
match_pairs(Matcher *matcher, const EbNode *node, const JsonbValue *object,
			int *entries, bool *dotted)
{
	const EbProgram *program = matcher->program;

	for (int i = 0; i < node->nchildren; i++)
		entries[i] = CHILD_MISSING;
	for (int i = 0; i < object->val.object.nPairs; i++)
	{
		const JsonbValue *key = &object->val.object.pairs[i].key;
		const EbChild *child = find_child(program, node, key->val.string.val,
										  key->val.string.len);

		if (child != NULL)
			entries[child - node->children] = i;
		else if (is_dotted_name(program, node, key->val.string.val, key->val.string.len))
			*dotted = true;
	}
	return EB_OUTCOME_ABSENT;
}

static EbOutcome
match_object(Matcher *matcher, const EbNode *node, const JsonbValue *object)
{
	const EbProgram *program = matcher->program;
	int			stack[STACK_CHILDREN];
	int		   *entries = stack;
	bool		dotted = false;
	EbOutcome	outcome;

	/* the field that ends here has no value */
	if (node->values != 0 && matcher->answered != node)
	{
		const EbValues *values = eb_program_at(program, node->values);

		if ((values->flags & EB_VALUES_ABSENT) == 0)
			return EB_OUTCOME_FAIL;
	}

	if (node->nchildren > STACK_CHILDREN)
		entries = palloc(node->nchildren * sizeof(int));
	outcome = object->type == jbvObject ?
		match_pairs(matcher, node, object, entries, &dotted) :
		match_keys(matcher, node, object->val.binary.data, entries, &dotted);
	if (outcome != EB_OUTCOME_FAIL && dotted)
		outcome = eb_match_dotted(program, node, matcher->answered == node, object);
	else if (outcome != EB_OUTCOME_FAIL)
	{
		for (int i = 0; i < node->nchildren; i++)
		{
			const EbNode *child = eb_program_node(program, node->children[i].node);
			EbOutcome	below;

			if (entries[i] == CHILD_DONE)
				continue;
			if (entries[i] == CHILD_MISSING)
				below = (child->flags & EB_NODE_ABSENT_OK) != 0 ?
					EB_OUTCOME_ABSENT : EB_OUTCOME_FAIL;
			else if (object->type == jbvObject)
				below = match_value(matcher, child, &object->val.object.pairs[entries[i]].value);
			else
				below = match_entry(matcher, child, object->val.binary.data, entries[i]);
			if (join_child(&outcome, below))
				break;
		}
	}
	if (entries != stack)
		pfree(entries);
	return outcome;
}

static EbOutcome
match_value(Matcher *matcher, const EbNode *node, const JsonbValue *value)
{
	EbOutcome	outcome;

	if (value->type != jbvBinary && value->type != jbvObject && value->type != jbvArray)
		return match_scalar(matcher, node, value);

	check_stack_depth();

	if (matcher->outcomes != NULL && matcher->outcomes[node->id] != 0)
		return matcher->outcomes[node->id] - 1;
	outcome = eb_value_is_object(value) ?
		match_object(matcher, node, value) : match_array(matcher, node, value);
	if (matcher->outcomes != NULL)
		matcher->outcomes[node->id] = outcome + 1;
	return outcome;
}

EbOutcome
eb_match_node(const EbProgram *program, const EbNode *node, const JsonbValue *value)
{
	Matcher		matcher = {.program = program};

	return match_value(&matcher, node, value);
}

bool
eb_pattern_matches_value(const EbPattern *pattern, const JsonbValue *event)
{
	const EbProgram *program = eb_pattern_program(pattern);
	Matcher		matcher = {.program = program};
	uint8		stack[STACK_NODES];
	bool		matches = false;

	if (!eb_value_is_object(event))
		return false;
	if (program->nconjunctions == 1)
		return match_object(&matcher, eb_program_node(program, program->roots[0]),
							event) != EB_OUTCOME_FAIL;

	matcher.outcomes = program->nnodes <= STACK_NODES ? stack : palloc(program->nnodes);
	memset(matcher.outcomes, 0, program->nnodes);
	for (int i = 0; i < program->nconjunctions && !matches; i++)
	{
		CHECK_FOR_INTERRUPTS();
		matches = match_value(&matcher, eb_program_node(program, program->roots[i]),
							  event) != EB_OUTCOME_FAIL;
	}
	if (matcher.outcomes != stack)
		pfree(matcher.outcomes);
	return matches;
}

bool
eb_pattern_matches(const EbPattern *pattern, JsonbContainer *event)
{
	JsonbValue	value;

	value.type = jbvBinary;
	value.val.binary.data = event;
	value.val.binary.len = 0;
	return eb_pattern_matches_value(pattern, &value);
}

bool
eb_pattern_names_path(const EbPattern *pattern, const char *path, int path_len)
{
	const EbProgram *program = eb_pattern_program(pattern);

	for (int i = 0; i < program->nconjunctions; i++)
		if (follow_path(program, eb_program_node(program, program->roots[i]),
						path, path_len) != NULL)
			return true;
	return false;
}
