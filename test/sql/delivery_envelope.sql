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

/* An event that a rule forwards is what it was, whatever the settings are by then. */
SELECT create_event_bus('other') IS NOT NULL AS created;
SELECT put_rule('forward', '{"detail-type": ["go"]}');
SELECT put_targets('forward', format('[{"Id": "bus", "Arn": "%s", "RoleArn": "arn:aws:iam::000000000000:role/%s"}]',
	describe_event_bus('other') ->> 'Arn', current_user)::jsonb);
SELECT put_rule('account', '{"account": ["111111111111"], "region": ["here"]}', event_bus_name => 'other');
SELECT put_targets('account', '[{"Id": "take", "Arn": "arn:aws:lambda:us-east-1:000000000000:function:take_envelope"}]', event_bus_name => 'other');
SELECT put_rule('detail', '{"detail": {"a": [{"numeric": [">", 1]}], "b": {"c": ["x"]}, "l": ["two"]}, "resources": ["r2"]}', event_bus_name => 'other');
SELECT put_targets('detail', '[{"Id": "take", "Arn": "arn:aws:lambda:us-east-1:000000000000:function:take_envelope", "InputPath": "$.detail.l"}]', event_bus_name => 'other');
SET eventbridge.account_id = '111111111111';
SET eventbridge.region = 'here';
SELECT put_event('shop', 'go', '{"a": 1.5, "b": {"c": "x"}, "l": [1, ["two"]]}', resources => '{r1,r2}') IS NOT NULL AS put;
RESET eventbridge.account_id;
RESET eventbridge.region;
CALL run_deliveries();
SELECT d.hops, count(d.source) AS parts, count(DISTINCT d.event_id) AS ids, count(DISTINCT l.event) AS texts
FROM (SELECT * FROM delivery_log_0 UNION ALL SELECT * FROM delivery_log_1 UNION ALL SELECT * FROM delivery_log_2) AS d
	JOIN delivery_log AS l USING (xid, no)
WHERE d.detail_type = 'go' GROUP BY ROLLUP (1) ORDER BY 1;
SELECT g.input = l.event::jsonb AS whole, count(*), min(g.input::text) FILTER (WHERE g.input <> l.event::jsonb) AS other
FROM public.envelopes AS g, delivery_log AS l WHERE l.hops = 1 GROUP BY 1 ORDER BY 1;
TRUNCATE public.envelopes RESTART IDENTITY;

/* A row that has a text: from a pipe, or forwarded late. What is no JSON fails, each for itself. */
CREATE TABLE public.texts (n int GENERATED ALWAYS AS IDENTITY, event text);
INSERT INTO public.texts (event) VALUES
	('{"version":"0","id":"i","detail-type":"d","source":"s","account":"a","time":"t","region":"r","resources":[],"detail":{"x":[1,{"y":null}]}}'),
	(' { "id" : "\u0069" , "detail" : [ ] } '), ('{"b":1,"a":2,"b":3}'), ('{}'), ('[]'), ('"x"'), ('1'), ('null'),
	('{"detail":{}'), ('{"detail":{}}}'), ('{"detail":{}} x'), (E'{"id":"i\n"}'), ('');
BEGIN;
INSERT INTO delivery_log_1 (xid, bus_id, ingestion_time, no, hops, event_id, deliveries, event)
SELECT '3', 1, now(), 7, 0, gen_random_uuid(), _deliveries(ARRAY[target_id], ARRAY[0::oid]), event FROM target, public.texts
WHERE id = 'take' AND input_path IS NULL AND rule_id = (SELECT rule_id FROM rule WHERE name = 'all') ORDER BY n;
COMMIT;
CALL run_deliveries();
SELECT count(*), bool_and(t.event::jsonb = g.input AND t.event::jsonb::text = g.input::text) AS same
FROM public.texts AS t JOIN (SELECT row_number() OVER (ORDER BY n) AS n, input FROM public.envelopes) AS g USING (n);
SELECT error_message, count(*) FROM delivery_retry GROUP BY 1;
TRUNCATE delivery_retry, public.envelopes RESTART IDENTITY;

/* Nor is what a text is made of always JSON, if somebody has changed it. */
SELECT count(put_event('shop', 'order', format('{"n": %s}', n))) FROM generate_series(1, 6) AS n;
SELECT (SELECT last_value FROM delivery_turn) AS turn \gset
UPDATE delivery_log_:turn AS d SET resources = v.resources, detail = v.changed
FROM (VALUES (1, NULL, '{"x":1}'), (2, '["r"]', '[2]'), (3, NULL, '3'), (4, NULL, '{"x":'), (5, '"r"', '{"n":5}'), (6, NULL, repeat('é', 101)))
	AS v (n, resources, changed)
WHERE d.detail = format('{"n":%s}', v.n);
CALL run_deliveries();
SELECT input - 'id' - 'time' - 'account' - 'region' AS input FROM public.envelopes ORDER BY n;
SELECT error_message, count(*) FROM delivery_retry GROUP BY 1;
TRUNCATE delivery_retry;

/* A row is a text, or all that makes one. */
\set VERBOSITY terse
INSERT INTO delivery_log_0 (xid, bus_id, ingestion_time, no, hops, event_id, deliveries, source, detail_type, account, detail)
VALUES ('3', 1, now(), 7, 0, gen_random_uuid(), _deliveries('{1}', '{0}'), 's', 'd', 'a', '{}');
SELECT _event_text(NULL, now(), 's', 'd', 'a', 'r', NULL, '{}') IS NULL AS no_id,
	_event_text('00000000-0000-0000-0000-000000000001', NULL, 's', 'd', 'a', 'r', NULL, '{}') IS NULL AS no_time;
SELECT _event_text('00000000-0000-0000-0000-000000000001', now(), 's', NULL, 'a', 'r', NULL, '{}');
SELECT _event_text('00000000-0000-0000-0000-000000000001', '0001-01-01 00:00:59.9+00', 's', 'd', 'a', 'r', '["x"]', '{}');

/* The time is told in whole seconds, whether it is stored or that of the ingestion. */
SELECT put_event('shop', 'time', '{}') IS NOT NULL AS put,
	put_event('shop', 'time', '{}', event_time => statement_timestamp() - interval '1 s') IS NOT NULL AS put_earlier,
	statement_timestamp() AS put_at \gset
SELECT time = date_trunc('second', :'put_at'::timestamptz) AS now, time = date_trunc('second', :'put_at'::timestamptz - interval '1 s') AS earlier
FROM (SELECT no, substring(event FROM '"detail-type":"time".*"time":"([^"]*)"')::timestamptz AS time FROM delivery_log) AS t
WHERE time IS NOT NULL ORDER BY no;

/* Whom it is owed to. */
SELECT octet_length(d), _targets_of(d), _lanes_of(d)
FROM _deliveries('{1,127,128,16384,9223372036854775807,-1}', '{0,1,127,16384,4294967295,128}') AS d;
SELECT d, _targets_of(d), _lanes_of(d) FROM _deliveries('{}', '{}') AS d;
SELECT _deliveries('{1,2}', '{0}');
SELECT _deliveries('{1,null}', '{0,0}');
SELECT _deliveries('{1}', '{null}');
SELECT _targets_of('\x80');
SELECT _targets_of('\x01');
SELECT _lanes_of('\x0180');
SELECT _lanes_of('\x018080808010');
SELECT _targets_of('\x8080808080808080808001');

/* A row is owed until all its lanes have come by, and that may be in the middle of a transaction. */
CALL run_deliveries();
SELECT create_queue('two') AS queue \gset
SELECT put_rule('two', '{"detail-type": ["two"]}') IS NOT NULL AS put;
SELECT put_targets('two', jsonb_build_array(jsonb_build_object('Id', 'a', 'Arn', :'queue'),
	jsonb_build_object('Id', 'b', 'Arn', 'arn:aws:lambda:us-east-1:000000000000:function:take_envelope')));
SELECT remove_targets('all', '{take}');
SELECT count(put_event('shop', 'two', format('{"n": %s}', n))) FROM generate_series(1, 3) AS n;
PREPARE owed AS SELECT array_agg(_is_owed(xid, no, deliveries) ORDER BY no) AS owed,
	(SELECT count(*) FROM delivery_owed) AS deliveries FROM delivery_log WHERE event LIKE '%"detail-type":"two"%';
EXECUTE owed;
CALL run_deliveries(3);
EXECUTE owed;
CALL run_deliveries(2);
EXECUTE owed;
CALL run_deliveries();
EXECUTE owed;
DEALLOCATE owed;

DROP EXTENSION eventbridge CASCADE;
DROP TABLE public.envelopes, public.texts;
DROP FUNCTION public.take_envelope(jsonb);
CREATE EXTENSION eventbridge;
