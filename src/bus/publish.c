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
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "bus/bus.h"
#include "compat.h"

EbPublishSink eb_publish_sink = NULL;

/* A context for the work on one event; contexts of this size are recycled. */
static MemoryContext
create_work_context(void)
{
	return AllocSetContextCreate(CurrentMemoryContext,
								 "eventbridge publish",
								 ALLOCSET_DEFAULT_SIZES);
}

void
eb_bus_put(int64 bus_id, const EbNewEvent *event, pg_uuid_t *id)
{
	MemoryContext work;
	MemoryContext oldcontext;
	EbMatchedTarget *targets;
	int			ntargets;

	eb_envelope_new_id(id);
	if (eb_publish_sink == NULL || !eb_bus_has_rules(bus_id))
		return;

	work = create_work_context();
	oldcontext = MemoryContextSwitchTo(work);
	ntargets = eb_bus_matching_targets(bus_id, eb_envelope_value(id, event),
									   &targets);
	if (ntargets > 0)
	{
		EbPublishedEvent published = {
			.id = *id,
			.bus_id = bus_id,
			.made_of = event,
			.ingestion_time = GetCurrentTimestamp(),
			.group_key = event->group_key
		};

		MemoryContextSwitchTo(oldcontext);
		eb_publish_sink(&published, targets, ntargets);
	}
	MemoryContextSwitchTo(oldcontext);
	MemoryContextDelete(work);
}

void
eb_bus_publish(int64 bus_id, const EbPublishedEvent *event, Jsonb *parsed)
{
	MemoryContext work;
	MemoryContext oldcontext;
	EbMatchedTarget *targets;
	int			ntargets;
	JsonbValue	value;

	if (eb_publish_sink == NULL || !eb_bus_has_rules(bus_id))
		return;

	work = create_work_context();
	oldcontext = MemoryContextSwitchTo(work);
	if (parsed == NULL)
		parsed = eb_envelope_to_jsonb(event->text, event->text_len);
	value.type = jbvBinary;
	value.val.binary.data = &parsed->root;
	value.val.binary.len = VARSIZE_ANY_EXHDR(parsed);
	ntargets = eb_bus_matching_targets(bus_id, &value, &targets);
	if (ntargets > 0)
	{
		EbPublishedEvent published = *event;

		published.bus_id = bus_id;
		MemoryContextSwitchTo(oldcontext);
		eb_publish_sink(&published, targets, ntargets);
	}
	MemoryContextSwitchTo(oldcontext);
	MemoryContextDelete(work);
}
