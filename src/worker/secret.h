/*-------------------------------------------------------------------------
 *
 * secret.h
 *	  Secrets that the database knows by reference only.
 *
 *-------------------------------------------------------------------------
 */
#ifndef EB_SECRET_H
#define EB_SECRET_H

extern bool eb_secret_allow(const char *specification, const char **reason);
extern bool eb_secret_is_reference(const char *text);
extern char *eb_secret_resolve(const char *reference, const char **reason);
extern bool eb_secret_may_go_to(const char *reference, const char *host);

#endif							/* EB_SECRET_H */
