--
-- Input templates of pipes: the paths stand in the placeholders
--
SET search_path = eventbridge, public;

CREATE TEMPORARY TABLE r (n int, j json);
INSERT INTO r VALUES
(1, '{"messageId": "m-1", "body": {"key": "value", "Records": ["a", "b", "c", {"x": 1.0}]}, "attributes": {"SenderId": "AIDA"}}'),
(2, '{"eventName": "INSERT", "dynamodb": {"Keys": {"pk": {"S": "p"}}, "NewImage": {"qty": {"N": "3"}}}}');
CREATE TEMPORARY TABLE v AS SELECT jsonb '{
	"aws.pipes.pipe-arn": "arn:aws:pipes:us-east-1:123456789012:pipe/example", "aws.pipes.pipe-name": "example",
	"aws.pipes.source-arn": "s", "aws.pipes.enrichment-arn": "e", "aws.pipes.target-arn": "t",
	"aws.pipes.event.ingestion-time": "2024-01-01T00:00:00Z"}' AS variables;
\pset format unaligned
\pset footer off

-- the documentation's forms
SELECT json_transform_pipe_input(j, t, variables) AS json,
	   NULLIF(transform_pipe_input(j::jsonb, t, variables), json_transform_pipe_input(j, t, variables)) AS jsonb
  FROM r, v, unnest(ARRAY[
	'"Hello, sender"', '<$.attributes.SenderId>', '"Hello, <$.attributes.SenderId>"',
	'{"key1": "value1", "key2": <$.body.key>, "d": <aws.pipes.event.ingestion-time>}',
	'{"third": <$.body.Records[3]>, "all": <$.body.Records[*]>}',
	'{"pipeArn" : <aws.pipes.pipe-arn>, "pipeName" : <aws.pipes.pipe-name>, "originalEvent" : <aws.pipes.event.json>}',
	'"<aws.pipes.source-arn> <aws.pipes.enrichment-arn> <aws.pipes.target-arn>"',
	'<$.body>', '{"data": <$.body>}', '<$.missing>', '"<$.missing>"', '{"m": <$.missing>}', '{"m": "<$.missing>"}',
	'"<aws.pipes.event>"', '{"e": <aws.pipes.event>}', '<$>']) WITH ORDINALITY AS u(t, o)
 WHERE n = 1 ORDER BY o;
SELECT json_transform_pipe_input(j, '{"pk": <$.dynamodb.Keys.pk.S>, "n": <$.dynamodb.NewImage.qty.N>, "what": "<$.eventName>"}') FROM r WHERE n = 2;

-- faults
SELECT t AS template, c.* FROM unnest(ARRAY[
	'"<aws.pipes.bogus>"', '"<aws.events.rule-name>"', '"<name>"', '"<$.>"', '"<$.a[x]>"', '{"a": <$[0]>}',
	'"<aws.pipes.event.json>"', '<aws.pipes.event.json>', '{"a": "<aws.pipes.event.json>"}', '', 'text <$.a>', '[<$.a>]', '{"a": }',
	'{<$.a>: 1}', '"fine <$.a/b-c_d[0][*].e>"']) WITH ORDINALITY AS u(t, o), check_pipe_input_template(t) c ORDER BY o;
SELECT transform_pipe_input('{"a": {}}', '{"a": "<$.a>"}');
SELECT transform_pipe_input('{"a": {}}', '{"a": "<aws.pipes.event>"}');
SELECT transform_pipe_input('{"a": {}}', '"<$.a"x>"');
SELECT transform_pipe_input('{"a": {}}', '"<b>"');
SELECT transform_pipe_input('{}', '"x"', '1');
SELECT message FROM check_pipe_input_template('"' || repeat('x', 8191) || '"');

-- NULL
SELECT transform_pipe_input(NULL, '"x"') IS NULL AS event, transform_pipe_input('{}', NULL) IS NULL AS template,
	   json_transform_pipe_input('{}', '"x"', NULL) AS variables;
