
/* ---------------------------------------------------------------------
 * CloudFormation. Templates are read as type json, so that the text of a
 * pattern survives; what is in them is put by the functions of the parts
 * before, with the rights of whoever imports them.
 * --------------------------------------------------------------------- */

CREATE FUNCTION _check_json_text(template text) RETURNS void
AS 'MODULE_PATHNAME', 'eb_check_json_text' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION _check_json_text(text) IS
'Internal: an error, with line, column and the likely slip, unless the text is JSON.';

/* A type of resource that ARNs lead to, what names it, and the ARN's form. */
CREATE FUNCTION _cfn_type(type text, OUT name_property text, OUT service text, OUT prefix text, OUT ref_is_arn boolean)
RETURNS SETOF record
LANGUAGE sql IMMUTABLE PARALLEL SAFE ROWS 1 SET search_path = pg_catalog, pg_temp AS $$
	SELECT t.name_property, t.service, t.prefix, t.ref_is_arn
	FROM (VALUES
		('AWS::Events::EventBus', 'Name', 'events', 'event-bus/', false),
		('AWS::Events::Rule', 'Name', 'events', 'rule/', false),
		('AWS::Events::ApiDestination', 'Name', 'events', 'api-destination/', false),
		('AWS::Lambda::Function', 'FunctionName', 'lambda', 'function:', false),
		('AWS::Serverless::Function', 'FunctionName', 'lambda', 'function:', false),
		('AWS::StepFunctions::StateMachine', 'StateMachineName', 'states', 'stateMachine:', true),
		('AWS::SQS::Queue', 'QueueName', 'sqs', '', false),
		('AWS::SNS::Topic', 'TopicName', 'sns', '', true),
		('AWS::Logs::LogGroup', 'LogGroupName', 'logs', 'log-group:', false),
		('AWS::ECS::TaskDefinition', 'Family', 'ecs', 'task/', true),
		('AWS::Pipes::Pipe', 'Name', 'pipes', 'pipe/', false),
		('AWS::IAM::Role', 'RoleName', 'iam', 'role/', false))
		AS t (type, name_property, service, prefix, ref_is_arn)
	WHERE t.type = _cfn_type.type
$$;
COMMENT ON FUNCTION _cfn_type(text) IS
'Internal: how a type of CloudFormation resource is named.';

/*
 * What Ref (attribute null) or Fn::GetAtt of a logical id means: what the
 * mapping says, a pseudo parameter, a parameter's default, or a resource of
 * the template. In the mapping a name stands for the resource of that name.
 */
CREATE FUNCTION _cfn_reference(id text, attribute text, template json, mapping jsonb) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	resource constant json := template -> 'Resources' -> id;
	known record;
	resource_name text;
	bus_name text;
	stream_arn text;
BEGIN
	IF attribute IS NOT NULL AND mapping ? (id || '.' || attribute) THEN
		RETURN mapping ->> (id || '.' || attribute);
	ELSIF mapping ? id AND (resource IS NULL OR mapping ->> id LIKE 'arn:%') THEN
		RETURN mapping ->> id;
	END IF;
	IF attribute IS NULL THEN
		CASE id
			WHEN 'AWS::Region' THEN RETURN split_part(eventbridge._arn('events', ''), ':', 4);
			WHEN 'AWS::AccountId' THEN RETURN split_part(eventbridge._arn('events', ''), ':', 5);
			WHEN 'AWS::Partition' THEN RETURN 'aws';
			ELSE
		END CASE;
		IF template -> 'Parameters' -> id ->> 'Default' IS NOT NULL THEN
			RETURN template -> 'Parameters' -> id ->> 'Default';
		END IF;
	END IF;
	IF resource ->> 'Type' = 'AWS::DynamoDB::Table' AND attribute = 'StreamArn' THEN
		SELECT s.stream_arn INTO stream_arn FROM eventbridge.streams AS s
		WHERE split_part(s.stream_arn, '/', 2) IN
			(resource #>> '{Properties,TableName}', 'public.' || (resource #>> '{Properties,TableName}'));
		IF FOUND THEN
			RETURN stream_arn;
		END IF;
	END IF;
	SELECT * INTO known FROM eventbridge._cfn_type(resource ->> 'Type');
	IF NOT FOUND OR (attribute IS NOT NULL AND attribute NOT IN ('Arn', 'TopicArn', 'Name', 'QueueName')) THEN
		PERFORM eventbridge._raise('ValidationException',
			format('Template error: unresolved reference %s', concat_ws('.', id, attribute)),
			format('Give its value in the mapping: {%s: "..."}.', to_json(concat_ws('.', id, attribute))));
	END IF;
	resource_name := coalesce(mapping ->> id,
		eventbridge._cfn_resolve(resource -> 'Properties' -> known.name_property, template, mapping) #>> '{}', id);
	IF attribute IN ('Name', 'QueueName') OR (attribute IS NULL AND NOT known.ref_is_arn) THEN
		RETURN resource_name;
	END IF;
	IF resource ->> 'Type' = 'AWS::Events::Rule' THEN
		bus_name := eventbridge._bus_name(coalesce(
			eventbridge._cfn_resolve(resource -> 'Properties' -> 'EventBusName', template, mapping) #>> '{}', 'default'));
		RETURN eventbridge._rule_arn(bus_name, resource_name);
	END IF;
	RETURN eventbridge._arn(known.service, known.prefix || resource_name);
END $$;
COMMENT ON FUNCTION _cfn_reference(text, text, json, jsonb) IS
'Internal: what a reference in a CloudFormation template means.';

/* Replaces ${...} in the text of Fn::Sub. */
CREATE FUNCTION _cfn_substitute(format_text text, variables json, template json, mapping jsonb) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	result text := '';
	rest text := format_text;
	part text[];
	word text;
BEGIN
	LOOP
		part := regexp_match(rest, '^(.*?)\$\{(!?)([^}]+)\}(.*)$');
		EXIT WHEN part IS NULL;
		word := part[3];
		result := result || part[1] || CASE
			WHEN part[2] = '!' THEN '${' || word || '}'
			WHEN variables -> word IS NOT NULL THEN
				eventbridge._cfn_resolve(variables -> word, template, mapping) #>> '{}'
			WHEN strpos(word, '.') > 0 THEN
				eventbridge._cfn_reference(split_part(word, '.', 1), substr(word, strpos(word, '.') + 1), template, mapping)
			ELSE eventbridge._cfn_reference(word, NULL, template, mapping) END;
		rest := part[4];
	END LOOP;
	RETURN result || rest;
END $$;
COMMENT ON FUNCTION _cfn_substitute(text, json, json, jsonb) IS
'Internal: the value of Fn::Sub in a CloudFormation template.';

/* A value of the template with its intrinsic functions worked out; what has none keeps its text. */
CREATE FUNCTION _cfn_resolve(value json, template json, mapping jsonb) RETURNS json
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	key text;
	argument json;
BEGIN
	IF value IS NULL OR value::text !~ '"(Ref|Fn::[A-Za-z0-9:]+)"\s*:' THEN
		RETURN value;
	END IF;
	IF json_typeof(value) = 'array' THEN
		RETURN (SELECT format('[%s]', string_agg(eventbridge._cfn_resolve(e.value, template, mapping)::text,
												 ',' ORDER BY e.n))::json
				FROM json_array_elements(value) WITH ORDINALITY AS e (value, n));
	ELSIF json_typeof(value) <> 'object' THEN
		RETURN value;			/* a string that only looks so */
	END IF;
	IF (SELECT count(*) FROM json_object_keys(value)) = 1 THEN
		SELECT e.key, e.value INTO key, argument FROM json_each(value) AS e;
		IF key = 'Ref' AND json_typeof(argument) = 'string' THEN
			IF argument #>> '{}' = 'AWS::NoValue' THEN
				RETURN NULL;	/* drops the member or element */
			END IF;
			RETURN to_json(eventbridge._cfn_reference(argument #>> '{}', NULL, template, mapping));
		ELSIF key = 'Fn::GetAtt' AND json_typeof(argument) = 'array' THEN
			RETURN to_json(eventbridge._cfn_reference(argument ->> 0, argument ->> 1, template, mapping));
		ELSIF key = 'Fn::GetAtt' THEN
			RETURN to_json(eventbridge._cfn_reference(split_part(argument #>> '{}', '.', 1),
				substr(argument #>> '{}', strpos(argument #>> '{}', '.') + 1), template, mapping));
		ELSIF key = 'Fn::Sub' AND json_typeof(argument) = 'string' THEN
			RETURN to_json(eventbridge._cfn_substitute(argument #>> '{}', '{}', template, mapping));
		ELSIF key = 'Fn::Sub' THEN
			RETURN to_json(eventbridge._cfn_substitute(argument ->> 0, argument -> 1, template, mapping));
		ELSIF key = 'Fn::Join' THEN
			RETURN (SELECT to_json(coalesce(string_agg(e.value, argument ->> 0 ORDER BY e.n), ''))
					FROM json_array_elements_text(eventbridge._cfn_resolve(argument -> 1, template, mapping))
						WITH ORDINALITY AS e (value, n));
		ELSIF key LIKE 'Fn::%' THEN
			PERFORM eventbridge._raise('UnsupportedOperationException',
				format('intrinsic function %s is not supported', key));
		END IF;
	END IF;
	RETURN (SELECT format('{%s}', string_agg(to_json(e.key)::text || ':'
						  || eventbridge._cfn_resolve(e.value, template, mapping)::text, ','))::json
			FROM json_each(value) AS e);
END $$;
COMMENT ON FUNCTION _cfn_resolve(json, json, jsonb) IS
'Internal: a value of a CloudFormation template with its intrinsic functions worked out.';

/* The resource of that kind exists, or is made now; says which. */
CREATE FUNCTION _cfn_import_bus(name text, description text) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	IF EXISTS (SELECT FROM eventbridge.event_buses AS b WHERE b.name = _cfn_import_bus.name) THEN
		RETURN 'unchanged';
	END IF;
	PERFORM eventbridge.create_event_bus(name, description);
	RETURN 'created';
END $$;
COMMENT ON FUNCTION _cfn_import_bus(text, text) IS
'Internal: AWS::Events::EventBus of a template.';

/* A permission lets the rules of whoever imports it invoke the function. */
CREATE FUNCTION _cfn_import_permission(properties json) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	resource constant text := regexp_replace(properties ->> 'FunctionName', '^arn:.*:function:', '');
	routine oid;
BEGIN
	IF properties ->> 'Action' IS DISTINCT FROM 'lambda:InvokeFunction'
		OR properties ->> 'Principal' IS DISTINCT FROM 'events.amazonaws.com' THEN
		RETURN 'skipped';
	END IF;
	routine := eventbridge._target_routine('function', resource);
	IF routine IS NULL THEN
		PERFORM eventbridge._raise('ResourceNotFoundException', format('function %s(jsonb) does not exist', resource));
	END IF;
	IF has_function_privilege(routine, 'EXECUTE') THEN
		RETURN 'unchanged';
	END IF;
	EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO %I', routine::regprocedure, current_user);
	IF NOT has_function_privilege(routine, 'EXECUTE') THEN
		PERFORM eventbridge._raise('AccessDeniedException',
			format('role "%s" may not execute function %s', current_user, routine::regprocedure),
			format('GRANT EXECUTE ON FUNCTION %s TO %I;', routine::regprocedure, current_user));
	END IF;
	RETURN 'granted';
END $$;
COMMENT ON FUNCTION _cfn_import_permission(json) IS
'Internal: AWS::Lambda::Permission of a template.';

/* What an import may change in a rule; null if there is none. */
CREATE FUNCTION _cfn_rule(bus_name text, rule_name text) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
	SELECT (to_jsonb(r) - 'last_modified_time') || eventbridge.list_targets_by_rule(r.name, r.event_bus_name)
	FROM eventbridge.rules AS r WHERE r.event_bus_name = bus_name AND r.name = rule_name
$$;
COMMENT ON FUNCTION _cfn_rule(text, text) IS
'Internal: a rule with its targets, to see whether an import has changed it.';

/* A rule with its targets; those that the template does not have are removed. */
CREATE FUNCTION _cfn_import_rule(logical_id text, properties json) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	rule_name constant text := coalesce(properties ->> 'Name', logical_id);
	bus_name constant text := eventbridge._bus_name(coalesce(properties ->> 'EventBusName', 'default'));
	targets constant jsonb := coalesce(properties -> 'Targets', '[]')::jsonb;
	known_properties constant text[] :=
		'{Name,EventBusName,EventPattern,ScheduleExpression,State,Description,RoleArn,Targets,Tags}';
	before jsonb;
	after jsonb;
	unknown text;
	superfluous text[];
BEGIN
	SELECT k.key INTO unknown FROM json_object_keys(properties) AS k (key) WHERE k.key <> ALL (known_properties);
	IF FOUND THEN
		PERFORM eventbridge._raise('ValidationException',
			format('extraneous key [%s] is not permitted in resource %s', unknown, logical_id));
	END IF;
	before := eventbridge._cfn_rule(bus_name, rule_name);
	PERFORM eventbridge.put_rule(rule_name,
		CASE WHEN json_typeof(properties -> 'EventPattern') = 'object' THEN (properties -> 'EventPattern')::text
			 ELSE properties ->> 'EventPattern' END,
		properties ->> 'ScheduleExpression', coalesce(properties ->> 'State', 'ENABLED'),
		properties ->> 'Description', properties ->> 'RoleArn', bus_name, (properties -> 'Tags')::jsonb);
	SELECT array_agg(t.id ORDER BY t.id) INTO superfluous FROM eventbridge.targets AS t
	WHERE t.event_bus_name = bus_name AND t.rule = rule_name
		AND t.id NOT IN (SELECT e.value ->> 'Id' FROM jsonb_array_elements(targets) AS e WHERE e.value ? 'Id');
	IF superfluous IS NOT NULL THEN
		PERFORM eventbridge.remove_targets(rule_name, superfluous, bus_name);
	END IF;
	IF targets <> '[]' THEN
		PERFORM eventbridge.put_targets(rule_name, targets, bus_name);
	END IF;
	after := eventbridge._cfn_rule(bus_name, rule_name);
	RETURN CASE WHEN before IS NULL THEN 'created' WHEN before = after THEN 'unchanged' ELSE 'updated' END;
END $$;
COMMENT ON FUNCTION _cfn_import_rule(text, json) IS
'Internal: AWS::Events::Rule of a template.';

CREATE FUNCTION import_cloudformation(template text, mapping jsonb DEFAULT '{}',
									  OUT logical_id text, OUT type text, OUT action text, OUT arn text)
RETURNS SETOF record
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	/* Buses and rights come before the rules that need them. */
	order_of_types constant text[] :=
		'{AWS::Events::EventBus,AWS::IAM::Role,AWS::Lambda::Permission,AWS::Events::Rule,AWS::Pipes::Pipe}';
	doc json;
	resource json;
	properties json;
	role name;
	state text;
	message text;
	detail text;
	hint text;
BEGIN
	PERFORM eventbridge._check_json_text(template);
	doc := template::json;
	IF json_typeof(doc) <> 'object' OR json_typeof(doc -> 'Resources') IS DISTINCT FROM 'object' THEN
		PERFORM eventbridge._raise('ValidationException',
			'Template format error: At least one Resources member must be defined.');
	END IF;
	IF jsonb_typeof(mapping) <> 'object' THEN
		PERFORM eventbridge._raise('ValidationException', 'mapping must be a JSON object');
	END IF;

	FOR logical_id, resource IN
		SELECT e.key, e.value
		FROM json_each(doc -> 'Resources') WITH ORDINALITY AS e (key, value, n)
		ORDER BY array_position(order_of_types, e.value ->> 'Type'), e.n
	LOOP
		type := resource ->> 'Type';
		IF type IS NULL THEN
			PERFORM eventbridge._raise('ValidationException',
				format('Template format error: Resource %s has no Type.', logical_id));
		END IF;
		IF resource -> 'Condition' IS NOT NULL AND (type LIKE 'AWS::Events::%' OR type = 'AWS::Pipes::Pipe') THEN
			PERFORM eventbridge._raise('UnsupportedOperationException',
				format('Condition of resource %s is not supported', logical_id));
		END IF;
		action := 'skipped';
		arn := NULL;
		BEGIN
			IF type IN ('AWS::Events::EventBus', 'AWS::IAM::Role', 'AWS::Events::Rule', 'AWS::Pipes::Pipe') THEN
				arn := eventbridge._cfn_reference(logical_id, 'Arn', doc, mapping);
			END IF;
			IF arn IS NOT NULL OR type = 'AWS::Lambda::Permission' THEN
				properties := eventbridge._cfn_resolve(coalesce(resource -> 'Properties', '{}'), doc, mapping);
			END IF;
			CASE type
				WHEN 'AWS::Events::EventBus' THEN
					action := eventbridge._cfn_import_bus(eventbridge._bus_name(arn), properties ->> 'Description');
				WHEN 'AWS::IAM::Role' THEN
					role := eventbridge._role_of_arn(arn);
					IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role) THEN
						PERFORM eventbridge._raise('ValidationException', format('role "%s" does not exist', role),
							format('Create the role, or map it to one: {%s: "..."}.', to_json(logical_id)));
					END IF;
					action := 'unchanged';
				WHEN 'AWS::Lambda::Permission' THEN
					action := eventbridge._cfn_import_permission(properties);
				WHEN 'AWS::Events::Rule' THEN
					action := eventbridge._cfn_import_rule(logical_id, properties);
				WHEN 'AWS::Pipes::Pipe' THEN
					action := eventbridge._cfn_import_pipe(logical_id, properties::jsonb);
				ELSE
			END CASE;
		EXCEPTION WHEN OTHERS THEN
			GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT,
				detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
			PERFORM eventbridge._raise_again(state, message,
				concat_ws(' ', nullif(detail, ''), format('In resource %s.', logical_id)), hint);
		END;
		RETURN NEXT;
	END LOOP;
END $$;
COMMENT ON FUNCTION import_cloudformation(text, jsonb) IS
'Takes over the rules, event buses, pipes and function permissions of a CloudFormation template in JSON, and says for each resource what was done: created, updated, unchanged, granted, or skipped for types that are not taken. A permission becomes a GRANT to the caller, a role must exist. References are resolved within the template; the mapping gives, by logical id, parameter or id.attribute, the name or ARN of what the template leaves open. Everything is done or nothing.';

CREATE FUNCTION import_cloudformation(template json, mapping jsonb DEFAULT '{}',
									  OUT logical_id text, OUT type text, OUT action text, OUT arn text)
RETURNS SETOF record
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
	SELECT * FROM eventbridge.import_cloudformation(template::text, mapping)
$$;
COMMENT ON FUNCTION import_cloudformation(json, jsonb) IS 'Like import_cloudformation(text, jsonb).';

CREATE FUNCTION import_cloudformation(template jsonb, mapping jsonb DEFAULT '{}',
									  OUT logical_id text, OUT type text, OUT action text, OUT arn text)
RETURNS SETOF record
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
	SELECT * FROM eventbridge.import_cloudformation(template::text, mapping)
$$;
COMMENT ON FUNCTION import_cloudformation(jsonb, jsonb) IS
'Like import_cloudformation(text, jsonb); patterns are taken in jsonb''s order of keys.';

CREATE FUNCTION export_cloudformation(event_bus_name text DEFAULT 'default') RETURNS json
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	bus_name constant text := eventbridge._visible_bus(event_bus_name);
	resources text[] := '{}';
	ids text[] := '{}';
	rule eventbridge.rules;
	id text;
	function_arn text;
	n integer;
BEGIN
	IF bus_name <> 'default' THEN
		resources := ARRAY[(
			SELECT '"EventBus":' || json_build_object('Type', 'AWS::Events::EventBus',
				'Properties', json_strip_nulls(json_build_object('Name', bus_name, 'Description',
					(SELECT b.description FROM eventbridge.event_buses AS b WHERE b.name = bus_name))))::text)];
	END IF;
	FOR rule IN SELECT * FROM eventbridge.rules AS r WHERE r.event_bus_name = bus_name ORDER BY r.name LOOP
		/* Logical ids are letters and digits. */
		id := 'Rule' || regexp_replace(rule.name, '[^A-Za-z0-9]', '', 'g');
		WHILE id = ANY (ids) LOOP
			id := id || 'x';
		END LOOP;
		ids := ids || id;
		/* The pattern goes in as it was written. */
		resources := resources || format('%s:{"Type":"AWS::Events::Rule","Properties":{%s}}', to_json(id), (
			SELECT string_agg(to_json(p.key)::text || ':' || p.value, ',' ORDER BY p.n)
			FROM (VALUES
				(1, 'Name', to_json(rule.name)::text),
				(2, 'EventBusName', to_json(rule.event_bus_name)::text),
				(3, 'Description', to_json(rule.description)::text),
				(4, 'EventPattern', rule.event_pattern_text),
				(5, 'State', to_json(rule.state)::text),
				(6, 'RoleArn', to_json(rule.role_arn)::text),
				(7, 'Tags', nullif(rule.tags, '[]')::text),
				(8, 'Targets', nullif(eventbridge.list_targets_by_rule(rule.name, bus_name) -> 'Targets', '[]')::text))
				AS p (n, key, value)
			WHERE p.value IS NOT NULL));
		n := 0;
		FOR function_arn IN
			SELECT DISTINCT t.arn FROM eventbridge.targets AS t
			WHERE t.event_bus_name = bus_name AND t.rule = rule.name AND t.kind = 'function' ORDER BY 1
		LOOP
			n := n + 1;
			resources := resources || format('%s:%s', to_json(format('%sPermission%s', id, n)), json_build_object(
				'Type', 'AWS::Lambda::Permission', 'Properties', json_build_object(
					'Action', 'lambda:InvokeFunction', 'FunctionName', function_arn,
					'Principal', 'events.amazonaws.com', 'SourceArn', json_build_object('Fn::GetAtt', json_build_array(id, 'Arn')))));
		END LOOP;
	END LOOP;
	RETURN format('{"AWSTemplateFormatVersion":"2010-09-09","Resources":{%s}}', array_to_string(resources, ','))::json;
END $$;
COMMENT ON FUNCTION export_cloudformation(text) IS
'The rules of a bus that the caller may see, with their targets, as a CloudFormation template. Imported again it changes nothing.';

REVOKE EXECUTE ON FUNCTION
	import_cloudformation(text, jsonb), import_cloudformation(json, jsonb), import_cloudformation(jsonb, jsonb)
FROM PUBLIC;
