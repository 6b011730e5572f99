-- CloudFormation templates: rules, buses and permissions in and out.
SET search_path = eventbridge, public;
\set SHOW_CONTEXT never

CREATE ROLE regress_bus_machine SUPERUSER;
SET ROLE regress_bus_machine;
CREATE SCHEMA regress_bus;
CREATE FUNCTION regress_bus.handle(jsonb) RETURNS void LANGUAGE sql AS '';
CREATE PROCEDURE regress_bus.flow(jsonb) LANGUAGE sql AS '';
SELECT create_topic('news');

-- one rule for a state machine, with role, and one for a function, with permission
SELECT $${
  "AWSTemplateFormatVersion": "2010-09-09",
  "Parameters": {"Env": {"Type": "String", "Default": "prod"}},
  "Resources": {
    "Builds": {
      "Type": "AWS::Events::Rule",
      "Properties": {
        "Description": "Finished builds",
        "EventPattern": {"source": ["aws.codebuild"],
                         "detail": {"build-status": ["SUCCEEDED", "FAILED"], "n": [ 1.0 ]}},
        "State": "ENABLED",
        "Targets": [{"Arn": {"Fn::GetAtt": ["Handler", "Arn"]}, "Id": "handler"}]
      }
    },
    "BuildsPermission": {
      "Type": "AWS::Lambda::Permission",
      "Properties": {
        "Action": "lambda:InvokeFunction", "FunctionName": {"Ref": "Handler"},
        "Principal": "events.amazonaws.com", "SourceArn": {"Fn::GetAtt": ["Builds", "Arn"]}
      }
    },
    "OrderRule": {
      "Type": "AWS::Events::Rule",
      "Properties": {
        "Name": {"Fn::Sub": "orders-${Env}"},
        "EventBusName": {"Ref": "Bus"},
        "EventPattern": {"source": [{"Ref": "Source"}], "account": [{"Ref": "AWS::AccountId"}],
          "resources": [{"prefix": {"Fn::Sub": ["arn:${AWS::Partition}:s3:${AWS::Region}:${Bucket}/${!literal}", {"Bucket": "b"}]}}]},
        "Description": {"Ref": "AWS::NoValue"},
        "Targets": [{"Arn": {"Ref": "Flow"}, "Id": "flow", "RoleArn": {"Fn::GetAtt": "Runner.Arn"},
                     "RetryPolicy": {"MaximumRetryAttempts": 4}},
                    {"Arn": {"Ref": "News"}, "Id": "news",
                     "Input": {"Ref": "AWS::NoValue"},
                     "InputTransformer": {"InputPathsMap": {"s": "$.source"}, "InputTemplate": "{\"from\": <s>}"}},
                    {"Ref": "AWS::NoValue"}]
      }
    },
    "Runner": {"Type": "AWS::IAM::Role", "Properties": {"RoleName": "regress_bus_machine"}},
    "Bus": {"Type": "AWS::Events::EventBus", "Properties": {"Name": {"Fn::Join": ["-", ["orders", {"Ref": "Env"}]]}}},
    "Flow": {"Type": "AWS::StepFunctions::StateMachine"},
    "News": {"Type": "AWS::SNS::Topic", "Properties": {"TopicName": "news"}},
    "Handler": {"Type": "AWS::Lambda::Function", "Properties": {"FunctionName": "x", "Handler": "index.handler"}},
    "Table": {"Type": "AWS::DynamoDB::Table"}
  }
}$$ AS template \gset
SELECT * FROM import_cloudformation(:'template',
	'{"Handler": "regress_bus.handle", "Flow": "regress_bus.flow", "Source": "shop"}');
SELECT name, event_bus_name, state, description, event_pattern_text FROM rules ORDER BY name;
SELECT rule, id, arn, kind, resource, role FROM targets ORDER BY rule, id;
-- again: nothing changes
SELECT logical_id, action FROM import_cloudformation(:'template',
	'{"Handler": "arn:aws:lambda:us-east-1:000000000000:function:regress_bus.handle", "Flow": "regress_bus.flow", "Source": "shop"}');
SELECT logical_id, action FROM import_cloudformation(:'template'::json,
	'{"Handler": "regress_bus.handle", "Flow": "regress_bus.flow", "Source": "other", "Env": "prod"}');
-- a template without a target takes it away
SELECT put_targets('Builds', '[{"Id": "more", "Arn": "arn:aws:sns:us-east-1:000000000000:news"}]');
SELECT logical_id, action FROM import_cloudformation(:'template'::jsonb,
	'{"Handler": "regress_bus.handle", "Flow": "regress_bus.flow", "Source": "other"}') WHERE action NOT IN ('skipped', 'unchanged');
SELECT rule, id FROM targets ORDER BY rule, id;

-- out, and in again
SELECT export_cloudformation();
SELECT export_cloudformation('orders-prod');
SELECT logical_id, type, action FROM import_cloudformation(export_cloudformation());
SELECT logical_id, type, action FROM import_cloudformation(export_cloudformation('orders-prod'));
SELECT export_cloudformation('nowhere');
-- into an empty place it gives the same again
SELECT export_cloudformation('orders-prod')::text AS exported \gset
SELECT remove_targets('orders-prod', '{flow,news}', 'orders-prod'), delete_rule('orders-prod', 'orders-prod'), delete_event_bus('orders-prod');
SELECT logical_id, type, action FROM import_cloudformation(:'exported');
SELECT export_cloudformation('orders-prod')::text = :'exported' AS same;
-- names that give equal logical ids
SELECT put_rule('a-b', '{"source": ["x"]}', event_bus_name => 'orders-prod'), put_rule('a.b', '{"source": ["x"]}', event_bus_name => 'orders-prod',
	description => 'd', state => 'DISABLED', tags => '[{"Key": "k", "Value": "v"}]');
SELECT r.key FROM json_each(export_cloudformation('orders-prod') -> 'Resources') AS r ORDER BY r.key;
SELECT logical_id, action FROM import_cloudformation(export_cloudformation('orders-prod'));

-- faults
SELECT import_cloudformation('{"Resources": {"R": {"Type": "AWS::Events::Rule",
  "Properties": {"EventPattern": {"source": ["x"],}}}}}');
SELECT import_cloudformation('{"Resources": {
  ''R'': {}}}');
SELECT import_cloudformation('Resources:
  R:
    Type: AWS::Events::Rule');
SELECT import_cloudformation('[]');
SELECT import_cloudformation('{}');
SELECT import_cloudformation('{"Resources": {}}', '[]');
SELECT import_cloudformation('{"Resources": {"R": {}}}');
SELECT import_cloudformation('{"Resources": {"R": {"Type": "AWS::Events::Rule", "Condition": "IsProd"}}}');
SELECT import_cloudformation('{"Resources": {"R": {"Type": "AWS::Events::Rule", "Properties": {"Pattern": {}}}}}');
SELECT import_cloudformation('{"Resources": {"R": {"Type": "AWS::Events::Rule", "Properties": {}}}}');
SELECT import_cloudformation('{"Resources": {"R": {"Type": "AWS::Events::Rule", "Properties": {"EventPattern": {"source": [{"Ref": "What"}]}}}}}');
SELECT import_cloudformation('{"Resources": {"R": {"Type": "AWS::Events::Rule", "Properties": {"EventPattern": {"source": [{"Fn::GetAtt": ["T", "StreamArn"]}]}}}, "T": {"Type": "AWS::DynamoDB::Table"}}}');
SELECT import_cloudformation('{"Resources": {"R": {"Type": "AWS::Events::Rule", "Properties": {"EventPattern": {"source": [{"Fn::ImportValue": "x"}]}}}}}');
SELECT import_cloudformation('{"Resources": {"R": {"Type": "AWS::Events::Rule", "Properties": {"EventPattern": {"source": "x"}}}}}');
SELECT import_cloudformation('{"Resources": {"R": {"Type": "AWS::Events::Rule", "Properties": {"ScheduleExpression": "rate(5 minutes)"}}}}');
SELECT import_cloudformation('{"Resources": {"R": {"Type": "AWS::IAM::Role"}}}');
SELECT import_cloudformation('{"Resources": {"P": {"Type": "AWS::Lambda::Permission", "Properties": {"Action": "lambda:InvokeFunction", "FunctionName": "nothing", "Principal": "events.amazonaws.com"}}}}');
SELECT * FROM import_cloudformation('{"Resources": {"P": {"Type": "AWS::Lambda::Permission", "Properties": {"Action": "lambda:InvokeFunction", "FunctionName": "nothing", "Principal": "s3.amazonaws.com"}}}}');
-- a RoleArn on a function target: everything or nothing
SELECT import_cloudformation('{"Resources": {
  "NewBus": {"Type": "AWS::Events::EventBus", "Properties": {"Name": "new"}},
  "R": {"Type": "AWS::Events::Rule", "Properties": {"EventPattern": {"source": ["x"]},
    "Targets": [{"Id": "f", "Arn": "arn:aws:lambda:us-east-1:000000000000:function:regress_bus.handle", "RoleArn": "arn:aws:iam::000000000000:role/r"}]}}}}');
SELECT count(*) FROM event_buses WHERE name = 'new';

SELECT count(remove_targets(rule, ARRAY[id], event_bus_name)) FROM targets;
SELECT count(delete_rule(name, event_bus_name)) FROM rules;
SELECT delete_event_bus('orders-prod'), delete_topic('news');
RESET ROLE;

-- the permission is granted with the rights of whoever imports it
CREATE ROLE regress_bus_user;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA eventbridge TO regress_bus_user;
GRANT USAGE ON SCHEMA regress_bus TO regress_bus_user;
REVOKE EXECUTE ON FUNCTION regress_bus.handle(jsonb) FROM PUBLIC;
SELECT '{"Resources": {"P": {"Type": "AWS::Lambda::Permission", "Properties": {"Action": "lambda:InvokeFunction", "FunctionName": "regress_bus.handle", "Principal": "events.amazonaws.com"}}}}' AS template \gset
SET ROLE regress_bus_user;
SELECT * FROM import_cloudformation(:'template');
RESET ROLE;
ALTER FUNCTION regress_bus.handle(jsonb) OWNER TO regress_bus_user;
REVOKE EXECUTE ON FUNCTION regress_bus.handle(jsonb) FROM regress_bus_user;
SET ROLE regress_bus_user;
SELECT * FROM import_cloudformation(:'template');
RESET ROLE;

DROP SCHEMA regress_bus CASCADE;
DROP OWNED BY regress_bus_user, regress_bus_machine;
DROP ROLE regress_bus_user, regress_bus_machine;
-- a pipe, from the stream of a table of the template into its queue
CREATE TABLE public.cloudformation_t (id int PRIMARY KEY);
CREATE FUNCTION pg_temp.pipe(batch_size int) RETURNS SETOF record LANGUAGE sql AS $$
	SELECT logical_id, type, action, arn FROM eventbridge.import_cloudformation(format('{"Resources": {
		"Pipe": {"Type": "AWS::Pipes::Pipe", "Properties": {"Source": {"Fn::GetAtt": ["Table", "StreamArn"]},
			"SourceParameters": {"DynamoDBStreamParameters": {"StartingPosition": "LATEST", "BatchSize": %s}},
			"Target": {"Fn::GetAtt": ["Queue", "Arn"]}}},
		"Queue": {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": "cloudformation"}},
		"Table": {"Type": "AWS::DynamoDB::Table", "Properties": {"TableName": "cloudformation_t"}}}}', batch_size))
$$;
SELECT * FROM pg_temp.pipe(5) AS t (logical_id text, type text, action text, arn text);
SELECT create_queue('cloudformation'), enable_stream('public.cloudformation_t') IS NOT NULL AS stream;
SELECT * FROM pg_temp.pipe(5) AS t (logical_id text, type text, action text, arn text) ORDER BY logical_id COLLATE "C";
SELECT action FROM pg_temp.pipe(5) AS t (logical_id text, type text, action text, arn text) WHERE logical_id = 'Pipe';
SELECT action FROM pg_temp.pipe(6) AS t (logical_id text, type text, action text, arn text) WHERE logical_id = 'Pipe';
SELECT delete_pipe('Pipe'), disable_stream('public.cloudformation_t'), delete_queue('cloudformation');
DROP TABLE public.cloudformation_t;
