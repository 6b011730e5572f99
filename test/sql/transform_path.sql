--
-- Paths: input_path and json_input_path
--
SET search_path = eventbridge, public;

CREATE TEMPORARY TABLE doc (j json);
INSERT INTO doc VALUES ('{
	"version": "0", "detail-type": "T", "resources": ["arn:1", "arn:2"],
	"detail": {
		"z": 1.50, "a": 1e2, "text": "b\u00e4z \/ \"q\"", "yes": true, "no": false, "nil": null,
		"o": {}, "l": [], "my_key": "under", "a/b": "slash", "3": "digit", "-": "dash",
		"deep": {"list": [{"n": 1, "k": ["x", "y"]}, {"m": 2}, {"n": 3, "k": ["z"]}, 4, [5, 6]]},
		"matrix": [[1, 2], [3], []]}}');

-- what each path finds, in both types
SELECT path, json_input_path(j, path) AS json, input_path(j::jsonb, path) AS jsonb
  FROM doc, unnest(ARRAY[
	'$.version', '$.detail-type', '$.resources', '$.resources[0]', '$.resources[1]',
	'$.detail.z', '$.detail.a', '$.detail.text', '$.detail.yes', '$.detail.no', '$.detail.nil',
	'$.detail.o', '$.detail.l', '$.detail.my_key', '$.detail.a/b', '$.detail.3', '$.detail.-',
	'$.detail.deep.list[0]', '$.detail.deep.list[0].k[1]', '$.detail.deep.list[2].n',
	'$.detail.deep.list[4][1]', '$.detail.matrix[0][1]', '$.resources[00001]'
  ]) WITH ORDINALITY AS p(path, n) ORDER BY n;

-- nothing there: NULL, which is not a JSON null
SELECT path, json_input_path(j, path) IS NULL AS json, input_path(j::jsonb, path) IS NULL AS jsonb
  FROM doc, unnest(ARRAY[
	'$.nothing', '$.detail.deep.nothing.more', '$.version.length', '$.detail.nil.x',
	'$.resources[2]', '$.resources[4294967295]', '$.resources[4294967296]', '$.resources[99999999999999999999999]',
	'$.detail.l[0]', '$.detail.o[0]', '$.detail[0]', '$.version[0]', '$.resources.arn', '$.detail.nil',
	'$.Detail'
  ]) WITH ORDINALITY AS p(path, n) ORDER BY n;

-- [*]: the array of all matches in their order; none is nothing
SELECT path, json_input_path(j, path) AS json, input_path(j::jsonb, path) AS jsonb
  FROM doc, unnest(ARRAY[
	'$.resources[*]', '$.detail.deep.list[*]', '$.detail.deep.list[*].n', '$.detail.deep.list[*].k',
	'$.detail.deep.list[*].k[*]', '$.detail.deep.list[*].k[0]', '$.detail.matrix[*]', '$.detail.matrix[*][*]',
	'$.detail.matrix[*][0]', '$.detail.matrix[0][*]', '$.detail.l[*]', '$.detail.o[*]', '$.detail.deep.list[*].zzz',
	'$.nothing[*]', '$.version[*]', '$.detail.deep[*].list'
  ]) WITH ORDINALITY AS p(path, n) ORDER BY n;

-- the whole event; json keeps its order and numbers, and loses its white space
SELECT json_input_path('{"b" : [1.0, 1e5 , "a  b"],
	"a" : { }}', '$');
SELECT input_path('{"b" : [1.0, 1e5], "a" : { }}', '$');

-- an event need not be an object
SELECT json_input_path(e::json, '$') AS json, input_path(e::jsonb, '$') AS jsonb,
	   json_input_path(e::json, '$.a') AS json_a, input_path(e::jsonb, '$.a') AS jsonb_a
  FROM unnest(ARRAY['"text"', ' 12.0 ', 'null', 'true', '[1, 2]', '{}']) e;

-- of duplicate keys the last counts, with all that is in it
SELECT json_input_path('{"a": {"b": 1}, "a": {"c": 2}}', '$.a');
SELECT json_input_path('{"a": {"b": 1}, "a": {"c": 2}}', '$.a.b') IS NULL;
SELECT json_input_path('{"a": [{"b": 1, "b": 2}, {"b": 3}]}', '$.a[*].b');

-- keys spelt with escapes are the same keys
SELECT json_input_path('{"\u0064etail": {"a\/b": 1, "\u002d": 2, "x\u00e4": 3, "y\ud83d\ude00": 4}}', path)
  FROM unnest(ARRAY['$.detail.a/b', '$.detail.-', '$.detail.x', '$.detail.y']) path;

-- brackets and quotes within strings
SELECT json_input_path('{"x": "}]\"{[", "y": ["\\", "]"], "z": {"}": "\\\""}, "end": 1}', path)
  FROM unnest(ARRAY['$.x', '$.y', '$.y[1]', '$.z', '$.end']) path;

-- strict
SELECT input_path(NULL, '$') IS NULL, input_path('{}', NULL) IS NULL,
	   json_input_path(NULL, '$') IS NULL, json_input_path('{}', NULL) IS NULL;

-- a path from each row
SELECT path, input_path(j::jsonb, path)
  FROM doc, (VALUES ('$.version'), ('$.detail-type'), ('$.version'), ('$.version')) v(path);

-- what is no path
\set VERBOSITY default
CREATE FUNCTION pg_temp.fault(path text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	state text; message text; detail text;
BEGIN
	PERFORM eventbridge.input_path('{}', path);
	RETURN 'accepted';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL;
	RETURN concat_ws(' ', state, message, detail);
END $$;
SELECT pg_temp.fault(path)
  FROM unnest(ARRAY[
	'', 'detail.state', ' $.a', '$.', '$..a', '$a', '$.a.', '$.a ', '$.a b', '$[0]', '$.[0]', '$.a[', '$.a[]', '$.a[x]',
	'$.a[-1]', '$.a[1:2]', '$.a[0', '$.a[*', '$.a[?(@.b)]', '$.a[''key'']', '$.a["key"]', '$.*', '$.a*', '$.a@b',
	'$.ä', '$.a[0]b', '$$', '@.a'
  ]) WITH ORDINALITY AS p(path, n) ORDER BY n;
SELECT json_input_path('{}', 'detail');

-- AWS's limit of length
SELECT pg_temp.fault('$.' || repeat('a', 254)), pg_temp.fault('$.' || repeat('a', 255)),
	   pg_temp.fault('$.' || repeat('ä', 254));
SELECT input_path('{"a":{"a":{"a":1}}}', '$' || repeat('.a', 127)) IS NULL;
