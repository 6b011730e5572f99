--
-- From a table through a pipe into a queue, beside PgQ.
--
-- 200,000 rows inserted in one statement. The pipe: the table's stream, a
-- filter that wants all, an enrichment in SQL that changes nothing, a queue.
-- PgQ: its trigger jsontriga, and a consumer in SQL that takes batch after
-- batch and inserts each batch with one statement, through the same function,
-- into a table like that of a queue, with its keys. Three rounds after one to
-- warm up; medians of the time to capture, to consume, and of both. The queue
-- of PgQ is ticked by hand when the rows are in; without PgQ its part is left
-- out. Needs a superuser.
--
\set ON_ERROR_STOP on
\set QUIET on
\pset pager off
SET client_min_messages = warning;
SET jit = off;

DROP SCHEMA IF EXISTS eb_bench CASCADE;
CREATE SCHEMA eb_bench;
SET search_path = eb_bench, eventbridge, public;
SELECT count(*) > 0 AS has_pgq FROM pg_available_extensions WHERE name = 'pgq' \gset

CREATE TABLE eb_bench.piped (id bigint PRIMARY KEY, patient text NOT NULL, status text NOT NULL, starts_at timestamptz NOT NULL,
	minutes int, fee numeric(10, 2), note text);
CREATE TABLE eb_bench.queued (LIKE eb_bench.piped INCLUDING ALL);
CREATE TABLE eb_bench.message (LIKE eventbridge.queue_message INCLUDING ALL);
CREATE TABLE eb_bench.timing (variant text, round int, capture float8, consume float8);
CREATE FUNCTION public.eb_bench_same(jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS 'SELECT $1';

SELECT create_queue('bench') AS queue, enable_stream('eb_bench.piped', 'NEW_IMAGE') AS stream \gset
SELECT create_pipe('bench', :'stream', :'queue', '{"Filters": [{"Pattern": "{\"eventName\": [\"INSERT\"]}"}]}',
	'arn:aws:lambda:us-east-1:000000000000:function:eb_bench_same',
	source_parameters => '{"DynamoDBStreamParameters": {"StartingPosition": "LATEST", "BatchSize": 1000}}') AS pipe \gset
\if :has_pgq
	CREATE EXTENSION IF NOT EXISTS pgq;
	SELECT pgq.create_queue('bench'), pgq.register_consumer('bench', 'bench') \g /dev/null
	SELECT pgq.set_queue_config('bench', 'ticker_max_count', '1000') \g /dev/null
	CREATE TRIGGER capture AFTER INSERT ON eb_bench.queued FOR EACH ROW EXECUTE FUNCTION pgq.jsontriga('bench');
\endif

CREATE PROCEDURE eb_bench.fill(which text) LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('INSERT INTO eb_bench.%I SELECT n, ''patient '' || n, ''NEW'', ''2026-01-01 08:00:00+00''::timestamptz + n * interval ''1 minute'',
		30, 49.50, ''bring the x-ray'' FROM generate_series(1, 200000) AS n', which);
	COMMIT;
END $$;

CREATE PROCEDURE eb_bench.consume() LANGUAGE plpgsql AS $$
DECLARE
	batch bigint;
BEGIN
	PERFORM pgq.force_tick('bench');
	PERFORM pgq.ticker('bench');
	COMMIT;
	LOOP
		batch := pgq.next_batch('bench', 'bench');
		EXIT WHEN batch IS NULL;
		INSERT INTO eb_bench.message (queue_id, body)
		SELECT 1, r.value::text FROM jsonb_array_elements(public.eb_bench_same((
			SELECT jsonb_agg(jsonb_build_object('eventName', e.ev_type, 'table', e.ev_extra1, 'NewImage', e.ev_data::jsonb) ORDER BY e.ev_id)
			FROM pgq.get_batch_events(batch) AS e))) AS r;
		PERFORM pgq.finish_batch(batch);
		COMMIT;
	END LOOP;
END $$;

CREATE PROCEDURE eb_bench.measure(variant text, round int) LANGUAGE plpgsql AS $$
DECLARE
	began timestamptz;
	captured timestamptz;
	consumed timestamptz;
BEGIN
	TRUNCATE eb_bench.piped, eb_bench.queued, eb_bench.message, eventbridge.queue_message;
	COMMIT;
	began := clock_timestamp();
	CALL eb_bench.fill(CASE variant WHEN 'pipe' THEN 'piped' ELSE 'queued' END);
	captured := clock_timestamp();
	IF variant = 'pipe' THEN
		CALL eventbridge.run_deliveries();
	ELSE
		CALL eb_bench.consume();
	END IF;
	consumed := clock_timestamp();
	INSERT INTO eb_bench.timing VALUES (variant, round, extract(epoch FROM captured - began), extract(epoch FROM consumed - captured));
	IF (SELECT count(*) FROM eventbridge.queue_message) + (SELECT count(*) FROM eb_bench.message) <> 200000 THEN
		RAISE EXCEPTION 'records are missing';
	END IF;
	COMMIT;
END $$;

SELECT set_config('bench.pgq', :'has_pgq', false) \g /dev/null
DO $$
BEGIN
	FOR round IN 0 .. 3 LOOP
		CALL eb_bench.measure('pipe', round);
		IF current_setting('bench.pgq')::boolean THEN
			CALL eb_bench.measure('PgQ', round);
		END IF;
	END LOOP;
END $$;

SELECT variant, round((percentile_cont(0.5) WITHIN GROUP (ORDER BY capture))::numeric, 2) AS capture_s,
	round((percentile_cont(0.5) WITHIN GROUP (ORDER BY consume))::numeric, 2) AS consume_s,
	round((200000 / percentile_cont(0.5) WITHIN GROUP (ORDER BY capture + consume))::numeric) AS records_per_second,
	round((200000 / percentile_cont(0.5) WITHIN GROUP (ORDER BY consume))::numeric) AS consumed_per_second
FROM eb_bench.timing WHERE round > 0 GROUP BY 1 ORDER BY 4 DESC;

SELECT delete_pipe('bench'), delete_queue('bench') \g /dev/null
\if :has_pgq
	SELECT pgq.unregister_consumer('bench', 'bench'), pgq.drop_queue('bench') \g /dev/null
	DROP EXTENSION pgq;
\endif
DROP FUNCTION public.eb_bench_same(jsonb);
DROP SCHEMA eb_bench CASCADE;
