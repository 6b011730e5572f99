#!/usr/bin/env bash
# make demo: build the extension, install it into a private copy of the server,
# start that, and tell the story of test/demo/demo.sh on it.  Nothing is installed
# but packages that are missing, and nothing is left behind but the build.

. "$(dirname "$0")/lib.sh"

need build test
make_scratch

step "building for $("$PG_CONFIG" --version)"
build

step "starting a throwaway server in $scratch"
# The private copy lies where DESTDIR puts things.
# shellcheck disable=SC2046 # a list of words
install_options=$(make_options)
private_server
# shellcheck disable=SC2086 # a list of words
"$MAKE" -s $install_options DESTDIR="$scratch/server" install
start_cluster

mkdir "$scratch/demo"
test/demo/demo.sh "$scratch/demo"
