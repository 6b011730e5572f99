-- Nothing depends on the caller's search_path, be it empty or hostile.
SET client_min_messages = warning;
CREATE SCHEMA hostile;
-- A schema in front of pg_catalog, in which what the extension might call by
-- its bare name fails.
CREATE FUNCTION hostile.fail() RETURNS text LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'the hostile schema was used'; END $$;
DO $do$
DECLARE
	signature text;
BEGIN
	FOREACH signature IN ARRAY ARRAY[
		'nextval(regclass) RETURNS bigint', 'pg_notify(text, text) RETURNS void', 'now() RETURNS timestamptz',
		'format(text, VARIADIC "any") RETURNS text',
		'to_jsonb(anyelement) RETURNS jsonb', 'jsonb_build_object(VARIADIC "any") RETURNS jsonb', 'textcat(text, text) RETURNS text',
		'texteq(text, text) RETURNS boolean', 'jsonb_eq(jsonb, jsonb) RETURNS boolean', 'jsonb_object_field(jsonb, text) RETURNS jsonb',
		'int4eq(int, int) RETURNS boolean', 'gen_random_uuid() RETURNS uuid', 'matches(jsonb, eventbridge.event_pattern) RETURNS boolean',
		'json_transform_input(json, jsonb, text, jsonb) RETURNS text', 'json_input_path(json, text) RETURNS json',
		'event_pattern_eq(eventbridge.event_pattern, eventbridge.event_pattern) RETURNS boolean']
	LOOP
		-- "any" is for C functions only
		CONTINUE WHEN signature LIKE '%"any"%';
		EXECUTE format('CREATE FUNCTION hostile.%s LANGUAGE plpgsql AS $f$ BEGIN RAISE EXCEPTION %L; END $f$',
			signature, 'the hostile schema was used');
	END LOOP;
END
$do$;
CREATE OPERATOR hostile.= (LEFTARG = text, RIGHTARG = text, FUNCTION = hostile.texteq);
CREATE OPERATOR hostile.= (LEFTARG = int, RIGHTARG = int, FUNCTION = hostile.int4eq);
CREATE OPERATOR hostile.= (LEFTARG = jsonb, RIGHTARG = jsonb, FUNCTION = hostile.jsonb_eq);
CREATE OPERATOR hostile.|| (LEFTARG = text, RIGHTARG = text, FUNCTION = hostile.textcat);
CREATE OPERATOR hostile.-> (LEFTARG = jsonb, RIGHTARG = text, FUNCTION = hostile.jsonb_object_field);
CREATE OPERATOR hostile.@~ (LEFTARG = jsonb, RIGHTARG = eventbridge.event_pattern, FUNCTION = hostile.matches);
CREATE OPERATOR hostile.= (LEFTARG = eventbridge.event_pattern, RIGHTARG = eventbridge.event_pattern, FUNCTION = hostile.event_pattern_eq);
CREATE DOMAIN hostile.text AS pg_catalog.text CHECK (hostile.fail() IS NULL);
CREATE DOMAIN hostile.jsonb AS pg_catalog.jsonb CHECK (hostile.fail() IS NULL);
CREATE DOMAIN hostile.event_pattern AS pg_catalog.text CHECK (hostile.fail() IS NULL);
CREATE TABLE public.visits (id pg_catalog.int4 PRIMARY KEY, patient pg_catalog.text, plan pg_catalog.jsonb, at timestamptz);
CREATE TRIGGER visits_stream AFTER INSERT OR UPDATE OR DELETE ON public.visits FOR EACH ROW
	EXECUTE FUNCTION eventbridge.stream('notify=visits', 'filter={"dynamodb": {"Keys": {"id": {"N": ["1", "2"]}}}}');
CREATE TRIGGER visits_template AFTER INSERT OR UPDATE OR DELETE ON public.visits FOR EACH ROW
	EXECUTE FUNCTION eventbridge.stream('notify=visits', 'input_paths_map={"id": "$.dynamodb.Keys.id.N"}', 'input_template={"id": <id>}');
CREATE TRIGGER visits_path AFTER INSERT OR UPDATE OR DELETE ON public.visits FOR EACH ROW
	EXECUTE FUNCTION eventbridge.stream('notify=visits', 'input_path=$.dynamodb.Keys');
CREATE FUNCTION public.everything() RETURNS SETOF pg_catalog.text LANGUAGE sql
BEGIN ATOMIC
	SELECT eventbridge.matches('{"a": 1}', '{"a": [1]}')::pg_catalog.text
	UNION ALL SELECT ('{"a": 1}'::pg_catalog.jsonb OPERATOR(eventbridge.@~) '{"a": [2]}')::pg_catalog.text
	UNION ALL SELECT ('{"a": [1]}'::eventbridge.event_pattern OPERATOR(eventbridge.=) '{"a": [1.0]}')::pg_catalog.text
	UNION ALL SELECT message FROM eventbridge.check_event_pattern('{"a": 1}')
	UNION ALL SELECT reason FROM eventbridge.explain_match('{"a": "x"}', '{"a": ["X"]}')
	UNION ALL SELECT eventbridge.event_pattern_from('{"source": "s"}')::pg_catalog.text
	UNION ALL SELECT eventbridge.test_event_pattern('{"a": [1]}',
		'{"id": "1", "account": "1", "source": "s", "time": "2030-01-01T00:00:00Z", "region": "r", "detail-type": "d", "resources": [], "detail": {}}')::pg_catalog.text
	UNION ALL SELECT eventbridge.input_path('{"a": [1, 2]}', '$.a[*]')::pg_catalog.text
	UNION ALL SELECT eventbridge.json_input_path('{"a": 1.0}', '$.a')::pg_catalog.text
	UNION ALL SELECT eventbridge.transform_input('{"a": 1}', '{"a": "$.a"}', '{"b": <a>}')
	UNION ALL SELECT eventbridge.json_transform_input('{"a": 1}', '{"a": "$.a"}', '"<a>"')
	UNION ALL SELECT eventbridge.transform_pipe_input('{"a": 1}', '<$.a>')
	UNION ALL SELECT message FROM eventbridge.check_input_transformer('{"a": "b"}', '"x"')
	UNION ALL SELECT message FROM eventbridge.check_target_input('{"Id": "1", "Input": "x"}')
	UNION ALL SELECT eventbridge.marshall(v)::pg_catalog.text FROM public.visits v
	UNION ALL SELECT eventbridge.unmarshall('{"id": {"N": "1"}}')::pg_catalog.text;
END;
SET search_path = hostile, pg_catalog;
-- it is hostile indeed
SELECT 'a' || 'b'::pg_catalog.text;
SELECT public.everything();
INSERT INTO public.visits VALUES (1, 'Ann', '{"x": "y"}', '2030-01-01 00:00+00'), (3, 'Bob', NULL, NULL);
UPDATE public.visits SET patient = 'Cleo';
UPDATE public.visits SET id = id + 1;
SELECT public.everything() OFFSET 15;
DELETE FROM public.visits;
SELECT eventbridge.check_stream_arguments('notify=c', 'input_path=$.a', 'filter={"a": ["x"]}');
-- and with none at all
SET search_path = '';
SELECT public.everything();
INSERT INTO public.visits VALUES (1, 'Ann', '{"x": "y"}', '2030-01-01 00:00+00'), (3, 'Bob', NULL, NULL);
DELETE FROM public.visits;
RESET search_path;
DROP TABLE public.visits CASCADE;
DROP SCHEMA hostile CASCADE;
