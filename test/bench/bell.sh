#!/usr/bin/env bash
#
# What it costs writers that somebody is told of their work, and how soon that is.
#
# Eight writers, each transaction a row of their own table and:
#	nothing			the plain insert
#	pg_notify		a notification
#	outbox			a row of a hand-written outbox, which nobody reads; the detail is
#					a parameter, here and for events
#	outbox_trigger	the same by a trigger on their table, in PL/pgSQL; the detail is
#					the row
#	latch			a matched event, put by put_event; the background worker delivers
#					it to a function that does nothing: the outbox has no reader either
#	latch_insert	the same, but the function inserts a row
#	latch_trigger	as latch, by a trigger on their table, put_row_event
#	notify			as latch, but eventbridge-worker, which listens, delivers
#	notify_trigger	as latch_trigger, in the same way
# A busy machine changes its pace from second to second, so all writers are there
# all the time, warm, and stopped by a signal but for those whose turn it is: half
# a second each, in a random order, many times.  Commits are counted by the numbers
# of the rows.  A variant is compared with the outbox, what triggers do with the
# outbox that a trigger writes: all commits of the one with all of the other.  Those
# that are shown for completeness have a turn in each fourth round only.
# What the writers write stays, so that the outbox grows as the log does.  The
# worker of a bell is there all the time, and sleeps while others are measured.
#
# Before all that, with one writer and an idle server: the time from put_event,
# before the commit, to the call of the function.  And after it, how long the worker
# takes, when eight writers have put events for some seconds and end, until all is
# delivered.
#
. "$(dirname "$0")/../tools/lib.sh"

seconds=${SECONDS_PER_ROUND:-0.5}
rounds=${ROUNDS:-80}

need build test
build_and_install
make_scratch
start_cluster "max_connections = 100" "shared_preload_libraries = 'eventbridge'" "shared_buffers = 1GB" "min_wal_size = 2GB" "max_wal_size = 16GB" \
	"checkpoint_timeout = 1h" "full_page_writes = off" "jit = off"
sql() { as_server psql -X -q -A -t -v ON_ERROR_STOP=1 "$@"; }

# A server that has run for a while has touched its shared buffers, and recycles
# its WAL.  A new one pays for that by the byte.
sql <<- 'SQL'
	CREATE TABLE warm (filling text);
	INSERT INTO warm SELECT repeat('x', 1900) FROM generate_series(1, 400000);
	DROP TABLE warm;
	CHECKPOINT;
SQL

sql <<- 'SQL'
	CREATE EXTENSION eventbridge;
	SET search_path = public, eventbridge;
	CREATE TABLE appointments (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, note text, status text, at timestamptz DEFAULT now());
	CREATE TABLE with_outbox (LIKE appointments INCLUDING ALL);
	CREATE TABLE with_event (LIKE appointments INCLUDING ALL);
	CREATE TABLE outbox (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, source text NOT NULL, detail_type text NOT NULL,
		detail jsonb NOT NULL, at timestamptz NOT NULL DEFAULT now());
	CREATE FUNCTION put_into_outbox() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		INSERT INTO public.outbox (source, detail_type, detail) VALUES ('bench', 'appointment', to_jsonb(NEW));
		RETURN NULL;
	END $$;
	CREATE TRIGGER outbox AFTER INSERT ON with_outbox FOR EACH ROW EXECUTE FUNCTION put_into_outbox();
	CREATE TRIGGER event AFTER INSERT ON with_event FOR EACH ROW
		EXECUTE FUNCTION put_row_event('source=bench', 'detail_type=appointment');
	CREATE TABLE call (latency interval);
	CREATE TABLE result (round integer, variant text, tps float8);
	CREATE FUNCTION take(event jsonb) RETURNS void LANGUAGE sql AS
		$$INSERT INTO public.call VALUES (clock_timestamp() - (event #>> '{detail,at}')::timestamptz)$$;
	CREATE FUNCTION take_no_notice(event jsonb) RETURNS void LANGUAGE plpgsql AS $$BEGIN END$$;
	DO $$
	BEGIN
		PERFORM put_rule('bench', '{"source": ["bench"], "detail": {"status": ["booked"]}}');
	END $$;
SQL

# target FUNCTION: has the events delivered to it
target()
{
	sql -c "SELECT eventbridge.put_targets('bench',
		'[{\"Id\": \"1\", \"Arn\": \"arn:aws:lambda:us-east-1:000000000000:function:$1\"}]')" > "$scratch/out"
}

# delivered: how many events have been, since the beginning
delivered()
{
	sql -c 'SELECT coalesce(sum("SuccessfulInvocationAttempts"), 0) FROM eventbridge.rule_metrics WHERE minute IS NULL'
}

# script NAME TABLE [STATEMENT]: a transaction that inserts into the table
script()
{
	printf 'BEGIN;\nINSERT INTO %s (note, status) VALUES (%s);\n%s\nCOMMIT;\n' "$2" "'bring the x-ray', 'booked'" "${3:-}" \
		> "$scratch/$1.sql"
	chmod a+r "$scratch/$1.sql"
}
script nothing appointments
script pg_notify appointments "SELECT pg_notify('bench', 'booked ' || :client_id || ' ' || random());"
script outbox appointments "INSERT INTO outbox (source, detail_type, detail) VALUES ('bench', 'appointment', :detail);"
script outbox_trigger with_outbox
script event appointments "SELECT eventbridge.put_event('bench', 'appointment', :detail);"
script event_trigger with_event

# End eventbridge-worker and the writers, if they are there, also when a command has
# failed.
worker=
stop_worker()
{
	[ "$worker" ] || return 0
	pkill -TERM -P "$worker" || kill -TERM "$worker" || true
	wait "$worker" || true
	worker=
}
declare -A writers=() jobs=()
end_writers()
{
	local script
	for script in "${!writers[@]}"; do
		kill -KILL "${writers[$script]}" || true
		wait "${jobs[$script]}" || true
	done
	writers=() jobs=()
} 2> /dev/null
trap 'stop_worker; end_writers; remove_scratch' EXIT

# with_bell latch|notify COMMAND...: runs it while the background worker delivers,
# or eventbridge-worker
with_bell()
{
	local bell=$1
	shift
	sql -c "ALTER SYSTEM SET eventbridge.bell = $bell" \
		-c "ALTER SYSTEM SET eventbridge.background_workers = $([ "$bell" = latch ] && echo on || echo off)" \
		-c "SELECT pg_reload_conf()" > "$scratch/out"
	if [ "$bell" = notify ]; then
		as_server "$top/eventbridge-worker" run --in-database > "$scratch/worker.log" 2>&1 &
		worker=$!
	fi
	sleep 1
	"$@"
	stop_worker
}

# script_of VARIANT: the name of what its writers run
script_of()
{
	local script=${1%_insert}
	script=${script/#latch/event}
	echo "${script/#notify/event}"
}

# write SCRIPT SECONDS: eight writers
write()
{
	as_server pgbench -n -M prepared -c 8 -j 2 -T "$2" -D 'detail={"status": "booked", "at": null}' \
		-f "$scratch/$1.sql" > "$scratch/$1.log" 2>&1
}

# start_writers SCRIPT: they warm up, and are stopped
start_writers()
{
	write "$1" 86400 &
	jobs[$1]=$!
	sleep 2
	writers[$1]=$(pgrep -f "^pgbench .*$scratch/$1.sql") || { cat "$scratch/$1.log" >&2; die "pgbench failed"; }
	kill -STOP "${writers[$1]}"
}

# commits: how many there have been, but for some that are still to come
commits()
{
	sql -c "SELECT sum(last_value) FROM (SELECT last_value FROM appointments_id_seq UNION ALL
		SELECT last_value FROM with_outbox_id_seq UNION ALL SELECT last_value FROM with_event_id_seq) AS s"
}

# turn NUMBER VARIANT: commits per second of its writers
turn()
{
	local writer function=take_no_notice before began ended
	writer=${writers[$(script_of "$2")]}
	[ "${2%_insert}" = "$2" ] || function=take
	target $function
	before=$(commits)
	began=$(date +%s%N)
	kill -CONT "$writer"
	sleep "$seconds"
	kill -STOP "$writer"
	ended=$(date +%s%N)
	sql -c "INSERT INTO result VALUES ($1, '$2', 1e9 * ($(commits) - $before) / ($ended - $began))"
	# for the worker, which may be behind
	sleep 0.2
}

# behind BELL: how long it takes, after eight writers, until all is delivered
behind()
{
	local expected began
	target take
	expected=$(delivered)
	write event 5 || { cat "$scratch/event.log" >&2; die "pgbench failed"; }
	began=$(date +%s%N)
	expected=$((expected + $(sed -n 's/^number of transactions actually processed: \([0-9]*\).*/\1/p' "$scratch/event.log")))
	while [ "$(delivered)" -lt "$expected" ]; do
		sleep 0.02
	done
	echo "until all was delivered after eight writers had ended, bell $1: $((($(date +%s%N) - began) / 1000000)) ms"
}

# latencies BELL: the first event, which may start the worker, does not count
latencies()
{
	target take
	sql -c "SELECT eventbridge.put_event('bench', 'appointment', '{\"status\": \"booked\"}')" > "$scratch/out"
	while [ "$(sql -c "SELECT count(*) FROM call")" = 0 ]; do
		sleep 0.05
	done
	sql -c "TRUNCATE call"
	sql <<- 'SQL'
		DO $$
		BEGIN
			FOR i IN 1 .. 300 LOOP
				PERFORM eventbridge.put_event('bench', 'appointment', jsonb_build_object('status', 'booked', 'at', clock_timestamp()));
				COMMIT;
				PERFORM pg_sleep(0.03);
				COMMIT;
			END LOOP;
		END $$;
	SQL
	sleep 1
	sql -c "SELECT format('from put_event to the call, bell %s: median %s ms, 99th percentile %s ms, of %s', '$1',
		round(1000 * extract(epoch FROM percentile_disc(0.5) WITHIN GROUP (ORDER BY latency)), 2),
		round(1000 * extract(epoch FROM percentile_disc(0.99) WITHIN GROUP (ORDER BY latency)), 2), count(*)) FROM call"
	sql -c "TRUNCATE call"
}

# measure BELL VARIANT...: the variants beside the outbox, and the worker's end
measure()
{
	local bell=$1 number variant
	shift
	set -- outbox outbox_trigger "$@"
	for variant in "$@"; do
		[ "${writers[$(script_of "$variant")]:-}" ] || start_writers "$(script_of "$variant")"
	done
	for number in $(seq "$rounds"); do
		for variant in $(shuf -e "$@"); do
			case $variant in
				nothing | pg_notify | *_insert) [ $((number % 4)) = 0 ] || continue ;;
			esac
			turn "$number" "$variant"
		done
	done
	end_writers
	as_server psql -X -P footer=off <<- 'SQL'
		WITH mean AS (SELECT variant, avg(tps)::numeric AS tps FROM result GROUP BY variant)
		SELECT m.variant, round(m.tps) AS commits_per_s, round(m.tps / o.tps, 2) AS of_outbox
		FROM mean AS m JOIN mean AS o
			ON o.variant = CASE WHEN m.variant LIKE '%_trigger' THEN 'outbox_trigger' ELSE 'outbox' END
		ORDER BY 2 DESC;
	SQL
	sleep 1
	behind "$bell"
	sql -c "TRUNCATE call, result"
}

with_bell latch latencies latch
with_bell notify latencies notify
with_bell latch measure latch nothing pg_notify latch latch_insert latch_trigger
with_bell notify measure notify notify notify_trigger
