--
-- Stored events by pattern: the operator class event_ops against jsonb_path_ops,
-- jsquery (if it is there) and the sequential scan, over twenty patterns from
-- selective to broad; and stored patterns by event, through event_pattern_ops.
--
--   psql -f test/bench/index.sql [-v n=200000] [-v patterns=200000] [-v rounds=3]
--        [-v prefixes=on] [-v table=NAME] [-v shared=DIR]
--
-- n events of the shape that EventBridge delivers (about 750 bytes) are made
-- here; with -v table the events of a table with a column "event" are taken
-- instead, with the indexes that it has.  The stored patterns and the events
-- asked for them come from DIR/gen_rules.py (../shared/bench, if it is there),
-- otherwise they are made of the same events.  One process, no JIT, no parallel
-- query; each time is the best of all rounds, in milliseconds, planning
-- included.
--
--	planned		the pattern, as planned
--	index		the pattern, sequential scan forbidden
--	scan		the pattern, index forbidden
--	path_ops	the equivalent @> or @? through jsonb_path_ops, where there is one
--	jsquery		the equivalent @@ through jsquery, where there is one
--	ratio		of what is planned to the best of scan, path_ops and jsquery
--	right		the planner took the faster of index and scan, or one that is
--				not slower by more than a tenth
--
-- The script fails if a ratio is above 1.2 and that makes more than a twentieth
-- of a millisecond; if in more than two of twenty the planner was not right; if
-- index and scan differ.  What it takes to build the index: index_build.sql.
--
\ir index_session.psql
\if :{?rounds}
\else
	\set rounds 3
\endif
\if :{?patterns}
\else
	\set patterns 200000
\endif
\if :{?shared}
\else
	\set shared `for d in ../shared/bench; do test ! -f "$d/gen_rules.py" || echo "$d"; done`
\endif
\if :{?prefixes}
\else
	\set prefixes off
\endif
-- so that the values that the queries ask for are always the same
SET synchronize_seqscans = off;
SELECT set_config('bench.rounds', :'rounds', false), :'shared' <> '' AS has_shared \gset
\if :jsquery
CREATE EXTENSION IF NOT EXISTS jsquery SCHEMA public;
\endif
SELECT set_config('bench.jsquery', :'jsquery', false) \g /dev/null

-- ---------- Events ----------

\if :{?table}
CREATE TEMP VIEW chosen AS SELECT event FROM :table;
SELECT count(*) AS n FROM :table \gset
SELECT set_config('bench.table', :'table', false) \g /dev/null
\else
SELECT set_config('bench.table', 'bench_events', false) \g /dev/null
\ir index_events.psql
CREATE TEMP VIEW chosen AS SELECT event FROM public.bench_events;

SELECT CASE WHEN :'prefixes' = 'on' THEN 'event_ops (prefixes = on)' ELSE 'event_ops' END AS class \gset
CREATE INDEX bench_event_ops ON public.bench_events USING gin (event :class);
CREATE INDEX bench_path_ops ON public.bench_events USING gin (event jsonb_path_ops);
\if :jsquery
CREATE INDEX bench_jsquery ON public.bench_events USING gin (event jsonb_path_value_ops);
\endif
VACUUM ANALYZE public.bench_events;
\endif

-- ---------- Patterns over events ----------

-- Values that occur: of one event, of the largest account, and of a small one.
CREATE TEMP TABLE seen AS SELECT event FROM chosen LIMIT 20000;
SELECT event #>> '{detail,object,etag}' AS etag, event #>> '{detail,request-id}' AS request, event #>> '{detail,instance-id}' AS instance,
	event #>> '{detail,user,name}' AS person, event #>> '{detail,items,0,sku}' AS sku, event ->> 'source' AS source, event ->> 'detail-type' AS kind,
	event ->> 'region' AS region, event #>> '{detail,state}' AS state, event #>> '{detail,source-ip}' AS ip,
	regexp_replace(event #>> '{detail,object,key}', '/file.*', '') AS prefix
FROM seen OFFSET 17 LIMIT 1 \gset
SELECT event ->> 'account' AS large FROM seen GROUP BY 1 ORDER BY count(*) DESC, 1 LIMIT 1 \gset
SELECT event ->> 'account' AS small FROM seen GROUP BY 1 ORDER BY count(*), 1 LIMIT 1 \gset
SELECT event #>> '{detail,instance-id}' AS other FROM seen OFFSET 99 LIMIT 1 \gset

CREATE TEMP TABLE queries (id serial, name text, pattern text, path_ops text, jsquery text);
INSERT INTO queries (name, pattern, path_ops, jsquery) VALUES
('one event', format('{"detail": {"object": {"etag": ["%s"]}}}', :'etag'), format('event @> ''{"detail": {"object": {"etag": "%s"}}}''', :'etag'), format('detail.object.etag = "%s"', :'etag')),
('one event, two fields', format('{"source": ["%s"], "detail": {"request-id": ["%s"]}}', :'source', :'request'), format('event @> ''{"source": "%s", "detail": {"request-id": "%s"}}''', :'source', :'request'), format('source = "%s" AND detail."request-id" = "%s"', :'source', :'request')),
('instance', format('{"detail": {"instance-id": ["%s"]}}', :'instance'), format('event @> ''{"detail": {"instance-id": "%s"}}''', :'instance'), format('detail."instance-id" = "%s"', :'instance')),
('list of values', format('{"detail": {"instance-id": ["%s", "%s"]}}', :'instance', :'other'), format('event @? ''$.detail ? (@."instance-id" == "%s" || @."instance-id" == "%s")''', :'instance', :'other'), format('detail."instance-id" IN ("%s", "%s")', :'instance', :'other')),
('$or', format('{"$or": [{"account": ["%s"]}, {"detail": {"instance-id": ["%s"]}}]}', :'small', :'instance'), format('event @? ''$ ? (@.account == "%s" || @.detail."instance-id" == "%s")''', :'small', :'instance'), format('account = "%s" OR detail."instance-id" = "%s"', :'small', :'instance')),
('ignore case', format('{"detail": {"user": {"name": [{"equals-ignore-case": "%s"}]}}}', initcap(:'person')), NULL, NULL),
('block of addresses', format('{"detail": {"source-ip": [{"cidr": "%s/22"}]}}', :'ip'), NULL, NULL),
('narrow range', '{"detail": {"amount": [{"numeric": [">=", 100, "<", 100.5]}]}}', NULL, 'detail.amount >= 100 AND detail.amount < 100.5'),
('small account', format('{"account": ["%s"]}', :'small'), format('event @> ''{"account": "%s"}''', :'small'), format('account = "%s"', :'small')),
('large account', format('{"account": ["%s"]}', :'large'), format('event @> ''{"account": "%s"}''', :'large'), format('account = "%s"', :'large')),
('account and range', format('{"account": ["%s"], "detail": {"amount": [{"numeric": [">=", 100, "<", 150]}]}}', :'large'), format('event @? ''$ ? (@.account == "%s" && @.detail.amount >= 100 && @.detail.amount < 150)''', :'large'), format('account = "%s" AND detail.amount >= 100 AND detail.amount < 150', :'large')),
('account and anything-but', format('{"account": ["%s"], "detail": {"state": [{"anything-but": "%s"}]}}', :'large', :'state'), format('event @? ''$ ? (@.account == "%s" && @.detail.state != "%s")''', :'large', :'state'), NULL),
('account, no error', format('{"account": ["%s"], "detail": {"error-code": [{"exists": false}]}}', :'large'), format('event @? ''$ ? (@.account == "%s" && !exists(@.detail."error-code"))''', :'large'), NULL),
('inside an array', format('{"detail": {"items": {"sku": ["%s"]}}}', :'sku'), format('event @> ''{"detail": {"items": [{"sku": "%s"}]}}''', :'sku'), format('detail.items.#.sku = "%s"', :'sku')),
('one element', format('{"detail": {"items": {"sku": ["%s"], "qty": [{"numeric": [">=", 5]}]}}}', :'sku'), format('event @? ''$.detail.items[*] ? (@.sku == "%s" && @.qty >= 5)''', :'sku'), format('detail.items.#(sku = "%s" AND qty >= 5)', :'sku')),
('three broad fields', format('{"source": ["%s"], "detail-type": ["%s"], "region": ["%s"]}', :'source', :'kind', :'region'), format('event @> ''{"source": "%s", "detail-type": "%s", "region": "%s"}''', :'source', :'kind', :'region'), format('source = "%s" AND "detail-type" = "%s" AND region = "%s"', :'source', :'kind', :'region')),
('source', format('{"source": ["%s"]}', :'source'), format('event @> ''{"source": "%s"}''', :'source'), format('source = "%s"', :'source')),
('state', format('{"detail": {"state": ["%s"]}}', :'state'), format('event @> ''{"detail": {"state": "%s"}}''', :'state'), format('detail.state = "%s"', :'state')),
('prefix', format('{"detail": {"object": {"key": [{"prefix": "%s"}]}}}', :'prefix'), NULL, NULL),
('absent', '{"detail": {"error-code": [{"exists": false}]}}', 'event @? ''$.detail ? (!exists(@."error-code"))''', NULL);

CREATE TEMP TABLE measured (id integer, way text, ms float8, rows bigint, seq boolean, estimated bigint);

-- Answers a query in one way; the time in ms, NULL if it is not planned so.
CREATE FUNCTION pg_temp.measure(id integer, way text, condition text) RETURNS float8 LANGUAGE plpgsql AS $$
DECLARE
	query text := format('SELECT count(*) FROM %s WHERE %s', current_setting('bench.table')::regclass, condition);
	began timestamptz;
	n bigint;
	plan json;
	seq boolean;
	ms float8;
BEGIN
	PERFORM set_config('enable_bitmapscan', (way <> 'scan')::text, true), set_config('enable_seqscan', (way IN ('planned', 'scan'))::text, true);
	EXECUTE 'EXPLAIN (FORMAT JSON) ' || query INTO plan;
	plan := plan -> 0 -> 'Plan' -> 'Plans' -> 0;
	seq := plan ->> 'Node Type' = 'Seq Scan';
	IF seq AND way IN ('index', 'path_ops', 'jsquery') THEN
		RETURN NULL;
	END IF;
	began := clock_timestamp();
	EXECUTE query INTO n;
	ms := 1000 * extract(epoch FROM clock_timestamp() - began);
	INSERT INTO measured VALUES (id, way, ms, n, seq, (plan ->> 'Plan Rows')::bigint);
	RETURN ms;
END $$;

-- All ways in turn, in an order that changes, since what comes first finds the
-- pages that others have left behind; what takes little time more often.
CREATE PROCEDURE pg_temp.measure_all() LANGUAGE plpgsql AS $$
DECLARE
	q record;
	w record;
	took float8[];
BEGIN
	FOR q IN SELECT queries.* FROM generate_series(1, current_setting('bench.rounds')::integer) round, queries ORDER BY round, id LOOP
		took := '{0, 0, 0, 0, 0}';
		FOR pass IN 1 .. 10 LOOP
			-- an index that has to be read as a whole is no way to answer
			FOR w IN SELECT n, way, condition
				FROM (VALUES (1, 'planned', format('event @~ %L', q.pattern)), (2, 'scan', format('event @~ %L', q.pattern)),
					(3, 'index', CASE WHEN q.name <> 'absent' THEN format('event @~ %L', q.pattern) END),
					(4, 'path_ops', CASE WHEN q.name <> 'absent' THEN q.path_ops END),
					(5, 'jsquery', CASE WHEN q.jsquery IS NOT NULL AND current_setting('bench.jsquery')::boolean THEN format('event OPERATOR(public.@@) %L::public.jsquery', q.jsquery) END))
					AS ways (n, way, condition)
				WHERE condition IS NOT NULL AND (pass <= 2 OR took[n] < 50)
				ORDER BY random()
			LOOP
				took[w.n] := took[w.n] + coalesce(pg_temp.measure(q.id, w.way, w.condition), 1000);
			END LOOP;
		END LOOP;
	END LOOP;
END $$;
CALL pg_temp.measure_all();

CREATE TEMP VIEW results AS
SELECT r.*, planned / others AS ratio, planned <= 1.1 * least(index, scan) + 0.05 AS right
FROM (SELECT q.id, q.name, max(m.rows) FILTER (WHERE way = 'planned') AS rows, max(m.estimated) FILTER (WHERE way = 'planned') AS estimated,
	count(DISTINCT m.rows) FILTER (WHERE way IN ('planned', 'index', 'scan')) AS answers,
	bool_or(m.seq) FILTER (WHERE way = 'planned') AS takes_scan, min(m.ms) FILTER (WHERE way = 'planned') AS planned,
	min(m.ms) FILTER (WHERE way = 'index') AS index, min(m.ms) FILTER (WHERE way = 'scan') AS scan,
	min(m.ms) FILTER (WHERE way = 'path_ops') AS path_ops, min(m.ms) FILTER (WHERE way = 'jsquery') AS jsquery,
	min(m.ms) FILTER (WHERE way IN ('scan', 'path_ops', 'jsquery')) AS others
	FROM queries q JOIN measured m USING (id) GROUP BY q.id, q.name) r;

\echo 'Patterns over' :n 'events, ms:'
SELECT name, rows, estimated, CASE WHEN takes_scan THEN 'scan' ELSE 'index' END AS plan, round(planned::numeric, 2) AS planned, round(index::numeric, 2) AS index, round(scan::numeric, 2) AS scan,
	round(path_ops::numeric, 2) AS path_ops, round(jsquery::numeric, 2) AS jsquery, round(ratio::numeric, 2) AS ratio, CASE WHEN "right" THEN 'yes' ELSE 'no' END AS right
FROM results ORDER BY id;
SELECT count(*) FILTER (WHERE "right") || ' of ' || count(*) AS "the planner was right in", round(max(ratio)::numeric, 2) AS "largest ratio",
	round(max(ratio) FILTER (WHERE planned >= 1)::numeric, 2) AS "of those from 1 ms on" FROM results;

-- ---------- Events over patterns ----------

DROP TABLE IF EXISTS public.bench_patterns;
CREATE TABLE public.bench_patterns (pattern event_pattern);
CREATE TEMP TABLE asked (event jsonb);
\if :has_shared
CREATE TEMP TABLE lines (line text);
\set load '\\copy lines FROM PROGRAM \'python3 "' :shared '/gen_rules.py" rules --n ' :patterns '\' WITH (FORMAT csv, QUOTE e''\\x01'', DELIMITER e''\\x02'')'
:load
INSERT INTO public.bench_patterns SELECT (line::json ->> 'pattern')::event_pattern FROM lines;
TRUNCATE lines;
\set load '\\copy lines FROM PROGRAM \'python3 "' :shared '/gen_rules.py" events --n 2000\' WITH (FORMAT csv, QUOTE e''\\x01'', DELIMITER e''\\x02'')'
:load
INSERT INTO asked SELECT line::jsonb FROM lines;
\else
INSERT INTO public.bench_patterns
SELECT CASE i % 5
	WHEN 0 THEN jsonb_build_object('source', jsonb_build_array(event -> 'source'), 'account', jsonb_build_array(event -> 'account'), 'detail-type', jsonb_build_array(event -> 'detail-type'))
	WHEN 1 THEN jsonb_build_object('source', jsonb_build_array(event -> 'source'), 'detail', jsonb_build_object('instance-id', jsonb_build_array(event #> '{detail,instance-id}'), 'state', jsonb_build_array(event #> '{detail,state}')))
	WHEN 2 THEN jsonb_build_object('detail', jsonb_build_object('object', jsonb_build_object('key', jsonb_build_array(jsonb_build_object('prefix', regexp_replace(event #>> '{detail,object,key}', '/file.*', ''))))))
	WHEN 3 THEN jsonb_build_object('account', jsonb_build_array(event -> 'account'), 'source', jsonb_build_array(event -> 'source'), 'detail', jsonb_build_object('amount', jsonb_build_array(jsonb_build_object('numeric', jsonb_build_array('>=', i % 900, '<', i % 900 + 50)))))
	ELSE jsonb_build_object('account', jsonb_build_array(event -> 'account'), 'region', jsonb_build_array(event -> 'region'), 'detail', jsonb_build_object('state', jsonb_build_array(jsonb_build_object('anything-but', event #> '{detail,state}'))))
	END::event_pattern AS pattern
FROM (SELECT event, row_number() OVER () AS i FROM chosen LIMIT :patterns) e;
INSERT INTO asked SELECT event FROM seen LIMIT 1000;
\endif
CREATE INDEX bench_pattern_index ON public.bench_patterns USING gin (pattern);
VACUUM ANALYZE public.bench_patterns;
SELECT pg_size_pretty(pg_relation_size('public.bench_pattern_index')) AS size \gset

CREATE TEMP TABLE reverse (ms float8, matches bigint);
CREATE PROCEDURE pg_temp.measure_reverse() LANGUAGE plpgsql AS $$
DECLARE
	e jsonb;
	began timestamptz;
	n bigint;
BEGIN
	FOR round IN 1 .. 2 LOOP
		DELETE FROM reverse;
		FOR e IN SELECT event FROM asked LOOP
			began := clock_timestamp();
			SELECT count(*) INTO n FROM bench_patterns WHERE pattern ~@ e;
			INSERT INTO reverse VALUES (1000 * extract(epoch FROM clock_timestamp() - began), n);
		END LOOP;
	END LOOP;
END $$;
CALL pg_temp.measure_reverse();
\echo 'One event over' :patterns 'stored patterns, through an index of' :size ', ms:'
SELECT round(avg(matches), 1) AS "matches on average", round(percentile_cont(0.5) WITHIN GROUP (ORDER BY ms)::numeric, 2) AS median,
	round(percentile_cont(0.9) WITHIN GROUP (ORDER BY ms)::numeric, 2) AS "90 %", round(max(ms)::numeric, 2) AS max
FROM reverse;

DO $$
DECLARE
	wrong text;
BEGIN
	SELECT string_agg(name, ', ') INTO wrong FROM pg_temp.results WHERE answers <> 1;
	IF wrong IS NOT NULL THEN
		RAISE EXCEPTION 'index and scan differ: %', wrong;
	END IF;
	SELECT string_agg(name, ', ') INTO wrong FROM pg_temp.results WHERE planned > 1.2 * others + 0.05;
	IF wrong IS NOT NULL THEN
		RAISE EXCEPTION 'slower than 1.2 times the best: %', wrong;
	END IF;
	SELECT string_agg(name, ', ') INTO wrong FROM pg_temp.results WHERE NOT "right" HAVING count(*) > 2;
	IF wrong IS NOT NULL THEN
		RAISE EXCEPTION 'planned the slower way: %', wrong;
	END IF;
	IF (SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY ms) FROM pg_temp.reverse) > 2 THEN
		RAISE EXCEPTION 'one event over the stored patterns takes more than 2 ms';
	END IF;
END $$;
\if :{?table}
\else
DROP VIEW chosen;
DROP TABLE public.bench_events;
\endif
DROP TABLE public.bench_patterns;
