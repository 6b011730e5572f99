# What the scripts of this directory share; each of them sources it first.
#
# It leaves the shell in the top directory, with PG_CONFIG and MAKE set.
# Nothing here touches a server that it did not start.

set -euo pipefail
umask 022

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "$top"

: "${PG_CONFIG:=pg_config}"
: "${MAKE:=make}"
export PG_CONFIG MAKE

# A script that make calls starts afresh: it may go on as another user, to
# whom make's job server is closed.
unset MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES

# Settings of the caller's own server must not reach ours.
unset PGHOST PGHOSTADDR PGPORT PGUSER PGDATABASE PGPASSWORD PGPASSFILE \
	PGSERVICE PGSERVICEFILE PGOPTIONS PGDATA PGCLIENTENCODING PGTZ PGDATESTYLE
export LC_ALL=C.UTF-8
# Where debootstrap is, which Debian's ordinary users do not look into.
PATH=$PATH:/usr/sbin:/sbin

die()
{
	echo "$(basename "$0"): $*" >&2
	exit 1
}

step()
{
	printf '\n== %s\n' "$*"
}

# as_root COMMAND...: run it as root, with sudo if need be.
as_root()
{
	if [ "$(id -u)" = 0 ]; then
		"$@"
	elif command -v sudo > /dev/null; then
		sudo "$@"
	else
		die "this needs root, or sudo: $*"
	fi
}

#
# Packages
#

# major: the server's major version.  Without a server, Debian's current one.
major()
{
	if "$PG_CONFIG" --version > /dev/null 2>&1; then
		"$PG_CONFIG" --version | sed 's/^PostgreSQL \([0-9]*\).*/\1/'
	else
		apt-cache depends postgresql 2> /dev/null |
			sed -n 's/.*Depends: postgresql-\([0-9]*\)$/\1/p' | head -n 1
	fi
}

have_server()
{
	[ -x "$("$PG_CONFIG" --bindir 2> /dev/null)/postgres" ]
}

have_server_dev()
{
	[ -f "$("$PG_CONFIG" --pgxs 2> /dev/null)" ] &&
		[ -f "$("$PG_CONFIG" --includedir-server)/postgres.h" ]
}

# missing WHAT...: the packages that the named kinds of work still lack.  The
# words "server" and "server-dev" stand for packages whose names have the major
# version in them, which is not known before the package lists are there.
missing()
{
	local what

	for what in "$@"; do
		case $what in
			build)
				command -v gcc > /dev/null || echo gcc libc6-dev
				command -v pkg-config > /dev/null || echo pkg-config
				pkg-config --exists libcurl 2> /dev/null || echo libcurl4-openssl-dev
				pkg-config --exists libcjson 2> /dev/null || echo libcjson-dev
				have_server_dev || echo server-dev
				;;
			test)
				have_server || echo server
				perl -MTest::More -e 1 2> /dev/null || echo perl
				perl -MIPC::Run -e 1 2> /dev/null || echo libipc-run-perl
				;;
			valgrind | debootstrap)
				command -v "$what" > /dev/null || echo "$what"
				;;
		esac
	done
}

# need WHAT...: install what is missing, and do nothing when nothing is.
need()
{
	local packages log

	packages=$(missing "$@" | xargs)
	[ -n "$packages" ] || return 0
	command -v apt-get > /dev/null || die "please install: $packages"

	step "installing: $packages"
	as_root env DEBIAN_FRONTEND=noninteractive apt-get update -qq
	packages=$(echo " $packages " |
		sed "s/ server-dev / postgresql-server-dev-$(major) /; s/ server / postgresql-$(major) /")
	# shellcheck disable=SC2086 # a list of words
	log=$(as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y \
		--no-install-recommends $packages < /dev/null 2>&1) || die "$log"

	packages=$(missing "$@" | xargs)
	[ -z "$packages" ] || die "still missing after installation: $packages"
}

#
# Build
#

# make_options: what make needs to be told about this server.  Debian's
# servers are built with LLVM; where clang is absent there is no bitcode.
make_options()
{
	local clang

	echo "PG_CONFIG=$PG_CONFIG"
	clang=$(sed -n 's/^CLANG *= *//p' "$(dirname "$("$PG_CONFIG" --pgxs)")/../Makefile.global")
	[ -n "$clang" ] && command -v "$clang" > /dev/null || echo with_llvm=no
}

# build [VARIABLE=VALUE...]: as "make" does.
build()
{
	# shellcheck disable=SC2046 # a list of words
	"$MAKE" -s -j2 $(make_options) "$@" all
}

# build_and_install: as "make" and "make install" do.
build_and_install()
{
	build
	step "installing into $("$PG_CONFIG" --pkglibdir)"
	# shellcheck disable=SC2046 # a list of words
	if [ -w "$("$PG_CONFIG" --pkglibdir)" ]; then
		"$MAKE" -s $(make_options) install
	else
		as_root "$MAKE" -s $(make_options) install
	fi
}

#
# A private place, and a server in it
#

# make_scratch: set $scratch to a directory of our own, which is removed,
# with the server in it, when the script ends.  A server does not run as
# root; for root it runs as $server_user, to whom $scratch is given.
make_scratch()
{
	scratch=$(mktemp -d /tmp/eventbridge.XXXXXX)
	trap remove_scratch EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM HUP

	chmod 700 "$scratch"
	if [ "$(id -u)" = 0 ]; then
		server_user=$(id -un postgres 2> /dev/null || echo nobody)
		chown "$server_user" "$scratch"
	fi
}

remove_scratch()
{
	local status=$?

	trap '' INT TERM HUP
	stop_cluster || true
	cd /
	rm -rf "$scratch"
	return $status
}

# as_server COMMAND...: run it as who owns the server.
as_server()
{
	if [ "$(id -u)" = 0 ]; then
		setpriv --reuid="$server_user" --regid="$(id -g "$server_user")" --init-groups \
			env HOME="$scratch" USER="$server_user" LOGNAME="$server_user" "$@"
	else
		"$@"
	fi
}

# Build output, for those who build again.
without_output=(--exclude='*.o' --exclude='*.so' --exclude='*.bc'
	--exclude=./.built-for --exclude=./eventbridge-worker)

# pack_tree [OPTION...]: a tar of the working tree, less what tests and tools keep
# in it.
pack_tree()
{
	tar -cf - --exclude=./.git --exclude=./build --exclude=./results \
		--exclude=./tmp_check --exclude=./output_iso "$@" .
}

# copy_tree [OPTION...]: a copy of the working tree as $scratch/tree, in which the tests
# run: so they leave no traces here, and can be run as another user, who may
# not read this directory.
copy_tree()
{
	mkdir "$scratch/tree"
	pack_tree "$@" | tar -C "$scratch/tree" -xf -
	if [ "$(id -u)" = 0 ]; then
		chown -R "$server_user" "$scratch/tree"
	fi
}

# start_cluster ['setting = value'...]: a throwaway server that listens on a
# socket in $scratch only; clients find it by the environment.
start_cluster()
{
	local bindir setting

	bindir=$("$PG_CONFIG" --bindir)
	cd "$scratch"
	as_server "$bindir/initdb" -D "$scratch/data" -U postgres -A trust \
		-E UTF8 --locale=C.UTF-8 --no-sync > "$scratch/initdb.log" 2>&1 ||
		{ cat "$scratch/initdb.log" >&2; die "initdb failed"; }
	{
		echo "listen_addresses = ''"
		echo "unix_socket_directories = '$scratch'"
		echo "fsync = off"
		echo "max_connections = 60"
		for setting in "$@"; do
			echo "$setting"
		done
	} >> "$scratch/data/postgresql.conf"
	as_server "$bindir/pg_ctl" -D "$scratch/data" -l "$scratch/server.log" \
		-w -t "${START_TIMEOUT:-60}" start > /dev/null ||
		{ cat "$scratch/server.log" >&2; die "the server did not start"; }
	cd "$top"
	export PGHOST=$scratch PGPORT=5432 PGUSER=postgres PGDATABASE=postgres
	export PATH="$bindir:$PATH"
}

stop_cluster()
{
	if [ -f "$scratch/data/postmaster.pid" ]; then
		cd "$scratch"
		as_server "$("$PG_CONFIG" --bindir)/pg_ctl" -D "$scratch/data" \
			-w -t "${START_TIMEOUT:-60}" -m fast stop > /dev/null ||
			as_server "$("$PG_CONFIG" --bindir)/pg_ctl" -D "$scratch/data" -m immediate stop > /dev/null
		cd "$top"
	fi
}

#
# Servers that look for faults
#

# private_server: a copy of the server's programs and libraries below
# $scratch/server, into which PG_CONFIG then points, to install into and to
# spoil.  PostgreSQL finds its files relative to its programs, so a copy
# works wherever it lies.
private_server()
{
	local root=$scratch/server what from

	for what in bindir pkglibdir sharedir; do
		from=$("$PG_CONFIG" --$what)
		mkdir -p "$root$(dirname "$from")"
		cp -a "$from" "$root$from"
	done
	for what in libdir includedir; do
		from=$("$PG_CONFIG" --$what)
		if [ ! -e "$root$from" ]; then
			mkdir -p "$root$(dirname "$from")"
			ln -s "$from" "$root$from"
		fi
	done
	# postgresql-server-dev's headers lie beside, not in, includedir on some systems.
	from=$("$PG_CONFIG" --includedir-server)
	if [ ! -e "$root$from" ]; then
		mkdir -p "$root$(dirname "$from")"
		ln -s "$from" "$root$from"
	fi
	PG_CONFIG=$root$("$PG_CONFIG" --bindir)/pg_config
	[ "$("$PG_CONFIG" --pkglibdir)" != "${PG_CONFIG%/bin/pg_config}" ] || die "not relocatable"
}

# wrap_postgres COMMAND...: from now on every server started from the private
# programs, by whatever test, runs under COMMAND; but initdb's servers, in which
# the extension is not, run plainly.
wrap_postgres()
{
	local bindir

	bindir=$("$PG_CONFIG" --bindir)
	mv "$bindir/postgres" "$bindir/postgres.real"
	{
		echo '#!/bin/sh'
		echo "case \$1 in --boot | --single | --check | -V) exec $bindir/postgres.real \"\$@\" ;; esac"
		echo "exec $* $bindir/postgres.real \"\$@\""
	} > "$bindir/postgres"
	chmod 755 "$bindir/postgres"
}

# asan_first: build $scratch/first.so, to be loaded together with AddressSanitizer,
# which sets itself up in the first call of malloc.  If that call comes from
# within bindtextdomain, as it does in the constructor of a library that the
# server is linked with, the two take one lock twice, and the program hangs.  This
# library's constructor runs before all others, and calls malloc.
asan_first()
{
	gcc -shared -fPIC -Wl,-z,initfirst -o "$scratch/first.so" -x c - <<- 'END'
		#include <stdlib.h>
		static void first(void) __attribute__((constructor));
		static void first(void) { void *volatile p = malloc(1); free(p); }
	END
	chmod a+rx "$scratch/first.so"
}

# sanitized_server: a private server with the extension in it, built with
# AddressSanitizer, UBSan and the server's assertions.  The first fault aborts.
sanitized_server()
{
	local flags

	private_server
	copy_tree "${without_output[@]}"
	flags="-O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined"
	flags="$flags -fno-sanitize-recover=all -DUSE_ASSERT_CHECKING"
	cd "$scratch/tree"
	build with_llvm=no COPT="$flags"
	"$MAKE" -s "PG_CONFIG=$PG_CONFIG" with_llvm=no COPT="$flags" install
	cd "$top"
	if [ "$(id -u)" = 0 ]; then
		chown -R "$server_user" "$scratch/tree"
	fi
	asan_first
	wrap_postgres env "LD_PRELOAD='$(gcc -print-file-name=libasan.so) $scratch/first.so'" \
		ASAN_OPTIONS=detect_leaks=0:abort_on_error=1:allocator_may_return_null=1 \
		UBSAN_OPTIONS=print_stacktrace=1:abort_on_error=1
}

# faults LOG...: what sanitizers and valgrind said, and assertions.
faults()
{
	grep -hsE 'AddressSanitizer|runtime error:|^==[0-9]+== [A-Z]|TRAP:' "$@" || true
}

#
# Results
#

# run COMMAND...: show what it says and keep it for the count.
run()
{
	"$@" 2>&1 | tee -a "$scratch/tests.log" || status=1
}

# installcheck [VARIABLE=VALUE...]: what "make installcheck" runs on this server.
# Each of its three runners is called alone, so that all run even if one fails.
installcheck()
{
	local runner off

	for runner in REGRESS ISOLATION TAP_TESTS; do
		case $runner in
			REGRESS) off="ISOLATION= TAP_TESTS=" ;;
			ISOLATION) off="REGRESS= TAP_TESTS="; ls test/specs/*.spec > /dev/null 2>&1 || continue ;;
			TAP_TESTS) off="REGRESS= ISOLATION="; ls test/t/*.pl > /dev/null 2>&1 || continue ;;
		esac
		[[ " ${leave_out:-} " != *" $runner "* ]] || continue
		rm -f "$scratch/tree/regression.diffs"
		# shellcheck disable=SC2046,SC2086 # lists of words
		run as_server "$MAKE" -s -C "$scratch/tree" $(make_options) $off "$@" installcheck
		[ ! -s "$scratch/tree/regression.diffs" ] || cat "$scratch/tree/regression.diffs"
	done
}

# count_results LOG...: set $passed and $failed to the numbers of tests of
# which the logs tell, in the forms of pg_regress (before and since 16),
# prove, and the scripts here.
count_results()
{
	passed=$(cat "$@" | grep -cE '^ok |^(test|    ) .*\.\.\. ok|^test/.* \.+ ok$' || true)
	failed=$(cat "$@" | grep -cE '^not ok |^(test|    ) .*\.\.\. (FAILED|failed)|^test/[^ ]+ +\(Wstat:' || true)
}

# finish: look for faults, print the count, and exit accordingly.
finish()
{
	local found

	if [ -f "$scratch/server.log" ]; then
		found=$(faults "$scratch/server.log" "$scratch"/tree/tmp_check/log/*.log)
		if [ -n "$found" ]; then
			echo "not ok - the server's log is clean"
			printf '%s\n' "$found" | head -n 20
			mkdir -p build
			cat "$scratch/server.log" "$scratch"/tree/tmp_check/log/*.log > build/server.log 2> /dev/null || true
			echo "the log is build/server.log"
			status=1
		fi
	fi
	count_results "$scratch/tests.log"
	# A runner that failed before it came to a test counts as a failed test.
	if [ $status != 0 ] && [ "$failed" = 0 ]; then
		failed=1
	fi
	printf '\n%d passed, %d failed\n' "$passed" "$failed"
	[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
	exit
}
