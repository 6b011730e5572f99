#!/usr/bin/perl
# Fuzzes the text form of event_pattern: parser, compiler, output, matcher.
use strict;
use warnings;

use FindBin;
use lib $FindBin::Bin;
use Fuzz;
use Patterns;

Fuzz::run(
	name => 'pattern_text',
	tokens => \@Patterns::tokens,
	generate => \&Patterns::pattern,
	setup => Patterns::probe(),
	statement => sub {
		my ($input) = @_;
		my $events = join(', ', map { Fuzz::literal(Patterns::event()) } 1 .. 3);

		return sprintf('SELECT pg_temp.probe(%s, ARRAY[%s]);', Fuzz::literal($input), $events);
	});
