#!/usr/bin/env bash
# The story of "make demo": cases, each with the SQL and the commands that a user
# would type, what they answer, and a check of it.  The SQL lies beside this file,
# or stands in README.md's tutorial.
#
# demo.sh DIRECTORY: works on the server that the environment (PGHOST, ...)
# names, in its database, and keeps its files in DIRECTORY.  The database is
# expected to be empty.  The exit status is not 0 if something that is shown is
# not as it should be.

set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
files=${1:?usage: demo.sh DIRECTORY}
mistakes=0
worker=
receiver=

# What was started is ended.
trap '[ -z "$worker$receiver" ] || kill $worker $receiver 2> /dev/null || true' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# The receiver is on this machine, whatever proxy there is for others.
unset http_proxy https_proxy all_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY

chapter()
{
	printf '\n\n%s\n%s\n' "$1" "${1//?/=}"
}

say()
{
	printf '\n-- %s\n' "$*"
}

# typed COMMAND: show a command as somebody typed it.
typed()
{
	printf '\n$ %s\n' "$*"
}

# sql FILE: run it, showing each statement and its answer; keep what was shown
# in $files/shown.
sql()
{
	typed "psql -f $1"
	echo
	psql -X -q -a -v ON_ERROR_STOP=1 -f "$here/$1" 2>&1 | tee "$files/shown"
}

# story HEADING: the same with the SQL that README.md has below a heading.
story()
{
	typed "psql    # README.md, \"$1\""
	echo
	# shellcheck disable=SC2016 # the expressions have backquotes
	sed -n "/^### $1\$/,/^##/p" "$here/../../README.md" | sed -n '/^```sql$/,/^```$/p' |
		sed 's/^```.*//' > "$files/story.sql"
	psql -X -q -a -v SHOW_CONTEXT=never < "$files/story.sql" 2>&1 | tee "$files/shown"
}

# deliver: have the worker make the requests that are due.
deliver()
{
	rm -f "$files/posted"
	typed "eventbridge-worker run --once --allow-secret env:SLACK_URL@127.0.0.1"
	eventbridge-worker run --once --allow-secret env:SLACK_URL@127.0.0.1 2>&1
	say "What was posted:"
	printf '\n'
	cat "$files/posted"
}

# check WHAT EXPECTED FOUND
check()
{
	if [ "$2" = "$3" ]; then
		printf '\n[ok] %s\n' "$1"
	else
		printf '\n[WRONG] %s: expected %s, found %s\n' "$1" "$2" "$3"
		mistakes=$((mistakes + 1))
	fi
}

# rows_shown: how many rows each query of the last file gave.
rows_shown()
{
	sed -n 's/^(\([0-9]*\) rows\{0,1\})$/\1/p' "$files/shown" | xargs
}

# lines_shown PATTERN...: how many lines of what was shown last match each.
lines_shown()
{
	local pattern

	for pattern; do
		grep -c -e "$pattern" "$files/shown" || true
	done | xargs
}

# await SECONDS COMMAND...: try it until it succeeds.
await()
{
	local tries=$(($1 * 20))

	shift
	until "$@"; do
		tries=$((tries - 1))
		[ $tries -gt 0 ] || { echo "demo.sh: waited in vain for: $*" >&2; exit 1; }
		sleep 0.05
	done
}

# worker NAME OPTION...: start a worker; its screen is $files/NAME.screen, its log
# $files/NAME.log.
worker()
{
	local name=$1

	shift
	eventbridge-worker listen "$@" > "$files/$name.screen" 2> "$files/$name.log" &
	worker=$!
	await 10 grep -q 'messages go to' "$files/$name.log"
	cat "$files/$name.log"
}

# stop_worker NAME: a worker finishes what it holds, then ends with status 0.
stop_worker()
{
	kill -TERM "$worker"
	wait "$worker" || { cat "$files/$1.log"; exit 1; }
	worker=
}

# has_lines N FILE
has_lines()
{
	[ "$(wc -l < "$2")" -ge "$1" ]
}

# Statements and answers are read by people of any language, but all alike.
export LC_ALL=C.UTF-8 PGTZ=UTC PGOPTIONS='-c client_min_messages=warning -c search_path=public,eventbridge'


chapter "1. New appointments on a listener's screen"

say "A dentist's table, and a trigger on it: of all changes, the pattern takes insertions."
sql appointments.sql

say "A listener, on a screen of its own."
typed "eventbridge-worker listen --channel appointments"
worker appointments --channel appointments

say "Three appointments are made, one is moved, one is cancelled."
sql appointments_day.sql

await 10 has_lines 3 "$files/appointments.screen"
stop_worker appointments
say "The listener's screen:"
printf '\n'
cat "$files/appointments.screen"
check "three appointments on the screen, no update, no deletion" \
	'INSERT INSERT INSERT' \
	"$(sed -n 's/.*"eventName":"\([A-Z]*\)".*/\1/p' "$files/appointments.screen" | xargs)"
check "they are those of Ann, Bob and Cleo" 'Ann Bob Cleo' \
	"$(grep -o '"patient":{"S":"[A-Za-z]*' "$files/appointments.screen" | sed 's/.*"//' | xargs)"


chapter "2. Stored events, filtered by patterns"

say "Events as AWS services send them, in a table with a jsonb column."
sql events.sql

say "A pattern in the WHERE clause selects."
sql events_filter.sql
check "rows of each query" '1 2 2 1 2 2' "$(rows_shown)"

say "Why does an event not match?"
sql events_explain.sql
check "three conditions, one of them not met" '3 1' \
	"$(rows_shown) $(grep -c '| f  *|' "$files/shown")"
check "and the reason is given" 1 "$(grep -c 'differs only in case' "$files/shown")"


chapter "3. A failed build becomes a Slack message"

say "A trigger: events that match the pattern are transformed and sent."
sql slack.sql

say "Something that answers as Slack's incoming webhook does."
typed "perl receiver.pl"
perl "$here/receiver.pl" "$files/posted" > "$files/receiver.log" &
receiver=$!
await 10 test -s "$files/receiver.log"
url=$(cat "$files/receiver.log")
echo "$url"

say "The worker posts what it hears.  Its log never names the URL."
typed "eventbridge-worker listen --channel slack --webhook $url"
worker slack --channel slack --webhook "$url"

say "One build fails, another succeeds."
sql slack_builds.sql

await 10 test -s "$files/posted"
stop_worker slack
say "What was posted:"
printf '\n'
cat "$files/posted"
check "one message" 1 "$(wc -l < "$files/posted")"
check "it tells of the build that failed" \
	'{"text":"Build of shop-frontend: FAILED at 2030-02-01T09:41:07Z (https://ci.example.com/builds/42)"}' \
	"$(cat "$files/posted")"


chapter "4. A pipe: new visits, with each patient's way of contact, into a queue"

say "The stream of a table, a function that looks up the contact, a queue; and the pipe between them."
sql pipe.sql
check "what was imported" 1 "$(grep -c 'NewVisits *| AWS::Pipes::Pipe *| created' "$files/shown")"

say "A thousand visits are made, 333 are moved, 100 cancelled. The pipe takes the new ones."
sql pipe_day.sql

say "A worker empties the queue."
typed "eventbridge-worker receive --queue reminders --once --payload-only"
eventbridge-worker receive --queue reminders --once --payload-only > "$files/reminders" 2> "$files/reminders.log"
cat "$files/reminders.log"
printf '\n'
head -n 4 "$files/reminders"
echo "... and $(($(wc -l < "$files/reminders") - 4)) more"
check "a message for each of the thousand, and no other" 1000 "$(sort -u "$files/reminders" | wc -l)"
check "500 patients have a way of contact, 500 have none" 'mail 250 none 500 phone 250' \
	"$(sed 's/.*"contact": *"\([a-z]*\)".*/\1/' "$files/reminders" | sort | uniq -c | awk '{print $2, $1}' | xargs)"
check "the queue is empty" 0 "$(psql -X -A -t -c 'SELECT count(*) FROM eventbridge.queue_message')"


chapter "5. A build's end, four targets"

say "A rule with four targets, which differ in what they receive: three times a queue, and Slack."
story "A build's end, four targets"
check "nothing failed" 0 "$(lines_shown '^ERROR:')"
check "three builds, to each of three targets" '3 3 3' "$(lines_shown \
	'^ {"ended": "a build"}' \
	'^ {"build-status": "[A-Z]*", "project-name": "shop"}' \
	'^ {"detail": {"build-status": "[A-Z]*", "project-name": "shop"}, "source"')"

say "The worker has Slack's URL in its environment, and may send it to one host."
export SLACK_URL=$url
deliver
check "the builds of one project that have ended" \
	'{"text": "Build of shop: FAILED"} {"text": "Build of shop: STOPPED"} {"text": "Build of shop: SUCCEEDED"}' \
	"$(LC_ALL=C sort "$files/posted" | tr '\n' ' ' | sed 's/ $//')"


chapter "6. A new stage gets its log group"

say "A function is called for some calls of API Gateway."
story "A new stage gets its log group"
check "nothing failed" 0 "$(lines_shown '^ERROR:')"
check "two of the three stages have a log group" '1 1 1' "$(lines_shown \
	'^ a1b2c3 | test  | /api/a1b2c3/test$' \
	'^ d4e5f6 | prod  | /api/d4e5f6/prod$' \
	'^ a1b2c3 | prod  | $')"
check "which keeps its entries for 30 days" 2 "$(lines_shown '^ /api/.* |  *30$')"


chapter "7. An alarm to Slack, and an answer from there"

say "An alarm goes out; a slash command, which is an HTML form, comes in."
story "An alarm to Slack, and an answer from there"
check "nothing failed" 0 "$(lines_shown '^ERROR:')"
check "the function was called with what the form said" 1 "$(lines_shown '^ disk-full  | zoë  *| clearing "/var"$')"
deliver
check "the alarm, in words" '{"text": "disk-full state is now ALARM: \"/var\" has 3 % left"}' "$(cat "$files/posted")"


chapter "8. A CloudFormation template"

say "Two rules of a template, one for a state machine, one for a function."
story "A CloudFormation template"
check "two rules were created" 2 "$(lines_shown 'AWS::Events::Rule  *| created')"
check "the function was called, then the procedure" '1 1' \
	"$(lines_shown '^  *7 |  *| t$' '^  *7 | t  *| t$')"
check "a role for a function is refused in AWS's words" '1 1' \
	"$(lines_shown '^ERROR:' \
		'^ERROR:  RoleArn is not supported for target arn:aws:lambda:us-east-1:000000000000:function:note_payment\.$')"


chapter "The end"

if [ $mistakes != 0 ]; then
	printf '\n%s of the checks failed.\n' "$mistakes"
	exit 1
fi
printf '\n%s\n%s\n' \
	"All was as expected.  The server and all files of this tour are removed now." \
	"README.md tells the rest; \"make install\" installs the extension for your own server."
