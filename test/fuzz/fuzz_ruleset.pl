#!/usr/bin/perl
# Sets of generated patterns against generated events, with new seeds, until
# the time is up: match_any has to give what matches() gives.
#
#	fuzz_ruleset.pl [--seconds N] [--seed S]
#
# Connects by PGHOST, PGPORT, PGDATABASE and so on.  The database needs the
# extension; schema "generate" is made there and dropped.  A difference is
# printed with the seeds that show it, and the exit status is 1.
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
	my ($sql) = @_;
	open(my $out, '-|', 'psql', '-XqAt', '-v', 'ON_ERROR_STOP=1',
		'-c', 'SET client_min_messages = warning', '-c', $sql)
	  or die "psql: $!\n";
	my @rows = <$out>;
	close($out) or die "psql failed on: $sql\n";
	chomp @rows;
	return @rows;
}

psql('DROP SCHEMA IF EXISTS generate CASCADE');
system('psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-f', $generator) == 0
  or die "cannot load $generator\n";

while (time() < $end)
{
	my $s = "$seed." . $rounds++;

	# sizes differ from round to round, so that every form of a set is met
	my $size = (2, 3, 7, 30, 150, 500)[ $rounds % 6 ];
	my ($found, @wrong) = psql(qq{
WITH p AS MATERIALIZED (SELECT i, generate.pattern('p$s.' || i) AS pattern FROM generate_series(1, $size) i),
	e AS MATERIALIZED (SELECT i, generate.event('e$s.' || i) AS event FROM generate_series(1, 150) i),
	s AS MATERIALIZED (SELECT eventbridge.event_pattern_set(pattern ORDER BY i) AS patterns FROM p),
	w AS MATERIALIZED (SELECT e.i AS ei, e.event, array_agg(p.i ORDER BY p.i) FILTER (WHERE m) AS wanted
		FROM e, p, LATERAL (SELECT generate.matches(event, pattern) AS m OFFSET 0) m
		GROUP BY e.i, e.event HAVING bool_and(m IS NOT NULL)),
	f AS MATERIALIZED (SELECT ei, coalesce(wanted, '{}') AS wanted, eventbridge.match_any(event, patterns) AS found FROM w, s)
SELECT coalesce(sum(cardinality(wanted)), 0)::text FROM f
UNION ALL
SELECT format('set of $size, seed $s, event %s: found %s, wanted %s', ei, found, wanted) FROM f WHERE found <> wanted});
	$matches += $found;
	if (@wrong)
	{
		print "$_\n" for @wrong;
		exit 1;
	}
}
psql('DROP SCHEMA generate CASCADE');
print "ok - fuzz ruleset: $rounds rounds, $matches matches, seed $seed\n";
