
/* ---------------------------------------------------------------------
 * Running pipes: what src/pipes/ asks of the database from batch to batch.
 * --------------------------------------------------------------------- */

/* All that the run of a pipe needs to know of it; src/pipes/run.c reads it. */
CREATE FUNCTION _pipe_to_run(pipe_id bigint,
	OUT source_kind text, OUT enrichment oid, OUT enrichment_template text,
	OUT target_kind text, OUT resource text, OUT resource_id bigint, OUT routine oid, OUT claim_check boolean,
	OUT target_template text, OUT variables text, OUT log_level text, OUT obstacle text, OUT is_held boolean,
	OUT has_groups boolean, OUT delay_seconds integer)
RETURNS SETOF record
LANGUAGE plpgsql STABLE ROWS 1 SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan AS $$
BEGIN
	RETURN QUERY SELECT p.source_kind,
		eventbridge._target_routine('function', p.enrichment),
		nullif(p.definition #>> '{EnrichmentParameters,InputTemplate}', ''),
		p.target_kind, p.target_resource,
		CASE p.target_kind
			WHEN 'queue' THEN (SELECT q.queue_id FROM eventbridge.queue AS q WHERE q.name = p.target_resource)
			WHEN 'topic' THEN (SELECT o.topic_id FROM eventbridge.topic AS o WHERE o.name = p.target_resource)
			WHEN 'log_group' THEN (SELECT g.log_group_id FROM eventbridge.log_group AS g
				WHERE g.name = p.target_resource)
			WHEN 'api_destination' THEN eventbridge._pipe_destination(p.name)
			WHEN 'task' THEN eventbridge._pipe_destination(p.name)
		END,
		CASE WHEN p.target_kind IN ('function', 'procedure') THEN
			eventbridge._target_routine(p.target_kind, p.target_resource) END,
		(SELECT o.claim_check FROM eventbridge.topic AS o WHERE p.target_kind = 'topic' AND o.name = p.target_resource),
		nullif(p.definition #>> '{TargetParameters,InputTemplate}', ''),
		jsonb_strip_nulls(jsonb_build_object(
			'aws.pipes.pipe-arn', eventbridge._pipe_arn(p.name), 'aws.pipes.pipe-name', p.name,
			'aws.pipes.source-arn', p.definition -> 'Source', 'aws.pipes.enrichment-arn', p.definition -> 'Enrichment',
			'aws.pipes.target-arn', p.definition -> 'Target'))::text,
		p.log_level,
		coalesce(
			(SELECT o.message FROM eventbridge._delivery_obstacle(p.target_kind, p.target_resource, p.role) AS o
			 LIMIT 1),
			(SELECT o.message FROM eventbridge._delivery_obstacle('function', p.enrichment, p.role) AS o
			 WHERE p.enrichment IS NOT NULL LIMIT 1),
			CASE p.source_kind
				WHEN 'queue' THEN
					(SELECT o.message FROM eventbridge._delivery_obstacle('queue', p.queue, p.role) AS o LIMIT 1)
				ELSE (SELECT format('role "%s" may not read the stream of table "%s"',
									p.role, eventbridge._table_name(s.relation))
					  FROM eventbridge.stream AS s
					  WHERE s.stream_id = p.stream_id AND NOT eventbridge._reads_stream(p.role, s)) END),
		x.attempts > 0 OR x.batch_limit IS NOT NULL,
		p.target_kind = 'queue'
			AND coalesce(p.definition #>> '{TargetParameters,SqsQueueParameters,MessageGroupId}', '') <> '',
		(SELECT q.delay_seconds FROM eventbridge.queue AS q WHERE p.target_kind = 'queue' AND q.name = p.target_resource)
	FROM eventbridge.pipe AS p JOIN eventbridge.pipe_state AS x USING (pipe_id)
	WHERE p.pipe_id = $1 AND p.current_state = 'RUNNING';
END $$;
COMMENT ON FUNCTION _pipe_to_run(bigint) IS 'Internal: a running pipe as it is served.';

/* A message of a queue as a record of a pipe. */
CREATE FUNCTION _queue_record(message eventbridge.queue_message, queue_name text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	RETURN json_build_object('messageId', $1.message_id,
		'receiptHandle', $1.message_no || '/' || ($1.receive_count + 1), 'body', $1.body,
		'attributes', eventbridge._message_attributes($1, $1.receive_count + 1,
			coalesce($1.first_received_at, clock_timestamp())),
		'messageAttributes', coalesce($1.message_attributes, '{}'), 'md5OfBody', md5($1.body), 'eventSource', 'aws:sqs',
		'eventSourceARN', eventbridge._arn('sqs', $2), 'awsRegion', current_setting('eventbridge.region'));
END $$;
COMMENT ON FUNCTION _queue_record(queue_message, text) IS 'Internal: a queue''s message as a pipe sees it.';

/* Filters and templates see a body that is JSON as JSON, as in AWS. */
CREATE FUNCTION _decoded_record(record text) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	RETURN jsonb_set(record::jsonb, '{body}', (record::jsonb ->> 'body')::jsonb);
EXCEPTION WHEN data_exception THEN
	RETURN record::jsonb;
END $$;
COMMENT ON FUNCTION _decoded_record(text) IS 'Internal: a queue''s record as filters and templates see it.';

/*
 * What cuts the records of a source into batches. In PL/pgSQL to be planned
 * once, as are others that every look for work calls.
 */
CREATE FUNCTION _pipe_limits(p_pipe_id bigint, OUT filters eventbridge.event_pattern[], OUT batch_size integer,
							 OUT held boolean, OUT batching_window integer, OUT maximum_record_age integer)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	SELECT p.filters, coalesce(x.batch_limit, p.batch_size), x.batch_limit IS NOT NULL, p.batching_window,
		p.maximum_record_age
	INTO filters, batch_size, held, batching_window, maximum_record_age
	FROM eventbridge.pipe AS p JOIN eventbridge.pipe_state AS x USING (pipe_id) WHERE p.pipe_id = $1;
END $$;
COMMENT ON FUNCTION _pipe_limits(bigint) IS 'Internal: what cuts the records of a pipe''s source into batches.';

/*
 * The ticks of a stream that a pipe has not passed, in order; each with the
 * number in it from which on it reads. Of many only the first.
 */
CREATE FUNCTION _pipe_ticks(p_pipe_id bigint, OUT stream_id bigint, OUT tick bigint, OUT earlier pg_snapshot,
							OUT later pg_snapshot, OUT after bigint) RETURNS SETOF record
LANGUAGE plpgsql ROWS 10 SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	p eventbridge.pipe;
	x eventbridge.pipe_position;
	line eventbridge.stream_tick;
BEGIN
	PERFORM eventbridge._draw_tick();
	SELECT y.* INTO p FROM eventbridge.pipe AS y WHERE y.pipe_id = p_pipe_id;
	SELECT y.* INTO x FROM eventbridge.pipe_position AS y WHERE y.pipe_id = p_pipe_id;
	stream_id := p.stream_id;
	FOR line IN
		SELECT k.* FROM eventbridge.stream_tick AS k WHERE k.tick BETWEEN x.tick - 1 AND x.tick + 1000 ORDER BY k.tick
	LOOP
		tick := line.tick;
		later := line.snapshot;
		after := CASE line.tick WHEN x.tick THEN x.number ELSE -1 END;
		IF line.tick >= x.tick AND earlier IS NOT NULL AND after < 9223372036854775807 THEN
			RETURN NEXT;
		END IF;
		earlier := line.snapshot;
	END LOOP;
END $$;
COMMENT ON FUNCTION _pipe_ticks(bigint) IS
'Internal: ends the current batch of stream records; the batches that a pipe still has to read.';

/*
 * The next batch of a pipe whose source is a queue: its records as a JSON
 * array. The messages stay locked until the end of the transaction; those
 * that the filters do not want are deleted. No row if the batch is not full
 * and has to wait for the rest of its window.
 */
CREATE FUNCTION _pipe_receive(p_pipe_id bigint, OUT records text, OUT record_count integer, OUT oldest timestamptz)
RETURNS SETOF record
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off AS $$
#variable_conflict use_column
DECLARE
	p eventbridge.pipe;
	q eventbridge.queue;
	receivable bigint[];
	full_size boolean;
BEGIN
	SELECT y.* INTO p FROM eventbridge.pipe AS y WHERE y.pipe_id = p_pipe_id;
	SELECT y.* INTO q FROM eventbridge.queue AS y WHERE y.name = p.queue;
	/* Without the settings above a plan made while there were few messages would read and sort all. */
	receivable := eventbridge._receivable(q, p.batch_size, clock_timestamp());
	WITH chosen AS MATERIALIZED (
		SELECT m.message_no, m.sent_at, eventbridge._queue_record(m, p.queue) AS record
		FROM eventbridge.queue_message AS m WHERE m.message_no = ANY (receivable)),
	judged AS (
		SELECT c.*, p.filters IS NULL OR EXISTS (SELECT FROM unnest(p.filters) AS f (filter)
			WHERE eventbridge.matches(eventbridge._decoded_record(c.record), f.filter)) AS passes FROM chosen AS c),
	dropped AS (
		DELETE FROM eventbridge.queue_message AS m USING judged AS j WHERE m.message_no = j.message_no AND NOT j.passes
		RETURNING m.queue_id, m.message_group_id, m.message_deduplication_id),
	turns AS (
		INSERT INTO eventbridge.queue_turn (queue_id, due_at, message_group_id)
		SELECT DISTINCT d.queue_id, clock_timestamp(), d.message_group_id FROM dropped AS d
		WHERE d.message_deduplication_id IS NOT NULL)
	SELECT '[' || string_agg(j.record, ',' ORDER BY j.message_no) FILTER (WHERE j.passes) || ']',
		count(*) FILTER (WHERE j.passes), min(j.sent_at) FILTER (WHERE j.passes), count(*) = p.batch_size
	INTO records, record_count, oldest, full_size FROM judged AS j;
	IF record_count > 0 AND (full_size OR oldest <= clock_timestamp() - make_interval(secs => p.batching_window)) THEN
		RETURN NEXT;
	ELSIF full_size THEN
		/* All were dropped, but there may be more. */
		RETURN QUERY SELECT NULL::text, p.batch_size, NULL::timestamptz;
	END IF;
END $$;
COMMENT ON FUNCTION _pipe_receive(bigint) IS 'Internal: the next batch of a pipe whose source is a queue.';

/*
 * What each element of a batch becomes, by a template or as it is. A template
 * looks into a message's body that is JSON. A fault is the whole batch's.
 */
CREATE FUNCTION _pipe_fill(template text, variables text, records text, decode boolean, OUT inputs text[],
						   OUT fault text)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	SELECT array_agg(CASE WHEN template IS NULL THEN r.value::text
			ELSE eventbridge.json_transform_pipe_input(CASE WHEN decode THEN
				eventbridge._decoded_record(r.value::text)::json ELSE r.value END, template,
				variables::jsonb || jsonb_build_object('aws.pipes.event.ingestion-time',
					to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'))) END
		ORDER BY r.o)
	INTO inputs FROM json_array_elements(records::json) WITH ORDINALITY AS r (value, o);
EXCEPTION WHEN data_exception THEN
	fault := SQLERRM;
END $$;
COMMENT ON FUNCTION _pipe_fill(text, text, text, boolean) IS 'Internal: the inputs that a batch''s records make.';

/* A parameter of a bus: its text, or what a path finds in the record. */
CREATE FUNCTION _pipe_parameter(parameter text, record json) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
	SELECT CASE WHEN $1 LIKE '$%' THEN eventbridge.json_input_path($2, $1) #>> '{}' ELSE $1 END
$$;
COMMENT ON FUNCTION _pipe_parameter(text, json) IS
'Internal: a target''s parameter, which may be a path into the record.';

/* A time in PutEvents' form: seconds are a number there. */
CREATE FUNCTION _pipe_time(found text) RETURNS json
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
	SELECT CASE WHEN $1 ~ '^[0-9]+(\.[0-9]+)?$' THEN to_json($1::numeric) ELSE to_json($1) END
$$;
COMMENT ON FUNCTION _pipe_time(text) IS
'Internal: the time that a path has found, as put_events takes it.';

/* Puts a batch on the bus that is the pipe's target; gives what was wrong. */
CREATE FUNCTION _pipe_put_events(p_pipe_id bigint, records text, inputs text[]) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	p eventbridge.pipe;
	parameters jsonb;
	result jsonb;
BEGIN
	SELECT y.* INTO p FROM eventbridge.pipe AS y WHERE y.pipe_id = p_pipe_id;
	parameters := coalesce(p.definition #> '{TargetParameters,EventBridgeEventBusParameters}', '{}');
	SELECT eventbridge.put_events(json_agg(json_strip_nulls(json_build_object(
			'Source', coalesce(eventbridge._pipe_parameter(parameters ->> 'Source', e.record), 'Pipe ' || p.name),
			'DetailType', coalesce(eventbridge._pipe_parameter(parameters ->> 'DetailType', e.record),
				CASE p.source_kind WHEN 'stream' THEN 'Event from aws:dynamodb' ELSE 'Event from aws:sqs' END),
			'Time', eventbridge._pipe_time(eventbridge._pipe_parameter(parameters ->> 'Time', e.record)),
			'Resources', (SELECT json_agg(v.value ORDER BY r.n)
				FROM jsonb_array_elements_text(parameters -> 'Resources') WITH ORDINALITY AS r (value, n),
					eventbridge._pipe_parameter(r.value, e.record) AS v (value) WHERE v.value IS NOT NULL),
			'EventBusName', p.target_resource, 'Detail', e.input)) ORDER BY e.o))
	INTO result
	FROM (SELECT a.o, i.input, a.value AS record FROM json_array_elements(records::json) WITH ORDINALITY AS a (value, o)
		  JOIN unnest(inputs) WITH ORDINALITY AS i (input, o) USING (o)) AS e;
	IF (result ->> 'FailedEntryCount')::integer > 0 THEN
		RAISE data_exception;
	END IF;
	RETURN NULL;
EXCEPTION WHEN data_exception THEN
	RETURN coalesce((SELECT e ->> 'ErrorMessage' FROM jsonb_array_elements(result -> 'Entries') AS e
		WHERE e ? 'ErrorMessage' LIMIT 1), SQLERRM);
END $$;
COMMENT ON FUNCTION _pipe_put_events(bigint, text, text[]) IS
'Internal: puts what a pipe delivers on its event bus, all or nothing.';

/*
 * Sends a batch to the queue that is the pipe's target, in groups; gives what
 * was wrong. Where nothing else says what a duplicate is, it is the same
 * record of the source, or nothing if an enrichment has made the elements.
 */
CREATE FUNCTION _pipe_send_messages(p_pipe_id bigint, records text, inputs text[]) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	p eventbridge.pipe;
	q eventbridge.queue;
	parameters jsonb;
	element record;
	group_id text;
	deduplication_id text;
BEGIN
	SELECT y.* INTO p FROM eventbridge.pipe AS y WHERE y.pipe_id = p_pipe_id;
	SELECT y.* INTO q FROM eventbridge.queue AS y WHERE y.name = p.target_resource;
	parameters := p.definition #> '{TargetParameters,SqsQueueParameters}';
	FOR element IN
		SELECT i.input, a.value AS record,
			CASE WHEN p.source_kind = 'queue' AND p.enrichment IS NULL
				THEN eventbridge._decoded_record(a.value::text)::json ELSE a.value END AS seen
		FROM unnest(inputs) WITH ORDINALITY AS i (input, o)
			LEFT JOIN json_array_elements(records::json) WITH ORDINALITY AS a (value, o) USING (o) ORDER BY i.o
	LOOP
		group_id := eventbridge._pipe_parameter(parameters ->> 'MessageGroupId', element.seen);
		deduplication_id := CASE WHEN q.fifo THEN coalesce(
			eventbridge._pipe_parameter(nullif(parameters ->> 'MessageDeduplicationId', ''), element.seen),
			CASE WHEN q.content_based_deduplication THEN eventbridge._content_id(element.input)
				WHEN p.enrichment IS NULL THEN eventbridge._record_id(element.record) END,
			gen_random_uuid()::text) END;
		IF group_id IS NULL THEN
			RAISE data_exception USING MESSAGE = 'The request must contain the parameter MessageGroupId.';
		END IF;
		PERFORM eventbridge._check_message_id('MessageGroupId', group_id),
			eventbridge._check_message_id('MessageDeduplicationId', deduplication_id);
		PERFORM eventbridge._enqueue(q.queue_id, element.input,
			clock_timestamp() + make_interval(secs => q.delay_seconds), NULL, NULL, group_id, deduplication_id);
	END LOOP;
	RETURN NULL;
EXCEPTION WHEN data_exception OR invalid_parameter_value THEN
	RETURN SQLERRM;
END $$;
COMMENT ON FUNCTION _pipe_send_messages(bigint, text, text[]) IS
'Internal: sends what a pipe delivers to its queue, in groups, all or nothing.';

/* The id by which a target may say that it failed with a record. */
CREATE FUNCTION _record_id(record json) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
	SELECT coalesce($1 ->> 'eventID', $1 ->> 'messageId')
$$;
COMMENT ON FUNCTION _record_id(json) IS 'Internal: a record''s id in batchItemFailures.';

/*
 * Which records of a batch a target says that it failed with: null for none,
 * an empty array if its answer can only mean all.
 */
CREATE FUNCTION _failed_records(answer jsonb, records text) RETURNS integer[]
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	failures constant jsonb := CASE jsonb_typeof(answer) WHEN 'object' THEN answer -> 'batchItemFailures' END;
	found integer[];
BEGIN
	IF failures IS NULL OR failures IN ('null', '[]', '{}') THEN
		RETURN NULL;
	ELSIF jsonb_typeof(failures) <> 'array' THEN
		RETURN '{}';
	END IF;
	SELECT array_agg(DISTINCT r.o ORDER BY r.o) INTO found
	FROM jsonb_array_elements(failures) AS f LEFT JOIN (
		SELECT eventbridge._record_id(a.value) AS id, a.o::integer
		FROM json_array_elements(records::json) WITH ORDINALITY AS a (value, o)) AS r
		ON r.id = CASE jsonb_typeof(f) WHEN 'object' THEN f ->> 'itemIdentifier' END;
	RETURN CASE WHEN array_position(found, NULL) IS NULL THEN found ELSE '{}' END;
END $$;
COMMENT ON FUNCTION _failed_records(jsonb, text) IS
'Internal: the numbers of the records in a target''s batchItemFailures.';

/* Position just before a record of a stream's batch. */
CREATE FUNCTION _position_before(records text, n integer, OUT tick bigint, OUT number bigint)
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	sequence_number constant text := records::json #>> ARRAY[(n - 1)::text, 'dynamodb', 'SequenceNumber'];
BEGIN
	tick := left(sequence_number, -19);
	number := right(sequence_number, 19)::bigint - 1;
END $$;
COMMENT ON FUNCTION _position_before(text, integer) IS
'Internal: the position at which a batch goes on with its n-th record.';

/* Takes messages that are done out of a pipe's queue; failed are the numbers of the others. */
CREATE FUNCTION _pipe_delete_messages(records text, failed integer[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
BEGIN
	WITH gone AS (
		DELETE FROM eventbridge.queue_message AS m
		WHERE m.message_no = ANY (ARRAY(SELECT split_part(r.value ->> 'receiptHandle', '/', 1)::bigint
			FROM json_array_elements($1::json) WITH ORDINALITY AS r (value, o) WHERE r.o <> ALL ($2)))
		RETURNING m.queue_id, m.message_group_id, m.message_deduplication_id)
	INSERT INTO eventbridge.queue_turn (queue_id, due_at, message_group_id)
	SELECT DISTINCT g.queue_id, clock_timestamp(), g.message_group_id
	FROM gone AS g WHERE g.message_deduplication_id IS NOT NULL;
END $$;
COMMENT ON FUNCTION _pipe_delete_messages(text, integer[]) IS
'Internal: deletes the messages that a pipe has delivered.';

/* Messages that failed are received again after their time-out. */
CREATE FUNCTION _pipe_return_messages(records text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
BEGIN
	WITH returned AS (
		UPDATE eventbridge.queue_message AS m SET receive_count = m.receive_count + 1,
			first_received_at = coalesce(m.first_received_at, clock_timestamp()),
			visible_at = clock_timestamp() + make_interval(secs =>
				(SELECT q.visibility_timeout FROM eventbridge.queue AS q WHERE q.queue_id = m.queue_id))
		WHERE m.message_no = ANY (ARRAY(SELECT split_part(r ->> 'receiptHandle', '/', 1)::bigint
			FROM json_array_elements($1::json) AS r))
		RETURNING m.queue_id, m.visible_at, m.message_group_id, m.message_deduplication_id)
	INSERT INTO eventbridge.queue_turn (queue_id, due_at, message_group_id)
	SELECT r.queue_id, max(r.visible_at), r.message_group_id
	FROM returned AS r WHERE r.message_deduplication_id IS NOT NULL
	GROUP BY r.queue_id, r.message_group_id;
END $$;
COMMENT ON FUNCTION _pipe_return_messages(text) IS
'Internal: gives messages that a pipe could not deliver back to their queue.';

/* Adds to a pipe's counters what does not happen with every batch. */
CREATE FUNCTION _pipe_count(pipe_id bigint, invocations integer, failed integer, partially_failed integer,
							enrichment_failed integer, target_failed integer, sent_to_dlq integer) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	EXECUTE format('INSERT INTO eventbridge.pipe_progress_%s
		(pipe_id, invocations, failed, partially_failed, enrichment_failed, target_failed, sent_to_dlq)
		VALUES ($1, $2, $3, $4, $5, $6, $7)', (SELECT q.last_value FROM eventbridge.stream_turn AS q))
	USING pipe_id, invocations, failed, partially_failed, enrichment_failed, target_failed, sent_to_dlq;
END $$;
COMMENT ON FUNCTION _pipe_count(bigint, integer, integer, integer, integer, integer, integer) IS
'Internal: counts what went wrong with a batch of a pipe.';

/* Writes what a pipe's log level asks for. */
CREATE FUNCTION _pipe_note(p_pipe_id bigint, level text, message_type text, message text, records text,
						   at timestamptz DEFAULT clock_timestamp()) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	p eventbridge.pipe;
	entry jsonb;
BEGIN
	SELECT y.* INTO p FROM eventbridge.pipe AS y WHERE y.pipe_id = p_pipe_id;
	IF array_position('{OFF,ERROR,INFO}'::text[], p.log_level) < array_position('{OFF,ERROR,INFO}'::text[], level) THEN
		RETURN;
	END IF;
	entry := jsonb_strip_nulls(jsonb_build_object('resourceArn', eventbridge._pipe_arn(p.name),
		'timestamp', (extract(epoch FROM at) * 1000)::bigint, 'executionId', gen_random_uuid(),
		'messageType', message_type, 'logLevel', level,
		'error', CASE WHEN message IS NOT NULL THEN jsonb_build_object('message', message) END,
		'payload', CASE WHEN p.log_data THEN left(records, 200000) END,
		'truncatedFields', CASE WHEN p.log_data AND char_length(records) > 200000 THEN '["payload"]'::jsonb END));
	INSERT INTO eventbridge.pipe_log_event (pipe_id, at, entry) VALUES (p_pipe_id, _pipe_note.at, entry);
	INSERT INTO eventbridge.log_event (log_group_id, message)
	SELECT g.log_group_id, entry::text FROM eventbridge.log_group AS g WHERE g.name = p.log_group;
END $$;
COMMENT ON FUNCTION _pipe_note(bigint, text, text, text, text, timestamptz) IS
'Internal: writes an entry into a pipe''s log, if its level is logged.';

/* A description of a batch that is given up, for the dead-letter queue. */
CREATE FUNCTION _pipe_bury(p eventbridge.pipe, condition text, attempts integer, records text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	last_one constant integer := json_array_length(records::json) - 1;
BEGIN
	INSERT INTO eventbridge.queue_message (queue_id, visible_at, body)
	SELECT q.queue_id, clock_timestamp() + make_interval(secs => q.delay_seconds), json_build_object(
		'context', json_build_object('executionId', gen_random_uuid(), 'resourceArn', eventbridge._pipe_arn(p.name),
			'condition', condition, 'approximateInvokeCount', attempts),
		'version', '1.0', 'timestamp', to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
		'DDBStreamBatchInfo', json_build_object('streamArn', p.definition ->> 'Source',
			'startSequenceNumber', records::json #> '{0,dynamodb,SequenceNumber}',
			'endSequenceNumber', records::json #> ARRAY[last_one::text, 'dynamodb', 'SequenceNumber'],
			'approximateArrivalOfFirstRecord', to_char(to_timestamp(
				(records::json #>> '{0,dynamodb,ApproximateCreationDateTime}')::float8)
				AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
			'approximateArrivalOfLastRecord', to_char(to_timestamp(
				(records::json #>> ARRAY[last_one::text, 'dynamodb', 'ApproximateCreationDateTime'])::float8)
				AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
			'batchSize', last_one + 1))::text
	FROM eventbridge.queue AS q WHERE q.name = p.dead_letter_queue AND eventbridge._acts_as(p.role, q.owner);
	IF FOUND THEN
		PERFORM eventbridge._pipe_count(p.pipe_id, 0, 0, 0, 0, 0, 1);
	END IF;
END $$;
COMMENT ON FUNCTION _pipe_bury(pipe, text, integer, text) IS
'Internal: sends the description of a batch to a pipe''s dead-letter queue.';

/*
 * A batch failed, from the record at n on (0: it was too old). Decides what
 * becomes of it: it is tried again later, in halves, or given up. "before"
 * is the position in front of the batch, "after" the one behind it.
 */
CREATE FUNCTION _pipe_failed(p_pipe_id bigint, stage text, message text, records text, record_count integer,
							 oldest timestamptz, n integer, before_tick bigint, before_number bigint,
							 after_tick bigint, after_number bigint) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	p eventbridge.pipe;
	x eventbridge.pipe_position;
	condition text;
	remaining constant integer := record_count - greatest(n, 1) + 1;
	start_tick bigint := before_tick;
	start_number bigint := before_number;
BEGIN
	SELECT y.* INTO p FROM eventbridge.pipe AS y WHERE y.pipe_id = p_pipe_id;
	SELECT y.* INTO x FROM eventbridge.pipe_position AS y WHERE y.pipe_id = p_pipe_id;
	PERFORM eventbridge._pipe_count(p_pipe_id, (n > 0)::integer, (n = 1)::integer, (n > 1)::integer,
		coalesce(stage = 'ENRICHMENT', false)::integer, coalesce(stage = 'TARGET', false)::integer, 0);
	IF n > 0 THEN
		PERFORM eventbridge._pipe_note(p_pipe_id, 'ERROR', stage || '_STAGE_FAILED', message, records);
		PERFORM eventbridge._pipe_note(p_pipe_id, 'ERROR',
			CASE WHEN n > 1 THEN 'EXECUTION_PARTIALLY_FAILED' ELSE 'EXECUTION_FAILED' END, message, NULL);
	END IF;
	IF p.source_kind = 'queue' THEN
		PERFORM eventbridge._pipe_return_messages(records);
		RETURN;
	END IF;
	/* Another batch than the one that failed last time begins to count anew. */
	IF n > 1 THEN
		SELECT b.tick, b.number INTO start_tick, start_number FROM eventbridge._position_before(records, n) AS b;
		x.attempts := 0;
	ELSIF (x.tick, x.number) <> (before_tick, before_number) THEN
		x.attempts := 0;
	END IF;
	condition := CASE
		WHEN n = 0 THEN 'MaximumRecordAgeExceeded'
		WHEN p.maximum_record_age > 0 AND oldest < clock_timestamp() - make_interval(secs => p.maximum_record_age)
			THEN 'MaximumRecordAgeExceeded'
		WHEN p.maximum_retry_attempts >= 0 AND x.attempts >= p.maximum_retry_attempts THEN 'RetryAttemptsExhausted' END;
	IF n > 0 AND p.bisect AND remaining > 1 THEN
		UPDATE eventbridge.pipe_state AS y SET tick = start_tick, number = start_number, attempts = x.attempts,
			batch_limit = (remaining + 1) / 2, next_attempt = '-infinity'
		WHERE y.pipe_id = p_pipe_id;
	ELSIF condition IS NOT NULL THEN
		PERFORM eventbridge._pipe_bury(p, condition, x.attempts + 1, records);
		UPDATE eventbridge.pipe_state AS y SET tick = after_tick, number = after_number, attempts = 0,
			batch_limit = NULL, next_attempt = '-infinity'
		WHERE y.pipe_id = p_pipe_id;
	ELSE
		/* The same batch again, also if there is more by then. */
		UPDATE eventbridge.pipe_state AS y SET tick = start_tick, number = start_number, attempts = x.attempts + 1,
			batch_limit = remaining, next_attempt = clock_timestamp()
				+ least(current_setting('eventbridge.retry_delay')::interval * 2 ^ least(x.attempts, 20), '10 min')
		WHERE y.pipe_id = p_pipe_id;
	END IF;
END $$;
COMMENT ON FUNCTION _pipe_failed(bigint, text, text, text, integer, timestamptz, integer, bigint, bigint, bigint, bigint) IS
'Internal: what becomes of a batch that failed.';

/* A pipe that cannot work stops, and says why, as in AWS. */
CREATE FUNCTION _pipe_halt(p_pipe_id bigint, reason text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	PERFORM eventbridge._pipe_note(p_pipe_id, 'ERROR', 'EXECUTION_FAILED', reason, NULL);
	UPDATE eventbridge.pipe AS p SET current_state = 'STOPPED', state_reason = left(reason, 512),
		last_modified_time = clock_timestamp()
	WHERE p.pipe_id = p_pipe_id;
END $$;
COMMENT ON FUNCTION _pipe_halt(bigint, text) IS 'Internal: stops a pipe that cannot reach its target.';

/* Roles whose pipes have something to do. */
CREATE FUNCTION _lanes_with_pipes() RETURNS SETOF oid
LANGUAGE plpgsql STABLE ROWS 5 SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	RETURN QUERY SELECT DISTINCT a.oid
	FROM eventbridge.pipe AS p JOIN eventbridge.pipe_position AS x USING (pipe_id)
		JOIN pg_roles AS a ON a.rolname = p.role
	WHERE p.current_state = 'RUNNING' AND CASE p.source_kind
		WHEN 'queue' THEN EXISTS (SELECT FROM eventbridge.queue_message AS m
			JOIN eventbridge.queue AS q USING (queue_id) WHERE q.name = p.queue)
		ELSE x.attempts > 0
			OR EXISTS (SELECT FROM eventbridge.stream_tick AS t WHERE t.tick > x.tick)
			OR x.number < 9223372036854775807
			OR EXISTS (SELECT FROM eventbridge.stream_pack AS l, eventbridge.stream_tick AS t
				WHERE l.stream_id = p.stream_id AND t.tick = x.tick AND l.xid >= pg_snapshot_xmin(t.snapshot)
					AND NOT pg_visible_in_snapshot(l.xid, t.snapshot)) END;
END $$;
COMMENT ON FUNCTION _lanes_with_pipes() IS 'Internal: the roles whose pipes have something to read.';

/*
 * When a role's pipes have to be looked at again although nobody rings: for a
 * batch that is tried again or waits to become full, and for queues.
 */
CREATE FUNCTION _next_pipe_attempt(lane oid) RETURNS timestamptz
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	RETURN (SELECT min(CASE WHEN x.attempts > 0 THEN greatest(x.next_attempt, clock_timestamp())
			ELSE clock_timestamp() + least(p.batching_window * interval '1 s',
				current_setting('eventbridge.poll_interval')::interval) + interval '0.1 s' END)
	FROM eventbridge.pipe AS p JOIN eventbridge.pipe_state AS x USING (pipe_id) JOIN pg_roles AS a ON a.rolname = p.role
	WHERE a.oid = $1 AND p.current_state = 'RUNNING'
		AND (p.source_kind = 'queue' OR x.attempts > 0 OR p.batching_window > 0));
END $$;
COMMENT ON FUNCTION _next_pipe_attempt(oid) IS
'Internal: when a role''s pipes have to be looked at although nothing new has come.';

REVOKE EXECUTE ON FUNCTION
	_pipe_to_run(bigint), _pipe_ticks(bigint), _pipe_receive(bigint), _pipe_limits(bigint),
	_pipe_put_events(bigint, text, text[]), _pipe_send_messages(bigint, text, text[]),
	_pipe_delete_messages(text, integer[]), _pipe_return_messages(text),
	_pipe_count(bigint, integer, integer, integer, integer, integer, integer),
	_pipe_note(bigint, text, text, text, text, timestamptz), _pipe_bury(pipe, text, integer, text),
	_pipe_failed(bigint, text, text, text, integer, timestamptz, integer, bigint, bigint, bigint, bigint),
	_pipe_halt(bigint, text), _lanes_with_pipes(), _next_pipe_attempt(oid)
FROM PUBLIC;
