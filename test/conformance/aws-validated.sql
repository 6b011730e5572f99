-- The cases that were recorded against AWS, judged by test_event_pattern.
\i load.psql

CREATE TEMP TABLE results AS
SELECT number, c->>'name' AS name, c->>'expect' AS expect, c->>'message' AS expect_message,
       t.answer, t.message,
       t.answer = c->>'expect'
         AND (c->>'message' IS NULL OR starts_with(t.message, c->>'message')) AS passed
FROM cases,
     pg_temp.try($$SELECT CASE WHEN test_event_pattern($1[1], $1[2]) THEN 'match' ELSE 'no-match' END$$,
                 c->>'pattern', c->>'event') t;

SELECT format(E'line %s, %s: expected %s %s\n    but got %s %s',
              number, name, expect, expect_message, answer, message)
FROM results WHERE passed IS NOT TRUE ORDER BY number;

SELECT format('%s - aws-validated: %s of %s cases',
              CASE WHEN bool_and(passed IS TRUE) THEN 'ok' ELSE 'not ok' END,
              count(*) FILTER (WHERE passed), count(*))
FROM results;
