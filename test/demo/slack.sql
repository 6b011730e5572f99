SET search_path = public, eventbridge;

CREATE FUNCTION tell_slack() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	PERFORM pg_notify('slack', eventbridge.transform_input(NEW.event,
		-- the input transformer, as in AWS: a map of paths, and a template
		'{"project": "$.detail.project-name", "status": "$.detail.build-status",
		  "time": "$.time", "link": "$.detail.additional-information.logs.deep-link"}',
		'{"text": "Build of <project>: <status> at <time> (<link>)"}'));
	RETURN NEW;
END
$$;

CREATE TRIGGER slack
	AFTER INSERT ON events
	FOR EACH ROW
	WHEN (NEW.event @~ '{"source": ["aws.codebuild"],
	                     "detail-type": ["CodeBuild Build State Change"],
	                     "detail": {"build-status": ["FAILED", "FAULT"]}}')
	EXECUTE FUNCTION tell_slack();
