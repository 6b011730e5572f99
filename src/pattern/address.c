/*-------------------------------------------------------------------------
 *
 * address.c
 *	  IP addresses as AWS's engine reads them.
 *
 * PostgreSQL's inet reads other spellings (abbreviated IPv4 networks, IPv6
 * with a dotted quad, masks) and refuses some of these (leading zeros), so
 * the few rules are written down here:
 *
 * - IPv4 is four decimal numbers up to 255, in at most 15 characters; leading
 *   zeros do not make a number octal.
 * - IPv6 is groups of hexadecimal digits, in which leading zeros do not count,
 *   with at most one "::" that stands for at least one group; no dotted quad,
 *   no zone.
 * - An IPv4 address mapped into IPv6 (::ffff:a00:1) is the IPv4 address.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "pattern/address.h"

static bool
parse_v4(const char *str, int len, uint8 *address)
{
	const char *end = str + len;

	if (len > 15)
		return false;
	for (int i = 0; i < 4; i++)
	{
		int			value = 0;
		const char *first = str;

		for (; str < end && *str >= '0' && *str <= '9'; str++)
		{
			value = value * 10 + (*str - '0');
			if (value > 255)
				return false;
		}
		if (str == first)
			return false;
		address[i] = value;
		if (i < 3 && (str >= end || *str++ != '.'))
			return false;
	}
	return str == end;
}

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

static bool
parse_v6(const char *str, int len, uint8 *address)
{
	const char *end = str + len;
	int			ngroups = 0;
	int			gap = -1;		/* groups before "::" */

	memset(address, 0, 16);
	if (len < 2)
		return false;
	if (str[0] == ':')
	{
		if (str[1] != ':')
			return false;
		gap = 0;
		str += 2;
	}
	while (str < end)
	{
		uint32		value = 0;
		const char *first = str;

		for (; str < end && hex_digit(*str) >= 0; str++)
		{
			value = value * 16 + hex_digit(*str);
			if (value > 0xFFFF)
				return false;
		}
		if (str == first || ngroups == 8)
			return false;
		address[ngroups * 2] = value >> 8;
		address[ngroups * 2 + 1] = value & 0xFF;
		ngroups++;
		if (str == end)
			break;
		if (*str++ != ':' || str == end)
			return false;
		if (*str == ':')
		{
			if (gap >= 0)
				return false;
			gap = ngroups;
			str++;
		}
	}
	if (gap < 0)
		return ngroups == 8;
	if (ngroups == 8)
		return false;
	memmove(address + 16 - (ngroups - gap) * 2, address + gap * 2, (ngroups - gap) * 2);
	memset(address + gap * 2, 0, (8 - ngroups) * 2);
	return true;
}

bool
eb_parse_address(const char *str, int len, EbCidr *cidr)
{
	static const uint8 mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF};

	/* Most strings end here. */
	if (len < 2 || len > EB_MAX_ADDRESS_LEN ||
		(hex_digit(str[0]) < 0 && str[0] != ':'))
		return false;

	memset(cidr, 0, sizeof(EbCidr));
	if (parse_v4(str, len, cidr->address))
	{
		cidr->bits = 32;
		return true;
	}
	if (memchr(str, ':', len) == NULL || !parse_v6(str, len, cidr->address))
		return false;
	if (memcmp(cidr->address, mapped, sizeof(mapped)) == 0)
	{
		memmove(cidr->address, cidr->address + 12, 4);
		memset(cidr->address + 4, 0, 12);
		cidr->bits = 32;
		return true;
	}
	cidr->is_v6 = 1;
	cidr->bits = 128;
	return true;
}

bool
eb_looks_like_address(const char *str, int len)
{
	bool		colon = false;
	bool		only_hex = true;
	int			dots = 0;
	bool		only_decimal = true;
	bool		digit_before = false;

	for (int i = 0; i < len; i++)
	{
		colon |= str[i] == ':';
		only_hex &= str[i] == ':' || hex_digit(str[i]) >= 0;
		if (str[i] == '.')
		{
			only_decimal &= digit_before;
			digit_before = false;
			dots++;
		}
		else
		{
			digit_before = str[i] >= '0' && str[i] <= '9';
			only_decimal &= digit_before;
		}
	}
	return (only_hex && colon) || (only_decimal && digit_before && dots == 3);
}

bool
eb_cidr_contains(const EbCidr *block, const EbCidr *address)
{
	int			bytes = block->bits / 8;
	int			bits = block->bits % 8;

	if (block->is_v6 != address->is_v6 ||
		memcmp(block->address, address->address, bytes) != 0)
		return false;
	return bits == 0 ||
		((block->address[bytes] ^ address->address[bytes]) >> (8 - bits)) == 0;
}
