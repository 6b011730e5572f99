#!/usr/bin/env bash
# make asan: all tests on private servers, with the extension and its client program
# built under AddressSanitizer and UBSan.

. "$(dirname "$0")/lib.sh"

need build test
make_scratch
status=0

step "building with sanitizers"
sanitized_server

# Memory that is not freed at exit is no fault of a client program.
export ASAN_OPTIONS=detect_leaks=0

step "tests"
start_cluster
installcheck with_llvm=no
finish
