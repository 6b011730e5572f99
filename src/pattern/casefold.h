/*-------------------------------------------------------------------------
 *
 * casefold.h
 *	  Comparison without regard to case, by AWS's rule.
 *
 * A pattern's character stands for its lower-case and its upper-case form, as
 * the root locale maps a single UTF-16 unit; the event has to show one of the
 * two.  So the relation is not symmetric: a pattern's sharp s matches "SS",
 * and a pattern's "SS" does not match a sharp s.  Characters outside the
 * basic plane stand for themselves.
 *
 * The two forms of each character are written down when the pattern is
 * compiled, in the database encoding; the event's text is then compared byte
 * by byte.  A folded string is a sequence of units
 *
 *		uint8 len1, uint8 len2, len1 bytes, len2 bytes
 *
 * with len2 = 0 where both forms are equal.  Neither form of a character
 * begins or ends with the other, so a comparison never has to go back.  For a
 * suffix the units stand in reverse order.
 *
 *-------------------------------------------------------------------------
 */
#ifndef EB_PATTERN_CASEFOLD_H
#define EB_PATTERN_CASEFOLD_H

#include "lib/stringinfo.h"

/* Appends the units of a string in the database encoding. */
extern void eb_casefold_append(StringInfo out, const char *str, int len,
							   bool reverse);

/*
 * The bytes of str that the units account for, from the start or, for
 * reversed units, from the end; -1 if str does not show them.
 */
extern int	eb_casefold_match(const char *units, int units_len,
							  const char *str, int len, bool reverse);

/*
 * Appends one folded form of a string to out: two strings of which one, as a
 * pattern, can match the other have the same form.  For index keys.
 */
extern void eb_casefold_key(StringInfo out, const char *str, int len);

#endif							/* EB_PATTERN_CASEFOLD_H */
