# eventbridge-worker: what its command line takes, and how it says no.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use EventbridgeTest::Worker;
use PostgreSQL::Test::Utils;
use Test::More;

EventbridgeTest::Worker::require_program();

# A server of the user's own must not be met here.
delete @ENV{qw(PGHOST PGPORT PGSERVICE)};

program_help_ok('eventbridge-worker');
program_version_ok('eventbridge-worker');
program_options_handling_ok('eventbridge-worker');
command_like([ 'eventbridge-worker', $_, '--help' ], qr/^Usage:.*Exit status:/ms, "help of $_")
  foreach ('listen', 'receive', 'run');
command_like([qw(eventbridge-worker listen -?)],
	qr/^Usage:/m, 'help of listen, short option');

# The version is the extension's.
my ($version) = slurp_file("$FindBin::RealBin/../../eventbridge.control") =~
  /^default_version *= *'(.*)'/m;
command_like([qw(eventbridge-worker --version)],
	qr/^eventbridge-worker \Q$version\E\n/, 'version of the extension');
command_like([qw(eventbridge-worker listen -V)],
	qr/^eventbridge-worker \Q$version\E\n/, 'version, after the command');

# usage_error(NAME, MESSAGE, ARGUMENTS...)
sub usage_error
{
	my ($name, $message, @args) = @_;
	command_checks_all([ 'eventbridge-worker', @args ],
		1, [qr/^$/], [ $message, qr/hint: Try "eventbridge-worker --help"/ ],
		$name);
	return;
}

my @listen = ('listen', '--channel=c');

usage_error('no command', qr/error: no command given/);
usage_error('unknown command', qr/error: unknown command "hear"/, 'hear');
usage_error('no channel', qr/error: no channel given/, 'listen');
usage_error('empty channel', qr/error: channel name must not be empty/,
	'listen', '--channel=');
usage_error('long channel',
	qr/error: channel name "c{64}" is too long.*It must be shorter than 64 bytes/s,
	'listen', '--channel=' . 'c' x 64);
usage_error('no queue', qr/error: no queue given/, 'receive');
usage_error('two queues', qr/error: only one queue can be given/, 'receive', '--queue=a', '--queue=b');
usage_error('visibility time-out', qr/It must be a whole number from 1 to 43200/,
	'receive', '--queue=a', '--visibility-timeout=0');
usage_error('poll interval', qr/It must be a number of seconds from 0.001 to 1000000/,
	'receive', '--queue=a', '--poll-interval=0');
usage_error('an option of another command', qr/retries/, 'receive', '--queue=a', '--retries=1');
usage_error('unknown option', qr/nonsense/, @listen, '--nonsense');
usage_error('a file of the webhook that is no URL', qr/error: cannot use the webhook URL from the file: it is not a URL/,
	@listen, '--webhook-file=/dev/null');
usage_error('an option without its value', qr/count/, @listen, '--count');
usage_error('a value where none belongs', qr/print/, @listen, '--print=1');
usage_error('a negative time', qr/error: invalid value "-1" for option --exec-timeout.*from 0 to 1000000/s,
	@listen, '--exec-timeout=-1');
usage_error('arguments', qr/error: too many command-line arguments \(first is "c"\)/,
	@listen, 'a', 'b', 'c');
usage_error('count', qr/error: invalid value "0" for option --count/,
	@listen, '--count=0');
usage_error('count, not a number', qr/error: invalid value "1x" for option --count/,
	@listen, '--count=1x');
usage_error('timeout', qr/error: invalid value "nan" for option --timeout/,
	@listen, '--timeout=nan');
usage_error('retries', qr/error: invalid value "-1" for option --retries/,
	@listen, '--retries=-1');
usage_error('jobs', qr/It must be a whole number from 1 to 1000/,
	@listen, '--jobs=1001');
usage_error('two commands', qr/error: only one command can be given/,
	@listen, '--exec=true', '--exec=true');
usage_error('two webhooks', qr/error: only one webhook can be given/,
	@listen, '--webhook=http://localhost/a', '--webhook=http://localhost/b');
usage_error('variable of the webhook',
	qr/error: environment variable "NO_SUCH_VARIABLE" is not set/,
	@listen, '--webhook-env=NO_SUCH_VARIABLE');
command_checks_all(
	[ 'eventbridge-worker', @listen, '--webhook-file=/no/such/file' ],
	1, [qr/^$/], [qr{error: could not read file "/no/such/file"}],
	'file of the webhook');

# A URL is not shown even when it is wrong.
my %urls = (
	'ftp://localhost/secret' => 'only http and https URLs are supported',
	'http://[/secret' => 'it is not a URL',
	'' => 'it is not a URL');
foreach my $url (sort keys %urls)
{
	my ($out, $err);
	run_log([ 'eventbridge-worker', @listen, "--webhook=$url" ],
		'>', \$out, '2>', \$err);
	like($err, qr/error: cannot use the webhook URL from the command line: $urls{$url}\n/,
		'wrong URL');
	unlike($err, qr/secret/, 'and it is not shown');
}

# No server there.
my $empty = PostgreSQL::Test::Utils::tempdir();
command_checks_all(
	[ 'eventbridge-worker', @listen, '-h', $empty, '-p', '5999', 'd', 'u' ],
	2, [qr/^$/],
	[qr/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} UTC eventbridge-worker: error: .*\Q$empty\E/],
	'no connection');
command_checks_all(
	[ 'eventbridge-worker', @listen, '-d', 'nonsense=1' ],
	2, [qr/^$/], [qr/invalid connection option "nonsense"/],
	'wrong connection string');

done_testing();
