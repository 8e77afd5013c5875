#!/bin/bash
# SPDX-License-Identifier: MIT
# busctl-lite get, set, introspect and subscribe with properties of a service.

. "$(dirname "$0")/cli-lib.sh"
on_private_bus

background lamp "${BUILD_DIR:-build}/libbus/examples/lamp"
lamp=$LAST
served org.example.Lamp || not_ok "the lamp is there"

run "$BUSCTL" get org.example.Lamp.level
check 0 "get: status 0"
out 80 "get: the first value"
subscriber watch 'org.example.Lamp.level' --count 3 --timeout 20
watch=$LAST
run "$BUSCTL" set org.example.Lamp.level 20
check 0 "set: status 0"
out "" "set prints nothing"
run "$BUSCTL" get 'org.example.Lamp.*'
out '{"topic":"org.example.Lamp.changes","body":1}
{"topic":"org.example.Lamp.level","body":20}
{"topic":"org.example.Lamp.maker","body":"Example"}' "get of all: their values"
run_with '[1' "$BUSCTL" set org.example.Lamp.level -
check 9 "set with a body that is no JSON: status 9"
run "$BUSCTL" set org.example.Lamp.level 120
check 1 "set refused by the service: status 1"
err_has "'level' is a number from 0 to 100, not 120" "set refused by the service: why"
run "$BUSCTL" set org.example.Lamp.changes 7
check 5 "set of a read-only one: status 5"
err_has "'changes' of org.example.Lamp is read-only" "set of a read-only one: why"
run "$BUSCTL" set org.example.Lamp.maker 7
check 5 "set of a constant: status 5"
err_has "'maker' of org.example.Lamp is constant" "set of a constant: why"
run "$BUSCTL" set org.example.Lamp.colour red:=1
check 1 "set of an unknown one: status 1"
err_has "org.example.Lamp has no property 'colour'; it has: level, changes, maker" \
    "set of an unknown one: which there are"
run "$BUSCTL" set org.example.Lamp.level 5 --disk
check 2 "set --disk: status 2"
err_has "'level' is a property of org.example.Lamp" "set --disk: why not"
run "$BUSCTL" set org.example.Lamp.level.x 5
check 5 "set below a property: the topic is the service's"

run "$BUSCTL" introspect org.example.Lamp
out_has '"properties":\[\{"name":"level","description":"How bright' "introspect: the properties"
run "$BUSCTL" --json=off introspect org.example.Lamp
out 'org.example.Lamp  A lamp to be dimmed.
  .level   = 20  How bright it is, in percent.
  .changes = 1  How often somebody has set the level. (read-only)
  .maker   = "Example"  Who made it. (constant)' "introspect --json=off: with their values"

kill "$lamp"
verify "subscribe: ends with the service" ended "$watch"
sed -i 's/"sender":":[0-9]*"/"sender":":N"/' "$WORK/watch.out"
has "$WORK/watch.out" '"retained":true,"body":80}$' "subscribe: the value first"
has "$WORK/watch.out" '"sender":":N","body":20}$' "subscribe: the change"
has "$WORK/watch.out" '"body":null}$' "subscribe: the end"
run "$BUSCTL" get org.example.Lamp.level
check 4 "get: no value without the service"
run "$BUSCTL" set org.example.Lamp.level 3
check 0 "set without the service: a topic like any other"

# One that says nothing of properties.
background serve "$BUSCTL" serve org.test.Plain Cat -- cat
served org.test.Plain
run "$BUSCTL" set org.test.Plain.level 3
check 5 "set below a name without properties: status 5"
err_has "bus.AccessDenied" "set below a name without properties: the bus refuses"

finish
