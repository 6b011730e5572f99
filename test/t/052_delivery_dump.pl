# A dump takes along what is owed: deliveries that wait, retries, dead letters
# and messages; not what was delivered.  Restored, they are delivered.  A FIFO
# queue keeps its order, what is in flight, and what it knows of duplicates.
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

$from->safe_psql('postgres', <<'SQL');
SELECT eventbridge.create_queue('groups.fifo', '{"VisibilityTimeout": 600}');
SELECT eventbridge.send_message('groups.fifo', m, message_group_id => left(m, 1), message_deduplication_id => m)
FROM unnest('{a1,a2,b1,b2}'::text[]) AS m;
SQL
my $in_flight = $from->safe_psql('postgres', "SELECT message_id, receipt_handle, body FROM eventbridge.receive_messages('groups.fifo')");
my ($id, $receipt, $body) = split /\|/, $in_flight;
is($body, 'a1', 'a message of a group is in flight');

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
my $take = q{SELECT string_agg(body, ',' ORDER BY o) FROM eventbridge.receive_messages('groups.fifo', 10) WITH ORDINALITY AS m (i, r, body, a, ma, o)};
my $send = q{SELECT eventbridge.send_message('groups.fifo', m, message_group_id => left(m, 1), message_deduplication_id => m) FROM (VALUES ('%s')) AS v (m)};
is($to->safe_psql('postgres', sprintf($send, 'a1')), $id, 'a FIFO queue knows what was sent to it');
is($to->safe_psql('postgres', $take), 'b1,b2', 'nobody receives from the group that is in flight');
$to->safe_psql('postgres', sprintf($send, 'a3'));
is($to->safe_psql('postgres', $take), '', 'also not what is sent later');
is($to->safe_psql('postgres', "SELECT eventbridge.delete_message('groups.fifo', '$receipt')"), 't', 'a receipt is still good');
is($to->safe_psql('postgres', $take), 'a2,a3', 'then the group goes on in its order');

is($to->safe_psql('postgres', 'SELECT sum(waiting + in_flight + retrying + dead) FROM eventbridge.delivery_status'),
	'0', 'nothing is left');

$from->stop;
$to->stop;
done_testing();
