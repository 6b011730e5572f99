CREATE EXTENSION eventbridge;

CREATE TABLE appointments (
	id         int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	patient    text NOT NULL,
	treatment  text NOT NULL,
	starts_at  timestamptz NOT NULL
);

CREATE TRIGGER appointments_stream
	AFTER INSERT OR UPDATE OR DELETE ON appointments
	FOR EACH ROW EXECUTE FUNCTION eventbridge.stream(
		'view_type=NEW_IMAGE',
		'filter={"eventName": [{"prefix": "INSERT"}]}',
		'notify=appointments');
