#!/usr/bin/env bash
# make conformance: the labelled cases of a directory, judged by the scripts in
# test/conformance/.  A script X.sql judges the file X.jsonl: it gets the name of
# the file in the variable "file", and answers with a line for each case
# that goes wrong, and one line "ok - ..." or "not ok - ..." at the end.

. "$(dirname "$0")/lib.sh"

[ $# = 1 ] || die "usage: conformance.sh DIRECTORY"
[ -d "$1" ] || die "there is no directory $1"
cases=$(cd "$1" && pwd)

need build test
build_and_install
make_scratch
copy_tree
cp -r "$cases" "$scratch/cases"
chmod -R a+rX "$scratch/cases"
start_cluster "jit = off"
log=$scratch/conformance.log

as_server psql -X -q -c 'CREATE EXTENSION eventbridge'
cd "$scratch/tree/test/conformance"
status=0
for file in "$scratch"/cases/*.jsonl; do
	name=$(basename "$file" .jsonl)
	if [ ! -f "$name.sql" ]; then
		echo "not ok - $name: no script judges it"
		continue
	fi
	as_server psql -X -q -A -t -v ON_ERROR_STOP=1 -v file="$file" -f "$name.sql" 2>&1 ||
		echo "not ok - $name: the script failed"
done | tee "$log"

count_results "$log"
printf '\n%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
