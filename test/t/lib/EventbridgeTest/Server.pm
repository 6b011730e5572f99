
=pod

=head1 NAME

EventbridgeTest::Server - servers with background workers, and moves between servers

=head1 SYNOPSIS

  my $node = EventbridgeTest::Server::preloaded('main', "eventbridge.poll_interval = '60s'");
  EventbridgeTest::Server::create_app($node, 'postgres');
  EventbridgeTest::Server::all_delivered_ok($node, 'everything has been delivered');

  my ($from, $to) = EventbridgeTest::Server::pair("eventbridge.retry_delay = '1ms'");
  EventbridgeTest::Server::move($from, $to);

=cut

package EventbridgeTest::Server;

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# A running server with background workers, and with these lines in its configuration.
sub preloaded
{
	my ($name, @settings) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);

	$node->init;
	$node->append_conf('postgresql.conf',
		join("\n", q{shared_preload_libraries = 'eventbridge'}, 'max_worker_processes = 16', @settings));
	$node->start;
	return $node;
}

# A role "app" that may do what an application does in this database, in which the
# extension is: have functions in schema public and rules on the default bus.
sub create_app
{
	my ($node, $database) = @_;

	$node->safe_psql($database, <<'SQL');
CREATE ROLE app LOGIN;
GRANT CREATE ON SCHEMA public TO app;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA eventbridge TO app;
SELECT eventbridge.put_permission('app', 'events:PutRule', 'app');
SQL
	return;
}

# Waits until nothing is owed any more.
sub all_delivered_ok
{
	my ($node, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	return ok(
		$node->poll_query_until('postgres', q{
			SELECT NOT EXISTS (SELECT FROM eventbridge.delivery_status
				WHERE waiting + in_flight + waiting_for_group + retrying + dead > 0)}),
		$name);
}

# Two servers, to dump from and to restore in.  The second is ahead, so that its
# transaction numbers mean something else.
sub pair
{
	my (@settings) = @_;
	my @nodes = map { PostgreSQL::Test::Cluster->new($_) } qw(from to);

	foreach my $node (@nodes)
	{
		$node->init;
		$node->append_conf('postgresql.conf', join("\n", @settings));
		$node->start;
	}
	$nodes[1]->safe_psql('postgres',
		'DO $$BEGIN FOR i IN 1 .. 2000 LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END$$');
	return @nodes;
}

# Database postgres of one server is restored in the other.
sub move
{
	my ($from, $to) = @_;
	my $dump = $from->basedir . '/dump';
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	command_ok([ 'pg_dump', '-Fc', '-f', $dump, '-d', $from->connstr('postgres') ], 'dump');
	command_ok([ 'pg_restore', '--exit-on-error', '-d', $to->connstr('postgres'), $dump ], 'restore');
	return;
}

1;
