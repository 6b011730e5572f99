-- a log and queues that no other test has used
SET client_min_messages = warning;
DROP EXTENSION eventbridge CASCADE;
CREATE EXTENSION eventbridge;
SET search_path = eventbridge, public;
SELECT create_queue('orders', '{"VisibilityTimeout": "60"}');
SELECT create_queue('orders', '{"VisibilityTimeout": 60}');
SELECT name, arn, visibility_timeout, message_retention_period, delay_seconds FROM queues ORDER BY name;

-- errors
\set SHOW_CONTEXT never
SELECT create_queue('orders');
SELECT create_queue('no good');
SELECT create_queue('orders.fif');
SELECT create_queue('x', '{"VisibilityTimeout": 43201}');
SELECT create_queue('x', '{"Color": "red"}');
SELECT create_queue('x', '[]');
SELECT send_message('nowhere', 'hello');
SELECT send_message('orders', '');
SELECT send_message('orders', 'x', 901);
SELECT send_message('orders', 'x', message_attributes => '[]');
SELECT * FROM receive_messages('orders', 0);
SELECT delete_message('orders', 'nonsense');

-- send, receive, delete
SELECT send_message('orders', 'one') IS NOT NULL;
SELECT send_message('arn:aws:sqs:us-east-1:000000000000:orders', 'two', message_attributes => '{"a": {"DataType": "String", "StringValue": "b"}}') IS NOT NULL;
SELECT send_message('orders', 'later', 900) IS NOT NULL;
CREATE TEMP TABLE got AS SELECT * FROM receive_messages('orders', 10);
SELECT body, attributes ->> 'ApproximateReceiveCount' AS count, attributes ? 'SentTimestamp' AS sent, message_attributes FROM got;
-- nothing else is visible
SELECT * FROM receive_messages('orders', 10);
-- made visible again, received again: the old receipt is no longer good
SELECT change_message_visibility('orders', receipt_handle, 0) FROM got WHERE body = 'one';
SELECT body, attributes ->> 'ApproximateReceiveCount' AS count FROM receive_messages('orders');
SELECT body, delete_message('orders', receipt_handle) FROM got ORDER BY body;
SELECT body, delete_message('orders', receipt_handle) FROM got ORDER BY body;
SELECT purge_queue('orders');
SELECT redrive('orders');

-- who may
CREATE ROLE regress_delivery_a;
CREATE ROLE regress_delivery_b;
GRANT EXECUTE ON FUNCTION create_queue(text, jsonb) TO regress_delivery_a;
SET ROLE regress_delivery_b;
SELECT create_queue('b');
SELECT send_message('orders', 'x');
SELECT count(*) FROM queues;
SELECT * FROM queue_message;
SELECT _create_queue('b', '{}');
SET ROLE regress_delivery_a;
SELECT create_queue('mine');
SELECT send_message('mine', 'x') IS NOT NULL;
SET ROLE regress_delivery_b;
SELECT * FROM receive_messages('mine');
SELECT delete_queue('mine');
RESET ROLE;
GRANT regress_delivery_a TO regress_delivery_b;
SET ROLE regress_delivery_b;
SELECT body FROM receive_messages('mine');
RESET ROLE;
SELECT delete_queue('mine');
SELECT delete_queue('orders');
SELECT count(*) FROM queue_message;
REVOKE EXECUTE ON FUNCTION create_queue(text, jsonb) FROM regress_delivery_a;
DROP ROLE regress_delivery_a, regress_delivery_b;
