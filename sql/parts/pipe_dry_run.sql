
/* ---------------------------------------------------------------------
 * Trying a pipe out: pipe_dry_run, which delivers nothing.
 * --------------------------------------------------------------------- */

/* Why a record does not pass: the first condition of each filter that it fails. */
CREATE FUNCTION _filter_reasons(record jsonb, filters eventbridge.event_pattern[]) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
	SELECT string_agg((
			SELECT format('%s: %s', x.path, x.reason)
			FROM eventbridge.explain_match($1, f.filter) WITH ORDINALITY
				AS x (path, condition, found, matched, reason, n)
			WHERE NOT x.matched ORDER BY x.n LIMIT 1), '; ' ORDER BY f.n)
	FROM unnest($2) WITH ORDINALITY AS f (filter, n)
$$;
COMMENT ON FUNCTION _filter_reasons(jsonb, event_pattern[]) IS 'Internal: why a record passes none of the filters.';

CREATE FUNCTION pipe_dry_run(filter_criteria jsonb, records jsonb, enrichment text DEFAULT NULL,
							 enrichment_template text DEFAULT NULL, target_template text DEFAULT NULL,
							 variables jsonb DEFAULT '{}')
RETURNS TABLE (step text, n integer, passed boolean, value text, reason text)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp ROWS 20 AS $$
#variable_conflict use_column
DECLARE
	filters constant eventbridge.event_pattern[] := eventbridge._pipe_filters(filter_criteria);
	routine constant oid := eventbridge._target_routine('function',
		(SELECT a.resource FROM eventbridge._resolve_arn(enrichment) AS a WHERE a.kind = 'function'));
	record jsonb;
	batch jsonb := '[]';
	answer jsonb;
BEGIN
	IF jsonb_typeof(records) IS DISTINCT FROM 'array' THEN
		PERFORM eventbridge._raise('ValidationException', 'records must be a JSON array');
	END IF;
	IF enrichment IS NOT NULL AND routine IS NULL THEN
		PERFORM eventbridge._raise('ValidationException', 'Invalid pipe enrichment.',
			'Give the ARN of a function with one argument of type jsonb.');
	END IF;
	step := 'FILTER';
	FOR record, n IN SELECT * FROM jsonb_array_elements(records) WITH ORDINALITY LOOP
		passed := filters IS NULL OR EXISTS (SELECT FROM unnest(filters) AS f (filter)
			WHERE eventbridge.matches(record, f.filter));
		value := record;
		reason := CASE WHEN NOT passed THEN eventbridge._filter_reasons(record, filters) END;
		RETURN NEXT;
		IF passed THEN
			batch := batch || jsonb_build_array(record);
		END IF;
	END LOOP;
	reason := NULL;
	passed := true;
	IF batch = '[]' THEN
		RETURN;
	END IF;
	IF routine IS NOT NULL THEN
		IF enrichment_template IS NOT NULL THEN
			SELECT jsonb_agg(eventbridge.transform_pipe_input(e.record, enrichment_template, variables)::jsonb
				ORDER BY e.o) INTO batch
			FROM jsonb_array_elements(batch) WITH ORDINALITY AS e (record, o);
		END IF;
		/* It finds what it would find in a worker. */
		PERFORM set_config('search_path',
			(SELECT s.reset_val FROM pg_settings AS s WHERE s.name = 'search_path'), true);
		EXECUTE format('SELECT %s($1)', routine::regproc) INTO answer USING batch;
		PERFORM set_config('search_path', 'pg_catalog, pg_temp', true);
		batch := CASE WHEN answer IS NULL OR answer IN ('null', '""', '{}') THEN '[]'
			WHEN jsonb_typeof(answer) = 'array' THEN answer
			ELSE jsonb_build_array(answer) END;
		step := 'ENRICHMENT';
		FOR n, value IN
			SELECT e.o, e.record::text FROM jsonb_array_elements(batch) WITH ORDINALITY AS e (record, o)
		LOOP
			RETURN NEXT;
		END LOOP;
	END IF;
	step := 'TARGET';
	FOR n, record IN SELECT e.o, e.record FROM jsonb_array_elements(batch) WITH ORDINALITY AS e (record, o) LOOP
		value := coalesce(eventbridge.transform_pipe_input(record, target_template, variables), record::text);
		RETURN NEXT;
	END LOOP;
END $$;
COMMENT ON FUNCTION pipe_dry_run(jsonb, jsonb, text, text, text, jsonb) IS
'What a pipe would do with records, given as a JSON array: which of them pass the FilterCriteria, and why others do not; what the enrichment, called as the caller, answers; what the target would receive. Delivers nothing, but what the enrichment does is done. With the records that a stream keeps: (SELECT jsonb_agg(r.record) FROM eventbridge.get_records(...) AS r).';
