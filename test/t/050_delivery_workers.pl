# Background workers: they start by themselves, deliver at once, retry on
# time, run user code as its role, and survive what functions do to them.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";

use EventbridgeTest::Server;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = EventbridgeTest::Server::preloaded(
	'main',
	q{eventbridge.poll_interval = '60s'},
	q{eventbridge.worker_idle_time = '2s'},
	q{eventbridge.retry_delay = '50ms'},
	q{eventbridge.invocation_timeout = '300ms'},
	'max_prepared_transactions = 5');

$node->safe_psql('postgres', 'CREATE DATABASE shop');
$node->safe_psql('shop', 'CREATE EXTENSION eventbridge');
EventbridgeTest::Server::create_app($node, 'shop');
$node->safe_psql('shop', <<'SQL');
CREATE TABLE calls (at timestamptz DEFAULT clock_timestamp(), who name DEFAULT session_user, now_is name DEFAULT current_user, v text);
GRANT ALL ON calls TO app;
SET search_path = eventbridge, public;
SELECT create_queue('q'), create_queue('dlq');
SELECT put_rule('q', '{"source": ["shop"]}');
SELECT put_targets('q', '[{"Id": "q", "Arn": "arn:aws:sqs:us-east-1:000000000000:q"}]');
SET ROLE app;
CREATE FUNCTION public.note(e jsonb) RETURNS void LANGUAGE sql AS
	'INSERT INTO public.calls (v) VALUES (e ->> ''v'')';
CREATE FUNCTION public.awkward(e jsonb) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	CASE e ->> 'v'
		WHEN 'hang' THEN PERFORM pg_sleep(600);
		WHEN 'twice' THEN
			IF nextval('public.tries') < 3 THEN RAISE EXCEPTION 'not yet'; END IF;
		WHEN 'reset' THEN
			SET ROLE app;
			SET search_path = nowhere;
			SET application_name = 'changed';
		WHEN 'kill' THEN
			IF nextval('public.tries') = 1 THEN PERFORM pg_terminate_backend(pg_backend_pid()); END IF;
		ELSE NULL;
	END CASE;
	INSERT INTO public.calls (v) VALUES (e ->> 'v');
END$$;
CREATE SEQUENCE public.tries;
SELECT put_rule('f', '{"source": ["shop"]}');
SELECT put_targets('f', '[{"Id": "f", "Arn": "arn:aws:lambda:us-east-1:000000000000:function:note", "InputPath": "$.detail"}]');
SELECT put_rule('awkward', '{"source": ["awkward"]}');
SELECT put_targets('awkward', '[{"Id": "f", "Arn": "arn:aws:lambda:us-east-1:000000000000:function:awkward", "InputPath": "$.detail"}]');
SQL

sub put
{
	my ($source, $v) = @_;
	return $node->safe_psql('shop',
		qq{SELECT eventbridge.put_event('$source', 't', '{"v": "$v"}')});
}

sub delivered_ok
{
	my ($v, $name, $n) = @_;
	$n //= 1;
	ok($node->poll_query_until('shop',
			"SELECT count(*) = $n FROM calls WHERE v = '$v'"), $name);
}

# Nothing but a commit starts them.
put('shop', 'first');
delivered_ok('first', 'a function is called');
ok($node->poll_query_until('shop', 'SELECT count(*) = 1 FROM eventbridge.queue_message'),
	'a queue gets its message');
is($node->safe_psql('shop', 'SELECT DISTINCT who, now_is FROM calls'), 'app|app',
	'user code runs in a session of its role');

# At once, though they would look for themselves only each minute.
my $started = time;
put('shop', "quick$_") for 1 .. 10;
delivered_ok('quick10', 'delivered');
cmp_ok(time - $started, '<', 20, 'without waiting for poll_interval');

# Retries when they are due.
put('awkward', 'twice');
delivered_ok('twice', 'a function that failed twice is called a third time');

# What hangs is ended, and does not keep others from what comes.
my $hanging = put('awkward', 'hang');
put('shop', 'after');
delivered_ok('after', 'the next event is delivered');
ok($node->poll_query_until('shop',
		"SELECT error_code = 'TIMEOUT' FROM eventbridge.explain_delivery('$hanging')"),
	'a function that hangs is ended');
$node->safe_psql('shop', 'DELETE FROM eventbridge.delivery_retry');

# A session is as it was.
put('awkward', 'reset');
delivered_ok('reset', 'a function that sets things');
put('shop', 'plain');
delivered_ok('plain', 'does not change them for the next');

# A worker that dies comes back, and so does its delivery.
$node->safe_psql('shop', "ALTER SEQUENCE tries RESTART");
put('awkward', 'kill');
delivered_ok('kill', 'a function that kills its worker is called again');

# Idle workers end, and come back.
ok($node->poll_query_until('postgres',
		"SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'eventbridge worker'"),
	'idle workers end');
put('shop', 'again');
delivered_ok('again', 'and come back');

# Two-phase commit.
$node->safe_psql('shop', <<'SQL');
BEGIN;
SELECT eventbridge.put_event('shop', 't', '{"v": "prepared"}');
PREPARE TRANSACTION 'p';
SQL
put('shop', 'meanwhile');
delivered_ok('meanwhile', 'others are delivered');
is($node->safe_psql('shop', "SELECT count(*) FROM calls WHERE v = 'prepared'"), '0',
	'what is prepared is not');
$node->safe_psql('shop', "COMMIT PREPARED 'p'");
put('shop', 'knock');
delivered_ok('prepared', 'what is committed is');

# Restart: what was owed is found.
$node->append_conf('postgresql.conf', 'eventbridge.background_workers = off');
$node->reload;
$node->poll_query_until('postgres',
	"SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'eventbridge worker'");
put('shop', 'owed');
is($node->safe_psql('shop', "SELECT count(*) FROM calls WHERE v = 'owed'"), '0',
	'no workers, no delivery');
$node->append_conf('postgresql.conf', 'eventbridge.background_workers = on');
# Not restart, which starts the server without a wrapper that it may have.
$node->stop;
$node->start;
delivered_ok('owed', 'delivered after a restart');

$node->stop;

# There is room for no more than the launcher.
my $crowded = EventbridgeTest::Server::preloaded('crowded', 'max_worker_processes = 1', 'max_logical_replication_workers = 0');
$crowded->safe_psql('postgres', 'CREATE EXTENSION eventbridge');
$crowded->safe_psql('postgres', q{
	SELECT eventbridge.create_queue('q'), eventbridge.put_rule('q', '{"source": ["shop"]}');
	SELECT eventbridge.put_targets('q', '[{"Id": "q", "Arn": "arn:aws:sqs:us-east-1:000000000000:q"}]');
	SELECT eventbridge.put_event('shop', 't', '{}')});
$crowded->wait_for_log(qr/LOG:  eventbridge launcher started/);
$crowded->wait_for_log(qr/WARNING:  eventbridge could not start a background worker\n.*HINT:  max_worker_processes may be too low\./);
$crowded->safe_psql('postgres', 'CALL eventbridge.run_deliveries()');
is($crowded->safe_psql('postgres', 'SELECT count(*) FROM eventbridge.queue_message'), '1',
	'where no worker can be started, the log says so, and others can deliver');
$crowded->stop;
done_testing();
