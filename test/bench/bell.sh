#!/usr/bin/env bash
#
# What it costs writers that somebody is told of their work, and how soon that is.
#
# Eight writers, each transaction a row of their own table and:
#	nothing			the plain insert
#	pg_notify		a notification
#	outbox			a row of a hand-written outbox, which nobody reads; the detail is
#					a parameter, here and for events
#	latch			a matched event; the background worker delivers it to a function
#	notify			the same; eventbridge-worker, which listens, delivers it
# Commits per second and how long it takes after the last commit until all is
# delivered.  Rounds are short and many, since a busy machine changes its pace
# from second to second: a variant is compared with the outbox of the same round,
# and what is shown are medians.  The first round warms up.  The worker of a bell
# is there all the time, and sleeps while others are measured.  Then, with one
# writer and an idle server, the time from put_event, before the commit, to the
# call of the function.
#
. "$(dirname "$0")/../tools/lib.sh"

seconds=${SECONDS_PER_ROUND:-2}
rounds=${ROUNDS:-16}

need build test
build_and_install
make_scratch
start_cluster "shared_preload_libraries = 'eventbridge'" "shared_buffers = 1GB" "min_wal_size = 2GB" "max_wal_size = 16GB" \
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
	CREATE TABLE appointments (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, note text, at timestamptz DEFAULT now());
	CREATE TABLE outbox (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, source text NOT NULL, detail_type text NOT NULL,
		detail jsonb NOT NULL, at timestamptz NOT NULL DEFAULT now());
	CREATE TABLE call (latency interval);
	CREATE TABLE result (round integer, variant text, tps float8, behind float8);
	CREATE FUNCTION take(event jsonb) RETURNS void LANGUAGE sql AS
		$$INSERT INTO public.call VALUES (clock_timestamp() - (event #>> '{detail,at}')::timestamptz)$$;
	DO $$
	BEGIN
		PERFORM put_rule('bench', '{"source": ["bench"], "detail": {"status": ["booked"]}}'),
			put_targets('bench', '[{"Id": "1", "Arn": "arn:aws:lambda:us-east-1:000000000000:function:take"}]');
	END $$;
SQL

declare -A with=(
	[nothing]=""
	[pg_notify]="SELECT pg_notify('bench', 'booked ' || :client_id || ' ' || random());"
	[outbox]="INSERT INTO outbox (source, detail_type, detail) VALUES ('bench', 'appointment', :detail);"
	[event]="SELECT eventbridge.put_event('bench', 'appointment', :detail);"
)
for what in "${!with[@]}"; do
	printf 'BEGIN;\nINSERT INTO appointments (note) VALUES (%s);\n%s\nCOMMIT;\n' "'bring the x-ray'" "${with[$what]}" > "$scratch/$what.sql"
	chmod a+r "$scratch/$what.sql"
done

# with_bell latch|notify COMMAND...: runs it while the background worker delivers,
# or eventbridge-worker
with_bell()
{
	local bell=$1 worker='' status=0
	shift
	sql -c "ALTER SYSTEM SET eventbridge.bell = $bell" \
		-c "ALTER SYSTEM SET eventbridge.background_workers = $([ "$bell" = latch ] && echo on || echo off)" \
		-c "SELECT pg_reload_conf()" > "$scratch/out"
	if [ "$bell" = notify ]; then
		as_server "$top/eventbridge-worker" run --in-database > "$scratch/worker.log" 2>&1 &
		worker=$!
	fi
	sleep 1
	"$@" || status=$?
	if [ "$worker" ]; then
		pkill -TERM -P $worker || kill -TERM $worker
		wait $worker || true
	fi
	return $status
}

# round NUMBER VARIANT: commits per second, and seconds until all is delivered
round()
{
	local script=$2 tps began puts=0
	case $2 in latch | notify) script=event ;; esac
	sql -c "TRUNCATE call, appointments, outbox" -c "CHECKPOINT"
	tps=$(as_server pgbench -n -M prepared -c 8 -j 2 -T "$seconds" \
		-D 'detail={"status": "booked", "at": null}' -f "$scratch/$script.sql" 2>&1 | sed -n 's/^tps = \([0-9]*\).*/\1/p')
	began=$(date +%s.%N)
	[ $script = event ] && puts=$(sql -c "SELECT count(*) FROM appointments")
	while [ "$(sql -c "SELECT count(*) FROM call")" -lt "$puts" ]; do
		sleep 0.05
	done
	sql -c "INSERT INTO result VALUES ($1, '$2', $tps, $(date +%s.%N) - $began)"
}

# latencies BELL
latencies()
{
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
}

# rounds VARIANT...: so many of each, every other time backwards
rounds()
{
	local number variant order
	for number in $(seq 0 "$rounds"); do
		order=("$@")
		[ $((number % 2)) = 0 ] || mapfile -t order < <(printf '%s\n' "$@" | tac)
		for variant in "${order[@]}"; do
			round "$number" "$variant"
		done
	done
}

# measure BELL VARIANT...: the variants beside the outbox, then the latency
measure()
{
	local bell=$1
	shift
	rounds outbox "$@"
	as_server psql -X -P footer=off <<- 'SQL'
		SELECT r.variant, round(percentile_cont(0.5) WITHIN GROUP (ORDER BY r.tps)) AS commits_per_s,
			round((percentile_cont(0.5) WITHIN GROUP (ORDER BY r.tps / o.tps))::numeric, 2) AS of_outbox,
			round(max(r.behind)::numeric, 2) AS seconds_behind
		FROM result AS r JOIN result AS o USING (round)
		WHERE r.round > 0 AND o.variant = 'outbox'
		GROUP BY r.variant ORDER BY 3 DESC;
	SQL
	sql -c "TRUNCATE result"
	latencies "$bell"
}

with_bell latch measure latch nothing pg_notify latch
with_bell notify measure notify notify
