-- What is large is answered or refused by name; nothing crashes.
SET search_path = eventbridge, public;
\set VERBOSITY terse

-- nesting: 500 levels
SELECT matches((repeat('{"a":', 400) || '1' || repeat('}', 400))::jsonb,
               (repeat('{"a":', 400) || '[1]' || repeat('}', 400))::event_pattern) AS nested_400;
SELECT length((repeat('{"a":', 499) || '[1]' || repeat('}', 499))::event_pattern::text) > 0 AS nested_500;
SELECT (repeat('{"a":', 501) || '[1]' || repeat('}', 501))::event_pattern;
SELECT ('{"a' || repeat('.a', 500) || '":[1]}')::event_pattern;
SELECT (repeat('[', 100000))::event_pattern;

-- deep and long events
SELECT matches(jsonb_build_object('a', (repeat('[', 2000) || '7' || repeat(']', 2000))::jsonb), '{"a":[7]}') AS deep_array;
SELECT matches(jsonb_build_object('a', jsonb_agg(i)), '{"a":[10000]}') AS in_10000,
       matches(jsonb_build_object('a', jsonb_agg(i)), '{"a":[{"anything-but":0}]}') AS but,
       matches(jsonb_build_object('a', jsonb_agg(i)), '{"a":[{"exists":false}]}') AS absent
FROM generate_series(1, 10000) i;
SELECT matches(jsonb_build_object('p', jsonb_agg(jsonb_build_object('x', i, 'y', 10000 - i))), '{"p":{"x":[9000],"y":[1000]}}') AS same_element,
       matches(jsonb_build_object('p', jsonb_agg(jsonb_build_object('x', i, 'y', 10000 - i))), '{"p":{"x":[9000],"y":[1001]}}') AS other_element
FROM generate_series(1, 10000) i;

-- $or: 1000 combinations
CREATE FUNCTION pg_temp.or_of(n int) RETURNS text LANGUAGE sql AS
$$ SELECT '"$or":[' || string_agg(format('{"f%s":["%s"]}', i, i), ',') || ']' FROM generate_series(1, n) i $$;
SELECT matches('{"f1000":"1000"}', ('{' || pg_temp.or_of(1000) || '}')::event_pattern) AS last_of_1000,
       matches('{"f1000":"999"}', ('{' || pg_temp.or_of(1000) || '}')::event_pattern) AS none_of_1000;
SELECT ('{' || pg_temp.or_of(1001) || '}')::event_pattern;
SELECT matches('{"f1":"1","a":{"f25":"25","b":{"f2":"2"}}}',
       ('{' || pg_temp.or_of(10) || ',"a":{' || pg_temp.or_of(25) || ',"b":{' || pg_temp.or_of(4) || '}}}')::event_pattern) AS product_1000;
SELECT ('{' || pg_temp.or_of(10) || ',"a":{' || pg_temp.or_of(26) || ',"b":{' || pg_temp.or_of(4) || '}}}')::event_pattern;

-- many fields and many values
SELECT matches(e, p::event_pattern) AS wide
FROM (SELECT jsonb_object_agg('k' || i, i) AS e, jsonb_object_agg('k' || i, jsonb_build_array(i)) AS p FROM generate_series(1, 1000) i) s;
SELECT matches(jsonb_build_object('a', 'v5000'), jsonb_build_object('a', jsonb_agg('v' || i))::event_pattern) AS many_values
FROM generate_series(1, 10000) i;

-- wildcards are linear in the text, whatever they are
SELECT matches(jsonb_build_object('a', repeat('a', 100000) || 'c'), '{"a":[{"wildcard":"*aab*aab*aab*"}]}') AS wildcard;
-- a wildcard of ten places is taken, of eleven refused
SELECT count(*) FROM (SELECT '{"a":[{"wildcard":"*aaaaaaaaa"}]}'::event_pattern) s;
SELECT '{"a":[{"wildcard":"*aaaaaaaaaa"}]}'::event_pattern;

-- names that spell paths in more than one way
CREATE FUNCTION pg_temp.spelled(n int, v int) RETURNS jsonb LANGUAGE sql AS
$$ SELECT jsonb_object_agg('a.f' || i, i + v) || jsonb_build_object('a', jsonb_build_array(jsonb_object_agg('f' || i, i + 1))) FROM generate_series(1, n) i $$;
SELECT matches(pg_temp.spelled(10, 0), p) AS all_dotted, matches(pg_temp.spelled(10, 2), p) AS none
FROM (SELECT jsonb_build_object('a', jsonb_object_agg('f' || i, jsonb_build_array(i)))::event_pattern AS p FROM generate_series(1, 10) i) s;
\set VERBOSITY default
SELECT matches(pg_temp.spelled(20, 2), p)
FROM (SELECT jsonb_build_object('a', jsonb_object_agg('f' || i, jsonb_build_array(i)))::event_pattern AS p FROM generate_series(1, 20) i) s;
