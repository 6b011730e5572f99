# A dump keeps buses, permissions, rules, targets and resources; in the place
# where it is restored they work, and new ones get new keys.
use strict;
use warnings FATAL => 'all';

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->start;

# Sets up the extension with one of each thing.
$node->safe_psql('postgres', <<'SQL');
CREATE DATABASE source;
CREATE DATABASE custom_format;
CREATE DATABASE plain_format;
CREATE ROLE writer;
SQL
$node->safe_psql('source', <<'SQL');
CREATE EXTENSION eventbridge;
CREATE SCHEMA app;
CREATE FUNCTION app.handle(jsonb) RETURNS void LANGUAGE sql AS '';
CREATE TABLE app.orders (id int PRIMARY KEY);
CREATE TRIGGER orders AFTER INSERT ON app.orders FOR EACH ROW
	EXECUTE FUNCTION eventbridge.put_row_event('source=shop', 'detail_type=order', 'bus=orders');
SET search_path = eventbridge;
SELECT create_event_bus('gone'), delete_event_bus('gone');
SELECT create_event_bus('orders', 'All orders', '[{"Key": "a", "Value": "b"}]');
SELECT put_permission('w', 'events:PutEvents', 'writer', 'orders');
SELECT put_permission('all', 'events:PutEvents', '*');
SELECT put_rule('r', '{"source": [ "shop" ]}', event_bus_name => 'orders', description => 'd');
SELECT put_rule('off', '{"source": ["shop"]}', state => 'DISABLED');
SELECT create_topic('t', true), create_log_group('l', 7), create_task('c'),
	create_api_destination('h', 'https://example.com', header_parameters => '{"X-A": "b"}', signing_secret => 'env:S');
SELECT put_targets('r', '[
	{"Id": "f", "Arn": "arn:aws:lambda:us-east-1:000000000000:function:app.handle", "InputPath": "$.detail"},
	{"Id": "t", "Arn": "arn:aws:sns:us-east-1:000000000000:t", "RetryPolicy": {"MaximumRetryAttempts": 1},
	 "InputTransformer": {"InputPathsMap": {"s": "$.source"}, "InputTemplate": "\"<s>\""}}]', 'orders');
INSERT INTO log_event (log_group_id, message) SELECT log_group_id, '{"a":1}' FROM log_group;
SQL

my $everything = <<'SQL';
SET search_path = eventbridge;
SELECT name, arn, owner, description, tags, policy FROM event_buses ORDER BY name;
SELECT * FROM rules ORDER BY event_bus_name, name;
SELECT * FROM targets ORDER BY rule, id;
SELECT rule_id, target_id, id FROM target ORDER BY target_id;
SELECT * FROM topics;
SELECT * FROM log_groups;
SELECT * FROM log_events;
SELECT * FROM tasks;
SELECT * FROM api_destinations;
SELECT export_cloudformation('orders');
SELECT matching_rules('{"source": "shop"}', 'orders');
SELECT matching_rules('{"source": "shop"}', 'default');
SQL
my $before = $node->safe_psql('source', $everything);
like($before, qr/app\.handle/, 'there is something to be kept');

my $dir = PostgreSQL::Test::Utils::tempdir();
$node->command_ok([ 'pg_dump', '-Fc', '-f', "$dir/dump", 'source' ],
	'pg_dump in the custom format');
$node->command_ok(
	[ 'pg_restore', '-e', '-d', 'custom_format', "$dir/dump" ],
	'pg_restore');
$node->command_ok([ 'pg_dump', '-f', "$dir/dump.sql", 'source' ],
	'pg_dump in plain text');
$node->command_ok(
	[
		'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-f', "$dir/dump.sql",
		'plain_format'
	],
	'restored by psql');

foreach my $database ('custom_format', 'plain_format')
{
	is($node->safe_psql($database, $everything),
		$before, "$database: everything is there and works");
	is( $node->safe_psql(
			$database, 'SELECT count(*) FROM eventbridge.event_bus WHERE builtin'),
		1,
		"$database: one default bus");
	$node->safe_psql($database, <<'SQL');
SET search_path = eventbridge;
SELECT create_event_bus('new'), put_rule('new', '{"source": ["x"]}'), create_topic('new'),
	create_log_group('new'), create_task('new'), create_api_destination('new', 'https://example.com');
SELECT put_targets('new', '[{"Id": "n", "Arn": "arn:aws:sns:us-east-1:000000000000:new"}]');
INSERT INTO app.orders VALUES (1);
SQL
	is( $node->safe_psql(
			$database,
			q{SELECT eventbridge.matching_rules('{"source": "x"}')}),
		'new',
		"$database: new things get keys of their own");
	is( $node->safe_psql(
			$database,
			q{SET ROLE writer; SELECT eventbridge.put_event('shop', 't', '{}', 'orders') IS NOT NULL}),
		't',
		"$database: permissions count");
}

$node->stop;
done_testing();
