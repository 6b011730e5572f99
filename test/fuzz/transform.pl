#!/usr/bin/env perl
#
# Fuzzing of input transformation: paths maps, templates of rules and pipes, and
# events.
#
#   transform.pl [--seconds N] [--seed S]
#
# Connects by PGHOST, PGPORT and so on, to a server whose module was built
# with sanitizers, as a rule.  Texts made by mutation of good ones go through
# all functions.  Besides a crash, it is a failure if
#   - an error has another SQLSTATE than those documented,
#   - check_input_transformer and the transform function disagree on whether
#     a template is valid,
#   - a JSON template gives something that is not JSON,
#   - the jsonb variant gives another text than the json variant on the same
#     jsonb as text.
# Exits non-zero on the first failure, after printing the case.  The same
# seed makes the same cases.
#
use strict;
use warnings;
use Getopt::Long;
use IPC::Open2;

my ($seconds, $seed) = (20, 1);
GetOptions('seconds=i' => \$seconds, 'seed=i' => \$seed)
  or die "usage: $0 [--seconds N] [--seed S]\n";

# A generator of our own, so that the cases do not depend on perl's.
my $state = ($seed * 2654435761 + 12345) & 0x7fffffff;

sub pick
{
	my ($n) = @_;
	$state = ($state * 1103515245 + 12345) & 0x7fffffff;
	return ($state >> 8) % $n;
}

sub any { return $_[ pick(scalar @_) ]; }

my @events = (
	'{"version":"0","id":"1","detail-type":"T","source":"s","account":"1","time":"t","region":"r","resources":["a"],'
	  . '"detail":{"a":{"b":[1,{"c":"x"}]},"s":"q\"\\\\\u00e4\ud83d\ude00","n":-1.50e3,"t":true,"f":false,"z":null}}',
	'{"a":{"a":{"a":[[],[{}],[1,[2]]]}},"detail":[]}', '[1,2,[3,{"a":4}]]', '"text"', '12', 'null', '{}', '{"a":1}',
	'{ "a" : [ 1 , { "b" : "}]\"" } ] , "\u0061b" : "c" }');
my @templates = (
	'"instance <a> is in <b>"', '{"a": <a>, "b": "<b> and <c>"}', "\"<a>\"\n\"<b>\"\n", '<a>', '<$.detail.a>',
	'{"x": [<a>, 1.5e3, true, null, {"y": "<c>\u00e4\""}], "e": <aws.events.event>, "j": <aws.events.event.json>}',
	'"<aws.events.rule-arn> <aws.events.rule-name> <aws.events.event.ingestion-time>"',
	'{"p": <$.detail.a.b[1].c>, "q": "<$.detail.n>", "n": <aws.pipes.pipe-name>, "j": <aws.pipes.event.json>}',
	'"<$.detail> <aws.pipes.event>"', '{"a": "<$.detail.a>", "b": "<$.resources>"}', '{"a": "<a>", "b": {"c": ["<b>"]}}');
my @paths = ('$', '$.detail', '$.detail.a.b[1].c', '$.detail.a.b[*]', '$.resources[0]', '$.a.a.a[*][*]', '$.detail-type',
	'$.detail.s', '$.a[1].b', '$.ab', '$.detail.a.b[*].c', '$.detail.n');
my @tokens = (
	'<', '>', '<a>', '<b>', '<c>', '<aws.events.event.json>', '<$.a>', '"', '\\', '\\"', '\\u', '\\u0000', '\\ud800', '\\udc00',
	'{', '}', '[', ']', '[*]', '[0]', '[99999999999]', ':', ',', '$', '.', '..', '*', '-', '/', ' ', "\n", "\t", "\r", "\x01",
	'e', 'E5', '0', '00', '1e400', '-0', 'true', 'null', 'ä', '€', '😀', '"k":', 'detail', 'a' x 300, '[' x 50, '{"a":' x 50, "'", '%s', '%n');

# A few changes, or none: take out, double, put in, put in from another.
sub mutate
{
	my ($text, @others) = @_;
	my $changes = any(0, 0, 1, 1, 1, 2, 3, 5);

	for (1 .. $changes)
	{
		my $at = pick(length($text) + 1);
		my $len = 1 + pick(4);
		my $how = pick(6);

		if ($how == 0) { substr($text, $at, $len) = ''; }
		elsif ($how == 1) { substr($text, $at, 0) = substr($text, $at, pick(30)); }
		elsif ($how == 2)
		{
			my $other = any(@others);
			substr($text, $at, $len) = substr($other, pick(length($other) + 1), pick(40));
		}
		elsif ($how == 3) { substr($text, $at, $len) = any(@tokens); }
		else { substr($text, $at, 0) = any(@tokens); }
	}
	return $text;
}

# Work on characters: the literals above are UTF-8.
utf8::decode($_) for @events, @templates, @paths, @tokens;

sub literal
{
	my ($text) = @_;
	$text =~ s/'/''/g;
	return "'$text'";
}

my $helper = <<'SQL';
SET client_encoding = 'UTF8';
SET client_min_messages = warning;
SET standard_conforming_strings = on;
CREATE EXTENSION IF NOT EXISTS eventbridge;
SET search_path = eventbridge, public;

-- The text of an error must be one that we promise; other errors go up.
CREATE FUNCTION pg_temp.expected(state text) RETURNS boolean LANGUAGE sql AS
$$ SELECT state IN ('22000', '22023', '54000', '54001', '22P05') $$;

CREATE FUNCTION pg_temp.check_template(kind text, map jsonb, template text, event text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	a text; b text; c text; a_state text; b_state text; valid boolean;
	j json; jb jsonb;
	variables jsonb := '{"aws.events.rule-arn": "arn\"\\", "aws.events.rule-name": [1], "aws.pipes.pipe-name": "p"}';
BEGIN
	BEGIN
		j := event; jb := event;
	EXCEPTION WHEN OTHERS THEN
		RETURN NULL;
	END;
	BEGIN
		IF kind = 'rule' THEN a := json_transform_input(j, map, template, variables);
		ELSE a := json_transform_pipe_input(j, template, variables); END IF;
	EXCEPTION WHEN OTHERS THEN
		a_state := SQLSTATE;
	END;
	BEGIN
		IF kind = 'rule' THEN b := transform_input(jb, map, template, variables);
		ELSE b := transform_pipe_input(jb, template, variables); END IF;
	EXCEPTION WHEN OTHERS THEN
		b_state := SQLSTATE;
	END;
	IF NOT (coalesce(pg_temp.expected(a_state), true) AND coalesce(pg_temp.expected(b_state), true)) THEN
		RETURN format('unexpected SQLSTATE %s, %s', a_state, b_state);
	END IF;
	IF a_state IS DISTINCT FROM b_state THEN
		RETURN format('json %s, jsonb %s', coalesce(a_state, 'delivers'), coalesce(b_state, 'delivers'));
	END IF;
	IF kind = 'rule' THEN valid := NOT EXISTS (SELECT FROM check_input_transformer(map, template, 'id'));
	ELSE valid := NOT EXISTS (SELECT FROM check_pipe_input_template(template)); END IF;
	IF valid IS DISTINCT FROM (a_state IS NULL OR a_state = '22000') THEN
		RETURN format('check says %s, filling says %s', valid, coalesce(a_state, 'delivers'));
	END IF;
	IF a IS NOT NULL THEN
		IF kind = 'rule' THEN c := json_transform_input(jb::text::json, map, template, variables);
		ELSE c := json_transform_pipe_input(jb::text::json, template, variables); END IF;
		IF b <> c THEN
			RETURN format('jsonb gives %s, the same as json %s', b, c);
		END IF;
		IF ltrim(template, E' \t\n\r') LIKE '{%' THEN
			PERFORM a::json, b::json;
		END IF;
	END IF;
	RETURN NULL;
EXCEPTION WHEN OTHERS THEN
	RETURN format('%s: %s', SQLSTATE, SQLERRM);
END $$;
SQL

my $pid = open2(my $from, my $to, 'psql', '-X', '-q', '-A', '-t', '-v', 'ON_ERROR_STOP=1', '-f', '-');
binmode($to, ':encoding(UTF-8)');
binmode($from, ':encoding(UTF-8)');
binmode(STDOUT, ':encoding(UTF-8)');
$SIG{PIPE} = 'IGNORE';
$to->autoflush(1);
print $to $helper;

# Send one batch and read its answers up to the mark; a missing mark means
# that the server, or the connection, is gone.
sub run_batch
{
	my (@calls) = @_;
	my @values;

	for my $i (0 .. $#calls)
	{
		push @values, "SELECT $i AS n, $calls[$i] AS fault";
	}
	print $to "SELECT n || ': ' || fault FROM (\n", join("\nUNION ALL ", @values),
	  "\n) cases WHERE fault IS NOT NULL;\n\\echo --done--\n";
	while (my $line = <$from>)
	{
		chomp $line;
		return 1 if $line eq '--done--';
		print "FAILED: $line\n";
		if ($line =~ /^(\d+): / && $1 <= $#calls)
		{
			print "    SELECT $calls[$1];\n";
		}
		return 0;
	}
	print "FAILED: the server is gone, or refuses the batch; its last cases:\n";
	print "    SELECT $_;\n" for @calls;
	return 0;
}

my $end = time + $seconds;
my $cases = 0;
my $ok = 1;
while ($ok && time < $end)
{
	my @calls;

	for (1 .. 100)
	{
		my $event = pick(5) ? any(@events) : mutate(any(@events), @events);
		if (pick(4) == 0)
		{
			my $template = mutate(any(@templates), @templates);
			push @calls, sprintf("pg_temp.check_template('pipe', NULL, %s, %s)", literal($template), literal($event));
		}
		else
		{
			my $template = mutate(any(@templates), @templates);
			my @map = map {
				literal(pick(40) ? $_ : mutate($_, @tokens)) . ', '
				  . literal(pick(20) ? any(@paths) : mutate(any(@paths), @paths))
			} ('a', 'b', 'c');
			push @calls,
			  sprintf("pg_temp.check_template('rule', jsonb_build_object(%s), %s, %s)",
				join(', ', @map), literal($template), literal($event));
		}
	}
	$ok = run_batch(@calls);
	$cases += @calls;
}
close $to;
close $from;
waitpid($pid, 0);
$ok = 0 if $? != 0;

printf "%s - transform: %d cases in %d seconds, seed %d\n", $ok ? 'ok' : 'not ok', $cases, $seconds, $seed;
exit($ok ? 0 : 1);
