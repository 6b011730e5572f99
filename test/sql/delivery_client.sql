-- What the client program delivers: claims and reports.
SET search_path = eventbridge, public;
\set VERBOSITY terse

SELECT create_api_destination('hook', 'http://127.0.0.1:1/x/*', header_parameters => '{"X-A": "b"}', signing_secret => 'env:S');
SELECT create_task('job'), create_queue('client-dead');
CREATE ROLE regress_delivery_worker;
SELECT put_rule('client', '{"source": ["client"]}');
SELECT put_targets('client', format('[
	{"Id": "hook", "Arn": "arn:aws:events:us-east-1:000000000000:api-destination/hook", "RoleArn": "%1$s",
	 "HttpParameters": {"PathParameterValues": ["p"]}, "RetryPolicy": {"MaximumRetryAttempts": 1},
	 "DeadLetterConfig": {"Arn": "arn:aws:sqs:us-east-1:000000000000:client-dead"}},
	{"Id": "job", "Arn": "arn:aws:ecs:us-east-1:000000000000:task/job", "RoleArn": "%1$s", "Input": "{\"a\": 1}"}]', current_user)::jsonb);

-- what is given out
SELECT put_event('client', 'one', '{}') AS event_id \gset
SELECT attempt, c.event_id = :'event_id' AS same_event, target_arn, input::jsonb ->> 'source' AS source, kind, resource,
	invocation_endpoint, http_method, invocation_rate_limit_per_second AS rate, header_parameters, signing_secret, http_parameters
FROM worker_claim() AS c ORDER BY kind;
SELECT count(*) FROM worker_claim();
SELECT target_id, status, attempts FROM explain_delivery(:'event_id') ORDER BY 1;
SELECT target_id, waiting, in_flight, retrying, dead FROM delivery_status WHERE rule_name = 'client' ORDER BY 1;
CREATE TEMP VIEW hand AS
	SELECT t.id, y.retry_id, y.attempts, y.error_code, y.error_message,
		CASE WHEN y.next_attempt > clock_timestamp() THEN round(EXTRACT(epoch FROM y.next_attempt - clock_timestamp())) ELSE 0 END AS due_in
	FROM delivery_retry AS y JOIN target AS t USING (target_id) WHERE y.lane = 1;

-- what is reported
SELECT worker_report(retry_id, attempts, 'DELIVERED') FROM hand WHERE id = 'hook';
SELECT worker_report(retry_id, attempts, 'FAILED', 'TIMEOUT', 'too slow', 5000) FROM hand WHERE id = 'job';
SELECT id, attempts, error_code, error_message, due_in FROM hand;
SELECT target_id, status, attempts, error_code, error_message FROM explain_delivery(:'event_id') ORDER BY 1;
-- as long as nobody made the next attempt, it may be reported again; an attempt that was not made cannot be
SELECT worker_report(retry_id, attempts, 'POSTPONED', retry_after_ms => 0) FROM hand;
SELECT id, attempts, error_code, due_in FROM hand;
SELECT worker_report(retry_id, 1, 'DELIVERED') FROM hand;
SELECT attempt, kind FROM worker_claim();
SELECT worker_report(retry_id, 1, 'REFUSED', 'SDK_CLIENT_ERROR', 'HTTP status 404') FROM hand;
SELECT target_id, status, attempts, error_code, error_message FROM explain_delivery(:'event_id') ORDER BY 1;
SELECT worker_report(0, 1, 'DELIVERED');

-- the retries that are allowed, then the dead-letter queue
SELECT put_event('client', 'two', '{}') AS event_id \gset
SELECT count(*) FROM worker_claim();
SELECT worker_report(retry_id, 1, CASE id WHEN 'hook' THEN 'FAILED' ELSE 'DELIVERED' END, retry_after_ms => -1) > 0 AS tried_again FROM hand ORDER BY id;
UPDATE delivery_retry SET next_attempt = clock_timestamp() WHERE lane = 1;
SELECT attempt FROM worker_claim();
SELECT worker_report(retry_id, 2, 'FAILED', 'TIMEOUT', 'too slow', 1) FROM hand;
SELECT error_code, error_message, exhausted_retry_condition, retry_attempts, body::jsonb ->> 'detail-type' AS body FROM dead_letters WHERE queue_name = 'client-dead';
SELECT "Invocations", "RetryInvocationAttempts", "SuccessfulInvocationAttempts", "FailedInvocations", "InvocationsSentToDlq"
FROM rule_metrics WHERE rule_name = 'client' AND minute IS NULL;
SELECT redrive('client-dead');
SELECT target_id, status, attempts FROM explain_delivery(:'event_id') ORDER BY 1;
SELECT attempt FROM worker_claim();
SELECT worker_report(retry_id, 1, 'DELIVERED') FROM hand;

-- a claim that is rolled back gives nothing out, and gives up what was in hand
SELECT put_event('client', 'three', '{}') AS event_id \gset
BEGIN;
SELECT count(*) FROM worker_claim();
ROLLBACK;
SELECT count(*) FROM delivery_retry WHERE lane = 1;
SELECT count(*) FROM worker_claim();
BEGIN;
ROLLBACK;
UPDATE delivery_retry SET next_attempt = clock_timestamp() WHERE lane = 1;
SELECT count(*) FROM worker_claim();

-- deliveries in hand whose target or resource goes
SELECT remove_targets('client', '{hook}');
SELECT worker_report(y.retry_id, y.attempts, 'FAILED') FROM delivery_retry AS y WHERE y.lane = 1 AND NOT EXISTS (SELECT FROM target AS t WHERE t.target_id = y.target_id);
SELECT id, attempts FROM hand;
SELECT delete_task('job');
SELECT worker_report(retry_id, attempts, 'POSTPONED') FROM hand;
SELECT count(*) FROM worker_claim();
SELECT target_id, status, attempts, error_code, error_message FROM explain_delivery(:'event_id') ORDER BY 1;
SELECT count(*) FROM delivery_retry WHERE lane = 1;

-- errors
SELECT worker_claim(0);
SELECT worker_claim(NULL);
\set VERBOSITY default
SELECT worker_report(1, 1, 'LOST');
\set VERBOSITY terse
SELECT worker_report(1, NULL, 'DELIVERED');
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT worker_claim();
ROLLBACK;
BEGIN;
SAVEPOINT s;
SELECT worker_claim();
ROLLBACK;
BEGIN;
SAVEPOINT s;
SELECT worker_report(1, 1, 'DELIVERED');
ROLLBACK;
SET ROLE regress_delivery_worker;
SELECT worker_claim();
SELECT worker_report(1, 1, 'DELIVERED');
RESET ROLE;

SELECT remove_targets('client', '{job}'), delete_rule('client'), delete_api_destination('hook'), delete_queue('client-dead');
DROP ROLE regress_delivery_worker;
