-- Event patterns: the type, matching, checking.

CREATE TYPE event_pattern;

CREATE FUNCTION event_pattern_in(cstring) RETURNS event_pattern
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION event_pattern_out(event_pattern) RETURNS cstring
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION event_pattern_recv(internal) RETURNS event_pattern
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION event_pattern_send(event_pattern) RETURNS bytea
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE TYPE event_pattern (
	INPUT = event_pattern_in,
	OUTPUT = event_pattern_out,
	RECEIVE = event_pattern_recv,
	SEND = event_pattern_send,
	INTERNALLENGTH = VARIABLE,
	ALIGNMENT = int4,
	STORAGE = extended
);
COMMENT ON TYPE event_pattern IS
'An AWS EventBridge event pattern, checked on input. Input: JSON text. Errors: those of AWS''s TestEventPattern ("Event pattern is not valid. Reason: ..."), with JSON path, line and column in DETAIL.';

COMMENT ON FUNCTION event_pattern_in(cstring) IS 'Input function of event_pattern.';
COMMENT ON FUNCTION event_pattern_out(event_pattern) IS 'Output function of event_pattern: the canonical text.';
COMMENT ON FUNCTION event_pattern_recv(internal) IS 'Binary input function of event_pattern: a version byte and the text.';
COMMENT ON FUNCTION event_pattern_send(event_pattern) IS 'Binary output function of event_pattern: a version byte and the canonical text.';

-- Matching

CREATE FUNCTION event_pattern_support(internal) RETURNS internal
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION event_pattern_support(internal) IS 'Planner support for matches and event_pattern_matched_by: index conditions, selectivity.';

CREATE FUNCTION matches(event jsonb, pattern event_pattern) RETURNS boolean
	AS 'MODULE_PATHNAME', 'event_pattern_matches'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 10 SUPPORT event_pattern_support;
COMMENT ON FUNCTION matches(jsonb, event_pattern) IS
'Does the event match the pattern, as AWS EventBridge defines it? An event that is not a JSON object does not. The function under the operator @~.';

CREATE FUNCTION event_pattern_matched_by(pattern event_pattern, event jsonb) RETURNS boolean
	AS 'MODULE_PATHNAME'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 10 SUPPORT event_pattern_support;
COMMENT ON FUNCTION event_pattern_matched_by(event_pattern, jsonb) IS
'Is the pattern matched by the event? The function under the operator ~@.';

CREATE FUNCTION event_pattern_sel(internal, oid, internal, integer) RETURNS double precision
	AS 'MODULE_PATHNAME' LANGUAGE C STABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION event_pattern_sel(internal, oid, internal, integer) IS 'Restriction selectivity of @~ and ~@.';

CREATE OPERATOR @~ (
	LEFTARG = jsonb, RIGHTARG = event_pattern, FUNCTION = matches,
	COMMUTATOR = '~@', RESTRICT = event_pattern_sel, JOIN = matchingjoinsel
);
COMMENT ON OPERATOR @~ (jsonb, event_pattern) IS 'event matches pattern';

CREATE OPERATOR ~@ (
	LEFTARG = event_pattern, RIGHTARG = jsonb, FUNCTION = event_pattern_matched_by,
	COMMUTATOR = '@~', RESTRICT = event_pattern_sel, JOIN = matchingjoinsel
);
COMMENT ON OPERATOR ~@ (event_pattern, jsonb) IS 'pattern is matched by event';

-- Comparison

CREATE FUNCTION event_pattern_eq(event_pattern, event_pattern) RETURNS boolean
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF;
CREATE FUNCTION event_pattern_ne(event_pattern, event_pattern) RETURNS boolean
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF;
CREATE FUNCTION event_pattern_lt(event_pattern, event_pattern) RETURNS boolean
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF;
CREATE FUNCTION event_pattern_le(event_pattern, event_pattern) RETURNS boolean
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF;
CREATE FUNCTION event_pattern_gt(event_pattern, event_pattern) RETURNS boolean
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF;
CREATE FUNCTION event_pattern_ge(event_pattern, event_pattern) RETURNS boolean
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF;
CREATE FUNCTION event_pattern_cmp(event_pattern, event_pattern) RETURNS integer
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF;
CREATE FUNCTION event_pattern_hash(event_pattern) RETURNS integer
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF;
CREATE FUNCTION event_pattern_hash_extended(event_pattern, bigint) RETURNS bigint
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF;
COMMENT ON FUNCTION event_pattern_eq(event_pattern, event_pattern) IS 'Are the canonical texts of two patterns equal?';
COMMENT ON FUNCTION event_pattern_ne(event_pattern, event_pattern) IS 'Do the canonical texts of two patterns differ?';
COMMENT ON FUNCTION event_pattern_lt(event_pattern, event_pattern) IS 'Does the first patterns canonical text sort before the seconds, by bytes?';
COMMENT ON FUNCTION event_pattern_le(event_pattern, event_pattern) IS 'Does the first patterns canonical text not sort after the seconds, by bytes?';
COMMENT ON FUNCTION event_pattern_gt(event_pattern, event_pattern) IS 'Does the first patterns canonical text sort after the seconds, by bytes?';
COMMENT ON FUNCTION event_pattern_ge(event_pattern, event_pattern) IS 'Does the first patterns canonical text not sort before the seconds, by bytes?';
COMMENT ON FUNCTION event_pattern_cmp(event_pattern, event_pattern) IS 'B-tree support for event_pattern: below, at or above zero as the canonical texts sort by bytes.';
COMMENT ON FUNCTION event_pattern_hash(event_pattern) IS 'Hash support for event_pattern.';
COMMENT ON FUNCTION event_pattern_hash_extended(event_pattern, bigint) IS 'Hash support for event_pattern, seeded.';

CREATE OPERATOR = (
	LEFTARG = event_pattern, RIGHTARG = event_pattern, FUNCTION = event_pattern_eq,
	COMMUTATOR = '=', NEGATOR = '<>', RESTRICT = eqsel, JOIN = eqjoinsel, HASHES, MERGES
);
CREATE OPERATOR <> (
	LEFTARG = event_pattern, RIGHTARG = event_pattern, FUNCTION = event_pattern_ne,
	COMMUTATOR = '<>', NEGATOR = '=', RESTRICT = neqsel, JOIN = neqjoinsel
);
CREATE OPERATOR < (
	LEFTARG = event_pattern, RIGHTARG = event_pattern, FUNCTION = event_pattern_lt,
	COMMUTATOR = '>', NEGATOR = '>=', RESTRICT = scalarltsel, JOIN = scalarltjoinsel
);
CREATE OPERATOR <= (
	LEFTARG = event_pattern, RIGHTARG = event_pattern, FUNCTION = event_pattern_le,
	COMMUTATOR = '>=', NEGATOR = '>', RESTRICT = scalarlesel, JOIN = scalarlejoinsel
);
CREATE OPERATOR > (
	LEFTARG = event_pattern, RIGHTARG = event_pattern, FUNCTION = event_pattern_gt,
	COMMUTATOR = '<', NEGATOR = '<=', RESTRICT = scalargtsel, JOIN = scalargtjoinsel
);
CREATE OPERATOR >= (
	LEFTARG = event_pattern, RIGHTARG = event_pattern, FUNCTION = event_pattern_ge,
	COMMUTATOR = '<=', NEGATOR = '<', RESTRICT = scalargesel, JOIN = scalargejoinsel
);
COMMENT ON OPERATOR = (event_pattern, event_pattern) IS 'equal';
COMMENT ON OPERATOR <> (event_pattern, event_pattern) IS 'not equal';
COMMENT ON OPERATOR < (event_pattern, event_pattern) IS 'less than, by canonical text';
COMMENT ON OPERATOR <= (event_pattern, event_pattern) IS 'less than or equal, by canonical text';
COMMENT ON OPERATOR > (event_pattern, event_pattern) IS 'greater than, by canonical text';
COMMENT ON OPERATOR >= (event_pattern, event_pattern) IS 'greater than or equal, by canonical text';

CREATE OPERATOR CLASS event_pattern_btree_ops
	DEFAULT FOR TYPE event_pattern USING btree AS
	OPERATOR 1 < (event_pattern, event_pattern),
	OPERATOR 2 <= (event_pattern, event_pattern),
	OPERATOR 3 = (event_pattern, event_pattern),
	OPERATOR 4 >= (event_pattern, event_pattern),
	OPERATOR 5 > (event_pattern, event_pattern),
	FUNCTION 1 event_pattern_cmp(event_pattern, event_pattern);
COMMENT ON OPERATOR CLASS event_pattern_btree_ops USING btree IS 'Equality and order of event patterns, by canonical text.';

CREATE OPERATOR CLASS event_pattern_hash_ops
	DEFAULT FOR TYPE event_pattern USING hash AS
	OPERATOR 1 = (event_pattern, event_pattern),
	FUNCTION 1 event_pattern_hash(event_pattern),
	FUNCTION 2 event_pattern_hash_extended(event_pattern, bigint);
COMMENT ON OPERATOR CLASS event_pattern_hash_ops USING hash IS 'Equality of event patterns.';

-- Casts: on assignment only; implicit ones would make "=" ambiguous.

CREATE FUNCTION event_pattern_from_json(json) RETURNS event_pattern
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION event_pattern_from_jsonb(jsonb) RETURNS event_pattern
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION event_pattern_to_jsonb(event_pattern) RETURNS jsonb
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION event_pattern_from_json(json) IS 'Cast of json to event_pattern; repeated keys keep their meaning.';
COMMENT ON FUNCTION event_pattern_from_jsonb(jsonb) IS 'Cast of jsonb to event_pattern; of repeated keys jsonb has kept the last.';
COMMENT ON FUNCTION event_pattern_to_jsonb(event_pattern) IS 'Cast of event_pattern to jsonb. Errors: a pattern with $or in which the order or repetition of fields matters, which jsonb does not keep.';

CREATE CAST (json AS event_pattern) WITH FUNCTION event_pattern_from_json(json) AS ASSIGNMENT;
CREATE CAST (jsonb AS event_pattern) WITH FUNCTION event_pattern_from_jsonb(jsonb) AS ASSIGNMENT;
CREATE CAST (event_pattern AS jsonb) WITH FUNCTION event_pattern_to_jsonb(event_pattern) AS ASSIGNMENT;

-- Checking

CREATE FUNCTION check_event_pattern(pattern text)
	RETURNS TABLE (message text, line_number integer, column_number integer, path text)
	AS 'MODULE_PATHNAME'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE ROWS 1;
COMMENT ON FUNCTION check_event_pattern(text) IS
'The first fault of a text that is to be an event pattern: AWS''s message, line and column from 1, JSON path. No row: the text is a valid pattern.';

CREATE FUNCTION test_event_pattern(event_pattern text, event text) RETURNS boolean
	AS 'MODULE_PATHNAME'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION test_event_pattern(text, text) IS
'AWS''s TestEventPattern: does the event match the pattern? The event must be a JSON object with id, account, source, time, region and detail-type. Errors: "Event pattern is not valid. Reason: ...", "Parameter Event is not valid."';

-- Explaining

CREATE FUNCTION explain_match(event jsonb, pattern event_pattern)
	RETURNS TABLE (path text, condition jsonb, found jsonb, matched boolean, reason text)
	AS 'MODULE_PATHNAME'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 1000 ROWS 5;
COMMENT ON FUNCTION explain_match(jsonb, event_pattern) IS
'Why an event matches a pattern, or why not: a row for each field of the pattern with what was asked, what the event has there (an array if it has several values, NULL if none), and the reason in words. A field that matches alone but in another array element than a second field counts as not matched.';

CREATE FUNCTION event_pattern_from(event jsonb, paths text[] DEFAULT NULL) RETURNS event_pattern
	AS 'MODULE_PATHNAME'
	LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION event_pattern_from(jsonb, text[]) IS
'A starting pattern from a sample event, which matches the sample: the values at the paths (such as detail.state or $.detail.state; an object stands for all values below it), or, without paths, at those that say of what kind an event is (source, detail-type, eventSource, eventName). Errors: the event is no object, or has no value at a path.';
