#!/bin/bash
# SPDX-License-Identifier: MIT
# busctl-lite publish --receipt and --require, publish --lines at the pace of its readers,
# subscribe --latest and --overflow.

. "$(dirname "$0")/cli-lib.sh"
on_private_bus

# --- receipts

run "$BUSCTL" publish org.test.a --receipt n:=1
check 0 "--receipt with nobody: status 0"
out '{"matched":0,"queued":0,"dropped":0}' "--receipt with nobody: says so"
run "$BUSCTL" publish org.test.a --require 1
check 8 "--require 1 with nobody: status 8"
out "" "--require prints nothing"
err "busctl-lite: org.test.a: nobody got it, and 1 had to" "--require 1 with nobody: says so"

subscriber one 'org.test.#'
one=$LAST
run "$BUSCTL" publish org.test.a --require 1
check 0 "--require 1 with one: status 0"
err "" "--require 1 with one: says nothing"
run "$BUSCTL" publish org.test.a --receipt --require 2
check 8 "--require 2 with one: status 8"
out '{"matched":1,"queued":1,"dropped":0}' "--receipt and --require"
run "$BUSCTL" publish bus.test --receipt
check 5 "what may not be published has no receipt: status 5"
out "" "what may not be published has no receipt"
run "$BUSCTL" publish org.test.a --require 0
check 2 "--require 0: status 2"

# --- lines

run_with '1
2

[3]' "$BUSCTL" publish org.test.b --lines --receipt --require 1
check 0 "--lines --receipt: status 0"
out '{"events":3,"matched":3,"queued":3,"dropped":0}' "--lines --receipt: the sum"
run_with '1
2' "$BUSCTL" publish org.test.b --lines --require 2
check 8 "--lines --require: status 8"
err "busctl-lite: org.test.b: one of the events: 1 got it, and 2 had to" \
    "--lines --require: says so"
run_with '1
2
3' "$BUSCTL" publish bus.test --lines
check 5 "--lines that may not be published: status 5"
lines=$(wc -l <"$ERR")
verify "--lines that may not be published: said once" test "$lines" -eq 1
run_with '1
nonsense
3' "$BUSCTL" publish org.test.b --lines --receipt
check 9 "--lines with a bad one: status 9"
kill "$one"
ended "$one"

# --- a reader that takes its time

# slow NAME OPTION...: subscribes, and reads nothing until $WORK/go is there.
slow() {
    name=$1
    shift
    rm -f "$WORK/go"
    "$BUSCTL" subscribe 'org.slow.#' --timeout 30 "$@" 2>"$WORK/$name.err" | {
        until [ -e "$WORK/go" ]; do sleep 0.05; done
        cat >"$WORK/$name.out"
    } &
    slow=$!
    until "$BUSCTL" stats | grep -q '"subscriptions":2'; do sleep 0.05; done
}

many() {
    awk -v n="$1" 'BEGIN { for (i = 1; i <= n; i++) printf "\"%d %0200d\"\n", i, 0 }'
}

slow all --count 100000
many 100000 | "$BUSCTL" publish org.slow.a --lines &
publisher=$!
sleep 0.5
verify "publish --lines waits for a slow reader" kill -0 "$publisher"
touch "$WORK/go"
wait "$publisher"
verify "… and ends when it has read" test $? -eq 0
ended "$slow"
sed 's/.*"\([0-9]*\) .*/\1/' "$WORK/all.out" >"$WORK/numbers"
seq 100000 >"$WORK/all.numbers"
verify "the slow reader has got all, in order" cmp "$WORK/numbers" "$WORK/all.numbers"
same "$WORK/all.err" "" "the slow reader has lost nothing"

slow newest --latest --timeout 2
many 30000 | "$BUSCTL" publish org.slow.a --lines
run "$BUSCTL" publish org.slow.a '"the newest"' --receipt
out '{"matched":1,"queued":1,"dropped":0}' "--latest: the newest is queued"
touch "$WORK/go"
ended "$slow"
lines=$(wc -l <"$WORK/newest.out")
verify "--latest skips ($lines of 30001)" test "$lines" -lt 15000
has "$WORK/newest.out" "the newest" "--latest: the newest comes"
same "$WORK/newest.err" "" "--latest says nothing"

# --- arguments

run "$BUSCTL" subscribe org.test.a --overflow newest
check 2 "--overflow with nonsense: status 2"
run "$BUSCTL" subscribe org.test.a --overflow drop --latest
check 2 "--overflow and --latest: status 2"
run "$BUSCTL" subscribe org.test.a --overflow disconnect --timeout 0.1
check 0 "--overflow disconnect: status 0"
finish
