--
-- Cost of filtering stored events by a pattern, against hand-written SQL.
--
--   psql -f test/bench/pattern.sql [-v rows=300000] [-v rounds=9]
--
-- Sequential scans over a table of events of about 500 bytes; one process, no
-- JIT, no parallel query, table in memory.  The contenders of a line run in
-- turn, round by round; each figure is the best of all rounds, scan included.
-- "ratio" is ours / theirs; "limit" is what we promise, and the script fails
-- if a ratio is above its limit.
--
\set ON_ERROR_STOP on
\set QUIET on
\if :{?rows}
\else
	\set rows 300000
\endif
\if :{?rounds}
\else
	\set rounds 9
\endif
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS eventbridge;
SET jit = off;
SET max_parallel_workers_per_gather = 0;
SET search_path = public, eventbridge;
SELECT set_config('bench.rounds', :'rounds', false) \g /dev/null

-- A quarter of the events has the source that is asked for, a twentieth the
-- group, all have the account.  Not a temporary table: that would be read from
-- disk again and again.
DROP TABLE IF EXISTS bench_events;
CREATE UNLOGGED TABLE bench_events AS
SELECT i, jsonb_build_object(
	'version', '0', 'id', md5(i::text)::uuid, 'detail-type', 'CodeBuild Build State Change',
	'source', CASE WHEN i % 4 = 0 THEN 'aws.codebuild' ELSE (ARRAY['aws.ec2', 'aws.s3', 'aws.rds'])[1 + i % 3] END,
	'group', CASE WHEN i % 20 = 0 THEN 'one in twenty' ELSE 'the others of them' END,
	'account', '123456789012', 'time', '2024-01-01T00:00:00Z', 'region', 'us-east-1',
	'resources', jsonb_build_array('arn:aws:codebuild:us-east-1:123456789012:build/project:' || i),
	'detail', jsonb_build_object(
		'build-status', (ARRAY['SUCCEEDED', 'FAILED', 'STOPPED', 'IN_PROGRESS'])[1 + i / 4 % 4],
		'project-name', 'project-' || i % 100, 'n', i % 1000, 'ip', format('10.0.%s.1', i % 256),
		'phases', jsonb_build_array(jsonb_build_object('name', 'BUILD', 'ok', i % 2 = 0), jsonb_build_object('name', 'TEST', 'ok', i % 3 = 0)),
		'initiator', 'user-' || i % 50)) AS event
FROM generate_series(1, :rows) i;
VACUUM ANALYZE bench_events;
DROP TABLE IF EXISTS bench_patterns;
CREATE UNLOGGED TABLE bench_patterns AS
SELECT n, format('{"source":["aws.codebuild"],"detail":{"build-status":["SUCCEEDED","FAILED","STOPPED"],"n":[%s]}}', n)::event_pattern AS pattern
FROM generate_series(1, 100) n;

CREATE TEMP TABLE contenders (id int GENERATED ALWAYS AS IDENTITY, name text, pattern text, theirs text, as_name text, max_ratio numeric);
INSERT INTO contenders (name, pattern, theirs, as_name, max_ratio) VALUES
('two fields, 25 %', '{"source":["aws.codebuild"],"detail":{"build-status":["SUCCEEDED","FAILED","STOPPED"]}}',
 $$event->>'source' = 'aws.codebuild' AND event->'detail'->>'build-status' IN ('SUCCEEDED', 'FAILED', 'STOPPED')$$, '->>', 0.9),
('two fields, 25 %', '{"source":["aws.codebuild"],"detail":{"build-status":["SUCCEEDED","FAILED","STOPPED"]}}',
 $$event @> '{"source":"aws.codebuild","detail":{"build-status":"FAILED"}}'$$, '@>, one value', 0.72),
('two fields, 25 %', '{"source":["aws.codebuild"],"detail":{"build-status":["SUCCEEDED","FAILED","STOPPED"]}}',
 $$event @? '$ ? (@.source == "aws.codebuild" && (@.detail."build-status" == "SUCCEEDED" || @.detail."build-status" == "FAILED" || @.detail."build-status" == "STOPPED"))'$$, '@?', 0.6),
('two fields, 5 %', '{"group":["one in twenty"],"detail":{"build-status":["SUCCEEDED","FAILED","STOPPED"]}}',
 $$event->>'group' = 'one in twenty' AND event->'detail'->>'build-status' IN ('SUCCEEDED', 'FAILED', 'STOPPED')$$, '->>', NULL),
('two fields, 100 %', '{"account":["123456789012"],"detail":{"build-status":["SUCCEEDED","FAILED","STOPPED"]}}',
 $$event->>'account' = '123456789012' AND event->'detail'->>'build-status' IN ('SUCCEEDED', 'FAILED', 'STOPPED')$$, '->>', NULL),
('prefix', '{"detail":{"project-name":[{"prefix":"project-1"}]}}', $$event->'detail'->>'project-name' ^@ 'project-1'$$, '^@', 1.1),
('suffix', '{"detail":{"project-name":[{"suffix":"7"}]}}', $$right(event->'detail'->>'project-name', 1) = '7'$$, 'right()', 1.1),
('equals-ignore-case', '{"detail":{"build-status":[{"equals-ignore-case":"failed"}]}}', $$lower(event->'detail'->>'build-status') = 'failed'$$, 'lower()', 1.1),
('wildcard', '{"detail":{"project-name":[{"wildcard":"pro*-*7"}]}}', $$event->'detail'->>'project-name' LIKE 'pro%-%7'$$, 'LIKE', 1.1),
('anything-but', '{"detail":{"build-status":[{"anything-but":["FAILED","STOPPED"]}]}}', $$event->'detail'->>'build-status' NOT IN ('FAILED', 'STOPPED')$$, 'NOT IN', 1.1),
('numeric', '{"detail":{"n":[{"numeric":[">",100,"<=",200]}]}}', $$(event->'detail'->'n')::int > 100 AND (event->'detail'->'n')::int <= 200$$, '::int', 1.1),
('cidr', '{"detail":{"ip":[{"cidr":"10.0.0.0/20"}]}}', $$(event->'detail'->>'ip')::inet << '10.0.0.0/20'$$, '::inet <<', 1.1),
('exists', '{"detail":{"initiator":[{"exists":true}]}}', $$event->'detail' ? 'initiator'$$, '?', 1.1),
('$or', '{"$or":[{"source":["aws.s3"]},{"detail":{"build-status":["FAILED"]}}]}', $$event->>'source' = 'aws.s3' OR event->'detail'->>'build-status' = 'FAILED'$$, 'OR', 1.1),
('array of objects', '{"detail":{"phases":{"name":["TEST"],"ok":[true]}}}', $$event @> '{"detail":{"phases":[{"name":"TEST","ok":true}]}}'$$, '@>', 1.1);

-- Milliseconds for one count(*) over the table.
CREATE FUNCTION pg_temp.once(query text) RETURNS float8 LANGUAGE plpgsql AS $$
DECLARE t timestamptz := clock_timestamp();
BEGIN
	EXECUTE query;
	RETURN extract(epoch FROM clock_timestamp() - t) * 1000;
END $$;

CREATE TEMP TABLE results AS SELECT id, name, as_name, max_ratio, 1e9::float8 AS ours, 1e9::float8 AS theirs FROM contenders;
DO $$
DECLARE c record;
BEGIN
	PERFORM pg_temp.once('SELECT count(*) FROM bench_events WHERE event IS NOT NULL');
	FOR c IN SELECT * FROM contenders LOOP
		FOR r IN 1..current_setting('bench.rounds')::int LOOP
			UPDATE results SET
				ours = least(ours, pg_temp.once(format('SELECT count(*) FROM bench_events WHERE event @~ %L', c.pattern))),
				theirs = least(theirs, pg_temp.once(format('SELECT count(*) FROM bench_events WHERE %s', c.theirs)))
			WHERE id = c.id;
		END LOOP;
	END LOOP;
END $$;

-- a pair of event and stored pattern, against an event of a scan
INSERT INTO results (id, name, as_name, max_ratio, ours, theirs)
SELECT 100, 'event x stored pattern, 1000 pairs', 'scan, 1000 events', 1.5,
       min(pg_temp.once('SELECT count(*) FROM bench_events e, bench_patterns p WHERE e.i <= 20000 AND e.event @~ p.pattern')) / 2000,
       min(pg_temp.once('SELECT count(*) FROM bench_events WHERE event @~ ''{"source":["aws.codebuild"],"detail":{"build-status":["SUCCEEDED","FAILED","STOPPED"],"n":[7]}}''')) / :rows * 1000
FROM generate_series(1, 3);

\set QUIET off
\pset footer off
SELECT name, as_name AS "against", round(ours::numeric, 2) AS "ours, ms", round(theirs::numeric, 2) AS "theirs, ms",
       round((ours / theirs)::numeric, 2) AS ratio, max_ratio AS "limit"
FROM results ORDER BY id;
SELECT CASE WHEN count(*) = 0 THEN 'all ratios are within their limits' ELSE count(*) || ' ratio(s) above the limit' END AS result,
       count(*) > 0 AS failed
FROM results WHERE ours > theirs * max_ratio \gset
\echo :result
DROP TABLE bench_events, bench_patterns;
\if :failed
DO $$ BEGIN RAISE EXCEPTION 'a ratio is above its limit'; END $$;
\endif
