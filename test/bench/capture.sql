--
-- Cost of change capture: what a row trigger adds to INSERT.
--
-- psql -f test/bench/capture.sql, in a database with the extension.  Inserts
-- 100,000 rows in one statement, and commits, without trigger, with a PL/pgSQL
-- trigger that does the same by hand, and with a stream trigger; each with a
-- filter that wants no row and with one that wants all.  Seven rounds after
-- one to warm up; medians; cost is time less that without trigger.
--
\set ON_ERROR_STOP on
\set QUIET on
\pset pager off
SET client_min_messages = warning;
SET jit = off;

DROP SCHEMA IF EXISTS eb_bench CASCADE;
CREATE SCHEMA eb_bench;
SET search_path = eb_bench;

CREATE TABLE appointments (
	id bigint PRIMARY KEY,
	patient text NOT NULL,
	status text NOT NULL,
	starts_at timestamptz NOT NULL,
	minutes int,
	fee numeric(10, 2),
	note text
);

CREATE TABLE timing (variant text, round int, ms float8);

-- What one would write by hand: the record, the test, the notification.
CREATE FUNCTION by_hand() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
	record jsonb;
BEGIN
	record := jsonb_build_object(
		'eventID', gen_random_uuid(),
		'eventName', TG_OP,
		'eventVersion', '1.1',
		'eventSource', 'aws:dynamodb',
		'awsRegion', 'us-east-1',
		'dynamodb', jsonb_build_object(
			'ApproximateCreationDateTime', extract(epoch FROM statement_timestamp())::bigint,
			'Keys', jsonb_build_object('id', NEW.id),
			'NewImage', to_jsonb(NEW),
			'StreamViewType', 'NEW_IMAGE'));
	IF record ->> 'eventName' = 'INSERT' AND record #>> '{dynamodb,NewImage,status}' = TG_ARGV[0] THEN
		PERFORM pg_notify('eb_bench', record::text);
	END IF;
	RETURN NULL;
END
$$;

-- One round of one variant: none, or the trigger of that name.
CREATE PROCEDURE measure(which text, round int) LANGUAGE plpgsql AS $$
DECLARE
	started timestamptz;
BEGIN
	ALTER TABLE eb_bench.appointments DISABLE TRIGGER USER;
	IF which <> 'none' THEN
		EXECUTE format('ALTER TABLE eb_bench.appointments ENABLE TRIGGER %I', which);
	END IF;
	TRUNCATE eb_bench.appointments;
	COMMIT;
	started := clock_timestamp();
	INSERT INTO eb_bench.appointments
		SELECT n, 'patient ' || n, 'NEW', '2026-01-01 08:00:00+00'::timestamptz + n * interval '1 minute',
			   30, 49.50, 'bring the x-ray'
		FROM generate_series(1, 100000) AS n;
	COMMIT;
	INSERT INTO eb_bench.timing
		VALUES (which, round, extract(epoch FROM clock_timestamp() - started) * 1000);
	COMMIT;
END
$$;

CREATE TRIGGER by_hand_none AFTER INSERT ON appointments FOR EACH ROW
	EXECUTE FUNCTION by_hand('cancelled');
CREATE TRIGGER by_hand_all AFTER INSERT ON appointments FOR EACH ROW
	EXECUTE FUNCTION by_hand('NEW');
CREATE TRIGGER stream_none AFTER INSERT ON appointments FOR EACH ROW
	EXECUTE FUNCTION eventbridge.stream('view_type=NEW_IMAGE', 'notify=eb_bench',
		'filter={"eventName": ["INSERT"], "dynamodb": {"NewImage": {"status": {"S": ["cancelled"]}}}}');
CREATE TRIGGER stream_static AFTER INSERT ON appointments FOR EACH ROW
	EXECUTE FUNCTION eventbridge.stream('view_type=NEW_IMAGE', 'notify=eb_bench',
		'filter={"eventName": ["REMOVE"], "dynamodb": {"NewImage": {"status": {"S": ["NEW"]}}}}');
CREATE TRIGGER stream_all AFTER INSERT ON appointments FOR EACH ROW
	EXECUTE FUNCTION eventbridge.stream('view_type=NEW_IMAGE', 'notify=eb_bench',
		'filter={"eventName": ["INSERT"], "dynamodb": {"NewImage": {"status": {"S": ["NEW"]}}}}');

SELECT format('CALL measure(%L, %s)', variant, round)
FROM generate_series(0, 7) AS round,
	 unnest(array['none', 'by_hand_none', 'stream_static', 'stream_none', 'by_hand_all', 'stream_all']) AS variant
\gexec

WITH median AS (
	SELECT variant, percentile_cont(0.5) WITHIN GROUP (ORDER BY ms) AS ms
	FROM timing WHERE round > 0 GROUP BY variant
), cost AS (
	SELECT m.variant, m.ms, m.ms - n.ms AS own
	FROM median m, median n WHERE n.variant = 'none'
)
SELECT c.variant, round(c.ms::numeric, 1) AS "total, ms",
	   round((c.own * 10)::numeric / 1000, 3) AS "trigger, us a row",
	   round((c.own / h.own)::numeric, 3) AS "of by hand",
	   CASE WHEN c.variant IN ('stream_none', 'stream_static') THEN '0.100'
			WHEN c.variant = 'stream_all' THEN '0.333' END AS "at most"
FROM cost c
LEFT JOIN cost h ON c.variant LIKE 'stream%' AND
	h.variant = CASE c.variant WHEN 'stream_all' THEN 'by_hand_all' ELSE 'by_hand_none' END
ORDER BY c.ms;

DROP SCHEMA eb_bench CASCADE;
