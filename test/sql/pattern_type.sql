-- The type: input and output, equality, casts, where it can be used.
SET search_path = eventbridge, public;

-- canonical text: spaces, escapes, spelling of numbers, order and spelling of fields
SELECT '{"b":["x"],  "a":[1.50, 1e2, -0.0, 1e300]}'::event_pattern;
SELECT '{"\u0061":["\u00e9\n"]}'::event_pattern;
SELECT '{"detail.state":["x"],"detail":{"id":["y"]},"detail":{"a":{"b":[null,true]}}}'::event_pattern;
SELECT '{"a":["x"],"a.b":["y"],"a":{"c":{"d":["z"]}}}'::event_pattern;
SELECT '{"a":[1],"a":[2]}'::event_pattern;
-- with $or the order of fields can matter, so it stays
SELECT '{"b":[1],"$or":[{"z":[1]},{"y.x":[2]}],"a":[1]}'::event_pattern;

-- equality, hash and text agree
CREATE TEMP TABLE spelled (p event_pattern);
INSERT INTO spelled VALUES
('{"a":[1],"b":{"c":["x"]}}'), ('{"b.c":["x"],"a":[1.0]}'), ('{"b":{"c":["\u0078"]},"a":[10e-1]}'),
('{"a":[2],"b":{"c":["x"]}}'), ('{"a":[1],"b":{"c":["x","y"]}}'), ('{"a":["1"],"b":{"c":["x"]}}');
SELECT count(*) AS wrong FROM spelled x, spelled y
WHERE (x.p = y.p) <> (x.p::text = y.p::text)
   OR (x.p = y.p) <> (event_pattern_hash(x.p) = event_pattern_hash(y.p))
   OR (x.p = y.p) <> (event_pattern_hash_extended(x.p, 7) = event_pattern_hash_extended(y.p, 7))
   OR (x.p <> y.p) = (x.p = y.p)
   OR x.p::text::event_pattern <> x.p;
SELECT p, count(*) FROM spelled GROUP BY p ORDER BY p::text;
SELECT count(*) AS wrong FROM spelled x, spelled y
WHERE (x.p < y.p) <> (x.p::text COLLATE "C" < y.p::text) OR (x.p <= y.p) <> (x.p < y.p OR x.p = y.p)
   OR (x.p > y.p) <> (y.p < x.p) OR (x.p >= y.p) <> (y.p <= x.p);
SELECT DISTINCT p FROM spelled WHERE p = '{"a":[1],"b.c":["x"]}';

-- casts: on assignment
CREATE TEMP TABLE kept (p event_pattern, j jsonb);
INSERT INTO kept (p) VALUES ('{"a":[1]}'::jsonb), ('{"a":{"b":[1]},"a":{"c":[2]}}'::json);
UPDATE kept SET j = p;
SELECT * FROM kept ORDER BY p::text;
SELECT '{"a":{"b":[1]},"a":{"c":[2]}}'::jsonb::event_pattern AS jsonb_keeps_the_last;
SELECT '{"a":[1]}'::jsonb = '{"a":[1]}' AS unambiguous;
-- jsonb keeps neither order nor repetition; with $or they can matter
SELECT '{"$or":[{"b":[1]},{"a":[2]}],"a":[1],"c":[3]}'::event_pattern::jsonb;
SELECT '{"a":[1],"$or":[{"b":[1]},{"a":[2]}],"c":[3]}'::event_pattern::jsonb;
SELECT '{"$or":[{"a":[1]},{"b":[2]}],"$or":[{"c":[1]},{"d":[2]}]}'::event_pattern::jsonb;

-- binary form
CREATE TEMP TABLE received (p event_pattern);
\set file `mktemp /tmp/eventbridge_pattern.XXXXXX`
\setenv EB_FILE :file
\set save '\\copy spelled TO ' :'file' ' (FORMAT binary)'
\set load '\\copy received FROM ' :'file' ' (FORMAT binary)'
:save
:load
\! rm -f $EB_FILE
SELECT count(*) AS received, bool_and(p IN (SELECT p FROM spelled)) AS equal FROM received;

-- a pattern is a value: constraint, partial index, policy
CREATE TEMP TABLE stored (id int, event jsonb CHECK (event @~ '{"source":[{"exists":true}]}'));
INSERT INTO stored SELECT i, jsonb_build_object('source', 's' || i % 3, 'n', i) FROM generate_series(1, 9) i;
INSERT INTO stored VALUES (10, '{"n": 10}');
CREATE INDEX ON stored (id) WHERE event @~ '{"source":["s1"]}';
SELECT array_agg(id ORDER BY id) FROM stored WHERE matches(event, '{"source":["s1"],"n":[{"numeric":[">",1]}]}');
SELECT p, array_agg(id ORDER BY id) FROM stored, (VALUES ('{"source":["s0"]}'::event_pattern), ('{"n":[2,3]}')) v(p)
WHERE p ~@ event GROUP BY p ORDER BY p::text;

-- a large pattern is stored out of line and read back
CREATE TEMP TABLE large (p event_pattern);
INSERT INTO large SELECT jsonb_build_object('a', jsonb_agg('value ' || md5(i::text)))::event_pattern FROM generate_series(1, 5000) i;
SELECT length(p::text) > 100000 AS long, matches(jsonb_build_object('a', 'value ' || md5('4711')), p) AS yes,
       matches('{"a":"value"}', p) AS no
FROM large;

-- a field name that people confuse
SELECT '{"detailType":["x"]}'::event_pattern;

-- what the catalogs say
SELECT proname, provolatile, proisstrict, proparallel
FROM pg_proc WHERE pronamespace = 'eventbridge'::regnamespace
  AND proname IN ('matches', 'event_pattern_matched_by', 'check_event_pattern', 'test_event_pattern', 'explain_match', 'event_pattern_from', 'event_pattern_in', 'event_pattern_from_json', 'event_pattern_from_jsonb', 'event_pattern_to_jsonb')
  AND NOT (provolatile = 'i' AND (proisstrict OR pronargdefaults > 0) AND proparallel = 's') AND prokind = 'f'
ORDER BY proname;
