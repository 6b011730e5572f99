# eventbridge-worker run --in-database: functions, queues and pipes are served by
# it alone, on a server without background workers, as the role that it is
# connected as.  The poll interval is so long that only the bell can be why.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use EventbridgeTest::Worker;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

EventbridgeTest::Worker::require_program();
delete $ENV{PGAPPNAME};

my $node = PostgreSQL::Test::Cluster->new('worker_in_database');
$node->init;
$node->append_conf('postgresql.conf', "eventbridge.retry_delay = '200ms'\neventbridge.poll_interval = '60s'\n");
$node->start;
$node->safe_psql('postgres', <<'SQL');
CREATE EXTENSION eventbridge;
CREATE ROLE "App" LOGIN;
CREATE ROLE other LOGIN;
CREATE ROLE nobody LOGIN;
GRANT CREATE ON SCHEMA public TO "App", other;
CREATE TABLE notes (source text, who name DEFAULT session_user, now_is name DEFAULT current_user);
CREATE TABLE failures ();
GRANT ALL ON notes, failures TO "App", other;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA eventbridge TO "App", other;
SELECT eventbridge.put_permission(r, 'events:PutRule', r) FROM unnest('{App,other}'::text[]) AS r;
SELECT eventbridge.put_permission('put', 'events:PutEvents', 'App');

-- What they call finds what is in public, as it does elsewhere.
CREATE FUNCTION note(e jsonb) RETURNS void LANGUAGE sql AS $$ INSERT INTO public.notes VALUES (e ->> 'source') $$;
CREATE FUNCTION path(e jsonb) RETURNS void LANGUAGE plpgsql AS $$BEGIN INSERT INTO notes VALUES (e ->> 'source'); END$$;
CREATE FUNCTION once_failing(e jsonb) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	IF nextval('public.tries') = 1 THEN
		RAISE EXCEPTION 'not yet';
	END IF;
	INSERT INTO public.notes VALUES (e ->> 'source');
END$$;
CREATE SEQUENCE tries;
GRANT ALL ON SEQUENCE tries TO PUBLIC;
CREATE FUNCTION slow(e jsonb) RETURNS void LANGUAGE sql AS $$
	SELECT pg_sleep((e #>> '{detail,seconds}')::float8);
	INSERT INTO public.notes VALUES (e ->> 'source') $$;
CREATE PROCEDURE steps(e jsonb) LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO public.notes VALUES (e ->> 'source');
	COMMIT;
	INSERT INTO public.notes VALUES ('rolled back');
	ROLLBACK;
END$$;
CREATE FUNCTION again(e jsonb) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	PERFORM eventbridge.put_event('task', 't', '{}');
END$$;

SET search_path = eventbridge, public;
SELECT create_queue('plain');
SELECT create_task('job');
SELECT put_rule(r, jsonb_build_object('source', jsonb_build_array(r))::text) FROM unnest('{queue,task}'::text[]) AS r;
SELECT put_targets('queue', '[{"Id": "t", "Arn": "arn:aws:sqs:us-east-1:000000000000:plain"}]');
SELECT put_targets('task', jsonb_build_array(jsonb_build_object('Id', 't', 'Arn', 'arn:aws:ecs:us-east-1:000000000000:task/job',
	'RoleArn', 'arn:aws:iam::000000000000:role/' || current_user)));
SET ROLE other;
SELECT put_rule('foreign', '{"source": ["foreign"]}');
SELECT put_targets('foreign', '[{"Id": "t", "Arn": "arn:aws:lambda:us-east-1:000000000000:function:note"}]');
RESET ROLE;
SET ROLE "App";
SELECT put_rule(r, jsonb_build_object('source', jsonb_build_array(r))::text)
FROM unnest('{note,path,once_failing,slow,again,steps}'::text[]) AS r;
SELECT put_targets(f, jsonb_build_array(jsonb_build_object('Id', 't', 'Arn', 'arn:aws:lambda:us-east-1:000000000000:function:' || f)))
FROM unnest('{note,path,once_failing,slow,again}'::text[]) AS f;
SELECT put_targets('steps', '[{"Id": "t", "Arn": "arn:aws:states:us-east-1:000000000000:stateMachine:steps",
	"RoleArn": "arn:aws:iam::000000000000:role/App"}]');
CREATE TABLE public.items (id int PRIMARY KEY);
SELECT create_queue('piped');
DO $$
BEGIN
	PERFORM create_pipe('items', enable_stream('public.items'), 'arn:aws:sqs:us-east-1:000000000000:piped',
		role_arn => 'arn:aws:iam::000000000000:role/App');
END$$;
SQL

sub sql { return $node->safe_psql('postgres', @_); }

sub put
{
	my ($source, $detail) = @_;
	$detail //= '{}';
	sql("SELECT eventbridge.put_event('$source', 't', '$detail')");
	return;
}

sub count_notes { return sql("SELECT count(*) FROM notes WHERE source = '$_[0]'"); }

# Does it become true long before a poll?
sub soon
{
	my ($query, $name) = @_;
	my $began = time();
	usleep(20_000) until sql("SELECT $query") eq 't' || time() - $began > 20;
	my $took = time() - $began;
	cmp_ok($took, '<', 10, $name);
	note sprintf('%s: %.2f s', $name, $took);
	return;
}

# The worker's sessions that wait, having looked after they fell asleep.
sub wait_until_idle
{
	ok( $node->poll_query_until(
			'postgres', q{
		SELECT count(*) = 1 FROM pg_stat_activity
		WHERE application_name = 'eventbridge-worker' AND query LIKE 'CALL%' AND state = 'idle'
			AND state_change < clock_timestamp() - interval '0.3 s'}),
		'the worker has nothing to do');
	return;
}

sub worker
{
	my $worker = EventbridgeTest::Worker->run($node, '-U', 'App', '--in-database', '-v', @_);
	$worker->wait_for_log(qr/delivering to targets in the database as role "App"/);
	return $worker;
}

# ---- by the bell alone ----

put('note');
my $worker = worker();
soon(q{count(*) = 1 FROM notes WHERE source = 'note'}, 'what was there at the start');
foreach my $round (1 .. 5)
{
	wait_until_idle() if $round > 1;
	put('path');
	soon("count(*) = $round FROM notes WHERE source = 'path'", "function, $round");
	put('queue');
	soon("count(*) = $round FROM eventbridge.queue_message AS m JOIN eventbridge.queue AS q USING (queue_id) WHERE q.name = 'plain'",
		"queue, $round");
	sql("INSERT INTO items VALUES ($round)");
	soon("count(*) = $round FROM eventbridge.queue_message AS m JOIN eventbridge.queue AS q USING (queue_id) WHERE q.name = 'piped'",
		"pipe, $round");
}
is(sql('SELECT DISTINCT who, now_is FROM notes'), 'App|App', 'functions run as the role of the connection');
put('steps');
soon(q{count(*) = 1 FROM notes WHERE source = 'steps'}, 'a procedure that commits');
is(count_notes('rolled back'), 0, 'and rolls back');
wait_until_idle();
put('note');
soon(q{count(*) = 2 FROM notes WHERE source = 'note'}, 'the bell is heard afterwards');
put('once_failing');
soon(q{count(*) = 1 FROM notes WHERE source = 'once_failing'}, 'what failed is tried again when that is due');

# ---- what is not served ----

put('foreign');
put('note');
soon(q{count(*) = 3 FROM notes WHERE source = 'note'}, 'what comes later');
wait_until_idle();
is(count_notes('foreign'), 0, 'the function of another role is left alone');
is(sql(q{SELECT waiting FROM eventbridge.delivery_status WHERE rule_name = 'foreign'}), 1, 'it waits');

# ---- a connection is lost ----

sql(q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity
	WHERE application_name = 'eventbridge-worker' AND query LIKE 'CALL%'});
put('note');
$worker->wait_for_log(qr/connection lost: .*connected again, for targets in the database/s);
soon(q{count(*) = 4 FROM notes WHERE source = 'note'}, 'what came meanwhile');
wait_until_idle();
put('note');
soon(q{count(*) = 5 FROM notes WHERE source = 'note'}, 'the bell rings for the new session');

# ---- the end ----

wait_until_idle();
$worker->signal('TERM');
is($worker->finish, 0, 'stops when it has nothing to do');

sub wait_for_slow
{
	ok($node->poll_query_until('postgres',
			q{SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep'}), 'a function runs');
	return;
}

$worker = worker();
put('slow', '{"seconds": 1}');
wait_for_slow();
$worker->signal('TERM');
is($worker->finish, 0, 'stops when what is under way has ended');
is(count_notes('slow'), 1, 'which is delivered');

$worker = worker('--stop-timeout=0.5');
put('slow', '{"seconds": 100}');
wait_for_slow();
$worker->signal('TERM');
is($worker->finish, 3, 'stops when the time is over');
like($worker->log, qr/error: deliveries in the database were still under way/, 'and says so');
ok($node->poll_query_until('postgres',
		q{SELECT count(*) = 0 FROM pg_stat_activity WHERE application_name = 'eventbridge-worker'}), 'nothing goes on');
is(count_notes('slow'), 1, 'it is not delivered');
is(sql(q{SELECT count(*) FROM eventbridge.delivery_trace WHERE rule_name = 'slow' AND status IN ('WAITING', 'IN_FLIGHT')}), 1, 'it waits');
sql(q{CREATE OR REPLACE FUNCTION slow(e jsonb) RETURNS void LANGUAGE sql AS $$ INSERT INTO public.notes VALUES (e ->> 'source') $$});

# ---- until nothing is left ----

sub once
{
	my $worker = EventbridgeTest::Worker->start_command('run', $node, '-U', 'App', '--once', '-v', @_);
	return ($worker->finish, $worker->log);
}

my $out = PostgreSQL::Test::Utils::tempdir() . '/out';
put($_) foreach ('note', 'queue', 'again', 'task');
my ($status, $log) = once("--allow-command=job=cat >> $out");
is($status, 0, '--once');
is(count_notes('note'), 5, 'without --in-database what is in the database is left');
unlink($out);
($status, $log) = once('--in-database', "--allow-command=job=cat >> $out");
is($status, 0, '--once --in-database');
is(count_notes('note'), 6, 'a function');
like(slurp_file($out), qr/"source": ?"task"/, 'a task, put by a function that was called meanwhile');
is(count_notes('foreign'), 0, 'still not that of another role');
usleep(300_000);
($status, $log) = once('--in-database');
is($status, 0, '--once, later');
is(count_notes('slow'), 2, 'what was cancelled is made again when that is due');
($status, $log) = once('--in-database');
is($status, 0, '--once with nothing to do');

# A role that may serve what is outside only.
sql('GRANT EXECUTE ON FUNCTION eventbridge.worker_claim, eventbridge.worker_may_rest, eventbridge.worker_wake TO nobody');
$worker = EventbridgeTest::Worker->start_command('run', $node, '-U', 'nobody', '--once');
is($worker->finish, 0, 'a role with few rights');
$worker = EventbridgeTest::Worker->start_command('run', $node, '-U', 'nobody', '--in-database');
isnt($worker->finish, 0, 'it has to have worker_sleep');
like($worker->log, qr/permission denied for function worker_sleep/, 'and is told');

$node->stop;
done_testing();
