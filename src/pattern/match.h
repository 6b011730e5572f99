/*-------------------------------------------------------------------------
 *
 * match.h
 *	  Parts of the matcher that the rest of the room uses.
 *
 *-------------------------------------------------------------------------
 */
#ifndef EB_PATTERN_MATCH_H
#define EB_PATTERN_MATCH_H

#include "pattern/pattern.h"

/*
 * What an event's value says to the fields at and below a node.
 *
 * FAIL: some field is not satisfied.  POSITIVE: all are, and a value was used
 * for at least one of them.  ABSENT: none of the paths has a value, and every
 * field accepts that.  The last two differ for arrays: one element has to
 * satisfy all fields, but only an element that has a value for one of them
 * can speak for the array; absence alone must hold in all elements.
 */
typedef enum EbOutcome
{
	EB_OUTCOME_FAIL,
	EB_OUTCOME_ABSENT,
	EB_OUTCOME_POSITIVE
} EbOutcome;

/* values.c: does the scalar satisfy one of the alternatives? */
extern bool eb_values_match(const EbProgram *program, const EbValues *values,
							const JsonbValue *scalar);
extern bool eb_item_match(const EbProgram *program, const EbItem *item,
						  const JsonbValue *scalar);

/*
 * match_dotted.c: the outcome of a node at an object some of whose keys are
 * spelled with dots and lead to paths of the node.  Its own field is answered
 * by somebody else, or not.
 */
extern EbOutcome eb_match_dotted(const EbProgram *program, const EbNode *node,
								 bool answered, const JsonbValue *object);

/* For match_dotted.c: is there such a scalar?  See match_array() of match.c. */
extern bool eb_has_matching_scalar(const EbProgram *program, const EbNode *node,
								   const JsonbValue *array);

/* The outcome of a node at a value; no memory of other conjunctions. */
extern EbOutcome eb_match_node(const EbProgram *program, const EbNode *node,
							   const JsonbValue *value);

#endif							/* EB_PATTERN_MATCH_H */
