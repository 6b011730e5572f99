/*-------------------------------------------------------------------------
 *
 * address.h
 *	  IP addresses as AWS's engine reads them.
 *
 *-------------------------------------------------------------------------
 */
#ifndef EB_PATTERN_ADDRESS_H
#define EB_PATTERN_ADDRESS_H

#include "pattern/pattern.h"

/* The longest text that can be an address. */
#define EB_MAX_ADDRESS_LEN 64

/* Reads an address literal; *cidr becomes the block of it alone. */
extern bool eb_parse_address(const char *str, int len, EbCidr *cidr);

/* Does the text consist of what an address consists of, right or wrong? */
extern bool eb_looks_like_address(const char *str, int len);

/* Does the block hold the address (a block of full length)? */
extern bool eb_cidr_contains(const EbCidr *block, const EbCidr *address);

#endif							/* EB_PATTERN_ADDRESS_H */
