--
-- Many patterns against each event: match_any as the number of rules grows.
-- By kind of operator: citylots.sql.
--
--   psql -f test/bench/ruleset.sql [-v rounds=7] [-v rules=FILE -v events=FILE]
--
-- Rules are of mixed kinds, over events of the shape that EventBridge delivers
-- (about 750 bytes); they are generated here, or read from files of one JSON
-- object a line: a rule is {"name": ..., "pattern": "..."}, the first K lines
-- being the set of K rules, an event is itself.  One process, no JIT, no
-- parallel query, everything in memory; each figure is the best of all rounds.
-- "ratio" is to the time of counting the events of one source with ->>, over
-- the same table, just before; it is the median of all rounds.  The script
-- fails if one is above its limit, or if match_any and matches() differ.
--
\set ON_ERROR_STOP on
\set QUIET on
\pset pager off
\if :{?rounds}
\else
	\set rounds 7
\endif
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS eventbridge;
SET jit = off;
SET max_parallel_workers_per_gather = 0;
SET search_path = eventbridge, public;
SELECT set_config('bench.rounds', :'rounds', false) \g /dev/null

-- ---------- Rules and events ----------

CREATE TEMP TABLE rules (id integer, pattern event_pattern);
CREATE TEMP TABLE events (event jsonb);
CREATE TEMP TABLE lines (n serial, line text);

\if :{?rules}
\set load '\\copy lines (line) FROM ' :'rules' ' WITH (FORMAT csv, QUOTE e''\\x01'', DELIMITER e''\\x02'')'
:load
INSERT INTO rules SELECT n, (line::json ->> 'pattern')::event_pattern FROM lines;
TRUNCATE lines;
\set load '\\copy lines (line) FROM ' :'events' ' WITH (FORMAT csv, QUOTE e''\\x01'', DELIMITER e''\\x02'')'
:load
INSERT INTO events SELECT line::jsonb FROM lines;
TRUNCATE lines;
\else

SELECT setseed(0.25) \g /dev/null

-- A few accounts are large: a choice with the density of 1 / (k + 20).
CREATE FUNCTION pg_temp.account() RETURNS integer LANGUAGE sql VOLATILE
	RETURN (20 * (501 ^ random() - 1))::integer;
CREATE FUNCTION pg_temp.any_of(choices text[]) RETURNS text LANGUAGE sql VOLATILE
	RETURN choices[1 + floor(random() * cardinality(choices))::integer];
CREATE FUNCTION pg_temp.below(n integer) RETURNS integer LANGUAGE sql VOLATILE
	RETURN floor(random() * n)::integer;

CREATE FUNCTION pg_temp.account_id(k integer) RETURNS text LANGUAGE sql IMMUTABLE
	RETURN (100000000000 + (k::bigint * 7919 + 13) * 104729 % 899999999989)::text;
CREATE FUNCTION pg_temp.instance_id(k integer) RETURNS text LANGUAGE sql IMMUTABLE
	RETURN 'i-' || substr(md5(k::text), 1, 17);
CREATE FUNCTION pg_temp.source() RETURNS text LANGUAGE sql VOLATILE
	RETURN pg_temp.any_of('{aws.ec2,aws.s3,aws.autoscaling,aws.rds,aws.ecs,aws.codebuild,aws.health,aws.iam,aws.batch,aws.glue,'
		'app.orders,app.billing,app.auth,app.catalog,app.shipping,app.search,app.chat,iot.sensor,iot.meter,iot.gateway}');
CREATE FUNCTION pg_temp.detail_type(source text) RETURNS text LANGUAGE sql VOLATILE
	RETURN initcap(split_part(source, '.', 2)) || ' ' ||
		pg_temp.any_of('{State-change Notification,Object Created,API Call via CloudTrail}');
CREATE FUNCTION pg_temp.state() RETURNS text LANGUAGE sql VOLATILE
	RETURN pg_temp.any_of('{pending,running,stopping,stopped,terminated,failed}');
CREATE FUNCTION pg_temp.region() RETURNS text LANGUAGE sql VOLATILE
	RETURN pg_temp.any_of('{us-east-1,us-east-2,us-west-2,eu-central-1,eu-west-1,ap-south-1,ap-northeast-1,sa-east-1}');
CREATE FUNCTION pg_temp.directory() RETURNS text LANGUAGE sql VOLATILE
	RETURN pg_temp.any_of('{img,logs,reports,exports,raw,tmp,archive,in,out,backup}');
CREATE FUNCTION pg_temp.extension() RETURNS text LANGUAGE sql VOLATILE
	RETURN pg_temp.any_of('{csv,json,png,jpg,parquet,log,txt,gz}');
CREATE FUNCTION pg_temp.two_digits() RETURNS text LANGUAGE sql VOLATILE
	RETURN to_char(pg_temp.below(100), 'FM00');
CREATE FUNCTION pg_temp.user_name() RETURNS text LANGUAGE sql VOLATILE
	RETURN pg_temp.any_of('{alice,bob,carol,dave,erin,frank,grace,heidi,ivan,judy,mallory,niaj,olivia,peggy,rupert,sybil}') ||
		'.' || chr(97 + pg_temp.below(26)) || pg_temp.below(20);

CREATE FUNCTION pg_temp.rule() RETURNS text LANGUAGE plpgsql VOLATILE AS $$
DECLARE
	k integer := pg_temp.account();
	account text := pg_temp.account_id(k);
	source text := pg_temp.source();
	u float8 := random();
	low integer := pg_temp.below(980);
BEGIN
	IF u < 0.24 THEN
		RETURN format('{"source": ["%s"], "detail-type": ["%s"], "account": ["%s"], "detail": {"state": ["%s", "%s"]}}',
			source, pg_temp.detail_type(source), account, pg_temp.state(), pg_temp.state());
	ELSIF u < 0.38 THEN
		RETURN format('{"source": ["%s"], "detail": {"instance-id": ["%s", "%s"], "state": ["%s", "%s"]}}', source,
			pg_temp.instance_id(pg_temp.below(60000)), pg_temp.instance_id(pg_temp.below(60000)), pg_temp.state(), pg_temp.state());
	ELSIF u < 0.50 THEN
		RETURN format('{"source": ["%s"], "detail": {"object": {"key": [{"prefix": "tenant-%s/%s/%s"}]}}}',
			source, k, pg_temp.directory(), pg_temp.two_digits());
	ELSIF u < 0.58 THEN
		RETURN format('{"account": ["%s"], "region": ["%s"], "detail": {"object": {"key": [{"suffix": "%s.%s"}]}}}',
			account, pg_temp.region(), pg_temp.two_digits(), pg_temp.extension());
	ELSIF u < 0.64 THEN
		RETURN format('{"detail": {"object": {"key": [{"wildcard": "tenant-%s/%s/*-%s*.%s"}]}}}',
			k, pg_temp.directory(), pg_temp.two_digits(), pg_temp.extension());
	ELSIF u < 0.72 THEN
		RETURN format('{"source": ["%s"], "account": ["%s"], "detail": {"state": [{"anything-but": ["%s", "%s"]}], "priority": [%s]}}',
			source, account, pg_temp.state(), pg_temp.state(), 1 + pg_temp.below(5));
	ELSIF u < 0.77 THEN
		RETURN format('{"source": ["%s"], "detail": {"user": {"name": [{"equals-ignore-case": "%s"}]}}}', source, initcap(pg_temp.user_name()));
	ELSIF u < 0.81 THEN
		RETURN format('{"account": ["%s"], "source": ["%s"], "region": ["%s"], "detail": {"error-code": [{"exists": %s}]}}',
			account, source, pg_temp.region(), (random() < 0.5)::text);
	ELSIF u < 0.90 THEN
		RETURN format('{"account": ["%s"], "source": ["%s"], "detail": {"amount": [{"numeric": [%s]}]}}', account, source,
			CASE WHEN random() < 0.7 THEN format('">=", %s, "<", %s', low, low + 5 + pg_temp.below(55))
				WHEN random() < 0.5 THEN format('">", %s.5', 900 + pg_temp.below(100)) ELSE format('"<=", %s', pg_temp.below(60)) END);
	ELSIF u < 0.93 THEN
		RETURN format('{"source": ["%s"], "detail": {"source-ip": [{"cidr": "10.%s.%s.0/%s"}], "priority": [%s]}}', source,
			pg_temp.below(256), pg_temp.below(16) * 16, pg_temp.any_of('{20,22,24}'), 1 + pg_temp.below(5));
	ELSIF u < 0.97 THEN
		RETURN format('{"account": ["%s"], "detail": {"$or": [{"priority": [{"numeric": [">=", 5]}], "state": ["%s"]}, '
			'{"amount": [{"numeric": [">", %s]}]}, {"tags": ["gold", "vip-%s"]}]}}', account, pg_temp.state(),
			800 + pg_temp.below(190), pg_temp.below(50));
	END IF;
	RETURN format('{"account": ["%s"], "detail": {"items": {"sku": ["SKU-%s"], "qty": [{"numeric": [">=", %s]}]}}}',
		account, pg_temp.below(2000), 1 + pg_temp.below(5));
END $$;

CREATE FUNCTION pg_temp.event() RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
DECLARE
	k integer := pg_temp.account();
	source text := pg_temp.source();
	region text := pg_temp.region();
	instance text := pg_temp.instance_id(pg_temp.below(60000));
	detail jsonb := jsonb_build_object(
		'instance-id', instance, 'state', pg_temp.state(), 'priority', 1 + pg_temp.below(5),
		'amount', round((random() * 1000)::numeric, 2),
		'user', jsonb_build_object('name', CASE WHEN random() < 0.3 THEN upper(pg_temp.user_name()) ELSE pg_temp.user_name() END, 'tier', NULL),
		'source-ip', format('10.%s.%s.%s', pg_temp.below(256), pg_temp.below(256), pg_temp.below(256)),
		'bucket', jsonb_build_object('name', format('bucket-%s-%s', region, k % 50)),
		'object', jsonb_build_object('key', format('tenant-%s/%s/%s/file-%s-%s.%s', k, pg_temp.directory(), pg_temp.two_digits(),
			1000 + pg_temp.below(9000), pg_temp.two_digits(), pg_temp.extension()), 'size', pg_temp.below(1 << 30), 'etag', md5(random()::text)),
		'tags', (SELECT coalesce(jsonb_agg(tag), '[]') FROM unnest('{prod,dev,test,gold,silver,beta}'::text[]) tag WHERE random() < 0.25),
		'items', (SELECT jsonb_agg(jsonb_build_object('sku', 'SKU-' || pg_temp.below(2000), 'qty', 1 + pg_temp.below(9),
			'price', round((random() * 99)::numeric, 2))) FROM generate_series(1, 1 + pg_temp.below(3))),
		'request-id', upper(substr(md5(random()::text), 1, 16)));
BEGIN
	IF random() < 0.3 THEN
		detail := detail || jsonb_build_object('error-code', pg_temp.any_of('{AccessDenied,Throttling,Internal}'));
	END IF;
	RETURN jsonb_build_object('version', '0', 'id', md5(random()::text)::uuid, 'detail-type', pg_temp.detail_type(source),
		'source', source, 'account', pg_temp.account_id(k), 'time', '2024-05-06T07:08:09Z', 'region', region,
		'resources', jsonb_build_array(format('arn:aws:ec2:%s:%s:instance/%s', region, pg_temp.account_id(k), instance)), 'detail', detail);
END $$;

INSERT INTO rules SELECT i, pg_temp.rule()::event_pattern FROM generate_series(1, 100000) i;
INSERT INTO events SELECT pg_temp.event() FROM generate_series(1, 50000);
\endif
VACUUM ANALYZE rules;
VACUUM ANALYZE events;

-- ---------- As the number of rules grows ----------

CREATE TEMP TABLE grown (rules integer, matches bigint, seconds float8, build float8, bytes bigint);
CREATE TEMP TABLE yardstick (rules integer, ratio float8);

CREATE PROCEDURE pg_temp.measure_growth() LANGUAGE plpgsql AS $$
DECLARE
	patterns event_pattern_set;
	began timestamptz;
	build float8;
	yard float8;
	took float8;
	best float8;
	matches bigint;
BEGIN
	FOR n IN 0 .. 5 LOOP
		began := clock_timestamp();
		SELECT event_pattern_set(pattern ORDER BY id) INTO patterns FROM rules WHERE id <= 10 ^ n;
		build := extract(epoch FROM clock_timestamp() - began);
		best := NULL;
		FOR round IN 1 .. current_setting('bench.rounds')::integer LOOP
			began := clock_timestamp();
			PERFORM count(*) FROM events WHERE event ->> 'source' = 'x';
			yard := extract(epoch FROM clock_timestamp() - began);
			began := clock_timestamp();
			SELECT sum(cardinality(match_any(event, patterns))) INTO matches FROM events;
			took := extract(epoch FROM clock_timestamp() - began);
			best := least(best, took);
			INSERT INTO yardstick VALUES (10 ^ n, took / yard);
		END LOOP;
		INSERT INTO grown VALUES (10 ^ n, matches, best, build, pg_column_size(patterns));
	END LOOP;
END $$;
CALL pg_temp.measure_growth();

\echo 'Rules of mixed kinds against EventBridge-shaped events:'
CREATE TEMP TABLE limits (rules integer, ratio numeric);
CREATE TEMP VIEW ratios AS
	SELECT rules, percentile_cont(0.5) WITHIN GROUP (ORDER BY ratio) AS ratio FROM yardstick GROUP BY rules;
INSERT INTO limits VALUES (1, 2.3), (10, 3.5), (100, 4.5), (1000, 5), (10000, 6), (100000, 9);
SELECT rules, matches, round(count / seconds) AS "events/s", round(y.ratio::numeric, 2) AS ratio, l.ratio AS "limit",
	round(build::numeric * 1000, 1) AS "build, ms", round(bytes / 1e6, 1) AS "MB"
FROM grown JOIN limits l USING (rules) JOIN ratios y USING (rules), (SELECT count(*) FROM events) e (count)
ORDER BY rules;

-- the same answer from both
CREATE TEMP TABLE sample AS SELECT event FROM events LIMIT 100;
SELECT (SELECT sum(cardinality(match_any(event, (SELECT event_pattern_set(pattern) FROM rules)))) FROM sample)
	= (SELECT count(*) FROM sample, rules WHERE matches(event, pattern)) AS same_as_matches \gset

-- ---------- Sets that are hard ----------

CREATE TEMP TABLE hard (name text, patterns event_pattern_set, event jsonb);
INSERT INTO hard
SELECT '10,000 wildcards on one field', event_pattern_set(format('{"k": [{"wildcard": "*%s*%s*"}]}', substr(md5(i::text), 1, 6), i % 7)::event_pattern),
	jsonb_build_object('k', 'some/path/' || md5('77') || '/and/file-' || md5('78'))
FROM generate_series(1, 10000) i
UNION ALL
SELECT '10,000 wildcards with one beginning and end', event_pattern_set(format('{"k": [{"wildcard": "some/*%s*8"}]}', substr(md5(i::text), 1, 6))::event_pattern),
	jsonb_build_object('k', 'some/path/' || md5('77') || '/and/file-' || md5('78') || '8')
FROM generate_series(1, 10000) i
UNION ALL
SELECT '10,000 anything-but on one field', event_pattern_set(format('{"k": [{"anything-but": ["v%s", "w%s"]}]}', i, i)::event_pattern), '{"k": "v77"}'
FROM generate_series(1, 10000) i
UNION ALL
SELECT '10,000 fields that have to be absent', event_pattern_set(format('{"f%s": [{"exists": false}]}', i)::event_pattern), '{"f77": 1, "x": 1}'
FROM generate_series(1, 10000) i
UNION ALL
SELECT '10,000 ranges of one field', event_pattern_set(format('{"n": [{"numeric": [">", %s, "<=", %s]}]}', i, i + 3)::event_pattern), '{"n": 77.5}'
FROM generate_series(1, 10000) i
UNION ALL
SELECT 'one $or of 1,000 alternatives', event_pattern_set(format('{"$or": [%s]}', (SELECT string_agg(format('{"a": ["v%s"], "b": [%s]}', i, i), ',')
	FROM generate_series(1, 1000) i))::event_pattern), '{"a": "v77", "b": 77}'
FROM generate_series(1, 10)
UNION ALL
SELECT '10,000 rules that differ in one of five fields', event_pattern_set(format(
	'{"a": ["x"], "b": [{"prefix": "y"}], "c": [{"exists": true}], "d": [{"anything-but": "z"}], "e": [{"suffix": "-%s"}]}', i)::event_pattern),
	'{"a": "x", "b": "yy", "c": 1, "d": "d", "e": "e-77"}'
FROM generate_series(1, 10000) i;

CREATE TEMP TABLE hardness (name text, matches bigint, us float8, mb numeric);
CREATE PROCEDURE pg_temp.measure_hard() LANGUAGE plpgsql AS $$
DECLARE
	h record;
	best float8;
	began timestamptz;
	matches bigint;
BEGIN
	FOR h IN SELECT * FROM hard LOOP
		best := NULL;
		FOR round IN 1 .. current_setting('bench.rounds')::integer LOOP
			began := clock_timestamp();
			SELECT sum(cardinality(match_any(jsonb_set(h.event, '{i}', to_jsonb(i)), h.patterns))) / 200 INTO matches
			FROM generate_series(1, 200) i;
			best := least(best, extract(epoch FROM clock_timestamp() - began));
		END LOOP;
		INSERT INTO hardness VALUES (h.name, matches, best * 1e6 / 200, pg_column_size(h.patterns) / 1e6);
	END LOOP;
END $$;
CALL pg_temp.measure_hard();
\echo 'Sets that are hard:'
SELECT name, matches, round(us::numeric, 1) AS "µs/event", round(mb, 2) AS "MB stored" FROM hardness;

-- ---------- Judgement ----------

SELECT :'same_as_matches' = 't' AND NOT EXISTS (
	SELECT FROM ratios JOIN limits l USING (rules) WHERE ratios.ratio > l.ratio) AS good \gset
\if :good
	\echo 'All ratios are within their limits, and match_any agrees with matches().'
\else
	DO $$ BEGIN RAISE EXCEPTION 'a ratio is above its limit, or match_any differs from matches()'; END $$;
\endif
