SET search_path = public, eventbridge;

-- Builds that did not succeed
SELECT id, event->'detail'->>'project-name' AS project, event->'detail'->>'build-status' AS status
FROM events
WHERE event @~ '{"source": ["aws.codebuild"],
                 "detail": {"build-status": [{"anything-but": "SUCCEEDED"}]}}';

-- Operations from our network, by CloudTrail, or any change of an instance
SELECT id, event->>'detail-type' AS what
FROM events
WHERE event @~ '{"$or": [{"detail": {"sourceIPAddress": [{"cidr": "10.0.0.0/8"}]}},
                         {"source": ["aws.ec2"]}]}'
ORDER BY id;

-- What came from a rule or a build project of eu-central-1, by its ARN
SELECT id, event->'resources'->>0 AS resource
FROM events
WHERE event @~ '{"resources": [{"wildcard": "arn:aws:*:eu-central-1:*:rule/*"},
                               {"prefix": "arn:aws:codebuild:eu-central-1:"}]}'
ORDER BY id;

-- Pictures of a megabyte or more
SELECT id, event->'detail'->'object'->>'key' AS picture
FROM events
WHERE event @~ '{"detail": {"object": {"key": [{"suffix": {"equals-ignore-case": ".png"}}],
                                       "size": [{"numeric": [">=", 1048576]}]}}}';

-- Records of a DynamoDB stream, whatever they say
SELECT id, event->>'eventName' AS name, unmarshall(event->'dynamodb'->'Keys') AS keys
FROM events
WHERE event @~ '{"eventSource": ["aws:dynamodb"], "eventName": ["INSERT", "REMOVE"]}'
ORDER BY id;

-- A pattern is a value: it can be a parameter, or a column, or joined with
WITH interests (who, pattern) AS (
	VALUES ('ann', '{"source": ["aws.s3"]}'::event_pattern),
	       ('cleo', '{"detail": {"additional-information": {"initiator": ["cleo"]}}}'),
	       ('dan', '{"source": ["aws.glue"]}'))
SELECT who, id, event->>'detail-type' AS what
FROM interests JOIN events ON event @~ pattern
ORDER BY who, id;
