-- What a function gets as jsonb is what type jsonb makes of the event's text, wherever that comes from.
SET client_min_messages = warning;
DROP EXTENSION eventbridge CASCADE;
CREATE EXTENSION eventbridge;
SET search_path = eventbridge, public;
CREATE TABLE public.envelopes (n int GENERATED ALWAYS AS IDENTITY, input jsonb);
CREATE FUNCTION public.take_envelope(event jsonb) RETURNS void LANGUAGE sql AS 'INSERT INTO public.envelopes (input) VALUES (event)';
SELECT put_rule('all', '{"source": [{"exists": true}]}');
SELECT put_targets('all', '[{"Id": "take", "Arn": "arn:aws:lambda:us-east-1:000000000000:function:take_envelope"}]');

/* Events that were put here: from the row's columns to a text, and from there to jsonb. */
SET eventbridge.account_id = '123456789012';
SET eventbridge.region = 'eu-central-1';
SELECT count(put_event(source, detail_type, detail, resources => resources, event_time => '2026-02-03 04:05:06.789+00'))
FROM (VALUES
	('shop', 'order', '{}'::text, NULL::text[]),
	('shop', 'order', '{"b": 1, "a": [1, {"z": null, "b": 1.50}], "b": 2, "detail": {"detail": {}}}', '{}'),
	('shop', 'order', '{"n": 12345678901234567890.10, "t": true, "u": "\u00e9\n\"", "": ""}', '{arn:aws:s3:::one}'),
	('sh"op', 'or\der', '{"n": "\\"}', '{"a\"b","c\\d",""}'),
	(E'tab\there', E'ctl\x01', '{"n": 1}', '{1,2,3,4,5,6,7,8,9}'),
	('é€', '","source":"x', '{"n": [[[[]]]]}', '{"x,y","],["}')) AS v (source, detail_type, detail, resources);
RESET eventbridge.account_id;
RESET eventbridge.region;
SELECT regexp_replace(event, '"id":"[^"]*"', '"id":"ID"') AS event, event::jsonb ->> 'id' = event_id::text AS same_id
FROM delivery_log ORDER BY xid, no;
CALL run_deliveries();
SELECT count(*), bool_and(g.input = l.event::jsonb AND g.input::text = l.event::jsonb::text) AS same
FROM (SELECT row_number() OVER (ORDER BY xid, no) AS n, event FROM delivery_log) AS l JOIN public.envelopes AS g USING (n);
TRUNCATE public.envelopes RESTART IDENTITY;

/* Texts that look like an envelope, to the end or nearly so. */
CREATE TABLE public.texts (n int GENERATED ALWAYS AS IDENTITY, event text);
INSERT INTO public.texts (event)
SELECT replace(t, '#', '{"version":"0","id":"i","detail-type":"d","source":"s","account":"a","time":"t","region":"r"')
FROM (VALUES
	('#,"resources":[],"detail":{}}'),
	('#,"resources":["a"],"detail":{"x":1}}'),
	('#,"resources":["a","b","c","d","e","f","g","h","i"],"detail":[1]}'),
	('#,"resources":[],"detail":{},"more":1}'),
	('#,"resources":[],"detail":{"x":1},"detail":{"y":2}}'),
	('#,"resources":[],"detail":"text"}'),
	('#,"resources":[],"detail":null}'),
	('#,"resources":[1],"detail":{}}'),
	('#,"resources":[["a"]],"detail":{}}'),
	('#,"resources":["a\u0062"],"detail":{}}'),
	('#,"resources":{},"detail":{}}'),
	('#,"resources":[], "detail":{}}'),
	('#,"resources":[],"detail":{} }'),
	('#,"resources":[],"detail": {}}'),
	('#,"detail":{}}'),
	('#}'),
	('{"version":"0","id":"\u0069","detail-type":"d","source":"s","account":"a","time":"t","region":"r","resources":[],"detail":{}}'),
	('{"version":"0","id":"i","detail-type":"d","source":"\"","account":"a","time":"t","region":"r","resources":[],"detail":{}}'),
	('{"version":0,"id":"i","detail-type":"d","source":"s","account":"a","time":"t","region":"r","resources":[],"detail":{}}'),
	('{"version":"","id":"","detail-type":"","source":"","account":"","time":"","region":"","resources":[""],"detail":{"":""}}'),
	('{"id":"i","version":"0"}'), ('{}'), ('[]'), ('"x"'), ('1'), ('null')) AS v (t);
-- these are no JSON
INSERT INTO public.texts (event)
SELECT replace(t, '#', '{"version":"0","id":"i","detail-type":"d","source":"s","account":"a","time":"t","region":"r"')
FROM (VALUES
	('#,"resources":[],"detail":{}'),
	('#,"resources":[],"detail":{}}}'),
	('#,"resources":[],"detail":{}]'),
	('#,"resources":[],"detail":{}} x'),
	('#,"resources":[],"detail":}'),
	('#,"resources":["a",],"detail":{}}'),
	('#,"resources":["a" "b"],"detail":{}}'),
	('#,"resources":["a'),
	('#,"resources":[],"detail":'),
	('{"version":"0'),
	(E'{"version":"0","id":"i\n","detail-type":"d","source":"s","account":"a","time":"t","region":"r","resources":[],"detail":{}}'),
	(E'#,"resources":["\t"],"detail":{}}'),
	('')) AS v (t);
BEGIN;
INSERT INTO delivery_log_1 (xid, bus_id, ingestion_time, no, hops, event_id, targets, lanes, event)
SELECT '3', 1, now(), 7, 0, gen_random_uuid(), ARRAY[target_id], ARRAY[0::oid], event FROM target, public.texts ORDER BY n;
COMMIT;
CALL run_deliveries();
SELECT count(*), bool_and(t.event::jsonb = g.input AND t.event::jsonb::text = g.input::text) AS same
FROM public.texts AS t JOIN (SELECT row_number() OVER (ORDER BY n) AS n, input FROM public.envelopes) AS g USING (n);
SELECT error_message, count(*) FROM delivery_retry GROUP BY 1;

/* A row is a text, or all that makes one. */
\set VERBOSITY terse
INSERT INTO delivery_log_0 (xid, bus_id, ingestion_time, no, hops, event_id, targets, lanes, source, detail_type, account, region, detail)
VALUES ('3', 1, now(), 7, 0, gen_random_uuid(), '{1}', '{0}', 's', 'd', 'a', 'r', '{}');
SELECT _event_text(NULL, now(), 's', 'd', 'a', 'r', NULL, '{}') IS NULL AS no_id,
	_event_text('00000000-0000-0000-0000-000000000001', NULL, 's', 'd', 'a', 'r', NULL, '{}') IS NULL AS no_time;
SELECT _event_text('00000000-0000-0000-0000-000000000001', now(), 's', NULL, 'a', 'r', NULL, '{}');
SELECT _event_text('00000000-0000-0000-0000-000000000001', '0001-01-01 00:00:59.9+00', 's', 'd', 'a', 'r', '["x"]', '{}');

DROP EXTENSION eventbridge CASCADE;
DROP TABLE public.envelopes, public.texts;
DROP FUNCTION public.take_envelope(jsonb);
CREATE EXTENSION eventbridge;
