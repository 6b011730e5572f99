/*-------------------------------------------------------------------------
 *
 * prefetch.h
 *	  Asking for memory before it is needed.
 *
 * Filtering stored events waits for memory more than it computes: each event
 * of a scan is some cache lines that nobody has touched for long, and what is
 * read first decides a branch that cannot be predicted, so the processor does
 * not run ahead into the next row by itself.
 *
 * A prefetch of an address that does not exist does nothing.
 *
 *-------------------------------------------------------------------------
 */
#ifndef EB_JSON_PREFETCH_H
#define EB_JSON_PREFETCH_H

#include "utils/jsonb.h"

#if defined(__GNUC__)
#define eb_prefetch(address) __builtin_prefetch(address)
#else
#define eb_prefetch(address) ((void) (address))
#endif

#define EB_CACHE_LINE 64
/* Of a neighbour's bytes no more are asked for: names and first values. */
#define EB_PREFETCH_BYTES 512
/* A row's bytes that are not the event: header and other columns, about. */
#define EB_ROW_OVERHEAD 32

/*
 * Asks for the event of the row that a sequential scan visits next, given the
 * present one's.  A table's page is filled from its end, so that row lies
 * right before this one, and an event of the same table is likely of much the
 * same size.  Where the guess is wrong (an updated table) some memory is read
 * for nothing.  Rows that an index gives lie far from one another, and there
 * memory is the bottleneck; so nothing is asked for unless the event before
 * this one lay as close behind it as in one page.
 */
static inline void
eb_prefetch_next_row(const Jsonb *event)
{
	static uintptr_t last = 0;
	uintptr_t	here = (uintptr_t) event;
	bool		is_near = last - here - 1 < BLCKSZ;
	Size		size = VARSIZE(event);
	uintptr_t	next = here - size - EB_ROW_OVERHEAD;

	last = here;
	if (!is_near || size > BLCKSZ / 4)
		return;					/* by an index, or not in a table's page */
	for (Size i = 0; i < Min(size, EB_PREFETCH_BYTES); i += EB_CACHE_LINE)
		eb_prefetch((const void *) (next + i));
}

#endif							/* EB_JSON_PREFETCH_H */
