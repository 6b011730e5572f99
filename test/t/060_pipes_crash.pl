# The server is killed under load, again and again: a pipe served by a
# background worker delivers each change that committed, once in the database,
# in the order of each key.  EB_CRASH_ROUNDS gives the number of rounds.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";

use EventbridgeTest::Crash;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = EventbridgeTest::Crash::node('main');
$node->safe_psql('postgres', <<'SQL');
CREATE TABLE items (id int PRIMARY KEY, version bigint);
CREATE SEQUENCE versions;
INSERT INTO items SELECT n, 0 FROM generate_series(1, 20) AS n;
CREATE TABLE calls (n bigint GENERATED ALWAYS AS IDENTITY, id int, version bigint);
CREATE FUNCTION note(batch jsonb) RETURNS void LANGUAGE sql AS $$
	INSERT INTO calls (id, version)
	SELECT (r #>> '{dynamodb,Keys,id,N}')::int, (r #>> '{dynamodb,NewImage,version,N}')::bigint
	FROM jsonb_array_elements(batch) WITH ORDINALITY AS b (r, o) ORDER BY o $$;
-- what committed, in the order of each item
CREATE TABLE written (id int, version bigint);
CREATE FUNCTION change() RETURNS void LANGUAGE sql AS $$
	WITH new AS (UPDATE items SET version = nextval('versions') WHERE id = 1 + floor(random() * 20) RETURNING id, version)
	INSERT INTO written SELECT id, version FROM new $$;
SET search_path = eventbridge, public;
SELECT create_queue('q');
DO $$
DECLARE
	stream constant text := enable_stream('items', 'NEW_IMAGE');
BEGIN
	PERFORM create_pipe('calls', stream, 'arn:aws:lambda:us-east-1:000000000000:function:note');
	PERFORM create_pipe('queue', stream, 'arn:aws:sqs:us-east-1:000000000000:q',
		target_parameters => '{"InputTemplate": "{\"id\": <$.dynamodb.Keys.id.N>, \"version\": <$.dynamodb.NewImage.version.N>}"}');
END $$;
SQL

my $script = $node->basedir . '/load.sql';
append_to_file($script, <<'SQL');
BEGIN;
SELECT public.change();
COMMIT;
BEGIN;
UPDATE items SET version = -1 WHERE id = 5;
ROLLBACK;
SQL

EventbridgeTest::Crash::server_rounds($node, $script);

ok($node->poll_query_until('postgres', 'SELECT (SELECT count(*) FROM calls) >= (SELECT count(*) FROM written)'),
	'the function was called as often as rows were written');
ok($node->poll_query_until('postgres', 'SELECT (SELECT count(*) FROM eventbridge.queue_message) >= (SELECT count(*) FROM written)'),
	'and the queue has as many messages');
cmp_ok($node->safe_psql('postgres', 'SELECT count(*) FROM written'), '>', 100, 'there was load');
is($node->safe_psql('postgres', 'SELECT count(*) FROM (TABLE written EXCEPT ALL SELECT id, version FROM calls) AS lost'),
	'0', 'no change was lost');
is($node->safe_psql('postgres', 'SELECT count(*) FROM (SELECT id, version FROM calls EXCEPT ALL TABLE written) AS more'),
	'0', 'none came twice, and none that rolled back');
is($node->safe_psql('postgres', q{
	SELECT count(*) FROM (SELECT version < lag(version) OVER (PARTITION BY id ORDER BY n) AS wrong FROM calls) AS c WHERE wrong}),
	'0', 'the changes of each item came in their order');
is($node->safe_psql('postgres', q{
	SELECT count(*) FROM (
		SELECT version < lag(version) OVER (PARTITION BY id ORDER BY message_no) AS wrong
		FROM (SELECT message_no, (body::jsonb ->> 'id')::int AS id, (body::jsonb ->> 'version')::bigint AS version
			  FROM eventbridge.queue_message) AS m) AS c WHERE wrong}),
	'0', 'also in the queue');
is($node->safe_psql('postgres', q{
	SELECT count(*) FROM (TABLE written EXCEPT ALL
		SELECT (body::jsonb ->> 'id')::int, (body::jsonb ->> 'version')::bigint FROM eventbridge.queue_message) AS lost}),
	'0', 'which lost nothing either');
ok($node->poll_query_until('postgres', q{
	SELECT max(pg_total_relation_size(c)) < 20000000
	FROM (VALUES ('eventbridge.stream_log_0'::regclass), ('eventbridge.stream_log_1'), ('eventbridge.stream_log_2')) AS t (c)}),
	'the log does not grow');

# A stopped pipe goes on where it was; a worker is woken for it.
$node->safe_psql('postgres', q{SELECT eventbridge.stop_pipe('calls')});
$node->safe_psql('postgres', 'UPDATE items SET version = 1000000000 WHERE id = 1');
$node->safe_psql('postgres', q{SELECT eventbridge.start_pipe('calls')});
ok($node->poll_query_until('postgres', 'SELECT count(*) = 1 FROM calls WHERE version = 1000000000'),
	'what was written while it was stopped');

$node->stop;
done_testing();
