/*-------------------------------------------------------------------------
 *
 * publish.c
 *	  Puts an event on a bus: asks the rules, and tells the sink.
 *
 * This is the hot path of whoever writes.  An event that no rule wants costs
 * one matching.  See publish.h for what other rooms may call.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "bus/bus.h"
#include "compat.h"
#include "json/parse.h"

EbPublishSink eb_publish_sink = NULL;

/* Hands an event over to the sink, ingested now, if a rule of its bus wants it. */
static void
publish(EbPublishedEvent *event)
{
	EbMatchedTarget *targets;
	int			ntargets;
	JsonbValue	value;

	if (event->made_of != NULL)
		value = *eb_envelope_value(&event->id, event->made_of);
	else
	{
		Jsonb	   *parsed = eb_jsonb_from_text(event->text, event->text_len);

		value.type = jbvBinary;
		value.val.binary.data = &parsed->root;
		value.val.binary.len = VARSIZE_ANY_EXHDR(parsed);
	}
	ntargets = eb_bus_matching_targets(event->bus_id, &value, &targets);
	if (ntargets == 0)
		return;
	event->ingestion_time = GetCurrentTimestamp();
	eb_publish_sink(event, targets, ntargets);
}

void
eb_bus_put(int64 bus_id, const EbEnvelope *event, pg_uuid_t *id)
{
	EbPublishedEvent published = {
		.bus_id = bus_id,
		.made_of = event,
		.group_key = event->group_key
	};

	eb_envelope_new_id(id);
	if (eb_publish_sink == NULL)
		return;
	published.id = *id;
	publish(&published);
}

void
eb_bus_publish(int64 bus_id, const EbPublishedEvent *event)
{
	EbPublishedEvent published = *event;

	if (eb_publish_sink == NULL || !eb_bus_has_rules(bus_id))
		return;
	published.bus_id = bus_id;
	publish(&published);
}
