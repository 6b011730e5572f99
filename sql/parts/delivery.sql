
/* ---------------------------------------------------------------------
 * The delivery log and its workers; src/delivery/log.c describes both.
 *
 * What grows with the traffic lies in three tables each, used by turns and
 * emptied by TRUNCATE. The C code knows their columns by number.
 * --------------------------------------------------------------------- */

CREATE SEQUENCE delivery_turn MINVALUE 0 MAXVALUE 2 START 0;
COMMENT ON SEQUENCE delivery_turn IS
'Which of the three sets of delivery tables is written to.';

CREATE TABLE delivery_log_0 (
	xid xid8 NOT NULL,
	bus_id bigint NOT NULL,
	ingestion_time timestamptz NOT NULL,
	no integer NOT NULL,
	hops integer NOT NULL,
	event_id uuid NOT NULL,
	targets bigint[] NOT NULL,
	lanes oid[] NOT NULL,
	group_key text,
	order_xid bigint,
	event text NOT NULL
) WITH (autovacuum_enabled = false);
COMMENT ON TABLE delivery_log_0 IS
'Events that are or were owed to targets. Read it as delivery_log.';
CREATE INDEX delivery_log_0_xid_no_idx ON delivery_log_0 (xid, no);

CREATE TABLE delivery_log_1 (
	xid xid8 NOT NULL,
	bus_id bigint NOT NULL,
	ingestion_time timestamptz NOT NULL,
	no integer NOT NULL,
	hops integer NOT NULL,
	event_id uuid NOT NULL,
	targets bigint[] NOT NULL,
	lanes oid[] NOT NULL,
	group_key text,
	order_xid bigint,
	event text NOT NULL
) WITH (autovacuum_enabled = false);
COMMENT ON TABLE delivery_log_1 IS
'Events that are or were owed to targets. Read it as delivery_log.';
CREATE INDEX delivery_log_1_xid_no_idx ON delivery_log_1 (xid, no);

CREATE TABLE delivery_log_2 (
	xid xid8 NOT NULL,
	bus_id bigint NOT NULL,
	ingestion_time timestamptz NOT NULL,
	no integer NOT NULL,
	hops integer NOT NULL,
	event_id uuid NOT NULL,
	targets bigint[] NOT NULL,
	lanes oid[] NOT NULL,
	group_key text,
	order_xid bigint,
	event text NOT NULL
) WITH (autovacuum_enabled = false);
COMMENT ON TABLE delivery_log_2 IS
'Events that are or were owed to targets. Read it as delivery_log.';
CREATE INDEX delivery_log_2_xid_no_idx ON delivery_log_2 (xid, no);

CREATE TABLE delivery_ledger_0 (
	lane oid NOT NULL,
	batch bigint NOT NULL,
	done boolean NOT NULL,
	from_snapshot pg_snapshot,
	from_xid bigint,
	from_no integer,
	to_snapshot pg_snapshot,
	to_xid bigint,
	to_no integer,
	open bigint[],
	at timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (autovacuum_enabled = false);
COMMENT ON TABLE delivery_ledger_0 IS
'Batches of deliveries: one row when it is taken, one when it is done.';
CREATE INDEX delivery_ledger_0_lane_batch_idx ON delivery_ledger_0 (lane, batch);

CREATE TABLE delivery_ledger_1 (
	lane oid NOT NULL,
	batch bigint NOT NULL,
	done boolean NOT NULL,
	from_snapshot pg_snapshot,
	from_xid bigint,
	from_no integer,
	to_snapshot pg_snapshot,
	to_xid bigint,
	to_no integer,
	open bigint[],
	at timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (autovacuum_enabled = false);
COMMENT ON TABLE delivery_ledger_1 IS
'Batches of deliveries: one row when it is taken, one when it is done.';
CREATE INDEX delivery_ledger_1_lane_batch_idx ON delivery_ledger_1 (lane, batch);

CREATE TABLE delivery_ledger_2 (
	lane oid NOT NULL,
	batch bigint NOT NULL,
	done boolean NOT NULL,
	from_snapshot pg_snapshot,
	from_xid bigint,
	from_no integer,
	to_snapshot pg_snapshot,
	to_xid bigint,
	to_no integer,
	open bigint[],
	at timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (autovacuum_enabled = false);
COMMENT ON TABLE delivery_ledger_2 IS
'Batches of deliveries: one row when it is taken, one when it is done.';
CREATE INDEX delivery_ledger_2_lane_batch_idx ON delivery_ledger_2 (lane, batch);

CREATE TABLE delivery_metric_0 (
	at timestamptz NOT NULL DEFAULT clock_timestamp(),
	rule_id bigint NOT NULL,
	target_id bigint NOT NULL,
	first_attempts bigint NOT NULL,
	retries bigint NOT NULL,
	successes bigint NOT NULL,
	failed bigint NOT NULL,
	to_dlq bigint NOT NULL,
	not_to_dlq bigint NOT NULL,
	looped bigint NOT NULL,
	start_latency numeric NOT NULL,
	attempt_latency numeric NOT NULL,
	latency numeric NOT NULL,
	matched bigint NOT NULL,
	matched_first bigint NOT NULL
) WITH (autovacuum_enabled = false);
COMMENT ON TABLE delivery_metric_0 IS
'What happened to a target in a batch; latencies are sums of microseconds.';

CREATE TABLE delivery_metric_1 (
	at timestamptz NOT NULL DEFAULT clock_timestamp(),
	rule_id bigint NOT NULL,
	target_id bigint NOT NULL,
	first_attempts bigint NOT NULL,
	retries bigint NOT NULL,
	successes bigint NOT NULL,
	failed bigint NOT NULL,
	to_dlq bigint NOT NULL,
	not_to_dlq bigint NOT NULL,
	looped bigint NOT NULL,
	start_latency numeric NOT NULL,
	attempt_latency numeric NOT NULL,
	latency numeric NOT NULL,
	matched bigint NOT NULL,
	matched_first bigint NOT NULL
) WITH (autovacuum_enabled = false);
COMMENT ON TABLE delivery_metric_1 IS
'What happened to a target in a batch; latencies are sums of microseconds.';

CREATE TABLE delivery_metric_2 (
	at timestamptz NOT NULL DEFAULT clock_timestamp(),
	rule_id bigint NOT NULL,
	target_id bigint NOT NULL,
	first_attempts bigint NOT NULL,
	retries bigint NOT NULL,
	successes bigint NOT NULL,
	failed bigint NOT NULL,
	to_dlq bigint NOT NULL,
	not_to_dlq bigint NOT NULL,
	looped bigint NOT NULL,
	start_latency numeric NOT NULL,
	attempt_latency numeric NOT NULL,
	latency numeric NOT NULL,
	matched bigint NOT NULL,
	matched_first bigint NOT NULL
) WITH (autovacuum_enabled = false);
COMMENT ON TABLE delivery_metric_2 IS
'What happened to a target in a batch; latencies are sums of microseconds.';

CREATE VIEW delivery_log WITH (security_barrier) AS
	SELECT * FROM eventbridge.delivery_log_0 UNION ALL
	SELECT * FROM eventbridge.delivery_log_1 UNION ALL
	SELECT * FROM eventbridge.delivery_log_2;
COMMENT ON VIEW delivery_log IS
'Events that are or were owed to targets, until the log''s tables are reused.';

CREATE VIEW delivery_ledger WITH (security_barrier) AS
	SELECT * FROM eventbridge.delivery_ledger_0 UNION ALL
	SELECT * FROM eventbridge.delivery_ledger_1 UNION ALL
	SELECT * FROM eventbridge.delivery_ledger_2;
COMMENT ON VIEW delivery_ledger IS
'Batches of deliveries that were taken and done.';

CREATE VIEW delivery_metric WITH (security_barrier) AS
	SELECT * FROM eventbridge.delivery_metric_0 UNION ALL
	SELECT * FROM eventbridge.delivery_metric_1 UNION ALL
	SELECT * FROM eventbridge.delivery_metric_2;
COMMENT ON VIEW delivery_metric IS
'Counters of deliveries, one row per batch and target; older ones are summed up per minute, oldest under -infinity.';

CREATE TABLE delivery_retry (
	retry_id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
	target_id bigint NOT NULL,
	lane oid NOT NULL,
	event_id uuid NOT NULL,
	bus_id bigint NOT NULL,
	hops integer NOT NULL,
	ingestion_time timestamptz NOT NULL,
	group_key text,
	event text NOT NULL,
	attempts integer NOT NULL,
	next_attempt timestamptz NOT NULL,
	error_code text,
	error_message text,
	order_group bigint,
	order_xid bigint,
	order_no integer,
	order_batch bigint
);
COMMENT ON TABLE delivery_retry IS
'Deliveries that failed and are tried again, that a client program has in hand, that call procedures, or that wait for their turn. src/delivery/order.c describes the last four columns.';
COMMENT ON SEQUENCE delivery_retry_retry_id_seq IS 'Keys of delivery_retry.';
CREATE INDEX delivery_retry_lane_next_attempt_idx ON delivery_retry (lane, next_attempt);
CREATE INDEX delivery_retry_event_id_idx ON delivery_retry (event_id);
CREATE INDEX delivery_retry_order_idx ON delivery_retry
	(lane, target_id, order_group, (attempts = 0), order_xid, ingestion_time, order_no, retry_id)
	WHERE order_group IS NOT NULL;

CREATE TABLE delivery_outcome (
	event_id uuid NOT NULL,
	target_id bigint NOT NULL,
	at timestamptz NOT NULL DEFAULT clock_timestamp(),
	status text NOT NULL CHECK (status IN ('DELIVERED', 'DEAD', 'DROPPED')),
	attempts integer NOT NULL,
	error_code text,
	error_message text
);
COMMENT ON TABLE delivery_outcome IS
'How deliveries ended that did not succeed at once.';
CREATE INDEX delivery_outcome_event_id_idx ON delivery_outcome (event_id);
CREATE INDEX delivery_outcome_at_idx ON delivery_outcome (at);

CREATE TABLE notification (
	message_id uuid PRIMARY KEY,
	topic_id bigint NOT NULL,
	message text NOT NULL,
	sent_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE notification IS
'Messages to topics that were too long for a notification, or that were not to be in it.';
CREATE INDEX notification_sent_at_idx ON notification (sent_at);

CREATE TABLE queue (
	queue_id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
	name text COLLATE "C" NOT NULL UNIQUE,
	owner name NOT NULL,
	visibility_timeout integer NOT NULL DEFAULT 30 CHECK (visibility_timeout BETWEEN 0 AND 43200),
	message_retention_period integer NOT NULL DEFAULT 345600 CHECK (message_retention_period BETWEEN 60 AND 1209600),
	delay_seconds integer NOT NULL DEFAULT 0 CHECK (delay_seconds BETWEEN 0 AND 900),
	creation_time timestamptz NOT NULL DEFAULT now(),
	dead_letter_target_arn text,
	dead_letter_queue text,
	max_receive_count integer CHECK (max_receive_count BETWEEN 1 AND 1000)
);
COMMENT ON SEQUENCE queue_queue_id_seq IS 'Keys of queue.';
COMMENT ON TABLE queue IS
'Queues, with SQS''s attributes in seconds. The last three columns are the redrive policy; dead_letter_queue is the queue that the ARN names.';

/* Workers remember what targets lead to. */
CREATE TRIGGER cache_invalidate AFTER INSERT OR UPDATE OR DELETE ON queue
	FOR EACH ROW EXECUTE FUNCTION cache_invalidate();
CREATE TRIGGER cache_invalidate_truncate AFTER TRUNCATE ON queue
	FOR EACH STATEMENT EXECUTE FUNCTION cache_invalidate();
ALTER TABLE queue ENABLE ALWAYS TRIGGER cache_invalidate;
ALTER TABLE queue ENABLE ALWAYS TRIGGER cache_invalidate_truncate;
CREATE TRIGGER cache_invalidate AFTER INSERT OR UPDATE OR DELETE ON topic
	FOR EACH ROW EXECUTE FUNCTION cache_invalidate();
CREATE TRIGGER cache_invalidate_truncate AFTER TRUNCATE ON topic
	FOR EACH STATEMENT EXECUTE FUNCTION cache_invalidate();
ALTER TABLE topic ENABLE ALWAYS TRIGGER cache_invalidate;
ALTER TABLE topic ENABLE ALWAYS TRIGGER cache_invalidate_truncate;
CREATE TRIGGER cache_invalidate AFTER INSERT OR UPDATE OR DELETE ON log_group
	FOR EACH ROW EXECUTE FUNCTION cache_invalidate();
CREATE TRIGGER cache_invalidate_truncate AFTER TRUNCATE ON log_group
	FOR EACH STATEMENT EXECUTE FUNCTION cache_invalidate();
ALTER TABLE log_group ENABLE ALWAYS TRIGGER cache_invalidate;
ALTER TABLE log_group ENABLE ALWAYS TRIGGER cache_invalidate_truncate;

/*
 * No foreign key to queue: it would cost every message more than storing it.
 * delete_queue and maintenance remove what has no queue.
 */
CREATE TABLE queue_message (
	message_no bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
	queue_id bigint NOT NULL,
	visible_at timestamptz NOT NULL DEFAULT clock_timestamp(),
	sent_at timestamptz NOT NULL DEFAULT clock_timestamp(),
	message_id uuid NOT NULL DEFAULT gen_random_uuid(),
	receive_count integer NOT NULL DEFAULT 0,
	first_received_at timestamptz,
	event_id uuid,
	body text NOT NULL,
	message_attributes jsonb,
	dead_letter jsonb,
	dead_letter_source text,
	receive_count_elsewhere integer NOT NULL DEFAULT 0
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);
COMMENT ON TABLE queue_message IS
'Messages of queues. dead_letter is what an event needs to be delivered again; dead_letter_source is the queue from which a redrive policy has moved the message, and receive_count_elsewhere how often it had been received there.';
COMMENT ON SEQUENCE queue_message_message_no_seq IS 'Keys of queue_message.';
CREATE INDEX queue_message_queue_id_visible_at_idx ON queue_message (queue_id, visible_at);

/* ------------------------- dump and restore -------------------------- */

/*
 * How far each lane has come: no row before the position is owed to it. Names
 * no view, because pg_dump asks by way of _is_owed, and allows none in its
 * session; runs as the owner because views ask for their readers.
 */
CREATE FUNCTION _positions() RETURNS TABLE (lane oid, snapshot pg_snapshot, xid bigint, no integer,
											taken_snapshot pg_snapshot, taken_xid bigint, taken_no integer)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp ROWS 5 AS $$
	WITH ledger AS (
		SELECT * FROM eventbridge.delivery_ledger_0 UNION ALL
		SELECT * FROM eventbridge.delivery_ledger_1 UNION ALL
		SELECT * FROM eventbridge.delivery_ledger_2),
	last AS (
		SELECT DISTINCT ON (l.lane) l.lane, l.batch, l.open || l.batch AS maybe_open,
			l.to_snapshot, l.to_xid, l.to_no
		FROM ledger AS l WHERE NOT l.done ORDER BY l.lane, l.batch DESC),
	open AS (
		SELECT last.lane, min(n.batch) AS batch
		FROM last, unnest(last.maybe_open) AS n (batch)
		WHERE NOT EXISTS (SELECT FROM ledger AS d
						  WHERE d.lane = last.lane AND d.batch = n.batch AND d.done)
		GROUP BY last.lane)
	SELECT last.lane, coalesce(first.from_snapshot, last.to_snapshot), coalesce(first.from_xid, last.to_xid),
		coalesce(first.from_no, last.to_no), last.to_snapshot, last.to_xid, last.to_no
	FROM last LEFT JOIN open USING (lane)
		LEFT JOIN ledger AS first ON first.lane = open.lane AND first.batch = open.batch AND NOT first.done
$$;
COMMENT ON FUNCTION _positions() IS
'Internal: how far each lane has come.';

CREATE VIEW delivery_position WITH (security_barrier) AS SELECT * FROM eventbridge._positions();
COMMENT ON VIEW delivery_position IS
'How far each lane has come in the delivery log: what has been delivered, and what has been taken.';

CREATE FUNCTION _has_passed(snapshot pg_snapshot, part_xid bigint, part_no integer, xid xid8, no integer) RETURNS boolean
AS 'MODULE_PATHNAME', 'eb_has_passed' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION _has_passed(pg_snapshot, bigint, integer, xid8, integer) IS
'Internal: whether a row of the delivery log lies before a position.';

CREATE FUNCTION _is_owed(xid xid8, no integer, lanes oid[]) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
	SELECT EXISTS (
		SELECT FROM unnest(lanes) AS l (lane) LEFT JOIN eventbridge._positions() AS p USING (lane)
		WHERE NOT eventbridge._has_passed(p.snapshot, p.xid, p.no, $1, $2))
$$;
COMMENT ON FUNCTION _is_owed(xid8, integer, oid[]) IS
'Internal: whether somebody is owed a row of the delivery log; pg_dump takes along only these.';

CREATE SEQUENCE delivery_restored_no AS integer MINVALUE 1000000000 CYCLE;
COMMENT ON SEQUENCE delivery_restored_no IS
'Numbers for events that come with a dump, out of the way of those of transactions that put events.';

/*
 * Rows come in by SQL only from a dump. They become rows of the transaction
 * that loads them, in the lane that finds out where they belong.
 */
CREATE FUNCTION _adopt_log_row() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	NEW.xid := pg_current_xact_id();
	NEW.no := nextval('eventbridge.delivery_restored_no');
	NEW.lanes := array_fill(0::oid, ARRAY[cardinality(NEW.targets)]);
	NEW.order_xid := CASE WHEN NEW.group_key IS NOT NULL THEN NEW.xid::text::bigint END;
	RETURN NEW;
END $$;
COMMENT ON FUNCTION _adopt_log_row() IS
'Internal: trigger on the delivery log''s tables, for rows of another cluster.';

CREATE TRIGGER adopt BEFORE INSERT ON delivery_log_0
	FOR EACH ROW EXECUTE FUNCTION _adopt_log_row();
ALTER TABLE delivery_log_0 ENABLE ALWAYS TRIGGER adopt;
SELECT pg_catalog.pg_extension_config_dump('delivery_log_0', 'WHERE eventbridge._is_owed(xid, no, lanes)');

CREATE TRIGGER adopt BEFORE INSERT ON delivery_log_1
	FOR EACH ROW EXECUTE FUNCTION _adopt_log_row();
ALTER TABLE delivery_log_1 ENABLE ALWAYS TRIGGER adopt;
SELECT pg_catalog.pg_extension_config_dump('delivery_log_1', 'WHERE eventbridge._is_owed(xid, no, lanes)');

CREATE TRIGGER adopt BEFORE INSERT ON delivery_log_2
	FOR EACH ROW EXECUTE FUNCTION _adopt_log_row();
ALTER TABLE delivery_log_2 ENABLE ALWAYS TRIGGER adopt;
SELECT pg_catalog.pg_extension_config_dump('delivery_log_2', 'WHERE eventbridge._is_owed(xid, no, lanes)');

SELECT pg_catalog.pg_extension_config_dump('delivery_retry', '');
SELECT pg_catalog.pg_extension_config_dump('notification', '');
SELECT pg_catalog.pg_extension_config_dump('queue', '');
SELECT pg_catalog.pg_extension_config_dump('queue_message', '');
SELECT pg_catalog.pg_extension_config_dump('delivery_retry_retry_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('queue_queue_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('queue_message_message_no_seq', '');

/* ------------------------------ targets ------------------------------ */

/*
 * Who delivers to a target: 0 any session, 1 the client program, else
 * sessions of the role with this id.
 */
CREATE FUNCTION _lane(kind text, role name) RETURNS oid
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	RETURN CASE WHEN kind IN ('api_destination', 'task') THEN 1
		WHEN kind IN ('function', 'procedure') THEN
			coalesce((SELECT a.oid FROM pg_roles AS a WHERE a.rolname = role), 0)
		ELSE 0 END;
END $$;
COMMENT ON FUNCTION _lane(text, name) IS
'Internal: who delivers to targets of a kind that run as a role.';

CREATE FUNCTION _target_lane(target_id bigint) RETURNS oid
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
	SELECT eventbridge._lane(t.kind, coalesce(t.role, r.owner))
	FROM eventbridge.target AS t JOIN eventbridge.rule AS r USING (rule_id)
	WHERE t.target_id = $1
$$;
COMMENT ON FUNCTION _target_lane(bigint) IS
'Internal: who delivers to a target; null if it is gone.';

/*
 * All that a delivery needs to know of its target; src/delivery/target.c reads
 * it. In PL/pgSQL, which keeps its plans.
 */
CREATE FUNCTION _delivery_target(target_id bigint,
	OUT kind text, OUT resource text, OUT resource_id bigint, OUT routine oid, OUT lane oid,
	OUT claim_check boolean, OUT input text, OUT input_path text, OUT paths_map text, OUT template text,
	OUT rule_name text, OUT rule_arn text, OUT target_arn text, OUT role name,
	OUT maximum_retry_attempts integer, OUT maximum_event_age_in_seconds integer,
	OUT obstacle_code text, OUT obstacle text, OUT rule_id bigint, OUT ordered boolean) RETURNS SETOF record
LANGUAGE plpgsql STABLE ROWS 1 SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	RETURN QUERY SELECT t.kind, t.resource,
		CASE t.kind
			WHEN 'queue' THEN (SELECT q.queue_id FROM eventbridge.queue AS q WHERE q.name = t.resource)
			WHEN 'topic' THEN (SELECT o.topic_id FROM eventbridge.topic AS o WHERE o.name = t.resource)
			WHEN 'log_group' THEN (SELECT g.log_group_id FROM eventbridge.log_group AS g WHERE g.name = t.resource)
			WHEN 'event_bus' THEN (SELECT e.bus_id FROM eventbridge.event_bus AS e WHERE e.name = t.resource)
		END,
		CASE WHEN t.kind IN ('function', 'procedure') THEN eventbridge._target_routine(t.kind, t.resource) END,
		eventbridge._lane(t.kind, coalesce(t.role, r.owner)),
		(SELECT o.claim_check FROM eventbridge.topic AS o WHERE t.kind = 'topic' AND o.name = t.resource),
		t.input, t.input_path, t.input_transformer ->> 'InputPathsMap', t.input_transformer ->> 'InputTemplate',
		r.name, eventbridge._rule_arn(b.name, r.name), t.arn, coalesce(t.role, r.owner),
		t.maximum_retry_attempts, t.maximum_event_age_in_seconds,
		CASE o.code WHEN 'ResourceNotFoundException' THEN 'NO_RESOURCE'
			WHEN 'AccessDeniedException' THEN 'NO_PERMISSIONS' END,
		o.message, r.rule_id, t.ordered
	FROM eventbridge.target AS t
		JOIN eventbridge.rule AS r USING (rule_id)
		JOIN eventbridge.event_bus AS b ON b.bus_id = r.bus_id
		LEFT JOIN LATERAL eventbridge._delivery_obstacle(t.kind, t.resource, coalesce(t.role, r.owner)) AS o ON true
	WHERE t.target_id = $1;
END $$;
COMMENT ON FUNCTION _delivery_target(bigint) IS
'Internal: a target as it is invoked; no row if it is gone.';

/* What has become of a role that was dropped since is for NO_PERMISSIONS. */
CREATE FUNCTION _delivery_obstacle(kind text, resource text, role name,
	OUT code text, OUT message text) RETURNS SETOF record
LANGUAGE plpgsql STABLE ROWS 1 SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	IF NOT EXISTS (SELECT FROM pg_roles AS a WHERE a.rolname = role) THEN
		code := 'AccessDeniedException';
		message := format('role "%s" does not exist', role);
		RETURN NEXT;
		RETURN;
	END IF;
	FOR code, message IN SELECT o.code, o.message FROM eventbridge._target_obstacle(kind, resource, role) AS o LOOP
		RETURN NEXT;
	END LOOP;
END $$;
COMMENT ON FUNCTION _delivery_obstacle(text, text, name) IS
'Internal: what keeps a delivery from its target.';

/*
 * The end of a delivery that failed for good. True if its dead-letter queue
 * has it now, false if it has one that cannot take it, null if it has none.
 */
CREATE FUNCTION _bury(target_id bigint, event_id uuid, bus_id bigint, hops integer, ingestion_time timestamptz,
					  group_key text, event text, input text, code text, message text, attempts integer,
					  condition text) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	found_target record;
	queue_id bigint;
	sent boolean;
BEGIN
	SELECT t.arn, t.dead_letter_queue, eventbridge._rule_arn(b.name, r.name) AS rule_arn, r.owner INTO found_target
	FROM eventbridge.target AS t JOIN eventbridge.rule AS r USING (rule_id)
		JOIN eventbridge.event_bus AS b ON b.bus_id = r.bus_id
	WHERE t.target_id = _bury.target_id;
	IF found_target.dead_letter_queue IS NOT NULL THEN
		SELECT q.queue_id INTO queue_id FROM eventbridge.queue AS q
		WHERE q.name = found_target.dead_letter_queue AND eventbridge._acts_as(found_target.owner, q.owner);
		sent := FOUND;
	END IF;
	IF sent THEN
		INSERT INTO eventbridge.queue_message (queue_id, event_id, body, message_attributes, dead_letter)
		VALUES (queue_id, _bury.event_id, input,
			(SELECT jsonb_object_agg(a.name, jsonb_build_object('DataType', a.type, 'StringValue', a.value))
			 FROM (VALUES ('RULE_ARN', 'String', found_target.rule_arn), ('TARGET_ARN', 'String', found_target.arn),
					('ERROR_CODE', 'String', code), ('ERROR_MESSAGE', 'String', message),
					('EXHAUSTED_RETRY_CONDITION', 'String', condition),
					('RETRY_ATTEMPTS', 'Number', (attempts - 1)::text)) AS a (name, type, value)
			 WHERE a.value IS NOT NULL),
			jsonb_build_object('target_id', _bury.target_id, 'bus_id', bus_id, 'hops', hops,
				'ingestion_time', ingestion_time, 'group_key', group_key, 'event', event));
	END IF;
	INSERT INTO eventbridge.delivery_outcome (event_id, target_id, status, attempts, error_code, error_message)
	VALUES (_bury.event_id, _bury.target_id, CASE WHEN sent THEN 'DEAD' ELSE 'DROPPED' END, attempts, code, message);
	RETURN sent;
END $$;
COMMENT ON FUNCTION _bury(bigint, uuid, bigint, integer, timestamptz, text, text, text, text, text, integer, text) IS
'Internal: the end of a delivery that failed for good.';

CREATE FUNCTION _has_order(lane oid) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off AS $$
BEGIN
	RETURN EXISTS (SELECT FROM eventbridge.delivery_retry AS r WHERE r.lane = $1 AND r.order_group IS NOT NULL);
END $$;
COMMENT ON FUNCTION _has_order(oid) IS
'Internal: whether a lane has deliveries to ordered targets that wait or are retried.';

/*
 * Deliveries whose turn it is: the first row of each target and group, going
 * round from the group after the given one. Each step is a look into the
 * index, whatever the planner thinks of the table's size.
 */
CREATE FUNCTION _due_in_order(lane oid, max_deliveries integer, before_batch bigint, until_xid bigint,
							  after_target bigint, after_group bigint,
							  OUT retry_id bigint, OUT target_id bigint, OUT order_group bigint) RETURNS SETOF record
LANGUAGE plpgsql ROWS 10 SET search_path = pg_catalog, pg_temp
	SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off SET enable_incremental_sort = off AS $$
BEGIN
	RETURN QUERY
	WITH RECURSIVE g AS (
		(SELECT r.target_id, r.order_group FROM eventbridge.delivery_retry AS r
		 WHERE r.lane = $1 AND r.order_group IS NOT NULL AND (r.target_id, r.order_group) > ($5, $6)
		 ORDER BY r.target_id, r.order_group LIMIT 1)
		UNION ALL
		SELECT n.* FROM g, LATERAL (
			SELECT r.target_id, r.order_group FROM eventbridge.delivery_retry AS r
			WHERE r.lane = $1 AND r.order_group IS NOT NULL AND (r.target_id, r.order_group) > (g.target_id, g.order_group)
			ORDER BY r.target_id, r.order_group LIMIT 1) AS n)
	SELECT h.retry_id, g.target_id, g.order_group
	FROM g, LATERAL (
		SELECT r.* FROM eventbridge.delivery_retry AS r
		WHERE r.lane = $1 AND r.target_id = g.target_id AND r.order_group = g.order_group
		ORDER BY (r.attempts = 0), r.order_xid, r.ingestion_time, r.order_no, r.retry_id LIMIT 1) AS h
	WHERE (h.next_attempt <= clock_timestamp() OR h.next_attempt = 'infinity')
		AND (h.attempts > 0 OR h.order_batch < $3 AND h.order_xid <= $4)
	LIMIT $2;
END $$;
COMMENT ON FUNCTION _due_in_order(oid, integer, bigint, bigint, bigint, bigint) IS
'Internal: deliveries to ordered targets whose turn it is.';

CREATE PROCEDURE run_deliveries(max_deliveries integer DEFAULT NULL)
AS 'MODULE_PATHNAME', 'eb_run_deliveries' LANGUAGE C;
COMMENT ON PROCEDURE run_deliveries(integer) IS
'Makes one pass over what is owed to targets in the database, committing batch by batch. Ends when nothing is left that is due, or after about max_deliveries. Queues, topics, buses and log groups are served by any session; functions and procedures only if the session''s user is the role that they run as. A procedure may commit, if this call is a statement of its own. Cannot run inside a transaction block.';

/* --------------------------- client program -------------------------- */

CREATE FUNCTION worker_claim(max_deliveries integer DEFAULT 100)
RETURNS TABLE (delivery_id bigint, attempt integer, event_id uuid, target_id bigint, target_arn text, input text,
			   kind text, resource text, invocation_endpoint text, http_method text,
			   invocation_rate_limit_per_second integer, header_parameters jsonb, signing_secret text,
			   http_parameters jsonb)
AS 'MODULE_PATHNAME', 'eb_worker_claim' LANGUAGE C STRICT;
COMMENT ON FUNCTION worker_claim(integer) IS
'For workers: takes about max_deliveries deliveries to API destinations and tasks that are due, and gives what it takes to make them. They are the session''s until worker_report, or until it ends; a transaction that is rolled back gives up all that the session has. Needs READ COMMITTED, and cannot run inside a subtransaction.';

CREATE FUNCTION worker_report(delivery_id bigint, attempt integer, outcome text, error_code text DEFAULT NULL,
							  error_message text DEFAULT NULL, retry_after_ms bigint DEFAULT NULL) RETURNS bigint
AS 'MODULE_PATHNAME', 'eb_worker_report' LANGUAGE C;
COMMENT ON FUNCTION worker_report(bigint, integer, text, text, text, bigint) IS
'For workers: how an attempt went that worker_claim gave: DELIVERED; FAILED, to be tried again, not within retry_after_ms; REFUSED, for good; POSTPONED, not attempted, to be given out again after retry_after_ms. Returns the milliseconds until the delivery is tried again, 0 if it is not, and null if somebody else has taken it meanwhile: then the report does not count.';

CREATE PROCEDURE worker_deliver(INOUT next_look bigint DEFAULT NULL)
AS 'MODULE_PATHNAME', 'eb_worker_deliver' LANGUAGE C;
COMMENT ON PROCEDURE worker_deliver(bigint) IS
'For workers: a part of what run_deliveries does, bounded in time. Gives 0 if it found something, so that there may be more; else the milliseconds until a retry or a pipe is due although nobody rings, or null if none is. Cannot run inside a transaction block.';

/* ---------------------------- maintenance ---------------------------- */

/* Whatever can be tidied up without emptying tables. */
CREATE FUNCTION _tidy() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	retention constant interval := current_setting('eventbridge.log_retention')::interval;
BEGIN
	/* A role may have been renamed, a dump restored. */
	UPDATE eventbridge.delivery_retry AS r SET lane = t.lane,
		order_xid = CASE WHEN r.order_group IS NOT NULL THEN 0 END,
		order_batch = CASE WHEN r.order_group IS NOT NULL THEN 0 END
	FROM (SELECT g.target_id, eventbridge._lane(g.kind, coalesce(g.role, u.owner)) AS lane
		  FROM eventbridge.target AS g JOIN eventbridge.rule AS u USING (rule_id)) AS t
	WHERE r.target_id = t.target_id AND r.lane <> t.lane;
	DELETE FROM eventbridge.delivery_outcome AS o WHERE o.at < clock_timestamp() - greatest(retention, '1 h');
	DELETE FROM eventbridge.notification AS n WHERE n.sent_at < clock_timestamp() - interval '4 days';
	DELETE FROM eventbridge.log_event AS e USING eventbridge.log_group AS g
	WHERE g.log_group_id = e.log_group_id AND e.ingestion_time < clock_timestamp() - make_interval(days => g.retention_in_days);
	DELETE FROM eventbridge.queue_message AS m USING eventbridge.queue AS q
	WHERE q.queue_id = m.queue_id AND m.sent_at < clock_timestamp() - make_interval(secs => q.message_retention_period);
	DELETE FROM eventbridge.queue_message AS m
	WHERE NOT EXISTS (SELECT FROM eventbridge.queue AS q WHERE q.queue_id = m.queue_id);
	PERFORM eventbridge._tidy_pipes();
END $$;
COMMENT ON FUNCTION _tidy() IS
'Internal: removes what is past its retention, and finds retries their worker.';

/* Keeps of set i what its successor needs to know. */
CREATE FUNCTION _carry_over(from_set integer, to_set integer) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	EXECUTE format('
		WITH last AS (
			SELECT DISTINCT ON (l.lane) l.lane, l.open || l.batch AS batches
			FROM eventbridge.delivery_ledger AS l WHERE NOT l.done ORDER BY l.lane, l.batch DESC)
		INSERT INTO eventbridge.delivery_ledger_%2$s
		SELECT l.* FROM eventbridge.delivery_ledger_%1$s AS l JOIN last USING (lane)
		WHERE l.batch = ANY (last.batches)', from_set, to_set);
	EXECUTE format('
		INSERT INTO eventbridge.delivery_metric_%2$s
		SELECT CASE WHEN at > clock_timestamp() - interval ''3 h'' THEN date_trunc(''minute'', at) ELSE ''-infinity'' END,
			rule_id, target_id, sum(first_attempts), sum(retries), sum(successes), sum(failed), sum(to_dlq),
			sum(not_to_dlq), sum(looped), sum(start_latency), sum(attempt_latency), sum(latency), sum(matched), sum(matched_first)
		FROM eventbridge.delivery_metric_%1$s GROUP BY 1, 2, 3', from_set, to_set);
END $$;
COMMENT ON FUNCTION _carry_over(integer, integer) IS
'Internal: copies what is still needed of a set of delivery tables into another.';

/*
 * Does a set have rows that must be kept: young ones, such that are owed to a
 * lane, or to one that has not begun? Transactions below a position's xmin
 * have passed there. What was put last is looked at first, because it mostly
 * decides. "since" is a transaction: what was put by earlier ones is known.
 */
CREATE FUNCTION _set_is_needed(set_no integer, since xid8) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	cutoff constant timestamptz := clock_timestamp() - current_setting('eventbridge.log_retention')::interval;
	known_lanes oid[] := '{}';
	p record;
	needed boolean;
BEGIN
	EXECUTE format('SELECT EXISTS (SELECT FROM (SELECT d.ingestion_time FROM eventbridge.delivery_log_%s AS d ORDER BY d.xid DESC, d.no DESC LIMIT 100) AS d
		WHERE d.ingestion_time > $1)', set_no) INTO needed USING cutoff;
	FOR p IN SELECT * FROM eventbridge.delivery_position LOOP
		EXIT WHEN needed;
		EXECUTE format('SELECT EXISTS (SELECT FROM eventbridge.delivery_log_%s AS d
			WHERE d.xid >= pg_snapshot_xmin($1) AND NOT eventbridge._has_passed($1, $2, $3, d.xid, d.no) AND $4 = ANY (d.lanes))', set_no)
			INTO needed USING p.snapshot, p.xid, p.no, p.lane;
		known_lanes := known_lanes || p.lane;
	END LOOP;
	IF NOT needed THEN
		EXECUTE format('SELECT EXISTS (SELECT FROM eventbridge.delivery_log_%s AS d
			WHERE d.xid >= $1 AND (d.ingestion_time > $2 OR NOT d.lanes <@ $3))', set_no)
			INTO needed USING since, cutoff, known_lanes;
	END IF;
	RETURN needed;
END $$;
COMMENT ON FUNCTION _set_is_needed(integer, xid8) IS
'Internal: whether a set of delivery tables has rows that must be kept.';

/*
 * Empties a set that nobody needs any more. Raises lock_not_available if
 * somebody uses it, object_in_use if it still has to stay. What transactions
 * have added that were still running at the first look is looked for again
 * under the lock.
 */
CREATE FUNCTION _empty_set(set_no integer, current_set integer) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	oldest_running constant xid8 := pg_snapshot_xmin(pg_current_snapshot());
BEGIN
	IF eventbridge._set_is_needed(set_no, '3') THEN
		RAISE object_in_use;
	END IF;
	EXECUTE format('LOCK TABLE eventbridge.delivery_log_%1$s, eventbridge.delivery_ledger_%1$s, eventbridge.delivery_metric_%1$s
		IN ACCESS EXCLUSIVE MODE NOWAIT', set_no);
	IF eventbridge._set_is_needed(set_no, oldest_running) THEN
		RAISE object_in_use;
	END IF;
	PERFORM eventbridge._carry_over(set_no, current_set);
	EXECUTE format('TRUNCATE eventbridge.delivery_log_%1$s, eventbridge.delivery_ledger_%1$s, eventbridge.delivery_metric_%1$s', set_no);
END $$;
COMMENT ON FUNCTION _empty_set(integer, integer) IS
'Internal: empties a set of delivery tables.';

/*
 * If the current set has grown or is old, empties another for the time after
 * it. Gives its number; the caller turns to it after commit, so that no
 * writer waits for the lock that this holds.
 */
CREATE FUNCTION _rotate() RETURNS integer
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	retention constant interval := current_setting('eventbridge.log_retention')::interval;
	current_set constant integer := (SELECT last_value FROM eventbridge.delivery_turn);
	next_set integer;
	since timestamptz;
BEGIN
	IF pg_total_relation_size(format('eventbridge.delivery_log_%s', current_set)::regclass)
		+ pg_total_relation_size(format('eventbridge.delivery_ledger_%s', current_set)::regclass)
		+ pg_total_relation_size(format('eventbridge.delivery_metric_%s', current_set)::regclass)
		< pg_size_bytes(current_setting('eventbridge.log_segment_size')) THEN
		EXECUTE format('SELECT ingestion_time FROM eventbridge.delivery_log_%s ORDER BY xid, no LIMIT 1', current_set) INTO since;
		IF since IS NULL OR since > clock_timestamp() - greatest(retention, '1 min') THEN
			RETURN NULL;
		END IF;
	END IF;
	FOR i IN 1 .. 2 LOOP
		next_set := (current_set + i) % 3;
		BEGIN
			PERFORM eventbridge._empty_set(next_set, current_set);
			RETURN next_set;
		EXCEPTION WHEN lock_not_available OR object_in_use THEN
			NULL;
		END;
	END LOOP;
	RETURN NULL;
END $$;
COMMENT ON FUNCTION _rotate() IS
'Internal: finds an empty set of delivery tables when the current one has grown.';

/* ---------------------------------------------------------------------
 * Queues, with SQS's verbs. Those who have the rights of a queue's owner may
 * use it.
 * --------------------------------------------------------------------- */

CREATE VIEW queues WITH (security_barrier) AS
	SELECT q.name, eventbridge._arn('sqs', q.name) AS arn, q.owner, q.visibility_timeout,
		q.message_retention_period, q.delay_seconds, q.creation_time,
		CASE WHEN q.max_receive_count IS NOT NULL THEN
			jsonb_build_object('deadLetterTargetArn', q.dead_letter_target_arn, 'maxReceiveCount', q.max_receive_count)
		END AS redrive_policy
	FROM eventbridge.queue AS q WHERE eventbridge._acts_as(current_user, q.owner);
COMMENT ON VIEW queues IS 'The queues that the current role owns.';

/* The queue of this name or ARN, for those who may use it. */
CREATE FUNCTION _queue(name_or_arn text) RETURNS eventbridge.queue
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	found_queue eventbridge.queue;
BEGIN
	SELECT q.* INTO found_queue FROM eventbridge.queue AS q
	WHERE q.name = coalesce((SELECT a.resource FROM eventbridge._resolve_arn(name_or_arn) AS a WHERE a.kind = 'queue'), name_or_arn);
	IF NOT FOUND THEN
		RAISE EXCEPTION USING ERRCODE = 'undefined_object', MESSAGE = 'The specified queue does not exist.',
			DETAIL = 'AWS error code: QueueDoesNotExist.';
	END IF;
	PERFORM eventbridge._require_owner(found_queue.owner, 'queue', found_queue.name);
	RETURN found_queue;
END $$;
COMMENT ON FUNCTION _queue(text) IS
'Internal: the queue of a name or ARN, if the caller may use it.';

/* One of SQS's attributes, which come as JSON strings or numbers. */
CREATE FUNCTION _queue_attribute(attributes jsonb, name text, low integer, high integer, absent integer) RETURNS integer
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	value constant text := attributes ->> name;
BEGIN
	IF value IS NULL THEN
		RETURN absent;
	END IF;
	IF value !~ '^[0-9]{1,9}$' OR value::integer NOT BETWEEN low AND high THEN
		RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
			MESSAGE = format('Invalid value for the parameter %s.', name),
			DETAIL = 'AWS error code: InvalidAttributeValue.',
			HINT = format('It must be a whole number from %s to %s.', low, high);
	END IF;
	RETURN value;
END $$;
COMMENT ON FUNCTION _queue_attribute(jsonb, text, integer, integer, integer) IS
'Internal: one of SQS''s queue attributes.';

/*
 * A queue's RedrivePolicy, a JSON object or, as in AWS, a string that holds
 * one; an empty string takes the policy away.
 */
CREATE FUNCTION _with_redrive_policy(INOUT q eventbridge.queue, given jsonb)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	given_text constant text := given #>> '{}';
	complaint constant text := format('Value %s for parameter RedrivePolicy is invalid. Reason: ', given_text);
	policy jsonb := given;
	missing text;
	found_queue text;
	obstacle record;
BEGIN
	IF given = '""' THEN
		q.dead_letter_target_arn := NULL;
		q.dead_letter_queue := NULL;
		q.max_receive_count := NULL;
		RETURN;
	END IF;
	IF jsonb_typeof(given) = 'string' THEN
		BEGIN
			policy := given_text::jsonb;
		EXCEPTION WHEN data_exception THEN
			policy := 'null';
		END;
	END IF;
	IF jsonb_typeof(policy) <> 'object' THEN
		PERFORM eventbridge._raise('InvalidAttributeValue',
			'Invalid value for the parameter RedrivePolicy. Reason: Redrive policy is not a valid JSON map.');
	END IF;
	SELECT m INTO missing FROM unnest('{maxReceiveCount,deadLetterTargetArn}'::text[]) AS m WHERE policy ->> m IS NULL LIMIT 1;
	IF FOUND THEN
		PERFORM eventbridge._raise('InvalidParameterValue',
			complaint || format('Redrive policy does not contain mandatory attribute: %s.', missing));
	ELSIF policy - '{maxReceiveCount,deadLetterTargetArn}'::text[] <> '{}' THEN
		PERFORM eventbridge._raise('InvalidParameterValue',
			complaint || 'Only following attributes are supported: [maxReceiveCount, deadLetterTargetArn].');
	ELSIF policy ->> 'maxReceiveCount' !~ '^[0-9]{1,4}$' OR (policy ->> 'maxReceiveCount')::integer NOT BETWEEN 1 AND 1000 THEN
		PERFORM eventbridge._raise('InvalidParameterValue',
			complaint || format('Invalid value for maxReceiveCount: %s, valid values are from 1 to 1000 both inclusive.', policy ->> 'maxReceiveCount'));
	END IF;
	SELECT d.name INTO found_queue
	FROM eventbridge._resolve_arn(policy ->> 'deadLetterTargetArn') AS a JOIN eventbridge.queue AS d ON d.name = a.resource
	WHERE a.kind = 'queue';
	IF NOT FOUND THEN
		PERFORM eventbridge._raise('InvalidParameterValue', complaint || 'Dead letter target does not exist.');
	ELSIF found_queue = q.name THEN
		PERFORM eventbridge._raise('InvalidParameterValue', complaint || 'A queue cannot be its own dead-letter queue.');
	END IF;
	FOR obstacle IN SELECT * FROM eventbridge._target_obstacle('queue', found_queue, q.owner) LOOP
		PERFORM eventbridge._raise(obstacle.code, obstacle.message, obstacle.hint);
	END LOOP;
	q.dead_letter_target_arn := policy ->> 'deadLetterTargetArn';
	q.dead_letter_queue := found_queue;
	q.max_receive_count := policy ->> 'maxReceiveCount';
END $$;
COMMENT ON FUNCTION _with_redrive_policy(queue, jsonb) IS
'Internal: a queue with another redrive policy.';

/* A queue with those of SQS's attributes that are given. */
CREATE FUNCTION _with_queue_attributes(INOUT q eventbridge.queue, attributes jsonb)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	unknown text;
BEGIN
	IF jsonb_typeof(attributes) IS DISTINCT FROM 'object' THEN
		RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'attributes must be a JSON object';
	END IF;
	SELECT k INTO unknown FROM jsonb_object_keys(attributes) AS k
	WHERE k NOT IN ('VisibilityTimeout', 'MessageRetentionPeriod', 'DelaySeconds', 'RedrivePolicy') ORDER BY k LIMIT 1;
	IF FOUND THEN
		PERFORM eventbridge._raise('InvalidAttributeName', format('Unknown Attribute %s.', unknown));
	END IF;
	q.visibility_timeout := eventbridge._queue_attribute(attributes, 'VisibilityTimeout', 0, 43200, q.visibility_timeout);
	q.message_retention_period := eventbridge._queue_attribute(attributes, 'MessageRetentionPeriod', 60, 1209600, q.message_retention_period);
	q.delay_seconds := eventbridge._queue_attribute(attributes, 'DelaySeconds', 0, 900, q.delay_seconds);
	IF attributes ->> 'RedrivePolicy' IS NOT NULL THEN
		q := eventbridge._with_redrive_policy(q, attributes -> 'RedrivePolicy');
	END IF;
END $$;
COMMENT ON FUNCTION _with_queue_attributes(queue, jsonb) IS
'Internal: a queue with some attributes changed.';

CREATE FUNCTION create_queue(queue_name text, attributes jsonb DEFAULT '{}') RETURNS text
AS 'MODULE_PATHNAME', 'eb_gate' LANGUAGE C PARALLEL UNSAFE;
COMMENT ON FUNCTION create_queue(text, jsonb) IS
'Creates a queue, which belongs to the caller, and returns its ARN (CreateQueue). Attributes are VisibilityTimeout (0 to 43200 seconds, default 30), MessageRetentionPeriod (60 to 1209600, default 345600), DelaySeconds (0 to 900, default 0) and RedrivePolicy ({"deadLetterTargetArn": ..., "maxReceiveCount": 1 to 1000}, as an object or as a string that holds one). The same call again returns the same queue; with other attributes it fails.';

CREATE FUNCTION _create_queue(p_queue_name text, p_attributes jsonb) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	wanted eventbridge.queue;
	existing eventbridge.queue;
BEGIN
	IF p_queue_name LIKE '%.fifo' THEN
		RAISE EXCEPTION USING ERRCODE = 'feature_not_supported', MESSAGE = 'FIFO queues are not supported';
	END IF;
	IF p_queue_name IS NULL OR p_queue_name !~ '^[A-Za-z0-9_-]{1,80}$' THEN
		PERFORM eventbridge._raise('InvalidParameterValue',
			'Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length');
	END IF;
	wanted.name := p_queue_name;
	wanted.owner := eventbridge._caller();
	wanted.visibility_timeout := 30;
	wanted.message_retention_period := 345600;
	wanted.delay_seconds := 0;
	wanted := eventbridge._with_queue_attributes(wanted, p_attributes);
	INSERT INTO eventbridge.queue (name, owner, visibility_timeout, message_retention_period, delay_seconds,
		dead_letter_target_arn, dead_letter_queue, max_receive_count)
	VALUES (wanted.name, wanted.owner, wanted.visibility_timeout, wanted.message_retention_period, wanted.delay_seconds,
		wanted.dead_letter_target_arn, wanted.dead_letter_queue, wanted.max_receive_count)
	ON CONFLICT (name) DO NOTHING;
	IF NOT FOUND THEN
		existing := eventbridge._queue(p_queue_name);
		IF (existing.visibility_timeout, existing.message_retention_period, existing.delay_seconds,
				existing.dead_letter_queue, existing.max_receive_count)
			IS DISTINCT FROM (wanted.visibility_timeout, wanted.message_retention_period, wanted.delay_seconds,
				wanted.dead_letter_queue, wanted.max_receive_count) THEN
			RAISE EXCEPTION USING ERRCODE = 'duplicate_object',
				MESSAGE = 'A queue already exists with the same name and a different value for attributes',
				DETAIL = 'AWS error code: QueueAlreadyExists.';
		END IF;
	END IF;
	RETURN eventbridge._arn('sqs', p_queue_name);
END $$;
COMMENT ON FUNCTION _create_queue(text, jsonb) IS 'Internal: see create_queue.';

CREATE FUNCTION set_queue_attributes(queue_name text, attributes jsonb) RETURNS void
AS 'MODULE_PATHNAME', 'eb_gate' LANGUAGE C PARALLEL UNSAFE;
COMMENT ON FUNCTION set_queue_attributes(text, jsonb) IS
'Changes attributes of a queue, given by name or ARN (SetQueueAttributes); they are those of create_queue. Those that are not given stay as they are. An empty string as RedrivePolicy takes the policy away.';

CREATE FUNCTION _set_queue_attributes(p_queue_name text, p_attributes jsonb) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	changed eventbridge.queue := eventbridge._queue(p_queue_name);
BEGIN
	SELECT q.* INTO changed FROM eventbridge.queue AS q WHERE q.queue_id = changed.queue_id FOR NO KEY UPDATE;
	IF NOT FOUND THEN
		RETURN;
	END IF;
	changed := eventbridge._with_queue_attributes(changed, p_attributes);
	UPDATE eventbridge.queue AS q SET visibility_timeout = changed.visibility_timeout,
		message_retention_period = changed.message_retention_period, delay_seconds = changed.delay_seconds,
		dead_letter_target_arn = changed.dead_letter_target_arn, dead_letter_queue = changed.dead_letter_queue,
		max_receive_count = changed.max_receive_count
	WHERE q.queue_id = changed.queue_id;
END $$;
COMMENT ON FUNCTION _set_queue_attributes(text, jsonb) IS 'Internal: see set_queue_attributes.';

CREATE FUNCTION delete_queue(queue_name text) RETURNS void
AS 'MODULE_PATHNAME', 'eb_gate' LANGUAGE C PARALLEL UNSAFE;
COMMENT ON FUNCTION delete_queue(text) IS
'Deletes a queue, given by name or ARN, with its messages (DeleteQueue).';

CREATE FUNCTION _delete_queue(p_queue_name text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	found_queue constant eventbridge.queue := eventbridge._queue(p_queue_name);
BEGIN
	DELETE FROM eventbridge.queue AS q WHERE q.queue_id = found_queue.queue_id;
	DELETE FROM eventbridge.queue_message AS m WHERE m.queue_id = found_queue.queue_id;
END $$;
COMMENT ON FUNCTION _delete_queue(text) IS 'Internal: see delete_queue.';

CREATE FUNCTION send_message(queue_name text, message_body text, delay_seconds integer DEFAULT NULL,
							 message_attributes jsonb DEFAULT NULL) RETURNS uuid
AS 'MODULE_PATHNAME', 'eb_gate' LANGUAGE C PARALLEL UNSAFE;
COMMENT ON FUNCTION send_message(text, text, integer, jsonb) IS
'Puts a message into a queue, given by name or ARN, and returns its id (SendMessage). It can be received after delay_seconds (0 to 900; default is the queue''s).';

CREATE FUNCTION _send_message(p_queue_name text, p_message_body text, p_delay_seconds integer,
							  p_message_attributes jsonb) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	found_queue constant eventbridge.queue := eventbridge._queue(p_queue_name);
	delay constant integer := eventbridge._queue_attribute(jsonb_build_object('DelaySeconds', p_delay_seconds),
		'DelaySeconds', 0, 900, found_queue.delay_seconds);
	new_id uuid;
BEGIN
	IF coalesce(p_message_body, '') = '' THEN
		RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
			MESSAGE = 'The request must contain the parameter MessageBody.',
			DETAIL = 'AWS error code: MissingParameter.';
	END IF;
	INSERT INTO eventbridge.queue_message (queue_id, body, visible_at, message_attributes)
	VALUES (found_queue.queue_id, p_message_body, clock_timestamp() + make_interval(secs => delay), p_message_attributes)
	RETURNING message_id INTO new_id;
	RETURN new_id;
END $$;
COMMENT ON FUNCTION _send_message(text, text, integer, jsonb) IS 'Internal: see send_message.';

CREATE TYPE received_message AS (
	message_id uuid,
	receipt_handle text,
	body text,
	attributes jsonb,
	message_attributes jsonb
);
COMMENT ON TYPE received_message IS 'A message as receive_messages gives it.';

/* The queue that takes what has been received too often; null if none can. */
CREATE FUNCTION _dead_letter_queue_of(q eventbridge.queue) RETURNS bigint
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	IF q.max_receive_count IS NULL THEN
		RETURN NULL;
	END IF;
	RETURN (SELECT d.queue_id FROM eventbridge.queue AS d
			WHERE d.name = q.dead_letter_queue AND eventbridge._acts_as(q.owner, d.owner));
END $$;
COMMENT ON FUNCTION _dead_letter_queue_of(queue) IS
'Internal: where a queue''s redrive policy moves messages.';

/*
 * The next messages that can be received, locked. Those that have been
 * received too often are moved on the way: then the first ones are looked
 * for anew, until none of them is of that kind.
 */
CREATE FUNCTION _receivable(q eventbridge.queue, max_messages integer) RETURNS bigint[]
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	dead_letter_queue_id constant bigint := eventbridge._dead_letter_queue_of(q);
	limit_here constant integer := CASE WHEN dead_letter_queue_id IS NOT NULL THEN q.max_receive_count END;
	cutoff constant timestamptz := clock_timestamp();
	found_ones bigint[];
	spent bigint[];
BEGIN
	LOOP
		SELECT array_agg(c.message_no), array_agg(c.message_no) FILTER (WHERE c.receives >= limit_here) INTO found_ones, spent
		FROM (SELECT m.message_no, m.receive_count - m.receive_count_elsewhere AS receives
			  FROM eventbridge.queue_message AS m
			  WHERE m.queue_id = q.queue_id AND m.visible_at <= cutoff
				AND m.sent_at > cutoff - make_interval(secs => q.message_retention_period)
			  ORDER BY m.visible_at LIMIT max_messages FOR UPDATE SKIP LOCKED) AS c;
		IF spent IS NULL THEN
			RETURN found_ones;
		END IF;
		UPDATE eventbridge.queue_message AS m SET queue_id = dead_letter_queue_id, visible_at = clock_timestamp(),
			dead_letter_source = q.name, receive_count_elsewhere = m.receive_count
		WHERE m.message_no = ANY (spent);
	END LOOP;
END $$;
COMMENT ON FUNCTION _receivable(queue, integer) IS
'Internal: locks the messages that can be received next.';

/* AWS's attributes of a message that has been received so often. */
CREATE FUNCTION _message_attributes(m eventbridge.queue_message, receive_count integer, first_received_at timestamptz) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
	SELECT jsonb_build_object(
			'SentTimestamp', (extract(epoch FROM $1.sent_at) * 1000)::bigint::text,
			'ApproximateReceiveCount', $2::text,
			'ApproximateFirstReceiveTimestamp', (extract(epoch FROM $3) * 1000)::bigint::text)
		|| CASE WHEN $1.dead_letter_source IS NULL THEN '{}'
			ELSE jsonb_build_object('DeadLetterQueueSourceArn', eventbridge._arn('sqs', $1.dead_letter_source)) END
$$;
COMMENT ON FUNCTION _message_attributes(queue_message, integer, timestamptz) IS
'Internal: the attributes with which a message is received.';

/*
 * A set cannot pass through the gate, an array can.
 */
CREATE FUNCTION receive_message_batch(queue_name text, max_number_of_messages integer, visibility_timeout integer)
RETURNS received_message[]
AS 'MODULE_PATHNAME', 'eb_gate' LANGUAGE C PARALLEL UNSAFE;
COMMENT ON FUNCTION receive_message_batch(text, integer, integer) IS
'Internal: see receive_messages.';

CREATE FUNCTION _receive_message_batch(p_queue_name text, p_max integer, p_visibility_timeout integer)
RETURNS eventbridge.received_message[]
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	found_queue constant eventbridge.queue := eventbridge._queue(p_queue_name);
	timeout constant integer := eventbridge._queue_attribute(jsonb_build_object('VisibilityTimeout', p_visibility_timeout),
		'VisibilityTimeout', 0, 43200, found_queue.visibility_timeout);
	chosen bigint[];
	received eventbridge.received_message[];
BEGIN
	IF p_max IS NULL OR p_max < 1 THEN
		RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
			MESSAGE = format('Value %s for parameter MaxNumberOfMessages is invalid. Reason: Must be at least 1, if provided.',
							 coalesce(p_max::text, 'null')),
			DETAIL = 'AWS error code: InvalidParameterValue.';
	END IF;
	chosen := eventbridge._receivable(found_queue, p_max);
	IF chosen IS NULL THEN
		RETURN '{}';
	END IF;
	WITH taken AS (
		UPDATE eventbridge.queue_message AS m SET
			visible_at = clock_timestamp() + make_interval(secs => timeout),
			receive_count = m.receive_count + 1,
			first_received_at = coalesce(m.first_received_at, clock_timestamp())
		WHERE m.message_no = ANY (chosen)
		RETURNING m.*)
	SELECT array_agg(ROW(t.message_id, t.message_no || '/' || t.receive_count, t.body,
		eventbridge._message_attributes(t::eventbridge.queue_message, t.receive_count, t.first_received_at),
		t.message_attributes)::eventbridge.received_message ORDER BY t.sent_at, t.message_no)
	INTO received FROM taken AS t;
	RETURN received;
END $$;
COMMENT ON FUNCTION _receive_message_batch(text, integer, integer) IS 'Internal: see receive_messages.';

CREATE FUNCTION receive_messages(queue_name text, max_number_of_messages integer DEFAULT 1,
								 visibility_timeout integer DEFAULT NULL) RETURNS SETOF received_message
LANGUAGE sql SET search_path = pg_catalog, pg_temp ROWS 10 AS $$
	SELECT * FROM unnest(eventbridge.receive_message_batch($1, $2, $3))
$$;
COMMENT ON FUNCTION receive_messages(text, integer, integer) IS
'Receives messages from a queue, given by name or ARN (ReceiveMessage). They stay in the queue, but nobody else receives them for visibility_timeout seconds (default: the queue''s). Who is done with a message gives its receipt_handle to delete_message. Any number of receivers work side by side.';

/* The message of a receipt: number of the message / how often it was received. */
CREATE FUNCTION _receipt(receipt_handle text, OUT message_no bigint, OUT receive_count integer)
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	IF receipt_handle IS NULL OR receipt_handle !~ '^[0-9]{1,18}/[0-9]{1,9}$' THEN
		RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
			MESSAGE = format('The input receipt handle "%s" is not a valid receipt handle.', receipt_handle),
			DETAIL = 'AWS error code: ReceiptHandleIsInvalid.';
	END IF;
	message_no := split_part(receipt_handle, '/', 1);
	receive_count := split_part(receipt_handle, '/', 2);
END $$;
COMMENT ON FUNCTION _receipt(text) IS 'Internal: reads a receipt handle.';

CREATE FUNCTION delete_message(queue_name text, receipt_handle text) RETURNS boolean
AS 'MODULE_PATHNAME', 'eb_gate' LANGUAGE C PARALLEL UNSAFE;
COMMENT ON FUNCTION delete_message(text, text) IS
'Removes a received message from its queue (DeleteMessage). False if it is gone already, or if another has received it since.';

CREATE FUNCTION _delete_message(p_queue_name text, p_receipt_handle text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	found_queue constant eventbridge.queue := eventbridge._queue(p_queue_name);
	receipt constant record := eventbridge._receipt(p_receipt_handle);
BEGIN
	DELETE FROM eventbridge.queue_message AS m
	WHERE m.message_no = receipt.message_no AND m.receive_count = receipt.receive_count
		AND m.queue_id = found_queue.queue_id;
	RETURN FOUND;
END $$;
COMMENT ON FUNCTION _delete_message(text, text) IS 'Internal: see delete_message.';

CREATE FUNCTION change_message_visibility(queue_name text, receipt_handle text, visibility_timeout integer) RETURNS boolean
AS 'MODULE_PATHNAME', 'eb_gate' LANGUAGE C PARALLEL UNSAFE;
COMMENT ON FUNCTION change_message_visibility(text, text, integer) IS
'Makes a received message visible again after so many seconds from now, 0 for at once (ChangeMessageVisibility). False if it is gone already, or if another has received it since.';

CREATE FUNCTION _change_message_visibility(p_queue_name text, p_receipt_handle text, p_visibility_timeout integer) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	found_queue constant eventbridge.queue := eventbridge._queue(p_queue_name);
	receipt constant record := eventbridge._receipt(p_receipt_handle);
	timeout constant integer := eventbridge._queue_attribute(jsonb_build_object('VisibilityTimeout', p_visibility_timeout),
		'VisibilityTimeout', 0, 43200, found_queue.visibility_timeout);
BEGIN
	UPDATE eventbridge.queue_message AS m SET visible_at = clock_timestamp() + make_interval(secs => timeout)
	WHERE m.message_no = receipt.message_no AND m.receive_count = receipt.receive_count
		AND m.queue_id = found_queue.queue_id;
	RETURN FOUND;
END $$;
COMMENT ON FUNCTION _change_message_visibility(text, text, integer) IS 'Internal: see change_message_visibility.';

CREATE FUNCTION purge_queue(queue_name text) RETURNS bigint
AS 'MODULE_PATHNAME', 'eb_gate' LANGUAGE C PARALLEL UNSAFE;
COMMENT ON FUNCTION purge_queue(text) IS
'Removes all messages of a queue, given by name or ARN, and returns their number (PurgeQueue).';

CREATE FUNCTION _purge_queue(p_queue_name text) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	found_queue constant eventbridge.queue := eventbridge._queue(p_queue_name);
	removed bigint;
BEGIN
	DELETE FROM eventbridge.queue_message AS m WHERE m.queue_id = found_queue.queue_id;
	GET DIAGNOSTICS removed = ROW_COUNT;
	RETURN removed;
END $$;
COMMENT ON FUNCTION _purge_queue(text) IS 'Internal: see purge_queue.';

CREATE FUNCTION redrive(queue_name text) RETURNS bigint
AS 'MODULE_PATHNAME', 'eb_gate' LANGUAGE C PARALLEL UNSAFE;
COMMENT ON FUNCTION redrive(text) IS
'Takes the dead letters out of a queue, given by name or ARN. Events are delivered again to the targets that they were meant for, with all their retries, in no order; messages that a redrive policy has moved go back to the queue they came from, as new ones (StartMessageMoveTask). Other messages stay, and so do dead letters whose target has been removed, or whose queue is gone or not for the caller. Returns how many were taken out.';

CREATE FUNCTION _redrive(p_queue_name text) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	found_queue constant eventbridge.queue := eventbridge._queue(p_queue_name);
	delivered_again bigint;
	sent_back bigint;
	sent_back_at timestamptz;
BEGIN
	WITH taken AS (
		DELETE FROM eventbridge.queue_message AS m
		USING eventbridge.target AS t
		WHERE m.queue_id = found_queue.queue_id AND m.dead_letter IS NOT NULL AND m.dead_letter_source IS NULL
			AND t.target_id = (m.dead_letter ->> 'target_id')::bigint
		RETURNING m.event_id, m.dead_letter, t.target_id)
	INSERT INTO eventbridge.delivery_retry
		(target_id, lane, event_id, bus_id, hops, ingestion_time, group_key, event, attempts, next_attempt)
	SELECT target_id, coalesce(eventbridge._target_lane(target_id), 0::oid), event_id, (dead_letter ->> 'bus_id')::bigint,
		(dead_letter ->> 'hops')::integer, clock_timestamp(), dead_letter ->> 'group_key', dead_letter ->> 'event',
		0, clock_timestamp()
	FROM taken;
	GET DIAGNOSTICS delivered_again = ROW_COUNT;

	sent_back_at := clock_timestamp();
	/* A new number, so that no receipt is good for it. */
	WITH moved AS MATERIALIZED (
		SELECT m.message_no, m.queue_id, nextval('eventbridge.queue_message_message_no_seq') AS new_no, row_number() OVER () AS n
		FROM (SELECT x.message_no, s.queue_id
			  FROM eventbridge.queue_message AS x JOIN eventbridge.queue AS s ON s.name = x.dead_letter_source
			  WHERE x.queue_id = found_queue.queue_id AND eventbridge._acts_as(eventbridge._caller(), s.owner)
			  ORDER BY x.message_no FOR UPDATE OF x) AS m)
	UPDATE eventbridge.queue_message AS m SET message_no = moved.new_no, queue_id = moved.queue_id,
		message_id = gen_random_uuid(), sent_at = sent_back_at, visible_at = sent_back_at + moved.n * interval '1 us',
		receive_count = 0, receive_count_elsewhere = 0, first_received_at = NULL, dead_letter_source = NULL
	FROM moved WHERE m.message_no = moved.message_no;
	GET DIAGNOSTICS sent_back = ROW_COUNT;
	RETURN delivered_again + sent_back;
END $$;
COMMENT ON FUNCTION _redrive(text) IS 'Internal: see redrive.';

CREATE FUNCTION get_notification(message_id uuid) RETURNS text
AS 'MODULE_PATHNAME', 'eb_gate' LANGUAGE C PARALLEL UNSAFE;
COMMENT ON FUNCTION get_notification(uuid) IS
'The message of a notification that carried its MessageId alone, for those who have the rights of the topic''s owner; null if there is none, or if it is older than four days.';

CREATE FUNCTION _get_notification(p_message_id uuid) RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
	SELECT n.message FROM eventbridge.notification AS n JOIN eventbridge.topic AS t USING (topic_id)
	WHERE n.message_id = $1 AND eventbridge._acts_as(eventbridge._caller(), t.owner)
$$;
COMMENT ON FUNCTION _get_notification(uuid) IS 'Internal: see get_notification.';

/* ------------------------------- bell -------------------------------- */

CREATE FUNCTION worker_sleep(lane oid DEFAULT 0) RETURNS text
AS 'MODULE_PATHNAME', 'eb_worker_sleep' LANGUAGE C STRICT;
COMMENT ON FUNCTION worker_sleep(oid) IS
'For workers: from now until worker_wake, transactions that make work for the lane (0: any session''s, 1: the client program''s, else the number of the session''s role) notify the channel eventbridge_deliveries_LANE. Returns who is writing at this moment; they may not notify. So look for work once more when worker_may_rest says that they have ended, and only then wait for long.';

CREATE FUNCTION worker_may_rest(writers text) RETURNS boolean
AS 'MODULE_PATHNAME', 'eb_worker_may_rest' LANGUAGE C STRICT;
COMMENT ON FUNCTION worker_may_rest(text) IS
'For workers: whether those who were writing when worker_sleep was called have ended.';

CREATE FUNCTION worker_wake(lane oid DEFAULT 0) RETURNS void
AS 'MODULE_PATHNAME', 'eb_worker_wake' LANGUAGE C STRICT;
COMMENT ON FUNCTION worker_wake(oid) IS
'For workers: no more notifications for this session''s sake, because it is at work.';

CREATE FUNCTION _lanes_with_work() RETURNS SETOF oid
LANGUAGE plpgsql STABLE ROWS 10 SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	RETURN QUERY SELECT r.lane FROM eventbridge.delivery_retry AS r
		UNION
		SELECT l.lane FROM eventbridge.delivery_log AS d, unnest(d.lanes) AS l (lane)
			LEFT JOIN eventbridge.delivery_position AS p USING (lane)
		WHERE NOT eventbridge._has_passed(p.snapshot, p.xid, p.no, d.xid, d.no)
		UNION
		SELECT w FROM eventbridge._lanes_with_pipes() AS w;
END $$;
COMMENT ON FUNCTION _lanes_with_work() IS
'Internal: who is owed something, or waits for a retry.';

/* When a lane has to be served next, though nobody rings; null: no need. */
CREATE FUNCTION _next_attempt(lane oid) RETURNS timestamptz
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	RETURN least((SELECT min(r.next_attempt) FROM eventbridge.delivery_retry AS r WHERE r.lane = $1 AND r.next_attempt < 'infinity'), eventbridge._next_pipe_attempt($1));
END $$;
COMMENT ON FUNCTION _next_attempt(oid) IS
'Internal: when a lane has to be served next although nothing new has come.';

/* ---------------------------------------------------------------------
 * Seen from outside. The views show the rules that one owns or whose bus one
 * owns.
 * --------------------------------------------------------------------- */

CREATE VIEW rule_metrics WITH (security_barrier) AS
	SELECT b.name AS event_bus_name, r.name AS rule_name,
		CASE WHEN GROUPING(m.minute) = 0 THEN m.minute END AS minute,
		sum(m.matched) AS "MatchedEvents",
		sum(m.matched) AS "TriggeredRules",
		sum(m.first_attempts) AS "Invocations",
		sum(m.first_attempts + m.retries) AS "InvocationAttempts",
		sum(m.successes) AS "SuccessfulInvocationAttempts",
		sum(m.retries) AS "RetryInvocationAttempts",
		sum(m.failed) AS "FailedInvocations",
		sum(m.looped) AS "DeadLetterInvocations",
		sum(m.to_dlq) AS "InvocationsSentToDlq",
		sum(m.not_to_dlq) AS "InvocationsFailedToBeSentToDlq",
		round(sum(m.start_latency) / nullif(sum(m.first_attempts), 0) / 1000, 3) AS "IngestiontoInvocationStartLatency",
		round(sum(m.attempt_latency) / nullif(sum(m.first_attempts), 0) / 1000, 3) AS "IngestiontoInvocationCompleteLatency",
		round(sum(m.latency) / nullif(sum(m.successes), 0) / 1000, 3) AS "IngestionToInvocationSuccessLatency"
	FROM (SELECT date_trunc('minute', d.at) AS minute, d.* FROM eventbridge.delivery_metric AS d) AS m
		JOIN eventbridge.rule AS r USING (rule_id)
		JOIN eventbridge.event_bus AS b USING (bus_id)
	WHERE eventbridge._acts_as(current_user, r.owner) OR eventbridge._acts_as(current_user, b.owner)
	GROUP BY GROUPING SETS ((b.name, r.name), (b.name, r.name, m.minute))
	HAVING GROUPING(m.minute) = 1 OR m.minute > '-infinity';
COMMENT ON VIEW rule_metrics IS
'What happened to the targets of a rule, with AWS''s names: in total where minute is null, and per minute of the last hours. MatchedEvents counts the events that the rule matched and had targets for, when a worker first takes them up; what a rule without targets matches leaves nothing behind, and is not counted. A rule is triggered once per event that it matches, so TriggeredRules is the same number here; see bus_metrics. Invocations counts the deliveries that were attempted. Latencies are averages in milliseconds.';

CREATE VIEW bus_metrics WITH (security_barrier) AS
	SELECT b.name AS event_bus_name, CASE WHEN GROUPING(m.minute) = 0 THEN m.minute END AS minute,
		sum(m.matched_first) AS "MatchedEvents",
		sum(m.matched) AS "TriggeredRules",
		sum(m.first_attempts + m.retries) AS "InvocationAttempts",
		sum(m.successes) AS "SuccessfulInvocationAttempts",
		sum(m.retries) AS "RetryInvocationAttempts"
	FROM (SELECT date_trunc('minute', d.at) AS minute, d.* FROM eventbridge.delivery_metric AS d) AS m
		JOIN eventbridge.rule AS r USING (rule_id)
		JOIN eventbridge.event_bus AS b USING (bus_id)
	WHERE eventbridge._acts_as(current_user, b.owner)
	GROUP BY GROUPING SETS ((b.name), (b.name, m.minute))
	HAVING GROUPING(m.minute) = 1 OR m.minute > '-infinity';
COMMENT ON VIEW bus_metrics IS
'What the rules of a bus did, with AWS''s names, for the bus''s owner: in total where minute is null, and per minute of the last hours. MatchedEvents counts the events that at least one rule with targets matched, TriggeredRules how many such rules they matched; both when a worker first takes an event up, for the first of its targets that is there then. Rules that have been deleted do not count.';

/* Everything that is known of each delivery, for the views below. */
CREATE VIEW delivery_state WITH (security_barrier) AS
	SELECT d.event_id, t.target_id, d.ingestion_time,
		CASE WHEN eventbridge._has_passed(p.snapshot, p.xid, p.no, d.xid, d.no) THEN 'DELIVERED'
			WHEN eventbridge._has_passed(p.taken_snapshot, p.taken_xid, p.taken_no, d.xid, d.no) THEN 'IN_FLIGHT'
			ELSE 'WAITING' END AS status
	FROM eventbridge.delivery_log AS d, unnest(d.targets, d.lanes) AS t (target_id, lane)
		LEFT JOIN eventbridge.delivery_position AS p USING (lane);
COMMENT ON VIEW delivery_state IS
'How far the first attempt of each delivery in the log has come; DELIVERED means that it was made.';

/* Does another delivery of the same group come first? */
CREATE VIEW delivery_retry_state WITH (security_barrier) AS
	SELECT r.*, r.order_group IS NOT NULL AND EXISTS (
			SELECT FROM eventbridge.delivery_retry AS e
			WHERE e.lane = r.lane AND e.target_id = r.target_id AND e.order_group = r.order_group
				AND ((e.attempts = 0), e.order_xid, e.ingestion_time, e.order_no, e.retry_id)
					< ((r.attempts = 0), r.order_xid, r.ingestion_time, r.order_no, r.retry_id)) AS is_behind
	FROM eventbridge.delivery_retry AS r;
COMMENT ON VIEW delivery_retry_state IS
'The rows of delivery_retry, and whether they wait for an earlier delivery of their group.';

CREATE VIEW delivery_status WITH (security_barrier) AS
	SELECT b.name AS event_bus_name, r.name AS rule_name, t.id AS target_id, t.arn AS target_arn,
		coalesce(l.waiting, 0) + coalesce(y.waiting, 0) AS waiting, coalesce(l.in_flight, 0) + coalesce(y.in_flight, 0) AS in_flight,
		coalesce(y.waiting_for_group, 0) AS waiting_for_group,
		coalesce(y.retrying, 0) AS retrying, coalesce(q.dead, 0) AS dead,
		clock_timestamp() - least(l.oldest, y.oldest) AS oldest_age
	FROM eventbridge.target AS t
		JOIN eventbridge.rule AS r USING (rule_id)
		JOIN eventbridge.event_bus AS b USING (bus_id)
		LEFT JOIN (SELECT s.target_id, count(*) FILTER (WHERE s.status = 'WAITING') AS waiting,
				count(*) FILTER (WHERE s.status = 'IN_FLIGHT') AS in_flight, min(s.ingestion_time) AS oldest
			FROM eventbridge.delivery_state AS s WHERE s.status <> 'DELIVERED' GROUP BY 1) AS l USING (target_id)
		LEFT JOIN (SELECT x.target_id, count(*) FILTER (WHERE x.attempts > 0 AND x.error_code IS NULL) AS in_flight,
				count(*) FILTER (WHERE x.attempts = 0 AND NOT x.is_behind) AS waiting,
				count(*) FILTER (WHERE x.attempts = 0 AND x.is_behind) AS waiting_for_group,
				count(*) FILTER (WHERE x.attempts > 0 AND x.error_code IS NOT NULL) AS retrying,
				min(x.ingestion_time) AS oldest
			FROM eventbridge.delivery_retry_state AS x GROUP BY 1) AS y USING (target_id)
		LEFT JOIN (SELECT (m.dead_letter ->> 'target_id')::bigint AS target_id, count(*) AS dead
			FROM eventbridge.queue_message AS m WHERE m.dead_letter IS NOT NULL GROUP BY 1) AS q USING (target_id)
	WHERE eventbridge._acts_as(current_user, r.owner) OR eventbridge._acts_as(current_user, b.owner);
COMMENT ON VIEW delivery_status IS
'Per target: deliveries that wait, that a worker has taken, that wait for an earlier delivery of their group, that are tried again, that lie in a dead-letter queue, and the age of the oldest that is not delivered.';

CREATE VIEW dead_letters WITH (security_barrier) AS
	SELECT q.name AS queue_name, m.message_id, m.event_id, m.sent_at,
		m.message_attributes #>> '{RULE_ARN,StringValue}' AS rule_arn,
		m.message_attributes #>> '{TARGET_ARN,StringValue}' AS target_arn,
		m.message_attributes #>> '{ERROR_CODE,StringValue}' AS error_code,
		m.message_attributes #>> '{ERROR_MESSAGE,StringValue}' AS error_message,
		m.message_attributes #>> '{EXHAUSTED_RETRY_CONDITION,StringValue}' AS exhausted_retry_condition,
		(m.message_attributes #>> '{RETRY_ATTEMPTS,StringValue}')::integer AS retry_attempts,
		m.body, eventbridge._arn('sqs', m.dead_letter_source) AS source_queue_arn
	FROM eventbridge.queue_message AS m JOIN eventbridge.queue AS q USING (queue_id)
	WHERE (m.dead_letter IS NOT NULL OR m.dead_letter_source IS NOT NULL) AND eventbridge._acts_as(current_user, q.owner);
COMMENT ON VIEW dead_letters IS
'The dead letters in the queues that the current role owns: events that could not be delivered, with AWS''s message attributes, and messages that were received too often, with the queue they came from.';

CREATE VIEW delivery_trace WITH (security_barrier) AS
	SELECT e.event_id, b.name AS event_bus_name, r.name AS rule_name, t.id AS target_id, t.arn AS target_arn,
		CASE WHEN y.retry_id IS NOT NULL THEN
				CASE WHEN y.attempts = 0 AND y.is_behind THEN 'WAITING_FOR_GROUP' WHEN y.attempts = 0 THEN 'WAITING' WHEN y.error_code IS NULL THEN 'IN_FLIGHT' ELSE 'RETRYING' END
			ELSE coalesce(o.status, s.status) END AS status,
		coalesce(y.attempts, o.attempts, CASE s.status WHEN 'DELIVERED' THEN 1 ELSE 0 END) AS attempts,
		coalesce(y.error_code, o.error_code) AS error_code,
		coalesce(y.error_message, o.error_message) AS error_message,
		nullif(y.next_attempt, 'infinity') AS next_attempt
	FROM (SELECT event_id, target_id FROM eventbridge.delivery_state
		  UNION SELECT event_id, target_id FROM eventbridge.delivery_retry
		  UNION SELECT event_id, target_id FROM eventbridge.delivery_outcome) AS e
		JOIN eventbridge.target AS t USING (target_id)
		JOIN eventbridge.rule AS r USING (rule_id)
		JOIN eventbridge.event_bus AS b USING (bus_id)
		LEFT JOIN eventbridge.delivery_state AS s USING (event_id, target_id)
		LEFT JOIN eventbridge.delivery_retry_state AS y USING (event_id, target_id)
		LEFT JOIN LATERAL (SELECT x.* FROM eventbridge.delivery_outcome AS x
			WHERE x.event_id = e.event_id AND x.target_id = e.target_id ORDER BY x.at DESC LIMIT 1) AS o ON true
	WHERE eventbridge._acts_as(current_user, r.owner) OR eventbridge._acts_as(current_user, b.owner);
COMMENT ON VIEW delivery_trace IS
'The deliveries that are still known: those in the log, those tried again, and those that failed lately.';

CREATE FUNCTION explain_delivery(event_id uuid)
RETURNS TABLE (event_bus_name text, rule_name text, target_id text, target_arn text, status text, attempts integer,
			   error_code text, error_message text, next_attempt timestamptz)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp ROWS 5 AS $$
	SELECT d.event_bus_name, d.rule_name, d.target_id, d.target_arn, d.status, d.attempts,
		d.error_code, d.error_message, d.next_attempt
	FROM eventbridge.delivery_trace AS d WHERE d.event_id = $1 ORDER BY 1, 2, 3
$$;
COMMENT ON FUNCTION explain_delivery(uuid) IS
'What has become of an event: a row for each target that a rule matched it for. status is WAITING, WAITING_FOR_GROUP (for an earlier delivery of its group, to a target that wants them in order), IN_FLIGHT, RETRYING, DELIVERED, DEAD (in its dead-letter queue) or DROPPED (it has none). Events leave the log after eventbridge.log_retention.';

GRANT SELECT ON queues, rule_metrics, bus_metrics, delivery_status, dead_letters, delivery_trace TO PUBLIC;

/* What is internal, and what manages, is not for everybody. */
REVOKE ALL ON FUNCTION _target_lane(bigint), _delivery_target(bigint), _delivery_obstacle(text, text, name),
	_bury(bigint, uuid, bigint, integer, timestamptz, text, text, text, text, text, integer, text),
	_tidy(), _carry_over(integer, integer), _set_is_needed(integer, xid8), _empty_set(integer, integer), _rotate(), _lanes_with_work(), _next_attempt(oid),
	_adopt_log_row(), _lane(text, name), _is_owed(xid8, integer, oid[]), _queue(text),
	_create_queue(text, jsonb), _delete_queue(text), _send_message(text, text, integer, jsonb),
	_receive_message_batch(text, integer, integer), _delete_message(text, text),
	_change_message_visibility(text, text, integer), _purge_queue(text), _redrive(text), _get_notification(uuid),
	_has_order(oid), _due_in_order(oid, integer, bigint, bigint, bigint, bigint), worker_claim(integer), worker_report(bigint, integer, text, text, text, bigint),
	worker_sleep(oid), worker_may_rest(text), worker_wake(oid),
	_with_redrive_policy(queue, jsonb), _with_queue_attributes(queue, jsonb), _set_queue_attributes(text, jsonb),
	_dead_letter_queue_of(queue), _receivable(queue, integer), _message_attributes(queue_message, integer, timestamptz),
	create_queue(text, jsonb), set_queue_attributes(text, jsonb), delete_queue(text)
	FROM PUBLIC;
