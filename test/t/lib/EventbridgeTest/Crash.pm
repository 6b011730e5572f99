
=pod

=head1 NAME

EventbridgeTest::Crash - rounds of load, each ended by a kill

=head1 SYNOPSIS

  my $node = EventbridgeTest::Crash::node('main', "eventbridge.retry_delay = '5ms'");
  EventbridgeTest::Crash::server_rounds($node, $script, [ $other_script, '-R', '40' ]);

  my $load = EventbridgeTest::Crash::load($node, $script, '-T', '3600', '-R', '100');
  foreach my $round (1 .. EventbridgeTest::Crash::number())
  {
	  EventbridgeTest::Crash::moment();
	  EventbridgeTest::Crash::strike($node, $round);
  }
  $load->kill_kill;

EB_CRASH_ROUNDS gives the number of rounds.

=cut

package EventbridgeTest::Crash;

use strict;
use warnings;

use EventbridgeTest::Server;
use IPC::Run;
use PostgreSQL::Test::Utils;
use Time::HiRes qw(usleep);

sub number { return $ENV{EB_CRASH_ROUNDS} || 3; }

# A server whose logs are small and whose retries come soon, with the extension.
sub node
{
	my ($name, @settings) = @_;
	my $node = EventbridgeTest::Server::preloaded(
		$name,
		q{eventbridge.poll_interval = '500ms'},
		q{eventbridge.retry_delay = '100ms'},
		q{eventbridge.log_retention = 0},
		q{eventbridge.log_segment_size = '256kB'},
		'restart_after_crash = on',
		@settings);

	$node->safe_psql('postgres', 'CREATE EXTENSION eventbridge');
	return $node;
}

# Creates table "put" and, for pgbench, a script: it puts events of source "load"
# whose detail.id stands in that table, and others, of id -1, that it rolls back.
sub numbered_events
{
	my ($node) = @_;
	my $script = $node->basedir . '/load.sql';

	$node->safe_psql('postgres', <<'SQL');
CREATE TABLE put (id bigint GENERATED ALWAYS AS IDENTITY);
CREATE FUNCTION put() RETURNS void LANGUAGE sql AS $$
	WITH new AS (INSERT INTO put DEFAULT VALUES RETURNING id)
	SELECT eventbridge.put_event('load', 't', jsonb_build_object('id', id)) FROM new $$;
SQL
	append_to_file($script, <<'SQL');
BEGIN;
SELECT public.put();
SELECT public.put();
COMMIT;
BEGIN;
SELECT eventbridge.put_event('load', 't', '{"id": -1}');
ROLLBACK;
SQL
	return $script;
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

# Kills the server, or every second time one of its background workers (with
# role => NAME one of that role), upon which the postmaster ends everybody else.
# Returns when the server is there again and the loads => [...] have ended.
sub strike
{
	my ($node, $round, %more) = @_;
	my @loads = @{ $more{loads} // [] };

	if ($round % 2)
	{
		$node->stop('immediate');
		$_->finish foreach @loads;
		$node->start;
		return;
	}

	my $of_role = $more{role} ? " AND usename = '$more{role}'" : '';
	my $log = -s $node->logfile;
	my $pid = $node->safe_psql('postgres',
		"SELECT pid FROM pg_stat_activity WHERE backend_type = 'eventbridge worker'$of_role LIMIT 1");
	if ($pid && kill('KILL', $pid))
	{
		$node->wait_for_log(qr/all server processes terminated; reinitializing/, $log);
	}
	else
	{
		$_->signal('TERM') foreach @loads;
	}
	$_->finish foreach @loads;
	$node->poll_query_until('postgres', 'SELECT true');
	return;
}

# Rounds of strikes, each under load from these scripts: names of files, or
# [name, options of pgbench ...].
sub server_rounds
{
	my ($node, @scripts) = @_;

	foreach my $round (1 .. number())
	{
		my @loads = map { load($node, ref $_ ? @$_ : $_) } @scripts;

		moment();
		strike($node, $round, loads => \@loads);
	}
	return;
}

1;
