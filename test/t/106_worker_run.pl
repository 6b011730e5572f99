# eventbridge-worker run: events delivered to API destinations and tasks, by
# receivers that accept, refuse, hang, are slow, and close the connection, and
# by workers that are stopped and killed.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use Digest::SHA qw(hmac_sha256_base64);
use EventbridgeTest::HttpReceiver;
use EventbridgeTest::Worker;
use JSON::PP;
use MIME::Base64;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

EventbridgeTest::Worker::require_program();

# The receiver is on this machine, whatever proxy there is for others.
delete @ENV{ grep { /_proxy$/i } keys %ENV };

my $node = PostgreSQL::Test::Cluster->new('worker_run');
$node->init;
$node->append_conf('postgresql.conf', "eventbridge.retry_delay = 100\neventbridge.poll_interval = 1000\n");
$node->start;
$node->safe_psql(
	'postgres', q{
	CREATE EXTENSION eventbridge;
	CREATE ROLE worker LOGIN;
	GRANT EXECUTE ON FUNCTION eventbridge.worker_claim(integer),
		eventbridge.worker_report(bigint, integer, text, text, text, bigint),
		eventbridge.worker_sleep(oid), eventbridge.worker_may_rest(text), eventbridge.worker_wake(oid) TO worker;
	CREATE ROLE runner;
	GRANT runner TO CURRENT_USER;
	SELECT eventbridge.create_queue('dead');
});
my $account = 'us-east-1:000000000000';

sub sql { return $node->safe_psql('postgres', @_); }

# A rule for events of this source, with one target of the worker's.
sub rule
{
	my ($name, $arn, %more) = @_;
	my $target = encode_json(
		[
			{
				Id => 't',
				Arn => $arn,
				RoleArn => 'arn:aws:iam::000000000000:role/' . sql('SELECT current_user'),
				DeadLetterConfig => { Arn => "arn:aws:sqs:$account:dead" },
				%more
			}
		]);
	sql("SELECT eventbridge.put_rule('$name', '{\"source\": [\"$name\"]}');
		SELECT eventbridge.put_targets('$name', '$target')");
	return;
}

# An API destination at the URL, and a rule that leads there.
sub webhook
{
	my ($name, $url, $arguments, %more) = @_;
	$arguments = defined $arguments ? ", $arguments" : '';
	rule($name, sql("SELECT eventbridge.create_api_destination('$name', '$url'$arguments)"), %more);
	return;
}

sub task
{
	my ($name, %more) = @_;
	rule($name, sql("SELECT eventbridge.create_task('$name')"), %more);
	return;
}

sub put
{
	my ($source, $count) = @_;
	$count //= 1;
	sql(qq{SELECT eventbridge.put_event('$source', 'test', jsonb_build_object('n', i)) FROM generate_series(1, $count) AS i});
	return;
}

# Starts a worker as the role that may do no more than that.
sub worker { return EventbridgeTest::Worker->run($node, '-U', 'worker', @_); }

sub once
{
	my $worker = EventbridgeTest::Worker->start_command('run', $node, '-U', 'worker', '--once', '-v', @_);
	my $status = $worker->finish;
	unlike($worker->log, qr/SECRET|whsec|services/, 'no secret is logged');
	return ($status, $worker->log);
}

sub stop
{
	my ($worker, $name) = @_;
	$worker->signal('TERM');
	is($worker->finish, 0, $name . ': stops cleanly');
	unlike($worker->log, qr/SECRET|whsec|services/, $name . ': no secret is logged');
	return;
}

sub dead { return sql("SELECT error_code, error_message, retry_attempts FROM eventbridge.dead_letters WHERE rule_arn LIKE '%/$_[0]' ORDER BY sent_at DESC LIMIT 1"); }

sub wait_for
{
	my ($query, $name, @workers) = @_;
	return if ok($node->poll_query_until('postgres', $query), $name);
	$_->drain foreach @workers;
	diag("log of a worker:\n" . $_->log) foreach @workers;
	diag("deliveries:\n" . sql('SELECT retry_id, lane, target_id, attempts, next_attempt, error_code, error_message, clock_timestamp() FROM eventbridge.delivery_retry'));
	diag("sessions:\n" . sql(q{SELECT pid, usename, state, wait_event, left(query, 100) FROM pg_stat_activity WHERE backend_type = 'client backend'}));
	diag("locks:\n" . sql(q{SELECT pid, locktype, classid, objid, objsubid, mode, granted FROM pg_locks WHERE locktype = 'object' OR NOT granted}));
	return;
}

my ($status, $log, @requests, $receiver, $worker);

# Until so many requests have come.
sub wait_for_requests
{
	my ($receiver, $count, $name) = @_;
	my $deadline = time() + 30;
	while ($receiver->requests < $count && time() < $deadline)
	{
		$worker->drain if $worker;
		select(undef, undef, undef, 0.05);
	}
	is(scalar($receiver->requests), $count, $name);
	return;
}

# ---- what is sent ----

my $key = 'a key of some bytes';
$ENV{TEST_SIGNING} = 'whsec_' . encode_base64($key, '');
$ENV{TEST_TOKEN} = 'Bearer SECRET-token';
$receiver = EventbridgeTest::HttpReceiver->new({ status => 200 });
(my $base = $receiver->url) =~ s{(:\d+)/.*}{$1};
webhook(
	'sent', "$base/things/*/of/*?a=b",
	q{header_parameters => '{"Authorization": "env:TEST_TOKEN", "X-Both": "destination"}', signing_secret => 'env:TEST_SIGNING'},
	Input => '{"text": "hello"}',
	HttpParameters => {
		PathParameterValues => [ 'x y', '../z' ],
		QueryStringParameters => { q => 'c&d' },
		HeaderParameters => { 'x-both' => 'target', 'X-Target' => 'yes', 'Webhook-Id' => 'forged' }
	});
put('sent');
($status, $log) = once('--allow-secret=env:TEST_TOKEN@127.0.0.1', '--allow-secret=env:TEST_SIGNING');
is($status, 0, 'delivered');
@requests = $receiver->requests;
is(scalar(@requests), 1, 'once');
is($requests[0]{method}, 'POST', 'method');
is($requests[0]{path}, '/things/x%20y/of/..%2Fz?a=b&q=c%26d', 'path and query string');
is($requests[0]{body}, '{"text": "hello"}', 'body');
my $headers = $requests[0]{headers};
is($headers->{'content-type'}, 'application/json; charset=utf-8', 'content type');
is($headers->{authorization}, 'Bearer SECRET-token', 'a header by reference');
is($headers->{'x-both'}, 'destination', q{the destination's header wins});
is($headers->{'x-target'}, 'yes', q{the target's header});
my $event = sql("SELECT event_id FROM eventbridge.delivery_log WHERE event LIKE '%\"source\":\"sent\"%'");
like($headers->{'webhook-id'}, qr/^\Q$event\E_\d+$/, 'webhook-id');
cmp_ok(abs($headers->{'webhook-timestamp'} - time()), '<', 30, 'webhook-timestamp');
my $signature = hmac_sha256_base64(
	"$headers->{'webhook-id'}.$headers->{'webhook-timestamp'}.$requests[0]{body}", $key);
$signature .= '=' while length($signature) % 4;
is($headers->{'webhook-signature'}, "v1,$signature", 'webhook-signature');
is(sql("SELECT status, attempts FROM eventbridge.explain_delivery('$event')"), 'DELIVERED|1', 'explain_delivery');
is(sql('SELECT count(*) FROM eventbridge.delivery_retry'), 0, 'nothing is left behind');
($status) = once('--allow-secret=env:TEST_TOKEN', '--allow-secret=env:TEST_SIGNING');
is(scalar($receiver->requests), 1, 'not again');

# Secrets that the worker was not allowed, or not for this host.
put('sent');
($status, $log) = once('--allow-secret=env:TEST_SIGNING');
like($log, qr/a secret is not among those that the worker was allowed to send to this host; attempt 2 follows/,
	'a secret that is not allowed');
sql('SELECT pg_sleep(0.3)');
($status, $log) = once('--allow-secret=env:TEST_SIGNING', '--allow-secret=env:TEST_TOKEN@example.com');
like($log, qr/a secret is not among those/, 'a secret that is allowed for another host');
is(scalar($receiver->requests), 1, 'not sent');
sql(q{SELECT eventbridge.remove_targets('sent', '{t}'), eventbridge.delete_rule('sent')});
unlike($_, qr/SECRET|whsec/, 'no secret in a dump')
  foreach scalar(`pg_dump -d "${\ $node->connstr('postgres')}"`);
$receiver->stop;

# Secret endpoints, in a file, and other methods.
my $file = PostgreSQL::Test::Utils::tempdir() . '/endpoint';
$receiver = EventbridgeTest::HttpReceiver->new({ status => 204 });
append_to_file($file, $receiver->url . "\n");
foreach my $method ('GET', 'HEAD', 'PUT', 'PATCH', 'DELETE', 'OPTIONS')
{
	webhook(lc $method, "file:$file", "'$method'");
	put(lc $method);
}
($status, $log) = once("--allow-secret=file:$file");
is($status, 0, 'an endpoint in a file');
is(join(' ', sort map { $_->{method} . ($_->{body} ? '+' : '') } $receiver->requests),
	'DELETE+ GET HEAD OPTIONS+ PATCH+ PUT+', 'methods, and which have a body');
$receiver->stop;

# ---- what is tried again, and what is not ----

$worker = worker('-v');
foreach my $answer ({ status => 500 }, { status => 503 }, { status => 429 }, { status => 409 },
	{ status => 401 }, { status => 407 }, { close => 1 })
{
	my $name = 'again' . ($answer->{status} // '');
	$receiver = EventbridgeTest::HttpReceiver->new($answer, { status => 200 });
	webhook($name, $receiver->url);
	put($name);
	wait_for_requests($receiver, 2, "$name: tried again");
	@requests = $receiver->requests;
	is($requests[0]{headers}{'webhook-id'}, $requests[1]{headers}{'webhook-id'}, "$name: the same webhook-id");
	wait_for('SELECT count(*) = 0 FROM eventbridge.delivery_retry', "$name: done");
	is(sql("SELECT status, attempts FROM eventbridge.delivery_trace WHERE rule_name = '$name'"),
		'DELIVERED|2', "$name: delivered");
	$receiver->stop;
}
foreach my $code (400, 403, 404, 410, 302)
{
	$receiver = EventbridgeTest::HttpReceiver->new(
		{ status => $code, headers => ['Location: http://127.0.0.1:1/'], body => 'no_such_thing' });
	webhook("refused$code", $receiver->url);
	put("refused$code");
	wait_for("SELECT count(*) = 1 FROM eventbridge.dead_letters WHERE rule_arn LIKE '%/refused$code'", "$code: a dead letter");
	is(dead("refused$code"), "SDK_CLIENT_ERROR|HTTP status $code (no_such_thing)|0", "$code: at once, and why");
	is(scalar($receiver->requests), 1, "$code: not tried again");
	$receiver->stop;
}

# Retry-After, and no more attempts than the target allows.
$receiver = EventbridgeTest::HttpReceiver->new(
	{ status => 429, headers => ['Retry-After: 2'] }, { status => 200 });
webhook('later', $receiver->url);
put('later');
wait_for_requests($receiver, 2, 'Retry-After: tried again');
@requests = $receiver->requests;
cmp_ok($requests[1]{time} - $requests[0]{time}, '>=', 1.9, 'Retry-After: obeyed');
cmp_ok($requests[1]{time} - $requests[0]{time}, '<', 4, 'Retry-After: and soon after');
$receiver->stop;

$receiver = EventbridgeTest::HttpReceiver->new({ status => 500 });
webhook('bounded', $receiver->url, undef, RetryPolicy => { MaximumRetryAttempts => 2 });
put('bounded');
wait_for(q{SELECT count(*) = 1 FROM eventbridge.dead_letters WHERE rule_arn LIKE '%/bounded'}, 'exhausted: a dead letter');
is(dead('bounded'), 'ERROR_FROM_TARGET|HTTP status 500|2', 'exhausted: after the retries that are allowed');
is(scalar($receiver->requests), 3, 'exhausted: number of requests');
$receiver->stop;

# Nobody there.
my $gone_url = $receiver->url;
sql('SELECT 1');
webhook('gone', $gone_url, undef, RetryPolicy => { MaximumRetryAttempts => 1 });
put('gone');
wait_for(q{SELECT count(*) = 1 FROM eventbridge.dead_letters WHERE rule_arn LIKE '%/gone'}, 'no receiver: a dead letter');
like(dead('gone'), qr/^CONNECTION_FAILURE\|.*\|1$/, 'no receiver: after a retry');

# No role may claim but those who were granted it.
isnt($node->psql('postgres', 'SET ROLE runner; SELECT * FROM eventbridge.worker_claim()'), 0, 'worker_claim is not for everybody');
stop($worker, 'worker');

# ---- commands ----

my $out = PostgreSQL::Test::Utils::tempdir() . '/out';
task('job', Input => '{"do": "this"}');
task('other');
task('failing', RetryPolicy => { MaximumRetryAttempts => 0 });
task('missing');
put($_) foreach ('job', 'other', 'failing', 'missing');
($status, $log) = once("--allow-command=job=cat >> $out", '--allow-command=failing=exit 75',
	'--allow-command=missing=/nowhere/at/all');
is($status, 0, 'commands');
is(slurp_file($out), qq({"do": "this"}\n), 'a command that is allowed gets the input');
is(dead('other'), "NO_PERMISSIONS|the worker's configuration has no command for this task|0",
	'one that is not allowed is refused');
is(dead('failing'), q{ERROR_FROM_TARGET|the command's exit status was 75|0}, 'exit status 75');
is(dead('missing'), q{NO_RESOURCE|the command's exit status was 127|0}, 'exit status 127');
task('sleepy', RetryPolicy => { MaximumRetryAttempts => 0 });
put('sleepy');
($status, $log) = once('--allow-command=sleepy=sleep 60', '--command-timeout=0.3');
is(dead('sleepy'), 'TIMEOUT|the command took too long|0', 'a command that takes too long');

# ---- one destination does not hold up another ----

my %bad = (
	hanging => { hang => 1 },
	failing => { status => 500 },
	throttling => { status => 429, headers => ['Retry-After: 600'] },
	closing => { close => 1 });
$bad{$_} = EventbridgeTest::HttpReceiver->new($bad{$_}) foreach keys %bad;
my $slow = EventbridgeTest::HttpReceiver->new({ delay => 0.3, status => 200 });
my $fast = EventbridgeTest::HttpReceiver->new({ status => 200 });
webhook($_, $bad{$_}->url) foreach keys %bad;
webhook('slow', $slow->url);
webhook('fast', $fast->url);
$worker = worker('--max-deliveries=40', '--jobs=5', '--webhook-timeout=4');
put($_, 100) foreach keys %bad;
put('slow', 20);
put('fast', 60);
my $began = time();
wait_for_requests($fast, 60, 'others get their events while some hang, fail, throttle and close');
wait_for_requests($slow, 20, 'the slow one gets its own');
cmp_ok(time() - $began, '<', 20, 'in time');
cmp_ok(scalar($bad{$_}->requests), '>', 0, "$_: it was tried") foreach keys %bad;
is(sql(q{SELECT sum("SuccessfulInvocationAttempts") FROM eventbridge.rule_metrics WHERE minute IS NULL AND rule_name = 'fast'}),
	60, 'each once');
sql(qq{SELECT eventbridge.remove_targets('$_', '{t}')}) foreach keys %bad;
stop($worker, 'worker with receivers that misbehave');
$_->stop foreach (values %bad, $slow, $fast);
# What waits for a target that is gone is dropped when its time has come, which is too late for us.
sql('DELETE FROM eventbridge.delivery_retry AS r WHERE NOT EXISTS (SELECT FROM eventbridge.target AS t WHERE t.target_id = r.target_id)');
is(sql('SELECT count(*) FROM eventbridge.delivery_retry'), 0, 'nothing else is left');

# The rate that a destination allows.
$fast = EventbridgeTest::HttpReceiver->new({ status => 200 });
webhook('paced', $fast->url, q{'POST', 5});
put('paced', 12);
$worker = worker();
wait_for_requests($fast, 12, 'all are delivered');
@requests = $fast->requests;
cmp_ok($requests[11]{time} - $requests[0]{time}, '>=', 2, 'at no more than the rate');
stop($worker, 'paced worker');

# Two workers that know of one another keep to it together.
my @pair = map { worker('--share=2', '--max-deliveries=8') } 1 .. 2;
put('paced', 20);
wait_for_requests($fast, 32, 'all are delivered by two');
@requests = $fast->requests;
cmp_ok($requests[31]{time} - $requests[12]{time}, '>=', 3, 'at no more than the rate in all');
stop($_, 'one of two') foreach @pair;
$fast->stop;

# ---- bell, signals, deaths ----

# An idle worker is woken by the writer.
$node->append_conf('postgresql.conf', "eventbridge.poll_interval = '1h'\n");
$node->reload;
$receiver = EventbridgeTest::HttpReceiver->new({ status => 200 });
webhook('bell', $receiver->url);
$worker = worker('-v');
wait_for(q{SELECT count(*) = 1 FROM pg_locks WHERE locktype = 'object' AND mode = 'ShareLock' AND granted AND pid <> pg_backend_pid()
	AND objsubid <> 0},
	'the worker sleeps');
foreach my $n (1 .. 3)
{
	put('bell');
	wait_for_requests($receiver, $n, 'the bell wakes it');
}
stop($worker, 'woken worker');
$node->append_conf('postgresql.conf', "eventbridge.poll_interval = 500\n");
$node->reload;
$receiver->stop;

# SIGTERM: what is under way is finished, the rest given back at once.
$receiver = EventbridgeTest::HttpReceiver->new({ delay => 1, status => 200 });
webhook('signal', $receiver->url);
put('signal', 10);
$worker = worker('--jobs=2');
wait_for_requests($receiver, 2, 'two are under way');
stop($worker, 'SIGTERM');
is(scalar($receiver->requests), 2, 'SIGTERM: no more are started');
is(sql(q{SELECT attempts, count(*) FROM eventbridge.delivery_retry WHERE target_id = (SELECT max(target_id) FROM eventbridge.target) GROUP BY 1}),
	'0|8', 'SIGTERM: the rest is given back');
$worker = worker();
wait_for_requests($receiver, 10, 'and delivered by the next');
stop($worker, 'the next');
$receiver->stop;

# kill -9: another worker delivers what was under way, after the lease.
$receiver = EventbridgeTest::HttpReceiver->new({ hang => 1 }, { hang => 1 }, { status => 200 });
webhook('killed', $receiver->url);
put('killed', 2);
$worker = worker('--webhook-timeout=60');
wait_for_requests($receiver, 2, 'two are under way');
my $second = worker();
put('killed', 1);
wait_for_requests($receiver, 3, 'a second worker leaves them alone');
$worker->signal('KILL');
$worker->finish;
# Where a worker was killed, a delivery may come once more.
wait_for(q{SELECT count(*) = 0 FROM eventbridge.delivery_retry}, 'it makes them when the first is dead', $second);
cmp_ok(scalar($receiver->requests), '>=', 5, 'each of them');
stop($second, 'second worker');
$receiver->stop;

# The server restarts while a request is under way: its answer still counts.
$receiver = EventbridgeTest::HttpReceiver->new({ delay => 3, status => 200 });
webhook('restart', $receiver->url);
sql(q{ALTER SYSTEM SET eventbridge.retry_delay = 60000; SELECT pg_reload_conf()});
put('restart');
$worker = worker('-v');
wait_for_requests($receiver, 1, 'one is under way');
# Not restart, which starts the server without a wrapper that it may have.
$node->stop;
$node->start;
$worker->wait_for_log(qr/connected again/);
wait_for(q{SELECT count(*) = 0 FROM eventbridge.delivery_retry WHERE target_id = (SELECT max(target_id) FROM eventbridge.target)},
	'the report comes after the reconnection');
is(scalar($receiver->requests), 1, 'it was delivered once');
stop($worker, 'reconnected worker');
$receiver->stop;
sql(q{ALTER SYSTEM RESET eventbridge.retry_delay; SELECT pg_reload_conf()});

# Two workers side by side: nothing twice.
$receiver = EventbridgeTest::HttpReceiver->new({ status => 200 });
webhook('two', $receiver->url);
$worker = worker('--max-deliveries=20');
$second = worker('--max-deliveries=20');
put('two', 50) foreach (1 .. 6);
wait_for_requests($receiver, 300, 'two workers: all are delivered');
stop($worker, 'first of two');
stop($second, 'second of two');
my %seen;
$seen{ $_->{headers}{'webhook-id'} }++ foreach $receiver->requests;
is(scalar(keys %seen), 300, 'two workers: none twice');
$receiver->stop;

# ---- what is wrong with the options, and with the database ----

foreach my $case (
	[ '--allow-command=job', qr/invalid value "job" for option --allow-command\n.*must be NAME=COMMAND/s ],
	[ '--allow-secret=SECRET', qr/for option --allow-secret: it must be env:NAME or file:NAME/ ],
	[ '--allow-secret=env:NO_SUCH_THING', qr/for option --allow-secret: the environment variable is not set/ ],
	[ '--allow-secret=file:/x@', qr/for option --allow-secret: there is no host after the @/ ],
	[ '--max-deliveries=0', qr/invalid value "0" for option --max-deliveries/ ])
{
	$worker = EventbridgeTest::Worker->start_command('run', $node, $case->[0]);
	is($worker->finish, 1, "$case->[0]: exit status");
	like($worker->log, $case->[1], "$case->[0]: message");
}

# ---- pipes that lead to an API destination ----

$receiver = EventbridgeTest::HttpReceiver->new({ status => 200 }, { status => 500 }, { status => 200 });
my $hook = sql("SELECT eventbridge.create_api_destination('piped', '" . $receiver->url . "')");
sql('CREATE TABLE piped (id int PRIMARY KEY)');
sql(qq{SELECT eventbridge.create_pipe('piped', eventbridge.enable_stream('piped', 'KEYS_ONLY'), '$hook',
	'{"Filters": [{"Pattern": "{\\"eventName\\": [\\"INSERT\\"]}"}]}', target_parameters => '{"InputTemplate": "{\\"id\\": <\$.dynamodb.Keys.id.N>}"}')});
sql('INSERT INTO piped SELECT generate_series(1, 3)');
sql('CALL eventbridge.run_deliveries()');
$worker = worker();
wait_for_requests($receiver, 4, 'a pipe: each element is a request, and one is made again');
is(join(' ', map { $_->{body} } sort { $a->{body} cmp $b->{body} } ($receiver->requests)[ 0, 2, 3 ]),
	'{"id": "1"} {"id": "2"} {"id": "3"}', 'a pipe: what its template makes');
wait_for('SELECT count(*) = 0 FROM eventbridge.delivery_retry', 'a pipe: all is delivered');
stop($worker, 'a pipe');
$receiver->stop;
sql("SELECT eventbridge.delete_pipe('piped'), eventbridge.disable_stream('piped'), eventbridge.delete_api_destination('piped')");

$node->safe_psql('postgres', 'CREATE ROLE nobody LOGIN');
$worker = EventbridgeTest::Worker->start_command('run', $node, '-U', 'nobody');
is($worker->finish, 2, 'a role without the right');
like($worker->log, qr/could not ask for deliveries: .*permission denied for function worker_claim/, 'says so');

$node->stop;
done_testing();
