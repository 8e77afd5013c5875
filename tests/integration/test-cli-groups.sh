#!/bin/bash
# SPDX-License-Identifier: MIT
# busctl-lite: several that serve one name, or share events.

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

# --- subscribe --group

for i in 1 2 3; do
    subscriber "member$i" 'org.test.job.*' --group workers --count 4
done
subscriber plain 'org.test.job.#' --count 12
for i in $(seq 12); do echo "$i"; done | "$BUSCTL" publish org.test.job.one --lines
for i in 1 2 3; do
    until_true lines_reach "$WORK/member$i.out" 4
    verify "member $i gets its part" lines_reach "$WORK/member$i.out" 4
done
until_true lines_reach "$WORK/plain.out" 12
verify "who is no member gets all" lines_reach "$WORK/plain.out" 12
cat "$WORK"/member?.out | grep -o '"body":[0-9]*' | cut -d: -f2 | sort -n | tr '\n' ' ' >"$OUT"
out '1 2 3 4 5 6 7 8 9 10 11 12 ' "and each event has gone to one member"
subscriber shown org.test.shown --group readers
run "$BUSCTL" status --json=off "$(name_of "$LAST")"
out_has 'org\.test\.shown as one of readers$' "status tells the group"
run "$BUSCTL" subscribe org.test.job --group a.b
check 2 "a bad name of a group: status 2"
err_has "only letters, digits" "… and what would be right"
run "$BUSCTL" subscribe org.test.job --group g --retained only
check 1 "last values for a group: refused"
err_has "a group gets no last values" "… and why"

finish
