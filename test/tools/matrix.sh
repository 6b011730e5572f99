#!/usr/bin/env bash
# make test-matrix: "make test" in a chroot of each named Debian suite (trixie
# brings PostgreSQL 17, sid 18), on a copy of the tree, so that objects of
# different servers do not mix.  The chroots are kept in build/chroots and used
# again; a run's copy is not.  Nothing is mounted in them.

. "$(dirname "$0")/lib.sh"

[ $# -gt 0 ] || die "usage: matrix.sh SUITE..."
need debootstrap
chroots=$top/build/chroots
mkdir -p "$chroots"
make_scratch

# mirror: where this machine itself gets Debian from.
mirror()
{
	local codename

	codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
	# shellcheck disable=SC2016 # apt's variables
	apt-get indextargets --format '$(REPO_URI)' \
		'Created-By: Packages' "Release: $codename" 'Component: main' | head -n 1
}

in_chroot()
{
	local root=$1

	shift
	as_root chroot "$root" env -i HOME=/root LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive \
		PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
		${http_proxy:+"http_proxy=$http_proxy"} "$@" < /dev/null
}

# create_chroot SUITE: built under another name first, so that an interrupted
# run leaves nothing that looks complete.
create_chroot()
{
	local suite=$1 root=$chroots/$1.new uri

	uri=$(mirror)
	[ -n "$uri" ] || die "no Debian mirror found in /etc/apt"
	step "creating a chroot of Debian $suite"
	as_root rm -rf "$root"
	as_root debootstrap --variant=minbase "$suite" "$root" "$uri" > "$scratch/$suite.log" 2>&1 ||
		{ tail -n 20 "$scratch/$suite.log" >&2; return 1; }
	# Packages start no servers in there.
	printf '#!/bin/sh\nexit 101\n' | as_root tee "$root/usr/sbin/policy-rc.d" > /dev/null
	as_root chmod 755 "$root/usr/sbin/policy-rc.d"
	as_root mkdir -p "$root/etc/postgresql-common"
	echo 'create_main_cluster = false' |
		as_root tee "$root/etc/postgresql-common/createcluster.conf" > /dev/null
	in_chroot "$root" apt-get install -qq -y --no-install-recommends make > "$scratch/$suite.log" 2>&1 ||
		{ tail -n 20 "$scratch/$suite.log" >&2; return 1; }
	as_root mv "$root" "$chroots/$suite"
}

run_suite()
{
	local root=$chroots/$1 status=0

	if [ ! -d "$root" ]; then
		create_chroot "$1" || return 1
	fi
	step "make test in Debian $1"
	as_root rm -rf "$root/eventbridge"
	as_root mkdir "$root/eventbridge"
	pack_tree "${without_output[@]}" |
		as_root tar -C "$root/eventbridge" --no-same-owner -xf -
	in_chroot "$root" make -s -C /eventbridge test || status=1
	as_root rm -rf "$root/eventbridge"
	return $status
}

status=0
for suite in "$@"; do
	run_suite "$suite" || { echo "not ok - Debian $suite"; status=1; }
done
exit $status
