# A stream of a table that logical replication writes to: what is applied is
# captured, the initial copy included; what is rolled back is not.
use strict;
use warnings FATAL => 'all';

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $publisher = PostgreSQL::Test::Cluster->new('publisher');
$publisher->init(allows_streaming => 'logical');
$publisher->start;
my $subscriber = PostgreSQL::Test::Cluster->new('subscriber');
$subscriber->init(allows_streaming => 'logical');
$subscriber->start;

$publisher->safe_psql('postgres', <<'SQL');
CREATE TABLE items (id int PRIMARY KEY, v text);
INSERT INTO items VALUES (1, 'first');
CREATE PUBLICATION p FOR TABLE items;
SQL
$subscriber->safe_psql('postgres', <<'SQL');
CREATE EXTENSION eventbridge;
CREATE TABLE items (id int PRIMARY KEY, v text);
SELECT eventbridge.enable_stream('items', 'NEW_IMAGE', '1 day');
SQL
my $connection = $publisher->connstr . ' dbname=postgres';
$subscriber->safe_psql('postgres', "CREATE SUBSCRIPTION s CONNECTION '$connection' PUBLICATION p");
$subscriber->wait_for_subscription_sync($publisher, 's');

$publisher->safe_psql('postgres', <<'SQL');
BEGIN;
INSERT INTO items VALUES (2, 'second');
SAVEPOINT a;
INSERT INTO items VALUES (3, 'third');
ROLLBACK TO a;
UPDATE items SET v = 'changed';
COMMIT;
UPDATE items SET v = 'changed';
DELETE FROM items WHERE id = 1;
INSERT INTO items VALUES (4, 'fourth');
TRUNCATE items;
SQL
$publisher->wait_for_catchup('s');

is( $subscriber->safe_psql('postgres', <<'SQL'), <<'RECORDS' =~ s/\n\z//r, 'what was applied is captured');
SELECT record ->> 'eventName', record #>> '{dynamodb,Keys,id,N}', record #>> '{dynamodb,NewImage,v,S}'
FROM eventbridge.get_records('items');
SQL
INSERT|1|first
INSERT|2|second
MODIFY|1|changed
MODIFY|2|changed
REMOVE|1|
INSERT|4|fourth
RECORDS
is($subscriber->safe_psql('postgres', 'SELECT count(*) FROM items'), '0', 'TRUNCATE has come, and made no record');

$subscriber->safe_psql('postgres', 'DROP SUBSCRIPTION s');
$subscriber->stop;
$publisher->stop;
done_testing();
