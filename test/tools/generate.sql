-- Patterns and events for property tests, made from a seed.
--
--	\getenv test_dir PG_ABS_SRCDIR
--	\set generator :test_dir '/tools/generate.sql'
--	\set ECHO none
--	\i :generator
--	\set ECHO all
--
-- generate.pattern(seed text) → event_pattern	every operator, $or, nested and dotted paths
-- generate.event(seed text) → jsonb			nested arrays, dotted names, odd values
-- generate.matches(event, pattern) → boolean		the matcher's answer
--
-- Both draw names and values from the same small stock, so that a pattern and
-- an event meet often.  The same seed gives the same result on every version
-- and machine: the only source of chance is md5.
CREATE SCHEMA generate;

-- An integer in 0 .. n - 1.
CREATE FUNCTION generate.pick(seed text, n integer) RETURNS integer
	LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
	RETURN ('x' || substr(md5(seed), 1, 7))::bit(28)::integer % n;

CREATE FUNCTION generate.one_of(seed text, choices text[]) RETURNS text
	LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
	RETURN choices[1 + generate.pick(seed, cardinality(choices))];

-- A name of one segment.
CREATE FUNCTION generate.name(seed text) RETURNS text
	LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
	RETURN generate.one_of(seed, '{a,a,a,b,b,c,bb,a-b,key,Ä,""}');

-- A string as JSON.
CREATE FUNCTION generate.string(seed text) RETURNS text
	LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
	RETURN to_json(generate.one_of(seed,
		'{"",x,X,y,xy,xyx,xYz,xyzxyz,zyx,yyy,abc,abcabc,aBc,10.0.0.1,10.0.0.01,10.0.1.7,192.168.0.1,::1,0:0:0:0:0:0:0:1,'
		'2001:db8::7,::ffff:a00:1,7,1.5,é,É,ÉCOLE,école,ß,SS,ss,straße,STRASSE,Kelvin,ǅ,😀x,tenant-1/in/a.csv,tenant-12/in/b.csv,a*b,"x\\"}'));

CREATE FUNCTION generate.number(seed text) RETURNS text
	LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
	RETURN generate.one_of(seed, '{0,-0.0,1,1.0,1e0,1.5,-1,-1.5,7,100,1e2,300.0,1e-7,12345678.9,-1e30,1e30,0.1}');

-- A string operand that need not be one of the values: the beginning, the end or the middle of one.
CREATE FUNCTION generate.piece(seed text) RETURNS text
	LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
	whole text := (generate.string(seed || 'w')::jsonb) #>> '{}';
	n integer := length(whole);
BEGIN
	CASE generate.pick(seed || 'c', 4)
		WHEN 0 THEN RETURN whole;
		WHEN 1 THEN RETURN left(whole, 1 + generate.pick(seed || 'n', n + 1));
		WHEN 2 THEN RETURN right(whole, 1 + generate.pick(seed || 'n', n + 1));
		ELSE RETURN substr(whole, 1 + generate.pick(seed || 'n', n + 1), 3);
	END CASE;
END $$;

CREATE FUNCTION generate.wildcard(seed text) RETURNS text
	LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
	result text := '';
	npieces integer := 1 + generate.pick(seed || 'n', 4);
BEGIN
	FOR i IN 1 .. npieces LOOP
		IF i > 1 THEN
			result := result || '*';
		END IF;
		IF i IN (1, npieces) AND generate.pick(seed || 'e' || i, 3) = 0 THEN
			CONTINUE;
		END IF;
		result := result || replace(replace(generate.piece(seed || i), '\', '\\'), '*', '\*');
	END LOOP;
	RETURN regexp_replace(result, '([^\\]|^)\*\*+', '\1*', 'g');
END $$;

-- The operand of anything-but.
CREATE FUNCTION generate.refused(seed text) RETURNS text
	LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
	operator text := generate.one_of(seed || 'o', '{scalar,scalar,strings,numbers,prefix,suffix,equals-ignore-case,wildcard}');
	operands text[] := '{}';
BEGIN
	FOR i IN 0 .. generate.pick(seed || 'n', 3) LOOP
		operands := operands || CASE operator
			WHEN 'scalar' THEN generate.string(seed || i)
			WHEN 'strings' THEN generate.string(seed || i)
			WHEN 'numbers' THEN generate.number(seed || i)
			WHEN 'wildcard' THEN to_json(generate.wildcard(seed || i))::text
			ELSE to_json(coalesce(nullif(generate.piece(seed || i), ''), 'x'))::text
		END;
	END LOOP;
	RETURN CASE
		WHEN operator = 'scalar' THEN operands[1]
		WHEN operator IN ('strings', 'numbers') THEN '[' || array_to_string(operands, ',') || ']'
		WHEN cardinality(operands) = 1 THEN format('{"%s":%s}', operator, operands[1])
		ELSE format('{"%s":[%s]}', operator, array_to_string(operands, ','))
	END;
END $$;

-- One alternative of a field.
CREATE FUNCTION generate.condition(seed text) RETURNS text
	LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
	s text := seed || '/';
	low text;
	high text;
BEGIN
	CASE generate.pick(s, 24)
		WHEN 0, 1, 2, 3, 4, 5 THEN RETURN generate.string(s);
		WHEN 6, 7 THEN RETURN generate.number(s);
		WHEN 8 THEN RETURN generate.one_of(s || 'l', '{true,false,"null"}');
		WHEN 9, 10 THEN RETURN format('{"prefix":%s}', to_json(generate.piece(s)));
		WHEN 11, 12 THEN RETURN format('{"suffix":%s}', to_json(generate.piece(s)));
		WHEN 13 THEN RETURN format('{"%s":{"equals-ignore-case":%s}}',
			generate.one_of(s || 'o', '{prefix,suffix}'), to_json(generate.piece(s)));
		WHEN 14 THEN RETURN format('{"equals-ignore-case":%s}', generate.string(s));
		WHEN 15, 16 THEN RETURN format('{"wildcard":%s}', to_json(generate.wildcard(s)));
		WHEN 17 THEN RETURN format('{"exists":%s}', generate.one_of(s || 'l', '{true,false,false}'));
		WHEN 18 THEN RETURN format('{"cidr":"%s"}', generate.one_of(s || 'l',
			'{10.0.0.0/8,10.0.0.0/24,10.0.0.0/31,192.168.0.0/16,0.0.0.0/0,::/0,2001:db8::/32,::1/127}'));
		WHEN 19, 20 THEN
			low := generate.number(s || 'a');
			high := generate.number(s || 'b');
			IF generate.pick(s || 'two', 2) = 0 OR low::numeric >= high::numeric THEN
				RETURN format('{"numeric":["%s",%s]}', generate.one_of(s || 'o', '{<,<=,=,>=,>}'), low);
			END IF;
			RETURN format('{"numeric":["%s",%s,"%s",%s]}', generate.one_of(s || 'o', '{>=,>}'), low,
				generate.one_of(s || 'p', '{<=,<}'), high);
		ELSE RETURN format('{"anything-but":%s}', generate.refused(s));
	END CASE;
END $$;

-- The members of an object of a pattern, without braces.
CREATE FUNCTION generate.members(seed text, depth integer) RETURNS text
	LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
	members text[] := '{}';
	conditions text[];
	alternatives text[];
	s text;
	name text;
BEGIN
	FOR i IN 0 .. generate.pick(seed || 'n', 5) / 2 LOOP
		s := seed || '.' || i;
		IF i > 0 AND depth < 3 AND generate.pick(s || 'or', 5) = 0 THEN
			alternatives := '{}';
			FOR k IN 0 .. 1 + generate.pick(s || 'k', 2) LOOP
				alternatives := alternatives || ('{' || generate.members(s || '|' || k, depth + 1) || '}');
			END LOOP;
			members := members || ('"$or":[' || array_to_string(alternatives, ',') || ']');
			CONTINUE;
		END IF;
		name := generate.name(s || 'k');
		IF generate.pick(s || 'dot', 12) = 0 THEN
			name := name || '.' || generate.name(s || 'l');
		END IF;
		IF depth < 3 AND generate.pick(s || 'deep', 3) = 0 THEN
			members := members || format('%s:{%s}', to_json(name), generate.members(s, depth + 1));
			CONTINUE;
		END IF;
		conditions := '{}';
		FOR k IN 0 .. generate.pick(s || 'c', 5) / 2 LOOP
			conditions := conditions || generate.condition(s || ',' || k);
		END LOOP;
		members := members || format('%s:[%s]', to_json(name), array_to_string(conditions, ','));
	END LOOP;
	RETURN array_to_string(members, ',');
END $$;

CREATE FUNCTION generate.pattern_text(seed text) RETURNS text
	LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
	RETURN '{' || generate.members(seed, 0) || '}';

-- A pattern; a text that is refused, for its wildcards say, makes way for the next one.
CREATE FUNCTION generate.pattern(seed text) RETURNS eventbridge.event_pattern
	LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
	candidate text := generate.pattern_text(seed);
BEGIN
	WHILE EXISTS (SELECT FROM eventbridge.check_event_pattern(candidate)) LOOP
		seed := seed || '+';
		candidate := generate.pattern_text(seed);
	END LOOP;
	RETURN candidate::eventbridge.event_pattern;
END $$;

-- A value of an event.
CREATE FUNCTION generate.value(seed text, depth integer) RETURNS text
	LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
	kind integer := generate.pick(seed || 'v', CASE WHEN depth < 4 THEN 16 ELSE 10 END);
	parts text[] := '{}';
	name text;
	s text;
BEGIN
	IF kind < 7 THEN
		RETURN generate.string(seed || 's');
	ELSIF kind < 9 THEN
		RETURN generate.number(seed || 's');
	ELSIF kind = 9 THEN
		RETURN generate.one_of(seed || 'l', '{true,false,"null"}');
	ELSIF kind < 13 THEN
		FOR i IN 1 .. generate.pick(seed || 'n', 5) LOOP
			s := seed || '.' || i;
			name := generate.name(s || 'k');
			IF generate.pick(s || 'dot', 40) = 0 THEN
				name := name || '.' || generate.name(s || 'l');
			END IF;
			parts := parts || format('%s:%s', to_json(name), generate.value(s, depth + 1));
		END LOOP;
		RETURN '{' || array_to_string(parts, ',') || '}';
	END IF;
	FOR i IN 1 .. generate.pick(seed || 'n', 4) LOOP
		parts := parts || generate.value(seed || '.' || i, depth + 1);
	END LOOP;
	RETURN '[' || array_to_string(parts, ',') || ']';
END $$;

CREATE FUNCTION generate.event(seed text) RETURNS jsonb
	LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
	parts text[] := '{}';
	name text;
	s text;
BEGIN
	FOR i IN 1 .. 2 + generate.pick(seed || 'n', 6) LOOP
		s := seed || '.' || i;
		name := generate.name(s || 'k');
		IF generate.pick(s || 'dot', 40) = 0 THEN
			name := name || '.' || generate.name(s || 'l');
		END IF;
		parts := parts || format('%s:%s', to_json(name), generate.value(s, 1));
	END LOOP;
	RETURN ('{' || array_to_string(parts, ',') || '}')::jsonb;
END $$;

-- What the matcher says; NULL where it refuses the event (too many spellings of the pattern's paths).
CREATE FUNCTION generate.matches(event jsonb, pattern eventbridge.event_pattern) RETURNS boolean
	LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
BEGIN
	RETURN eventbridge.matches(event, pattern);
EXCEPTION WHEN program_limit_exceeded THEN
	RETURN NULL;
END $$;
