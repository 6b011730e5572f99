
/* ---------------------------------------------------------------------
 * Targets of rules: where their ARNs lead, who may use that, and AWS's
 * PutTargets, RemoveTargets and lists.
 * --------------------------------------------------------------------- */

/*
 * Where an ARN leads. Region and account do not count: what was written for
 * an account of AWS means the thing of the same name here. kind is null for
 * what has no counterpart, and there is no row for what is no ARN.
 */
CREATE FUNCTION _resolve_arn(arn text, OUT service text, OUT kind text, OUT resource text) RETURNS SETOF record
LANGUAGE sql IMMUTABLE PARALLEL SAFE ROWS 1 SET search_path = pg_catalog, pg_temp AS $$
	SELECT a.part[1], k.kind, k.resource
	FROM regexp_match(arn, '^arn:[^:]+:([^:]+):[^:]*:[^:]*:(.+)$') AS a (part)
	LEFT JOIN LATERAL (
		SELECT f.kind, (regexp_match(a.part[2], f.form))[1]
		FROM (VALUES ('lambda', 'function', '^function:([^:]+)$'),
			('states', 'procedure', '^stateMachine:([^:]+)$'),
			('sqs', 'queue', '^([^:/]+)$'),
			('sns', 'topic', '^([^:]+)$'),
			('events', 'event_bus', '^event-bus/(.+)$'),
			('events', 'api_destination', '^api-destination/([^/]+)(?:/.*)?$'),
			('logs', 'log_group', '^log-group:([^:]+)(?::\*)?$'),
			('ecs', 'task', '^task/(.+)$')) AS f (service, kind, form)
		WHERE f.service = a.part[1] AND a.part[2] ~ f.form) AS k (kind, resource) ON true
	WHERE a.part IS NOT NULL
$$;
COMMENT ON FUNCTION _resolve_arn(text) IS
'Internal: what an ARN leads to in this database.';

/*
 * The function or procedure that a target means: the one with exactly one
 * argument, of type jsonb, so that no other of the same name can take its
 * place. A name without a schema is in schema public. Null where there is none.
 */
CREATE FUNCTION _target_routine(kind text, resource text) RETURNS oid
LANGUAGE plpgsql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	RETURN (SELECT p.oid
		FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace
		WHERE n.nspname = CASE WHEN strpos(resource, '.') > 0 THEN split_part(resource, '.', 1) ELSE 'public' END
			AND p.proname = substr(resource, strpos(resource, '.') + 1)
			AND p.prokind = CASE kind WHEN 'function' THEN 'f' ELSE 'p' END
			AND p.pronargs = 1 AND p.proargtypes[0] = 'jsonb'::regtype);
END $$;
COMMENT ON FUNCTION _target_routine(text, text) IS
'Internal: the id of the function or procedure that a target names.';

/*
 * What keeps a role from using a target, as a message, and the statement that
 * would mend it; no row if nothing does. Asked when a target is put, and may
 * be asked again when it is invoked.
 */
CREATE FUNCTION _target_obstacle(kind text, resource text, role name,
								 OUT code text, OUT message text, OUT hint text) RETURNS SETOF record
LANGUAGE plpgsql STABLE ROWS 1 SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	routine oid;
	bus_id bigint;
	resource_owner name;
	found_one boolean;
BEGIN
	code := 'ResourceNotFoundException';
	IF kind IN ('function', 'procedure') THEN
		routine := eventbridge._target_routine(kind, resource);
		IF routine IS NULL THEN
			message := format('%s %s(jsonb) does not exist', kind, resource);
			IF strpos(resource, '.') = 0 THEN
				hint := format('A name without a schema means schema public: public.%s(jsonb).', resource);
			END IF;
			RETURN NEXT;
			RETURN;
		END IF;
		code := 'AccessDeniedException';
		IF NOT has_schema_privilege(role, (SELECT p.pronamespace FROM pg_proc AS p WHERE p.oid = routine), 'USAGE') THEN
			message := format('role "%s" may not execute %s %s', role, kind, routine::regprocedure);
			hint := format('GRANT USAGE ON SCHEMA %s TO %I;',
						   (SELECT p.pronamespace::regnamespace FROM pg_proc AS p WHERE p.oid = routine), role);
			RETURN NEXT;
		ELSIF NOT has_function_privilege(role, routine, 'EXECUTE') THEN
			message := format('role "%s" may not execute %s %s', role, kind, routine::regprocedure);
			hint := format('GRANT EXECUTE ON %s %s TO %I;', upper(kind), routine::regprocedure, role);
			RETURN NEXT;
		END IF;
		RETURN;
	END IF;
	IF kind = 'event_bus' THEN
		SELECT b.bus_id INTO bus_id FROM eventbridge.event_bus AS b WHERE b.name = resource;
		IF bus_id IS NULL THEN
			message := format('Event bus %s does not exist.', resource);
			RETURN NEXT;
		ELSIF NOT eventbridge._bus_allows(bus_id, role, 'events:PutEvents') THEN
			code := 'AccessDeniedException';
			message := format('role "%s" may not put events on event bus "%s"', role, resource);
			hint := format('SELECT eventbridge.put_permission(%L, %L, %L, %L);',
						   role || '-PutEvents', 'events:PutEvents', role, resource);
			RETURN NEXT;
		END IF;
		RETURN;
	END IF;

	/* The others belong to a role, and are for those who have its rights. */
	EXECUTE format('SELECT owner FROM eventbridge.%I WHERE name = $1', kind) INTO resource_owner USING resource;
	IF resource_owner IS NULL THEN
		message := format('%s "%s" does not exist', replace(kind, '_', ' '), resource);
		RETURN NEXT;
	ELSIF NOT eventbridge._acts_as(role, resource_owner) THEN
		code := 'AccessDeniedException';
		message := format('role "%s" may not use %s "%s"', role, replace(kind, '_', ' '), resource);
		hint := format('GRANT %I TO %I;', resource_owner, role);
		RETURN NEXT;
	END IF;
END $$;
COMMENT ON FUNCTION _target_obstacle(text, text, name) IS
'Internal: what keeps a role from using a target, and what would mend it.';

/* The form of one target in PutTargets: types and constraints. */
CREATE FUNCTION _check_target(faults text[], target jsonb, n bigint) RETURNS text[]
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	member constant text := format('targets.%s.member.', n);
	allowed constant text[] := '{Id,Arn,RoleArn,Input,InputPath,InputTransformer,KinesisParameters,RunCommandParameters,'
		'EcsParameters,BatchParameters,SqsParameters,HttpParameters,RedshiftDataParameters,SageMakerPipelineParameters,'
		'DeadLetterConfig,RetryPolicy,AppSyncParameters,Ordered}';
	key text;
	block_key text;
	value jsonb;
	wanted text;
	type text;
	members text[];
BEGIN
	IF jsonb_typeof(target) <> 'object' THEN
		PERFORM eventbridge._raise('ValidationException', format('Targets[%s] must be a JSON object', n - 1));
	END IF;
	FOR key, value IN SELECT * FROM jsonb_each(target) LOOP
		IF key <> ALL (allowed) THEN
			PERFORM eventbridge._raise('ValidationException',
				format('unknown parameter "%s" in Targets[%s]', key, n - 1),
				format('It must be one of: %s.', array_to_string(allowed, ', ')));
		END IF;
		wanted := CASE WHEN key IN ('Id', 'Arn', 'RoleArn', 'Input', 'InputPath') THEN 'string'
					   WHEN key = 'Ordered' THEN 'boolean' ELSE 'object' END;
		IF jsonb_typeof(value) <> wanted THEN
			PERFORM eventbridge._raise('ValidationException',
				format('invalid type for parameter Targets[%s].%s: must be a JSON %s', n - 1, key, wanted));
		END IF;
	END LOOP;
	FOR key, wanted, members IN
		SELECT b.name, b.wanted, b.members
		FROM (VALUES ('InputTransformer', 'string', '{InputPathsMap,InputTemplate}'::text[]),
			('DeadLetterConfig', 'string', '{Arn}'), ('SqsParameters', 'string', '{MessageGroupId}'),
			('RetryPolicy', 'number', '{MaximumRetryAttempts,MaximumEventAgeInSeconds}'),
			('HttpParameters', NULL, '{PathParameterValues,HeaderParameters,QueryStringParameters}'))
			AS b (name, wanted, members)
		WHERE target ? b.name
	LOOP
		PERFORM eventbridge._check_members(target -> key, format('Targets[%s].%s', n - 1, key), members);
		FOR block_key, value IN SELECT * FROM jsonb_each(target -> key) LOOP
			type := CASE block_key WHEN 'InputPathsMap' THEN 'object' ELSE wanted END;
			IF jsonb_typeof(value) <> type THEN
				PERFORM eventbridge._raise('ValidationException',
					format('invalid type for parameter Targets[%s].%s.%s: must be a JSON %s', n - 1, key, block_key, type));
			END IF;
		END LOOP;
	END LOOP;
	faults := eventbridge._check(faults, target #>> '{SqsParameters,MessageGroupId}',
		member || 'sqsParameters.messageGroupId', 100, '[!-~]*');
	faults := eventbridge._check(faults, target ->> 'Id', member || 'id', 64, '[\.\-_A-Za-z0-9]+', true);
	faults := eventbridge._check(faults, target ->> 'Arn', member || 'arn', 1600, required => true);
	faults := eventbridge._check(faults, target ->> 'RoleArn', member || 'roleArn', 1600);
	faults := eventbridge._check(faults, target ->> 'Input', member || 'input', 8192);
	faults := eventbridge._check(faults, target ->> 'InputPath', member || 'inputPath', 256);
	faults := eventbridge._check(faults, target #>> '{InputTransformer,InputTemplate}',
		member || 'inputTransformer.inputTemplate', 8192, required => target ? 'InputTransformer');
	faults := eventbridge._check(faults, target #>> '{DeadLetterConfig,Arn}', member || 'deadLetterConfig.arn', 1600);
	faults := eventbridge._check_range(faults, trunc((target #>> '{RetryPolicy,MaximumRetryAttempts}')::numeric),
		member || 'retryPolicy.maximumRetryAttempts', 0, 185);
	faults := eventbridge._check_range(faults, trunc((target #>> '{RetryPolicy,MaximumEventAgeInSeconds}')::numeric),
		member || 'retryPolicy.maximumEventAgeInSeconds', 60, 86400);
	RETURN faults;
END $$;
COMMENT ON FUNCTION _check_target(text[], jsonb, bigint) IS
'Internal: appends the faults in the form of a target.';

/* What only one kind of target takes, or needs. */
CREATE FUNCTION _check_target_kind(target jsonb, kind text, resource text) RETURNS void
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	target_id constant text := target ->> 'Id';
	block text;
BEGIN
	FOR block IN
		SELECT b.name
		FROM (VALUES ('KinesisParameters', NULL), ('RunCommandParameters', NULL), ('EcsParameters', 'task'),
			('BatchParameters', NULL), ('HttpParameters', 'api_destination'), ('RedshiftDataParameters', NULL),
			('SageMakerPipelineParameters', NULL), ('AppSyncParameters', NULL)) AS b (name, kind)
		WHERE target ? b.name AND b.kind IS DISTINCT FROM _check_target_kind.kind
	LOOP
		PERFORM eventbridge._raise('ValidationException',
			format('Parameter(s) %s not supported for target: %s', block, target_id));
	END LOOP;
	IF kind = 'queue' AND resource LIKE '%.fifo'
		AND coalesce(target #>> '{SqsParameters,MessageGroupId}', '') = '' THEN
		PERFORM eventbridge._raise('ValidationException',
			format('Parameter(s) SqsParameters must be specified for target: %s', target_id));
	END IF;
	IF kind IN ('function', 'topic', 'queue', 'log_group') THEN
		IF target ? 'RoleArn' THEN
			PERFORM eventbridge._raise('ValidationException',
				format('RoleArn is not supported for target %s.', target ->> 'Arn'));
		END IF;
	ELSIF NOT target ? 'RoleArn' THEN
		PERFORM eventbridge._raise('ValidationException',
			format('RoleArn is required for target %s.', target ->> 'Arn'));
	END IF;
END $$;
COMMENT ON FUNCTION _check_target_kind(jsonb, text, text) IS
'Internal: an error where a target has what its kind does not take, or lacks what it needs.';

/* The queue that a dead-letter ARN names. */
CREATE FUNCTION _dead_letter_queue(arn text) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	found_one record;
BEGIN
	SELECT * INTO found_one FROM eventbridge._resolve_arn(arn);
	IF NOT FOUND THEN
		PERFORM eventbridge._raise('ValidationException',
			format('Parameter %s is not valid. Reason: Provided Arn is not in correct format.', arn));
	ELSIF found_one.kind IS DISTINCT FROM 'queue' THEN
		PERFORM eventbridge._raise('ValidationException',
			format('%s is not supported as a dead letter resource', found_one.service));
	ELSIF found_one.resource LIKE '%.fifo' THEN
		PERFORM eventbridge._raise('ValidationException',
			'SQS FIFO is not supported by Dead Letter Queues');
	END IF;
	RETURN found_one.resource;
END $$;
COMMENT ON FUNCTION _dead_letter_queue(text) IS
'Internal: the name of the queue that a dead-letter ARN names.';

/* One target whose form has been checked. */
CREATE FUNCTION _put_target(found_rule eventbridge.rule, target jsonb) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	target_arn constant text := target ->> 'Arn';
	place record;
	fault record;
	target_role name;
	queue text;
BEGIN
	SELECT * INTO place FROM eventbridge._resolve_arn(target_arn);
	IF NOT FOUND THEN
		PERFORM eventbridge._raise('ValidationException',
			format('Parameter %s is not valid. Reason: Provided Arn is not in correct format.', target_arn));
	ELSIF place.kind IS NULL THEN
		PERFORM eventbridge._raise('UnsupportedOperationException',
			format('targets such as %s are not supported', target_arn),
			'Supported are the ARNs of lambda functions, states state machines, sqs queues, sns topics, event buses, api destinations, logs log groups and ecs tasks.');
	END IF;
	FOR fault IN SELECT * FROM eventbridge.check_target_input(target) LOOP
		PERFORM eventbridge._raise('ValidationException', fault.message, more_detail => fault.detail);
	END LOOP;
	PERFORM eventbridge._check_target_kind(target, place.kind, place.resource);
	IF target ? 'RoleArn' THEN
		target_role := eventbridge._require_role(target ->> 'RoleArn');
	END IF;
	FOR fault IN
		SELECT * FROM eventbridge._target_obstacle(place.kind, place.resource, coalesce(target_role, found_rule.owner))
	LOOP
		PERFORM eventbridge._raise(fault.code, fault.message, fault.hint);
	END LOOP;
	IF target #>> '{DeadLetterConfig,Arn}' IS NOT NULL THEN
		queue := eventbridge._dead_letter_queue(target #>> '{DeadLetterConfig,Arn}');
		FOR fault IN SELECT * FROM eventbridge._target_obstacle('queue', queue, found_rule.owner) LOOP
			PERFORM eventbridge._raise(fault.code, fault.message, fault.hint);
		END LOOP;
	END IF;

	/* The whole new definition counts; what waits for the target stays its. */
	INSERT INTO eventbridge.target AS t
		(rule_id, id, arn, kind, resource, role_arn, role, input, input_path, input_transformer,
		 dead_letter_arn, dead_letter_queue, maximum_retry_attempts, maximum_event_age_in_seconds,
		 parameters, ordered)
	VALUES (found_rule.rule_id, target ->> 'Id', target_arn, place.kind, place.resource, target ->> 'RoleArn', target_role,
			target ->> 'Input', target ->> 'InputPath', target -> 'InputTransformer',
			target #>> '{DeadLetterConfig,Arn}', queue,
			trunc((target #>> '{RetryPolicy,MaximumRetryAttempts}')::numeric),
			trunc((target #>> '{RetryPolicy,MaximumEventAgeInSeconds}')::numeric),
			(SELECT coalesce(jsonb_object_agg(b.key, b.value), '{}') FROM jsonb_each(target) AS b
			 WHERE b.key LIKE '%Parameters'),
			coalesce((target ->> 'Ordered')::boolean, false))
	ON CONFLICT (rule_id, id) DO UPDATE SET
		arn = excluded.arn, kind = excluded.kind, resource = excluded.resource, role_arn = excluded.role_arn,
		role = excluded.role, input = excluded.input, input_path = excluded.input_path,
		input_transformer = excluded.input_transformer, dead_letter_arn = excluded.dead_letter_arn,
		dead_letter_queue = excluded.dead_letter_queue, maximum_retry_attempts = excluded.maximum_retry_attempts,
		maximum_event_age_in_seconds = excluded.maximum_event_age_in_seconds,
		parameters = excluded.parameters, ordered = excluded.ordered;
END $$;
COMMENT ON FUNCTION _put_target(eventbridge.rule, jsonb) IS
'Internal: adds or replaces one target.';

CREATE FUNCTION put_targets(rule text, targets jsonb, event_bus_name text DEFAULT 'default') RETURNS jsonb
AS 'MODULE_PATHNAME', 'eb_gate' LANGUAGE C PARALLEL UNSAFE;
COMMENT ON FUNCTION put_targets(text, jsonb, text) IS
'Adds targets to a rule that the caller owns, or replaces those of the same ids (PutTargets). Takes AWS''s array of targets; the member Ordered, a boolean, is ours: a target for which it is true gets the events of one group (GroupKey in put_events, group_key in put_event and put_row_event) in the order in which they were put, each after the one before has been delivered or has failed for good; different groups, and events without a group, do not wait for one another. Fails, with AWS''s message where it has one, if a target is not valid, leads nowhere, or may not be used by the role it runs as.';

CREATE FUNCTION _put_targets(p_rule text, p_targets jsonb, p_event_bus_name text) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	faults text[] := '{}';
	targets constant jsonb := CASE WHEN jsonb_typeof(p_targets) = 'object' AND p_targets - 'Targets' = '{}'
								THEN p_targets -> 'Targets' ELSE p_targets END;
	bus eventbridge.event_bus;
	found_rule eventbridge.rule;
	target jsonb;
	n bigint;
	twice text;
BEGIN
	faults := eventbridge._check(faults, p_rule, 'rule', 64, '[\.\-_A-Za-z0-9]+', true);
	faults := eventbridge._check_bus_name(faults, p_event_bus_name);
	IF targets IS NULL THEN
		faults := faults || text 'Value null at ''targets'' failed to satisfy constraint: Member must not be null';
	ELSIF jsonb_typeof(targets) <> 'array' THEN
		PERFORM eventbridge._raise('ValidationException', 'targets must be a JSON array of objects');
	END IF;
	IF targets = '[]' THEN
		faults := faults || text 'Value ''[]'' at ''targets'' failed to satisfy constraint: Member must have length greater than or equal to 1';
	END IF;
	FOR target, n IN SELECT * FROM jsonb_array_elements(targets) WITH ORDINALITY LOOP
		faults := eventbridge._check_target(faults, target, n);
	END LOOP;
	PERFORM eventbridge._raise_faults(faults);

	SELECT t.value ->> 'Id' INTO twice FROM jsonb_array_elements(targets) WITH ORDINALITY AS t (value, n)
	GROUP BY 1 HAVING count(*) > 1 ORDER BY min(t.n) LIMIT 1;
	IF FOUND THEN
		PERFORM eventbridge._raise('ValidationException',
			format('Parameter targets is not valid. Reason: More than one target with Id ''%s'' is provided.', twice));
	END IF;

	bus := eventbridge._find_bus(p_event_bus_name);
	found_rule := eventbridge._find_rule(bus, p_rule, false);
	PERFORM eventbridge._require_permission(bus, 'events:PutRule');
	FOR target IN SELECT * FROM jsonb_array_elements(targets) LOOP
		PERFORM eventbridge._put_target(found_rule, target);
	END LOOP;
	RETURN '{"FailedEntryCount": 0, "FailedEntries": []}';
END $$;
COMMENT ON FUNCTION _put_targets(text, jsonb, text) IS 'Internal: see put_targets.';

CREATE FUNCTION remove_targets(rule text, ids text[], event_bus_name text DEFAULT 'default',
							   force boolean DEFAULT false) RETURNS jsonb
AS 'MODULE_PATHNAME', 'eb_gate' LANGUAGE C PARALLEL UNSAFE;
COMMENT ON FUNCTION remove_targets(text, text[], text, boolean) IS
'Takes targets from a rule that the caller owns, or that is on a bus of the caller''s (RemoveTargets). Ids that the rule does not have are reported in FailedEntries.';

CREATE FUNCTION _remove_targets(p_rule text, p_ids text[], p_event_bus_name text, p_force boolean) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	faults text[] := '{}';
	found_rule eventbridge.rule;
	removed text[];
	failed jsonb;
BEGIN
	faults := eventbridge._check(faults, p_rule, 'rule', 64, '[\.\-_A-Za-z0-9]+', true);
	faults := eventbridge._check_bus_name(faults, p_event_bus_name);
	IF p_ids IS NULL THEN
		faults := faults || text 'Value null at ''ids'' failed to satisfy constraint: Member must not be null';
	ELSIF p_ids = '{}' THEN
		faults := faults || text 'Value ''[]'' at ''ids'' failed to satisfy constraint: Member must have length greater than or equal to 1';
	END IF;
	FOR n IN 1 .. coalesce(cardinality(p_ids), 0) LOOP
		faults := eventbridge._check(faults, p_ids[n], format('ids.%s.member', n), 64, '[\.\-_A-Za-z0-9]+', true);
	END LOOP;
	PERFORM eventbridge._raise_faults(faults);
	found_rule := eventbridge._find_rule(eventbridge._find_bus(p_event_bus_name), p_rule, true);
	WITH gone AS (
		DELETE FROM eventbridge.target AS t
		WHERE t.rule_id = found_rule.rule_id AND t.id = ANY (p_ids)
		RETURNING t.id)
	SELECT array_agg(gone.id) INTO removed FROM gone;
	SELECT coalesce(jsonb_agg(jsonb_build_object(
			'TargetId', i.id, 'ErrorCode', 'ResourceNotFoundException',
			'ErrorMessage', format('Rule ''%s'' does not have a target with the Id ''%s''.', p_rule, i.id)) ORDER BY i.n), '[]')
		INTO failed
	FROM unnest(p_ids) WITH ORDINALITY AS i (id, n) WHERE i.id <> ALL (coalesce(removed, '{}'));
	RETURN jsonb_build_object('FailedEntryCount', jsonb_array_length(failed), 'FailedEntries', failed);
END $$;
COMMENT ON FUNCTION _remove_targets(text, text[], text, boolean) IS 'Internal: see remove_targets.';

CREATE FUNCTION _describe_target(target eventbridge.targets) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
	SELECT jsonb_strip_nulls(jsonb_build_object(
			'Id', target.id, 'Arn', target.arn, 'RoleArn', target.role_arn, 'Input', target.input,
			'InputPath', target.input_path,
			'DeadLetterConfig', CASE WHEN target.dead_letter_arn IS NOT NULL
				THEN jsonb_build_object('Arn', target.dead_letter_arn) END,
			'RetryPolicy', CASE WHEN num_nonnulls(target.maximum_retry_attempts, target.maximum_event_age_in_seconds) > 0
				THEN jsonb_build_object('MaximumRetryAttempts', target.maximum_retry_attempts,
					'MaximumEventAgeInSeconds', target.maximum_event_age_in_seconds) END,
			'Ordered', nullif(target.ordered, false)))
		|| CASE WHEN target.input_transformer IS NULL THEN '{}'
			ELSE jsonb_build_object('InputTransformer', target.input_transformer) END
		|| target.parameters
$$;
COMMENT ON FUNCTION _describe_target(eventbridge.targets) IS 'Internal: a target in AWS''s form.';

CREATE FUNCTION list_targets_by_rule(rule text, event_bus_name text DEFAULT 'default',
									 max_items integer DEFAULT NULL, next_token text DEFAULT NULL) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	found_rule constant eventbridge.rules := eventbridge._visible_rule('rule', rule, event_bus_name);
BEGIN
	PERFORM eventbridge._check_page(max_items, next_token);
	RETURN (
		SELECT eventbridge._page(coalesce(array_agg(eventbridge._describe_target(t) ORDER BY t.id), '{}'),
								 array_agg(t.id ORDER BY t.id), max_items, 'Targets')
		FROM eventbridge.targets AS t
		WHERE t.event_bus_name = found_rule.event_bus_name AND t.rule = found_rule.name
		AND t.id > eventbridge._page_start(next_token) COLLATE "C");
END $$;
COMMENT ON FUNCTION list_targets_by_rule(text, text, integer, text) IS
'The targets of a rule that the caller may see, in AWS''s form (ListTargetsByRule; max_items is its Limit, default all).';

CREATE FUNCTION list_rule_names_by_target(target_arn text, event_bus_name text DEFAULT 'default',
										  max_items integer DEFAULT NULL, next_token text DEFAULT NULL) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	bus_name constant text := eventbridge._visible_bus(event_bus_name);
BEGIN
	PERFORM eventbridge._raise_faults(eventbridge._check('{}', target_arn, 'targetArn', 1600, required => true));
	PERFORM eventbridge._check_page(max_items, next_token);
	RETURN (
		SELECT eventbridge._page(coalesce(array_agg(to_jsonb(n.rule) ORDER BY n.rule), '{}'),
								 array_agg(n.rule ORDER BY n.rule), max_items, 'RuleNames')
		FROM (SELECT DISTINCT t.rule FROM eventbridge.targets AS t
			  WHERE t.event_bus_name = bus_name AND t.arn = target_arn
			  AND t.rule > eventbridge._page_start(next_token) COLLATE "C") AS n);
END $$;
COMMENT ON FUNCTION list_rule_names_by_target(text, text, integer, text) IS
'The names of the rules of a bus that have a target of this ARN, as far as the caller may see them (ListRuleNamesByTarget; max_items is its Limit, default all).';

REVOKE EXECUTE ON FUNCTION
	put_targets(text, jsonb, text), remove_targets(text, text[], text, boolean), _target_obstacle(text, text, name),
	_put_target(rule, jsonb), _put_targets(text, jsonb, text), _remove_targets(text, text[], text, boolean)
FROM PUBLIC;
