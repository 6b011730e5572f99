-- Input transformation in databases whose encoding is not UTF-8: characters are what they are
-- there, an escape stays an escape in JSON, and in text becomes its character if there is one.
SET client_min_messages = warning;
SELECT current_database() AS start \gset
CREATE DATABASE eventbridge_transform_latin1 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0;
CREATE DATABASE eventbridge_transform_ascii ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0;

\c eventbridge_transform_latin1
CREATE EXTENSION eventbridge;
SET search_path = eventbridge, public;
SET client_encoding = 'UTF8';
SELECT transform_input('{"v": "ä"}', '{"v": "$.v"}', t) AS jsonb,
       json_transform_input('{"v": "\u00e4"}', '{"v": "$.v"}', t) AS json
  FROM unnest(ARRAY['"<v> ü"', '{"a": "<v> ü"}', '{"ü": <v>}']) t;
SELECT json_transform_input('{"v": "\u20ac"}', '{"v": "$.v"}', '{"a": <v>}');
SELECT json_transform_input('{"v": "\u20ac"}', '{"v": "$.v"}', '"<v>"');
SELECT * FROM check_input_transformer(NULL, '{"ä": "ü", <x>: }');

\c eventbridge_transform_ascii
CREATE EXTENSION eventbridge;
SET search_path = eventbridge, public;
SELECT transform_input(E'{"v": "\xc3\xa4"}'::jsonb, '{"v": "$.v"}', t) = replace(t, '<v>', E'\xc3\xa4') AS bytes_are_themselves
  FROM unnest(ARRAY['"<v>"', '{"a": "<v>"}']) t;
SELECT json_transform_input('{"v": "\u0041\u00e4"}', '{"v": "$.v"}', '{"a": <v>}');
SELECT json_transform_input('{"v": "\u0041"}', '{"v": "$.v"}', '"<v>"');
SELECT json_transform_input('{"v": "\u00e4"}', '{"v": "$.v"}', '"<v>"');

\c :start
DROP DATABASE eventbridge_transform_latin1;
DROP DATABASE eventbridge_transform_ascii;
