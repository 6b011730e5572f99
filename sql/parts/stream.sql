-- Attribute values

CREATE FUNCTION marshall(anyelement) RETURNS jsonb
	AS 'MODULE_PATHNAME' LANGUAGE C STABLE CALLED ON NULL INPUT PARALLEL SAFE;

COMMENT ON FUNCTION marshall(anyelement) IS
'An SQL value as DynamoDB attribute value: {"S": "text"}, {"N": "1"}, {"L": [...]}. A row, an hstore or a JSON object becomes an item, a map without its {"M": ...}, as NewImage of a stream record. SQL null is {"NULL": true}. AWS: marshall of util-dynamodb.';

CREATE FUNCTION unmarshall(jsonb) RETURNS jsonb
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION unmarshall(jsonb) IS
'A DynamoDB item, or one attribute value, as plain JSON: the inverse of marshall. Sets become arrays; binary values stay base64 text. Raises "invalid attribute value" with the path of what is none. AWS: unmarshall of util-dynamodb.';
