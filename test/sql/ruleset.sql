-- event_pattern_set, its aggregate, and match_any
SET search_path = eventbridge, public;

-- text: a JSON array of patterns
SELECT '[]'::event_pattern_set;
SELECT ' [ {"a": [ 1 ]} ,{"b":["]", {"prefix":","}]} ]'::event_pattern_set;
SELECT '[{"a": [1]}, {"a": [2]}, {"b": [{"exists": false}]}, {"a": ["x"], "b": ["y"]}]'::event_pattern_set;
-- what is no array, or holds what is no pattern
SELECT '{"a": [1]}'::event_pattern_set;
SELECT '[{"a": [1]}'::event_pattern_set;
SELECT '[{"a": [1]}] x'::event_pattern_set;
SELECT '[{"a": 1}]'::event_pattern_set;
SELECT '[1]'::event_pattern_set;

-- the aggregate: positions are the order, nulls take none
CREATE TEMP TABLE rule (id integer, pattern event_pattern);
INSERT INTO rule VALUES
	(1, '{"source": ["aws.s3"], "detail": {"size": [{"numeric": [">", 10]}]}}'),
	(2, '{"source": ["aws.ec2", "aws.s3"]}'),
	(3, NULL),
	(4, '{"detail": {"key": [{"prefix": "img/"}, {"suffix": ".png"}]}}'),
	(5, '{"detail": {"missing": [{"exists": false}]}}'),
	(6, '{"$or": [{"source": ["aws.s3"]}, {"detail": {"size": [20]}}]}');
SELECT event_pattern_set(pattern ORDER BY id) FROM rule;
SELECT event_pattern_set(pattern ORDER BY id DESC) FROM rule WHERE id <= 4;
SELECT event_pattern_set(pattern) FROM rule WHERE id = 3;
SELECT event_pattern_set(pattern) FROM rule WHERE false;

-- match_any: positions from 1, ascending, each once
SELECT event, match_any(event, (SELECT event_pattern_set(pattern ORDER BY id) FROM rule))
FROM (VALUES
	('{"source": "aws.s3", "detail": {"size": 20, "key": "img/a.png"}}'::jsonb),
	('{"source": "aws.s3", "detail": {"size": [1, 30], "key": ["x", "b.png"], "missing": null}}'),
	('{"source": "aws.ec2", "detail": {"missing": 1}}'),
	('{"detail.key": "img/", "detail": {"missing": []}}'),
	('{"source": "other", "detail.missing": 1}'),
	('{}'), ('[]'), ('"aws.s3"'), ('null')) AS e (event);
SELECT match_any('{"a": 1}', '[]');
SELECT match_any('{"a": 1}', '[{"a": [1]}]'), match_any('{"a": 1}', '[{"a": [2]}]');
SELECT match_any(NULL, '[]') IS NULL, match_any('{}', NULL) IS NULL;

-- stored sets: in line, compressed, out of line, and as text and back
CREATE TEMP TABLE stored (name text, patterns event_pattern_set);
INSERT INTO stored
	SELECT 'small', event_pattern_set(pattern ORDER BY id) FROM rule;
INSERT INTO stored
	SELECT 'large', event_pattern_set(format('{"n": [%s], "s": ["%s"]}', i, md5(i::text))::event_pattern ORDER BY i)
	FROM generate_series(1, 3000) i;
INSERT INTO stored SELECT name || ' again', patterns::text::event_pattern_set FROM stored;
SELECT name, match_any(jsonb_build_object('n', n, 's', md5(n::text), 'source', 'aws.ec2'), patterns)
FROM stored, unnest('{7,1234,2999,5000}'::integer[]) n ORDER BY name, n;
SELECT a.name, a.patterns::text = b.patterns::text AS same
FROM stored a JOIN stored b ON b.name = a.name || ' again' ORDER BY a.name;

-- binary form: the same text
SELECT encode(event_pattern_set_send('[{"a": [1]}]'), 'escape');

-- binary input is checked as text is
CREATE TEMP TABLE received (patterns event_pattern_set);
\set file `mktemp /tmp/eventbridge_recv.XXXXXX`
\setenv EB_FILE :file
\set load '\\copy received FROM ' :'file' ' (FORMAT binary)'
\! printf 'PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0\0\0\1\0\0\0\14\1[{"a":[1]}]\377\377' > $EB_FILE
:load
\! printf 'PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0\0\0\1\0\0\0\14\2[{"a":[1]}]\377\377' > $EB_FILE
:load
\! rm $EB_FILE
SELECT * FROM received;

-- one call site, a different set in each row
SELECT id, match_any('{"source": "aws.s3", "detail": {"key": "a.png"}}', patterns)
FROM (SELECT i AS id, (SELECT event_pattern_set(pattern ORDER BY id) FROM rule WHERE id <= i) AS patterns
	  FROM generate_series(1, 6) i) sets;

-- arrays: the elements of one array have to agree
SELECT match_any(event, '[{"p": {"f": ["Anna"], "l": ["Jones"]}}, {"p": {"f": ["Anna"], "l": ["Smith"]}},
	{"p": {"f": ["Jo"], "m": [{"exists": false}]}}, {"p": {"f": ["Anna"]}, "q": ["x"]}]')
FROM (VALUES ('{"p": [{"f": "Anna", "l": "Smith", "m": 1}, {"f": "Jo", "l": "Jones"}], "q": ["x", "y"]}'::jsonb),
	('{"p": {"f": "Anna", "l": "Jones"}}'), ('{"p.f": "Anna", "p": {"l": "Jones"}}')) AS e (event);

-- one predicate finds one pattern, and is asked for another
SELECT match_any('{"a": "x", "b": "y"}', '[{"a": ["x"]}, {"a": ["x"], "b": ["y"]}, {"a": ["x"], "b": ["z"]}, {"a": ["w"], "b": ["y"]}]');

-- more fields than are looked at before the matcher decides; each of them counts
CREATE TEMP TABLE wide AS
	SELECT event_pattern_set(pattern ORDER BY i) AS patterns
	FROM (SELECT i, jsonb_object_agg('f' || k, jsonb_build_array('v' || k % i))::event_pattern AS pattern
		  FROM generate_series(1, 4) i, generate_series(1, 20) k GROUP BY i) p;
SELECT match_any(event, patterns), count(*)
FROM wide, generate_series(0, 20) wrong,
	LATERAL (SELECT jsonb_object_agg('f' || k, CASE WHEN k = wrong THEN 'none' ELSE 'v' || k % 3 END) AS event FROM generate_series(1, 20) k) e
GROUP BY 1 ORDER BY 1;

-- many ranges, and numbers at their bounds and close to them
CREATE TEMP TABLE bound (n numeric);
INSERT INTO bound SELECT unnest('{0, 1, -1, 1.5, 0.1, 1e-7, 12345678.9, 99999999.9999, 10000, -10000, 1e15, 123456789012345, 0.000123456789012,
	1e30, -1e30, 1e280, 1e300, -1e300, 1e-300, -1e-280}'::numeric[]);
CREATE TEMP TABLE ranges AS
	SELECT row_number() OVER (ORDER BY condition) AS id, format('{"n": [{"numeric": [%s]}]}', condition)::event_pattern AS pattern
	FROM (SELECT format('"%s", %s', op, n) AS condition FROM bound, unnest('{<,<=,=,>=,>}'::text[]) op
		  UNION ALL
		  SELECT format('"%s", %s, "%s", %s', low, a.n, high, b.n) FROM bound a JOIN bound b ON a.n < b.n, unnest('{>=,>}'::text[]) low, unnest('{<=,<}'::text[]) high) c;
WITH set AS MATERIALIZED (SELECT event_pattern_set(pattern ORDER BY id) AS patterns FROM ranges),
	number AS (SELECT DISTINCT n * factor AS n FROM bound, unnest('{1, -1, 1.0000000000001, 0.9999999999999, 2}'::numeric[]) factor),
	event AS MATERIALIZED (SELECT jsonb_build_object('n', n) AS event FROM number)
SELECT count(*) AS numbers, count(*) FILTER (WHERE found IS DISTINCT FROM wanted) AS wrong, sum(cardinality(wanted)) AS matches
FROM (SELECT match_any(event, patterns) AS found, ARRAY(SELECT id::integer FROM ranges WHERE matches(event, pattern) ORDER BY id) AS wanted FROM event, set) compared;
