-- What a function gets of an event is what type jsonb makes of its text.
SET search_path = eventbridge, public;
CREATE TABLE public.got (e jsonb);
CREATE TABLE public.written (n int GENERATED ALWAYS AS IDENTITY, detail text);
CREATE FUNCTION public.get_event(e jsonb) RETURNS void LANGUAGE sql AS 'INSERT INTO public.got VALUES (e)';
SELECT put_rule('json', '{"source": ["json"]}') IS NOT NULL;
SELECT put_targets('json', '[{"Id": "f", "Arn": "arn:aws:lambda:us-east-1:000000000000:function:public.get_event"}]');

INSERT INTO public.written (detail) VALUES
	('{}'),
	('{"a":[]}'),
	(' { "a" : [ 1 , { "b" : { } } , [ ] , [ [ null ] ] ] , "c" : true , "d" : false } '),
	(E'{\n\t"a"\r:\n1}'),
	('{"b":1,"a":2,"b":3,"aa":4,"":5}'),
	('{"a":{"x":1},"a":{"y":2}}'),
	('{"n":[0,-0,7,-7,100,123456789012345678,-123456789012345678,1234567890123456789,999999999999999999999999999999]}'),
	('{"n":[0.0,-0.0,1.10,0.000001,1e0,1E2,1e+3,12e-5,-1.5e10,1.23456789012345678901234567890]}'),
	('{"n":[' || repeat('9', 64) || ',' || repeat('9', 65) || ',0.' || repeat('3', 100) || ']}'),
	('{"s":["","a","\"","\\","\/","\b\f\n\r\t","a\"b\\c/d","\\\\","x\\"]}'),
	('{"s":["\u0041","\u00e9","\ud83d\ude00","a\nb\u0041"]}'),
	('{"a\"b":1,"a\\b":2,"a\/b":3,"a/b":4,"\u0061":5,"a":6}'),
	('{"s":"' || repeat('long ', 1000) || '"}'),
	('{"a":' || repeat('[', 200) || '1' || repeat(']', 200) || '}'),
	('{"a":' || repeat('{"b":', 200) || 'null' || repeat('}', 200) || '}'),
	('{"t":"true","f":"false","n":"null","d":"12","o":"{}","l":"[1,2]"}');
SELECT count(put_event('json', n::text, detail)) FROM public.written;
-- what is not JSON fails as it does for type jsonb
CREATE FUNCTION pg_temp.error_of(statement text, argument text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE statement USING argument;
	RETURN NULL;
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE || ': ' || SQLERRM;
END $$;
SELECT count(*) FILTER (WHERE theirs IS NOT NULL) AS refused, count(*) FILTER (WHERE ours IS DISTINCT FROM theirs) AS different
FROM unnest(ARRAY['', '{', '{"a"}', '{"a":}', '{"a":1', '{"a":1,}', '{"a":01}', '{"a":1.}', '{"a":.5}', '{"a":+1}', '{"a":-}', '{"a":1e}',
	'{"a":tru}', '{"a":truex}', '{"a":"\x"}', '{"a":"\"}', '{"a":"b}', E'{"a":"\x01"}', E'{"a":"x\n"}', '{"a":1}}', '{"a":1} {}', '{"a":[1}',
	'{"a":[1,]}', '{a:1}', '{"a" 1}', '{"a":1 "b":2}', '{"a":"\u12"}', '{"a":"\u0000"}', '{"a":1e999999}', '{"a":1}]', '{,}', '[,]']) AS detail,
	LATERAL (SELECT '[{"Source":"json","DetailType":"bad","Detail":' || detail || '}]' AS request) AS r,
	LATERAL (SELECT pg_temp.error_of('SELECT eventbridge.put_events($1)', request) AS ours, pg_temp.error_of('SELECT $1::jsonb', request) AS theirs) AS e;
SELECT count(*) FILTER (WHERE theirs IS NOT NULL) AS refused, count(*) FILTER (WHERE ours IS DISTINCT FROM theirs) AS different
FROM unnest(ARRAY['', ' ', '[', '[{', '[{]', '[{"Source"', '[] x', 'x', '"', '-']) AS request,
	LATERAL (SELECT pg_temp.error_of('SELECT eventbridge.put_events($1)', request) AS ours, pg_temp.error_of('SELECT $1::jsonb', request) AS theirs) AS e;

CALL run_deliveries();
SELECT w.n, w.detail FROM public.written AS w LEFT JOIN public.got AS g ON g.e ->> 'detail-type' = w.n::text
WHERE (g.e -> 'detail')::text IS DISTINCT FROM w.detail::jsonb::text;
SELECT count(*) FROM public.got;

/* Generated ones. */
TRUNCATE public.got, public.written;
CREATE FUNCTION public.some_json(seed int, depth int) RETURNS text LANGUAGE sql AS $$
	SELECT CASE (hashint4(seed) & 1023) % CASE WHEN depth > 3 THEN 6 ELSE 9 END
		WHEN 0 THEN (hashint4(seed + 1))::text
		WHEN 1 THEN (hashint4(seed + 2) / 1000.0)::numeric(12, 3)::text || (ARRAY['', 'e3', 'E-2'])[1 + (hashint4(seed + 3) & 1023) % 3]
		WHEN 2 THEN (ARRAY['true', 'false', 'null'])[1 + (hashint4(seed + 4) & 1023) % 3]
		WHEN 3 THEN to_json(left(md5(seed::text), (hashint4(seed + 5) & 31)))::text
		WHEN 4 THEN to_json(E'q"\\/\t\n' || chr(33 + (hashint4(seed + 6) & 63)))::text
		WHEN 5 THEN '"\u00' || to_hex(32 + (hashint4(seed + 7) & 63)) || '"'
		WHEN 6 THEN (SELECT '[' || coalesce(string_agg(public.some_json(seed * 7 + i, depth + 1), ' , '), '') || ']'
					 FROM generate_series(1, hashint4(seed + 8) & 3) AS i)
		ELSE (SELECT '{' || coalesce(string_agg(to_json(chr(97 + (hashint4(seed + i) & 3)))::text || ': ' || public.some_json(seed * 5 + i, depth + 1), ','), '') || '}'
			  FROM generate_series(1, hashint4(seed + 9) & 7) AS i)
	END
$$;
INSERT INTO public.written (detail) SELECT '{"v":' || public.some_json(i, 0) || '}' FROM generate_series(1, 500) AS i;
SELECT count(put_event('json', n::text, detail)) FROM public.written;
CALL run_deliveries();
SELECT w.n, w.detail FROM public.written AS w LEFT JOIN public.got AS g ON g.e ->> 'detail-type' = w.n::text
WHERE (g.e -> 'detail')::text IS DISTINCT FROM w.detail::jsonb::text;
SELECT count(*) FROM public.got;

DO $$BEGIN PERFORM remove_targets('json', ARRAY['f']), delete_rule('json'); END$$;
DROP TABLE public.got, public.written;
DROP FUNCTION public.get_event(jsonb), public.some_json(int, int);
