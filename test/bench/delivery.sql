--
-- Putting events and delivering them, beside what one would write by hand.
--
--   psql -f test/bench/delivery.sql [-v batches=200]
--
-- Put: batches of 100 events of about 300 bytes that match one target, one
-- commit a batch; beside INSERT ... SELECT of the same rows into an outbox
-- table with a key.  Drain: run_deliveries() with a PL/pgSQL function that
-- inserts a row; beside a loop that takes one row at a time with SKIP LOCKED
-- and DELETE and calls the same function, and one that takes 100.  One client,
-- one run; each figure is rows a second.  Numbers of rounds are small, so run
-- it more than once on a machine that does nothing else.
--
\set ON_ERROR_STOP on
\set QUIET on
\pset pager off
\if :{?batches}
\else
	\set batches 200
\endif
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS eventbridge CASCADE;
CREATE EXTENSION eventbridge;
SET jit = off;
SET search_path = eventbridge, public;

CREATE TEMP TABLE result (step text, rate numeric);
CREATE SCHEMA eb_bench;
CREATE TABLE eb_bench.sink (n int);
CREATE TABLE eb_bench.outbox (id bigserial PRIMARY KEY, created_at timestamptz DEFAULT now(), topic text, payload jsonb);
CREATE FUNCTION eb_bench.handle(event jsonb) RETURNS void LANGUAGE plpgsql AS
$$BEGIN INSERT INTO eb_bench.sink VALUES (1); END$$;
CREATE TEMP TABLE entry AS
	SELECT jsonb_agg(jsonb_build_object('Source', 'shop', 'DetailType', 'order', 'Detail',
		jsonb_build_object('kind', 'order', 'id', i, 'customer', 'c' || i, 'amount', i * 1.5, 'note', repeat('x', 100))::text)) AS entries,
		jsonb_agg(jsonb_build_object('kind', 'order', 'id', i, 'customer', 'c' || i, 'amount', i * 1.5, 'note', repeat('x', 100))) AS details
	FROM generate_series(1, 100) AS i;
SELECT put_rule('bench', '{"source": ["shop"], "detail": {"kind": ["order"]}}'),
	put_targets('bench', '[{"Id": "f", "Arn": "arn:aws:lambda:us-east-1:000000000000:function:eb_bench.handle"}]') \g /dev/null
SELECT set_config('bench.batches', :'batches', false) \g /dev/null

DO $$
DECLARE
	batches constant int := current_setting('bench.batches');
	e jsonb := (SELECT entries FROM entry);
	d jsonb := (SELECT details FROM entry);
	started timestamptz;
	taken jsonb;
	n int;
	total int;
BEGIN
	/* Caches and pages first. */
	PERFORM eventbridge.put_events(e);
	COMMIT;
	CALL eventbridge.run_deliveries();

	started := clock_timestamp();
	FOR i IN 1 .. batches LOOP
		PERFORM eventbridge.put_events(e);
		COMMIT;
	END LOOP;
	INSERT INTO result VALUES ('put: put_events', batches * 100 / extract(epoch FROM clock_timestamp() - started));
	COMMIT;
	started := clock_timestamp();
	FOR i IN 1 .. batches LOOP
		INSERT INTO eb_bench.outbox (topic, payload) SELECT 'order', x FROM jsonb_array_elements(d) AS x;
		COMMIT;
	END LOOP;
	INSERT INTO result VALUES ('put: outbox, INSERT SELECT', batches * 100 / extract(epoch FROM clock_timestamp() - started));
	COMMIT;

	started := clock_timestamp();
	CALL eventbridge.run_deliveries();
	INSERT INTO result VALUES ('drain: run_deliveries', batches * 100 / extract(epoch FROM clock_timestamp() - started));
	COMMIT;
	total := 0;
	started := clock_timestamp();
	WHILE total < batches * 50 LOOP
		DELETE FROM eb_bench.outbox WHERE id = (SELECT id FROM eb_bench.outbox ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED)
		RETURNING payload INTO taken;
		PERFORM eb_bench.handle(taken);
		total := total + 1;
		COMMIT;
	END LOOP;
	INSERT INTO result VALUES ('drain: outbox, one at a time', total / extract(epoch FROM clock_timestamp() - started));
	COMMIT;
	total := 0;
	started := clock_timestamp();
	LOOP
		WITH gone AS (DELETE FROM eb_bench.outbox WHERE id IN
			(SELECT id FROM eb_bench.outbox ORDER BY id LIMIT 100 FOR UPDATE SKIP LOCKED) RETURNING payload)
		SELECT count(eb_bench.handle(payload)) INTO n FROM gone;
		EXIT WHEN n = 0;
		total := total + n;
		COMMIT;
	END LOOP;
	INSERT INTO result VALUES ('drain: outbox, 100 at a time', total / extract(epoch FROM clock_timestamp() - started));
END$$;

\echo Events a second
SELECT step, round(rate) AS per_second,
	round(rate / first_value(rate) OVER (PARTITION BY split_part(step, ':', 1) ORDER BY step LIKE '%outbox%'), 2) AS ratio
FROM result ORDER BY split_part(step, ':', 1) DESC, step LIKE '%outbox%', step;
DROP SCHEMA eb_bench CASCADE;
