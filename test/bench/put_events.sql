--
-- Putting events that no rule wants: put_events in batches of 100, put_event
-- and a table's trigger, as the number of rules grows.
--
--   psql -f test/bench/put_events.sql [-v rounds=5]
--
-- What no rule wants leaves nothing behind, so this is the cost of asking: the
-- checks of the entry, its id, and the matching.  One process, everything in
-- memory; each figure is the best of all rounds.  "ratio" is to the time of
-- casting the same details to type jsonb, in the same run.
--
\set ON_ERROR_STOP on
\set QUIET on
\pset pager off
\if :{?rounds}
\else
	\set rounds 5
\endif
SET client_min_messages = warning;
SET jit = off;
SET search_path = eventbridge, public;
SELECT set_config('bench.rounds', :'rounds', false) \g /dev/null

CREATE TEMP TABLE details AS
	SELECT i, format('{"kind":"other","order":%s,"customer":{"name":"Anna","city":"Oslo"},"total":12.50,"items":[1,2,3]}', i) AS detail
	FROM generate_series(1, 20000) AS i;
CREATE TEMP TABLE batches AS
	SELECT jsonb_agg(jsonb_build_object('Source', 'app', 'DetailType', 't', 'Detail', detail)) AS entries
	FROM details GROUP BY i / 100;
CREATE TEMP TABLE results (n serial, what text, rules integer, ms float8);
CREATE TABLE bench_put_plain (i integer, detail text);
CREATE TABLE bench_put_row (i integer, detail text);
CREATE TRIGGER put AFTER INSERT ON bench_put_row FOR EACH ROW
	EXECUTE FUNCTION put_row_event('source=app', 'detail_type=t');
SELECT create_log_group('bench') \g /dev/null

-- The best time of a statement, in milliseconds.
CREATE FUNCTION pg_temp.best(statement text) RETURNS float8 LANGUAGE plpgsql AS $$
DECLARE
	best float8;
	start timestamptz;
	ms float8;
BEGIN
	FOR round IN 1 .. current_setting('bench.rounds')::integer LOOP
		start := clock_timestamp();
		EXECUTE statement;
		ms := extract(epoch FROM clock_timestamp() - start) * 1000;
		best := least(best, ms);
	END LOOP;
	RETURN best;
END $$;

CREATE FUNCTION pg_temp.measure(rules integer) RETURNS void LANGUAGE sql AS $$
	INSERT INTO results (what, rules, ms) VALUES
		('put_events, batches of 100', rules, pg_temp.best('SELECT count(put_events(entries)) FROM batches')),
		('put_event', rules, pg_temp.best('SELECT count(put_event(''app'', ''t'', detail)) FROM details')),
		('insert, put_row_event', rules, pg_temp.best('INSERT INTO bench_put_row SELECT * FROM details'));
$$;

INSERT INTO results (what, ms) VALUES
	('cast to jsonb', pg_temp.best('SELECT count(detail::jsonb) FROM details')),
	('insert, no trigger', pg_temp.best('INSERT INTO bench_put_plain SELECT * FROM details'));
SELECT pg_temp.measure(0) \g /dev/null
SELECT count(put_rule('r' || i, format('{"source": ["app"], "detail": {"kind": ["k%s"]}}', i))),
	count(put_targets('r' || i, '[{"Id": "1", "Arn": "arn:aws:logs:us-east-1:000000000000:log-group:bench"}]'))
FROM generate_series(1, 10) AS i \g /dev/null
SELECT pg_temp.measure(10) \g /dev/null
SELECT count(put_rule('r' || i, format('{"source": ["app"], "detail": {"kind": ["k%s"]}}', i))),
	count(put_targets('r' || i, '[{"Id": "1", "Arn": "arn:aws:logs:us-east-1:000000000000:log-group:bench"}]'))
FROM generate_series(11, 10000) AS i \g /dev/null
SELECT pg_temp.measure(10000) \g /dev/null

\echo putting 20,000 events that no rule wants
SELECT what, coalesce(rules::text, '') AS rules, round(ms::numeric, 1) AS ms,
	round((20000 / ms * 1000)::numeric, -3) AS "events/s",
	round((ms / (SELECT ms FROM results WHERE what = 'cast to jsonb'))::numeric, 2) AS ratio
FROM results ORDER BY n;

\echo one rule changed, of 10,000: put_rule, and the next event
SELECT round(pg_temp.best('SELECT put_rule(''r5'', ''{"source": ["x"]}'')')::numeric, 2) AS "put_rule, ms",
	round(pg_temp.best('SELECT put_rule(''r5'', ''{"source": ["x"]}''), put_event(''app'', ''t'', ''{}'')')::numeric, 2) AS "and an event, ms";
