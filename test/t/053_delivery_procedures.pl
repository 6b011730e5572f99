# Procedures that commit between steps, in background workers: killed in the
# middle they are called again, hanging ones are ended, and the session serves
# the next delivery as if nothing had been.  EB_CRASH_ROUNDS gives the number
# of rounds.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";

use EventbridgeTest::Crash;
use EventbridgeTest::Server;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

my $node = EventbridgeTest::Crash::node('main', q{eventbridge.invocation_timeout = '2s'});
EventbridgeTest::Server::create_app($node, 'postgres');
$node->safe_psql('postgres', <<'SQL');
CREATE TABLE steps (id bigint, step int, who name DEFAULT session_user, now_is name DEFAULT current_user,
	path text DEFAULT current_setting('search_path'));
GRANT ALL ON steps TO app;
SET search_path = eventbridge, public;
SET ROLE app;
CREATE PROCEDURE public.two_steps(e jsonb) LANGUAGE plpgsql AS $$
DECLARE
	id constant bigint := e ->> 'id';
BEGIN
	INSERT INTO steps VALUES (id, 1);
	COMMIT;
	PERFORM pg_sleep((e ->> 'pause')::float8);
	INSERT INTO steps VALUES (id, 2);
	ROLLBACK;
	PERFORM pg_sleep((e ->> 'pause')::float8);
	SET search_path = public, nowhere;
	INSERT INTO steps VALUES (id, 3);
	COMMIT;
	SET ROLE app;
	COMMIT;
END $$;
SELECT put_rule('p', '{"source": ["load"]}');
SELECT put_targets('p', '[{"Id": "p", "Arn": "arn:aws:states:us-east-1:000000000000:stateMachine:two_steps",
	"RoleArn": "arn:aws:iam::000000000000:role/app", "InputPath": "$.detail"}]');
SQL

sub put
{
	my ($id, $pause) = @_;
	return $node->safe_psql('postgres',
		qq{SELECT eventbridge.put_event('load', 't', '{"id": $id, "pause": $pause}')});
}

sub steps
{
	my ($id) = @_;
	return $node->safe_psql('postgres',
		"SELECT string_agg(step::text, ',' ORDER BY step) FROM steps WHERE id = $id");
}

put(0, 0);
ok($node->poll_query_until('postgres', 'SELECT count(*) = 1 FROM steps WHERE id = 0 AND step = 3'), 'called');
is(steps(0), '1,3', 'what it committed is there, what it rolled back is not');

for my $round (1 .. EventbridgeTest::Crash::number())
{
	put($round, 0.5);
	ok($node->poll_query_until('postgres', "SELECT count(*) = 1 FROM steps WHERE id = $round AND step = 1"),
		"round $round: the first step is committed");
	usleep(int(rand(900_000)));
	EventbridgeTest::Crash::strike($node, $round, role => 'app');
	ok($node->poll_query_until('postgres', "SELECT count(*) > 0 FROM steps WHERE id = $round AND step = 3"),
		'and after the kill it is called again, to its end');
	like(steps($round), qr/^1,(1,)*3(,3)?$/, 'what was committed before has stayed');
}
ok($node->poll_query_until('postgres', 'SELECT count(*) = 0 FROM eventbridge.delivery_retry'), 'nothing is left to do');

# While a procedure is at work, longer than its lease, and though it has rolled
# back in between, nobody else calls it.
put(100, 0.6);
my $calls = 0;
until (steps(100) =~ /3/ || $calls == 600)
{
	$node->safe_psql('postgres', 'CALL eventbridge.run_deliveries()', extra_params => [ '-U', 'app' ]);
	$calls++;
}
like(steps(100), qr/3/, "a slow one ends, while others look for work ($calls times)");
is(steps(100), '1,3', 'and was called once');

my $id = put(101, 10);
ok($node->poll_query_until('postgres', "SELECT error_code = 'TIMEOUT' FROM eventbridge.explain_delivery('$id')"),
	'one that hangs is ended');
like(steps(101), qr/^1(,1)*$/, 'its first step stays');
put(102, 0);
ok($node->poll_query_until('postgres', 'SELECT count(*) = 1 FROM steps WHERE id = 102 AND step = 3'), 'the next is served');
is($node->safe_psql('postgres', q{SELECT DISTINCT who, now_is FROM steps}), 'app|app', 'as the role, in its session');
is($node->safe_psql('postgres', q{SELECT DISTINCT path FROM steps WHERE step = 1}), '"$user", public',
	'a worker forgets what a procedure has set');

$node->stop;
done_testing();
