#!/usr/bin/perl
# Generated patterns and events through the GIN operator classes, with new
# seeds, until the time is up: what an index finds has to be what matches()
# says, while rows come, change and go.
#
#	fuzz_index.pl [--seconds N] [--seed S]
#
# Connects by PGHOST, PGPORT, PGDATABASE and so on.  The database needs the
# extension; schemas "generate" and "fuzz_index" are made there and dropped.
# A difference is printed with the seeds that show it, and the exit status is 1.
use strict;
use warnings;
use FindBin;
use Getopt::Long;

my ($seconds, $seed) = (20, 1);
GetOptions('seconds=i' => \$seconds, 'seed=i' => \$seed)
  or die "usage: $0 [--seconds N] [--seed S]\n";

my $generator = "$FindBin::Bin/../tools/generate.sql";
my $end = time() + $seconds;
my ($rounds, $matches) = (0, 0);

sub psql
{
	my (@statements) = @_;
	open(my $out, '-|', 'psql', '-XqAt', '-v', 'ON_ERROR_STOP=1',
		map { ('-c', $_) } 'SET client_min_messages = warning', 'SET search_path = fuzz_index, eventbridge', @statements)
	  or die "psql: $!\n";
	my @rows = <$out>;
	close($out) or die "psql failed on: @statements\n";
	chomp @rows;
	return @rows;
}

psql('DROP SCHEMA IF EXISTS generate CASCADE', 'DROP SCHEMA IF EXISTS fuzz_index CASCADE');
system('psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-f', $generator) == 0
  or die "cannot load $generator\n";

# Which class answers, which statement finds the pairs through it.
my @ways = (
	[ 'events (event event_ops)', 'events' ],
	[ 'events (event event_ops (prefixes = on))', 'events' ],
	[ 'patterns (pattern event_pattern_ops)', 'patterns' ]);

while (time() < $end)
{
	my $s = "$seed." . $rounds++;
	my ($index, $side) = @{ $ways[ $rounds % @ways ] };
	my $fastupdate = $rounds % 2 ? 'on' : 'off';
	my $found = $side eq 'events'
	  ? 'patterns p, LATERAL (SELECT id FROM events WHERE event @~ p.pattern OFFSET 0) x(event)'
	  : 'events e, LATERAL (SELECT id FROM patterns WHERE pattern ~@ e.event OFFSET 0) x(pattern)';
	my $ids = $side eq 'events' ? 'p.id AS pattern, x.event' : 'x.pattern, e.id AS event';

	my ($n, @wrong) = psql(
		'CREATE SCHEMA fuzz_index',
		"CREATE TABLE events AS SELECT i AS id, generate.event('e$s.' || i) AS event FROM generate_series(1, 150) i",
		"CREATE TABLE patterns AS SELECT i AS id, generate.pattern('p$s.' || i) AS pattern FROM generate_series(1, 150) i",
		"CREATE INDEX ON " . $index =~ s/ / USING gin /r . " WITH (fastupdate = $fastupdate)",
		"INSERT INTO events SELECT i, generate.event('f$s.' || i) FROM generate_series(201, 250) i",
		"INSERT INTO patterns SELECT i, generate.pattern('q$s.' || i) FROM generate_series(201, 250) i",
		"UPDATE events SET event = generate.event('g$s.' || id) WHERE id % 5 = 0",
		"UPDATE patterns SET pattern = generate.pattern('r$s.' || id) WHERE id % 5 = 0",
		'DELETE FROM events WHERE id % 7 = 0',
		'DELETE FROM patterns WHERE id % 7 = 0',
		$rounds % 3 ? 'VACUUM events, patterns' : 'SELECT',
		# events that the matcher refuses for some pattern are left out
		q{CREATE TABLE wanted AS SELECT p.id AS pattern, e.id AS event, generate.matches(event, pattern) AS m FROM patterns p, events e},
		q{DELETE FROM events e USING wanted w WHERE w.event = e.id AND w.m IS NULL},
		q{SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off},
		"CREATE TABLE found AS SELECT $ids FROM $found",
		q{SELECT count(*) FROM found},
		qq{SELECT format('round $s, $index: pattern %s %s, event %s %s: found %s, wanted %s', x.pattern, p.pattern, x.event, e.event, f IS NOT NULL, coalesce(m, false))
			FROM (SELECT pattern, event, f, m FROM found f FULL JOIN (SELECT * FROM wanted WHERE m) w USING (pattern, event)) x
				LEFT JOIN patterns p ON p.id = x.pattern JOIN events e ON e.id = x.event
			WHERE f IS NULL OR m IS NULL},
		'DROP SCHEMA fuzz_index CASCADE');
	$matches += $n;
	if (@wrong)
	{
		print "$_\n" for @wrong;
		exit 1;
	}
}
psql('DROP SCHEMA generate CASCADE');
print "ok - fuzz index: $rounds rounds, $matches matches, seed $seed\n";
