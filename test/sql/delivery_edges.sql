-- Deliveries at the edges: back-off, what moves while it is tried again, limits
-- that are just kept, settings that change in between.
SET client_min_messages = warning;
DROP EXTENSION eventbridge CASCADE;
CREATE EXTENSION eventbridge;
SET search_path = eventbridge, public;
\set SHOW_CONTEXT never
CREATE FUNCTION public.edge_arn(service text, resource text) RETURNS text LANGUAGE sql AS
$$SELECT format('arn:aws:%s:us-east-1:000000000000:%s', service, resource)$$;
CREATE TABLE public.edge_calls (n int GENERATED ALWAYS AS IDENTITY, v text);
CREATE FUNCTION public.edge_note(event jsonb) RETURNS void LANGUAGE sql AS
$$INSERT INTO public.edge_calls (v) VALUES (event ->> 'v')$$;
CREATE FUNCTION public.edge_fail(event jsonb) RETURNS void LANGUAGE plpgsql AS
$$BEGIN RAISE EXCEPTION 'not yet'; END$$;
SELECT create_queue('inbox'), create_topic('news'), create_event_bus('second');

/* The back-off doubles, up to ten minutes; half of it is chance. */
SET eventbridge.retry_delay = '100s';
SELECT put_rule('fails', '{"source": ["fails"]}');
SELECT put_targets('fails', jsonb_build_array(jsonb_build_object('Id', 't', 'Arn', edge_arn('lambda', 'function:edge_fail'), 'InputPath', '$.detail')));
SELECT put_event('fails', 'x', '{"v": "moves"}') AS event_id \gset
CALL run_deliveries();
SELECT attempts, next_attempt - clock_timestamp() BETWEEN '49 s' AND '100 s' AS backoff FROM delivery_retry;
UPDATE delivery_retry SET next_attempt = now();
CALL run_deliveries();
SELECT attempts, next_attempt - clock_timestamp() BETWEEN '99 s' AND '200 s' AS backoff FROM delivery_retry;
UPDATE delivery_retry SET next_attempt = now(), attempts = 19;
CALL run_deliveries();
SELECT attempts, next_attempt - clock_timestamp() BETWEEN '299 s' AND '600 s' AS backoff FROM delivery_retry;

/* A delivery whose target leads elsewhere by now: to move is no attempt. */
SELECT put_targets('fails', jsonb_build_array(jsonb_build_object('Id', 't', 'Arn', edge_arn('sqs', 'inbox'), 'InputPath', '$.detail')));
UPDATE delivery_retry SET next_attempt = now(), attempts = 1;
CALL run_deliveries();
CALL run_deliveries();
SELECT body FROM receive_messages('inbox');
SELECT status, attempts FROM explain_delivery(:'event_id');
SELECT "Invocations", "RetryInvocationAttempts", "SuccessfulInvocationAttempts" FROM rule_metrics WHERE rule_name = 'fails' AND minute IS NULL;

/* No more than asked for, retries and new ones together. */
SELECT put_rule('note', '{"source": ["note"]}');
SELECT put_targets('note', jsonb_build_array(jsonb_build_object('Id', 't', 'Arn', edge_arn('lambda', 'function:edge_fail'), 'InputPath', '$.detail')));
SELECT put_event('note', 'x', '{"v": "retried"}') IS NOT NULL;
CALL run_deliveries();
SELECT put_targets('note', jsonb_build_array(jsonb_build_object('Id', 't', 'Arn', edge_arn('lambda', 'function:edge_note'), 'InputPath', '$.detail')));
SELECT count(put_event('note', 'x', jsonb_build_object('v', i))) FROM generate_series(1, 3) AS i;
UPDATE delivery_retry SET next_attempt = now();
CALL run_deliveries(1);
SELECT v FROM public.edge_calls ORDER BY n;
CALL run_deliveries(2);
SELECT count(*) FROM public.edge_calls;
CALL run_deliveries();
SELECT count(*) FROM public.edge_calls;

/* When the session is needed next: for the first of what its lanes owe. */
INSERT INTO delivery_retry (target_id, lane, event_id, bus_id, hops, ingestion_time, event, attempts, next_attempt)
SELECT target_id, lane, gen_random_uuid(), 1, 0, now(), '{}', 1, clock_timestamp() + due
FROM target, (VALUES (0::oid, interval '50 s'), (current_user::regrole::oid, '100 s')) AS t (lane, due)
WHERE id = 't' AND resource LIKE '%edge_note%';
CALL worker_deliver() \gset
SELECT :next_look BETWEEN 40000 AND 50000 AS in_milliseconds;
UPDATE delivery_retry SET next_attempt = next_attempt - CASE lane WHEN 0 THEN interval '-50 s' ELSE '50 s' END;
CALL worker_deliver() \gset
SELECT :next_look BETWEEN 30000 AND 50000 AS in_milliseconds;
DELETE FROM delivery_retry;

/* How long it may wait: the more has come since its last call, the longer. */
SELECT clock_timestamp() AS began \gset
CALL worker_deliver() \gset
SELECT :pause BETWEEN 0 AND 5 AS short, clock_timestamp() + :pause * interval '1 ms' >= timestamptz :'began' + '5 ms' AS long_enough;
SELECT count(put_event('note', 'x', '{}')) FROM generate_series(1, 2000);
SELECT clock_timestamp() AS then \gset
CALL worker_deliver() \gset
SELECT :pause BETWEEN 0 AND 100 AS short,
	clock_timestamp() + :pause * interval '1 ms' >= timestamptz :'then' +
		CASE WHEN timestamptz :'then' < timestamptz :'began' + '1 s' THEN interval '20 ms' ELSE '5 ms' END AS long_enough;

/* In order, when a pass ends with the last event of a transaction. */
TRUNCATE public.edge_calls;
SELECT put_rule('ordered', '{"source": ["ordered"]}');
SELECT put_targets('ordered', jsonb_build_array(jsonb_build_object('Id', 't', 'Arn', edge_arn('lambda', 'function:edge_note'), 'InputPath', '$.detail', 'Ordered', true)));
SELECT count(put_event('ordered', 'x', jsonb_build_object('v', i), group_key => 'g')) FROM generate_series(1, 5) AS i;
CALL run_deliveries(5);
CALL run_deliveries();
SELECT string_agg(v, ' ' ORDER BY n) FROM public.edge_calls;

/* The group goes along from bus to bus, and so does the event's id. */
SELECT put_rule('there', '{"source": ["there"]}'), put_rule('here', '{"source": ["there"]}', event_bus_name => 'second');
SELECT put_targets('there', jsonb_build_array(jsonb_build_object('Id', 'bus', 'Arn', edge_arn('events', 'event-bus/second'),
	'RoleArn', format('arn:aws:iam::000000000000:role/%s', current_user))));
SELECT put_targets('here', jsonb_build_array(jsonb_build_object('Id', 'q', 'Arn', edge_arn('sqs', 'inbox'), 'InputPath', '$.source')), 'second');
SELECT put_event('there', 'x', '{}', group_key => 'g') AS event_id \gset
CALL run_deliveries();
SELECT b.name, l.group_key, l.hops, l.event_id = :'event_id' AS same FROM delivery_log AS l JOIN event_bus AS b USING (bus_id)
WHERE l.event::jsonb ->> 'source' = 'there' ORDER BY l.hops;

/* The longest message that fits a notification, and one more character. */
SELECT put_rule('long', '{"source": ["long"]}');
SELECT put_targets('long', jsonb_build_array(jsonb_build_object('Id', 't', 'Arn', edge_arn('sns', 'news'), 'InputPath', '$.detail.text')));
SELECT count(put_event('long', 'x', jsonb_build_object('text', repeat('x', n)))) FROM unnest('{7934,7935}'::int[]) AS n;
CALL run_deliveries();
SELECT length(message) FROM notification;

/* Variables have the settings of the moment. */
SELECT put_rule('arn', '{"source": ["arn"]}');
SELECT put_targets('arn', jsonb_build_array(jsonb_build_object('Id', 't', 'Arn', edge_arn('sqs', 'inbox'),
	'InputTransformer', '{"InputTemplate": "<aws.events.rule-arn>"}'::jsonb)));
SELECT purge_queue('inbox');
SELECT put_event('arn', 'x', '{}') IS NOT NULL;
CALL run_deliveries();
SET eventbridge.region = 'eu-west-1';
SELECT put_event('arn', 'x', '{}') IS NOT NULL;
CALL run_deliveries();
RESET eventbridge.region;
SELECT body FROM receive_messages('inbox', 10);

/* A right that a target's role loses with a membership is lost for the next delivery. */
CREATE ROLE regress_edge_owner;
CREATE ROLE regress_edge_role;
CREATE ROLE regress_edge_group;
GRANT regress_edge_group TO regress_edge_role;
GRANT regress_edge_role TO regress_edge_owner;
GRANT EXECUTE ON FUNCTION put_rule(text, text, text, text, text, text, text, jsonb), put_targets(text, jsonb, text) TO regress_edge_owner;
SELECT put_permission('r', 'events:PutRule', 'regress_edge_owner');
SELECT put_permission('e', 'events:PutEvents', 'regress_edge_group', 'second');
SET ROLE regress_edge_owner;
SELECT put_rule('role', '{"source": ["role"]}');
SELECT put_targets('role', jsonb_build_array(jsonb_build_object('Id', 'bus', 'Arn', 'arn:aws:events:us-east-1:000000000000:event-bus/second',
	'RoleArn', 'arn:aws:iam::000000000000:role/regress_edge_role')));
RESET ROLE;
SELECT put_event('role', 'x', '{}') AS first_id \gset
CALL run_deliveries();
REVOKE regress_edge_group FROM regress_edge_role;
SELECT put_event('role', 'x', '{}') AS second_id \gset
CALL run_deliveries();
SELECT status, error_code FROM explain_delivery(:'first_id');
SELECT status, error_code FROM explain_delivery(:'second_id');

/*
 * Invocations share subtransactions: 50, 100, 200, then 400 of them.  Where one
 * fails, in the fourth, these are made again one by one, and groups are small again.
 */
\c -
SET search_path = eventbridge, public;
CREATE FUNCTION public.edge_note_most(event jsonb) RETURNS void LANGUAGE plpgsql AS
$$BEGIN
	IF event ->> 'v' = '700' THEN RAISE EXCEPTION 'not this one'; END IF;
	INSERT INTO public.edge_calls (v) VALUES (event ->> 'v');
END$$;
TRUNCATE public.edge_calls RESTART IDENTITY;
SELECT put_rule('most', '{"source": ["most"]}');
SELECT put_targets('most', jsonb_build_array(jsonb_build_object('Id', 't', 'Arn', edge_arn('lambda', 'function:edge_note_most'), 'InputPath', '$.detail')));
SELECT count(put_event('most', 'x', jsonb_build_object('v', i))) FROM generate_series(1, 900) AS i;
CALL run_deliveries();
SELECT count(*), count(DISTINCT v), max(n) = 50 + 100 + 200 + 349 + 399 + 150 AS as_described FROM public.edge_calls;
SELECT event::jsonb #>> '{detail,v}' AS v, attempts, error_code FROM delivery_retry WHERE event::jsonb ->> 'source' = 'most';

DROP EXTENSION eventbridge CASCADE;
CREATE EXTENSION eventbridge;
DROP FUNCTION public.edge_note(jsonb), public.edge_fail(jsonb), public.edge_note_most(jsonb), public.edge_arn(text, text);
DROP TABLE public.edge_calls;
DROP OWNED BY regress_edge_owner, regress_edge_role, regress_edge_group;
DROP ROLE regress_edge_owner, regress_edge_role, regress_edge_group;
