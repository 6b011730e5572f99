#!/usr/bin/perl
# An HTTP server on a free port of this machine that stands for Slack: it prints
# its URL, answers "ok" to every POST, and appends the body, as a line, to a file.
#
# receiver.pl FILE
use strict;
use warnings;

use IO::Socket::INET;

my ($file) = @ARGV;
my $listener = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 5)
  or die "could not listen: $!\n";

$| = 1;
print 'http://127.0.0.1:', $listener->sockport, "/services/T000/B000/demo\n";

while (my $socket = $listener->accept)
{
	my $length = 0;

	while (defined(my $line = <$socket>))
	{
		last if $line =~ /^\r?\n$/;
		$length = $1 if $line =~ /^content-length:\s*(\d+)/i;
	}
	read($socket, my $body, $length);

	open my $out, '>>', $file or die "could not open $file: $!\n";
	print $out "$body\n";
	close $out;

	print $socket "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
	close $socket;
}
