# Patterns survive pg_dump and pg_restore wherever they stand, and COPY in the
# binary format; so do pattern sets, buses, rules and targets.
use strict;
use warnings FATAL => 'all';

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('dump');
$node->init;
$node->start;

my $dir = PostgreSQL::Test::Utils::tempdir();
my $connstr = $node->connstr('postgres');

$node->safe_psql('postgres',
	qq{CREATE DATABASE $_ ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0})
  foreach qw(original plain custom);
$node->safe_psql('postgres', 'CREATE ROLE reader');

# Functions in constraints and policies are called while data is restored, under
# an empty search_path.
$node->safe_psql(
	'original', q{
	CREATE EXTENSION eventbridge;
	SET search_path = public, eventbridge;
	CREATE DOMAIN ec2_event AS jsonb CHECK (VALUE @~ '{"source": ["aws.ec2"]}');
	CREATE TYPE subscription AS (name text, pattern event_pattern);
	CREATE TABLE rules (
		pattern event_pattern PRIMARY KEY,
		others event_pattern[],
		composite subscription,
		pattern_default event_pattern DEFAULT '{"a": [{"wildcard": "x*\\\\\\\\*"}]}',
		CHECK (pattern <> '{"never": [true]}'));
	INSERT INTO rules (pattern, others, composite) VALUES
		('{"source": ["aws.ec2"], "detail.state": ["running", {"prefix": {"equals-ignore-case": "Stop"}}]}',
		 '{NULL,"{\"a\": [1e2, null, \"\"]}"}', row('x', '{"b": [{"anything-but": {"wildcard": ["*a", "b*"]}}]}')),
		('{"$or": [{"a": [{"numeric": [">", 0, "<=", 1.50]}]}, {"b": [{"cidr": "10.0.0.0/8"}]}], "é\"\\\\\n": ["ü \u00e9 😀"]}', NULL, NULL),
		('{"x": [{"exists": false}], "$or": ["x", "y"]}', '{}', NULL);
	-- stored out of line, and too large for an index
	CREATE TABLE large_rules AS
		SELECT jsonb_build_object('big', jsonb_agg(md5(i::text)))::event_pattern AS pattern FROM generate_series(1, 1000) i;
	CREATE TABLE events (
		id int PRIMARY KEY,
		event jsonb CHECK (event @~ '{"source": [{"prefix": "aws."}]}'),
		is_ec2 boolean GENERATED ALWAYS AS (matches(event, '{"source": ["aws.ec2"]}')) STORED,
		checked ec2_event);
	INSERT INTO events (id, event, checked) VALUES
		(1, '{"source": "aws.ec2", "detail": {"state": "STOPPED"}}', '{"source": "aws.ec2"}'),
		(2, '{"source": "aws.s3", "detail": {"state": "running"}}', NULL);
	CREATE INDEX stopped ON events (id) WHERE event @~ '{"detail": {"state": [{"equals-ignore-case": "stopped"}]}}';
	CREATE UNIQUE INDEX by_hash ON rules (pattern, (matches('{"a": 1}', pattern)));
	CREATE INDEX ON rules USING hash (pattern);
	CREATE VIEW matched AS SELECT id, pattern FROM events JOIN rules ON event @~ pattern;
	CREATE MATERIALIZED VIEW matched_once AS TABLE matched;
	ALTER TABLE events ENABLE ROW LEVEL SECURITY;
	CREATE POLICY ec2_only ON events FOR SELECT TO reader USING ('{"source": ["aws.ec2"]}' ~@ event);
	GRANT SELECT ON events TO reader;
	CREATE TABLE log (id int);
	CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO public.log VALUES (NEW.id); RETURN NEW; END';
	CREATE TRIGGER s3 AFTER INSERT ON events FOR EACH ROW WHEN (NEW.event @~ '{"source": ["aws.s3"]}') EXECUTE FUNCTION note();
	CREATE TRIGGER stream AFTER INSERT OR DELETE ON events FOR EACH ROW
		EXECUTE FUNCTION stream('notify=c', 'view_type=KEYS_ONLY', 'filter={"eventName": ["INSERT"]}');
	CREATE TABLE sets AS SELECT event_pattern_set(pattern ORDER BY pattern) AS patterns FROM rules;
	SELECT create_event_bus('clinic'), create_topic('news'), create_log_group('/log', 30),
		put_rule('on-clinic', '{"source": ["x"],  "detail": {"n": [1.0]}}', event_bus_name => 'clinic', tags => '[{"Key": "a", "Value": "b"}]'),
		put_rule('on-default', '{"source": ["y"]}', state => 'DISABLED'), put_permission('all', 'events:PutEvents', '*', 'clinic'),
		put_targets('on-clinic', '[{"Id": "1", "Arn": "arn:aws:sns:us-east-1:000000000000:news", "InputPath": "$.detail"}]', 'clinic');
	-- some numbers are used
	INSERT INTO events SELECT i, '{"source": "aws.iam"}' FROM generate_series(100, 149) i;
	DELETE FROM events WHERE id >= 100;
});

# All that a user sees in a database.
sub contents
{
	my ($database) = @_;
	return $node->safe_psql(
		$database, q{
		SET search_path = public, eventbridge;
		SELECT * FROM rules ORDER BY pattern;
		SELECT md5(pattern::text), length(pattern::text) FROM large_rules;
		SELECT * FROM events ORDER BY id;
		SELECT id, match_any(event, patterns) FROM events, sets ORDER BY id;
		SELECT * FROM eventbridge.rule ORDER BY rule_id;
		SELECT * FROM eventbridge.target ORDER BY target_id;
		SELECT bus_id, name, owner, tags FROM eventbridge.event_bus ORDER BY bus_id;
		SELECT * FROM eventbridge.event_bus_permission;
		SELECT * FROM eventbridge.topic, eventbridge.log_group;
		SELECT * FROM matched ORDER BY id, pattern;
		SELECT * FROM matched_once ORDER BY id, pattern;
		SELECT 'numbers', last_value, is_called FROM capture_number;
		SELECT pg_get_expr(adbin, adrelid) FROM pg_attrdef WHERE adrelid IN ('rules'::regclass, 'events'::regclass) ORDER BY 1;
		SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE connamespace = 'public'::regnamespace ORDER BY 1;
		SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1;
		SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal ORDER BY 1;
		SELECT policyname, roles, cmd, qual FROM pg_policies ORDER BY 1;
	});
}

# And that it works.
sub works
{
	my ($database) = @_;
	my $run = sub { return $node->safe_psql($database, "SET search_path = public, eventbridge; $_[0]"); };
	my $fails = sub {
		my ($sql, $like, $name) = @_;
		my ($status, $stdout, $stderr) = $node->psql($database, $sql);
		isnt($status, 0, "$database: $name");
		like($stderr, $like, "$database: $name, message");
	};

	is($run->(q{SET ROLE reader; SELECT id FROM events ORDER BY id}), '1', "$database: policy");
	is($run->(q{SET enable_seqscan = off; SELECT id FROM events WHERE event @~ '{"detail": {"state": [{"equals-ignore-case": "stopped"}]}}'}),
		'1', "$database: partial index");
	like($run->(q{SET enable_seqscan = off; EXPLAIN (COSTS OFF) SELECT id FROM events WHERE event @~ '{"detail": {"state": [{"equals-ignore-case": "stopped"}]}}'}),
		qr/ using stopped on /, "$database: partial index, used");
	$fails->(q{INSERT INTO events VALUES (9, '{"source": "my.app"}')}, qr/violates check constraint "events_event_check"/, 'constraint');
	$fails->(q{INSERT INTO events VALUES (9, '{"source": "aws.x"}', DEFAULT, '{}')}, qr/value for domain ec2_event violates check constraint/, 'domain');
	$fails->(q{INSERT INTO rules VALUES ('{"x": [{"exists": false}], "$or": ["x", "y"]}')}, qr/duplicate key value/, 'primary key');
	is($run->(q{INSERT INTO events VALUES (8, '{"source": "aws.s3"}'), (9, '{"source": "aws.ec2"}'); TABLE log;}), '8', "$database: triggers");
	is($run->(q{DELETE FROM events WHERE id > 7 RETURNING is_ec2}), "f\nt", "$database: generated column");
	is($run->(q{SELECT matching_rules('{"source": "x", "detail": {"n": 1}}', 'clinic')}), 'on-clinic', "$database: rules");
	like($run->(q{SELECT put_rule('new', '{"source": ["z"]}')}), qr/rule\/new$/, "$database: a new rule");
	$run->(q{SELECT delete_rule('new')});
	$run->('TRUNCATE log');
	return;
}

my $original = contents('original');
like($original, qr/"é/, 'there is something to compare');
like($original, qr/^numbers\|50\|t$/m, 'numbers were used');

command_ok([ 'pg_dump', '-f', "$dir/plain.sql", '-d', $node->connstr('original') ], 'pg_dump');
command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-f', "$dir/plain.sql", '-d', $node->connstr('plain') ],
	'restored by psql');
is(contents('plain'), $original, 'plain dump: the same');

command_ok([ 'pg_dump', '-Fc', '-f', "$dir/custom", '-d', $node->connstr('original') ], 'pg_dump -Fc');
# Not with -j: pg_restore does not know in which order an extension's tables refer
# to one another.
command_ok([ 'pg_restore', '-e', '-d', $node->connstr('custom'), "$dir/custom" ], 'pg_restore');
is(contents('custom'), $original, 'custom dump: the same');

works($_) foreach qw(original plain custom);

# A dump of what was restored is the first one, but for the numbers used since.
command_ok([ 'pg_dump', '-f', "$dir/again.sql", '-d', $node->connstr('plain') ], 'pg_dump again');
my ($first, $again) = map { slurp_file("$dir/$_.sql") } qw(plain again);
s/^\\(un)?restrict .*//mg, s/^SELECT pg_catalog.setval.*//mg foreach $first, $again;
is($again, $first, 'the second dump equals the first');

# Binary COPY, of patterns alone, in arrays and in rows.
$node->safe_psql('original', qq{COPY rules TO '$dir/rules.copy' (FORMAT binary)});
is( $node->safe_psql(
		'original', qq{
		SET search_path = public, eventbridge;
		CREATE TABLE copied (LIKE rules);
		COPY copied FROM '$dir/rules.copy' (FORMAT binary);
		SELECT count(*) FROM rules r JOIN copied c USING (pattern) WHERE r IS NOT DISTINCT FROM c}),
	3, 'binary COPY');

# The extension is dropped only together with what uses it.
my ($status, $stdout, $stderr) = $node->psql('custom', 'DROP EXTENSION eventbridge');
isnt($status, 0, 'in use');
like($stderr, qr/cannot drop extension eventbridge because other objects depend on it/, 'in use, message');
$node->safe_psql('custom', 'DROP EXTENSION eventbridge CASCADE');
is($node->safe_psql('custom', q{SELECT count(*) FROM pg_proc WHERE probin = '$libdir/eventbridge'}), 0, 'dropped');
$node->safe_psql('custom', 'CREATE EXTENSION eventbridge');

$node->stop;
done_testing();
