/*-------------------------------------------------------------------------
 *
 * shmem.c
 *	  Pieces of the server's main shared memory.
 *
 * The server hands its memory out while it starts, and only to libraries that
 * are preloaded; so whoever wants some says so when the library is loaded, and
 * two hooks do the rest: one asks for the room, the other finds it.  When the
 * server starts anew after a crash, it calls the second one again, and all
 * pieces are as at first.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/shmem.h"

#include "compat.h"
#include "shmem.h"

typedef struct Piece
{
	const char *name;
	Size		size;
	void		(*attach) (EbSharedPiece *piece);
} Piece;

#define MAX_PIECES 4

static Piece pieces[MAX_PIECES];
static int	npieces = 0;

static shmem_request_hook_type previous_request_hook = NULL;
static shmem_startup_hook_type previous_startup_hook = NULL;

static void
request_pieces(void)
{
	if (previous_request_hook)
		previous_request_hook();
	for (int i = 0; i < npieces; i++)
	{
		RequestAddinShmemSpace(pieces[i].size);
		RequestNamedLWLockTranche(pieces[i].name, 1);
	}
}

static void
find_pieces(void)
{
	if (previous_startup_hook)
		previous_startup_hook();
	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	for (int i = 0; i < npieces; i++)
	{
		bool		found;
		EbSharedPiece *piece = ShmemInitStruct(pieces[i].name, pieces[i].size, &found);

		if (!found)
		{
			memset(piece, 0, pieces[i].size);
			piece->lock = &GetNamedLWLockTranche(pieces[i].name)->lock;
		}
		pieces[i].attach(piece);
	}
	LWLockRelease(AddinShmemInitLock);
}

void
eb_shmem_reserve(const char *name, Size size, void (*attach) (EbSharedPiece *piece))
{
	if (!process_shared_preload_libraries_in_progress || IsBinaryUpgrade)
		return;
	if (npieces == 0)
	{
		previous_request_hook = shmem_request_hook;
		shmem_request_hook = request_pieces;
		previous_startup_hook = shmem_startup_hook;
		shmem_startup_hook = find_pieces;
	}
	Assert(npieces < MAX_PIECES);
	pieces[npieces++] = (Piece) {name, size, attach};
}
