/*-------------------------------------------------------------------------
 *
 * rules_shared.c
 *	  The rules of a bus in shared memory, when the library is preloaded.
 *
 * A compiled set of 100,000 patterns takes some 60 MB and half a second.  A
 * hundred backends need not have a hundred of them: one makes it, and puts it
 * into a segment of dynamic shared memory that the others map.  A set refers
 * to what is in it by offsets, so it is put there as it is, and can lie at
 * another address in each process.
 *
 * What a segment holds is an image: the compiled set, and for each of its
 * patterns the row of the table that it was read from, by place and writer.
 * An image is never changed, and it does not say what the rules are.  That,
 * each backend reads in the table with its own snapshot, as it does without
 * images (rules_cache.c): it takes from the image what it finds there row for
 * row, and keeps the few others itself.  So nobody has to be told when rules
 * change, a transaction sees its own changes and no uncommitted ones of
 * others, and an image that is out of date, for whatever reason, is worth
 * less, but not wrong.  When too little of it is of use, whoever notices makes
 * another.
 *
 * A row that has the place and the writer of one in the image is the same row:
 * only rows whose writers had committed are put into images, and of several
 * versions of a rule that one transaction writes, others see but the last.  A
 * writer's number comes again only after four thousand million others.
 *
 * The directory is in the server's main shared memory: a slot per image.  All
 * of it is protected by one lock, which is held for moments only, and never
 * while anything is mapped or copied.  Slots hold
 *
 *	the key			database, table and bus; the table, since another may
 *					have taken its place when the extension was dropped
 *	number			of the image; segments carry it too, so that whoever maps
 *					one knows that it is the one that was meant
 *	nattached		backends that have it mapped; a callback of the segment
 *					counts down, at the latest when the backend ends
 *	is_current		the slot pins the segment.  Otherwise another image has
 *					taken its place, or its bus or database is gone, and the
 *					segment lasts as long as backends have it mapped; then the
 *					slot becomes free.
 *
 * A segment is complete before its slot is, so an error, or the end of the
 * backend, leaves at worst nothing.  If a process crashes, the server starts
 * anew, with an empty directory.
 *
 * Images that no backend uses stay, for the next one, until the database is
 * dropped or their room is needed for another.  On a standby there are none:
 * to put an event is to write.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/parallel.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_database.h"
#include "common/hashfn.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "bus/bus.h"
#include "bus/rules_shared.h"
#include "compat.h"
#include "settings.h"
#include "shmem.h"

#define MAX_IMAGES 256
#define MAX_DEMANDS 256

/* Milliseconds until a backend that found no room tries again. */
#define PAUSE_AFTER_FAILURE 60000

typedef struct ImageSlot
{
	Oid			database;		/* InvalidOid: the slot is free */
	Oid			table;
	int64		bus_id;
	uint64		number;
	bool		is_current;
	int			nattached;
	dsm_handle	handle;
	Size		size;
	uint32		nrules;
	TimestampTz built_at;
} ImageSlot;

/* See eb_shared_rules_demand(). */
typedef struct Demand
{
	Oid			database;
	Oid			table;
	int64		bus_id;
	uint64		asked;
	uint64		checked;
} Demand;

typedef struct Directory
{
	EbSharedPiece piece;		/* with the lock */
	uint64		last_number;
	ImageSlot	slots[MAX_IMAGES];
	Demand		demands[MAX_DEMANDS];
} Directory;

static Directory *directory = NULL;
static TimestampTz failed_at = 0;

static object_access_hook_type previous_access_hook = NULL;

PG_FUNCTION_INFO_V1(eb_shared_rule_sets);

/* ---------- The directory ---------- */

static void
attach_directory(EbSharedPiece *piece)
{
	directory = (Directory *) piece;
}

/* The slot of an image, or NULL; the lock is held. */
static ImageSlot *
find_number(uint64 number)
{
	for (int i = 0; i < MAX_IMAGES; i++)
		if (OidIsValid(directory->slots[i].database) &&
			directory->slots[i].number == number)
			return &directory->slots[i];
	return NULL;
}

/* The slot of the current image of a bus, or NULL; the lock is held. */
static ImageSlot *
find_current(Oid table, int64 bus_id)
{
	for (int i = 0; i < MAX_IMAGES; i++)
	{
		ImageSlot  *slot = &directory->slots[i];

		if (slot->is_current && slot->database == MyDatabaseId &&
			slot->table == table && slot->bus_id == bus_id)
			return slot;
	}
	return NULL;
}

/* The image is not to be used by anybody else; the lock is held exclusively. */
static void
retire(ImageSlot *slot)
{
	slot->is_current = false;
	dsm_unpin_segment(slot->handle);
	if (slot->nattached == 0)
		memset(slot, 0, sizeof(ImageSlot));
}

/*
 * A free slot, if an image of the size has room.  Images that nobody has
 * mapped make way.  The lock is held exclusively.
 */
static ImageSlot *
make_room(Size size)
{
	Size		limit = (Size) eb_guc_shared_rule_memory * 1024;

	for (;;)
	{
		ImageSlot  *unused = NULL;
		ImageSlot  *vacant = NULL;
		Size		total = size;

		for (int i = 0; i < MAX_IMAGES; i++)
		{
			ImageSlot  *slot = &directory->slots[i];

			total += slot->size;
			if (!OidIsValid(slot->database))
				vacant = slot;
			else if (slot->nattached == 0 &&
					 (unused == NULL || slot->built_at < unused->built_at))
				unused = slot;
		}
		if (vacant != NULL && total <= limit)
			return vacant;
		if (unused == NULL)
			return NULL;
		retire(unused);
	}
}

/* A segment is being unmapped, at the latest when the backend ends. */
static void
count_down(dsm_segment *segment, Datum arg)
{
	const EbRuleImage *image = dsm_segment_address(segment);
	ImageSlot  *slot;

	LWLockAcquire(directory->piece.lock, LW_EXCLUSIVE);
	slot = find_number(image->number);
	if (slot != NULL && --slot->nattached == 0 && !slot->is_current)
		memset(slot, 0, sizeof(ImageSlot));
	LWLockRelease(directory->piece.lock);
}

/* Can rules be shared here and now? */
bool
eb_shared_rules_possible(void)
{
	return directory != NULL && IsUnderPostmaster &&
		eb_guc_shared_rule_memory > 0 && !RecoveryInProgress() && !IsInParallelMode();
}

/*
 * Is there an image for a bus?  Gives the number of its rules, and its own;
 * both are 0 if there is none.
 */
uint32
eb_shared_rules_look(Oid table, int64 bus_id, uint64 *number)
{
	ImageSlot  *slot;
	uint32		nrules = 0;

	*number = 0;
	if (!eb_shared_rules_possible())
		return 0;
	LWLockAcquire(directory->piece.lock, LW_SHARED);
	slot = find_current(table, bus_id);
	if (slot != NULL)
	{
		*number = slot->number;
		nrules = slot->nrules;
	}
	LWLockRelease(directory->piece.lock);
	return nrules;
}

/* The place for the demand of a bus, which may be taken by another. */
static Demand *
find_demand(Oid table, int64 bus_id)
{
	uint32		hash = hash_combine(hash_combine(murmurhash32(MyDatabaseId),
												 murmurhash32(table)),
									murmurhash32((uint32) bus_id));
	Demand	   *demand = &directory->demands[hash % MAX_DEMANDS];

	if (demand->database != MyDatabaseId || demand->table != table ||
		demand->bus_id != bus_id)
	{
		memset(demand, 0, sizeof(Demand));
		demand->database = MyDatabaseId;
		demand->table = table;
		demand->bus_id = bus_id;
	}
	return demand;
}

/*
 * One image serves all backends, so it pays when all of them together have
 * asked for many events.  Adds some events to those that have been asked for
 * while there was no image; gives their number, and the greatest number up to
 * which somebody has found that there are too many rules to read them.  This
 * is a matter of speed only, so buses of one hash value may share a place.
 */
void
eb_shared_rules_demand(Oid table, int64 bus_id, uint64 events,
					   uint64 *asked, uint64 *checked)
{
	Demand	   *demand;

	if (!eb_shared_rules_possible())
	{
		*asked += events;
		return;
	}
	LWLockAcquire(directory->piece.lock, LW_EXCLUSIVE);
	demand = find_demand(table, bus_id);
	demand->asked += events;
	demand->checked = Max(demand->checked, *checked);
	*asked = demand->asked;
	*checked = demand->checked;
	LWLockRelease(directory->piece.lock);
}

/*
 * Maps the current image of a bus until dsm_detach().  NULL if there is none.
 * A backend has no image mapped twice, so the caller sees to it that this is
 * another one than it has.
 */
dsm_segment *
eb_shared_rules_attach(Oid table, int64 bus_id)
{
	dsm_handle	handle = DSM_HANDLE_INVALID;
	uint64		number = 0;
	dsm_segment *segment;
	ImageSlot  *slot;

	LWLockAcquire(directory->piece.lock, LW_SHARED);
	slot = find_current(table, bus_id);
	if (slot != NULL)
	{
		handle = slot->handle;
		number = slot->number;
	}
	LWLockRelease(directory->piece.lock);
	if (number == 0)
		return NULL;

	/* It may be gone by now, and its handle be another's. */
	segment = dsm_attach(handle);
	if (segment == NULL)
		return NULL;
	if (dsm_segment_map_length(segment) < sizeof(EbRuleImage) ||
		((EbRuleImage *) dsm_segment_address(segment))->number != number)
	{
		dsm_detach(segment);
		return NULL;
	}
	on_dsm_detach(segment, count_down, (Datum) 0);
	dsm_pin_mapping(segment);

	LWLockAcquire(directory->piece.lock, LW_EXCLUSIVE);
	slot = find_number(number);
	if (slot != NULL)
		slot->nattached++;
	LWLockRelease(directory->piece.lock);
	if (slot == NULL)
	{
		cancel_on_dsm_detach(segment, count_down, (Datum) 0);
		dsm_detach(segment);
		return NULL;
	}
	return segment;
}

/* A bus has no image any more. */
void
eb_shared_rules_retire(Oid table, int64 bus_id)
{
	ImageSlot  *slot;

	if (directory == NULL)
		return;
	LWLockAcquire(directory->piece.lock, LW_EXCLUSIVE);
	slot = find_current(table, bus_id);
	if (slot != NULL)
		retire(slot);
	LWLockRelease(directory->piece.lock);
}

/* Retires the images of buses of this database that do not exist. */
void
eb_shared_rules_retain(Oid table, bool (*exists) (int64 bus_id))
{
	if (directory == NULL)
		return;
	LWLockAcquire(directory->piece.lock, LW_EXCLUSIVE);
	for (int i = 0; i < MAX_IMAGES; i++)
	{
		ImageSlot  *slot = &directory->slots[i];

		if (slot->is_current && slot->database == MyDatabaseId &&
			(slot->table != table || !exists(slot->bus_id)))
			retire(slot);
	}
	LWLockRelease(directory->piece.lock);
}

/*
 * When a database is dropped, its images go.  If that fails after all, another
 * image will be made.
 */
static void
retire_with_database(ObjectAccessType access, Oid class_id, Oid object_id,
					 int sub_id, void *arg)
{
	if (previous_access_hook)
		previous_access_hook(access, class_id, object_id, sub_id, arg);
	if (access != OAT_DROP || class_id != DatabaseRelationId || directory == NULL)
		return;
	LWLockAcquire(directory->piece.lock, LW_EXCLUSIVE);
	for (int i = 0; i < MAX_IMAGES; i++)
		if (directory->slots[i].is_current && directory->slots[i].database == object_id)
			retire(&directory->slots[i]);
	LWLockRelease(directory->piece.lock);
}

/* Called when the library is loaded. */
void
eb_shared_rules_init(void)
{
	if (!process_shared_preload_libraries_in_progress || IsBinaryUpgrade)
		return;
	eb_shmem_reserve("eventbridge rules", sizeof(Directory), attach_directory);
	previous_access_hook = object_access_hook;
	object_access_hook = retire_with_database;
}

/* ---------- Images ---------- */

/* The row of a rule, or NULL. */
const EbImageRow *
eb_image_find(const EbRuleImage *image, int64 rule_id)
{
	const int64 *ids = eb_image_at(image, image->ids);
	const uint32 *row_numbers = eb_image_at(image, image->row_numbers);
	uint32		low = 0;
	uint32		high = image->nrules;

	while (low < high)
	{
		uint32		middle = low + (high - low) / 2;

		if (ids[middle] == rule_id)
			return &eb_image_rows(image)[row_numbers[middle]];
		if (ids[middle] < rule_id)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

/* Has this backend found no room just now? */
bool
eb_shared_rules_failed(void)
{
	return failed_at != 0 &&
		!TimestampDifferenceExceeds(failed_at, GetCurrentTimestamp(), PAUSE_AFTER_FAILURE);
}

/*
 * That there is no room is no reason for an event not to be put, so it is said
 * to the log only, and not tried again at once.
 */
static void
note_failure(const char *reason)
{
	failed_at = GetCurrentTimestamp();
	ereport(LOG,
			(errmsg("eventbridge could not put rules into shared memory: %s", reason),
			 errdetail("The backend keeps them in its own memory."),
			 errhint("See eventbridge.shared_rule_memory.")));
}

/* A segment that stays mapped, or NULL. */
static dsm_segment *
create_segment(Size size)
{
	MemoryContext caller = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	dsm_segment *volatile segment = NULL;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(caller);
	PG_TRY();
	{
		segment = dsm_create(size, DSM_CREATE_NULL_IF_MAXSEGMENTS);
		if (segment == NULL)
			note_failure("too many dynamic shared memory segments");
		else
		{
			((EbRuleImage *) dsm_segment_address(segment))->number = 0;
			on_dsm_detach(segment, count_down, (Datum) 0);
			dsm_pin_mapping(segment);
		}
		ReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(caller);
		CurrentResourceOwner = owner;
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(caller);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(caller);
		CurrentResourceOwner = owner;
		if (error->sqlerrcode == ERRCODE_QUERY_CANCELED)
			ReThrowError(error);
		segment = NULL;
		note_failure(error->message);
		FreeErrorData(error);
	}
	PG_END_TRY();
	return segment;
}

/* The offset of the next part of an image, whose size is added. */
static Size
add_part(Size *size, Size count, Size element)
{
	Size		offset = MAXALIGN(*size);

	*size = add_size(offset, mul_size(count, element));
	return offset;
}

/* Writes the names and owners, and the rows with them. */
static void
write_rows(EbRuleImage *image, const EbNewRow *rows)
{
	char	   *names = (char *) image + image->names;
	EbImageRow *written = (EbImageRow *) ((char *) image + image->rows);
	uint32	   *row_numbers = (uint32 *) ((char *) image + image->row_numbers);
	uint32		len = 0;

	for (uint32 i = 0; i < image->nrules; i++)
	{
		Size		name_size = strlen(rows[i].name) + 1;
		Size		owner_size = strlen(rows[i].owner) + 1;

		written[i] = rows[i].row;
		row_numbers[rows[i].row.position] = i;
		written[i].name = len;
		memcpy(names + len, rows[i].name, name_size);
		len += name_size;
		/* Rules side by side mostly have one owner. */
		if (i > 0 && strcmp(rows[i].owner, rows[i - 1].owner) == 0)
		{
			written[i].owner = written[i - 1].owner;
			continue;
		}
		written[i].owner = len;
		memcpy(names + len, rows[i].owner, owner_size);
		len += owner_size;
	}
}

/* Decides where the parts of an image will lie; returns its size. */
static Size
lay_out(EbRuleImage *header, const EbPatternSet *set, const EbNewRow *rows)
{
	Size		size = sizeof(EbRuleImage);
	Size		names_size = 0;

	for (uint32 i = 0; i < header->nrules; i++)
		names_size += strlen(rows[i].name) + strlen(rows[i].owner) + 2;
	header->ids = add_part(&size, header->nrules, sizeof(int64));
	header->row_numbers = add_part(&size, header->nrules, sizeof(uint32));
	header->rows = add_part(&size, header->nrules, sizeof(EbImageRow));
	header->names = add_part(&size, names_size, 1);
	header->set = add_part(&size, VARSIZE(set), 1);

	/* Places of names are 32 bits wide. */
	return names_size > PG_UINT32_MAX ? 0 : size;
}

/* A new image has become complete: its slot.  False if there is no room. */
static bool
enter_image(Oid table, int64 bus_id, const EbRuleImage *image, dsm_handle handle, Size size)
{
	ImageSlot  *slot;
	ImageSlot  *old;

	LWLockAcquire(directory->piece.lock, LW_EXCLUSIVE);
	slot = make_room(size);
	if (slot != NULL)
	{
		old = find_current(table, bus_id);
		if (old != NULL)
			retire(old);
		slot->database = MyDatabaseId;
		slot->table = table;
		slot->bus_id = bus_id;
		slot->number = image->number;
		slot->is_current = true;
		slot->nattached = 1;
		slot->handle = handle;
		slot->size = size;
		slot->nrules = image->nrules;
		slot->built_at = GetCurrentTimestamp();
	}
	LWLockRelease(directory->piece.lock);
	return slot != NULL;
}

/*
 * Puts the rules of a bus into a new image, which takes the place of the one
 * there was: a set, the numbers of its patterns, ascending, and the rows that
 * they are from, in the order of names.  The image is mapped until
 * dsm_detach().  NULL if there is no room for it.
 */
dsm_segment *
eb_shared_rules_publish(Oid table, int64 bus_id, const EbPatternSet *set,
						const int64 *ids, uint32 nrules, const EbNewRow *rows)
{
	EbRuleImage header = {.nrules = nrules};
	Size		size = lay_out(&header, set, rows);
	EbRuleImage *image;
	dsm_segment *segment;
	bool		has_room;

	LWLockAcquire(directory->piece.lock, LW_EXCLUSIVE);
	has_room = size > 0 && make_room(size) != NULL;
	header.number = ++directory->last_number;
	/* Even if it cannot be: not every backend should try. */
	memset(find_demand(table, bus_id), 0, sizeof(Demand));
	LWLockRelease(directory->piece.lock);
	if (!has_room)
	{
		note_failure("there is no room for them");
		return NULL;
	}
	segment = create_segment(size);
	if (segment == NULL)
		return NULL;

	image = dsm_segment_address(segment);
	*image = header;
	memcpy((char *) image + header.ids, ids, nrules * sizeof(int64));
	memcpy((char *) image + header.set, set, VARSIZE(set));
	write_rows(image, rows);

	/* From here on nothing can fail. */
	dsm_pin_segment(segment);
	if (!enter_image(table, bus_id, image, dsm_segment_handle(segment), size))
	{
		/* Somebody else was quicker. */
		dsm_unpin_segment(dsm_segment_handle(segment));
		dsm_detach(segment);
		note_failure("there is no room for them");
		return NULL;
	}
	return segment;
}

/*
 * shared_rule_sets(): the images of this database, as far as they are of buses
 * that the role owns, or all for roles that monitor the server.
 */
Datum
eb_shared_rule_sets(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	ImageSlot  *slots = palloc(MAX_IMAGES * sizeof(ImageSlot));
	bool		sees_all = has_privs_of_role(GetUserId(), ROLE_PG_READ_ALL_STATS);

	InitMaterializedSRF(fcinfo, 0);
	if (directory == NULL)
		return (Datum) 0;
	LWLockAcquire(directory->piece.lock, LW_SHARED);
	memcpy(slots, directory->slots, MAX_IMAGES * sizeof(ImageSlot));
	LWLockRelease(directory->piece.lock);

	for (int i = 0; i < MAX_IMAGES; i++)
	{
		const ImageSlot *slot = &slots[i];
		const char *name;
		Datum		values[6];
		bool		nulls[6] = {false};

		if (slot->database != MyDatabaseId)
			continue;
		name = eb_bus_name(slot->bus_id, sees_all ? InvalidOid : GetUserId());
		if (name == NULL && !sees_all)
			continue;
		nulls[0] = name == NULL;
		values[0] = name == NULL ? (Datum) 0 : CStringGetTextDatum(name);
		values[1] = Int32GetDatum(slot->nrules);
		values[2] = Int64GetDatum(slot->size);
		values[3] = Int32GetDatum(slot->nattached);
		values[4] = BoolGetDatum(slot->is_current);
		values[5] = TimestampTzGetDatum(slot->built_at);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}
