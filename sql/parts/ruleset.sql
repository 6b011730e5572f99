-- Sets of event patterns: many patterns against one event.

CREATE TYPE event_pattern_set;

CREATE FUNCTION event_pattern_set_in(cstring) RETURNS event_pattern_set
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION event_pattern_set_out(event_pattern_set) RETURNS cstring
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION event_pattern_set_recv(internal) RETURNS event_pattern_set
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION event_pattern_set_send(event_pattern_set) RETURNS bytea
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE TYPE event_pattern_set (
	INPUT = event_pattern_set_in,
	OUTPUT = event_pattern_set_out,
	RECEIVE = event_pattern_set_recv,
	SEND = event_pattern_set_send,
	INTERNALLENGTH = VARIABLE,
	ALIGNMENT = double,
	STORAGE = external
);
-- Stored uncompressed: it is read as it lies there.
COMMENT ON TYPE event_pattern_set IS
'Many event patterns, compiled to be matched together; made by the aggregate event_pattern_set(event_pattern). Text: a JSON array of event patterns, in order. Errors: those of event_pattern.';

COMMENT ON FUNCTION event_pattern_set_in(cstring) IS 'Input function of event_pattern_set: a JSON array of event patterns.';
COMMENT ON FUNCTION event_pattern_set_out(event_pattern_set) IS 'Output function of event_pattern_set: a JSON array of canonical texts.';
COMMENT ON FUNCTION event_pattern_set_recv(internal) IS 'Binary input function of event_pattern_set: a version byte and the text.';
COMMENT ON FUNCTION event_pattern_set_send(event_pattern_set) IS 'Binary output function of event_pattern_set: a version byte and the text.';

CREATE FUNCTION event_pattern_set_transition(internal, event_pattern) RETURNS internal
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE PARALLEL SAFE;
CREATE FUNCTION event_pattern_set_final(internal) RETURNS event_pattern_set
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION event_pattern_set_transition(internal, event_pattern) IS 'Transition function of the aggregate event_pattern_set.';
COMMENT ON FUNCTION event_pattern_set_final(internal) IS 'Final function of the aggregate event_pattern_set.';

CREATE AGGREGATE event_pattern_set(pattern event_pattern) (
	SFUNC = event_pattern_set_transition,
	STYPE = internal,
	FINALFUNC = event_pattern_set_final,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE event_pattern_set(event_pattern) IS
'The patterns as one set, for match_any. Their positions are the order of aggregation, so give an ORDER BY; nulls take no position. Of no patterns: the empty set. Errors: "event patterns are too many for one set" beyond 1 GB.';

CREATE FUNCTION match_any(event jsonb, patterns event_pattern_set) RETURNS integer[]
	AS 'MODULE_PATHNAME'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 10;
COMMENT ON FUNCTION match_any(jsonb, event_pattern_set) IS
'Which of the patterns match the event: their positions from 1, ascending; an empty array if none does. The answer is that of matches() for each pattern.';
