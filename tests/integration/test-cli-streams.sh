#!/bin/bash
# SPDX-License-Identifier: MIT
# busctl-lite call --more and serve --more.

. "$(dirname "$0")/cli-lib.sh"
on_private_bus

serve() { # NAME METHOD COMMAND...: in the background, and waits for the name
    local name=$1 method=$2
    shift 2
    background "$name" "$BUSCTL" serve --more "$name" "$method" -- "$@"
    served "$name" || not_ok "$name is served"
}

# --- items and ends

serve org.test.Count To sh -c 'seq 1 $(cat)'
count_pid=$LAST
run "$BUSCTL" call --more org.test.Count To 3
check 0 "--more: status 0"
out '1
2
3' "--more: a line for each item, and none for the last reply, which is null"
err "" "--more says nothing"
run "$BUSCTL" call org.test.Count To 3
out '"1\n2\n3"' "who wants one reply gets one"
run "$BUSCTL" call --more --json=pretty org.test.Count To 2
out '1
2' "--more --json=pretty"

serve org.test.Odd Odd printf 'words\n{"a": [1,\t2]}\n\n{"cut"\n\tx \na\377b\nlast'
run "$BUSCTL" call --more org.test.Odd Odd
check 0 "lines of all kinds: status 0"
out '"words"
{"a":[1,2]}
""
"{\"cut\""
"\tx "
"a�b"
"last"' "a line is JSON or a string; the last one needs no newline"

serve org.test.Nothing Nothing true
run "$BUSCTL" call --more org.test.Nothing Nothing
check 0 "no items: status 0"
out "" "no items: nothing is printed"

serve org.test.Fail Fail sh -c 'echo 1; echo "it is broken" >&2; exit 7'
run "$BUSCTL" call --more org.test.Fail Fail
check 1 "a command that fails in the end: status 1"
out 1 "a command that fails in the end: what came before that is printed"
err_has '^\{"error":"org.busd.CommandFailed","message":".*status 7.*it is broken"\}$' \
    "a command that fails in the end: said so"

childless() { ! children_of "$1" >/dev/null; }
serve org.test.Flood Flood sh -c 'echo 1; yes | tr -d "\n" | head -c 3000000; echo; echo 2'
run "$BUSCTL" call --more org.test.Flood Flood --timeout 20
check 0 "a line longer than message_bytes: status 0"
verify "a line longer than message_bytes comes whole, and what is behind it, too" \
    test "$(wc -l <"$OUT") $(wc -c <"$OUT") $(tail -n 1 "$OUT")" = "3 3000007 2"

# One that answers once to whoever wants more.
background plain "$BUSCTL" serve org.test.Plain Text -- printf '{"a":1}'
served org.test.Plain
run "$BUSCTL" call --more org.test.Plain Text
check 0 "one reply where several would do: status 0"
out '{"a":1}' "a last reply that is more than null is printed"
run "$BUSCTL" call --more bus GetId
out_has '^\{"id":"[0-9a-f]{32}"\}$' "the bus's own methods have one"
run "$BUSCTL" call --more org.test.Nobody M
check 4 "nobody owns the name: status 4"
run "$BUSCTL" call --more --no-reply org.test.Plain Text
check 2 "--more and --no-reply: status 2"
run "$BUSCTL" call --more --save-fd "$WORK/fds" org.test.Plain Text
check 2 "--more and --save-fd: status 2"

# --- much of it

"$BUSCTL" call --more org.test.Count To 100000 | cmp - <(seq 1 100000) >"$WORK/cmp" 2>&1
same "$WORK/cmp" "" "a hundred thousand items, in their order"
seen=$("$BUSCTL" call --more org.test.Count To 100000 | head -n 5 | tr '\n' ' ')
verify "into a pipe that is closed early" [ "$seen" = "1 2 3 4 5 " ]
verify "a pipe that is closed ends the call, and the command" until_true childless "$count_pid"

# A reader that stops: the command has to wait, and goes on when it reads again.
serve org.test.Endless Yes seq 1 1000000000
endless_pid=$LAST
mkfifo "$WORK/pipe"
"$BUSCTL" call --more org.test.Endless Yes >"$WORK/pipe" &
caller=$!
children+=("$caller")
exec 7<"$WORK/pipe"
written() { awk '$1 == "wchar:" { print $2 }' "/proc/$(children_of "$endless_pid")/io"; }
stands_still() {
    local before
    before=$(written)
    sleep 0.3
    [ "${before:-0}" -gt 0 ] && [ "$before" = "$(written)" ]
}
verify "a caller that does not read holds the command up" until_true stands_still
stopped_at=$(written)
beyond() {
    timeout 5 head -c 1000000 <&7 >/dev/null
    [ "$(written)" -gt "$stopped_at" ]
}
verify "it goes on when the caller reads on" until_true beyond
kill_silently "$caller"
exec 7<&-
verify "a caller that dies ends the command" until_true childless "$endless_pid"

# --- time

serve org.test.Slow Slow sh -c 'for i in 1 2 3 4; do echo $i; sleep 0.4; done; sleep 100'
slow_pid=$LAST
run "$BUSCTL" call --more org.test.Slow Slow --timeout 1
check 6 "a call over its time: status 6"
out '1
2
3
4' "the time is counted from one reply to the next"
verify "a call over its time ends its command" until_true childless "$slow_pid"
serve org.test.Deaf Deaf sh -c 'trap "" TERM; echo 1; sleep 0.5; echo 2'
deaf_pid=$LAST
run "$BUSCTL" call --more org.test.Deaf Deaf --timeout 0.2
check 6 "a command that does not heed its end: status 6"
verify "a command that does not heed its end comes to its own" until_true childless "$deaf_pid"

# --- shown to people

background items "$BUSCTL" monitor --json=off type=reply from=org.test.Count --count 1 --timeout 20
items=$LAST
until_true sh -c "'$BUSCTL' call --more org.test.Count To 1; grep -q . '$WORK/items.out'"
ended "$items"
has "$WORK/items.out" ' reply +more +#1 +1$' "monitor marks a reply that another follows"
run "$BUSCTL" introspect org.test.Count
out_has '"name":"To",.*"more":true' "introspect tells which methods answer several times"
run "$BUSCTL" --json=off introspect org.test.Count
out_has 'To +Runs the command sh \(several replies\)$' "introspect tells people, too"

finish
