/*-------------------------------------------------------------------------
 *
 * shmem.h
 *	  Pieces of the server's main shared memory; shmem.c tells how.
 *
 *-------------------------------------------------------------------------
 */
#ifndef EB_SHMEM_H
#define EB_SHMEM_H

#include "storage/lwlock.h"

/* What every piece starts with. */
typedef struct EbSharedPiece
{
	LWLock	   *lock;
} EbSharedPiece;

/*
 * Reserves a piece of a size, and a lock, under a name.  Where the library is
 * preloaded, attach is called with the piece when the server has set up its
 * memory: all zero but the lock, unless another process has written to it.
 * Elsewhere there are no such pieces: attach is never called.
 */
extern void eb_shmem_reserve(const char *name, Size size,
							 void (*attach) (EbSharedPiece *piece));

#endif							/* EB_SHMEM_H */
