
=pod

=head1 NAME

EventbridgeTest::Crash - rounds of load, each ended by a kill

=head1 SYNOPSIS

  my $node = EventbridgeTest::Crash::node('main');
  EventbridgeTest::Crash::server_rounds($node, $script);

  my $load = EventbridgeTest::Crash::load($node, $script, '-T', '3600', '-R', '100');
  foreach my $round (1 .. EventbridgeTest::Crash::number())
  {
	  EventbridgeTest::Crash::moment();
	  # kill something
  }
  $load->kill_kill;

EB_CRASH_ROUNDS gives the number of rounds.

=cut

package EventbridgeTest::Crash;

use strict;
use warnings;

use IPC::Run;
use PostgreSQL::Test::Cluster;
use Time::HiRes qw(usleep);

sub number { return $ENV{EB_CRASH_ROUNDS} || 3; }

# A server whose logs are small and whose retries come soon.
sub node
{
	my ($name) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);

	$node->init;
	$node->append_conf('postgresql.conf', <<'CONF');
shared_preload_libraries = 'eventbridge'
eventbridge.poll_interval = '500ms'
eventbridge.retry_delay = '100ms'
eventbridge.log_retention = 0
eventbridge.log_segment_size = '256kB'
restart_after_crash = on
max_worker_processes = 16
CONF
	$node->start;
	return $node;
}

# Starts load; it ends with its server, in a minute, or by kill_kill.
sub load
{
	my ($node, $script, @options) = @_;
	return IPC::Run::start(
		[
			'pgbench', '-n', '-c', '4', '-T', '60', @options, '-f', $script,
			'-h', $node->host, '-p', $node->port, 'postgres'
		],
		'>', \my $out, '2>', \my $err);
}

# A moment of half a second to two seconds.
sub moment
{
	usleep(500_000 + int(rand(1_500_000)));
	return;
}

# Rounds that kill the server, and by turns one of its background workers, upon
# which the postmaster ends everybody else.
sub server_rounds
{
	my ($node, $script) = @_;

	foreach my $round (1 .. number())
	{
		my $load = load($node, $script);

		moment();
		if ($round % 2)
		{
			$node->stop('immediate');
			$load->finish;
			$node->start;
			next;
		}
		my $pid = $node->safe_psql('postgres',
			q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'eventbridge worker' LIMIT 1});
		kill 'KILL', $pid if $pid;
		$load->finish;
		$node->poll_query_until('postgres', 'SELECT true');
	}
	return;
}

1;
