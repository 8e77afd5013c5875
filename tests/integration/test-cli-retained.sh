#!/bin/bash
# SPDX-License-Identifier: MIT
# busctl-lite get and set, publish --retain, subscribe --retained.

. "$(dirname "$0")/cli-lib.sh"
on_private_bus

# --- set and get

run "$BUSCTL" get org.test.lamp
check 4 "get without a value: status 4"
err "busctl-lite: there is no value of 'org.test.lamp'" "get without a value: said so"
out "" "get without a value prints nothing"
run "$BUSCTL" set org.test.lamp level:=80 room=kitchen
check 0 "set: status 0"
out "" "set prints nothing"
run "$BUSCTL" get org.test.lamp
check 0 "get: status 0"
out '{"level":80,"room":"kitchen"}' "get prints the body"
run "$BUSCTL" get org.test.lamp --json=pretty
out '{
  "level": 80,
  "room": "kitchen"
}' "get --json=pretty: indented"
run_with '[1,
2]' "$BUSCTL" set org.test.door --disk -
check 1 "set --disk, from stdin, without a state folder: status 1"
err_has "bus.StorageFailed.*the bus has no state folder" "set --disk without one: why"
run "$BUSCTL" get 'org.test.#'
out '{"topic":"org.test.door","body":[1,2]}
{"topic":"org.test.lamp","body":{"level":80,"room":"kitchen"}}' "get of a pattern: with the topics, in order"
run "$BUSCTL" --json=off get 'org.test.*'
out_has '^org.test.door +\[1,2\]$' "get --json=off of a pattern: a line for people"
run "$BUSCTL" call bus Retained topic=org.test.door
out_has '"level":"disk"' "set --disk: the level"
run "$BUSCTL" call bus Retained topic=org.test.lamp
out_has '"level":"bus"' "set: the level"
run "$BUSCTL" get org.test.lamp --sender org.test.Nobody
check 4 "get --sender: another's value is none"
run "$BUSCTL" set org.test.lamp --clear
check 0 "set --clear: status 0"
run "$BUSCTL" get org.test.lamp
check 4 "set --clear: there is no value any more"
run "$BUSCTL" set org.test.short 1 --ttl 0.3
run "$BUSCTL" get org.test.short
out 1 "set --ttl: there at first"
gone() { ! "$BUSCTL" get org.test.short >/dev/null 2>&1; }
verify "set --ttl: over after that time" until_true gone
run "$BUSCTL" get bus.name.org.test.Nobody
check 4 "get of a name that nobody has: status 4"
run "$BUSCTL" get bus.subscribers.org.test.lamp
out '{"count":0}' "get tells how many listen"

# --- mistakes

run "$BUSCTL" set org.test.lamp
check 2 "set without a body: status 2"
err_has "Give BODY, or --clear" "set without a body: what to do"
run "$BUSCTL" set org.test.lamp 1 --clear
check 2 "set --clear with a body: status 2"
run "$BUSCTL" set org.test.lamp --clear --disk
check 2 "set --clear --disk: status 2"
run "$BUSCTL" set 'org.*' 1
check 2 "set of a pattern: status 2"
run "$BUSCTL" set org.test.lamp '{"a":'
check 9 "set with a body that is no JSON: status 9"
run "$BUSCTL" set bus.x 1
check 5 "set of a topic of the bus: status 5"
run "$BUSCTL" get 'org..x'
check 2 "get of what is no topic: status 2"
run "$BUSCTL" get 'bus.subscribers.#'
check 1 "get of a pattern of bus.subscribers: status 1"
run "$BUSCTL" publish org.test.x 1 --retain forever
check 2 "publish --retain with a wrong level: status 2"
err_has "it must be no, connection, bus or disk" "publish --retain with a wrong level: which there are"
run "$BUSCTL" publish org.test.x 1 --ttl 5
check 2 "publish --ttl without --retain: status 2"
run "$BUSCTL" publish org.test.x 1 --retain bus --ttl soon
check 2 "publish --ttl that is no time: status 2"
run "$BUSCTL" set org.test.x 1 --ttl 0
check 2 "set --ttl 0: status 2"
run "$BUSCTL" subscribe org.test.x --retained perhaps
check 2 "subscribe --retained with something else: status 2"

# --- publish and subscribe

seq 3 | "$BUSCTL" publish org.test.count --lines --retain bus --ttl 1000
run "$BUSCTL" get org.test.count
out 3 "publish --lines --retain: the last line is kept"
run "$BUSCTL" publish org.test.brief 1 --retain connection
run "$BUSCTL" get org.test.brief
check 4 "publish --retain connection: gone with the connection"
run "$BUSCTL" subscribe 'org.test.#' --retained only --timeout 20
check 0 "subscribe --retained only: ends by itself"
sed -i 's/"sender":":[0-9]*"/"sender":":N"/' "$OUT"
out '{"topic":"org.test.count","sender":":N","retained":true,"body":3}
{"topic":"org.test.door","sender":":N","retained":true,"body":[1,2]}' \
    "subscribe --retained only: all that there is"
run "$BUSCTL" subscribe org.test.nothing --retained only --timeout 20
check 0 "subscribe --retained only: ends when there is nothing"
run "$BUSCTL" subscribe org.test.count --count 1 --timeout 20
out_has '"retained":true,"body":3' "subscribe: the last value comes first"
subscriber later org.test.count --retained no --count 1 --timeout 20
later=$LAST
run "$BUSCTL" set org.test.count 4
verify "subscribe --retained no: ends with the event" ended "$later"
has "$WORK/later.out" '"body":4}$' "subscribe --retained no: the event"

finish
