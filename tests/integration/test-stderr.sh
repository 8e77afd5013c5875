#!/bin/bash
# SPDX-License-Identifier: MIT
# A daemon whose standard error is a pipe that nobody reads, or is said to be the journal.

. "$(dirname "$0")/cli-lib.sh"

export BUSD_ADDRESS=unix:$WORK/bus

# launch: busd with standard error as it is given, until it listens.
launch() {
    rm -f "$WORK/address"
    "$BUSD" --address "$WORK/bus" --print-address=8 "$@" 8>"$WORK/address" &
    busd=$!
    children+=("$busd")
    until_true test -s "$WORK/address"
}

# A pipe that is full to the last byte before busd starts, and which both ends share.
mkfifo "$WORK/pipe"
exec 9<>"$WORK/pipe"
dd if=/dev/zero of="$WORK/pipe" bs=4096 oflag=nonblock 2>/dev/null
dd if=/dev/zero of="$WORK/pipe" bs=1 oflag=nonblock 2>/dev/null
launch --log-level=debug 2>&9
for i in 1 2 3; do
    run timeout 10 "$BUSCTL" ping
    check 0 "it serves while nobody reads its log ($i)"
done

# What was lost is told once there is room again.
dd if="$WORK/pipe" of=/dev/null bs=1M count=1 2>/dev/null
run timeout 10 "$BUSCTL" ping
check 0 "it serves while its log is read"
timeout 10 head -n 1 <&9 >"$OUT"
out_has '^busd: warning: lost, because nothing took them: lines=[0-9]+$' "what was lost is told"
kill "$busd"
wait "$busd"
STATUS=$?
check 0 "and it ends as ever"
exec 9<&-

# The journal's file descriptor, but no journal to be reached: priorities for who reads it.
: >"$WORK/journal"
JOURNAL_STREAM=$(stat -c %d:%i "$WORK/journal") launch --log-level=info 2>"$WORK/journal"
kill "$busd"
wait "$busd"
if [ -S /run/systemd/journal/socket ]; then
    same "$WORK/journal" "" "the journal has the line"
else
    same "$WORK/journal" "<6>stopping: Terminated" "lines have priorities"
fi
JOURNAL_STREAM=1:2 launch --log-level=info 2>"$WORK/journal"
kill "$busd"
wait "$busd"
same "$WORK/journal" "busd: info: stopping: Terminated" "another one's journal is not ours"

finish
