--
-- Input templates: transform_input and json_transform_input
--
SET search_path = eventbridge, public;

CREATE TEMPORARY TABLE e (j json, vars jsonb);
INSERT INTO e VALUES ('{
	"version": "0", "id": "7bf73129", "detail-type": "EC2 Instance State-change Notification",
	"source": "aws.ec2", "account": "123456789012", "time": "2015-11-11T21:29:54Z", "region": "us-east-1",
	"resources": ["arn:aws:ec2:us-east-1:123456789012:instance/i-0123456789"],
	"detail": {
		"instance-id": "i-0123456789", "state": "RUNNING",
		"odd": "a \"quoted\" \\ line\nbreak \u00e4 <state>", "empty": "", "zero": 0, "price": 1.50, "big": 1e2, "minus": -0.0,
		"yes": true, "no": false, "nil": null, "none": [], "nothing": {},
		"object": {"z": "1", "a": {"b": [1.0, null]}}, "list": ["A", "B \"x\""]}}',
	'{"aws.events.rule-arn": "arn:aws:events:us-east-1:123456789012:rule/example", "aws.events.rule-name": "example",
	  "aws.events.event.ingestion-time": "2015-11-11T21:30:00Z"}');

-- one map for what follows: all of the detail, each under its own name
CREATE FUNCTION pg_temp.map() RETURNS jsonb LANGUAGE sql AS $$
	SELECT jsonb_object_agg(k, '$.detail.' || k) ||
		   '{"instance": "$.detail.instance-id", "time": "$.time", "resource": "$.resources[0]", "missing": "$.detail.missing",
			 "all": "$", "every": "$.resources[*]", "noneofthem": "$.resources[*].x"}'
	  FROM e, json_object_keys(j -> 'detail') k;
$$;
CREATE FUNCTION pg_temp.fill(template text, OUT json text, OUT jsonb text) LANGUAGE plpgsql AS $$
BEGIN
	SELECT eventbridge.json_transform_input(j, pg_temp.map(), template, vars),
		   eventbridge.transform_input(j::jsonb, pg_temp.map(), template, vars)
	  INTO json, jsonb FROM e;
	IF json = jsonb THEN
		jsonb := '(same)';
	END IF;
END $$;
\pset expanded on
\pset format unaligned
\pset footer off

-- the documentation's examples
SELECT (pg_temp.fill(t)).* FROM unnest(ARRAY[
	'"instance <instance> is in <state>"',
	'"instance \"<instance>\" is in <state>"',
	'"instance "<instance>" is in <state>"',
	'{"instance" : <instance>, "state": <state>}',
	'{"instance" : <instance>, "state": "<state>", "instanceStatus": "instance \"<instance>\" is in <state>"}',
	'{"instance" : <instance>, "state": [ 9, <state>, true ], "Transformed" : "Yes"}',
	'{"ruleArn" : <aws.events.rule-arn>, "ruleName" : <aws.events.rule-name>}',
	'"<aws.events.rule-name> triggered"',
	E'"<state> severity finding <instance>"\n"ARN: \\"<resource>\\""\n\n  "at <time>"  \n'
]) t;

-- every kind of value, as a JSON value
SELECT (pg_temp.fill('{"v": <' || v || '>}')).*
  FROM json_object_keys((SELECT j -> 'detail' FROM e)) v;
SELECT (pg_temp.fill('{"v": [<' || v || '>]}')).* FROM unnest(ARRAY['missing', 'every', 'noneofthem', 'resource']) v;
-- in a JSON string: escaped; objects and arrays are refused (see transform_errors)
SELECT (pg_temp.fill('{"v": "[<' || v || '>]"}')).*
  FROM unnest(ARRAY['instance', 'odd', 'empty', 'zero', 'price', 'big', 'minus', 'yes', 'no', 'nil', 'missing', 'noneofthem']) v;
-- in text: as it reads, unescaped; objects and arrays lose every double quote
SELECT (pg_temp.fill('"[<' || v || '>]"')).*
  FROM json_object_keys((SELECT j -> 'detail' FROM e)) v;
SELECT (pg_temp.fill('"[<' || v || '>]"')).* FROM unnest(ARRAY['missing', 'every', 'noneofthem', 'resource']) v;
-- a placeholder alone is text in quotes
SELECT (pg_temp.fill('<' || v || '>')).* FROM unnest(ARRAY['instance', 'object', 'price', 'missing']) v;
SELECT (pg_temp.fill(E' \n<instance>\t')).*;

-- predefined variables; those of the event are values of JSON fields
SELECT (pg_temp.fill('{"a": <aws.events.rule-arn>, "n": "<aws.events.rule-name>", "t": <aws.events.event.ingestion-time>}')).*;
SELECT (pg_temp.fill('"<aws.events.rule-arn> <aws.events.rule-name> <aws.events.event.ingestion-time>"')).*;
SELECT (pg_temp.fill('{"e": <aws.events.event>}')).*;
SELECT json_transform_input('{"b": 1.0, "a": {"c" : "x"}}', NULL, '{"e": <aws.events.event.json>}');
SELECT transform_input('{"b": 1.0, "a": {"c" : "x"}}', NULL, '{"e": <aws.events.event.json>}');
-- variables not given are like paths to nothing; any JSON may be given
SELECT transform_input('{}', NULL, '{"a": <aws.events.rule-arn>, "n": "<aws.events.rule-name>"}') AS none,
	   transform_input('{}', NULL, '{"a": <aws.events.rule-arn>, "n": "<aws.events.rule-name>"}', '{"x": 1}') AS others,
	   transform_input('{}', NULL, '{"a": <aws.events.rule-arn>, "n": "<aws.events.rule-name>"}',
					   '{"aws.events.rule-arn": {"o": 1}, "aws.events.rule-name": 2.50}') AS odd;
-- the envelope: AWS's order and detailType, what is there of it, further members after it
SELECT json_transform_input(ev::json, NULL, t) AS json, transform_input(ev::jsonb, NULL, t) AS jsonb
  FROM unnest(ARRAY['{}', '{"detail": 1}', '{"replay-name": "r", "x\\y": 2, "source": "s", "\u0064etail": 3, "detail-type": "d"}', '[1, 2]', '"text"']) ev,
	   (VALUES ('{"e":<aws.events.event>}')) v(t);

-- the template's own text stays as it is: white space, escapes, numbers, characters of all kinds
SELECT (pg_temp.fill(E'\n\t{ "a" :[ 1.50,-0e+7 , {} , [ ] ] ,\r\n"\\u00e4\\n\\/" : "ä €\\ud83d\\ude00" , "s":<state>}\n ')).*;
SELECT (pg_temp.fill('{"same": "users/<state>/second/<state>", "again": <state>, "joined": "<state><state>"}')).*;
SELECT (pg_temp.fill('"<state><instance>"')).*;
-- a string template that begins like JSON is one all the same
SELECT (pg_temp.fill(t)).* FROM unnest(ARRAY['"{[/ <state>"', '"{"', '""', '"<"', '"{<state>: 1}"']) t;
-- what is not of a placeholder's shape is text
SELECT (pg_temp.fill(t)).* FROM unnest(ARRAY[
	'"1 < 2, <>, <state"', '"2 > 1 <state>>"', '"<<state>>"', '{"a": "1 < 2, <>, <state"}', '{"a": "<\u0041>", "b": "<\">"}']) t;
-- without variables a template is a constant
SELECT (pg_temp.fill(t)).* FROM unnest(ARRAY['"constant"', '{}', '{"a": {"b": [true, false, null, "c", 0]}}']) t;
-- what a value contains is not looked at again, and cannot break out of a JSON string
SELECT transform_input('{"v": "<w>\", \"admin\": \"yes", "w": "secret"}', '{"v": "$.v", "w": "$.w"}', t)
  FROM unnest(ARRAY['{"v": "<v>"}', '{"v": <v>}', '"<v>"']) t;

-- escapes in json: kept in JSON, resolved in text
SELECT json_transform_input('{"v": "\u00e4\ud83d\ude00\/\t\b\f\r\\\""}', '{"v": "$.v"}', t)
  FROM unnest(ARRAY['{"v": "<v>", "w": <v>}', '"<v>"']) t;
SELECT json_transform_input('{"v": "a\u0000b"}', '{"v": "$.v"}', '{"v": "<v>", "w": <v>}');
-- control characters of jsonb
SELECT transform_input('{"v": "\u0001\u001f\u007f\b\f\n\r\t"}', '{"v": "$.v"}', '{"v": "<v>"}');

-- NULL arguments
SELECT transform_input(NULL, '{}', '"x"') IS NULL AS event, transform_input('{}', '{}', NULL) IS NULL AS template,
	   transform_input('{}', NULL, '"x"', NULL) AS map_and_variables,
	   json_transform_input(NULL, '{}', '"x"') IS NULL AS event, json_transform_input('{}', '{}', NULL) IS NULL AS template,
	   json_transform_input('{}', NULL, '"x"', NULL) AS map_and_variables;
-- an event of any type
SELECT transform_input(ev, '{"a": "$", "b": "$.b"}', '{"a": <a>, "b": <b>}')
  FROM unnest(ARRAY['1', '"x"', 'null', '[]', '{"b": 2}']::jsonb[]) ev;

\pset expanded off
\pset format aligned
\pset footer on

-- template and map of each row, alternating and repeated
SELECT n, transform_input(jsonb_build_object('n', n, 'm', -n), map, template)
  FROM (VALUES (1, '{"x": "$.n"}'::jsonb, '"<x>"'), (2, '{"x": "$.n"}', '"<x>"'), (3, '{"x": "$.m"}', '"<x>"'),
			   (4, '{"x": "$.m"}', '"<x><x>"'), (5, NULL, '"none"'), (6, '{"x": "$.m"}', '"none"'), (7, '{"x": "$.n"}', '"<x>"'),
			   (8, '{"y": "$.n"}', '"<y>"')) v(n, map, template);
-- a fault in one row does not spoil what is kept for the next
DO $$
DECLARE
	t text;
BEGIN
	FOREACH t IN ARRAY ARRAY['"<x>"', '"<y>"', '"<x>!"', 'bad', '"<x>"'] LOOP
		BEGIN
			RAISE NOTICE '%', eventbridge.transform_input('{"n": 1}', '{"x": "$.n"}', t);
		EXCEPTION WHEN invalid_parameter_value THEN
			RAISE NOTICE '%', SQLERRM;
		END;
	END LOOP;
END $$;

-- long values and many of them; the result of one row does not leak into the next
SELECT n, length(t), left(t, 8), right(t, 8)
  FROM (VALUES (10), (100000), (3), (70000), (0)) v(n),
	   transform_input(jsonb_build_object('s', repeat('ä', n), 'i', n), '{"s": "$.s", "i": "$.i"}', '{"s": <s>, "i": <i>}') t;
SELECT length(transform_input(jsonb_build_object('l', jsonb_agg(i)), '{"l": "$.l", "w": "$.l[*]"}', '"<l> <w>"'))
  FROM generate_series(1, 1000) i;
-- a deep event is walked without recursion
SELECT length(json_transform_input((repeat('[', 1000) || repeat(']', 1000))::json, '{"a": "$"}', '{"a": <a>}'));
SELECT length(transform_input((repeat('[', 1000) || repeat(']', 1000))::jsonb, '{"a": "$"}', '{"a": <a>}'));

-- usable where immutability is asked for
CREATE TEMPORARY TABLE g (e jsonb, s text GENERATED ALWAYS AS (eventbridge.transform_input(e, '{"a": "$.a"}', '"<a>"')) STORED);
INSERT INTO g VALUES ('{"a": 1}'), ('{}') RETURNING s;
SELECT proname, provolatile, proisstrict, proparallel FROM pg_proc
 WHERE pronamespace = 'eventbridge'::regnamespace AND proname ~ 'input' ORDER BY 1;
