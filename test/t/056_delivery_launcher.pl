# The launcher and its workers come and go one without the other, and a role that
# may not log in, or not connect, is no reason for an error each minute.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";

use EventbridgeTest::Server;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = EventbridgeTest::Server::preloaded(
	'main',
	q{eventbridge.poll_interval = '1s'},
	q{eventbridge.worker_idle_time = '2s'});
$node->safe_psql('postgres', 'CREATE EXTENSION eventbridge');
EventbridgeTest::Server::create_app($node, 'postgres');
$node->safe_psql('postgres', <<'SQL');
CREATE TABLE calls (v text, pid integer DEFAULT pg_backend_pid());
GRANT ALL ON calls TO app;
SET ROLE app;
CREATE FUNCTION public.note(e jsonb) RETURNS void LANGUAGE sql AS
	'INSERT INTO public.calls (v) VALUES (e ->> ''v'')';
SELECT eventbridge.put_rule('f', '{"source": ["shop"]}');
SELECT eventbridge.put_targets('f', '[{"Id": "f", "Arn": "arn:aws:lambda:us-east-1:000000000000:function:note", "InputPath": "$.detail"}]');
SQL

sub put
{
	my ($v) = @_;
	$node->safe_psql('postgres',
		qq{SELECT eventbridge.put_event('shop', 't', '{"v": "$v"}')});
	return;
}

sub delivered_ok
{
	my ($v, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	ok($node->poll_query_until('postgres', "SELECT count(*) = 1 FROM calls WHERE v = '$v'"), $name);
	return;
}

my $workers = q{FROM pg_stat_activity WHERE backend_type = 'eventbridge worker' AND datname = 'postgres' AND usename = 'app'};

put('first');
delivered_ok('first', 'delivered');

# A worker that is ended in the middle is followed by another, and by one only.
my $first = $node->safe_psql('postgres', 'SELECT pid FROM calls');
$node->safe_psql('postgres', "SELECT pg_terminate_backend($first)");
put('second');
delivered_ok('second', 'a worker that was ended has a successor');
my $second = $node->safe_psql('postgres', "SELECT string_agg(pid::text, ' ') $workers");
isnt($second, $first, 'which is another process');
like($second, qr/^\d+$/, 'and alone');
put('third');
delivered_ok('third', 'whoever comes later wakes the successor');
is($node->safe_psql('postgres', "SELECT string_agg(pid::text, ' ') $workers"), $second,
	'which is still the same');

# A new launcher goes on with the workers that there are.
my $log = -s $node->logfile;
$node->safe_psql('postgres', q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'eventbridge launcher'});
put('orphan');
delivered_ok('orphan', 'a worker delivers without a launcher');
$node->wait_for_log(qr/LOG:  eventbridge launcher started/, $log);
put('adopted');
delivered_ok('adopted', 'and when there is a new one');
is($node->safe_psql('postgres', "SELECT count(*) <= 1 $workers"), 't', 'no lane has two workers');
ok($node->poll_query_until('postgres', "SELECT count(*) = 0 $workers"), 'a worker without work ends');
put('again');
delivered_ok('again', 'and the new launcher starts the next');

# No worker is started for the role; why is said once, though the launcher looks
# again each second.
sub refused_ok
{
	my ($v, $why, $remedy, $fatal) = @_;
	my $log = -s $node->logfile;

	$node->safe_psql('postgres', "SELECT pg_terminate_backend(pid) $workers");
	put($v);
	$node->wait_for_log(
		qr/WARNING:  eventbridge starts no background worker for role "app"\n.*DETAIL:  The role is not permitted to $why.*\n.*HINT:  Until it is, with $remedy,/,
		$log);
	sleep 3;
	my $said = slurp_file($node->logfile, $log);
	is(() = $said =~ /eventbridge starts no background worker/g, 1, "$v: this is said once");
	unlike($said, qr/FATAL:  $fatal/, "$v: and none is started");
	is($node->safe_psql('postgres', "SELECT count(*) FROM calls WHERE v = '$v'"), '0', "$v: its work waits");
	return;
}

# A role that may not log in.
$node->safe_psql('postgres', 'ALTER ROLE app NOLOGIN');
SKIP:
{
	skip 'the server starts workers for roles that may not log in', 4
	  if $node->safe_psql('postgres', q{SELECT current_setting('server_version_num')::integer >= 170000}) eq 't';
	refused_ok('nologin', 'log in, ', 'ALTER ROLE ... LOGIN', 'role "app" is not permitted to log in');
	$node->safe_psql('postgres', 'ALTER ROLE app LOGIN');
	delivered_ok('nologin', 'nologin: its work is done when it may');
}
# From 17 on it still may not; a worker is started all the same.
$node->safe_psql('postgres', "SELECT pg_terminate_backend(pid) $workers");
put('started');
delivered_ok('started', 'a role that may have a worker has one');
$node->safe_psql('postgres', 'ALTER ROLE app LOGIN');

# A role that may not connect to the database.
$node->safe_psql('postgres', 'REVOKE CONNECT ON DATABASE postgres FROM PUBLIC');
refused_ok('noconnect', 'connect to database "postgres"\.', 'GRANT CONNECT ON DATABASE', 'permission denied for database');
$node->safe_psql('postgres', 'GRANT CONNECT ON DATABASE postgres TO app');
delivered_ok('noconnect', 'noconnect: its work is done when it may');

$node->stop;
done_testing();
