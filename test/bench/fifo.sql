--
-- A FIFO queue of 1,000 groups, beside a queue written by hand.
--
-- 20,000 messages, 20 of each group, one after the other: sent by a call each,
-- 100 in a transaction; received ten at a time and deleted by a call each, a
-- transaction for each ten. By hand: a table with a unique key for
-- deduplication, from which FOR UPDATE SKIP LOCKED takes messages that are the
-- first of their group, in PL/pgSQL functions. Three rounds after one to warm
-- up; medians in microseconds per message, and the ratio of the sums.
--
\set ON_ERROR_STOP on
\set QUIET on
\pset pager off
SET client_min_messages = warning;
SET jit = off;

DROP SCHEMA IF EXISTS eb_bench CASCADE;
CREATE SCHEMA eb_bench;
SET search_path = eb_bench, eventbridge, public;

CREATE TABLE eb_bench.timing (variant text, round int, send float8, consume float8);
CREATE TABLE eb_bench.message (
	id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	message_group text NOT NULL,
	deduplication_id text NOT NULL UNIQUE,
	body text NOT NULL,
	visible_at timestamptz NOT NULL DEFAULT clock_timestamp(),
	receive_count int NOT NULL DEFAULT 0
) WITH (fillfactor = 80);
CREATE INDEX ON eb_bench.message (message_group, id);
SELECT create_queue('bench.fifo') AS queue \gset

CREATE FUNCTION eb_bench.send(message_group text, body text, deduplication_id text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO eb_bench.message (message_group, body, deduplication_id) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING;
END $$;
CREATE FUNCTION eb_bench.receive(max_messages int) RETURNS SETOF eb_bench.message LANGUAGE plpgsql AS $$
BEGIN
	RETURN QUERY UPDATE eb_bench.message AS u SET visible_at = clock_timestamp() + interval '30 s', receive_count = u.receive_count + 1
	WHERE u.id = ANY (ARRAY(
		SELECT m.id FROM eb_bench.message AS m
		WHERE m.visible_at <= clock_timestamp() AND NOT EXISTS (
			SELECT FROM eb_bench.message AS e WHERE e.message_group = m.message_group AND e.id < m.id)
		ORDER BY m.id LIMIT max_messages FOR UPDATE SKIP LOCKED))
	RETURNING u.*;
END $$;
CREATE FUNCTION eb_bench.remove(id bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	DELETE FROM eb_bench.message AS m WHERE m.id = $1;
END $$;

CREATE PROCEDURE eb_bench.measure(variant text, round int) LANGUAGE plpgsql AS $$
DECLARE
	n constant int := 20000;
	start timestamptz := clock_timestamp();
	between timestamptz;
	m record;
	taken int;
BEGIN
	FOR i IN 1 .. n LOOP
		IF variant = 'by hand' THEN
			PERFORM eb_bench.send('group ' || i % 1000, 'message ' || i, round || '/' || i);
		ELSE
			PERFORM eventbridge.send_message('bench.fifo', 'message ' || i, message_group_id => 'group-' || i % 1000,
				message_deduplication_id => round || '/' || i);
		END IF;
		IF i % 100 = 0 THEN
			COMMIT;
		END IF;
	END LOOP;
	between := clock_timestamp();
	LOOP
		taken := 0;
		IF variant = 'by hand' THEN
			FOR m IN SELECT * FROM eb_bench.receive(10) LOOP
				PERFORM eb_bench.remove(m.id);
				taken := taken + 1;
			END LOOP;
		ELSE
			FOR m IN SELECT * FROM eventbridge.receive_messages('bench.fifo', 10) LOOP
				PERFORM eventbridge.delete_message('bench.fifo', m.receipt_handle);
				taken := taken + 1;
			END LOOP;
		END IF;
		COMMIT;
		EXIT WHEN taken = 0;
	END LOOP;
	INSERT INTO eb_bench.timing VALUES (variant, round, extract(epoch FROM between - start) * 1e6 / n,
		extract(epoch FROM clock_timestamp() - between) * 1e6 / n);
END $$;

\o /dev/null
SELECT format('CALL eb_bench.measure(%L, %s)', v, r)
FROM generate_series(0, 3) AS r, unnest('{by hand,FIFO queue}'::text[]) AS v ORDER BY r, v \gexec
\o

WITH median AS (
	SELECT variant, percentile_cont(0.5) WITHIN GROUP (ORDER BY send) AS send, percentile_cont(0.5) WITHIN GROUP (ORDER BY consume) AS consume
	FROM eb_bench.timing WHERE round > 0 GROUP BY variant)
SELECT m.variant, round(m.send::numeric, 1) AS "send, µs", round(m.consume::numeric, 1) AS "receive and delete, µs",
	round(((m.send + m.consume) / (h.send + h.consume))::numeric, 2) AS "times by hand"
FROM median AS m, median AS h WHERE h.variant = 'by hand' ORDER BY 1;

DROP SCHEMA eb_bench CASCADE;
SELECT delete_queue('bench.fifo') \g /dev/null
