#!/usr/bin/env bash
# make valgrind: the regression tests on a private server under valgrind.  A
# distribution's server does not tell valgrind about its memory contexts, so what
# is found are invalid accesses beyond what malloc gave, and decisions on memory
# that was never written.  Tests may be named: valgrind.sh pattern_numeric ...

. "$(dirname "$0")/lib.sh"

need build test valgrind
make_scratch
status=0

step "building"
private_server
copy_tree "${without_output[@]}"
cd "$scratch/tree"
build with_llvm=no COPT="-O1 -g -DUSE_ASSERT_CHECKING"
"$MAKE" -s "PG_CONFIG=$PG_CONFIG" with_llvm=no install
cd "$top"
[ "$(id -u)" != 0 ] || chown -R "$server_user" "$scratch/tree"

cp test/tools/valgrind.supp "$scratch/valgrind.supp"
chmod a+r "$scratch/valgrind.supp"
wrap_postgres valgrind --quiet --leak-check=no --undef-value-errors=yes --time-stamp=no \
	--gen-suppressions=all --suppressions="$scratch/valgrind.supp"

step "tests (each some thirty times slower than usual)"
START_TIMEOUT=300
start_cluster "jit = off" "autovacuum = off"
leave_out="ISOLATION TAP_TESTS" installcheck with_llvm=no ${1:+"REGRESS=$*"}
finish
