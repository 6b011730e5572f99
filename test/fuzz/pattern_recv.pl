#!/usr/bin/perl
# Fuzzes the binary form of event_pattern, as COPY reads it.
use strict;
use warnings;

use Encode ();
use FindBin;
use lib $FindBin::Bin;
use Fuzz;
use Patterns;

# One row of one column: signature, flags, length of the extension, number of
# columns, length and bytes of the value, end marker.
sub copy_file
{
	my ($value) = @_;

	return "PGCOPY\n\xff\r\n\0" . pack('NN n N', 0, 0, 1, length($value)) . $value . pack('n', 0xffff);
}

# The value as the server sends it: a version, and the text.
sub value
{
	my $version = rand() < 0.95 ? 1 : int(rand(256));

	return chr($version) . Encode::encode('UTF-8', Patterns::pattern());
}

Fuzz::run(
	name => 'pattern_recv',
	binary => 1,
	tokens => [ map { Encode::encode('UTF-8', $_) } @Patterns::tokens ],
	generate => \&value,
	setup => Patterns::probe() . 'CREATE TEMP TABLE received (pattern event_pattern);',
	# 08P01 is what a message that is too short raises, 22021 what bytes do that
	# are no text.
	allowed => qr/^(22|54|0A|08P01)/,
	statement => sub {
		my ($input, $file) = @_;

		open(my $out, '>:raw', $file) or die "$file: $!";
		print $out copy_file($input);
		close($out);
		return "TRUNCATE received;\n\\copy received FROM '$file' WITH (FORMAT binary)\n"
		  . "SELECT pg_temp.probe(pattern::text, ARRAY['{}']) FROM received;\n";
	});
