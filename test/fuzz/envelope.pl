#!/usr/bin/perl
# Fuzzes what events are made of, in the delivery log, on its way to a function,
# which gets the event as jsonb.
#
# Findings, besides a crash: the function does not get what type jsonb makes of the
# event's text, or it gets something of a detail that is no JSON object or array.
use strict;
use warnings;

use FindBin;
use lib $FindBin::Bin;
use Fuzz;

my @strings = ('', 'a', 'shop', '0', 'x y', "\x{e4}\x{1f600}", '\\"', '\\\\', '\\u00e4', '\\n', "\t", '","', '"', '},{', '[]');
my @resources = (undef, '[]', '["arn"]', '["a","\\"\\u00e4",""]', '{"a":[1]}');
my @details = (
	'{}', '{"a":1}', '{"a":{"b":[1,{"c":"x"},[2,[3]]]},"s":"q\"\\\\\u00e4","n":-1.50e3,"t":true,"z":null,"":{"":1}}',
	'{"b":1,"a":2,"b":3}', '{ "a" : [ 1 , 2 ] }', '[1,2]', '[]', '"text"', '12', 'null', '');

my $setup = <<'SQL';
CREATE TABLE IF NOT EXISTS public.envelope (input jsonb);
CREATE OR REPLACE FUNCTION public.take_envelope(event jsonb) RETURNS void LANGUAGE sql AS
'INSERT INTO public.envelope VALUES (event)';
SELECT eventbridge.put_rule('fuzz', '{"source": ["fuzz"]}');
SELECT eventbridge.put_targets('fuzz', '[{"Id": "fuzz", "Arn": "arn:aws:lambda:us-east-1:000000000000:function:take_envelope"}]');
CREATE FUNCTION pg_temp.change(string text, changed text, written text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	FOR n IN 0 .. 2 LOOP
		EXECUTE format('UPDATE eventbridge.delivery_log_%s SET source = $1, detail_type = $1, resources = $2, detail = $3
			WHERE source = $4', n) USING string, changed, written, 'fuzz';
	END LOOP;
END $$;
CREATE FUNCTION pg_temp.compare(written text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	wanted jsonb;
	got jsonb[] := ARRAY(SELECT e.input FROM public.envelope AS e);
BEGIN
	BEGIN
		IF jsonb_typeof(written::jsonb) IN ('object', 'array') THEN
			wanted := (SELECT l.event FROM eventbridge.delivery_log AS l ORDER BY l.xid DESC LIMIT 1);
		END IF;
	EXCEPTION WHEN data_exception OR program_limit_exceeded THEN
		NULL;
	END;
	IF got IS DISTINCT FROM array_remove(ARRAY[wanted], NULL) OR got::text <> array_remove(ARRAY[wanted], NULL)::text THEN
		RAISE WARNING 'FINDING: jsonb makes %, the function gets %', wanted, got;
	END IF;
END $$;
SQL

Fuzz::run(
	name => 'envelope',
	tokens => [ ',"resources":[],"detail":', '"resources":', '"detail":', '{"version":"0"', @strings, @details ],
	generate => sub { Fuzz::pick(@details) },
	setup => $setup,
	allowed => qr/^(?!)/,
	statement => sub {
		my $detail = Fuzz::literal($_[0]);
		my $string = Fuzz::literal(Fuzz::pick(@strings));
		my $resources = Fuzz::pick(@resources);

		$resources = defined $resources ? Fuzz::literal($resources) : 'NULL';
		return <<"SQL";
TRUNCATE public.envelope, eventbridge.delivery_retry;
SELECT eventbridge.put_event('fuzz', 'fuzz', '{}');
SELECT pg_temp.change($string, $resources, $detail);
CALL eventbridge.run_deliveries();
SELECT pg_temp.compare($detail);
SQL
	});
