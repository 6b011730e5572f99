# eventbridge-worker listen --exec: a command for each message.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use EventbridgeTest::Worker;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

EventbridgeTest::Worker::require_program();

my $node = PostgreSQL::Test::Cluster->new('worker_exec');
$node->init;
$node->start;
my $directory = PostgreSQL::Test::Utils::tempdir();

# Input, output, and what goes where.
my $worker = EventbridgeTest::Worker->listen($node, '--channel=c', '--count=2',
	'--exec=sed "s/^/got: /"; echo to stderr >&2');
like($worker->log, qr/messages go to: command\n/, 'says where messages go');
$node->safe_psql('postgres', q{NOTIFY c, '{"n": 1}'; NOTIFY c, 'two'});
is($worker->finish, 0, '--exec');
like($worker->output,
	qr/\Agot: \{"channel":"c","pid":\d+,"payload":\{"n":1\},"received":"[^"]+"\}\ngot: \{.*"payload":"two",.*\}\n\z/,
	'the command gets the line, and its output is passed on');
is(scalar(() = $worker->log =~ /^to stderr$/mg), 2, 'its standard error, too');

$worker = EventbridgeTest::Worker->listen($node, '--channel=c', '--count=1',
	'--exec=cat', '--payload-only');
$node->safe_psql('postgres', q{NOTIFY c, 'bare'});
is($worker->finish, 0, '--exec with --payload-only');
is($worker->output, "bare\n", 'the command gets the payload');

# Both sinks get every message.
$worker = EventbridgeTest::Worker->listen($node, '--channel=c', '--count=1',
	'--print', "--exec=cat > $directory/both");
like($worker->log, qr/messages go to: standard output command\n/, 'two sinks');
$node->safe_psql('postgres', q{NOTIFY c, 'both'});
is($worker->finish, 0, '--exec with --print');
is(slurp_file("$directory/both"), $worker->output, 'both get the same');

# A command that does not read its input has done its work all the same.
$worker = EventbridgeTest::Worker->listen($node, '--channel=c', '--count=1',
	'--exec=exec true');
$node->safe_psql('postgres', q{SELECT pg_notify('c', repeat('x', 7999))});
is($worker->finish, 0, 'input that is not read');

# Failures: tried again, then given up; order is kept.
my @fast = ('--retry-delay=0.01', '--retry-max-delay=0.05');
$worker = EventbridgeTest::Worker->listen($node, '--channel=c', '--count=2', @fast,
	"--exec=echo try >> $directory/tries; [ \$(wc -l < $directory/tries) -ge 3 ] && cat",
	'--payload-only');
$node->safe_psql('postgres', q{NOTIFY c, 'first'; NOTIFY c, 'second'});
is($worker->finish, 0, 'a command that succeeds at the third try');
is($worker->output, "first\nsecond\n", 'messages stay in order');
like($worker->log,
	qr/warning: command: message from channel "c": the command's exit status was 1; retry 1 of 8 in 0\.0 s.*retry 2 of 8/s,
	'retries are logged');
unlike($worker->log, qr/first/, 'payloads are not');

$worker = EventbridgeTest::Worker->listen($node, '--channel=c', '--count=2', @fast,
	'--retries=2', '--exec=echo x; exit 7');
$node->safe_psql('postgres', q{NOTIFY c, '1'; NOTIFY c, '2'});
is($worker->finish, 3, 'a command that never succeeds');
is($worker->output, "x\n" x 6, 'every message was tried three times');
is( scalar(() = $worker->log =~
		/error: command: message from channel "c" given up after 3 attempt\(s\): the command's exit status was 7/g),
	2, 'and given up');

$worker = EventbridgeTest::Worker->listen($node, '--channel=c', '--count=1', @fast,
	'--exec=kill -9 $$', '--retries=0');
$node->safe_psql('postgres', 'NOTIFY c');
is($worker->finish, 3, 'a command that is killed');
like($worker->log, qr/given up after 1 attempt\(s\): the command was ended by signal 9/,
	'the signal is logged');

$worker = EventbridgeTest::Worker->listen($node, '--channel=c', '--count=1',
	'--exec=/no/such/command');
$node->safe_psql('postgres', 'NOTIFY c');
is($worker->finish, 3, 'no such command');
like($worker->log, qr/given up after 1 attempt\(s\): the command's exit status was 127/,
	'it is not tried again');

# A failure does not stop the worker, unless it shall.
$worker = EventbridgeTest::Worker->listen($node, '--channel=c', '--retries=0',
	'--exec=grep good', '--payload-only');
$node->safe_psql('postgres', q{NOTIFY c, 'bad'; NOTIFY c, 'good'});
$worker->wait_for_output(qr/^good$/m);
$worker->signal('TERM');
is($worker->finish, 3, 'goes on after a failure, but tells of it');

$worker = EventbridgeTest::Worker->listen($node, '--channel=c', '--retries=0',
	'--exec=false', '--stop-on-failure');
$node->safe_psql('postgres', 'NOTIFY c');
is($worker->finish, 3, '--stop-on-failure');

# Time-out of a command, with all that it started.
$worker = EventbridgeTest::Worker->listen($node, '--channel=c', '--count=1',
	'--retries=0', '--exec-timeout=0.2', '--exec=sleep 1000 | sleep 1000');
$node->safe_psql('postgres', 'NOTIFY c');
is($worker->finish, 3, 'a command that hangs');
like($worker->log, qr/the command took too long/, '--exec-timeout');

# A signal lets the worker finish what it holds, retries included.
$worker = EventbridgeTest::Worker->listen($node, '--channel=c', @fast,
	'--payload-only',
	"--exec=echo begun; until [ -e $directory/go ]; do sleep 0.05; done; cat");
# Both come in one transaction: what the worker has not read yet it does not hold.
$node->safe_psql('postgres', q{BEGIN; NOTIFY c, 'one'; NOTIFY c, 'two'; COMMIT});
$worker->wait_for_output(qr/begun/);
$worker->signal('TERM');
$worker->wait_for_log(qr/received SIGTERM: stopping, 2 message\(s\) to be delivered/);
append_to_file("$directory/go", '');
is($worker->finish, 0, 'SIGTERM: finishes what it holds');
is($worker->output, "begun\none\nbegun\ntwo\n", 'both messages');

# A second signal stops it at once, and the command with it.
$worker = EventbridgeTest::Worker->listen($node, '--channel=c',
	"--exec=trap 'echo ended; exit 1' TERM; echo begun; while :; do sleep 0.05; done");
$node->safe_psql('postgres', 'NOTIFY c');
$worker->wait_for_output(qr/begun/);
$worker->signal('INT');
$worker->wait_for_log(qr/received SIGINT: stopping, 1 message/);
$worker->signal('TERM');
is($worker->finish, 5, 'second signal');
like($worker->log, qr/warning: received SIGTERM while stopping: 1 message\(s\) dropped/,
	'says what it dropped');
like($worker->output, qr/ended/, 'the command was ended, too');

# Stopping takes no longer than allowed.
$worker = EventbridgeTest::Worker->listen($node, '--channel=c', '--count=1',
	'--stop-timeout=0.2', '--exec=sleep 1000');
$node->safe_psql('postgres', 'NOTIFY c');
is($worker->finish, 3, '--stop-timeout');
like($worker->log, qr/error: 1 message\(s\) given up: not delivered in time/,
	'says what is given up');

# Several at a time: each command waits for the other.
$worker = EventbridgeTest::Worker->listen($node, '--channel=c', '--count=2',
	'--jobs=2', '--payload-only',
	"--exec=read -r me; touch $directory/\$me; until [ -e $directory/a ] && [ -e $directory/b ]; do sleep 0.05; done");
$node->safe_psql('postgres', q{NOTIFY c, 'a'; NOTIFY c, 'b'});
is($worker->finish, 0, '--jobs');

$node->stop;
done_testing();
