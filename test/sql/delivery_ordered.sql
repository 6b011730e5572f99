-- Targets that want the events of one group in order.
SET search_path = eventbridge, public;
\set SHOW_CONTEXT never
\set VERBOSITY terse
SET eventbridge.retry_delay = '10min';
CREATE TABLE public.ordered_calls (n int GENERATED ALWAYS AS IDENTITY, v text);
CREATE TABLE public.ordered_faults (v text);
CREATE FUNCTION public.ordered_note(event jsonb) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	IF EXISTS (SELECT FROM public.ordered_faults AS f WHERE f.v = event ->> 'v') THEN
		RAISE EXCEPTION 'not %', event ->> 'v';
	END IF;
	INSERT INTO public.ordered_calls (v) VALUES (event ->> 'v');
END $$;
CREATE FUNCTION public.ordered_put(v text, group_key text) RETURNS uuid LANGUAGE sql AS
$$SELECT eventbridge.put_event('ordered', 't', jsonb_build_object('v', v), group_key => group_key)$$;
SELECT create_queue('ordered'), create_queue('ordered-dead');
SELECT put_rule('ordered', '{"source": ["ordered"]}');
SELECT put_targets('ordered', '[{"Id": "f", "Arn": "arn:aws:lambda:us-east-1:000000000000:function:ordered_note", "Ordered": "yes"}]');
SELECT put_targets('ordered', '[
	{"Id": "f", "Arn": "arn:aws:lambda:us-east-1:000000000000:function:ordered_note", "InputPath": "$.detail", "Ordered": true},
	{"Id": "q", "Arn": "arn:aws:sqs:us-east-1:000000000000:ordered", "InputPath": "$.detail.v", "Ordered": true}]');
SELECT t ->> 'Id' AS id, t -> 'Ordered' AS ordered FROM jsonb_array_elements(list_targets_by_rule('ordered') -> 'Targets') AS t;

/* What fails holds up its group, and nobody else. */
INSERT INTO public.ordered_faults VALUES ('a2');
SELECT count(ordered_put(v, left(v, 1))) FROM unnest('{a1,b1,a2,b2,a3,b3,a4}'::text[]) AS v;
SELECT ordered_put('alone', NULL) IS NOT NULL;
CALL run_deliveries();
SELECT v FROM public.ordered_calls WHERE v LIKE 'a_' ORDER BY n;
SELECT v FROM public.ordered_calls WHERE v LIKE 'b%' ORDER BY n;
SELECT v FROM public.ordered_calls WHERE v NOT LIKE 'a_' AND v NOT LIKE 'b_' ORDER BY n;
SELECT body FROM queue_message AS m JOIN queue AS q USING (queue_id) WHERE q.name = 'ordered' AND body LIKE '"a_"' ORDER BY message_no;
SELECT l.event::jsonb #>> '{detail,v}' AS v, d.status, d.attempts, d.error_message, d.next_attempt IS NOT NULL AS again
FROM delivery_log AS l, explain_delivery(l.event_id) AS d
WHERE l.event::jsonb @> '{"source": "ordered"}' AND d.target_id = 'f' AND d.status <> 'DELIVERED' ORDER BY 1;
SELECT target_id, waiting, in_flight, waiting_for_group, retrying, dead FROM delivery_status WHERE rule_name = 'ordered' ORDER BY 1;
-- what comes meanwhile waits, too
SELECT ordered_put('a5', 'a') IS NOT NULL;
CALL run_deliveries();
SELECT v FROM public.ordered_calls WHERE v LIKE 'a_' ORDER BY n;
-- and all go on when it succeeds
TRUNCATE public.ordered_faults;
UPDATE delivery_retry SET next_attempt = clock_timestamp() WHERE attempts > 0;
CALL run_deliveries();
SELECT v FROM public.ordered_calls WHERE v LIKE 'a_' ORDER BY n;
SELECT count(*) FROM delivery_retry;

/* ... or has failed for good. */
SELECT put_targets('ordered', '[
	{"Id": "f", "Arn": "arn:aws:lambda:us-east-1:000000000000:function:ordered_note", "InputPath": "$.detail", "Ordered": true,
	 "RetryPolicy": {"MaximumRetryAttempts": 0}, "DeadLetterConfig": {"Arn": "arn:aws:sqs:us-east-1:000000000000:ordered-dead"}}]');
TRUNCATE public.ordered_calls;
INSERT INTO public.ordered_faults VALUES ('c2');
SELECT count(ordered_put(v, 'c')) FROM unnest('{c1,c2,c3}'::text[]) AS v;
CALL run_deliveries();
SELECT v FROM public.ordered_calls ORDER BY n;
TRUNCATE public.ordered_faults;
SELECT redrive('ordered-dead');
CALL run_deliveries();
SELECT v FROM public.ordered_calls ORDER BY n;
SELECT "MatchedEvents", "Invocations", "FailedInvocations" FROM rule_metrics WHERE rule_name = 'ordered' AND minute IS NULL;

/* Many, in several groups and batches. */
TRUNCATE public.ordered_calls;
SELECT count(ordered_put(i % 7 || ' ' || i, (i % 7)::text)) FROM generate_series(1, 1500) AS i;
CALL run_deliveries(100);
CALL run_deliveries();
SELECT count(*), count(DISTINCT v), bool_and(i > coalesce(before, 0)) AS in_order
FROM (SELECT v, i, lag(i) OVER (PARTITION BY g ORDER BY n) AS before
	  FROM public.ordered_calls, split_part(v, ' ', 1) AS g, CAST(split_part(v, ' ', 2) AS int) AS i) AS c;
SELECT count(*) FROM delivery_retry;

/* Rows that a dump brought, of another server's numbers, come first. */
TRUNCATE public.ordered_calls;
INSERT INTO public.ordered_faults VALUES ('d1');
SELECT put_targets('ordered', '[
	{"Id": "f", "Arn": "arn:aws:lambda:us-east-1:000000000000:function:ordered_note", "InputPath": "$.detail", "Ordered": true}]');
SELECT count(ordered_put(v, 'd')) FROM unnest('{d1,d2,d3}'::text[]) AS v;
CALL run_deliveries();
TRUNCATE public.ordered_faults, delivery_log_0, delivery_log_1, delivery_log_2, delivery_ledger_0, delivery_ledger_1, delivery_ledger_2;
UPDATE delivery_retry SET next_attempt = 'infinity', attempts = 0, order_batch = 5000, order_xid = 1000000000;
SELECT count(ordered_put(v, 'd')) FROM unnest('{d4,d5}'::text[]) AS v;
CALL run_deliveries();
SELECT v FROM public.ordered_calls ORDER BY n;

-- also those that get their turn only when the lane has had a batch here
TRUNCATE public.ordered_calls;
INSERT INTO public.ordered_faults VALUES ('d1');
SELECT count(ordered_put(v, 'd')) FROM unnest('{d1,d2,d3}'::text[]) AS v;
CALL run_deliveries();
TRUNCATE public.ordered_faults, delivery_log_0, delivery_log_1, delivery_log_2, delivery_ledger_0, delivery_ledger_1, delivery_ledger_2;
UPDATE delivery_retry SET order_batch = 5000, order_xid = 1000000000;
SELECT count(ordered_put(v, 'd')) FROM unnest('{d4,d5}'::text[]) AS v;
CALL run_deliveries();
SELECT v FROM public.ordered_calls ORDER BY n;
UPDATE delivery_retry SET next_attempt = clock_timestamp() WHERE attempts > 0;
CALL run_deliveries();
SELECT v FROM public.ordered_calls ORDER BY n;

/* The groups take turns: each is served once before any is served again. */
TRUNCATE public.ordered_calls;
SELECT count(ordered_put(g || ' ' || i, g::text)) FROM generate_series(1, 20) AS g, generate_series(1, 3) AS i;
CALL run_deliveries();
SELECT (n - first - 1) / 20 AS round, count(DISTINCT split_part(v, ' ', 1)) AS groups, min(split_part(v, ' ', 2)) AS from_no, max(split_part(v, ' ', 2)) AS to_no
FROM public.ordered_calls, (SELECT min(n) - 1 AS first FROM public.ordered_calls) AS f GROUP BY 1 ORDER BY 1;

/* What is passed on to another lane loses its place on this one: in a batch, and as a retry. */
INSERT INTO public.ordered_faults VALUES ('h1'), ('i1');
SELECT count(ordered_put(v, left(v, 1))) FROM unnest('{h1,i1}'::text[]) AS v;
CALL run_deliveries();
UPDATE delivery_retry SET order_batch = 1000000, order_xid = 1000000000, next_attempt = clock_timestamp();
SELECT count(ordered_put(v, left(v, 1))) FROM unnest('{h2,i2}'::text[]) AS v;
SELECT create_task('ordered') IS NOT NULL AS created;
SELECT put_targets('ordered', jsonb_build_array(jsonb_build_object('Id', 'f', 'InputPath', '$.detail.v', 'Ordered', true,
	'Arn', 'arn:aws:ecs:us-east-1:000000000000:task/ordered',
	'RoleArn', format('arn:aws:iam::000000000000:role/%s', current_user)))) -> 'FailedEntryCount' AS failed;
CALL run_deliveries();
SELECT event::jsonb #>> '{detail,v}' AS v, lane, attempts, order_xid, order_batch, next_attempt FROM delivery_retry ORDER BY 1;
SELECT input, worker_report(delivery_id, attempt, 'DELIVERED') FROM worker_claim() ORDER BY 1;
SELECT input, worker_report(delivery_id, attempt, 'DELIVERED') FROM worker_claim() ORDER BY 1;
SELECT count(*) FROM delivery_retry;
TRUNCATE public.ordered_faults;
SELECT delete_task('ordered') \g /dev/null
SELECT put_targets('ordered', '[
	{"Id": "f", "Arn": "arn:aws:lambda:us-east-1:000000000000:function:ordered_note", "InputPath": "$.detail", "Ordered": true}]') -> 'FailedEntryCount' AS failed;

/* Procedures. */
TRUNCATE public.ordered_calls;
CREATE PROCEDURE public.ordered_steps(event jsonb) LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO public.ordered_calls (v) VALUES ((event ->> 'v') || ' begins');
	COMMIT;
	INSERT INTO public.ordered_calls (v) VALUES ((event ->> 'v') || ' ends');
END $$;
SELECT remove_targets('ordered', '{f,q}') -> 'FailedEntryCount' AS failed;
SELECT put_targets('ordered', jsonb_build_array(jsonb_build_object('Id', 'p', 'InputPath', '$.detail', 'Ordered', true,
	'Arn', 'arn:aws:states:us-east-1:000000000000:stateMachine:ordered_steps',
	'RoleArn', format('arn:aws:iam::000000000000:role/%s', current_user))));
SELECT count(ordered_put(v, 'e')) FROM unnest('{e1,e2,e3}'::text[]) AS v;
CALL run_deliveries();
SELECT v FROM public.ordered_calls ORDER BY n;

/* The client program's. */
SELECT remove_targets('ordered', '{p}') -> 'FailedEntryCount' AS failed;
SELECT create_task('ordered');
SELECT put_targets('ordered', jsonb_build_array(jsonb_build_object('Id', 't', 'InputPath', '$.detail.v', 'Ordered', true,
	'Arn', 'arn:aws:ecs:us-east-1:000000000000:task/ordered',
	'RoleArn', format('arn:aws:iam::000000000000:role/%s', current_user))));
SELECT count(ordered_put(v, left(v, 1))) FROM unnest('{f1,f2,g1,f3}'::text[]) AS v;
SET eventbridge.retry_delay = 1;
CREATE TEMP TABLE claimed AS SELECT * FROM worker_claim();
SELECT input, attempt FROM claimed ORDER BY 1;
SELECT count(*) FROM worker_claim();
SELECT worker_report(delivery_id, attempt, 'FAILED', 'X', 'try again') > 0 AS again FROM claimed WHERE input = '"f1"';
SELECT pg_sleep(0.01);
CREATE TEMP TABLE claimed_again AS SELECT * FROM worker_claim();
SELECT input, attempt FROM claimed_again ORDER BY 1;
SELECT worker_report(delivery_id, attempt, 'REFUSED', 'X', 'never') FROM claimed_again;
SELECT input, worker_report(delivery_id, attempt, 'DELIVERED') FROM worker_claim();
SELECT input, worker_report(delivery_id, attempt, 'DELIVERED') FROM worker_claim();
SELECT worker_report(delivery_id, attempt, 'DELIVERED') FROM claimed WHERE input = '"g1"';
SELECT count(*) FROM worker_claim();
SELECT count(*) FROM delivery_retry;

SELECT remove_targets('ordered', '{t}') -> 'FailedEntryCount' AS failed, delete_rule('ordered');
SELECT delete_queue('ordered'), delete_queue('ordered-dead'), delete_task('ordered');
DROP FUNCTION public.ordered_put(text, text), public.ordered_note(jsonb);
DROP PROCEDURE public.ordered_steps(jsonb);
DROP TABLE public.ordered_calls, public.ordered_faults;
