-- GIN operator class event_ops: the index finds what the matcher finds.
SET search_path = eventbridge, public;
SET client_min_messages = warning;
\getenv test_dir PG_ABS_SRCDIR
\set generator :test_dir '/tools/generate.sql'
\set ECHO none
\i :generator
\set ECHO all
RESET client_min_messages;

-- the pending list is ours to clean
CREATE TABLE public.io_events (id integer, event jsonb) WITH (autovacuum_enabled = off);
INSERT INTO io_events SELECT i, generate.event('index/' || i) FROM generate_series(1, 600) i;
INSERT INTO io_events VALUES (601, NULL), (602, '{}'), (603, '[]'), (604, '"x"'), (605, '[{"a": "x"}]');
CREATE TABLE public.io_patterns AS
	SELECT i AS id, generate.pattern('index/' || i) AS pattern FROM generate_series(1, 400) i;

-- What the matcher says, without an index.
CREATE TABLE public.io_expected AS
	SELECT p.id AS pattern, e.id AS event
	FROM io_patterns p, io_events e WHERE generate.matches(e.event, p.pattern);
SELECT count(*) > 5000 AS enough FROM io_expected;

-- The same by index; both results have the same rows.
CREATE FUNCTION public.io_differences() RETURNS bigint LANGUAGE sql
	SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
	WITH found AS (
		SELECT p.id AS pattern, e.id AS event
		FROM public.io_patterns p, LATERAL (
			SELECT id FROM public.io_events WHERE event OPERATOR(eventbridge.@~) p.pattern) e)
	SELECT count(*) FROM found FULL JOIN public.io_expected USING (pattern, event)
	WHERE found.event IS NULL OR io_expected.event IS NULL
$$;

CREATE INDEX io_index ON io_events USING gin (event event_ops);
SET enable_seqscan = off;
SELECT * FROM generate.plan($$SELECT e.id FROM io_patterns p, LATERAL (SELECT id FROM io_events WHERE event @~ p.pattern OFFSET 0) e$$);
SELECT io_differences();
DROP INDEX io_index;
CREATE INDEX io_index ON io_events USING gin (event event_ops (prefixes = on));
SELECT io_differences();
DROP INDEX io_index;
CREATE INDEX io_index ON io_events USING gin (event event_ops (prefixes = perhaps));
CREATE INDEX io_index ON io_events USING gin (event event_ops (suffixes = on));
CREATE INDEX io_index ON io_events USING gin (event);	-- jsonb's own class stays the default
SELECT opcname FROM pg_index JOIN pg_opclass o ON o.oid = indclass[0] WHERE indexrelid = 'io_index'::regclass;
DROP INDEX io_index;

-- Rows that come, change and go; with and without the pending list.
CREATE INDEX io_index ON io_events USING gin (event event_ops) WITH (fastupdate = on);
INSERT INTO io_events SELECT i, generate.event('more/' || i) FROM generate_series(1001, 1100) i;
UPDATE io_events SET event = generate.event('changed/' || id) WHERE id BETWEEN 1 AND 600 AND id % 5 = 0;
DELETE FROM io_events WHERE id % 7 = 0;
BEGIN;
INSERT INTO io_events SELECT i, generate.event('never/' || i) FROM generate_series(2001, 2100) i;
ROLLBACK;
TRUNCATE io_expected;
INSERT INTO io_expected
	SELECT p.id AS pattern, e.id AS event
	FROM io_patterns p, io_events e WHERE generate.matches(e.event, p.pattern);
SELECT io_differences();
SELECT gin_clean_pending_list('io_index') > 0 AS cleaned;
SELECT io_differences();
VACUUM io_events;
SELECT io_differences();
ALTER INDEX io_index SET (fastupdate = off);
UPDATE io_events SET event = generate.event('again/' || id) WHERE id % 5 = 1;
TRUNCATE io_expected;
INSERT INTO io_expected
	SELECT p.id AS pattern, e.id AS event
	FROM io_patterns p, io_events e WHERE generate.matches(e.event, p.pattern);
SELECT io_differences();
REINDEX INDEX io_index;
SELECT io_differences();

-- Each operator by itself: found by index, by scan.
CREATE TABLE public.io_values (event jsonb);
INSERT INTO io_values
	SELECT jsonb_build_object('v', v) FROM unnest(ARRAY[
		'"running"', '"Running"', '"RUNNING"', '"run"', '""', '"10.0.0.1"', '"10.0.0.01"', '"10.0.0.255"', '"10.0.1.0"',
		'"::1"', '"0:0:0:0:0:0:0:1"', '"::ffff:a00:1"', '"2001:db8::A"', '"2001:DB8::a"', '"ﬀ::1"', '"FF::1"', '"ff::1"', '"straße"', '"STRASSE"', '"strasse"',
		'0', '-0.0', '1', '1.0', '-1', '1.5', '1e2', '100', '99999999999', '100000000000', '100000000001', '1e58', '1e100', '-1e100', '1e300', '-1e300', '1e-300', '1e400', '-1e400',
		'123456789012345678', '123456789012345679', 'true', 'false', 'null', '[]', '{}', '[[["deep"]]]', '["x", ["running", 5]]', '[{"w": 1}, "run"]']::jsonb[]) v;
INSERT INTO io_values VALUES ('{"v.w": "running"}'), ('{"v": {"w": "running"}}'), ('{"v": [{"w": "running"}, {"x.y": 7}]}'), ('{"": {"": 1}}'), ('{".": 1}'), ('{"": 1}');
CREATE INDEX io_values_index ON io_values USING gin (event event_ops);
CREATE FUNCTION public.io_both(pattern text) RETURNS TABLE (by_index bigint, by_scan bigint) LANGUAGE plpgsql AS $$
BEGIN
	SET LOCAL enable_seqscan = off;
	SET LOCAL enable_bitmapscan = on;
	EXECUTE format('SELECT count(*) FROM io_values WHERE event @~ %L', pattern) INTO by_index;
	SET LOCAL enable_seqscan = on;
	SET LOCAL enable_bitmapscan = off;
	EXECUTE format('SELECT count(*) FROM io_values WHERE event @~ %L', pattern) INTO by_scan;
	RETURN NEXT;
END $$;
SELECT p AS pattern, f.* FROM unnest(ARRAY[
	'{"v": ["running"]}', '{"v": ["running", "run"]}', '{"v": [""]}', '{"v": [{"equals-ignore-case": "RuNning"}]}', '{"v": [{"equals-ignore-case": "straße"}]}',
	'{"v": [{"equals-ignore-case": "strasse"}]}', '{"v": [{"equals-ignore-case": "ﬀ::1"}]}', '{"v": [{"equals-ignore-case": "2001:DB8::A"}]}', '{"v": [{"equals-ignore-case": "10.0.0.1"}]}',
	'{"v": ["10.0.0.1"]}', '{"v": ["::1"]}', '{"v": ["2001:db8:0::a"]}', '{"v": [{"cidr": "10.0.0.0/24"}]}', '{"v": [{"cidr": "10.0.0.0/31"}]}', '{"v": [{"cidr": "0.0.0.0/0"}]}',
	'{"v": [{"cidr": "::/64"}]}', '{"v": [{"prefix": "run"}]}', '{"v": [{"prefix": ""}]}', '{"v": [{"prefix": "10.0.0."}]}', '{"v": [{"prefix": {"equals-ignore-case": "RUNN"}}]}',
	'{"v": [{"suffix": "ing"}]}', '{"v": [{"suffix": {"equals-ignore-case": "ING"}}]}', '{"v": [{"wildcard": "run*g"}]}', '{"v": [{"wildcard": "*"}]}', '{"v": [{"wildcard": "running"}]}', '{"v": [{"wildcard": "10.0.0.1"}]}',
	'{"v": [0]}', '{"v": [100]}', '{"v": [1.50]}', '{"v": [100000000000]}', '{"v": [123456789012345678]}', '{"v": [{"numeric": ["=", 1e2]}]}', '{"v": [{"numeric": [">", 0]}]}', '{"v": [{"numeric": [">=", 0]}]}',
	'{"v": [{"numeric": ["<", 0]}]}', '{"v": [{"numeric": ["<=", -1]}]}', '{"v": [{"numeric": [">=", 99999999999, "<=", 100000000000]}]}', '{"v": [{"numeric": [">", -1, "<", 1.5]}]}', '{"v": [{"numeric": [">", 1e300]}]}', '{"v": [{"numeric": [">", 1e57]}]}', '{"v": [{"numeric": ["<", -1e99]}]}', '{"v": [{"numeric": [">=", 1e58, "<", 1e101]}]}', '{"v": [1e100]}',
	'{"v": [true]}', '{"v": [false, null]}', '{"v": [{"exists": true}]}', '{"v": [{"exists": false}]}', '{"v": ["deep"]}', '{"v": [5]}', '{"v": [{"anything-but": ["running"]}]}', '{"v": [{"anything-but": {"prefix": "r"}}]}',
	'{"v": {"w": ["running"]}}', '{"v.w": ["running"]}', '{"v": {"x": {"y": [7]}}}', '{"v": {"w": [{"exists": false}]}}', '{"": {"": [1]}}', '{"": [1]}', '{".": [1]}',
	'{"$or": [{"v": ["running"]}, {"v": {"w": [1]}}]}', '{"$or": [{"v": ["running"]}, {"z": [{"exists": false}]}]}', '{"v": ["run"], "v.w": [1]}', '{"z": ["nowhere"]}']) p, io_both(p) f;

-- How many rows the index proposes, and how many of them match.
CREATE TABLE public.io_many AS
	SELECT jsonb_build_object('id', 'id-' || i, 'source', 's' || i % 10, 'kind', 'k' || i % 7, 'n', i / 1000.0, 'ip', '2001:db8::' || to_hex(i)) AS event
	FROM generate_series(1, 5000) i;
CREATE INDEX io_many_index ON io_many USING gin (event event_ops);
CREATE FUNCTION public.io_proposed(pattern text) RETURNS TABLE (proposed integer, matching integer) LANGUAGE plpgsql AS $$
DECLARE
	plan json;
BEGIN
	SET LOCAL enable_seqscan = off;
	EXECUTE format('EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF, FORMAT JSON) SELECT FROM io_many WHERE event @~ %L', pattern) INTO plan;
	RETURN QUERY SELECT (plan #>> '{0,Plan,Plans,0,Actual Rows}')::numeric::integer, (plan #>> '{0,Plan,Actual Rows}')::numeric::integer;
END $$;
SELECT p AS pattern, f.* FROM unnest(ARRAY['{"id": ["id-7"]}', '{"id": [{"wildcard": "id-7"}]}', '{"id": ["id-7", "id-8"], "n": [{"numeric": [">", 0]}]}',
	'{"source": ["s3"]}', '{"source": ["s3"], "kind": ["k2"]}', '{"n": [0.25]}', '{"n": [{"numeric": [">=", 0.25, "<", 0.26]}]}', '{"ip": ["2001:db8:0::7"]}',
	'{"$or": [{"id": ["id-7"], "source": ["s3"]}, {"id": ["id-8"], "kind": ["k1"]}]}', '{"id": [{"suffix": "77"}]}']) p, io_proposed(p) f;

-- A pattern that is not known to the planner; a NULL.
PREPARE io_find(event_pattern) AS SELECT count(*) FROM io_values WHERE event @~ $1;
SET plan_cache_mode = force_generic_plan;
EXECUTE io_find('{"v": ["running"]}');
EXECUTE io_find('{"v": [{"exists": false}]}');
EXECUTE io_find(NULL);
RESET plan_cache_mode;

-- A partial index and an index on an expression.
CREATE INDEX io_partial ON io_values USING gin ((event -> 'v') event_ops) WHERE event ? 'v';
SELECT count(*) FROM io_values WHERE event ? 'v' AND (event -> 'v') @~ '{"w": ["running"]}';

DROP TABLE io_events, io_patterns, io_expected, io_values, io_many;
DROP FUNCTION io_differences(), io_both(text), io_proposed(text);
SET client_min_messages = warning;
DROP SCHEMA generate CASCADE;
