-- FIFO queues: order per group, deduplication, sequence numbers.
SET client_min_messages = warning;
DROP EXTENSION eventbridge CASCADE;
CREATE EXTENSION eventbridge;
SET search_path = eventbridge, public;
\set SHOW_CONTEXT never
\set arn 'arn:aws:sqs:us-east-1:000000000000:'
CREATE FUNCTION pg_temp.send(queue text, bodies text) RETURNS bigint LANGUAGE sql AS
	-- "a1" is message 1 of group a
	$$SELECT count(eventbridge.send_message(queue, b, message_group_id => left(b, 1), message_deduplication_id => b)) FROM regexp_split_to_table(bodies, ' ') AS b$$;
CREATE FUNCTION pg_temp.take(queue text, n integer DEFAULT 10, timeout integer DEFAULT NULL) RETURNS text LANGUAGE sql AS
	$$SELECT string_agg(body, ' ') FROM eventbridge.receive_messages(queue, n, timeout)$$;
CREATE FUNCTION pg_temp.done(queue text, bodies text) RETURNS bigint LANGUAGE sql AS
	$$SELECT count(*) FROM eventbridge.queue_message JOIN eventbridge.queue AS q USING (queue_id)
	  WHERE q.name = queue AND body = ANY (string_to_array(bodies, ' ')) AND eventbridge.delete_message(queue, message_no || '/' || receive_count)$$;

-- the name makes the queue
SELECT create_queue('f.fifo');
SELECT create_queue('f.fifo', '{"FifoQueue": "true"}');
SELECT create_queue('f.fifo', '{"FifoQueue": "true", "ContentBasedDeduplication": true}');
SELECT create_queue('f.fifo', '{"FifoQueue": "false"}');
SELECT create_queue('f', '{"FifoQueue": "true"}');
SELECT create_queue('f', '{"ContentBasedDeduplication": "true"}');
SELECT create_queue('x.fifo', '{"ContentBasedDeduplication": "perhaps"}');
SELECT create_queue('.fifo');
SELECT create_queue('a.b.fifo');
SELECT create_queue(repeat('x', 76) || '.fifo');
SELECT create_queue('content.fifo', '{"ContentBasedDeduplication": "TRUE"}'), create_queue('standard');
SELECT name, fifo, content_based_deduplication FROM queues ORDER BY name;

-- what sending takes
SELECT send_message('f.fifo', 'x');
SELECT send_message('f.fifo', 'x', message_group_id => 'g');
SELECT send_message('f.fifo', 'x', 5, message_group_id => 'g', message_deduplication_id => '1');
SELECT send_message('f.fifo', 'x', message_group_id => 'a b', message_deduplication_id => '1');
SELECT send_message('f.fifo', 'x', message_group_id => '', message_deduplication_id => '1');
SELECT send_message('f.fifo', 'x', message_group_id => 'g', message_deduplication_id => repeat('x', 129));
SELECT send_message('f.fifo', '', message_group_id => 'g', message_deduplication_id => '1');
SELECT send_message('f.fifo', 'x', message_group_id => 'g', message_deduplication_id => '1', message_attributes => '[]');
SELECT send_message('standard', 'x', message_deduplication_id => '1');
SELECT send_message('standard', 'x', message_group_id => 'tenant') IS NOT NULL;
SELECT body, attributes - '{SentTimestamp,ApproximateFirstReceiveTimestamp}'::text[] AS attributes FROM receive_messages('standard');

-- order per group; as many of the first group as there are, then others
SELECT pg_temp.send('f.fifo', 'a1 b1 a2 b2 a3');
SELECT pg_temp.take('f.fifo', 2);
SELECT pg_temp.take('f.fifo', 1);
SELECT pg_temp.take('f.fifo');
-- a group comes back when all that is in flight is gone
SELECT pg_temp.done('f.fifo', 'a2');
SELECT pg_temp.take('f.fifo');
SELECT pg_temp.done('f.fifo', 'a1');
SELECT pg_temp.take('f.fifo');
SELECT pg_temp.done('f.fifo', 'a3 b1');
SELECT pg_temp.send('f.fifo', 'a4');
SELECT pg_temp.take('f.fifo');
SELECT pg_temp.done('f.fifo', 'a4 b2');
SELECT count(*) AS messages FROM queue_message JOIN queue USING (queue_id) WHERE fifo;
SELECT pg_temp.take('f.fifo') IS NULL AS empty;

-- attributes and sequence numbers
SELECT pg_temp.send('f.fifo', 'c1 c2');
CREATE TEMP TABLE got AS SELECT * FROM receive_messages(:'arn' || 'f.fifo', 10, 60);
SELECT body, attributes - '{SentTimestamp,ApproximateFirstReceiveTimestamp,SequenceNumber}'::text[] AS attributes,
	attributes ->> 'SequenceNumber' ~ '^[0-9]{20}$' AS has_number, attributes ->> 'SequenceNumber' > lag(attributes ->> 'SequenceNumber') OVER () AS grows
FROM got;

-- visibility: one that is visible again waits for the rest of its group, and is the first then
SELECT change_message_visibility('f.fifo', receipt_handle, 0) FROM got WHERE body = 'c1';
SELECT pg_temp.take('f.fifo');
SELECT change_message_visibility('f.fifo', receipt_handle, 0) FROM got WHERE body = 'c2';
SELECT pg_temp.take('f.fifo', timeout => 0);
SELECT pg_temp.take('f.fifo', 1);
-- an old receipt is no good
SELECT bool_or(change_message_visibility('f.fifo', receipt_handle, 0)) OR bool_or(delete_message('f.fifo', receipt_handle)) AS good FROM got WHERE body = 'c1';
SELECT pg_temp.take('f.fifo');
-- time-outs end by themselves
SELECT pg_temp.done('f.fifo', 'c1 c2');
SELECT pg_temp.send('f.fifo', 'd1 d2 d3'), pg_temp.take('f.fifo', 2, 1), pg_temp.take('f.fifo');
SELECT pg_sleep(1.1);
SELECT pg_temp.take('f.fifo', 1), pg_temp.take('f.fifo');
SELECT pg_temp.done('f.fifo', 'd1');
SELECT pg_temp.take('f.fifo');

-- purge
SELECT purge_queue('f.fifo');
SELECT count(*) FROM queue_turn;
SELECT pg_temp.take('f.fifo');

-- deduplication: by id, for five minutes, also of what is gone
SELECT pg_temp.send('f.fifo', 'e1'), pg_temp.send('f.fifo', 'e1');
SELECT send_message('f.fifo', 'another', message_group_id => 'other', message_deduplication_id => 'e1') = message_id AS id_of_the_first FROM queue_message WHERE body = 'e1';
SELECT pg_temp.take('f.fifo'), pg_temp.done('f.fifo', 'e1');
SELECT pg_temp.send('f.fifo', 'e1'), pg_temp.take('f.fifo');
UPDATE queue_deduplication SET sent_at = sent_at - interval '5 min' WHERE message_deduplication_id = 'e1';
SELECT pg_temp.send('f.fifo', 'e1'), pg_temp.take('f.fifo'), pg_temp.done('f.fifo', 'e1');
-- another queue is another matter
SELECT pg_temp.send('content.fifo', 'e1'), pg_temp.take('content.fifo'), pg_temp.done('content.fifo', 'e1');
-- by content
SELECT send_message('content.fifo', 'abc', message_group_id => 'g') IS NOT NULL, send_message('content.fifo', 'abc', message_group_id => 'h') IS NOT NULL;
SELECT send_message('content.fifo', 'abc', message_group_id => 'g', message_deduplication_id => 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad') IS NOT NULL,
	send_message('content.fifo', 'abc', message_group_id => 'g', message_deduplication_id => 'own') IS NOT NULL;
SELECT body, attributes ->> 'MessageDeduplicationId' AS id FROM receive_messages('content.fifo', 10);
SELECT purge_queue('content.fifo');
SELECT set_queue_attributes('content.fifo', '{"ContentBasedDeduplication": "false", "FifoQueue": true}');
SELECT send_message('content.fifo', 'x', message_group_id => 'g');
-- what was rolled back was not sent
BEGIN;
SELECT pg_temp.send('f.fifo', 'r1');
ROLLBACK;
SELECT pg_temp.send('f.fifo', 'r1'), pg_temp.take('f.fifo'), pg_temp.done('f.fifo', 'r1');

-- delay is the queue's, and of all messages
SELECT set_queue_attributes('f.fifo', '{"DelaySeconds": 900}');
SELECT pg_temp.send('f.fifo', 'h1'), pg_temp.take('f.fifo');
SELECT set_queue_attributes('f.fifo', '{"DelaySeconds": 0}');
SELECT pg_temp.send('f.fifo', 'h2 i1'), pg_temp.take('f.fifo');
SELECT purge_queue('f.fifo');

-- retention: the next of the group comes up; and nothing is lost by a longer one
SELECT pg_temp.send('f.fifo', 'j1 j2');
UPDATE queue_message SET sent_at = sent_at - interval '5 days' WHERE body = 'j1';
SELECT pg_temp.take('f.fifo', timeout => 0);
SELECT _tidy();
SELECT string_agg(body, ' ') FROM queue_message WHERE message_deduplication_id IS NOT NULL;
UPDATE queue_message SET sent_at = sent_at - interval '5 days' WHERE body = 'j2';
SELECT pg_temp.take('f.fifo', timeout => 0);
SELECT set_queue_attributes('f.fifo', '{"MessageRetentionPeriod": 1209600}');
SELECT pg_temp.take('f.fifo', timeout => 0);
SELECT purge_queue('f.fifo');

-- many groups and few messages at a time
SELECT count(send_message('f.fifo', n::text, message_group_id => 'g' || n % 100, message_deduplication_id => 'm' || n)) FROM generate_series(1, 1000) AS n;
DO $$
DECLARE
	m record;
	last_of_group integer[] := array_fill(0, ARRAY[100], ARRAY[0]);
	g integer;
	received integer := 0;
BEGIN
	FOR i IN 1 .. 1000 LOOP
		FOR m IN SELECT * FROM eventbridge.receive_messages('f.fifo', 7) LOOP
			g := m.body::integer % 100;
			ASSERT m.body::integer > last_of_group[g], 'out of order';
			last_of_group[g] := m.body;
			ASSERT eventbridge.delete_message('f.fifo', m.receipt_handle);
			received := received + 1;
		END LOOP;
		EXIT WHEN received = 1000;
	END LOOP;
	ASSERT received = 1000;
END $$;
SELECT count(*) FROM queue_message JOIN queue USING (queue_id) WHERE fifo;

-- a redrive policy: to a queue of the same type
SELECT create_queue('dead.fifo');
SELECT set_queue_attributes('f.fifo', jsonb_build_object('RedrivePolicy', jsonb_build_object('deadLetterTargetArn', :'arn' || 'standard', 'maxReceiveCount', 1)));
SELECT set_queue_attributes('standard', jsonb_build_object('RedrivePolicy', jsonb_build_object('deadLetterTargetArn', :'arn' || 'dead.fifo', 'maxReceiveCount', 1)));
SELECT set_queue_attributes('f.fifo', jsonb_build_object('RedrivePolicy', jsonb_build_object('deadLetterTargetArn', :'arn' || 'dead.fifo', 'maxReceiveCount', 1)));
SELECT pg_temp.send('f.fifo', 'k1 k2 k3 l1');
UPDATE queue_message SET sent_at = sent_at - interval '1 h' WHERE body = 'k1';
SELECT pg_temp.take('f.fifo', 2, 0);
SELECT pg_temp.take('f.fifo', 2, 0);
SELECT pg_temp.take('f.fifo', 2, 0);
SELECT body, attributes ->> 'DeadLetterQueueSourceArn' AS source, attributes ->> 'MessageGroupId' AS g, attributes ->> 'ApproximateReceiveCount' AS receives
FROM receive_messages('dead.fifo', 10);
SELECT clock_timestamp() - sent_at < '30 min' AS age_begins_anew FROM dead_letters WHERE body = 'k1';
SELECT pg_temp.take('dead.fifo');
-- back, behind what has come since
SELECT pg_temp.send('f.fifo', 'k4');
SELECT redrive('dead.fifo');
SELECT pg_temp.take('dead.fifo');
SELECT pg_temp.take('f.fifo');
SELECT purge_queue('f.fifo');
SELECT set_queue_attributes('f.fifo', '{"RedrivePolicy": ""}');

-- a rule's target: SqsParameters names the group
CREATE FUNCTION pg_temp.put(more jsonb) RETURNS jsonb LANGUAGE sql AS
	$$SELECT eventbridge.put_targets('fifo', jsonb_build_array('{"Id": "q", "Arn": "arn:aws:sqs:us-east-1:000000000000:f.fifo", "InputPath": "$.detail.n"}' || more)) -> 'FailedEntryCount'$$;
SELECT put_rule('fifo', '{"source": ["fifo"]}') IS NOT NULL;
SELECT pg_temp.put('{}');
SELECT pg_temp.put('{"SqsParameters": {"MessageGroupId": ""}}');
SELECT pg_temp.put('{"SqsParameters": {"MessageGroupId": 5}}');
SELECT pg_temp.put('{"SqsParameters": {"MessageGroup": "x"}}');
SELECT pg_temp.put(jsonb_build_object('SqsParameters', jsonb_build_object('MessageGroupId', repeat('x', 101))));
SELECT pg_temp.put('{"SqsParameters": {"MessageGroupId": "a b"}}');
SELECT pg_temp.put('{"SqsParameters": {"MessageGroupId": "events"}, "Ordered": true}');
SELECT pg_temp.put('{"Id": "s", "Arn": "arn:aws:sqs:us-east-1:000000000000:standard", "SqsParameters": {"MessageGroupId": "fair"}}');
SELECT count(put_event('fifo', 't', jsonb_build_object('n', n), group_key => 'x')) FROM generate_series(1, 5) AS n;
CALL run_deliveries();
SELECT body, attributes ->> 'MessageGroupId' AS g, attributes ->> 'MessageDeduplicationId' = m.event_id || '/' || t.target_id AS id_of_the_event
FROM receive_messages('f.fifo', 10) AS r JOIN queue_message AS m USING (message_id, body), target AS t WHERE t.id = 'q' ORDER BY attributes ->> 'SequenceNumber';
SELECT min(attributes ->> 'MessageGroupId') AS g, count(*), bool_or(attributes ? 'SequenceNumber') AS has_number FROM receive_messages('standard', 10);
SELECT purge_queue('f.fifo');
-- with deduplication by content
SELECT set_queue_attributes('f.fifo', '{"ContentBasedDeduplication": true}');
SELECT count(put_event('fifo', 't', jsonb_build_object('n', n / 2), group_key => 'x')) FROM generate_series(2, 5) AS n;
CALL run_deliveries();
SELECT pg_temp.take('f.fifo');
SELECT purge_queue('f.fifo'), purge_queue('standard');
SELECT set_queue_attributes('f.fifo', '{"ContentBasedDeduplication": false}');
-- FIFO queues are no dead-letter queues of rules
SELECT pg_temp.put('{"SqsParameters": {"MessageGroupId": "x"}, "DeadLetterConfig": {"Arn": "arn:aws:sqs:us-east-1:000000000000:dead.fifo"}}');

-- pipes: from one FIFO queue to another
CREATE FUNCTION pg_temp.make(parameters jsonb, source text DEFAULT 'f.fifo') RETURNS boolean LANGUAGE sql AS
	$$SELECT eventbridge.create_pipe('fifo', 'arn:aws:sqs:us-east-1:000000000000:' || source, 'arn:aws:sqs:us-east-1:000000000000:content.fifo',
		filter_criteria => CASE source WHEN 'f.fifo' THEN '{"Filters": [{"Pattern": "{\"body\": [{\"anything-but\": \"n0\"}]}"}]}'::jsonb END,
		target_parameters => jsonb_build_object('InputTemplate', '<$.body>') || parameters) IS NOT NULL$$;
SELECT pg_temp.make('{}');
SELECT pg_temp.make('{"SqsQueueParameters": {"Color": "red"}}');
SELECT pg_temp.make(jsonb_build_object('SqsQueueParameters', jsonb_build_object('MessageGroupId', repeat('x', 101))));
SELECT pg_temp.make('{"SqsQueueParameters": {"MessageGroupId": "$.attributes.MessageGroupId"}}');
SELECT pg_temp.send('f.fifo', 'n0 n1 o1 n2 o2 n3');
CALL run_deliveries();
SELECT pg_temp.take('f.fifo') IS NULL AS empty;
SELECT body, attributes ->> 'MessageGroupId' AS g, length(attributes ->> 'MessageDeduplicationId') AS length FROM receive_messages('content.fifo', 10);
SELECT purge_queue('content.fifo'), delete_pipe('fifo');
-- with a deduplication id of its own
SELECT pg_temp.make('{"SqsQueueParameters": {"MessageGroupId": "one", "MessageDeduplicationId": "$.body.id"}}', 'standard');
SELECT count(send_message('standard', format('{"id": "%s", "n": %s}', n % 2, n))) FROM generate_series(1, 4) AS n;
CALL run_deliveries();
SELECT attributes ->> 'MessageGroupId' AS g, attributes ->> 'MessageDeduplicationId' AS id FROM receive_messages('content.fifo', 10);
SELECT purge_queue('content.fifo'), delete_pipe('fifo');
-- a record without a group fails
SELECT pg_temp.make('{"SqsQueueParameters": {"MessageGroupId": "$.body.g"}}', 'standard');
SELECT send_message('standard', '{"g": "good"}') IS NOT NULL, send_message('standard', '{}') IS NOT NULL;
CALL run_deliveries();
SELECT body, receive_count FROM queue_message;
SELECT purge_queue('standard');
SELECT send_message('standard', '{"g": "a b"}') IS NOT NULL, send_message('standard', '{"g": "c"}') IS NOT NULL;
CALL run_deliveries();
SELECT body, receive_count FROM queue_message;
SELECT delete_pipe('fifo'), purge_queue('standard');

-- a pipe that fails holds the group, and the next of it comes after it
CREATE FUNCTION public.fifo_call(event jsonb) RETURNS void LANGUAGE plpgsql AS $$BEGIN
	IF event #>> '{0,body}' = 'p1' AND event #>> '{0,attributes,ApproximateReceiveCount}' = '1' THEN
		RAISE 'not yet';
	END IF;
	INSERT INTO pg_temp.calls (v) SELECT r ->> 'body' FROM jsonb_array_elements(event) AS r;
END$$;
CREATE TEMP TABLE calls (n int GENERATED ALWAYS AS IDENTITY, v text);
SELECT create_pipe('fifo', :'arn' || 'f.fifo', 'arn:aws:lambda:us-east-1:000000000000:function:fifo_call',
	source_parameters => '{"SqsQueueParameters": {"BatchSize": 1}}') IS NOT NULL;
SELECT pg_temp.send('f.fifo', 'p1 p2 q1');
CALL run_deliveries();
CALL run_deliveries();
CALL run_deliveries();
SELECT string_agg(v, ' ' ORDER BY n) FROM calls;
SELECT change_message_visibility('f.fifo', message_no || '/' || receive_count, 0) FROM queue_message WHERE body = 'p1';
CALL run_deliveries();
SELECT string_agg(v, ' ' ORDER BY n) FROM calls;
SELECT delete_pipe('fifo');

-- nothing is left behind
DO $$BEGIN
	PERFORM eventbridge.remove_targets('fifo', ARRAY['q', 's']), eventbridge.delete_rule('fifo');
	PERFORM eventbridge.delete_queue(name) FROM eventbridge.queues;
	UPDATE eventbridge.queue_deduplication SET sent_at = sent_at - interval '6 min';
	PERFORM eventbridge._tidy();
END$$;
SELECT (SELECT count(*) FROM queue_message) + (SELECT count(*) FROM queue_turn) + (SELECT count(*) FROM queue_deduplication) AS left_over;
DROP FUNCTION public.fifo_call(jsonb);
-- who may
CREATE ROLE regress_fifo;
SET ROLE regress_fifo;
SELECT _enqueue(1, 'x', now(), NULL, NULL, 'g', 'd');
SELECT _lock_queue_group(1, 'g');
SELECT count(*) FROM queue_turn;
RESET ROLE;
DROP ROLE regress_fifo;
