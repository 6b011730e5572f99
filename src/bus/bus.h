/*-------------------------------------------------------------------------
 *
 * bus.h
 *	  What the files of this room share.
 *
 *-------------------------------------------------------------------------
 */
#ifndef EB_BUS_H
#define EB_BUS_H

#include "lib/stringinfo.h"
#include "utils/jsonb.h"
#include "utils/relcache.h"
#include "utils/snapshot.h"
#include "utils/uuid.h"

#include "bus/publish.h"

/* A rule that wants an event. */
typedef struct EbMatchingRule
{
	char	   *name;
	char	   *owner;
} EbMatchingRule;

/* The same by its id; what rules_index.c finds. */
typedef struct EbIndexedRule
{
	int64		rule_id;
	char	   *name;
	char	   *owner;
} EbIndexedRule;

/* buses_cache.c */
extern bool eb_bus_exists(int64 bus_id);
extern const char *eb_bus_name(int64 bus_id, Oid roleid);
extern bool eb_bus_shows_rule(int64 bus_id, Oid roleid, const char *owner);
extern const char *eb_bus_name_of_arn(const char *name_or_arn);

/* rules_cache.c */
extern void eb_bus_init(void);
extern void eb_rules_forget_gone(void);

/* rules_match.c */
extern int	eb_bus_matching_targets(int64 bus_id, const JsonbValue *event,
									EbMatchedTarget **targets);
extern int	eb_bus_matching_rules(int64 bus_id, const JsonbValue *event,
								  EbMatchingRule **matching);

/* rules_index.c */
extern int	eb_bus_rules_by_index(Relation rule, Snapshot snapshot, int64 bus_id,
								  const JsonbValue *event, EbIndexedRule **found);

/* envelope.c */
extern void eb_envelope_new_id(pg_uuid_t *id);
extern void eb_envelope_format_id(const pg_uuid_t *id, char *buf);
extern void eb_envelope_format_time(TimestampTz time, char *buf);
extern JsonbValue *eb_envelope_value(const pg_uuid_t *id,
									 const EbEnvelope *event);
extern bool eb_envelope_compact(const char *json, int len, StringInfo out,
								JsonbValue **tree);

#define EB_ID_LEN		36		/* of an id as text */
#define EB_TIME_LEN		64		/* room for a time as text */

#endif							/* EB_BUS_H */
