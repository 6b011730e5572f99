-- Pipes: batches that wait to become full, records that are too old, and what lies before and behind a batch that fails.
SET search_path = public, eventbridge;
SET eventbridge.retry_delay = '0.2s';
\set SHOW_CONTEXT never
\pset format unaligned
\t on
CREATE TABLE pipes_held_t (id int PRIMARY KEY);
CREATE TABLE pipes_held_calls (n int GENERATED ALWAYS AS IDENTITY, ids text);
/* Fails so many times where the batch has the record. */
CREATE TABLE pipes_held_bad (id int, times int);
CREATE SEQUENCE pipes_held_failures;
CREATE FUNCTION pipes_held_call(batch jsonb) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO public.pipes_held_calls (ids)
	SELECT string_agg(e #>> '{dynamodb,Keys,id,N}', ' ' ORDER BY o) FROM jsonb_array_elements(batch) WITH ORDINALITY AS b (e, o);
	IF EXISTS (SELECT FROM public.pipes_held_bad AS b JOIN jsonb_array_elements(batch) AS e ON e #>> '{dynamodb,Keys,id,N}' = b.id::text) THEN
		IF nextval('public.pipes_held_failures') <= (SELECT max(times) FROM public.pipes_held_bad) THEN
			RAISE 'bad';
		END IF;
	END IF;
END $$;
CREATE FUNCTION pg_temp.calls() RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
	RETURN QUERY SELECT c.ids FROM public.pipes_held_calls AS c ORDER BY c.n;
	DELETE FROM public.pipes_held_calls;
END $$;
CREATE FUNCTION pg_temp.dead() RETURNS TABLE (condition text, size text, keys text) LANGUAGE sql AS $$
	SELECT m.body::json #>> '{context,condition}', m.body::json #>> '{DDBStreamBatchInfo,batchSize}',
		(SELECT string_agg(r.record #>> '{dynamodb,Keys,id,N}', ' ' ORDER BY r.sequence_number)
		 FROM eventbridge.get_records('pipes_held_t') AS r
		 WHERE r.sequence_number BETWEEN m.body::json #>> '{DDBStreamBatchInfo,startSequenceNumber}' AND m.body::json #>> '{DDBStreamBatchInfo,endSequenceNumber}')
	FROM eventbridge.receive_messages('pipes-held', 10) AS m $$;
SELECT create_queue('pipes-held'), enable_stream('pipes_held_t', 'KEYS_ONLY', '1 day') IS NOT NULL;
CREATE FUNCTION pg_temp.make(source jsonb, filter text DEFAULT NULL) RETURNS text LANGUAGE sql AS $$
	SELECT eventbridge.create_pipe('held', (SELECT stream_arn FROM eventbridge.streams), 'arn:aws:lambda:us-east-1:000000000000:function:pipes_held_call',
		filter_criteria => CASE WHEN filter IS NOT NULL THEN jsonb_build_object('Filters', jsonb_build_array(jsonb_build_object('Pattern', filter))) END,
		source_parameters => jsonb_build_object('DynamoDBStreamParameters',
			'{"StartingPosition": "LATEST", "DeadLetterConfig": {"Arn": "arn:aws:sqs:us-east-1:000000000000:pipes-held"}}' || source))
$$;
CREATE PROCEDURE pg_temp.run_all() LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN 1 .. 3 LOOP
		PERFORM pg_sleep(0.25);
		CALL eventbridge.run_deliveries();
	END LOOP;
END $$;

-- a batch waits to become full, but not for longer than its window
SELECT pg_temp.make('{"BatchSize": 3, "MaximumBatchingWindowInSeconds": 3}');
INSERT INTO pipes_held_t VALUES (1), (2);
CALL run_deliveries();
SELECT pg_temp.calls();
INSERT INTO pipes_held_t VALUES (3), (4);
CALL run_deliveries();
SELECT pg_temp.calls();
CALL run_deliveries();
SELECT pg_temp.calls();
SELECT pg_sleep(3.1);
CALL run_deliveries();
SELECT pg_temp.calls();
SELECT delete_pipe('held');

-- what is too old is given up without being tried, alone: not with what is younger, and it does not wait for more
SELECT pg_temp.make('{"BatchSize": 2, "MaximumRecordAgeInSeconds": 3, "MaximumBatchingWindowInSeconds": 300}');
INSERT INTO pipes_held_t VALUES (11), (12), (13);
SELECT pg_sleep(3.1);
INSERT INTO pipes_held_t VALUES (14), (15), (16);
CALL run_deliveries();
SELECT pg_temp.calls();
SELECT * FROM pg_temp.dead();
SELECT "Invocations", "EventCount", "ExecutionFailed", "ExecutionsSentToDlq" FROM pipe_metrics WHERE minute IS NULL;
SELECT delete_pipe('held'), purge_queue('pipes-held');
-- also what becomes too old while it is tried
SELECT pg_temp.make('{"MaximumRecordAgeInSeconds": 1}');
INSERT INTO pipes_held_bad VALUES (21, 1000000);
INSERT INTO pipes_held_t VALUES (21);
CALL run_deliveries();
SELECT "ExecutionFailed", "ExecutionsSentToDlq" FROM pipe_metrics WHERE minute IS NULL;
SELECT pg_sleep(1.1);
CALL run_deliveries();
SELECT * FROM pg_temp.dead();
SELECT pg_temp.calls();
SELECT delete_pipe('held'), purge_queue('pipes-held');
-- and what the filters do not want is not given up, but passed over
SELECT pg_temp.make('{"MaximumRecordAgeInSeconds": 1}', '{"eventName": ["INSERT"], "dynamodb": {"Keys": {"id": {"N": [{"prefix": "31"}]}}}}');
INSERT INTO pipes_held_t VALUES (30), (31), (32);
SELECT pg_sleep(1.1);
CALL run_deliveries();
SELECT * FROM pg_temp.dead();
CALL run_deliveries();
SELECT * FROM pg_temp.dead();
SELECT delete_pipe('held'), purge_queue('pipes-held');

-- a batch that failed is tried again as it was, whatever has come since; what is behind it makes batches of the full size
TRUNCATE pipes_held_bad;
ALTER SEQUENCE pipes_held_failures RESTART;
SELECT pg_temp.make('{"BatchSize": 10}');
INSERT INTO pipes_held_bad VALUES (41, 1);
INSERT INTO pipes_held_t VALUES (41), (42);
CALL run_deliveries();
SELECT pg_temp.calls();
INSERT INTO pipes_held_t VALUES (43), (44), (45);
CALL pg_temp.run_all();
SELECT pg_temp.calls();
SELECT "EventCount", "ExecutionFailed" FROM pipe_metrics WHERE minute IS NULL;
SELECT delete_pipe('held');
-- the same with filters, where more has to be read to find as many
ALTER SEQUENCE pipes_held_failures RESTART;
SELECT pg_temp.make('{"BatchSize": 10}', '{"dynamodb": {"Keys": {"id": {"N": [{"suffix": "1"}, {"suffix": "3"}, {"suffix": "5"}]}}}}');
UPDATE pipes_held_bad SET id = 51;
INSERT INTO pipes_held_t SELECT generate_series(51, 55);
CALL run_deliveries();
INSERT INTO pipes_held_t SELECT generate_series(56, 65);
CALL pg_temp.run_all();
SELECT pg_temp.calls();
SELECT delete_pipe('held');

-- batches before one that fails in the same turn are done, and counted, once
ALTER SEQUENCE pipes_held_failures RESTART;
SELECT pg_temp.make('{"BatchSize": 2}');
UPDATE pipes_held_bad SET id = 74;
INSERT INTO pipes_held_t SELECT generate_series(71, 77);
CALL run_deliveries();
SELECT pg_temp.calls();
SELECT "Invocations", "EventCount", "ExecutionFailed" FROM pipe_metrics WHERE minute IS NULL;
CALL pg_temp.run_all();
SELECT pg_temp.calls();
SELECT "Invocations", "EventCount", "ExecutionFailed", "EventSize" > 7 * 200 FROM pipe_metrics WHERE minute IS NULL;
SELECT delete_pipe('held');

-- a tick that is larger than what is read at once, of several transactions and partitions, beside another stream: all of it, in order, in turns
CREATE TABLE pipes_held_parts (id int PRIMARY KEY) PARTITION BY HASH (id);
CREATE TABLE pipes_held_parts_0 PARTITION OF pipes_held_parts FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE pipes_held_parts_1 PARTITION OF pipes_held_parts FOR VALUES WITH (MODULUS 2, REMAINDER 1);
TRUNCATE pipes_held_bad;
CREATE TABLE pipes_held_counts (n int GENERATED ALWAYS AS IDENTITY, first int, last int, count int, in_order boolean);
CREATE FUNCTION pipes_held_count(batch jsonb) RETURNS void LANGUAGE sql AS $$
	INSERT INTO public.pipes_held_counts (first, last, count, in_order)
	SELECT min(id), max(id), count(*), array_agg(id ORDER BY o) = array_agg(id ORDER BY id)
	FROM (SELECT (e #>> '{dynamodb,Keys,id,N}')::int AS id, o FROM jsonb_array_elements(batch) WITH ORDINALITY AS b (e, o)) AS r $$;
SELECT create_pipe('parts', enable_stream('pipes_held_parts', 'KEYS_ONLY'), 'arn:aws:lambda:us-east-1:000000000000:function:pipes_held_count',
	source_parameters => '{"DynamoDBStreamParameters": {"StartingPosition": "LATEST", "BatchSize": 1000}}') IS NOT NULL;
INSERT INTO pipes_held_parts SELECT generate_series(1, 12000);
INSERT INTO pipes_held_t SELECT generate_series(1000, 1999);
INSERT INTO pipes_held_parts SELECT generate_series(12001, 12010);
INSERT INTO pipes_held_parts SELECT generate_series(12011, 25500);
CALL run_deliveries(1);
SELECT sum(count) BETWEEN 1000 AND 10000 FROM pipes_held_counts;
CALL run_deliveries();
CALL run_deliveries();
CALL run_deliveries();
SELECT count(*), sum(count), bool_and(in_order), bool_and(first = (n - 1) * 1000 + 1 AND last = least(n * 1000, 25500)) FROM pipes_held_counts;
SELECT delete_pipe('parts'), disable_stream('pipes_held_parts'), disable_stream('pipes_held_t'), delete_queue('pipes-held');
DROP TABLE pipes_held_t, pipes_held_calls, pipes_held_bad, pipes_held_parts, pipes_held_counts;
DROP SEQUENCE pipes_held_failures;
DROP FUNCTION pipes_held_call, pipes_held_count;
