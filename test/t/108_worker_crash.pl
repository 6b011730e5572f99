# eventbridge-worker run is killed under load, again and again: what was committed
# is delivered, to webhooks and to commands, what was not is not, and nothing
# comes twice but where a worker was killed that had it in hand.
# EB_CRASH_ROUNDS gives the number of rounds.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";

use EventbridgeTest::Crash;
use EventbridgeTest::HttpReceiver;
use EventbridgeTest::Server;
use EventbridgeTest::Worker;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

EventbridgeTest::Worker::require_program();
delete @ENV{ grep { /_proxy$/i } keys %ENV };

my $node = EventbridgeTest::Crash::node('main');
my $script = EventbridgeTest::Crash::numbered_events($node);
my $receiver = EventbridgeTest::HttpReceiver->new({ status => 200 });
my $url = $receiver->url;
$node->safe_psql('postgres', <<"SQL");
SET search_path = eventbridge, public;
SELECT create_api_destination('hook', '$url'), create_task('job');
SELECT put_rule('load', '{"source": ["load"]}');
SELECT put_targets('load', replace('[
	{"Id": "h", "Arn": "arn:aws:events:us-east-1:000000000000:api-destination/hook", "RoleArn": ROLE, "InputPath": "\$.detail.id"},
	{"Id": "c", "Arn": "arn:aws:ecs:us-east-1:000000000000:task/job", "RoleArn": ROLE, "InputPath": "\$.detail.id"}]',
	'ROLE', to_json('arn:aws:iam::000000000000:role/' || current_user)::text)::jsonb);
SQL

# The command notes when it got which event.
my $file = PostgreSQL::Test::Utils::tempdir() . '/taken';
my $command = PostgreSQL::Test::Utils::tempdir() . '/job';
append_to_file($command, <<"SH");
read -r id
echo "\$id \$(date +%s.%N)" >> $file
SH

sub start_worker
{
	return EventbridgeTest::Worker->run($node, '--jobs=4', '--allow-command', "job=sh $command");
}

my $load = EventbridgeTest::Crash::load($node, $script, '-T', '3600', '-R', '60');
my @kills;
foreach my $round (1 .. EventbridgeTest::Crash::number())
{
	my $worker = start_worker();

	EventbridgeTest::Crash::moment();
	$worker->signal('KILL');
	push @kills, time();
	$worker->finish;
}
my $last_killed = $node->safe_psql('postgres', 'SELECT max(id) FROM put');

# One that lives: from here on, all comes once.
my $worker = start_worker();
EventbridgeTest::Crash::moment();
EventbridgeTest::Crash::moment();
$load->kill_kill;
EventbridgeTest::Server::all_delivered_ok($node, 'everything has been delivered');
$worker->signal('TERM');
is($worker->finish, 0, 'the last worker stops cleanly');

my @put = split /\n/, $node->safe_psql('postgres', 'SELECT id FROM put');
my %put = map { $_ => 1 } @put;
cmp_ok(scalar(@put), '>', 100, 'there was load');

# check(NAME, LIST OF [ID, TIME])
sub check
{
	my ($name, @taken) = @_;
	my (%times, $twice, $unexplained, $late);

	push @{ $times{ $_->[0] } }, $_->[1] foreach @taken;
	is(scalar(grep { !$times{$_} } @put), 0, "$name: none is missing");
	is(scalar(grep { !$put{$_} } keys %times), 0, "$name: none that was rolled back");
	($twice, $unexplained, $late) = (0, 0, 0);
	foreach my $id (keys %times)
	{
		my ($last, @more) = sort { $a <=> $b } @{ $times{$id} };

		foreach my $time (@more)
		{
			my ($from, $to) = ($last, $time);

			# What a killed worker had sent off is noted a moment later.
			$twice++;
			$late++ if $id > $last_killed;
			$unexplained++ if !grep { $_ > $from - 1 && $_ < $to } @kills;
			$last = $time;
		}
	}
	is($unexplained, 0, "$name: twice only where there was a kill in between");
	is($late, 0, "$name: nothing of what came after the last kill");
	note("$name: ", scalar(@put), ' events, ', scalar(@taken), ' deliveries, ', $twice, ' twice, ', scalar(@kills), ' kills');
	return;
}

check('webhook', map { [ $_->{body}, $_->{time} ] } $receiver->requests);
check('command', map { [split] } split /\n/, slurp_file($file));

$receiver->stop;
$node->stop;
done_testing();
