#!/usr/bin/env bash
# The tour that "make demo" gives.  It finds an empty server by the environment, as
# psql does, and eventbridge-worker on the PATH.
set -euo pipefail

title()
{
	if [ -t 1 ]; then
		printf '\n\033[1m%s\033[0m\n' "$*"
	else
		printf '\n== %s\n' "$*"
	fi
}

sql()
{
	psql -X -q -v ON_ERROR_STOP=1 "$@"
}

title "Install the extension"
sql -c 'CREATE EXTENSION eventbridge'
sql -c "SELECT extname, extversion, nspname AS schema
        FROM pg_extension JOIN pg_namespace n ON n.oid = extnamespace
        WHERE extname = 'eventbridge'"
