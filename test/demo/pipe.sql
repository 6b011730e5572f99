CREATE TABLE visits (id int PRIMARY KEY, patient int, starts_at timestamp);
CREATE TABLE contacts (patient int PRIMARY KEY, way text);
INSERT INTO contacts SELECT n, (ARRAY['mail', 'phone'])[1 + n % 4 / 2] FROM generate_series(2, 1000, 2) AS n;

-- the enrichment: a batch of records in, what the reminders need out
CREATE FUNCTION add_contact(batch jsonb) RETURNS jsonb LANGUAGE sql AS $$
  SELECT jsonb_agg(eventbridge.unmarshall(r #> '{dynamodb,NewImage}')
                   || jsonb_build_object('contact', coalesce(c.way, 'none')) ORDER BY o)
  FROM jsonb_array_elements(batch) WITH ORDINALITY AS b (r, o)
    LEFT JOIN contacts AS c ON c.patient = (r #>> '{dynamodb,NewImage,patient,N}')::int
$$;

SELECT eventbridge.create_queue('reminders');
SELECT eventbridge.enable_stream('visits', 'NEW_IMAGE') IS NOT NULL AS stream_enabled;

-- the pipe, as CloudFormation has it
SELECT logical_id, type, action FROM eventbridge.import_cloudformation('{
  "Resources": {
    "Visits":    {"Type": "AWS::DynamoDB::Table", "Properties": {"TableName": "visits"}},
    "Contact":   {"Type": "AWS::Lambda::Function", "Properties": {"FunctionName": "add_contact"}},
    "Reminders": {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": "reminders"}},
    "NewVisits": {"Type": "AWS::Pipes::Pipe", "Properties": {
      "Name": "new-visits",
      "Source": {"Fn::GetAtt": ["Visits", "StreamArn"]},
      "SourceParameters": {
        "FilterCriteria": {"Filters": [{"Pattern": "{\"eventName\": [{\"prefix\": \"INSERT\"}]}"}]},
        "DynamoDBStreamParameters": {"StartingPosition": "LATEST"}},
      "Enrichment": {"Fn::GetAtt": ["Contact", "Arn"]},
      "Target": {"Fn::GetAtt": ["Reminders", "Arn"]}}}}}'::text) ORDER BY 1;
