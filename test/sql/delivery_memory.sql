-- A session that delivers much keeps nothing of what it has delivered: in one
-- CALL it runs many statements of our own, and frees the result of each.
SET search_path = eventbridge, public;
SET eventbridge.retry_delay = '10min';
CREATE TABLE public.memory_seen (i int, what text, results int);
-- how many results of statements there are in this session, while this one runs
CREATE FUNCTION public.memory_note(event jsonb) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	IF event ->> 'what' = 'fails' THEN
		RAISE EXCEPTION 'fails';
	END IF;
	INSERT INTO public.memory_seen
	SELECT CAST(event ->> 'i' AS int), event ->> 'what', count(*) FROM pg_backend_memory_contexts WHERE name = 'SPI TupTable';
END $$;
CREATE FUNCTION public.memory_put(what text, numbers int, group_key text DEFAULT NULL) RETURNS bigint LANGUAGE sql AS $$
	SELECT count(eventbridge.put_event('memory', 't', jsonb_build_object('what', what, 'i', i), group_key => group_key))
	FROM generate_series(1, numbers) AS i
$$;
SELECT put_rule('memory', '{"source": ["memory"]}') IS NOT NULL AS put;
SELECT put_targets('memory', '[
	{"Id": "f", "Arn": "arn:aws:lambda:us-east-1:000000000000:function:memory_note", "InputPath": "$.detail", "Ordered": true}]') -> 'FailedEntryCount' AS failed;

-- batches; what fails; what is buried; what waits for its turn
SELECT memory_put('batch', 2500);
SELECT memory_put('fails', 100);
SELECT memory_put('after failures', 1);
CALL run_deliveries();
SELECT put_targets('memory', '[
	{"Id": "f", "Arn": "arn:aws:lambda:us-east-1:000000000000:function:memory_note", "InputPath": "$.detail", "Ordered": true,
	 "RetryPolicy": {"MaximumRetryAttempts": 0}}]') -> 'FailedEntryCount' AS failed;
SELECT memory_put('fails', 100);
SELECT memory_put('after burials', 1);
SELECT memory_put('in order', 100, 'g');
CALL run_deliveries();
SELECT what, count(*) FROM public.memory_seen GROUP BY what ORDER BY what;
SELECT max(results) - min(results) AS more FROM public.memory_seen;
SELECT count(*) FROM delivery_retry;

-- long events make batches of fewer deliveries: 8 MB, and one event more
SELECT max(batch) AS last FROM delivery_ledger WHERE lane = current_user::regrole \gset
SELECT count(put_event('memory', 't', jsonb_build_object('what', 'long', 'long', repeat('x', 200 * 1024)))) FROM generate_series(1, 100);
CALL run_deliveries();
SELECT count(*) AS deliveries FROM public.memory_seen WHERE what = 'long';
SELECT count(*) AS batches FROM delivery_ledger WHERE lane = current_user::regrole AND batch > :last AND NOT done;

SELECT remove_targets('memory', '{f}') -> 'FailedEntryCount' AS failed;
SELECT delete_rule('memory');
UPDATE delivery_retry SET next_attempt = clock_timestamp();
CALL run_deliveries();
DROP FUNCTION public.memory_note(jsonb), public.memory_put(text, int, text);
DROP TABLE public.memory_seen;
