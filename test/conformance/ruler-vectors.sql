-- Cases on which two independent implementations agree, judged by matches().
\i load.psql

-- Lines on which AWS's service, or this extension by a decision of its own, differs.
CREATE TEMP TABLE differences (id text PRIMARY KEY, reason text NOT NULL);
\copy differences FROM 'ruler-differences.tsv'

CREATE TEMP TABLE results AS
SELECT number, c->>'id' AS id, c->>'kind' AS kind, c->>'expect' AS expect, t.answer, t.message,
       t.answer = c->>'expect' AS passed, d.reason
FROM cases
     LEFT JOIN differences d ON d.id = c->>'id',
     pg_temp.try($$SELECT CASE WHEN matches($1[2]::jsonb, $1[1]::event_pattern) THEN 'match' ELSE 'no-match' END$$,
                 c->>'pattern', c->>'event') t;

SELECT format(E'line %s, %s (%s): expected %s, but got %s %s',
              number, id, kind, expect, answer, message)
FROM results WHERE passed IS NOT TRUE AND reason IS NULL ORDER BY number;

SELECT format('line %s, %s (%s): listed as different, but is %s as expected', number, id, kind, answer)
FROM results WHERE passed AND reason IS NOT NULL ORDER BY number;

SELECT format('%s - ruler-vectors: %s of %s cases, %s listed as different',
              CASE WHEN bool_and((passed IS TRUE) = (reason IS NULL)) THEN 'ok' ELSE 'not ok' END,
              count(*) FILTER (WHERE passed), count(*), count(reason))
FROM results;
