#!/bin/bash
# SPDX-License-Identifier: MIT
# busd --check-config: the files of conf/ are right, and what is wrong is named with its
# place. What cannot be read does not start a bus either. Then `busctl-lite explain` and
# `reload` on a bus with a policy.

. "$(dirname "$0")/cli-lib.sh"
conf=$(realpath "${SOURCE_DIR:-$(dirname "$0")/../..}")/conf

# --- what is shipped

for file in "$conf"/*.json; do
    run "$BUSD" --config "$file" --check-config
    check 0 "$(basename "$file") is right"
    out "the configuration is right" "$(basename "$file"): said so"
done
run "$BUSD" --system --config "$conf/system.json" --check-config
check 0 "system.json is a policy for a system bus"
for file in dashboard sandbox; do
    mkdir -p "$WORK/$file/conf.d"
    cp "$conf/$file.json" "$WORK/$file/conf.d/"
    run "$BUSD" --system --config-folder "$WORK/$file" --config-folder "$conf" --check-config
    check 0 "$file.json is right beside system.json"
done

# The rules that conf/README.md shows, for a user there is.
mkdir -p "$WORK/readme/policy.d"
sed -n '/^```json$/,/^```$/p' "$conf/README.md" | sed '/^```/d; s/"clockd"/"nobody"/' \
    >"$WORK/readme/policy.d/clock.json"
verify "README.md shows a file of rules" grep -q '"policy"' "$WORK/readme/policy.d/clock.json"
run "$BUSD" --system --config-folder "$WORK/readme" --config-folder "$conf" --check-config
check 0 "README.md's rules are right"

# --- the session that the project's README shows, in a folder of ours

readme=$(dirname "$conf")/README.md
mkdir "$WORK/try"
sed -n '/^\$ mkdir -p \/tmp\/try/,/^```$/p' "$readme" | sed "s#/tmp/try#$WORK/try#g" >"$WORK/session"
sed -n '/^{/,/^}/p' "$WORK/session" >"$WORK/try/user.json"
background try "$BUSD" --config-folder "$WORK/try"
try_pid=$LAST
until_true "$BUSCTL" --address "$WORK/try/bus" ping || not_ok "README.md's bus starts"
run "$BUSCTL" --json=off --address "$WORK/try/guests" call org.example.Clock Now
check 5 "README.md: the call is denied"
verify "README.md: in the words it shows" grep -qxF "$(cat "$ERR")" "$WORK/session"
run "$BUSCTL" --json=off --address "$WORK/try/bus" explain --user nobody own org.example.Clock
verify "README.md: explain says what it shows" grep -qxF "$(cat "$OUT")" "$WORK/session"
check 5 "README.md: explain says no"
run "$BUSCTL" --address "$WORK/try/bus" reload
check 0 "README.md: reload"
kill "$try_pid"
ended "$try_pid"

# --- what is wrong

printf '{\n  "policy": [\n    {"allow": "call", "user": "no-such-user"}\n  ]\n}\n' \
    >"$WORK/wrong.json"
run "$BUSD" --config "$WORK/wrong.json" --check-config
check 1 "an unknown user: status 1"
err "busd: $WORK/wrong.json:3:23: user: there is no user 'no-such-user'" "an unknown user: the place"
out "" "an unknown user: nothing on stdout"
run timeout 10 "$BUSD" --config "$WORK/wrong.json" --address "$WORK/bus"
check 1 "a bus with it does not start"
err "busd: $WORK/wrong.json:3:23: user: there is no user 'no-such-user'" "and says the same"
verify "nor is there a socket" test ! -e "$WORK/bus"
run timeout 10 "$BUSD" --system --config-folder "$WORK/none" --address "$WORK/bus"
check 1 "a system bus without a policy does not start"
err_has "a system bus needs a policy" "a system bus without a policy: said so"
run "$BUSD" --config "$WORK/none.json" --check-config
check 1 "a missing file: status 1"
err "busd: $WORK/none.json: No such file or directory" "a missing file: said so"

# --- explain and reload

mkdir "$WORK/folder"
cat >"$WORK/folder/user.json" <<END
{
  "listeners": [
    {"address": "unix:$WORK/bus"},
    {"address": "unix:$WORK/guest", "label": "guest"}
  ],
  "policy": [
    {"deny": "*", "listener": "guest", "reason": "guests only look"},
    {"deny": "call", "to": "org.test.Admin", "method": "Shutdown", "user": "nobody"},
    {"deny": "own", "uid": 12345},
    {"allow": "*"}
  ]
}
END
background busd "$BUSD" --config-folder "$WORK/folder"
busd_pid=$LAST
export BUSD_ADDRESS=unix:$WORK/bus
until_true "$BUSCTL" ping || not_ok "the bus starts"

explain() { run "$BUSCTL" explain "$@"; }
rule() { printf '{"allow":%s,"rule":{"file":"%s","index":%s}}' "$1" "$WORK/folder/user.json" "$2"; }

explain own org.test.A
check 0 "what is allowed: status 0"
out "$(rule true 4)" "what is allowed: the rule"
explain --user nobody call org.test.Admin Shutdown
check 5 "what is denied: status 5"
out "$(rule false 2)" "what is denied: the rule"
err "" "what is denied: nothing on stderr"
explain --user nobody call org.test.Admin Start
check 0 "another method"
explain --user root call org.test.Admin Shutdown
check 0 "another user"
explain --user 12345 own org.test.A
check 5 "a number that is no user's here"
explain --user nobody --listener guest connect
check 5 "through another listener"
out '{"allow":false,"rule":{"file":"'"$WORK/folder/user.json"'","index":1,"reason":"guests only look"}}' \
    "a rule's reason"
for question in connect monitor manage "publish a.b" "subscribe a.b" "call bus Ping"; do
    # shellcheck disable=SC2086
    explain $question
    check 0 "explain $question"
done
run "$BUSCTL" --json=off explain --user nobody call org.test.Admin Shutdown
check 5 "for people: status 5"
out "nobody may not call org.test.Admin Shutdown: $WORK/folder/user.json, rule 2" "for people: a sentence"
run "$BUSCTL" --json=off explain subscribe a.b
out "you may subscribe to a.b: $WORK/folder/user.json, rule 4" "for people: about oneself"
run "$BUSCTL" --json=off explain call bus Ping
out "you may call bus Ping: nothing forbids it" "for people: no rule"
background serve "$BUSCTL" serve org.test.Peer M -- true
served org.test.Peer
run "$BUSCTL" --json=off explain --peer org.test.Peer own org.test.A
out "org.test.Peer may own org.test.A: $WORK/folder/user.json, rule 4" "for people: about a peer"
explain --peer org.test.Nobody own org.test.A
check 4 "a peer that is not there: status 4"
run "$BUSCTL" --user explain --user nobody own org.test.A
check 0 "before the verb --user is the bus, behind it the user"

explain
check 2 "explain without a question: status 2"
explain fly
check 2 "no verb of the policy: status 2"
err_has "'fly' is nothing that a policy speaks of" "no verb of the policy: those there are"
for question in own call "call org.test.A" publish "connect now" "own a.b c.d"; do
    # shellcheck disable=SC2086
    explain $question
    check 2 "explain $question: status 2"
done
explain call org.test.A
err_has "busctl-lite explain call NAME METHOD" "half a question: told the whole"
explain subscribe 'a.*'
check 2 "a pattern: status 2"
explain own nodots
check 2 "no name: status 2"
explain --user no-such-user connect
check 2 "an unknown user: status 2"
err_has "there is no user 'no-such-user'" "an unknown user: said so"
explain --user root --peer :1 connect
check 2 "two who: status 2"
explain --listener guest connect
check 2 "a listener without a user: status 2"

# shellcheck disable=SC2016
sed -i 's/"own", "uid": 12345/"own", "uid": 54321/' "$WORK/folder/user.json"
run "$BUSCTL" reload
check 0 "reload: status 0"
out "" "reload says nothing"
explain --user 12345 own org.test.A
check 0 "the old rule is out of force"
explain --user 54321 own org.test.A
check 5 "the new one is in force"
mkdir "$WORK/folder/policy.d"
echo '{"policy": [{"deny": "own"},{"deny":"fly"}]}' >"$WORK/folder/policy.d/10.json"
run "$BUSCTL" reload
check 1 "reload of a wrong file: status 1"
err_has "$WORK/folder/policy.d/10.json:1:30: 'fly' is no verb" "reload of a wrong file: the place"
explain own org.test.A
check 0 "a wrong file changes nothing"
echo '{"policy": [{"deny": ["own","manage"]}]}' >"$WORK/folder/policy.d/10.json"
run "$BUSCTL" reload
check 0 "reload of the mended file"
explain own org.test.A
check 5 "a drop-in counts before the main file"
run "$BUSCTL" reload
check 5 "who may not manage may not reload: status 5"
kill "$busd_pid"
verify "the bus ends" ended "$busd_pid"
check 0 "the bus ends well"

finish
