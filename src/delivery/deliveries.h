/*-------------------------------------------------------------------------
 *
 * deliveries.h
 *	  Whom an event in the delivery log is owed to; see deliveries.c.
 *
 *-------------------------------------------------------------------------
 */
#ifndef EB_DELIVERIES_H
#define EB_DELIVERIES_H

typedef struct EbDelivery
{
	int64		target_id;
	Oid			lane;
} EbDelivery;

typedef struct EbDeliveryReader
{
	const uint8 *next;
	const uint8 *end;
} EbDeliveryReader;

extern bytea *eb_deliveries_form(const EbDelivery *deliveries,
								 int ndeliveries);
extern void eb_deliveries_read(EbDeliveryReader *reader,
							   const bytea *deliveries);
extern bool eb_deliveries_next(EbDeliveryReader *reader,
							   EbDelivery *delivery);
extern int	eb_deliveries_most(const EbDeliveryReader *reader);

#endif							/* EB_DELIVERIES_H */
