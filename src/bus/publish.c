/*-------------------------------------------------------------------------
 *
 * publish.c
 *	  Puts an event on a bus: asks the rules, and tells the sink.
 *
 * This is the hot path of whoever writes.  An event that no rule wants costs
 * one matching; its text is built only when a target wants it.  See publish.h
 * for what other rooms may call.
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

/*
 * The targets of the rules that want the event, in *targets; returns their
 * number.  The result is the caller's: the rules may be gone afterwards.
 */
static int
wanted_targets(const EbBusRules *rules, const JsonbValue *event,
			   EbMatchedTarget **targets)
{
	int		   *matching = palloc(rules->nrules * sizeof(int));
	int			nmatching = eb_bus_matching_rules(rules, event, matching);
	int			ntargets = 0;
	EbMatchedTarget *target;

	for (int i = 0; i < nmatching; i++)
		ntargets += rules->rules[matching[i]].ntargets;
	if (ntargets == 0)
		return 0;

	*targets = target = palloc(ntargets * sizeof(EbMatchedTarget));
	for (int i = 0; i < nmatching; i++)
	{
		const EbCachedRule *rule = &rules->rules[matching[i]];

		for (int j = 0; j < rule->ntargets; j++)
		{
			target->rule_id = rule->rule_id;
			target->target_id = rule->target_ids[j];
			target++;
		}
	}
	return ntargets;
}

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
	const EbBusRules *rules;
	MemoryContext work;
	MemoryContext oldcontext;
	EbMatchedTarget *targets;
	int			ntargets;

	eb_envelope_new_id(id);
	rules = eb_bus_rules(bus_id);
	if (rules == NULL || rules->ntargets == 0 || eb_publish_sink == NULL)
		return;

	work = create_work_context();
	oldcontext = MemoryContextSwitchTo(work);
	ntargets = wanted_targets(rules, eb_envelope_value(id, event), &targets);
	if (ntargets > 0)
	{
		StringInfoData text;
		EbPublishedEvent published = {0};

		initStringInfo(&text);
		eb_envelope_write(&text, id, event);
		published.id = *id;
		published.bus_id = bus_id;
		published.text = text.data;
		published.text_len = text.len;
		published.ingestion_time = GetCurrentTimestamp();
		published.group_key = event->group_key;
		MemoryContextSwitchTo(oldcontext);
		eb_publish_sink(&published, targets, ntargets);
	}
	MemoryContextSwitchTo(oldcontext);
	MemoryContextDelete(work);
}

void
eb_bus_publish(int64 bus_id, const EbPublishedEvent *event, Jsonb *parsed)
{
	const EbBusRules *rules = eb_bus_rules(bus_id);
	MemoryContext work;
	MemoryContext oldcontext;
	EbMatchedTarget *targets;
	int			ntargets;
	JsonbValue	value;

	if (rules == NULL || rules->ntargets == 0 || eb_publish_sink == NULL)
		return;

	work = create_work_context();
	oldcontext = MemoryContextSwitchTo(work);
	if (parsed == NULL)
		parsed = DatumGetJsonbP(DirectFunctionCall1(jsonb_in,
													CStringGetDatum(pnstrdup(event->text,
																			 event->text_len))));
	value.type = jbvBinary;
	value.val.binary.data = &parsed->root;
	value.val.binary.len = VARSIZE_ANY_EXHDR(parsed);
	ntargets = wanted_targets(rules, &value, &targets);
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
