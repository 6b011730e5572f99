-- DelaySeconds of queues, where rules and pipes put messages into them.
SET client_min_messages = warning;
DROP EXTENSION eventbridge CASCADE;
CREATE EXTENSION eventbridge;
SET search_path = public, eventbridge;
\pset format unaligned
\t on
\set SHOW_CONTEXT never
\set arn 'arn:aws:sqs:us-east-1:000000000000:'
SELECT create_queue('later', '{"DelaySeconds": 900}'), create_queue('later.fifo', '{"DelaySeconds": 900, "ContentBasedDeduplication": true}'),
	create_queue('dead', '{"DelaySeconds": 900}'), create_queue('now');
CREATE FUNCTION delay_fails(jsonb) RETURNS void LANGUAGE plpgsql AS $$ BEGIN RAISE 'no'; END $$;
/* Seconds between sent and visible; nothing but the clock's resolution lies between the two times of a message. */
CREATE FUNCTION pg_temp.delays() RETURNS TABLE (queue text, what text, delay integer) LANGUAGE sql AS $$
	SELECT q.name, coalesce(body::json ->> 'detail-type', body::json -> 'context' ->> 'condition', body::json ->> 'eventName', 'template'),
		round(extract(epoch FROM m.visible_at - m.sent_at))
	FROM eventbridge.queue_message AS m JOIN eventbridge.queue AS q USING (queue_id) ORDER BY 1, 2, 3 $$;

-- a rule's targets: standard queues, without and with a group, and FIFO queues; and its dead-letter queue
SELECT put_rule('delay', '{"source": ["delay"]}') IS NOT NULL;
SELECT put_targets('delay', jsonb_build_array(
	jsonb_build_object('Id', 'later', 'Arn', :'arn' || 'later'),
	jsonb_build_object('Id', 'group', 'Arn', :'arn' || 'later', 'SqsParameters', '{"MessageGroupId": "g"}'::jsonb),
	jsonb_build_object('Id', 'fifo', 'Arn', :'arn' || 'later.fifo', 'SqsParameters', '{"MessageGroupId": "g"}'::jsonb),
	jsonb_build_object('Id', 'now', 'Arn', :'arn' || 'now'),
	jsonb_build_object('Id', 'fails', 'Arn', 'arn:aws:lambda:us-east-1:000000000000:function:delay_fails',
		'RetryPolicy', '{"MaximumRetryAttempts": 0}'::jsonb, 'DeadLetterConfig', jsonb_build_object('Arn', :'arn' || 'dead'))));
SELECT put_event('delay', 'event', '{}') IS NOT NULL;
CALL run_deliveries();
SELECT * FROM pg_temp.delays();
SELECT count(*) FROM queues, receive_messages(name, 10) WHERE name <> 'now';
-- a change acts on what is delivered from then on
SELECT set_queue_attributes('later', '{"DelaySeconds": 0}'), set_queue_attributes('now', '{"DelaySeconds": 60}');
SELECT put_event('delay', 'next event', '{}') IS NOT NULL;
CALL run_deliveries();
SELECT * FROM pg_temp.delays() WHERE what = 'next event';
SELECT remove_targets('delay', '{later,group,fifo,now,fails}') ->> 'FailedEntryCount', delete_rule('delay');
SELECT purge_queue(name) > 0 FROM queues;
SELECT set_queue_attributes('later', '{"DelaySeconds": 900}'), set_queue_attributes('now', '{"DelaySeconds": 0}');

-- a pipe's target, as it is and through a template, and its dead-letter queue
CREATE TABLE delay_t (id int PRIMARY KEY);
SELECT enable_stream('delay_t', 'KEYS_ONLY') AS stream \gset
SELECT create_pipe('plain', :'stream', :'arn' || 'later'),
	create_pipe('template', :'stream', :'arn' || 'later', target_parameters => '{"InputTemplate": "{\"id\": <$.dynamodb.Keys.id.N>}"}'),
	create_pipe('group', :'stream', :'arn' || 'later', target_parameters => '{"SqsQueueParameters": {"MessageGroupId": "g"}}'),
	create_pipe('fifo', :'stream', :'arn' || 'later.fifo', target_parameters => '{"SqsQueueParameters": {"MessageGroupId": "g"}}'),
	create_pipe('now', :'stream', :'arn' || 'now'),
	create_pipe('fails', :'stream', 'arn:aws:lambda:us-east-1:000000000000:function:delay_fails', source_parameters => jsonb_build_object(
		'DynamoDBStreamParameters', jsonb_build_object('StartingPosition', 'LATEST', 'MaximumRetryAttempts', 0,
			'DeadLetterConfig', jsonb_build_object('Arn', :'arn' || 'dead'))));
INSERT INTO delay_t VALUES (1), (2);
CALL run_deliveries();
SELECT * FROM pg_temp.delays();
SELECT count(*) FROM queues, receive_messages(name, 10) WHERE name <> 'now';
SELECT set_queue_attributes('later', '{"DelaySeconds": 60}');
INSERT INTO delay_t VALUES (3);
CALL run_deliveries();
SELECT queue, what, delay FROM pg_temp.delays() WHERE delay = 60;

SELECT delete_pipe(name) FROM pipes;
DROP TABLE delay_t;
DROP FUNCTION delay_fails;
SELECT delete_queue(name) FROM queues;
