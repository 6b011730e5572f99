/*-------------------------------------------------------------------------
 *
 * secret.c
 *	  Secrets that the database knows by reference only.
 *
 * An API destination refers to a secret as env:NAME, an environment variable
 * of the worker, or as file:NAME, the first line of a file.  Whoever may
 * create API destinations could have any secret sent to himself in this way.
 * So only those are resolved that the worker was told to (--allow-secret),
 * and one that was allowed for a host goes nowhere else.
 *
 * The environment is read once, and the variables are removed from it:
 * commands that are started have no need of them.  A file is read each time,
 * so that a secret can be changed while the worker runs.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres_fe.h"

#include "secret.h"
#include "text.h"

typedef struct Secret
{
	char	   *reference;
	char	   *host;			/* or NULL: any */
	char	   *value;			/* NULL: is read from the file */
	struct Secret *next;
} Secret;

static Secret *secrets = NULL;

/* Could the text be the name of an environment variable? */
static bool
is_name(const char *text)
{
	return *text != '\0' && !(*text >= '0' && *text <= '9') &&
		text[strspn(text, "abcdefghijklmnopqrstuvwxyz"
					"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")] == '\0';
}

/* As the function _is_reference() of the database has it. */
bool
eb_secret_is_reference(const char *text)
{
	if (strncmp(text, "env:", 4) == 0)
		return is_name(text + 4);
	if (strncmp(text, "file:", 5) == 0)
	{
		const char *path = text + 5;

		if (*path == '/')
			path++;
		return *path != '\0' && *path != '/';
	}
	return false;
}

/* Takes a REFERENCE or REFERENCE@HOST.  False, and why, if it is none. */
bool
eb_secret_allow(const char *specification, const char **reason)
{
	Secret	   *secret = pg_malloc0(sizeof(Secret));
	char	   *at;

	secret->reference = pg_strdup(specification);
	at = strrchr(secret->reference, '@');
	if (at)
	{
		*at = '\0';
		secret->host = at + 1;
	}
	if (!eb_secret_is_reference(secret->reference))
	{
		*reason = "it must be env:NAME or file:NAME";
		return false;
	}
	if (secret->host && *secret->host == '\0')
	{
		*reason = "there is no host after the @";
		return false;
	}
	if (strncmp(secret->reference, "env:", 4) == 0)
	{
		const char *name = secret->reference + 4;
		const char *value = getenv(name);

		/* It may have been allowed before, for another host. */
		for (Secret *other = secrets; other && !value; other = other->next)
			if (strcmp(other->reference, secret->reference) == 0)
				value = other->value;
		if (value == NULL || *value == '\0')
		{
			*reason = "the environment variable is not set";
			return false;
		}
		secret->value = pg_strdup(value);
		unsetenv(name);
	}
	secret->next = secrets;
	secrets = secret;
	return true;
}

/*
 * What the reference stands for, malloc'd; or NULL, and why.  The reason
 * names neither.
 */
char *
eb_secret_resolve(const char *reference, const char **reason)
{
	for (Secret *secret = secrets; secret; secret = secret->next)
	{
		char	   *value;

		if (strcmp(secret->reference, reference) != 0)
			continue;
		value = secret->value ? pg_strdup(secret->value) :
			eb_text_first_line(reference + strlen("file:"));
		if (value && *value)
			return value;
		free(value);
		*reason = "a secret's file could not be read, or is empty";
		return NULL;
	}
	*reason = "a secret is not among those that the worker was allowed to use";
	return NULL;
}

/* May the secret be sent to this host? */
bool
eb_secret_may_go_to(const char *reference, const char *host)
{
	for (Secret *secret = secrets; secret; secret = secret->next)
		if (strcmp(secret->reference, reference) == 0 &&
			(secret->host == NULL || pg_strcasecmp(secret->host, host) == 0))
			return true;
	return false;
}
