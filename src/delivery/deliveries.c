/*-------------------------------------------------------------------------
 *
 * deliveries.c
 *	  Whom an event in the delivery log is owed to.
 *
 * Each row of the log names the targets, rule by rule, and the lane of each.
 * Two arrays of numbers would be a quarter of a row, most of it their headers; so
 * the row has them as bytes: the number of a target and that of its lane, again
 * and again, each as the field's usual variable-length integer (LEB128: seven
 * bits a byte, the lowest first, the highest bit tells that more follow).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/array.h"

#include "compat.h"
#include "delivery/deliveries.h"

/* Bytes of a number, at most. */
#define MAX_NUMBER_LEN	10

PG_FUNCTION_INFO_V1(eb_form_deliveries);
PG_FUNCTION_INFO_V1(eb_deliveries_targets);
PG_FUNCTION_INFO_V1(eb_deliveries_lanes);

static uint8 *
write_number(uint8 *to, uint64 number)
{
	for (; number >= 0x80; number >>= 7)
		*to++ = (uint8) (number | 0x80);
	*to++ = (uint8) number;
	return to;
}

static void
malformed(void)
{
	elog(ERROR, "malformed row in the delivery log");
}

static uint64
read_number(EbDeliveryReader *reader)
{
	uint64		number = 0;

	for (int shift = 0; shift < 64; shift += 7)
	{
		uint8		byte;

		if (reader->next == reader->end)
			malformed();
		byte = *reader->next++;
		number |= (uint64) (byte & 0x7f) << shift;
		if ((byte & 0x80) == 0)
			return number;
	}
	malformed();
	return 0;					/* keep compiler quiet */
}

/* In the current memory context. */
bytea *
eb_deliveries_form(const EbDelivery *deliveries, int ndeliveries)
{
	bytea	   *result = palloc(VARHDRSZ + ndeliveries * 2 * MAX_NUMBER_LEN);
	uint8	   *to = (uint8 *) VARDATA(result);

	for (int i = 0; i < ndeliveries; i++)
	{
		to = write_number(to, (uint64) deliveries[i].target_id);
		to = write_number(to, deliveries[i].lane);
	}
	SET_VARSIZE(result, (char *) to - (char *) result);
	return result;
}

/* Deliveries that are not out of line, and not compressed. */
void
eb_deliveries_read(EbDeliveryReader *reader, const bytea *deliveries)
{
	reader->next = (const uint8 *) VARDATA_ANY(deliveries);
	reader->end = reader->next + VARSIZE_ANY_EXHDR(deliveries);
}

/* The next one; false if there is none. */
bool
eb_deliveries_next(EbDeliveryReader *reader, EbDelivery *delivery)
{
	uint64		lane;

	if (reader->next == reader->end)
		return false;
	delivery->target_id = (int64) read_number(reader);
	lane = read_number(reader);
	if (lane > PG_UINT32_MAX)
		malformed();
	delivery->lane = (Oid) lane;
	return true;
}

/* How many there can be, at most: none takes less than two bytes. */
int
eb_deliveries_most(const EbDeliveryReader *reader)
{
	return (reader->end - reader->next) / 2;
}

/* ---- for SQL ---- */

static void
get_elements(ArrayType *array, Oid type, int16 len, bool byval, char align,
			 Datum **elements, int *nelements)
{
	if (ARR_HASNULL(array))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("targets and lanes must not contain nulls")));
	deconstruct_array(array, type, len, byval, align, elements, NULL, nelements);
}

/* _deliveries(targets bigint[], lanes oid[]) */
Datum
eb_form_deliveries(PG_FUNCTION_ARGS)
{
	Datum	   *targets;
	Datum	   *lanes;
	int			ntargets;
	int			nlanes;
	EbDelivery *deliveries;

	get_elements(PG_GETARG_ARRAYTYPE_P(0), INT8OID, sizeof(int64),
				 FLOAT8PASSBYVAL, TYPALIGN_DOUBLE, &targets, &ntargets);
	get_elements(PG_GETARG_ARRAYTYPE_P(1), OIDOID, sizeof(Oid), true,
				 TYPALIGN_INT, &lanes, &nlanes);
	if (ntargets != nlanes)
		ereport(ERROR,
				(errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
				 errmsg("there must be as many lanes as targets")));
	deliveries = palloc(sizeof(EbDelivery) * Max(ntargets, 1));
	for (int i = 0; i < ntargets; i++)
	{
		deliveries[i].target_id = DatumGetInt64(targets[i]);
		deliveries[i].lane = DatumGetObjectId(lanes[i]);
	}
	PG_RETURN_BYTEA_P(eb_deliveries_form(deliveries, ntargets));
}

/* All of them, one column of them as Datums. */
static Datum *
read_column(const bytea *packed, bool lanes, int *n)
{
	EbDeliveryReader reader;
	EbDelivery	delivery;
	Datum	   *values;

	eb_deliveries_read(&reader, packed);
	values = palloc(sizeof(Datum) * Max(eb_deliveries_most(&reader), 1));
	for (*n = 0; eb_deliveries_next(&reader, &delivery); (*n)++)
		values[*n] = lanes ? ObjectIdGetDatum(delivery.lane) :
			Int64GetDatum(delivery.target_id);
	return values;
}

/* _targets_of(deliveries bytea) */
Datum
eb_deliveries_targets(PG_FUNCTION_ARGS)
{
	int			n;
	Datum	   *values = read_column(PG_GETARG_BYTEA_PP(0), false, &n);

	PG_RETURN_ARRAYTYPE_P(construct_array(values, n, INT8OID, sizeof(int64),
										  FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}

/* _lanes_of(deliveries bytea) */
Datum
eb_deliveries_lanes(PG_FUNCTION_ARGS)
{
	int			n;
	Datum	   *values = read_column(PG_GETARG_BYTEA_PP(0), true, &n);

	PG_RETURN_ARRAYTYPE_P(construct_array(values, n, OIDOID, sizeof(Oid), true,
										  TYPALIGN_INT));
}
