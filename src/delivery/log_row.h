/*-------------------------------------------------------------------------
 *
 * log_row.h
 *	  A row of the delivery log, of an event and back; see log_row.c.
 *
 *-------------------------------------------------------------------------
 */
#ifndef EB_LOG_ROW_H
#define EB_LOG_ROW_H

#include "bus/publish.h"
#include "delivery/deliveries.h"
#include "delivery/delivery.h"

/* Columns of delivery_log_N, in the order of sql/parts/delivery.sql. */
enum
{
	LOG_XID = 1,
	LOG_BUS_ID,
	LOG_INGESTION_TIME,
	LOG_EVENT_TIME,
	LOG_NO,
	LOG_HOPS,
	LOG_EVENT_ID,
	LOG_DELIVERIES,
	LOG_GROUP_KEY,
	LOG_ORDER_XID,
	LOG_EVENT,
	LOG_SOURCE,
	LOG_DETAIL_TYPE,
	LOG_ACCOUNT,
	LOG_REGION,
	LOG_RESOURCES,
	LOG_DETAIL,
	LOG_NATTS = LOG_DETAIL
};

extern void eb_log_row_form(const EbPublishedEvent *event, int32 no,
							const EbDelivery *deliveries, int ndeliveries,
							Datum *values, bool *nulls);
extern void eb_log_row_read(EbLogRow *row, const Datum *values,
							const bool *nulls);

#endif							/* EB_LOG_ROW_H */
