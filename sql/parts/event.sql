
/* ---------------------------------------------------------------------
 * Events. Whoever may call these functions may be anybody: the bus decides.
 * --------------------------------------------------------------------- */

CREATE FUNCTION put_events(entries jsonb) RETURNS jsonb
AS 'MODULE_PATHNAME', 'eb_put_events_jsonb' LANGUAGE C STRICT PARALLEL UNSAFE COST 1000;
COMMENT ON FUNCTION put_events(jsonb) IS
'Puts events on buses (PutEvents). Takes AWS''s array of entries, any number of them, and gives AWS''s result: an EventId, or ErrorCode and ErrorMessage, for each. Detail is a string that holds a JSON object, or the object itself. GroupKey, whose events keep their order for targets that ask for it, is ours.';

CREATE FUNCTION put_events(entries json) RETURNS jsonb
AS 'MODULE_PATHNAME', 'eb_put_events_text' LANGUAGE C STRICT PARALLEL UNSAFE COST 1000;
COMMENT ON FUNCTION put_events(json) IS
'Like put_events(jsonb); a Detail that is an object keeps its text.';

CREATE FUNCTION put_events(entries text) RETURNS jsonb
AS 'MODULE_PATHNAME', 'eb_put_events_text' LANGUAGE C STRICT PARALLEL UNSAFE COST 1000;
COMMENT ON FUNCTION put_events(text) IS
'Like put_events(json), for text.';

CREATE FUNCTION put_event(source text, detail_type text, detail text, event_bus_name text DEFAULT 'default',
						  resources text[] DEFAULT '{}', event_time timestamptz DEFAULT now(),
						  group_key text DEFAULT NULL) RETURNS uuid
AS 'MODULE_PATHNAME', 'eb_put_event_text' LANGUAGE C PARALLEL UNSAFE COST 1000;
COMMENT ON FUNCTION put_event(text, text, text, text, text[], timestamptz, text) IS
'Puts one event on a bus and returns its id. Fails with AWS''s message where put_events reports a fault of the entry. An unknown bus is no error: as in AWS, the event is dropped.';

CREATE FUNCTION put_event(source text, detail_type text, detail json, event_bus_name text DEFAULT 'default',
						  resources text[] DEFAULT '{}', event_time timestamptz DEFAULT now(),
						  group_key text DEFAULT NULL) RETURNS uuid
AS 'MODULE_PATHNAME', 'eb_put_event_text' LANGUAGE C PARALLEL UNSAFE COST 1000;
COMMENT ON FUNCTION put_event(text, text, json, text, text[], timestamptz, text) IS
'Like put_event with text: the detail keeps its text.';

CREATE FUNCTION put_event(source text, detail_type text, detail jsonb, event_bus_name text DEFAULT 'default',
						  resources text[] DEFAULT '{}', event_time timestamptz DEFAULT now(),
						  group_key text DEFAULT NULL) RETURNS uuid
AS 'MODULE_PATHNAME', 'eb_put_event_jsonb' LANGUAGE C PARALLEL UNSAFE COST 1000;
COMMENT ON FUNCTION put_event(text, text, jsonb, text, text[], timestamptz, text) IS
'Like put_event with text: the detail is in jsonb''s order of keys.';

CREATE FUNCTION matching_rules(event jsonb, event_bus_name text DEFAULT 'default') RETURNS SETOF text
AS 'MODULE_PATHNAME', 'eb_matching_rules' LANGUAGE C STABLE STRICT PARALLEL UNSAFE COST 1000;
COMMENT ON FUNCTION matching_rules(jsonb, text) IS
'The names of the enabled rules of a bus that an event would match, without putting it. For roles that may put rules on the bus; the owner of the bus sees all, others their own.';

CREATE FUNCTION shared_rule_sets(OUT event_bus_name text, OUT rules integer, OUT bytes bigint, OUT backends integer,
								 OUT is_current boolean, OUT built_at timestamptz) RETURNS SETOF record
AS 'MODULE_PATHNAME', 'eb_shared_rule_sets' LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 10;
COMMENT ON FUNCTION shared_rule_sets() IS
'The rules that lie in shared memory, for the buses that the current role owns, or all for members of pg_read_all_stats: number of rules, size, backends that use them, whether backends that start to use them now take these, and when they were put there. None unless the library is preloaded; see the setting eventbridge.shared_rule_memory.';

CREATE FUNCTION put_row_event() RETURNS trigger
AS 'MODULE_PATHNAME', 'eb_put_row_event' LANGUAGE C;
COMMENT ON FUNCTION put_row_event() IS
'Trigger function (AFTER, FOR EACH ROW) that puts the row as an event. Arguments: source=, detail_type=, and optionally detail=, bus=, resources=, group_key=. A value $.column is taken from the row, any other is a constant; detail is the whole row, without virtual generated columns, unless a column is named. The bus must let the owner of the table put events.';
