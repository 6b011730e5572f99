#!/usr/bin/env bash
# Checks of the checks, and of the tree: what no test of the program notices.
# Prints a line "ok" or "not ok" for each; fails if one fails.

. "$(dirname "$0")/lib.sh"

failures=0

# verdict NAME FINDINGS: ok if there are no findings.
verdict()
{
	if [ -z "$2" ]; then
		echo "ok - $1"
	else
		echo "not ok - $1"
		printf '%s\n' "$2" | sed 's/^/    /'
		failures=$((failures + 1))
	fi
}

# Names without directory and extension of the files that match.
names()
{
	local pattern=$1 file

	for file in $pattern; do
		[ -e "$file" ] || continue
		file=${file##*/}
		echo "${file%.*}"
	done | sort
}

tests=$(names 'test/sql/*.sql'; names 'test/specs/*.spec')
outputs=$(names 'expected/*.out')

verdict "every test has its expected output" "$(
	for name in $tests; do
		[ -f "expected/$name.out" ] || echo "$name"
	done)"

# expected/NAME_1.out is an alternative of NAME.
verdict "every expected output has its test" "$(
	for name in $outputs; do
		grep -qx -e "$name" -e "${name%_[0-9]}" <<< "$tests" || echo "expected/$name.out"
	done)"

verdict "no name belongs to two tests" "$(printf '%s\n' "$tests" | uniq -d)"

# pg_regress looks for a test in sql/ before it looks in test/sql/.
verdict "no test is named like an install script" "$(
	for name in $tests; do
		[ ! -e "sql/$name.sql" ] || echo "$name"
	done)"

verdict "make installcheck runs every test" "$(
	plan=$("$MAKE" -n PG_CONFIG="$PG_CONFIG" installcheck 2>&1 | tr -s ' \t' '\n\n')
	for name in $tests $(ls test/t/*.pl 2> /dev/null); do
		grep -qxF "$name" <<< "$plan" || echo "$name"
	done)"

version=$(sed -n "s/^default_version *= *'\(.*\)'/\1/p" eventbridge.control)
verdict "control file, META.json and CHANGELOG.md name one version" "$(
	perl -MJSON::PP -0777 -e '
		my ($version) = @ARGV;
		open my $in, "<", "META.json" or die; my $meta = decode_json(<$in>);
		print "META.json: version $meta->{version}\n" if $meta->{version} ne $version;
		my $provided = $meta->{provides}{eventbridge}{version};
		print "META.json: provides $provided\n" if $provided ne $version;
	' "$version"
	sed -n 's/^## *\[\{0,1\}\([0-9][0-9.]*\).*/\1/p' CHANGELOG.md | head -n 1 |
		grep -vxF "$version" | sed 's/^/CHANGELOG.md: /')"

# The installed objects meet what somebody else made (CVE-2022-2625).
verdict "install and upgrade scripts create, never replace" "$(
	ls sql/parts/*.sql sql/eventbridge--*--*.sql 2> /dev/null |
		xargs grep -niE 'CREATE +OR +REPLACE|(TABLE|INDEX|SCHEMA|SEQUENCE|VIEW|COLUMN|EXTENSION|VALUE) +IF +NOT +EXISTS' || true)"

verdict "server versions are told apart in compat.h only" "$(
	grep -rln PG_VERSION_NUM src --include='*.[ch]' | grep -vx src/compat.h || true)"

verdict "no // comments in C" "$(
	grep -rnE '(^|[;{}),])[[:space:]]*//' src --include='*.[ch]' || true)"

if git rev-parse --git-dir > /dev/null 2>&1; then
	verdict "no build output is tracked" "$(
		git ls-files | grep -E '\.(o|so|a|bc)$|^(results|tmp_check|output_iso|build|log)/|^regression\.(diffs|out)$' || true
		git ls-files -ci --exclude-standard)"
fi

[ $failures = 0 ]
