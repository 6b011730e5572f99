--
-- What the rules of a bus cost a backend, in memory and in time, with few rules
-- and with many: where each backend keeps them itself, and where large sets lie
-- in shared memory.
--
-- server: shared_preload_libraries = 'eventbridge'
-- server: eventbridge.background_workers = off
--
--   psql -f test/bench/shared_rules.sql
--
-- The server has to preload the library (make bench sees to it); where each
-- keeps its own, eventbridge.shared_rule_memory is 0, which is the same as if
-- the library were not preloaded.  Each row of the table is one fresh backend
-- that is asked for one event after another.  "read" is the call in which it
-- stops asking the index and takes in the rules; "own" is what it then holds of
-- them by pg_backend_memory_contexts, "private" what its private memory has
-- grown by (Linux: RssAnon); "shared" is what lies in shared memory, for all.
--
\set ON_ERROR_STOP on
\set QUIET on
\pset pager off
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS eventbridge;
SET search_path = eventbridge, public;

DO $$ BEGIN
	IF current_setting('shared_preload_libraries') !~ 'eventbridge' THEN
		RAISE EXCEPTION 'the server does not preload the library';
	END IF;
END $$;

CREATE FUNCTION public.pattern(i integer) RETURNS text LANGUAGE sql IMMUTABLE AS $$
	SELECT CASE i % 4
		WHEN 0 THEN format('{"source": ["aws.s%s"], "detail-type": ["t%s"], "account": ["%s"], "detail": {"state": ["running", "stopped"]}}',
			i % 20, i % 60, 100000000000 + i % 5000)
		WHEN 1 THEN format('{"source": ["aws.s%s"], "detail": {"instance-id": ["i-%s", "i-%s"]}}', i % 20, md5(i::text), md5((i + 1)::text))
		WHEN 2 THEN format('{"source": ["aws.s%s"], "detail": {"object": {"key": [{"prefix": "tenant-%s/%s"}]}}}', i % 20, i % 5000, md5(i::text))
		ELSE format('{"account": ["%s"], "detail": {"amount": [{"numeric": [">=", %s, "<", %s]}]}}', 100000000000 + i % 5000, i % 1000, i % 1000 + 20)
		END $$;
SELECT create_event_bus('bus' || n) FROM unnest('{1,100,1000,100000}'::integer[]) n \g /dev/null
INSERT INTO rule (bus_id, name, owner, event_pattern, event_pattern_text)
	SELECT bus_id, 'rule-' || i, current_user, pattern(i)::event_pattern, pattern(i)
	FROM event_bus, generate_series(1, substr(event_bus.name, 4)::integer) i WHERE event_bus.name LIKE 'bus%';
VACUUM ANALYZE rule;

CREATE TABLE public.measured (n serial, rules integer, mode text, first_ms float8, next_ms float8,
	read_at integer, read_ms float8, event_us float8, own_bytes bigint, private_kb bigint, shared_bytes bigint);

-- Private memory of this backend in kB; null elsewhere than on Linux.
CREATE FUNCTION public.private_memory() RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
	RETURN substring(pg_read_file('/proc/self/status') FROM 'RssAnon:\s+(\d+)')::bigint;
EXCEPTION WHEN OTHERS THEN
	RETURN NULL;
END $$;
CREATE FUNCTION public.own_memory() RETURNS bigint LANGUAGE sql AS $$
	SELECT coalesce(sum(total_bytes), 0)::bigint FROM pg_backend_memory_contexts
	WHERE name IN ('eventbridge rules of a bus', 'event rule set', 'event rules', 'event rules by number',
		'eventbridge rules', 'eventbridge targets') $$;

CREATE PROCEDURE public.measure(rules integer, mode text) LANGUAGE plpgsql AS $$
DECLARE
	event jsonb := '{"source": "aws.s1", "account": "100000000003", "detail-type": "t1", "detail": {"amount": 15, "state": "running",
		"instance-id": "i-c4ca4238a0b923820dcc509a6f75849b", "object": {"key": "tenant-2/c81e728d9d4c2f636f067f89cc14862c"}}}';
	bus text := 'bus' || rules;
	before bigint := public.private_memory();
	began timestamptz;
	ms float8;
	row public.measured;
BEGIN
	FOR i IN 1 .. 100000 LOOP
		began := clock_timestamp();
		PERFORM eventbridge.matching_rules(event, bus);
		ms := extract(epoch FROM clock_timestamp() - began) * 1000;
		IF i = 1 THEN
			row.first_ms := ms;
		ELSIF i = 2 THEN
			row.next_ms := ms;
		END IF;
		-- it is looked for where it costs little, or was likely
		IF (i <= 50 OR ms > 4 * row.next_ms OR i % 50 = 0) AND public.own_memory() > 0 THEN
			row.read_at := i;
			row.read_ms := ms;
			EXIT;
		END IF;
	END LOOP;
	-- small sets are compiled after some use
	FOR i IN 1 .. 300 LOOP
		PERFORM eventbridge.matching_rules(event, bus);
	END LOOP;
	began := clock_timestamp();
	FOR i IN 1 .. 2000 LOOP
		PERFORM eventbridge.matching_rules(event, bus);
	END LOOP;
	row.event_us := extract(epoch FROM clock_timestamp() - began) * 1000000 / 2000;
	row.own_bytes := public.own_memory();
	row.private_kb := public.private_memory() - before;
	SELECT sum(bytes) INTO row.shared_bytes FROM eventbridge.shared_rule_sets() WHERE event_bus_name = bus;
	INSERT INTO public.measured (rules, mode, first_ms, next_ms, read_at, read_ms, event_us, own_bytes, private_kb, shared_bytes)
	VALUES (rules, mode, row.first_ms, row.next_ms, row.read_at, row.read_ms, row.event_us, row.own_bytes, row.private_kb, row.shared_bytes);
END $$;

-- What measures each number of rules in some ways, each in a fresh backend.
CREATE FUNCTION public.script(VARIADIC ways text[]) RETURNS SETOF text LANGUAGE sql AS $$
	SELECT format(E'\\c -\nCALL measure(%s, %L);', rules, way)
	FROM unnest('{1,100,1000,100000}'::integer[]) rules, unnest(ways) WITH ORDINALITY AS w (way, n)
	ORDER BY rules, n $$;
\set script `mktemp /tmp/eventbridge_bench.XXXXXX`

-- a setting that is changed is known to backends that are started later
ALTER SYSTEM SET eventbridge.shared_rule_memory = 0;
SELECT pg_reload_conf(), pg_sleep(0.2) \g /dev/null
SELECT public.script('each its own') \g (format=unaligned tuples_only=on) :script
\i :script

ALTER SYSTEM RESET eventbridge.shared_rule_memory;
SELECT pg_reload_conf(), pg_sleep(0.2) \g /dev/null
SELECT public.script('shared: first', 'shared: second') \g (format=unaligned tuples_only=on) :script
\i :script
\setenv EB_SCRIPT :script
\! rm "$EB_SCRIPT"

\echo 'A fresh backend, asked which rules of a bus want one event after another:'
SELECT rules, mode, round(first_ms::numeric, 2) AS "first ms", round(next_ms::numeric, 3) AS "next ms",
	read_at AS "read in call", round(read_ms::numeric, 2) AS "which took ms", round(event_us::numeric, 1) AS "then µs an event",
	round(own_bytes / 1e6, 2) AS "own MB", round(private_kb / 1e3, 1) AS "private MB", round(shared_bytes / 1e6, 1) AS "shared MB"
FROM measured ORDER BY rules, n;

-- One rule of 100,000 is changed: the next event sees it, by the index.
\c -
CREATE TEMP TABLE seen (ms float8, sees boolean);
CALL measure(100000, 'changed');
DO $$
DECLARE
	began timestamptz;
	sees boolean;
BEGIN
	FOR i IN 1 .. 7 LOOP
		PERFORM eventbridge.put_rule('rule-7', format('{"source": ["n%s"]}', i), event_bus_name => 'bus100000');
		COMMIT;
		began := clock_timestamp();
		sees := EXISTS (SELECT FROM eventbridge.matching_rules(jsonb_build_object('source', 'n' || i), 'bus100000') name WHERE name = 'rule-7');
		INSERT INTO pg_temp.seen VALUES (extract(epoch FROM clock_timestamp() - began) * 1000, sees);
	END LOOP;
END $$;
\echo 'After one of 100,000 rules has changed, the next event:'
SELECT round(percentile_cont(0.5) WITHIN GROUP (ORDER BY ms)::numeric, 2) AS "ms (median of 7)", bool_and(sees) AS "sees it" FROM seen;
SELECT bool_and(sees) AND (SELECT max(own_bytes) < 8000000 FROM public.measured WHERE mode = 'shared: second') AS good FROM seen \gset
\if :good
	\echo 'A backend that shares keeps less than 8 MB of its own.'
\else
	DO $$ BEGIN RAISE EXCEPTION 'a backend that shares keeps 8 MB of its own or more, or a change was not seen'; END $$;
\endif
