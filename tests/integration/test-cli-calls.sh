#!/bin/bash
# SPDX-License-Identifier: MIT
# busctl-lite call, serve, list, status, ping, introspect, stats; file descriptors.

. "$(dirname "$0")/cli-lib.sh"
on_private_bus

serve() { # NAME METHOD COMMAND...: in the background, and waits for the name
    local name=$1 method=$2
    shift 2
    background "$name" "$BUSCTL" serve "$name" "$method" -- "$@"
    served "$name" || not_ok "$name is served"
}

# --- serve and call

serve org.test.Cat Cat cat
cat_pid=$LAST
run "$BUSCTL" call org.test.Cat Cat a=1 b:=2
check 0 "call: status 0"
out '{"a":"1","b":2}' "call prints the reply"
err "" "call says nothing"
run "$BUSCTL" call org.test.Cat Cat
out 'null' "no body is null, and comes back"
run "$BUSCTL" call org.test.Cat Cat -- -5
out '-5' "a number with a minus behind --"
run "$BUSCTL" call org.test.Cat Cat -5
out '-5' "a number with a minus is no option"
run "$BUSCTL" --quiet call --timeout 5 org.test.Cat --json=short Cat '"x"'
out '"x"' "options before, between and after the operands"
run_with '{"big":123456789012345678901234567890.5}' "$BUSCTL" call org.test.Cat Cat -
out '{"big":123456789012345678901234567890.5}' "a number of any length"

serve org.test.Plain Text printf 'two\nlines "quoted"\t\303\244\n\n'
run "$BUSCTL" call org.test.Plain Text
out '"two\nlines \"quoted\"\tä"' "output that is no JSON is answered as a string"
serve org.test.Bytes Bytes printf 'a\377b'
run "$BUSCTL" call org.test.Bytes Bytes
out '"a�b"' "output that is not UTF-8 is made so"
serve org.test.Nothing Nothing true
run "$BUSCTL" call org.test.Nothing Nothing a=1
out 'null' "no output is null; a body that nobody reads does no harm"
serve org.test.Pretty Pretty printf '{\n  "a": 1\n}\n'
run "$BUSCTL" call org.test.Pretty Pretty
out '{"a":1}' "JSON over several lines"
serve org.test.Env Env sh -c 'echo "$BUS_METHOD $BUS_SENDER $BUS_PATH"'
run "$BUSCTL" call org.test.Env Env --path /lamps/1
out_has '^"Env :[0-9]+ /lamps/1"$' "the command's environment tells the call"

run "$BUSCTL" call org.test.Env Env --path 'a"b'
check 2 "a bad path: status 2"
err_has "without quotes" "a bad path: what would be right"

serve org.test.Fail Fail sh -c 'echo first >&2; echo "it is broken" >&2; exit 7'
run "$BUSCTL" call org.test.Fail Fail
check 1 "a command that fails: status 1"
err_has '^\{"error":"org.busd.CommandFailed","message":".*status 7.*it is broken"\}$' \
    "a command that fails: status and stderr in the error"
out "" "an error prints nothing on stdout"
serve org.test.Killed Killed sh -c 'kill -9 $$'
run "$BUSCTL" call org.test.Killed Killed
check 1 "a command that is killed: status 1"
err_has 'signal 9' "a command that is killed: by which signal"
serve org.test.Missing Missing "$WORK/no-such-command"
run "$BUSCTL" call org.test.Missing Missing
check 1 "a command that is missing: status 1"
err_has 'no-such-command: No such file' "a command that is missing: said so"
serve org.test.Flood Flood sh -c 'yes x | head -c 3000000'
run "$BUSCTL" call org.test.Flood Flood --timeout 20
check 0 "output longer than a line may be: status 0"
verify "output longer than a line may be: all of it" test "$(wc -c <"$OUT")" -eq 4500001

# --- errors and their statuses

run "$BUSCTL" call org.test.Nobody M
check 4 "nobody owns the name: status 4"
err_has '^\{"error":"bus.NameUnknown","message":".*org.test.Nobody.*"\}$' "nobody owns the name: JSON on stderr"
run "$BUSCTL" call :999999 M
check 4 "no such unique name: status 4"
run "$BUSCTL" call org.test.Cat Dog
check 4 "no such method: status 4"
err_has '"bus.MethodUnknown"' "no such method: its name"
run "$BUSCTL" call bus Dog
check 4 "no such method of the bus: status 4"
run "$BUSCTL" call bus Subscribe '{"topic":"a..b"}'
check 1 "arguments the bus does not like: status 1"
serve org.test.Slow Slow sleep 30
run "$BUSCTL" call org.test.Slow Slow --timeout 0.2
check 6 "a call over its time: status 6"
err_has '"bus.Timeout"' "a call over its time: its name"
# The bus waits for an answer; a child of the service could be of a call before.
call_outstanding() { "$BUSCTL" --json=short stats | grep -q '"calls":[1-9]'; }
childless() { ! children_of "$1" >/dev/null; }
slow_pid=$LAST
verify "the command of a call that is over its time is ended" until_true childless "$slow_pid"
run "$BUSCTL" call org.test.Slow Slow --no-reply
check 0 "--no-reply: status 0 at once"
out "" "--no-reply prints nothing"
run "$BUSCTL" call org.test.Nobody M --no-reply
check 0 "--no-reply: errors are not reported"
background dying "$BUSCTL" call org.test.Slow Slow
dying=$LAST
until_true call_outstanding
kill_silently "$slow_pid"
verify "a call to a service that dies ends" ended "$dying"
check 1 "a call to a service that dies: status 1"
has "$WORK/dying.err" '"bus.NoReply"' "a call to a service that dies: its name"

# --- serve: names, many calls, ends

run "$BUSCTL" serve org.test.Cat Other -- cat
check 1 "a name that is taken: status 1"
err_has '"bus.NameTaken","message":".*org.test.Cat' "a name that is taken: said so"

# Each goes on only when sixteen have been started.
mkdir "$WORK/together"
serve org.test.Many Many sh -c "touch '$WORK/together/'\$\$; until [ \$(ls '$WORK/together' | wc -l) -ge 16 ]; do sleep 0.02; done; cat"
for i in $(seq 40); do
    "$BUSCTL" call org.test.Many Many "$i" >"$WORK/many.$i" 2>&1 &
    calls[i]=$!
done
wait "${calls[@]}"
right=0
for i in $(seq 40); do
    [ "$(cat "$WORK/many.$i")" = "$i" ] && right=$((right + 1))
done
verify "40 calls at once, sixteen side by side, all get their own answers" test "$right" -eq 40
many_pid=$LAST
verify "all commands are reaped" childless "$many_pid"
before=$(ls "/proc/$many_pid/fd" | wc -l)
run "$BUSCTL" call org.test.Many Many 1
after=$(ls "/proc/$many_pid/fd" | wc -l)
verify "a call leaves no descriptor behind ($before before, $after after)" test "$before" -eq "$after"

for signal in TERM HUP; do
    serve org.test.End End sh -c 'sleep 30'
    end=$LAST
    background ending "$BUSCTL" call org.test.End End
    until_true children_of "$end"
    command=$(children_of "$end")
    kill -"$signal" "$end"
    verify "serve ends at SIG$signal" ended "$end"
    check 0 "serve ends at SIG$signal with status 0"
    verify "serve takes its commands along" until_true gone "$command"
done

# --- list, status, ping, introspect, stats

run "$BUSCTL" list
check 0 "list: status 0"
out_has "^\{\"name\":\"org.test.Cat\",\"owner\":\":[0-9]+\",\"pid\":$cat_pid,\"uid\":$(id -u),\"user\":\"$(id -un)\",\"command\":\"busctl-lite\",\"queue\":\[\]\}$" \
    "list: a well-known name"
out_has '^\{"name":":[0-9]+","owner":":[0-9]+",' "list: unique names too"
run "$BUSCTL" list --acquired
verify "list --acquired: no unique names" bash -c "! grep -q '\"name\":\":' '$OUT'"
out_has '"org.test.Cat"' "list --acquired: well-known names"
names=$(grep -o '"name":"[^"]*"' "$OUT")
verify "list --acquired is sorted" test "$names" = "$(sort <<<"$names")"
run "$BUSCTL" list --unique
verify "list --unique: only unique names" bash -c "! grep -v '\"name\":\":' '$OUT'"
run "$BUSCTL" list --unique --acquired
out_has '"org.test.Cat"' "list with both: both"
out_has '"name":":' "list with both: really both"

run "$BUSCTL" status
check 0 "status: status 0"
out_has "\"address\":\"$BUSD_ADDRESS\"" "status of the bus: its address"
out_has '"version":"[0-9.]+"' "status of the bus: its version"
run "$BUSCTL" status org.test.Cat
check 0 "status of a name: status 0"
out_has "\"pid\":$cat_pid[,}]" "status of a name: its process"
out_has '"gids":\[' "status of a name: its groups"
out_has '"names":\["org.test.Cat"\]' "status of a name: its names"
run "$BUSCTL" status org.test.Nobody
check 4 "status of an unknown name: status 4"
run "$BUSCTL" status --json=off
out_has "^address +$BUSD_ADDRESS$" "status of the bus for people"
run "$BUSCTL" status org.test.Cat --json=off
out_has "^process +$cat_pid busctl-lite$" "status of a name for people: its process"
out_has "^user +$(id -un) \($(id -u)\)$" "status of a name for people: its user"

run "$BUSCTL" ping
check 0 "ping: status 0"
out_has '^\{"name":"bus","number":1,"milliseconds":[0-9]+\.[0-9]{3}\}$' "ping prints the round trip"
run "$BUSCTL" ping org.test.Cat --count 3
verify "ping --count 3: three lines" test "$(wc -l <"$OUT")" -eq 3
run "$BUSCTL" ping org.test.Cat --count 3 --json=off
out_has '^3 round trips: least [0-9.]+ ms, mean [0-9.]+ ms, most [0-9.]+ ms$' "ping for people sums up"
run "$BUSCTL" ping org.test.Nobody
check 4 "ping of an unknown name: status 4"

run "$BUSCTL" introspect bus
check 0 "introspect bus: status 0"
out_has '"name":"RequestName"' "introspect bus: its methods"
run "$BUSCTL" introspect org.test.Cat
out_has '"name":"Cat","description":"Runs the command cat"' "introspect: the method and what it does"
run "$BUSCTL" introspect org.test.Cat --json=off
out_has '^  Cat +Runs the command cat$' "introspect for people"
run "$BUSCTL" introspect org.test.Nobody
check 4 "introspect of an unknown name: status 4"

run "$BUSCTL" stats
check 0 "stats: status 0"
out_has '"messages":\{"received":[0-9]+' "stats: the counters"
run "$BUSCTL" stats --json=off
out_has '^messages received +[0-9]+$' "stats for people"

# --- file descriptors

cat >"$WORK/giver.py" <<'END'
# A peer that answers Give with a memory file, positioned at its end, and a pipe;
# and Take with what it reads from the descriptor that came along.
import json, os, socket, sys

bus = socket.socket(socket.AF_UNIX)
bus.connect(os.environ["BUSD_ADDRESS"].removeprefix("unix:"))
bus.sendall(b'{"type":"call","id":1,"to":"bus","method":"RequestName","body":{"name":"org.test.Giver"}}\n')
data = b""
fds = []
while True:
    while b"\n" not in data:
        more, new, _, _ = socket.recv_fds(bus, 65536, 16)
        if not more:
            sys.exit()
        data += more
        fds += new
    line, data = data.split(b"\n", 1)
    message = json.loads(line)
    if message["type"] != "call":
        continue
    mine = [fds.pop(0) for _ in range(message.get("fds", 0))]
    reply = {"type": "reply", "to": message["sender"], "id": message["id"]}
    send = []
    if message["method"] == "Give":
        memory = os.memfd_create("given")
        os.write(memory, b"from a memory file\n")
        ends = os.pipe()
        os.write(ends[1], b"from a pipe\n")
        os.close(ends[1])
        send = [memory, ends[0]]
        reply["fds"] = 2
    else:
        reply["body"] = [os.read(fd, 1000).decode() for fd in mine]
    socket.send_fds(bus, [json.dumps(reply).encode() + b"\n"], send)
    for fd in mine + send:
        os.close(fd)
END
background giver python3 "$WORK/giver.py"
served org.test.Giver

run "$BUSCTL" call org.test.Giver Give
check 0 "descriptors that nobody wants: status 0"
out 'null' "descriptors that nobody wants: the body is printed"
err_has '2 file descriptors came with the reply and are closed' "descriptors that nobody wants: said so"
run "$BUSCTL" call org.test.Giver Give --quiet
err "" "--quiet: nothing about them"
run "$BUSCTL" call org.test.Giver Give --save-fd "$WORK/saved"
check 0 "--save-fd: status 0"
same "$WORK/saved/fd-0" "from a memory file" "--save-fd: a file, from its start"
same "$WORK/saved/fd-1" "from a pipe" "--save-fd: a pipe, to its end"
err_has "saved $WORK/saved/fd-0, 19 bytes" "--save-fd says what it saved"
verify "--save-fd: the directory is private" test "$(stat -c %a "$WORK/saved")" = 700
run "$BUSCTL" call org.test.Giver Give --save-fd "$WORK/saved"
check 1 "--save-fd does not overwrite: status 1"
err_has "$WORK/saved/fd-0 is there already" "--save-fd does not overwrite: said so"
same "$WORK/saved/fd-0" "from a memory file" "--save-fd does not overwrite"
rm "$WORK/saved/fd-0"
run "$BUSCTL" call org.test.Giver Give --save-fd "$WORK/saved"
check 1 "--save-fd: a second file in the way: status 1"
same "$WORK/saved/fd-0" "from a memory file" "--save-fd: what can be saved is"
run "$BUSCTL" call org.test.Giver Give --save-fd "$WORK/saved/fd-0"
check 1 "--save-fd into what is no directory: status 1"
run "$BUSCTL" call org.test.Cat Cat 1 --save-fd "$WORK/none"
check 0 "--save-fd without descriptors: status 0"

echo "hello file" >"$WORK/hello"
run "$BUSCTL" call org.test.Giver Take --fd "$WORK/hello"
out '["hello file\n"]' "--fd passes a file"
run bash -c "'$BUSCTL' call org.test.Giver Take --fd @5 --fd '$WORK/hello' 5<'$WORK/hello'"
out '["hello file\n","hello file\n"]' "--fd passes two, one by its number"
run "$BUSCTL" call org.test.Giver Take --fd "$WORK/missing"
check 2 "--fd of a missing file: status 2"
run "$BUSCTL" call org.test.Giver Take --fd @77
check 2 "--fd of a number that is not open: status 2"
err_has "77 is not open" "--fd of a number that is not open: said so"
run "$BUSCTL" call org.test.Giver Take --fd @x
check 2 "--fd @x: status 2"
many_fds=()
for i in $(seq 100); do many_fds+=(--fd "$WORK/hello"); done
run "$BUSCTL" call org.test.Giver Take "${many_fds[@]}" --timeout 5
check 7 "more descriptors than the bus allows: status 7"

finish
