-- The rules of a bus, changed one at a time and many at a time: what a backend
-- keeps of them gives what the matcher gives for each rule in the table, and
-- what a set that is built afresh gives.
SET search_path = eventbridge, public;
SET client_min_messages = warning;
\getenv test_dir PG_ABS_SRCDIR
\set generator :test_dir '/tools/generate.sql'
\set ECHO none
\i :generator
\set ECHO all

SELECT create_event_bus('patched') IS NOT NULL AS created;
CREATE TABLE generate.events AS
	SELECT i, generate.event('patching e' || i) AS event FROM generate_series(1, 60) i;

-- events that the matcher refuses for some pattern are of no use here
CREATE FUNCTION generate.put(rule text, seed text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	pattern event_pattern := generate.pattern(seed);
BEGIN
	DELETE FROM generate.events WHERE generate.matches(event, pattern) IS NULL;
	PERFORM put_rule(rule, pattern::text, event_bus_name => 'patched');
END $$;

CREATE TABLE generate.wrong (step integer, event integer, found text[], wanted text[]);
CREATE TABLE generate.tally (step integer, compared bigint, matches bigint);

-- What is cached against what stands in the table, for a few events.
CREATE FUNCTION generate.compare(step integer) RETURNS void LANGUAGE sql AS $$
	WITH compared AS (
		SELECT i, ARRAY(SELECT matching_rules(event, 'patched')) AS found,
			ARRAY(SELECT name FROM rules
				WHERE event_bus_name = 'patched' AND state <> 'DISABLED' AND matches(event, event_pattern)
				ORDER BY name COLLATE "C") AS wanted
		FROM generate.events WHERE (i + step) % 12 = 0),
	wrong AS (INSERT INTO generate.wrong SELECT step, * FROM compared WHERE found <> wanted)
	INSERT INTO generate.tally SELECT step, count(*), sum(cardinality(wanted)) FROM compared;
$$;

-- What is cached against a set that is built afresh, for all events.
CREATE FUNCTION generate.compare_fresh(step integer) RETURNS void LANGUAGE sql AS $$
	WITH fresh AS (
		SELECT event_pattern_set(event_pattern ORDER BY name COLLATE "C") AS patterns, array_agg(name ORDER BY name COLLATE "C") AS names
		FROM rules WHERE event_bus_name = 'patched' AND state <> 'DISABLED'),
	compared AS (
		SELECT i, ARRAY(SELECT matching_rules(event, 'patched')) AS found,
			ARRAY(SELECT names[position] FROM unnest(match_any(event, patterns)) position) AS wanted
		FROM generate.events, fresh)
	INSERT INTO generate.wrong SELECT step, * FROM compared WHERE found <> wanted;
$$;

-- One change.
CREATE FUNCTION generate.change(step integer) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	rule text := 'r' || 1 + generate.pick('patching rule' || step, 400);
	is_there boolean := EXISTS (SELECT FROM rules WHERE name = rule AND event_bus_name = 'patched');
BEGIN
	CASE generate.pick('patching op' || step, 6)
		WHEN 0, 1, 2 THEN
			PERFORM generate.put(rule, 'patching q' || step);
		WHEN 3 THEN
			PERFORM generate.put('new' || step, 'patching n' || step);
		WHEN 4 THEN
			PERFORM delete_rule(rule, 'patched') WHERE is_there;
		ELSE
			PERFORM disable_rule(rule, 'patched') WHERE is_there;
	END CASE;
END $$;

CREATE PROCEDURE generate.run(first integer, last integer) LANGUAGE plpgsql AS $$
BEGIN
	FOR step IN first .. last LOOP
		-- one, or, now and then, so many that they are compiled
		FOR change IN 1 .. CASE WHEN step % 25 = 0 THEN 70 ELSE 1 END LOOP
			PERFORM generate.change(step * 100 + change);
		END LOOP;
		PERFORM generate.compare(step);

		-- changes that are rolled back, seen until then
		IF step % 5 = 0 THEN
			BEGIN
				FOR change IN 1 .. CASE WHEN step % 15 = 0 THEN 50 ELSE 2 END LOOP
					PERFORM generate.change(step * 1000 + change);
				END LOOP;
				PERFORM generate.compare_fresh(step);
				IF EXISTS (SELECT FROM generate.wrong) THEN
					RAISE EXCEPTION 'wrong before rollback in step %', step;
				END IF;
				RAISE EXCEPTION SQLSTATE 'UNDO1';
			EXCEPTION WHEN SQLSTATE 'UNDO1' THEN
				NULL;
			END;
			PERFORM generate.compare(step);
		END IF;
		IF step % 10 = 0 THEN
			PERFORM generate.compare_fresh(step);
		END IF;
		-- one transaction may make several changes
		IF step % 3 = 0 THEN
			COMMIT;
		END IF;
	END LOOP;
END $$;

-- one rule, a few, many
SELECT generate.put('r1', 'patching p1');
SELECT generate.compare(0);
SELECT count(generate.put('r' || i, 'patching p' || i)) FROM generate_series(2, 12) i;
CALL generate.run(1, 30);
SELECT count(generate.put('r' || i, 'patching p' || i)) FROM generate_series(13, 400) i;
CALL generate.run(31, 150);

-- and none
SELECT count(delete_rule(name, 'patched')) > 100 AS most FROM rules WHERE event_bus_name = 'patched' AND name <> 'r7';
SELECT generate.compare_fresh(151);
SELECT count(delete_rule(name, 'patched')) FROM rules WHERE event_bus_name = 'patched';
SELECT count(matching_rules(event, 'patched')) FROM generate.events;

SELECT * FROM generate.wrong;
SELECT count(*) > 50 AS most_events FROM generate.events;
SELECT sum(compared) > 700 AS many_comparisons, sum(matches) > 10000 AS many_matches FROM generate.tally;
SELECT delete_event_bus('patched');
DROP SCHEMA generate CASCADE;
