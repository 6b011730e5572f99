
=pod

=head1 NAME

EventbridgeTest::Worker - runs eventbridge-worker in TAP tests

=head1 SYNOPSIS

  my $worker = EventbridgeTest::Worker->listen($node, '--channel=c');
  $node->safe_psql('postgres', "NOTIFY c, 'x'");
  $worker->wait_for_output(qr/"x"/);
  $worker->signal('TERM');
  is($worker->finish, 0, 'exit status');

Nothing waits by sleeping: every wait is for something that the worker
prints or logs, and ends with a failure after a time-out.

=cut

package EventbridgeTest::Worker;

use strict;
use warnings;

use File::Basename;
use File::Spec;
use IPC::Run;
use PostgreSQL::Test::Utils;
use Test::More;

# Skips the whole test if the program was not built.
sub require_program
{
	foreach my $directory (File::Spec->path)
	{
		return if -x "$directory/eventbridge-worker";
	}
	plan skip_all => 'eventbridge-worker is not built';
}

# Starts "eventbridge-worker listen" and waits until it listens.
sub listen
{
	my ($class, $node, @args) = @_;
	my $self = $class->start($node, @args);
	$self->wait_for_log(qr/messages go to:/);
	return $self;
}

# The same without waiting.
sub start
{
	my ($class, $node, @args) = @_;
	return $class->start_command('listen', $node, @args);
}

# Starts "eventbridge-worker receive" and waits until it receives.
sub receive
{
	my ($class, $node, @args) = @_;
	my $self = $class->start_command('receive', $node, @args);
	$self->wait_for_log(qr/messages go to:/);
	return $self;
}

# Starts "eventbridge-worker run" and waits until it is connected.
sub run
{
	my ($class, $node, @args) = @_;
	my $self = $class->start_command('run', $node, @args);
	$self->wait_for_log(qr/delivering from database/);
	return $self;
}

sub start_command
{
	my ($class, $name, $node, @args) = @_;
	my $self = bless { out => '', err => '' }, $class;
	my @command = (
		'eventbridge-worker', $name, '-w', '-d',
		$node->connstr('postgres'), @args);

	$self->{timer} = IPC::Run::timer($PostgreSQL::Test::Utils::timeout_default);
	$self->{run} = IPC::Run::start(\@command, '<', \undef,
		'>', \$self->{out}, '2>', \$self->{err},
		$self->{timer});
	return $self;
}

sub wait_for
{
	my ($self, $what, $pattern) = @_;

	until ($self->{$what} =~ $pattern)
	{
		if ($self->{timer}->is_expired || !$self->{run}->pumpable)
		{
			fail("waiting for $pattern");
			diag("output:\n$self->{out}\nlog:\n$self->{err}");
			return 0;
		}
		eval { $self->{run}->pump };
	}
	return 1;
}

# Waits until the output, or the log, matches.
sub wait_for_output { my ($self, $pattern) = @_; return $self->wait_for('out', $pattern); }
sub wait_for_log { my ($self, $pattern) = @_; return $self->wait_for('err', $pattern); }

# Takes what has been printed and logged: a worker whose pipe is full waits.
sub drain
{
	my ($self) = @_;
	eval { $self->{run}->pump_nb } if $self->{run}->pumpable;
	return;
}

sub output { return $_[0]->{out}; }
sub log { return $_[0]->{err}; }

# The worker's process id, from IPC::Run's own record of its children.
sub pid { return $_[0]->{run}{KIDS}[0]{PID}; }

sub signal
{
	my ($self, $signal) = @_;
	$self->{run}->signal($signal);
	return;
}

# Waits for the end; the result is the exit status, or -1 on a time-out.  The
# time begins here: what the test has waited for before is not the worker's.
sub finish
{
	my ($self) = @_;
	my $deadline = time() + $PostgreSQL::Test::Utils::timeout_default;

	$self->{timer}->start($PostgreSQL::Test::Utils::timeout_default);
	while ($self->{run}->pumpable && time() < $deadline)
	{
		eval { $self->{run}->pump };
	}
	if ($self->{run}->pumpable)
	{
		diag("the worker did not end; output:\n$self->{out}\nlog:\n$self->{err}");
		$self->{run}->kill_kill;
		$self->{ended} = 1;
		return -1;
	}
	eval { $self->{run}->finish };
	$self->{ended} = 1;
	return $self->{run}->result(0);
}

# A test that dies leaves no worker behind.
sub DESTROY
{
	my ($self) = @_;
	local ($?, $@, $!);
	$self->{run}->kill_kill if $self->{run} && !$self->{ended};
	return;
}

1;
