/* Put together from sql/parts/ by make; change the parts, not this file. */
\echo Use "CREATE EXTENSION eventbridge" to load this file. \quit

COMMENT ON SCHEMA @extschema@ IS
'Event routing in the style of AWS EventBridge, EventBridge Pipes and DynamoDB Streams.';

-- Names are public; what a caller may do is decided per function and table.
GRANT USAGE ON SCHEMA @extschema@ TO PUBLIC;
