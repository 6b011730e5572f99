#!/usr/bin/perl
# Fuzzing of attribute values: random and broken ones into unmarshall, random
# values of many types through marshall and a stream trigger.
#
# fuzz_attribute_values.pl --seconds N --seed S
#
# Talks to the server that the PG* environment variables name, in a database
# with the extension.  Errors are welcome, crashes and internal errors are
# not, and what must hold is checked: unmarshall(marshall(j)) = j.  Exits
# non-zero, and prints the statements, if there is anything to look at.
use strict;
use warnings FATAL => 'all';

use Getopt::Long;
use IPC::Open3;
use Symbol qw(gensym);

my ($seconds, $seed) = (10, 1);
GetOptions('seconds=i' => \$seconds, 'seed=i' => \$seed)
  or die "usage: $0 --seconds N --seed S\n";
srand($seed);

sub pick { return $_[ rand @_ ]; }

my @words = (
	'', 'a', 'S', 'N', 'B', 'BOOL', 'NULL', 'M', 'L', 'SS', 'NS', 'BS',
	'a.b', 'null', 'true', '\\"', '\\\\', '\\u0000', '\\ud83d\\ude00',
	'\\ud800', '\\u00e9', "\x{c3}\x{a9}", 'x' x 300, ' ', "''", '$', '%s');
my @numbers = (
	'0', '-0', '1', '-1.50', '1e5', '1E-5', '1e400', '1e99999', '1e-99999',
	'12345678901234567890123456789012345678901234567890', '0.1', '+1', '.5',
	'5.', 'NaN', 'Infinity', '0x1', '1e', '--1', '1_000', ' 1', "1\\n",
	'9' x 200);

sub string { return '"' . pick(@words) . '"'; }

sub number
{
	my $n = pick(@numbers);
	return $n =~ /^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?$/ ? $n : 7;
}

# Random JSON.
sub value
{
	my ($depth) = @_;
	my $kind = int rand($depth > 0 ? 8 : 5);
	return string() if $kind < 2;
	return number() if $kind == 2;
	return pick('true', 'false') if $kind == 3;
	return 'null' if $kind == 4;
	return '[' . join(',', map { value($depth - 1) } 1 .. rand 4) . ']' if $kind == 5;
	return '{' . join(',', map { string() . ':' . value($depth - 1) } 1 .. rand 4) . '}';
}

# An attribute value, now and then broken.
sub attribute
{
	my ($depth) = @_;
	return value(1) if rand() < 0.03;
	my $kind = int rand($depth > 0 ? 10 : 8);
	my $n = '"' . (rand() < 0.8 ? number() : pick(@numbers)) . '"';
	my $b = '"' . pick('', 'AA==', '3q2+7w==', 'AAA', '?', 'A', '====', 'AA==A') . '"';
	my $members =
		$kind == 0 ? '"S":' . string()
	  : $kind == 1 ? qq("N":$n)
	  : $kind == 2 ? qq("B":$b)
	  : $kind == 3 ? '"BOOL":' . pick('true', 'false')
	  : $kind == 4 ? '"NULL":' . (rand() < 0.9 ? 'true' : 'false')
	  : $kind == 5 ? '"SS":[' . join(',', map { string() } 1 .. rand 3) . ']'
	  : $kind == 6 ? qq("NS":[$n])
	  : $kind == 7 ? qq("BS":[$b])
	  : $kind == 8 ? '"M":{' . join(',', map { string() . ':' . attribute($depth - 1) } 1 .. rand 4) . '}'
	  : '"L":[' . join(',', map { attribute($depth - 1) } 1 .. rand 4) . ']';
	$members .= ',"S":"x"' if rand() < 0.02;
	return "{$members}";
}

# A change of a character or a few.
sub mutate
{
	my ($text) = @_;
	foreach (1 .. 1 + rand 3)
	{
		my $at = int rand(1 + length $text);
		my $what = pick('{', '}', '[', ']', '"', ':', ',', 'M', 'L', '1', '');
		substr($text, $at, int(rand 3) > length($text) - $at ? 0 : int rand 2, $what);
	}
	return $text;
}

sub deep
{
	my $n = pick(10, 400, 499, 500, 501, 2000, 20000);
	return pick(
		'[' x $n . ']' x $n,
		'{"a":' x $n . '1' . '}' x $n,
		'{"M":' x $n . '{}' . '}' x $n,
		'{"L":[' x $n . ']}' x $n,
		'{"M":{"M":' x $n . '{}' . '}}' x $n);
}

sub literal
{
	my ($text, $type) = @_;
	$text =~ s/'/''/g;
	return "'$text'::$type";
}

# An SQL expression of some type.
sub expression
{
	my @e = (
		sub { literal(pick(@numbers[0 .. 10]), 'numeric') },
		sub { literal(pick('NaN', 'Infinity', '-Infinity', '1e308', '5e-324', '-0', '0.1'), 'float8') },
		sub { literal(pick('NaN', 'Infinity', '1e38', '1e-45', '-0'), 'float4') },
		sub { literal(int(rand(2**31)) - 2**30, pick('int', 'bigint', 'numeric(20,5)', 'money')) },
		sub { literal(pick(grep { !/\\/ } @words), pick('text', 'varchar', 'char(5)', 'name', 'tsvector', 'bytea')) },
		sub { 'decode(repeat(' . literal(pick('00', 'ff', '7f'), 'text') . ', ' . int(rand 50) . q{), 'hex')} },
		sub { literal(pick('infinity', '-infinity', '4713-01-01 BC', '294276-12-31 23:59:59.999999', 'epoch', 'now'), pick('timestamp', 'timestamptz')) },
		sub { literal(pick('24:00:00', '00:00', '23:59:59.999999'), pick('time', 'timetz', 'interval')) },
		sub { literal(pick('-178000000 years', '1 mon -1 day', '2562047788:00:54.775807', '-2562047788:00:54.775808'), 'interval') },
		sub { literal(value(4), pick('json', 'jsonb')) },
		sub { literal(deep(), pick('json', 'jsonb')) },
		sub { literal(pick('{}', '{1,NULL}', '{{1,2},{3,4}}', '[3:4]={1,2}', '{{{{{{1}}}}}}'), 'int[]') },
		sub { literal(pick('{}', '{"a b",NULL,"{"}', '{{a},{b}}'), pick('text[]', 'name[]', 'varchar[]')) },
		sub { literal(pick('empty', '(,)', '[1,2)', '(1.50,)'), 'numrange') },
		sub { literal(pick('empty', '(,)', '[2024-01-01,2024-01-02]'), pick('tstzrange', 'tsrange', 'daterange')) },
		sub { literal(pick('{}', '{[1,2),[3,4)}'), 'int4multirange') },
		sub { literal(pick('1', '10101', ''), 'varbit') },
		sub { 'array[' . join(', ', ('row(1, NULL, \'x\'::text)') x (1 + rand 3)) . ']' },
		sub { 'row(' . join(', ', map { expression() } 1 .. 1 + rand 3) . ')' },
		sub { 'NULL::' . pick('int', 'text[]', 'jsonb', 'record') });
	return pick(@e)->();
}

sub statement
{
	my $kind = int rand 6;
	return 'SELECT unmarshall(' . literal(attribute(4), 'jsonb') . ') IS NOT NULL' if $kind == 0;
	return 'SELECT unmarshall(' . literal(mutate(attribute(3)), 'jsonb') . ') IS NOT NULL' if $kind == 1;
	return 'SELECT unmarshall(' . literal('{' . join(',', map { string() . ':' . attribute(3) } 1 .. rand 4) . '}', 'jsonb') . ') IS NOT NULL' if $kind == 2;
	return 'SELECT unmarshall(' . literal(deep(), 'jsonb') . ') IS NOT NULL' if $kind == 3 && rand() < 0.2;
	# Deeper values than 500 levels come back as their text.
	return "SELECT unmarshall(marshall(j)) = j FROM (VALUES (" . literal(value(5), 'jsonb') . ')) AS v (j)' if $kind == 3;
	my $e = expression();
	return "SELECT marshall($e) = marshall($e)" if $kind == 4;
	return "INSERT INTO eb_fuzz_values SELECT row_to_json(row(x))::jsonb, row_to_json(row(x)), array[x::text] FROM (SELECT $e) AS v (x); "
	  . "UPDATE eb_fuzz_values SET j = to_jsonb(t), l = NULL; DELETE FROM eb_fuzz_values" if rand() < 0.5;
	return "SELECT jsonb_typeof(marshall(v)) = 'object' FROM (SELECT $e AS a, $e AS b) AS v";
}

my $preamble = <<'SQL';
\set VERBOSITY sqlstate
SET client_min_messages = error;
SET search_path = eventbridge, public;
CREATE TEMP TABLE eb_fuzz_values (j jsonb, t json, l text[]);
CREATE TRIGGER s AFTER INSERT OR UPDATE OR DELETE ON eb_fuzz_values FOR EACH ROW
	EXECUTE FUNCTION stream('notify=eb_fuzz', 'filter={"dynamodb": {"NewImage": {"j": {"M": {"f1": {"S": ["a"]}}}}}}',
		'filter={"dynamodb": {"OldImage": {"t": {"M": {"f1": {"N": [{"exists": true}]}}}}}}', 'filter={"eventName": ["REMOVE"]}');
SQL

my $end = time + $seconds;
my ($count, $errors) = (0, 0);
while (time < $end)
{
	my @statements = map { statement() } 1 .. 200;
	my $err = gensym;
	my $log = "/tmp/eb_fuzz_$$.sql";
	open my $file, '>', $log or die "could not write $log: $!\n";
	print $file $preamble, map { "$_;\n" } @statements;
	close $file;
	my $pid = open3(my $in, my $out, undef, 'psql', '-XqAt', '-f', $log);
	close $in;
	my @output = <$out>;
	waitpid $pid, 0;
	my $status = $? >> 8;
	my @bad = grep { /^f$|XX[0-9A-Z]{3}|PANIC|FATAL|server closed|terminat/ } @output;
	if ($status != 0 || @bad)
	{
		print "psql exit status $status\n", @bad, "statements: $log\n";
		exit 1;
	}
	unlink $log;
	$count += @statements;
	$errors += grep { /ERROR/ } @output;
}
print "attribute values: $count statements, $errors errors reported, none of them internal\n";
