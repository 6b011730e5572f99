--
-- A set of patterns of each kind of operator against the features of a map:
-- parcels of a city, with properties and a polygon as an array of objects.
--
--   psql -f test/bench/citylots.sql [-v rounds=5] [-v shared=DIR]
--
-- DIR/gen_citylots.py writes the features, about 900 bytes each, one a line;
-- DIR/rules-citylots/KIND.jsonl has the patterns of a kind, one a line, as
-- {"name": ..., "pattern": "..."}.  These are the data and the rules of the
-- benchmark that AWS's event-ruler is measured with, and "peer" is what the
-- faster of event-ruler and quamina reached with them, in events a second, from
-- JSON text in memory, one thread, on 2 cores elsewhere.  Without DIR
-- (../shared/bench, if it is there) the script makes 50,000 parcels and sets
-- of its own.
--
-- One process, no JIT, no parallel query, the table in memory; each time is
-- the best of all rounds.
--
--	query		events a second of the whole query, from jsonb
--	matching	the same without the time of a scan that detoasts each event
--	from text	the whole query over a table of text, parsed for it
--
-- The script fails if a kind has not the number of matches that it should
-- have, or if its matching is slower than the peer's.
--
\set ON_ERROR_STOP on
\set QUIET on
\pset pager off
\if :{?rounds}
\else
	\set rounds 5
\endif
\if :{?shared}
\else
	\set shared `for d in ../shared/bench; do test ! -d "$d/rules-citylots" || echo "$d"; done`
\endif
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS eventbridge;
CREATE EXTENSION IF NOT EXISTS pg_prewarm;
SET jit = off;
SET max_parallel_workers_per_gather = 0;
SET search_path = eventbridge, public;
SELECT set_config('bench.rounds', :'rounds', false), :'shared' <> '' AS has_shared \gset

DROP TABLE IF EXISTS public.bench_lots, public.bench_lot_texts;
CREATE UNLOGGED TABLE public.bench_lots (event jsonb);
CREATE UNLOGGED TABLE public.bench_lot_texts (event text);
CREATE TEMP TABLE kinds (kind text, patterns event_pattern_set);
-- what is known of a kind from elsewhere
CREATE TEMP TABLE peers (kind text, matches bigint, rate float8);

\if :has_shared

\set load '\\copy public.bench_lot_texts FROM PROGRAM \'python3 "' :shared '/gen_citylots.py"\' WITH (FORMAT csv, QUOTE e''\\x01'', DELIMITER e''\\x02'')'
:load
INSERT INTO public.bench_lots SELECT event::jsonb FROM public.bench_lot_texts;
CREATE TEMP TABLE lines (n serial, file text, line text);
\set load '\\copy lines (file, line) FROM PROGRAM \'cd "' :shared '/rules-citylots" && awk "{ print FILENAME \\"\\\\002\\" \\$0 }" *.jsonl\' WITH (FORMAT csv, QUOTE e''\\x01'', DELIMITER e''\\x02'')'
:load
INSERT INTO kinds
SELECT replace(file, '.jsonl', ''), event_pattern_set((line::json ->> 'pattern')::event_pattern ORDER BY n) FROM lines GROUP BY file;
INSERT INTO peers VALUES
('EXACT', 793, 2052000), ('WILDCARD', 3791, 1805000), ('PREFIX', 2899, 1817000), ('PREFIX_EQUALS_IGNORE_CASE', 2899, 432000),
('SUFFIX', 23948, 1312000), ('SUFFIX_EQUALS_IGNORE_CASE', 23948, 407000), ('EQUALS_IGNORE_CASE', 122768, 1431000), ('NUMERIC', 320411, 222000),
('ANYTHING_BUT', 725507, 548000), ('ANYTHING_BUT_IGNORE_CASE', 725507, 263000), ('ANYTHING_BUT_PREFIX', 721934, 265000),
('ANYTHING_BUT_SUFFIX', 721518, 259000), ('ANYTHING_BUT_WILDCARD', 1061549, 255000), ('COMPLEX_ARRAYS', 322560, 48000),
('ANYTHING_BUT_PERF', 46934, 120000), ('PARTIAL_COMBO', 4280118, 77000), ('COMBO', 4602678, 29000);

\else

INSERT INTO public.bench_lots
SELECT jsonb_build_object('type', 'Feature',
	'properties', jsonb_build_object('MAPBLKLOT', to_char(i * 37 % 9999999, 'FM0000000'), 'BLKLOT', to_char(i, 'FM0000000'),
		'BLOCK_NUM', to_char(i / 40, 'FM0000'), 'LOT_NUM', to_char(i % 40, 'FM000'), 'FROM_ST', (i % 3000)::text, 'TO_ST', (i % 3000)::text,
		'STREET', (ARRAY['FULTON', 'MASON', 'JEFFERSON', 'HYDE', 'CHESTNUT', 'DRUMM', 'ACADIA', 'BLAKE', 'BLUXOME', 'RHINE', 'LAKE',
			'MISSION', 'WASHINGTON', 'SANTIAGO', 'IRVING', 'TURK', '17TH', '18TH', '19TH', '20TH', 'CLAY', 'PINE', 'BUSH'])[1 + i * 7 % 23],
		'ST_TYPE', (ARRAY['ST', 'AVE', 'BLVD', NULL])[1 + i % 4], 'ODD_EVEN', (ARRAY['E', 'O'])[1 + i % 2]),
	'geometry', jsonb_build_object('type', CASE WHEN i % 40 = 0 THEN 'MultiPolygon' ELSE 'Polygon' END,
		'firstCoordinates', jsonb_build_object('x', -122.4 - (i % 1009) / 10000.0, 'y', 37.7 + (i % 997) / 10000.0, 'z', 0),
		'coordinates', (SELECT jsonb_agg(jsonb_build_object('x', -122.4 - (i % 1009) / 10000.0 - n / 1e6, 'y', 37.7 + (i % 997) / 10000.0 + n / 1e6, 'z', 0))
			FROM generate_series(0, 4 + i % 9) n)))
FROM generate_series(1, 50000) i;
INSERT INTO public.bench_lot_texts SELECT event::text FROM public.bench_lots;
INSERT INTO kinds
SELECT kind, event_pattern_set(format('{"properties": {"%s": [%s]}}', field, condition)::event_pattern)
FROM (VALUES ('exact', 'MAPBLKLOT', '["1430022", "2607117", "2607218", "3745012", "0000370"]'),
	('wildcard', 'MAPBLKLOT', '[{"wildcard": "143*"}, {"wildcard": "2*0*1*7"}, {"wildcard": "*218"}, {"wildcard": "3*5*2"}, {"wildcard": "00*70"}]'),
	('prefix', 'STREET', '[{"prefix": "AC"}, {"prefix": "BL"}, {"prefix": "DR"}, {"prefix": "FU"}, {"prefix": "RH"}]'),
	('suffix', 'STREET', '[{"suffix": "ON"}, {"suffix": "KE"}, {"suffix": "MM"}, {"suffix": "ING"}, {"suffix": "GO"}]'),
	('prefix ignoring case', 'STREET', '[{"prefix": {"equals-ignore-case": "Ac"}}, {"prefix": {"equals-ignore-case": "bL"}}, {"prefix": {"equals-ignore-case": "dR"}}, {"prefix": {"equals-ignore-case": "Fu"}}, {"prefix": {"equals-ignore-case": "rH"}}]'),
	('suffix ignoring case', 'STREET', '[{"suffix": {"equals-ignore-case": "oN"}}, {"suffix": {"equals-ignore-case": "Ke"}}, {"suffix": {"equals-ignore-case": "mM"}}, {"suffix": {"equals-ignore-case": "InG"}}, {"suffix": {"equals-ignore-case": "gO"}}]'),
	('equals ignoring case', 'STREET', '[{"equals-ignore-case": "jefferson"}, {"equals-ignore-case": "bEaCh"}, {"equals-ignore-case": "HyDe"}, {"equals-ignore-case": "CHESTNUT"}, {"equals-ignore-case": "lake"}]'),
	('anything-but', 'STREET', '[{"anything-but": ["FULTON"]}, {"anything-but": ["MASON"]}, {"anything-but": ["HYDE"]}, {"anything-but": ["LAKE"]}, {"anything-but": ["CLAY"]}]'),
	('anything-but wildcard', 'MAPBLKLOT', '[{"anything-but": {"wildcard": "143*"}}, {"anything-but": {"wildcard": "2*0*1*7"}}, {"anything-but": {"wildcard": "*218"}}, {"anything-but": {"wildcard": "3*5*2"}}, {"anything-but": {"wildcard": "00*70"}}]')
	) AS k (kind, field, conditions), jsonb_array_elements(conditions::jsonb) condition
GROUP BY kind
UNION ALL
SELECT kind, event_pattern_set(format('{"geometry": {"%s": {"x": [%s]}}}', field, condition)::event_pattern)
FROM (VALUES ('numeric', 'firstCoordinates'), ('arrays of objects', 'coordinates')) AS k (kind, field),
	jsonb_array_elements('[{"numeric": ["=", -122.43]}, {"numeric": ["<", -122.45]}, {"numeric": [">", -122.45]}, '
		'{"numeric": [">", -122.46, "<", -122.41]}, {"numeric": [">=", -122.41]}]') condition
GROUP BY kind;
INSERT INTO kinds
SELECT 'all of these', ('[' || string_agg(substr(patterns::text, 2, length(patterns::text) - 2), ', ') || ']')::event_pattern_set FROM kinds;

\endif
VACUUM ANALYZE public.bench_lots;
VACUUM ANALYZE public.bench_lot_texts;
SELECT pg_prewarm('public.bench_lots'), pg_prewarm('public.bench_lot_texts') \g /dev/null

CREATE TEMP TABLE kind_times (kind text, rules integer, matches bigint, seconds float8, scan float8, parsed float8);
CREATE PROCEDURE pg_temp.measure() LANGUAGE plpgsql AS $$
DECLARE
	k record;
	took float8;
	scan float8;
	parsed float8;
	began timestamptz;
	matches bigint;
BEGIN
	FOR k IN SELECT kind, patterns FROM kinds ORDER BY kind LOOP
		took := NULL;
		scan := NULL;
		parsed := NULL;
		FOR round IN 1 .. current_setting('bench.rounds')::integer LOOP
			began := clock_timestamp();
			PERFORM count(*) FROM public.bench_lots WHERE jsonb_typeof(event) = 'object';
			scan := least(scan, extract(epoch FROM clock_timestamp() - began));
			began := clock_timestamp();
			SELECT sum(cardinality(match_any(event, k.patterns))) INTO matches FROM public.bench_lots;
			took := least(took, extract(epoch FROM clock_timestamp() - began));
		END LOOP;
		began := clock_timestamp();
		PERFORM sum(cardinality(match_any(event::jsonb, k.patterns))) FROM public.bench_lot_texts;
		parsed := extract(epoch FROM clock_timestamp() - began);
		INSERT INTO kind_times VALUES (k.kind, json_array_length(k.patterns::text::json), matches, took, scan, parsed);
	END LOOP;
END $$;
CALL pg_temp.measure();

SELECT count(*) AS lots FROM public.bench_lots \gset
CREATE TEMP VIEW results AS
SELECT t.kind, t.rules, t.matches, :lots / t.seconds AS query, :lots / greatest(t.seconds - t.scan, 1e-6) AS matching,
	:lots / t.parsed AS parsed, p.matches AS right_matches, p.rate AS peer
FROM kind_times t LEFT JOIN peers p USING (kind);
\echo 'By kind,' :lots 'features, events/s:'
SELECT kind, rules, matches, round(query) AS query, round(matching) AS matching, round(parsed) AS "from text", round(peer) AS peer,
	round((matching / peer)::numeric, 2) AS "matching / peer"
FROM results ORDER BY kind;

DO $$
DECLARE
	wrong text;
BEGIN
	SELECT string_agg(kind, ', ') INTO wrong FROM pg_temp.results WHERE matches <> right_matches;
	IF wrong IS NOT NULL THEN
		RAISE EXCEPTION 'not the number of matches that it should be: %', wrong;
	END IF;
	SELECT string_agg(kind, ', ') INTO wrong FROM pg_temp.results WHERE matching < peer;
	IF wrong IS NOT NULL THEN
		RAISE EXCEPTION 'slower than the faster peer: %', wrong;
	END IF;
END $$;
DROP TABLE public.bench_lots, public.bench_lot_texts;
