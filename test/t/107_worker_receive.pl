# eventbridge-worker receive: the messages of a queue, to standard output,
# commands and webhooks; by receivers that fail, are killed, and work side by
# side.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use EventbridgeTest::HttpReceiver;
use EventbridgeTest::Worker;
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

EventbridgeTest::Worker::require_program();

# The receiver is on this machine, whatever proxy there is for others.
delete @ENV{ grep { /_proxy$/i } keys %ENV };

my $node = PostgreSQL::Test::Cluster->new('worker_receive');
$node->init;
$node->start;
$node->safe_psql(
	'postgres', q{
	CREATE EXTENSION eventbridge;
	CREATE ROLE reader LOGIN;
	GRANT EXECUTE ON FUNCTION eventbridge.create_queue(text, jsonb) TO reader;
	SELECT eventbridge.create_queue('q');
	SET ROLE reader;
	SELECT eventbridge.create_queue('readers');
});

my $dir = PostgreSQL::Test::Utils::tempdir();

sub sql { return $node->safe_psql('postgres', @_); }

# Puts the numbers from 1 to count into the queue.
sub put
{
	my ($count, $queue) = @_;
	$queue //= 'q';
	sql("SELECT eventbridge.send_message('$queue', to_json(n)::text) FROM generate_series(1, $count) AS n");
	return;
}

sub left { return sql('SELECT count(*) FROM eventbridge.queue_message'); }

# Runs a receiver to its end; the result is the exit status, the output and the log.
sub run_receiver
{
	my (@args) = @_;
	my $worker = EventbridgeTest::Worker->start_command('receive', $node, '--queue=q', @args);
	my $status = $worker->finish;
	return ($status, $worker->output, $worker->log);
}

# Waits until the file has so many lines; the result is these.
sub wait_for_lines
{
	my ($file, $count) = @_;
	my $deadline = time() + $PostgreSQL::Test::Utils::timeout_default;
	my @lines;

	while (time() < $deadline)
	{
		@lines = -e $file ? split(/\n/, slurp_file($file)) : ();
		last if @lines >= $count;
		select(undef, undef, undef, 0.02);
	}
	return @lines;
}

# ---- what is printed ----

sql(q{SELECT eventbridge.send_message('q', '{"a": 12345678901234567890, "b": [1, 2]}');
	SELECT eventbridge.send_message('q', 'no "JSON"', message_attributes => '{"k": {"DataType": "String", "StringValue": "v  w"}}')});
my ($status, $out, $log) = run_receiver('--once');
is($status, 0, 'printed: exit status');
my @lines = split /\n/, $out;
is(scalar(@lines), 2, 'a line for each message');
like($lines[0],
	qr/^\{"queue":"q","messageId":"[0-9a-f-]{36}","body":\{"a":12345678901234567890,"b":\[1,2\]\},"attributes":\{.*\}\}$/,
	'a body that is JSON, as it was');
my $message = decode_json($lines[1]);
is($message->{body}, 'no "JSON"', 'a body that is not JSON');
is($message->{attributes}{ApproximateReceiveCount}, '1', 'attributes');
like($message->{attributes}{SentTimestamp}, qr/^\d{13}$/, 'the time');
is($message->{messageAttributes}{k}{StringValue}, 'v  w', 'message attributes');
is(left(), 0, 'what was printed is deleted');
like($log, qr/receiving in database "postgres" from queue "q"/, 'the log says what it does');

put(2500);
($status, $out) = run_receiver('--once', '--payload-only');
is($status, 0, 'many: exit status');
is($out, join('', map { "$_\n" } 1 .. 2500), 'many messages, in their order');
is(left(), 0, 'all are deleted');

put(250);
($status, $out) = run_receiver('--count=120', '--payload-only');
is($status, 0, '--count: exit status');
is($out, join('', map { "$_\n" } 1 .. 120), '--count: so many');
is(sql('SELECT count(*) FROM eventbridge.queue_message WHERE receive_count = 0'), 130, 'the others have not been received');
sql(q{SELECT eventbridge.purge_queue('q')});
($status) = run_receiver('--count=1', '--timeout=0.3');
is($status, 4, '--timeout before --count');
($status) = run_receiver('--timeout=0.3');
is($status, 0, '--timeout alone');

# An idle receiver finds what comes.
my $worker = EventbridgeTest::Worker->receive($node, '--queue', 'arn:aws:sqs:us-east-1:000000000000:q',
	'--poll-interval=0.05', '--payload-only');
foreach my $n (1 .. 3)
{
	sql("SELECT eventbridge.send_message('q', 'number $n')");
	$worker->wait_for_output(qr/number $n\n/);
}
$worker->signal('TERM');
is($worker->finish, 0, 'SIGTERM: exit status');
is(left(), 0, 'nothing is left');

# Nobody reads.
put(3);
my $connection = $node->connstr('postgres');
is(system('bash', '-c', qq{eventbridge-worker receive --queue=q -d "$connection" 2> "$dir/log" | true; exit \${PIPESTATUS[0]}}) >> 8,
	3, 'standard output was closed');
cmp_ok(left(), '>', 0, 'what was not printed is in the queue');
sql(q{SELECT eventbridge.purge_queue('q')});

# ---- commands ----

put(4);
($status, $out, $log) = run_receiver('--count=4', '--payload-only', "--exec=grep -v 3 >> $dir/taken");
is($status, 3, 'a message that was not taken: exit status');
is(slurp_file("$dir/taken"), "1\n2\n4\n", 'the others were taken, in their order');
like($log, qr/warning: message [0-9a-f-]{36}: the command's exit status was 1; it comes again in 1 s/, 'the log says so');
is(sql('SELECT body, receive_count, visible_at > clock_timestamp() FROM eventbridge.queue_message'), '3|1|t',
	'it is left in the queue, and comes again later');
($status) = run_receiver('--count=1', '--payload-only', '--poll-interval=0.05', "--exec=cat >> $dir/taken", '--timeout=30');
is($status, 0, 'it does');
is(slurp_file("$dir/taken"), "1\n2\n4\n3\n", 'and is taken then');
is(left(), 0, 'and deleted');

# One that nobody ever takes comes at longer and longer intervals, and holds up no other.
put(1);
$worker = EventbridgeTest::Worker->receive($node, '--queue=q', '--payload-only', '--poll-interval=0.05', '--jobs=2',
	'--retry-delay=0.5', '--exec', qq{read n; echo \$n >> $dir/poison; test \$n != 1});
wait_for_lines("$dir/poison", 1);
sql(q{SELECT eventbridge.send_message('q', n::text) FROM generate_series(2, 20) AS n});
@lines = wait_for_lines("$dir/poison", 22);
is(scalar(grep { $_ != 1 } @lines), 19, 'the others are taken');
cmp_ok(scalar(grep { $_ == 1 } @lines), '>=', 3, 'the one is tried again');
$worker->signal('TERM');
$worker->finish;
my @delays = $worker->log =~ /comes again in (\d+) s/g;
cmp_ok($delays[2], '>=', $delays[0], 'the back-off grows');
is(left(), 1, 'it stays in the queue');
sql(q{SELECT eventbridge.purge_queue('q')});

# ---- webhooks ----

my $receiver = EventbridgeTest::HttpReceiver->new({ status => 500 }, { status => 429, headers => ['Retry-After: 3'] },
	{ status => 404 }, { status => 200 });
put(1);
$worker = EventbridgeTest::Worker->receive($node, '--queue=q', '--poll-interval=0.05', '--retry-delay=0.1',
	'--webhook', $receiver->url);
ok($node->poll_query_until('postgres', 'SELECT count(*) = 0 FROM eventbridge.queue_message'), 'taken in the end');
$worker->signal('TERM');
is($worker->finish, 0, 'webhook: exit status');
unlike($worker->log, qr/SECRET/, 'webhook: the URL is not logged');
my @requests = $receiver->requests;
is(join(' ', map { $_->{body} } @requests), '1 1 1 1', '500, 429 and 404 are tried again');
cmp_ok($requests[2]{time} - $requests[1]{time}, '>=', 2.9, 'not before Retry-After');
$receiver->stop;

# A message is deleted when all sinks have taken it.
$receiver = EventbridgeTest::HttpReceiver->new({ status => 500 }, { status => 200 });
put(1);
($status, $out) = run_receiver('--count=2', '--payload-only', '--print', '--poll-interval=0.05', '--webhook', $receiver->url);
is($out, "1\n1\n", 'two sinks, of which one fails: both get it again');
is(left(), 0, 'until both have taken it');
$receiver->stop;

# ---- deaths, signals, restarts ----

# kill -9: the message comes again when its visibility time-out is over.
put(1);
my $file = "$dir/killed";
my $began = time();
$worker = EventbridgeTest::Worker->receive($node, '--queue=q', '--payload-only', '--visibility-timeout=3',
	'--exec', "echo one >> $file; exec sleep 10 > /dev/null 2>&1");
wait_for_lines($file, 1);
my $second = EventbridgeTest::Worker->receive($node, '--queue=q', '--payload-only', '--poll-interval=0.05',
	'--exec', "echo two >> $file");
$worker->signal('KILL');
$worker->finish;
@lines = wait_for_lines($file, 2);
is("@lines", 'one two', 'kill -9: another receiver gets it');
cmp_ok(time() - $began, '>=', 3, 'but not before its visibility time-out');
ok($node->poll_query_until('postgres', 'SELECT count(*) = 0 FROM eventbridge.queue_message'), 'and deletes it');
$second->signal('TERM');
is($second->finish, 0, 'the other: exit status');

# SIGTERM: what is under way is finished and deleted, the rest stays.
put(5);
$file = "$dir/stopped";
$worker = EventbridgeTest::Worker->receive($node, '--queue=q', '--payload-only', '--jobs=2', '--exec',
	"cat >> $file; until [ -e $dir/go ]; do sleep 0.05; done");
wait_for_lines($file, 2);
$worker->signal('TERM');
$worker->wait_for_log(qr/received SIGTERM: stopping/);
append_to_file("$dir/go", '');
is($worker->finish, 0, 'SIGTERM with messages under way: exit status');
is(join(' ', sort split /\n/, slurp_file($file)), '1 2', 'SIGTERM: nothing more is begun');
is(sql('SELECT string_agg(body, \' \' ORDER BY message_no), max(receive_count) FROM eventbridge.queue_message'), '3 4 5|0',
	'SIGTERM: what was begun is deleted, the rest has not been received');

# A second signal, and what does not end in time.
$worker = EventbridgeTest::Worker->receive($node, '--queue=q', '--stop-timeout=0.2', '--exec', "echo x >> $dir/late; sleep 60");
wait_for_lines("$dir/late", 1);
$worker->signal('INT');
is($worker->finish, 3, '--stop-timeout: exit status');
$worker = EventbridgeTest::Worker->receive($node, '--queue=q', '--exec', "echo x >> $dir/late; sleep 60");
wait_for_lines("$dir/late", 2);
$worker->signal('TERM');
$worker->wait_for_log(qr/received SIGTERM: stopping/);
$worker->signal('TERM');
is($worker->finish, 5, 'second signal: exit status');
is(left(), 3, 'the messages are still there');
sql(q{SELECT eventbridge.purge_queue('q')});

# The server restarts while a command is under way.
put(2);
$file = "$dir/restarted";
$worker = EventbridgeTest::Worker->receive($node, '--queue=q', '--payload-only', '--poll-interval=0.1', '--exec', "cat >> $file; sleep 2");
wait_for_lines($file, 1);
# Not restart, which starts the server without a wrapper that it may have.
$node->stop;
$node->start;
$worker->wait_for_log(qr/connected again/);
ok($node->poll_query_until('postgres', 'SELECT count(*) = 0 FROM eventbridge.queue_message'), 'after a restart both are deleted');
is(slurp_file($file), "1\n2\n", 'each was taken once');
$worker->signal('TERM');
is($worker->finish, 0, 'after a restart: exit status');

# Side by side: nobody gets what another has.
put(400);
$file = "$dir/side";
my @workers = map {
	EventbridgeTest::Worker->receive($node, '--queue=q', '--payload-only', '--jobs=3', '--poll-interval=0.05', '--exec', "cat >> $file")
} 1 .. 3;
ok($node->poll_query_until('postgres', 'SELECT count(*) = 0 FROM eventbridge.queue_message'), 'three receivers empty the queue');
foreach my $one (@workers)
{
	$one->signal('TERM');
	is($one->finish, 0, 'one of three: exit status');
}
is(join(' ', sort { $a <=> $b } split /\n/, slurp_file($file)), join(' ', 1 .. 400), 'each message was taken once');

# ---- who may ----

put(1, 'readers');
$worker = EventbridgeTest::Worker->start_command('receive', $node, '-U', 'reader', '--queue=readers', '--once', '--payload-only');
is($worker->finish, 0, 'the owner of a queue');
is($worker->output, "1\n", 'receives');
$worker = EventbridgeTest::Worker->start_command('receive', $node, '-U', 'reader', '--queue=q');
is($worker->finish, 2, 'others: exit status');
like($worker->log, qr/error: could not receive from the queue: .*"q"/, 'others: message');
($status, $out, $log) = run_receiver('--exec=true', '--visibility-timeout=1', '--once');
is($status, 0, 'nothing there');
$worker = EventbridgeTest::Worker->start_command('receive', $node, '--queue=nowhere');
is($worker->finish, 2, 'no such queue: exit status');
like($worker->log, qr/The specified queue does not exist/, 'no such queue: message');

$node->stop;
done_testing();
