#!/usr/bin/env bash
# make demo: builds and installs the extension, starts a throwaway server, and runs
# test/demo/demo.sh there.  That script is the story; this one only sets the stage.

. "$(dirname "$0")/lib.sh"

need build test
build_and_install
make_scratch
copy_tree
start_cluster "jit = off"
cd "$scratch/tree/test/demo"
as_server bash ./demo.sh
