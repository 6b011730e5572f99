-- Functions of a pipe get jsonb that was not made by parsing a text: it must be what the parser makes of the text.
SET search_path = public, eventbridge;
\set SHOW_CONTEXT never
\pset format unaligned
\t on
CREATE TYPE pipes_records_e AS ENUM ('red', 'a "quoted" one');
CREATE TYPE pipes_records_c AS (zz int, a pipes_records_e);
CREATE TABLE pipes_records_t (
	zeta int, id int, b bool, i8 bigint, f8 double precision, n numeric, t text, y bytea, d date, tsz timestamptz, iv interval,
	j json, jb jsonb, u uuid, e pipes_records_e, c pipes_records_c, ia int[], "a ""name""" text, changed text, PRIMARY KEY (zeta, id));
CREATE TABLE pipes_records_found (batch int, records int, same boolean, same_size boolean, keys_found boolean);
-- is every member found by its name, and every element by its number?
CREATE FUNCTION pipes_records_finds(value jsonb) RETURNS boolean LANGUAGE sql AS $$
	SELECT CASE jsonb_typeof(value)
		WHEN 'object' THEN (SELECT coalesce(bool_and(value -> k = v AND public.pipes_records_finds(v)), true) FROM jsonb_each(value) AS m (k, v))
		WHEN 'array' THEN (SELECT coalesce(bool_and(value -> (o - 1)::int = v AND public.pipes_records_finds(v)), true)
			FROM jsonb_array_elements(value) WITH ORDINALITY AS m (v, o))
		ELSE true END
$$;
CREATE SEQUENCE pipes_records_batch;
CREATE FUNCTION pipes_records_check(batch jsonb) RETURNS jsonb LANGUAGE sql AS $$
	INSERT INTO public.pipes_records_found SELECT nextval('public.pipes_records_batch'), jsonb_array_length(batch), batch = batch::text::jsonb,
		pg_column_size(batch) = pg_column_size(batch::text::jsonb), public.pipes_records_finds(batch);
	SELECT batch;
$$;
SELECT create_queue('pipes-records-made'), create_queue('pipes-records-text');
CREATE PROCEDURE pg_temp.try(view_type text, changed boolean, batch_size int) LANGUAGE plpgsql AS $$
DECLARE
	stream text := eventbridge.enable_stream('pipes_records_t', view_type, changed => changed);
	parameters jsonb := jsonb_build_object('DynamoDBStreamParameters', jsonb_build_object('StartingPosition', 'LATEST', 'BatchSize', batch_size));
BEGIN
	PERFORM eventbridge.create_pipe('made', stream, 'arn:aws:sqs:us-east-1:000000000000:pipes-records-made',
		'{"Filters": [{"Pattern": "{\"dynamodb\": {\"SequenceNumber\": [{\"exists\": true}]}, \"eventVersion\": [\"1.1\"]}"}]}',
		'arn:aws:lambda:us-east-1:000000000000:function:pipes_records_check', source_parameters => parameters);
	PERFORM eventbridge.create_pipe('text', stream, 'arn:aws:sqs:us-east-1:000000000000:pipes-records-text', source_parameters => parameters);
	COMMIT;
	INSERT INTO public.pipes_records_t VALUES
		(1, 1, true, 9223372036854775807, 1e-300, 1.500, e'gr\u00fcn "q" \\ \n', '\x00ff', '2030-01-31', '2030-01-31 10:00+02', '1 day 2 hours',
		 '{"b": 1, "a": [null, "x", {"long name": {}, "z": []}], "b": 2}', '{"b": 1, "a": [null, "x", 1.50]}',
		 '11111111-2222-3333-4444-555555555555', 'a "quoted" one', (1, 'red'), '{{1,2},{3,NULL}}', 'x', 'y'),
		(1, 2, NULL, NULL, 'NaN', 'NaN', '', '', 'infinity', '-infinity', '0', '"text"', '[]', NULL, 'red', NULL, '{}', '', NULL);
	INSERT INTO public.pipes_records_t (zeta, id, t) SELECT 2, n, repeat('x', n) FROM generate_series(1, 100) AS n;
	UPDATE public.pipes_records_t SET t = t || 'y', n = 7, "a ""name""" = 'z' WHERE zeta = 1 OR id % 10 = 0;
	DELETE FROM public.pipes_records_t WHERE id = 50;
	COMMIT;
	SET LOCAL eventbridge.time_to_live = on;
	DELETE FROM public.pipes_records_t;
	COMMIT;
	CALL eventbridge.run_deliveries();
	PERFORM eventbridge.delete_pipe('made'), eventbridge.delete_pipe('text'), eventbridge.disable_stream('pipes_records_t');
END $$;
CREATE VIEW pipes_records_bodies AS SELECT q.name, m.body FROM eventbridge.queue_message AS m JOIN eventbridge.queue AS q USING (queue_id);
CREATE FUNCTION pg_temp.compared() RETURNS TABLE (records bigint, same bigint, removed bigint, expired bigint, changed bigint) LANGUAGE sql AS $$
	SELECT count(*), count(*) FILTER (WHERE m.body::jsonb = t.body::jsonb), count(*) FILTER (WHERE t.body::jsonb ->> 'eventName' = 'REMOVE'),
		count(*) FILTER (WHERE t.body::jsonb ? 'userIdentity'), count(*) FILTER (WHERE t.body::jsonb ? 'changed')
	FROM (SELECT * FROM public.pipes_records_bodies WHERE name = 'pipes-records-made') AS m FULL JOIN
		(SELECT * FROM public.pipes_records_bodies WHERE name = 'pipes-records-text') AS t
		ON m.body::jsonb ->> 'eventID' = t.body::jsonb ->> 'eventID'
$$;

CALL pg_temp.try('NEW_AND_OLD_IMAGES', true, 100);
SELECT * FROM pipes_records_found ORDER BY batch;
SELECT * FROM pg_temp.compared();
CALL pg_temp.try('NEW_IMAGE', false, 1);
CALL pg_temp.try('OLD_IMAGE', true, 33);
CALL pg_temp.try('KEYS_ONLY', false, 10000);
SELECT max(records), sum(records), bool_and(same), bool_and(same_size), bool_and(keys_found) FROM pipes_records_found;
SELECT * FROM pg_temp.compared();
SELECT purge_queue('pipes-records-made') > 0, purge_queue('pipes-records-text') > 0;

-- a target that is a function gets the same
CREATE FUNCTION pipes_records_call(batch jsonb) RETURNS void LANGUAGE sql AS 'SELECT public.pipes_records_check(batch)';
TRUNCATE pipes_records_found;
SELECT enable_stream('pipes_records_t') AS stream \gset
SELECT create_pipe('called', :'stream', 'arn:aws:lambda:us-east-1:000000000000:function:pipes_records_call',
	source_parameters => '{"DynamoDBStreamParameters": {"StartingPosition": "LATEST"}}') IS NOT NULL;
INSERT INTO pipes_records_t (zeta, id) VALUES (1, 1), (1, 2);
CALL run_deliveries();
SELECT records, same, same_size, keys_found FROM pipes_records_found;

-- a batch ends at 6 MB, but for a record that has more alone
TRUNCATE pipes_records_found;
INSERT INTO pipes_records_t (zeta, id, t) SELECT 3, n, repeat('x', 1500000) FROM generate_series(1, 7) AS n;
INSERT INTO pipes_records_t (zeta, id, t) SELECT 4, n, repeat('x', 7000000) FROM generate_series(1, 2) AS n;
INSERT INTO pipes_records_t (zeta, id) VALUES (5, 1);
CALL run_deliveries();
SELECT records, same, same_size, keys_found FROM pipes_records_found ORDER BY batch;
SELECT delete_pipe('called');
-- what is too large to be kept is a claim check
SELECT create_pipe('made', :'stream', 'arn:aws:sqs:us-east-1:000000000000:pipes-records-made', NULL,
	'arn:aws:lambda:us-east-1:000000000000:function:pipes_records_check',
	source_parameters => '{"DynamoDBStreamParameters": {"StartingPosition": "LATEST"}}') IS NOT NULL;
INSERT INTO pipes_records_t (zeta, id, t) SELECT 6, 1, repeat('x', 68000000);
CALL run_deliveries();
SELECT body::jsonb #- '{eventID}' #- '{eventSourceARN}' #- '{dynamodb,SequenceNumber}' #- '{dynamodb,ApproximateCreationDateTime}' FROM pipes_records_bodies WHERE name = 'pipes-records-made';

SELECT delete_pipe('made'), disable_stream('pipes_records_t');
SELECT delete_queue('pipes-records-made'), delete_queue('pipes-records-text');
DROP VIEW pipes_records_bodies;
DROP TABLE pipes_records_t, pipes_records_found;
DROP FUNCTION pipes_records_check, pipes_records_call, pipes_records_finds;
DROP SEQUENCE pipes_records_batch;
DROP TYPE pipes_records_c, pipes_records_e;
