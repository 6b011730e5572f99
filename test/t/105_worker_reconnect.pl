# eventbridge-worker listen: what happens when the connection goes.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use EventbridgeTest::Worker;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

EventbridgeTest::Worker::require_program();
delete $ENV{PGAPPNAME};

my $node = PostgreSQL::Test::Cluster->new('worker_reconnect');
$node->init;
$node->start;

my $worker = EventbridgeTest::Worker->listen($node, '--channel=c', '--channel=D d');
$node->safe_psql('postgres', "NOTIFY c, 'before'");
$worker->wait_for_output(qr/"before"/);

# The session is ended by an administrator.
$node->safe_psql('postgres',
	"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'eventbridge-worker'");
$worker->wait_for_log(qr/connected again and listening.*warning: messages sent while there was no connection are lost/s);
like($worker->log,
	qr/warning: .*terminating connection due to administrator command.*warning: connection lost: .*reconnecting in 0\.\d s/s,
	'a lost connection is logged');
$node->safe_psql('postgres', qq{NOTIFY c, 'between'; NOTIFY "D d", 'other'});
ok($worker->wait_for_output(qr/"between".*"channel":"D d".*"other"/s),
	'listens again on every channel');

# The server is away for a while.
$node->stop;
$worker->wait_for_log(qr/could not reconnect: .*could not reconnect: /s);
pass('goes on trying');
$node->start;
$worker->wait_for_log(qr/(connected again and listening.*){2}/s);
$node->safe_psql('postgres', "NOTIFY c, 'after'");
ok($worker->wait_for_output(qr/"after"/), 'listens again after a restart');

# A crash.  The next server can start when nothing is left of the old one.
$node->kill9;
foreach my $try (1 .. 100)
{
	last if $node->start(fail_ok => 1);
	usleep(100_000);
	$node->stop('fast', fail_ok => 1);
}
$worker->wait_for_log(qr/(connected again and listening.*){3}/s);
$node->safe_psql('postgres', "NOTIFY c, 'crash'");
ok($worker->wait_for_output(qr/"crash"/), 'listens again after a crash');

# It can be stopped while there is no server.
$node->stop;
$worker->wait_for_log(qr/(connection lost.*){4}/s);
$worker->signal('TERM');
is($worker->finish, 0, 'stopped without a server');

$node->start;

# The database goes.
$node->safe_psql('postgres', 'CREATE DATABASE shortlived');
$worker = EventbridgeTest::Worker->listen($node, '--channel=c', '-d',
	$node->connstr('shortlived'));
$node->safe_psql('postgres', 'DROP DATABASE shortlived WITH (FORCE)');
$worker->wait_for_log(qr/could not reconnect: .*database "shortlived" does not exist/s);
$node->safe_psql('postgres', 'CREATE DATABASE shortlived');
$worker->wait_for_log(qr/connected again and listening/);
$worker->signal('INT');
is($worker->finish, 0, 'a database that was dropped and made anew');

$node->stop;
done_testing();
