--
-- Cost of input transformation against the equivalent SQL expressions.
--
--   psql -f test/bench/transform.sql [-v rows=100000] [-v rounds=7]
--
-- A template of four variables is filled for every row of a table of events
-- of about 500 bytes, in turn with the expression that a user would write in
-- its place; one process, no JIT, no parallel query.  Each figure is the best
-- of all rounds, scan included.  The ratio is ours / theirs, and the script fails
-- if that of a template is above 1.
--
\set ON_ERROR_STOP on
\set QUIET on
\if :{?rows}
\else
	\set rows 100000
\endif
\if :{?rounds}
\else
	\set rounds 7
\endif
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS eventbridge;
SET jit = off;
SET max_parallel_workers_per_gather = 0;
SELECT set_config('bench.rounds', :'rounds', false) \g /dev/null

CREATE TEMPORARY TABLE bench_events AS
SELECT j::jsonb AS event, j AS event_json
  FROM generate_series(1, :rows) i,
	   json_build_object(
		'version', '0', 'id', md5(i::text)::uuid,
		'detail-type', 'EC2 Instance State-change Notification', 'source', 'aws.ec2',
		'account', '123456789012', 'time', '2015-11-11T21:29:54Z', 'region', 'us-east-1',
		'resources', json_build_array('arn:aws:ec2:us-east-1:123456789012:instance/i-' || i),
		'detail', json_build_object(
			'instance-id', 'i-' || i, 'state', (ARRAY['RUNNING', 'STOPPED', 'PENDING'])[1 + i % 3],
			'launched-by', json_build_object('user', 'user-' || i % 100, 'via', 'console'),
			'tags', json_build_array('web', 'blue', 'eu'), 'cores', i % 64, 'memory', i * 1.5)) j;
VACUUM ANALYZE bench_events;

CREATE TEMPORARY TABLE contenders (name text, source text, ours text, theirs text);
INSERT INTO contenders VALUES
('string template', 'event',
 $$eventbridge.transform_input(event,
	'{"time": "$.time", "instance": "$.detail.instance-id", "state": "$.detail.state", "resource": "$.resources[0]"}',
	'"<time>: instance <instance> (<resource>) is in <state>"')$$,
 $$format('"%s: instance %s (%s) is in %s"', event ->> 'time', event -> 'detail' ->> 'instance-id',
	event -> 'resources' ->> 0, event -> 'detail' ->> 'state')$$),
('JSON template', 'event',
 $$eventbridge.transform_input(event,
	'{"time": "$.time", "instance": "$.detail.instance-id", "state": "$.detail.state", "cores": "$.detail.cores"}',
	'{"time": <time>, "instance": <instance>, "state": <state>, "cores": <cores>}')$$,
 $$jsonb_build_object('time', event -> 'time', 'instance', event -> 'detail' -> 'instance-id',
	'state', event -> 'detail' -> 'state', 'cores', event -> 'detail' -> 'cores')::text$$),
('JSON template with objects', 'event',
 $$eventbridge.transform_input(event,
	'{"time": "$.time", "by": "$.detail.launched-by", "tags": "$.detail.tags", "detail": "$.detail"}',
	'{"time": <time>, "by": <by>, "tags": <tags>, "detail": <detail>}')$$,
 $$jsonb_build_object('time', event -> 'time', 'by', event -> 'detail' -> 'launched-by',
	'tags', event -> 'detail' -> 'tags', 'detail', event -> 'detail')::text$$),
('string template', 'event_json',
 $$eventbridge.json_transform_input(event_json,
	'{"time": "$.time", "instance": "$.detail.instance-id", "state": "$.detail.state", "resource": "$.resources[0]"}',
	'"<time>: instance <instance> (<resource>) is in <state>"')$$,
 $$format('"%s: instance %s (%s) is in %s"', event_json ->> 'time', event_json -> 'detail' ->> 'instance-id',
	event_json -> 'resources' ->> 0, event_json -> 'detail' ->> 'state')$$),
('JSON template', 'event_json',
 $$eventbridge.json_transform_input(event_json,
	'{"time": "$.time", "instance": "$.detail.instance-id", "state": "$.detail.state", "cores": "$.detail.cores"}',
	'{"time": <time>, "instance": <instance>, "state": <state>, "cores": <cores>}')$$,
 $$json_build_object('time', event_json -> 'time', 'instance', event_json -> 'detail' -> 'instance-id',
	'state', event_json -> 'detail' -> 'state', 'cores', event_json -> 'detail' -> 'cores')::text$$),
('input path', 'event',
 $$eventbridge.input_path(event, '$.detail.launched-by.user')$$,
 $$event -> 'detail' -> 'launched-by' -> 'user'$$);

CREATE TEMPORARY TABLE times (name text, source text, ours boolean, ms float8);

DO $$
DECLARE
	c contenders;
	ours boolean;
	started timestamptz;
BEGIN
	FOR round IN 1 .. current_setting('bench.rounds', true)::int LOOP
		FOR c IN SELECT * FROM contenders LOOP
			FOREACH ours IN ARRAY ARRAY[true, false] LOOP
				started := clock_timestamp();
				EXECUTE format('SELECT count(%s) FROM bench_events', CASE WHEN ours THEN c.ours ELSE c.theirs END);
				INSERT INTO times VALUES (c.name, c.source, ours,
										  extract(epoch FROM clock_timestamp() - started) * 1000);
			END LOOP;
		END LOOP;
	END LOOP;
END $$;

\pset footer off
CREATE TEMPORARY TABLE ratios AS
SELECT name, source,
	   round(min(ms) FILTER (WHERE ours)::numeric, 1) AS ours_ms,
	   round(min(ms) FILTER (WHERE NOT ours)::numeric, 1) AS theirs_ms,
	   round((min(ms) FILTER (WHERE ours) / min(ms) FILTER (WHERE NOT ours))::numeric, 2) AS ratio
  FROM times GROUP BY name, source;
SELECT * FROM ratios ORDER BY source, name;

DO $$
BEGIN
	IF EXISTS (SELECT FROM ratios WHERE ratio > CASE name WHEN 'input path' THEN 1.15 ELSE 1 END) THEN
		RAISE EXCEPTION 'a transformation costs more than the equivalent expression';
	END IF;
END $$;
