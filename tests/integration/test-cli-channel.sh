#!/bin/bash
# SPDX-License-Identifier: MIT
# busctl-lite channel: with a service that takes channels, and with one that does not.

. "$(dirname "$0")/cli-lib.sh"
on_private_bus

book=org.example.AddressBook
background book "${BUILD_DIR:?}/libbus/examples/address-book-server" "$WORK/book.json"
book_pid=$LAST
served $book || not_ok "$book is served"
background cat "$BUSCTL" serve org.test.Cat Cat -- cat
served org.test.Cat || not_ok "org.test.Cat is served"

# --- calls

run_with 'Add {"name":"Ada"}
  Add {"name":"Grace"}

List
Find  {"text": "ada"}' "$BUSCTL" channel $book
check 0 "status 0"
out '{"id":1}
{"id":2}
{"entries":[{"id":1,"name":"Ada"},{"id":2,"name":"Grace"}]}
{"entries":[{"id":1,"name":"Ada"}]}' "a reply for each line, the last one without newline too"
err "" "nothing else is said"
before=$("$BUSCTL" status $book | grep -o '"calls":{[^}]*}')
run_with "$(seq 200 | sed 's/.*/Ping/')" "$BUSCTL" channel $book
verify "200 calls: 200 replies" test "$(grep -c '^{}$' "$OUT")" -eq 200
received=$("$BUSCTL" stats | grep -o '"received":[0-9]*' | head -n 1 | cut -d: -f2)
verify "the bus has seen none of them" test "$received" -lt 200
verify "the channel is closed" test "$before" = "$("$BUSCTL" status $book | grep -o '"calls":{[^}]*}')"

run_with 'Remove {"id":77}
Nonsense
Remove {"id":2}' "$BUSCTL" channel $book
check 1 "an error ends nothing, and is the status: that of the first"
out '{}' "the calls behind it are made"
err_has '"org.example.AddressBook.NoSuchEntry"' "the first error is told"
err_has '"bus.MethodUnknown"' "and so is the second"
run_with 'Find {"text":}' "$BUSCTL" channel $book
check 9 "a body that is no JSON: status 9"
err_has 'the body in line 1 of stdin is not valid JSON' "a body that is no JSON: where"
run_with '1-2' "$BUSCTL" channel $book
check 2 "what is no method: status 2"

# --- without a channel

run_with 'Cat {"a":1}' "$BUSCTL" channel org.test.Cat
check 0 "by way of the bus: status 0"
out '{"a":1}' "by way of the bus: the same answer"
err_has 'there is no direct channel to org.test.Cat, calls go by the bus: .*has no method' \
    "by way of the bus: said so, and why"
run_with 'Cat {"a":1}' "$BUSCTL" --quiet channel org.test.Cat
err "" "--quiet: not said"
run_with 'Cat {"a":1}' "$BUSCTL" channel org.test.Cat --require
check 4 "--require: status 4"
out "" "--require: no call is made"
err_has '"bus.MethodUnknown"' "--require: the reason"
run_with 'Cat' "$BUSCTL" channel org.test.Nobody
check 4 "nobody of that name: status 4"
run "$BUSCTL" channel bus
check 2 "the bus has no channels: status 2"

# --- ends

mkfifo "$WORK/input"
background waiting sh -c 'exec "$BUSCTL" channel '$book' <"$1"' sh "$WORK/input"
waiting=$LAST
exec 9>"$WORK/input"
echo Ping >&9
verify "a line is answered when it comes" until_true grep -q '^{}$' "$WORK/waiting.out"
kill "$book_pid"
verify "the service's end is noticed while stdin waits" ended "$waiting"
check 3 "the service's end: status 3"
has "$WORK/waiting.err" 'the other side closed the connection' "the service's end: said so"

finish
