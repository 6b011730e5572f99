-- Cases made from the description of input transformation, word by word: each says
-- what is delivered, or how the message begins; only wrong ones are shown.
SET search_path = eventbridge, public;

CREATE TEMP TABLE cases (map text, event text, template text, expect text, id int GENERATED ALWAYS AS IDENTITY);
COPY cases (map, event, template, expect) FROM stdin WITH (FORMAT csv, DELIMITER '~', QUOTE E'\x01');
{"v":"$.v"}~{"v":"x"}~{"a": <v>}~{"a": "x"}
{"v":"$.v"}~{"v":"x"}~{"a": "<v>"}~{"a": "x"}
{"v":"$.v"}~{"v":"a\"b"}~{"a": <v>}~{"a": "a\"b"}
{"v":"$.v"}~{"v":"a\"b"}~{"a": "<v>"}~{"a": "a\"b"}
{"v":"$.v"}~{"v":"a\"b"}~"<v>"~"a"b"
{"v":"$.v"}~{"v":"a\nb"}~{"a": "<v>"}~{"a": "a\nb"}
{"v":"$.v"}~{"v":{"k":"w"}}~{"a": <v>}~{"a": {"k":"w"}}
{"v":"$.v"}~{"v":{"k":"w"}}~{"a": "<v>"}~e:
{"v":"$.v"}~{"v":[1]}~{"a": "x <v>"}~e:
{"v":"$.v"}~{"v":[]}~{"a": "x <v>"}~e:
{"v":"$.v"}~{"v":{"k":"w","n":1}}~"p <v>"~"p {k:w,n:1}"
{"v":"$.v"}~{"v":["A","B"]}~"p <v>"~"p [A,B]"
{"v":"$.v"}~{"v":[]}~"p <v>"~"p []"
{"v":"$.v"}~{"v":{}}~"p <v>"~"p {}"
{"v":"$.v"}~{"v":["a\"b"]}~"<v>"~"[a\b]"
{"v":"$.v"}~{"v":true}~"is <v>!"~"is true!"
{"v":"$.v"}~{"v":true}~{"a": <v>}~{"a": true}
{"v":"$.v"}~{"v":true}~{"a": "<v>"}~{"a": "true"}
{"v":"$.v"}~{"v":1.50}~{"a": <v>}~{"a": 1.50}
{"v":"$.v"}~{"v":1.50}~{"a": "<v>"}~{"a": "1.50"}
{"v":"$.v"}~{"v":1e2}~"<v>"~"1e2"
{"v":"$.v"}~{"v":-0}~"<v>"~"-0"
{"v":"$.v"}~{"v":12345678901234567890.123}~{"a": <v>}~{"a": 12345678901234567890.123}
{"v":"$.v"}~{"v":null}~{"a": <v>}~{"a": null}
{"v":"$.v"}~{"v":null}~{"a": "<v>"}~{"a": "null"}
{"v":"$.v"}~{"v":null}~"<v>"~"null"
{"v":"$.x"}~{"v":1}~{"a": <v>}~{"a": ""}
{"v":"$.x"}~{"v":1}~{"a": "<v>"}~{"a": ""}
{"v":"$.x"}~{"v":1}~{"a": "x <v> y"}~{"a": "x  y"}
{"v":"$.x"}~{"v":1}~"x <v> y"~"x  y"
{"v":"$.x"}~{"v":1}~{"a": [<v>, 1]}~{"a": ["", 1]}
{"v":"$.v.x"}~{"v":1}~{"a": <v>}~{"a": ""}
{"v":"$.v.x"}~{"v":null}~{"a": <v>}~{"a": ""}
{"v":"$.v.x"}~{"v":"{\"x\":1}"}~{"a": <v>}~{"a": ""}
{"v":"$.v[0]"}~{"v":["x"]}~{"a": <v>}~{"a": "x"}
{"v":"$.v[1]"}~{"v":["x"]}~{"a": <v>}~{"a": ""}
{"v":"$.v[0]"}~{"v":"x"}~{"a": <v>}~{"a": ""}
{"v":"$.v[0]"}~{"v":{"0":"x"}}~{"a": <v>}~{"a": ""}
{"v":"$.v.0"}~{"v":{"0":"x"}}~{"a": <v>}~{"a": "x"}
{"v":"$.v.0"}~{"v":["x"]}~{"a": <v>}~{"a": ""}
{"v":"$.v[0][1]"}~{"v":[["x","y"]]}~{"a": <v>}~{"a": "y"}
{"v":"$.v[0].b"}~{"v":[{"b":2}]}~{"a": <v>}~{"a": 2}
{"v":"$.v[*]"}~{"v":[1,"x"]}~{"a": <v>}~{"a": [1,"x"]}
{"v":"$.v[*].b"}~{"v":[{"b":2},{"c":1},{"b":3}]}~{"a": <v>}~{"a": [2,3]}
{"v":"$.v[*].z"}~{"v":[{"b":2}]}~{"a": <v>}~{"a": ""}
{"v":"$.v[*]"}~{"v":[]}~{"a": <v>}~{"a": ""}
{"v":"$.detail-type"}~{"detail-type":"T"}~{"a": <v>}~{"a": "T"}
{"v":"$.a/b"}~{"a/b":"T"}~{"a": <v>}~{"a": "T"}
{"v":"$.a_b"}~{"a_b":"T"}~{"a": <v>}~{"a": "T"}
{"v":"$"}~{"a":1}~{"a": <v>}~{"a": {"a":1}}
{"v":"$"}~{"a":"x"}~"<v>"~"{a:x}"
{"v":"$.v"}~{"v":"x"}~"say \"<v>\""~"say \"x\""
{"v":"$.v"}~{"v":"x"}~{"a": "say \"<v>\""}~{"a": "say \"x\""}
{"v":"$.v"}~{"v":"x"}~{"a": "\\<v>"}~{"a": "\\x"}
{"v":"$.v"}~{"v":"x"}~{"a": "\\\"<v>"}~{"a": "\\\"x"}
{"v":"$.v"}~{"v":"x"}~{"a": [9, <v>, true]}~{"a": [9, "x", true]}
{"v":"$.v"}~{"v":"x"}~{"a": {"b": {"c": "u/<v>"}}}~{"a": {"b": {"c": "u/x"}}}
{"v":"$.v"}~{"v":"x"}~{"a": "<v><v>", "b": <v>}~{"a": "xx", "b": "x"}
{"v":"$.v"}~{"v":"x"}~"{[/ <v>"~"{[/ x"
{"v":"$.v"}~{"v":"<v>"}~"<v>"~"<v>"
{"v":"$.v","w":"$.w"}~{"v":"<w>","w":"no"}~{"a": "<v>"}~{"a": "<w>"}
{"v":"$.v"}~{"v":"é😀"}~{"a": "<v>"}~{"a": "é😀"}
{"v":"$.v"}~{"v":"\ud83d\ude00"}~"<v>"~"😀"
{"v":"$.v"}~{"v":"x"}~<v>~"x"
{"v":"$.v"}~{"v":"x"}~"<w>"~e:InputTemplate
{"v":"$.v"}~{"v":"x"}~{<v>: 1}~e:
{"v":"$.v"}~{"v":"x"}~{"<v>": 1}~e:
{"v":"v"}~{"v":"x"}~"<v>"~e:InputPath
{"v":"$.d['k']"}~{"v":"x"}~"<v>"~e:InputPath
{"v":"$..d"}~{"v":"x"}~"<v>"~e:InputPath
{"v":"$[0]"}~{"v":"x"}~"<v>"~e:InputPath
{"v":"$.v[-1]"}~{"v":["x"]}~"<v>"~e:InputPath
{"v":"$.v[0:1]"}~{"v":["x"]}~"<v>"~e:InputPath
{"v":"$.v[?(@.x)]"}~{"v":["x"]}~"<v>"~e:InputPath
{"v":"$."}~{"v":["x"]}~"<v>"~e:InputPath
{"v":"$.v."}~{"v":["x"]}~"<v>"~e:InputPath
{"v":"$.*"}~{"v":["x"]}~"<v>"~e:InputPath
{"v":"$.v[]"}~{"v":["x"]}~"<v>"~e:InputPath
{"v":"$.v[ 0 ]"}~{"v":["x"]}~"<v>"~e:InputPath
{"v":" $.v"}~{"v":["x"]}~"<v>"~e:InputPath
{"v":"$.v "}~{"v":["x"]}~"<v>"~e:InputPath
{"v":"$.a b"}~{"v":["x"]}~"<v>"~e:InputPath
{"v":"$v"}~{"v":["x"]}~"<v>"~e:InputPath
{"v":""}~{"v":["x"]}~"<v>"~e:
{"v":"$.é"}~{"é":["x"]}~"<v>"~e:InputPath
{"v":"$.v[00]"}~{"v":["x"]}~{"a":<v>}~{"a":"x"}
{"v":"$.v[99999999999999999999]"}~{"v":["x"]}~{"a":<v>}~{"a":""}
{}~{"v":"x"}~{"r": <aws.events.rule-arn>, "n": "<aws.events.rule-name>", "e": <aws.events.event.json>}~{"r": "arn:R", "n": "N", "e": {"v":"x"}}
{}~{"v":"x"}~"<aws.events.rule-name> triggered <aws.events.event.ingestion-time>"~"N triggered T"
{}~{"version":"0","id":"i","detail-type":"d","source":"s","account":"a","time":"t","region":"r","resources":[],"detail":{"x":1}}~{"o": <aws.events.event>}~{"o": {"id":"i","account":"a","detailType":"d","time":"t","source":"s","region":"r","resources":[],"version":"0"}}
{}~{"v":"x"}~"<aws.events.event.json>"~e:InputTemplate
{}~{"v":"x"}~[<aws.events.event.json>]~e:InputTemplate
{}~{"v":"x"}~{"a": "<aws.events.event.json>"}~e:
{"aws.x":"$.v"}~{"v":"x"}~"<aws.x>"~e:
{"AWSthing":"$.v"}~{"v":"x"}~"<AWSthing>"~"x"
{"v":"$.v"}~{"v":{ "k" : [ 1 , "a b" ] }}~{"a": <v>}~{"a": {"k":[1,"a b"]}}
{"v":"$.v"}~{"v":{ "k" : [ 1 , "a b" ] }}~"<v>"~"{k:[1,a b]}"
{"v":"$.v"}~{"v":{"b":1,"a":2}}~{"a": <v>}~{"a": {"b":1,"a":2}}
{"v":"$.v"}~{"v":1,"v":2}~{"a": <v>}~{"a": 2}
{"v":"$.v.a"}~{"v":{"a":1},"v":{"b":1}}~{"a": <v>}~{"a": ""}
{"v":"$.a.b"}~{"a.b":1}~{"a": <v>}~{"a": ""}
{"v":"$.v"}~{"v":"x"}~{"a": "b < c"}~{"a": "b < c"}
{"v":"$.v"}~{"v":"x"}~{"a": "<>"}~{"a": "<>"}
{"v":"$.v"}~{"v":"x"}~{"a": <v>}~{"a": "x"}
{"v":"$.v"}~{"v":""}~{"a": <v>, "b": "<v>"}~{"a": "", "b": ""}
{"v":"$.v"}~{"v":"x\\y"}~{"a": "<v>"}~{"a": "x\\y"}
{"v":"$.v"}~{"v":"x\\y"}~{"a": <v>}~{"a": "x\\y"}
{"v":"$.v"}~{"v":"x\/y"}~{"a": <v>}~{"a": "x\/y"}
{"v":"$.v"}~{"v":["x\/y","\u00e9"]}~"<v>"~"[x/y,é]"
{"v":"$.v"}~{"v":{"\u00e9":"\"q\" \\ \n"}}~"<v>"~"{é:\q\ \\ \n}"
\.

CREATE FUNCTION pg_temp.answer(event text, map jsonb, template text, as_json boolean) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	variables constant jsonb := '{"aws.events.rule-arn": "arn:R", "aws.events.rule-name": "N", "aws.events.event.ingestion-time": "T"}';
BEGIN
	IF as_json THEN
		RETURN eventbridge.json_transform_input(event::json, map, template, variables);
	END IF;
	RETURN eventbridge.transform_input(event::jsonb, map, template, variables);
EXCEPTION WHEN data_exception OR invalid_parameter_value THEN
	RETURN 'e:' || sqlerrm;
END $$;

\pset format unaligned
SELECT count(*), count(*) FILTER (WHERE expect LIKE 'e:%') AS errors FROM cases;
SELECT id, map, event, template, expect, answer
  FROM cases, LATERAL pg_temp.answer(event, map::jsonb, template, true) AS answer
 WHERE CASE WHEN expect LIKE 'e:%' THEN NOT starts_with(answer, expect) ELSE answer IS DISTINCT FROM expect END ORDER BY id;
-- from jsonb the same, but for the order of keys and the spelling of numbers and escapes
SELECT id, event, template, expect, answer
  FROM cases, LATERAL pg_temp.answer(event, map::jsonb, template, false) AS answer
 WHERE CASE WHEN expect LIKE 'e:%' THEN NOT starts_with(answer, expect) ELSE answer IS DISTINCT FROM expect END ORDER BY id;
