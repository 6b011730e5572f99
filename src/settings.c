/*-------------------------------------------------------------------------
 *
 * settings.c
 *	  The settings (GUC variables) of the extension, in one place.
 *
 * Region and account id are part of every ARN that the extension gives or
 * takes, so they are an administrator's choice for a whole database, not one
 * of the session.
 *
 * The settings of deliveries are in delivery/init.c.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <limits.h>
#include <string.h>

#include "utils/guc.h"

#include "settings.h"

char	   *eb_guc_region = NULL;
char	   *eb_guc_account_id = NULL;
int			eb_guc_shared_rule_memory = 1024 * 1024;
bool		eb_guc_time_to_live = false;
uint64		eb_settings_generation = 0;

/* A region is a word of an ARN: no colon, nothing that needs an escape. */
static bool
check_region(char **newval, void **extra, GucSource source)
{
	size_t		len = strlen(*newval);

	if (len > 0 && len < NAMEDATALEN &&
		strspn(*newval, "abcdefghijklmnopqrstuvwxyz0123456789-") == len)
		return true;
	GUC_check_errdetail("A region is a word of lower-case letters, digits and hyphens, such as \"us-east-1\".");
	return false;
}

static bool
check_account_id(char **newval, void **extra, GucSource source)
{
	if (strlen(*newval) == 12 && strspn(*newval, "0123456789") == 12)
		return true;
	GUC_check_errdetail("An account id has twelve digits.");
	return false;
}

static void
assign_arn_part(const char *newval, void *extra)
{
	eb_settings_generation++;
}

/* Called once, when the library is loaded. */
void
eb_define_settings(void)
{
	DefineCustomStringVariable("eventbridge.region",
							   "Region that stands in ARNs and events.",
							   NULL,
							   &eb_guc_region,
							   "us-east-1",
							   PGC_SUSET, 0,
							   check_region, assign_arn_part, NULL);

	DefineCustomStringVariable("eventbridge.account_id",
							   "Account id that stands in ARNs and events.",
							   NULL,
							   &eb_guc_account_id,
							   "000000000000",
							   PGC_SUSET, 0,
							   check_account_id, assign_arn_part, NULL);

	DefineCustomIntVariable("eventbridge.shared_rule_memory",
							"Limit of the shared memory for the rules of large buses, if the library is preloaded.",
							"With 0 each backend keeps the rules in its own memory.",
							&eb_guc_shared_rule_memory, 1024 * 1024, 0, MAX_KILOBYTES,
							PGC_SIGHUP, GUC_UNIT_KB, NULL, NULL, NULL);

	DefineCustomBoolVariable("eventbridge.time_to_live",
							 "Records of deleted rows say that the rows have expired.",
							 "They have the userIdentity of DynamoDB's time to live.",
							 &eb_guc_time_to_live,
							 false,
							 PGC_USERSET, 0,
							 NULL, NULL, NULL);

	/* After the last setting: misspelt names get a warning from now on. */
	MarkGUCPrefixReserved("eventbridge");
}
