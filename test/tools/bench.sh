#!/usr/bin/env bash
# make bench: runs benchmark scripts, and prints their tables: test/bench/*.sql each in
# a database of its own on a throwaway server, test/bench/*.sh with servers of their
# own.  An SQL script may need settings of the server, each in a comment
# "-- server: setting = value".  One process a query: no JIT, no parallel workers; all
# in memory, and no waiting for the disk.
. "$(dirname "$0")/lib.sh"

[ $# -gt 0 ] || die "there is no benchmark"
need build test
build_and_install
make_scratch
copy_tree
start_cluster "shared_buffers = 2GB" "work_mem = 256MB" "maintenance_work_mem = 512MB" \
	"jit = off" "max_parallel_workers_per_gather = 0" "max_parallel_maintenance_workers = 0" \
	"max_wal_size = 16GB" "checkpoint_timeout = 1h" "autovacuum = off" "full_page_writes = off"

echo "$("$PG_CONFIG" --version), $(nproc) cores, $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)"
# data that some scripts take, if they lie beside this tree
shared=
[ ! -d ../shared/bench ] || shared=$(cd ../shared/bench && pwd)
status=0
cp -p "$scratch/data/postgresql.conf" "$scratch/postgresql.conf"
settings=
cd "$scratch/tree/test/bench"
for script in "$@"; do
	if [ "${script%.sh}" != "$script" ]; then
		step "$(basename "$script" .sh)"
		"$top/$script" || status=1
		continue
	fi
	name=$(basename "$script" .sql)
	step "$name"
	wanted=$(sed -n 's/^-- server: //p' "$name.sql")
	if [ "$wanted" != "$settings" ]; then
		settings=$wanted
		{ cat "$scratch/postgresql.conf"; echo "$settings"; } > "$scratch/data/postgresql.conf"
		as_server "$("$PG_CONFIG" --bindir)/pg_ctl" -D "$scratch/data" -l "$scratch/server.log" \
			-w -m fast restart > /dev/null
	fi
	as_server createdb "$name"
	as_server psql -X -q -d "$name" -c 'CREATE EXTENSION eventbridge'
	as_server psql -X -q -d "$name" -v ON_ERROR_STOP=1 -P footer=off -v shared="$shared" -f "$name.sql" || status=1
	as_server dropdb "$name"
done
exit $status
