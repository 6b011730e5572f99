/*-------------------------------------------------------------------------
 *
 * number.c
 *	  An approximate double of a numeric, fast.
 *
 * The server's own conversion prints the number and reads it again.  For a
 * search among bounds the leading sixteen decimal digits are enough, and they
 * can be read off the stored form, which has not changed since PostgreSQL 9.1
 * and cannot without breaking pg_upgrade: a header with sign and weight, then
 * digits of base 10000.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "utils/numeric.h"

#include "compat.h"
#include "ruleset/set.h"

#define SIGN_MASK		0xC000
#define LONG_NEGATIVE	0x4000
#define SHORT			0x8000
#define SPECIAL			0xC000
#define SPECIAL_MASK	0xF000
#define POSITIVE_INFINITY 0xD000
#define NEGATIVE_INFINITY 0xF000
#define SHORT_NEGATIVE	0x2000
#define SHORT_WEIGHT_SIGN 0x0040
#define SHORT_WEIGHT	0x003F

#define MAX_TABLE_WEIGHT 6

double
eb_number_approximate(Numeric number)
{
	static const double powers[] = {
		1e-24, 1e-20, 1e-16, 1e-12, 1e-8, 1e-4, 1, 1e4, 1e8, 1e12, 1e16, 1e20, 1e24
	};
	const char *data = VARDATA_ANY(number);
	int			size = VARSIZE_ANY_EXHDR(number);
	uint16		header;
	int16		weight;
	bool		negative;
	int64		leading = 0;
	int			ndigits;
	double		result;

	memcpy(&header, data, sizeof(header));
	data += sizeof(header);
	size -= sizeof(header);
	if ((header & SIGN_MASK) == SPECIAL)
	{
		if ((header & SPECIAL_MASK) == POSITIVE_INFINITY)
			return INFINITY;
		if ((header & SPECIAL_MASK) == NEGATIVE_INFINITY)
			return -INFINITY;
		return NAN;
	}
	if ((header & SIGN_MASK) == SHORT)
	{
		negative = (header & SHORT_NEGATIVE) != 0;
		weight = header & SHORT_WEIGHT;
		if (header & SHORT_WEIGHT_SIGN)
			weight |= ~SHORT_WEIGHT;
	}
	else
	{
		negative = (header & SIGN_MASK) == LONG_NEGATIVE;
		memcpy(&weight, data, sizeof(weight));
		data += sizeof(weight);
		size -= sizeof(weight);
	}

	ndigits = size / sizeof(int16);
	for (int i = 0; i < 4; i++)
	{
		int16		digit = 0;

		if (i < ndigits)
			memcpy(&digit, data + i * sizeof(digit), sizeof(digit));
		leading = leading * 10000 + digit;
	}
	weight -= 3;
	if (weight >= -MAX_TABLE_WEIGHT && weight <= MAX_TABLE_WEIGHT)
		result = leading * powers[weight + MAX_TABLE_WEIGHT];
	else if (leading == 0)
		result = 0;
	else
		result = leading * pow(10000.0, weight);
	return negative ? -result : result;
}
