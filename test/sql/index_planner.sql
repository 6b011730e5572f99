-- The planner: matches() uses indexes as the operators do; jsonb's own index
-- class helps where that is sound; estimates follow the data.
SET search_path = eventbridge, public;
SET client_min_messages = warning;
\getenv test_dir PG_ABS_SRCDIR
\set generator :test_dir '/tools/generate.sql'
\set ECHO none
\i :generator
\set ECHO all
RESET client_min_messages;

CREATE TABLE public.pl_events (id integer, event jsonb);
INSERT INTO pl_events
	SELECT i, jsonb_build_object('source', 'app.' || i % 10, 'account', (i * 7919)::text, 'n', i % 50,
		'detail', jsonb_build_object('state', CASE WHEN i % 4 = 0 THEN 'on' ELSE 'off' END, 'id', 'id-' || i))
	FROM generate_series(1, 5000) i;
ANALYZE pl_events;
CREATE TABLE public.pl_patterns (id integer, pattern event_pattern);
INSERT INTO pl_patterns SELECT i, jsonb_build_object('account', jsonb_build_array((i * 7919)::text)) FROM generate_series(1, 2000) i;
ANALYZE pl_patterns;

-- The functions use the indexes of our classes.
CREATE INDEX pl_events_index ON pl_events USING gin (event event_ops);
CREATE INDEX pl_patterns_index ON pl_patterns USING gin (pattern);
EXPLAIN (COSTS OFF) SELECT id FROM pl_events WHERE matches(event, '{"account": ["79190"]}');
EXPLAIN (COSTS OFF) SELECT id FROM pl_events WHERE event_pattern_matched_by('{"account": ["79190"]}', event);
EXPLAIN (COSTS OFF) SELECT id FROM pl_events WHERE '{"account": ["79190"]}' ~@ event;
EXPLAIN (COSTS OFF) SELECT id FROM pl_patterns WHERE matches('{"account": "79190"}', pattern);
EXPLAIN (COSTS OFF) SELECT id FROM pl_patterns WHERE event_pattern_matched_by(pattern, '{"account": "79190"}');
SELECT id FROM pl_events WHERE matches(event, '{"account": ["79190"]}');
SELECT id FROM pl_events WHERE event_pattern_matched_by('{"account": ["79190"]}', event);
SELECT id FROM pl_patterns WHERE matches('{"account": "79190"}', pattern);
SELECT id FROM pl_patterns WHERE event_pattern_matched_by(pattern, '{"account": "79190"}');
-- also with the schema not on the path
SET search_path = public;
EXPLAIN (COSTS OFF) SELECT id FROM pl_events WHERE eventbridge.matches(event, '{"account": ["79190"]}');
SET search_path = eventbridge, public;
-- in a join, and with NULL, and with a value that is not constant
EXPLAIN (COSTS OFF) SELECT count(*) FROM pl_events e JOIN pl_patterns p ON matches(e.event, p.pattern) WHERE p.id < 5;
SELECT count(*) FROM pl_events e JOIN pl_patterns p ON matches(e.event, p.pattern) WHERE p.id < 5;
SELECT count(*) FROM pl_events WHERE matches(event, NULL);
EXPLAIN (COSTS OFF) SELECT count(*) FROM pl_events WHERE matches(event, (random()::text)::event_pattern);
-- a pattern that selects much, or that the index cannot help
EXPLAIN (COSTS OFF) SELECT id FROM pl_events WHERE event @~ '{"source": [{"exists": true}]}';
EXPLAIN (COSTS OFF) SELECT id FROM pl_events WHERE event @~ '{"missing": [{"exists": false}]}';
EXPLAIN (COSTS OFF) SELECT id FROM pl_events WHERE event @~ '{"detail": {"id": [{"prefix": "id-17"}]}}';
-- a field that few events have
EXPLAIN (COSTS OFF) SELECT id FROM pl_events WHERE event @~ '{"rare": [{"exists": true}]}';
-- with keys for prefixes
CREATE INDEX pl_prefix_index ON pl_events USING gin (event event_ops (prefixes = on));
EXPLAIN (COSTS OFF) SELECT id FROM pl_events WHERE event @~ '{"detail": {"id": [{"prefix": "id-17"}]}}';
DROP INDEX pl_prefix_index;

-- Estimates: within a factor of three of what is there, or half a hundredth of the rows.
CREATE FUNCTION public.pl_estimate(condition text, relation text DEFAULT 'pl_events') RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	plan json;
BEGIN
	EXECUTE 'EXPLAIN (FORMAT JSON) SELECT FROM ' || relation || ' WHERE ' || condition INTO plan;
	RETURN (plan->0->'Plan'->>'Plan Rows')::bigint;
END $$;
CREATE FUNCTION public.pl_actual(condition text, relation text DEFAULT 'pl_events') RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	n bigint;
BEGIN
	EXECUTE format('SELECT count(*) FROM %s WHERE %s', relation, condition) INTO n;
	RETURN n;
END $$;
SELECT p AS pattern, pl_actual(c) AS actual, pl_estimate(c) BETWEEN pl_actual(c) / 3 - 25 AND pl_actual(c) * 3 + 25 AS good,
	pl_estimate(c) = pl_estimate(format('matches(event, %L)', p)) AS function_alike
FROM unnest(ARRAY[
	'{"source": ["app.1"]}', '{"source": ["app.1", "app.2"]}', '{"source": ["app.1"], "detail": {"state": ["on", "off"]}}', '{"account": ["79190"]}',
	'{"source": ["app.4"], "detail": {"state": ["on"]}, "n": [4]}', '{"detail": {"state": ["on"]}}', '{"detail": {"state": [{"anything-but": "on"}]}}', '{"detail": {"id": [{"prefix": "id-"}]}}',
	'{"missing": [{"exists": false}]}', '{"missing": [{"exists": true}]}', '{"n": [{"numeric": [">=", 10, "<", 20]}]}', '{"n": [{"numeric": ["<", 100]}]}', '{"$or": [{"source": ["app.1"]}, {"source": ["app.2"]}]}']) p,
	format('event @~ %L', p) c;
-- what no sample has: judged by what they do have
CREATE TABLE public.pl_spread AS
	SELECT jsonb_build_object('name', 'User ' || r % 400, 'amount', r % 20000 / 20.0, 'ip', format('10.%s.%s.7', r / 256 % 200, r % 256),
		'tags', jsonb_build_array('t' || r / 7 % 800, 't' || r / 11 % 800)) AS event
	FROM generate_series(1, 20000) i, LATERAL (SELECT ('x' || substr(md5(i::text), 1, 7))::bit(28)::integer AS r) r;
ANALYZE pl_spread;
SELECT p AS pattern, pl_actual(c, 'pl_spread') AS actual, pl_estimate(c, 'pl_spread') BETWEEN pl_actual(c, 'pl_spread') / 4 AND pl_actual(c, 'pl_spread') * 4 + 25 AS good
FROM unnest(ARRAY[
	'{"name": [{"equals-ignore-case": "USER 77"}]}', '{"name": ["User 77", "User 78"]}', '{"amount": [{"numeric": [">=", 100, "<", 101]}]}', '{"amount": [{"numeric": [">", 2000]}]}',
	'{"ip": [{"cidr": "10.7.0.0/18"}]}', '{"tags": ["t77"]}', '{"ip": ["10.37.141.7"]}', '{"name": ["User 77"], "amount": [{"numeric": ["<", 600]}]}']) p,
	format('event @~ %L', p) c;
-- what was kept of the samples is forgotten when they change
UPDATE pl_spread SET event = '{"name": "User 77", "n": 1}' WHERE event @~ '{"amount": [{"numeric": ["<", 500]}]}';
ANALYZE pl_spread;
SELECT p AS pattern, pl_estimate(format('event @~ %L', p), 'pl_spread') BETWEEN 9000 AND 11000 AS half
FROM unnest(ARRAY['{"name": ["User 77"]}', '{"n": [1]}', '{"amount": [{"exists": false}]}']) p;
DROP TABLE pl_spread;
-- without statistics
CREATE TABLE public.pl_new (event jsonb);
EXPLAIN (COSTS OFF) SELECT FROM pl_new WHERE event @~ '{"source": ["app.1"], "n": [{"exists": true}, 1]}';
DROP TABLE pl_new;
-- common values, NULLs and events that are no objects
CREATE TABLE public.pl_common AS
	SELECT CASE WHEN i % 4 = 0 THEN NULL WHEN i % 4 = 1 THEN '{"a": 1}' WHEN i % 4 = 2 THEN '{"a": 2}' ELSE '[]' END::jsonb AS event FROM generate_series(1, 1000) i;
ANALYZE pl_common;
SELECT pl_estimate($$event @~ '{"a": [1]}'$$, 'pl_common') AS rows_250;
SELECT pl_estimate($$event @~ '{"b": [{"exists": false}]}'$$, 'pl_common') AS rows_500;
DROP TABLE pl_common;
-- who may not read the column learns nothing of it
CREATE ROLE pl_nobody;
GRANT USAGE ON SCHEMA eventbridge TO pl_nobody;
CREATE VIEW public.pl_view WITH (security_barrier) AS SELECT event FROM pl_events WHERE id < 0;
GRANT SELECT ON pl_view TO pl_nobody;
SET ROLE pl_nobody;
EXPLAIN (COSTS OFF) SELECT FROM pl_view WHERE event @~ '{"source": ["app.1"]}';
RESET ROLE;
DROP VIEW pl_view;
REVOKE USAGE ON SCHEMA eventbridge FROM pl_nobody;
DROP ROLE pl_nobody;

-- jsonb's own classes: a condition is derived that finds all that the pattern
-- matches.  The pattern itself, not that condition, is the filter.
DROP INDEX pl_events_index, pl_patterns_index;
SET enable_seqscan = off;
CREATE INDEX pl_path_index ON pl_events USING gin (event jsonb_path_ops);
EXPLAIN (COSTS OFF) SELECT id FROM pl_events WHERE event @~ '{"account": ["79190"], "detail": {"id": ["id-10", "id-11"]}}';
EXPLAIN (COSTS OFF) SELECT id FROM pl_events WHERE matches(event, '{"account": ["79190"]}') OR matches(event, '{"account": ["7919"]}');
SELECT id FROM pl_events WHERE matches(event, '{"account": ["79190"]}') OR matches(event, '{"account": ["7919"]}');
-- an index of our own goes first
CREATE INDEX pl_own_index ON pl_events USING gin (event event_ops);
EXPLAIN (COSTS OFF) SELECT id FROM pl_events WHERE event @~ '{"account": ["79190"], "detail": {"id": ["id-10", "id-11"]}}';
DROP INDEX pl_own_index;
CREATE INDEX pl_own_index ON pl_events USING gin (event event_ops) WHERE id > 4000;
EXPLAIN (COSTS OFF) SELECT id FROM pl_events WHERE event @~ '{"account": ["79190"]}';
DROP INDEX pl_own_index;
-- deeper paths can be spelled with dots, which is another path for this class
SELECT * FROM generate.plan($$SELECT id FROM pl_events WHERE event @~ '{"detail": {"id": ["id-10"]}}'$$);
DROP INDEX pl_path_index;
CREATE INDEX pl_jsonb_index ON pl_events USING gin (event);
EXPLAIN (COSTS OFF) SELECT id FROM pl_events WHERE event @~ '{"account": ["79190"], "detail": {"id": ["id-10", "id-11"], "state": [{"prefix": "o"}]}}';
EXPLAIN (COSTS OFF) SELECT id FROM pl_events WHERE matches(event, '{"$or": [{"account": ["79190"]}, {"n": [-1.50, true, null], "detail": {"x": [{"exists": false}]}}]}');
-- nothing is implied
SELECT * FROM generate.plan($$SELECT id FROM pl_events WHERE event @~ '{"$or": [{"account": ["79190"]}, {"n": [{"numeric": [">", 5]}]}]}'$$);
SELECT * FROM generate.plan($$SELECT id FROM pl_events WHERE event @~ '{"a": ["10.0.0.1"], "b": [{"equals-ignore-case": "x"}], "c": ["x", {"prefix": "y"}], "d": ["x", {"exists": false}]}'$$);
SELECT id FROM pl_events WHERE event @~ '{"account": ["79190"], "detail": {"id": ["id-10", "id-11"]}}';
SELECT count(*) FROM pl_events WHERE event @~ '{"source": ["app.1"], "n": [1, 11.0]}';

-- What makes derived conditions go wrong: dots, arrays of arrays, quotes.
CREATE TABLE public.pl_odd (event jsonb);
INSERT INTO pl_odd VALUES ('{"a": {"b": "x"}}'), ('{"a.b": "x"}'), ('{"a": [[[["x"]]]]}'), ('{"a": [[{"b": [["x"]]}], 1]}'), ('{"a": ["y", ["x"]]}'), ('{"a": "x"}'),
	('{"a": -1.5}'), ('{"a": [[-1.50]]}'), ('{"a": [[true], null]}'), ('{"q\"\\ü": "v\"\\ü\u0001"}'), ('{"": "x"}'), ('[]'), ('"x"'), ('{"a": {}}'), ('{"a": [{"c": "x"}]}');
CREATE INDEX pl_odd_index ON pl_odd USING gin (event);
-- an array twenty levels deep
INSERT INTO pl_odd SELECT ('{"a": ' || repeat('[', 20) || '"deep"' || repeat(']', 20) || '}')::jsonb;
SELECT p AS pattern, (SELECT count(*) FROM pl_odd WHERE event @~ p::event_pattern) AS found, array_agg(event ORDER BY event) FILTER (WHERE generate.matches(event, p::event_pattern)) AS expected
FROM pl_odd, unnest(ARRAY['{"a": {"b": ["x"]}}']) p GROUP BY p;
CREATE FUNCTION public.pl_both(pattern text) RETURNS TABLE (by_index bigint, by_scan bigint) LANGUAGE plpgsql AS $$
DECLARE
	line text;
	indexed boolean := false;
BEGIN
	SET LOCAL enable_seqscan = off;
	SET LOCAL enable_bitmapscan = on;
	FOR line IN EXECUTE format('EXPLAIN SELECT count(*) FROM pl_odd WHERE event @~ %L', pattern) LOOP
		indexed := indexed OR line ~ 'Index Scan';
	END LOOP;
	IF indexed THEN
		EXECUTE format('SELECT count(*) FROM pl_odd WHERE event @~ %L', pattern) INTO by_index;
	END IF;
	SET LOCAL enable_bitmapscan = off;
	EXECUTE format('SELECT count(*) FROM pl_odd WHERE event @~ %L', pattern) INTO by_scan;
	RETURN NEXT;
END $$;
SELECT p AS pattern, f.* FROM unnest(ARRAY['{"a": {"b": ["x"]}}', '{"a": ["x"]}', '{"a": ["x", "y"]}', '{"a": [-1.5]}', '{"a": [true]}', '{"a": [null]}', '{"q\"\\ü": ["v\"\\ü\u0001"]}', '{"": ["x"]}', '{"a": ["1"]}', '{"a.c": ["x"]}', '{"a": ["deep"]}']) p, pl_both(p) f;
DROP INDEX pl_odd_index;
CREATE INDEX pl_odd_index ON pl_odd USING gin (event jsonb_path_ops);
SELECT p AS pattern, f.* FROM unnest(ARRAY['{"a": {"b": ["x"]}}', '{"a": ["x"]}', '{"a": ["x", "y"]}', '{"a": [-1.5]}', '{"a": [true]}', '{"a": [null]}', '{"q\"\\ü": ["v\"\\ü\u0001"]}', '{"": ["x"]}', '{"a": ["1"]}', '{"a.c": ["x"]}', '{"a": ["deep"]}']) p, pl_both(p) f;

-- Generated patterns and events, through the derived conditions.
CREATE TABLE public.pl_generated AS SELECT i AS id, generate.event('derive/' || i) AS event FROM generate_series(1, 300) i;
CREATE INDEX pl_generated_index ON pl_generated USING gin (event);
CREATE FUNCTION public.pl_differences() RETURNS TABLE (patterns bigint, by_index bigint, differences bigint) LANGUAGE plpgsql AS $$
DECLARE
	pattern event_pattern;
	line text;
	found integer[];
	expected integer[];
	uses boolean;
BEGIN
	patterns := 0; by_index := 0; differences := 0;
	FOR i IN 1 .. 300 LOOP
		pattern := generate.pattern('derive/' || i);
		uses := false;
		SET LOCAL enable_bitmapscan = on;
		FOR line IN EXECUTE format('EXPLAIN SELECT id FROM pl_generated WHERE event @~ %L', pattern) LOOP
			uses := uses OR line ~ 'Index Scan';
		END LOOP;
		EXECUTE format('SELECT array_agg(id ORDER BY id) FROM pl_generated WHERE event @~ %L', pattern) INTO found;
		EXECUTE format('SELECT array_agg(id ORDER BY id) FROM pl_generated WHERE generate.matches(event, %L)', pattern) INTO expected;
		patterns := patterns + 1;
		by_index := by_index + uses::integer;
		differences := differences + (found IS DISTINCT FROM expected)::integer;
	END LOOP;
	RETURN NEXT;
END $$;
SET enable_seqscan = off;
SELECT patterns, by_index > 30 AS enough, differences FROM pl_differences();
DROP INDEX pl_generated_index;
CREATE INDEX pl_generated_index ON pl_generated USING gin (event jsonb_path_ops);
SELECT patterns, by_index > 20 AS enough, differences FROM pl_differences();
-- so many rows that the bitmap forgets which, and whole pages are rechecked
CREATE TABLE public.pl_many AS
	SELECT i AS id, CASE i % 3 WHEN 0 THEN '{"a": [[[["x"]]]]}' WHEN 1 THEN '{"a": "x", "b": 1}' ELSE '{"a": "y"}' END::jsonb AS event, repeat('-', 400) AS filler
	FROM generate_series(1, 30000) i;
CREATE INDEX pl_many_index ON pl_many USING gin (event jsonb_path_ops);
SET work_mem = '64kB';
SELECT count(*) FROM pl_many WHERE event @~ '{"a": ["x"]}';
RESET work_mem;
DROP TABLE pl_many;

DROP TABLE pl_events, pl_patterns, pl_odd, pl_generated;
DROP FUNCTION pl_estimate(text, text), pl_actual(text, text), pl_both(text), pl_differences();
SET client_min_messages = warning;
DROP SCHEMA generate CASCADE;
