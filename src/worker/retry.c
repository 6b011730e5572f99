/*-------------------------------------------------------------------------
 *
 * retry.c
 *	  When to try again: exponential back-off with jitter, Retry-After.
 *
 * After the n-th failure in a row the delay is first * 2^(n-1), at most max,
 * of which a random part of up to a half is taken off: many workers that
 * failed at the same moment do not come back at the same moment.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres_fe.h"

#include <curl/curl.h>
#include <time.h>
#include <unistd.h>

#include "common/pg_prng.h"
#include "retry.h"

/* A day: whoever asks for more does not want to be asked again. */
#define MAX_RETRY_AFTER_SECONDS 86400

/*
 * How long to wait after this many failures in a row (at least 1), in
 * milliseconds.
 */
int64
eb_retry_delay_ms(const EbRetryPolicy *policy, int failures)
{
	static bool seeded = false;
	int64		delay = policy->first_delay_ms;

	if (!seeded)
	{
		/* It need only differ between workers; no secret hangs on it. */
		pg_prng_seed(&pg_global_prng_state,
					 (uint64) time(NULL) ^ ((uint64) getpid() << 32));
		seeded = true;
	}
	for (int i = 1; i < failures && delay < policy->max_delay_ms; i++)
		delay *= 2;
	delay = Min(delay, policy->max_delay_ms);
	return delay - (int64) (delay / 2 * pg_prng_double(&pg_global_prng_state));
}

/*
 * Reads the value of a Retry-After header: a number of seconds or a date.
 * A date that has passed means at once.
 */
int64
eb_retry_after_ms(const char *value)
{
	const char *p = value;
	bool		negative = false;
	int64		seconds = 0;

	while (*p == ' ' || *p == '\t')
		p++;
	if (*p == '-')
	{
		negative = true;
		p++;
	}
	if (*p >= '0' && *p <= '9')
	{
		for (; *p >= '0' && *p <= '9'; p++)
			seconds = Min(seconds * 10 + (*p - '0'), PG_INT32_MAX);
		while (*p == ' ' || *p == '\t' || *p == '\r' || *p == '\n')
			p++;
		if (*p != '\0')
			return EB_RETRY_AFTER_NONE;
	}
	else
	{
		time_t		date = negative ? -1 : curl_getdate(p, NULL);

		if (date == -1)
			return EB_RETRY_AFTER_NONE;
		seconds = Max((int64) date - (int64) time(NULL), 0);
	}
	if (negative || seconds > MAX_RETRY_AFTER_SECONDS)
		return EB_RETRY_AFTER_NEVER;
	return seconds * 1000;
}
