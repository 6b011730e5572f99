# Order under load: several workers, failures, and kills of the server and of
# workers.  Each transaction has its number before it waits for the row that
# orders it.  EB_CRASH_ROUNDS gives the number of rounds.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";

use EventbridgeTest::Crash;
use EventbridgeTest::Server;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = EventbridgeTest::Crash::node('main', q{eventbridge.retry_delay = '5ms'});
$node->safe_psql('postgres', <<'SQL');
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
my @serve = ($serve, '-c', '2', '-R', '40');

EventbridgeTest::Crash::server_rounds($node, [ $script, '-R', '400' ], \@serve);

my $workers = EventbridgeTest::Crash::load($node, @serve);
EventbridgeTest::Server::all_delivered_ok($node, 'everything has been delivered');
$workers->kill_kill;
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
