--
-- Input transformations recorded against AWS.
--
--   psql -v file=FILE -f test/conformance/transform.sql
--
-- FILE has one case a line, a JSON object: event; input, input_path, or
-- input_template with input_paths_map (none of them: the whole event); vars,
-- the values of predefined variables; and what AWS delivered:
--   expect_kind  text         exactly the text in expect
--                json         a JSON value equal to expect, but for the paths
--                             (joined with dots) in expect_ignore
--                no_delivery  nothing: here an error of class 22
--                error        PutTargets refuses with expect_error
-- Prints what differs, then a line of counts; fails if anything differs.
--
\set ON_ERROR_STOP on
\set QUIET on
\pset footer off
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS eventbridge;

CREATE TEMPORARY TABLE lines (number serial, line text);
-- \copy takes no variables, so the file comes in by way of one.
\set content `cat :'file'`
INSERT INTO lines (line)
SELECT line FROM string_to_table(:'content', E'\n') AS line WHERE line <> '';

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

CREATE TEMPORARY TABLE results AS
SELECT l.number, c ->> 'name' AS name, r.*,
	   COALESCE(CASE c ->> 'expect_kind'
		   WHEN 'text' THEN r.state = 'delivered' AND r.payload = c ->> 'expect'
		   WHEN 'json' THEN r.state = 'delivered' AND
			   pg_temp.same_json(r.payload, c -> 'expect', COALESCE(c -> 'expect_ignore', '[]'))
		   WHEN 'no_delivery' THEN r.state LIKE '22%'
		   WHEN 'error' THEN r.state = 'refused' AND r.message = c ->> 'expect_error'
	   END, false) AS passed
  FROM lines l, CAST(l.line AS json) c, pg_temp.run_case(c) r;

\pset tuples_only on
\pset format unaligned
SELECT format('line %s, %s: %s', number, name, concat_ws(' ', state, payload, message))
  FROM results WHERE NOT passed ORDER BY number;
SELECT format('%s passed, %s failed', count(*) FILTER (WHERE passed), count(*) FILTER (WHERE NOT passed))
  FROM results;

DO $$
BEGIN
	IF EXISTS (SELECT FROM results WHERE NOT passed) OR NOT EXISTS (SELECT FROM results) THEN
		RAISE EXCEPTION 'conformance of input transformation is not complete';
	END IF;
END $$;
