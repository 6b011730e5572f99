#!/usr/bin/env bash
# make asan: the regression and isolation tests on a private server, with the
# extension built under AddressSanitizer and UBSan.

. "$(dirname "$0")/lib.sh"

need build test
make_scratch
status=0

step "building with sanitizers"
sanitized_server

step "tests"
start_cluster
leave_out=TAP_TESTS installcheck with_llvm=no
finish
