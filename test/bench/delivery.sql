--
-- Putting events and delivering them, beside what one would write by hand and
-- beside PgQ.
--
--   psql -f test/bench/delivery.sql [-v batches=200] [-v rounds=3]
--
-- Put: batches of 100 events of about 300 bytes that match one target, one
-- commit a batch.  Beside it: the same entries into a hand-written outbox (a
-- key, the columns of the event, detail as jsonb); only their details, parsed
-- before, into a table of a key and a payload; and pgq.insert_event() called
-- for each, of its detail.
--
-- Drain: run_deliveries() with a PL/pgSQL function that gets the detail as jsonb
-- and inserts a row.  Beside it: a loop that takes one row of the outbox with
-- SKIP LOCKED, deletes it, calls the function and commits; one that takes 100 at
-- a time; and PgQ with batches of 1000 events, the same function called for each.
--
-- One client; each figure is events a second, the best of all rounds.  PgQ is
-- left out where it is not installed (postgresql-15-pgq3 and the like).
--
\set ON_ERROR_STOP on
\set QUIET on
\pset pager off
\if :{?batches}
\else
	\set batches 200
\endif
\if :{?rounds}
\else
	\set rounds 3
\endif
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS eventbridge CASCADE;
CREATE EXTENSION eventbridge;
SET jit = off;
SET search_path = eventbridge, public;

CREATE TEMP TABLE result (step text, rate numeric);
CREATE SCHEMA eb_bench;
CREATE TABLE eb_bench.sink (n int);
CREATE TABLE eb_bench.outbox (id bigserial PRIMARY KEY, event_id uuid DEFAULT gen_random_uuid(),
	created_at timestamptz DEFAULT now(), source text, detail_type text, detail jsonb);
CREATE TABLE eb_bench.payload (id bigserial PRIMARY KEY, created_at timestamptz DEFAULT now(), topic text, payload jsonb);
CREATE FUNCTION eb_bench.handle(event jsonb) RETURNS void LANGUAGE plpgsql AS
$$BEGIN INSERT INTO eb_bench.sink VALUES (1); END$$;
CREATE TEMP TABLE entry AS
	SELECT jsonb_agg(jsonb_build_object('Source', 'shop', 'DetailType', 'order', 'Detail',
		jsonb_build_object('kind', 'order', 'id', i, 'customer', 'c' || i, 'amount', i * 1.5, 'note', repeat('x', 100))::text)) AS entries,
		jsonb_agg(jsonb_build_object('kind', 'order', 'id', i, 'customer', 'c' || i, 'amount', i * 1.5, 'note', repeat('x', 100))) AS details
	FROM generate_series(1, 100) AS i;
SELECT put_rule('bench', '{"source": ["shop"], "detail": {"kind": ["order"]}}'),
	put_targets('bench', '[{"Id": "f", "Arn": "arn:aws:lambda:us-east-1:000000000000:function:eb_bench.handle", "InputPath": "$.detail"}]') \g /dev/null
SELECT set_config('bench.batches', :'batches', false) \g /dev/null
SELECT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'pgq') AS with_pgq \gset
\if :with_pgq
	CREATE EXTENSION IF NOT EXISTS pgq;
	SELECT pgq.create_queue('eb_bench'), pgq.register_consumer('eb_bench', 'eb_bench') \g /dev/null
\endif

CREATE FUNCTION pg_temp.note(step text, events int, started timestamptz, excluded interval DEFAULT '0') RETURNS void LANGUAGE sql AS $$
	INSERT INTO result VALUES (step, events / extract(epoch FROM clock_timestamp() - started - excluded))
$$;

CREATE PROCEDURE pg_temp.ours(batches int) LANGUAGE plpgsql AS $$
DECLARE
	e constant jsonb := (SELECT entries FROM entry);
	started timestamptz;
BEGIN
	started := clock_timestamp();
	FOR i IN 1 .. batches LOOP
		PERFORM eventbridge.put_events(e);
		COMMIT;
	END LOOP;
	PERFORM pg_temp.note('put: put_events', batches * 100, started);
	COMMIT;
	started := clock_timestamp();
	CALL eventbridge.run_deliveries();
	PERFORM pg_temp.note('drain: run_deliveries', batches * 100, started);
END $$;

CREATE PROCEDURE pg_temp.by_hand(batches int) LANGUAGE plpgsql AS $$
DECLARE
	e constant jsonb := (SELECT entries FROM entry);
	d constant jsonb := (SELECT details FROM entry);
	started timestamptz := clock_timestamp();
	taken jsonb;
	n int;
	total int := 0;
BEGIN
	FOR i IN 1 .. batches LOOP
		INSERT INTO eb_bench.payload (topic, payload) SELECT 'order', x FROM jsonb_array_elements(d) AS x;
		COMMIT;
	END LOOP;
	PERFORM pg_temp.note('put: outbox, parsed details', batches * 100, started);
	TRUNCATE eb_bench.payload;
	COMMIT;

	started := clock_timestamp();
	FOR i IN 1 .. batches LOOP
		INSERT INTO eb_bench.outbox (source, detail_type, detail)
			SELECT x ->> 'Source', x ->> 'DetailType', (x ->> 'Detail')::jsonb FROM jsonb_array_elements(e) AS x;
		COMMIT;
	END LOOP;
	PERFORM pg_temp.note('put: outbox, the same entries', batches * 100, started);
	COMMIT;

	started := clock_timestamp();
	WHILE total < batches * 50 LOOP
		DELETE FROM eb_bench.outbox WHERE id = (SELECT id FROM eb_bench.outbox ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED)
		RETURNING detail INTO taken;
		PERFORM eb_bench.handle(taken);
		total := total + 1;
		COMMIT;
	END LOOP;
	PERFORM pg_temp.note('drain: outbox, one at a time', total, started);
	COMMIT;
	total := 0;
	started := clock_timestamp();
	LOOP
		WITH gone AS (DELETE FROM eb_bench.outbox WHERE id IN
			(SELECT id FROM eb_bench.outbox ORDER BY id LIMIT 100 FOR UPDATE SKIP LOCKED) RETURNING detail)
		SELECT count(eb_bench.handle(detail)) INTO n FROM gone;
		EXIT WHEN n = 0;
		total := total + n;
		COMMIT;
	END LOOP;
	PERFORM pg_temp.note('drain: outbox, 100 at a time', total, started);
	TRUNCATE eb_bench.outbox, eb_bench.sink;
END $$;

CREATE PROCEDURE pg_temp.with_pgq(batches int) LANGUAGE plpgsql AS $$
DECLARE
	d constant jsonb := (SELECT details FROM entry);
	started timestamptz := clock_timestamp();
	ticking timestamptz;
	ticked interval := '0';
	batch bigint;
BEGIN
	FOR i IN 1 .. batches LOOP
		PERFORM pgq.insert_event('eb_bench', 'order', x) FROM jsonb_array_elements_text(d) AS x;
		COMMIT;
		IF i % 10 = 0 THEN
			ticking := clock_timestamp();
			PERFORM pgq.force_tick('eb_bench');
			PERFORM pgq.ticker('eb_bench');
			COMMIT;
			ticked := ticked + (clock_timestamp() - ticking);
		END IF;
	END LOOP;
	PERFORM pg_temp.note('put: pgq.insert_event', batches * 100, started, ticked);
	COMMIT;
	started := clock_timestamp();
	LOOP
		batch := pgq.next_batch('eb_bench', 'eb_bench');
		EXIT WHEN batch IS NULL;
		PERFORM eb_bench.handle(ev_data::jsonb) FROM pgq.get_batch_events(batch);
		PERFORM pgq.finish_batch(batch);
		COMMIT;
	END LOOP;
	PERFORM pg_temp.note('drain: PgQ, 1000 at a time', batches * 100, started);
	TRUNCATE eb_bench.sink;
END $$;

/* Caches and pages first. */
CALL pg_temp.ours(10);
CALL pg_temp.by_hand(10);
\if :with_pgq
	CALL pg_temp.with_pgq(10);
\endif
TRUNCATE result;
SELECT format('CALL pg_temp.ours(%1$s)', :batches), format('CALL pg_temp.by_hand(%1$s)', :batches),
	CASE WHEN :'with_pgq' THEN format('CALL pg_temp.with_pgq(%1$s)', :batches) END
FROM generate_series(1, :rounds) \gexec

\echo Events a second; ratio is ours to each
SELECT step, round(max(rate)) AS per_second,
	round(first_value(max(rate)) OVER (PARTITION BY split_part(step, ':', 1) ORDER BY step NOT IN ('put: put_events', 'drain: run_deliveries')) / max(rate), 2) AS ratio
FROM result GROUP BY step
ORDER BY split_part(step, ':', 1) DESC, step NOT IN ('put: put_events', 'drain: run_deliveries'), step;
DROP SCHEMA eb_bench CASCADE;
