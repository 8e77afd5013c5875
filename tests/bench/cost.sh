#!/bin/bash
# SPDX-License-Identifier: MIT
# Counts what does not depend on how busy the machine is: the broker's system calls
# (strace), allocations and instructions (valgrind) for an event from one publisher to
# one subscriber in a burst, for the same with a receipt, and for a call with its answer.
# Each is the difference of two runs, so that starting and stopping do not count;
# compared with cost.budget.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
busd=${BUSD:?} traffic=${TRAFFIC:?}
work=$(mktemp -d)
export BUSD_ADDRESS=unix:$work/bus
daemon=
trap '[ -z "$daemon" ] || kill "$daemon" 2>/dev/null; rm -rf "$work"' EXIT

# start COMMAND...: the broker under COMMAND, until it listens.
start() {
    rm -f "$work/ready"
    mkfifo "$work/ready"
    "$@" "$busd" --address "$BUSD_ADDRESS" --print-address >"$work/ready" &
    daemon=$!
    read -r _ <"$work/ready"
}

stop() {
    # strace and valgrind pass the signal on to, or are, the broker.
    pkill -TERM -P "$daemon" 2>/dev/null || kill -TERM "$daemon"
    wait "$daemon" || true
    daemon=
}

# background COMMAND...: until it says that it is ready.
background() {
    rm -f "$work/said"
    mkfifo "$work/said"
    "$@" >"$work/said" &
    other=$!
    read -r _ <"$work/said"
}

# drive KIND COUNT: that many events, events with receipts, or calls.
drive() {
    if [ "$1" != call ]; then
        verb=publish
        [ "$1" = event ] || verb=exact
        background "$traffic" subscribe "$2"
        "$traffic" "$verb" "$2"
        wait "$other"
    else
        background "$traffic" serve
        "$traffic" call "$2"
        kill "$other"
        wait "$other" 2>/dev/null || true
    fi
}

syscalls() {
    start strace -f -c -o "$work/strace"
    drive "$1" "$2"
    stop
    awk '$NF == "total" { print $4 }' "$work/strace"
}

allocations() {
    start valgrind --log-file="$work/memcheck"
    drive "$1" "$2"
    stop
    sed -n 's/.*total heap usage: \([0-9,]*\) allocs.*/\1/p' "$work/memcheck" | tr -d ,
}

instructions() {
    start valgrind --tool=callgrind --callgrind-out-file="$work/callgrind" \
        --log-file="$work/callgrind.log"
    drive "$1" "$2"
    stop
    sed -n 's/^totals: \([0-9]*\)/\1/p' "$work/callgrind"
}

status=0
# measure KIND WHAT FEW MANY
measure() {
    few=$($2 "$1" "$3")
    many=$($2 "$1" "$4")
    budget=$(awk -v key="$1_$2" '$1 == key { print $2 }' "$here/cost.budget")
    awk -v few="$few" -v many="$many" -v n=$(($4 - $3)) -v budget="$budget" -v what="$1 $2" '
        BEGIN {
            cost = (many - few) / n
            word = "ok"
            # A tenth, or what a single count more over the whole run makes.
            slack = budget / 10 > 0.005 ? budget / 10 : 0.005
            if (cost > budget + slack) word = "TOO MUCH"
            else if (cost < budget - slack) word = "ok, and the budget can be lowered"
            printf "%-20s %10.3f a message, budget %10.3f: %s\n", what, cost, budget, word
            exit word == "TOO MUCH"
        }' || status=1
}

measure event syscalls 10000 110000
measure event allocations 1000 11000
measure event instructions 2000 22000
measure receipt allocations 1000 11000
measure receipt instructions 2000 22000
measure call syscalls 100 1100
measure call allocations 100 1100
measure call instructions 200 1200
exit "$status"
