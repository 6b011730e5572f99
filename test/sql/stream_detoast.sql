-- Values stored out of line are fetched only if a view type or a filter needs them.
SET search_path = public, eventbridge;
\set SHOW_CONTEXT never
\t on
\pset format unaligned
CREATE TABLE stream_detoast_t (id int PRIMARY KEY, k text, big text);
ALTER TABLE stream_detoast_t ALTER big SET STORAGE EXTERNAL;
-- how often a statement, with its triggers, has looked into the table of such values
CREATE FUNCTION pg_temp.looks(statement text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	index constant oid := (SELECT i.indexrelid FROM pg_class AS c JOIN pg_index AS i ON i.indrelid = c.reltoastrelid WHERE c.oid = 'public.stream_detoast_t'::regclass);
	before constant bigint := pg_stat_get_xact_numscans(index);
BEGIN
	EXECUTE statement;
	RETURN pg_stat_get_xact_numscans(index) - before;
END $$;
CREATE FUNCTION pg_temp.all_looks(OUT inserted bigint, OUT updated bigint, OUT deleted bigint) LANGUAGE plpgsql AS $$
BEGIN
	inserted := pg_temp.looks($s$INSERT INTO public.stream_detoast_t SELECT n, 'a', repeat('x', 100000) FROM generate_series(1, 10) AS n$s$);
	updated := pg_temp.looks($s$UPDATE public.stream_detoast_t SET k = 'b'$s$);
	deleted := pg_temp.looks($s$DELETE FROM public.stream_detoast_t$s$);
END $$;
-- the server itself does when it stores a value or deletes it; what comes on top is what was fetched
SELECT inserted AS i, updated AS u, deleted AS d FROM pg_temp.all_looks() \gset
CREATE FUNCTION pg_temp.try(i bigint, u bigint, d bigint, OUT inserted bigint, OUT updated bigint, OUT deleted bigint) LANGUAGE sql AS
	'SELECT inserted - i, updated - u, deleted - d FROM pg_temp.all_looks()';
CREATE FUNCTION pg_temp.pipe(filter text) RETURNS text LANGUAGE sql AS $$
	SELECT eventbridge.create_pipe('stream-detoast', stream_arn, 'arn:aws:sqs:us-east-1:000000000000:stream-detoast',
		jsonb_build_object('Filters', jsonb_build_array(jsonb_build_object('Pattern', filter)))) FROM eventbridge.streams
$$;
SELECT create_queue('stream-detoast');
-- streams whose records do not show the column, or not always
SELECT enable_stream('stream_detoast_t', 'KEYS_ONLY', '1 day', changed => true) IS NOT NULL;
SELECT * FROM pg_temp.try(:i, :u, :d);
SELECT disable_stream('stream_detoast_t'), enable_stream('stream_detoast_t', 'OLD_IMAGE', '1 day') IS NOT NULL;
SELECT * FROM pg_temp.try(:i, :u, :d);
-- one that does, and what its pipes want
SELECT disable_stream('stream_detoast_t'), enable_stream('stream_detoast_t', 'NEW_IMAGE') IS NOT NULL;
SELECT * FROM pg_temp.try(:i, :u, :d);
SELECT pg_temp.pipe('{"dynamodb": {"NewImage": {"k": {"S": ["c"]}}}}') IS NOT NULL;
SELECT * FROM pg_temp.try(:i, :u, :d);
SELECT delete_pipe('stream-detoast'), pg_temp.pipe('{"eventName": ["REMOVE"]}') IS NOT NULL;
SELECT * FROM pg_temp.try(:i, :u, :d);
SELECT delete_pipe('stream-detoast'), pg_temp.pipe('{"eventName": ["MODIFY"], "dynamodb": {"NewImage": {"big": {"S": [{"prefix": "y"}]}}}}') IS NOT NULL;
SELECT * FROM pg_temp.try(:i, :u, :d);
SELECT delete_pipe('stream-detoast'), pg_temp.pipe('{"dynamodb": {"NewImage": {"k": {"S": ["a"]}}}}') IS NOT NULL;
SELECT * FROM pg_temp.try(:i, :u, :d);
SELECT delete_pipe('stream-detoast'), disable_stream('stream_detoast_t');
-- a trigger that notifies
CREATE TRIGGER s AFTER INSERT OR UPDATE OR DELETE ON stream_detoast_t FOR EACH ROW
	EXECUTE FUNCTION stream('notify=c', 'view_type=KEYS_ONLY', 'filter={"dynamodb": {"Keys": {"id": {"N": ["1"]}}}}');
SELECT * FROM pg_temp.try(:i, :u, :d);
DROP TRIGGER s ON stream_detoast_t;

SELECT delete_queue('stream-detoast');
DROP TABLE stream_detoast_t;
