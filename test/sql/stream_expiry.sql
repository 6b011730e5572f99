-- Rows that have expired: their records have the userIdentity of DynamoDB's time to live.
SET search_path = public, eventbridge;
\set SHOW_CONTEXT never
\t on
\pset format unaligned
CREATE TABLE stream_expiry_t (id int PRIMARY KEY, expires_at timestamptz);
CREATE TABLE stream_expiry_child (id int PRIMARY KEY, parent int REFERENCES stream_expiry_t ON DELETE CASCADE);
SELECT enable_stream('stream_expiry_t', 'KEYS_ONLY', '1 day') AS stream \gset
SELECT enable_stream('stream_expiry_child', 'NEW_AND_OLD_IMAGES', '1 day', changed => true) IS NOT NULL;
INSERT INTO stream_expiry_t VALUES (1, '2000-01-01'), (2, '2000-01-01'), (3, 'infinity');
INSERT INTO stream_expiry_child VALUES (10, 1), (11, 2), (12, 3);
SELECT create_queue('stream-expiry');
SELECT create_pipe('stream-expiry', :'stream', 'arn:aws:sqs:us-east-1:000000000000:stream-expiry',
	'{"Filters": [{"Pattern": "{\"userIdentity\": {\"type\": [\"Service\"], \"principalId\": [\"dynamodb.amazonaws.com\"]}}"}]}');
SELECT create_pipe('stream-expiry-not', :'stream', 'arn:aws:sqs:us-east-1:000000000000:stream-expiry',
	'{"Filters": [{"Pattern": "{\"userIdentity\": {\"type\": [{\"exists\": false}]}, \"eventName\": [\"REMOVE\"]}"}]}');

DELETE FROM stream_expiry_t WHERE id = 1;
BEGIN;
SET LOCAL eventbridge.time_to_live = on;
DELETE FROM stream_expiry_t WHERE expires_at < now();
-- not what else happens meanwhile
INSERT INTO stream_expiry_t VALUES (4);
UPDATE stream_expiry_t SET expires_at = 'infinity' WHERE id = 4;
UPDATE stream_expiry_t SET id = 5 WHERE id = 4;
COMMIT;
DELETE FROM stream_expiry_t WHERE id = 3;
SELECT record ->> 'eventName', record #>> '{dynamodb,Keys,id,N}', record -> 'userIdentity',
	array_to_string(ARRAY(SELECT k FROM json_object_keys(record) AS k), ' ') FROM get_records('stream_expiry_t') OFFSET 3;
-- a foreign key's action is part of the deletion
SELECT record ->> 'eventName', record #>> '{dynamodb,Keys,id,N}', record -> 'userIdentity' FROM get_records('stream_expiry_child') OFFSET 3;
CALL run_deliveries();
SELECT body::json #>> '{dynamodb,Keys,id,N}', body::json -> 'userIdentity' FROM receive_messages('stream-expiry', 10) ORDER BY 1;
SELECT delete_pipe('stream-expiry'), delete_pipe('stream-expiry-not'), delete_queue('stream-expiry');
SELECT plain_record(record::jsonb) -> 'userIdentity' FROM get_records('stream_expiry_t') OFFSET 4 LIMIT 1;
SELECT disable_stream('stream_expiry_t'), disable_stream('stream_expiry_child');
DROP TABLE stream_expiry_child, stream_expiry_t;

-- children without partitioning have no part in a stream; partitions that go or come do as long as they are there
CREATE TABLE stream_expiry_p (id int PRIMARY KEY) PARTITION BY RANGE (id);
CREATE TABLE stream_expiry_p1 PARTITION OF stream_expiry_p FOR VALUES FROM (0) TO (10);
CREATE TABLE stream_expiry_p2 (id int NOT NULL);
CREATE TABLE stream_expiry_i (id int PRIMARY KEY);
CREATE TABLE stream_expiry_i1 (PRIMARY KEY (id)) INHERITS (stream_expiry_i);
SELECT enable_stream('stream_expiry_p', 'KEYS_ONLY', '1 day') IS NOT NULL, enable_stream('stream_expiry_i', 'KEYS_ONLY', '1 day') IS NOT NULL;
INSERT INTO stream_expiry_p VALUES (1);
ALTER TABLE stream_expiry_p DETACH PARTITION stream_expiry_p1;
INSERT INTO stream_expiry_p1 VALUES (2);
INSERT INTO stream_expiry_p2 VALUES (11);
ALTER TABLE stream_expiry_p ATTACH PARTITION stream_expiry_p2 FOR VALUES FROM (10) TO (20);
INSERT INTO stream_expiry_p2 VALUES (12);
TRUNCATE stream_expiry_p;
INSERT INTO stream_expiry_i VALUES (1);
INSERT INTO stream_expiry_i1 VALUES (2);
UPDATE stream_expiry_i SET id = id + 10;
SELECT record ->> 'eventName', record #>> '{dynamodb,Keys,id,N}' FROM get_records('stream_expiry_p');
SELECT record ->> 'eventName', record #>> '{dynamodb,Keys,id,N}' FROM get_records('stream_expiry_i');
SELECT disable_stream('stream_expiry_p'), disable_stream('stream_expiry_i');
DROP TABLE stream_expiry_p, stream_expiry_p1, stream_expiry_i, stream_expiry_i1;
