-- marshall and unmarshall, type by type
SET search_path = eventbridge, public;

-- numbers
SELECT marshall(1::smallint), marshall(-2147483648), marshall(9223372036854775807), marshall(4294967295::oid);
SELECT marshall(1.500), marshall(100::numeric), marshall(0.000), marshall(-0.10), marshall(1e30::numeric), marshall(1e-10::numeric);
SELECT marshall(12345678901234567890123456789012345678901234567890.12345);
SELECT marshall('NaN'::numeric), marshall('Infinity'::numeric), marshall('-Infinity'::numeric);
SELECT marshall(1.5::real), marshall(0.1::real), marshall('-0'::float8), marshall(0.1::float8), marshall(1e300::float8), marshall(1e-7::float8);
SELECT marshall('NaN'::float8), marshall('Infinity'::float8), marshall('-Infinity'::real), marshall('NaN'::real);

-- strings
SELECT marshall('x'::text), marshall(''::text), marshall('v'::varchar(3)), marshall('c'::char(3)), marshall('n'::name), marshall('q'::"char");
SELECT marshall(E'quote " backslash \\ newline \n tab \t bell \x07 é €'::text);
SELECT marshall('a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid), marshall('192.168.0.1/24'::inet), marshall('10.0.0.0/8'::cidr),
	   marshall('08:00:2b:01:02:03'::macaddr), marshall(B'1010'), marshall('(1,2)'::point);
SELECT marshall('a b'::tsvector), marshall('pg_class'::regclass), marshall('1 2 3'::int2vector);
SELECT marshall('1'::money) -> 'S' IS NOT NULL AS money_is_a_string;

-- boolean, bytea, null
SELECT marshall(true), marshall(false), marshall(NULL::int), marshall(NULL::text[]);
SELECT marshall('\x'::bytea), marshall('\x00'::bytea), marshall('\xdeadbeef'::bytea);
SELECT length(marshall(decode(repeat('ff', 300), 'hex')) ->> 'B');

-- dates and times say the same in every session
SET datestyle = 'SQL, DMY';
SET timezone = 'Asia/Kathmandu';
SET intervalstyle = 'iso_8601';
SET extra_float_digits = -15;
SELECT marshall('2024-02-29'::date), marshall('12:34:56.789'::time), marshall('12:34:56+05:45'::timetz);
SELECT marshall('2024-02-29 12:34:56.5'::timestamp), marshall('2024-02-29 12:34:56+00'::timestamptz),
	   marshall('2024-02-29 12:34:56.000001+05:45'::timestamptz);
SELECT marshall('infinity'::date), marshall('-infinity'::timestamp), marshall('infinity'::timestamptz), marshall('0044-03-15 BC'::date);
SELECT marshall('1 year 2 mons 3 days 04:05:06.7'::interval), marshall('-1 day'::interval), marshall('0'::interval);
SELECT marshall('[2024-01-01 00:00:00+00,2024-02-01 00:00:00+00)'::tstzrange), marshall(daterange('2024-01-01', NULL)),
	   marshall('{[2024-01-01,2024-01-02),[2024-02-01,2024-02-02)}'::datemultirange);
SELECT marshall(array['2024-02-29 12:00+00'::timestamptz, NULL]), marshall(0.1::float8);
RESET datestyle;
RESET timezone;
RESET intervalstyle;
RESET extra_float_digits;

-- ranges
SELECT marshall('[1,5)'::int4range), marshall('empty'::int4range), marshall('(,)'::numrange), marshall('(1.50,2]'::numrange),
	   marshall('{}'::int4multirange), marshall('{[1,2),[5,9)}'::int4multirange);
CREATE TYPE public.textrange AS RANGE (subtype = text, collation = "C");
SELECT marshall(textrange('a "b"', 'c\d', '[]')), marshall(textrange('', 'x'));

-- json and jsonb
SELECT marshall('{"s": "x", "n": 1.50, "t": true, "f": false, "z": null, "l": [1, [2, {}]], "m": {"k": []}}'::jsonb);
SELECT marshall('{"s": "x", "n": 1.50, "d": 1, "d": 2, "e": 1e2}'::json);
SELECT marshall('"x"'::jsonb), marshall('1.0'::jsonb), marshall('null'::jsonb), marshall('[]'::jsonb), marshall('{}'::jsonb), marshall('true'::json);
-- what jsonb cannot hold is given as its text
SELECT marshall('"\u0000"'::json), marshall('["\ud83d"]'::json), marshall('["\udc00"]'::json), marshall('1e999999'::json), marshall('["\ud83d\ude00"]'::json);
SELECT left(marshall((repeat('[', 600) || repeat(']', 600))::json) ->> 'S', 5) AS json, left(marshall((repeat('[', 600) || repeat(']', 600))::jsonb) ->> 'S', 5) AS jsonb;

-- arrays
SELECT marshall(array[1, NULL, 3]), marshall('{}'::int[]), marshall(array[[1, 2], [3, 4]]), marshall(array[[['a']]]), marshall('[5:6]={1,2}'::int[]);

-- composites, enums, domains
CREATE TYPE public.mood AS ENUM ('happy', 'sad');
CREATE DOMAIN public.positive AS int CHECK (VALUE > 0);
CREATE DOMAIN public.tags AS text[];
CREATE TYPE public.contact AS (name text, moods mood[], phone tags, age positive);
CREATE DOMAIN public.checked_contact AS contact;
SELECT marshall('happy'::mood), marshall(3::positive), marshall('{a,b}'::tags);
SELECT marshall(row('Ann', '{happy,sad}', '{1,2}', 30)::contact);
SELECT marshall(row('Ann', NULL, NULL, NULL)::checked_contact), marshall(row(1, 'x'::text, row(2)));
SELECT marshall(c) FROM (VALUES (1, 'a'::text), (2, NULL)) AS c (id, name);
ALTER TYPE public.contact ADD ATTRIBUTE email text;
ALTER TYPE public.contact DROP ATTRIBUTE name;
SELECT marshall(row('{happy}', NULL, 1, 'a@b')::contact);
-- a type that changes between two calls of one expression
CREATE TABLE public.item (id int, name text);
INSERT INTO public.item VALUES (1, 'a');
PREPARE item AS SELECT marshall(i) FROM public.item i;
EXECUTE item;
ALTER TABLE public.item ADD COLUMN extra numeric DEFAULT 1.50;
ALTER TABLE public.item DROP COLUMN name;
EXECUTE item;
DEALLOCATE item;

-- hstore
CREATE EXTENSION hstore SCHEMA public;
SELECT marshall('a=>1, b=>NULL'::hstore), marshall(row('x=>y'::hstore));
DROP EXTENSION hstore;

-- and back
SELECT unmarshall('{"S": "x"}'), unmarshall('{"N": "1.50"}'), unmarshall('{"N": "-1e3"}'), unmarshall('{"BOOL": false}'),
	   unmarshall('{"NULL": true}'), unmarshall('{"B": "3q2+7w=="}'), unmarshall('{"L": []}'), unmarshall('{"M": {}}');
SELECT unmarshall('{"SS": ["a", "b"]}'), unmarshall('{"NS": ["1", "2.0"]}'), unmarshall('{"BS": ["AA=="]}');
SELECT unmarshall('{}'), unmarshall('{"id": {"N": "1"}, "tags": {"L": [{"S": "a"}, {"NULL": true}, {"M": {"k": {"BOOL": true}}}]}}');
-- an item whose attribute is named like a type
SELECT unmarshall('{"S": {"S": "x"}}'), unmarshall('{"M": {"S": "x"}}'), unmarshall('{"M": {"M": {"a": {"S": "x"}}}}'), unmarshall('{"M": {"M": {"S": "x"}}}'),
	   unmarshall('{"M": {"M": {}}}'), unmarshall('{"L": {"L": []}}'), unmarshall('{"NULL": {"NULL": true}}'), unmarshall('{"M": {"M": {"S": {"S": "y"}}}}');
-- the inverse of marshall
SELECT j, unmarshall(marshall(j)) = j AS same FROM (VALUES
	('{"a": [1, "x", null, true, {"b": 1.5}], "S": {"S": {"M": "x"}}}'::jsonb), ('{"M": {"M": {"M": {}}}}'), ('{"M": "x"}'), ('[]'), ('[[], {}]'), ('"x"'), ('1'), ('null'), ('{}'), ('true')) AS v (j);
SELECT unmarshall(marshall(i)) FROM public.item i;

-- errors
SELECT unmarshall('[]');
SELECT unmarshall('"x"');
SELECT unmarshall('{"a": 1}');
SELECT unmarshall('{"a": {"S": 1}}');
SELECT unmarshall('{"a": {"X": "x"}}');
SELECT unmarshall('{"a": {"S": "x", "N": "1"}}');
SELECT unmarshall('{"a": {"L": [{"S": "x"}, {"M": {"b": {"N": "NaN"}}}]}}');
SELECT unmarshall('{"N": ""}');
SELECT unmarshall('{"N": "0x10"}');
SELECT unmarshall('{"N": "1e"}');
SELECT unmarshall('{"N": " 1"}');
SELECT unmarshall('{"N": 1}');
SELECT unmarshall('{"B": "?"}');
SELECT unmarshall('{"BOOL": "true"}');
SELECT unmarshall('{"NULL": false}');
SELECT unmarshall('{"M": []}');
SELECT unmarshall('{"L": "x"}');
SELECT unmarshall('{"SS": [1]}');
SELECT unmarshall('{"NS": ["x"]}');
SELECT unmarshall('{"BS": ["?"]}');
SELECT unmarshall(NULL) IS NULL AS null_is_null;

DROP TABLE public.item;
DROP DOMAIN public.checked_contact;
DROP TYPE public.contact;
DROP DOMAIN public.positive, public.tags;
DROP TYPE public.mood, public.textrange;
