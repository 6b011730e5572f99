-- Schedule expressions are checked as AWS checks them, and then refused.
SET search_path = eventbridge, public;
\set SHOW_CONTEXT never

SELECT put_rule('s', NULL, 'rate(5 minutes)');
SELECT put_rule('s', '{"source": ["x"]}', 'cron(0 12 * * ? *)');
SELECT put_rule('s', NULL, 'rate(1 minutes)');
SELECT create_event_bus('custom');
SELECT put_rule('s', NULL, 'rate(5 minutes)', event_bus_name => 'custom');
SELECT delete_event_bus('custom');
SELECT list_rules();

-- accepted on AWS
SELECT e, eventbridge._schedule_is_valid(e)
FROM unnest(ARRAY['rate(1 minute)', 'rate(1 hour)', 'rate(1 day)', 'rate(2 minutes)', 'rate(10 hours)', 'rate(365 days)',
	'cron(0 2 ? * SAT *)', 'cron(0 12 * * ? *)', 'cron(5,35 14 * * ? *)', 'cron(15 10 ? * 6L 2002-2005)',
	'cron(0 2 ? * SAT#3 *)', 'cron(* * ? * SAT#3 *)', 'cron(0/5 5 ? JAN 1-5 2022)', 'cron(0 10 * * ? *)',
	'cron(15 12 * * ? *)', 'cron(0 18 ? * MON-FRI *)', 'cron(0 8 1 * ? *)', 'cron(0/15 * * * ? *)',
	'cron(0/10 * ? * MON-FRI *)', 'cron(0/5 8-17 ? * MON-FRI *)', 'cron(0/30 20-23 ? * MON-FRI *)',
	'cron(0/30 0-2 ? * MON-FRI *)', 'cron(0 0 L * ? *)', 'cron(0 0 15W * ? *)', 'cron(0 0 ? * 6L 2500)']) AS e
WHERE NOT eventbridge._schedule_is_valid(e);

-- refused on AWS
SELECT e, eventbridge._schedule_is_valid(e)
FROM unnest(ARRAY['rate(10 seconds)', 'rate(10 years)', 'rate(1 minutes)', 'rate(1 hours)', 'rate(1 days)', 'rate(10 minute)',
	'rate(10 hour)', 'rate(10 day)', 'rate()', 'rate(10)', 'rate(10 minutess)', 'rate(foo minutes)', 'rate(0 minutes)',
	'rate(-10 minutes)', 'rate(10 MINUTES)', 'rate( 10 minutes )', ' rate(10 minutes)', 'rate(10  minutes)',
	'cron(0 1 * * * *)', 'cron(7 20 * * NOT *)', 'cron(INVALID)', 'cron(0 dummy ? * MON-FRI *)', 'cron(71 8 1 * ? *)',
	'cron(0 24 * * ? *)', 'cron(0 0 32 * ? *)', 'cron(0 0 0 * ? *)', 'cron(0 0 * 13 ? *)', 'cron(0 0 ? * 8 *)',
	'cron(0 0 ? * ? *)', 'cron(0 0 * * ?)', 'cron(0 0 * * ? 1969)', 'cron(0/0 * * * ? *)', 'cron(5-1 * * * ? *)',
	'cron(0 0 1#2 * ? *)', 'cron(0 0 ? * MON/2 *)', 'cron(, * * * ? *)', 'at(2024-01-01T00:00:00)', '']) AS e
WHERE eventbridge._schedule_is_valid(e);
