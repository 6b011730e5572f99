#!/usr/bin/env bash
# Compiles a copy of the tree with the compiler's warnings as errors and with the
# server's assertions on.

. "$(dirname "$0")/lib.sh"

need build
make_scratch
mkdir "$scratch/tree"
pack_tree "${without_output[@]}" | tar -C "$scratch/tree" -xf -
cd "$scratch/tree"
build with_llvm=no COPT="-Wall -Wextra -Werror -Wno-unused-parameter -Wno-sign-compare \
	-Wno-missing-field-initializers -Wno-cast-function-type -DUSE_ASSERT_CHECKING"
echo "ok - no warnings"
