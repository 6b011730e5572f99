/*-------------------------------------------------------------------------
 *
 * publish.h
 *	  Putting events on a bus from C, and the sink for what rules want.
 *
 * An event is matched in the transaction that puts it.  What a rule of the
 * bus wants is handed to the sink, which stores it so that it commits or
 * rolls back with that transaction; what no rule wants leaves nothing behind.
 * The delivery room installs the sink when the library is loaded.  While
 * there is none, matched events are dropped.
 *
 *-------------------------------------------------------------------------
 */
#ifndef EB_PUBLISH_H
#define EB_PUBLISH_H

#include "datatype/timestamp.h"
#include "lib/stringinfo.h"
#include "utils/jsonb.h"
#include "utils/uuid.h"

/*
 * An event travels over at most this many buses (the first one not counted),
 * so that rules which forward to each other's bus come to an end.
 */
#define EB_MAX_HOPS		16

/* The number of the bus "default". */
#define EB_DEFAULT_BUS	1

/*
 * What the text of an event is made of, but for its id; and what a new one is
 * told by.
 */
typedef struct EbEnvelope
{
	const char *source;
	const char *detail_type;
	const char *account;		/* these two NULL: as the settings say */
	const char *region;
	const char *detail;			/* compact text of a JSON object */
	int			detail_len;
	const JsonbValue *detail_value; /* of a new event: the same for the
									 * matcher, if the caller has it, or NULL */
	const char *resources;		/* compact text of a JSON array of strings, or
								 * NULL for none; terminated */
	TimestampTz time;			/* written in whole seconds, UTC */
	const char *group_key;		/* or NULL */
} EbEnvelope;

/* An event as it stands on a bus. */
typedef struct EbPublishedEvent
{
	pg_uuid_t	id;
	int64		bus_id;
	const EbEnvelope *made_of;	/* or NULL: it has a text */
	const char *text;			/* the envelope: compact JSON text in AWS's
								 * order of keys; not terminated */
	int			text_len;
	TimestampTz ingestion_time;
	const char *group_key;		/* events of one group are delivered in order
								 * to targets that ask for it; or NULL */
	int			hops;			/* buses that it was forwarded to so far */
} EbPublishedEvent;

typedef struct EbMatchedTarget
{
	int64		rule_id;
	int64		target_id;
} EbMatchedTarget;

/*
 * Called once per event that at least one target wants, in the transaction
 * that puts it.  The arguments live until it returns only.
 */
typedef void (*EbPublishSink) (const EbPublishedEvent *event,
							   const EbMatchedTarget *targets, int ntargets);

extern PGDLLIMPORT EbPublishSink eb_publish_sink;

typedef enum EbBusAction
{
	EB_BUS_PUT_EVENTS,			/* events:PutEvents */
	EB_BUS_PUT_RULE				/* events:PutRule */
} EbBusAction;

/* The bus of this name or ARN, or 0: ids begin with 1. */
extern int64 eb_bus_find(const char *name_or_arn);

/* May the role do this on the bus, as its owner or by put_permission? */
extern bool eb_bus_allows(int64 bus_id, Oid roleid, EbBusAction action);

/* Does the bus have an enabled rule? A cheap first question. */
extern bool eb_bus_has_rules(int64 bus_id);

/*
 * Makes an event and puts it on the bus, which should have rules; *id receives
 * its id.  No rights are checked.  This and the next leave some memory behind, as
 * much as an event or two take, in the current context: callers reset it from
 * event to event.
 */
extern void eb_bus_put(int64 bus_id, const EbEnvelope *event, pg_uuid_t *id);

/*
 * Puts an event that a rule forwards on the bus bus_id.  Its own bus and time of
 * ingestion are ignored.  No rights are checked, and no hops.
 */
extern void eb_bus_publish(int64 bus_id, const EbPublishedEvent *event);

/* The account and region that an event is to name. */
extern const char *eb_envelope_account(const EbEnvelope *event);
extern const char *eb_envelope_region(const EbEnvelope *event);

/* Appends the text of an event: compact JSON in AWS's order of keys. */
extern void eb_envelope_write(StringInfo buf, const pg_uuid_t *id,
							  const EbEnvelope *event);

/* The same as jsonb, in the current memory context; not with detail_value. */
extern Jsonb *eb_envelope_to_jsonb(const pg_uuid_t *id,
								   const EbEnvelope *event);

#endif							/* EB_PUBLISH_H */
