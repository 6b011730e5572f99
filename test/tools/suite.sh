#!/usr/bin/env bash
# make test: build and install the extension, then run all its tests (pg_regress,
# isolation, TAP) on a throwaway server.  Ends with "N passed, N failed".

. "$(dirname "$0")/lib.sh"

need build test
make_scratch
status=0

step "checks of the tree"
run test/tools/checks.sh

step "building with $("$PG_CONFIG" --version)"
build_and_install

step "tests"
copy_tree
start_cluster
installcheck
finish
