--
-- Cost of a stream with a pipe: what it adds to INSERT, and the way from there
-- through a pipe into a queue.
--
-- 200,000 rows inserted in one statement, and committed: without a stream, with
-- a pipe whose filter wants no row, 1 % and all of them, and with what one
-- would write by hand, a PL/pgSQL trigger per row or per statement that
-- inserts into an outbox. Five rounds after one to warm up; medians.
--
\set ON_ERROR_STOP on
\set QUIET on
\pset pager off
SET client_min_messages = warning;
SET jit = off;

DROP SCHEMA IF EXISTS eb_bench CASCADE;
CREATE SCHEMA eb_bench;
SET search_path = eb_bench, eventbridge, public;

CREATE TABLE appointments (
	id bigint PRIMARY KEY,
	patient text NOT NULL,
	status text NOT NULL,
	starts_at timestamptz NOT NULL,
	minutes int,
	fee numeric(10, 2),
	note text
);
CREATE TABLE outbox (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, record jsonb NOT NULL);
CREATE TABLE timing (variant text, round int, ms float8);

CREATE FUNCTION by_row() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO eb_bench.outbox (record) VALUES (jsonb_build_object('eventName', TG_OP,
		'dynamodb', jsonb_build_object('Keys', jsonb_build_object('id', NEW.id), 'NewImage', to_jsonb(NEW))));
	RETURN NULL;
END $$;
CREATE FUNCTION by_statement() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO eb_bench.outbox (record) SELECT jsonb_build_object('eventName', TG_OP,
		'dynamodb', jsonb_build_object('Keys', jsonb_build_object('id', n.id), 'NewImage', to_jsonb(n))) FROM new_rows AS n;
	RETURN NULL;
END $$;
CREATE TRIGGER by_row AFTER INSERT ON appointments FOR EACH ROW EXECUTE FUNCTION by_row();
CREATE TRIGGER by_statement AFTER INSERT ON appointments REFERENCING NEW TABLE AS new_rows
	FOR EACH STATEMENT EXECUTE FUNCTION by_statement();

SELECT create_queue('bench') AS queue, enable_stream('appointments', 'NEW_IMAGE') AS stream \gset
CREATE PROCEDURE measure(which text, filter text, round int) LANGUAGE plpgsql AS $$
DECLARE
	started timestamptz;
BEGIN
	IF filter IS NOT NULL THEN
		PERFORM eventbridge.create_pipe('bench', (SELECT stream_arn FROM eventbridge.streams), eventbridge._arn('sqs', 'bench'),
			jsonb_build_object('Filters', jsonb_build_array(jsonb_build_object('Pattern', filter))));
	END IF;
	ALTER TABLE eb_bench.appointments DISABLE TRIGGER USER;
	IF filter IS NOT NULL THEN
		ALTER TABLE eb_bench.appointments ENABLE ALWAYS TRIGGER "0_eventbridge_stream";
	ELSIF which <> 'none' THEN
		EXECUTE format('ALTER TABLE eb_bench.appointments ENABLE TRIGGER %I', which);
	END IF;
	TRUNCATE eb_bench.appointments, eb_bench.outbox;
	COMMIT;
	started := clock_timestamp();
	INSERT INTO eb_bench.appointments
		SELECT n, 'patient ' || n, CASE WHEN n % 100 = 0 THEN 'LATE' ELSE 'NEW' END,
			   '2026-01-01 08:00:00+00'::timestamptz + n * interval '1 minute', 30, 49.50, 'bring the x-ray'
		FROM generate_series(1, 200000) AS n;
	COMMIT;
	INSERT INTO eb_bench.timing VALUES (which, round, extract(epoch FROM clock_timestamp() - started) * 1000);
	COMMIT;
	IF filter IS NOT NULL THEN
		PERFORM eventbridge.delete_pipe('bench');
	END IF;
	TRUNCATE eventbridge.stream_log_0, eventbridge.stream_log_1, eventbridge.stream_log_2;
	COMMIT;
END $$;

DO $$
BEGIN
	FOR round IN 0 .. 5 LOOP
		CALL eb_bench.measure('none', NULL, round);
		CALL eb_bench.measure('pipe, wants none', '{"dynamodb": {"NewImage": {"status": {"S": ["cancelled"]}}}}', round);
		CALL eb_bench.measure('pipe, wants 1 %', '{"dynamodb": {"NewImage": {"status": {"S": ["LATE"]}}}}', round);
		CALL eb_bench.measure('pipe, wants all', '{"eventName": ["INSERT"]}', round);
		CALL eb_bench.measure('by_row', NULL, round);
		CALL eb_bench.measure('by_statement', NULL, round);
	END LOOP;
END $$;

SELECT variant, round(median::numeric, 1) AS ms, round((median / none)::numeric, 2) AS ratio
FROM (SELECT variant, percentile_cont(0.5) WITHIN GROUP (ORDER BY ms) AS median FROM timing WHERE round > 0 GROUP BY variant) AS m,
	(SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY ms) AS none FROM timing WHERE round > 0 AND variant = 'none') AS n
ORDER BY median;

-- end to end: 200,000 records through an enrichment that changes nothing, into a queue
CREATE FUNCTION public.eb_bench_same(jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS 'SELECT $1';
SELECT create_pipe('bench', :'stream', :'queue', enrichment => 'arn:aws:lambda:us-east-1:000000000000:function:eb_bench_same',
	source_parameters => '{"DynamoDBStreamParameters": {"StartingPosition": "LATEST", "BatchSize": 1000}}') AS pipe \gset
ALTER TABLE appointments DISABLE TRIGGER USER;
ALTER TABLE appointments ENABLE ALWAYS TRIGGER "0_eventbridge_stream";
TRUNCATE appointments;
INSERT INTO appointments SELECT n, 'patient ' || n, 'NEW', now(), 30, 49.50, 'bring the x-ray' FROM generate_series(1, 200000) AS n;
SELECT clock_timestamp() AS started \gset
CALL run_deliveries();
SELECT count(*) AS records, round(count(*) / extract(epoch FROM clock_timestamp() - :'started'::timestamptz)) AS records_per_second
FROM queue_message;
SELECT delete_pipe('bench'), delete_queue('bench') \gset
DROP FUNCTION public.eb_bench_same(jsonb);
DROP SCHEMA eb_bench CASCADE;
