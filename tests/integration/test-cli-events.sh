#!/bin/bash
# SPDX-License-Identifier: MIT
# busctl-lite publish, subscribe, wait, monitor; the forms of output.

. "$(dirname "$0")/cli-lib.sh"
on_private_bus

# --- publish and subscribe

subscriber one 'org.test.#' --count 3 --timeout 20
one=$LAST
run "$BUSCTL" publish org.test.a n:=1 text='two words'
check 0 "publish: status 0"
out "" "publish prints nothing"
err "" "publish says nothing"
run_with '[1, 2,
 3]' "$BUSCTL" publish org.test.b -
check 0 "publish from stdin, over two lines: status 0"
run "$BUSCTL" publish org.other
echo '{"from": "a file", "big": 123456789012345678901234567890}' >"$WORK/body.json"
run "$BUSCTL" publish org.test.c.d "@$WORK/body.json"
check 0 "publish from a file: status 0"
verify "subscribe --count ends" ended "$one"
check 0 "subscribe --count: status 0"
sed 's/"sender":":[0-9]*"/"sender":":N"/' "$WORK/one.out" >"$OUT"
out '{"topic":"org.test.a","sender":":N","body":{"n":1,"text":"two words"}}
{"topic":"org.test.b","sender":":N","body":[1,2,3]}
{"topic":"org.test.c.d","sender":":N","body":{"from":"a file","big":123456789012345678901234567890}}' \
    "subscribe prints what matches, in order, numbers untouched"
same "$WORK/one.err" "" "subscribe says nothing on stderr"

subscriber late 'org.test.#' --count 2 --timeout 2
late=$LAST
run "$BUSCTL" publish org.test.only
verify "subscribe --timeout ends" ended "$late"
check 6 "fewer events than --count: status 6"
has "$WORK/late.err" "1 of 2 events" "fewer events than --count: said so"
lines=$(wc -l <"$WORK/late.out")
verify "what had come was printed" test "$lines" -eq 1
run "$BUSCTL" subscribe org.test.x --timeout 0.1
check 0 "--timeout without --count: status 0"

subscriber twice 'org.test.*' 'org.test.#' --count 2 --timeout 20
twice=$LAST
run "$BUSCTL" publish org.test.first
run "$BUSCTL" publish org.test.second
ended "$twice"
verify "an event that two patterns match is printed once" \
    test "$(grep -c first "$WORK/twice.out")" -eq 1

background echo "$BUSCTL" serve org.test.Echo Echo -- cat
served org.test.Echo
subscriber from 'org.#' --sender org.test.Echo --timeout 2
from=$LAST
run "$BUSCTL" publish org.stranger
ended "$from"
same "$WORK/from.out" "" "--sender keeps others out"

# --- names that are guarded: denied

run "$BUSCTL" publish org.test.Echo.changed
check 5 "a topic below somebody else's name: status 5"
err_has '^\{"error":"bus.AccessDenied","message":".+"\}$' "a denied publish: JSON on stderr"
out "" "a denied publish prints nothing on stdout"
run "$BUSCTL" publish bus.name.org.test
check 5 "a topic of the bus: status 5"
run "$BUSCTL" --json=off publish org.test.Echo.changed
err_has '^busctl-lite: .*\(bus.AccessDenied\)$' "--json=off: a sentence on stderr"
yes 1 | head -20 >"$WORK/twenty"
"$BUSCTL" publish org.test.Echo.changed --lines <"$WORK/twenty" >"$OUT" 2>"$ERR"
STATUS=$?
check 5 "denied lines: status 5"
verify "denied lines are reported once" test "$(wc -l <"$ERR")" -eq 1

# --- too large

head -c 2000000 /dev/zero | tr '\0' x | sed 's/.*/"&"/' >"$WORK/large.json"
run "$BUSCTL" call bus Ping "@$WORK/large.json" --timeout 5
check 7 "a call over the limit: status 7"

# --- many lines

subscriber many org.test.many --count 10000 --timeout 60
many=$LAST
seq 10000 | "$BUSCTL" publish org.test.many --lines >"$OUT" 2>"$ERR"
STATUS=$?
check 0 "10 000 lines: status 0"
verify "10 000 lines: the subscriber ends" ended "$many"
check 0 "10 000 lines: all have come"
grep -o '"body":[0-9]*' "$WORK/many.out" | cut -d: -f2 >"$WORK/got"
seq 10000 >"$WORK/sent"
verify "10 000 lines: in their order, none twice" cmp -s "$WORK/sent" "$WORK/got"

subscriber bulk org.test.bulk --timeout 60
bulk=$LAST
body=$(head -c 100000 /dev/zero | tr '\0' y)
for i in $(seq 300); do echo "\"$body\""; done >"$WORK/bulk.txt"
"$BUSCTL" publish org.test.bulk --lines <"$WORK/bulk.txt" >"$OUT" 2>"$ERR"
STATUS=$?
check 0 "30 MB of lines, more than any buffer: status 0"
accounted_for() {
    received=$(wc -l <"$WORK/bulk.out")
    lost=$(sed -n 's/.*: \([0-9]*\) events were lost.*/\1/p' "$WORK/bulk.err" | awk '{n += $1} END {print n + 0}')
    [ $((received + lost)) -eq 300 ]
}
verify "30 MB of lines: those that came and those reported lost are all" until_true accounted_for
kill "$bulk"

subscriber bad org.test.bad --count 2 --timeout 20
bad=$LAST
run_with '1

2
{"broken":
3
' "$BUSCTL" publish org.test.bad --lines
check 9 "a bad line: status 9"
err_has "line 4 of stdin is not valid JSON" "a bad line: its number"
verify "a bad line: the good ones before it were sent" ended "$bad"
check 0 "a bad line: both of them"
run_with '1' "$BUSCTL" publish org.test.bad --lines
check 0 "a last line without newline: status 0"
run_with '' "$BUSCTL" publish org.test.bad --lines
check 0 "no lines: status 0"
subscriber slow org.test.slow --count 2 --timeout 20
slow=$LAST
(
    echo 1
    until_true lines_reach "$WORK/slow.out" 1 && echo 2
) | "$BUSCTL" publish org.test.slow --lines
verify "a line is published when it comes, not when stdin ends" ended "$slow"
check 0 "a line is published when it comes: both have come"

# --- --exec

cat >"$WORK/handler" <<END
echo "\$BUS_TOPIC \$(cat)" >>"$WORK/exec.log"
exit 3
END
subscriber exec 'org.test.#' --count 2 --timeout 20 --exec "sh $WORK/handler; read x; sh -c 'exit 3'"
exec=$LAST
run "$BUSCTL" publish org.test.e1 a=1
run "$BUSCTL" publish org.test.e2
verify "--exec ends after --count" ended "$exec"
check 0 "--exec: status 0 although the command failed"
has "$WORK/exec.log" '^org.test.e1 \{"topic":"org.test.e1","sender":":[0-9]+","body":\{"a":"1"\}\}$' \
    "--exec: the event on stdin, the topic in the environment"
has "$WORK/exec.log" '^org.test.e2 ' "--exec: the next event too"
has "$WORK/exec.err" "ended with status 3" "--exec: a failure is noted"
same "$WORK/exec.out" "" "--exec: nothing else on stdout"

# --- wait

run "$BUSCTL" wait org.test.never --timeout 0.1
check 6 "wait for what does not come: status 6"
err_has "org.test.never has not come" "wait: said so"
background waiter "$BUSCTL" wait 'org.test.*.done' --timeout 20
waiter=$LAST
until_true sh -c "'$BUSCTL' publish org.test.job.done ok:=true; grep -q . '$WORK/waiter.out'"
ended "$waiter"
check 0 "wait: status 0"
has "$WORK/waiter.out" '^\{"topic":"org.test.job.done","sender":":[0-9]+","body":\{"ok":true\}\}$' \
    "wait prints the event"
run "$BUSCTL" wait --name org.test.Echo --timeout 5
check 0 "wait --name of a name that is owned: status 0"
out_has '^\{"name":"org.test.Echo","owner":":[0-9]+"\}$' "wait --name prints the owner"
run "$BUSCTL" wait --name org.test.Nobody --timeout 0.1
check 6 "wait --name of a name that nobody owns: status 6"
background name "$BUSCTL" wait --name org.test.Later --timeout 20
name=$LAST
sleep 0.1
background later "$BUSCTL" serve org.test.Later M -- true
later=$LAST
verify "wait --name ends when the name is taken" ended "$name"
check 0 "wait --name: status 0"
kill "$later"
run "$BUSCTL" wait bus.name.org.test.Echo --timeout 5
check 0 "what is now counts as an event of the bus's own topics"
out_has '"retained":true' "what is now is marked"

# --- a stdout that is closed

closed_pipe() { # COMMAND...: its reader is gone at once; it must end by itself
    "$@" > >(exec true) 2>"$ERR" &
    children+=($!)
    ended $!
}

verify "subscribe ends when the reader of its output goes, without any event" \
    closed_pipe "$BUSCTL" subscribe org.test.silence
check 141 "subscribe ends like any program whose pipe is closed"
verify "monitor ends when the reader of its output goes" \
    closed_pipe "$BUSCTL" monitor to=org.test.Silence
"$BUSCTL" publish org.test.pipe >/dev/null
"$BUSCTL" subscribe org.test.pipe 2>"$ERR" | head -1 >"$OUT" &
pipe=$!
until_true sh -c "'$BUSCTL' publish org.test.pipe; grep -q . '$OUT'"
verify "subscribe | head -1 ends" ended "$pipe"
out_has '"topic":"org.test.pipe"' "subscribe | head -1: one event"
err "" "subscribe | head -1: no complaint"
run bash -c "'$BUSCTL' stats >/dev/full"
check 1 "a full disk: status 1"
err_has "cannot write to stdout: No space left" "a full disk: said so"
run bash -c "'$BUSCTL' stats >&-"
check 1 "stdout closed from the start: status 1"

closed_pipe "$BUSCTL" publish org.test.pipe --lines
check 0 "publish does not mind who reads its output"

# --- monitor

background monitor "$BUSCTL" monitor type=call,to=org.test.Echo --count 1 --timeout 20
monitor=$LAST
until_true sh -c "'$BUSCTL' call org.test.Echo Echo x=1; grep -q . '$WORK/monitor.out'"
ended "$monitor"
check 0 "monitor --count: status 0"
has "$WORK/monitor.out" '^\{"time":[0-9.]+,"monotonic":[0-9.]+,"from":":[0-9]+","to":\[":[0-9]+"\],"fds":0,"message":\{"sender":.*"method":"Echo".*\}\}$' \
    "monitor prints the message with times, sender and receivers"
background topics "$BUSCTL" monitor type=event 'topic=org.test.m.*' --count 1 --timeout 20
topics=$LAST
until_true sh -c "'$BUSCTL' publish org.other.m.x; '$BUSCTL' publish org.test.m.y; grep -q . '$WORK/topics.out'"
ended "$topics"
has "$WORK/topics.out" '"topic":"org.test.m.y"' "monitor: filters given one by one"
background readable "$BUSCTL" monitor --json=off from=bus --count 1 --timeout 20
readable=$LAST
until_true sh -c "'$BUSCTL' call org.test.Nobody M; grep -q . '$WORK/readable.out'"
ended "$readable"
has "$WORK/readable.out" '^[0-9:]{8}\.[0-9]{3}  bus   -> :[0-9]+ .*' "monitor: a line for people"
run "$BUSCTL" monitor to=org.test.Silence --count 1 --timeout 0.1
check 6 "monitor: fewer than --count: status 6"

# --- the forms of output

run "$BUSCTL" call org.test.Echo Echo '{"a":[1,"x",null],"b":{},"c":[]}'
out '{"a":[1,"x",null],"b":{},"c":[]}' "into a pipe: one line"
run "$BUSCTL" call org.test.Echo Echo '{"a":[1,"x",null],"b":{},"c":[]}' --json=pretty
out '{
  "a": [
    1,
    "x",
    null
  ],
  "b": {},
  "c": []
}' "--json=pretty: indented"
run "$BUSCTL" call org.test.Echo Echo '{"a":1}' --json=off
verify "--json=off into a pipe: no colour" bash -c "! grep -q $'\033' '$OUT'"
run "$BUSCTL" call org.test.Echo Echo $'"\xc2\x9b31m \x7f"' --json=pretty
out '"\u009b31m \u007f"' "characters that a terminal would obey are escaped"

# On a terminal: `script` runs a command on one of its own.
on_terminal() {
    run script -qec "$*" /dev/null
    sed -i 's/\r$//' "$OUT"
}
export TERM=xterm-256color
on_terminal "$BUSCTL call org.test.Echo Echo '{\"a\":1}'"
out_has $'\033\\[' "on a terminal: colour"
on_terminal "NO_COLOR=1 $BUSCTL call org.test.Echo Echo '{\"a\":1}'"
out '{
  "a": 1
}' "on a terminal with NO_COLOR: indented, no colour"
on_terminal "TERM=dumb $BUSCTL list --acquired"
out_has '^NAME +OWNER +PID +USER +COMMAND +QUEUE$' "on a dumb terminal: a table without colour"
out_has '^org.test.Echo +:[0-9]+ +[0-9]+ +[^ ]+ +busctl-lite' "the table shows who owns the name"
on_terminal "$BUSCTL call org.test.Echo Echo '{\"a\":1}' --json=short"
out '{"a":1}' "on a terminal with --json=short: one line, no colour"
on_terminal "NO_COLOR=1 $BUSCTL call org.test.Nobody M"
out_has '^busctl-lite: .*org.test.Nobody.* \(bus.NameUnknown\)$' "on a terminal: errors for people"
check 4 "on a terminal: the status is the same"

background cut env TERM=xterm script -qec \
    "stty cols 90; NO_COLOR=1 '$BUSCTL' monitor type=event topic=org.test.cut --count 1 --timeout 20" /dev/null
cut=$LAST
until_true sh -c "'$BUSCTL' publish org.test.cut '\"$(printf '%0200d' 1)\"'; grep -q . '$WORK/cut.out'"
ended "$cut"
sed -i 's/\r$//' "$WORK/cut.out"
has "$WORK/cut.out" '^[0-9:.]{12}  :[0-9]+ +-> - +event  org.test.cut +"0+…$' "on a terminal: a message is one line"
verify "on a terminal: the line fits" test "$(wc -L <"$WORK/cut.out")" -eq 90

finish
