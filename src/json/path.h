/*-------------------------------------------------------------------------
 *
 * path.h
 *	  EventBridge's JSON paths: $.detail.items[0].name
 *
 *	  path = "$" *( "." name *( "[" ( 1*DIGIT / "*" ) "]" ) )
 *	  name = 1*( letter / digit / "_" / "/" / "-" )		; ASCII
 *
 * A path with a wildcard finds an array of everything that it leads to, in
 * the document's order.  Of duplicate keys in json the last one counts.
 *
 *-------------------------------------------------------------------------
 */
#ifndef EB_JSON_PATH_H
#define EB_JSON_PATH_H

#include "json/value.h"

#define EB_PATH_MAX_LENGTH	256 /* AWS's limit, in characters */

typedef enum EbStepKind
{
	EB_STEP_MEMBER,
	EB_STEP_INDEX,
	EB_STEP_ALL					/* [*] */
} EbStepKind;

typedef struct EbPathStep
{
	EbStepKind	kind;
	uint32		index;			/* EB_STEP_INDEX; counted from 0 */
	const char *name;			/* EB_STEP_MEMBER; not terminated */
	int			name_len;
} EbPathStep;

typedef struct EbPath
{
	const char *text;			/* as written, terminated */
	int			nsteps;
	bool		has_wildcard;
	EbPathStep	steps[FLEXIBLE_ARRAY_MEMBER];
} EbPath;

/*
 * Why a text is no path: what was expected, and at which character, counted
 * from 1 (0: the text as a whole).
 */
typedef struct EbPathFault
{
	const char *expected;
	int			position;
} EbPathFault;

extern EbPath *eb_path_parse(const char *text, int len, EbPathFault *fault);
extern char *eb_path_fault_detail(const char *text, int len,
								  const EbPathFault *fault);
extern bool eb_path_get(const EbPath *path, const EbJson *from, EbJson *found);

#endif							/* EB_JSON_PATH_H */
