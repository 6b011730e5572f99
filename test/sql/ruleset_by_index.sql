-- A bus of many rules: the index answers for a backend that has not read them,
-- and after a change; later they are read.  The answer is always the same.
SET search_path = eventbridge, public;
SET client_min_messages = warning;
\getenv test_dir PG_ABS_SRCDIR
\set generator :test_dir '/tools/generate.sql'
\set ECHO none
\i :generator
\set ECHO all

SELECT create_event_bus('many') IS NOT NULL AS created;
CREATE TABLE generate.events AS
	SELECT i, generate.event('by index e' || i) AS event FROM generate_series(1, 60) i;
CREATE TABLE generate.patterns AS
	SELECT i, generate.pattern('by index p' || i) AS pattern FROM generate_series(1, 300) i;
DELETE FROM generate.events WHERE EXISTS (SELECT FROM generate.patterns WHERE generate.matches(event, pattern) IS NULL);
INSERT INTO rule (bus_id, name, owner, event_pattern)
	SELECT bus_id, 'r' || i, current_user, pattern
	FROM event_bus, generate.patterns WHERE event_bus.name = 'many';
INSERT INTO rule (bus_id, name, owner, event_pattern)
	SELECT bus_id, 's' || i, current_user, format('{"source": ["s%s"], "detail": {"k": [%s]}}', i % 5, i)::event_pattern
	FROM event_bus, generate_series(1, 1700) i WHERE event_bus.name = 'many';
SELECT count(disable_rule('r' || i, 'many')) FROM generate_series(2, 300, 7) i;

CREATE FUNCTION generate.wrong(first integer, last integer) RETURNS TABLE (event integer, found text[], wanted text[]) LANGUAGE sql AS $$
	SELECT * FROM (
		SELECT i, ARRAY(SELECT matching_rules(event, 'many')) AS found,
			ARRAY(SELECT name FROM rules
				WHERE event_bus_name = 'many' AND state <> 'DISABLED' AND matches(event, event_pattern)
				ORDER BY name COLLATE "C") AS wanted
		FROM generate.events WHERE i BETWEEN first AND last) compared
	WHERE found <> wanted;
$$;
-- Has this backend read the rules?
CREATE FUNCTION generate.have_been_read() RETURNS boolean LANGUAGE sql AS $$
	SELECT EXISTS (SELECT FROM pg_backend_memory_contexts WHERE name = 'eventbridge rules of a bus');
$$;

-- by the index
\c -
SET search_path = eventbridge, public;
SET client_min_messages = warning;
SELECT * FROM generate.wrong(1, 10);
SELECT generate.have_been_read();
SELECT sum((SELECT count(*) FROM matching_rules(event, 'many'))) AS matches
FROM (SELECT event FROM generate.events ORDER BY i LIMIT 9) e;

-- what this transaction has changed is seen until it is rolled back
\set event '\'{"source": "s1", "detail": {"k": 6}}\''
SELECT matching_rules(:event, 'many');
BEGIN;
SELECT count(put_rule(name, '{"source": ["s1"]}', event_bus_name => 'many')) FROM unnest('{new,s3}'::text[]) name;
SELECT delete_rule('s6', 'many');
SELECT matching_rules(:event, 'many');
ROLLBACK;
SELECT matching_rules(:event, 'many');
SELECT generate.have_been_read();

-- a role without rights on the tables; an event in the making, and its targets
SELECT create_queue('many');
SELECT put_targets('s6', '[{"Id": "1", "Arn": "arn:aws:sqs:us-east-1:000000000000:many"}]', 'many') ->> 'FailedEntryCount' AS failed;
SELECT put_targets('s7', '[{"Id": "1", "Arn": "arn:aws:sqs:us-east-1:000000000000:many"}]', 'many') ->> 'FailedEntryCount' AS failed;
CREATE ROLE regress_publisher;
SELECT put_permission('publisher', 'events:PutEvents', 'regress_publisher', 'many');
GRANT EXECUTE ON FUNCTION put_events(jsonb) TO regress_publisher;
GRANT USAGE ON SCHEMA eventbridge TO regress_publisher;
SET ROLE regress_publisher;
SELECT put_events('[{"Source": "s1", "DetailType": "t", "Detail": "{\"k\": 6}", "EventBusName": "many"},
	{"Source": "s1", "DetailType": "t", "Detail": "{\"k\": 8}", "EventBusName": "many"},
	{"Source": "s1", "DetailType": "t", "Detail": "{\"l\": [[], {\"a\": [1]}], \"k\": 6}", "EventBusName": "many"},
	{"Source": "s1", "DetailType": "t", "Detail": {"l": [{}, [[2]]], "k": 6}, "EventBusName": "many"}]') ->> 'FailedEntryCount' AS failed;
SELECT current_user;
RESET ROLE;
SELECT generate.have_been_read();
CALL run_deliveries();
SELECT body::jsonb -> 'detail' AS detail FROM receive_messages('many', 10);

-- so many events that the rules are read
SELECT count(*) FROM (SELECT matching_rules(:event, 'many') FROM generate_series(1, 100)) found;
SELECT generate.have_been_read();
SELECT * FROM generate.wrong(1, 60);

-- a change, and so many events that it is taken in
SELECT put_rule('new', '{"source": ["s1"]}', event_bus_name => 'many') IS NOT NULL AS put;
SELECT matching_rules(:event, 'many') FROM generate_series(1, 8);
SELECT * FROM generate.wrong(1, 60);
SELECT delete_rule('new', 'many');
SELECT matching_rules(:event, 'many') FROM generate_series(1, 8);

-- no longer many
DELETE FROM rule WHERE name LIKE 'r%' OR name LIKE 's%0';
\c -
SET search_path = eventbridge, public;
SET client_min_messages = warning;
SELECT matching_rules(:event, 'many');
DELETE FROM rule WHERE name LIKE 's%' AND name NOT LIKE 's6%';
SELECT matching_rules(:event, 'many');
\c -
SET search_path = eventbridge, public;
SET client_min_messages = warning;
SELECT matching_rules(:event, 'many') FROM generate_series(1, 6);
SELECT generate.have_been_read();

-- few, but larger together than what is read: found by the index, however often
INSERT INTO rule (bus_id, name, owner, event_pattern)
	SELECT bus_id, 'large' || i, current_user, format('{"source": ["s1", "%s"], "detail": {"k": [%s]}}', repeat('x', 10000000), 10000 + i)::event_pattern
	FROM event_bus, generate_series(1, 14) i WHERE event_bus.name = 'many';
SELECT count(*) FROM (SELECT matching_rules(:event, 'many') FROM generate_series(1, 30)) found;
SELECT generate.have_been_read();
\c -
SET search_path = eventbridge, public;
SET client_min_messages = warning;
SELECT matching_rules('{"source": "s1", "detail": {"k": 10007}}', 'many');
SELECT count(*) FROM (SELECT matching_rules(:event, 'many') FROM generate_series(1, 30)) found;
SELECT generate.have_been_read();
DELETE FROM rule WHERE name LIKE 'large%' AND name <> 'large7';
SELECT count(*) FROM (SELECT matching_rules(:event, 'many') FROM generate_series(1, 30)) found;
SELECT generate.have_been_read();
SELECT matching_rules('{"source": "s1", "detail": {"k": 10007}}', 'many');

DELETE FROM rule WHERE bus_id = (SELECT bus_id FROM event_bus WHERE name = 'many');
SELECT matching_rules(:event, 'many');
SELECT delete_queue('many');
SELECT delete_event_bus('many');
DROP SCHEMA generate CASCADE;
REVOKE ALL ON FUNCTION put_events(jsonb) FROM regress_publisher;
REVOKE USAGE ON SCHEMA eventbridge FROM regress_publisher;
DROP ROLE regress_publisher;
