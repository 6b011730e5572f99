/*-------------------------------------------------------------------------
 *
 * log.h
 *	  How eventbridge-worker logs.
 *
 *-------------------------------------------------------------------------
 */
#ifndef EB_LOG_H
#define EB_LOG_H

typedef enum EbLogLevel
{
	EB_LOG_DEBUG,
	EB_LOG_INFO,
	EB_LOG_WARNING,
	EB_LOG_ERROR
} EbLogLevel;

#define eb_log_error(...) \
	eb_log(EB_LOG_ERROR, "error: ", __VA_ARGS__)
#define eb_log_error_detail(...) \
	eb_log(EB_LOG_ERROR, "detail: ", __VA_ARGS__)
#define eb_log_error_hint(...) \
	eb_log(EB_LOG_ERROR, "hint: ", __VA_ARGS__)
#define eb_log_warning(...) \
	eb_log(EB_LOG_WARNING, "warning: ", __VA_ARGS__)
#define eb_log_warning_detail(...) \
	eb_log(EB_LOG_WARNING, "detail: ", __VA_ARGS__)
#define eb_log_info(...) \
	eb_log(EB_LOG_INFO, "", __VA_ARGS__)
#define eb_log_debug(...) \
	eb_log(EB_LOG_DEBUG, "", __VA_ARGS__)

extern void eb_log_set_level(EbLogLevel level);
extern void eb_log_timestamps(void);
extern void eb_log(EbLogLevel level, const char *label, const char *format,...)
			pg_attribute_printf(3, 4);
extern char *eb_log_quote(const char *text);

#endif							/* EB_LOG_H */
