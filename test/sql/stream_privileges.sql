-- Who may read a stream: the table's owner, and whom he lets.
SET search_path = public, eventbridge;
\set SHOW_CONTEXT never
SELECT current_user AS me \gset
\t on
\pset format unaligned
CREATE ROLE regress_stream_owner;
CREATE ROLE regress_stream_reader LOGIN;
CREATE ROLE regress_stream_team;
CREATE ROLE regress_stream_other;
GRANT CREATE ON SCHEMA public TO regress_stream_owner;
-- with everything granted that a careless administrator grants
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA eventbridge TO regress_stream_owner, regress_stream_reader, regress_stream_team, regress_stream_other;

-- a table with row-level security: its stream has all rows
SET ROLE regress_stream_owner;
CREATE TABLE stream_privileges_t (id int PRIMARY KEY, who text, secret text);
ALTER TABLE stream_privileges_t ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON stream_privileges_t USING (who = current_user) WITH CHECK (true);
GRANT SELECT (id, who), INSERT ON stream_privileges_t TO regress_stream_reader;
SELECT enable_stream('stream_privileges_t', 'NEW_IMAGE', '1 day') AS stream \gset
INSERT INTO stream_privileges_t VALUES (1, 'regress_stream_owner', 'a');
RESET ROLE;

-- nobody else reads it, also who may read the table
SET ROLE regress_stream_reader;
INSERT INTO stream_privileges_t VALUES (2, 'regress_stream_reader', 'b');
SELECT id FROM stream_privileges_t;
SELECT get_records('stream_privileges_t');
SELECT latest_sequence_number(:'stream');
SELECT count(*) FROM streams;
SELECT put_permission('me', 'dynamodb:GetRecords', 'regress_stream_reader', stream => 'stream_privileges_t');
SELECT remove_permission('me', stream => 'stream_privileges_t');
SELECT count(*) FROM stream_permission;
SELECT _put_stream_permission('stream_privileges_t', 'default', 'me', 'regress_stream_reader');
SELECT _put_permission('me', 'dynamodb:GetRecords', 'regress_stream_reader', 'default', 'stream_privileges_t');
SELECT create_queue('stream-privileges') AS queue \gset
SELECT create_pipe(jsonb_build_object('Name', 'stream-privileges', 'Source', :'stream', 'Target', :'queue',
	'SourceParameters', '{"DynamoDBStreamParameters": {"StartingPosition": "TRIM_HORIZON"}}'::jsonb));
RESET ROLE;

-- what is refused
SET ROLE regress_stream_owner;
SELECT put_permission('a', 'events:PutEvents', 'regress_stream_reader', stream => 'stream_privileges_t');
SELECT put_permission('a', 'dynamodb:GetRecords', 'regress_stream_reader');
SELECT put_permission('a', 'dynamodb:GetRecords', 'regress_stream_nobody', stream => 'stream_privileges_t');
SELECT put_permission('a', 'dynamodb:GetRecords', '*', stream => 'nothing');
SELECT put_permission('a', 'dynamodb:GetRecords', '*', 'orders', 'stream_privileges_t');
SELECT remove_permission('a', stream => 'stream_privileges_t');
SELECT remove_permission(stream => 'stream_privileges_t');
SELECT remove_permission('a', false, 'orders', 'stream_privileges_t');

-- granted: all rows and columns are read
SELECT put_permission('reader', 'dynamodb:GetRecords', 'regress_stream_team', stream => 'stream_privileges_t');
SELECT put_permission('reader', 'dynamodb:GetRecords', 'arn:aws:iam::000000000000:role/regress_stream_reader', stream => :'stream');
SELECT regexp_replace(stream_arn, '[^/]*$', '...'), relation, owner, stream_view_type, regexp_replace(policy::text, 'stream/[^"]*', 'stream/...') FROM streams;
RESET ROLE;
SET ROLE regress_stream_reader;
SELECT record #> '{dynamodb,NewImage}' FROM get_records('stream_privileges_t');
SELECT record #> '{dynamodb,NewImage}' FROM get_records(:'stream', 'LATEST');
SELECT latest_sequence_number('stream_privileges_t') IS NOT NULL;
SELECT relation, owner FROM streams;
-- but the stream stays its owner's
SELECT put_permission('b', 'dynamodb:GetRecords', '*', stream => 'stream_privileges_t');
SELECT disable_stream('stream_privileges_t');
-- and so does a pipe that reads it
SELECT create_pipe(jsonb_build_object('Name', 'stream-privileges', 'Source', :'stream', 'Target', :'queue',
	'SourceParameters', '{"DynamoDBStreamParameters": {"StartingPosition": "TRIM_HORIZON"}}'::jsonb));
RESET ROLE;
\setenv PGOPTIONS
\c -reuse-previous=on "user=regress_stream_reader options="
SET search_path = public, eventbridge;
CALL run_deliveries();
SELECT body::json #> '{dynamodb,Keys}' FROM receive_messages('stream-privileges', 10) ORDER BY body::json #>> '{dynamodb,SequenceNumber}';
SELECT purge_queue('stream-privileges');
\setenv PGOPTIONS '-c eventbridge.background_workers=off'
\c - :me
SET search_path = public, eventbridge;

-- taken away: reading fails, the pipe stops and says why, its records wait
SET ROLE regress_stream_owner;
SELECT remove_permission('reader', stream => 'stream_privileges_t');
INSERT INTO stream_privileges_t VALUES (3, 'x', 'c');
RESET ROLE;
\setenv PGOPTIONS
\c -reuse-previous=on "user=regress_stream_reader options="
SET search_path = public, eventbridge;
SELECT count(*) FROM get_records('stream_privileges_t');
SELECT count(*) FROM streams;
CALL run_deliveries();
SELECT current_state, state_reason FROM pipes;
SELECT start_pipe('stream-privileges');
CALL run_deliveries();
SELECT current_state, state_reason FROM pipes;
\setenv PGOPTIONS '-c eventbridge.background_workers=off'
\c - :me
SET search_path = public, eventbridge;
SELECT count(*) FROM queue_message JOIN queue USING (queue_id) WHERE name = 'stream-privileges';
-- given again, to a role that it is a member of
GRANT regress_stream_team TO regress_stream_reader;
SET ROLE regress_stream_owner;
INSERT INTO stream_privileges_t VALUES (4, 'x', 'd');
SELECT put_permission('team', 'dynamodb:GetRecords', 'regress_stream_team', stream => 'public.stream_privileges_t');
RESET ROLE;
\setenv PGOPTIONS
\c -reuse-previous=on "user=regress_stream_reader options="
SET search_path = public, eventbridge;
SELECT start_pipe('stream-privileges');
CALL run_deliveries();
SELECT current_state, state_reason FROM pipes;
SELECT body::json #> '{dynamodb,Keys}' FROM receive_messages('stream-privileges', 10) ORDER BY body::json #>> '{dynamodb,SequenceNumber}';
SELECT delete_pipe('stream-privileges'), delete_queue('stream-privileges');
\setenv PGOPTIONS '-c eventbridge.background_workers=off'
\c - :me
SET search_path = public, eventbridge;

-- to everybody; all statements at once; a new stream has none
SET ROLE regress_stream_owner;
SELECT put_permission('all', 'dynamodb:GetRecords', '*', stream => 'stream_privileges_t');
SET ROLE regress_stream_other;
SELECT count(*) FROM get_records('stream_privileges_t');
SELECT policy #>> '{Statement,0,Principal}', policy #>> '{Statement,1,Principal,AWS}' FROM streams;
SET ROLE regress_stream_owner;
SELECT remove_permission(remove_all_permissions => true, stream => 'stream_privileges_t');
SET ROLE regress_stream_other;
SELECT count(*) FROM get_records('stream_privileges_t');
SET ROLE regress_stream_owner;
SELECT put_permission('all', 'dynamodb:GetRecords', '*', stream => 'stream_privileges_t');
SELECT disable_stream('stream_privileges_t');
SELECT enable_stream('stream_privileges_t', 'NEW_IMAGE', '1 day') IS NOT NULL;
SELECT policy FROM streams;
-- a new owner reads, and the old one does not
RESET ROLE;
GRANT regress_stream_team TO regress_stream_owner;
GRANT CREATE ON SCHEMA public TO regress_stream_team;
ALTER TABLE stream_privileges_t OWNER TO regress_stream_team;
REVOKE regress_stream_team FROM regress_stream_owner;
SET ROLE regress_stream_owner;
SELECT count(*) FROM get_records('stream_privileges_t');
RESET ROLE;
SET ROLE regress_stream_reader;
SELECT count(*) FROM get_records('stream_privileges_t');
RESET ROLE;
SELECT disable_stream('stream_privileges_t');
SELECT count(*) FROM stream_permission;
DROP TABLE stream_privileges_t;
REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA eventbridge FROM regress_stream_owner, regress_stream_reader, regress_stream_team, regress_stream_other;
REVOKE CREATE ON SCHEMA public FROM regress_stream_owner, regress_stream_team;
DROP ROLE regress_stream_owner, regress_stream_reader, regress_stream_team, regress_stream_other;
