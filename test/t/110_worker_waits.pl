# What eventbridge-worker must not wait for: a server that stands still, a lock,
# somebody who does not read its log, a statement that always fails.

use strict;
use warnings;

use Fcntl;
use FindBin;
use lib "$FindBin::RealBin/lib";

use EventbridgeTest::HttpReceiver;
use EventbridgeTest::Worker;
use POSIX ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

EventbridgeTest::Worker::require_program();

# The receiver is on this machine, whatever proxy there is for others.
delete @ENV{ grep { /_proxy$/i } keys %ENV };

my $node = PostgreSQL::Test::Cluster->new('worker_waits');
$node->init;
$node->append_conf('postgresql.conf', "eventbridge.retry_delay = 100\neventbridge.poll_interval = 200\nmax_prepared_transactions = 1\n");
$node->start;

sub sql { return $node->safe_psql('postgres', @_); }

sql(
	q{
	CREATE EXTENSION eventbridge;
	CREATE FUNCTION sleep_long(event jsonb) RETURNS void LANGUAGE sql AS 'SELECT pg_sleep(1000)';
	SELECT eventbridge.create_queue('q');
	SELECT eventbridge.put_rule('slow', '{"source": ["slow"]}');
	SELECT eventbridge.put_targets('slow', jsonb_build_array(jsonb_build_object('Id', 't', 'Arn', 'arn:aws:lambda:us-east-1:000000000000:function:sleep_long', 'RetryPolicy', '{"MaximumRetryAttempts": 0}'::jsonb)));
});

# ---- a server that stands still ----

my @stopped;

# All processes of the server, those that wait for a connection to come included.
sub stop_server
{
	my $postmaster = (split /\n/, slurp_file($node->data_dir . '/postmaster.pid'))[0];
	@stopped = ($postmaster, split(/\n/, sql('SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid()')));
	is(kill('STOP', @stopped), scalar(@stopped), 'the server stands still');
	return;
}

sub continue_server
{
	kill 'CONT', @stopped if @stopped;
	@stopped = ();
	return;
}

# It must end although the server gives no answer.
sub ends
{
	my ($worker, $status, $name, @signals) = @_;
	my $began = time();
	foreach my $signal (@signals)
	{
		$worker->signal($signal);
		$worker->wait_for_log(qr/received SIG$signal/);
	}
	is($worker->finish, $status, "$name: exit status");
	cmp_ok(time() - $began, '<', 8, "$name: in time");
	return;
}

sub running_statements { return "SELECT count(*) = $_[0] FROM pg_stat_activity WHERE query ~ '^(CALL|SELECT .* FROM) eventbridge' AND state = 'active'"; }

sub end_sessions
{
	sql(q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()});
	return;
}

END
{
	# The exit status is the test's.
	local $?;
	continue_server();
}

foreach my $case ([ 'a target in the database, one signal', 3, 'TERM' ], [ 'a target in the database, two signals', 5, 'TERM', 'INT' ])
{
	my ($name, $status, @signals) = @$case;
	my $worker = EventbridgeTest::Worker->run($node, '--in-database', '--stop-timeout=1');
	sql(q{SELECT eventbridge.put_event('slow', 'test', '{}')});
	$node->poll_query_until('postgres', running_statements(1)) or die 'the target is not called';
	stop_server();
	ends($worker, $status, $name, @signals);
	continue_server();
	ok($node->poll_query_until('postgres', running_statements(0)), "$name: the call is cancelled when the server goes on");
	sql('DELETE FROM eventbridge.delivery_retry');
}

stop_server();
foreach my $command ('run', 'listen --channel=c', 'receive --queue=q')
{
	my ($name, @options) = split / /, $command;
	my $worker = EventbridgeTest::Worker->start_command($name, $node, @options);
	# It has no way to say that it has begun to wait; a signal before that would end it, too.
	select(undef, undef, undef, 0.5);
	ends($worker, 0, "$name, while connecting", 'TERM');
}
continue_server();

# ---- a lock ----

foreach my $case ([ 'run', 'eventbridge.delivery_retry' ], [ 'receive --queue=q', 'eventbridge.queue_message' ])
{
	my ($command, $table) = @$case;
	my ($name, @options) = split / /, $command;
	my $worker = EventbridgeTest::Worker->start_command($name, $node, @options, '--stop-timeout=1');
	$worker->wait_for_log(qr/in database|from database/);
	sql("BEGIN; LOCK TABLE $table IN ACCESS EXCLUSIVE MODE; PREPARE TRANSACTION 'lock'");
	$node->poll_query_until('postgres', running_statements(1)) or die 'nobody waits';
	ends($worker, 3, "$name, while it waits for a lock", 'TERM');
	sql("ROLLBACK PREPARED 'lock'");
}

# ---- a name server that does not answer ----

# A getaddrinfo() that takes long for one name; undef if that cannot be had.
sub slow_resolver
{
	my $directory = PostgreSQL::Test::Utils::tempdir();
	my $compiler = $ENV{CC} // 'cc';
	return if $^O ne 'linux' || $ENV{LD_PRELOAD};
	return if system('pkg-config --atleast-version=7.87 libcurl 2>/dev/null') != 0;
	append_to_file("$directory/slow.c", <<'C');
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netdb.h>
#include <string.h>
#include <unistd.h>
int
getaddrinfo(const char *name, const char *service, const struct addrinfo *hints, struct addrinfo **result)
{
	int (*real) (const char *, const char *, const struct addrinfo *, struct addrinfo **);
	*(void **) &real = dlsym(RTLD_NEXT, "getaddrinfo");
	if (name && strcmp(name, "slow.example") == 0)
	{
		sleep(20);
		return EAI_AGAIN;
	}
	return real(name, service, hints, result);
}
C
	return if system("$compiler -shared -fPIC -o $directory/slow.so $directory/slow.c -ldl 2>/dev/null") != 0;
	return "$directory/slow.so";
}

SKIP:
{
	my $resolver = slow_resolver() or skip 'no resolver that takes long', 3;
	sql(
		q{
		SELECT eventbridge.put_rule('slow_name', '{"source": ["slow_name"]}');
		SELECT eventbridge.put_targets('slow_name', jsonb_build_array(jsonb_build_object('Id', 't', 'Arn',
			eventbridge.create_api_destination('slow_name', 'https://slow.example/'), 'RoleArn', 'arn:aws:iam::000000000000:role/' || current_user)));
		SELECT eventbridge.put_event('slow_name', 'test', '{}');
	});
	my $worker;
	{
		# Under AddressSanitizer it stands before that library, which would mind.
		local $ENV{ASAN_OPTIONS} = join(':', $ENV{ASAN_OPTIONS} // (), 'verify_asan_link_order=0');
		local $ENV{LD_PRELOAD} = $resolver;
		$worker = EventbridgeTest::Worker->run($node, '--webhook-timeout=0.5');
	}
	$worker->wait_for_log(qr/attempt 2 follows/);
	ends($worker, 0, 'a name server that does not answer', 'TERM');
	like($worker->log, qr/Resolving timed out/, 'a name server that does not answer: the request has its time-out');
	sql(q{SELECT eventbridge.remove_targets('slow_name', '{t}')});
	sql('DELETE FROM eventbridge.delivery_retry');
}

# ---- a log that nobody reads ----

# Starts a worker with a small pipe for its log; gives process id and pipe.
sub start_with_pipe
{
	my @command = ('eventbridge-worker', 'run', '-v', '-w', '-d', $node->connstr('postgres'));
	pipe(my $reader, my $writer) or die "could not create a pipe: $!";

	# F_SETPIPE_SZ, on Linux; elsewhere it has the size that it has
	fcntl($writer, 1031, 4096) if $^O eq 'linux';
	my $pid = fork() // die "could not fork: $!";
	if ($pid == 0)
	{
		open STDERR, '>&', $writer or POSIX::_exit(1);
		exec @command or POSIX::_exit(1);
	}
	close $writer;
	return ($pid, $reader);
}

# The exit status of a process that was told to end; undef if it does not.
sub end_process
{
	my ($pid) = @_;
	my $deadline = time() + 20;
	kill 'TERM', $pid;
	while (time() < $deadline)
	{
		return $? >> 8 if waitpid($pid, POSIX::WNOHANG) == $pid;
		select(undef, undef, undef, 0.05);
	}
	kill 'KILL', $pid;
	waitpid $pid, 0;
	return;
}

my $receiver = EventbridgeTest::HttpReceiver->new({ status => 200 });
sql(
	q{
	SELECT eventbridge.put_rule('hook', '{"source": ["hook"]}');
	SELECT eventbridge.put_targets('hook', jsonb_build_array(jsonb_build_object('Id', 't', 'Arn', eventbridge.create_api_destination('hook', '} . $receiver->url . q{'),
		'RoleArn', 'arn:aws:iam::000000000000:role/' || current_user)));
});

my $put = q{SELECT count(eventbridge.put_event('hook', 'test', '{}')) FROM generate_series(1, 800)};
foreach my $reads (0, 1)
{
	my $name = $reads ? 'a log that is read late' : 'a log that is not read';
	my ($pid, $reader) = start_with_pipe();
	my $log = '';
	sql($put);
	ok($node->poll_query_until('postgres', q{SELECT coalesce(sum("SuccessfulInvocationAttempts"), 0) = 800 * } . ($reads + 1)
			. q{ FROM eventbridge.rule_metrics WHERE minute IS NULL AND rule_name = 'hook'}),
		"$name: all is delivered");
	while ($reads && sysread($reader, $log, 65536, length $log))
	{
		last if $log =~ /left out here/;
	}
	is(end_process($pid), 0, "$name: SIGTERM");
	next if !$reads;
	while (sysread($reader, $log, 65536, length $log)) { }
	like($log, qr/warning: \d+ message\(s\) left out here, because standard error was not read\n/, "$name: says what is missing");
	like($log, qr/received SIGTERM: stopping/, "$name: and goes on");
	unlike($log, qr/^(?!\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} UTC eventbridge-worker: .)/m, "$name: whole lines");
}
$receiver->stop;
sql(q{SELECT eventbridge.remove_targets('hook', '{t}')});

# ---- no standard input, output and error, and too many descriptors ----

my $out = PostgreSQL::Test::Utils::tempdir() . '/out';
sql(
	q{
	SELECT eventbridge.put_rule('job', '{"source": ["job"]}');
	SELECT eventbridge.put_targets('job', jsonb_build_array(jsonb_build_object('Id', 't', 'Arn', eventbridge.create_task('job'), 'Input', '{"do": "this"}',
		'RoleArn', 'arn:aws:iam::000000000000:role/' || current_user)));
	SELECT eventbridge.put_event('job', 'test', '{}');
});
my $connection = $node->connstr('postgres');
is(system("exec eventbridge-worker run --once -w -d '$connection' '--allow-command=job=cat > $out' <&- >&- 2>&-"), 0, 'descriptors closed: runs');
is(slurp_file($out), qq({"do": "this"}\n), 'descriptors closed: delivers');

sql(q{SELECT eventbridge.put_event('job', 'test', '{}')});
unlink $out;
is(system("exec eventbridge-worker run --once -q -w -d '$connection' "
			. q{'--allow-command=job=for n in 3 4 5 6 7 8 9; do (eval ": >&$n") 2>/dev/null && echo $n; done > } . "$out; exit 0' 5>/dev/null"), 0, 'descriptors: runs');
is(slurp_file($out), '', 'descriptors: a command gets the three and no other');

# ---- a statement that keeps failing ----

# The pauses before the connections that followed.
sub pauses { return $_[0] =~ /reconnecting in ([\d.]+) s/g; }

foreach my $function ('worker_claim(integer)', 'worker_sleep(oid)')
{
	my ($name) = $function =~ /(\w+)/;
	my $worker = EventbridgeTest::Worker->run($node);
	ok($node->poll_query_until('postgres',
			q{SELECT count(*) = 1 FROM pg_locks WHERE locktype = 'object' AND mode = 'ShareLock' AND granted AND pid <> pg_backend_pid() AND objsubid <> 0}),
		"$name: the worker sleeps");
	sql("ALTER FUNCTION eventbridge.$function RENAME TO gone");
	end_sessions();
	$worker->wait_for_log(qr/(statement failed: .*\bfunction eventbridge\.$name\(.*){4}reconnecting/s);
	# It may have met the failure before its session was ended; then that is one more.
	$worker->wait_for_log(qr/(reconnecting in .*){5}/s);
	my @pauses = pauses($worker->log);
	cmp_ok($pauses[$_], '>=', 0.5 * 0.5 * 2**($_ - 1) - 0.1, "$name: pause $_") foreach 1 .. 4;
	unlike($worker->log, qr/^(?!\t|\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} UTC eventbridge-worker: .)/m, "$name: what the server says is indented");
	my ($arguments) = $function =~ /(\(.*)/;
	sql("ALTER FUNCTION eventbridge.gone$arguments RENAME TO $name");
	$worker->wait_for_log(qr/(connected again.*){5}/s);
	ok($node->poll_query_until('postgres',
			q{SELECT count(*) = 1 FROM pg_locks WHERE locktype = 'object' AND mode = 'ShareLock' AND granted AND pid <> pg_backend_pid() AND objsubid <> 0}),
		"$name: it works again");
	my $count = pauses($worker->log);
	end_sessions();
	$worker->wait_for_log(qr/(connected again.*){6}/s);
	@pauses = pauses($worker->log);
	cmp_ok($pauses[-1], '<=', 0.5, "$name: the next loss is the first in a row");
	$worker->signal('TERM');
	is($worker->finish, 0, "$name: stops cleanly");
}

$node->stop;
done_testing();
