#!/usr/bin/env bash
#
# Five minutes of load while a transaction holds an old snapshot.
#
# Two clients put events for a function and insert rows into a table whose stream
# a pipe reads, for another function; the background worker of their role serves
# both.  Nothing can be vacuumed meanwhile.  Shown are transactions per second,
# minute by minute (the last should reach nine tenths of the first), what waits at
# the end and how long it takes to deliver it, and what the extension's tables
# hold when all is delivered.  With fewer seconds: DURATION=60 test/bench/old_snapshot.sh
#
. "$(dirname "$0")/../tools/lib.sh"

duration=${DURATION:-300}
part=$((duration / 5))

need build test
build_and_install
make_scratch
start_cluster "shared_preload_libraries = 'eventbridge'" "eventbridge.log_retention = 0" \
	"shared_buffers = 1GB" "max_wal_size = 16GB" "checkpoint_timeout = 1h" "full_page_writes = off"
sql() { as_server psql -X -q -A -t -v ON_ERROR_STOP=1 "$@"; }

sql <<- 'SQL'
	CREATE EXTENSION eventbridge;
	SET search_path = public, eventbridge;
	CREATE TABLE event_calls (n integer);
	CREATE TABLE record_calls (n integer);
	CREATE TABLE appointments (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, note text);
	CREATE FUNCTION take_event(jsonb) RETURNS void LANGUAGE sql AS 'INSERT INTO public.event_calls VALUES (1)';
	CREATE FUNCTION take_records(jsonb) RETURNS void LANGUAGE sql AS 'INSERT INTO public.record_calls VALUES (jsonb_array_length($1))';
	DO $$
	BEGIN
		PERFORM put_rule('load', '{"source": ["load"]}'),
			put_targets('load', '[{"Id": "1", "Arn": "arn:aws:lambda:us-east-1:000000000000:function:take_event"}]'),
			create_pipe('load', enable_stream('appointments', 'NEW_IMAGE'), 'arn:aws:lambda:us-east-1:000000000000:function:take_records');
	END $$;
SQL
{
	echo "SELECT eventbridge.put_event('load', 'appointment', '{\"status\": \"booked\"}');"
	echo "INSERT INTO appointments (note) VALUES ('bring the x-ray');"
} > "$scratch/load.sql"
chmod a+r "$scratch/load.sql"

step "load for $duration s, an old snapshot held"
as_server psql -X -q -c "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM appointments; SELECT pg_sleep($duration + 3600)" \
	> "$scratch/snapshot.out" 2>&1 &
snapshot=$!
sleep 1
# transactions of five parts, each of two statements that commit
as_server pgbench -n -c 2 -T "$duration" -P "$part" -f "$scratch/load.sql" 2>&1 | grep '^progress'

waiting="SELECT coalesce(sum(waiting + in_flight + retrying + dead), 0) FROM eventbridge.delivery_status"
echo "waiting at the end: $(sql -c "$waiting") deliveries, $(sql -c 'SELECT (SELECT count(*) FROM appointments) - (SELECT coalesce(sum(n), 0) FROM record_calls)') records"
began=$SECONDS
until [ "$(sql -c "SELECT (SELECT count(*) FROM event_calls) >= (SELECT count(*) FROM appointments)
	AND (SELECT sum(n) FROM record_calls) >= (SELECT count(*) FROM appointments)")" = t ]; do
	[ $((SECONDS - began)) -lt 600 ] || die "not delivered after ten minutes"
	sleep 1
done
echo "all delivered $((SECONDS - began)) s later: $(sql -c "SELECT count(*) || ' events, ' || (SELECT sum(n) FROM record_calls) || ' records' FROM event_calls")"

# Two turns of the tables, by themselves, a second and a batch apart.
for _ in 1 2 3; do
	sleep 2
	sql -c "SELECT eventbridge.put_event('load', 'appointment', '{}')" -c "INSERT INTO appointments (note) VALUES ('x')" > "$scratch/out"
done
sleep 5
echo "tables, with the snapshot still held:"
as_server psql -X -P footer=off -c "SELECT regexp_replace(c.relname, '_[0-2]$', '') AS tables, pg_size_pretty(sum(pg_total_relation_size(c.oid))) AS size
	FROM pg_class AS c WHERE c.relnamespace = 'eventbridge'::regnamespace AND c.relkind = 'r'
	GROUP BY 1 ORDER BY sum(pg_total_relation_size(c.oid)) DESC LIMIT 8"
kill $snapshot 2> /dev/null || true
