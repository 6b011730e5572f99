
/* ---------------------------------------------------------------------
 * Resources that targets lead to. Functions and procedures need no
 * registration; queues are in queue.sql.
 * --------------------------------------------------------------------- */

CREATE FUNCTION create_topic(name text, claim_check boolean DEFAULT false) RETURNS text
AS 'MODULE_PATHNAME', 'eb_gate' LANGUAGE C PARALLEL UNSAFE;
COMMENT ON FUNCTION create_topic(text, boolean) IS
'Makes a NOTIFY channel known as a topic, which belongs to the caller, and returns its ARN. Every role can listen on every channel; with claim_check the notification carries an id instead of the content.';

CREATE FUNCTION _create_topic(p_name text, p_claim_check boolean) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	PERFORM eventbridge._raise_faults(eventbridge._check('{}', p_name, 'name', 63, '[a-zA-Z0-9_-]+', true));
	INSERT INTO eventbridge.topic (name, owner, claim_check)
	VALUES (p_name, eventbridge._caller(), coalesce(p_claim_check, false))
	ON CONFLICT (name) DO NOTHING;
	IF NOT FOUND THEN
		PERFORM eventbridge._raise('ResourceAlreadyExistsException', format('Topic %s already exists.', p_name));
	END IF;
	RETURN eventbridge._arn('sns', p_name);
END $$;
COMMENT ON FUNCTION _create_topic(text, boolean) IS 'Internal: see create_topic.';

CREATE FUNCTION create_log_group(name text, retention_in_days integer DEFAULT NULL) RETURNS text
AS 'MODULE_PATHNAME', 'eb_gate' LANGUAGE C PARALLEL UNSAFE;
COMMENT ON FUNCTION create_log_group(text, integer) IS
'Creates a log group, which belongs to the caller, and returns its ARN. Without a retention its events are kept for ever. The view log_events shows them.';

CREATE FUNCTION _create_log_group(p_name text, p_retention_in_days integer) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	faults text[] := '{}';
BEGIN
	faults := eventbridge._check(faults, p_name, 'logGroupName', 512, '[\.\-_/#A-Za-z0-9]+', true);
	faults := eventbridge._check_range(faults, p_retention_in_days, 'retentionInDays', 1, 36500);
	PERFORM eventbridge._raise_faults(faults);
	INSERT INTO eventbridge.log_group (name, owner, retention_in_days)
	VALUES (p_name, eventbridge._caller(), p_retention_in_days)
	ON CONFLICT (name) DO NOTHING;
	IF NOT FOUND THEN
		PERFORM eventbridge._raise('ResourceAlreadyExistsException', 'The specified log group already exists');
	END IF;
	RETURN eventbridge._arn('logs', 'log-group:' || p_name);
END $$;
COMMENT ON FUNCTION _create_log_group(text, integer) IS 'Internal: see create_log_group.';

CREATE FUNCTION put_retention_policy(log_group_name text, retention_in_days integer) RETURNS void
AS 'MODULE_PATHNAME', 'eb_gate' LANGUAGE C PARALLEL UNSAFE;
COMMENT ON FUNCTION put_retention_policy(text, integer) IS
'Sets how many days a log group of the caller''s keeps its events; null: for ever.';

CREATE FUNCTION _put_retention_policy(p_name text, p_retention_in_days integer) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	PERFORM eventbridge._raise_faults(eventbridge._check_range('{}', p_retention_in_days, 'retentionInDays', 1, 36500));
	PERFORM eventbridge._owned_resource('log_group', p_name);
	UPDATE eventbridge.log_group AS g SET retention_in_days = p_retention_in_days WHERE g.name = p_name;
END $$;
COMMENT ON FUNCTION _put_retention_policy(text, integer) IS 'Internal: see put_retention_policy.';

/*
 * What may stand for a text that is secret: a reference, which the worker
 * resolves on its own machine.
 */
CREATE FUNCTION _is_reference(value text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
	SELECT value ~ '^(env:[A-Za-z_][A-Za-z0-9_]*|file:/?[^/].*)$'
$$;
COMMENT ON FUNCTION _is_reference(text) IS
'Internal: whether a text is a reference such as env:NAME or file:NAME.';

CREATE FUNCTION create_api_destination(name text, invocation_endpoint text, http_method text DEFAULT 'POST',
									   invocation_rate_limit_per_second integer DEFAULT 300,
									   header_parameters jsonb DEFAULT '{}', signing_secret text DEFAULT NULL,
									   description text DEFAULT NULL) RETURNS text
AS 'MODULE_PATHNAME', 'eb_gate' LANGUAGE C PARALLEL UNSAFE;
COMMENT ON FUNCTION create_api_destination(text, text, text, integer, jsonb, text, text) IS
'Creates an API destination (a webhook), which belongs to the caller, and returns its ARN. The endpoint is an https URL, or http on this machine. Secrets are never stored: the endpoint, the value of a header, and the signing secret may be references env:NAME or file:NAME, which eventbridge-worker resolves; headers that authenticate must be.';

CREATE FUNCTION _create_api_destination(p_name text, p_invocation_endpoint text, p_http_method text,
										p_rate integer, p_header_parameters jsonb, p_signing_secret text,
										p_description text) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	faults text[] := '{}';
	headers constant jsonb := coalesce(p_header_parameters, '{}');
	header text;
	value jsonb;
BEGIN
	faults := eventbridge._check(faults, p_name, 'name', 64, '[\.\-_A-Za-z0-9]+', true);
	faults := eventbridge._check(faults, p_invocation_endpoint, 'invocationEndpoint', 2048, required => true);
	faults := eventbridge._check_enum(faults, p_http_method, 'httpMethod', '{POST,GET,HEAD,OPTIONS,PUT,PATCH,DELETE}');
	faults := eventbridge._check_range(faults, p_rate, 'invocationRateLimitPerSecond', 1, 2147483647);
	faults := eventbridge._check(faults, p_description, 'description', 512);
	PERFORM eventbridge._raise_faults(faults);
	IF NOT eventbridge._is_reference(p_invocation_endpoint)
		AND p_invocation_endpoint !~ '^https://[^[:space:]/?#@]+([/?#][^[:space:]]*)?$'
		AND p_invocation_endpoint !~ '^http://(localhost|127\.0\.0\.1|\[::1\])(:[0-9]+)?([/?#][^[:space:]]*)?$' THEN
		PERFORM eventbridge._raise('ValidationException',
			format('Parameter InvocationEndpoint is not valid. Reason: Endpoint ''%s'' is not valid', p_invocation_endpoint));
	END IF;
	IF jsonb_typeof(headers) <> 'object' THEN
		PERFORM eventbridge._raise('ValidationException', 'header parameters must be a JSON object of strings');
	END IF;
	FOR header, value IN SELECT * FROM jsonb_each(headers) LOOP
		IF jsonb_typeof(value) <> 'string' OR value #>> '{}' ~ '[\r\n]' OR header !~ '^[!#$%&''*+.^_`|~0-9A-Za-z-]+$' THEN
			PERFORM eventbridge._raise('ValidationException', format('invalid header parameter "%s"', header));
		END IF;
		IF lower(header) IN ('authorization', 'proxy-authorization', 'cookie', 'x-api-key')
			AND NOT eventbridge._is_reference(value #>> '{}') THEN
			PERFORM eventbridge._raise('ValidationException',
				format('the value of header parameter "%s" must not be stored in clear', header),
				'Give a reference, env:NAME or file:NAME, which eventbridge-worker resolves.');
		END IF;
	END LOOP;
	IF p_signing_secret IS NOT NULL AND NOT eventbridge._is_reference(p_signing_secret) THEN
		PERFORM eventbridge._raise('ValidationException', 'the signing secret must not be stored in clear',
			'Give a reference, env:NAME or file:NAME, which eventbridge-worker resolves.');
	END IF;
	INSERT INTO eventbridge.api_destination
		(name, owner, invocation_endpoint, http_method, invocation_rate_limit_per_second,
		 header_parameters, signing_secret, description)
	VALUES (p_name, eventbridge._caller(), p_invocation_endpoint, coalesce(p_http_method, 'POST'), coalesce(p_rate, 300),
			headers, p_signing_secret, p_description)
	ON CONFLICT (name) DO NOTHING;
	IF NOT FOUND THEN
		PERFORM eventbridge._raise('ResourceAlreadyExistsException',
			format('An api-destination ''%s'' already exists.', p_name));
	END IF;
	RETURN eventbridge._arn('events', 'api-destination/' || p_name);
END $$;
COMMENT ON FUNCTION _create_api_destination(text, text, text, integer, jsonb, text, text) IS
'Internal: see create_api_destination.';

CREATE FUNCTION create_task(name text) RETURNS text
AS 'MODULE_PATHNAME', 'eb_gate' LANGUAGE C PARALLEL UNSAFE;
COMMENT ON FUNCTION create_task(text) IS
'Makes the name of a command known as a task, which belongs to the caller, and returns its ARN. What the name stands for is in the configuration of eventbridge-worker alone.';

CREATE FUNCTION _create_task(p_name text) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	PERFORM eventbridge._raise_faults(eventbridge._check('{}', p_name, 'name', 255, '[a-zA-Z0-9_-]+', true));
	INSERT INTO eventbridge.task (name, owner) VALUES (p_name, eventbridge._caller())
	ON CONFLICT (name) DO NOTHING;
	IF NOT FOUND THEN
		PERFORM eventbridge._raise('ResourceAlreadyExistsException', format('Task %s already exists.', p_name));
	END IF;
	RETURN eventbridge._arn('ecs', 'task/' || p_name);
END $$;
COMMENT ON FUNCTION _create_task(text) IS 'Internal: see create_task.';

/* An error unless there is such a resource and the caller owns it. */
CREATE FUNCTION _owned_resource(kind text, resource_name text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	resource_owner name;
BEGIN
	EXECUTE format('SELECT owner FROM eventbridge.%I WHERE name = $1', kind) INTO resource_owner USING resource_name;
	IF resource_owner IS NULL THEN
		PERFORM eventbridge._raise('ResourceNotFoundException',
			format('%s "%s" does not exist', replace(kind, '_', ' '), resource_name));
	END IF;
	PERFORM eventbridge._require_owner(resource_owner, replace(kind, '_', ' '), resource_name);
END $$;
COMMENT ON FUNCTION _owned_resource(text, text) IS
'Internal: an error unless the caller owns the resource.';

CREATE FUNCTION _delete_resource(kind text, resource_name text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	PERFORM eventbridge._owned_resource(kind, resource_name);
	EXECUTE format('DELETE FROM eventbridge.%I WHERE name = $1', kind) USING resource_name;
END $$;
COMMENT ON FUNCTION _delete_resource(text, text) IS
'Internal: deletes a resource that the caller owns.';

CREATE FUNCTION delete_topic(name text) RETURNS void
AS 'MODULE_PATHNAME', 'eb_gate' LANGUAGE C PARALLEL UNSAFE;
COMMENT ON FUNCTION delete_topic(text) IS
'Deletes a topic of the caller''s. Targets that lead to it fail from now on.';
CREATE FUNCTION _delete_topic(p_name text) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$ SELECT eventbridge._delete_resource('topic', p_name) $$;
COMMENT ON FUNCTION _delete_topic(text) IS 'Internal: see delete_topic.';

CREATE FUNCTION delete_log_group(name text) RETURNS void
AS 'MODULE_PATHNAME', 'eb_gate' LANGUAGE C PARALLEL UNSAFE;
COMMENT ON FUNCTION delete_log_group(text) IS
'Deletes a log group of the caller''s with its events. Targets that lead to it fail from now on.';
CREATE FUNCTION _delete_log_group(p_name text) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$ SELECT eventbridge._delete_resource('log_group', p_name) $$;
COMMENT ON FUNCTION _delete_log_group(text) IS 'Internal: see delete_log_group.';

CREATE FUNCTION delete_api_destination(name text) RETURNS void
AS 'MODULE_PATHNAME', 'eb_gate' LANGUAGE C PARALLEL UNSAFE;
COMMENT ON FUNCTION delete_api_destination(text) IS
'Deletes an API destination of the caller''s. Targets that lead to it fail from now on.';
CREATE FUNCTION _delete_api_destination(p_name text) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$ SELECT eventbridge._delete_resource('api_destination', p_name) $$;
COMMENT ON FUNCTION _delete_api_destination(text) IS 'Internal: see delete_api_destination.';

CREATE FUNCTION delete_task(name text) RETURNS void
AS 'MODULE_PATHNAME', 'eb_gate' LANGUAGE C PARALLEL UNSAFE;
COMMENT ON FUNCTION delete_task(text) IS
'Deletes a task of the caller''s. Targets that lead to it fail from now on.';
CREATE FUNCTION _delete_task(p_name text) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$ SELECT eventbridge._delete_resource('task', p_name) $$;
COMMENT ON FUNCTION _delete_task(text) IS 'Internal: see delete_task.';

REVOKE EXECUTE ON FUNCTION
	create_topic(text, boolean), delete_topic(text), create_log_group(text, integer), delete_log_group(text),
	put_retention_policy(text, integer), create_api_destination(text, text, text, integer, jsonb, text, text),
	delete_api_destination(text), create_task(text), delete_task(text), _owned_resource(text, text),
	_delete_resource(text, text),
	_create_topic(text, boolean), _delete_topic(text), _create_log_group(text, integer), _delete_log_group(text),
	_put_retention_policy(text, integer), _create_api_destination(text, text, text, integer, jsonb, text, text),
	_delete_api_destination(text), _create_task(text), _delete_task(text)
FROM PUBLIC;
