-- Procedures as targets: they may commit between steps.
SET search_path = eventbridge, public;
\set SHOW_CONTEXT never
SET eventbridge.retry_delay = 1;
CREATE TABLE public.steps (n int GENERATED ALWAYS AS IDENTITY, step text);
CREATE FUNCTION public.add_target(procedure_name text, policy text DEFAULT '{"MaximumRetryAttempts": 1}') RETURNS void LANGUAGE sql AS $$
SELECT eventbridge.put_rule(procedure_name, jsonb_build_object('source', jsonb_build_array(procedure_name))::text);
SELECT eventbridge.put_targets(procedure_name, jsonb_build_array(
	jsonb_build_object('Id', 'p', 'Arn', format('arn:aws:states:us-east-1:000000000000:stateMachine:%s', procedure_name),
		'InputPath', '$.detail', 'RoleArn', format('arn:aws:iam::000000000000:role/%s', current_user), 'RetryPolicy', policy::jsonb)))
$$;

/* Steps that are committed stay; what fails is tried again. */
CREATE PROCEDURE public.two_steps(event jsonb) LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO public.steps (step) VALUES ('first of ' || (event ->> 'n'));
	COMMIT;
	INSERT INTO public.steps (step) VALUES ('second of ' || (event ->> 'n'));
	IF (event ->> 'fails')::boolean AND (SELECT count(*) FROM public.steps WHERE step LIKE 'first%') < 2 THEN
		RAISE EXCEPTION 'not today';
	END IF;
END $$;
SELECT add_target('two_steps');
SELECT put_event('two_steps', 'x', '{"n": 1}') AS event_id \gset
CALL run_deliveries();
SELECT step FROM public.steps ORDER BY n;
SELECT status, attempts FROM explain_delivery(:'event_id');
TRUNCATE public.steps;
SELECT put_event('two_steps', 'x', '{"n": 2, "fails": true}') AS event_id \gset
CALL run_deliveries(2);
SELECT step FROM public.steps ORDER BY n;
SELECT status, attempts, error_code, error_message FROM explain_delivery(:'event_id');
SELECT pg_sleep(0.01);
CALL run_deliveries();
SELECT step FROM public.steps ORDER BY n;
SELECT status, attempts FROM explain_delivery(:'event_id');
SELECT "Invocations", "InvocationAttempts", "SuccessfulInvocationAttempts" FROM rule_metrics WHERE minute IS NULL AND rule_name = 'two_steps';

/* It may roll back, open cursors, and loop over a query while it commits. */
TRUNCATE public.steps;
CREATE PROCEDURE public.loops(event jsonb) LANGUAGE plpgsql AS $$
DECLARE
	step int;
BEGIN
	FOR step IN SELECT generate_series(1, 4) LOOP
		INSERT INTO public.steps (step) VALUES (step);
		IF step % 2 = 0 THEN
			ROLLBACK;
		ELSE
			COMMIT;
		END IF;
	END LOOP;
	PERFORM eventbridge.put_event('two_steps', 'x', '{"n": 3}');
END $$;
SELECT add_target('loops');
SELECT put_event('loops', 'x', '{}') IS NOT NULL;
SELECT put_event('loops', 'x', '{}') IS NOT NULL;
CALL run_deliveries();
SELECT step, count(*) FROM public.steps GROUP BY step ORDER BY step;
SELECT count(*) FROM delivery_retry;
SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'object' AND classid <> 0;

/* A COMMIT that fails. */
TRUNCATE public.steps;
CREATE TABLE public.checked (n int CHECK (n > 0));
CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS
$$BEGIN RAISE EXCEPTION 'refused at commit'; END$$;
CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON public.checked DEFERRABLE INITIALLY DEFERRED
	FOR EACH ROW EXECUTE FUNCTION public.refuse();
CREATE PROCEDURE public.bad_commit(event jsonb) LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO public.steps (step) VALUES ('before');
	COMMIT;
	INSERT INTO public.checked VALUES (1);
	COMMIT;
	INSERT INTO public.steps (step) VALUES ('after');
END $$;
SELECT add_target('bad_commit', '{"MaximumRetryAttempts": 0}');
SELECT put_event('bad_commit', 'x', '{}') AS event_id \gset
CALL run_deliveries();
SELECT step FROM public.steps ORDER BY n;
SELECT status, attempts, error_code, error_message FROM explain_delivery(:'event_id');

/* What takes too long is ended; what it had committed stays. */
TRUNCATE public.steps;
CREATE PROCEDURE public.hangs(event jsonb) LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO public.steps (step) VALUES ('before');
	COMMIT;
	PERFORM pg_sleep(600);
END $$;
SELECT add_target('hangs', '{"MaximumRetryAttempts": 0}');
SELECT put_event('hangs', 'x', '{}') AS event_id \gset
SET eventbridge.invocation_timeout = '50ms';
CALL run_deliveries();
SELECT step FROM public.steps ORDER BY n;
SELECT status, attempts, error_code, error_message FROM explain_delivery(:'event_id');
RESET eventbridge.invocation_timeout;

/* A cancel by the user ends the pass; the delivery comes back after its lease. */
SELECT put_event('hangs', 'x', '{}') AS event_id \gset
SET statement_timeout = '100ms';
CALL run_deliveries();
RESET statement_timeout;
SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'object' AND classid <> 0;
SELECT status, attempts FROM explain_delivery(:'event_id');
SELECT remove_targets('hangs', '{p}') -> 'FailedEntryCount';
SELECT pg_sleep(0.01);
CALL run_deliveries();
SELECT count(*) FROM delivery_retry;

/* The session's user is who it was; other settings that it committed stay. */
CREATE ROLE regress_eb_other;
CREATE PROCEDURE public.sets(event jsonb) LANGUAGE plpgsql AS $$
BEGIN
	SET ROLE regress_eb_other;
	COMMIT;
	IF (event ->> 'fails')::boolean THEN
		RAISE EXCEPTION 'as %', current_user;
	END IF;
END $$;
SELECT add_target('sets', '{"MaximumRetryAttempts": 0}');
SELECT put_event('sets', 'x', '{}') IS NOT NULL;
CALL run_deliveries();
SELECT current_user = session_user AS myself;
SELECT put_event('sets', 'x', '{"fails": true}') AS event_id \gset
CALL run_deliveries();
SELECT status, error_message FROM explain_delivery(:'event_id');
SELECT current_user = session_user AS myself;
SELECT count(*) FROM delivery_retry;

/* Where the procedure cannot commit, that is the delivery's failure. */
TRUNCATE public.steps;
SELECT put_event('two_steps', 'x', '{"n": 4}') AS event_id \gset
DO $$BEGIN
	CALL eventbridge.run_deliveries(2);
END$$;
SELECT step FROM public.steps ORDER BY n;
SELECT status, attempts, error_code, error_message FROM explain_delivery(:'event_id');
SELECT pg_sleep(0.01);
CALL run_deliveries();
SELECT step FROM public.steps ORDER BY n;
CREATE PROCEDURE public.definer(event jsonb) LANGUAGE plpgsql SECURITY DEFINER AS $$BEGIN COMMIT; END$$;
SELECT add_target('definer', '{"MaximumRetryAttempts": 0}');
SELECT put_event('definer', 'x', '{}') AS event_id \gset
CALL run_deliveries();
SELECT status, error_message FROM explain_delivery(:'event_id');

/* The target is removed by its own procedure. */
CREATE PROCEDURE public.removes_itself(event jsonb) LANGUAGE plpgsql AS $$
BEGIN
	PERFORM eventbridge.remove_targets('removes_itself', '{p}');
	COMMIT;
	RAISE EXCEPTION 'too late';
END $$;
SELECT add_target('removes_itself');
SELECT put_event('removes_itself', 'x', '{}') AS event_id \gset
CALL run_deliveries();
SELECT count(*) FROM delivery_retry;
SELECT count(*) FROM delivery_outcome WHERE event_id = :'event_id';

/* An inout argument, another language. */
CREATE PROCEDURE public.inout(INOUT event jsonb) LANGUAGE sql AS
$$INSERT INTO public.steps (step) VALUES ('inout') RETURNING '{}'::jsonb$$;
SELECT add_target('inout');
SELECT put_event('inout', 'x', '{}') AS event_id \gset
CALL run_deliveries();
SELECT status FROM explain_delivery(:'event_id');

SELECT remove_targets(name, '{p}') -> 'FailedEntryCount' AS failed, delete_rule(name)
FROM unnest('{two_steps,loops,bad_commit,hangs,sets,definer,removes_itself,inout}'::text[]) AS name;
DROP PROCEDURE public.two_steps(jsonb), public.loops(jsonb), public.bad_commit(jsonb), public.hangs(jsonb),
	public.sets(jsonb), public.definer(jsonb), public.removes_itself(jsonb), public.inout(jsonb);
DROP TABLE public.steps, public.checked;
DROP FUNCTION public.refuse(), public.add_target(text, text);
DROP ROLE regress_eb_other;
