#!/usr/bin/perl
# Fuzzes JSON paths, as input_path and json_input_path take them.
#
# Findings, besides a crash: an error other than the one for a path that is not
# valid; json and jsonb do not agree on whether a path is valid, or on what it
# finds; what a path without wildcards finds is not what #> finds.
use strict;
use warnings;

use FindBin;
use lib $FindBin::Bin;
use Fuzz;

my @events = (
	'{"version":"0","detail-type":"T","source":"s","resources":["a","b"],'
	  . '"detail":{"a":{"b":[1,{"c":"x"},[2,[3]]]},"s":"q\"\\\\\u00e4\ud83d\ude00","n":-1.50e3,"t":true,"z":null,"":{"":1}}}',
	'{"a":{"a":{"a":[[],[{}],[1,[2]]]}},"detail":[]}', '[1,2,[3,{"a":4}]]', '"text"', '12', 'null', '{}',
	'{ "a" : [ 1 , { "b" : "}]\"" } ] , "\u0061b" : "c", "a" : {"a":[0]} }',
	'[' x 300 . ']' x 300);
my @names = ('detail', 'a', 'b', 'c', 's', 'n', 'z', 'resources', 'detail-type', 'source', 'ab', 'A', '_1', "\x{e4}", 'nothing');
my @steps = ('[0]', '[1]', '[2]', '[*]', '[-1]', '[99999999999]', '[01]', "['a']", '["a"]', '[]', '[0:1]', '..a', '.*', '[?(@.a)]');

# Most are paths: names, with an index or two.
sub path
{
	my $path = '$';

	for (1 .. int(rand(6)))
	{
		$path .= rand() < 0.6 ? '.' . Fuzz::pick(@names) : Fuzz::pick(@steps[0 .. 3]);
		$path .= Fuzz::pick(@steps) if rand() < 0.05;
	}
	return $path;
}

# The steps of a path that #> can follow, as an SQL array; NULL for another, or one too long.
sub plain_steps
{
	my ($path) = @_;
	my @found;

	return 'NULL' unless length($path) <= 256 && $path =~ /^\$(?:\.[A-Za-z_][A-Za-z0-9_-]*(?:\[(?:0|[1-9][0-9]{0,7})\])?)*\z/;
	push @found, Fuzz::literal($1 // $2) while $path =~ /\.([^.\[]+)|\[([0-9]+)\]/g;
	return 'ARRAY[' . join(', ', @found) . ']::text[]';
}

my $setup = <<'SQL';
SET search_path = eventbridge, public;
CREATE FUNCTION pg_temp.probe(path text, event text, steps text[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	a json;
	b jsonb;
	a_fault text;
	b_fault text;
BEGIN
	BEGIN
		a := eventbridge.json_input_path(event::json, path);
	EXCEPTION WHEN invalid_parameter_value THEN
		a_fault := SQLERRM;
	END;
	BEGIN
		b := eventbridge.input_path(event::jsonb, path);
	EXCEPTION WHEN invalid_parameter_value THEN
		b_fault := SQLERRM;
	END;
	IF a_fault IS DISTINCT FROM b_fault THEN
		RAISE WARNING 'FINDING: json %, jsonb %', coalesce(a_fault, 'finds'), coalesce(b_fault, 'finds');
	ELSIF a::jsonb IS DISTINCT FROM b THEN
		RAISE WARNING 'FINDING: json finds %, jsonb finds %', a, b;
	ELSIF steps IS NOT NULL AND (b_fault IS NOT NULL OR b IS DISTINCT FROM event::jsonb #> steps) THEN
		RAISE WARNING 'FINDING: % where #> finds %', coalesce(b_fault, b::text, 'nothing'), event::jsonb #> steps;
	END IF;
END $$;
SQL

Fuzz::run(
	name => 'path',
	tokens => [ '$', '.', '..', '*', (map { ".$_" } @names), @steps ],
	generate => \&path,
	setup => $setup,
	allowed => qr/^54/,
	statement => sub {
		my ($input) = @_;

		return join("\n",
			map { sprintf('SELECT pg_temp.probe(%s, %s, %s);', Fuzz::literal($input), Fuzz::literal($_), plain_steps($input)) }
			  (Fuzz::pick(@events), Fuzz::pick(@events)));
	});
