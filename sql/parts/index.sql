-- Indexes: the operator class event_ops.

CREATE FUNCTION event_ops_extract_value(jsonb, internal) RETURNS internal
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION event_ops_extract_query(event_pattern, internal, smallint, internal, internal, internal, internal) RETURNS internal
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION event_ops_consistent(internal, smallint, event_pattern, integer, internal, internal, internal, internal) RETURNS boolean
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION event_ops_compare_partial(bigint, bigint, smallint, internal) RETURNS integer
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION event_ops_tri_consistent(internal, smallint, event_pattern, integer, internal, internal, internal) RETURNS "char"
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION event_ops_options(internal) RETURNS void
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION event_ops_extract_value(jsonb, internal) IS 'GIN support for event_ops.';
COMMENT ON FUNCTION event_ops_extract_query(event_pattern, internal, smallint, internal, internal, internal, internal) IS 'GIN support for event_ops.';
COMMENT ON FUNCTION event_ops_consistent(internal, smallint, event_pattern, integer, internal, internal, internal, internal) IS 'GIN support for event_ops.';
COMMENT ON FUNCTION event_ops_compare_partial(bigint, bigint, smallint, internal) IS 'GIN support for event_ops.';
COMMENT ON FUNCTION event_ops_tri_consistent(internal, smallint, event_pattern, integer, internal, internal, internal) IS 'GIN support for event_ops.';
COMMENT ON FUNCTION event_ops_options(internal) IS 'GIN support for event_ops: its options.';

CREATE OPERATOR CLASS event_ops FOR TYPE jsonb USING gin AS
	OPERATOR 1 @~ (jsonb, event_pattern),
	FUNCTION 1 pg_catalog.btint8cmp(bigint, bigint),
	FUNCTION 2 event_ops_extract_value(jsonb, internal),
	FUNCTION 3 event_ops_extract_query(event_pattern, internal, smallint, internal, internal, internal, internal),
	FUNCTION 4 event_ops_consistent(internal, smallint, event_pattern, integer, internal, internal, internal, internal),
	FUNCTION 5 event_ops_compare_partial(bigint, bigint, smallint, internal),
	FUNCTION 6 event_ops_tri_consistent(internal, smallint, event_pattern, integer, internal, internal, internal),
	FUNCTION 7 (jsonb) event_ops_options(internal),
	STORAGE bigint;
COMMENT ON OPERATOR CLASS event_ops USING gin IS
'Stored events by event pattern: CREATE INDEX ON events USING gin (event eventbridge.event_ops) answers event @~ pattern. Option prefixes (boolean, default off): also keep the beginnings of strings, for prefix and wildcard.';

-- The operator class event_pattern_ops: stored patterns by event.

CREATE FUNCTION event_pattern_ops_extract_value(event_pattern, internal) RETURNS internal
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION event_pattern_ops_extract_query(jsonb, internal, smallint, internal, internal, internal, internal) RETURNS internal
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION event_pattern_ops_consistent(internal, smallint, jsonb, integer, internal, internal, internal, internal) RETURNS boolean
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION event_pattern_ops_tri_consistent(internal, smallint, jsonb, integer, internal, internal, internal) RETURNS "char"
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION event_pattern_ops_extract_value(event_pattern, internal) IS 'GIN support for event_pattern_ops.';
COMMENT ON FUNCTION event_pattern_ops_extract_query(jsonb, internal, smallint, internal, internal, internal, internal) IS 'GIN support for event_pattern_ops.';
COMMENT ON FUNCTION event_pattern_ops_consistent(internal, smallint, jsonb, integer, internal, internal, internal, internal) IS 'GIN support for event_pattern_ops.';
COMMENT ON FUNCTION event_pattern_ops_tri_consistent(internal, smallint, jsonb, integer, internal, internal, internal) IS 'GIN support for event_pattern_ops.';

CREATE OPERATOR CLASS event_pattern_ops DEFAULT FOR TYPE event_pattern USING gin AS
	OPERATOR 1 ~@ (event_pattern, jsonb),
	FUNCTION 1 pg_catalog.btint8cmp(bigint, bigint),
	FUNCTION 2 event_pattern_ops_extract_value(event_pattern, internal),
	FUNCTION 3 event_pattern_ops_extract_query(jsonb, internal, smallint, internal, internal, internal, internal),
	FUNCTION 4 event_pattern_ops_consistent(internal, smallint, jsonb, integer, internal, internal, internal, internal),
	FUNCTION 6 event_pattern_ops_tri_consistent(internal, smallint, jsonb, integer, internal, internal, internal),
	STORAGE bigint;
COMMENT ON OPERATOR CLASS event_pattern_ops USING gin IS
'Stored event patterns by event: CREATE INDEX ON subscriptions USING gin (filter) answers filter ~@ event, with no warm-up.';
