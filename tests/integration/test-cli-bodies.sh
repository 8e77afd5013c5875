#!/bin/bash
# SPDX-License-Identifier: MIT
# busctl-lite and bodies that are longer than a line may be.

. "$(dirname "$0")/cli-lib.sh"
on_private_bus

{ head -c 2000000 /dev/zero | tr '\0' x | sed 's/.*/"&"/' && echo; } >"$WORK/large.json"

# --- there and back

background cat "$BUSCTL" serve org.test.Cat Cat -- cat
served org.test.Cat || not_ok "org.test.Cat is served"
run "$BUSCTL" call org.test.Cat Cat "@$WORK/large.json"
check 0 "call: status 0"
verify "call: the body comes back" cmp -s "$OUT" "$WORK/large.json"
err "" "call says nothing of fds"
run "$BUSCTL" call org.test.Cat Cat "@$WORK/large.json" --no-reply
check 0 "call --no-reply: status 0"

subscriber all 'org.test.#' --count 2 --timeout 20
all=$LAST
subscriber executed 'org.test.event' --count 1 --timeout 20 --exec "cat >$WORK/executed.json"
executed=$LAST
background watch "$BUSCTL" monitor --count 1 type=event topic=org.test.event
until_true sh -c '"$BUSCTL" stats | grep -q "\"monitors\":1"' || not_ok "the monitor starts"
run "$BUSCTL" publish org.test.event "@$WORK/large.json"
check 0 "publish: status 0"
cat "$WORK/large.json" "$WORK/large.json" |
    "$BUSCTL" publish org.test.lines --lines >"$OUT" 2>"$ERR"
STATUS=$?
check 0 "publish --lines: status 0"
verify "subscribe ends" ended "$all"
verify "subscribe prints all of it" \
    test "$(grep -o '"body":"x*"' "$WORK/all.out" | sed 's/"body"://' | sort -u)" = \
    "$(cat "$WORK/large.json")"
verify "subscribe --exec ends" ended "$executed"
verify "subscribe --exec hands it over" test "$(wc -c <"$WORK/executed.json")" -gt 2000000
verify "monitor ends" until_true grep -q body_fd "$WORK/watch.out"
verify "monitor shows that there is a body, and not the body" \
    grep -q '"fds":1,"message":{.*"body_fd":true}}$' "$WORK/watch.out"

# --- bodies that are no JSON, from somebody who does not care

cat >"$WORK/hostile.py" <<'END'
import array, fcntl, json, os, socket, sys

bus = socket.socket(socket.AF_UNIX)
bus.connect(os.environ["BUSD_ADDRESS"].removeprefix("unix:"))
lines = bus.makefile("r", encoding="utf-8")
lines.readline()

def send(text, body=b'{"a": \033[2J}', seals=15):
    fds = []
    if "body_fd" in text:
        fds.append(os.memfd_create("x", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING))
        os.write(fds[0], body)
        fcntl.fcntl(fds[0], fcntl.F_ADD_SEALS, seals)
    socket.send_fds(bus, [text.encode() + b"\n"], fds)

def call(text):
    send(text)
    return json.loads(lines.readline())

what = sys.argv[1]
if what == "events":
    event = '{"type":"event","topic":"org.test.bad","fds":1,"body_fd":true}'
    send(event)
    send(event, seals=0)
    send('{"type":"event","topic":"org.test.good","fds":1,"body_fd":true}', b"[1,\n2]")
    call('{"type":"call","id":1,"to":"bus","method":"Ping"}')
elif what == "call":
    error = call('{"type":"call","id":1,"to":"org.test.Cat","method":"Cat","fds":1,"body_fd":true}')
    print(error["error"], error["message"])
elif what == "serve":
    call('{"type":"call","id":1,"to":"bus","method":"RequestName","body":{"name":"org.test.Bad"}}')
    for line in lines:
        message = json.loads(line)
        if message["type"] == "call":
            send('{"type":"reply","to":"%s","id":%d,"fds":1,"body_fd":true}'
                 % (message["sender"], message["id"]))
END

subscriber hostile 'org.test.*' --count 1 --timeout 20
hostile=$LAST
run python3 "$WORK/hostile.py" events
check 0 "the events are published"
verify "subscribe goes on after an event whose body is no JSON" ended "$hostile"
sed 's/"sender":":[0-9]*"/"sender":":N"/' "$WORK/hostile.out" >"$OUT"
out '{"topic":"org.test.good","sender":":N","body":[1,2]}' "subscribe prints what is JSON alone"
has "$WORK/hostile.err" 'org.test.bad from :[0-9]+ is passed over: its body, at byte 6' \
    "subscribe says what it has passed over"
verify "nothing of it reaches the terminal" test "$(grep -c "$(printf '\033')" "$WORK/hostile.err")" -eq 0
run python3 "$WORK/hostile.py" call
out_has '^bus.InvalidArguments the body is not valid JSON: .*\(at byte 6\)$' "serve refuses such a call"
background bad python3 "$WORK/hostile.py" serve
served org.test.Bad || not_ok "org.test.Bad is served"
run "$BUSCTL" call org.test.Bad M
check 9 "call: a reply that is no JSON: status 9"
err_has 'the body of the reply is not valid JSON: line 1, column 7' "call says where"
verify "nothing of it reaches the terminal" test "$(grep -c "$(printf '\033')" "$ERR")" -eq 0
run "$BUSCTL" introspect org.test.Bad
check 9 "introspect: status 9"

# --- a bus that passes no fds


background narrow "$BUSD" --address "unix:$WORK/narrow" --limit fds_per_message=0 --print-address
until_true test -S "$WORK/narrow"
export BUSD_ADDRESS=unix:$WORK/narrow
background narrow-cat "$BUSCTL" serve org.test.Cat Cat -- cat
served org.test.Cat || not_ok "org.test.Cat is served"
background flood "$BUSCTL" serve org.test.Flood Flood -- sh -c 'yes x | head -c 3000000'
served org.test.Flood || not_ok "org.test.Flood is served"
run "$BUSCTL" call org.test.Cat Cat "@$WORK/large.json"
check 7 "a call larger than the bus takes: status 7"
run "$BUSCTL" call org.test.Cat Cat "@$WORK/large.json" --no-reply
check 7 "such a call without reply: status 7"
run "$BUSCTL" publish org.test.large "@$WORK/large.json"
check 7 "an event larger than the bus takes: status 7"
run "$BUSCTL" call org.test.Flood Flood --timeout 20
check 1 "output larger than the bus takes: status 1"
err_has 'larger than the bus takes' "output larger than the bus takes: said so"

background lines "$BUSCTL" serve --more org.test.Lines Lines -- \
    sh -c 'echo 1; yes | tr -d "\n" | head -c 3000000; echo; sleep 100'
lines=$LAST
served org.test.Lines || not_ok "org.test.Lines is served"
run "$BUSCTL" call --more org.test.Lines Lines --timeout 20
check 1 "a line larger than the bus takes: status 1"
out 1 "a line larger than the bus takes: what came before that is printed"
err_has 'a line that is larger than the bus takes' "a line larger than the bus takes: said so"
childless() { ! children_of "$1" >/dev/null; }
verify "a line larger than the bus takes ends its command" until_true childless "$lines"

finish
