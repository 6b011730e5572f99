/*-------------------------------------------------------------------------
 *
 * eventbridge.c
 *	  Module entry: magic block, settings, hooks.  No logic.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"

#include "bus/bus.h"
#include "compat.h"
#include "delivery/delivery.h"
#include "pipes/pipes.h"
#include "settings.h"
#include "stream/capture.h"

#ifdef PG_MODULE_MAGIC_EXT
PG_MODULE_MAGIC_EXT(.name = "eventbridge", .version = EVENTBRIDGE_VERSION);
#else
PG_MODULE_MAGIC;
#endif

void		_PG_init(void);

void
_PG_init(void)
{
	eb_delivery_init();
	eb_define_settings();
	eb_bus_init();
	eb_stream_log_init();
	eb_pipes_init();
}
