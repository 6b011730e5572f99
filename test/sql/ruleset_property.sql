-- Sets of generated patterns against generated events: match_any gives what
-- matches() gives for each pattern.
SET search_path = eventbridge, public;
SET client_min_messages = warning;
\getenv test_dir PG_ABS_SRCDIR
\set generator :test_dir '/tools/generate.sql'
\set ECHO none
\i :generator
\set ECHO all

CREATE TABLE generate.patterns AS
	SELECT i, generate.pattern('ruleset p' || i) AS pattern FROM generate_series(1, 800) i;
CREATE TABLE generate.events AS
	SELECT i, generate.event('ruleset e' || i) AS event FROM generate_series(1, 400) i;

-- the matcher's answers; events that it refuses for some pattern are left out
CREATE TABLE generate.answers AS
	SELECT e.i AS event, p.i AS pattern, generate.matches(e.event, p.pattern) AS matches
	FROM generate.events e, generate.patterns p;
DELETE FROM generate.events WHERE i IN (SELECT event FROM generate.answers WHERE matches IS NULL);
DELETE FROM generate.answers WHERE NOT matches OR event NOT IN (SELECT i FROM generate.events);
SELECT count(*) > 390 AS most_events FROM generate.events;
SELECT count(*) > 10000 AS many_matches FROM generate.answers;

-- in sets of different sizes
CREATE TABLE generate.found AS
	SELECT size, event, first + position - 1 AS pattern
	FROM (SELECT size, min(i) AS first, event_pattern_set(pattern ORDER BY i) AS patterns
		  FROM generate.patterns, unnest('{1,3,40,800}'::integer[]) size
		  GROUP BY size, (i - 1) / size) sets,
		(SELECT i AS event, event AS value FROM generate.events) events,
		unnest(match_any(value, patterns)) position;
SELECT size, count(*) = count(a.event) AND count(*) = (SELECT count(*) FROM generate.answers) AS same
FROM generate.found f LEFT JOIN generate.answers a USING (event, pattern)
GROUP BY size ORDER BY size;
DROP SCHEMA generate CASCADE;
