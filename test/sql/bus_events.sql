-- What targets receive: envelopes, rows as events, hops over buses.
SET search_path = eventbridge, public;
\set SHOW_CONTEXT never

SELECT create_event_bus('second'), create_log_group('first'), create_log_group('second');
CREATE ROLE regress_bus_role SUPERUSER;
SELECT put_rule('all', '{"source": [{"exists": true}]}'), put_targets('all', '[{"Id": "log", "Arn": "arn:aws:logs:us-east-1:000000000000:log-group:first"}]');
SELECT put_rule('forward', '{"source": ["forward"]}'), put_targets('forward', '[
	{"Id": "bus", "Arn": "arn:aws:events:us-east-1:000000000000:event-bus/second", "RoleArn": "arn:aws:iam::000000000000:role/regress_bus_role"}]');
SELECT put_rule('all', '{"account": ["000000000000"]}', event_bus_name => 'second'),
	put_targets('all', '[{"Id": "log", "Arn": "arn:aws:logs:us-east-1:000000000000:log-group:second", "InputPath": "$.detail"}]', 'second');

-- the detail keeps its order of keys and its spelling; the envelope is compact
SELECT put_events('[
	{"Source": "a\"b\t", "DetailType": "t", "Detail": " { \"z\" : 1.0 , \"a\": [ 1e2, \"x  y\" ] , \"z\": 2 } ", "Time": "2024-07-11T11:05:35.9+02:00", "Resources": ["r\"1", "r2"]},
	{"Source": "object", "DetailType": "t", "Detail": {"z": 1.0,  "a": {"Detail" : [1 , 2]}}, "Time": 1720688735},
	{"Source": "fails", "Detail": "{}"},
	{"Source": "last", "DetailType": "t", "Time": "2024-01-01T00:00:00Z", "Detail": "{}"}]') -> 'FailedEntryCount' AS failed;
SELECT put_events('{"Entries": [{"Source": "wrapped", "Detail": {"b": 1, "a": 2}, "DetailType": "t", "Detail": {"d": 1, "c": 2}, "Time": 0}]}') -> 'FailedEntryCount' AS failed;
SELECT put_events('[{"Source": "jsonb", "Detail": {"bb": 1, "a": 2}, "DetailType": "t", "Time": 0}]'::jsonb) -> 'FailedEntryCount' AS failed;
SELECT put_event('text', 't', '{"b": 1.50, "a": 2}', resources => '{x,"y z"}', event_time => '2024-01-01 00:00+00') IS NOT NULL AS put;
SELECT put_event('jsonb', 't', '{"bb": 1.50, "a": 2}'::jsonb, event_time => '2024-01-01 00:00+00') IS NOT NULL AS put;
CALL run_deliveries() \g /dev/null
SELECT regexp_replace(message, '"id":"[0-9a-f-]{36}"', '"id":"ID"') AS message FROM log_events WHERE log_group = 'first' ORDER BY log_event_id;
DELETE FROM log_event;

-- the id in the result is the event's
SELECT put_event('id', 't', '{}') AS id \gset
CALL run_deliveries() \g /dev/null
SELECT message::json ->> 'id' = :'id' AS same FROM log_events;
DELETE FROM log_event;

-- what rolls back was never put
BEGIN;
SELECT put_event('gone', 't', '{}') IS NOT NULL AS put;
ROLLBACK;
BEGIN;
SELECT put_event('stays', 't', '{}', event_time => '2024-01-01 00:00+00') IS NOT NULL AS put;
SAVEPOINT s;
SELECT put_event('gone', 't', '{}') IS NOT NULL AS put;
ROLLBACK TO s;
COMMIT;
CALL run_deliveries() \g /dev/null
SELECT message::json ->> 'source' AS source FROM log_events;
DELETE FROM log_event;

-- from bus to bus
SELECT put_event('forward', 't', '{"over": "there"}') IS NOT NULL AS put;
CALL run_deliveries() \g /dev/null
CALL run_deliveries() \g /dev/null
SELECT log_group, CASE log_group WHEN 'second' THEN message END AS message FROM log_events ORDER BY log_group;
DELETE FROM log_event;

-- rows
CREATE TABLE bus_events_t (id int, kind text, payload json, amount numeric, at timestamptz);
CREATE TRIGGER whole AFTER INSERT OR UPDATE OR DELETE ON bus_events_t FOR EACH ROW
	EXECUTE FUNCTION put_row_event('source=rows', 'detail_type=$.kind', 'resources=$.id');
CREATE TRIGGER part AFTER INSERT ON bus_events_t FOR EACH ROW
	EXECUTE FUNCTION put_row_event('source=$.amount', 'detail_type=constant', 'detail=$.payload', 'group_key=$.id');
SET timezone = 'UTC';
INSERT INTO bus_events_t VALUES (7, 'made', '{"q": 1.50, "b" : null}', 3.10, '2024-01-01 00:00+00');
UPDATE bus_events_t SET kind = 'changed';
DELETE FROM bus_events_t;
CALL run_deliveries() \g /dev/null
SELECT message::json ->> 'source' AS source, message::json ->> 'detail-type' AS detail_type,
	message::json -> 'resources' AS resources, message::json -> 'detail' AS detail FROM log_events ORDER BY log_event_id;

-- virtual generated columns, where there are some, have no values in triggers
DO $$BEGIN
	EXECUTE 'CREATE TABLE bus_events_virtual (id int, name text' ||
		CASE WHEN current_setting('server_version_num')::int < 180000 THEN ''
			ELSE ', twice text GENERATED ALWAYS AS (name || name) VIRTUAL' END || ', note text)';
END$$;
CREATE TRIGGER whole AFTER INSERT ON bus_events_virtual FOR EACH ROW
	EXECUTE FUNCTION put_row_event('source=virtual', 'detail_type=t');
INSERT INTO bus_events_virtual (id, name, note) VALUES (1, 'a', 'b');
INSERT INTO bus_events_virtual (id, note) VALUES (2, 'long');
CALL run_deliveries() \g /dev/null
SELECT message::json -> 'detail' AS detail FROM log_events WHERE message LIKE '%"virtual"%' ORDER BY log_event_id;
CREATE TRIGGER part AFTER INSERT ON bus_events_virtual FOR EACH ROW
	EXECUTE FUNCTION put_row_event('source=virtual', 'detail_type=$.twice');
DO $$BEGIN
	INSERT INTO bus_events_virtual (id, name, note) VALUES (3, 'a', 'b');
EXCEPTION WHEN undefined_column OR feature_not_supported THEN
	RAISE NOTICE '%', replace(sqlerrm, 'is a virtual generated column', 'does not exist');
END$$;
DROP TABLE bus_events_virtual;

-- the queue of dead letters
SELECT create_queue('dead');
SELECT put_targets('all', '[{"Id": "log", "Arn": "arn:aws:logs:us-east-1:000000000000:log-group:first",
	"DeadLetterConfig": {"Arn": "arn:aws:sqs:us-east-1:000000000000:dead"}},
	{"Id": "queue", "Arn": "arn:aws:sqs:us-east-1:000000000000:dead"}]');
SELECT id, kind, resource, dead_letter_arn FROM targets WHERE rule = 'all' AND event_bus_name = 'default' ORDER BY id;
SELECT put_targets('all', '[{"Id": "log", "Arn": "arn:aws:sqs:us-east-1:000000000000:nothing"}]');
SELECT put_targets('all', '[{"Id": "log", "Arn": "arn:aws:logs:us-east-1:000000000000:log-group:first",
	"DeadLetterConfig": {"Arn": "arn:aws:sqs:us-east-1:000000000000:nothing"}}]');

DROP TABLE bus_events_t;
SELECT count(remove_targets(rule, ARRAY[id], event_bus_name)) FROM targets;
SELECT count(delete_rule(name, event_bus_name)) FROM rules;
SELECT delete_event_bus('second'), delete_log_group('first'), delete_log_group('second');
SELECT delete_queue('dead');
DROP ROLE regress_bus_role;
