/*-------------------------------------------------------------------------
 *
 * settings.h
 *	  The settings (GUC variables) of the extension.
 *
 *-------------------------------------------------------------------------
 */
#ifndef EB_SETTINGS_H
#define EB_SETTINGS_H

/* eventbridge.region and eventbridge.account_id: what stands in every ARN. */
extern char *eb_guc_region;
extern char *eb_guc_account_id;

/* eventbridge.shared_rule_memory, in kB; see bus/rules_shared.c. */
extern int	eb_guc_shared_rule_memory;

/* eventbridge.time_to_live: rows that are deleted have expired. */
extern bool eb_guc_time_to_live;

/*
 * Rises whenever region or account id changes, so that whoever caches an ARN
 * can tell that it is out of date.
 */
extern uint64 eb_settings_generation;

extern void eb_define_settings(void);

#endif							/* EB_SETTINGS_H */
