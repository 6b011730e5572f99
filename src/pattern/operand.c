/*-------------------------------------------------------------------------
 *
 * operand.c
 *	  Operands of match expressions that have a syntax of their own:
 *	  numbers, blocks of addresses, wildcards.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "common/shortest_dec.h"
#include "utils/builtins.h"

#include "pattern/address.h"
#include "pattern/parse.h"

/*
 * A JSON number as numeric.  False if it has more digits than a jsonb value
 * can have, so that no event can hold it.
 */
bool
eb_parse_number(const char *text, Numeric *number)
{
	const char *exponent = strpbrk(text, "eE");

	/* numeric takes 131072 digits before the point and 16383 after it */
	if (exponent != NULL)
	{
		long		value = strtol(exponent + 1, NULL, 10);

		if (value > 16000 || value < -16000)
			return false;
	}
	if (strlen(text) > 16000)
		return false;
	*number = DatumGetNumeric(DirectFunctionCall3(numeric_in,
												  CStringGetDatum(text),
												  ObjectIdGetDatum(InvalidOid),
												  Int32GetDatum(-1)));
	return true;
}

/*
 * Is the number's value that of the shortest decimal form of the nearest
 * double?  AWS's engine compares no others.
 */
bool
eb_number_is_double(Numeric number)
{
	char	   *text = DatumGetCString(DirectFunctionCall1(numeric_out,
														   NumericGetDatum(number)));
	double		nearest = strtod(text, NULL);
	char		shortest[DOUBLE_SHORTEST_DECIMAL_LEN];
	Datum		back;

	if (isinf(nearest))
		return false;
	double_to_shortest_decimal_buf(nearest, shortest);
	back = DirectFunctionCall3(numeric_in, CStringGetDatum(shortest),
							   ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1));
	return DatumGetBool(DirectFunctionCall2(numeric_eq,
											NumericGetDatum(number), back));
}

/*
 * Reads "address/bits".  Returns NULL, or AWS's message.  Trailing slashes
 * are passed over, as AWS does; host bits are cleared.
 */
char *
eb_parse_cidr(const char *text, EbCidr *cidr)
{
	int			len = strlen(text);
	const char *slash;
	char	   *end;
	char	   *address;
	long		bits;

	while (len > 0 && text[len - 1] == '/')
		len--;
	slash = memchr(text, '/', len);
	if (slash == NULL || memchr(slash + 1, '/', text + len - slash - 1) != NULL)
		return pstrdup("Malformed CIDR, one '/' required");

	end = pnstrdup(slash + 1, text + len - slash - 1);
	if (!isdigit((unsigned char) end[strspn(end, "+-") == 1]) ||
		strspn(end + 1, "0123456789") != strlen(end) - 1 || strlen(end) > 10)
		return pstrdup("Malformed CIDR, mask bits must be an integer");
	bits = strtol(end, NULL, 10);
	if (bits < 0)
		return pstrdup("Malformed CIDR, mask bits must not be negative");

	address = pnstrdup(text, slash - text);
	if (!eb_looks_like_address(address, strlen(address)))
		return psprintf("Nonstandard IP address: %s", address);
	if (!eb_parse_address(address, strlen(address), cidr))
		return psprintf("Invalid IP address: %s", address);
	if (!cidr->is_v6 && bits > 31)
		return pstrdup("IPv4 mask bits must be < 32");
	if (bits > 127)
		return pstrdup("IPv6 mask bits must be < 128");

	cidr->bits = bits;
	for (int i = 0; i < 16; i++)
		if (i * 8 + 8 > bits)
			cidr->address[i] &= i * 8 >= bits ? 0 : 0xFF << (8 - bits % 8);
	return NULL;
}

/* NULL, or AWS's message; positions count the opening quote. */
char *
eb_check_wildcard(const char *text, int len)
{
	for (int i = 0; i < len; i++)
	{
		if (text[i] == '*' && i + 1 < len && text[i + 1] == '*')
			return psprintf("Consecutive wildcard characters at pos %d", i + 1);
		if (text[i] == '\\')
		{
			if (i + 1 == len || (text[i + 1] != '*' && text[i + 1] != '\\'))
				return psprintf("Invalid escape character at pos %d", i + 1);
			i++;
		}
	}
	return NULL;
}

/*
 * AWS's measure of a wildcard: the largest number of places in it at which a
 * reader can be at once, over all texts.  Once a star is reached the reader
 * stays there for good; beside, it is at every place up to which the text
 * read last agrees with a piece that follows a star.  The last piece includes
 * the closing quote.
 *
 * For each piece, the borders of its prefixes are counted along every other
 * piece (Knuth, Morris and Pratt): time is linear in the text for each piece,
 * and a text of EB_MAX_WILDCARD_STATES stars needs no counting.
 */
int
eb_wildcard_complexity(const char *text, int len)
{
	char	   *bytes = palloc(len + 1);
	int			starts[EB_MAX_WILDCARD_STATES + 2];
	int			npieces = 0;	/* after the first star */
	int			n = 0;
	int			most = 1;
	int		   *fail;
	int		   *depth;
	int		   *counts;

	for (int i = 0; i < len; i++)
	{
		if (text[i] == '*')
		{
			if (npieces > EB_MAX_WILDCARD_STATES)
				return npieces;
			starts[npieces++] = n;
			continue;
		}
		if (text[i] == '\\')
			i++;
		bytes[n++] = text[i];
	}
	if (npieces == 0)
		return 1;
	bytes[n++] = '"';
	starts[npieces] = n;

	/* counts[i]: prefixes of any piece that end at i, in the text of a piece */
	fail = palloc(n * sizeof(int));
	depth = palloc(n * sizeof(int));
	counts = palloc0(n * sizeof(int));
	for (int k = 0; k < npieces; k++)
	{
		const char *piece = bytes + starts[k];
		int			size = starts[k + 1] - starts[k];

		for (int i = 0, j = 0; i < size; i++)
		{
			if (i == 0)
				fail[0] = 0;
			else
			{
				while (j > 0 && piece[j] != piece[i])
					j = fail[j - 1];
				if (piece[j] == piece[i])
					j++;
				fail[i] = j;
			}
			depth[i] = 1 + (fail[i] > 0 ? depth[fail[i] - 1] : 0);
		}
		for (int t = 0; t < npieces; t++)
		{
			for (int i = starts[t], j = 0; i < starts[t + 1] && size > 0; i++)
			{
				if (j == size)
					j = fail[j - 1];
				while (j > 0 && piece[j] != bytes[i])
					j = fail[j - 1];
				if (piece[j] == bytes[i])
					j++;
				if (j > 0)
					counts[i] += depth[j - 1];
			}
		}
	}
	for (int i = starts[0]; i < n; i++)
		most = Max(most, counts[i]);
	return npieces + most;
}
