/*-------------------------------------------------------------------------
 *
 * init.c
 *	  Settings of the delivery room, and its start.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/guc.h"

#include "delivery/delivery.h"
#include "stream/capture.h"

int			eb_guc_bell = EB_BELL_NOTIFY;
int			eb_guc_poll_interval = 5000;
int			eb_guc_log_retention = 600;
int			eb_guc_log_segment_size = 32 * 1024;
int			eb_guc_invocation_timeout = 60000;
int			eb_guc_retry_delay = 1000;
bool		eb_guc_background_workers = true;
int			eb_guc_worker_idle_time = 60;

static const struct config_enum_entry bell_options[] = {
	{"notify", EB_BELL_NOTIFY, false},
	{"latch", EB_BELL_LATCH, false},
	{"off", EB_BELL_OFF, false},
	{NULL, 0, false}
};

static void
define_settings(void)
{
	DefineCustomEnumVariable("eventbridge.bell",
							 "How listening workers learn that there is work.",
							 "notify: NOTIFY by the writer, if a worker sleeps; "
							 "latch: NOTIFY by a background worker; "
							 "off: workers look at each poll_interval.",
							 &eb_guc_bell, EB_BELL_NOTIFY, bell_options,
							 PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("eventbridge.poll_interval",
							"Time after which a worker looks for work whatever the bell.",
							NULL,
							&eb_guc_poll_interval, 5000, 1, INT_MAX,
							PGC_SIGHUP, GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomIntVariable("eventbridge.log_retention",
							"Time for which delivered events stay in the delivery log.",
							NULL,
							&eb_guc_log_retention, 600, 0, INT_MAX,
							PGC_SUSET, GUC_UNIT_S, NULL, NULL, NULL);
	DefineCustomIntVariable("eventbridge.log_segment_size",
							"Size at which the delivery log goes on in the next of its tables.",
							NULL,
							&eb_guc_log_segment_size, 32 * 1024, 8, MAX_KILOBYTES,
							PGC_SUSET, GUC_UNIT_KB, NULL, NULL, NULL);
	DefineCustomIntVariable("eventbridge.invocation_timeout",
							"Time that one invocation of a function target may take; 0 is no limit.",
							NULL,
							&eb_guc_invocation_timeout, 60000, 0, INT_MAX,
							PGC_USERSET, GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomIntVariable("eventbridge.retry_delay",
							"Time until the first retry; it doubles with each further one, up to ten minutes.",
							NULL,
							&eb_guc_retry_delay, 1000, 1, 600000,
							PGC_SUSET, GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomBoolVariable("eventbridge.background_workers",
							 "Start background workers for deliveries, if the library is preloaded.",
							 NULL,
							 &eb_guc_background_workers, true,
							 PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("eventbridge.worker_idle_time",
							"Time after which a background worker without work ends, until it is needed again.",
							NULL,
							&eb_guc_worker_idle_time, 60, 1, INT_MAX / 1000,
							PGC_SIGHUP, GUC_UNIT_S, NULL, NULL, NULL);
}

/*
 * Called when the library is loaded, before the rooms that publish at
 * pre-commit register their callbacks, and before the prefix of the settings
 * is reserved.
 */
void
eb_delivery_init(void)
{
	define_settings();
	eb_append_init();
	eb_target_init();
	eb_log_init();
	eb_stream_wake = eb_bell_note_lane;
	eb_launcher_init();
}
