
=pod

=head1 NAME

EventbridgeTest::HttpReceiver - an HTTP server that answers as it is told

=head1 SYNOPSIS

  my $receiver = EventbridgeTest::HttpReceiver->new(
	{ status => 500 },                  # the first request gets this,
	{ status => 429, headers => ['Retry-After: 2'] },
	{ hang => 1 },                      # no answer
	{ delay => 0.5, status => 200 },    # an answer half a second later
	{ close => 1 },                     # the connection is closed
	{ status => 200, body => 'ok' });   # this one and all after it
  $receiver->url;
  my @requests = $receiver->requests;   # { time, method, path, headers, body }

It is a process of its own, on a free port of 127.0.0.1, and takes one
request after another, one per connection; a request that hangs is left
open, and does not hold up others.

=cut

package EventbridgeTest::HttpReceiver;

use strict;
use warnings;

use IO::Socket::INET;
use JSON::PP;
use POSIX ();
use PostgreSQL::Test::Utils;
use Time::HiRes qw(time);

sub new
{
	my ($class, @answers) = @_;
	my $listener = IO::Socket::INET->new(
		LocalAddr => '127.0.0.1',
		Listen => 20,
		ReuseAddr => 1) or die "could not listen: $!";
	my $self = bless {
		port => $listener->sockport,
		file => PostgreSQL::Test::Utils::tempdir() . '/requests'
	}, $class;

	# The child must not run what the test does at its end: that would stop the
	# test's servers.
	$self->{pid} = fork() // die "could not fork: $!";
	if ($self->{pid} == 0)
	{
		eval { serve($listener, $self->{file}, @answers); };
		warn $@;
		POSIX::_exit(1);
	}
	close $listener;
	return $self;
}

sub serve
{
	my ($listener, $file, @answers) = @_;
	my @hanging;

	while (1)
	{
		my $socket = $listener->accept or next;
		my %request = (time => time());
		my $line = <$socket> // next;
		($request{method}, $request{path}) = $line =~ /^(\S+) (\S+)/;
		while (defined($line = <$socket>) && $line =~ /^([^:]+):\s*(.*?)\r?\n/)
		{
			$request{headers}{ lc $1 } = $2;
		}
		read($socket, $request{body}, $request{headers}{'content-length'} // 0);
		open my $out, '>>', $file or die "could not open $file: $!";
		print $out encode_json(\%request), "\n";
		close $out;

		my $answer = @answers > 1 ? shift @answers : $answers[0];
		if ($answer->{hang})
		{
			push @hanging, $socket;
			next;
		}
		if ($answer->{delay})
		{
			local $SIG{CHLD} = 'IGNORE';
			next if fork();
			select(undef, undef, undef, $answer->{delay});
		}
		if (!$answer->{close})
		{
			my $body = $answer->{body} // '';
			print $socket join("\r\n",
				"HTTP/1.1 $answer->{status} Status",
				@{ $answer->{headers} // [] },
				'Content-Length: ' . length($body),
				'Connection: close', '', $body);
		}
		close $socket;
		POSIX::_exit(0) if $answer->{delay};
	}
}

# Its path looks like Slack's, and must not be seen in any log.
sub url
{
	my ($self) = @_;
	return "http://127.0.0.1:$self->{port}/services/T0SECRET/B0SECRET/x0SECRET";
}

sub requests
{
	my ($self) = @_;
	return () unless -e $self->{file};
	# The receiver may be writing: a line without an end is not a request yet.
	my $lines = PostgreSQL::Test::Utils::slurp_file($self->{file}) =~ s/[^\n]*\z//r;
	return map { decode_json($_) } split(/\n/, $lines);
}

sub stop
{
	my ($self) = @_;
	return unless $self->{pid};
	# Perl puts off what it catches, and would wait for a connection first.
	kill 'KILL', $self->{pid};
	waitpid $self->{pid}, 0;
	delete $self->{pid};
	return;
}

sub DESTROY
{
	my ($self) = @_;
	local ($?, $@, $!);
	$self->stop;
	return;
}

1;
