-- Attribute values

CREATE FUNCTION marshall(anyelement) RETURNS jsonb
	AS 'MODULE_PATHNAME' LANGUAGE C STABLE CALLED ON NULL INPUT PARALLEL SAFE;

COMMENT ON FUNCTION marshall(anyelement) IS
'An SQL value as DynamoDB attribute value: {"S": "text"}, {"N": "1"}, {"L": [...]}. A row, an hstore or a JSON object becomes an item, a map without its {"M": ...}, as NewImage of a stream record. SQL null is {"NULL": true}. AWS: marshall of util-dynamodb.';

CREATE FUNCTION unmarshall(jsonb) RETURNS jsonb
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION unmarshall(jsonb) IS
'A DynamoDB item, or one attribute value, as plain JSON: the inverse of marshall. Sets become arrays; binary values stay base64 text. Raises "invalid attribute value" with the path of what is none. AWS: unmarshall of util-dynamodb.';

-- Change capture

-- Numbers of captured changes: rising for each row, without meaning otherwise.
CREATE SEQUENCE capture_number;

COMMENT ON SEQUENCE capture_number IS
'Numbers of captured changes, which become the SequenceNumber of records sent at once.';

SELECT pg_catalog.pg_extension_config_dump('capture_number', '');

CREATE FUNCTION stream() RETURNS trigger
	AS 'MODULE_PATHNAME' LANGUAGE C;

COMMENT ON FUNCTION stream() IS
'Trigger function, AFTER INSERT, UPDATE or DELETE FOR EACH ROW: sends changes of rows as DynamoDB stream records by NOTIFY. Arguments, each ''name=value'': notify (channel, required); view_type (KEYS_ONLY, NEW_IMAGE, OLD_IMAGE or, the default, NEW_AND_OLD_IMAGES); changed (on: the record of an update has a member "changed", the names of the columns that it changed); filter (event pattern over the record, may be repeated, any of them suffices); claim_check (on: send no images); input_path; input_template with input_paths_map; log (on, in place of notify: for the stream of enable_stream). See check_stream_arguments.';

CREATE FUNCTION check_stream_arguments(VARIADIC arguments text[]) RETURNS void
	AS 'MODULE_PATHNAME' LANGUAGE C STABLE STRICT;

COMMENT ON FUNCTION check_stream_arguments(text[]) IS
'Checks the arguments of a stream trigger before it is made: raises the error that the trigger would raise at its first row, or none.';
