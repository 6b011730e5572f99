-- Records of streams are made of stored row images when they are read: of
-- every type, of long values, of tables that have changed since.
SET search_path = public, eventbridge;
\set SHOW_CONTEXT never
\t on
\pset format unaligned

-- every type: the image is what marshall makes of the row
CREATE TYPE stream_records_e AS ENUM ('red', 'green');
CREATE TYPE stream_records_c AS (a int, e stream_records_e);
CREATE DOMAIN stream_records_d AS numeric(10, 2);
CREATE TABLE stream_records_t (
	id int PRIMARY KEY, b bool, i2 smallint, i8 bigint, o oid, f4 real, f8 double precision, n numeric, t text, v varchar(10),
	c char(5), ch "char", na name, y bytea, d date, ti time, tz timetz, ts timestamp, tsz timestamptz, iv interval, j json, jb jsonb,
	u uuid, ip inet, e stream_records_e, co stream_records_c, dm stream_records_d, ia int[], ea stream_records_e[], r int4range,
	mr int4multirange, bi bit(3), rc regclass, g int GENERATED ALWAYS AS (id * 2) STORED);
SELECT enable_stream('stream_records_t', retention => '1 day') IS NOT NULL;
SELECT latest_sequence_number('stream_records_t') AS start \gset
INSERT INTO stream_records_t VALUES
	(1, true, -2, 9223372036854775807, 7, 0.1, 1e-300, 1.500, e'gr\u00fcn "q" \\', 'v', 'ch', 'x', 'name', '\x00ff', '2030-01-31', '10:00:01.5',
	 '10:00+02', '2030-01-31 10:00', '2030-01-31 10:00+02', '1 day 2 hours', '{"b": 1, "a": [null, "x"]}', '{"b": 1, "a": [null, "x"]}',
	 '11111111-2222-3333-4444-555555555555', '10.0.0.1/8', 'green', (1, 'red'), 3.10, '{{1,2},{3,NULL}}', '{red,green}', '[1,5)',
	 '{[1,2),[5,6)}', '101', 'pg_class'),
	(3, false, 0, 0, 0, 'NaN', '-Infinity', 'NaN', '', '', '', '', '', '', 'infinity', '24:00', '00:00+00', '-infinity', 'infinity', '0', '[]', '{}',
	 '00000000-0000-0000-0000-000000000000', '::1', 'red', NULL, 0, '{}', '{}', 'empty', '{}', '000', '-');
INSERT INTO stream_records_t VALUES (2);
SELECT record #> '{dynamodb,NewImage}' FROM get_records('stream_records_t', 'AFTER_SEQUENCE_NUMBER ' || :'start');
CREATE VIEW stream_records_compared AS
	SELECT x.id, r.record ->> 'eventName' AS event, (r.record #> '{dynamodb,NewImage}')::jsonb = eventbridge.marshall(x) AS as_marshalled,
		(r.record #> '{dynamodb,Keys}')::jsonb = jsonb_build_object('id', eventbridge.marshall(x.id)) AS keys
	FROM eventbridge.get_records('stream_records_t') AS r JOIN stream_records_t AS x ON x.id = (r.record #>> '{dynamodb,Keys,id,N}')::int;
SELECT * FROM stream_records_compared ORDER BY 1;
DROP VIEW stream_records_compared;
-- SizeBytes: of the last, 92 for names and values of the image, 4 for the key
CREATE TEMP TABLE stream_records_all AS SELECT record FROM get_records('stream_records_t');
SELECT record #>> '{dynamodb,Keys,id,N}', record #>> '{dynamodb,SizeBytes}' FROM stream_records_all;

-- the record stays what it was when the table, its types and columns change
ALTER TABLE stream_records_t DROP COLUMN co, DROP COLUMN e, DROP COLUMN ea, ALTER COLUMN i8 TYPE text, ADD COLUMN later int DEFAULT 1;
DROP TYPE stream_records_c, stream_records_e;
ALTER TABLE stream_records_t RENAME COLUMN t TO renamed;
SELECT count(*), count(*) FILTER (WHERE a.record::text = r.record::text)
FROM stream_records_all AS a JOIN get_records('stream_records_t') AS r ON a.record ->> 'eventID' = r.record ->> 'eventID';
UPDATE stream_records_t SET later = 2 WHERE id = 2;
SELECT record #> '{dynamodb,NewImage,later}', record #> '{dynamodb,OldImage,later}', record #> '{dynamodb,OldImage,t}', record #> '{dynamodb,OldImage,renamed}'
FROM get_records('stream_records_t') ORDER BY sequence_number DESC LIMIT 1;
SET TimeZone = 'Asia/Tokyo';
SET DateStyle = 'German';
SELECT record #>> '{dynamodb,NewImage,tsz,S}' FROM get_records('stream_records_t', max_records => 1);
RESET TimeZone;
RESET DateStyle;
DROP TABLE stream_records_t;

-- a key of a replica identity, which is not the first column
CREATE TABLE stream_records_k (t text, b int NOT NULL, a int NOT NULL);
CREATE UNIQUE INDEX stream_records_k_idx ON stream_records_k (a, b);
SELECT enable_stream('stream_records_k');
ALTER TABLE stream_records_k REPLICA IDENTITY USING INDEX stream_records_k_idx;
SELECT enable_stream('stream_records_k', 'OLD_IMAGE', '1 day') IS NOT NULL;
INSERT INTO stream_records_k VALUES ('x', 1, 2);
UPDATE stream_records_k SET t = 'y';
DELETE FROM stream_records_k;
SELECT record ->> 'eventName', record #> '{dynamodb,Keys}', record #> '{dynamodb,OldImage}', record #> '{dynamodb,NewImage}'
FROM get_records('stream_records_k');
DROP TABLE stream_records_k;

-- values out of line, compressed, and longer than a page; many packs
CREATE TABLE stream_records_l (id int PRIMARY KEY, doc text);
SELECT enable_stream('stream_records_l', 'NEW_IMAGE', '1 day') IS NOT NULL;
INSERT INTO stream_records_l SELECT n, repeat(n::text, n) FROM generate_series(1, 3000) AS n;
ALTER TABLE stream_records_l ALTER COLUMN doc SET STORAGE EXTERNAL;
INSERT INTO stream_records_l SELECT 3000 + n, repeat(n::text, 20000) FROM generate_series(1, 3) AS n;
SELECT count(*), count(*) FILTER (WHERE t.doc = r.record #>> '{dynamodb,NewImage,doc,S}')
FROM get_records('stream_records_l', max_records => 10000) AS r JOIN stream_records_l AS t ON t.id = (r.record #>> '{dynamodb,Keys,id,N}')::int;
-- an update that leaves a long value alone shows it
UPDATE stream_records_l SET id = id + 10000 WHERE id > 3000;
SELECT record ->> 'eventName', length(record #>> '{dynamodb,NewImage,doc,S}')
FROM get_records('stream_records_l', max_records => 10000) OFFSET 3003;
-- page by page
CREATE FUNCTION pg_temp.pages(size int) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	place text := 'TRIM_HORIZON';
	page record;
	ids bigint[] := '{}';
	pages int := 0;
BEGIN
	LOOP
		SELECT array_agg((record #>> '{dynamodb,Keys,id,N}')::bigint ORDER BY o) AS ids, max(sequence_number) AS last INTO page
		FROM eventbridge.get_records('stream_records_l', place, size) WITH ORDINALITY AS r (sequence_number, record, o);
		EXIT WHEN page.last IS NULL;
		ids := ids || page.ids;
		pages := pages + 1;
		place := 'AFTER_SEQUENCE_NUMBER ' || page.last;
	END LOOP;
	RETURN format('%s pages, %s records, first %s, last %s, sum %s', pages, cardinality(ids), ids[1], ids[cardinality(ids)],
		(SELECT sum(i) FROM unnest(ids) AS i));
END $$;
SELECT pg_temp.pages(250);
SELECT pg_temp.pages(10000);
DROP TABLE stream_records_l;

-- savepoints, many rows, two tables in turns
CREATE TABLE stream_records_a (id int PRIMARY KEY);
CREATE TABLE stream_records_b (id int PRIMARY KEY);
SELECT enable_stream('stream_records_a', 'KEYS_ONLY', '1 day') IS NOT NULL, enable_stream('stream_records_b', 'KEYS_ONLY', '1 day') IS NOT NULL;
DO $$
BEGIN
	FOR i IN 1 .. 300 LOOP
		INSERT INTO stream_records_a VALUES (i);
		BEGIN
			INSERT INTO stream_records_b VALUES (i);
			BEGIN
				INSERT INTO stream_records_a SELECT i * 1000 + n FROM generate_series(1, 5) AS n;
				IF i % 3 = 0 THEN
					RAISE division_by_zero;
				END IF;
			EXCEPTION WHEN division_by_zero THEN
				INSERT INTO stream_records_b VALUES (-i);
			END;
			IF i % 5 = 0 THEN
				RAISE unique_violation;
			END IF;
		EXCEPTION WHEN unique_violation THEN
			NULL;
		END;
	END LOOP;
END $$;
SELECT count(*), count(DISTINCT id), count(*) = (SELECT count(*) FROM stream_records_a),
	bool_and(id IN (SELECT id FROM stream_records_a))
FROM (SELECT (record #>> '{dynamodb,Keys,id,N}')::int AS id FROM get_records('stream_records_a', max_records => 10000)) AS r;
SELECT count(*), count(DISTINCT id), count(*) = (SELECT count(*) FROM stream_records_b),
	bool_and(id IN (SELECT id FROM stream_records_b))
FROM (SELECT (record #>> '{dynamodb,Keys,id,N}')::int AS id FROM get_records('stream_records_b', max_records => 10000)) AS r;
DROP TABLE stream_records_a, stream_records_b;

-- triggers that change the row again do so after its first change is captured
CREATE TABLE stream_records_o (id int PRIMARY KEY, parent int REFERENCES stream_records_o ON UPDATE CASCADE, n int);
CREATE FUNCTION pg_temp.again() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN UPDATE public.stream_records_o SET n = 2 WHERE id = NEW.id; RETURN NULL; END';
CREATE TRIGGER "A" AFTER INSERT ON stream_records_o FOR EACH ROW EXECUTE FUNCTION pg_temp.again();
SELECT enable_stream('stream_records_o', retention => '1 day') IS NOT NULL;
INSERT INTO stream_records_o VALUES (1, 1, 1);
UPDATE stream_records_o SET id = 5;
SELECT record ->> 'eventName', record #> '{dynamodb,NewImage}' FROM get_records('stream_records_o');
DROP TABLE stream_records_o;

-- a pack that is none
SELECT * FROM _unpack_records('\x', -1, 100);
SELECT * FROM _unpack_records('\x01', -1, 100);
SELECT * FROM _unpack_records('\x0103ffffff7f00000000', -1, 100);
SELECT * FROM _unpack_records('\x0903000000000000', -1, 100);
