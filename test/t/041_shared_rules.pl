# Rules of a large bus in shared memory: one backend makes the image, the others
# map it; each sees what it should see, and nothing is left behind.
use strict;
use warnings FATAL => 'all';

use FindBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

plan skip_all => 'this server has no background_psql that can be asked'
  unless PostgreSQL::Test::Cluster->can('background_psql')
  && eval { require PostgreSQL::Test::BackgroundPsql; 1 };

# Segments are files of the data directory, so that they can be counted.
my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', <<'CONF');
shared_preload_libraries = 'eventbridge'
eventbridge.background_workers = off
dynamic_shared_memory_type = mmap
restart_after_crash = on
autovacuum = off
CONF
$node->start;

sub count_segments
{
	return scalar(grep { !/\.\.?$/ } slurp_dir($node->data_dir . '/pg_dynshmem'));
}
my $segments = count_segments();

# A database with a bus of 1,500 rules, and functions for the tests.
sub create_rules
{
	my ($database) = @_;
	$node->safe_psql('postgres', "CREATE DATABASE $database");
	$node->safe_psql($database, 'CREATE EXTENSION eventbridge');
	$node->safe_psql($database,
		"SET search_path = eventbridge, public;\n"
		  . slurp_file("$FindBin::RealBin/../tools/generate.sql")
		  . <<'SQL');
SELECT create_event_bus('many');
CREATE TABLE public.event AS
	SELECT i, generate.event('shared e' || i) AS event FROM generate_series(1, 40) i;
CREATE FUNCTION public.pattern(i integer, salt text) RETURNS text LANGUAGE sql AS $$
	SELECT CASE WHEN i <= 300 THEN generate.pattern(salt || i)::text
		ELSE format('{"source": ["s%s"], "detail": {"k": [%s], "salt": ["%s"]}}', i % 5, i, salt) END $$;
CREATE TABLE public.pattern AS
	SELECT i, public.pattern(i, 'shared p')::event_pattern AS pattern FROM generate_series(1, 1500) i;
DELETE FROM public.event WHERE EXISTS (SELECT FROM public.pattern WHERE generate.matches(event, pattern) IS NULL);
INSERT INTO rule (bus_id, name, owner, event_pattern, event_pattern_text)
	SELECT bus_id, 'r' || i, current_user, pattern, pattern::text
	FROM event_bus, public.pattern WHERE event_bus.name = 'many';
-- names of rules that are found and should not be, or the other way round
CREATE FUNCTION public.wrong(part integer DEFAULT 1, parts integer DEFAULT 1) RETURNS text LANGUAGE sql AS $$
	SELECT concat_ws(' ', count(*) FILTER (WHERE found <> wanted), 'wrong of', count(*) || ',', sum(cardinality(wanted)) > 100 / parts)
	FROM (SELECT ARRAY(SELECT eventbridge.matching_rules(event, 'many')) AS found,
			ARRAY(SELECT name FROM eventbridge.rules
				WHERE event_bus_name = 'many' AND state <> 'DISABLED' AND eventbridge.matches(event, event_pattern)
				ORDER BY name COLLATE "C") AS wanted
		FROM public.event WHERE i % parts = part % parts) compared $$;
CREATE FUNCTION public.ask(n integer) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	PERFORM eventbridge.matching_rules('{"source": "s1", "detail": {"k": 301, "salt": "shared p"}}', 'many') FROM generate_series(1, n);
	RETURN string_agg(name, ' ') FROM eventbridge.matching_rules('{"source": "s1", "detail": {"k": 301, "salt": "shared p"}}', 'many') name
		WHERE name = 'r301' OR name NOT LIKE 'r%';
END $$;
CREATE FUNCTION public.image() RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(concat_ws(' ', event_bus_name, rules, backends, is_current), ', ' ORDER BY built_at) FROM eventbridge.shared_rule_sets() $$;
CREATE FUNCTION public.image_version() RETURNS timestamptz LANGUAGE sql AS $$
	SELECT max(built_at) FROM eventbridge.shared_rule_sets() WHERE is_current $$;
SQL
}

sub session
{
	my ($database) = @_;
	my $session = $node->background_psql($database, on_error_stop => 0);
	$session->query('SET search_path = eventbridge, public');
	return $session;
}

sub query
{
	my ($sql, $database) = @_;
	return $node->safe_psql($database // 'rules', "SET search_path = eventbridge, public;\n$sql");
}

create_rules('rules');
my $events = query('SELECT count(*) FROM event');
my $right = "0 wrong of $events, t";
is(query('SELECT image()'), '', 'no image before anybody has asked');

#
# One makes it, others map it.
#
my ($a, $b, $c) = map { session('rules') } 1 .. 3;
is($a->query('SELECT ask(20)'), 'r301', 'the first is answered by the index');
is(query('SELECT image()'), '', 'and makes no image yet');
is($b->query('SELECT ask(30)'), 'r301', 'after more events of another');
is(query('SELECT image()'), 'many 1500 1 t', 'that one makes an image');
my $version = query('SELECT image_version()');
$_->query('SELECT ask(10)') foreach $a, $c;
is(query('SELECT image()'), 'many 1500 3 t', 'the others use it');
is(query('SELECT image_version()'), $version, 'it is the same one');
is(count_segments(), $segments + 1, 'there is one segment');
is($_->query('SELECT wrong()'), $right, 'a backend finds what the matcher finds') foreach $a, $b, $c;
is( $c->query(q{
	WITH RECURSIVE context AS (
		SELECT c.*, row_number() OVER () AS n FROM pg_backend_memory_contexts c)
	SELECT sum(total_bytes) < (SELECT bytes FROM shared_rule_sets()) / 3
	FROM context WHERE name IN ('eventbridge rules of a bus', 'event rule set', 'event rules',
		'eventbridge rules', 'eventbridge targets', 'event rules by number')}),
	't', 'and has little of its own');

#
# Who may see it.
#
query(q{
CREATE ROLE nobody; CREATE ROLE monitor IN ROLE pg_monitor; CREATE ROLE owner;
UPDATE event_bus SET owner = 'owner' WHERE name = 'many'});
is(query('SET ROLE nobody; SELECT count(*) FROM shared_rule_sets()'), '0', 'not everybody sees it');
is(query('SET ROLE monitor; SELECT count(*) FROM shared_rule_sets()'), '1', 'monitors do');
is(query('SET ROLE owner; SELECT count(*) FROM shared_rule_sets()'), '1', 'so does the owner of the bus');
query(q{UPDATE event_bus SET owner = current_user WHERE name = 'many'});

# A query that the planner would like to run in parallel: tables cannot be read there.
is( query(q{
	SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0;
	SELECT count(*) FROM rule WHERE EXISTS (SELECT FROM shared_rule_sets() WHERE event_bus_name = 'many' AND rules > rule_id % 2)}),
	'1500', 'asked in the middle of a large query');

#
# Changes: one's own at once, others' after commit; with few events asked for,
# by the index, with more, from memory.
#
my $change = q{
	SELECT put_rule('new', '{"source": ["s1"]}', event_bus_name => 'many');
	SELECT put_rule('r301', '{"source": ["other"]}', event_bus_name => 'many');
	SELECT count(disable_rule('r' || i, 'many')) FROM generate_series(10, 60, 7) i;
	SELECT count(delete_rule('r' || i, 'many')) FROM generate_series(11, 40, 5) i;};
foreach my $events_asked (0, 10)
{
	my $how = $events_asked ? 'from memory' : 'by the index';

	$a->query("BEGIN; $change");
	is($a->query("SELECT ask($events_asked)"), 'new', "own changes, $how");
	is($a->query('SELECT wrong()'), $right, "and nothing else, $how");
	is($b->query("SELECT ask($events_asked)"), 'r301', "others' uncommitted ones, $how");
	is($b->query('SELECT wrong()'), $right, "nor else, $how");
	is(query("SELECT ask($events_asked)"), 'r301', "in a fresh backend, $how");
	$a->query('ROLLBACK');
	is($_->query("SELECT ask($events_asked)"), 'r301', "after rollback, $how") foreach $a, $b, $c;
	is($_->query('SELECT wrong()'), $right, "and all else, $how") foreach $a, $b, $c;
}
$a->query("BEGIN; SAVEPOINT s; $change; SELECT ask(10); ROLLBACK TO s");
is($a->query('SELECT ask(10)'), 'r301', 'after a subtransaction was rolled back');
is($a->query('SELECT wrong()'), $right, 'and all else');
$a->query('COMMIT');
$a->query($change);
is($_->query('SELECT ask(10)'), 'new', 'after commit') foreach $a, $b, $c;
is($_->query('SELECT wrong()'), $right, 'and all else') foreach $a, $b, $c;
is(query('SELECT image_version()'), $version, 'and still it is the same image');
query(q{
	SELECT delete_rule('new', 'many');
	SELECT put_rule('r301', pattern::text, event_bus_name => 'many') FROM pattern WHERE i = 301;
	SELECT count(put_rule('r' || i, pattern::text, event_bus_name => 'many', state => 'ENABLED')) FROM pattern WHERE i BETWEEN 10 AND 60;});
is($_->query('SELECT ask(10)'), 'r301', 'back again') foreach $a, $b;

# What a transaction has not committed gets into no image.
$version = query('SELECT image_version()');
$a->query(q{BEGIN; INSERT INTO rule (bus_id, name, owner, event_pattern)
	SELECT bus_id, 'u' || i, current_user, '{"source": ["s1"]}' FROM event_bus, generate_series(1, 700) i WHERE name = 'many'});
is(length($a->query('SELECT ask(20)')) > 700, 1, 'a transaction with many rules of its own');
is(query('SELECT image_version()'), $version, 'makes no image');
is($b->query('SELECT ask(20)'), 'r301', 'and others see none of them');
$a->query('ROLLBACK');
is($_->query('SELECT wrong()'), $right, 'nor does anybody after rollback') foreach $a, $b, $c;

# The rows move, their writers stay the same.
query('VACUUM FULL rule');
is($_->query('SELECT ask(10)'), 'r301', 'after VACUUM FULL') foreach $a, $b;
is($_->query('SELECT wrong()'), $right, 'and all else') foreach $a, $b;

#
# Many changes: another image; the old one lasts as long as it is used.
#
query(q{SELECT count(put_rule('r' || i, pattern(i, 'second'), event_bus_name => 'many')) FROM generate_series(1, 300) i;});
query('DELETE FROM event WHERE EXISTS (SELECT FROM rule WHERE generate.matches(event, event_pattern) IS NULL)');
$events = query('SELECT count(*) FROM event');
$right = "0 wrong of $events, t";
$a->query('SELECT ask(20)');
cmp_ok(query('SELECT image_version()'), 'ne', $version, 'another image after many changes');
$b->query('SELECT ask(20)');
like(query('SELECT image()'), qr/^many \d+ 1 f, many 1500 2 t$/, 'the old one is there while somebody uses it');
is(count_segments(), $segments + 2, 'two segments');
is($_->query('SELECT wrong()'), $right, 'each finds what it should') foreach $a, $b, $c;
$c->query('SELECT ask(20)');
is(query('SELECT image()'), 'many 1500 3 t', 'then it is gone');
is(count_segments(), $segments + 1, 'one segment');

#
# Backends end, the image stays for the next ones.
#
$version = query('SELECT image_version()');
$_->quit foreach $a, $b, $c;
ok($node->poll_query_until('rules', q{SELECT public.image() = 'many 1500 0 t'}), 'nobody uses it');
is(query('SELECT ask(10)'), 'r301', 'somebody new');
is(query('SELECT image_version()'), $version, 'has taken it');
$node->poll_query_until('rules', q{SELECT public.image() = 'many 1500 0 t'});

# A backend is terminated.
my $terminated = session('rules');
$terminated->query('SELECT ask(10)');
my $pid = $terminated->query('SELECT pg_backend_pid()');
is(query('SELECT image()'), 'many 1500 1 t', 'a backend that is to be terminated');
query("SELECT pg_terminate_backend($pid)");
ok($node->poll_query_until('rules', q{SELECT public.image() = 'many 1500 0 t'}), 'has gone');
eval { $terminated->quit };

#
# Many at once: each changes rules and compares.  The rules of a bus are changed
# by one transaction at a time, so that what it compares does not change.
#
query('CREATE TABLE public.answers (answer text)');
my $script = $node->basedir . '/change.sql';
append_to_file($script, <<'SQL');
\set k random(1, 400)
\set op random(1, 4)
BEGIN;
SELECT eventbridge.put_rule('extra' || :k, format('{"source": ["s%s"], "detail": {"k": [%s]}}', :k % 5, :k), event_bus_name => 'many');
\if :op = 1
SELECT count(eventbridge.delete_rule(name, 'many')) FROM (SELECT name FROM eventbridge.rules WHERE event_bus_name = 'many' AND name LIKE 'extra%' LIMIT 30) extra;
\endif
SELECT public.ask(5);
INSERT INTO public.answers SELECT public.wrong(:k, 8);
\if :op = 2
ROLLBACK;
\else
COMMIT;
\endif
SELECT public.ask(5);
SQL
$node->command_ok([ 'pgbench', '-n', '-c', '4', '-t', '20', '-f', $script,
		'-h', $node->host, '-p', $node->port, 'rules' ], 'many at once');
is(query(q{SELECT count(*) > 30 AND bool_and(answer ~ '^0 wrong of [1-9]') FROM answers}), 't', 'all answers are right');

#
# A database, a bus, the rules are no more.
#
create_rules('other');
query('SELECT ask(60)', 'other');
is(query('SELECT image()', 'other'), 'many 1500 0 t', 'another database has its own');
is(count_segments(), $segments + 2, 'two segments');
$node->safe_psql('postgres', 'DROP DATABASE other');
is(count_segments(), $segments + 1, 'the dropped database has none');

my $last = session('rules');
query(q{DELETE FROM rule WHERE name <> 'r301'});
is($last->query('SELECT ask(10)'), 'r301', 'few rules are left');
is(query('SELECT image()'), '', 'there is no image of them');
is(count_segments(), $segments, 'nor segment');

query(q{INSERT INTO rule (bus_id, name, owner, event_pattern)
	SELECT bus_id, 'r' || i, current_user, pattern FROM event_bus, pattern WHERE event_bus.name = 'many' AND i <> 301});
$last->query('SELECT ask(60)');
is(query('SELECT image()'), 'many 1500 1 t', 'many again');
query(q{DELETE FROM rule; SELECT delete_event_bus('many'); SELECT put_event('a', 'b', '{}')});
is(query('SELECT count(*) FROM shared_rule_sets() WHERE is_current'), '0', 'the bus is gone, and its image with it');
$last->query(q{SELECT put_event('a', 'b', '{}')});
is(count_segments(), $segments, 'and its segment');
$last->quit;

#
# A limit, which can be zero.
#
$node->safe_psql('postgres', 'DROP DATABASE rules');
create_rules('rules');
$right = query('SELECT wrong()');
like($right, qr/^0 wrong/, 'all is right in a new database');
foreach my $limit ('100kB', '0')
{
	$node->append_conf('postgresql.conf', "eventbridge.shared_rule_memory = $limit");
	$node->stop;
	$node->start;
	my $log = -s $node->logfile;
	is(query('SELECT ask(60); SELECT wrong(); SELECT image()'), "r301\n$right\n", "a limit of $limit");
	my $said = slurp_file($node->logfile, $log) =~ /could not put rules into shared memory: there is no room/;
	is($said ? 'said' : '', $limit eq '0' ? '' : 'said', 'what the log says');
	is(count_segments(), $segments, 'no segment');
}
$node->append_conf('postgresql.conf', 'eventbridge.shared_rule_memory = 64MB');
$node->reload;

# No segment can be made: that is no reason not to answer.
my $directory = $node->data_dir . '/pg_dynshmem';
my $log = -s $node->logfile;
chmod 0500, $directory;
is(query('SELECT ask(60); SELECT wrong(); SELECT image()'), "r301\n$right\n", 'no segment can be made');
chmod 0700, $directory;
like(slurp_file($node->logfile, $log),
	qr/LOG: .*eventbridge could not put rules into shared memory: could not open shared memory segment.*\n.*DETAIL:  The backend keeps them in its own memory\.\n.*HINT:  See eventbridge\.shared_rule_memory\./, 'the log says so');

#
# A process is killed: the server starts anew, without images, and makes others.
#
my $killed = session('rules');
$killed->query('SELECT ask(60)');
$pid = $killed->query('SELECT pg_backend_pid()');
is(query('SELECT image()'), 'many 1500 1 t', 'an image before the crash');
kill 'KILL', $pid;
eval { $killed->quit };
$node->poll_query_until('postgres', 'SELECT true');
is(query('SELECT image()'), '', 'none after it');
is(count_segments(), $segments, 'and no segment');
is(query('SELECT ask(60); SELECT wrong(); SELECT image()'), "r301\n$right\nmany 1500 1 t", 'a new one');

$node->stop;
done_testing();
