-- Who may what: owners, put_permission, roles of targets, views.
SET search_path = eventbridge, public;
\set SHOW_CONTEXT never

CREATE ROLE regress_bus_admin;
CREATE ROLE regress_bus_writer;
CREATE ROLE regress_bus_stranger;
CREATE ROLE regress_bus_runner;

-- nobody manages anything without a grant
SET ROLE regress_bus_stranger;
SELECT create_event_bus('b');
SELECT put_rule('r', '{"source": ["x"]}');
SELECT put_targets('r', '[]');
SELECT put_permission('a', 'events:PutEvents', '*');
SELECT import_cloudformation('{}');
SELECT _put_rule('r', '{"source": ["x"]}', NULL, NULL, NULL, NULL, 'default', NULL);
SELECT * FROM rule;
INSERT INTO event_bus (name, owner) VALUES ('mine', 'regress_bus_stranger');
SELECT count(*) FROM event_buses;
RESET ROLE;

-- with everything granted that a careless administrator grants
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA eventbridge TO regress_bus_admin, regress_bus_writer, regress_bus_stranger;

SET ROLE regress_bus_admin;
SELECT create_event_bus('orders');
SELECT put_rule('r', '{"source": ["x"]}', event_bus_name => 'orders');
RESET ROLE;

SET ROLE regress_bus_stranger;
SELECT _put_rule('r', '{"source": ["x"]}', NULL, NULL, NULL, NULL, 'orders', NULL);
SELECT _put_permission('a', 'events:PutRule', '*', 'default', NULL);
SELECT name FROM event_buses;
SELECT count(*) FROM rules;
SELECT describe_event_bus('orders');
SELECT describe_rule('r', 'orders');
SELECT put_rule('r2', '{"source": ["x"]}', event_bus_name => 'orders');
SELECT put_rule('r', '{"source": ["x"]}', event_bus_name => 'orders');
SELECT put_targets('r', '[{"Id": "a", "Arn": "arn:aws:sns:us-east-1:000000000000:t"}]', 'orders');
SELECT remove_targets('r', '{a}', 'orders');
SELECT enable_rule('r', 'orders');
SELECT disable_rule('r', 'orders');
SELECT delete_rule('r', 'orders');
SELECT delete_event_bus('orders');
SELECT put_permission('a', 'events:PutEvents', '*', 'orders');
SELECT remove_permission('a', event_bus_name => 'orders');
SELECT matching_rules('{}', 'orders');
SELECT put_event('app', 't', '{}', 'orders');
SELECT put_event('app', 't', '{}');
SELECT put_events('[{"Source": "app", "DetailType": "t", "Detail": "{}", "EventBusName": "orders"}]');
RESET ROLE;

-- granted: putting events
SET ROLE regress_bus_admin;
SELECT put_permission('writer', 'events:PutEvents', 'regress_bus_writer', 'orders');
SELECT put_permission('writer', 'events:PutEvents', 'arn:aws:iam::000000000000:role/regress_bus_writer', 'orders');
SELECT jsonb_pretty((describe_event_bus('orders') ->> 'Policy')::jsonb);
SELECT put_permission('a b', 'events:PutTargets', '', 'orders');
SELECT put_permission('a', 'events:PutEvents', 'regress_bus_nobody', 'orders');
SELECT put_permission('a', 'events:PutEvents', '*', 'nowhere');
SELECT remove_permission('nothing', event_bus_name => 'orders');
SELECT remove_permission(event_bus_name => 'orders');
RESET ROLE;
SET ROLE regress_bus_writer;
SELECT put_event('app', 't', '{}', 'orders') IS NOT NULL AS put;
-- each entry of a request is put with the rights on its own bus
SELECT no, entry ? 'EventId' AS put, entry ->> 'ErrorCode' AS error
FROM jsonb_array_elements(put_events('[
	{"Source": "app", "DetailType": "t", "Detail": "{}", "EventBusName": "orders"},
	{"Source": "app", "DetailType": "t", "Detail": "{}", "EventBusName": "default"},
	{"Source": "app", "DetailType": "t", "Detail": "{}", "EventBusName": "orders"},
	{"Source": "app", "DetailType": "t", "Detail": "{}"},
	{"Source": "app", "DetailType": "t", "Detail": "{"},
	{"Source": "app", "DetailType": "t", "Detail": "{}", "EventBusName": "orders"}]') -> 'Entries')
	WITH ORDINALITY AS e (entry, no);
SELECT name FROM event_buses;
SELECT count(*) FROM rules;
SELECT put_rule('w', '{"source": ["x"]}', event_bus_name => 'orders');
SELECT matching_rules('{}', 'orders');
RESET ROLE;

-- granted: putting rules; a rule belongs to who put it
SET ROLE regress_bus_admin;
SELECT put_permission('writer-rules', 'events:PutRule', 'regress_bus_writer', 'orders');
RESET ROLE;
SET ROLE regress_bus_writer;
SELECT put_rule('w', '{"source": ["x"]}', event_bus_name => 'orders');
SELECT put_rule('r', '{"source": ["x"]}', event_bus_name => 'orders');
SELECT name, owner FROM rules;
SELECT jsonb_path_query_array(list_rules(event_bus_name => 'orders'), '$.Rules[*].Name');
SELECT matching_rules('{"source": "x"}', 'orders');
RESET ROLE;
-- the owner of the bus sees it, may stop it and take it away, but not change or start it
SET ROLE regress_bus_admin;
SELECT name, owner FROM rules ORDER BY name;
SELECT disable_rule('w', 'orders');
SELECT enable_rule('w', 'orders');
SELECT put_rule('w', '{"source": ["y"]}', event_bus_name => 'orders');
SELECT put_targets('w', '[{"Id": "a", "Arn": "arn:aws:sns:us-east-1:000000000000:t"}]', 'orders');
SELECT delete_rule('w', 'orders');
RESET ROLE;

-- everybody
SET ROLE regress_bus_admin;
SELECT put_permission('all', 'events:PutEvents', '*', 'orders');
SELECT jsonb_path_query((describe_event_bus('orders') ->> 'Policy')::jsonb, '$.Statement[*] ? (@.Sid == "all")');
RESET ROLE;
SET ROLE regress_bus_stranger;
SELECT put_event('app', 't', '{}', 'orders') IS NOT NULL AS put;
RESET ROLE;
SET ROLE regress_bus_admin;
SELECT remove_permission('all', event_bus_name => 'orders');
RESET ROLE;
SET ROLE regress_bus_stranger;
SELECT put_event('app', 't', '{}', 'orders');
RESET ROLE;

-- a function target needs EXECUTE for the owner of the rule
CREATE SCHEMA regress_bus;
CREATE FUNCTION regress_bus.handle(jsonb) RETURNS void LANGUAGE sql AS '';
REVOKE EXECUTE ON FUNCTION regress_bus.handle(jsonb) FROM PUBLIC;
CREATE PROCEDURE regress_bus.flow(jsonb) LANGUAGE sql AS '';
REVOKE EXECUTE ON PROCEDURE regress_bus.flow(jsonb) FROM PUBLIC;
SET ROLE regress_bus_writer;
SELECT put_rule('w', '{"source": ["x"]}', event_bus_name => 'orders');
SELECT put_targets('w', '[{"Id": "f", "Arn": "arn:aws:lambda:us-east-1:000000000000:function:regress_bus.handle"}]', 'orders');
RESET ROLE;
GRANT USAGE ON SCHEMA regress_bus TO regress_bus_writer;
SET ROLE regress_bus_writer;
SELECT put_targets('w', '[{"Id": "f", "Arn": "arn:aws:lambda:us-east-1:000000000000:function:regress_bus.handle"}]', 'orders');
RESET ROLE;
GRANT EXECUTE ON FUNCTION regress_bus.handle(jsonb) TO regress_bus_writer;
SET ROLE regress_bus_writer;
SELECT put_targets('w', '[{"Id": "f", "Arn": "arn:aws:lambda:us-east-1:000000000000:function:regress_bus.handle"}]', 'orders');
-- a role of a target has to be one's own
SELECT put_targets('w', '[{"Id": "p", "Arn": "arn:aws:states:us-east-1:000000000000:stateMachine:regress_bus.flow", "RoleArn": "arn:aws:iam::000000000000:role/regress_bus_runner"}]', 'orders');
SELECT put_rule('w2', '{"source": ["x"]}', event_bus_name => 'orders', role_arn => 'arn:aws:iam::000000000000:role/regress_bus_runner');
RESET ROLE;
GRANT regress_bus_runner TO regress_bus_writer;
SET ROLE regress_bus_writer;
SELECT put_targets('w', '[{"Id": "p", "Arn": "arn:aws:states:us-east-1:000000000000:stateMachine:regress_bus.flow", "RoleArn": "arn:aws:iam::000000000000:role/regress_bus_runner"}]', 'orders');
RESET ROLE;
GRANT USAGE ON SCHEMA regress_bus TO regress_bus_runner;
SET ROLE regress_bus_writer;
SELECT put_targets('w', '[{"Id": "p", "Arn": "arn:aws:states:us-east-1:000000000000:stateMachine:regress_bus.flow", "RoleArn": "arn:aws:iam::000000000000:role/regress_bus_runner"}]', 'orders');
RESET ROLE;
GRANT EXECUTE ON PROCEDURE regress_bus.flow(jsonb) TO regress_bus_runner;
SET ROLE regress_bus_writer;
SELECT put_targets('w', '[{"Id": "p", "Arn": "arn:aws:states:us-east-1:000000000000:stateMachine:regress_bus.flow", "RoleArn": "arn:aws:iam::000000000000:role/regress_bus_runner"}]', 'orders');
SELECT id, kind, role FROM targets ORDER BY id;
RESET ROLE;

-- a planted overload or a hostile search_path changes nothing
CREATE SCHEMA regress_bus_hostile;
GRANT ALL ON SCHEMA regress_bus_hostile TO regress_bus_stranger;
SET ROLE regress_bus_stranger;
CREATE FUNCTION regress_bus_hostile.format(text, text) RETURNS text LANGUAGE sql AS $$ SELECT 'hostile' $$;
CREATE FUNCTION regress_bus_hostile._caller() RETURNS name LANGUAGE sql AS $$ SELECT 'postgres'::name $$;
CREATE FUNCTION regress_bus_hostile.eq(text, text) RETURNS boolean LANGUAGE sql AS $$ SELECT true $$;
CREATE OPERATOR regress_bus_hostile.= (LEFTARG = text, RIGHTARG = text, FUNCTION = regress_bus_hostile.eq);
SET search_path = regress_bus_hostile, eventbridge, pg_catalog;
SELECT eventbridge.put_rule('h', '{"source": ["x"]}');
SELECT eventbridge.delete_event_bus('orders');
SELECT count(*) FROM eventbridge.rules;
SELECT eventbridge.put_event('app', 't', '{}', 'orders');
RESET search_path;
SET search_path = eventbridge, public;
RESET ROLE;

-- the caller is who calls, not who is logged in
CREATE FUNCTION regress_bus_hostile.trap() RETURNS text LANGUAGE sql SECURITY DEFINER
AS $$ SELECT eventbridge.put_rule('trap', '{"source": ["x"]}') $$;
ALTER FUNCTION regress_bus_hostile.trap() OWNER TO regress_bus_stranger;
SELECT regress_bus_hostile.trap();

-- others' resources
SET ROLE regress_bus_admin;
SELECT create_topic('admins'), create_log_group('admins'), create_task('admins'), create_api_destination('admins', 'https://example.com');
RESET ROLE;
SET ROLE regress_bus_writer;
SELECT (SELECT count(*) FROM topics) AS topics, (SELECT count(*) FROM log_groups) AS log_groups,
	(SELECT count(*) FROM log_events) AS log_events, (SELECT count(*) FROM tasks) AS tasks,
	(SELECT count(*) FROM api_destinations) AS api_destinations;
SELECT put_targets('w', '[{"Id": "o", "Arn": "arn:aws:sns:us-east-1:000000000000:admins"}]', 'orders');
SELECT put_targets('w', '[{"Id": "o", "Arn": "arn:aws:logs:us-east-1:000000000000:log-group:admins"}]', 'orders');
SELECT put_targets('w', '[{"Id": "o", "Arn": "arn:aws:ecs:us-east-1:000000000000:task/admins", "RoleArn": "regress_bus_runner"}]', 'orders');
SELECT put_targets('w', '[{"Id": "o", "Arn": "arn:aws:events:us-east-1:000000000000:api-destination/admins", "RoleArn": "regress_bus_runner"}]', 'orders');
SELECT put_targets('w', '[{"Id": "o", "Arn": "arn:aws:events:us-east-1:000000000000:event-bus/orders", "RoleArn": "regress_bus_runner"}]', 'orders');
SELECT delete_topic('admins');
SELECT delete_log_group('admins');
SELECT put_retention_policy('admins', 1);
SELECT delete_task('admins');
SELECT delete_api_destination('admins');
RESET ROLE;
-- whoever has the owner's rights may
GRANT regress_bus_admin TO regress_bus_runner;
SET ROLE regress_bus_writer;
SELECT put_targets('w', '[{"Id": "o", "Arn": "arn:aws:ecs:us-east-1:000000000000:task/admins", "RoleArn": "regress_bus_runner"}]', 'orders');
RESET ROLE;

-- a trigger puts events with the rights of the table's owner
CREATE TABLE bus_privileges_t (a int);
ALTER TABLE bus_privileges_t OWNER TO regress_bus_stranger;
GRANT INSERT ON bus_privileges_t TO regress_bus_writer;
CREATE TRIGGER t AFTER INSERT ON bus_privileges_t FOR EACH ROW
	EXECUTE FUNCTION put_row_event('source=s', 'detail_type=t', 'bus=orders');
SET ROLE regress_bus_writer;
INSERT INTO bus_privileges_t VALUES (1);
RESET ROLE;
ALTER TABLE bus_privileges_t OWNER TO regress_bus_admin;
SET ROLE regress_bus_writer;
INSERT INTO bus_privileges_t VALUES (1);
RESET ROLE;
DROP TABLE bus_privileges_t;

-- what a role that is gone has left is the superuser's
REASSIGN OWNED BY regress_bus_writer TO regress_bus_admin;
DROP OWNED BY regress_bus_writer;
DROP ROLE regress_bus_writer;
SELECT name, owner FROM rules ORDER BY name;
SET ROLE regress_bus_stranger;
SELECT count(*) FROM rules;
RESET ROLE;
SELECT remove_targets('w', '{f,p,o}', 'orders'), delete_rule('w', 'orders'), delete_rule('r', 'orders'), remove_permission(remove_all_permissions => true, event_bus_name => 'orders');
SELECT delete_topic('admins'), delete_log_group('admins'), delete_task('admins'), delete_api_destination('admins'), delete_event_bus('orders');

-- every function of the extension that is SECURITY DEFINER is an internal one
SELECT p.proname FROM pg_proc AS p
JOIN pg_depend AS d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
JOIN pg_extension AS e ON e.oid = d.refobjid AND e.extname = 'eventbridge'
WHERE p.prosecdef AND p.proname NOT LIKE '\_%'
ORDER BY 1;

DROP SCHEMA regress_bus CASCADE;
DROP SCHEMA regress_bus_hostile CASCADE;
DROP OWNED BY regress_bus_admin, regress_bus_stranger, regress_bus_runner;
DROP ROLE regress_bus_admin, regress_bus_stranger, regress_bus_runner;
