# Order under load: several workers, failures, and kills of the server and of
# workers.  Each transaction has its number before it waits for the row that
# orders it.  EB_CRASH_ROUNDS gives the number of rounds.
use strict;
use warnings FATAL => 'all';

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

my $rounds = $ENV{EB_CRASH_ROUNDS} || 3;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', <<'CONF');
shared_preload_libraries = 'eventbridge'
eventbridge.poll_interval = '300ms'
eventbridge.retry_delay = '5ms'
eventbridge.log_retention = 0
eventbridge.log_segment_size = '256kB'
restart_after_crash = on
max_worker_processes = 16
CONF
$node->start;
$node->safe_psql('postgres', <<'SQL');
CREATE EXTENSION eventbridge;
CREATE TABLE counter (g int PRIMARY KEY, n int NOT NULL DEFAULT 0);
INSERT INTO counter SELECT generate_series(1, 5);
CREATE TABLE noise (i int);
CREATE TABLE calls (id bigint GENERATED ALWAYS AS IDENTITY, g int, n int);
CREATE FUNCTION note(e jsonb) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	IF random() < 0.05 THEN
		RAISE EXCEPTION 'bad luck';
	END IF;
	INSERT INTO calls (g, n) VALUES ((e ->> 'g')::int, (e ->> 'n')::int);
END $$;
CREATE FUNCTION put(which int) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	next int;
BEGIN
	UPDATE counter SET n = n + 1 WHERE g = which RETURNING n INTO next;
	PERFORM eventbridge.put_event('load', 't', jsonb_build_object('g', which, 'n', next), group_key => which::text);
END $$;
SET search_path = eventbridge, public;
SELECT create_queue('q');
SELECT put_rule('load', '{"source": ["load"]}');
SELECT put_targets('load', '[
	{"Id": "f", "Arn": "arn:aws:lambda:us-east-1:000000000000:function:note", "InputPath": "$.detail", "Ordered": true},
	{"Id": "q", "Arn": "arn:aws:sqs:us-east-1:000000000000:q", "InputPath": "$.detail", "Ordered": true}]');
SQL

my $script = $node->basedir . '/load.sql';
append_to_file($script, <<'SQL');
\set g random(1, 5)
BEGIN;
INSERT INTO noise VALUES (1);
SELECT put(:g);
COMMIT;
SQL
my $serve = $node->basedir . '/serve.sql';
append_to_file($serve, "CALL eventbridge.run_deliveries(50);\n");

sub start
{
	my ($file, $clients, $rate) = @_;
	return IPC::Run::start(
		[ 'pgbench', '-n', '-c', $clients, '-T', '60', '-R', $rate, '-f', $file,
			'-h', $node->host, '-p', $node->port, 'postgres' ],
		'>', \my $out, '2>', \my $err);
}

for my $round (1 .. $rounds)
{
	my $load = start($script, 4, 400);
	my $workers = start($serve, 2, 40);
	usleep(800_000 + int(rand(1_500_000)));
	if ($round % 2)
	{
		$node->stop('immediate');
	}
	else
	{
		my $pid = $node->safe_psql('postgres',
			q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'eventbridge worker' LIMIT 1});
		kill 'KILL', $pid if $pid;
	}
	$load->finish;
	$workers->finish;
	$node->start if $round % 2;
	$node->poll_query_until('postgres', 'SELECT true');
}

my $workers = start($serve, 2, 40);
ok($node->poll_query_until('postgres', q{
	SELECT NOT EXISTS (SELECT FROM eventbridge.delivery_status
		WHERE waiting + in_flight + waiting_for_group + retrying + dead > 0)}), 'everything has been delivered');
kill 'TERM', $workers->{KIDS}[0]{PID};
$workers->finish;
my $put = $node->safe_psql('postgres', 'SELECT sum(n) FROM counter');
cmp_ok($put, '>', 100, "$put events were committed");
is($node->safe_psql('postgres', 'SELECT count(*) FROM calls'), $put, 'the function was called once for each');
is($node->safe_psql('postgres', q{
	SELECT count(*) FROM (SELECT n, lag(n, 1, 0) OVER (PARTITION BY g ORDER BY id) AS before FROM calls) AS c
	WHERE n <> before + 1}), '0', 'in order');
is($node->safe_psql('postgres', q{
	SELECT count(*) FROM (SELECT n, lag(n, 1, 0) OVER (PARTITION BY g ORDER BY message_no) AS before
		FROM eventbridge.queue_message, jsonb_to_record(body::jsonb) AS e (g int, n int)) AS c
	WHERE n <> before + 1}), '0', 'also in the queue');
is($node->safe_psql('postgres', 'SELECT count(*) FROM eventbridge.queue_message'), $put, 'which got each once');

$node->stop;
done_testing();
