# Change capture: what arrives at a listener, field by field.
use strict;
use warnings FATAL => 'all';

use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('stream');
$node->init;
$node->append_conf('postgresql.conf',
	'max_prepared_transactions = 2');
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION eventbridge');

my $json = JSON::PP->new->canonical;
my $region = 'us-east-1';
my $last_number = '0' x 21;

# Runs SQL in a session that listens to channel c; returns the payloads.
sub payloads
{
	my ($sql, %options) = @_;
	my ($stdout, $stderr) = ('', '');
	my $status = $node->psql(
		'postgres', "LISTEN c;\n$sql",
		stdout        => \$stdout,
		stderr        => \$stderr,
		on_error_stop => 0);
	# Some notices are expected; errors are not, unless asked for.
	unlike($stderr, qr/ERROR|FATAL|PANIC/, 'no error') unless $options{errors};
	like($stderr, $options{errors}, 'expected error') if $options{errors};
	my @payloads;
	push @payloads, $1
	  while $stdout =~
	  /^Asynchronous notification "c" with payload "(.*)" received from server process/mg;
	return @payloads;
}

# The records among them, checked for what differs from run to run, and
# without it.
sub records
{
	my @records;
	foreach my $payload (payloads(@_))
	{
		my $record = $json->decode($payload);
		my $dynamodb = $record->{dynamodb};
		my $number = delete $dynamodb->{SequenceNumber};
		my $time = delete $dynamodb->{ApproximateCreationDateTime};
		my $id = delete $record->{eventID};

		cmp_ok(length($payload), '<', 8000, 'fits a notification');
		like($id, qr/^[0-9a-f]{32}$/, 'eventID');
		like($number, qr/^[0-9]{21}$/, 'SequenceNumber');
		cmp_ok($number, 'gt', $last_number, 'SequenceNumber rises');
		$last_number = $number;
		cmp_ok(abs($time - time), '<', 120, 'ApproximateCreationDateTime');
		like($payload, qr/"ApproximateCreationDateTime":[0-9]+,/, 'a number');
		is(delete $record->{eventVersion}, '1.1', 'eventVersion');
		is(delete $record->{eventSource}, 'aws:dynamodb', 'eventSource');
		is(delete $record->{awsRegion}, $region, 'awsRegion');
		push @records, $record;
	}
	return @records;
}

# A record in brief: name, keys, images.
sub brief
{
	return map {
		my $d = $_->{dynamodb};
		join ' ', $_->{eventName}, map { "$_=" . $json->encode($d->{$_}) }
		  grep { exists $d->{$_} } qw(Keys NewImage OldImage);
	} records(@_);
}

sub make_table
{
	my ($columns, @arguments) = @_;
	my $arguments = join ', ', map { "\$a\$$_\$a\$" } 'notify=c', @arguments;
	$node->safe_psql(
		'postgres', qq{
		DROP TABLE IF EXISTS t CASCADE;
		CREATE TABLE t ($columns);
		CREATE TRIGGER s AFTER INSERT OR UPDATE OR DELETE ON t
			FOR EACH ROW EXECUTE FUNCTION eventbridge.stream($arguments);});
	return;
}

#
# The whole record, in all four view types.
#
my $old = { id => { N => '1' }, status => { S => 'NEW' } };
my $new = { id => { N => '1' }, status => { S => 'confirmed' } };
my %sizes = (
	KEYS_ONLY => [ 4, 4, 4 ],
	NEW_IMAGE => [ 4 + 13, 4 + 19, 4 ],
	OLD_IMAGE => [ 4, 4 + 13, 4 + 19 ],
	NEW_AND_OLD_IMAGES => [ 4 + 13, 4 + 13 + 19, 4 + 19 ]);

foreach my $view (qw(KEYS_ONLY NEW_IMAGE OLD_IMAGE NEW_AND_OLD_IMAGES))
{
	make_table('id int PRIMARY KEY, status text', "view_type=$view");
	my @records = records(
		q{INSERT INTO t VALUES (1, 'NEW');
		  UPDATE t SET status = 'confirmed';
		  DELETE FROM t;});
	my @expected = (
		[ 'INSERT', $view =~ /NEW/ ? (NewImage => $old) : () ],
		[
			'MODIFY',
			$view =~ /NEW/ ? (NewImage => $new) : (),
			$view =~ /OLD/ ? (OldImage => $old) : ()
		],
		[ 'REMOVE', $view =~ /OLD/ ? (OldImage => $new) : () ]);
	foreach my $i (0 .. 2)
	{
		my ($name, %images) = @{ $expected[$i] };
		# n + 2 for the id: its name has two bytes, a number of one digit two
		is_deeply(
			$records[$i],
			{
				eventName => $name,
				eventSourceARN =>
				  'arn:aws:dynamodb:us-east-1:000000000000:table/public.t/stream/s',
				dynamodb => {
					Keys => { id => { N => '1' } },
					%images,
					SizeBytes => $sizes{$view}[$i],
					StreamViewType => $view
				}
			},
			"$view: $name");
	}
	is(scalar @records, 3, "$view: no more records");
}

# The order of members is AWS's.
make_table('id int PRIMARY KEY, status text');
my ($payload) = payloads(
	q{SET client_min_messages = error; INSERT INTO t VALUES (1, 'a "quoted"');
	  DELETE FROM t WHERE id = 0;});
my $rest = $payload;
like(
	$payload,
	qr/^\{"eventID":".*?","eventName":"INSERT","eventVersion":"1\.1","eventSource":"aws:dynamodb","awsRegion":"us-east-1","dynamodb":\{"ApproximateCreationDateTime":\d+,"Keys":\{"id":\{"N":"1"\}\},"NewImage":\{"id":\{"N":"1"\},"status":\{"S":"a \\"quoted\\""\}\},"SequenceNumber":"\d+","SizeBytes":\d+,"StreamViewType":"NEW_AND_OLD_IMAGES"\},"eventSourceARN":"arn:[^"]+"\}$/,
	'order of members');

# SizeBytes as recorded on AWS.
make_table('id text PRIMARY KEY');
is((records(q{INSERT INTO t VALUES ('Fred')}))[0]{dynamodb}{SizeBytes}, 12, 'SizeBytes 12');
is((records(q{INSERT INTO t VALUES ('NewKey')}))[0]{dynamodb}{SizeBytes}, 16, 'SizeBytes 16');
make_table('id text PRIMARY KEY, attr1 text, attr2 text');
is((records(q{INSERT INTO t VALUES ('my-item-id', 'value1', 'value2')}))[0]{dynamodb}{SizeBytes},
	46, 'SizeBytes 46');
is((records(q{UPDATE t SET id = 'NewKey'}))[1]{dynamodb}{SizeBytes}, 38, 'SizeBytes 38');
# and worked out: N, BOOL, NULL, B, L, M, UTF-8
make_table('n numeric, b bool, z int, y bytea, l int[], m jsonb, "ü" text', 'view_type=NEW_IMAGE');
is( (records(q{INSERT INTO t VALUES (-1001.500, true, NULL, '\x000102', '{1,50}', '{"kä": null}', '€')}))[0]{dynamodb}{SizeBytes},
	(1 + 4) + (1 + 1) + (1 + 1) + (1 + 3) + (1 + 3 + 3 + 3) + (1 + 3 + 1 + 3 + 1) + (2 + 3),
	'SizeBytes of other types');

#
# What makes a record.
#
make_table('id int PRIMARY KEY, n numeric, j json, f float8, a int[], s text', 'view_type=KEYS_ONLY');
is_deeply(
	[ brief(q{INSERT INTO t VALUES (1, 1.0, '{"a": 1}', 0, '{1}', 'x'), (2, 1, NULL, 1, NULL, NULL);
		UPDATE t SET s = s;
		UPDATE t SET n = 1.00, j = '{ "a":1.0}', f = '-0', a = '[5:5]={1}' WHERE id = 1;}) ],
	[ map { qq(INSERT Keys={"id":{"N":"$_"}}) } 1, 2 ],
	'an update that changes no attribute value makes no record');
is_deeply(
	[ brief(q{UPDATE t SET n = n + 1 WHERE id = 1; UPDATE t SET n = n + 1 WHERE id = 2; UPDATE t SET s = NULL WHERE id = 1; UPDATE t SET j = '[]' WHERE id = 2;}) ],
	[ map { qq(MODIFY Keys={"id":{"N":"$_"}}) } 1, 2, 1, 2 ],
	'updates that do');
is_deeply(
	[ brief(q{UPDATE t SET id = 3 WHERE id = 1; DELETE FROM t WHERE id = 99; DELETE FROM t;}) ],
	[
		'REMOVE Keys={"id":{"N":"1"}}', 'INSERT Keys={"id":{"N":"3"}}',
		'REMOVE Keys={"id":{"N":"2"}}', 'REMOVE Keys={"id":{"N":"3"}}'
	],
	'an update of the key is a removal and an insertion');
is_deeply(
	[ brief(q{INSERT INTO t VALUES (1, 1) ON CONFLICT (id) DO UPDATE SET n = 5;
		INSERT INTO t VALUES (1, 1) ON CONFLICT (id) DO UPDATE SET n = 5;
		INSERT INTO t VALUES (1, 1) ON CONFLICT (id) DO UPDATE SET n = 5.0;
		INSERT INTO t VALUES (1, 1) ON CONFLICT DO NOTHING;}) ],
	[ 'INSERT Keys={"id":{"N":"1"}}', 'MODIFY Keys={"id":{"N":"1"}}' ],
	'ON CONFLICT');
is_deeply(
	[ brief(q{MERGE INTO t USING (VALUES (1), (2), (3)) AS v (id) ON t.id = v.id
			WHEN MATCHED THEN UPDATE SET n = 7
			WHEN NOT MATCHED AND v.id = 3 THEN DO NOTHING
			WHEN NOT MATCHED THEN INSERT (id) VALUES (v.id);
		MERGE INTO t USING (VALUES (1)) AS v (id) ON t.id = v.id WHEN MATCHED THEN DELETE;}) ],
	[ map { qq($$_[0] Keys={"id":{"N":"$$_[1]"}}) } [ MODIFY => 1 ], [ INSERT => 2 ], [ REMOVE => 1 ] ],
	'MERGE');
is_deeply([ brief(qq{COPY t (id, s) FROM stdin;\n10\ta\n11\tb\n\\.\n}) ],
	[ map { qq(INSERT Keys={"id":{"N":"$_"}}) } 10, 11 ], 'COPY');
is_deeply([ brief(q{TRUNCATE t}) ], [], 'TRUNCATE makes no record');
is_deeply(
	[ brief(q{BEGIN; INSERT INTO t (id) VALUES (1); SAVEPOINT s; INSERT INTO t (id) VALUES (2);
		ROLLBACK TO s; INSERT INTO t (id) VALUES (3); COMMIT;
		BEGIN; INSERT INTO t (id) VALUES (4); ROLLBACK;}) ],
	[ map { qq(INSERT Keys={"id":{"N":"$_"}}) } 1, 3 ],
	'what is rolled back sends nothing');
is_deeply(
	[ brief(q{SET session_replication_role = replica; INSERT INTO t (id) VALUES (20);
		ALTER TABLE t ENABLE ALWAYS TRIGGER s; INSERT INTO t (id) VALUES (21);}) ],
	['INSERT Keys={"id":{"N":"21"}}'],
	'a subscriber needs ENABLE ALWAYS');
payloads(
	q{BEGIN; INSERT INTO t (id) VALUES (30); PREPARE TRANSACTION 'x';},
	errors => qr/cannot PREPARE a transaction that has executed LISTEN, UNLISTEN, or NOTIFY/);

#
# Keys.
#
make_table('id int, b text, a text', 'view_type=KEYS_ONLY');
is_deeply([ brief(q{INSERT INTO t VALUES (1, 'b', 'a'); UPDATE t SET id = 2; DELETE FROM t;}) ],
	[ map { "$_ Keys={}" } qw(INSERT MODIFY REMOVE) ], 'a table without a key');
is_deeply(
	[ brief(q{ALTER TABLE t ALTER a SET NOT NULL, ALTER b SET NOT NULL; CREATE UNIQUE INDEX i ON t (a, b);
		ALTER TABLE t REPLICA IDENTITY USING INDEX i;
		INSERT INTO t VALUES (1, 'b', 'a'); UPDATE t SET id = 2; UPDATE t SET b = 'c';}) ],
	[
		map { "$$_[0] Keys=" . qq({"a":{"S":"a"},"b":{"S":"$$_[1]"}}) }[ INSERT => 'b' ],
		[ MODIFY => 'b' ], [ REMOVE => 'b' ], [ INSERT => 'c' ]
	],
	'replica identity index');
is_deeply([ brief(q{ALTER TABLE t ADD PRIMARY KEY (id); DELETE FROM t;}) ],
	['REMOVE Keys={"id":{"N":"2"}}'], 'the primary key goes before it');
like(
	(payloads(q{ALTER TABLE t DROP CONSTRAINT t_pkey, ADD PRIMARY KEY (b, a) DEFERRABLE; INSERT INTO t VALUES (1, 'b', 'a');}))[0],
	qr/"Keys":\{"b":\{"S":"b"\},"a":\{"S":"a"\}\}/,
	'keys stand in the order of the index');
is_deeply(
	[ brief(q{ALTER TABLE t DROP CONSTRAINT t_pkey; ALTER TABLE t REPLICA IDENTITY FULL; DELETE FROM t;}) ],
	['REMOVE Keys={}'], 'replica identity full is no key');

#
# Columns of all kinds.
#
make_table('id int PRIMARY KEY, gone text, g int GENERATED ALWAYS AS (id * 2) STORED, "a b.c" text', 'view_type=NEW_IMAGE');
is_deeply(
	[ brief(q{INSERT INTO t VALUES (1, 'x', DEFAULT, 'y'); ALTER TABLE t DROP gone; ALTER TABLE t ADD late text DEFAULT 'late';
		ALTER TABLE t RENAME "a b.c" TO c; UPDATE t SET c = 'z'; ALTER TABLE t ALTER c TYPE int USING 5; UPDATE t SET late = NULL;}) ],
	[
		'INSERT Keys={"id":{"N":"1"}} NewImage={"a b.c":{"S":"y"},"g":{"N":"2"},"gone":{"S":"x"},"id":{"N":"1"}}',
		'MODIFY Keys={"id":{"N":"1"}} NewImage={"c":{"S":"z"},"g":{"N":"2"},"id":{"N":"1"},"late":{"S":"late"}}',
		'MODIFY Keys={"id":{"N":"1"}} NewImage={"c":{"N":"5"},"g":{"N":"2"},"id":{"N":"1"},"late":{"NULL":true}}',
	],
	'generated, dropped, added, renamed, retyped columns within one session');
$node->safe_psql('postgres',
	q{CREATE TYPE mood AS ENUM ('happy'); CREATE TYPE pair AS (a int, m mood); CREATE DOMAIN tags AS text[]; CREATE DOMAIN pairs AS pair[];});
make_table('id int PRIMARY KEY, p pair, t tags, ps pairs, r tstzrange, b bytea, x xml', 'view_type=NEW_IMAGE');
is_deeply(
	[ brief(q{INSERT INTO t VALUES (1, '(1,happy)', '{a,NULL}', '{"(2,)"}', '[2024-01-01 00:00+00,)', '\xff', '<x/>');
		ALTER TYPE pair ADD ATTRIBUTE z text; UPDATE t SET r = NULL;}) ],
	[
		'INSERT Keys={"id":{"N":"1"}} NewImage={"b":{"B":"/w=="},"id":{"N":"1"},"p":{"M":{"a":{"N":"1"},"m":{"S":"happy"}}},"ps":{"L":[{"M":{"a":{"N":"2"},"m":{"NULL":true}}}]},"r":{"S":"[2024-01-01T00:00:00+00:00,)"},"t":{"L":[{"S":"a"},{"NULL":true}]},"x":{"S":"<x/>"}}',
		'MODIFY Keys={"id":{"N":"1"}} NewImage={"b":{"B":"/w=="},"id":{"N":"1"},"p":{"M":{"a":{"N":"1"},"m":{"S":"happy"},"z":{"NULL":true}}},"ps":{"L":[{"M":{"a":{"N":"2"},"m":{"NULL":true},"z":{"NULL":true}}}]},"r":{"NULL":true},"t":{"L":[{"S":"a"},{"NULL":true}]},"x":{"S":"<x/>"}}'
	],
	'composite types, domains, ranges');

#
# Values out of line, and messages that do not fit.
#
make_table('id int PRIMARY KEY, big text, n int', 'view_type=NEW_IMAGE',
	'filter={"dynamodb": {"NewImage": {"big": {"S": [{"prefix": "start"}]}}}}');
my @big = records(
	q{ALTER TABLE t ALTER big SET STORAGE EXTERNAL; INSERT INTO t VALUES (1, 'start' || repeat('x', 100000), 1), (2, 'other' || repeat('x', 100000), 1);
	  UPDATE t SET big = big; UPDATE t SET n = 2; UPDATE t SET big = 'start'; DELETE FROM t;});
is_deeply(
	[ map { [ $_->{claimCheck} ? 'claim' : 'record', $_->{eventName}, $_->{dynamodb}{SizeBytes} ] } @big ],
	[
		[ 'claim', 'INSERT', 4 + 4 + 3 + 100005 + 3 ],
		[ 'claim', 'MODIFY', 4 + 4 + 3 + 100005 + 3 ],
		[ 'record', 'MODIFY', 4 + 4 + 3 + 5 + 3 ],
		[ 'record', 'MODIFY', 4 + 4 + 3 + 5 + 3 ]
	],
	'TOASTed values are looked at, and do not fail the writer');
is_deeply(
	$big[0],
	{
		claimCheck => JSON::PP::true,
		eventName => 'INSERT',
		eventSourceARN => 'arn:aws:dynamodb:us-east-1:000000000000:table/public.t/stream/s',
		dynamodb => { Keys => { id => { N => '1' } }, SizeBytes => 100019, StreamViewType => 'NEW_IMAGE' }
	},
	'claim check');
make_table('id text PRIMARY KEY, big text');
is_deeply(
	[ map { [ $_->{claimCheck} ? 1 : 0, exists $_->{dynamodb}{Keys} ? 1 : 0, $_->{dynamodb}{SizeBytes} ] } records(
		q{INSERT INTO t VALUES ('a', repeat('€', 2600));
		  INSERT INTO t VALUES ('b', repeat('€', 2400));
		  ALTER TABLE t ALTER id SET STORAGE PLAIN; INSERT INTO t SELECT string_agg(md5(i::text), ''), repeat('x', 7000) FROM generate_series(1, 60) AS i;
		  INSERT INTO t VALUES ('c', repeat('y', 20000000));}) ],
	[
		[ 1, 1, 3 + 3 + 3 + 7800 ],
		[ 0, 1, 3 + 3 + 3 + 7200 ],
		[ 1, 1, 2 + 1920 + 2 + 1920 + 3 + 7000 ],
		[ 1, 1, 3 + 3 + 3 + 20000000 + 4 ]
	],
	'the limit, in bytes');
make_table('id text, big text');
$node->safe_psql('postgres', 'ALTER TABLE t ADD COLUMN k bytea; ALTER TABLE t ALTER k SET NOT NULL; CREATE UNIQUE INDEX ON t (k); ALTER TABLE t REPLICA IDENTITY USING INDEX t_k_idx');
is_deeply(
	[ map { [ $_->{claimCheck} ? 1 : 0, exists $_->{dynamodb}{Keys} ? 1 : 0 ] }
		records(q{INSERT INTO t VALUES ('a', repeat('x', 7000), decode(repeat('00', 20000), 'hex'))}) ],
	[ [ 1, 0 ] ],
	'keys that do not fit are left out');
# Every length around the limit arrives, whole or as claim check.
make_table('id int PRIMARY KEY, s text', 'view_type=NEW_IMAGE');
my @around = payloads(q{INSERT INTO t SELECT 10000 + n, repeat('x', n) FROM generate_series(7000, 8100) AS n});
is(scalar @around, 1101, 'messages around the limit all arrive');
my %lengths = map { length $_ => 1 } @around;
ok($lengths{7999}, 'the longest that fits is sent whole');
ok(!grep({ $_ > 7999 } keys %lengths), 'none is longer');
# Instead of content.
make_table('id int PRIMARY KEY, secret text', 'claim_check=on');
is_deeply([ map { $_->{claimCheck} . ' ' . $json->encode($_->{dynamodb}) } records(q{INSERT INTO t VALUES (1, 'x')}) ],
	['1 {"Keys":{"id":{"N":"1"}},"SizeBytes":15,"StreamViewType":"NEW_AND_OLD_IMAGES"}'], 'claim_check=on');

#
# The columns that an update changed: a member that AWS's records do not have,
# only where it is asked for.
#
make_table('id int PRIMARY KEY, a text, b json', 'changed=on', 'view_type=KEYS_ONLY', 'filter={"changed": ["a", "id"]}');
is_deeply(
	[ records(q{INSERT INTO t VALUES (1, 'x', '[1]'); UPDATE t SET b = '[2]'; UPDATE t SET a = 'x', b = '[ 2 ]'; UPDATE t SET a = 'y', b = '[ 3 ]';
		UPDATE t SET id = 2, a = 'z';}) ],
	[
		{
			eventName => 'MODIFY',
			eventSourceARN => 'arn:aws:dynamodb:us-east-1:000000000000:table/public.t/stream/s',
			dynamodb => { Keys => { id => { N => '1' } }, SizeBytes => 4, StreamViewType => 'KEYS_ONLY' },
			changed => [ 'a', 'b' ]
		}
	],
	'changed=on');
make_table('id int PRIMARY KEY, a text', 'changed=on', 'input_path=$.changed');
is_deeply([ map { s/\s+\z//r } payloads(q{BEGIN; INSERT INTO t VALUES (1); UPDATE t SET a = 'x'; COMMIT}) ],
	[ '""', '["a"]' ], 'of a transformed record');
make_table('id int PRIMARY KEY, a text', 'changed=on', 'claim_check=on');
is_deeply([ map { $_->{changed} } records(q{INSERT INTO t VALUES (1); UPDATE t SET a = 'x'}) ], [ undef, ['a'] ], 'of a claim check');
make_table('id int PRIMARY KEY, a text', 'filter={"userIdentity": {"type": ["Service"]}}');
is_deeply(
	[ map { [ $_->{eventName}, $_->{dynamodb}{Keys}{id}{N}, $_->{userIdentity} ] }
		records(q{INSERT INTO t VALUES (1), (2), (3); DELETE FROM t WHERE id = 1; SET eventbridge.time_to_live = on; UPDATE t SET a = 'x'; DELETE FROM t WHERE id = 2;
		RESET eventbridge.time_to_live; DELETE FROM t;}) ],
	[ [ 'REMOVE', 2, { type => 'Service', principalId => 'dynamodb.amazonaws.com' } ] ],
	'rows that have expired');
my @columns = map { 'c' x 55 . $_ } 1000 .. 1199;
make_table('id int PRIMARY KEY, ' . join(', ', map { "$_ int" } @columns), 'changed=on');
is_deeply(
	[
		map { [ $_->{claimCheck} ? 1 : 0, exists $_->{dynamodb}{Keys} ? 1 : 0, exists $_->{changed} ? scalar @{ $_->{changed} } : 0 ] }
		  records(q{INSERT INTO t VALUES (1); UPDATE t SET } . join(', ', map { "$_ = 1" } @columns[ 0 .. 99 ])
			  . '; UPDATE t SET ' . join(', ', map { "$_ = 2" } @columns) )
	],
	[ [ 1, 1, 0 ], [ 1, 1, 100 ], [ 1, 0, 0 ] ],
	'names of columns that do not fit are left out');

#
# Filters.
#
make_table(
	'id int PRIMARY KEY, status text, n numeric, tags text[], j jsonb',
	'filter={"eventName": ["INSERT"], "dynamodb": {"NewImage": {"status": {"S": ["NEW"]}}}}',
	'filter={"eventName": ["MODIFY"], "dynamodb": {"OldImage": {"n": {"N": ["1"]}}, "NewImage": {"n": {"N": ["2"]}}}}',
	'filter={"dynamodb": {"Keys": {"id": {"N": ["99"]}}}}',
	'filter={"dynamodb": {"NewImage": {"j": {"M": {"a": {"L": {"S": ["deep"]}}}}}}}');
is_deeply(
	[ map { s/ .*"id":\{"N":"(\d+)".*/ $1/r } brief(q{
		INSERT INTO t VALUES (1, 'NEW', 1), (2, 'OLD', 1), (99, 'OLD', 1), (3, NULL, NULL);
		INSERT INTO t VALUES (4, 'x', 1, '{}', '{"a": ["shallow", "deep"]}');
		UPDATE t SET status = 'NEW';
		UPDATE t SET n = n + 1;
		DELETE FROM t;}) ],
	[
		'INSERT 1', 'INSERT 99', 'INSERT 4', 'MODIFY 99', 'MODIFY 4',
		'MODIFY 1', 'MODIFY 2', 'MODIFY 99', 'MODIFY 4', 'REMOVE 99'
	],
	'filters are ORed, and see old and new row');
my %filters = (
	'{"eventName": [{"prefix": "INS"}]}' => 'INSERT',
	'{"eventName": [{"anything-but": "INSERT"}]}' => 'MODIFY REMOVE',
	'{"$or": [{"eventName": ["REMOVE"]}, {"dynamodb": {"NewImage": {"s": {"S": ["b"]}}}}]}' => 'MODIFY REMOVE',
	'{"dynamodb": {"NewImage": {"s": {"S": [{"exists": true}]}}}}' => 'INSERT MODIFY',
	'{"dynamodb": {"NewImage": {"s": {"S": [{"exists": false}]}}}}' => 'REMOVE',
	'{"dynamodb": {"OldImage": [{"exists": false}]}}' => 'INSERT MODIFY REMOVE',
	'{"dynamodb": {"NewImage": {"s": ["a"]}}}' => '',
	'{"dynamodb": {"NewImage": {"absent": {"S": [{"exists": false}]}}}, "eventName": ["MODIFY"]}' => 'MODIFY',
	'{"eventSource": ["aws:dynamodb"], "awsRegion": ["us-east-1"], "eventVersion": ["1.1"]}' => 'INSERT MODIFY REMOVE',
	'{"eventSource": ["aws:s3"]}' => '',
	'{"eventSourceARN": [{"suffix": "table/public.t/stream/s"}]}' => 'INSERT MODIFY REMOVE',
	'{"userIdentity": {"type": [{"exists": false}]}}' => 'INSERT MODIFY REMOVE',
	'{"userIdentity": {"type": ["Service"]}}' => '',
	'{"eventID": [{"exists": true}], "dynamodb": {"SequenceNumber": [{"prefix": "0"}]}}' => 'INSERT MODIFY REMOVE',
	'{"eventID": [{"exists": false}]}' => '',
	'{"dynamodb": {"SizeBytes": [{"numeric": [">", 10]}]}}' => 'MODIFY',
	'{"dynamodb": {"ApproximateCreationDateTime": [{"numeric": [">", 1700000000]}]}}' => 'INSERT MODIFY REMOVE',
	'{"dynamodb": {"StreamViewType": ["NEW_AND_OLD_IMAGES"]}}' => 'INSERT MODIFY REMOVE',
	'{"dynamodb.NewImage.s.S": ["a"]}' => 'INSERT',
	'{"eventName": ["INSERT", "REMOVE"], "$or": [{"dynamodb": {"OldImage": {"s": {"S": ["b"]}}}}, {"dynamodb": {"NewImage": {"s": {"S": ["a"]}}}}]}' => 'INSERT REMOVE');
foreach my $filter (sort keys %filters)
{
	make_table('id int PRIMARY KEY, s text', "filter=$filter");
	is( join(' ',
			map { $_->{eventName} } records(
				q{INSERT INTO t VALUES (1, 'a'); UPDATE t SET s = 'b'; DELETE FROM t;})),
		$filters{$filter}, $filter);
}
# A filter sees the record of its view type, not the row.
make_table('id int PRIMARY KEY, s text', 'view_type=KEYS_ONLY',
	'filter={"dynamodb": {"NewImage": {"s": {"S": ["a"]}}}}');
is_deeply([ payloads(q{INSERT INTO t VALUES (1, 'a')}) ], [], 'a filter on an image that is not shown');

#
# Equal changes all arrive.
#
make_table('a int', 'view_type=NEW_IMAGE');
is(scalar(payloads(q{INSERT INTO t SELECT 1 FROM generate_series(1, 1000)})), 1000, 'equal records all arrive');
make_table('id int, a text', 'input_path=$.dynamodb.NewImage.a.S');
my @paths = payloads(q{INSERT INTO t SELECT 1, 'x' FROM generate_series(1, 1000); DELETE FROM t WHERE ctid = '(0,1)';});
is(scalar @paths, 1001, 'equal messages all arrive');
is($paths[0], '"x"', 'the first without addition');
is(scalar(grep { /^"x"[ \t]*$/ } @paths), 1000, 'the others with blanks');
is($paths[1000], '""', 'a path that leads to nothing');

#
# Templates.
#
make_table(
	'id int PRIMARY KEY, patient text, j jsonb', 'view_type=NEW_IMAGE',
	'input_paths_map={"id": "$.dynamodb.Keys.id.N", "patient": "$.dynamodb.NewImage.patient.S", "image": "$.dynamodb.NewImage"}',
	'input_template={"text": "appointment <id> of <patient>", "image": <image>}');
is_deeply(
	[ map { $json->encode($json->decode($_)) } payloads(q{INSERT INTO t VALUES (1, 'Ann "A" B', NULL), (2, 'Bob', '1')}) ],
	[
		q({"image":{"id":{"N":"1"},"j":{"NULL":true},"patient":{"S":"Ann \"A\" B"}},"text":"appointment 1 of Ann \"A\" B"}),
		q({"image":{"id":{"N":"2"},"j":{"N":"1"},"patient":{"S":"Bob"}},"text":"appointment 2 of Bob"})
	],
	'template');
make_table('id int PRIMARY KEY, j jsonb', 'view_type=NEW_IMAGE',
	'input_paths_map={"j": "$.dynamodb.NewImage.j.M"}', 'input_template={"j": "<j>"}');
is_deeply(
	[ map { $json->decode($_)->{claimCheck} ? 'claim' : $_ } payloads(
			q{BEGIN; INSERT INTO t VALUES (1, '1'); INSERT INTO t VALUES (2, '{"a": 1}'); INSERT INTO t VALUES (3, '1'); COMMIT;},
			errors => qr/WARNING:  a record could not be transformed, a claim check is sent in its place\nDETAIL:  value of placeholder "j" inside a JSON string is an object$/m) ],
	[ '{"j": ""}', 'claim', '{"j": ""} ' ],
	'a record that cannot be transformed becomes a claim check');
make_table('id int PRIMARY KEY, s text', 'input_template="<s>"', 'input_paths_map={"s": "$.dynamodb.NewImage.s.S"}');
is((map { $json->decode($_)->{claimCheck} ? 'claim' : 'text' } payloads(q{INSERT INTO t VALUES (1, repeat('x', 9000))}))[0],
	'claim', 'a transformed message that does not fit');
is((map { length } payloads(q{INSERT INTO t VALUES (2, repeat('x', 7000))}))[0], 7002, 'and one that does');

#
# Partitions, inheritance, foreign keys.
#
$node->safe_psql('postgres', q{
	DROP TABLE t;
	CREATE TABLE p (id int, region text, s text, PRIMARY KEY (id, region)) PARTITION BY LIST (region);
	CREATE TABLE p_eu PARTITION OF p FOR VALUES IN ('eu');
	CREATE TABLE p_us (s text, dropped int, region text NOT NULL, id int NOT NULL);
	ALTER TABLE p_us DROP dropped;
	CREATE TRIGGER s AFTER INSERT OR UPDATE OR DELETE ON p FOR EACH ROW
		EXECUTE FUNCTION eventbridge.stream('notify=c', 'filter={"dynamodb": {"Keys": {"id": {"N": ["1"]}}}}');
	ALTER TABLE p ATTACH PARTITION p_us FOR VALUES IN ('us');});
my @partition = records(q{INSERT INTO p VALUES (1, 'eu', 'a'), (2, 'eu', 'a'); UPDATE p SET s = 'b';
	UPDATE p SET region = 'us'; UPDATE p SET s = 'c'; DELETE FROM p_us; INSERT INTO p_us (id, region, s) VALUES (1, 'us', 'd');});
is(join(' ', map { $_->{eventName} } @partition), 'INSERT MODIFY REMOVE INSERT MODIFY REMOVE INSERT',
	'a row that moves to another partition is removed and inserted');
is(scalar(grep { $_->{eventSourceARN} =~ m{table/public\.p/stream/s$} } @partition), 7, 'the stream is the parent\'s');
is_deeply($partition[3]{dynamodb}{NewImage}, { id => { N => '1' }, region => { S => 'us' }, s => { S => 'b' } },
	'a partition with columns in another order');
is((records(q{INSERT INTO p VALUES (1, 'eu', 'x'); ALTER TABLE p RENAME TO q; UPDATE q SET s = 'y' WHERE region = 'eu';}))[1]{eventSourceARN},
	'arn:aws:dynamodb:us-east-1:000000000000:table/public.q/stream/s', 'the parent is renamed');
is((records(q{CREATE SCHEMA "a ""b"; ALTER TABLE q SET SCHEMA "a ""b"; UPDATE "a ""b".q SET s = 'z' WHERE region = 'eu';
		ALTER SCHEMA "a ""b" RENAME TO c; UPDATE c.q SET s = 'a' WHERE region = 'eu';}))[1]{eventSourceARN},
	'arn:aws:dynamodb:us-east-1:000000000000:table/c.q/stream/s', 'the schema is renamed');
$region = 'eu-central-1';
is((records(q{SET eventbridge.region = 'eu-central-1'; SET eventbridge.account_id = '123456789012'; UPDATE c.q SET s = 'b' WHERE region = 'eu';}))[0]{eventSourceARN},
	'arn:aws:dynamodb:eu-central-1:123456789012:table/c.q/stream/s', 'region and account');
$region = 'us-east-1';

$node->safe_psql('postgres', q{
	CREATE TABLE parent (id int PRIMARY KEY);
	CREATE TABLE child (id int PRIMARY KEY, parent int REFERENCES parent ON DELETE CASCADE ON UPDATE CASCADE);
	CREATE TRIGGER s AFTER INSERT OR UPDATE OR DELETE ON child FOR EACH ROW EXECUTE FUNCTION eventbridge.stream('notify=c');
	CREATE TABLE late (id int PRIMARY KEY, s text);
	CREATE CONSTRAINT TRIGGER s AFTER INSERT OR UPDATE OR DELETE ON late DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
		EXECUTE FUNCTION eventbridge.stream('notify=c', 'filter={"eventName": ["INSERT"]}');});
is_deeply(
	[ brief(q{INSERT INTO parent VALUES (1); INSERT INTO child VALUES (5, 1); UPDATE parent SET id = 2; DELETE FROM parent;}) ],
	[
		'INSERT Keys={"id":{"N":"5"}} NewImage={"id":{"N":"5"},"parent":{"N":"1"}}',
		'MODIFY Keys={"id":{"N":"5"}} NewImage={"id":{"N":"5"},"parent":{"N":"2"}} OldImage={"id":{"N":"5"},"parent":{"N":"1"}}',
		'REMOVE Keys={"id":{"N":"5"}} OldImage={"id":{"N":"5"},"parent":{"N":"2"}}'
	],
	'actions of a foreign key');
is_deeply([ brief(q{BEGIN; INSERT INTO late VALUES (1, 'a'); UPDATE late SET s = 'b'; INSERT INTO late VALUES (2, 'b'); COMMIT;}) ],
	[ map { qq(INSERT Keys={"id":{"N":"$$_[0]"}} NewImage={"id":{"N":"$$_[0]"},"s":{"S":"$$_[1]"}}) } [ 1, 'a' ], [ 2, 'b' ] ],
	'a deferred trigger');
is_deeply(
	[ brief(q{CREATE TEMP TABLE tt (id int PRIMARY KEY);
		CREATE TRIGGER s AFTER INSERT ON tt FOR EACH ROW EXECUTE FUNCTION eventbridge.stream('notify=c', 'view_type=KEYS_ONLY');
		INSERT INTO tt VALUES (1); DROP TABLE tt;
		CREATE TEMP TABLE tt (id text PRIMARY KEY);
		CREATE TRIGGER s AFTER INSERT ON tt FOR EACH ROW EXECUTE FUNCTION eventbridge.stream('notify=c', 'view_type=KEYS_ONLY');
		INSERT INTO tt VALUES (1);}) ],
	[ 'INSERT Keys={"id":{"N":"1"}}', 'INSERT Keys={"id":{"S":"1"}}' ],
	'a temporary table, dropped and made again');

# A role that may write to the table needs no other right.
$node->safe_psql('postgres', q{CREATE ROLE writer; CREATE TABLE o (id int PRIMARY KEY); GRANT INSERT ON o TO writer;
	CREATE TRIGGER s AFTER INSERT ON o FOR EACH ROW EXECUTE FUNCTION eventbridge.stream('notify=c', 'input_path=$.dynamodb.Keys');});
is_deeply([ payloads(q{SET ROLE writer; SET search_path = ''; INSERT INTO public.o VALUES (1);}) ],
	['{"id":{"N":"1"}}'], 'a role without further rights');

$node->stop;
done_testing();
