-- Buses and rules: what is accepted, what is given back, AWS's messages.
SET search_path = eventbridge, public;
\set SHOW_CONTEXT never

-- buses
SELECT describe_event_bus() - 'CreationTime' - 'LastModifiedTime';
SELECT create_event_bus('orders', 'All about orders', '[{"Key": "team", "Value": "sales"}]');
SELECT create_event_bus('orders');
SELECT create_event_bus('a/b');
SELECT create_event_bus('a b');
SELECT create_event_bus('');
SELECT create_event_bus(NULL);
SELECT create_event_bus(repeat('x', 257));
SELECT create_event_bus('d', repeat('x', 513));
SELECT create_event_bus('d', NULL, '{}');
SELECT create_event_bus('d', NULL, '[{"Key": "a"}]');
SELECT create_event_bus('d', NULL, jsonb_build_array(jsonb_build_object('Key', '', 'Value', repeat('x', 257))));
SELECT describe_event_bus('orders') - 'CreationTime' - 'LastModifiedTime';
SELECT describe_event_bus('arn:aws:events:eu-west-1:111111111111:event-bus/orders') ->> 'Name';
SELECT describe_event_bus('nowhere');
SELECT name, description, tags FROM event_buses ORDER BY name;
SELECT jsonb_path_query_array(list_event_buses(), '$.EventBuses[*].Name');
SELECT jsonb_path_query_array(list_event_buses('ord'), '$.EventBuses[*].Name');
SELECT list_event_buses('zzz');
SELECT delete_event_bus('nowhere');
SELECT delete_event_bus('default');

-- rules
SELECT put_rule('r1', '{"source": ["shop"],
  "detail": {"total": [{"numeric": [">", 1e2]}]}}', description => 'Large orders', event_bus_name => 'orders');
SELECT jsonb_pretty(describe_rule('r1', 'orders'));
SELECT event_pattern, tags FROM rules WHERE name = 'r1';
SELECT put_rule('r1', '{"source": ["shop"]}');
SELECT describe_rule('r1');
SELECT put_rule('r1', '{"source": ["shop"]}', state => 'DISABLED', event_bus_name => 'arn:aws:events:us-east-1:000000000000:event-bus/orders',
				tags => '[{"Key": "a", "Value": "b"}]');
SELECT describe_rule('r1', 'orders');
SELECT tags FROM rules WHERE name = 'r1' AND event_bus_name = 'orders';
SELECT put_rule('r1', '{"source": ["shop"]}', event_bus_name => 'orders', tags => '[]');
SELECT describe_rule('r1', 'orders') ->> 'State';
SELECT disable_rule('r1', 'orders'), disable_rule('r1', 'orders');
SELECT describe_rule('r1', 'orders') ->> 'State';
SELECT enable_rule('r1', 'orders');
SELECT describe_rule('r1', 'orders') ->> 'State';
SELECT put_rule('r3', '{"source": ["x"]}', state => 'ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS');
SELECT enable_rule('r3');
SELECT describe_rule('r3') ->> 'State';

-- lists and pages
SELECT count(put_rule('page-' || i, '{"source": ["x"]}')) FROM generate_series(1, 5) AS i;
SELECT jsonb_path_query_array(list_rules('page-'), '$.Rules[*].Name');
SELECT jsonb_path_query_array(list_rules('page-', max_items => 2), '$.Rules[*].Name');
SELECT list_rules('page-', max_items => 2) ->> 'NextToken' AS token \gset
SELECT jsonb_path_query_array(list_rules('page-', max_items => 3, next_token => :'token'), '$.Rules[*].Name'),
	list_rules('page-', max_items => 3, next_token => :'token') ? 'NextToken' AS more;
SELECT list_rules(max_items => 0);
SELECT list_rules(max_items => 101);
SELECT list_rules(next_token => '***');
SELECT list_rules(event_bus_name => 'nowhere');

-- faults
SELECT put_rule('r4');
SELECT put_rule('r 4', '{"source": ["x"]}');
SELECT put_rule('', '{"source": ["x"]}');
SELECT put_rule(NULL, '{"source": ["x"]}');
SELECT put_rule(repeat('x', 65), '{"source": ["x"]}');
SELECT put_rule('r 4', '{"source": ["x"]}', state => 'ON', description => repeat('d', 513),
				event_bus_name => 'b b', schedule_expression => repeat('s', 257));
SELECT put_rule('r4', '{"source": ["x"]}', event_bus_name => NULL);
SELECT put_rule('r4', '{"source": ["x"]}', event_bus_name => 'nowhere');
SELECT put_rule('r4', '{"source": "x"}');
SELECT put_rule('r4', '{"source": ["x"],
}');
SELECT put_rule('r4', '{"source": ["x"]}', role_arn => 'arn:aws:iam::000000000000:role/regress_nobody');
SELECT describe_rule('r4');
SELECT describe_rule('r1', 'nowhere');
SELECT enable_rule('r4');
SELECT disable_rule('r4', 'nowhere');
SELECT delete_rule('r4');
SELECT delete_rule('r4', 'nowhere');
SELECT delete_event_bus('orders');
SELECT delete_rule('r1', 'orders'), delete_rule('r1', 'orders');
SELECT delete_event_bus('orders'), delete_event_bus('orders');

-- a pattern longer than AWS's 2048 bytes
SELECT put_rule('long', jsonb_build_object('source', (SELECT jsonb_agg('source-' || i) FROM generate_series(1, 1000) AS i))::text);

-- which rules want an event
SELECT put_rule('m1', '{"source": ["m"]}'), put_rule('m2', '{"source": ["m"], "detail": {"a": [1]}}'),
	put_rule('M3', '{"source": ["m"]}'), put_rule('m4', '{"source": ["m"]}', state => 'DISABLED');
SELECT matching_rules('{"source": "m", "detail": {"a": 1.0}}');
SELECT matching_rules('{"source": "m", "detail": {"a": 2}}', 'arn:aws:events:us-east-1:000000000000:event-bus/default');
SELECT matching_rules('{"source": "other"}');
SELECT matching_rules('[]');
SELECT matching_rules('{}', 'nowhere');

-- one's own changes count at once, also those that are undone
BEGIN;
SELECT put_rule('m5', '{"source": ["m5"]}');
SELECT matching_rules('{"source": "m5"}');
SAVEPOINT s;
SELECT put_rule('m6', '{"source": ["m5"]}'), disable_rule('m5');
SELECT matching_rules('{"source": "m5"}');
ROLLBACK TO s;
SELECT matching_rules('{"source": "m5"}');
ROLLBACK;
SELECT matching_rules('{"source": "m5"}');
-- also where the snapshot is older
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT put_rule('m5', '{"source": ["m5"]}');
SELECT matching_rules('{"source": "m5"}');
SELECT delete_rule('m5');
SELECT matching_rules('{"source": "m5"}');
COMMIT;

-- whoever writes the tables, and however
UPDATE rule SET state = 'DISABLED' WHERE name = 'm1';
SELECT matching_rules('{"source": "m"}');
SET session_replication_role = replica;
UPDATE rule SET state = 'ENABLED' WHERE name = 'm1';
SELECT matching_rules('{"source": "m"}');
RESET session_replication_role;
BEGIN;
TRUNCATE rule CASCADE;
SELECT matching_rules('{"source": "m"}');
ROLLBACK;
SELECT matching_rules('{"source": "m"}');
DO $$ BEGIN
	PERFORM eventbridge.put_rule('m7', '{"source": ["m7"]}');
	IF 'm7' <> ALL (ARRAY(SELECT eventbridge.matching_rules('{"source": "m7"}'))) THEN
		RAISE EXCEPTION 'm7 should match';
	END IF;
	RAISE EXCEPTION 'undo' USING ERRCODE = 'P0100';
EXCEPTION WHEN SQLSTATE 'P0100' THEN
	IF EXISTS (SELECT FROM eventbridge.matching_rules('{"source": "m7"}')) THEN
		RAISE EXCEPTION 'm7 should be gone';
	END IF;
END $$;

-- inner functions are no way around the outer ones
SELECT _create_event_bus('x', NULL, NULL);
SELECT _put_rule('x', '{"source": ["x"]}', NULL, NULL, NULL, NULL, 'default', NULL);
SELECT _caller();

-- names that cannot be
SELECT describe_event_bus('a b');
SELECT describe_rule('a b');
SELECT describe_rule('m1', 'a b');
SELECT list_rules(event_bus_name => NULL);
SELECT list_targets_by_rule('a b');
SELECT enable_rule(NULL);
SELECT disable_rule('a b', 'a b');

-- the context of an error begins with whatever called the outer function
\set SHOW_CONTEXT errors
SELECT put_rule('x', '{"source": "x"}');
DO $$ BEGIN PERFORM eventbridge.put_rule('x', '{"source": "x"}'); END $$;
\set SHOW_CONTEXT never

-- the default bus cannot be taken by a name that looks like it
SELECT name, owner = current_user AS mine FROM event_buses;

-- region and account
SET eventbridge.region = 'eu-central-1';
SET eventbridge.account_id = '123456789012';
SELECT put_rule('m1', '{"source": ["m"]}');
SELECT describe_rule('m1') ->> 'CreatedBy';
RESET eventbridge.region;
RESET eventbridge.account_id;

SELECT count(delete_rule(name)) FROM rules;
SELECT list_rules();
