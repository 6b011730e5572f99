# eventbridge-worker: what it says when something is in its way: a pooler, no
# processes or descriptors left, secrets and endpoints that cannot be used,
# work that others have taken, stops that come too early.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use EventbridgeTest::HttpReceiver;
use EventbridgeTest::Worker;
use IO::Select;
use IO::Socket::UNIX;
use JSON::PP;
use POSIX ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

EventbridgeTest::Worker::require_program();

# The receiver is on this machine, whatever proxy there is for others.
delete @ENV{ grep { /_proxy$/i } keys %ENV };
delete $ENV{PGAPPNAME};

my $node = PostgreSQL::Test::Cluster->new('worker_messages');
$node->init;
$node->append_conf('postgresql.conf', "eventbridge.retry_delay = 100\neventbridge.poll_interval = 200\n");
$node->start;

my $dir = PostgreSQL::Test::Utils::tempdir();
my $connection = $node->connstr('postgres');

sub sql { return $node->safe_psql('postgres', @_); }

sql(q{
	CREATE EXTENSION eventbridge;
	CREATE FUNCTION sleep_long(event jsonb) RETURNS void LANGUAGE sql AS 'SELECT pg_sleep(1000)';
	SELECT eventbridge.create_queue('q');
});

# A rule for events of this source, with one target that gets one attempt.
sub rule
{
	my ($name, $arn, %more) = @_;
	my $target = encode_json([ { Id => 't', Arn => $arn, RetryPolicy => { MaximumRetryAttempts => 0 }, %more } ]);
	sql(qq{SELECT eventbridge.put_rule('$name', '{"source": ["$name"]}');
		SELECT eventbridge.put_targets('$name', '$target')});
	return;
}

sub webhook
{
	my ($name, $url, $arguments, %more) = @_;
	$arguments = defined $arguments ? ", $arguments" : '';
	rule($name, sql("SELECT eventbridge.create_api_destination('$name', '$url'$arguments)"),
		RoleArn => 'arn:aws:iam::000000000000:role/' . sql('SELECT current_user'), %more);
	return;
}

sub task
{
	my ($name) = @_;
	rule($name, sql("SELECT eventbridge.create_task('$name')"),
		RoleArn => 'arn:aws:iam::000000000000:role/' . sql('SELECT current_user'));
	return;
}

sub put_event { sql(qq{SELECT eventbridge.put_event('$_', 'test', '{}')}) foreach @_; return; }
sub send_message { sql(q{SELECT eventbridge.purge_queue('q'), eventbridge.send_message('q', 'x')}); return; }

# Runs a command to its end; the result is the exit status and the log.
sub ended
{
	my ($command, @args) = @_;
	my $worker = EventbridgeTest::Worker->start_command($command, $node, @args);
	my $status = $worker->finish;
	return ($status, $worker->log);
}

sub wait_for_file
{
	my ($file) = @_;
	my $deadline = time() + $PostgreSQL::Test::Utils::timeout_default;
	select(undef, undef, undef, 0.02) while !-s $file && time() < $deadline;
	return;
}

my ($status, $log, $worker);

# ---- a pooler ----

# Passes one connection on, with another process number than that of the session.
sub pooler
{
	my $listener = IO::Socket::UNIX->new(Local => "$dir/.s.PGSQL.6432", Listen => 1) or die "could not listen: $!";
	my $pid = fork() // die "could not fork: $!";
	return $pid if $pid > 0;

	my $client = $listener->accept;
	my $server = IO::Socket::UNIX->new(Peer => $node->host . '/.s.PGSQL.' . $node->port);
	my $select = IO::Select->new($client, $server);
	while (1)
	{
		foreach my $from ($select->can_read)
		{
			POSIX::_exit(0) if !sysread($from, my $data, 65536);
			$data =~ s/(K\0\0\0\x0c)(.{4})/$1 . pack('N', unpack('N', $2) + 1)/es if $from == $server;
			syswrite($from == $server ? $client : $server, $data);
		}
	}
}

SKIP:
{
	skip 'the server has no socket directory', 3 unless $node->host =~ m{^/};
	my $pid = pooler();
	$worker = EventbridgeTest::Worker->listen($node, '--channel=c', '-d', "host=$dir port=6432 dbname=postgres");
	like($worker->log,
		qr/warning: there seems to be a connection pooler before the server\n.*detail: LISTEN works only if the pooler keeps one server connection/,
		'a pooler');
	sql(q{NOTIFY c, 'through'});
	ok($worker->wait_for_output(qr/"through"/), 'a pooler that keeps the session');
	$worker->signal('TERM');
	is($worker->finish, 0, 'a pooler: stops cleanly');
	waitpid($pid, 0);
}

# ---- listen ----

($status, $log) = ended('listen', "--channel=\xff");
is($status, 1, 'a channel that is not UTF-8: exit status');
like($log, qr/error: cannot use channel name: /, 'a channel that is not UTF-8: message');
($status, $log) = ended('listen', '--channel=c', '--timeout=0.2');
like($log, qr/stopping: --timeout is over, 0 message\(s\) received/, '--timeout');
$worker = EventbridgeTest::Worker->listen($node, '--channel=c', '--count=2');
sql(q{NOTIFY c, '1'; NOTIFY c, '2'});
is($worker->finish, 0, '--count: exit status');
like($worker->log, qr/stopping: 2 message\(s\) received/, '--count: message');
$worker = EventbridgeTest::Worker->listen($node, '--channel=c');
sql(q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'eventbridge-worker'});
ok($worker->wait_for_log(qr/warning: message from the server: FATAL: +terminating connection due to administrator command/),
	'what the server says');
$worker->signal('TERM');
$worker->finish;

# Nothing that a terminal would obey.
$worker = EventbridgeTest::Worker->listen($node, "--channel=a\xc2\x9b\e[1m\xc3\xa4", '--timeout=0.1');
like($worker->log, qr/on channel "a\\xc2\\x9b\\x1b\[1m\xc3\xa4"\n/, 'control characters are shown');
$worker->finish;

# The shortest time-out is one.
$worker = EventbridgeTest::Worker->listen($node, '--channel=c', '--count=1', '--retries=0', '--exec-timeout=0.0001', '--exec=sleep 60');
sql('NOTIFY c');
is($worker->finish, 3, 'a very short time-out: exit status');
like($worker->log, qr/the command took too long/, 'a very short time-out: message');

# ---- secrets and endpoints ----

# Nothing is sent.
my $receiver = EventbridgeTest::HttpReceiver->new({ status => 200 });
my $url = $receiver->url;
append_to_file("$dir/empty", "\n");
$ENV{TEST_ENDPOINT} = 'http://example.com/services/SECRET';
$ENV{TEST_SIGNING} = 'whsec_!SECRET';
$ENV{TEST_CONTROL} = "SECRET\x01";
$ENV{TEST_ELSEWHERE} = 'https://example.com/services/SECRET';
$ENV{TEST_STAR} = 'https://*.example.com/services/SECRET';
my %problems = (
	unallowed => 'a secret is not among those that the worker was allowed to use',
	plain => 'the endpoint is not an https URL',
	elsewhere => 'a secret is not among those that the worker was allowed to send to this host',
	star => 'the endpoint is not an https URL',
	unsigned => 'the signing secret is not base64',
	missing => q{a secret's file could not be read, or is empty},
	empty => q{a secret's file could not be read, or is empty},
	control => 'a header parameter is not valid',
	parent => 'a path parameter is not valid');
webhook('unallowed', 'env:OTHER');
webhook('plain', 'env:TEST_ENDPOINT');
webhook('elsewhere', 'env:TEST_ELSEWHERE');
# A target's parameters are for the path, not for the host.
webhook('star', 'env:TEST_STAR', undef, HttpParameters => { PathParameterValues => ['www'] });
webhook('unsigned', $url, q{signing_secret => 'env:TEST_SIGNING'});
webhook('missing', $url, qq{header_parameters => '{"X-A": "file:$dir/missing"}'});
webhook('empty', $url, qq{header_parameters => '{"X-A": "file:$dir/empty"}'});
webhook('control', $url, q{header_parameters => '{"X-A": "env:TEST_CONTROL"}'});
webhook('parent', "$url/*", undef, HttpParameters => { PathParameterValues => ['..'] });
put_event(keys %problems);
($status, $log) = ended('run', '--once', map { "--allow-secret=$_" } 'env:TEST_ENDPOINT', 'env:TEST_STAR', 'env:TEST_ELSEWHERE@other.invalid',
	'env:TEST_SIGNING', 'env:TEST_CONTROL', "file:$dir/missing", "file:$dir/empty");
is($status, 0, 'deliveries that cannot be made: exit status');
like($log, qr{error: event [0-9a-f-]{36} to "[^"]*/$_": given up after attempt 1: \Q$problems{$_}\E\n}, "$_: message")
  foreach sort keys %problems;
unlike($log, qr/SECRET/, 'no secret is logged');
is(scalar(my @none = $receiver->requests), 0, 'nothing was sent');
$receiver->stop;

# What a receiver repeats of a secret is not told.
$ENV{TEST_TOKEN} = 'Bearer SECRET-token-1234';
foreach my $answer ('bad token SECRET-token-1234', 'SECRET-token', 'no services SECRET_p')
{
	$receiver = EventbridgeTest::HttpReceiver->new({ status => 403, body => $answer });
	my $name = 'echo' . length($answer);
	(my $base = $receiver->url) =~ s{(:\d+)/.*}{$1};
	webhook($name, "$base/SECRET_path", q{header_parameters => '{"Authorization": "env:TEST_TOKEN"}'});
	put_event($name);
	($status, $log) = ended('run', '--once', '--allow-secret=env:TEST_TOKEN');
	like($log, qr/given up after attempt 1: HTTP status 403\n/, "an answer that repeats a part: $answer");
	$receiver->stop;
}

# ---- no processes, no descriptors ----

# limited(LIMIT, COMMAND, ARGUMENTS...): the log under such a limit.
sub limited
{
	my ($limit, @args) = @_;
	run_log([ 'bash', '-c', "ulimit $limit && exec eventbridge-worker $args[0] -w -d '$connection' @args[1 .. $#args]" ],
		'>', \my $out, '2>', \my $err);
	return $err;
}

SKIP:
{
	skip 'root has as many processes as it likes', 2 if $> == 0;
	task('fork');
	put_event('fork');
	$log = limited('-u 1', 'run', '--once', '--allow-command=fork=true');
	like($log, qr/warning: could not start a process: /, 'no process');
	like($log, qr/given up after attempt 1: the command could not be started\n/, 'no process: the delivery');
	send_message();
	$log = limited('-u 1', 'receive', '--queue=q', '--once', '--exec=true');
	like($log, qr/warning: message [0-9a-f-]{36}: the command could not be started; it comes again in 1 s/, 'no process: a message');
}

like(limited('-n 4', 'run', '--once'), qr/error: could not create a pipe: /, 'no descriptor to begin with');

# Somewhere between there are enough to connect, and not enough for a command.
$log = '';
for (my $n = 5; $n < 40 && $log !~ /warning: could not create a pipe: /; $n++)
{
	send_message();
	$log = limited("-n $n", 'receive', '--queue=q', '--once', '--exec=true');
}
like($log, qr/warning: could not create a pipe: .*the command could not be started; it comes again/s, 'no descriptor for a command');

# ---- what others have taken ----

my $go = "$dir/go";
my $begun = "$dir/begun";
my $wait = "echo x >> $begun; while [ ! -e $go ]; do sleep 0.05; done";

send_message();
$worker = EventbridgeTest::Worker->receive($node, '--queue=q', '--visibility-timeout=1', '--count=1', "--exec=$wait");
wait_for_file($begun);
ok($node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM eventbridge.receive_messages('q', 1, 1000)}),
	'somebody else receives the message');
append_to_file($go, 'x');
$worker->finish;
like($worker->log, qr/warning: message [0-9a-f-]{36}: its visibility time-out was over before it was done/,
	'receive: says so');
unlink $go, $begun;

task('taken');
put_event('taken');
$worker = EventbridgeTest::Worker->run($node, '--once', "--allow-command=taken=$wait");
wait_for_file($begun);
sql('UPDATE eventbridge.delivery_retry SET attempts = attempts + 1');
append_to_file($go, 'x');
is($worker->finish, 0, 'run: a delivery that another worker has taken');
like($worker->log, qr/warning: event [0-9a-f-]{36} to "[^"]*": another worker has taken the delivery/, 'run: says so');
sql('DELETE FROM eventbridge.delivery_retry');
unlink $go, $begun;

# ---- stops that come too early ----

task('long');
rule('inside', 'arn:aws:lambda:us-east-1:000000000000:function:sleep_long');

# stopped(STATUS, NAME, [SIGNALS], [COMMAND...], MESSAGES...)
sub stopped
{
	my ($expected, $name, $signals, $command, @messages) = @_;
	$worker = EventbridgeTest::Worker->start_command($command->[0], $node, @$command[ 1 .. $#$command ]);
	wait_for_file($begun);
	foreach my $signal (@$signals)
	{
		$worker->signal($signal);
		$worker->wait_for_log(qr/received SIG$signal/);
	}
	is($worker->finish, $expected, "$name: exit status");
	like($worker->log, $_, "$name: message") foreach @messages;
	unlink $begun;
	return;
}

my $long = "echo x >> $begun; exec sleep 60";
send_message();
stopped(3, 'receive, out of time', ['TERM'], [ 'receive', '--queue=q', '--stop-timeout=0.1', '--visibility-timeout=1', "--exec=$long" ],
	qr/received SIGTERM: stopping, 1 message\(s\) under way/, qr/error: 1 message\(s\) were still under way, and will come again/);
send_message();
stopped(5, 'receive, at once', [ 'INT', 'TERM' ], [ 'receive', '--queue=q', "--exec=$long" ],
	qr/warning: received SIGTERM while stopping: 1 message\(s\) will come again/);
put_event('long');
stopped(3, 'run, out of time', ['TERM'], [ 'run', '--stop-timeout=0.1', "--allow-command=long=$long" ],
	qr/received SIGTERM: stopping, 1 deliveries under way/, qr/error: 1 deliveries were still under way, and will be made again/);
sql('DELETE FROM eventbridge.delivery_retry');
put_event('long');
stopped(5, 'run, at once', [ 'TERM', 'INT' ], [ 'run', "--allow-command=long=$long" ],
	qr/warning: received SIGINT while stopping: 1 deliveries will be made again/);
sql('DELETE FROM eventbridge.delivery_retry');

put_event('inside');
$worker = EventbridgeTest::Worker->run($node, '--in-database', '--stop-timeout=0.1');
$node->poll_query_until('postgres',
	q{SELECT count(*) = 1 FROM pg_stat_activity WHERE query ~ '^CALL eventbridge' AND wait_event = 'PgSleep'})
  or die 'the target is not called';
$worker->signal('TERM');
is($worker->finish, 3, 'in the database, out of time: exit status');
like($worker->log, qr/error: deliveries in the database were still under way, and will be made again/,
	'in the database, out of time: message');

$node->stop('immediate');
done_testing();
