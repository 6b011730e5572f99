-- Targets: what is accepted, what is given back, AWS's messages.
SET search_path = eventbridge, public;
\set SHOW_CONTEXT never

CREATE ROLE regress_bus_machine SUPERUSER;
SET ROLE regress_bus_machine;
CREATE SCHEMA regress_bus;
CREATE FUNCTION public.regress_bus_handle(jsonb) RETURNS void LANGUAGE sql AS '';
CREATE FUNCTION regress_bus.handle(jsonb) RETURNS void LANGUAGE sql AS '';
CREATE FUNCTION regress_bus.text_only(text) RETURNS void LANGUAGE sql AS '';
CREATE PROCEDURE regress_bus.flow(jsonb) LANGUAGE sql AS '';
SELECT create_event_bus('other'), put_rule('t', '{"source": ["x"]}');
SELECT create_topic('news'), create_topic('secrets', claim_check => true), create_log_group('/app/log', 30), create_task('rebuild');
SELECT create_api_destination('hook', 'https://example.com/hook?x=1', header_parameters => '{"X-Team": "a", "Authorization": "env:TOKEN"}',
							  signing_secret => 'file:/etc/secret', description => 'A hook');
SELECT name, arn, claim_check FROM topics ORDER BY name;
SELECT name, arn, retention_in_days FROM log_groups;
SELECT name, arn FROM tasks;
SELECT name, arn, invocation_endpoint, http_method, invocation_rate_limit_per_second, header_parameters, signing_secret, description FROM api_destinations;

-- one of each kind
SELECT put_targets('t', '[
	{"Id": "function", "Arn": "arn:aws:lambda:eu-west-1:111111111111:function:regress_bus_handle", "InputPath": "$.detail"},
	{"Id": "qualified", "Arn": "arn:aws:lambda:us-east-1:000000000000:function:regress_bus.handle", "Input": "{\"a\": 1}",
	 "RetryPolicy": {"MaximumRetryAttempts": 3, "MaximumEventAgeInSeconds": 3600}},
	{"Id": "procedure", "Arn": "arn:aws:states:us-east-1:000000000000:stateMachine:regress_bus.flow", "RoleArn": "arn:aws:iam::000000000000:role/path/regress_bus_machine"},
	{"Id": "topic", "Arn": "arn:aws:sns:us-east-1:000000000000:news",
	 "InputTransformer": {"InputPathsMap": {"s": "$.source"}, "InputTemplate": "\"from <s>\""}},
	{"Id": "log", "Arn": "arn:aws:logs:us-east-1:000000000000:log-group:/app/log"},
	{"Id": "bus", "Arn": "arn:aws:events:us-east-1:000000000000:event-bus/other", "RoleArn": "regress_bus_machine"},
	{"Id": "hook", "Arn": "arn:aws:events:us-east-1:000000000000:api-destination/hook/5c8f1cf6", "RoleArn": "regress_bus_machine",
	 "HttpParameters": {"HeaderParameters": {"X-A": "b"}}},
	{"Id": "task", "Arn": "arn:aws:ecs:us-east-1:000000000000:task/rebuild", "RoleArn": "regress_bus_machine", "EcsParameters": {"TaskCount": 1}}]');
SELECT id, kind, resource, role, ordered FROM targets ORDER BY id;
SELECT jsonb_pretty(list_targets_by_rule('t'));
SELECT jsonb_path_query_array(list_targets_by_rule('t', max_items => 3), '$.Targets[*].Id'),
	list_targets_by_rule('t', max_items => 3) ->> 'NextToken' AS token \gset
SELECT jsonb_path_query_array(list_targets_by_rule('t', max_items => 100, next_token => :'token'), '$.Targets[*].Id');
SELECT put_rule('t2', '{"source": ["y"]}'), put_targets('t2', '{"Targets": [{"Id": "n", "Arn": "arn:aws:sns:us-east-1:000000000000:news"}, {"Id": "n2", "Arn": "arn:aws:sns:us-east-1:000000000000:news"}]}');
SELECT list_rule_names_by_target('arn:aws:sns:us-east-1:000000000000:news');
SELECT list_rule_names_by_target('arn:aws:sns:us-east-1:000000000000:news', max_items => 1);
SELECT list_rule_names_by_target('arn:aws:sns:us-east-1:000000000000:nobody');
SELECT list_rule_names_by_target('');

-- ours, not AWS's: order per group
SELECT put_targets('t', '[{"Id": "log", "Arn": "arn:aws:logs:us-east-1:000000000000:log-group:/app/log", "Ordered": true}]');

-- the same id again: the whole new definition counts, and the target is the same
SELECT target_id AS before FROM target WHERE id = 'topic' \gset
SELECT put_targets('t', '[{"Id": "topic", "Arn": "arn:aws:sns:us-east-1:000000000000:secrets"}]');
SELECT target_id = :before AS same, arn, input_transformer IS NULL AS plain FROM target WHERE id = 'topic';
SELECT put_rule('t', '{"source": ["z"]}');
SELECT count(*) FROM targets WHERE rule = 't';

-- removing
SELECT remove_targets('t', '{task,nothing,hook,nobody}');
SELECT remove_targets('t', '{}');
SELECT remove_targets('t', '{a b}');
SELECT remove_targets('nowhere', '{a}');
SELECT delete_rule('t');

-- faults of form
SELECT put_targets('nowhere', '[{"Id": "a", "Arn": "arn:aws:sns:us-east-1:000000000000:news"}]');
SELECT put_targets('t', '[{"Id": "a", "Arn": "arn:aws:sns:us-east-1:000000000000:news"}]', 'nowhere');
SELECT put_targets('t', '{}');
SELECT put_targets('t', '[]');
SELECT put_targets('t', '[1]');
SELECT put_targets('t', NULL);
SELECT put_targets('t', '[{"Id": "a", "Arn": "b", "Role": "c"}]');
SELECT put_targets('t', '[{"Id": 1, "Arn": "b"}]');
SELECT put_targets('t', '[{"Id": "a", "Arn": "b", "RetryPolicy": {"Attempts": 1}}]');
SELECT put_targets('t', '[{"Id": "a", "Arn": "b", "DeadLetterConfig": {"Arn": 1}}]');
SELECT put_targets('t', '[{"Id": "a", "Arn": "b", "RetryPolicy": {"MaximumRetryAttempts": "1"}}]');
SELECT put_targets('t', '[{"Id": "a", "Arn": "b", "InputTransformer": {"Template": "x"}}]');
SELECT put_targets('t', '[{"Id": "a", "Arn": "b", "InputTransformer": {"InputPathsMap": []}}]');
SELECT put_targets('t', '[{"Id": "a", "Arn": "b", "InputTransformer": {"InputPathsMap": {}}}]');
SELECT put_targets('t', '[{"Id": "a", "Arn": "b", "HttpParameters": {"Headers": {}}}]');
SELECT put_targets('t', '[{"Id": "ok", "Arn": "x"}, {"Id": "not ok"}]');
DO $$
BEGIN
	PERFORM put_targets('t', jsonb_build_array(jsonb_build_object('Id', 'a', 'Arn', 'b', 'Input', repeat('x', 8193)),
		jsonb_build_object('Id', 'b', 'Arn', 'b', 'InputPath', repeat('x', 257)),
		jsonb_build_object('Id', 'c', 'Arn', 'b', 'InputTransformer', jsonb_build_object('InputTemplate', repeat('x', 8193)))));
EXCEPTION WHEN invalid_parameter_value THEN
	RAISE NOTICE '%', regexp_replace(SQLERRM, 'x{9,}', 'x...', 'g');
END $$;
SELECT remove_targets('t', NULL);
SELECT put_targets('t', '[{"Id": "a", "Arn": "b", "RetryPolicy": {"MaximumRetryAttempts": 186, "MaximumEventAgeInSeconds": 59}}]');
SELECT put_targets('t', '[{"Id": "a", "Arn": "b", "RetryPolicy": {"MaximumRetryAttempts": -1, "MaximumEventAgeInSeconds": 86401}}]');
SELECT put_targets('t', '[{"Id": "a", "Arn": "b", "RetryPolicy": {"MaximumRetryAttempts": 1e30}}]');
SELECT put_targets('t', '[{"Id": "a", "Arn": "x"}, {"Id": "b", "Arn": "x"}, {"Id": "b", "Arn": "x"}]');

-- faults of meaning
SELECT put_targets('t', '[{"Id": "a", "Arn": "news"}]');
SELECT put_targets('t', '[{"Id": "a", "Arn": "arn:aws:kinesis:us-east-1:000000000000:stream/s"}]');
SELECT put_targets('t', '[{"Id": "a", "Arn": "arn:aws:lambda:us-east-1:000000000000:function:f:3"}]');
SELECT put_targets('t', '[{"Id": "a", "Arn": "arn:aws:sns:us-east-1:000000000000:news", "Input": "1", "InputPath": "$"}]');
SELECT put_targets('t', '[{"Id": "a", "Arn": "arn:aws:sns:us-east-1:000000000000:news", "InputTransformer": {"InputPathsMap": {"a": "$.a"}, "InputTemplate": "<b>"}}]');
SELECT put_targets('t', '[{"Id": "a", "Arn": "arn:aws:sns:us-east-1:000000000000:news", "EcsParameters": {}}]');
SELECT put_targets('t', '[{"Id": "a", "Arn": "arn:aws:sns:us-east-1:000000000000:news", "KinesisParameters": {}}]');
SELECT put_targets('t', '[{"Id": "a", "Arn": "arn:aws:sns:us-east-1:000000000000:news", "SqsParameters": {"MessageGroupId": "g"}}]');
SELECT put_targets('t', '[{"Id": "a", "Arn": "arn:aws:sqs:us-east-1:000000000000:q.fifo"}]');
SELECT put_targets('t', '[{"Id": "a", "Arn": "arn:aws:sns:us-east-1:000000000000:news", "RoleArn": "regress_bus_machine"}]');
SELECT put_targets('t', '[{"Id": "a", "Arn": "arn:aws:lambda:us-east-1:000000000000:function:regress_bus.handle", "RoleArn": "arn:aws:iam::000000000000:role/r"}]');
SELECT put_targets('t', '[{"Id": "a", "Arn": "arn:aws:states:us-east-1:000000000000:stateMachine:regress_bus.flow"}]');
SELECT put_targets('t', '[{"Id": "a", "Arn": "arn:aws:states:us-east-1:000000000000:stateMachine:regress_bus.flow", "RoleArn": "arn:aws:iam::000000000000:role/regress_nobody"}]');
SELECT put_targets('t', '[{"Id": "a", "Arn": "arn:aws:sns:us-east-1:000000000000:news", "DeadLetterConfig": {"Arn": "arn:aws:sns:us-east-1:000000000000:news"}}]');
SELECT put_targets('t', '[{"Id": "a", "Arn": "arn:aws:sns:us-east-1:000000000000:news", "DeadLetterConfig": {"Arn": "arn:aws:sqs:us-east-1:000000000000:q.fifo"}}]');
SELECT put_targets('t', '[{"Id": "a", "Arn": "arn:aws:sns:us-east-1:000000000000:news", "DeadLetterConfig": {"Arn": "q"}}]');

-- what is not there
SELECT put_targets('t', '[{"Id": "a", "Arn": "arn:aws:lambda:us-east-1:000000000000:function:nothing"}]');
SELECT put_targets('t', '[{"Id": "a", "Arn": "arn:aws:lambda:us-east-1:000000000000:function:regress_bus.text_only"}]');
SELECT put_targets('t', '[{"Id": "a", "Arn": "arn:aws:lambda:us-east-1:000000000000:function:regress_bus.flow"}]');
SELECT put_targets('t', '[{"Id": "a", "Arn": "arn:aws:states:us-east-1:000000000000:stateMachine:regress_bus.handle", "RoleArn": "regress_bus_machine"}]');
SELECT put_targets('t', '[{"Id": "a", "Arn": "arn:aws:sns:us-east-1:000000000000:nothing"}]');
SELECT put_targets('t', '[{"Id": "a", "Arn": "arn:aws:logs:us-east-1:000000000000:log-group:nothing:*"}]');
SELECT put_targets('t', '[{"Id": "a", "Arn": "arn:aws:events:us-east-1:000000000000:event-bus/nothing", "RoleArn": "regress_bus_machine"}]');
SELECT put_targets('t', '[{"Id": "a", "Arn": "arn:aws:events:us-east-1:000000000000:api-destination/nothing", "RoleArn": "regress_bus_machine"}]');
SELECT put_targets('t', '[{"Id": "a", "Arn": "arn:aws:ecs:us-east-1:000000000000:task/nothing", "RoleArn": "regress_bus_machine"}]');

-- a fault of one target leaves all as they were
SELECT put_targets('t', '[{"Id": "new", "Arn": "arn:aws:sns:us-east-1:000000000000:news"}, {"Id": "a", "Arn": "arn:aws:sns:us-east-1:000000000000:nothing"}]');
SELECT count(*) FROM targets WHERE id = 'new';

-- resources
SELECT create_topic('news');
SELECT create_topic('a b');
SELECT create_log_group('/app/log');
SELECT create_log_group('a b', 0);
SELECT put_retention_policy('/app/log', 7);
SELECT put_retention_policy('/app/log', 0);
SELECT put_retention_policy('nothing', 1);
SELECT retention_in_days FROM log_groups;
SELECT create_task('rebuild');
SELECT create_task('a/b');
SELECT create_api_destination('hook', 'https://example.com/');
SELECT create_api_destination('a b', '', 'FETCH', 0);
SELECT create_api_destination('h', 'http://example.com/');
SELECT create_api_destination('h', 'https://user:password@example.com/');
SELECT create_api_destination('h', 'ftp://example.com/');
SELECT create_api_destination('h', 'https://example.com/', header_parameters => '[]');
SELECT create_api_destination('h', 'https://example.com/', header_parameters => '{"X-A": 1}');
SELECT create_api_destination('h', 'https://example.com/', header_parameters => '{"X A": "1"}');
SELECT create_api_destination('h', 'https://example.com/', header_parameters => '{"X-A": "1\r\nX-B: 2"}');
SELECT create_api_destination('h', 'https://example.com/', header_parameters => '{"authorization": "Bearer abc"}');
SELECT create_api_destination('h', 'https://example.com/', signing_secret => 'whsec_abc');
SELECT create_api_destination('local', 'http://127.0.0.1:8080/x'), create_api_destination('slack', 'env:SLACK_WEBHOOK');
SELECT delete_api_destination('local'), delete_api_destination('slack'), delete_api_destination('hook');
SELECT delete_topic('news'), delete_topic('secrets'), delete_log_group('/app/log'), delete_task('rebuild');
SELECT delete_topic('news');
SELECT delete_log_group('news');
SELECT delete_task('news');
SELECT delete_api_destination('news');

-- a bus to which a target leads can go
SELECT delete_event_bus('other');
SELECT remove_targets('t', '{function,qualified,procedure,topic,log,bus,a}'), remove_targets('t2', '{n,n2}');
SELECT delete_rule('t'), delete_rule('t2');
SELECT count(*) FROM target;

DROP FUNCTION public.regress_bus_handle(jsonb);
DROP SCHEMA regress_bus CASCADE;
RESET ROLE;
DROP ROLE regress_bus_machine;
