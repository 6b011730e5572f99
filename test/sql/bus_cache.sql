-- What a backend keeps of rules in memory: a row is known again by its place and
-- its writer, but not if this transaction wrote it.
SET search_path = eventbridge, public;

-- the second version moves to where the first one was
VACUUM FULL rule;
BEGIN;
SELECT put_rule('r', '{"source": ["old"]}');
SELECT ctid AS first FROM rule WHERE name = 'r' \gset
SELECT matching_rules('{"source": "old"}');
SELECT put_rule('r', '{"source": ["new"]}');
COMMIT;
VACUUM FULL rule;
SELECT ctid = :'first' AS has_moved_there FROM rule WHERE name = 'r';
SELECT matching_rules('{"source": "old"}');
SELECT matching_rules('{"source": "new"}');

-- so does one of another writer
SELECT put_rule('r', '{"source": ["third"]}');
VACUUM FULL rule;
SELECT ctid = :'first' AS has_moved_there FROM rule WHERE name = 'r';
SELECT matching_rules('{"source": "new"}');
SELECT matching_rules('{"source": "third"}');
SELECT delete_rule('r');
