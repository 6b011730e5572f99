# A dump takes along what is owed: deliveries that wait, retries, dead letters
# and messages; not what was delivered.  Restored, they are delivered.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";

use EventbridgeTest::Server;
use PostgreSQL::Test::Utils;
use Test::More;

my ($from, $to) = EventbridgeTest::Server::pair("eventbridge.retry_delay = '1ms'");

$from->safe_psql('postgres', <<'SQL');
CREATE EXTENSION eventbridge;
CREATE TABLE calls (v text);
CREATE FUNCTION note(e jsonb) RETURNS void LANGUAGE sql AS
	'INSERT INTO public.calls VALUES (e ->> ''v'')';
CREATE FUNCTION fail(e jsonb) RETURNS void LANGUAGE plpgsql AS
	$$BEGIN RAISE EXCEPTION 'not here'; END$$;
SET search_path = eventbridge, public;
SELECT create_queue('q'), create_queue('dead');
SELECT put_rule('note', '{"source": ["a"]}'), put_rule('retry', '{"source": ["b"]}'), put_rule('dead', '{"source": ["c"]}');
SELECT put_targets('note', '[
	{"Id": "f", "Arn": "arn:aws:lambda:us-east-1:000000000000:function:note", "InputPath": "$.detail"},
	{"Id": "q", "Arn": "arn:aws:sqs:us-east-1:000000000000:q", "InputPath": "$.detail"}]');
SELECT put_targets('retry', '[{"Id": "f", "Arn": "arn:aws:lambda:us-east-1:000000000000:function:fail", "InputPath": "$.detail"}]');
SELECT put_targets('dead', '[{"Id": "f", "Arn": "arn:aws:lambda:us-east-1:000000000000:function:fail", "InputPath": "$.detail",
	"RetryPolicy": {"MaximumRetryAttempts": 0}, "DeadLetterConfig": {"Arn": "arn:aws:sqs:us-east-1:000000000000:dead"}}]');
SELECT put_event('a', 't', '{"v": "delivered"}'), put_event('c', 't', '{"v": "dead"}');
SQL
$from->safe_psql('postgres', 'CALL eventbridge.run_deliveries()');
$from->safe_psql('postgres', <<'SQL');
SET eventbridge.retry_delay = '10min';
SELECT eventbridge.put_event('b', 't', '{"v": "retried"}');
CALL eventbridge.run_deliveries();
SELECT eventbridge.put_event('a', 't', '{"v": "waiting"}');
SELECT eventbridge.put_event('a', 't', '{"v": "waiting too"}');
SQL

EventbridgeTest::Server::move($from, $to);
is($to->safe_psql('postgres', 'SELECT count(*) FROM eventbridge.delivery_log'), '2', 'what was delivered stays behind');
$to->safe_psql('postgres', <<'SQL');
CREATE OR REPLACE FUNCTION fail(e jsonb) RETURNS void LANGUAGE sql AS
	'INSERT INTO public.calls VALUES (e ->> ''v'')';
UPDATE eventbridge.delivery_retry SET next_attempt = now();
SELECT eventbridge.put_event('a', 't', '{"v": "new"}');
SELECT eventbridge.redrive('dead');
CALL eventbridge.run_deliveries();
CALL eventbridge.run_deliveries();
SQL
is($to->safe_psql('postgres', "SELECT string_agg(v, ',' ORDER BY v) FROM calls"),
	'dead,delivered,new,retried,waiting,waiting too', 'everything has been delivered once');
is($to->safe_psql('postgres', "SELECT string_agg(body::json ->> 'v', ',' ORDER BY body::json ->> 'v') FROM eventbridge.receive_messages('q', 10)"),
	'delivered,new,waiting,waiting too', 'also into the queue');
is($to->safe_psql('postgres', 'SELECT sum(waiting + in_flight + retrying + dead) FROM eventbridge.delivery_status'),
	'0', 'nothing is left');

$from->stop;
$to->stop;
done_testing();
