/*-------------------------------------------------------------------------
 *
 * log.h
 *	  How eventbridge-worker logs.
 *
 *-------------------------------------------------------------------------
 */
#ifndef EB_LOG_H
#define EB_LOG_H

#include "common/logging.h"

extern void eb_log_timestamps(void);
extern char *eb_log_quote(const char *text);

#endif							/* EB_LOG_H */
