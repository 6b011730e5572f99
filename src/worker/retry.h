/*-------------------------------------------------------------------------
 *
 * retry.h
 *	  When to try again: exponential back-off with jitter, Retry-After.
 *
 *-------------------------------------------------------------------------
 */
#ifndef EB_RETRY_H
#define EB_RETRY_H

/* As max_retries: none by us, who knows more sees to it. */
#define EB_RETRY_BY_OTHERS		(-1)

typedef struct EbRetryPolicy
{
	int			max_retries;
	int			first_delay_ms;
	int			max_delay_ms;
} EbRetryPolicy;

/* What eb_retry_after_ms() answers besides a number of milliseconds. */
#define EB_RETRY_AFTER_NONE		(-1)	/* says nothing, or nonsense */
#define EB_RETRY_AFTER_NEVER	(-2)	/* asks for no further attempt */

extern int64 eb_retry_delay_ms(const EbRetryPolicy *policy, int failures);
extern int64 eb_retry_after_ms(const char *value);

#endif							/* EB_RETRY_H */
