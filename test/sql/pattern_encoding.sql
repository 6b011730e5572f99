-- Databases whose encoding is not UTF-8: case is folded by the table of the
-- extension as far as the encoding has the characters, never by the locale.
SET client_min_messages = warning;
SELECT current_database() AS start \gset
CREATE DATABASE eventbridge_latin1 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0;
CREATE DATABASE eventbridge_ascii ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0;

\c eventbridge_latin1
CREATE EXTENSION eventbridge;
SET search_path = eventbridge, public;
SET client_encoding = 'UTF8';
SELECT matches('{"a":"É"}', '{"a":[{"equals-ignore-case":"é"}]}') AS folded,
       matches('{"a":"SSE"}', '{"a":[{"suffix":{"equals-ignore-case":"ße"}}]}') AS sharp_s,
       matches('{"a":"ÿ"}', '{"a":[{"equals-ignore-case":"ÿ"}]}') AS no_upper_form,
       matches('{"a":"µ"}', '{"a":[{"equals-ignore-case":"µ"}]}') AS micro,
       matches('{"a":"É"}', '{"a":["\u00c9"]}') AS escaped,
       matches('{"a":"e"}', '{"a":[{"equals-ignore-case":"é"}]}') AS other;
SELECT '{"é":["Ä\u00df"]}'::event_pattern;
SELECT message, line_number, column_number FROM check_event_pattern('{"é": ["Ä", "é" "x"]}');
SELECT message FROM check_event_pattern('{é}');

\c eventbridge_ascii
CREATE EXTENSION eventbridge;
SET search_path = eventbridge, public;
SELECT matches('{"a":"ABC"}', '{"a":[{"equals-ignore-case":"abc"}]}') AS ascii_folds,
       matches(E'{"a":"\xc3\xa9"}'::jsonb, E'{"a":[{"equals-ignore-case":"\xc3\xa9"}]}') AS bytes_are_themselves,
       matches(E'{"a":"\xc3\x89"}'::jsonb, E'{"a":[{"equals-ignore-case":"\xc3\xa9"}]}') AS bytes_do_not_fold,
       matches(E'{"a":"x\xff"}'::jsonb, E'{"a":[{"wildcard":"*\xff"}]}') AS wildcard;

\c :start
DROP DATABASE eventbridge_latin1;
DROP DATABASE eventbridge_ascii;
