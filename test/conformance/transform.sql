-- The input transformations that were recorded against AWS, judged by
-- check_target_input, json_input_path and json_transform_input.
--
-- A case has an event; input, input_path, or input_template with
-- input_paths_map, or none of them (the whole event); vars, the values of
-- predefined variables; and what AWS did, by expect_kind:
--   text         delivers exactly the text in expect
--   json         delivers a JSON value equal to expect, but for the paths
--                (joined with dots) in expect_ignore
--   no_delivery  delivers nothing: here an error of class 22
--   error        PutTargets refuses with expect_error
\ir load.psql

-- What our functions make of a case: the payload, or an error with a class.
CREATE FUNCTION pg_temp.run_case(c json, OUT payload text, OUT state text, OUT message text)
LANGUAGE plpgsql AS $$
DECLARE
	target jsonb;
BEGIN
	-- PutTargets
	target := jsonb_strip_nulls(jsonb_build_object(
		'Id', '<target-id>',
		'Input', c -> 'input',
		'InputPath', c -> 'input_path',
		'InputTransformer',
			CASE WHEN c -> 'input_template' IS NOT NULL
				 THEN jsonb_build_object('InputPathsMap', c -> 'input_paths_map',
										 'InputTemplate', c -> 'input_template') END));
	SELECT 'refused', t.message INTO state, message
	  FROM eventbridge.check_target_input(target) t LIMIT 1;
	IF FOUND THEN
		RETURN;
	END IF;

	-- Delivery
	IF c ->> 'input' IS NOT NULL THEN
		payload := c ->> 'input';
	ELSIF c ->> 'input_path' IS NOT NULL THEN
		payload := eventbridge.json_input_path(c -> 'event', c ->> 'input_path');
	ELSIF c ->> 'input_template' IS NOT NULL THEN
		payload := eventbridge.json_transform_input(c -> 'event',
			(c -> 'input_paths_map')::jsonb, c ->> 'input_template', (c -> 'vars')::jsonb);
	ELSE
		payload := eventbridge.json_input_path(c -> 'event', '$');
	END IF;
	state := 'delivered';
EXCEPTION WHEN OTHERS THEN
	state := SQLSTATE;
	message := SQLERRM;
END $$;

-- JSON equality but for the ignored paths.
CREATE FUNCTION pg_temp.same_json(got text, wanted json, ignored json) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
	a jsonb := got;
	b jsonb := wanted;
	path text[];
BEGIN
	FOR path IN SELECT string_to_array(p, '.') FROM json_array_elements_text(ignored) p LOOP
		a := a #- path;
		b := b #- path;
	END LOOP;
	RETURN a = b;
END $$;

CREATE TEMP TABLE results AS
SELECT number, c ->> 'name' AS name, r.*,
	   CASE c ->> 'expect_kind'
		   WHEN 'text' THEN r.state = 'delivered' AND r.payload = c ->> 'expect'
		   WHEN 'json' THEN r.state = 'delivered' AND
			   pg_temp.same_json(r.payload, c -> 'expect', COALESCE(c -> 'expect_ignore', '[]'))
		   WHEN 'no_delivery' THEN r.state LIKE '22%'
		   WHEN 'error' THEN r.state = 'refused' AND r.message = c ->> 'expect_error'
	   END AS passed
  FROM cases, pg_temp.run_case(c) r;

SELECT format(E'line %s, %s: %s', number, name, concat_ws(' ', state, payload, message))
  FROM results WHERE passed IS NOT TRUE ORDER BY number;

SELECT format('%s - transform: %s of %s cases',
			  CASE WHEN bool_and(passed IS TRUE) THEN 'ok' ELSE 'not ok' END,
			  count(*) FILTER (WHERE passed), count(*))
  FROM results;
