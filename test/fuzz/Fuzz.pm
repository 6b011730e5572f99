# Fuzz.pm - what the fuzz drivers of this directory share
#
# A driver describes its target and calls Fuzz::run; see there.  Inputs are made
# in rounds.  A round is one psql session, fed from one file, on the server that
# the environment names (PGHOST and so on; "make fuzz" starts one in which the
# extension runs under sanitizers).  Round N of seed S is the same on every run:
# only how many rounds there are depends on the time.
#
# What counts as a finding:
#   - the server crashes, or a sanitizer aborts a backend;
#   - an error whose SQLSTATE the target does not allow, an internal one above all;
#   - a statement that takes longer than the time-out;
#   - a warning that begins with FINDING, raised by the target's own SQL when
#     a property does not hold.
#
# Each finding is written to build/fuzz as a file that psql can run.
package Fuzz;

use strict;
use warnings;

use Encode ();
use File::Basename qw(basename);
use File::Path qw(make_path);
use File::Temp qw(tempdir);
use FindBin;
use Getopt::Long;

my $out_dir = 'build/fuzz';

# One of the arguments, at random.
sub pick { return $_[ int(rand(@_)) ] }

# A text, which Perl has as characters, as an SQL literal that is safe whatever it
# contains.
sub literal
{
	my ($text) = @_;

	return sprintf(q{convert_from('\x%s'::bytea, 'UTF8')}, unpack('H*', Encode::encode('UTF-8', $text)));
}

# Files of the target's corpus, as bytes: every run begins with them.
sub corpus
{
	my ($name) = @_;
	my @inputs;

	foreach my $file (sort glob("$FindBin::Bin/corpus/$name/*"))
	{
		open(my $in, '<:raw', $file) or die "$file: $!";
		local $/;
		push @inputs, scalar(<$in>) // '';
	}
	return @inputs;
}

# Characters and strings that parsers stumble over.
my @nasty = (
	"\x{0}", "\x{1}", "\n", "\r\n", "\t", "\\", '\\\\', '\\"', '\\u0000', '\\u0041', '\\ud83d\\ude00',
	'\\ud83d', '\\udc00', '\\u12', '"', "'", '$', '.', '..', ':', ',', '{', '}', '[', ']', '[]', '{}',
	'*', '**', '/', '%', '#', '//', '-', '-0', '0', '00', '1e400', '-1e-400', '1e', '1.', '.5',
	'9007199254740993', '123456789012345678901234567890', 'true', 'false', 'null', 'nul', 'NaN', 'Infinity',
	"\x{e9}", "\x{df}", "\x{130}", "\x{131}", "\x{3a3}", "\x{3c2}", "\x{212a}", "\x{fb03}", "\x{fffd}",
	"\x{feff}", "\x{2028}", "\x{d7ff}", "\x{10400}", "\x{1f600}", "\x{10ffff}", ' ', "\x{a0}");

# mutate(INPUT, DONOR, TOKENS): a few random changes.  Text stays text.
sub mutate
{
	my ($s, $donor, $tokens) = @_;

	for (1 .. 1 + int(rand(4)))
	{
		my $at = int(rand(length($s) + 1));
		my $span = int(rand(rand(length($s) - $at + 1) + 1));
		my $kind = int(rand(8));

		if    ($kind == 0) { substr($s, $at, $span) = '' }
		elsif ($kind == 1) { substr($s, $at, 0) = pick(@nasty) }
		elsif ($kind == 2) { substr($s, $at, $span) = pick(@nasty) }
		elsif ($kind == 3) { substr($s, $at, 0) = pick(@$tokens) if @$tokens }
		elsif ($kind == 4) { substr($s, $at, 0) = substr($s, int(rand(length($s) + 1)), $span) }
		elsif ($kind == 5)
		{
			my $from = int(rand(length($donor) + 1));
			substr($s, $at, $span) = substr($donor, $from, int(rand(length($donor) - $from + 1)));
		}
		elsif ($kind == 6) { substr($s, $at, 1) = chr(32 + int(rand(95))) if $at < length($s) }
		# Rarely: depth and length.
		elsif (rand() < 0.05)
		{
			substr($s, $at, 0) = pick(@$tokens, @nasty) x int(10**rand(4));
		}
	}
	return length($s) > 100_000 ? substr($s, 0, 100_000) : $s;
}

# What may be sent as a text value: no NUL, and nothing that UTF-8 cannot hold.
sub as_text
{
	my ($s) = @_;

	$s =~ s/[\x{0}\x{d800}-\x{dfff}\x{110000}-\x{7fffffff}]//g;
	return $s;
}

# Change some bytes, for targets that are not text.
sub mutate_bytes
{
	my ($s) = @_;

	for (1 .. 1 + int(rand(3)))
	{
		my $at = int(rand(length($s) + 1));
		my $kind = int(rand(4));

		if    ($kind == 0 && $at < length($s)) { substr($s, $at, 1) = chr(int(rand(256))) }
		elsif ($kind == 1) { substr($s, $at, 0) = chr(int(rand(256))) x (1 + int(rand(4))) }
		elsif ($kind == 2) { $s = substr($s, 0, $at) }
		elsif ($at < length($s)) { substr($s, $at, 1) = chr(ord(substr($s, $at, 1)) ^ (1 << int(rand(8)))) }
	}
	return $s;
}

# run(%target): the driver's main loop; ends the program.
#   name      of the target, and of its corpus
#   setup     SQL at the begin of each session
#   generate  sub: a new input, from Perl's rand alone
#   tokens    the language's words, for mutations
#   binary    true if inputs are bytes rather than text
#   statement sub(input, file): SQL, or psql commands, that try it; file holds the
#             input's bytes.  Warnings that begin with FINDING are findings.
#   allowed   regular expression of the SQLSTATEs that bad input may raise; by default
#             22 (less 22021, bytes that are no text), 54 and 0A
sub run
{
	my %target = (
		allowed => qr/^(22(?!021)|54|0A)/,
		setup => '',
		tokens => [],
		inputs_per_round => 100,
		timeout => '60s',
		@_);
	my ($seconds, $seed) = (20, 1);
	GetOptions('seconds=i' => \$seconds, 'seed=i' => \$seed)
	  or die "usage: $0 [--seconds N] [--seed S]\n";

	my @corpus = corpus($target{name});
	@corpus = map { as_text(Encode::decode('UTF-8', $_)) } @corpus unless $target{binary};
	my $end = time() + $seconds;
	my ($inputs, $findings, $round) = (0, 0, 0);

	make_path($out_dir);
	while ($findings < 10 && ($round == 0 || time() < $end))
	{
		srand($seed * 1_000_003 + $round);
		my @round = $round == 0 ? @corpus : map { new_input(\%target, \@corpus) } 1 .. $target{inputs_per_round};

		$findings += play(\%target, "$seed-$round", @round);
		$inputs += @round;
		$round++;
	}
	printf "%s - fuzz %s: %d inputs in %d rounds, seed %d, %d findings\n",
	  $findings ? 'not ok' : 'ok', $target{name}, $inputs, $round, $seed, $findings;
	exit($findings ? 1 : 0);
}

sub new_input
{
	my ($target, $corpus) = @_;
	my @known = grep { rand() < 0.3 } @$corpus;
	my $input = @known && rand() < 0.3 ? pick(@known) : $target->{generate}->();

	$input = mutate($input, $target->{generate}->(), $target->{tokens}) if rand() < 0.6;
	if ($target->{binary})
	{
		$input = Encode::encode('UTF-8', $input) if $input =~ /[^\x00-\xff]/;
		return rand() < 0.5 ? mutate_bytes($input) : $input;
	}
	return as_text($input);
}

sub to_bytes
{
	my ($target, $input) = @_;

	return $target->{binary} ? $input : Encode::encode('UTF-8', $input);
}

# play(TARGET, NAME, INPUTS...): one session; returns the number of findings.
#
# Only standard error is read: markers, errors and warnings all go there, so
# that they stay in order.
sub play
{
	my ($target, $round, @inputs) = @_;
	my $dir = tempdir(CLEANUP => 1);
	my $head = "\\set VERBOSITY verbose\n\\set SHOW_CONTEXT never\nSET statement_timeout = '$target->{timeout}';\n"
	  . "SET client_min_messages = warning;\n$target->{setup}\n";
	my @statements;

	return 0 unless @inputs;
	open(my $script, '>:raw', "$dir/round.sql") or die "$dir/round.sql: $!";
	print $script "\\o /dev/null\n", Encode::encode('UTF-8', $head), "\\warn \@begin\n";
	foreach my $i (0 .. $#inputs)
	{
		open(my $file, '>:raw', "$dir/$i") or die "$dir/$i: $!";
		print $file to_bytes($target, $inputs[$i]);
		close($file);
		$statements[$i] = $target->{statement}->($inputs[$i], "$dir/$i");
		print $script "\\warn \@$i\n", $statements[$i], "\n";
	}
	print $script "\\warn \@end\n";
	close($script);

	my $log = qx{psql -X -q -f '$dir/round.sql' 2>&1 < /dev/null};
	my $status = $? >> 8;
	my ($current, %found) = ('begin');
	foreach my $line (split /\n/, $log)
	{
		if ($line =~ /^\@(\w+)$/) { $current = $1; next }
		# psql puts the name of its script and the line before a message.
		my $message = $line =~ s/^psql:[^ ]*:\d+: //r;
		if ($message =~ /^(?:ERROR|FATAL|PANIC): +(\w{5}): /)
		{
			my $state = $1;
			$found{$current} //= $message if $current eq 'begin' || $state !~ $target->{allowed};
		}
		elsif ($message =~ /^WARNING: .*FINDING/) { $found{$current} //= $message }
		elsif ($message =~ /server closed the connection|connection to server was lost|could not connect/)
		{
			$found{$current} //= 'the server crashed: ' . $message;
		}
	}
	$found{$current} //= "the session ended early, status $status" if $current ne 'end';

	foreach my $i (sort keys %found)
	{
		report($target, "$round-$i", $found{$i}, $head, $i =~ /^\d+$/ ? ($inputs[$i], $statements[$i]) : ());
	}
	return scalar keys %found;
}

# Writes a finding down, and says so.
sub report
{
	my ($target, $id, $message, $head, $input, $statement) = @_;
	my $base = "$out_dir/$target->{name}-$id";

	print "finding $target->{name} $id: $message\n";
	return unless defined $input;
	open(my $raw, '>:raw', "$base.input") or die "$base.input: $!";
	print $raw to_bytes($target, $input);
	close($raw);
	# The input lies beside the script, not where this run had it.
	my $file = basename($base) . '.input';
	$statement =~ s{'[^']*/\d+'}{'$out_dir/$file'}g if $target->{binary};
	open(my $sql, '>:raw', "$base.sql") or die "$base.sql: $!";
	print $sql "-- ", $message, "\n", Encode::encode('UTF-8', $head), $statement, "\n";
	close($sql);
	print "    $base.sql\n";
}

1;
