#!/usr/bin/perl
# Fuzzes the texts of events, as the delivery log has them, on their way to a
# function, which gets them as jsonb.
#
# Findings, besides a crash: the function does not get what type jsonb makes of the
# text, or it gets something of a text that type jsonb refuses.
use strict;
use warnings;

use FindBin;
use lib $FindBin::Bin;
use Fuzz;

my @strings = ('', 'a', 'shop', '0', 'x y', "\x{e4}\x{1f600}", '\\"', '\\\\', '\\u00e4', '\\n', "\t", '","', '"', '},{', '[]');
my @details = (
	'{}', '{"a":1}', '{"a":{"b":[1,{"c":"x"},[2,[3]]]},"s":"q\"\\\\\u00e4","n":-1.50e3,"t":true,"z":null,"":{"":1}}',
	'{"b":1,"a":2,"b":3}', '{ "a" : [ 1 , 2 ] }', '[1,2]', '[]', '"text"', '12', 'null', '');

# Most are such as are written here: plain strings between the names, in this order.
sub envelope
{
	my $text = join(',', map { sprintf('"%s":"%s"', $_, rand() < 0.95 ? 'x' x int(rand(9)) : Fuzz::pick(@strings)) }
		  qw(version id detail-type source account time region));
	my @resources = map { '"' . (rand() < 0.9 ? 'arn' : Fuzz::pick(@strings)) . '"' } 1 .. int(rand(3) * rand(4));

	return sprintf('{%s,"resources":[%s],"detail":%s}', $text, join(',', @resources), Fuzz::pick(@details));
}

my $setup = <<'SQL';
CREATE TABLE IF NOT EXISTS public.envelope (input jsonb);
CREATE OR REPLACE FUNCTION public.take_envelope(event jsonb) RETURNS void LANGUAGE sql AS
'INSERT INTO public.envelope VALUES (event)';
SELECT eventbridge.put_rule('fuzz', '{"source": ["fuzz"]}');
SELECT eventbridge.put_targets('fuzz', '[{"Id": "fuzz", "Arn": "arn:aws:lambda:us-east-1:000000000000:function:take_envelope"}]');
CREATE FUNCTION pg_temp.compare(event text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	wanted jsonb;
	got jsonb[] := ARRAY(SELECT e.input FROM public.envelope AS e);
BEGIN
	BEGIN
		wanted := event::jsonb;
	EXCEPTION WHEN data_exception OR program_limit_exceeded THEN
		IF got <> '{}' THEN
			RAISE WARNING 'FINDING: jsonb says %, the function gets %', SQLERRM, got;
		END IF;
		RETURN;
	END;
	IF got IS DISTINCT FROM ARRAY[wanted] OR got::text <> ARRAY[wanted]::text THEN
		RAISE WARNING 'FINDING: jsonb makes %, the function gets %', wanted, got;
	END IF;
END $$;
SQL

Fuzz::run(
	name => 'envelope',
	tokens => [ ',"resources":[],"detail":', '"resources":', '"detail":', ',"id":"', '{"version":"0"', @strings, @details ],
	generate => \&envelope,
	setup => $setup,
	allowed => qr/^(?!)/,
	statement => sub {
		my $event = Fuzz::literal($_[0]);

		return <<"SQL";
TRUNCATE public.envelope, eventbridge.delivery_retry;
INSERT INTO eventbridge.delivery_log_1 (xid, bus_id, ingestion_time, no, hops, event_id, targets, lanes, event)
SELECT '3', 1, now(), 0, 0, gen_random_uuid(), ARRAY[target_id], ARRAY[0::oid], $event
FROM eventbridge.target WHERE id = 'fuzz';
CALL eventbridge.run_deliveries();
SELECT pg_temp.compare($event);
SQL
	});
