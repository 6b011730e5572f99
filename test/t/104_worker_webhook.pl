# eventbridge-worker listen --webhook: messages posted to a receiver that
# accepts, refuses, hangs, and closes the connection.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use EventbridgeTest::HttpReceiver;
use EventbridgeTest::Worker;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use POSIX qw(strftime);
use Test::More;

EventbridgeTest::Worker::require_program();

# The receiver is on this machine, whatever proxy there is for others.
delete @ENV{ grep { /_proxy$/i } keys %ENV };

my $node = PostgreSQL::Test::Cluster->new('worker_webhook');
$node->init;
$node->start;

my @fast = ('--retry-delay=0.01', '--retry-max-delay=0.05');

# post(SQL, ARGUMENTS, ANSWERS...): has the worker post what the SQL notifies
# to a receiver that gives these answers, until one message is done.  Returns
# the exit status, the log and the requests.
sub post
{
	my ($sql, $args, @answers) = @_;
	my $receiver = EventbridgeTest::HttpReceiver->new(@answers);
	my $worker = EventbridgeTest::Worker->listen($node, '--channel=c',
		'--webhook=' . $receiver->url, '-v', @fast, '--count=1', @$args);
	$node->safe_psql('postgres', $sql);
	my $status = $worker->finish;
	my @requests = $receiver->requests;
	$receiver->stop;
	unlike($worker->log, qr/SECRET|services/, 'the URL is not logged');
	return ($status, $worker->log, @requests);
}

my ($status, $log, @requests);

# What is sent.
($status, $log, @requests) =
  post(q{NOTIFY c, '{"text": "build 12345678901234567890 \u00e4"}'}, [], { status => 200, body => 'ok' });
is($status, 0, 'posted');
is(scalar(@requests), 1, 'once');
is($requests[0]{method}, 'POST', 'method');
is($requests[0]{path}, '/services/T0SECRET/B0SECRET/x0SECRET', 'path');
is($requests[0]{body}, '{"text":"build 12345678901234567890 \u00e4"}',
	'a JSON payload is posted as it is');
is($requests[0]{headers}{'content-type'}, 'application/json', 'content type');
like($requests[0]{headers}{'user-agent'}, qr{^eventbridge-worker/\d}, 'user agent');
like($log, qr/messages go to: webhook\n/, 'says where messages go');

($status, $log, @requests) = post(q{NOTIFY c, 'build "failed"'}, [], { status => 204 });
is($status, 0, 'any 2xx will do');
is($requests[0]{body}, '{"text":"build \"failed\""}', 'other payloads become a text');

# What is tried again.
foreach my $answer ({ status => 500 }, { status => 503 }, { status => 429 },
	{ status => 408 }, { close => 1 })
{
	my $name = $answer->{status} // 'closed connection';
	($status, $log, @requests) =
	  post("NOTIFY c, '1'", [], $answer, $answer, { status => 200 });
	is($status, 0, "$name: tried again");
	is(scalar(@requests), 3, "$name: until it is taken");
	like($log,
		$answer->{status}
		? qr/warning: webhook: message from channel "c": HTTP status $name; retry 1 of 8 in 0\.0 s/
		: qr/warning: webhook: message from channel "c": .*; retry 1 of 8/,
		"$name: logged");
}

# A receiver that takes too long.
($status, $log, @requests) =
  post("NOTIFY c, '1'", ['--webhook-timeout=0.3'], { hang => 1 }, { status => 200 });
is($status, 0, 'time-out: tried again');
is(scalar(@requests), 2, 'time-out: until it is taken');

# Nobody there.
my $gone = EventbridgeTest::HttpReceiver->new({ status => 200 });
my $gone_url = $gone->url;
$gone->stop;
my $worker = EventbridgeTest::Worker->listen($node, '--channel=c', '--count=1',
	@fast, '--retries=2', "--webhook=$gone_url");
$node->safe_psql('postgres', 'NOTIFY c');
is($worker->finish, 3, 'no receiver: given up after the last retry');
like($worker->log, qr/given up after 3 attempt\(s\)/, 'no receiver: logged');
unlike($worker->log, qr/SECRET|services/, 'no receiver: the URL is not logged');

# What is not tried again.
foreach my $code (400, 401, 403, 404, 410, 302)
{
	($status, $log, @requests) = post("NOTIFY c, '1'", [],
		{
			status => $code,
			headers => ['Location: http://127.0.0.1:1/SECRET'],
			body => $code == 400 ? 'invalid_payload' : '/services/T0SECRET not found'
		});
	is($status, 3, "$code: given up");
	is(scalar(@requests), 1, "$code: at once");
	like($log,
		$code == 400
		? qr/given up after 1 attempt\(s\): HTTP status 400 \(invalid_payload\)\n/
		: qr/given up after 1 attempt\(s\): HTTP status $code\n/,
		"$code: logged");
}

# One word of an answer is shown, but not if it stands in the URL.
($status, $log, @requests) =
  post("NOTIFY c, '1'", [], { status => 404, body => 'x0SECRET' });
is($status, 3, 'answer with a part of the URL');

# Retry-After: a number of seconds, and a date.
($status, $log, @requests) = post("NOTIFY c, '1'", [],
	{ status => 429, headers => ['Retry-After: 2'] }, { status => 200 });
is($status, 0, 'Retry-After: tried again');
like($log, qr/retry 1 of 8 in 2\.0 s/, 'Retry-After: logged');
cmp_ok($requests[1]{time} - $requests[0]{time}, '>=', 1.9, 'Retry-After: obeyed');

my $date = strftime('%a, %d %b %Y %H:%M:%S GMT', gmtime(time() + 3));
($status, $log, @requests) = post("NOTIFY c, '1'", [],
	{ status => 503, headers => ["retry-after: $date"] }, { status => 200 });
is($status, 0, 'Retry-After with a date: tried again');
cmp_ok($requests[1]{time}, '>=', $requests[0]{time} + 0.9,
	'Retry-After with a date: obeyed');

foreach my $value ('Thu, 01 Jan 1998 00:00:00 GMT', '0', 'soon', '12 monkeys', '')
{
	($status, $log, @requests) = post("NOTIFY c, '1'", [],
		{ status => 429, headers => ["Retry-After: $value"] }, { status => 200 });
	is($status, 0, "Retry-After: '$value' is no delay");
	is(scalar(@requests), 2, "Retry-After: '$value', tried again");
}
foreach my $value ('-1', '86401', '99999999999999999999')
{
	($status, $log, @requests) = post("NOTIFY c, '1'", [],
		{ status => 429, headers => ["Retry-After: $value"] });
	is($status, 3, "Retry-After: $value asks for no retry");
	is(scalar(@requests), 1, "Retry-After: $value, not tried again");
}

# The back-off doubles: with 0.2 s, at least 0.1 + 0.2 + 0.4 in all.
($status, $log, @requests) = post("NOTIFY c, '1'",
	[ '--retry-delay=0.2', '--retry-max-delay=10', '--retries=3' ], { status => 500 });
is($status, 3, 'back-off: given up at last');
is(scalar(@requests), 4, 'back-off: number of attempts');
cmp_ok($requests[3]{time} - $requests[0]{time}, '>=', 0.69, 'back-off: grows');

# Order is kept while one is refused, and many can be in flight.
my $receiver = EventbridgeTest::HttpReceiver->new({ status => 500 }, { status => 200 });
$worker = EventbridgeTest::Worker->listen($node, '--channel=c', '--count=3', @fast,
	'--webhook=' . $receiver->url);
$node->safe_psql('postgres', q{NOTIFY c, '1'; NOTIFY c, '2'; NOTIFY c, '3'});
is($worker->finish, 0, 'several messages');
is(join(' ', map { $_->{body} } $receiver->requests), '1 1 2 3', 'order is kept');
$receiver->stop;

$receiver = EventbridgeTest::HttpReceiver->new({ hang => 1 }, { hang => 1 }, { status => 200 });
$worker = EventbridgeTest::Worker->listen($node, '--channel=c', '--count=40', @fast,
	'--webhook-timeout=2', '--jobs=10', '--webhook=' . $receiver->url);
$node->safe_psql('postgres', q{SELECT pg_notify('c', i::text) FROM generate_series(1, 40) i});
is($worker->finish, 0, 'two of ten requests hang');
@requests = $receiver->requests;
is(scalar(@requests), 42, 'the others are not held up, and those are tried again');
is($requests[40]{body} + $requests[41]{body}, 3, 'later than all others');
$receiver->stop;

# The URL in the environment, and in a file; neither seen by a command.
$receiver = EventbridgeTest::HttpReceiver->new({ status => 200 });
$ENV{EVENTBRIDGE_TEST_URL} = $receiver->url;
$worker = EventbridgeTest::Worker->listen($node, '--channel=c', '--count=1',
	'--webhook-env=EVENTBRIDGE_TEST_URL', '--exec=env');
$node->safe_psql('postgres', 'NOTIFY c');
is($worker->finish, 0, '--webhook-env');
is(scalar($receiver->requests), 1, '--webhook-env: posted');
like($worker->output, qr/^PATH=/m, 'the command has the environment');
unlike($worker->output, qr/SECRET/, 'without the URL');
delete $ENV{EVENTBRIDGE_TEST_URL};

my $file = PostgreSQL::Test::Utils::tempdir() . '/url';
append_to_file($file, $receiver->url . " \r\nsecond line\n");
$worker = EventbridgeTest::Worker->listen($node, '--channel=c', '--count=1',
	"--webhook-file=$file");
$node->safe_psql('postgres', 'NOTIFY c');
is($worker->finish, 0, '--webhook-file');
is(scalar($receiver->requests), 2, '--webhook-file: posted');

# On the command line it is overwritten once it is read.
SKIP:
{
	skip 'no /proc here', 1 unless -r '/proc/self/cmdline';
	$worker = EventbridgeTest::Worker->listen($node, '--channel=c',
		'--webhook=' . $receiver->url);
	my $pid = $worker->pid;
	unlike(slurp_file("/proc/$pid/cmdline"), qr/SECRET/,
		'the URL is not seen in the list of processes');
	$worker->signal('TERM');
	$worker->finish;
}
$receiver->stop;

# A signal while a retry is awaited: the message is still delivered.
$receiver = EventbridgeTest::HttpReceiver->new({ status => 500 }, { status => 200 });
$worker = EventbridgeTest::Worker->listen($node, '--channel=c', '--retry-delay=1',
	'--webhook=' . $receiver->url);
$node->safe_psql('postgres', 'NOTIFY c');
$worker->wait_for_log(qr/retry 1 of 8/);
$worker->signal('TERM');
is($worker->finish, 0, 'SIGTERM while a retry is awaited');
is(scalar($receiver->requests), 2, 'the retry was made');
$receiver->stop;

$node->stop;
done_testing();
