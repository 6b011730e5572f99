-- Streams that keep their records: enable_stream, get_records, disable_stream.
SET search_path = public, eventbridge;
\set SHOW_CONTEXT never
-- a record without what differs from run to run
CREATE FUNCTION pg_temp.show(record json) RETURNS text LANGUAGE sql AS $$
	SELECT regexp_replace(regexp_replace(regexp_replace(regexp_replace($1::text,
		'"eventID":"[0-9a-f]{32}"', '"eventID":"..."'), '"ApproximateCreationDateTime":[0-9]+', '"ApproximateCreationDateTime":...'),
		'"SequenceNumber":"[0-9]{21,40}"', '"SequenceNumber":"..."'), '/stream/[^"]*', '/stream/...')
$$;
CREATE TABLE stream_log_t (id int PRIMARY KEY, name text, doc json);
\t on
\pset format unaligned

-- what is refused
SELECT enable_stream(NULL);
SELECT enable_stream('pg_class');
CREATE TABLE stream_log_bare (a int);
SELECT enable_stream('stream_log_bare');
SELECT enable_stream('stream_log_t', 'ALL');
SELECT enable_stream('stream_log_t', retention => '0');
CREATE VIEW stream_log_view AS SELECT 1 AS id;
SELECT enable_stream('stream_log_view');
SELECT disable_stream('stream_log_t');
SELECT * FROM get_records('stream_log_t');
SELECT latest_sequence_number('arn:aws:dynamodb:us-east-1:000000000000:table/public.stream_log_t/stream/x');

-- the four view types, field by field
CREATE FUNCTION pg_temp.all_of(view_type text) RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
	PERFORM eventbridge.enable_stream('public.stream_log_t', view_type, '1 day');
	INSERT INTO public.stream_log_t VALUES (1, 'Fred', '{"a":1}');
	UPDATE public.stream_log_t SET name = 'Freda', doc = '{ "a" : 1.0 }';
	UPDATE public.stream_log_t SET doc = '{"a": 1}';
	UPDATE public.stream_log_t SET id = 2;
	DELETE FROM public.stream_log_t;
END $$;
SELECT pg_temp.all_of('KEYS_ONLY');
SELECT pg_temp.show(record) FROM get_records('stream_log_t');
SELECT disable_stream('stream_log_t');
SELECT pg_temp.all_of('NEW_IMAGE');
SELECT pg_temp.show(record) FROM get_records('public.stream_log_t');
SELECT disable_stream('stream_log_t');
SELECT pg_temp.all_of('OLD_IMAGE');
SELECT pg_temp.show(record) FROM get_records('stream_log_t');
SELECT disable_stream('stream_log_t');
SELECT pg_temp.all_of('NEW_AND_OLD_IMAGES');
SELECT pg_temp.show(record) FROM get_records('stream_log_t');
SELECT regexp_replace(stream_arn, '[^/]*$', '...'), relation, stream_view_type, retention FROM streams;
SELECT enable_stream('stream_log_t');

-- sequence numbers rise, and one goes on after the last
SELECT count(*), count(DISTINCT sequence_number), bool_and(sequence_number ~ '^[0-9]{22}$'),
	bool_and(sequence_number = record -> 'dynamodb' ->> 'SequenceNumber'),
	array_agg(sequence_number ORDER BY o) = array_agg(sequence_number ORDER BY sequence_number::numeric)
FROM get_records('stream_log_t') WITH ORDINALITY AS r (sequence_number, record, o);
SELECT sequence_number AS third FROM get_records('stream_log_t', max_records => 3) OFFSET 2 \gset
SELECT pg_temp.show(record) FROM get_records('stream_log_t', 'AT_SEQUENCE_NUMBER ' || :'third', 1);
SELECT record ->> 'eventName' FROM get_records('stream_log_t', 'AFTER_SEQUENCE_NUMBER ' || :'third');
SELECT count(*) FROM get_records('stream_log_t', 'LATEST');
SELECT latest_sequence_number('stream_log_t') AS latest \gset
INSERT INTO stream_log_t VALUES (10, 'later', NULL);
SELECT record -> 'dynamodb' -> 'Keys' FROM get_records('stream_log_t', 'AFTER_SEQUENCE_NUMBER ' || :'latest');
SELECT count(*) FROM get_records('stream_log_t', 'AT_SEQUENCE_NUMBER 1');
SELECT count(*) FROM get_records('stream_log_t', 'AFTER_SEQUENCE_NUMBER 990000000000000000000');
SELECT count(*) FROM get_records('stream_log_t', 'AFTER_SEQUENCE_NUMBER 990000000000000000001');
SELECT count(*) FROM get_records('stream_log_t', NULL);
SELECT count(*) FROM get_records('stream_log_t', max_records => 0);

-- savepoints: captured is what committed
SELECT latest_sequence_number('stream_log_t') AS latest \gset
BEGIN;
INSERT INTO stream_log_t VALUES (20);
SAVEPOINT a;
INSERT INTO stream_log_t VALUES (21);
SAVEPOINT b;
INSERT INTO stream_log_t VALUES (22);
RELEASE b;
ROLLBACK TO a;
INSERT INTO stream_log_t VALUES (23);
SAVEPOINT c;
INSERT INTO stream_log_t VALUES (24);
RELEASE c;
-- one's own changes come after commit
SELECT count(*) FROM get_records('stream_log_t', 'AFTER_SEQUENCE_NUMBER ' || :'latest');
COMMIT;
BEGIN;
INSERT INTO stream_log_t VALUES (25);
ROLLBACK;
SELECT record #>> '{dynamodb,Keys,id,N}' FROM get_records('stream_log_t', 'AFTER_SEQUENCE_NUMBER ' || :'latest');

-- COPY, MERGE, ON CONFLICT
SELECT latest_sequence_number('stream_log_t') AS latest \gset
COPY stream_log_t (id, name) FROM STDIN;
30	thirty
31	thirty-one
\.
INSERT INTO stream_log_t VALUES (30, 'new'), (32, 'new') ON CONFLICT (id) DO UPDATE SET name = excluded.name;
INSERT INTO stream_log_t VALUES (30, 'other') ON CONFLICT DO NOTHING;
MERGE INTO stream_log_t AS t USING (VALUES (30), (31), (33)) AS s (id) ON t.id = s.id
	WHEN MATCHED AND s.id = 30 THEN DELETE
	WHEN MATCHED THEN UPDATE SET name = 'merged'
	WHEN NOT MATCHED THEN INSERT VALUES (s.id, 'merged');
TRUNCATE stream_log_t;
SELECT record ->> 'eventName', record #>> '{dynamodb,Keys,id,N}', record #>> '{dynamodb,NewImage,name,S}', record #>> '{dynamodb,OldImage,name,S}'
FROM get_records('stream_log_t', 'AFTER_SEQUENCE_NUMBER ' || :'latest');

-- columns come and go
SELECT latest_sequence_number('stream_log_t') AS latest \gset
ALTER TABLE stream_log_t ADD COLUMN extra int DEFAULT 5, DROP COLUMN doc;
INSERT INTO stream_log_t VALUES (40, 'wide');
SELECT record #> '{dynamodb,NewImage}' FROM get_records('stream_log_t', 'AFTER_SEQUENCE_NUMBER ' || :'latest');

-- retention: what is older is not shown; a stream without keeps nothing
UPDATE stream SET retention = '1 microsecond';
SELECT count(*) FROM get_records('stream_log_t');
UPDATE stream SET retention = NULL;
INSERT INTO stream_log_t VALUES (41);
UPDATE stream SET retention = '1 day';
SELECT count(*) FILTER (WHERE record #>> '{dynamodb,Keys,id,N}' = '41') FROM get_records('stream_log_t');
-- a pipe begins at the first line there is, if none is as old as what is kept
SELECT count(*) >= 0 FROM get_records('stream_log_t');
DO $$
BEGIN
	FOR i IN 0 .. 2 LOOP
		EXECUTE format('DELETE FROM eventbridge.stream_tick_%s WHERE tick < (eventbridge._last_tick()).tick', i);
	END LOOP;
END $$;
INSERT INTO stream_log_t VALUES (43);
SELECT create_queue('stream-log');
SELECT create_pipe('stream-log', stream_arn, 'arn:aws:sqs:us-east-1:000000000000:stream-log',
	source_parameters => '{"DynamoDBStreamParameters": {"StartingPosition": "TRIM_HORIZON"}}') IS NOT NULL FROM streams;
CALL run_deliveries();
SELECT body::json #>> '{dynamodb,Keys,id,N}' FROM receive_messages('stream-log', 10);
SELECT delete_pipe('stream-log'), delete_queue('stream-log');
-- what was before it is gone
SELECT count(*) FROM get_records('stream_log_t', 'AT_SEQUENCE_NUMBER 1000000000000000000001');
SELECT disable_stream('stream_log_t');
INSERT INTO stream_log_t VALUES (42);
SELECT count(*) FROM stream_log WHERE head LIKE '%"42"%' AND tail LIKE '%/public.stream_log_t/%';

-- partitions: also those that are written straight, and rows that move
CREATE TABLE stream_log_p (id int, region text, PRIMARY KEY (id, region)) PARTITION BY LIST (region);
CREATE TABLE stream_log_p_a PARTITION OF stream_log_p FOR VALUES IN ('a');
SELECT enable_stream('stream_log_p', 'KEYS_ONLY', '1 day') IS NOT NULL;
CREATE TABLE stream_log_p_b PARTITION OF stream_log_p FOR VALUES IN ('b');
INSERT INTO stream_log_p VALUES (1, 'a');
INSERT INTO stream_log_p_b VALUES (2, 'b');
UPDATE stream_log_p SET region = 'b' WHERE id = 1;
SELECT pg_temp.show(record) FROM get_records('stream_log_p');
SELECT enable_stream('stream_log_p_b');
-- a trigger by hand writes into no stream but that of its own table
CREATE TABLE stream_log_o (id int PRIMARY KEY);
CREATE TRIGGER t AFTER INSERT ON stream_log_o FOR EACH ROW EXECUTE FUNCTION stream('log=on');
INSERT INTO stream_log_o VALUES (1);
SELECT count(*) FROM stream_log WHERE tail LIKE '%stream_log_o%';
SELECT check_stream_arguments('log=on', 'notify=x');
SELECT check_stream_arguments('log=maybe');

-- foreign keys' actions
CREATE TABLE stream_log_c (id int PRIMARY KEY, parent int REFERENCES stream_log_o ON DELETE CASCADE ON UPDATE CASCADE);
SELECT enable_stream('stream_log_c', 'NEW_IMAGE', '1 day') IS NOT NULL;
INSERT INTO stream_log_c VALUES (1, 1);
UPDATE stream_log_o SET id = 2;
DELETE FROM stream_log_o;
SELECT record ->> 'eventName', record #>> '{dynamodb,NewImage,parent,N}' FROM get_records('stream_log_c');

-- virtual generated columns, where there are some, are in no image
DO $$BEGIN
	EXECUTE 'CREATE TABLE public.stream_log_v (id int PRIMARY KEY, stored int GENERATED ALWAYS AS (id + 1) STORED' ||
		CASE WHEN current_setting('server_version_num')::int < 180000 THEN ''
			ELSE ', twice int GENERATED ALWAYS AS (id * 2) VIRTUAL' END || ', note text)';
END$$;
SELECT enable_stream('stream_log_v', 'NEW_IMAGE', '1 day') IS NOT NULL;
INSERT INTO stream_log_v (id, note) VALUES (1, 'a');
SELECT record #> '{dynamodb,NewImage}' FROM get_records('stream_log_v');
DROP TABLE stream_log_v;

-- a stream is for the table's owner
CREATE ROLE regress_stream_log;
GRANT EXECUTE ON FUNCTION enable_stream(regclass, text, interval, boolean), disable_stream(regclass) TO regress_stream_log;
SET ROLE regress_stream_log;
SELECT get_records('stream_log_p');
SELECT enable_stream('stream_log_o');
SELECT disable_stream('stream_log_p');
SELECT count(*) FROM streams;
SELECT _get_record_batch('stream_log_p', 'TRIM_HORIZON', 1);
RESET ROLE;
REVOKE ALL ON FUNCTION enable_stream(regclass, text, interval, boolean), disable_stream(regclass) FROM regress_stream_log;
DROP ROLE regress_stream_log;

-- plain JSON
SELECT plain_record('{"eventName": "INSERT", "dynamodb": {"Keys": {"id": {"N": "1"}}, "NewImage": {"id": {"N": "1"}, "l": {"L": [{"BOOL": true}]}}, "SizeBytes": 3}}');
SELECT plain_record('{}');

-- what a dropped table leaves behind is in nobody's way
DROP TABLE stream_log_p;
SELECT count(*) FROM streams WHERE stream_arn LIKE '%stream_log_p%';
DROP VIEW stream_log_view;
DROP TABLE stream_log_t, stream_log_bare, stream_log_c, stream_log_o;
CREATE TABLE stream_log_t (id int PRIMARY KEY);
SELECT enable_stream('stream_log_t') IS NOT NULL;
DROP TABLE stream_log_t;
