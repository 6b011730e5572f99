
/* ---------------------------------------------------------------------
 * The delivery log and its workers; src/delivery/log.c describes both.
 *
 * Its tables come in sets; see log.sql. The C code knows the columns of
 * delivery_log by number.
 * --------------------------------------------------------------------- */

CREATE SEQUENCE delivery_turn MINVALUE 0 MAXVALUE 2 START 0;
COMMENT ON SEQUENCE delivery_turn IS
'Which of the three sets of delivery tables is written to.';

SELECT _in_each_set($sql$
	CREATE TABLE delivery_log_# (
		xid xid8 NOT NULL,
		bus_id bigint NOT NULL,
		ingestion_time timestamptz NOT NULL,
		event_time timestamptz,
		no integer NOT NULL,
		hops integer NOT NULL,
		event_id uuid NOT NULL,
		deliveries bytea NOT NULL,
		group_key text,
		order_xid bigint,
		event text,
		source text,
		detail_type text,
		account text,
		region text,
		resources text,
		detail text,
		CHECK (event IS NOT NULL OR num_nulls(source, detail_type, account, region, detail) = 0)
	) WITH (autovacuum_enabled = false);
	COMMENT ON TABLE delivery_log_# IS
	'Events that are or were owed to targets: their text, or what it is made of (event_time is null where it is that of the ingestion in whole seconds), and whom they are owed to. Read it as delivery_log.';
	CREATE INDEX delivery_log_#_xid_no_idx ON delivery_log_# (xid, no);
$sql$);

SELECT _in_each_set($sql$
	CREATE TABLE delivery_ledger_# (
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
	COMMENT ON TABLE delivery_ledger_# IS
	'Batches of deliveries: one row when it is taken, one when it is done.';
	CREATE INDEX delivery_ledger_#_lane_batch_idx ON delivery_ledger_# (lane, batch);
$sql$);

SELECT _in_each_set($sql$
	CREATE TABLE delivery_metric_# (
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
	COMMENT ON TABLE delivery_metric_# IS
	'What happened to a target in a batch; latencies are sums of microseconds.';
$sql$);

CREATE FUNCTION _event_text(event_id uuid, event_time timestamptz, source text, detail_type text, account text,
	region text, resources text, detail text) RETURNS text
AS 'MODULE_PATHNAME', 'eb_event_text' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION _event_text(uuid, timestamptz, text, text, text, text, text, text) IS
'Internal: the text of an event in the delivery log; resources may be null.';
REVOKE ALL ON FUNCTION _event_text(uuid, timestamptz, text, text, text, text, text, text) FROM PUBLIC;

CREATE FUNCTION _deliveries(targets bigint[], lanes oid[]) RETURNS bytea
AS 'MODULE_PATHNAME', 'eb_form_deliveries' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION _deliveries(bigint[], oid[]) IS
'Internal: targets and the lane of each, as a row of the delivery log has them.';

CREATE FUNCTION _targets_of(deliveries bytea) RETURNS bigint[]
AS 'MODULE_PATHNAME', 'eb_deliveries_targets' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION _targets_of(bytea) IS
'Internal: the targets in what _deliveries() gives.';

CREATE FUNCTION _lanes_of(deliveries bytea) RETURNS oid[]
AS 'MODULE_PATHNAME', 'eb_deliveries_lanes' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION _lanes_of(bytea) IS
'Internal: the lanes in what _deliveries() gives.';

CREATE VIEW delivery_log WITH (security_barrier) AS
	SELECT d.xid, d.bus_id, d.ingestion_time, d.no, d.hops, d.event_id, d.deliveries,
		eventbridge._targets_of(d.deliveries) AS targets, eventbridge._lanes_of(d.deliveries) AS lanes, d.group_key, d.order_xid,
		coalesce(d.event, eventbridge._event_text(d.event_id, coalesce(d.event_time, d.ingestion_time), d.source, d.detail_type, d.account,
			d.region, d.resources, d.detail)) AS event
	FROM (SELECT * FROM eventbridge.delivery_log_0 UNION ALL
		SELECT * FROM eventbridge.delivery_log_1 UNION ALL
		SELECT * FROM eventbridge.delivery_log_2) AS d;
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
		SELECT DISTINCT ON (l.lane) l.lane, l.batch, l.open, l.to_snapshot, l.to_xid, l.to_no
		FROM ledger AS l WHERE NOT l.done ORDER BY l.lane, l.batch DESC),
	open AS (
		SELECT last.lane, min(n.batch) AS batch
		FROM last, unnest(last.open || last.batch) AS n (batch)
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

CREATE FUNCTION _has_passed(snapshot pg_snapshot, part_xid bigint, part_no integer, xid xid8, no integer)
RETURNS boolean
AS 'MODULE_PATHNAME', 'eb_has_passed' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION _has_passed(pg_snapshot, bigint, integer, xid8, integer) IS
'Internal: whether a row of the delivery log lies before a position.';

CREATE FUNCTION _is_owed(xid xid8, no integer, deliveries bytea) RETURNS boolean
AS 'MODULE_PATHNAME', 'eb_is_owed' LANGUAGE C STABLE STRICT COST 10;
COMMENT ON FUNCTION _is_owed(xid8, integer, bytea) IS
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
DECLARE
	restored constant bigint[] := eventbridge._targets_of(NEW.deliveries);
BEGIN
	NEW.xid := pg_current_xact_id();
	NEW.no := nextval('eventbridge.delivery_restored_no');
	NEW.deliveries := eventbridge._deliveries(restored, array_fill(0::oid, ARRAY[cardinality(restored)]));
	NEW.order_xid := CASE WHEN NEW.group_key IS NOT NULL THEN NEW.xid::text::bigint END;
	RETURN NEW;
END $$;
COMMENT ON FUNCTION _adopt_log_row() IS
'Internal: trigger on the delivery log''s tables, for rows of another cluster.';

SELECT _in_each_set($sql$
	CREATE TRIGGER adopt BEFORE INSERT ON delivery_log_#
		FOR EACH ROW EXECUTE FUNCTION _adopt_log_row();
	ALTER TABLE delivery_log_# ENABLE ALWAYS TRIGGER adopt;
	SELECT pg_catalog.pg_extension_config_dump('delivery_log_#', 'WHERE eventbridge._is_owed(xid, no, deliveries)');
$sql$);

SELECT pg_catalog.pg_extension_config_dump('delivery_retry', '');
SELECT pg_catalog.pg_extension_config_dump('notification', '');
SELECT pg_catalog.pg_extension_config_dump('delivery_retry_retry_id_seq', '');

/* ------------------------------ targets ------------------------------ */

CREATE FUNCTION _lane(kind text, role name) RETURNS oid
AS 'MODULE_PATHNAME', 'eb_lane' LANGUAGE C STABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION _lane(text, name) IS
'Internal: who delivers to targets of a kind that run as a role: 0 any session, 1 the client program, else sessions of the role with this oid.';

CREATE FUNCTION _target_lane(target_id bigint) RETURNS oid
AS 'MODULE_PATHNAME', 'eb_lane_of_target' LANGUAGE C STABLE STRICT;
COMMENT ON FUNCTION _target_lane(bigint) IS
'Internal: who delivers to a target, as _lane() says it; 0 if the target is gone.';

/*
 * All that a delivery needs to know of its target; src/delivery/target.c reads
 * it. In PL/pgSQL, which keeps its plans.
 */
CREATE FUNCTION _delivery_target(target_id bigint,
	OUT kind text, OUT resource text, OUT resource_id bigint, OUT routine oid, OUT lane oid,
	OUT claim_check boolean, OUT input text, OUT input_path text, OUT paths_map text, OUT template text,
	OUT rule_name text, OUT rule_arn text, OUT target_arn text, OUT role name,
	OUT maximum_retry_attempts integer, OUT maximum_event_age_in_seconds integer,
	OUT obstacle_code text, OUT obstacle text, OUT rule_id bigint, OUT ordered boolean, OUT message_group_id text,
	OUT delay_seconds integer) RETURNS SETOF record
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
		o.message, r.rule_id, t.ordered,
		CASE t.kind WHEN 'queue' THEN nullif(t.parameters #>> '{SqsParameters,MessageGroupId}', '') END,
		(SELECT q.delay_seconds FROM eventbridge.queue AS q WHERE t.kind = 'queue' AND q.name = t.resource)
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
	dead_letter_queue eventbridge.queue;
	sent boolean;
BEGIN
	SELECT t.arn, t.dead_letter_queue, eventbridge._rule_arn(b.name, r.name) AS rule_arn, r.owner INTO found_target
	FROM eventbridge.target AS t JOIN eventbridge.rule AS r USING (rule_id)
		JOIN eventbridge.event_bus AS b ON b.bus_id = r.bus_id
	WHERE t.target_id = _bury.target_id;
	IF found_target.dead_letter_queue IS NOT NULL THEN
		SELECT q.* INTO dead_letter_queue FROM eventbridge.queue AS q
		WHERE q.name = found_target.dead_letter_queue AND eventbridge._acts_as(found_target.owner, q.owner);
		sent := FOUND;
	END IF;
	IF sent THEN
		INSERT INTO eventbridge.queue_message (queue_id, visible_at, event_id, body, message_attributes, dead_letter)
		VALUES (dead_letter_queue.queue_id,
			clock_timestamp() + make_interval(secs => dead_letter_queue.delay_seconds), _bury.event_id, input,
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
			WHERE r.lane = $1 AND r.order_group IS NOT NULL
				AND (r.target_id, r.order_group) > (g.target_id, g.order_group)
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
'Makes one pass over what is owed to targets in the database, committing batch by batch. Ends when nothing is left that is due, or after about max_deliveries. Queues, topics, buses and log groups are served by any session; functions, procedures and pipes only if the session was connected as the role that they run as, and not after SET ROLE or SET SESSION AUTHORIZATION. A procedure may commit, if this call is a statement of its own. Cannot run inside a transaction block.';

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

CREATE PROCEDURE worker_deliver(INOUT next_look bigint DEFAULT NULL, INOUT pause integer DEFAULT NULL)
AS 'MODULE_PATHNAME', 'eb_worker_deliver' LANGUAGE C;
COMMENT ON PROCEDURE worker_deliver(bigint, integer) IS
'For workers: a part of what run_deliveries does, bounded in time. next_look is 0 if it found something, so that there may be more; else the milliseconds until a retry or a pipe is due although nobody rings, or null if none is. pause is the milliseconds to wait before the next call, so that under load more is delivered at a time. Cannot run inside a transaction block.';

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
	/* Elsewhere, who meets a retry whose target is gone removes it. */
	DELETE FROM eventbridge.delivery_retry AS r
	WHERE r.lane > 1 AND NOT EXISTS (SELECT FROM pg_roles AS a WHERE a.oid = r.lane)
		AND NOT EXISTS (SELECT FROM eventbridge.target AS t WHERE t.target_id = r.target_id);
	DELETE FROM eventbridge.delivery_outcome AS o WHERE o.at < clock_timestamp() - greatest(retention, '1 h');
	DELETE FROM eventbridge.notification AS n WHERE n.sent_at < clock_timestamp() - interval '4 days';
	DELETE FROM eventbridge.log_event AS e USING eventbridge.log_group AS g
	WHERE g.log_group_id = e.log_group_id AND e.ingestion_time < clock_timestamp() - make_interval(days => g.retention_in_days);
	WITH gone AS (
		DELETE FROM eventbridge.queue_message AS m USING eventbridge.queue AS q
		WHERE q.queue_id = m.queue_id AND m.sent_at < clock_timestamp() - make_interval(secs => q.message_retention_period)
		RETURNING m.queue_id, m.message_group_id, m.message_deduplication_id)
	INSERT INTO eventbridge.queue_turn (queue_id, due_at, message_group_id)
	SELECT DISTINCT gone.queue_id, clock_timestamp(), gone.message_group_id FROM gone WHERE gone.message_deduplication_id IS NOT NULL;
	DELETE FROM eventbridge.queue_message AS m
	WHERE NOT EXISTS (SELECT FROM eventbridge.queue AS q WHERE q.queue_id = m.queue_id);
	DELETE FROM eventbridge.queue_turn AS t
	WHERE NOT EXISTS (SELECT FROM eventbridge.queue AS q WHERE q.queue_id = t.queue_id);
	DELETE FROM eventbridge.queue_deduplication AS d WHERE d.sent_at < clock_timestamp() - interval '5 min';
	PERFORM eventbridge._tidy_pipes();
END $$;
COMMENT ON FUNCTION _tidy() IS
'Internal: removes what is past its retention, and finds retries their worker.';

CREATE SEQUENCE delivery_orphan_look;
COMMENT ON SEQUENCE delivery_orphan_look IS
'When somebody last looked for deliveries of roles that have been dropped, as seconds since 1970.';

/*
 * The lanes of roles that have been dropped, as far as the log names them:
 * what they were owed may be there still.
 */
CREATE FUNCTION _lanes_without_role() RETURNS SETOF oid
LANGUAGE sql STABLE ROWS 10 SET search_path = pg_catalog, pg_temp AS $$
	SELECT DISTINCT l.lane
	FROM (SELECT DISTINCT d.deliveries FROM eventbridge.delivery_log AS d) AS d, unnest(eventbridge._lanes_of(d.deliveries)) AS l (lane)
	WHERE l.lane > 1 AND NOT EXISTS (SELECT FROM pg_roles AS a WHERE a.oid = l.lane)
$$;
COMMENT ON FUNCTION _lanes_without_role() IS
'Internal: lanes in the delivery log that nobody serves, because their role has been dropped.';

/*
 * The batches that may be open, each lane's last one, and the counters of
 * rules that are still there.
 */
CREATE FUNCTION _carry_over_delivery_log(set_no integer, to_set integer) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	EXECUTE format('
		WITH last AS (
			SELECT DISTINCT ON (l.lane) l.lane, l.open || l.batch AS batches
			FROM eventbridge.delivery_ledger AS l WHERE NOT l.done ORDER BY l.lane, l.batch DESC)
		INSERT INTO eventbridge.delivery_ledger_%2$s
		SELECT l.* FROM eventbridge.delivery_ledger_%1$s AS l JOIN last USING (lane)
		WHERE l.batch = ANY (last.batches)', set_no, to_set);
	EXECUTE format('
		INSERT INTO eventbridge.delivery_metric_%2$s
		SELECT CASE WHEN at > clock_timestamp() - interval ''3 h'' THEN date_trunc(''minute'', at) ELSE ''-infinity''
			END, rule_id, target_id, sum(first_attempts), sum(retries), sum(successes), sum(failed), sum(to_dlq),
			sum(not_to_dlq), sum(looped), sum(start_latency), sum(attempt_latency), sum(latency), sum(matched),
			sum(matched_first)
		FROM eventbridge.delivery_metric_%1$s JOIN eventbridge.rule USING (rule_id) GROUP BY 1, 2, 3', set_no, to_set);
END $$;
COMMENT ON FUNCTION _carry_over_delivery_log(integer, integer) IS
'Internal: copies what is still needed of a set of delivery tables into another.';

/*
 * Does a set have rows that must be kept: young ones, such that are owed to a
 * lane, or to one that has not begun? Transactions below a position's xmin
 * have passed there. What was put last is looked at first, because it mostly
 * decides.
 */
CREATE FUNCTION _delivery_log_is_needed(set_no integer, since xid8) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	cutoff constant timestamptz := clock_timestamp() - current_setting('eventbridge.log_retention')::interval;
	needed boolean;
BEGIN
	EXECUTE format('SELECT EXISTS (SELECT FROM (
		SELECT d.ingestion_time FROM eventbridge.delivery_log_%s AS d ORDER BY d.xid DESC, d.no DESC LIMIT 100) AS d
		WHERE d.ingestion_time > $1)', set_no) INTO needed USING cutoff;
	-- asked each second as long as no set can be emptied, so do not read all for nothing
	IF NOT needed THEN
		EXECUTE format('SELECT EXISTS (SELECT FROM eventbridge.delivery_log_%s AS d
			WHERE d.xid >= $1 AND (d.ingestion_time > $2 OR eventbridge._is_owed(d.xid, d.no, d.deliveries)))', set_no)
			INTO needed USING since, cutoff;
	END IF;
	RETURN needed;
END $$;
COMMENT ON FUNCTION _delivery_log_is_needed(integer, xid8) IS
'Internal: whether a set of delivery tables has rows that must be kept.';

/* See log.sql. */
CREATE FUNCTION _rotate_delivery_log() RETURNS integer
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	tables constant text[] := '{delivery_log,delivery_ledger,delivery_metric}';
	current_set constant integer := (SELECT q.last_value FROM eventbridge.delivery_turn AS q);
	retention constant interval := current_setting('eventbridge.log_retention');
BEGIN
	IF NOT eventbridge._set_is_full(tables, current_set, 'ingestion_time', retention) THEN
		RETURN NULL;
	END IF;
	RETURN eventbridge._next_set(tables, current_set);
END $$;
COMMENT ON FUNCTION _rotate_delivery_log() IS
'Internal: finds an empty set of delivery tables when the current one is full.';

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

CREATE FUNCTION _note_lane(lane oid) RETURNS void
AS 'MODULE_PATHNAME', 'eb_note_lane' LANGUAGE C STRICT;
COMMENT ON FUNCTION _note_lane(oid) IS 'Internal: wakes who serves a lane, at commit.';

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
		SELECT o.lane FROM eventbridge.delivery_owed AS o
		UNION
		SELECT w FROM eventbridge._lanes_with_pipes() AS w;
END $$;
COMMENT ON FUNCTION _lanes_with_work() IS
'Internal: who is owed something, or waits for a retry.';

/* When a lane has to be served next, though nobody rings; null: no need. */
CREATE FUNCTION _next_attempt(lane oid) RETURNS timestamptz
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	RETURN least(eventbridge._next_pipe_attempt($1), (SELECT min(r.next_attempt) FROM eventbridge.delivery_retry AS r
		WHERE r.lane = $1 AND r.next_attempt < 'infinity'));
END $$;
COMMENT ON FUNCTION _next_attempt(oid) IS
'Internal: when a lane has to be served next although nothing new has come.';

REVOKE EXECUTE ON FUNCTION
	_target_lane(bigint), _note_lane(oid), _delivery_target(bigint), _delivery_obstacle(text, text, name),
	_bury(bigint, uuid, bigint, integer, timestamptz, text, text, text, text, text, integer, text), _tidy(),
	_carry_over_delivery_log(integer, integer), _delivery_log_is_needed(integer, xid8), _rotate_delivery_log(),
	_lanes_with_work(), _lanes_without_role(), _next_attempt(oid), _adopt_log_row(), _lane(text, name),
	_get_notification(uuid), _has_order(oid), _due_in_order(oid, integer, bigint, bigint, bigint, bigint),
	worker_claim(integer), worker_report(bigint, integer, text, text, text, bigint), worker_sleep(oid),
	worker_may_rest(text), worker_wake(oid)
FROM PUBLIC;
