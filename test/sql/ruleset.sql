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
