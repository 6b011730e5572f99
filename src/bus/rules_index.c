/*-------------------------------------------------------------------------
 *
 * rules_index.c
 *	  The rules that want an event, by the index on their patterns.
 *
 * Reading many rules into memory takes long, and so does reading again which
 * of them have changed.  A backend that is asked once or twice is better off
 * with the index, which is always up to date: an event costs as much as some
 * hundred rules to be read.  rules_renew.c decides which of the two it is.
 *
 * The caller need not have rights on the table, so the query runs as its
 * owner.  All its names are qualified, and no user code runs inside.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "bus/bus.h"
#include "compat.h"

static SPIPlanPtr plan = NULL;

static SPIPlanPtr
get_plan(void)
{
	const char *query =
		"SELECT rule_id, name, owner FROM eventbridge.rule "
		"WHERE event_pattern OPERATOR(eventbridge.~@) $1 "
		"AND bus_id OPERATOR(pg_catalog.=) $2 AND state OPERATOR(pg_catalog.<>) 'DISABLED' "
		"ORDER BY rule_id";
	Oid			types[] = {JSONBOID, INT8OID};

	if (plan == NULL)
	{
		SPIPlanPtr	prepared = SPI_prepare(query, lengthof(types), types);

		if (prepared == NULL)
			elog(ERROR, "could not prepare \"%s\": %s", query,
				 SPI_result_code_string(SPI_result));
		SPI_keepplan(prepared);
		plan = prepared;
	}
	return plan;
}

/* A column of a row of the result, copied to where SPI was called from. */
static char *
copy_name(int row, int column)
{
	char	   *value = SPI_getvalue(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column);
	Size		size = strlen(value) + 1;

	return memcpy(SPI_palloc(size), value, size);
}

/* The event as a value for the query; its detail may be jsonb already. */
static Jsonb *
copy_event(const JsonbValue *event)
{
	JsonbParseState *state = NULL;
	JsonbValue *sorted;

	if (event->type != jbvObject)
		return JsonbValueToJsonb((JsonbValue *) event);
	(void) pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	for (int i = 0; i < event->val.object.nPairs; i++)
	{
		(void) pushJsonbValue(&state, WJB_KEY, &event->val.object.pairs[i].key);
		(void) pushJsonbValue(&state, WJB_VALUE, &event->val.object.pairs[i].value);
	}
	sorted = pushJsonbValue(&state, WJB_END_OBJECT, NULL);
	return JsonbValueToJsonb(sorted);
}

/*
 * The rules of the bus that want the event, as the snapshot sees them, in
 * ascending order of their ids and in the current memory context; returns
 * their number.
 */
int
eb_bus_rules_by_index(Relation rule, Snapshot snapshot, int64 bus_id,
					  const JsonbValue *event, EbIndexedRule **found)
{
	Datum		values[2];
	Oid			userid;
	int			sec_context;
	int			result;
	int			n;

	SPI_connect();
	GetUserIdAndSecContext(&userid, &sec_context);
	SetUserIdAndSecContext(rule->rd_rel->relowner,
						   sec_context | SECURITY_LOCAL_USERID_CHANGE |
						   SECURITY_RESTRICTED_OPERATION);
	values[0] = JsonbPGetDatum(copy_event(event));
	values[1] = Int64GetDatum(bus_id);
	result = SPI_execute_snapshot(get_plan(), values, NULL, snapshot, InvalidSnapshot,
								  true, false, 0);
	if (result != SPI_OK_SELECT)
		elog(ERROR, "could not read the rules of a bus: %s", SPI_result_code_string(result));

	n = SPI_processed;
	*found = SPI_palloc(Max(n, 1) * sizeof(EbIndexedRule));
	for (int i = 0; i < n; i++)
	{
		bool		isnull;

		(*found)[i].rule_id = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[i],
														  SPI_tuptable->tupdesc, 1, &isnull));
		(*found)[i].name = copy_name(i, 2);
		(*found)[i].owner = copy_name(i, 3);
	}
	SetUserIdAndSecContext(userid, sec_context);
	SPI_finish();
	return n;
}
