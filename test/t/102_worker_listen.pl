# eventbridge-worker listen: messages on standard output.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use EventbridgeTest::Worker;
use IPC::Run;
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

EventbridgeTest::Worker::require_program();

my $node = PostgreSQL::Test::Cluster->new('worker_listen');
$node->init;
$node->start;

# Channel names and payloads of every kind.  Names are taken as they are.
my @names = ('plain', 'Upper', 'with space', 'quo"te', q{a'b;--}, "\x{c3}\x{a4}",
	'x' x 63);
my @payloads = (
	[ '{"a": 1}' => '{"a":1}' ],
	[ '[1, 12345678901234567890, 1.50e+3, "a \\\\" ]' =>
		  '[1,12345678901234567890,1.50e+3,"a \\\\"]' ],
	[ '"\\\\" ' => '"\\\\"' ],
	[ '{"k":"  // no comment /* \\" */ "}' => '{"k":"  // no comment /* \\" */ "}' ],
	[ "{\n\t\"a\" : null ,\r\n \"b\":true}" => '{"a":null,"b":true}' ],
	[ ' -0.5 ' => '-0.5' ],
	[ '"\\u0000\\ud83d\\ude00"' => '"\\u0000\\ud83d\\ude00"' ],
	[ "[0." . '1' x 100 . ', 1e' . '0' x 70 . ']' => '[0.' . '1' x 100 . ',1e' . '0' x 70 . ']' ],
	[ 'plain text' => '"plain text"' ],
	[ 'say "x"' => '"say \\"x\\""' ],
	[ '' => '""' ],
	# things that only look like JSON
	[ '01' => '"01"' ],
	[ '1.' => '"1."' ],
	[ '1 2' => '"1 2"' ],
	[ '1-2' => '"1-2"' ],
	[ '[1e]' => '"[1e]"' ],
	[ '{1:2}' => '"{1:2}"' ],
	[ '"\\' => '"\"\\\\"' ],
	[ '-' => '"-"' ],
	[ '[1,2' => '"[1,2"' ],
	[ '{"a":1} x' => '"{\\"a\\":1} x"' ],
	[ "\"a\nb\"" => '"\\"a\\nb\\""' ],
	[ "\x{c2}\x{a0}1" => "\"\x{c2}\x{a0}1\"" ],
	[ "\x{ef}\x{bb}\x{bf}1" => "\"\x{ef}\x{bb}\x{bf}1\"" ],
	[ '"\\u00zz"' => '"\\"\\\\u00zz\\""' ],
	[ "\f1" => '"\\f1"' ]);

my $n = @names + @payloads;
my $worker = EventbridgeTest::Worker->listen($node,
	(map { "--channel=$_" } @names), "--count=$n");
like($worker->log,
	qr/listening in database "postgres" on channel "plain", "Upper", "with space", "quo""te", /,
	'says what it listens to');
like($worker->log, qr/messages go to: standard output\n/, 'says where messages go');

sub literal { my $text = shift; $text =~ s/'/''/g; return "'$text'"; }

my $sql = "SET client_encoding = 'UTF8'; SET standard_conforming_strings = on;";
$sql .= 'SELECT pg_notify(' . literal($_) . ", '7');" foreach @names;
$sql .= "SELECT pg_notify('plain', " . literal($_->[0]) . ");" foreach @payloads;
$node->safe_psql('postgres', $sql);

is($worker->finish, 0, 'ends after --count messages');
my @lines = split /\n/, $worker->output;
is(scalar(@lines), $n, 'one line a message');
foreach my $name (@names)
{
	my $message = decode_json(shift @lines);
	utf8::encode(my $channel = $message->{channel});
	is($channel, $name, "channel $name");
}
foreach my $payload (@payloads)
{
	my $line = shift @lines;
	is( $line =~ /^\{"channel":"plain","pid":\d+,"payload":(.*),"received":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"\}$/
		? $1 : $line,
		$payload->[1], "payload $payload->[0]");
	ok(eval { decode_json($line); 1 }, '... is JSON');
}

# A database without an encoding can send anything; the line stays UTF-8, and
# the server does not end the session.
$node->safe_psql('postgres',
	"CREATE DATABASE ascii ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0");
$worker = EventbridgeTest::Worker->listen($node, '--channel=c', '--count=1',
	'-d', $node->connstr('ascii'));
$node->safe_psql('ascii',
	q{SELECT pg_notify('c', E'a\xff\xc3') FROM set_config('client_encoding', 'SQL_ASCII', false)});
is($worker->finish, 0, 'message from a SQL_ASCII database');
like($worker->output, qr/"payload":"a\x{ef}\x{bf}\x{bd}\x{ef}\x{bf}\x{bd}"/,
	'bytes that are not UTF-8 are replaced');
unlike($worker->log, qr/warning/, 'without a lost connection');

# Nothing but the payload.
$worker = EventbridgeTest::Worker->listen($node, '--channel=c', '--count=2',
	'--payload-only');
$node->safe_psql('postgres', q{NOTIFY c, 'a  b'; NOTIFY c, '{"a": 1}'});
is($worker->finish, 0, '--payload-only');
is($worker->output, qq(a  b\n{"a": 1}\n), 'payloads as they came');

# Time-outs, with and without a count.
$worker = EventbridgeTest::Worker->start($node, '--channel=c', '--timeout=0.2');
is($worker->finish, 0, '--timeout alone is a clean end');
$worker = EventbridgeTest::Worker->start($node, '--channel=c', '--timeout=0.2', '--count=1');
is($worker->finish, 4, '--timeout before --count');
$worker = EventbridgeTest::Worker->start($node, '--channel=c', '--timeout=0.2', '--quiet');
is($worker->finish, 0, '--quiet');
is($worker->log, '', 'logs nothing that is no warning');

# Signals.
foreach my $signal ('TERM', 'INT')
{
	$worker = EventbridgeTest::Worker->listen($node, '--channel=c');
	$node->safe_psql('postgres', "NOTIFY c, '1'");
	$worker->wait_for_output(qr/"payload":1,/);
	$worker->signal($signal);
	is($worker->finish, 0, "SIG$signal stops it cleanly");
	like($worker->log, qr/received SIG$signal: stopping/, 'and it says so');
}

# A large transaction's worth of messages, in order.
$worker = EventbridgeTest::Worker->listen($node, '--channel=c', '--count=30000');
$node->safe_psql('postgres',
	"SELECT count(pg_notify('c', i::text)) FROM generate_series(1, 30000) i");
is($worker->finish, 0, '30,000 messages');
my $i = 0;
my $in_order = 1;
foreach my $line (split /\n/, $worker->output)
{
	$i++;
	$in_order = 0 unless $line =~ /"payload":$i,/;
}
is($i, 30000, 'all of them');
ok($in_order, 'in order');

# A reader that is slow: the worker holds some messages, then leaves the rest
# to the server, and loses none.
my $directory = PostgreSQL::Test::Utils::tempdir();
my $slow = IPC::Run::start(
	[ 'bash', '-c',
		'eventbridge-worker listen -v -d "$0" --channel=c --count=30000 --timeout=600 2> "$1/slow" |
		{ until [ -e "$1/go" ]; do sleep 0.05; done; cat; }; exit ${PIPESTATUS[0]}',
		$node->connstr('postgres'), $directory ],
	'>', \my $slow_output,
	IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));

sub wait_for_file
{
	my ($run, $file, $pattern) = @_;
	until (-e $file && slurp_file($file) =~ $pattern)
	{
		$run->pump_nb;
		usleep(20_000);
	}
	return;
}

wait_for_file($slow, "$directory/slow", qr/messages go to/);
$node->safe_psql('postgres',
	"SELECT count(pg_notify('c', i::text)) FROM generate_series(1, 30000) i");
wait_for_file($slow, "$directory/slow", qr/not reading for now, 10000 messages held/);
append_to_file("$directory/go", '');
$slow->finish;
is($slow->result(0), 0, 'slow reader');
is(join(',', $slow_output =~ /"payload":(\d+),/g), join(',', 1 .. 30000),
	'gets every message, in order');
like(slurp_file("$directory/slow"), qr/reading again, \d+ messages held/,
	'reading was resumed');

# A reader that goes away: "head" ends after the first message.
my $err_file = "$directory/head";
my $pipe = IPC::Run::start(
	[ 'bash', '-c',
		'eventbridge-worker listen -d "$0" --channel=c --timeout=600 2>"$1" | head -n 1; exit ${PIPESTATUS[0]}',
		$node->connstr('postgres'), $err_file ],
	'>', \my $head_output,
	IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));
wait_for_file($pipe, $err_file, qr/messages go to/);
foreach my $round (1 .. 20)
{
	last unless $pipe->pumpable;
	$node->safe_psql('postgres', "NOTIFY c, '$round'");
	$pipe->pump_nb;
}
$pipe->finish;
is($pipe->result(0), 3, 'standard output closed by its reader');
like(slurp_file($err_file),
	qr/error: print: message from channel "c" given up after 1 attempt\(s\): could not write to standard output: .*stopping because of the failure/s,
	'and it says so');

# Ordinary users can listen; search_path is empty; the session has a name.
$node->safe_psql('postgres', 'CREATE ROLE listener LOGIN');
delete $ENV{PGAPPNAME};
$worker = EventbridgeTest::Worker->listen($node, '--channel=c', '-U', 'listener');
is( $node->safe_psql('postgres',
		"SELECT usename FROM pg_stat_activity WHERE application_name = 'eventbridge-worker'"),
	'listener', 'connected as the user asked for');
$worker->signal('TERM');
is($worker->finish, 0, 'ordinary user');

# What the server refuses at start.
command_checks_all(
	[ 'eventbridge-worker', 'listen', '-d', $node->connstr('nowhere'), '--channel=c' ],
	2, [qr/^$/], [qr/database "nowhere" does not exist/], 'no such database');

$node->stop;
done_testing();
