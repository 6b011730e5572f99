# The server is killed under load, again and again: what was committed is
# delivered, what was not is not.  EB_CRASH_ROUNDS gives the number of rounds.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";

use EventbridgeTest::Crash;
use EventbridgeTest::Server;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = EventbridgeTest::Crash::node('main');
my $script = EventbridgeTest::Crash::numbered_events($node);
$node->safe_psql('postgres', <<'SQL');
CREATE TABLE calls (id bigint);
CREATE FUNCTION note(e jsonb) RETURNS void LANGUAGE sql AS
	'INSERT INTO calls VALUES ((e ->> ''id'')::bigint)';
SET search_path = eventbridge, public;
SELECT create_queue('q');
SELECT put_rule('load', '{"source": ["load"]}');
SELECT put_targets('load', '[
	{"Id": "f", "Arn": "arn:aws:lambda:us-east-1:000000000000:function:note", "InputPath": "$.detail"},
	{"Id": "q", "Arn": "arn:aws:sqs:us-east-1:000000000000:q", "InputPath": "$.detail"}]');
SQL

EventbridgeTest::Crash::server_rounds($node, $script);

EventbridgeTest::Server::all_delivered_ok($node, 'everything has been delivered');
my $put = $node->safe_psql('postgres', 'SELECT count(*) FROM put');
cmp_ok($put, '>', 100, "$put events were committed");
is($node->safe_psql('postgres', 'SELECT count(*) FROM put WHERE NOT EXISTS (SELECT FROM calls WHERE calls.id = put.id)'),
	'0', 'the function was called for each');
is($node->safe_psql('postgres', q{
	SELECT count(*) FROM (SELECT id FROM put EXCEPT
		SELECT (body::jsonb ->> 'id')::bigint FROM eventbridge.queue_message) AS missing}),
	'0', 'the queue got each');
is($node->safe_psql('postgres', 'SELECT count(*) FROM calls WHERE NOT EXISTS (SELECT FROM put WHERE put.id = calls.id)'),
	'0', 'and none that was not committed');
is($node->safe_psql('postgres', 'SELECT count(*) - count(DISTINCT id) FROM calls'),
	'0', 'effects in the database happen once, crash or not');
is($node->safe_psql('postgres', 'SELECT count(*) - count(DISTINCT body) FROM eventbridge.queue_message'),
	'0', 'also in the queue');
cmp_ok($node->safe_psql('postgres', 'SELECT max(pg_total_relation_size(c)) FROM (VALUES (\'eventbridge.delivery_log_0\'::regclass), (\'eventbridge.delivery_log_1\'), (\'eventbridge.delivery_log_2\')) AS t (c)'),
	'<', 20_000_000, 'the log does not grow');

$node->stop;
done_testing();
