-- a log and queues that no other test has used
SET client_min_messages = warning;
DROP EXTENSION eventbridge CASCADE;
CREATE EXTENSION eventbridge;
SET search_path = eventbridge, public;
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE TABLE public.calls (n int GENERATED ALWAYS AS IDENTITY, who name DEFAULT session_user, input jsonb);
CREATE FUNCTION public.note_call(event jsonb) RETURNS void LANGUAGE sql AS 'INSERT INTO public.calls (input) VALUES (event)';
CREATE FUNCTION public.fail(event jsonb) RETURNS void LANGUAGE plpgsql AS
$$BEGIN INSERT INTO public.calls (input) VALUES ('"undone"'); RAISE EXCEPTION 'not today'; END$$;
CREATE PROCEDURE public.note_procedure(event jsonb) LANGUAGE plpgsql AS
$$BEGIN INSERT INTO public.calls (input) VALUES (jsonb_build_object('procedure', event -> 'detail')); END$$;
CREATE FUNCTION public.slow(event jsonb) RETURNS void LANGUAGE plpgsql AS
$$BEGIN PERFORM pg_sleep(60); END$$;
CREATE FUNCTION arn(service text, resource text) RETURNS text LANGUAGE sql AS
$$SELECT format('arn:aws:%s:us-east-1:000000000000:%s', service, resource)$$;

SELECT create_queue('inbox'), create_queue('dead');
SELECT create_topic('news'), create_log_group('journal'), create_event_bus('second');

/* One target of each kind. */
SELECT put_rule('all', '{"source": ["shop"]}');
SELECT put_targets('all', jsonb_build_array(
	jsonb_build_object('Id', 'function', 'Arn', arn('lambda', 'function:note_call'), 'InputPath', '$.detail'),
	jsonb_build_object('Id', 'procedure', 'Arn', arn('states', 'stateMachine:note_procedure'),
					   'RoleArn', format('arn:aws:iam::000000000000:role/%s', current_user)),
	jsonb_build_object('Id', 'queue', 'Arn', arn('sqs', 'inbox'),
					   'InputTransformer', '{"InputPathsMap": {"n": "$.detail.n"}, "InputTemplate": "{\"number\": <n>, \"rule\": <aws.events.rule-name>}"}'::jsonb),
	jsonb_build_object('Id', 'log', 'Arn', arn('logs', 'log-group:journal')),
	jsonb_build_object('Id', 'topic', 'Arn', arn('sns', 'news'), 'Input', '"read all about it"')));

BEGIN;
SELECT put_event('shop', 'order', '{"n": 1}') IS NOT NULL;
SAVEPOINT a;
SELECT put_event('shop', 'order', '{"n": 2}') IS NOT NULL;
ROLLBACK TO a;
SAVEPOINT b;
SELECT put_event('shop', 'order', '{"n": 3}') IS NOT NULL;
RELEASE b;
SELECT put_event('shop', 'order', '{"n": 4}') IS NOT NULL;
-- written before commit only; what no rule wants is not written
SELECT put_event('other', 'order', '{"n": 5}') IS NOT NULL;
SELECT count(*) FROM delivery_log;
COMMIT;
SELECT event::jsonb #> '{detail,n}' AS n, cardinality(targets) FROM delivery_log ORDER BY xid, no;
SELECT target_id, waiting, in_flight, retrying, dead, oldest_age > '0' AS old FROM delivery_status ORDER BY 1;

BEGIN;
CALL run_deliveries();
ROLLBACK;
CALL run_deliveries(0);
CALL run_deliveries();
CALL run_deliveries();
SELECT input FROM public.calls ORDER BY n;
SELECT body FROM receive_messages('inbox', 10);
SELECT log_group, message::jsonb -> 'detail' AS detail FROM log_events ORDER BY log_event_id;
SELECT waiting, in_flight, retrying, dead, oldest_age FROM delivery_status;
SELECT "Invocations", "SuccessfulInvocationAttempts", "FailedInvocations", "IngestionToInvocationSuccessLatency" > 0 AS latency
FROM rule_metrics WHERE minute IS NULL;
SELECT d.target_id, d.status, d.attempts FROM delivery_log AS l, explain_delivery(l.event_id) AS d WHERE l.no = 0;

/* Matches are counted once per rule and once per bus, whoever delivers. */
SELECT create_queue('third'), put_rule('also', '{"source": ["shop"]}'), put_rule('no-targets', '{"source": ["shop"]}');
SELECT put_targets('also', jsonb_build_array(
	jsonb_build_object('Id', 'q', 'Arn', arn('sqs', 'third')),
	jsonb_build_object('Id', 'r', 'Arn', arn('sqs', 'third')))) -> 'FailedEntryCount' AS failed;
SELECT put_event('shop', 'order', '{"n": 5}') IS NOT NULL;
CALL run_deliveries();
SELECT rule_name, "MatchedEvents", "TriggeredRules", "Invocations" FROM rule_metrics WHERE minute IS NULL ORDER BY 1;
SELECT * FROM bus_metrics WHERE minute IS NULL;
SELECT sum("MatchedEvents") AS matched, sum("TriggeredRules") AS triggered FROM bus_metrics WHERE minute IS NOT NULL;

/* Also if the target at which that is done goes before its delivery. */
SELECT put_event('shop', 'order', '{"n": 6}') IS NOT NULL;
SELECT remove_targets('also', '{q}') -> 'FailedEntryCount' AS failed;
CALL run_deliveries();
SELECT rule_name, "MatchedEvents", "TriggeredRules", "Invocations" FROM rule_metrics WHERE minute IS NULL ORDER BY 1;
SELECT * FROM bus_metrics WHERE minute IS NULL;
SELECT remove_targets('also', '{r}') -> 'FailedEntryCount' AS failed, delete_rule('no-targets');
SELECT delete_queue('third');

/* As many as wanted. */
TRUNCATE public.calls;
SELECT remove_targets('all', '{procedure,queue,log,topic}') -> 'FailedEntryCount';
SELECT count(put_event('shop', 'order', jsonb_build_object('n', i))) FROM generate_series(1, 1500) AS i;
CALL run_deliveries(100);
SELECT count(*) FROM public.calls;
CALL run_deliveries(700);
CALL run_deliveries();
SELECT count(*), count(DISTINCT input) FROM public.calls;
SELECT bool_and((input ->> 'n')::int = k) AS in_order FROM (SELECT input, row_number() OVER (ORDER BY n) AS k FROM public.calls) AS c;

/* Failure, retry, dead letter, redrive. */
SET eventbridge.retry_delay = 1;
TRUNCATE public.calls;
SELECT put_rule('failing', '{"source": ["fails"]}');
SELECT put_targets('failing', jsonb_build_array(
	jsonb_build_object('Id', 'good', 'Arn', arn('lambda', 'function:note_call')),
	jsonb_build_object('Id', 'once', 'Arn', arn('lambda', 'function:fail'), 'RetryPolicy', '{"MaximumRetryAttempts": 0}'::jsonb,
					   'DeadLetterConfig', jsonb_build_object('Arn', arn('sqs', 'dead'))),
	jsonb_build_object('Id', 'thrice', 'Arn', arn('lambda', 'function:fail'), 'RetryPolicy', '{"MaximumRetryAttempts": 2}'::jsonb,
					   'DeadLetterConfig', jsonb_build_object('Arn', arn('sqs', 'dead'))),
	jsonb_build_object('Id', 'dropped', 'Arn', arn('lambda', 'function:fail'), 'RetryPolicy', '{"MaximumRetryAttempts": 0}'::jsonb)));
SELECT put_event('fails', 'x', '{}') AS event_id \gset
CALL run_deliveries(4);
SELECT target_id, status, attempts, error_code, error_message, next_attempt IS NOT NULL AS again FROM explain_delivery(:'event_id');
DO $$BEGIN
	WHILE EXISTS (SELECT FROM eventbridge.delivery_retry) LOOP
		PERFORM pg_sleep(0.005);
		COMMIT;
		CALL eventbridge.run_deliveries();
	END LOOP;
END$$;
SELECT target_id, status, attempts, error_code, error_message, next_attempt IS NOT NULL AS again FROM explain_delivery(:'event_id');
SELECT count(*) AS effects FROM public.calls;
SELECT target_arn, error_code, error_message, exhausted_retry_condition, retry_attempts FROM dead_letters ORDER BY retry_attempts;
SELECT message_attributes FROM receive_messages('dead', 10, 0) ORDER BY message_attributes -> 'RETRY_ATTEMPTS';
SELECT rule_name, "Invocations", "InvocationAttempts", "RetryInvocationAttempts", "SuccessfulInvocationAttempts", "FailedInvocations", "InvocationsSentToDlq"
FROM rule_metrics WHERE minute IS NULL AND rule_name = 'failing';
CREATE OR REPLACE FUNCTION public.fail(event jsonb) RETURNS void LANGUAGE sql AS 'INSERT INTO public.calls (input) VALUES (''"mended"'')';
SELECT send_message('dead', 'not a dead letter') IS NOT NULL;
SELECT redrive('dead');
CALL run_deliveries();
SELECT input FROM public.calls WHERE input = '"mended"';
SELECT purge_queue('dead');

/* What is not retried. */
SELECT put_rule('refused', '{"source": ["refused"]}');
SELECT put_targets('refused', jsonb_build_array(
	jsonb_build_object('Id', 'gone', 'Arn', arn('lambda', 'function:fail'), 'DeadLetterConfig', jsonb_build_object('Arn', arn('sqs', 'dead'))),
	jsonb_build_object('Id', 'json', 'Arn', arn('lambda', 'function:note_call'), 'DeadLetterConfig', jsonb_build_object('Arn', arn('sqs', 'dead')),
		'InputTransformer', '{"InputPathsMap": {"d": "$.detail"}, "InputTemplate": "{\"s\": \"x <d>\"}"}'::jsonb),
	/* A path that leads to nothing is an empty string. */
	jsonb_build_object('Id', 'nothing', 'Arn', arn('lambda', 'function:note_call'), 'InputPath', '$.detail.nothing')));
SELECT remove_targets('failing', '{once,thrice,dropped}') -> 'FailedEntryCount';
DROP FUNCTION public.fail(jsonb);
SELECT put_event('refused', 'x', '{"a": 1}') AS event_id \gset
CALL run_deliveries();
SELECT error_code, error_message, retry_attempts, exhausted_retry_condition FROM dead_letters ORDER BY 1;
SELECT input FROM public.calls WHERE input = '""';
SELECT purge_queue('dead');

/* A hanging function is told apart from a cancel. */
SELECT put_rule('slow', '{"source": ["slow"]}');
SELECT put_targets('slow', jsonb_build_array(jsonb_build_object('Id', 'slow', 'Arn', arn('lambda', 'function:slow'))));
SELECT put_event('slow', 'x', '{}') AS event_id \gset
SET eventbridge.invocation_timeout = '50ms';
SET eventbridge.retry_delay = '10min';
CALL run_deliveries(1);
SELECT status, error_code, error_message FROM explain_delivery(:'event_id');
RESET eventbridge.invocation_timeout;
SELECT put_event('slow', 'x', '{}') AS event_id \gset
SET statement_timeout = '100ms';
CALL run_deliveries();
RESET statement_timeout;
SELECT remove_targets('slow', '{slow}') -> 'FailedEntryCount';
CALL run_deliveries();
-- the batch was interrupted: what was in it is tried again, on its own
SELECT error_code, attempts FROM delivery_retry WHERE event_id = :'event_id';
DELETE FROM delivery_retry;
-- what an invocation does to its own limit leaves no time-out behind
CREATE FUNCTION public.unlimited(event jsonb) RETURNS void LANGUAGE sql AS $$
	SELECT set_config('eventbridge.invocation_timeout', '0', false)
$$;
SELECT put_targets('slow', jsonb_build_array(jsonb_build_object('Id', 'unlimited', 'Arn', arn('lambda', 'function:unlimited')))) -> 'FailedEntryCount';
SELECT put_event('slow', 'x', '{}') AS event_id \gset
SET eventbridge.invocation_timeout = '100ms';
CALL run_deliveries();
SELECT pg_sleep(0.2);
SELECT status, current_setting('eventbridge.invocation_timeout') FROM explain_delivery(:'event_id');
RESET eventbridge.invocation_timeout;
SELECT remove_targets('slow', '{unlimited}') -> 'FailedEntryCount';
DROP FUNCTION public.unlimited(jsonb);

/* Bus to bus, until the hops are used up. */
SET eventbridge.retry_delay = 1;
SELECT put_rule('there', '{"source": ["loop"]}'), put_rule('back', '{"source": ["loop"]}', event_bus_name => 'second');
SELECT put_targets('there', jsonb_build_array(jsonb_build_object('Id', 'bus', 'Arn', arn('events', 'event-bus/second'),
	'RoleArn', format('arn:aws:iam::000000000000:role/%s', current_user),
	'DeadLetterConfig', jsonb_build_object('Arn', arn('sqs', 'dead')))));
SELECT put_targets('back', jsonb_build_array(jsonb_build_object('Id', 'bus', 'Arn', arn('events', 'event-bus/default'),
	'RoleArn', format('arn:aws:iam::000000000000:role/%s', current_user),
	'DeadLetterConfig', jsonb_build_object('Arn', arn('sqs', 'dead')))), 'second');
SELECT put_event('loop', 'x', '{}') AS event_id \gset
CALL run_deliveries();
SELECT error_code, error_message, event_id = :'event_id' AS same_event FROM dead_letters;
SELECT rule_name, "Invocations", "DeadLetterInvocations" FROM rule_metrics WHERE minute IS NULL AND rule_name IN ('there', 'back') ORDER BY 1;

/* A message too long for a notification. */
SELECT put_rule('long', '{"source": ["long"]}');
SELECT put_targets('long', jsonb_build_array(jsonb_build_object('Id', 'topic', 'Arn', arn('sns', 'news'), 'InputPath', '$.detail.text')));
SELECT put_event('long', 'x', jsonb_build_object('text', repeat('x', 9000))) IS NOT NULL;
CALL run_deliveries();
SELECT length(get_notification(message_id)), get_notification(message_id) = message FROM notification;

/* A session may do it for others only where no user code runs. */
CREATE ROLE regress_delivery LOGIN;
GRANT CREATE ON SCHEMA public TO regress_delivery;
GRANT EXECUTE ON FUNCTION put_rule(text, text, text, text, text, text, text, jsonb), put_targets(text, jsonb, text) TO regress_delivery;
SELECT put_permission('r', 'events:PutRule', 'regress_delivery');
SET ROLE regress_delivery;
CREATE FUNCTION public.theirs(event jsonb) RETURNS void LANGUAGE sql AS 'CREATE TABLE public.by_whom AS SELECT session_user AS who';
SELECT put_rule('theirs', '{"source": ["theirs"]}');
SELECT put_targets('theirs', '[{"Id": "f", "Arn": "arn:aws:lambda:us-east-1:000000000000:function:theirs"}]');
RESET ROLE;
SELECT put_event('theirs', 'x', '{}') AS event_id \gset
CALL run_deliveries();
SET ROLE regress_delivery;
CALL run_deliveries();
SELECT status FROM explain_delivery(:'event_id');
RESET ROLE;
SET SESSION AUTHORIZATION regress_delivery;
CALL run_deliveries();
SELECT status FROM explain_delivery(:'event_id');
RESET SESSION AUTHORIZATION;
-- (without the setting that the Makefile gives to all tests, which is a superuser's)
SELECT current_user AS me \gset
\setenv PGOPTIONS
\c -reuse-previous=on "user=regress_delivery options="
SET search_path = eventbridge, public;
CALL run_deliveries();
SELECT status FROM explain_delivery(:'event_id');
SELECT who FROM public.by_whom;
-- what others own is not seen
SELECT count(*) FROM dead_letters;
SELECT DISTINCT rule_name FROM delivery_status;
SELECT count(*) FROM delivery_log;
SELECT worker_sleep();
\setenv PGOPTIONS '-c eventbridge.background_workers=off'
\c - :me
SET search_path = eventbridge, public;
SET client_min_messages = warning;
SET eventbridge.retry_delay = 1;
SELECT worker_sleep(9);

/* The bell's functions. */
SELECT worker_sleep(), worker_sleep(1);
SELECT worker_may_rest(''), worker_wake(), worker_wake(1), worker_wake();
SELECT worker_may_rest('nonsense');

/* What a client calls: 0, as long as it found something; null unsets the variable. */
CALL run_deliveries();
CALL worker_deliver() \gset
\echo :next_look
SELECT put_event('shop', 'order', '{}') IS NOT NULL AS put;
CALL worker_deliver() \gset
\echo :next_look
CALL worker_deliver() \gset
\echo :next_look
BEGIN;
CALL worker_deliver();
ROLLBACK;

/* Rotation: with no retention the log is emptied, its counters stay. */
SELECT sum("Invocations") AS before FROM rule_metrics WHERE minute IS NULL \gset
SELECT count(put_event('shop', 'order', jsonb_build_object('n', i))) FROM generate_series(1, 1000) AS i;
SET eventbridge.log_retention = 0;
-- nobody needs another set
SELECT _rotate_delivery_log() IS NULL;
SET eventbridge.log_segment_size = '64kB';
SELECT _rotate_delivery_log();
SELECT setval('delivery_turn', 1);
SELECT count(put_event('shop', 'order', jsonb_build_object('n', i))) FROM generate_series(1, 300) AS i;
-- set 0 is still needed, set 2 is free
SELECT _rotate_delivery_log();
SELECT setval('delivery_turn', 2);
RESET eventbridge.log_segment_size;
CALL run_deliveries();
SELECT count(*) > 1000 FROM delivery_log_0;
SELECT _empty_set('{delivery_log,delivery_ledger,delivery_metric}', 0, 2);
SELECT count(*) FROM delivery_log_0;
-- the last batches of each lane are still known
SELECT count(DISTINCT lane) FROM delivery_ledger_2 WHERE NOT done;
SELECT sum("Invocations") - :before AS more FROM rule_metrics WHERE minute IS NULL;
-- counters of rules that are gone are not carried along
SELECT put_rule('passing', '{"source": ["passing"]}') IS NOT NULL;
SELECT put_targets('passing', '[{"Id": "queue", "Arn": "arn:aws:sqs:us-east-1:000000000000:inbox"}]') ->> 'FailedEntryCount';
SELECT put_event('passing', 'x', '{}') IS NOT NULL;
CALL run_deliveries();
SELECT remove_targets('passing', '{queue}') ->> 'FailedEntryCount', delete_rule('passing');
SELECT count(*) FROM delivery_metric WHERE rule_id NOT IN (SELECT rule_id FROM rule);
SELECT _empty_set('{delivery_log,delivery_ledger,delivery_metric}', 2, 0);
SELECT count(*) FROM delivery_metric WHERE rule_id NOT IN (SELECT rule_id FROM rule);
SELECT sum("Invocations") - :before AS more FROM rule_metrics WHERE minute IS NULL;
-- retention keeps what was delivered
SELECT put_event('shop', 'order', '{"n": 1}') IS NOT NULL;
CALL run_deliveries();
SET eventbridge.log_retention = '1h';
SELECT _empty_set('{delivery_log,delivery_ledger,delivery_metric}', 2, 0);
SET eventbridge.log_retention = 0;
SELECT _empty_set('{delivery_log,delivery_ledger,delivery_metric}', 2, 0);
RESET eventbridge.log_retention;
CALL run_deliveries();
SELECT put_event('shop', 'order', '{"n": "last"}') IS NOT NULL;
CALL run_deliveries();
SELECT input FROM public.calls ORDER BY n DESC LIMIT 1;

/* What comes with a dump belongs to the transaction that loads it. */
BEGIN;
INSERT INTO delivery_log_1 (xid, bus_id, ingestion_time, no, hops, event_id, deliveries, event)
SELECT '3', 1, now(), 7, 0, gen_random_uuid(), _deliveries(ARRAY[target_id], ARRAY[4711::oid]), '{"detail": {"n": "restored"}}'
FROM target WHERE id = 'function';
SELECT xid = pg_current_xact_id() AS adopted, no >= 1000000000 AS numbered, _lanes_of(deliveries) AS lanes FROM delivery_log_1;
COMMIT;
SELECT _is_owed(xid, no, deliveries) FROM delivery_log_1;
CALL run_deliveries();
SELECT _is_owed(xid, no, deliveries) FROM delivery_log_1;
SELECT input FROM public.calls ORDER BY n DESC LIMIT 1;
DROP OWNED BY regress_delivery;
REVOKE ALL ON SCHEMA public FROM regress_delivery;
DROP ROLE regress_delivery;
