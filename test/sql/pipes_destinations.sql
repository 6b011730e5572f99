-- Pipes whose target eventbridge-worker serves: API destinations and tasks.
SET search_path = public, eventbridge;
\set SHOW_CONTEXT never
\pset format unaligned
\t on
CREATE TABLE pipes_destinations_t (id int PRIMARY KEY, v text);
SELECT enable_stream('pipes_destinations_t', 'NEW_IMAGE') IS NOT NULL,
	create_api_destination('pipes-hook', 'http://127.0.0.1:1/x/*'), create_task('pipes-task'), create_queue('pipes-dest-dead'), create_queue('pipes-dest-in');
CREATE FUNCTION pg_temp.make(name text, target text, more jsonb DEFAULT '{}', source jsonb DEFAULT '{}') RETURNS text LANGUAGE sql AS $$
	SELECT eventbridge.create_pipe(jsonb_build_object('Name', name, 'Source', (SELECT stream_arn FROM eventbridge.streams),
		'SourceParameters', jsonb_build_object('DynamoDBStreamParameters', '{"StartingPosition": "LATEST"}' || source), 'Target', target) || more)
$$;
SELECT pg_temp.make('p', 'arn:aws:events:us-east-1:000000000000:api-destination/pipes-hook',
	'{"TargetParameters": {"HttpParameters": {"PathParameterValues": ["a"], "HeaderParameters": {"X-A": "b"}}, "InputTemplate": "{\"id\": <$.dynamodb.Keys.id.N>}"}}',
	'{"MaximumRetryAttempts": 1, "MaximumRecordAgeInSeconds": 10, "DeadLetterConfig": {"Arn": "arn:aws:sqs:us-east-1:000000000000:pipes-dest-dead"}}');

-- each element is one request
INSERT INTO pipes_destinations_t SELECT n, 'x' FROM generate_series(1, 3) AS n;
CALL run_deliveries();
SELECT rule_name, target_id, waiting FROM delivery_status WHERE rule_name LIKE 'pipe/%';
CREATE TEMP TABLE pipes_destinations_claimed AS SELECT * FROM worker_claim(10);
SELECT kind, resource, invocation_endpoint, http_parameters, input, attempt FROM pipes_destinations_claimed ORDER BY input;
-- retries and dead letters are those of rules' targets
SELECT worker_report(delivery_id, attempt, CASE input WHEN '{"id": "1"}' THEN 'DELIVERED' WHEN '{"id": "2"}' THEN 'FAILED' ELSE 'REFUSED' END, 'SDK_CLIENT_ERROR', 'status', 1) IS NOT NULL
FROM pipes_destinations_claimed;
UPDATE delivery_retry SET next_attempt = clock_timestamp() WHERE lane = 1;
SELECT input, attempt, worker_report(delivery_id, attempt, 'FAILED', 'TIMEOUT', 'too slow', 1) FROM worker_claim(10);
SELECT rule_arn, target_arn, error_code, retry_attempts, body FROM dead_letters WHERE queue_name = 'pipes-dest-dead' ORDER BY body;
SELECT rule_name, "Invocations", "SuccessfulInvocationAttempts", "FailedInvocations", "InvocationsSentToDlq" FROM rule_metrics WHERE rule_name LIKE 'pipe/%' AND minute IS NULL;
SELECT "Invocations", "EventCount", "ExecutionFailed" FROM pipe_metrics WHERE minute IS NULL;

-- the rule that serves the pipe is not one of the user's
SELECT count(*) FROM rules WHERE name LIKE 'pipe%';
SELECT count(*) FROM targets WHERE rule LIKE 'pipe%';
SELECT list_rules('pipe');
SELECT list_rule_names_by_target('arn:aws:events:us-east-1:000000000000:api-destination/pipes-hook');
SELECT enable_rule('pipe/p');
SELECT delete_rule('pipe/p');
SELECT remove_targets('pipe/p', '{target}');
SELECT put_rule('pipe/p', '{"source": ["x"]}');
SELECT matching_rules('{"id": 1}');

-- what is under way goes where the pipe leads now, and not at all when the pipe is deleted
INSERT INTO pipes_destinations_t VALUES (4, 'y');
CALL run_deliveries();
SELECT update_pipe('p', '{"Target": "arn:aws:ecs:us-east-1:000000000000:task/pipes-task", "TargetParameters": {"EcsTaskParameters": {"TaskDefinitionArn": "x"}}}');
INSERT INTO pipes_destinations_t VALUES (5, 'z');
CALL run_deliveries();
SELECT kind, resource, coalesce(input::jsonb #>> '{dynamodb,NewImage,v,S}', input), worker_report(delivery_id, attempt, 'DELIVERED') FROM worker_claim(10) ORDER BY delivery_id;
INSERT INTO pipes_destinations_t VALUES (6, 'z');
CALL run_deliveries();
SELECT delete_pipe('p');
SELECT count(*) FROM worker_claim(10);
SELECT count(*) FROM rule WHERE name LIKE 'pipe/%';
-- a pipe that leads elsewhere from now on
SELECT pg_temp.make('p', 'arn:aws:ecs:us-east-1:000000000000:task/pipes-task');
SELECT update_pipe('p', '{"Target": "arn:aws:sqs:us-east-1:000000000000:pipes-dest-in"}');
SELECT count(*) FROM rule WHERE name LIKE 'pipe/%';
SELECT delete_pipe('p');

-- from a queue; text that is no JSON goes as a JSON string
SELECT create_pipe('p', 'arn:aws:sqs:us-east-1:000000000000:pipes-dest-in', 'arn:aws:events:us-east-1:000000000000:api-destination/pipes-hook',
	target_parameters => '{"InputTemplate": "\"<$.body> it is\""}');
SELECT send_message('pipes-dest-in', 'so') IS NOT NULL;
CALL run_deliveries();
SELECT count(*) FROM queue_message JOIN queue USING (queue_id) WHERE name = 'pipes-dest-in';
SELECT input, http_parameters, worker_report(delivery_id, attempt, 'DELIVERED') FROM worker_claim(10);
-- a destination that is gone stops the pipe
SELECT delete_api_destination('pipes-hook');
SELECT send_message('pipes-dest-in', 'so') IS NOT NULL;
CALL run_deliveries();
SELECT current_state, state_reason FROM pipes;
SELECT count(*) FROM queue_message JOIN queue USING (queue_id) WHERE name = 'pipes-dest-in';
SELECT delete_pipe('p');

-- what is refused
SELECT create_api_destination('pipes-hook', 'http://127.0.0.1:1/x') IS NOT NULL;
SELECT pg_temp.make('q', 'arn:aws:events:us-east-1:000000000000:api-destination/pipes-hook', '{"TargetParameters": {"HttpParameters": {"Headers": {}}}}');
SELECT pg_temp.make('q', 'arn:aws:events:us-east-1:000000000000:api-destination/pipes-hook', '{"TargetParameters": {"SqsQueueParameters": {}}}');
SELECT pg_temp.make('q', 'arn:aws:events:us-east-1:000000000000:api-destination/nothing');
SELECT pg_temp.make('q', 'arn:aws:sqs:us-east-1:000000000000:pipes-dest-in', '{"Enrichment": "arn:aws:events:us-east-1:000000000000:api-destination/pipes-hook"}');
SELECT pg_temp.make('q', 'arn:aws:sqs:us-east-1:000000000000:pipes-dest-in', '{"Enrichment": "arn:aws:execute-api:us-east-1:000000000000:abc/stage/GET/x"}');
SELECT pg_temp.make('q', 'arn:aws:sqs:us-east-1:000000000000:pipes-dest-in', '{"Enrichment": "arn:aws:states:us-east-1:000000000000:stateMachine:x"}');
CREATE ROLE regress_pipes_destinations;
SELECT put_permission('all', 'dynamodb:GetRecords', 'regress_pipes_destinations', stream => 'pipes_destinations_t');
SELECT pg_temp.make('q', 'arn:aws:events:us-east-1:000000000000:api-destination/pipes-hook', '{"RoleArn": "regress_pipes_destinations"}');
SELECT disable_stream('pipes_destinations_t');
DROP ROLE regress_pipes_destinations;
DROP TABLE pipes_destinations_t;
SELECT delete_api_destination('pipes-hook'), delete_task('pipes-task'), delete_queue('pipes-dest-dead'), delete_queue('pipes-dest-in');
