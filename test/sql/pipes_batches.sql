-- Pipes: what becomes of a batch that fails: what it has written, which records are tried again.
SET search_path = public, eventbridge;
SET eventbridge.retry_delay = '1ms';
\set SHOW_CONTEXT never
\pset format unaligned
\t on
CREATE TABLE pipes_batches_t (id int PRIMARY KEY);
CREATE TABLE pipes_batches_enriched (id int, at_call int);
CREATE TABLE pipes_batches_done (ids text, at_call int);
/* Sequences count calls, also those that are undone. */
CREATE SEQUENCE pipes_batches_enrichment;
CREATE SEQUENCE pipes_batches_target;
CREATE FUNCTION pipes_batches_enrich(batch jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
	PERFORM nextval('public.pipes_batches_enrichment');
	INSERT INTO public.pipes_batches_enriched
	SELECT (e #>> '{dynamodb,Keys,id,N}')::int, currval('public.pipes_batches_enrichment') FROM jsonb_array_elements(batch) AS e;
	IF currval('public.pipes_batches_enrichment') < 3 THEN
		RAISE 'not yet enriched';
	END IF;
	RETURN batch;
END $$;
/* Fails at the first calls, and writes all the same. */
CREATE FUNCTION pipes_batches_call(batch jsonb) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO public.pipes_batches_done
	SELECT string_agg(e #>> '{dynamodb,Keys,id,N}', ' ' ORDER BY o), nextval('public.pipes_batches_target')
	FROM jsonb_array_elements(batch) WITH ORDINALITY AS b (e, o);
	IF currval('public.pipes_batches_target') < 3 THEN
		RAISE 'not yet';
	END IF;
END $$;
SELECT enable_stream('pipes_batches_t', 'KEYS_ONLY') AS stream \gset
SELECT create_queue('pipes-batches'), create_log_group('pipes-batches'), create_event_bus('pipes-batches');
CREATE FUNCTION pg_temp.make(target text, more jsonb DEFAULT '{}', source jsonb DEFAULT '{}') RETURNS text LANGUAGE sql AS $$
	SELECT eventbridge.create_pipe(jsonb_build_object('Name', 'p', 'Source', (SELECT stream_arn FROM eventbridge.streams),
		'SourceParameters', jsonb_build_object('DynamoDBStreamParameters', '{"StartingPosition": "LATEST"}' || source, 'FilterCriteria',
			'{"Filters": [{"Pattern": "{\"eventName\": [\"INSERT\"]}"}]}'::jsonb),
		'Enrichment', 'arn:aws:lambda:us-east-1:000000000000:function:pipes_batches_enrich', 'Target', target) || more)
$$;
CREATE PROCEDURE pg_temp.run_all() LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN 1 .. 20 LOOP
		CALL eventbridge.run_deliveries();
		PERFORM pg_sleep(0.005);
	END LOOP;
END $$;

-- a batch that failed, in its enrichment or its target, has left nothing; then it is done once
SELECT pg_temp.make('arn:aws:lambda:us-east-1:000000000000:function:pipes_batches_call',
	'{"LogConfiguration": {"Level": "INFO", "CloudwatchLogsLogDestination": {"LogGroupArn": "arn:aws:logs:us-east-1:000000000000:log-group:pipes-batches"}, "IncludeExecutionData": ["ALL"]}}');
INSERT INTO pipes_batches_t VALUES (1), (2);
CALL pg_temp.run_all();
SELECT * FROM pipes_batches_enriched ORDER BY id;
SELECT * FROM pipes_batches_done;
SELECT last_value FROM pipes_batches_enrichment;
-- but the log tells of each time, in its order
SELECT message_type, log_level, entry #>> '{error,message}', jsonb_array_length((entry ->> 'payload')::jsonb) FROM pipe_log ORDER BY at;
SELECT delete_pipe('p');

-- so it is where the target is none that runs code: a template that cannot be filled, a bus that refuses
CREATE FUNCTION pg_temp.once_more() RETURNS void LANGUAGE sql AS
	'TRUNCATE public.pipes_batches_enriched, public.pipes_batches_done; SELECT setval(''public.pipes_batches_target'', 3), setval(''public.pipes_batches_enrichment'', 3); DELETE FROM public.pipes_batches_t';
SELECT pg_temp.once_more();
SELECT pg_temp.make('arn:aws:sqs:us-east-1:000000000000:pipes-batches', '{"TargetParameters": {"InputTemplate": "{\"a\": \"<$.dynamodb.Keys>\"}"}}',
	'{"MaximumRetryAttempts": 1}');
INSERT INTO pipes_batches_t VALUES (1), (2);
CALL pg_temp.run_all();
SELECT count(*) FROM pipes_batches_enriched;
SELECT update_pipe('p', '{"Target": "arn:aws:events:us-east-1:000000000000:event-bus/pipes-batches", "TargetParameters": {"InputTemplate": "\"text\""}}') IS NOT NULL;
INSERT INTO pipes_batches_t VALUES (3);
CALL pg_temp.run_all();
SELECT count(*) FROM pipes_batches_enriched;
SELECT "ExecutionFailed", "TargetStageFailed" FROM pipe_metrics WHERE minute IS NULL;
SELECT delete_pipe('p');

-- a batch that is given up has left nothing either
SELECT pg_temp.once_more();
CREATE FUNCTION pipes_batches_never(jsonb) RETURNS void LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.pipes_batches_done VALUES ('never'); RAISE 'never'; END $$;
SELECT pg_temp.make('arn:aws:lambda:us-east-1:000000000000:function:pipes_batches_never', source => '{"MaximumRetryAttempts": 1}');
INSERT INTO pipes_batches_t VALUES (1), (2);
CALL pg_temp.run_all();
SELECT count(*) FROM pipes_batches_enriched;
SELECT count(*) FROM pipes_batches_done;
SELECT "ExecutionFailed" FROM pipe_metrics WHERE minute IS NULL;
SELECT delete_pipe('p');

-- a target that tells what it failed with has done the rest: all stays, and the enrichment sees again what is tried again
CREATE FUNCTION pipes_batches_partly(batch jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO public.pipes_batches_done
	SELECT string_agg(e #>> '{dynamodb,Keys,id,N}', ' ' ORDER BY o), nextval('public.pipes_batches_target')
	FROM jsonb_array_elements(batch) WITH ORDINALITY AS b (e, o);
	IF currval('public.pipes_batches_target') <= 4 THEN
		RETURN jsonb_build_object('batchItemFailures', jsonb_build_array(
			jsonb_build_object('itemIdentifier', batch -> 3 ->> 'eventID'), jsonb_build_object('itemIdentifier', batch -> 2 ->> 'eventID')));
	END IF;
	RETURN NULL;
END $$;
SELECT pg_temp.once_more();
SELECT pg_temp.make('arn:aws:lambda:us-east-1:000000000000:function:pipes_batches_partly');
INSERT INTO pipes_batches_t SELECT generate_series(1, 5);
CALL pg_temp.run_all();
SELECT * FROM pipes_batches_done ORDER BY at_call;
SELECT * FROM pipes_batches_enriched ORDER BY at_call, id;
SELECT "ExecutionFailed", "ExecutionPartiallyFailed" FROM pipe_metrics WHERE minute IS NULL;
SELECT delete_pipe('p');

-- what an answer says of a batch: null, all went well; numbers of records; empty, all failed
SELECT a.answer, _failed_records(a.answer::jsonb, '[{"eventID": "a"}, {"eventID": "b"}, {"messageId": "c"}]')
FROM (VALUES (NULL), ('null'), ('[]'), ('{}'), ('"text"'), ('7'), ('{"batchItemFailures": []}'), ('{"batchItemFailures": null}'), ('{"other": [1]}'),
	('{"batchItemFailures": [{"itemIdentifier": "b"}]}'), ('{"batchItemFailures": [{"itemIdentifier": "c"}, {"itemIdentifier": "a"}, {"itemIdentifier": "c"}]}'),
	('{"batchItemFailures": [{"itemIdentifier": "b"}, {"itemIdentifier": "unknown"}]}'), ('{"batchItemFailures": [{"itemIdentifier": ""}]}'),
	('{"batchItemFailures": [{"itemIdentifier": null}]}'), ('{"batchItemFailures": [{"id": "b"}]}'), ('{"batchItemFailures": ["b"]}'),
	('{"batchItemFailures": "b"}')) AS a (answer);

-- halves and partial failures together: the records that fail are given up, each alone, the others are done in order
CREATE FUNCTION pipes_batches_odd(batch jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO public.pipes_batches_done
	SELECT string_agg(e #>> '{dynamodb,Keys,id,N}', ' ' ORDER BY o), nextval('public.pipes_batches_target')
	FROM jsonb_array_elements(batch) WITH ORDINALITY AS b (e, o);
	RETURN jsonb_build_object('batchItemFailures', (SELECT jsonb_agg(jsonb_build_object('itemIdentifier', e ->> 'eventID'))
		FROM jsonb_array_elements(batch) AS e WHERE e #>> '{dynamodb,Keys,id,N}' IN ('2', '5')));
END $$;
SELECT pg_temp.once_more();
SELECT pg_temp.make('arn:aws:lambda:us-east-1:000000000000:function:pipes_batches_odd',
	source => '{"OnPartialBatchItemFailure": "AUTOMATIC_BISECT", "MaximumRetryAttempts": 0, "DeadLetterConfig": {"Arn": "arn:aws:sqs:us-east-1:000000000000:pipes-batches"}}');
INSERT INTO pipes_batches_t SELECT generate_series(1, 6);
CALL pg_temp.run_all();
SELECT * FROM pipes_batches_done ORDER BY at_call;
SELECT body::json #>> '{DDBStreamBatchInfo,batchSize}', body::json #>> '{context,condition}' FROM receive_messages('pipes-batches', 10);
SELECT "ExecutionsSentToDlq" FROM pipe_metrics WHERE minute IS NULL;
SELECT delete_pipe('p'), purge_queue('pipes-batches');

-- a queue: messages that failed come again, the others are done
SELECT create_queue('pipes-batches-in', '{"VisibilityTimeout": "0"}');
CREATE FUNCTION pipes_batches_some(batch jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
	call constant int := nextval('public.pipes_batches_target');
BEGIN
	INSERT INTO public.pipes_batches_done
	SELECT string_agg((e ->> 'body') || '/' || (e #>> '{attributes,ApproximateReceiveCount}'), ' ' ORDER BY e ->> 'body'), call FROM jsonb_array_elements(batch) AS e;
	CASE call
		WHEN 4 THEN
			RETURN jsonb_build_object('batchItemFailures', (SELECT jsonb_agg(jsonb_build_object('itemIdentifier', e ->> 'messageId'))
				FROM jsonb_array_elements(batch) AS e WHERE e ->> 'body' IN ('a', 'c')));
		WHEN 5 THEN
			RETURN '{"batchItemFailures": [{"itemIdentifier": "unknown"}]}';
		WHEN 6 THEN
			RAISE 'all of them';
		WHEN 7 THEN
			RETURN jsonb_build_object('batchItemFailures', (SELECT jsonb_agg(jsonb_build_object('itemIdentifier', e ->> 'messageId')) FROM jsonb_array_elements(batch) AS e));
		ELSE
			RETURN '{}';
	END CASE;
END $$;
SELECT pg_temp.once_more();
SELECT create_pipe('p', 'arn:aws:sqs:us-east-1:000000000000:pipes-batches-in', 'arn:aws:lambda:us-east-1:000000000000:function:pipes_batches_some');
SELECT send_message('pipes-batches-in', m) IS NOT NULL FROM unnest('{a,b,c}'::text[]) AS m;
CALL pg_temp.run_all();
/* What call 6 wrote is undone. */
SELECT * FROM pipes_batches_done ORDER BY at_call;
SELECT count(*) FROM queue_message JOIN queue USING (queue_id) WHERE name = 'pipes-batches-in';
SELECT "ExecutionFailed", "ExecutionPartiallyFailed" FROM pipe_metrics WHERE minute IS NULL;
SELECT delete_pipe('p'), delete_queue('pipes-batches-in');
-- not before their time-out
SELECT create_queue('pipes-batches-in', '{"VisibilityTimeout": "600"}');
SELECT pg_temp.once_more();
SELECT create_pipe('p', 'arn:aws:sqs:us-east-1:000000000000:pipes-batches-in', 'arn:aws:lambda:us-east-1:000000000000:function:pipes_batches_some');
SELECT send_message('pipes-batches-in', m) IS NOT NULL FROM unnest('{a,b,c}'::text[]) AS m;
CALL pg_temp.run_all();
SELECT * FROM pipes_batches_done ORDER BY at_call;
SELECT body, receive_count, visible_at > clock_timestamp() + interval '500 s' FROM queue_message JOIN queue USING (queue_id) WHERE name = 'pipes-batches-in' ORDER BY 1;
SELECT delete_pipe('p'), delete_queue('pipes-batches-in');
SELECT disable_stream('pipes_batches_t');
DROP TABLE pipes_batches_t, pipes_batches_enriched, pipes_batches_done;
DROP SEQUENCE pipes_batches_enrichment, pipes_batches_target;
DROP FUNCTION pipes_batches_enrich, pipes_batches_call, pipes_batches_never, pipes_batches_partly, pipes_batches_odd, pipes_batches_some;
SELECT delete_queue('pipes-batches'), delete_log_group('pipes-batches'), delete_event_bus('pipes-batches');
