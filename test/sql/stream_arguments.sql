-- arguments of stream triggers, checked before and at the first row
SET search_path = eventbridge, public;

SELECT check_stream_arguments('notify=c');
SELECT check_stream_arguments('notify=c', 'view_type=KEYS_ONLY', 'claim_check=on', 'filter={"eventName": ["INSERT"]}', 'filter={"eventName": ["REMOVE"]}');
SELECT check_stream_arguments('notify=c', 'input_path=$.dynamodb.NewImage');
SELECT check_stream_arguments('notify=c', 'input_template={"id": <id>}', 'input_paths_map={"id": "$.dynamodb.Keys.id.N"}');
SELECT check_stream_arguments(VARIADIC array['notify=a=b']);

-- one error for each mistake
SELECT check_stream_arguments(VARIADIC '{}');
SELECT check_stream_arguments('view_type=NEW_IMAGE');
SELECT check_stream_arguments('notify');
SELECT check_stream_arguments('channel=c');
SELECT check_stream_arguments('notify=c', NULL);
SELECT check_stream_arguments('notify=');
SELECT check_stream_arguments('notify=' || repeat('c', 63));
SELECT check_stream_arguments('notify=' || repeat('c', 64));
SELECT check_stream_arguments('notify=a', 'notify=b');
SELECT check_stream_arguments('notify=c', 'view_type=new_image');
SELECT check_stream_arguments('notify=c', 'view_type=NEW_IMAGE', 'view_type=NEW_IMAGE');
SELECT check_stream_arguments('notify=c', 'claim_check=perhaps');
SELECT check_stream_arguments('notify=c', 'filter={"eventName": "INSERT"}');
SELECT check_stream_arguments('notify=c', 'filter=');
SELECT check_stream_arguments('notify=c', 'input_path=dynamodb');
SELECT check_stream_arguments('notify=c', 'input_path=$.a', 'input_template="x"');
SELECT check_stream_arguments('notify=c', 'input_template=<id>');
SELECT check_stream_arguments('notify=c', 'input_paths_map={"id": "$.id"}');
SELECT check_stream_arguments('notify=c', 'input_template="<id>"', 'input_paths_map={"id"');

-- a trigger made by hand says it at its first row, and the row is not written
CREATE TABLE public.appointments (id int PRIMARY KEY, status text);
CREATE TRIGGER wrong AFTER INSERT ON public.appointments FOR EACH ROW
	EXECUTE FUNCTION stream('notify=c', 'view_type=ALL');
INSERT INTO public.appointments VALUES (1, 'NEW');
INSERT INTO public.appointments VALUES (1, 'NEW');
SELECT count(*) FROM public.appointments;
-- and is mended by another
CREATE OR REPLACE TRIGGER wrong AFTER INSERT ON public.appointments FOR EACH ROW
	EXECUTE FUNCTION stream('notify=c', 'view_type=NEW_IMAGE');
INSERT INTO public.appointments VALUES (1, 'NEW');
DROP TRIGGER wrong ON public.appointments;

-- only AFTER, only FOR EACH ROW, only as a trigger
CREATE TRIGGER wrong BEFORE INSERT ON public.appointments FOR EACH ROW EXECUTE FUNCTION stream('notify=c');
INSERT INTO public.appointments VALUES (2, 'NEW');
DROP TRIGGER wrong ON public.appointments;
CREATE TRIGGER wrong AFTER INSERT ON public.appointments EXECUTE FUNCTION stream('notify=c');
INSERT INTO public.appointments VALUES (2, 'NEW');
DROP TRIGGER wrong ON public.appointments;
CREATE TRIGGER wrong AFTER TRUNCATE ON public.appointments EXECUTE FUNCTION stream('notify=c');
TRUNCATE public.appointments;
SELECT stream();
DROP TABLE public.appointments;

-- settings in ARNs
SET eventbridge.region = 'eu central';
SET eventbridge.region = '';
SET eventbridge.account_id = '123';
SET eventbridge.account_id = '12345678901x';
SHOW eventbridge.region;
SHOW eventbridge.account_id;
