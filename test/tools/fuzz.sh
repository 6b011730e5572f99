#!/usr/bin/env bash
# make fuzz: every driver of test/fuzz, one after the other, against a private server
# on which the extension runs under sanitizers.  Findings go to build/fuzz.
# Usage: fuzz.sh SECONDS SEED [DRIVER...]

. "$(dirname "$0")/lib.sh"

seconds=${1:?}
seed=${2:?}
shift 2
[ $# -gt 0 ] || die "there is no fuzz driver"

# A driver fails by its exit status; it need not say so itself.
fuzz()
{
	local verdict=ok

	as_server perl "$1" --seconds "$seconds" --seed "$seed" > "$scratch/driver.log" 2>&1 || verdict="not ok"
	grep -vE '^(not )?ok ' "$scratch/driver.log" || true
	echo "$verdict - $(basename "$1"): $(grep -E '^(not )?ok ' "$scratch/driver.log" | sed 's/.*ok - //')"
	[ "$verdict" = ok ]
}

need build test
make_scratch
status=0

step "building with sanitizers"
sanitized_server
start_cluster "jit = off" "restart_after_crash = on"
as_server psql -X -q -c 'CREATE EXTENSION eventbridge'

step "fuzzing: $seconds s each, seed $seed"
as_server mkdir -p "$scratch/tree/build/fuzz"
cd "$scratch/tree"
for driver in "$@"; do
	run fuzz "$driver"
done
cd "$top"
if [ -n "$(ls "$scratch/tree/build/fuzz")" ]; then
	mkdir -p build/fuzz
	cp "$scratch/tree/build/fuzz"/* build/fuzz/
	cp "$scratch/server.log" build/fuzz/server.log
	echo "findings are in build/fuzz"
fi
finish
