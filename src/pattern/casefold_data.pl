#!/usr/bin/perl
# Writes casefold_data.h: the characters of the basic plane whose lower-case
# or upper-case form differs from them, with both forms in UTF-16.  The forms
# are those of the Unicode Character Database that Perl carries, full case
# mapping of a single character, no locale.
#
#	perl src/pattern/casefold_data.pl > src/pattern/casefold_data.h
use strict;
use warnings;
use feature 'unicode_strings';
use Unicode::UCD;

my @rows;
for my $c (0x80 .. 0xFFFF)
{
	next if $c >= 0xD800 && $c <= 0xDFFF;
	my $char = chr($c);
	my ($lower, $upper) = (lc($char), uc($char));
	next if $lower eq $char && $upper eq $char;
	my @forms = map { my @u = map { ord } split //; die "long form" if @u > 3;
		[ @u, (0) x (3 - @u) ] } ($lower, $upper);
	die sprintf("ambiguous forms of %04X", $c)
	  if $lower ne $upper
	  && ( index($lower, $upper) == 0
		|| index($upper, $lower) == 0
		|| substr($lower, -1) eq substr($upper, -1) && (length $lower == 1 || length $upper == 1));
	push @rows, sprintf('{0x%04X, {%s}, {%s}}', $c,
		map { join(', ', map { sprintf('0x%04X', $_) } @$_) } @forms);
}

my $version = Unicode::UCD::UnicodeVersion();
print <<"EOF";
/*-------------------------------------------------------------------------
 *
 * casefold_data.h
 *	  Lower-case and upper-case forms of characters, Unicode $version.
 *
 * Written by casefold_data.pl; do not edit.
 *
 *-------------------------------------------------------------------------
 */
EOF
print "static const CaseForms case_forms[] = {\n\t", join(",\n\t", @rows), "\n};\n";
