-- The member "changed" of stream records: which columns an update changed.
SET search_path = public, eventbridge;
SET eventbridge.retry_delay = '1ms';
\set SHOW_CONTEXT never
\t on
\pset format unaligned
CREATE TABLE stream_changed_t (id int PRIMARY KEY, name text, n numeric, doc json, "odd ""name""" int, long text);

-- all view types: of updates only, and not where the key changed
CREATE FUNCTION pg_temp.all_of(view_type text) RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
	PERFORM eventbridge.enable_stream('public.stream_changed_t', view_type, '1 day', changed => true);
	INSERT INTO public.stream_changed_t VALUES (1, 'Fred', 1, '{"a":1}', NULL, repeat('x', 100000));
	UPDATE public.stream_changed_t SET name = 'Freda', n = 1.00, doc = '{ "a" : 1.0 }';
	UPDATE public.stream_changed_t SET n = 1.000;
	UPDATE public.stream_changed_t SET long = repeat('x', 99999) || 'y', "odd ""name""" = 5, doc = '{"a":2}';
	UPDATE public.stream_changed_t SET long = NULL, name = NULL;
	UPDATE public.stream_changed_t SET id = 2, name = 'x';
	DELETE FROM public.stream_changed_t;
END $$;
CREATE VIEW stream_changed_seen AS
	SELECT record ->> 'eventName' AS event, record -> 'changed' AS changed, record -> 'dynamodb' ->> 'StreamViewType' AS view_type,
		array_to_string(ARRAY(SELECT k FROM json_object_keys(record) AS k), ' ') AS members
	FROM get_records('stream_changed_t');
SELECT pg_temp.all_of('KEYS_ONLY');
SELECT * FROM stream_changed_seen;
SELECT changed FROM streams;
SELECT disable_stream('stream_changed_t');
SELECT pg_temp.all_of('NEW_IMAGE');
SELECT event, changed, view_type FROM stream_changed_seen;
SELECT disable_stream('stream_changed_t');
SELECT pg_temp.all_of('OLD_IMAGE');
SELECT event, changed, view_type FROM stream_changed_seen;
SELECT disable_stream('stream_changed_t');
SELECT pg_temp.all_of('NEW_AND_OLD_IMAGES');
SELECT event, changed, view_type FROM stream_changed_seen;
-- SizeBytes is that of keys and images
SELECT array_agg(record #>> '{dynamodb,SizeBytes}') AS sizes FROM get_records('stream_changed_t') \gset
SELECT plain_record(record::jsonb) -> 'changed' FROM get_records('stream_changed_t') OFFSET 1 LIMIT 1;
SELECT disable_stream('stream_changed_t');

-- without the option records have AWS's members alone
SELECT enable_stream('stream_changed_t', retention => '1 day', changed => NULL) IS NOT NULL;
INSERT INTO stream_changed_t VALUES (1, 'Fred', 1, '{"a":1}', NULL, repeat('x', 100000));
UPDATE stream_changed_t SET name = 'Freda', n = 1.00, doc = '{ "a" : 1.0 }';
UPDATE stream_changed_t SET long = repeat('x', 99999) || 'y', "odd ""name""" = 5, doc = '{"a":2}';
UPDATE stream_changed_t SET long = NULL, name = NULL;
UPDATE stream_changed_t SET id = 2, name = 'x';
DELETE FROM stream_changed_t;
SELECT event, members FROM stream_changed_seen;
SELECT array_agg(record #>> '{dynamodb,SizeBytes}') = :'sizes' FROM get_records('stream_changed_t');
-- nor can a filter of a pipe ask for it
SELECT create_queue('stream-changed');
CREATE FUNCTION pg_temp.pipe(name text, VARIADIC filters text[]) RETURNS text LANGUAGE sql AS $$
	SELECT eventbridge.create_pipe(name, (SELECT stream_arn FROM eventbridge.streams), 'arn:aws:sqs:us-east-1:000000000000:stream-changed',
		jsonb_build_object('Filters', (SELECT jsonb_agg(jsonb_build_object('Pattern', f)) FROM unnest(filters) AS f)))
$$;
SELECT pg_temp.pipe('p', '{"eventName": ["REMOVE"]}', '{"$or": [{"changed": ["name"]}, {"eventName": ["INSERT"]}]}');
SELECT pg_temp.pipe('p', '{"dynamodb": {"Keys": {"changed": {"N": ["1"]}}}}');
SELECT update_pipe('p', '{"SourceParameters": {"DynamoDBStreamParameters": {}, "FilterCriteria": {"Filters": [{"Pattern": "{\"changed\": [{\"exists\": true}]}"}]}}}');
SELECT delete_pipe('p'), disable_stream('stream_changed_t');

-- with it, rows are judged before anything is stored
SELECT enable_stream('stream_changed_t', 'KEYS_ONLY', changed => true) IS NOT NULL;
SELECT count(*) AS before FROM stream_log \gset
SELECT pg_temp.pipe('p', '{"changed": ["name", "doc"], "dynamodb": {"Keys": {"id": {"N": [{"anything-but": "3"}]}}}}');
INSERT INTO stream_changed_t SELECT n, 'a', 1, '{"a":1}' FROM generate_series(1, 3) AS n;
UPDATE stream_changed_t SET n = 2;
UPDATE stream_changed_t SET name = 'b', n = 3;
UPDATE stream_changed_t SET doc = '{ "a": 1 }', long = 'z';
UPDATE stream_changed_t SET doc = '{ "a": 5 }' WHERE id > 1;
UPDATE stream_changed_t SET id = 4, name = 'c' WHERE id = 3;
DELETE FROM stream_changed_t;
SELECT count(*) - :before FROM stream_log;
CALL run_deliveries();
SELECT body::jsonb -> 'dynamodb' -> 'Keys', body::jsonb -> 'changed' FROM receive_messages('stream-changed', 10) ORDER BY body::jsonb #>> '{dynamodb,SequenceNumber}';
SELECT purge_queue('stream-changed') >= 0, delete_pipe('p');
-- what changed nothing else, and what did not change
SELECT pg_temp.pipe('p', '{"eventName": ["MODIFY"], "changed": [{"anything-but": "n"}]}');
SELECT pg_temp.pipe('q', '{"changed": [{"exists": false}]}');
INSERT INTO stream_changed_t VALUES (7, 'a', 1);
UPDATE stream_changed_t SET n = 2;
UPDATE stream_changed_t SET n = 3, name = 'b';
CALL run_deliveries();
SELECT body::jsonb ->> 'eventName', body::jsonb -> 'changed' FROM receive_messages('stream-changed', 10) ORDER BY body::jsonb #>> '{dynamodb,SequenceNumber}';
SELECT delete_pipe('p'), delete_pipe('q'), delete_queue('stream-changed');

-- trying out
SELECT step, n, passed, reason FROM pipe_dry_run('{"Filters": [{"Pattern": "{\"changed\": [\"name\"]}"}]}',
	'[{"eventName": "MODIFY", "changed": ["id", "name"]}, {"eventName": "MODIFY", "changed": ["n"]}, {"eventName": "INSERT"}]');
SELECT plain_record('{"eventName": "MODIFY", "dynamodb": {"Keys": {"id": {"N": "1"}}}, "changed": ["name"]}');

-- columns come and go; partitions have columns at other places
SELECT disable_stream('stream_changed_t');
DROP VIEW stream_changed_seen;
DROP TABLE stream_changed_t;
CREATE TABLE stream_changed_p (id int, a int, b int, c int, PRIMARY KEY (id)) PARTITION BY RANGE (id);
CREATE TABLE stream_changed_p1 (c int, gone int, b int, id int NOT NULL, a int);
ALTER TABLE stream_changed_p1 DROP COLUMN gone;
ALTER TABLE stream_changed_p ATTACH PARTITION stream_changed_p1 FOR VALUES FROM (0) TO (10);
SELECT enable_stream('stream_changed_p', 'KEYS_ONLY', '1 day', true) IS NOT NULL;
INSERT INTO stream_changed_p VALUES (1, 1, 1, 1);
UPDATE stream_changed_p SET a = 2, b = 2;
ALTER TABLE stream_changed_p DROP COLUMN b, ADD COLUMN d int;
UPDATE stream_changed_p1 SET d = 1, c = 2;
ALTER TABLE stream_changed_p RENAME COLUMN d TO e;
SELECT record -> 'changed' FROM get_records('stream_changed_p');
DROP TABLE stream_changed_p;

-- arguments of triggers
SELECT check_stream_arguments('notify=x', 'changed=on', 'filter={"changed": ["a"]}');
SELECT check_stream_arguments('log=on', 'changed=on', 'view_type=KEYS_ONLY');
SELECT check_stream_arguments('notify=x', 'changed=maybe');
SELECT check_stream_arguments('notify=x', 'filter={"changed": ["a"]}');
SELECT check_stream_arguments('notify=x', 'changed=off', 'filter={"changed": ["a"]}');
SELECT check_stream_arguments('notify=x', 'changed=on', 'changed=on');

-- packs that are none: a column that is not there, too many columns
SELECT tail FROM _unpack_records('\x0100120000000100000000000000610000002a0000000100000000000000000000000000000000000000000000000000000000000000010401000100', -1, 100);
SELECT tail FROM _unpack_records('\x0100120000000100000000000000610000002c00000001000000000000000000000000000000000000000000000000000000000000000104020000000000', -1, 100);
