-- Indexes: the operator class event_ops.

CREATE FUNCTION event_ops_extract_value(jsonb, internal) RETURNS internal
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION event_ops_extract_query(jsonb, internal, smallint, internal, internal, internal, internal)
RETURNS internal
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION event_ops_consistent(internal, smallint, jsonb, integer, internal, internal, internal, internal)
RETURNS boolean
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION event_ops_compare_partial(bigint, bigint, smallint, internal) RETURNS integer
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION event_ops_tri_consistent(internal, smallint, jsonb, integer, internal, internal, internal)
RETURNS "char"
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION event_ops_options(internal) RETURNS void
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION event_ops_extract_value(jsonb, internal) IS
'GIN support for event_ops.';
COMMENT ON FUNCTION event_ops_extract_query(jsonb, internal, smallint, internal, internal, internal, internal) IS
'GIN support for event_ops.';
COMMENT ON FUNCTION event_ops_consistent(internal, smallint, jsonb, integer, internal, internal, internal, internal) IS
'GIN support for event_ops.';
COMMENT ON FUNCTION event_ops_compare_partial(bigint, bigint, smallint, internal) IS
'GIN support for event_ops.';
COMMENT ON FUNCTION event_ops_tri_consistent(internal, smallint, jsonb, integer, internal, internal, internal) IS
'GIN support for event_ops.';
COMMENT ON FUNCTION event_ops_options(internal) IS
'GIN support for event_ops: its options.';

CREATE OPERATOR CLASS event_ops FOR TYPE jsonb USING gin AS
	OPERATOR 1 @~ (jsonb, event_pattern),
	FUNCTION 1 pg_catalog.btint8cmp(bigint, bigint),
	FUNCTION 2 event_ops_extract_value(jsonb, internal),
	FUNCTION 3 event_ops_extract_query(jsonb, internal, smallint, internal, internal, internal, internal),
	FUNCTION 4 event_ops_consistent(internal, smallint, jsonb, integer, internal, internal, internal, internal),
	FUNCTION 5 event_ops_compare_partial(bigint, bigint, smallint, internal),
	FUNCTION 6 event_ops_tri_consistent(internal, smallint, jsonb, integer, internal, internal, internal),
	FUNCTION 7 (jsonb) event_ops_options(internal),
	STORAGE bigint;
COMMENT ON OPERATOR CLASS event_ops USING gin IS
'Stored events by event pattern: CREATE INDEX ON events USING gin (event eventbridge.event_ops) answers event @~ pattern. Option prefixes (boolean, default off): also keep the beginnings of strings, for prefix and wildcard.';

-- The operator class event_pattern_ops: stored patterns by event.

CREATE FUNCTION event_pattern_ops_extract_value(event_pattern, internal) RETURNS internal
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION event_pattern_ops_extract_query(event_pattern, internal, smallint, internal, internal, internal,
												internal)
RETURNS internal
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION event_pattern_ops_consistent(internal, smallint, event_pattern, integer, internal, internal, internal,
											 internal)
RETURNS boolean
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION event_pattern_ops_tri_consistent(internal, smallint, event_pattern, integer, internal, internal,
												 internal)
RETURNS "char"
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION event_pattern_ops_extract_value(event_pattern, internal) IS
'GIN support for event_pattern_ops.';
COMMENT ON FUNCTION event_pattern_ops_extract_query(event_pattern, internal, smallint, internal, internal, internal,
													internal) IS
'GIN support for event_pattern_ops.';
COMMENT ON FUNCTION event_pattern_ops_consistent(internal, smallint, event_pattern, integer, internal, internal,
												 internal, internal) IS
'GIN support for event_pattern_ops.';
COMMENT ON FUNCTION event_pattern_ops_tri_consistent(internal, smallint, event_pattern, integer, internal, internal,
													 internal) IS
'GIN support for event_pattern_ops.';

CREATE OPERATOR CLASS event_pattern_ops DEFAULT FOR TYPE event_pattern USING gin AS
	OPERATOR 1 ~@ (event_pattern, jsonb),
	FUNCTION 1 pg_catalog.btint8cmp(bigint, bigint),
	FUNCTION 2 event_pattern_ops_extract_value(event_pattern, internal),
	FUNCTION 3 event_pattern_ops_extract_query(event_pattern, internal, smallint, internal, internal, internal, internal),
	FUNCTION 4 event_pattern_ops_consistent(internal, smallint, event_pattern, integer, internal, internal, internal,
											internal),
	FUNCTION 6 event_pattern_ops_tri_consistent(internal, smallint, event_pattern, integer, internal, internal, internal),
	STORAGE bigint;
COMMENT ON OPERATOR CLASS event_pattern_ops USING gin IS
'Stored event patterns by event: CREATE INDEX ON subscriptions USING gin (filter) answers filter ~@ event, with no warm-up.';

-- Backtesting: what a pattern would have matched.

CREATE FUNCTION backtest_query(pattern event_pattern, query text, other_pattern event_pattern DEFAULT NULL,
							   sample_size integer DEFAULT 3)
	RETURNS TABLE (hour timestamptz, matched bigint, only_pattern bigint, only_other bigint,
				   samples jsonb, only_pattern_samples jsonb, only_other_samples jsonb)
	LANGUAGE plpgsql STABLE
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	event_type regtype;
BEGIN
	IF pattern IS NULL OR query IS NULL OR sample_size IS NULL OR sample_size < 0 THEN
		RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
			MESSAGE = 'pattern, events and sample size of a backtest must be given',
			DETAIL = 'The sample size is a number of events, 0 or more.';
	END IF;

	EXECUTE format('SELECT pg_typeof((SELECT e.event FROM (%s) AS e(event) LIMIT 0))', query) INTO event_type;
	IF event_type <> 'jsonb'::regtype THEN
		RAISE EXCEPTION USING ERRCODE = 'datatype_mismatch',
			MESSAGE = format('events of a backtest are of type %s, not jsonb', event_type);
	END IF;

	-- One row per event that one of the patterns matches.  The condition is
	-- one that indexes answer; which of the two it was is asked only then.
	RETURN QUERY EXECUTE format($query$
		WITH found AS MATERIALIZED (
			SELECT e.event, eventbridge.matches(e.event, $1) AS by_pattern,
				coalesce(eventbridge.matches(e.event, $2), false) AS by_other
			FROM (%s) AS e(event)
			WHERE %s
		), numbered AS (
			SELECT t.hour, f.*,
				row_number() OVER (PARTITION BY t.hour, f.by_pattern, f.by_other
								   ORDER BY f.event ->> 'time', f.event) AS n,
				row_number() OVER (PARTITION BY t.hour, f.by_pattern
								   ORDER BY f.event ->> 'time', f.event) AS n_matched
			FROM found f, LATERAL (
				SELECT date_trunc('hour', (jsonb_path_query_first_tz(
					to_jsonb(regexp_replace(regexp_replace(f.event ->> 'time', 'Z$', '+00:00'),
											'\.\d+(?=[+-])', '')),
					'$.datetime()', '{}', true) #>> '{}')::timestamptz, 'UTC') AS hour) t
		)
		SELECT n.hour,
			count(*) FILTER (WHERE n.by_pattern),
			CASE WHEN $2 IS NOT NULL THEN count(*) FILTER (WHERE n.by_pattern AND NOT n.by_other) END,
			CASE WHEN $2 IS NOT NULL THEN count(*) FILTER (WHERE n.by_other AND NOT n.by_pattern) END,
			coalesce(jsonb_agg(n.event ORDER BY n.n_matched) FILTER (WHERE n.by_pattern AND n.n_matched <= $3), '[]'),
			CASE WHEN $2 IS NOT NULL THEN coalesce(jsonb_agg(n.event ORDER BY n.n)
				FILTER (WHERE n.by_pattern AND NOT n.by_other AND n.n <= $3), '[]') END,
			CASE WHEN $2 IS NOT NULL THEN coalesce(jsonb_agg(n.event ORDER BY n.n)
				FILTER (WHERE n.by_other AND NOT n.by_pattern AND n.n <= $3), '[]') END
		FROM numbered n
		GROUP BY n.hour
		ORDER BY n.hour
		$query$, query,
		CASE WHEN other_pattern IS NULL THEN 'eventbridge.matches(e.event, $1)'
			ELSE 'eventbridge.matches(e.event, $1) OR eventbridge.matches(e.event, $2)' END)
		USING pattern, other_pattern, sample_size;
END $$;
COMMENT ON FUNCTION backtest_query(event_pattern, text, event_pattern, integer) IS
'What a pattern would have matched among the events that a query returns, which is run as the caller, names what it uses with its schema, and has events as jsonb in its first column. One row for each hour of the events'' time (UTC; NULL without a valid time): how many matched and the first of them; with a second pattern also what only one of the two matches. Errors: invalid_parameter_value, those of the query.';

CREATE FUNCTION backtest(pattern event_pattern, events regclass, event_column name DEFAULT 'event',
						 other_pattern event_pattern DEFAULT NULL, sample_size integer DEFAULT 3)
	RETURNS TABLE (hour timestamptz, matched bigint, only_pattern bigint, only_other bigint,
				   samples jsonb, only_pattern_samples jsonb, only_other_samples jsonb)
	LANGUAGE plpgsql STABLE
	SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF events IS NOT NULL AND event_column IS NOT NULL AND NOT EXISTS (
		SELECT FROM pg_attribute a
		WHERE a.attrelid = events AND a.attname = event_column AND a.attnum > 0 AND NOT a.attisdropped) THEN
		RAISE EXCEPTION USING ERRCODE = 'undefined_column',
			MESSAGE = format('column "%s" of relation %s does not exist', event_column, events),
			HINT = 'Name the column that holds the events as event_column.';
	END IF;
	RETURN QUERY SELECT * FROM eventbridge.backtest_query(pattern,
		CASE WHEN events IS NOT NULL AND event_column IS NOT NULL THEN
			format('SELECT %I FROM %s', event_column, events) END,
		other_pattern, sample_size);
END $$;
COMMENT ON FUNCTION backtest(event_pattern, regclass, name, event_pattern, integer) IS
'What a pattern would have matched among the events stored in a column of a table: see backtest_query. Uses an index on the column. Privileges and row security of the table apply to the caller. Errors: undefined_column, datatype_mismatch, invalid_parameter_value.';
