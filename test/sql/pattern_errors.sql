-- What is refused, with which words, and where.
SET search_path = eventbridge, public;

CREATE TEMP TABLE faults (id int GENERATED ALWAYS AS IDENTITY, pattern text, message text, path text);
INSERT INTO faults (pattern, message, path) VALUES
('{"a": 42}', '"a" must be an object or an array', '$.a'),
('{"a": "x"}', '"a" must be an object or an array', '$.a'),
('{"a": null}', '"a" must be an object or an array', '$.a'),
('{"a": {"b c": true}}', '"b c" must be an object or an array', '$.a["b c"]'),
('{"a": []}', 'Empty arrays are not allowed', '$.a'),
('{}', 'Empty objects are not allowed', '$'),
('{"a": {}}', 'Empty objects are not allowed', '$.a'),
('[1]', 'Filter is not an object', '$'),
('"x"', 'Filter is not an object', '$'),
('null', 'Filter is not an object', '$'),
('7', 'Filter is not an object', '$'),
('', 'Filter is not an object', '$'),
('   ', 'Filter is not an object', '$'),
('{"a": [["x"]]}', 'Match value must be String, number, true, false, or null', '$.a[0]'),
('{"a": ["x", {}]}', 'Match expression name not found', '$.a[1]'),
('{"a": [{"EXISTS": true}]}', 'Unrecognized match type EXISTS', '$.a[0]'),
('{"a": [{"b": ["x"]}]}', 'Unrecognized match type b', '$.a[0]'),
('{"a": [{"startsWith": "x"}]}', 'Unrecognized match type startsWith', '$.a[0]'),
('{"a": [{"prefix": "a", "suffix": "b"}]}', 'Only one key allowed in match expression', '$.a[0]'),
('{"a": [{"numeric": ["=", 1], "prefix": "a"}]}', 'Too many elements in numeric expression', '$.a[0]'),
('{"a": [{"anything-but": "a", "prefix": "b"}]}', 'Too many elements in numeric expression', '$.a[0]'),
('{"a": [{"exactly": 1}]}', 'exact match pattern must be a string', '$.a[0]'),
('{"a": [{"prefix": 1}]}', 'prefix match pattern must be a string', '$.a[0]'),
('{"a": [{"prefix": ["x"]}]}', 'prefix match pattern must be a string', '$.a[0]'),
('{"a": [{"suffix": null}]}', 'suffix match pattern must be a string', '$.a[0]'),
('{"a": [{"suffix": ["x"]}]}', 'suffix match pattern must be a string', '$.a[0]'),
('{"a": [{"prefix": {}}]}', 'Prefix expression name not found', '$.a[0]'),
('{"a": [{"suffix": {}}]}', 'Suffix expression name not found', '$.a[0]'),
('{"a": [{"prefix": {"x": "a"}}]}', 'Unsupported prefix pattern: x', '$.a[0]'),
('{"a": [{"suffix": {"x": "a"}}]}', 'Unsupported suffix pattern: x', '$.a[0]'),
('{"a": [{"prefix": {"equals-ignore-case": 1}}]}', 'equals-ignore-case match pattern must be a string', '$.a[0]'),
('{"a": [{"suffix": {"equals-ignore-case": "x", "y": 1}}]}', 'Only one key allowed in match expression', '$.a[0]'),
('{"a": [{"equals-ignore-case": ["x"]}]}', 'equals-ignore-case match pattern must be a string', '$.a[0]'),
('{"a": [{"wildcard": 1}]}', 'wildcard match pattern must be a string', '$.a[0]'),
('{"a": [{"wildcard": "a**b"}]}', 'Consecutive wildcard characters at pos 2', '$.a[0]'),
('{"a": [{"wildcard": "a\\x"}]}', 'Invalid escape character at pos 2', '$.a[0]'),
('{"a": [{"wildcard": "ab\\"}]}', 'Invalid escape character at pos 3', '$.a[0]'),
('{"a": [{"wildcard": "*:*:*:*:*:event-bus/*"}]}', 'Rule is too complex - try using fewer wildcard characters or fewer repeating character sequences after a wildcard character', '$.a'),
('{"a": [{"wildcard": "*aaaaaaaaaaaaaaaa*"}]}', 'Rule is too complex - try using fewer wildcard characters or fewer repeating character sequences after a wildcard character', '$.a'),
('{"a": {"b": [{"anything-but": {"wildcard": ["x", "*b*b*b*b*b*b*b*"]}}]}}', 'Rule is too complex - try using fewer wildcard characters or fewer repeating character sequences after a wildcard character', '$.a.b'),
('{"a": [{"exists": "true"}]}', 'exists match pattern must be either true or false.', '$.a[0]'),
('{"a": [{"exists": 1}]}', 'exists match pattern must be either true or false.', '$.a[0]'),
('{"a": [{"numeric": 10}]}', 'Value of numeric must be an array.', '$.a[0]'),
('{"a": [{"numeric": "> 5"}]}', 'Value of numeric must be an array.', '$.a[0]'),
('{"a": [{"numeric": [1]}]}', 'Invalid member in numeric match: 1', '$.a[0]'),
('{"a": [{"numeric": []}]}', 'Invalid member in numeric match: ]', '$.a[0]'),
('{"a": [{"numeric": [{"x": 1}]}]}', 'Invalid member in numeric match: {', '$.a[0]'),
('{"a": [{"numeric": ["!", 1]}]}', 'Unrecognized numeric range operator: !', '$.a[0]'),
('{"a": [{"numeric": ["=", "1"]}]}', 'Value of equals must be numeric', '$.a[0]'),
('{"a": [{"numeric": [">="]}]}', 'Value of >= must be numeric', '$.a[0]'),
('{"a": [{"numeric": [">", "1"]}]}', 'Value of > must be numeric', '$.a[0]'),
('{"a": [{"numeric": ["<=", null]}]}', 'Value of <= must be numeric', '$.a[0]'),
('{"a": [{"numeric": ["<", true]}]}', 'Value of < must be numeric', '$.a[0]'),
('{"a": [{"numeric": [">", 0, ">", 0]}]}', 'Bad numeric range operator: >', '$.a[0]'),
('{"a": [{"numeric": [">", 0, "<"]}]}', 'Value of < must be numeric', '$.a[0]'),
('{"a": [{"numeric": [">", 1, 2]}]}', 'Bad value in numeric range: 2', '$.a[0]'),
('{"a": [{"numeric": [">", 1, "<", 2, "<", 3]}]}', 'Too many terms in numeric range expression', '$.a[0]'),
('{"a": [{"numeric": ["<", 1, ">", 0]}]}', 'Too many elements in numeric expression', '$.a[0]'),
('{"a": [{"numeric": ["=", 1, 2]}]}', 'Too many elements in numeric expression', '$.a[0]'),
('{"a": [{"numeric": [">", 5, "<", 1]}]}', 'Bottom must be less than top', '$.a[0]'),
('{"a": [{"numeric": [">=", 5, "<=", 5]}]}', 'Bottom must be less than top', '$.a[0]'),
('{"a": [{"numeric": ["=", 12345678901234567890]}]}', 'Cannot compare number : 12345678901234567890', '$.a[0]'),
('{"a": [{"anything-but": [1, 1e400]}]}', 'Cannot compare number : 1e400', '$.a[0]'),
('{"a": [1e20000]}', 'Cannot compare number : 1e20000', '$.a[0]'),
('{"a": [{"anything-but": null}]}', 'Value of anything-but must be an array or single string/number value.', '$.a[0]'),
('{"a": [{"anything-but": {"prefix": {"equals-ignore-case": "x"}}}]}', 'Value of anything-but must be an array or single string/number value.', '$.a[0]'),
('{"a": [{"anything-but": ["x", null]}]}', 'Inside anything but list, start|null|boolean is not supported.', '$.a[0]'),
('{"a": [{"anything-but": ["x", 1]}]}', 'Inside anything but list, either all values are number or string, mixed type is not supported', '$.a[0]'),
('{"a": [{"anything-but": []}]}', 'Inside anything but list, either all values are number or string, mixed type is not supported', '$.a[0]'),
('{"a": [{"anything-but": {}}]}', 'Anything-But expression name not found', '$.a[0]'),
('{"a": [{"anything-but": {"numeric": [">", 1]}}]}', 'Unsupported anything-but pattern: numeric', '$.a[0]'),
('{"a": [{"anything-but": {"prefix": "x", "suffix": "y"}}]}', 'Too many elements in numeric expression', '$.a[0]'),
('{"a": [{"anything-but": {"equals-ignore-case": 123}}]}', 'Inside anything-but/equals-ignore-case list, number|start|null|boolean is not supported.', '$.a[0]'),
('{"a": [{"anything-but": {"prefix": 123}}]}', 'prefix/suffix match pattern must be a string', '$.a[0]'),
('{"a": [{"anything-but": {"suffix": [null, "x"]}}]}', 'prefix/suffix match pattern must be a string', '$.a[0]'),
('{"a": [{"anything-but": {"prefix": ""}}]}', 'Null prefix/suffix not allowed', '$.a[0]'),
('{"a": [{"anything-but": {"suffix": ["x", ""]}}]}', 'Null prefix/suffix not allowed', '$.a[0]'),
('{"a": [{"anything-but": {"wildcard": 1}}]}', 'wildcard match pattern must be a string', '$.a[0]'),
('{"a": [{"anything-but": {"prefix": []}}]}', 'Empty arrays are not allowed', '$.a[0]'),
('{"a": [{"cidr": ["10.0.0.0/8"]}]}', 'prefix match pattern must be a string', '$.a[0]'),
('{"a": [{"cidr": "bad"}]}', 'Malformed CIDR, one ''/'' required', '$.a[0]'),
('{"a": [{"cidr": "10.0.0.0/"}]}', 'Malformed CIDR, one ''/'' required', '$.a[0]'),
('{"a": [{"cidr": "10.0.0.0/8/9"}]}', 'Malformed CIDR, one ''/'' required', '$.a[0]'),
('{"a": [{"cidr": "bad-/64filter"}]}', 'Malformed CIDR, mask bits must be an integer', '$.a[0]'),
('{"a": [{"cidr": "10.0.0.0/8.5"}]}', 'Malformed CIDR, mask bits must be an integer', '$.a[0]'),
('{"a": [{"cidr": "10.0.0.0/-1"}]}', 'Malformed CIDR, mask bits must not be negative', '$.a[0]'),
('{"a": [{"cidr": "10.0.0.0/32"}]}', 'IPv4 mask bits must be < 32', '$.a[0]'),
('{"a": [{"cidr": "2001:db8::/128"}]}', 'IPv6 mask bits must be < 128', '$.a[0]'),
('{"a": [{"cidr": "xx.11.xx/8"}]}', 'Nonstandard IP address: xx.11.xx', '$.a[0]'),
('{"a": [{"cidr": "10.0.0/8"}]}', 'Nonstandard IP address: 10.0.0', '$.a[0]'),
('{"a": [{"cidr": "10.0.0.256/8"}]}', 'Invalid IP address: 10.0.0.256', '$.a[0]'),
('{"a": [{"cidr": "1:2:3::4::5/8"}]}', 'Invalid IP address: 1:2:3::4::5', '$.a[0]'),
-- $or where it is no operator is a field
('{"$or":[{"x":["1"]}],"y":["2"]}', 'Unrecognized match type x', '$.$or[0]'),
('{"$or":[]}', 'Empty arrays are not allowed', '$.$or'),
('{"$or":[{"x":["1"]},{}]}', 'Unrecognized match type x', '$.$or[0]'),
('{"$or":{"x":"1"}}', '"x" must be an object or an array', '$.$or.x'),
('{"$or":[{"x":["1"]},{"y":"2"}]}', '"y" must be an object or an array', '$.y'),
-- the text is no JSON
('this is no JSON', 'Unrecognized token ''this'': was expecting (JSON String, Number, Array, Object or token ''null'', ''true'' or ''false'')', '$'),
('{''a'': ["x"]}', 'Unexpected character ('''''' (code 39)): was expecting double-quote to start field name', '$'),
('{a: ["x"]}', 'Unexpected character (''a'' (code 97)): was expecting double-quote to start field name', '$'),
('{"a": ["x",]}', 'Unexpected character ('']'' (code 93)): expected a valid value (JSON String, Number, Array, Object or token ''null'', ''true'' or ''false'')', '$.a[1]'),
('{"a": ["x"],}', 'Unexpected character (''}'' (code 125)): was expecting double-quote to start field name', '$'),
('{"a" ["x"]}', 'Unexpected character (''['' (code 91)): was expecting a colon to separate field name and value', '$'),
('{"a": ["x" "y"]}', 'Unexpected character (''"'' (code 34)): was expecting comma to separate Array entries', '$.a[1]'),
('{"a": ["x"] "b": ["y"]}', 'Unexpected character (''"'' (code 34)): was expecting comma to separate Object entries', '$'),
('{"a": [01]}', 'Invalid numeric value: Leading zeroes not allowed', '$.a[0]'),
('{"a": [-01]}', 'Invalid numeric value: Leading zeroes not allowed', '$.a[0]'),
('{"a": [1.]}', 'Unexpected character ('']'' (code 93)) in numeric value: Decimal point not followed by a digit', '$.a[0]'),
('{"a": [2e, 3]}', 'Unexpected character ('','' (code 44)) in numeric value: Exponent indicator not followed by a digit', '$.a[0]'),
('{"a": [-]}', 'Unexpected character ('']'' (code 93)) in numeric value: expected digit (0-9) to follow minus sign, for valid numeric value', '$.a[0]'),
('{"a": [-', 'Unexpected end-of-input', '$.a[0]'),
('{"a": [1x]}', 'Unrecognized token ''1x''', '$.a[0]'),
('{"a": ["x"]', 'Unexpected end-of-input: expected close marker for Object', '$'),
('{"a": ["x', 'Unexpected end-of-input: was expecting closing quote for a string value', '$.a[0]'),
('{"a": ["x"]} x', 'Unrecognized token ''x'': was expecting (JSON String, Number, Array, Object or token ''null'', ''true'' or ''false'')', '$'),
(E'{"a": ["x\ny"]}', 'Illegal unquoted character ((CTRL-CHAR, code 10)): has to be escaped using backslash to be included in string value', '$.a[0]'),
('{"a": ["\q"]}', 'Unrecognized character escape', '$.a[0]'),
('{"a": ["\u0000"]}', '\u0000 cannot be converted to text', '$.a[0]'),
(E'{"a": ["x"] # comment\n}', 'Unexpected character (''#'' (code 35)): was expecting comma to separate Object entries', '$'),
(E'{ // comment\n"a": ["x"]}', 'Unexpected character (''/'' (code 47)): was expecting double-quote to start field name', '$'),
-- of several faults, the first in the text
('{"a": "x", "b": []}', '"a" must be an object or an array', '$.a'),
('{"a": [{"prefix": 1}], ', 'prefix match pattern must be a string', '$.a[0]');

SELECT f.id, f.pattern, f.message AS expected, c.message, f.path AS expected_path, c.path
FROM faults f LEFT JOIN LATERAL check_event_pattern(f.pattern) c ON true
WHERE (f.message, f.path) IS DISTINCT FROM (c.message, c.path);
SELECT count(*) FROM faults;

-- a valid pattern has no row
SELECT * FROM check_event_pattern('{"a": ["x"]}');
-- line and column, in characters
SELECT line_number, column_number FROM check_event_pattern(E'{\n  "é": ["é", {"prefix": 1}]\n}');

-- as errors, with detail and hint
SELECT '{"source": "aws.ec2"}'::event_pattern;
SELECT '{"source": 5}'::event_pattern;
SELECT '{"source": []}'::event_pattern;
SELECT '{"detail": [{"state": ["x"]}]}'::event_pattern;
SELECT '{"a": [{"EXISTS": true}]}'::event_pattern;
SELECT '{"a": [{"startsWith": "x"}]}'::event_pattern;
SELECT '{"a": [{"prefix": ["x", "y"]}]}'::event_pattern;
SELECT '{"a": [{"suffix": ["x", "y"]}]}'::event_pattern;
SELECT '{"a": [{"prefix": {"x": "y"}}]}'::event_pattern;
SELECT '{"a": [{"exists": "true"}]}'::event_pattern;
SELECT '{"a": [{"numeric": "> 5"}]}'::event_pattern;
SELECT '{"a": [{"numeric": 5}]}'::event_pattern;
SELECT '{"a": [{"numeric": ["=", "5"]}]}'::event_pattern;
SELECT '{"a": [{"numeric": ["<", 1, ">", 0]}]}'::event_pattern;
SELECT '{"a": [{"numeric": [5]}]}'::event_pattern;
SELECT '{"a": [{"numeric": ["==", 5]}]}'::event_pattern;
SELECT '{"a": [{"numeric": [">", 5, "<", 1]}]}'::event_pattern;
SELECT '{"a": [{"numeric": [">", 5, ">", 7]}]}'::event_pattern;
SELECT '{"a": [{"numeric": ["=", 12345678901234567890]}]}'::event_pattern;
SELECT '{"a": [{"anything-but": null}]}'::event_pattern;
SELECT '{"a": [{"anything-but": ["x", 1]}]}'::event_pattern;
SELECT '{"a": [{"anything-but": {"exists": true}}]}'::event_pattern;
SELECT '{"a": [{"anything-but": {"prefix": ""}}]}'::event_pattern;
SELECT '{"a": [{"cidr": "10.0.0.1/32"}]}'::event_pattern;
SELECT '{"a": [{"cidr": "10.0.0.1"}]}'::event_pattern;
SELECT '{"a": [{"wildcard": "a**"}]}'::event_pattern;
SELECT '{"a": [{"wildcard": "a\\b"}]}'::event_pattern;
SELECT '{"a": [{"prefix": "a", "suffix": "b"}]}'::event_pattern;
SELECT '{"a": [["x"]]}'::event_pattern;
SELECT '{"a": [{"equals-ignore-case": ["x"]}]}'::event_pattern;
SELECT '"{\"a\": [1]}"'::event_pattern;
SELECT '[{"a": [1]}]'::event_pattern;
SELECT '5'::event_pattern;
SELECT '{"a": ["x",]}'::event_pattern;
SELECT E'{\n  "a": ["x"], # note\n  "b": ["y"]\n}'::event_pattern;
SELECT E'{\n  /* note */ "a": ["x"]\n}'::event_pattern;
SELECT '{''a'': ["x"]}'::event_pattern;
SELECT '{a: ["x"]}'::event_pattern;
SELECT '{"a": ["x"'::event_pattern;
SELECT '{"a": ["x"]} }'::event_pattern;
SELECT '{"a": ["x'::event_pattern;
SELECT '{"a": ["\q"]}'::event_pattern;
SELECT '{"a": ['::event_pattern;
SELECT E'{"a": ["\t"]}'::event_pattern;

SELECT '{"a": ["x"}'::event_pattern;
SELECT '{"a": {"b": ["x"]'::event_pattern;
SELECT '{"a": {"b": ["x"]]'::event_pattern;
SELECT '{"a":}'::event_pattern;
SELECT '{"a": [True]}'::event_pattern;
SELECT '{"a": [None]}'::event_pattern;
SELECT '{"a": ["x", y]}'::event_pattern;
SELECT '{"a": ["x"]};'::event_pattern;
SELECT 'a: [x]'::event_pattern;
SELECT '{"$or": [{"a": ["x"]}]}'::event_pattern;
SELECT '{"a": [{"exist": true}]}'::event_pattern;
-- SQLSTATE: what is no JSON, what is JSON and no pattern, what exceeds a limit
CREATE FUNCTION pg_temp.sqlstate_of(pattern text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	PERFORM pattern::eventbridge.event_pattern;
	RETURN 'none';
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE;
END $$;
SELECT pg_temp.sqlstate_of('{"a"'), pg_temp.sqlstate_of('{"a":1}'),
       pg_temp.sqlstate_of('{"a":[{"wildcard":"*a*a*a*a*a*a*a*a"}]}'), pg_temp.sqlstate_of('{"a":[1]}');

-- binary input is checked as text is
CREATE TEMP TABLE received (p event_pattern);
\set file `mktemp /tmp/eventbridge_recv.XXXXXX`
\setenv EB_FILE :file
\set load '\\copy received FROM ' :'file' ' (FORMAT binary)'
\! printf 'PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0\0\0\1\0\0\0\12\1{"a":[1]}\377\377' > $EB_FILE
:load
\! printf 'PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0\0\0\1\0\0\0\12\2{"a":[1]}\377\377' > $EB_FILE
:load
\! printf 'PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0\0\0\1\0\0\0\10\1{"a":1}\377\377' > $EB_FILE
:load
\! rm -f $EB_FILE
SELECT * FROM received;

-- AWS's TestEventPattern
\set event '{"id":"1","account":"123456789012","source":"s","time":"2024-01-01T00:00:00Z","region":"us-east-1","detail-type":"t","detail":{"a":1}}'
SELECT test_event_pattern('{"detail":{"a":[1]}}', :'event'), test_event_pattern('{"detail":{"a":[2]}}', :'event');
SELECT test_event_pattern('{"detail":{"a":1}}', :'event');
SELECT test_event_pattern('{"detail":{"a":[1]}}', '{"detail":{"a":1}}');
SELECT test_event_pattern('{"detail":{"a":[1]}}', '"text"');
SELECT test_event_pattern('{"detail":{"a":[1]}}', '[]');
SELECT test_event_pattern('{"detail":{"a":[1]}}', 'no json');
