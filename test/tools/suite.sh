#!/usr/bin/env bash
# make test: build and install the extension, then run all its tests (pg_regress,
# isolation, TAP) on a throwaway server.  Ends with "N passed, N failed".

. "$(dirname "$0")/lib.sh"

need build test
make_scratch
log=$scratch/tests.log
status=0

# Run a command, show its output and keep it for the count.
run()
{
	"$@" 2>&1 | tee -a "$log" || status=1
}

# One of the runners behind "make installcheck"; the other two are left out,
# so that all three run even if one fails.
installcheck()
{
	# shellcheck disable=SC2046 # a list of words
	run as_server "$MAKE" -s -C "$scratch/tree" $(make_options) \
		"$@" installcheck
}

step "checks of the tree"
run test/tools/checks.sh

step "building with $("$PG_CONFIG" --version)"
build_and_install

step "tests"
copy_tree
start_cluster
installcheck ISOLATION= TAP_TESTS=
[ ! -s "$scratch/tree/regression.diffs" ] || cat "$scratch/tree/regression.diffs"
if ls test/specs/*.spec > /dev/null 2>&1; then
	rm -f "$scratch/tree/regression.diffs"
	installcheck REGRESS= TAP_TESTS=
	[ ! -s "$scratch/tree/regression.diffs" ] || cat "$scratch/tree/regression.diffs"
fi
if ls test/t/*.pl > /dev/null 2>&1; then
	installcheck REGRESS= ISOLATION=
fi

count_results "$log"
# A runner that failed before it came to a test counts as a failed test.
if [ $status != 0 ] && [ "$failed" = 0 ]; then
	failed=1
fi
printf '\n%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" = 0 ] && [ $status = 0 ]
