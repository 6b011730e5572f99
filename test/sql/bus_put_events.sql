-- put_events, put_event, put_row_event: results, faults, AWS's messages. What
-- targets receive is shown where they are served.
SET search_path = eventbridge, public;
\set SHOW_CONTEXT never

CREATE FUNCTION pg_temp.mask(result jsonb) RETURNS jsonb LANGUAGE sql
AS $$ SELECT regexp_replace(result::text, '"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"', '"ID"', 'g')::jsonb $$;

-- results stand in the order of the entries
SELECT pg_temp.mask(put_events('[
	{"Source": "app", "DetailType": "t", "Detail": "{\"a\": 1}"},
	{"Source": "app", "DetailType": "t", "Detail": "{}", "Time": "2024-07-11T09:05:35Z", "Resources": ["a", "b"],
	 "EventBusName": "default", "TraceHeader": "x", "GroupKey": "g"},
	{"Source": "app", "DetailType": "t", "Detail": "{}", "Time": 1720688735, "Resources": [],
	 "EventBusName": "arn:aws:events:us-east-1:000000000000:event-bus/default"},
	{"Source": "app", "DetailType": "t", "Detail": {"a": {"b": [1, null]}}},
	{"Source": "aws.codebuild", "DetailType": "t", "Detail": "{}"},
	{"Source": "app", "DetailType": "t", "Detail": "{}", "EventBusName": "no such bus"}]'));
SELECT pg_temp.mask(put_events('{"Entries": [{"Source": "app", "DetailType": "t", "Detail": "{}"}]}'::json));
SELECT pg_temp.mask(put_events('[{"Source": "app", "DetailType": "t", "Detail": "{}"}]'::jsonb));
SELECT put_events('[]');
SELECT put_events(NULL::jsonb);
-- more than AWS's ten entries
SELECT put_events(jsonb_agg(jsonb_build_object('Source', 'app', 'DetailType', 't', 'Detail', '{}'))) -> 'FailedEntryCount' AS failed
FROM generate_series(1, 1000);

-- faults of one entry are that entry's result
SELECT e.value ->> 'ErrorCode' AS code, e.value ->> 'ErrorMessage' AS message
FROM jsonb_array_elements(put_events('[
	{"DetailType": "t", "Detail": "{}"},
	{"Source": "", "DetailType": "t", "Detail": "{}"},
	{"Source": null, "DetailType": "t", "Detail": "{}"},
	{"Source": "app", "Detail": "{}"},
	{"Source": "app", "DetailType": "", "Detail": "{}"},
	{"Source": "app", "DetailType": "t"},
	{"Source": "app", "DetailType": "t", "Detail": null},
	{}]') -> 'Entries') AS e;
SELECT detail, r #>> '{Entries,0,ErrorCode}' AS code, r #>> '{Entries,0,ErrorMessage}' AS message, r -> 'FailedEntryCount' AS failed
FROM (VALUES ('text'), ('"text"'), ('[1]'), ('1'), ('null'), (''), ('{'), ('{"a": 1,}'), ('{"a" 1}'), ('{"a": 01}'), ('{} {}'),
	('{"a": "\u0000"}'), ('{"a": "\ud800"}'), ('{"a": 1e10001}'), ('{"a": "b' || chr(10) || '"}')) AS d (detail),
	put_events(jsonb_build_array(jsonb_build_object('Source', 'app', 'DetailType', 't', 'Detail', detail))) AS r;
SELECT put_events(jsonb_build_array(jsonb_build_object('Source', 'app', 'DetailType', 't',
	'Detail', repeat('{"a":', n) || '1' || repeat('}', n)))) #>> '{Entries,0,ErrorCode}' AS code
FROM unnest('{1000,1001,1000000}'::integer[]) AS n;
SELECT put_events('[{"Source": "app", "DetailType": "t", "Detail": [1]}, {"Source": "app", "DetailType": "t", "Detail": 1}]');
SELECT put_events('[{"Source": "app", "DetailType": "t", "Detail": [1]}]'::jsonb);

-- numbers of a thousand characters at most
SELECT n, put_events(jsonb_build_array(jsonb_build_object('Source', 'app', 'DetailType', 't',
	'Detail', '{"a": ' || repeat('1', n) || '}'))) #>> '{Entries,0,ErrorCode}' AS code
FROM unnest('{1000,1001}'::integer[]) AS n;

-- of two members the last counts
SELECT e.value ->> 'ErrorCode' AS code
FROM jsonb_array_elements(put_events('{"Entries": [{"Source": "app", "DetailType": "t", "Detail": {"old": 1}}],
	"Entries": [{"Source": "app", "DetailType": "t", "Detail": [1]}]}'::json) -> 'Entries') AS e;
SELECT last, put_events(format('[{"Source": "app", "DetailType": "t", "Detail": {"old": 1}, "Detail": %s}]', last)) #>> '{Entries,0,ErrorCode}' AS code
FROM unnest('{1,[1],"\"text\"","null","{}"}'::text[]) AS last;

-- faults of the request
SELECT put_events('{"Entries": [], "EndpointId": "x"}');
SELECT put_events('{}');
SELECT put_events('"x"');
SELECT put_events('[1]');
SELECT put_events('[[]]');
SELECT put_events('[');
SELECT put_events('[{"Sorce": "app"}]');
SELECT put_events('[{"Source": 1}]');
SELECT put_events('[{}, {"DetailType": []}]');
SELECT put_events('[{"Resources": "a"}]');
SELECT put_events('[{"Resources": [1]}]');
SELECT put_events('[{"Resources": {"a": "b"}}]');
\set SHOW_CONTEXT errors
SELECT put_events('[{"Time": "yesterday evening"}]');
SELECT put_events('[{"Time": true}]');
SELECT put_events('[{"Time": "infinity"}]');
SELECT put_events('[{"Time": "10000-01-01"}]');
\set SHOW_CONTEXT never
SELECT put_events('[{"GroupKey": 1}]');
SELECT put_events('[{"EventBusName": 1}]');

-- put_event: the same, as errors
SELECT put_event('app', 't', '{"a": 1}') IS NOT NULL AS put;
SELECT put_event('app', 't', '{"a": 1}'::json) IS NOT NULL AS put;
SELECT put_event('app', 't', jsonb_build_object('a', 1), 'default', '{x,y}', '2024-07-11 09:05:35+00', 'g') IS NOT NULL AS put;
SELECT put_event('app', 't', '{}', event_bus_name => 'no such bus') IS NOT NULL AS put;
SELECT put_event('app', 't', '{}') <> put_event('app', 't', '{}') AS different;
SELECT put_event(NULL, 't', '{}');
SELECT put_event('', 't', '{}');
SELECT put_event('app', NULL, '{}');
SELECT put_event('app', 't', NULL::text);
SELECT put_event('app', 't', NULL::jsonb);
SELECT put_event('app', 't', '[]');
SELECT put_event('app', 't', '[]'::jsonb);
SELECT put_event('app', 't', 'text');
SELECT put_event('app', 't', '{}', resources => '{a,NULL}');
SELECT put_event('app', 't', '{}', event_time => '-infinity');
SELECT put_event('app', 't', '{}', event_time => '0044-03-15 BC');

-- rows as events
CREATE TABLE bus_put_events_t (id int, kind text, payload jsonb, note text);
CREATE TRIGGER t AFTER INSERT OR UPDATE OR DELETE ON bus_put_events_t FOR EACH ROW
	EXECUTE FUNCTION put_row_event('source=shop', 'detail_type=$.kind');
-- as long as no rule has a target nothing is looked at
INSERT INTO bus_put_events_t VALUES (1, NULL, NULL, NULL);
SELECT put_rule('r', '{"source": ["shop"]}'), create_topic('bus_put_events'),
	put_targets('r', '[{"Id": "a", "Arn": "arn:aws:sns:us-east-1:000000000000:bus_put_events"}]');
INSERT INTO bus_put_events_t VALUES (2, 'created', NULL, NULL);
INSERT INTO bus_put_events_t VALUES (2, NULL, NULL, NULL);
INSERT INTO bus_put_events_t VALUES (2, '', NULL, NULL);
UPDATE bus_put_events_t SET kind = 'changed';
DELETE FROM bus_put_events_t WHERE id = 1;
ALTER TABLE bus_put_events_t DROP COLUMN note;
INSERT INTO bus_put_events_t VALUES (3, 'created', '{}');
DROP TRIGGER t ON bus_put_events_t;
CREATE TRIGGER t AFTER INSERT ON bus_put_events_t FOR EACH ROW
	EXECUTE FUNCTION put_row_event('source=$.nothing', 'detail_type=t');
INSERT INTO bus_put_events_t VALUES (4);
DROP TRIGGER t ON bus_put_events_t;
CREATE TRIGGER t AFTER INSERT ON bus_put_events_t FOR EACH ROW
	EXECUTE FUNCTION put_row_event('source=shop', 'detail_type=t', 'detail=$.payload', 'resources=$.kind', 'group_key=$.id', 'bus=default');
INSERT INTO bus_put_events_t VALUES (5, 'k', '{"a": 1}');
INSERT INTO bus_put_events_t VALUES (5, 'k', '[]');
INSERT INTO bus_put_events_t VALUES (5, 'k', NULL);
DROP TRIGGER t ON bus_put_events_t;
CREATE TRIGGER t AFTER INSERT ON bus_put_events_t FOR EACH ROW EXECUTE FUNCTION put_row_event('source=shop');
INSERT INTO bus_put_events_t VALUES (6);
DROP TRIGGER t ON bus_put_events_t;
CREATE TRIGGER t AFTER INSERT ON bus_put_events_t FOR EACH ROW EXECUTE FUNCTION put_row_event('source=shop', 'detail_type=t', 'detail_typ=u');
INSERT INTO bus_put_events_t VALUES (6);
DROP TRIGGER t ON bus_put_events_t;
CREATE TRIGGER t AFTER INSERT ON bus_put_events_t FOR EACH ROW EXECUTE FUNCTION put_row_event('source=shop', 'detail_type=t', 'source=u');
INSERT INTO bus_put_events_t VALUES (6);
DROP TRIGGER t ON bus_put_events_t;
CREATE TRIGGER t AFTER INSERT ON bus_put_events_t FOR EACH ROW EXECUTE FUNCTION put_row_event('source=shop', 'detail_type=t', 'bus=no such bus');
INSERT INTO bus_put_events_t VALUES (6);
DROP TRIGGER t ON bus_put_events_t;
CREATE TRIGGER t BEFORE INSERT ON bus_put_events_t FOR EACH ROW EXECUTE FUNCTION put_row_event('source=shop', 'detail_type=t');
INSERT INTO bus_put_events_t VALUES (7);
DROP TRIGGER t ON bus_put_events_t;
CREATE TRIGGER t AFTER INSERT ON bus_put_events_t EXECUTE FUNCTION put_row_event('source=shop', 'detail_type=t');
INSERT INTO bus_put_events_t VALUES (7);
SELECT id, kind FROM bus_put_events_t ORDER BY id, kind;

SELECT put_row_event();
SELECT cache_invalidate();

DROP TABLE bus_put_events_t;
SELECT remove_targets('r', '{a}'), delete_rule('r'), delete_topic('bus_put_events');
