-- Redrive policies of queues: what has been received too often moves to the
-- dead-letter queue, and redrive() brings it back.
SET client_min_messages = warning;
DROP EXTENSION eventbridge CASCADE;
CREATE EXTENSION eventbridge;
SET search_path = eventbridge, public;
\set SHOW_CONTEXT never
CREATE FUNCTION pg_temp.policy(dlq text, n text) RETURNS jsonb LANGUAGE sql AS
	$$SELECT jsonb_build_object('RedrivePolicy', jsonb_build_object('deadLetterTargetArn', 'arn:aws:sqs:us-east-1:000000000000:' || dlq, 'maxReceiveCount', n::jsonb))$$;
CREATE FUNCTION pg_temp.take(queue text, n integer DEFAULT 10) RETURNS TABLE (body text, receives text, source text) LANGUAGE sql AS
	$$SELECT body, attributes ->> 'ApproximateReceiveCount', attributes ->> 'DeadLetterQueueSourceArn'
	  FROM eventbridge.receive_messages(queue, n, 0)$$;

-- the policy: as an object, and as a string that holds one
SELECT create_queue('dead');
SELECT create_queue('work', pg_temp.policy('dead', '2'));
SELECT create_queue('work', '{"RedrivePolicy": "{\"deadLetterTargetArn\": \"arn:aws:sqs:us-east-1:000000000000:dead\", \"maxReceiveCount\": \"2\"}"}');
SELECT create_queue('work', pg_temp.policy('dead', '3'));
SELECT create_queue('work');
SELECT name, redrive_policy FROM queues ORDER BY name;

-- what is no policy
SELECT create_queue('x', '{"RedrivePolicy": "no JSON"}');
SELECT create_queue('x', '{"RedrivePolicy": 5}');
SELECT create_queue('x', '{"RedrivePolicy": []}');
SELECT create_queue('x', '{"RedrivePolicy": "[]"}');
SELECT create_queue('x', '{"RedrivePolicy": {}}');
SELECT create_queue('x', '{"RedrivePolicy": {"maxReceiveCount": 3}}');
SELECT create_queue('x', jsonb_set(pg_temp.policy('dead', '3'), '{RedrivePolicy,color}', '"red"'));
SELECT create_queue('x', pg_temp.policy('dead', '0'));
SELECT create_queue('x', pg_temp.policy('dead', '1001'));
SELECT create_queue('x', pg_temp.policy('dead', '"many"'));
SELECT create_queue('x', pg_temp.policy('nowhere', '3'));
SELECT create_queue('x', pg_temp.policy('x', '3'));
SELECT create_queue('x', '{"RedrivePolicy": {"maxReceiveCount": 3, "deadLetterTargetArn": "arn:aws:sns:us-east-1:000000000000:dead"}}');
SELECT create_queue('x', '{"RedrivePolicy": {"maxReceiveCount": 3, "deadLetterTargetArn": "dead"}}');
SELECT set_queue_attributes('dead', pg_temp.policy('dead', '3'));

-- attributes can be changed; those that are not named stay
SELECT set_queue_attributes('nowhere', '{}');
SELECT set_queue_attributes('work', NULL);
SELECT set_queue_attributes('work', '{"Color": "red"}');
SELECT set_queue_attributes('work', '{"DelaySeconds": "901"}');
SELECT set_queue_attributes('work', '{"VisibilityTimeout": "60", "MessageRetentionPeriod": 120}');
SELECT set_queue_attributes('arn:aws:sqs:us-east-1:000000000000:work', '{"RedrivePolicy": ""}');
SELECT visibility_timeout, message_retention_period, delay_seconds, redrive_policy FROM queues WHERE name = 'work';
SELECT set_queue_attributes('work', pg_temp.policy('dead', '2'));

-- received twice and not deleted: the third time it has moved
SELECT send_message('work', 'poison', message_attributes => '{"a": {"DataType": "String", "StringValue": "b"}}') IS NOT NULL;
CREATE TEMP TABLE sent AS SELECT message_id, sent_at FROM queue_message;
SELECT * FROM pg_temp.take('work');
SELECT * FROM pg_temp.take('work');
SELECT * FROM pg_temp.take('work');
SELECT name, body, receive_count FROM queue_message JOIN queue USING (queue_id);
SELECT d.queue_name, d.body, d.source_queue_arn, d.event_id, d.rule_arn, d.message_id = s.message_id AS same_message, d.sent_at = s.sent_at AS same_time
FROM dead_letters AS d, sent AS s;
CREATE TEMP TABLE got AS SELECT * FROM receive_messages('dead', 1, 0);
SELECT body, attributes ->> 'DeadLetterQueueSourceArn' AS source, attributes ->> 'ApproximateReceiveCount' AS receives,
	attributes ->> 'SentTimestamp' = (extract(epoch FROM s.sent_at) * 1000)::bigint::text AS same_time, message_attributes
FROM got AS g, sent AS s WHERE g.message_id = s.message_id;
-- its receipts belong to the queue where it was received
SELECT delete_message('work', receipt_handle) FROM got;

-- others behind it are received in the same call
SELECT redrive('dead');
SELECT count(send_message('work', n::text)) FROM generate_series(1, 5) AS n;
SELECT * FROM pg_temp.take('work', 1);
SELECT * FROM pg_temp.take('work', 1);
SELECT * FROM pg_temp.take('work', 1);
SELECT purge_queue('dead');
SELECT count(*) FROM pg_temp.take('work');
SELECT body, receives FROM pg_temp.take('work');
SELECT * FROM pg_temp.take('work');
SELECT body, source FROM pg_temp.take('dead');

-- back where they came from: as new messages, and the old receipts are no longer good
CREATE TEMP TABLE receipts AS SELECT * FROM receive_messages('dead', 10);
SELECT redrive('dead');
SELECT redrive('dead');
SELECT body, receives, source FROM pg_temp.take('work');
SELECT bool_or(delete_message('work', receipt_handle)) OR bool_or(delete_message('dead', receipt_handle)) AS deleted FROM receipts;
SELECT count(*) AS with_an_old_id FROM receipts JOIN queue_message USING (message_id);
SELECT purge_queue('work');

-- a dead-letter queue may have one itself: there receives are counted anew
SELECT create_queue('last');
SELECT set_queue_attributes('dead', pg_temp.policy('last', '1'));
SELECT set_queue_attributes('work', pg_temp.policy('dead', '1'));
SELECT send_message('work', 'far') IS NOT NULL;
SELECT * FROM pg_temp.take('work') UNION ALL SELECT * FROM pg_temp.take('work');
SELECT * FROM pg_temp.take('dead') UNION ALL SELECT * FROM pg_temp.take('dead');
SELECT * FROM pg_temp.take('last');
-- one step at a time
SELECT redrive('last');
SELECT name, source_queue_arn FROM queue_message AS m JOIN queue USING (queue_id) LEFT JOIN dead_letters AS d USING (message_id);
SELECT purge_queue('dead');

-- without the dead-letter queue, messages come again and again; with it anew, they move
SELECT send_message('work', 'stays') IS NOT NULL;
SELECT delete_queue('dead');
SELECT * FROM pg_temp.take('work') UNION ALL SELECT * FROM pg_temp.take('work');
SELECT create_queue('dead');
SELECT * FROM pg_temp.take('work');
SELECT * FROM pg_temp.take('dead');
-- and without the source they stay
SELECT delete_queue('work');
SELECT redrive('dead');
SELECT purge_queue('dead');

-- an event that could not be delivered is sent back to its queue first, then to its target
SELECT create_queue('letters', pg_temp.policy('dead', '1'));
CREATE FUNCTION public.redrive_call(event jsonb) RETURNS void LANGUAGE plpgsql AS $$BEGIN RAISE 'no'; END$$;
DO $$BEGIN
	PERFORM eventbridge.put_rule('redrive', '{"source": ["redrive"]}');
	PERFORM eventbridge.put_targets('redrive', '[{"Id": "f", "Arn": "arn:aws:lambda:us-east-1:000000000000:function:redrive_call",
		"RetryPolicy": {"MaximumRetryAttempts": 0}, "DeadLetterConfig": {"Arn": "arn:aws:sqs:us-east-1:000000000000:letters"}}]');
END$$;
SELECT put_event('redrive', 't', '{}') IS NOT NULL;
CALL run_deliveries();
SELECT count(*) FROM (SELECT pg_temp.take('letters') UNION ALL SELECT pg_temp.take('letters')) AS t;
SELECT queue_name, error_message, source_queue_arn FROM dead_letters;
SELECT redrive('dead');
SELECT queue_name, error_message, source_queue_arn FROM dead_letters;
CREATE OR REPLACE FUNCTION public.redrive_call(event jsonb) RETURNS void LANGUAGE sql AS '';
SELECT redrive('letters');
CALL run_deliveries();
SELECT count(*) FROM dead_letters;

-- a pipe's source
SELECT create_queue('piped', '{"VisibilityTimeout": 0}' || pg_temp.policy('dead', '2')), create_log_group('piped');
CREATE OR REPLACE FUNCTION public.redrive_call(event jsonb) RETURNS void LANGUAGE plpgsql AS $$BEGIN
	IF event #>> '{0,body}' = 'poison' THEN
		RAISE 'no';
	END IF;
END$$;
SELECT create_pipe('redrive', 'arn:aws:sqs:us-east-1:000000000000:piped', 'arn:aws:lambda:us-east-1:000000000000:function:redrive_call',
	source_parameters => '{"SqsQueueParameters": {"BatchSize": 1}}') IS NOT NULL;
SELECT send_message('piped', 'poison') IS NOT NULL, send_message('piped', 'good') IS NOT NULL;
CALL run_deliveries();
CALL run_deliveries();
CALL run_deliveries();
CALL run_deliveries();
SELECT name, body, receive_count FROM queue_message JOIN queue USING (queue_id);
SELECT delete_pipe('redrive');
SELECT purge_queue('dead');

-- who may: the dead-letter queue must be one that the queue's owner may use
CREATE ROLE regress_redrive_a;
CREATE ROLE regress_redrive_b;
GRANT EXECUTE ON FUNCTION create_queue(text, jsonb), set_queue_attributes(text, jsonb) TO regress_redrive_a, regress_redrive_b;
SET ROLE regress_redrive_b;
SELECT create_queue('b-dead');
SET ROLE regress_redrive_a;
SELECT create_queue('a', pg_temp.policy('b-dead', '1'));
SELECT create_queue('a');
SELECT set_queue_attributes('a', pg_temp.policy('b-dead', '1'));
SELECT set_queue_attributes('b-dead', '{"DelaySeconds": 1}');
SELECT _set_queue_attributes('a', '{}');
SELECT _receivable(NULL, 1);
RESET ROLE;
GRANT regress_redrive_b TO regress_redrive_a;
SET ROLE regress_redrive_a;
SELECT set_queue_attributes('a', pg_temp.policy('b-dead', '1'));
SELECT send_message('a', 'x') IS NOT NULL;
SELECT body FROM receive_messages('a', 1, 0);
SELECT * FROM receive_messages('a', 1, 0);
-- the owner of the dead-letter queue may not put anything into the other
SET ROLE regress_redrive_b;
SELECT body FROM dead_letters;
SELECT redrive('b-dead');
SET ROLE regress_redrive_a;
SELECT redrive('b-dead');
SELECT body FROM receive_messages('a', 1, 0);
-- and when the right has gone, messages stay
RESET ROLE;
REVOKE regress_redrive_b FROM regress_redrive_a;
SET ROLE regress_redrive_a;
SELECT body FROM receive_messages('a', 1, 0);
RESET ROLE;

DO $$BEGIN
	PERFORM eventbridge.remove_targets('redrive', ARRAY['f']), eventbridge.delete_rule('redrive');
	PERFORM eventbridge.delete_queue(name) FROM eventbridge.queues;
	PERFORM eventbridge.delete_log_group('piped');
END$$;
DROP FUNCTION public.redrive_call(jsonb);
REVOKE EXECUTE ON FUNCTION create_queue(text, jsonb), set_queue_attributes(text, jsonb) FROM regress_redrive_a, regress_redrive_b;
DROP ROLE regress_redrive_a, regress_redrive_b;
