#!/bin/bash
# SPDX-License-Identifier: MIT
# busctl-lite run-session: a bus of one's own, and how it ends; a bus that dies.

. "$(dirname "$0")/cli-lib.sh"
export TMPDIR=$WORK/tmp
unset XDG_RUNTIME_DIR BUSD_ADDRESS BUSD_BIN
mkdir "$TMPDIR"

session() { run "$BUSCTL" run-session --busd "$BUSD" "$@"; }
left_behind() { [ -z "$(ls -A "$TMPDIR")" ]; }

session -- sh -c 'echo "$BUSD_ADDRESS"; stat -c %a "$(dirname "${BUSD_ADDRESS#unix:}")"'
check 0 "status 0"
out_has "^unix:$TMPDIR/busd-session-....../bus$" "BUSD_ADDRESS is set"
out_has "^700$" "the directory is private"
err "" "nothing is said"
verify "nothing is left behind" left_behind

session -- "$BUSCTL" ping
check 0 "a command reaches the bus"
session -- sh -c 'exit 42'
check 42 "the command's status is returned"
session -- sh -c 'kill -9 $$'
check 137 "128 + N when a signal ended it"
session -- "$WORK/no-such-command"
check 127 "127 when there is no such command"
err_has "no-such-command: there is no such command" "no such command: said so"
: >"$WORK/plain-file"
session -- "$WORK/plain-file"
check 126 "126 when it cannot be executed"
err_has "Permission denied" "it cannot be executed: said so"
session sh -c 'exit 3'
check 3 "the command may stand without --"
session -- echo --json=pretty --help
out "--json=pretty --help" "the command's options are its own"
verify "nothing is left behind" left_behind

run_with "typed" "$BUSCTL" run-session --busd "$BUSD" -- cat
out "typed" "stdin is the command's"
run sh -c 'ls /proc/self/fd | cat'
before=$(cat "$OUT")
session -- sh -c 'ls /proc/self/fd | cat'
out "$before" "the command gets no more descriptors than without us"

run env BUSD_BIN="$BUSD" "$BUSCTL" run-session -- true
check 0 "BUSD_BIN names the daemon"
run "$BUSCTL" run-session --busd "$WORK/no-busd" -- true
check 3 "no daemon: status 3"
err_has "cannot run busd \($WORK/no-busd\): No such file.*--busd PATH" "no daemon: what to do"
run "$BUSCTL" run-session --busd false -- true
check 3 "a daemon that ends at once: status 3"
err_has "busd ended before it listened" "a daemon that ends at once: said so"
verify "nothing is left behind" left_behind

# Signals
background session "$BUSCTL" run-session --busd "$BUSD" -- \
    bash -c 'trap "echo got TERM; exit 9" TERM; echo ready; while :; do sleep 0.05; done'
session=$LAST
until_true grep -q ready "$WORK/session.out"
kill -TERM "$session"
verify "it ends after SIGTERM" ended "$session"
check 9 "SIGTERM is passed on; the status is the command's"
has "$WORK/session.out" "got TERM" "SIGTERM has reached the command"
verify "nothing is left behind" left_behind

background orphan "$BUSCTL" run-session --busd "$BUSD" -- sleep 31
orphan=$LAST
until_true children_of "$orphan" sleep
daemon=$(children_of "$orphan" busd)
sleeper=$(children_of "$orphan" sleep)
verify "busd is a child of run-session" test -n "$daemon"
kill_silently "$orphan"
verify "busd ends when run-session is killed" until_true gone "$daemon"
kill "$sleeper"
rm -rf "${TMPDIR:?}"/*

# A bus that dies under its clients
session -- bash -c '
    "$BUSCTL" subscribe a.b 2>"$TMPDIR/err" & subscriber=$!
    "$BUSCTL" serve org.test.X M -- cat 2>/dev/null & server=$!
    "$BUSCTL" wait --name org.test.X --timeout 10 >/dev/null
    until [ "$("$BUSCTL" stats | grep -o "\"subscriptions\":[0-9]*" | cut -d: -f2)" -ge 2 ]; do sleep 0.02; done
    kill -9 "$(children_of $PPID busd)"
    wait $subscriber; echo "subscribe $?"
    wait $server; echo "serve $?"
    "$BUSCTL" list; echo "list $?"
    cat "$TMPDIR/err"; rm "$TMPDIR/err"'
out_has "^subscribe 3$" "a lost connection: subscribe ends with status 3"
out_has "^serve 3$" "a lost connection: serve ends with status 3"
out_has "^list 3$" "no bus any more: status 3"
out_has "Disconnected|closed the connection" "a lost connection: said so"
err_has "the bus ended early, with status 137" "run-session tells that the bus ended"
verify "nothing is left behind" left_behind

# A bus that ends in good order says so
session -- bash -c '
    "$BUSCTL" subscribe a.b & subscriber=$!
    until [ "$("$BUSCTL" stats | grep -o "\"subscriptions\":[0-9]*" | cut -d: -f2)" -ge 2 ]; do sleep 0.02; done
    kill -TERM "$(children_of $PPID busd)"
    wait $subscriber; echo "subscribe $?"'
out_has "^subscribe 3$" "the bus ends: subscribe ends with status 3"

finish
