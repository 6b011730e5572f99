# Commands that want a database for themselves: background workers leave it, also
# for a user who may not end sessions; they are back if the command fails.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";

use EventbridgeTest::Server;
use PostgreSQL::Test::Utils;
use Test::More;

# Workers look and leave of their own accord only after a long time.
my $node = EventbridgeTest::Server::preloaded(
	'main',
	q{eventbridge.poll_interval = '1h'},
	q{eventbridge.worker_idle_time = '1h'},
	q{eventbridge.retry_delay = '50ms'},
	'max_prepared_transactions = 1');
$node->safe_psql('postgres', <<'SQL');
CREATE ROLE landlord LOGIN CREATEDB;
CREATE ROLE tenant LOGIN;
CREATE DATABASE shop OWNER landlord;
SQL
$node->safe_psql('shop', 'CREATE EXTENSION eventbridge');
EventbridgeTest::Server::create_app($node, 'shop');
$node->safe_psql('shop', <<'SQL');
CREATE TABLE calls (v text);
CREATE SEQUENCE tries;
GRANT ALL ON calls, tries TO app;
SET search_path = eventbridge, public;
SELECT create_queue('q');
SELECT put_rule('q', '{"source": ["shop"]}');
SELECT put_targets('q', '[{"Id": "q", "Arn": "arn:aws:sqs:us-east-1:000000000000:q"}]');
SET ROLE app;
-- "slow" hangs at its first call
CREATE FUNCTION public.note(e jsonb) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	IF e ->> 'v' LIKE 'slow%' AND nextval('public.tries') = 1 THEN
		PERFORM pg_sleep(600);
	END IF;
	INSERT INTO public.calls (v) VALUES (e ->> 'v');
END $$;
SELECT put_rule('f', '{"source": ["shop"]}');
SELECT put_targets('f', '[{"Id": "f", "Arn": "arn:aws:lambda:us-east-1:000000000000:function:note", "InputPath": "$.detail"}]');
SQL

my @landlord = (extra_params => [ '-U', 'landlord' ]);

# Both workers of the database.
my $workers = q{FROM pg_stat_activity WHERE backend_type = 'eventbridge worker' AND datname = '%s'};

sub workers
{
	my ($database) = @_;
	return $node->safe_psql('postgres', sprintf "SELECT string_agg(pid::text, ' ' ORDER BY pid) $workers", $database);
}

# An event is delivered to both targets; then there are two workers, at rest.
sub serves_ok
{
	my ($database, $v, $name) = @_;

	$node->safe_psql($database, qq{SELECT eventbridge.put_event('shop', 't', '{"v": "$v"}')});
	ok( $node->poll_query_until($database, qq{
			SELECT (SELECT count(*) FROM calls WHERE v = '$v') = 1
				AND (SELECT count(*) FROM eventbridge.queue_message WHERE body::jsonb \#>> '{detail,v}' = '$v') = 1}),
		"$name: $database is served");
	ok($node->poll_query_until('postgres', sprintf "SELECT count(*) = 2 $workers AND state = 'idle'", $database),
		"$name: by two workers");
	return;
}

# An event is under way, in a function that hangs.
sub hang
{
	my ($database, $v) = @_;

	$node->safe_psql($database, 'ALTER SEQUENCE tries RESTART');
	$node->safe_psql($database, qq{SELECT eventbridge.put_event('shop', 't', '{"v": "$v"}')});
	ok($node->poll_query_until('postgres', sprintf "SELECT count(*) = 1 $workers AND wait_event = 'PgSleep'", $database),
		"$v: a function hangs");
	return;
}

# Each command that needs the database to be without sessions.
serves_ok('shop', 'first', 'at first');
my $log = -s $node->logfile;
$node->safe_psql('postgres', 'CREATE DATABASE branch TEMPLATE shop', @landlord);
serves_ok('shop', 'copied', 'CREATE DATABASE');
serves_ok('branch', 'copy', 'CREATE DATABASE');
$node->safe_psql('postgres', 'ALTER DATABASE shop RENAME TO store', @landlord);
serves_ok('store', 'renamed', 'RENAME');
$node->safe_psql('postgres', q{SET allow_in_place_tablespaces = on; CREATE TABLESPACE elsewhere LOCATION ''});
$node->safe_psql('postgres', 'GRANT CREATE ON TABLESPACE elsewhere TO landlord');
$node->safe_psql('postgres', 'ALTER DATABASE store SET TABLESPACE elsewhere', @landlord);
serves_ok('store', 'moved', 'SET TABLESPACE');

# Until the transaction ends they stay away; and they come back by themselves.
$node->safe_psql('postgres', 'BEGIN; ALTER DATABASE store RENAME TO nowhere; ROLLBACK', @landlord);
ok($node->poll_query_until('postgres', sprintf "SELECT count(*) = 2 $workers", 'store'),
	'a command that is rolled back: workers are back, though nobody has work for them');
serves_ok('store', 'rolled back', 'ROLLBACK');
unlike(slurp_file($node->logfile, $log), qr/FATAL/, 'workers without work left quietly');

# What is under way is rolled back, and done again if the database is still there.
hang('store', 'slow to rename');
$node->safe_psql('postgres', 'ALTER DATABASE store RENAME TO shop', @landlord);
ok($node->poll_query_until('shop', q{SELECT count(*) = 1 FROM calls WHERE v = 'slow to rename'}),
	'what was under way is done again');

# What others do in the database keeps it from being dropped, as it always does.
$node->safe_psql('shop', q{BEGIN; CREATE TABLE in_the_way (); PREPARE TRANSACTION 'p'});
isnt($node->psql('postgres', 'DROP DATABASE shop', @landlord, stderr => \my $stderr), 0, 'not dropped');
like($stderr, qr/There is 1 prepared transaction using the database/, 'only the transaction is in the way');
$node->safe_psql('shop', q{ROLLBACK PREPARED 'p'});
serves_ok('shop', 'not dropped', 'a command that failed');

# Who may not drop a database ends nothing in it, nor does a command for another.
my $before = workers('shop');
isnt($node->psql('postgres', 'DROP DATABASE shop', extra_params => [ '-U', 'tenant' ], stderr => \$stderr), 0, 'not his');
like($stderr, qr/must be owner of database shop/, 'an error of the server');
isnt($node->psql('postgres', 'CREATE DATABASE mine TEMPLATE shop', extra_params => [ '-U', 'tenant' ], stderr => \$stderr), 0, 'nor a copy');
isnt($node->psql('postgres', 'DROP DATABASE absent', stderr => \$stderr), 0, 'no such database');
$node->safe_psql('postgres', $_)
  foreach 'DROP DATABASE IF EXISTS absent', 'CREATE DATABASE absent', 'DROP DATABASE absent', q{ALTER DATABASE shop SET work_mem = '1MB'};
is(workers('shop'), $before, 'they left the workers alone');

# Dropped while it is at work.
hang('shop', 'slow to drop');
my $started = time;
$node->safe_psql('postgres', 'DROP DATABASE shop', @landlord);
cmp_ok(time - $started, '<', 4, 'dropped at once');
hang('branch', 'slow to force');
$log = -s $node->logfile;
$node->safe_psql('postgres', 'CREATE DATABASE last TEMPLATE branch', @landlord);
$node->safe_psql('postgres', 'DROP DATABASE branch WITH (FORCE)', @landlord);
serves_ok('last', 'last', 'another database');
unlike(slurp_file($node->logfile, $log), qr/does not exist/, 'nobody looks for a database that is gone');

# A database of its own mind.
$node->safe_psql('postgres', 'ALTER DATABASE last SET eventbridge.background_workers = off');
$node->safe_psql('postgres', 'ALTER DATABASE last RENAME TO alone');
$node->safe_psql('alone', q{SELECT eventbridge.put_event('shop', 't', '{"v": "by hand"}')});
ok($node->poll_query_until('postgres', "SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'eventbridge worker'"),
	'workers may be turned off for a database');
is($node->safe_psql('alone', q{SELECT count(*) FROM calls WHERE v = 'by hand'}), '0', 'nobody delivers');
$node->safe_psql('alone', 'CALL eventbridge.run_deliveries()', extra_params => [ '-U', 'app' ]);
is($node->safe_psql('alone', q{SELECT count(*) FROM calls WHERE v = 'by hand'}), '1', 'but who asks for it');

$node->stop;
done_testing();
