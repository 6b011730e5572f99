
/* ---------------------------------------------------------------------
 * Rules: what AWS's PutRule, DescribeRule, ListRules, EnableRule, DisableRule
 * and DeleteRule do, and the check of schedule expressions, which are refused.
 * --------------------------------------------------------------------- */

/* One field of a cron expression: a list of *, values, ranges, and steps. */
CREATE FUNCTION _cron_field_is_valid(field text, low integer, high integer, names text[]) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	part text;
	bounds text[];
	bound text;
	bound_numbers integer[];
BEGIN
	FOREACH part IN ARRAY string_to_array(field, ',') LOOP
		bounds := regexp_match(part, '^(\*|[0-9A-Z]{1,4})(?:-([0-9A-Z]{1,4}))?(?:/([0-9]{1,4}))?$');
		IF bounds IS NULL OR (bounds[1] = '*' AND bounds[2] IS NOT NULL) OR bounds[3]::integer = 0 THEN
			RETURN false;
		END IF;
		bound_numbers := '{}';
		FOREACH bound IN ARRAY array_remove(bounds[:2], NULL) LOOP
			CONTINUE WHEN bound = '*';
			IF bound ~ '^[0-9]+$' THEN
				bound_numbers := bound_numbers || bound::integer;
			ELSIF bound = ANY (names) THEN
				bound_numbers := bound_numbers || (low + array_position(names, bound) - 1);
			ELSE
				RETURN false;
			END IF;
			IF bound_numbers[cardinality(bound_numbers)] NOT BETWEEN low AND high THEN
				RETURN false;
			END IF;
		END LOOP;
		IF bound_numbers[1] > bound_numbers[2] THEN
			RETURN false;
		END IF;
	END LOOP;
	RETURN field <> '';
END $$;
COMMENT ON FUNCTION _cron_field_is_valid(text, integer, integer, text[]) IS
'Internal: whether a field of a cron expression is valid.';

CREATE FUNCTION _schedule_is_valid(expression text) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	rate constant text[] := regexp_match(expression, '^rate\(([1-9][0-9]*) (minute|hour|day)(s?)\)$');
	fields constant text[] := regexp_split_to_array(substring(expression, '^cron\((\S+(?:\s+\S+){5})\)$'), '\s+');
	days constant text[] := '{SUN,MON,TUE,WED,THU,FRI,SAT}';
BEGIN
	IF rate IS NOT NULL THEN
		RETURN (rate[1] = '1') = (rate[3] = '');
	END IF;
	/* Exactly one of day of month and day of week is a question mark. */
	IF fields IS NULL OR (fields[3] = '?') = (fields[5] = '?') THEN
		RETURN false;
	END IF;
	RETURN eventbridge._cron_field_is_valid(fields[1], 0, 59, NULL)
		AND eventbridge._cron_field_is_valid(fields[2], 0, 23, NULL)
		AND (fields[3] IN ('?', 'L', 'LW')
			 OR fields[3] ~ '^([1-9]|[12][0-9]|3[01])W$'
			 OR eventbridge._cron_field_is_valid(fields[3], 1, 31, NULL))
		AND eventbridge._cron_field_is_valid(fields[4], 1, 12, '{JAN,FEB,MAR,APR,MAY,JUN,JUL,AUG,SEP,OCT,NOV,DEC}')
		AND (fields[5] IN ('?', 'L')
			 OR fields[5] ~ '^([1-7]|SUN|MON|TUE|WED|THU|FRI|SAT)(L|#[1-5])$'
			 OR (strpos(fields[5], '/') = 0 AND eventbridge._cron_field_is_valid(fields[5], 1, 7, days)))
		AND eventbridge._cron_field_is_valid(fields[6], 1970, 9999, NULL);
END $$;
COMMENT ON FUNCTION _schedule_is_valid(text) IS
'Internal: whether a schedule expression, rate(...) or cron(...), is valid.';

/* The pattern of a rule; AWS's code goes before the place of a fault. */
CREATE FUNCTION _parse_pattern(pattern text) RETURNS eventbridge.event_pattern
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	state text;
	message text;
	detail text;
	hint text;
BEGIN
	RETURN pattern::eventbridge.event_pattern;
EXCEPTION WHEN data_exception OR program_limit_exceeded THEN
	GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT,
		detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
	PERFORM eventbridge._raise_again(state, message, 'AWS error code: InvalidEventPatternException. ' || detail, hint);
END $$;
COMMENT ON FUNCTION _parse_pattern(text) IS
'Internal: a pattern, or an error with AWS''s code.';

CREATE FUNCTION put_rule(name text, event_pattern text DEFAULT NULL, schedule_expression text DEFAULT NULL,
						 state text DEFAULT 'ENABLED', description text DEFAULT NULL, role_arn text DEFAULT NULL,
						 event_bus_name text DEFAULT 'default', tags jsonb DEFAULT NULL) RETURNS text
AS 'MODULE_PATHNAME', 'eb_gate' LANGUAGE C PARALLEL UNSAFE;
COMMENT ON FUNCTION put_rule(text, text, text, text, text, text, text, jsonb) IS
'Creates a rule, which belongs to the caller, or replaces one of the same name, and returns its ARN (PutRule). What is left out becomes unset; targets stay, and the tags of a rule that exists. Fails if the pattern is not valid. Schedule expressions are checked and then refused: there are no schedules yet.';

CREATE FUNCTION _put_rule(p_name text, p_event_pattern text, p_schedule_expression text, p_state text,
						  p_description text, p_role_arn text, p_event_bus_name text, p_tags jsonb) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	faults text[] := '{}';
	bus eventbridge.event_bus;
	pattern eventbridge.event_pattern;
BEGIN
	faults := eventbridge._check(faults, p_name, 'name', 64, '[\.\-_A-Za-z0-9]+', true);
	faults := eventbridge._check(faults, p_schedule_expression, 'scheduleExpression', 256);
	faults := eventbridge._check_enum(faults, p_state, 'state',
		'{ENABLED,DISABLED,ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS}');
	faults := eventbridge._check(faults, p_description, 'description', 512);
	faults := eventbridge._check(faults, p_role_arn, 'roleArn', 1600);
	faults := eventbridge._check_bus_name(faults, p_event_bus_name);
	faults := eventbridge._check_tags(faults, p_tags);
	PERFORM eventbridge._raise_faults(faults);

	IF p_event_pattern IS NULL AND p_schedule_expression IS NULL THEN
		PERFORM eventbridge._raise('ValidationException',
			'Parameter(s) EventPattern or ScheduleExpression must be specified.');
	END IF;
	bus := eventbridge._find_bus(p_event_bus_name);
	PERFORM eventbridge._require_permission(bus, 'events:PutRule');
	IF EXISTS (SELECT FROM eventbridge.rule AS r WHERE r.bus_id = bus.bus_id AND r.name = p_name) THEN
		PERFORM eventbridge._find_rule(bus, p_name, false);
	END IF;
	IF p_schedule_expression IS NOT NULL THEN
		IF bus.name <> 'default' THEN
			PERFORM eventbridge._raise('ValidationException',
				'ScheduleExpression is supported only on the default event bus.');
		END IF;
		IF NOT eventbridge._schedule_is_valid(p_schedule_expression) THEN
			PERFORM eventbridge._raise('ValidationException', 'Parameter ScheduleExpression is not valid.');
		END IF;
	END IF;
	pattern := eventbridge._parse_pattern(p_event_pattern);
	IF p_role_arn IS NOT NULL THEN
		PERFORM eventbridge._require_role(p_role_arn);
	END IF;
	IF p_schedule_expression IS NOT NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'feature_not_supported',
			MESSAGE = 'schedules are not supported',
			DETAIL = format('The expression %s is valid, but nothing would run it.', p_schedule_expression),
			HINT = 'Have a job scheduler call eventbridge.put_event().';
	END IF;

	/* The lock on the bus keeps away whoever might put the same rule now. */
	INSERT INTO eventbridge.rule AS r
		(bus_id, name, owner, state, event_pattern, event_pattern_text, description, role_arn, tags)
	VALUES (bus.bus_id, p_name, eventbridge._caller(), coalesce(p_state, 'ENABLED'), pattern, p_event_pattern,
			p_description, p_role_arn, coalesce(p_tags, '[]'))
	ON CONFLICT (bus_id, name) DO UPDATE SET
		state = excluded.state, event_pattern = excluded.event_pattern,
		event_pattern_text = excluded.event_pattern_text, description = excluded.description,
		role_arn = excluded.role_arn, last_modified_time = now();
	RETURN eventbridge._rule_arn(bus.name, p_name);
END $$;
COMMENT ON FUNCTION _put_rule(text, text, text, text, text, text, text, jsonb) IS 'Internal: see put_rule.';

CREATE FUNCTION _describe_rule(rule eventbridge.rules) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
	SELECT jsonb_strip_nulls(jsonb_build_object(
		'Name', rule.name, 'Arn', rule.arn, 'EventBusName', rule.event_bus_name, 'State', rule.state,
		'EventPattern', rule.event_pattern_text, 'Description', rule.description, 'RoleArn', rule.role_arn))
$$;
COMMENT ON FUNCTION _describe_rule(eventbridge.rules) IS 'Internal: a rule in AWS''s form.';

/* The bus on which rules are looked for, checked to exist for the caller. */
CREATE FUNCTION _visible_bus(name_or_arn text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	bus_name constant text := eventbridge._bus_name(name_or_arn);
BEGIN
	PERFORM eventbridge._require_bus_name(name_or_arn);
	IF NOT EXISTS (SELECT FROM eventbridge.event_buses AS b WHERE b.name = bus_name)
		AND NOT EXISTS (SELECT FROM eventbridge.rules AS r WHERE r.event_bus_name = bus_name) THEN
		PERFORM eventbridge._raise('ResourceNotFoundException',
			format('Event bus %s does not exist.', bus_name));
	END IF;
	RETURN bus_name;
END $$;
COMMENT ON FUNCTION _visible_bus(text) IS
'Internal: the name of a bus; an error where there is none that the caller may see.';

CREATE FUNCTION _visible_rule(member text, rule_name text, bus text) RETURNS eventbridge.rules
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	bus_name text;
	found_rule eventbridge.rules;
BEGIN
	PERFORM eventbridge._require_rule_name(member, rule_name, bus);
	bus_name := eventbridge._visible_bus(bus);
	SELECT * INTO found_rule FROM eventbridge.rules AS r
	WHERE r.event_bus_name = bus_name AND r.name = rule_name;
	IF NOT FOUND THEN
		PERFORM eventbridge._raise('ResourceNotFoundException',
			format('Rule %s does not exist on EventBus %s.', rule_name, bus_name));
	END IF;
	RETURN found_rule;
END $$;
COMMENT ON FUNCTION _visible_rule(text, text, text) IS
'Internal: a rule, which a member of the request names; an error where there is none that the caller may see.';

CREATE FUNCTION describe_rule(name text, event_bus_name text DEFAULT 'default') RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
	SELECT eventbridge._describe_rule(r)
		|| jsonb_build_object('CreatedBy', split_part(r.arn, ':', 5))
	FROM eventbridge._visible_rule('name', name, event_bus_name) AS r
$$;
COMMENT ON FUNCTION describe_rule(text, text) IS
'A rule in AWS''s form, its pattern as it was written (DescribeRule). Fails where there is none that the caller may see.';

CREATE FUNCTION list_rules(name_prefix text DEFAULT NULL, event_bus_name text DEFAULT 'default',
						   max_items integer DEFAULT NULL, next_token text DEFAULT NULL) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	bus_name constant text := eventbridge._visible_bus(event_bus_name);
BEGIN
	PERFORM eventbridge._check_page(max_items, next_token);
	RETURN (
		SELECT eventbridge._page(coalesce(array_agg(eventbridge._describe_rule(r) ORDER BY r.name), '{}'),
								 array_agg(r.name ORDER BY r.name), max_items, 'Rules')
		FROM eventbridge.rules AS r
		WHERE r.event_bus_name = bus_name AND starts_with(r.name, coalesce(name_prefix, ''))
		AND r.name > eventbridge._page_start(next_token) COLLATE "C");
END $$;
COMMENT ON FUNCTION list_rules(text, text, integer, text) IS
'The rules of a bus that the caller may see, in AWS''s form (ListRules; max_items is its Limit, default all).';

CREATE FUNCTION enable_rule(name text, event_bus_name text DEFAULT 'default') RETURNS void
AS 'MODULE_PATHNAME', 'eb_gate' LANGUAGE C PARALLEL UNSAFE;
COMMENT ON FUNCTION enable_rule(text, text) IS
'Enables a rule that the caller owns (EnableRule). Fails if there is no such rule.';

CREATE FUNCTION _enable_rule(p_name text, p_event_bus_name text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	found_rule eventbridge.rule;
BEGIN
	PERFORM eventbridge._require_rule_name('name', p_name, p_event_bus_name);
	found_rule := eventbridge._find_rule(eventbridge._find_bus(p_event_bus_name), p_name, false);
	UPDATE eventbridge.rule AS r SET state = 'ENABLED', last_modified_time = now()
	WHERE r.rule_id = found_rule.rule_id AND r.state = 'DISABLED';
END $$;
COMMENT ON FUNCTION _enable_rule(text, text) IS 'Internal: see enable_rule.';

CREATE FUNCTION disable_rule(name text, event_bus_name text DEFAULT 'default') RETURNS void
AS 'MODULE_PATHNAME', 'eb_gate' LANGUAGE C PARALLEL UNSAFE;
COMMENT ON FUNCTION disable_rule(text, text) IS
'Disables a rule that the caller owns, or that is on a bus of the caller''s (DisableRule). Fails if there is no such rule.';

CREATE FUNCTION _disable_rule(p_name text, p_event_bus_name text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	found_rule eventbridge.rule;
BEGIN
	PERFORM eventbridge._require_rule_name('name', p_name, p_event_bus_name);
	found_rule := eventbridge._find_rule(eventbridge._find_bus(p_event_bus_name), p_name, true);
	UPDATE eventbridge.rule AS r SET state = 'DISABLED', last_modified_time = now()
	WHERE r.rule_id = found_rule.rule_id AND r.state <> 'DISABLED';
END $$;
COMMENT ON FUNCTION _disable_rule(text, text) IS 'Internal: see disable_rule.';

CREATE FUNCTION delete_rule(name text, event_bus_name text DEFAULT 'default', force boolean DEFAULT false) RETURNS void
AS 'MODULE_PATHNAME', 'eb_gate' LANGUAGE C PARALLEL UNSAFE;
COMMENT ON FUNCTION delete_rule(text, text, boolean) IS
'Deletes a rule without targets that the caller owns, or that is on a bus of the caller''s (DeleteRule; there are no managed rules, so force changes nothing). A rule that does not exist is no error.';

CREATE FUNCTION _delete_rule(p_name text, p_event_bus_name text, p_force boolean) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	bus eventbridge.event_bus;
	found_rule eventbridge.rule;
BEGIN
	PERFORM eventbridge._require_rule_name('name', p_name, p_event_bus_name);
	bus := eventbridge._find_bus(p_event_bus_name);
	IF NOT EXISTS (SELECT FROM eventbridge.rule AS r WHERE r.bus_id = bus.bus_id AND r.name = p_name) THEN
		RETURN;
	END IF;
	found_rule := eventbridge._find_rule(bus, p_name, true);
	IF EXISTS (SELECT FROM eventbridge.target AS t WHERE t.rule_id = found_rule.rule_id) THEN
		PERFORM eventbridge._raise('ValidationException', 'Rule can''t be deleted since it has targets.');
	END IF;
	DELETE FROM eventbridge.rule AS r WHERE r.rule_id = found_rule.rule_id;
END $$;
COMMENT ON FUNCTION _delete_rule(text, text, boolean) IS 'Internal: see delete_rule.';

REVOKE EXECUTE ON FUNCTION
	put_rule(text, text, text, text, text, text, text, jsonb), enable_rule(text, text), disable_rule(text, text),
	delete_rule(text, text, boolean), _put_rule(text, text, text, text, text, text, text, jsonb),
	_enable_rule(text, text), _disable_rule(text, text), _delete_rule(text, text, boolean)
FROM PUBLIC;
