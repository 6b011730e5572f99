-- GIN operator class event_pattern_ops: an event finds the stored patterns that match it.
SET search_path = eventbridge, public;
SET client_min_messages = warning;
\getenv test_dir PG_ABS_SRCDIR
\set generator :test_dir '/tools/generate.sql'
\set ECHO none
\i :generator
\set ECHO all
RESET client_min_messages;

CREATE TABLE public.ip_events AS
	SELECT i AS id, generate.event('reverse/' || i) AS event FROM generate_series(1, 300) i;
INSERT INTO ip_events VALUES (301, NULL), (302, '{}'), (303, '[]'), (304, '"x"');
CREATE TABLE public.ip_patterns (id integer, pattern event_pattern);
INSERT INTO ip_patterns SELECT i, generate.pattern('reverse/' || i) FROM generate_series(1, 600) i;
INSERT INTO ip_patterns VALUES (601, NULL), (602, '{"nowhere": [{"exists": false}]}');

CREATE TABLE public.ip_expected (pattern integer, event integer);
CREATE PROCEDURE public.ip_expect() LANGUAGE sql AS $$
	TRUNCATE public.ip_expected;
	INSERT INTO public.ip_expected
		SELECT p.id, e.id FROM public.ip_patterns p, public.ip_events e
		WHERE generate.matches(e.event, p.pattern)
$$;
CREATE FUNCTION public.ip_differences() RETURNS bigint LANGUAGE sql
	SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
	WITH found AS (
		SELECT p.id AS pattern, e.id AS event
		FROM public.ip_events e, LATERAL (
			SELECT id FROM public.ip_patterns WHERE pattern OPERATOR(eventbridge.~@) e.event) p)
	SELECT count(*) FROM found FULL JOIN public.ip_expected USING (pattern, event)
	WHERE found.event IS NULL OR ip_expected.event IS NULL
$$;

CALL ip_expect();
SELECT count(*) > 5000 AS enough FROM ip_expected;
CREATE INDEX ip_index ON ip_patterns USING gin (pattern);
SET enable_seqscan = off;
SELECT * FROM generate.plan($$SELECT p.id FROM ip_events e, LATERAL (SELECT id FROM ip_patterns WHERE pattern ~@ e.event OFFSET 0) p$$);
EXPLAIN (COSTS OFF) SELECT id FROM ip_patterns WHERE pattern ~@ '{"a": 1}';
EXPLAIN (COSTS OFF) SELECT id FROM ip_patterns WHERE '{"a": 1}' @~ pattern;
SELECT ip_differences();

-- Patterns that come, change and go.
INSERT INTO ip_patterns SELECT i, generate.pattern('more/' || i) FROM generate_series(1001, 1100) i;
UPDATE ip_patterns SET pattern = generate.pattern('changed/' || id) WHERE id <= 600 AND id % 5 = 0;
DELETE FROM ip_patterns WHERE id % 7 = 0;
BEGIN;
INSERT INTO ip_patterns SELECT i, generate.pattern('never/' || i) FROM generate_series(2001, 2100) i;
SELECT count(*) > 0 AS sees_its_own FROM ip_patterns WHERE pattern ~@ '{"a": "x", "b": "x"}' AND id > 2000;
ROLLBACK;
CALL ip_expect();
SELECT ip_differences();
VACUUM ip_patterns;
SELECT ip_differences();
REINDEX INDEX ip_index;
SELECT ip_differences();

-- Each way to be stored.
TRUNCATE ip_patterns;
INSERT INTO ip_patterns(pattern) VALUES
	('{"account": ["123456789012"], "source": ["app.a", "app.b"]}'),
	('{"account": ["123456789012"], "source": [{"prefix": "app"}]}'),
	('{"source": ["app.a"], "region": ["eu"], "detail-type": ["T"]}'),
	('{"source": ["app.a"]}'),
	('{"detail": {"key": [{"prefix": "tenant-17/in"}]}}'),
	('{"detail": {"key": [{"prefix": "te"}]}}'),
	('{"detail": {"key": [{"prefix": {"equals-ignore-case": "TENANT-17/"}}]}}'),
	('{"detail": {"key": [{"wildcard": "tenant-*/in/*"}]}}'),
	('{"detail": {"key": [{"suffix": "csv"}]}}'),
	('{"detail": {"key": [{"anything-but": "x"}]}}'),
	('{"detail.key": [{"exists": true}]}'),
	('{"detail": {"none": [{"exists": false}]}}'),
	('{"detail": {"ip": [{"cidr": "10.1.2.0/23"}]}}'),
	('{"detail": {"ip": [{"cidr": "8.0.0.0/6"}]}}'),
	('{"detail": {"ip": [{"cidr": "0.0.0.0/1"}]}}'),
	('{"detail": {"ip": ["10.1.2.03"]}}'),
	('{"detail": {"ip": [{"cidr": "2001:db8::/33"}]}}'),
	('{"detail": {"n": [{"numeric": [">", 1, "<", 9]}]}}'),
	('{"detail": {"n": [5]}}'),
	('{"detail": {"n": [true]}}'),
	('{"$or": [{"source": ["nowhere"]}, {"detail": {"n": [5.0]}}]}'),
	('{"detail": {"n": [{"numeric": [">", 100]}, "five"]}}');
CREATE FUNCTION public.ip_both(event jsonb) RETURNS TABLE (by_index bigint, by_scan bigint) LANGUAGE plpgsql AS $$
BEGIN
	SET LOCAL enable_seqscan = off;
	SET LOCAL enable_bitmapscan = on;
	EXECUTE format('SELECT count(*) FROM ip_patterns WHERE pattern ~@ %L', event) INTO by_index;
	SET LOCAL enable_seqscan = on;
	SET LOCAL enable_bitmapscan = off;
	EXECUTE format('SELECT count(*) FROM ip_patterns WHERE pattern ~@ %L', event) INTO by_scan;
	RETURN NEXT;
END $$;
SELECT e AS event, f.* FROM unnest(ARRAY[
	'{"account": "123456789012", "source": "app.b"}', '{"account": ["123456789012", "x"], "source": [["app.a"]], "region": "eu", "detail-type": "T"}',
	'{"detail": {"key": "tenant-17/in/a.csv"}}', '{"detail.key": ["Tenant-17/in/a.csv"]}', '{"detail": [{"key": "x"}]}', '{"detail": {"key": "te"}}',
	'{"detail": {"ip": "10.1.3.255"}}', '{"detail": {"ip": "10.1.2.3"}}', '{"detail": {"ip": "11.0.0.0"}}', '{"detail": {"ip": "2001:DB8:7::1"}}', '{"detail": {"ip": "::ffff:a01:203"}}',
	'{"detail": {"n": 5}}', '{"detail": {"n": [[5.0], "five"], "none": 1}}', '{"detail": {"n": true}}', '{"detail": {"n": null}}', '{}', '[]', '5']::jsonb[]) e, ip_both(e) f;

-- An event with more keys than are looked for one by one.
SELECT f.* FROM (SELECT jsonb_build_object('source', jsonb_agg('app.' || chr(96 + i % 26 + 1)), 'account', jsonb_agg(i), 'detail', jsonb_build_object('n', jsonb_agg(i))) AS e
	FROM generate_series(1, 300) i) s, ip_both(e) f;

-- How many patterns the index proposes, and how many of them match.
TRUNCATE ip_patterns;
INSERT INTO ip_patterns(pattern)
	SELECT CASE i % 4
		WHEN 0 THEN format('{"source": ["app.%s"], "account": ["%s"]}', chr(97 + i % 20), i % 50)
		WHEN 1 THEN format('{"source": ["app.a", "app.b"], "detail": {"key": [{"prefix": "tenant-%s/in"}]}}', i)
		WHEN 2 THEN format('{"source": ["app.a"], "detail": {"ip": [{"cidr": "10.%s.0.0/16"}]}}', i % 256)
		ELSE format('{"source": ["app.a"], "detail": {"n": [%s]}}', i) END::event_pattern
	FROM generate_series(1, 4000) i;
CREATE FUNCTION public.ip_proposed(event jsonb) RETURNS TABLE (proposed integer, matching integer) LANGUAGE plpgsql AS $$
DECLARE
	plan json;
BEGIN
	SET LOCAL enable_seqscan = off;
	EXECUTE format('EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF, FORMAT JSON) SELECT FROM ip_patterns WHERE pattern ~@ %L', event) INTO plan;
	RETURN QUERY SELECT (plan #>> '{0,Plan,Plans,0,Actual Rows}')::numeric::integer, (plan #>> '{0,Plan,Actual Rows}')::numeric::integer;
END $$;
SELECT e AS event, f.* FROM unnest(ARRAY['{"source": "app.e", "account": "4"}', '{"source": "app.a", "account": "4"}', '{"source": "app.a", "detail": {"key": "tenant-101/in/a.csv"}}',
	'{"source": "app.a", "detail": {"ip": "10.6.7.8"}}', '{"source": "app.a", "detail": {"n": 7}}', '{"source": "app.c", "detail": {"n": 7, "ip": "10.6.7.8"}}', '{"source": "none"}', '[{"source": "app.e"}]']::jsonb[]) e, ip_proposed(e) f;

-- A pattern that is stored under many keys.
TRUNCATE ip_patterns;
INSERT INTO ip_patterns(pattern) SELECT jsonb_build_object('detail', jsonb_build_object('id', jsonb_agg('id-' || i))) FROM generate_series(1, 2000) i;
SELECT f.* FROM ip_both('{"detail": {"id": "id-1999"}}') f;

DROP TABLE ip_events, ip_patterns, ip_expected;
DROP FUNCTION ip_differences(), ip_both(jsonb), ip_proposed(jsonb);
DROP PROCEDURE ip_expect();
SET client_min_messages = warning;
DROP SCHEMA generate CASCADE;
