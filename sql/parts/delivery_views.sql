
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
		round(sum(m.attempt_latency) / nullif(sum(m.first_attempts), 0) / 1000, 3)
			AS "IngestiontoInvocationCompleteLatency",
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

/* Of all that the log holds, most has been delivered: the first condition is for that. */
CREATE VIEW delivery_owed WITH (security_barrier) AS
	SELECT t.target_id, t.lane, d.ingestion_time,
		eventbridge._has_passed(p.taken_snapshot, p.taken_xid, p.taken_no, d.xid, d.no) AS is_taken
	FROM (SELECT l.xid, l.no, l.ingestion_time, l.deliveries FROM eventbridge.delivery_log AS l
			WHERE eventbridge._is_owed(l.xid, l.no, l.deliveries)) AS d,
		unnest(eventbridge._targets_of(d.deliveries), eventbridge._lanes_of(d.deliveries)) AS t (target_id, lane)
		LEFT JOIN eventbridge.delivery_position AS p USING (lane)
	WHERE NOT eventbridge._has_passed(p.snapshot, p.xid, p.no, d.xid, d.no);
COMMENT ON VIEW delivery_owed IS
'Deliveries whose first attempt has not been made, and whether a worker has taken them.';

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
		coalesce(l.waiting, 0) + coalesce(y.waiting, 0) AS waiting,
		coalesce(l.in_flight, 0) + coalesce(y.in_flight, 0) AS in_flight,
		coalesce(y.waiting_for_group, 0) AS waiting_for_group,
		coalesce(y.retrying, 0) AS retrying, coalesce(q.dead, 0) AS dead,
		clock_timestamp() - least(l.oldest, y.oldest) AS oldest_age
	FROM eventbridge.target AS t
		JOIN eventbridge.rule AS r USING (rule_id)
		JOIN eventbridge.event_bus AS b USING (bus_id)
		LEFT JOIN (SELECT o.target_id, count(*) FILTER (WHERE NOT o.is_taken) AS waiting,
				count(*) FILTER (WHERE o.is_taken) AS in_flight, min(o.ingestion_time) AS oldest
			FROM eventbridge.delivery_owed AS o GROUP BY 1) AS l USING (target_id)
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
	WHERE (m.dead_letter IS NOT NULL OR m.dead_letter_source IS NOT NULL)
		AND eventbridge._acts_as(current_user, q.owner);
COMMENT ON VIEW dead_letters IS
'The dead letters in the queues that the current role owns: events that could not be delivered, with AWS''s message attributes, and messages that were received too often, with the queue they came from.';

CREATE VIEW delivery_trace WITH (security_barrier) AS
	SELECT e.event_id, b.name AS event_bus_name, r.name AS rule_name, t.id AS target_id, t.arn AS target_arn,
		CASE WHEN y.retry_id IS NOT NULL THEN
				CASE WHEN y.attempts = 0 AND y.is_behind THEN 'WAITING_FOR_GROUP'
					WHEN y.attempts = 0 THEN 'WAITING'
					WHEN y.error_code IS NULL THEN 'IN_FLIGHT' ELSE 'RETRYING' END
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

GRANT SELECT ON rule_metrics, bus_metrics, delivery_status, dead_letters, delivery_trace TO PUBLIC;
