/*-------------------------------------------------------------------------
 *
 * array.h
 *	  A jsonb array of objects and arrays that are jsonb already.
 *
 * The server can make one only of a tree of all that is in it.
 *
 *-------------------------------------------------------------------------
 */
#ifndef EB_JSON_ARRAY_H
#define EB_JSON_ARRAY_H

#include "lib/stringinfo.h"
#include "utils/jsonb.h"

typedef struct EbJsonbArray
{
	StringInfoData data;		/* of the elements, one behind the other */
	int			nelements;
	int			size;			/* of ends */
	uint32	   *ends;			/* of each in data */
} EbJsonbArray;

extern void eb_jsonb_array_init(EbJsonbArray *array);
extern void eb_jsonb_array_reset(EbJsonbArray *array);
extern void eb_jsonb_array_add(EbJsonbArray *array, const Jsonb *element);
extern Jsonb *eb_jsonb_array_make(const EbJsonbArray *array);

#endif							/* EB_JSON_ARRAY_H */
