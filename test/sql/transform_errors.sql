--
-- Input transformation: what is refused, and how
--
SET search_path = eventbridge, public;

CREATE FUNCTION pg_temp.fault(map jsonb, template text, event jsonb DEFAULT '{}', variables jsonb DEFAULT NULL) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
	state text; message text; detail text; hint text; result text;
BEGIN
	result := eventbridge.transform_input(event, map, template, variables);
	RETURN 'accepted: ' || result;
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT,
		detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
	RETURN concat_ws(E'\n  ', state || ' ' || message, NULLIF(detail, ''), NULLIF(hint, ''));
END $$;
\pset format unaligned
\pset footer off
\pset tuples_only on

-- AWS delivers nothing: an object or array inside a JSON string
SELECT pg_temp.fault('{"v": "$.v"}', E'{"a": 1,\n "b": "ä <v>"}', v)
  FROM unnest(ARRAY['{"v": {}}', '{"v": {"a": 1}}', '{"v": []}', '{"v": [1]}', '{"v": 1}']::jsonb[]) v;
SELECT json_transform_input('{"v": {}}', '{"v": "$.v"}', '{"a": "<v>"}');
SELECT pg_temp.fault(NULL, '{"a": "<aws.events.rule-arn>"}', '{}', '{"aws.events.rule-arn": [1]}');
SELECT pg_temp.fault('{"v": "$.v[*]"}', '{"a": "<v>"}', '{"v": [1]}');

-- arguments
SELECT pg_temp.fault(NULL, '"x"', '{}', v) FROM unnest(ARRAY['1', '[]', 'null', '"x"']::jsonb[]) v;
SELECT pg_temp.fault(m, '"x"') FROM unnest(ARRAY['1', '[]', 'null', '"x"']::jsonb[]) m;

-- the map
SELECT pg_temp.fault(m, '"x"') FROM unnest(ARRAY[
	'{"a": "detail.a"}', '{"a": "$.detail[''a'']"}', '{"a": 1}', '{"a": null}', '{"a": ["$.a"]}',
	'{"": "$.a"}', '{"a b": "$.a"}', '{"aws.x": "$.a"}', '{"ä": "$.a"}', '{"a": "$.x", "b": "$"}',
	'{"AWSthing": "$.a"}', '{"a_B-9": "$.a"}']::jsonb[]) m;
SELECT pg_temp.fault(jsonb_build_object(repeat('k', 256), '$'), '"x"'), pg_temp.fault(jsonb_build_object(repeat('k', 257), '$'), '"x"');
SELECT pg_temp.fault(jsonb_build_object('k', '$.' || repeat('p', 254)), '"x"'), pg_temp.fault(jsonb_build_object('k', '$.' || repeat('p', 255)), '"x"');
SELECT pg_temp.fault(jsonb_object_agg('k' || i, '$'), '"x"') FROM (VALUES (100), (101)) v(n), generate_series(1, n) i GROUP BY n ORDER BY n;

-- the template's length
SELECT pg_temp.fault(NULL, '');
SELECT left(pg_temp.fault(NULL, '"' || repeat('ä', 8190) || '"'), 20), pg_temp.fault(NULL, '"' || repeat('ä', 8191) || '"');

-- placeholders
SELECT pg_temp.fault('{"a": "$.a"}', t) FROM unnest(ARRAY[
	'"Event of <a> type, with not defined key <notdefinedkey>"', '{"a": <b>}', '{"a": "<b>"}', '<b>', '"<A>"', '"< a>"', '"<$.a>"',
	'"<aws.events.bogus>"', '"<aws.pipes.pipe-arn>"', '"<b>bold</b>"',
	'"<aws.events.event.json>"', '[<aws.events.event.json>]', '<aws.events.event.json>', '"<aws.events.event>"',
	'{"a": "<aws.events.event.json>"}', '{"a": "<aws.events.event>"}',
	'{<a>: 1}', '{"<a>": 1}', '{"x <a> y": 1}', '{"x": {"<b>": 1}}']) t;

-- neither JSON nor quoted text
SELECT pg_temp.fault('{"a": "$.a"}', t) FROM unnest(ARRAY[
	'<a> is in <a>', 'text', '[<a>]', '[]', '1', 'true', ' ', '"', '"a', 'a"', E'"one"\ntwo', E'"one\ntwo"', '<a><a>', '<a', '<>']) t;

-- not JSON
SELECT pg_temp.fault('{"a": "$.a"}', t) FROM unnest(ARRAY[
	'{', '{"a"', '{"a":', '{"a":}', '{"a": 1', '{"a": 1,}', '{"a": 1 "b": 2}', '{a: 1}', '{"a": 1}}', '{"a": 1} x',
	'{"a": [1, ]}', '{"a": [1 2]}', '{"a": [1}', '{"a": tru}', '{"a": 01}', '{"a": -}', '{"a": 1.}', '{"a": 1e}', '{"a": .5}', '{"a": +1}',
	'{"a": "x}', '{"a": "\x"}', '{"a": "\u12g4"}', '{"a": "\', E'{"a": "tab\there"}', E'{"a": "line\nbreak"}',
	'{"a": "\u00<a>"}', '{"a": "\<a>"}', '{"a": <a><a>}', '{"a": <a>1}', '{"a": 1<a>}', '{"a": <}', '{"a": <>}', '{<}', '{"a": ''x''}',
	E'{\n  "timestamp" : <a>,\n  "ä": instance "<a>"}']) t;
SELECT left(pg_temp.fault(NULL, '{"a":' || repeat('[', 1000)), 120);

-- what text cannot hold
SELECT json_transform_input('{"v": "a\u0000b"}', '{"v": "$.v"}', '"<v>"');
SELECT json_transform_input('{"v": "a\ud83d b"}', '{"v": "$.v"}', '"<v>"');
SELECT json_transform_input('{"v": "a\ude00 b"}', '{"v": "$.v"}', '"<v>"');

-- check_input_transformer: the same, all of it, as rows
\pset tuples_only off
\pset null -
SELECT * FROM check_input_transformer('{"a": "$.a"}', '"<a>"');
SELECT * FROM check_input_transformer(NULL, '"<aws.events.rule-arn>"');
SELECT * FROM check_input_transformer('{"a": "a", "b c": "$"}', '"<a> <x> <aws.events.event.json>"');
SELECT * FROM check_input_transformer('{"a": "a", "b c": "$"}', '"<a> <x> <aws.events.event.json>"', 'my-target');
SELECT * FROM check_input_transformer(NULL, NULL, 't');
SELECT * FROM check_input_transformer('{"a": "$"}', 'bare <b>', 't');
SELECT * FROM check_input_transformer('{"a": "$"}', '{"a": <b> x}', 't');

-- check_target_input: all input options of a target
SELECT c.*, t AS target FROM unnest(ARRAY[
	'{"Id": "1", "Arn": "arn:aws:sqs:::q"}', '{"Id": "1", "Input": "\"hello\""}', '{"Id": "1", "Input": " {\"a\": [1, true]} "}',
	'{"Id": "1", "InputPath": "$.detail"}', '{"Id": "1", "InputPath": null, "Input": null}',
	'{"Id": "1", "InputTransformer": {"InputTemplate": "\"<aws.events.rule-name>\""}}',
	'{"Id": "1", "InputTransformer": {"InputPathsMap": {"a": "$.a"}, "InputTemplate": "{\"a\": <a>}"}}',
	'{"Id": "1", "Input": "hello"}', '{"Id": "1", "Input": "{not json"}', '{"Id": "1", "Input": ""}', '{"Id": "1", "Input": {"a": 1}}', '{"Id": "1", "Input": "<a>"}',
	'{"Id": "1", "InputPath": "detail.state"}', '{"Id": "1", "InputPath": ""}', '{"Id": "1", "InputPath": 1}',
	'{"Id": "1", "InputPath": "$.detail", "InputTransformer": {"InputTemplate": "\"x\""}}',
	'{"Id": "1", "Input": "{}", "InputPath": "$"}',
	'{"Id": "1", "InputTransformer": {"InputTemplate": "\"<x>\""}}', '{"Id": "1", "InputTransformer": {}}', '{"Id": "1", "InputTransformer": "x"}',
	'{"Id": "1", "InputTransformer": {"InputPathsMap": [], "InputTemplate": "\"x\""}}',
	'{"InputPath": "x"}']::jsonb[]) WITH ORDINALITY AS u(t, n) LEFT JOIN LATERAL check_target_input(t) c ON true ORDER BY n;
SELECT left(message, 60), right(message, 60) FROM check_target_input(jsonb_build_object('Id', '1', 'Input', '"' || repeat('x', 8191) || '"'));
SELECT count(*) FROM check_target_input(jsonb_build_object('Id', '1', 'Input', '"' || repeat('ä', 8190) || '"'));
SELECT message FROM check_target_input(jsonb_build_object('Id', '1', 'InputPath', '$.' || repeat('x', 300)));
SELECT * FROM check_target_input('[]');
SELECT * FROM check_target_input(NULL);
