/*-------------------------------------------------------------------------
 *
 * rules_shared.h
 *	  Images of the rules of a bus, in shared memory; rules_shared.c tells
 *	  what they are.
 *
 *-------------------------------------------------------------------------
 */
#ifndef EB_RULES_SHARED_H
#define EB_RULES_SHARED_H

#include "storage/dsm.h"
#include "storage/itemptr.h"

#include "ruleset/ruleset.h"

/* A row of the table rule, as it was when it was read. */
typedef struct EbImageRow
{
	int64		rule_id;
	TransactionId xmin;
	ItemPointerData tid;
	uint32		position;		/* of its pattern in the set */
	uint32		name;			/* offsets among the names */
	uint32		owner;
} EbImageRow;

/* Stands at the start of a segment; offsets count from it. */
typedef struct EbRuleImage
{
	uint64		number;			/* no two images of a server's run have the same */
	uint32		nrules;
	Size		ids;			/* int64[nrules], ascending: by position */
	Size		row_numbers;	/* uint32[nrules]: the row, by position */
	Size		rows;			/* EbImageRow[nrules], in the order of names */
	Size		names;			/* terminated strings */
	Size		set;			/* EbPatternSet */
} EbRuleImage;

/* A row that is to be put into an image. */
typedef struct EbNewRow
{
	EbImageRow	row;			/* but name and owner */
	const char *name;
	const char *owner;
} EbNewRow;

static inline const void *
eb_image_at(const EbRuleImage *image, Size offset)
{
	return (const char *) image + offset;
}

static inline const EbImageRow *
eb_image_rows(const EbRuleImage *image)
{
	return eb_image_at(image, image->rows);
}

static inline const char *
eb_image_name(const EbRuleImage *image, uint32 name)
{
	return (const char *) eb_image_at(image, image->names) + name;
}

extern const EbImageRow *eb_image_find(const EbRuleImage *image, int64 rule_id);

extern void eb_shared_rules_init(void);
extern bool eb_shared_rules_possible(void);
extern bool eb_shared_rules_failed(void);
extern uint32 eb_shared_rules_look(Oid table, int64 bus_id, uint64 *number);
extern void eb_shared_rules_demand(Oid table, int64 bus_id, uint64 events,
								   uint64 *asked, uint64 *checked);
extern dsm_segment *eb_shared_rules_attach(Oid table, int64 bus_id);
extern dsm_segment *eb_shared_rules_publish(Oid table, int64 bus_id,
											const EbPatternSet *set,
											const int64 *ids, uint32 nrules,
											const EbNewRow *rows);
extern void eb_shared_rules_retire(Oid table, int64 bus_id);
extern void eb_shared_rules_retain(Oid table, bool (*exists) (int64 bus_id));

#endif							/* EB_RULES_SHARED_H */
