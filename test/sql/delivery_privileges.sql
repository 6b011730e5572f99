-- Nobody gains rights through deliveries; and who delivers forgets what no
-- longer holds.  Also: events that have become too old.
SET client_min_messages = warning;
DROP EXTENSION eventbridge CASCADE;
CREATE EXTENSION eventbridge;
SET search_path = eventbridge, public;
\set SHOW_CONTEXT never
\set VERBOSITY terse
SELECT current_user AS me, current_database() AS db \gset

CREATE ROLE regress_owner LOGIN;
CREATE ROLE regress_mallory LOGIN;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA eventbridge TO regress_owner;
GRANT EXECUTE ON FUNCTION put_rule(text, text, text, text, text, text, text, jsonb), put_targets(text, jsonb, text),
	delete_queue(text), delete_event_bus(text) TO regress_mallory;
GRANT CREATE ON DATABASE :"db" TO regress_mallory;
CREATE TABLE public.evidence (what text, session name DEFAULT session_user, who name DEFAULT current_user);
GRANT SELECT, INSERT ON public.evidence TO regress_owner, regress_mallory;
SELECT put_permission('m', 'events:PutRule', 'regress_mallory') \g /dev/null
SELECT put_permission('p', 'events:PutEvents', 'regress_mallory') \g /dev/null
SELECT put_permission('o', 'events:PutRule', 'regress_owner') \g /dev/null
SET SESSION AUTHORIZATION regress_owner;
SELECT create_queue('theirs'), create_event_bus('theirs') \g /dev/null
SELECT send_message('theirs', 'secret') \g /dev/null
RESET SESSION AUTHORIZATION;

/* What belongs to others. */
SET SESSION AUTHORIZATION regress_mallory;
SELECT put_rule('m', '{"source": ["m"]}');
SELECT put_targets('m', '[{"Id": "q", "Arn": "arn:aws:sqs:us-east-1:000000000000:theirs"}]');
SELECT put_targets('m', '[{"Id": "b", "Arn": "arn:aws:events:us-east-1:000000000000:event-bus/theirs",
	"RoleArn": "arn:aws:iam::000000000000:role/regress_owner"}]');
SELECT put_rule('m', '{"source": ["m"]}', event_bus_name => 'theirs');
SELECT put_event('m', 'x', '{}', 'theirs');
SELECT delete_event_bus('theirs');
SELECT send_message('theirs', 'x');
SELECT * FROM receive_messages('theirs');
SELECT delete_message('theirs', '1/1');
SELECT change_message_visibility('theirs', '1/1', 0);
SELECT purge_queue('theirs');
SELECT redrive('theirs');
SELECT delete_queue('theirs');
SELECT count(*) FROM queues;
SELECT * FROM queue_message;
SELECT * FROM delivery_log;
SELECT * FROM delivery_retry;
INSERT INTO delivery_log_0 (deliveries) VALUES ('');
SELECT nextval('delivery_turn');
SELECT _send_message('theirs', 'x', NULL, NULL, NULL, NULL);
SELECT _receive_message_batch('theirs', 1, NULL);
SELECT _rotate_delivery_log();
SELECT _bury(1, NULL, 1, 1, now(), '', '', '', '', '', 1, '');
SELECT _delivery_target(1);

/* Code that runs after the function has returned, or that leaves its role. */
CREATE SCHEMA mallory;
CREATE TABLE mallory.bait (n int);
CREATE FUNCTION mallory.spy(what text) RETURNS text LANGUAGE sql AS
	'INSERT INTO public.evidence (what) VALUES (what) RETURNING what';
CREATE FUNCTION mallory.at_commit() RETURNS trigger LANGUAGE plpgsql AS
$$BEGIN PERFORM mallory.spy('deferred trigger'); RETURN NULL; END$$;
CREATE CONSTRAINT TRIGGER later AFTER INSERT ON mallory.bait DEFERRABLE INITIALLY DEFERRED
	FOR EACH ROW EXECUTE FUNCTION mallory.at_commit();
CREATE FUNCTION mallory.attack(event jsonb) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO mallory.bait VALUES (1);
	EXECUTE 'DECLARE held CURSOR WITH HOLD FOR SELECT mallory.spy(''holdable cursor'')';
	RESET ROLE;
	PERFORM mallory.spy('reset role');
	RESET SESSION AUTHORIZATION;
	PERFORM mallory.spy('reset session authorization');
END $$;
SELECT put_targets('m', '[{"Id": "f", "Arn": "arn:aws:lambda:us-east-1:000000000000:function:mallory.attack"}]');
-- not as somebody else
SELECT put_targets('m', '[{"Id": "p", "Arn": "arn:aws:states:us-east-1:000000000000:stateMachine:mallory.attack",
	"RoleArn": "arn:aws:iam::000000000000:role/regress_owner"}]');
SELECT put_event('m', 'x', '{}') AS event_id \gset
RESET SESSION AUTHORIZATION;
-- a superuser's pass does not call it, nor does one as mallory by SET ROLE
CALL run_deliveries();
SET ROLE regress_mallory;
CALL run_deliveries();
RESET ROLE;
-- or by SET SESSION AUTHORIZATION: the function would undo it
SET SESSION AUTHORIZATION regress_mallory;
CALL run_deliveries();
CALL worker_deliver() \gset
RESET SESSION AUTHORIZATION;
SELECT * FROM public.evidence;
-- a login of mallory's does; everything in it is mallory
-- (without the setting that the Makefile gives to all tests, which is a superuser's)
\setenv PGOPTIONS
\c -reuse-previous=on "user=regress_mallory options="
SET search_path = eventbridge, public;
CALL run_deliveries();
\setenv PGOPTIONS '-c eventbridge.background_workers=off'
\c - :me
SET search_path = eventbridge, public;
SET client_min_messages = warning;
\set SHOW_CONTEXT never
\set VERBOSITY terse
SELECT what, session, who FROM public.evidence ORDER BY what COLLATE "C";
TRUNCATE public.evidence;

/* A hostile search_path, planted overloads and tables. */
SET SESSION AUTHORIZATION regress_mallory;
CREATE FUNCTION mallory.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS
	'SELECT now() FROM (SELECT mallory.spy(''clock_timestamp'')) AS s';
CREATE FUNCTION mallory.coalesce_text(text, text) RETURNS boolean LANGUAGE sql AS
	'SELECT true FROM (SELECT mallory.spy(''='')) AS s';
CREATE OPERATOR mallory.= (LEFTARG = text, RIGHTARG = text, FUNCTION = mallory.coalesce_text);
CREATE FUNCTION mallory.format(text, VARIADIC text[]) RETURNS text LANGUAGE sql AS
	'SELECT mallory.spy(''format'')';
CREATE FUNCTION mallory.note(event jsonb) RETURNS void LANGUAGE sql AS 'SELECT mallory.spy(''jsonb'')';
CREATE FUNCTION mallory.note(event json) RETURNS void LANGUAGE sql AS 'SELECT mallory.spy(''json'')';
CREATE FUNCTION mallory.note(event text) RETURNS void LANGUAGE sql AS 'SELECT mallory.spy(''text'')';
CREATE TABLE mallory.delivery_retry (n int);
CREATE TABLE mallory.target (n int);
GRANT USAGE ON SCHEMA mallory TO PUBLIC;
RESET SESSION AUTHORIZATION;
SELECT create_queue('mine'), create_queue('dead'), create_log_group('mine') \g /dev/null
CREATE FUNCTION public.mine(event jsonb) RETURNS void LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'fails'; END$$;
CREATE FUNCTION public.mine(event text) RETURNS void LANGUAGE sql AS $$SELECT mallory.spy('overload')$$;
SELECT put_rule('mine', '{"source": ["mine"]}') \g /dev/null
SELECT put_targets('mine', '[{"Id": "q", "Arn": "arn:aws:sqs:us-east-1:000000000000:mine"},
	{"Id": "l", "Arn": "arn:aws:logs:us-east-1:000000000000:log-group:mine"},
	{"Id": "f", "Arn": "arn:aws:lambda:us-east-1:000000000000:function:mine", "RetryPolicy": {"MaximumRetryAttempts": 1},
	 "DeadLetterConfig": {"Arn": "arn:aws:sqs:us-east-1:000000000000:dead"}}]') \g /dev/null
SET search_path = mallory, pg_catalog;
CREATE TEMP TABLE delivery_retry (n int);
CREATE TEMP TABLE queue_message (n int);
SET eventbridge.retry_delay = 1;
SELECT eventbridge.put_event('mine', 'x', '{}') IS NOT NULL AS put;
CALL eventbridge.run_deliveries();
DO $$BEGIN PERFORM pg_sleep(0.01); END$$;
CALL eventbridge.run_deliveries();
SELECT eventbridge.redrive('dead');
SELECT waiting, retrying FROM eventbridge.delivery_status WHERE rule_name OPERATOR(pg_catalog.=) 'mine' AND target_id OPERATOR(pg_catalog.=) 'f';
SET search_path = eventbridge, public;
DROP TABLE pg_temp.delivery_retry, pg_temp.queue_message;
SELECT count(*) FROM receive_messages('mine', 10);
SELECT * FROM public.evidence;
SELECT put_rule('note', '{"source": ["note"]}') \g /dev/null
SELECT put_targets('note', '[{"Id": "f", "Arn": "arn:aws:lambda:us-east-1:000000000000:function:mallory.note"}]') -> 'FailedEntryCount' AS failed;
SELECT put_event('note', 'x', '{}') IS NOT NULL AS put;
CALL run_deliveries();
SELECT what FROM public.evidence;
SELECT remove_targets('mine', '{q,l,f}') -> 'FailedEntryCount' AS failed;

/*
 * What a session knows of a target holds until something changes, whoever
 * changes it.
 */
TRUNCATE public.evidence;
DROP FUNCTION public.mine(jsonb), public.mine(text);
SELECT purge_queue('dead') \g /dev/null
GRANT CREATE ON SCHEMA public TO regress_owner;
CREATE FUNCTION public.shared(event jsonb) RETURNS void LANGUAGE sql AS $$INSERT INTO public.evidence (what) VALUES ('called')$$;
CREATE FUNCTION public.as_somebody_else(sql text) RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS
$$BEGIN EXECUTE sql; END$$;
\setenv PGOPTIONS
\c -reuse-previous=on "user=regress_owner options="
SET search_path = eventbridge, public;
SELECT create_queue('owned') \g /dev/null
SELECT put_rule('shared', '{"source": ["shared"]}') \g /dev/null
SELECT put_targets('shared', '[{"Id": "f", "Arn": "arn:aws:lambda:us-east-1:000000000000:function:shared",
	"DeadLetterConfig": {"Arn": "arn:aws:sqs:us-east-1:000000000000:owned"}},
	{"Id": "q", "Arn": "arn:aws:sqs:us-east-1:000000000000:owned", "InputPath": "$.source",
	"DeadLetterConfig": {"Arn": "arn:aws:sqs:us-east-1:000000000000:owned"}}]') -> 'FailedEntryCount' AS failed;
SELECT public.as_somebody_else($$SELECT eventbridge.put_event('shared', 'x', '{}')$$) \g /dev/null
CALL run_deliveries();
SELECT public.as_somebody_else('REVOKE EXECUTE ON FUNCTION public.shared(jsonb) FROM PUBLIC') \g /dev/null
SELECT public.as_somebody_else($$SELECT eventbridge.put_event('shared', 'x', '{}')$$) \g /dev/null
CALL run_deliveries();
SELECT public.as_somebody_else('GRANT EXECUTE ON FUNCTION public.shared(jsonb) TO regress_owner') \g /dev/null
SELECT public.as_somebody_else($$SELECT eventbridge.put_event('shared', 'x', '{}')$$) \g /dev/null
CALL run_deliveries();
SELECT public.as_somebody_else($sql$CREATE OR REPLACE FUNCTION public.shared(event jsonb) RETURNS void LANGUAGE plpgsql AS
$$BEGIN INSERT INTO public.evidence (what) VALUES ('replaced'); END$$$sql$) \g /dev/null
SELECT public.as_somebody_else($$SELECT eventbridge.put_event('shared', 'x', '{}')$$) \g /dev/null
CALL run_deliveries();
SELECT what, session, count(*) FROM public.evidence GROUP BY 1, 2 ORDER BY 1, 2;
SELECT error_code, error_message FROM dead_letters;
SELECT delete_queue('owned'), create_queue('owned') \g /dev/null
SELECT public.as_somebody_else($$SELECT eventbridge.put_event('shared', 'x', '{}')$$) \g /dev/null
CALL run_deliveries();
\setenv PGOPTIONS '-c eventbridge.background_workers=off'
\c - :me
SET search_path = eventbridge, public;
SET client_min_messages = warning;
SELECT count(*) AS in_the_new_queue FROM queue_message JOIN queue USING (queue_id) WHERE name = 'owned';
DROP FUNCTION public.as_somebody_else(text);

/* Too old to be tried again. */
CREATE FUNCTION public.fails(event jsonb) RETURNS void LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'fails'; END$$;
SELECT put_rule('old', '{"source": ["old"]}') \g /dev/null
SELECT put_targets('old', '[{"Id": "f", "Arn": "arn:aws:lambda:us-east-1:000000000000:function:fails",
	"RetryPolicy": {"MaximumEventAgeInSeconds": 60}, "DeadLetterConfig": {"Arn": "arn:aws:sqs:us-east-1:000000000000:dead"}}]') -> 'FailedEntryCount' AS failed;
SET eventbridge.retry_delay = '10min';
SELECT put_event('old', 'x', '{}') AS event_id \gset
CALL run_deliveries();
SELECT error_code, exhausted_retry_condition, retry_attempts FROM dead_letters WHERE event_id = :'event_id';
RESET eventbridge.retry_delay;
SELECT put_event('old', 'x', '{}') AS event_id \gset
CALL run_deliveries();
SELECT status, attempts FROM explain_delivery(:'event_id');
UPDATE delivery_retry SET ingestion_time = ingestion_time - interval '59 s', next_attempt = now();
CALL run_deliveries();
SELECT error_code, exhausted_retry_condition, retry_attempts FROM dead_letters WHERE event_id = :'event_id';

/*
 * A role is dropped.  What it was owed is passed on, and holds up nothing:
 * what is in the log, what is tried again, what a removed target was owed.
 */
CREATE ROLE regress_gone LOGIN;
ALTER ROLE regress_gone SET eventbridge.retry_delay = '10min';
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA eventbridge TO regress_gone;
SELECT put_permission('g', 'events:PutRule', 'regress_gone') \g /dev/null
CREATE FUNCTION public.gone(event jsonb) RETURNS void LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'as %', current_user; END$$;
CREATE PROCEDURE public.gone_steps(event jsonb) LANGUAGE sql AS 'SELECT 1';
SET SESSION AUTHORIZATION regress_gone;
SELECT put_rule('gone', '{"source": ["gone"]}') \g /dev/null
SELECT put_targets('gone', '[{"Id": "f", "Arn": "arn:aws:lambda:us-east-1:000000000000:function:gone"},
	{"Id": "removed", "Arn": "arn:aws:lambda:us-east-1:000000000000:function:gone"}]') -> 'FailedEntryCount' AS failed;
RESET SESSION AUTHORIZATION;
SELECT put_rule('by-me', '{"source": ["gone"]}') \g /dev/null
SELECT put_targets('by-me', '[{"Id": "p", "Arn": "arn:aws:states:us-east-1:000000000000:stateMachine:gone_steps",
	"RoleArn": "arn:aws:iam::000000000000:role/regress_gone", "DeadLetterConfig": {"Arn": "arn:aws:sqs:us-east-1:000000000000:dead"}},
	{"Id": "o", "Arn": "arn:aws:states:us-east-1:000000000000:stateMachine:gone_steps", "Ordered": true,
	"RoleArn": "arn:aws:iam::000000000000:role/regress_gone", "DeadLetterConfig": {"Arn": "arn:aws:sqs:us-east-1:000000000000:dead"}}]') -> 'FailedEntryCount' AS failed;
SELECT put_event('gone', 'tried', '{}') AS tried \gset
\setenv PGOPTIONS
\c -reuse-previous=on "user=regress_gone options="
SET search_path = eventbridge, public;
CALL run_deliveries();
\setenv PGOPTIONS '-c eventbridge.background_workers=off'
\c - :me
SET search_path = eventbridge, public;
SET client_min_messages = warning;
SELECT put_event('gone', 'waits', '{}', group_key => 'g') AS waits \gset
SELECT remove_targets('gone', '{removed}') -> 'FailedEntryCount' AS failed;
DROP OWNED BY regress_gone;
DROP ROLE regress_gone;
UPDATE delivery_retry SET next_attempt = clock_timestamp() WHERE next_attempt < 'infinity';
-- somebody looks for such deliveries every ten minutes, and each session asks every ten seconds whether it is time
SELECT setval('delivery_orphan_look', extract(epoch FROM clock_timestamp())::bigint - 100) \g /dev/null
\c - :me
CALL eventbridge.run_deliveries();
SELECT count(*) AS not_yet FROM eventbridge.explain_delivery(:'waits') WHERE status IS DISTINCT FROM 'DEAD';
SELECT setval('eventbridge.delivery_orphan_look', extract(epoch FROM clock_timestamp())::bigint - 601) \g /dev/null
\c - :me
SET search_path = eventbridge, public;
SET client_min_messages = warning;
SET eventbridge.log_retention = 0;
SELECT bool_or(_delivery_log_is_needed(set_no, '3')) AS is_needed FROM generate_series(0, 2) AS set_no;
CALL run_deliveries();
SELECT rule_name, target_id, status, attempts, error_code, error_message FROM explain_delivery(:'tried');
SELECT rule_name, target_id, status, attempts, error_code, error_message FROM explain_delivery(:'waits');
SELECT target_arn, error_message FROM dead_letters WHERE event_id = :'waits' ORDER BY message_id;
SELECT bool_or(_delivery_log_is_needed(set_no, '3')) AS is_needed FROM generate_series(0, 2) AS set_no;
SELECT count(*) FROM delivery_retry;
-- nor does a clock that was wrong put it off
SELECT setval('delivery_orphan_look', extract(epoch FROM clock_timestamp())::bigint + 10000) \g /dev/null
\c - :me
SET search_path = eventbridge, public;
SET client_min_messages = warning;
SET eventbridge.log_retention = 0;
CALL run_deliveries();
SELECT last_value BETWEEN extract(epoch FROM clock_timestamp()) - 600 AND extract(epoch FROM clock_timestamp()) + 1 AS looked
FROM delivery_orphan_look;
DROP FUNCTION public.gone(jsonb);
DROP PROCEDURE public.gone_steps(jsonb);

/* A procedure that commits what it has made of the session. */
CREATE PROCEDURE public.becomes(event jsonb) LANGUAGE plpgsql AS
$$BEGIN
	SET SESSION AUTHORIZATION regress_owner;
	SET ROLE regress_owner;
	COMMIT;
	INSERT INTO public.evidence (what) VALUES ('becomes');
END$$;
TRUNCATE public.evidence;
SELECT put_rule('becomes', '{"source": ["becomes"]}') \g /dev/null
SELECT put_targets('becomes', jsonb_build_array(jsonb_build_object('Id', 'p',
	'Arn', 'arn:aws:states:us-east-1:000000000000:stateMachine:becomes',
	'RoleArn', 'arn:aws:iam::000000000000:role/' || current_user))) -> 'FailedEntryCount' AS failed;
SELECT put_event('becomes', 'x', '{}') \g /dev/null
CALL run_deliveries();
SELECT session_user = :'me' AS session, current_user = :'me' AS who;
SELECT what, session, who FROM public.evidence;
DROP PROCEDURE public.becomes(jsonb);

DROP FUNCTION public.fails(jsonb), public.shared(jsonb);
DROP TABLE public.evidence;
DROP OWNED BY regress_owner, regress_mallory;
REVOKE ALL ON DATABASE :"db" FROM regress_mallory;
REVOKE ALL ON SCHEMA public FROM regress_owner;
DROP ROLE regress_owner, regress_mallory;
