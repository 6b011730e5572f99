-- backtest: what a pattern would have matched.
SET search_path = eventbridge, public;
SET timezone = 'UTC';
CREATE TABLE public."Stored ""Events""" (id integer, "the event" jsonb);
INSERT INTO "Stored ""Events"""
	SELECT i, jsonb_build_object('id', i, 'source', 'app.' || i % 3, 'time', '2024-03-0' || 1 + i % 2 || 'T0' || i % 4 || ':15:00' || CASE WHEN i % 8 = 0 THEN '+02:00' ELSE 'Z' END)
	FROM generate_series(1, 24) i;
INSERT INTO "Stored ""Events""" VALUES (100, '{"source": "app.1", "id": 100}'), (101, '{"source": "app.1", "id": 101, "time": "2024-02-30T00:00:00Z"}'),
	(102, '{"source": "app.2", "id": 102, "time": ["odd"]}'), (103, NULL), (104, '[]'), (105, '{"source": "app.1", "id": 105, "time": "2024-03-01T07:00:00.123Z"}');
SELECT hour, matched, only_pattern, only_other, jsonb_path_query_array(samples, '$[*].id') AS samples, only_pattern_samples, only_other_samples
FROM backtest('{"source": ["app.1"]}', '"Stored ""Events"""', 'the event');
SELECT hour, matched, only_pattern, only_other, jsonb_path_query_array(samples, '$[*].id') AS samples,
	jsonb_path_query_array(only_pattern_samples, '$[*].id') AS only_pattern_samples, jsonb_path_query_array(only_other_samples, '$[*].id') AS only_other_samples
FROM backtest('{"source": ["app.1", "app.0"]}', '"Stored ""Events"""', 'the event', '{"source": ["app.2", "app.1"]}', 1);
SELECT sum(matched) AS matched, sum(only_pattern) AS only_pattern, sum(only_other) AS only_other, sum(jsonb_array_length(samples)) AS samples
FROM backtest('{"source": ["app.1"]}', '"Stored ""Events"""', 'the event', '{"source": ["app.1"]}', 0);
SELECT sum(matched) FROM backtest_query('{"source": ["app.1"]}', 'SELECT "the event" FROM public."Stored ""Events""" WHERE id > 20');
SELECT count(*) FROM backtest('{"source": ["nowhere"]}', '"Stored ""Events"""', 'the event');
-- an index is used
CREATE INDEX ON "Stored ""Events""" USING gin ("the event" event_ops);
SET enable_seqscan = off;
SELECT sum(matched) FROM backtest('{"source": ["app.1"]}', '"Stored ""Events"""', 'the event', '{"source": ["app.2"]}');
RESET enable_seqscan;
-- errors
\set SHOW_CONTEXT never
SELECT * FROM backtest('{"source": ["app.1"]}', '"Stored ""Events"""');
SELECT * FROM backtest('{"source": ["app.1"]}', '"Stored ""Events"""', 'the event', NULL, -1);
\set VERBOSITY terse
SELECT * FROM backtest('{"source": ["app.1"]}', '"Stored ""Events"""', 'the event" FROM nowhere; --');
SELECT * FROM backtest('{"source": ["app.1"]}', '"Stored ""Events"""', 'id');
SELECT * FROM backtest('{"source": ["app.1"]}', NULL);
SELECT * FROM backtest(NULL, '"Stored ""Events"""', 'the event');
SELECT * FROM backtest_query('{"source": ["app.1"]}', 'SELECT 1, 2');
SELECT * FROM backtest_query('{"source": ["app.1"]}', 'SELECT 1; DROP TABLE nowhere');
SELECT * FROM backtest_query('{"source": ["app.1"]}', NULL);
-- the caller's privileges
CREATE ROLE backtest_nobody;
GRANT USAGE ON SCHEMA eventbridge TO backtest_nobody;
SET ROLE backtest_nobody;
SELECT * FROM backtest('{"source": ["app.1"]}', '"Stored ""Events"""', 'the event');
RESET ROLE;
REVOKE USAGE ON SCHEMA eventbridge FROM backtest_nobody;
DROP ROLE backtest_nobody;
DROP TABLE "Stored ""Events""";
