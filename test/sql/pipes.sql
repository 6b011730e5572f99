-- Pipes: from a table's stream through filter and enrichment to a target.
SET search_path = public, eventbridge;
SET eventbridge.retry_delay = '1ms';
\set SHOW_CONTEXT never
\pset format unaligned
\t on

-- the dentist's story: new appointments, with the patient's way of contact
CREATE TABLE pipes_appointments (id int PRIMARY KEY, patient int, at timestamp, note text);
CREATE TABLE pipes_contacts (patient int PRIMARY KEY, way text);
INSERT INTO pipes_contacts VALUES (1, 'mail'), (3, 'phone');
CREATE FUNCTION pipes_add_contact(batch jsonb) RETURNS jsonb LANGUAGE sql AS $$
	SELECT jsonb_agg(jsonb_build_object('appointment', eventbridge.unmarshall(r -> 'dynamodb' -> 'NewImage'), 'contact', coalesce(c.way, 'none')) ORDER BY o)
	FROM jsonb_array_elements(batch) WITH ORDINALITY AS b (r, o) LEFT JOIN pipes_contacts AS c ON c.patient = (r #>> '{dynamodb,NewImage,patient,N}')::int
$$;
SELECT create_queue('pipes-reminders');
SELECT enable_stream('pipes_appointments', 'NEW_IMAGE') AS stream \gset
SELECT create_pipe('reminders', :'stream', 'arn:aws:sqs:us-east-1:000000000000:pipes-reminders',
	filter_criteria => '{"Filters": [{"Pattern": "{\"eventName\": [{\"prefix\": \"INSERT\"}]}"}]}',
	enrichment => 'arn:aws:lambda:us-east-1:000000000000:function:pipes_add_contact');
INSERT INTO pipes_appointments VALUES (1, 1, '2030-01-01 09:00', 'check'), (2, 2, '2030-01-01 09:30', NULL), (3, 3, '2030-01-01 10:00', 'x');
UPDATE pipes_appointments SET note = 'moved';
DELETE FROM pipes_appointments WHERE id = 2;
-- only what a pipe wants has been captured
SELECT count(*) FROM stream_log WHERE tail LIKE '%/public.pipes_appointments/%';
CALL run_deliveries();
SELECT body FROM receive_messages('pipes-reminders', 10);
SELECT purge_queue('pipes-reminders');
-- nothing twice, and nothing lost while it is stopped
CALL run_deliveries();
SELECT stop_pipe('reminders');
INSERT INTO pipes_appointments VALUES (4, 1, '2030-01-02 09:00', NULL);
CALL run_deliveries();
SELECT count(*) FROM receive_messages('pipes-reminders', 10);
SELECT name, source ~ '/stream/', desired_state, current_state, state_reason FROM pipes;
SELECT start_pipe('reminders');
CALL run_deliveries();
SELECT body::jsonb ->> 'contact' FROM receive_messages('pipes-reminders', 10);
SELECT "Invocations", "EventCount", "ExecutionFailed" FROM pipe_metrics WHERE minute IS NULL;
SELECT delete_pipe('reminders');
INSERT INTO pipes_appointments VALUES (5, 1, '2030-01-02 09:00', NULL);
SELECT count(*) FROM stream_log WHERE head LIKE '%{"N":"5"}%' AND tail LIKE '%/public.pipes_appointments/%';

-- the same from AWS's JSON, with templates, into each kind of target
CREATE TABLE pipes_calls (n int GENERATED ALWAYS AS IDENTITY, input jsonb);
CREATE FUNCTION pipes_call(jsonb) RETURNS void LANGUAGE sql AS 'INSERT INTO public.pipes_calls (input) VALUES ($1)';
CREATE PROCEDURE pipes_flow(jsonb) LANGUAGE sql AS 'INSERT INTO public.pipes_calls (input) VALUES ($1)';
SELECT create_topic('pipes_topic', claim_check => true), create_log_group('pipes-log'), create_event_bus('pipes-bus');
CREATE FUNCTION pg_temp.make(name text, target text, more jsonb DEFAULT '{}', source jsonb DEFAULT '{}', parameters jsonb DEFAULT '{}') RETURNS text LANGUAGE sql AS $$
	SELECT eventbridge.create_pipe(jsonb_build_object('Name', name, 'Source', (SELECT stream_arn FROM eventbridge.streams),
		'SourceParameters', jsonb_build_object('DynamoDBStreamParameters', '{"StartingPosition": "TRIM_HORIZON", "BatchSize": 2}' || source)
			|| '{"FilterCriteria": {"Filters": [{"Pattern": "{\"eventName\": [\"INSERT\"]}"}, {"Pattern": "{\"dynamodb\": {\"NewImage\": {\"note\": {\"S\": [\"late\"]}}}}"}]}}',
		'Target', target, 'TargetParameters', parameters) || more)
$$;
SELECT pg_temp.make('to-function', 'arn:aws:lambda:us-east-1:000000000000:function:pipes_call',
	parameters => '{"InputTemplate": "{\"id\": <$.dynamodb.Keys.id.N>, \"pipe\": \"<aws.pipes.pipe-name>\", \"what\": \"<$.eventName>\"}"}');
SELECT pg_temp.make('to-procedure', 'arn:aws:states:us-east-1:000000000000:stateMachine:pipes_flow', parameters => '{"InputTemplate": "<$.dynamodb.Keys>"}');
SELECT pg_temp.make('to-topic', 'arn:aws:sns:us-east-1:000000000000:pipes_topic', parameters => '{"InputTemplate": "\"appointment <$.dynamodb.Keys.id.N>\""}');
SELECT pg_temp.make('to-log', 'arn:aws:logs:us-east-1:000000000000:log-group:pipes-log', parameters => '{"InputTemplate": "\"appointment <$.dynamodb.Keys.id.N>\""}');
SELECT pg_temp.make('to-bus', 'arn:aws:events:us-east-1:000000000000:event-bus/pipes-bus',
	parameters => '{"EventBridgeEventBusParameters": {"Source": "dentist", "DetailType": "$.eventName",
		"Resources": ["appointment", "$.dynamodb.Keys.id.N", "$.nothing"], "Time": "$.dynamodb.ApproximateCreationDateTime"}, "InputTemplate": "{\"id\": <$.dynamodb.Keys.id.N>}"}');
SELECT put_rule('pipes', '{"source": ["dentist"], "detail-type": ["INSERT"]}', event_bus_name => 'pipes-bus') IS NOT NULL,
	put_targets('pipes', '[{"Id": "q", "Arn": "arn:aws:sqs:us-east-1:000000000000:pipes-reminders", "InputTransformer": {
		"InputPathsMap": {"detail": "$.detail", "resources": "$.resources", "time": "$.time"},
		"InputTemplate": "{\"detail\": <detail>, \"resources\": <resources>, \"time\": <time>}"}}]', 'pipes-bus');
SELECT purge_queue('pipes-reminders') >= 0;
INSERT INTO pipes_appointments SELECT n, n, NULL, NULL FROM generate_series(11, 13) AS n;
UPDATE pipes_appointments SET note = 'late' WHERE id = 12;
UPDATE pipes_appointments SET note = 'early' WHERE id = 13;
CALL run_deliveries();
SELECT input FROM pipes_calls ORDER BY input::text NOT LIKE '[{%', n; -- pipe by pipe: a slow one's turn may end between
SELECT message FROM notification WHERE topic_id = (SELECT topic_id FROM topic WHERE name = 'pipes_topic') ORDER BY sent_at;
SELECT message FROM log_events WHERE log_group = 'pipes-log' ORDER BY message;
SELECT body::jsonb - 'time', (body::jsonb ->> 'time')::timestamptz BETWEEN now() - interval '10 minutes' AND now() FROM receive_messages('pipes-reminders', 10);
SELECT jsonb_pretty(list_pipes(max_items => 1) #- '{Pipes,0,Source}' #- '{Pipes,0,CreationTime}' #- '{Pipes,0,LastModifiedTime}' #- '{NextToken}');
SELECT jsonb_path_query_array(list_pipes('to-', 'RUNNING', target_prefix => 'arn:aws:s'), '$.Pipes[*].Name');
SELECT describe_pipe('to-topic') - '{Source,CreationTime,LastModifiedTime}'::text[];
SELECT delete_pipe(name) FROM pipes;

-- answers of an enrichment: fewer, more, none, one
CREATE FUNCTION pipes_enrich(batch jsonb) RETURNS jsonb LANGUAGE sql AS $$
	SELECT CASE batch #>> '{0,dynamodb,Keys,id,N}'
		WHEN '21' THEN '[]' WHEN '22' THEN '{}' WHEN '23' THEN '""' WHEN '24' THEN '{"one": 1}'
		WHEN '25' THEN '[1, 2, "three"]' WHEN '26' THEN '[{}]' WHEN '27' THEN NULL WHEN '28' THEN '"text"' END::jsonb
$$;
TRUNCATE pipes_calls;
SELECT pg_temp.make('enriched', 'arn:aws:lambda:us-east-1:000000000000:function:pipes_call',
	'{"Enrichment": "arn:aws:lambda:us-east-1:000000000000:function:pipes_enrich"}', '{"BatchSize": 1}');
INSERT INTO pipes_appointments SELECT n FROM generate_series(21, 28) AS n;
CALL run_deliveries();
SELECT input FROM pipes_calls ORDER BY n;
SELECT "Invocations", "TargetStageSkipped" FROM pipe_metrics WHERE minute IS NULL;
SELECT delete_pipe('enriched');

-- a target that fails: retried, then given up; the pipe goes on
CREATE FUNCTION pipes_fail(batch jsonb) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	IF jsonb_path_exists(batch, '$[*].dynamodb.Keys.id.N ? (@ == "32")') THEN
		RAISE 'not 32';
	END IF;
	INSERT INTO public.pipes_calls (input) SELECT jsonb_path_query_array(batch, '$[*].dynamodb.Keys.id.N');
END $$;
TRUNCATE pipes_calls;
SELECT create_queue('pipes-dead');
SELECT pg_temp.make('failing', 'arn:aws:lambda:us-east-1:000000000000:function:pipes_fail',
	'{"LogConfiguration": {"Level": "ERROR", "CloudwatchLogsLogDestination": {"LogGroupArn": "arn:aws:logs:us-east-1:000000000000:log-group:pipes-log"}}}',
	'{"MaximumRetryAttempts": 2, "DeadLetterConfig": {"Arn": "arn:aws:sqs:us-east-1:000000000000:pipes-dead"}}');
INSERT INTO pipes_appointments SELECT n FROM generate_series(31, 34) AS n;
CREATE PROCEDURE pg_temp.run_all() LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN 1 .. 20 LOOP
		CALL eventbridge.run_deliveries();
		PERFORM pg_sleep(0.01);
	END LOOP;
END $$;
SET eventbridge.retry_delay = '10min';
CALL run_deliveries();
SELECT failed_attempts FROM pipes;
SET eventbridge.retry_delay = '1ms';
UPDATE pipe_state SET next_attempt = '-infinity';
CALL pg_temp.run_all();
SELECT input FROM pipes_calls ORDER BY n;
SELECT (body::jsonb -> 'context') - 'executionId', (body::jsonb -> 'DDBStreamBatchInfo' ->> 'batchSize') FROM receive_messages('pipes-dead', 10);
SELECT message_type, entry #>> '{error,message}', count(*) FROM pipe_log GROUP BY 1, 2 ORDER BY 1;
SELECT count(*) FROM log_events WHERE log_group = 'pipes-log' AND message LIKE '%EXECUTION_FAILED%';
SELECT "ExecutionFailed", "TargetStageFailed", "ExecutionsSentToDlq" FROM pipe_metrics WHERE minute IS NULL;
SELECT delete_pipe('failing'), purge_queue('pipes-dead');

-- in halves: only the record that fails is given up
TRUNCATE pipes_calls;
SELECT pg_temp.make('halving', 'arn:aws:lambda:us-east-1:000000000000:function:pipes_fail', source =>
	'{"BatchSize": 8, "MaximumRetryAttempts": 1, "OnPartialBatchItemFailure": "AUTOMATIC_BISECT", "DeadLetterConfig": {"Arn": "arn:aws:sqs:us-east-1:000000000000:pipes-dead"}}');
DELETE FROM pipes_appointments;
INSERT INTO pipes_appointments SELECT n FROM generate_series(30, 37) AS n;
CALL pg_temp.run_all();
SELECT input FROM pipes_calls ORDER BY n;
SELECT (body::jsonb -> 'DDBStreamBatchInfo' ->> 'batchSize') FROM receive_messages('pipes-dead', 10);
SELECT delete_pipe('halving'), purge_queue('pipes-dead');

-- a target that says which records failed: from the first of them on, again
CREATE FUNCTION pipes_partly(batch jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO public.pipes_calls (input) SELECT jsonb_path_query_array(batch, '$[*].dynamodb.Keys.id.N');
	IF (SELECT count(*) FROM public.pipes_calls) = 1 THEN
		RETURN jsonb_build_object('batchItemFailures', jsonb_build_array(jsonb_build_object('itemIdentifier', batch -> 1 ->> 'eventID')));
	ELSIF (SELECT count(*) FROM public.pipes_calls) = 2 THEN
		RETURN '{"batchItemFailures": [{"itemIdentifier": "nobody"}]}';
	END IF;
	RETURN '{"batchItemFailures": []}';
END $$;
TRUNCATE pipes_calls;
SELECT pg_temp.make('partly', 'arn:aws:lambda:us-east-1:000000000000:function:pipes_partly', source => '{"BatchSize": 3}');
INSERT INTO pipes_appointments SELECT n FROM generate_series(41, 43) AS n;
CALL pg_temp.run_all();
SELECT input FROM pipes_calls ORDER BY n;
SELECT "ExecutionFailed", "ExecutionPartiallyFailed" FROM pipe_metrics WHERE minute IS NULL;
SELECT delete_pipe('partly');

-- a bad template for one record is that batch's fault
SELECT pg_temp.make('template', 'arn:aws:logs:us-east-1:000000000000:log-group:pipes-log', source => '{"MaximumRetryAttempts": 0}',
	parameters => '{"InputTemplate": "{\"a\": \"<$.dynamodb.Keys>\"}"}');
INSERT INTO pipes_appointments VALUES (51);
CALL pg_temp.run_all();
SELECT "TargetStageFailed", "EventCount" FROM pipe_metrics WHERE minute IS NULL;
SELECT delete_pipe('template');

-- a queue as the source
SELECT create_queue('pipes-in');
SELECT create_pipe('from-queue', 'arn:aws:sqs:us-east-1:000000000000:pipes-in', 'arn:aws:lambda:us-east-1:000000000000:function:pipes_call',
	'{"Filters": [{"Pattern": "{\"body\": {\"kind\": [\"a\"]}}"}]}', target_parameters => '{"InputTemplate": "{\"kind\": <$.body>}"}');
TRUNCATE pipes_calls;
SELECT send_message('pipes-in', m) IS NOT NULL FROM unnest(ARRAY['{"kind": "a"}', '{"kind": "b"}', 'no JSON', '{"kind": "a", "n": 2}']) AS m;
CALL run_deliveries();
SELECT input FROM pipes_calls ORDER BY n;
SELECT count(*) FROM queue_message JOIN queue USING (queue_id) WHERE name = 'pipes-in';
SELECT delete_pipe('from-queue');

-- definitions that are refused
CREATE FUNCTION pg_temp.try(more jsonb) RETURNS text LANGUAGE sql AS $$
	SELECT eventbridge.create_pipe(jsonb_build_object('Name', 'bad', 'Source', (SELECT stream_arn FROM eventbridge.streams),
		'SourceParameters', '{"DynamoDBStreamParameters": {"StartingPosition": "LATEST"}}'::jsonb,
		'Target', 'arn:aws:lambda:us-east-1:000000000000:function:pipes_call') || more)
$$;
SELECT create_pipe(NULL::jsonb);
SELECT create_pipe('[]'::jsonb);
SELECT create_pipe('{}'::jsonb);
SELECT pg_temp.try('{"name": "x"}');
SELECT pg_temp.try('{"Name": "a b", "DesiredState": "PAUSED"}');
SELECT pg_temp.try('{"SourceParameters": {}}');
SELECT pg_temp.try('{"SourceParameters": {"SqsQueueParameters": {}}}');
SELECT pg_temp.try('{"SourceParameters": {"Dynamo": {}}}');
SELECT pg_temp.try('{"SourceParameters": {"DynamoDBStreamParameters": {"StartingPosition": "NOW", "BatchSize": 0, "MaximumRetryAttempts": 10001}}}');
SELECT pg_temp.try('{"SourceParameters": {"DynamoDBStreamParameters": {"BatchSize": 1.5}}}');
SELECT pg_temp.try('{"SourceParameters": {"DynamoDBStreamParameters": {"BatchSize": 2}}}');
SELECT pg_temp.try('{"SourceParameters": {"DynamoDBStreamParameters": {"StartingPosition": "LATEST", "OnPartialBatchItemFailure": "HALF", "DeadLetterConfig": {"Arn": "arn:aws:sqs:us-east-1:000000000000:nobody"}}}}');
SELECT pg_temp.try('{"SourceParameters": {"DynamoDBStreamParameters": {"StartingPosition": "LATEST", "DeadLetterConfig": {"Arn": "arn:aws:sqs:us-east-1:000000000000:nobody"}}}}');
SELECT pg_temp.try('{"SourceParameters": {"FilterCriteria": {"Filters": [{"Pattern": "{\"i\": 1}"}]}, "DynamoDBStreamParameters": {"StartingPosition": "LATEST"}}}');
SELECT pg_temp.try('{"SourceParameters": {"FilterCriteria": {"Filters": [{"Pattern": ""}]}, "DynamoDBStreamParameters": {"StartingPosition": "LATEST"}}}');
SELECT pg_temp.try('{"SourceParameters": {"FilterCriteria": {"Filters": [{"Pattern": {"eventName": ["INSERT"]}}]}, "DynamoDBStreamParameters": {"StartingPosition": "LATEST"}}}');
SELECT pg_temp.try('{"SourceParameters": {"FilterCriteria": {"Filters": {}}, "DynamoDBStreamParameters": {"StartingPosition": "LATEST"}}}');
SELECT pg_temp.try('{"Source": "arn:aws:kinesis:us-east-1:000000000000:stream/x"}');
SELECT pg_temp.try('{"Source": "arn:aws:dynamodb:us-east-1:000000000000:table/public.nothing/stream/x"}');
SELECT pg_temp.try('{"Source": "arn:aws:sqs:us-east-1:000000000000:nobody", "SourceParameters": {}}');
SELECT pg_temp.try('{"Enrichment": "arn:aws:sqs:us-east-1:000000000000:pipes-in"}');
SELECT pg_temp.try('{"Enrichment": "arn:aws:lambda:us-east-1:000000000000:function:pipes_call"}');
SELECT pg_temp.try('{"Enrichment": "arn:aws:lambda:us-east-1:000000000000:function:nothing"}');
SELECT pg_temp.try('{"EnrichmentParameters": {"InputTemplate": "x"}}');
SELECT pg_temp.try('{"Target": "arn:aws:kinesis:us-east-1:000000000000:stream/x"}');
SELECT pg_temp.try('{"Target": "arn:aws:events:us-east-1:000000000000:api-destination/x"}');
SELECT pg_temp.try('{"TargetParameters": {"SqsQueueParameters": {}}}');
SELECT pg_temp.try('{"TargetParameters": {"InputTemplate": "\"<aws.pipes.nothing>\""}}');
SELECT pg_temp.try('{"TargetParameters": {"InputTemplate": 1}}');
SELECT pg_temp.try('{"Description": 5}');
SELECT pg_temp.try('{"RoleArn": null}');
SELECT pg_temp.try('{"Target": "arn:aws:events:us-east-1:000000000000:event-bus/pipes-bus", "TargetParameters": {"EventBridgeEventBusParameters": {"DetailType": "", "Source": "aws.x", "Time": "now"}}}');
SELECT pg_temp.try('{"Target": "arn:aws:events:us-east-1:000000000000:event-bus/pipes-bus", "TargetParameters": {"EventBridgeEventBusParameters": {"DetailType": "$.a[''b'']"}}}');
SELECT pg_temp.try('{"Target": "arn:aws:events:us-east-1:000000000000:event-bus/pipes-bus", "TargetParameters": {"EventBridgeEventBusParameters": {"Resources": [1]}}}');
SELECT pg_temp.try('{"Target": "arn:aws:events:us-east-1:000000000000:event-bus/pipes-bus", "TargetParameters": {"EventBridgeEventBusParameters": {"Resources": "a"}}}');
SELECT pg_temp.try('{"Target": "arn:aws:events:us-east-1:000000000000:event-bus/pipes-bus", "TargetParameters": {"EventBridgeEventBusParameters": {"Source": 1}}}');
SELECT pg_temp.try('{"Target": "arn:aws:events:us-east-1:000000000000:event-bus/pipes-bus", "TargetParameters": {"EventBridgeEventBusParameters": {"Detail": "x"}}}');
SELECT pg_temp.try('{"LogConfiguration": {"Level": "ERROR"}}');
SELECT pg_temp.try('{"LogConfiguration": {"Level": "TRACE"}}');
SELECT pg_temp.try('{"LogConfiguration": {"Level": "LOUD"}}');
SELECT pg_temp.try('{"LogConfiguration": {"Level": "INFO", "CloudwatchLogsLogDestination": {"LogGroupArn": "x"}}}');
SELECT pg_temp.try('{"RoleArn": "arn:aws:iam::000000000000:role/regress_pipes_nobody"}');
SELECT start_pipe('nothing');
SELECT describe_pipe('nothing');
-- one name, one pipe
SELECT pg_temp.try('{}');
SELECT pg_temp.try('{}');
SELECT delete_pipe('arn:aws:pipes:us-east-1:000000000000:pipe/bad');

-- a pipe is its owner's; it runs in its role's sessions alone
CREATE ROLE regress_pipes_other;
CREATE ROLE regress_pipes_runner;
GRANT EXECUTE ON FUNCTION create_pipe(jsonb), start_pipe(text), stop_pipe(text), delete_pipe(text) TO regress_pipes_other;
SELECT pg_temp.try('{"RoleArn": "regress_pipes_runner"}');
GRANT postgres TO regress_pipes_runner;
SELECT pg_temp.try('{"RoleArn": "regress_pipes_runner"}');
REVOKE postgres FROM regress_pipes_runner;
TRUNCATE pipes_calls;
INSERT INTO pipes_appointments VALUES (55);
CALL run_deliveries();
SELECT count(*) FROM pipes_calls;
SET ROLE regress_pipes_other;
SELECT stop_pipe('bad');
SELECT delete_pipe('bad');
SELECT count(*) FROM pipes;
SELECT _pipe_ticks(1);
SELECT _create_pipe('{}');
SET search_path = eventbridge;
SELECT create_pipe('{"Name": "mine", "Source": "arn:aws:dynamodb:us-east-1:000000000000:table/public.pipes_appointments/stream/x", "Target": "arn:aws:sqs:us-east-1:000000000000:pipes-in"}'::jsonb);
SELECT create_pipe('{"Name": "mine", "Source": "arn:aws:sqs:us-east-1:000000000000:pipes-in", "Target": "arn:aws:sqs:us-east-1:000000000000:pipes-in"}'::jsonb);
RESET search_path;
RESET ROLE;
SET search_path = public, eventbridge;
SELECT delete_pipe('bad');
REVOKE ALL ON FUNCTION create_pipe(jsonb), start_pipe(text), stop_pipe(text), delete_pipe(text) FROM regress_pipes_other;
DROP ROLE regress_pipes_other, regress_pipes_runner;

-- a change: the rest stays as it was, and so does the position
TRUNCATE pipes_calls;
SELECT pg_temp.make('changing', 'arn:aws:lambda:us-east-1:000000000000:function:pipes_call', '{"Enrichment": "arn:aws:lambda:us-east-1:000000000000:function:pipes_enrich"}');
INSERT INTO pipes_appointments VALUES (71);
SELECT update_pipe('changing', '{"Enrichment": "", "TargetParameters": {"InputTemplate": "{\"id\": <$.dynamodb.Keys.id.N>}"}, "SourceParameters": {"DynamoDBStreamParameters": {"BatchSize": 7}}}');
CALL run_deliveries();
SELECT input FROM pipes_calls ORDER BY n;
SELECT describe_pipe('changing') - '{Source,CreationTime,LastModifiedTime,Arn}'::text[];
-- an empty template takes it away, too
SELECT update_pipe('changing', '{"TargetParameters": {"InputTemplate": ""}}');
INSERT INTO pipes_appointments VALUES (72);
CALL run_deliveries();
SELECT jsonb_path_query(input, '$[*].eventName') FROM pipes_calls ORDER BY n;
SELECT update_pipe('changing', '{"DesiredState": "STOPPED"}');
SELECT start_pipe('changing');
SELECT desired_state, current_state, state_reason FROM pipes;
SELECT stop_pipe('changing');
SELECT desired_state, current_state, state_reason FROM pipes;
SELECT update_pipe('changing', '{"Source": "x"}');
SELECT update_pipe('changing', '{"SourceParameters": {"DynamoDBStreamParameters": {"StartingPosition": "LATEST"}}}');
SELECT update_pipe('changing', '{"DesiredState": "ASLEEP"}');
SELECT update_pipe('changing', '{"Target": "arn:aws:lambda:us-east-1:000000000000:function:nothing"}');
SELECT update_pipe('changing', NULL);
SELECT update_pipe('nothing', '{}');
SELECT start_pipe(NULL);
SELECT describe_pipe('a b');
SELECT delete_pipe('changing');

-- a pipe whose target is gone stops and says why
SELECT pg_temp.make('lost', 'arn:aws:lambda:us-east-1:000000000000:function:pipes_call');
DROP FUNCTION pipes_call(jsonb);
INSERT INTO pipes_appointments VALUES (61);
CALL run_deliveries();
SELECT current_state, state_reason FROM pipes;
SELECT delete_pipe('lost');
-- as does one whose stream is disabled
SELECT pg_temp.make('dry', 'arn:aws:sqs:us-east-1:000000000000:pipes-reminders');
SELECT disable_stream('pipes_appointments');
SELECT current_state, state_reason FROM pipes;
SELECT start_pipe('dry');
SELECT delete_pipe('dry');
-- what a pipe would do
CREATE FUNCTION public.pipe_dry(jsonb) RETURNS jsonb LANGUAGE sql AS $$
	SELECT jsonb_agg(e || '{"contact": "none"}') FROM jsonb_array_elements($1) AS e WHERE e ->> 'id' <> '3' $$;
SELECT * FROM pipe_dry_run('{"Filters": [{"Pattern": "{\"eventName\": [\"INSERT\"]}"}]}',
	'[{"eventName": "INSERT", "id": 1}, {"eventName": "REMOVE", "id": 2}, {"eventName": "INSERT", "id": 3}]',
	'arn:aws:lambda:us-east-1:000000000000:function:pipe_dry', target_template => '{"who": <$.id>, "how": "<$.contact>", "by": "<aws.pipes.pipe-name>"}',
	variables => '{"aws.pipes.pipe-name": "p"}');
SELECT * FROM pipe_dry_run(NULL, '[{"a": 1}]');
SELECT * FROM pipe_dry_run('{"Filters": [{"Pattern": "{\"a\": [1]}"}, {"Pattern": "{\"b\": [{\"exists\": true}]}"}]}', '[{"a": 2}]');
SELECT pipe_dry_run(NULL, '{}');
SELECT pipe_dry_run(NULL, '[{}]', 'arn:aws:lambda:us-east-1:000000000000:function:pipe_no_such');
DROP FUNCTION public.pipe_dry(jsonb);
DROP TABLE pipes_appointments, pipes_contacts, pipes_calls;
DROP FUNCTION pipes_add_contact, pipes_enrich, pipes_fail, pipes_partly;
DROP PROCEDURE pipes_flow;
SELECT remove_targets('pipes', '{q}', 'pipes-bus'), delete_rule('pipes', 'pipes-bus'), delete_event_bus('pipes-bus');
SELECT delete_queue(name) FROM queues WHERE name LIKE 'pipes-%';
SELECT delete_topic('pipes_topic'), delete_log_group('pipes-log');
