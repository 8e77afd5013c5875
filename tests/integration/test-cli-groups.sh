#!/bin/bash
# SPDX-License-Identifier: MIT
# busctl-lite: several that serve one name.

. "$(dirname "$0")/cli-lib.sh"
on_private_bus

# --- serve --shared

owners() { # NAME COUNT: so many own the name
    [ "$("$BUSCTL" list --acquired | grep "\"name\":\"$1\"" | grep -o '"owners":\[[^]]*\]' |
        grep -o '":[0-9]' | wc -l)" -eq "$2" ]
}

worker() { # NAME
    background "$1" "$BUSCTL" serve --shared org.test.Work Do -- echo "\"$1\""
}

ask() { "$BUSCTL" call org.test.Work Do; }

worker one
one=$LAST
worker two
until_true owners org.test.Work 2
verify "list tells both owners" owners org.test.Work 2
run "$BUSCTL" serve org.test.Work Do -- true
check 1 "a name that others share is taken: status 1"
err_has 'NameTaken.*shared:true' "… and how it could be had is said"
for i in 1 2 3 4; do ask; done | sort | uniq -c | tr -s ' ' >"$OUT"
out $' 2 "one"\n 2 "two"' "calls go round"
"$BUSCTL" --json=off list --acquired >"$OUT"
out_has '^org\.test\.Work +:[0-9]+ :[0-9]+ ' "list as a table tells both owners"
kill_silently "$one"
until_true owners org.test.Work 1
for i in 1 2 3; do ask; done | sort | uniq -c | tr -s ' ' >"$OUT"
out ' 3 "two"' "who is left gets them all"

finish
