# Indexes: case folding over the whole basic plane, crash recovery, many
# writers at once, a standby.
use strict;
use warnings FATAL => 'all';

use FindBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('index');
$node->init(allows_streaming => 1, extra => [ '--encoding=UTF8', '--locale=C' ]);
$node->append_conf('postgresql.conf', 'max_wal_size = 1GB');
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION eventbridge');

sub query
{
	my ($sql, $server) = @_;
	return ($server // $node)->safe_psql('postgres',
		"SET search_path = public, eventbridge; SET enable_seqscan = off;\n$sql");
}

#
# A pattern's character matches its lower-case and its upper-case form, so all
# three must have one key.  Both forms of each character that has them, from
# the table that the matcher uses.
#
my $rows = '';
my $count = 0;
foreach my $line (split /\n/, slurp_file("$FindBin::RealBin/../../src/pattern/casefold_data.h"))
{
	my ($char, $lower, $upper) = $line =~ /^\t\{(0x\w+), \{([^}]*)\}, \{([^}]*)\}\}/ or next;
	my @forms = map { join '', map { sprintf '\u%04x', hex } grep { hex } split /, / } $lower, $upper;
	my $key = sprintf '\u%04x', hex $char;

	$rows .= "$key\t$forms[0]\n$key\t$forms[1]\n" =~ s/\\/\\\\/gr;
	$count++;
}
cmp_ok($count, '>', 2000, 'characters with forms');
query(
	'CREATE TABLE forms (character text, form text); ' . "COPY forms FROM stdin;\n$rows\\.\n");
query(q{
CREATE TABLE folded AS
	SELECT DISTINCT ('{"v": "x' || form || 'y"}')::jsonb AS event FROM forms;
CREATE INDEX ON folded USING gin (event event_ops (prefixes = on));
ANALYZE folded;});
foreach my $way (
	[ 'equals-ignore-case', q{'{"v": [{"equals-ignore-case": "X' || character || 'y"}]}'} ],
	[ 'prefix', q{'{"v": [{"prefix": {"equals-ignore-case": "X' || character || '"}}]}'} ])
{
	is( query(
			qq{SELECT count(*), count(*) FILTER (WHERE NOT EXISTS (
				SELECT FROM folded WHERE event \@~ ($way->[1])::event_pattern AND event = ('{"v": "x' || form || 'y"}')::jsonb OFFSET 0))
			FROM forms WHERE matches(('{"v": "x' || form || 'y"}')::jsonb, ($way->[1])::event_pattern)}),
		2 * $count . '|0',
		"both forms of every character are found by $way->[0]");
}

#
# Crash recovery: what committed is found through the index, what did not is
# not, with entries in the pending list and without.
#
query(q{
CREATE TABLE events (id integer, event jsonb);
CREATE INDEX events_index ON events USING gin (event event_ops) WITH (fastupdate = on);
CREATE TABLE patterns (id integer, pattern event_pattern);
CREATE INDEX patterns_index ON patterns USING gin (pattern) WITH (fastupdate = off);
CHECKPOINT;
INSERT INTO events SELECT i, jsonb_build_object('account', (i % 100)::text, 'n', i) FROM generate_series(1, 2000) i;
INSERT INTO patterns SELECT i, jsonb_build_object('account', jsonb_build_array((i % 100)::text)) FROM generate_series(1, 2000) i;
DELETE FROM events WHERE id % 10 = 0;
UPDATE patterns SET pattern = '{"account": ["moved"]}' WHERE id % 10 = 1;});
my $open = $node->background_psql('postgres', on_error_stop => 0);
$open->query_safe(q{BEGIN;
INSERT INTO events SELECT i, '{"account": "7"}' FROM generate_series(5001, 5100) i;
INSERT INTO patterns SELECT i, '{"account": ["7"]}' FROM generate_series(5001, 5100) i;
SELECT 1;}) if $open->can('query_safe');
$node->stop('immediate');
$node->start;

sub found
{
	my ($server) = @_;
	return query(q{
SELECT count(*) FROM events WHERE event @~ '{"account": ["7"]}';
SELECT count(*) FROM events WHERE event @~ '{"n": [{"numeric": [">", 1990]}]}';
SELECT count(*) FROM patterns WHERE pattern ~@ '{"account": "7"}';
SELECT count(*) FROM patterns WHERE pattern ~@ '{"account": "moved"}';}, $server);
}
my $expected = "20\n9\n20\n200";
is(found(), $expected, 'after a crash');
query('VACUUM events; VACUUM patterns;');
is(found(), $expected, 'after a crash and VACUUM');
is(query(q{SELECT count(*) FROM events WHERE event @~ '{"account": ["10"]}'}), '0', 'deleted rows are gone');

#
# Many writers at once.
#
my $script = $node->basedir . '/writers.sql';
append_to_file($script, q{
\set k random(1, 1000000)
BEGIN;
INSERT INTO eventbridge_events SELECT :k + i, jsonb_build_object('account', (i % 10)::text, 'detail', jsonb_build_object('id', 'id-' || :k + i)) FROM generate_series(1, 5) i;
UPDATE eventbridge_events SET event = event || '{"changed": true}' WHERE event OPERATOR(eventbridge.@~) '{"account": ["3"], "changed": [{"exists": false}]}' AND id % 50 = :k % 50;
DELETE FROM eventbridge_events WHERE id % 97 = :k % 97 AND id < :k;
INSERT INTO eventbridge_patterns SELECT :k, jsonb_build_object('detail', jsonb_build_object('id', jsonb_build_array('id-' || :k)));
END;
});
query(q{
CREATE TABLE public.eventbridge_events (id integer, event jsonb);
CREATE INDEX ON eventbridge_events USING gin (event event_ops);
CREATE TABLE public.eventbridge_patterns (id integer, pattern event_pattern);
CREATE INDEX ON eventbridge_patterns USING gin (pattern);});
# Writers that change each other's rows may meet in a deadlock, and try again.
$node->pgbench('--no-vacuum --client=6 --jobs=2 --transactions=60 --max-tries=20',
	0, [qr/processed: 360\/360/], [qr/^(?!.*aborted)/s], 'writers', undef, '--file', $script);
my $scan = 'SET enable_seqscan = on; SET enable_bitmapscan = off;';
foreach my $sql (
	q{SELECT count(*), sum(id) FROM eventbridge_events WHERE event @~ '{"account": ["3"]}'},
	q{SELECT count(*), sum(id) FROM eventbridge_events WHERE event @~ '{"changed": [true]}'},
	q{SELECT count(*), sum(id) FROM eventbridge_events WHERE event @~ '{"detail": {"id": [{"exists": true}]}}'})
{
	is(query($sql), query("$scan $sql"), "index and scan agree: $sql");
}
is( query(q{SELECT count(*) FROM eventbridge_patterns p WHERE NOT EXISTS (
		SELECT FROM eventbridge_patterns q WHERE q.pattern ~@ jsonb_build_object('detail', jsonb_build_object('id', 'id-' || p.id)) AND q.id = p.id)}),
	'0', 'every pattern is found by its event');

#
# A standby answers from the index.
#
$node->backup('backup');
my $standby = PostgreSQL::Test::Cluster->new('index_standby');
$standby->init_from_backup($node, 'backup', has_streaming => 1);
$standby->start;
query(q{INSERT INTO events VALUES (9001, '{"account": "7"}')});
$node->wait_for_catchup($standby);
is(found($standby), $expected =~ s/^20/21/r, 'on a standby');

$standby->stop;
$node->stop;
done_testing();
