# A dump takes along streams, pipes, and the records that pipes have not read.
# Restored in another cluster, they are delivered, and the stream goes on.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";

use EventbridgeTest::Server;
use PostgreSQL::Test::Utils;
use Test::More;

my ($from, $to) = EventbridgeTest::Server::pair('max_prepared_transactions = 5');

$from->safe_psql('postgres', <<'SQL');
CREATE EXTENSION eventbridge;
CREATE TABLE items (id int PRIMARY KEY);
CREATE TABLE calls (ids text);
CREATE FUNCTION note(batch jsonb) RETURNS void LANGUAGE sql AS $$
	INSERT INTO public.calls SELECT string_agg(r #>> '{dynamodb,Keys,id,N}', ' ' ORDER BY o) FROM jsonb_array_elements(batch) WITH ORDINALITY AS b (r, o) $$;
SET search_path = eventbridge, public;
SELECT create_pipe('p', enable_stream('items', 'KEYS_ONLY'), 'arn:aws:lambda:us-east-1:000000000000:function:note');
SELECT put_permission('all', 'dynamodb:GetRecords', '*', stream => 'items');
INSERT INTO items VALUES (1), (2);
SQL
$from->safe_psql('postgres', 'CALL eventbridge.run_deliveries()');
# prepared transactions are captured too, when they commit
$from->safe_psql('postgres', q{BEGIN; INSERT INTO items VALUES (3); PREPARE TRANSACTION 'a'});
$from->safe_psql('postgres', q{BEGIN; INSERT INTO items VALUES (4); PREPARE TRANSACTION 'b'});
$from->safe_psql('postgres', 'CALL eventbridge.run_deliveries()');
is($from->safe_psql('postgres', 'SELECT string_agg(ids, \',\') FROM calls'), '1 2', 'what is committed is delivered');
$from->safe_psql('postgres', $_) for q{COMMIT PREPARED 'a'}, q{ROLLBACK PREPARED 'b'}, 'INSERT INTO items VALUES (5)';

EventbridgeTest::Server::move($from, $to);
is($to->safe_psql('postgres', 'SELECT count(*) FROM eventbridge.stream_log'), '2', 'what was read stays behind');
$to->safe_psql('postgres', 'CALL eventbridge.run_deliveries()');
$to->safe_psql('postgres', 'INSERT INTO items VALUES (6)');
$to->safe_psql('postgres', 'CALL eventbridge.run_deliveries()');
is($to->safe_psql('postgres', 'SELECT string_agg(ids, \',\') FROM calls'), '1 2,3 5,6', 'the rest is delivered, and what is new');
is($to->safe_psql('postgres', 'SELECT current_state FROM eventbridge.pipes'), 'RUNNING', 'the pipe runs');
is($to->safe_psql('postgres', q{SELECT policy #>> '{Statement,0,Principal}' FROM eventbridge.streams}), '*', 'who may read the stream');

$from->stop;
$to->stop;
done_testing();
