--
-- Input transformation
--
-- Costs are measured: with events of 500 bytes in a sequential scan, in units
-- of one jsonb ->, for templates of four variables.
--

CREATE FUNCTION input_path(event jsonb, path text) RETURNS jsonb
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 3;

COMMENT ON FUNCTION input_path(jsonb, text) IS
'The part of an event that a path such as $.detail.items[0].id leads to (the InputPath of an EventBridge target); NULL where it leads to nothing. A path with [*] gives the array of all matches. An invalid path is an error.';

CREATE FUNCTION json_input_path(event json, path text) RETURNS json
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 10;

COMMENT ON FUNCTION json_input_path(json, text) IS
'Like input_path, for json: the result keeps the event''s own order of keys and spelling of numbers; of duplicate keys the last is followed.';

CREATE FUNCTION transform_input(event jsonb, input_paths_map jsonb, input_template text,
								variables jsonb DEFAULT NULL) RETURNS text
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE PARALLEL SAFE COST 5;

COMMENT ON FUNCTION transform_input(jsonb, jsonb, text, jsonb) IS
'The input template filled from the event (the InputTransformer of an EventBridge target). The map gives each variable''s path and may be NULL; variables gives the values of predefined variables such as aws.events.rule-name. NULL if event or template is NULL. An invalid map or template is an error, and so is what AWS does not deliver: an object or array inside a JSON string.';

CREATE FUNCTION json_transform_input(event json, input_paths_map jsonb, input_template text,
									 variables jsonb DEFAULT NULL) RETURNS text
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE PARALLEL SAFE COST 40;

COMMENT ON FUNCTION json_transform_input(json, jsonb, text, jsonb) IS
'Like transform_input, for json: what is inserted keeps the event''s own order of keys and spelling of numbers.';

CREATE FUNCTION check_input_transformer(input_paths_map jsonb, input_template text,
										target_id text DEFAULT NULL,
										OUT message text, OUT detail text) RETURNS SETOF record
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE PARALLEL SAFE ROWS 1 COST 20;

COMMENT ON FUNCTION check_input_transformer(jsonb, text, text) IS
'What is wrong with an input transformer, a row for each fault and none if it is valid: the message of AWS''s PutTargets, and where the fault is. The target''s id, if given, is named in the messages.';

CREATE FUNCTION transform_pipe_input(event jsonb, input_template text,
									 variables jsonb DEFAULT NULL) RETURNS text
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE PARALLEL SAFE COST 5;

COMMENT ON FUNCTION transform_pipe_input(jsonb, text, jsonb) IS
'A pipe''s input template filled from one record (the InputTemplate of EventBridge Pipes): placeholders are paths, <$.dynamodb.Keys.id.S>, or predefined variables, <aws.pipes.pipe-name>, whose values variables gives. Otherwise like transform_input. A field that holds encoded JSON must have been decoded before.';

CREATE FUNCTION json_transform_pipe_input(event json, input_template text,
										  variables jsonb DEFAULT NULL) RETURNS text
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE PARALLEL SAFE COST 40;

COMMENT ON FUNCTION json_transform_pipe_input(json, text, jsonb) IS
'Like transform_pipe_input, for json: what is inserted keeps the record''s own order of keys and spelling of numbers.';

CREATE FUNCTION check_pipe_input_template(input_template text,
										  OUT message text, OUT detail text) RETURNS SETOF record
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE ROWS 1 COST 20;

COMMENT ON FUNCTION check_pipe_input_template(text) IS
'What is wrong with a pipe''s input template, a row for each fault and none if it is valid: the message of AWS, and where the fault is.';

CREATE FUNCTION check_target_input(target jsonb,
								   OUT message text, OUT detail text) RETURNS SETOF record
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE ROWS 1 COST 20;

COMMENT ON FUNCTION check_target_input(jsonb) IS
'What is wrong with the input options of a target in PutTargets'' form (Id, and at most one of Input, InputPath, InputTransformer), a row for each fault and none if they are valid: the message of AWS''s PutTargets, and where the fault is.';
