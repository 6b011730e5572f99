/*-------------------------------------------------------------------------
 *
 * casefold.c
 *	  Comparison without regard to case; see casefold.h.
 *
 * The locale of the database has no say in it: the forms come from a table of
 * our own.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "mb/pg_wchar.h"

#include "pattern/casefold.h"

/* Forms in UTF-16; unused units are zero. */
typedef struct CaseForms
{
	uint16		character;
	uint16		lower[3];
	uint16		upper[3];
} CaseForms;

#include "pattern/casefold_data.h"

/* One form of a character in the database encoding, at most 3 x 3 bytes */
#define MAX_FORM_LEN 16

static const CaseForms *
find_forms(pg_wchar c)
{
	int			low = 0;
	int			high = lengthof(case_forms) - 1;

	while (low <= high)
	{
		int			middle = (low + high) / 2;

		if (case_forms[middle].character == c)
			return &case_forms[middle];
		if (case_forms[middle].character < c)
			low = middle + 1;
		else
			high = middle - 1;
	}
	return NULL;
}

/*
 * Writes a form in the database encoding; returns its length, or 0 if the
 * encoding does not have it, so that no event can show it.
 */
static int
encode_form(const uint16 *form, char *out)
{
	unsigned char utf8[MAX_FORM_LEN];
	int			len = 0;
	int			encoding = GetDatabaseEncoding();

	for (int i = 0; i < 3 && form[i] != 0; i++)
	{
		unicode_to_utf8(form[i], utf8 + len);
		len += pg_utf_mblen(utf8 + len);
	}
	if (encoding == PG_UTF8)
	{
		memcpy(out, utf8, len);
		return len;
	}
	else
	{
		unsigned char converted[MAX_FORM_LEN * MAX_CONVERSION_GROWTH];
		Oid			proc = FindDefaultConversionProc(PG_UTF8, encoding);

		if (!OidIsValid(proc))
			return 0;
		if (pg_do_encoding_conversion_buf(proc, PG_UTF8, encoding, utf8, len,
										  converted, sizeof(converted), true) != len)
			return 0;
		len = strlen((char *) converted);
		if (len > MAX_FORM_LEN)
			return 0;
		memcpy(out, converted, len);
		return len;
	}
}

/*
 * The character at a place as UTF-16 sees it, or 0 if it has no case: what
 * the encoding cannot name (SQL_ASCII beyond ASCII), what UTF-16 splits.
 */
static pg_wchar
character_at(const char *str, int len)
{
	int			encoding = GetDatabaseEncoding();

	if (!IS_HIGHBIT_SET(*str))
		return (unsigned char) *str;
	if (encoding == PG_SQL_ASCII)
		return 0;
	if (encoding == PG_UTF8)
		return len <= 3 ? utf8_to_unicode((const unsigned char *) str) : 0;
	else
	{
		unsigned char utf8[MAX_FORM_LEN];
		Oid			proc = FindDefaultConversionProc(encoding, PG_UTF8);

		if (!OidIsValid(proc) ||
			pg_do_encoding_conversion_buf(proc, encoding, PG_UTF8, (unsigned char *) str, len,
										  utf8, sizeof(utf8), true) != len)
			return 0;
		return strlen((char *) utf8) <= 3 ? utf8_to_unicode(utf8) : 0;
	}
}

/*
 * The two forms of the character at a place, as bytes; len2 = 0: there is one.
 */
static void
get_forms(const char *str, int len, char *form1, int *len1, char *form2, int *len2)
{
	pg_wchar	c = character_at(str, len);
	const CaseForms *forms;

	*len1 = len;
	memcpy(form1, str, len);
	*len2 = 0;
	if (c < 0x80)
	{
		if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'))
		{
			form1[0] = c | 0x20;
			form2[0] = c & ~0x20;
			*len2 = 1;
		}
		return;
	}
	forms = find_forms(c);
	if (forms == NULL)
		return;
	*len1 = encode_form(forms->lower, form1);
	*len2 = encode_form(forms->upper, form2);
	if (*len1 == *len2 && memcmp(form1, form2, *len1) == 0)
		*len2 = 0;
	if (*len1 == 0)
	{
		*len1 = *len2;
		memcpy(form1, form2, *len2);
		*len2 = 0;
	}
}

static void
append_unit(StringInfo out, const char *str, int len)
{
	char		form1[MAX_FORM_LEN];
	char		form2[MAX_FORM_LEN];
	int			len1;
	int			len2;

	get_forms(str, len, form1, &len1, form2, &len2);
	appendStringInfoCharMacro(out, (char) len1);
	appendStringInfoCharMacro(out, (char) len2);
	appendBinaryStringInfo(out, form1, len1);
	appendBinaryStringInfo(out, form2, len2);
}

void
eb_casefold_append(StringInfo out, const char *str, int len, bool reverse)
{
	int		   *starts;
	int			n = 0;

	if (!reverse)
	{
		for (int i = 0; i < len;)
		{
			int			size = Min(pg_mblen(str + i), len - i);

			append_unit(out, str + i, size);
			i += size;
		}
		return;
	}

	starts = palloc((len + 1) * sizeof(int));
	for (int i = 0; i < len; i += pg_mblen(str + i))
		starts[n++] = i;
	starts[n] = len;
	while (n-- > 0)
		append_unit(out, str + starts[n], starts[n + 1] - starts[n]);
	pfree(starts);
}

int
eb_casefold_match(const char *units, int units_len, const char *str, int len,
				  bool reverse)
{
	const char *end = units + units_len;
	int			done = 0;

	while (units < end)
	{
		int			len1 = (uint8) units[0];
		int			len2 = (uint8) units[1];
		const char *form1 = units + 2;
		const char *form2 = form1 + len1;

		if (len1 <= len - done &&
			memcmp(form1, reverse ? str + len - done - len1 : str + done, len1) == 0)
			done += len1;
		else if (len2 > 0 && len2 <= len - done &&
				 memcmp(form2, reverse ? str + len - done - len2 : str + done, len2) == 0)
			done += len2;
		else
			return -1;
		units = form2 + len2;
	}
	return done;
}

/*
 * Folding to upper case, and the result to lower case once more, brings the
 * forms of every character together: the Kelvin sign and k, sharp s and SS.
 */
static void
append_key(StringInfo out, const char *str, int len, int round)
{
	char		form1[MAX_FORM_LEN];
	char		form2[MAX_FORM_LEN];
	int			len1;
	int			len2;

	for (int i = 0; i < len;)
	{
		int			size = Min(pg_mblen(str + i), len - i);

		get_forms(str + i, size, form1, &len1, form2, &len2);
		if (round == 0)
			append_key(out, len2 > 0 ? form2 : form1, len2 > 0 ? len2 : len1, 1);
		else if (round == 1)
			append_key(out, form1, len1, 2);
		else
			appendBinaryStringInfo(out, len2 > 0 ? form2 : form1, len2 > 0 ? len2 : len1);
		i += size;
	}
}

void
eb_casefold_key(StringInfo out, const char *str, int len)
{
	append_key(out, str, len, 0);
}
