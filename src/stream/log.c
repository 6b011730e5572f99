/*-------------------------------------------------------------------------
 *
 * log.c
 *	  The log of streams: records that somebody will read later.
 *
 * enable_stream gives a table a row trigger with the argument log=on.  Which
 * stream that is follows from the table, so that a trigger made by hand
 * cannot write into somebody else's.  A record is kept if the stream keeps
 * records, or if a filter of a pipe that reads the stream wants it; a row that
 * nobody wants is not even copied.
 *
 * A row of the log has the transaction, the stream, and a pack of records, of
 * which it tells the lowest and the highest capture number; see pack.c.
 *
 * Order and positions.  Capture numbers rise in the order in which rows were
 * changed, since they are taken while the row is locked; so they order the
 * changes of one row, but a number may become visible after a higher one.
 * Therefore whoever reads first draws a line: a tick, which is a snapshot.
 * What is visible in a tick and not in the one before is a batch.  A sequence
 * number is the number of the tick, and behind it the capture number.  A
 * reader who goes on after the last number it saw misses nothing, and a
 * transaction that is open for long is in no one's way: its records come in a
 * later batch.  See read.c.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "storage/lmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"
#include "utils/xid8.h"

#include "compat.h"
#include "log/append.h"
#include "log/internal.h"
#include "stream/capture.h"
#include "stream/log.h"

PG_FUNCTION_INFO_V1(eb_invalidate_capture);
PG_FUNCTION_INFO_V1(eb_lock_table);
PG_FUNCTION_INFO_V1(eb_lock_tick);
PG_FUNCTION_INFO_V1(eb_filter_names);

EbAppendLog eb_stream_log = {
	.name = "stream_log",
	.index_suffix = "pack_idx",
	.turn = "stream_turn"
};

EbStreamWake eb_stream_wake = NULL;

void
eb_stream_log_init(void)
{
	eb_append_register(&eb_stream_log);
	eb_pack_init();
}

/* A column of the first row of SPI's result; false if it is null. */
static bool
get_value(int column, Datum *value)
{
	bool		isnull;

	*value = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc,
						   column, &isnull);
	return !isnull;
}

static EbPattern **
parse_filters(Datum array, int *nfilters)
{
	Datum	   *values;
	bool	   *nulls;
	EbPattern **filters;

	deconstruct_array(DatumGetArrayTypeP(array), TEXTOID, -1, false,
					  TYPALIGN_INT, &values, &nulls, nfilters);
	filters = palloc(sizeof(EbPattern *) * Max(*nfilters, 1));
	for (int i = 0; i < *nfilters; i++)
	{
		char	   *filter = TextDatumGetCString(values[i]);

		filters[i] = eb_pattern_parse(filter, strlen(filter), NULL);
	}
	return filters;
}

/*
 * A sequence number is not known yet when a row is changed; a filter that asks
 * for it is left to the reader.
 */
static bool
filters_wait_for_reader(const EbStreamWants *wants)
{
	static const char path[] = "dynamodb.SequenceNumber";

	for (int i = 0; i < wants->nfilters; i++)
	{
		if (eb_pattern_names_path(wants->filters[i], path, sizeof(path) - 1))
			return true;
	}
	return false;
}

/*
 * The stream of a table, and what is wanted of it.  The result is allocated
 * in the current memory context.
 */
EbStreamWants *
eb_stream_wants(Oid relid)
{
	static SPIPlanPtr plan = NULL;
	static const Oid types[] = {OIDOID};
	EbStreamWants *wants = palloc0(sizeof(EbStreamWants));
	MemoryContext context = CurrentMemoryContext;
	Datum		values[1] = {ObjectIdGetDatum(relid)};
	Datum		value;

	SPI_connect();
	if (eb_internal_read(&plan,
						 "SELECT stream_id, label, everything, filters, lanes"
						 " FROM eventbridge._stream_wants($1)",
						 1, types, values, NULL) > 0)
	{
		MemoryContext spi_context = MemoryContextSwitchTo(context);

		if (get_value(1, &value))
			wants->stream_id = DatumGetInt64(value);
		if (get_value(2, &value))
			wants->label = TextDatumGetCString(value);
		if (get_value(3, &value))
			wants->everything = DatumGetBool(value);
		if (get_value(4, &value))
			wants->filters = parse_filters(value, &wants->nfilters);
		if (get_value(5, &value))
		{
			ArrayType  *lanes = DatumGetArrayTypePCopy(value);

			wants->nlanes = ArrayGetNItems(ARR_NDIM(lanes), ARR_DIMS(lanes));
			wants->lanes = (Oid *) ARR_DATA_PTR(lanes);
		}
		wants->everything |= filters_wait_for_reader(wants);
		MemoryContextSwitchTo(spi_context);
	}
	SPI_finish();
	return wants;
}

/* Writes a pack of records that somebody wants. */
void
eb_stream_log_append(const EbStreamWants *wants, SubTransactionId subid,
					 TimestampTz captured_at, int64 first_number,
					 int64 last_number, StringInfo pack)
{
	Datum		values[EB_STREAM_LOG_NATTS];
	bool		nulls[EB_STREAM_LOG_NATTS] = {0};
	bytea	   *data = palloc(VARHDRSZ + (Size) pack->len);

	SET_VARSIZE(data, VARHDRSZ + pack->len);
	memcpy(VARDATA(data), pack->data, pack->len);
	values[EB_STREAM_LOG_XID - 1] =
		FullTransactionIdGetDatum(GetTopFullTransactionId());
	values[EB_STREAM_LOG_STREAM_ID - 1] = Int64GetDatum(wants->stream_id);
	values[EB_STREAM_LOG_CAPTURED_AT - 1] = TimestampTzGetDatum(captured_at);
	values[EB_STREAM_LOG_FIRST_NUMBER - 1] = Int64GetDatum(first_number);
	values[EB_STREAM_LOG_LAST_NUMBER - 1] = Int64GetDatum(last_number);
	values[EB_STREAM_LOG_PACK - 1] = PointerGetDatum(data);
	eb_append_row(&eb_stream_log, subid, values, nulls);
	pfree(data);

	if (eb_stream_wake != NULL)
	{
		for (int i = 0; i < wants->nlanes; i++)
			eb_stream_wake(wants->lanes[i]);
	}
}

/*
 * _invalidate_capture(relation oid): every session learns anew what is wanted
 * of the table's changes, others from this transaction's commit on.
 */
Datum
eb_invalidate_capture(PG_FUNCTION_ARGS)
{
	Oid			relid = PG_GETARG_OID(0);

	if (SearchSysCacheExists1(RELOID, ObjectIdGetDatum(relid)))
		CacheInvalidateRelcacheByRelid(relid);
	PG_RETURN_VOID();
}

/*
 * _lock_table(relation oid, exclusive boolean): as CREATE TRIGGER or, exclusive,
 * DROP TRIGGER does; LOCK TABLE knows tables by name only.
 */
Datum
eb_lock_table(PG_FUNCTION_ARGS)
{
	LockRelationOid(PG_GETARG_OID(0), PG_GETARG_BOOL(1) ?
					AccessExclusiveLock : ShareRowExclusiveLock);
	PG_RETURN_VOID();
}

/* _filter_names(filter, path): does it look at or below the path? */
Datum
eb_filter_names(PG_FUNCTION_ARGS)
{
	const EbPattern *filter = eb_pattern_detoast(PG_GETARG_DATUM(0));
	text	   *path = PG_GETARG_TEXT_PP(1);

	PG_RETURN_BOOL(eb_pattern_names_path(filter, VARDATA_ANY(path),
										 VARSIZE_ANY_EXHDR(path)));
}

/* _lock_tick(): who draws the next line, until the end of the transaction. */
Datum
eb_lock_tick(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(eb_lock(EB_LOCK_TICK, 0, 0, ExclusiveLock, false, false));
}
