--
-- Building indexes on stored events: time and size of the operator class
-- event_ops, without and with its option prefixes, beside jsonb_path_ops,
-- jsonb_ops and jsquery's (if it is there).  How they are searched: index.sql.
--
--   psql -f test/bench/index_build.sql [-v n=200000] [-v rounds=2] [-v others=off]
--
-- One process, no parallel build, with the server's maintenance_work_mem, which
-- is shown.  The classes are built in turn, and each time is the best of all
-- rounds.  A ratio is to jsonb_path_ops, which stands first.
--
-- The script fails if event_ops takes more than 1.3 times the space or the time
-- of jsonb_path_ops, or more than 2.5 times with prefixes.  With others=off no
-- other class is built, which is enough for that.
--
\ir index_session.psql
\if :{?rounds}
\else
	\set rounds 2
\endif
\if :{?others}
\else
	\set others on
\endif

\ir index_events.psql
VACUUM ANALYZE public.bench_events;

CREATE TEMP TABLE classes (id integer, class text, "limit" float8);
INSERT INTO classes VALUES (1, 'jsonb_path_ops', NULL), (2, 'event_ops', 1.3), (3, 'event_ops (prefixes = on)', 2.5);
\if :others
INSERT INTO classes VALUES (4, 'jsonb_ops', NULL);
\if :jsquery
CREATE EXTENSION IF NOT EXISTS jsquery SCHEMA public;
INSERT INTO classes VALUES (5, 'jsonb_path_value_ops', NULL);
\endif
\endif
CREATE TEMP TABLE built (id integer, seconds float8, bytes bigint);

CREATE PROCEDURE pg_temp.build(id integer, class text) LANGUAGE plpgsql AS $$
DECLARE
	began timestamptz := clock_timestamp();
BEGIN
	EXECUTE format('CREATE INDEX bench_index ON public.bench_events USING gin (event %s)', class);
	INSERT INTO pg_temp.built VALUES (id, extract(epoch FROM clock_timestamp() - began), pg_relation_size('public.bench_index'));
	DROP INDEX public.bench_index;
END $$;
SELECT format('CALL pg_temp.build(%s, %L)', id, class) FROM generate_series(1, :rounds) round, classes ORDER BY round, id \gexec

CREATE TEMP VIEW results AS
SELECT id, class, "limit", seconds, bytes, seconds / first_value(seconds) OVER w AS time_ratio, bytes::float8 / first_value(bytes) OVER w AS size_ratio
FROM (SELECT id, min(seconds) AS seconds, min(bytes) AS bytes FROM built GROUP BY id) b JOIN classes USING (id)
WINDOW w AS (ORDER BY id);

SELECT :n AS events, pg_size_pretty(pg_table_size('public.bench_events')) AS "size of the table", current_setting('maintenance_work_mem') AS maintenance_work_mem;
SELECT class, round(seconds::numeric, 1) AS "build, s", pg_size_pretty(bytes) AS size, round(time_ratio::numeric, 2) AS "build, ratio",
	round(size_ratio::numeric, 2) AS "size, ratio", "limit"
FROM results ORDER BY id;

DO $$
DECLARE
	wrong text;
BEGIN
	SELECT string_agg(class, ', ') INTO wrong FROM pg_temp.results WHERE time_ratio > "limit" OR size_ratio > "limit";
	IF wrong IS NOT NULL THEN
		RAISE EXCEPTION 'building takes too much time or space: %', wrong;
	END IF;
END $$;
DROP TABLE public.bench_events;
