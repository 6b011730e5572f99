-- The stream log's tables by turns: what is needed stays, and nothing is lost of what is known.
SET search_path = public, eventbridge;
\set VERBOSITY terse
\t on
\a

CREATE TABLE rotation_t (id int PRIMARY KEY);
CREATE TABLE rotation_other (id int PRIMARY KEY);
CREATE FUNCTION pg_temp.stream(relation regclass) RETURNS text LANGUAGE sql AS $$ SELECT stream_arn FROM streams AS s WHERE s.relation = $1 $$;
CREATE FUNCTION pg_temp.position(name text) RETURNS bigint[] LANGUAGE sql AS $$
	SELECT ARRAY[x.tick, x.number] FROM pipe_position AS x JOIN pipe AS p USING (pipe_id) WHERE p.name = $1 $$;
-- empties what can be emptied, and turns to it; tells whether it could
CREATE FUNCTION pg_temp.rotate() RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
	next_turn constant int := _rotate_stream_log();
BEGIN
	IF next_turn IS NULL THEN
		RETURN false;
	END IF;
	PERFORM setval('stream_turn', next_turn);
	RETURN true;
END $$;
DO $$BEGIN PERFORM create_queue('rotation-queue'), enable_stream('rotation_t'), enable_stream('rotation_other'); END$$;
SELECT create_pipe('rotation', pg_temp.stream('rotation_t'), 'arn:aws:sqs:us-east-1:000000000000:rotation-queue') IS NOT NULL;
SELECT create_pipe('rotation-stopped', pg_temp.stream('rotation_other'), 'arn:aws:sqs:us-east-1:000000000000:rotation-queue', desired_state => 'STOPPED') IS NOT NULL;
-- a pipe that reads a queue has no position, and holds nothing
SELECT create_pipe('rotation-idle', create_queue('rotation-idle'), 'arn:aws:sqs:us-east-1:000000000000:rotation-queue') IS NOT NULL;

INSERT INTO rotation_t SELECT generate_series(1, 3);
CALL run_deliveries();
SELECT "Invocations", "EventCount" FROM pipe_metrics WHERE minute IS NULL AND pipe_name = 'rotation';
SELECT pg_temp.position('rotation') AS before \gset

-- a set that is small and young goes on
SET eventbridge.log_segment_size = '32MB';
SELECT pg_temp.rotate();

-- one that has grown is followed by an empty one; position and counters go along
SET eventbridge.log_segment_size = '8kB';
SELECT pg_temp.rotate(), pg_temp.rotate(), pg_temp.rotate();
SELECT count(*) FROM stream_pack;
SELECT pg_temp.position('rotation') = :'before';
SELECT "Invocations", "EventCount" FROM pipe_metrics WHERE minute IS NULL AND pipe_name = 'rotation';
-- the tick of the position, and the one before
SELECT count(*) FROM stream_tick WHERE tick IN ((pg_temp.position('rotation'))[1], (pg_temp.position('rotation'))[1] - 1);

-- what is not read stays, and is read once
INSERT INTO rotation_t VALUES (4);
SELECT pg_temp.rotate(), pg_temp.rotate(), pg_temp.rotate();
SELECT count(*) FROM stream_pack;
CALL run_deliveries();
SELECT "EventCount" FROM pipe_metrics WHERE minute IS NULL AND pipe_name = 'rotation';
SELECT pg_temp.rotate(), pg_temp.rotate(), pg_temp.rotate();
SELECT count(*) FROM stream_pack;
CALL run_deliveries();
SELECT "EventCount" FROM pipe_metrics WHERE minute IS NULL AND pipe_name = 'rotation';

-- what a stopped pipe has not read stays, too
INSERT INTO rotation_other VALUES (1);
SELECT pg_temp.rotate(), pg_temp.rotate(), pg_temp.rotate();
SELECT count(*) FROM stream_pack;
SELECT start_pipe('rotation-stopped');
CALL run_deliveries();
SELECT count(*) FROM receive_messages('rotation-queue', 10);
SELECT stop_pipe('rotation-stopped');
SELECT pg_temp.rotate(), pg_temp.rotate(), pg_temp.rotate();
SELECT count(*) FROM stream_pack;

-- a stopped pipe that has read all does not hold the ticks of other streams
DO $$
DECLARE
	last stream_tick := _last_tick();
BEGIN
	EXECUTE format('INSERT INTO stream_tick_%s SELECT ($1).tick + g, now(), ($1).snapshot FROM generate_series(1, 1500) AS g',
		(SELECT last_value FROM stream_turn)) USING last;
END $$;
INSERT INTO rotation_t VALUES (5);
CALL run_deliveries();
SELECT (pg_temp.position('rotation'))[1] - (pg_temp.position('rotation-stopped'))[1] > 1000;
SELECT pg_temp.rotate(), pg_temp.rotate(), pg_temp.rotate();
SELECT (pg_temp.position('rotation'))[1] - (pg_temp.position('rotation-stopped'))[1];
SELECT pg_temp.rotate(), pg_temp.rotate(), pg_temp.rotate();
SELECT count(*) < 10 FROM stream_tick;
-- but one that has something to read does not go past it
INSERT INTO rotation_other VALUES (2);
INSERT INTO rotation_t VALUES (6);
CALL run_deliveries();
DO $$
DECLARE
	last stream_tick := _last_tick();
BEGIN
	EXECUTE format('INSERT INTO stream_tick_%s SELECT ($1).tick + g, now(), ($1).snapshot FROM generate_series(1, 1500) AS g',
		(SELECT last_value FROM stream_turn)) USING last;
END $$;
SELECT pg_temp.rotate(), pg_temp.rotate(), pg_temp.rotate();
SELECT start_pipe('rotation-stopped');
CALL run_deliveries();
SELECT message_no > 0 AS comes, body::jsonb #>> '{dynamodb,Keys,id,N}' AS id FROM queue_message JOIN queue USING (queue_id)
WHERE name = 'rotation-queue' AND body LIKE '%rotation_other%' ORDER BY message_no;

-- what has not been read of a stream that is disabled is forgotten
SELECT stop_pipe('rotation-stopped');
INSERT INTO rotation_other VALUES (5);
SELECT pg_temp.rotate(), pg_temp.rotate(), pg_temp.rotate();
SELECT count(*) FROM stream_pack;
SELECT disable_stream('rotation_other');
SELECT pg_temp.rotate(), pg_temp.rotate(), pg_temp.rotate();
SELECT count(*) FROM stream_pack;
SELECT start_pipe('rotation-stopped');
-- so it is of one whose table is dropped, if nobody can read it any more
CREATE TABLE rotation_gone (id int PRIMARY KEY);
SELECT create_pipe('rotation-gone', enable_stream('rotation_gone'), 'arn:aws:sqs:us-east-1:000000000000:rotation-queue', desired_state => 'STOPPED') IS NOT NULL;
INSERT INTO rotation_gone VALUES (1);
DROP TABLE rotation_gone;
SELECT _tidy_pipes();
SELECT pg_temp.rotate(), pg_temp.rotate(), pg_temp.rotate();
SELECT count(*) FROM stream_pack;
SELECT enable_stream('rotation_other', retention => '1 h') IS NOT NULL;
SELECT _tidy_pipes();
SELECT pg_temp.rotate(), pg_temp.rotate(), pg_temp.rotate();
SELECT count(*) FROM stream_pack;

-- records that a stream keeps stay for their time
INSERT INTO rotation_other VALUES (3);
SELECT count(*) FROM get_records('rotation_other');
SELECT pg_temp.rotate(), pg_temp.rotate(), pg_temp.rotate();
SELECT record #>> '{dynamodb,Keys,id,N}' FROM get_records('rotation_other');
SELECT count(*) FROM get_records('rotation_other', 'AFTER_SEQUENCE_NUMBER ' || (SELECT sequence_number FROM get_records('rotation_other')));
SELECT latest_sequence_number('rotation_other') AS latest \gset
INSERT INTO rotation_other VALUES (4);
SELECT record #>> '{dynamodb,Keys,id,N}' FROM get_records('rotation_other', 'AFTER_SEQUENCE_NUMBER ' || :'latest');

RESET eventbridge.log_segment_size;
DO $$BEGIN PERFORM delete_pipe('rotation'), delete_pipe('rotation-stopped'), delete_pipe('rotation-idle'), delete_pipe('rotation-gone'),
	delete_queue('rotation-queue'), delete_queue('rotation-idle'),
	disable_stream('rotation_t'), disable_stream('rotation_other'); END$$;
DROP TABLE rotation_t, rotation_other;
