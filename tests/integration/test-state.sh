#!/bin/bash
# SPDX-License-Identifier: MIT
# The state folder: where it is, when it is made, what it must be, whose it is; and that
# values outlive the bus, with busctl-lite.

. "$(dirname "$0")/cli-lib.sh"

unset BUSD_ADDRESS XDG_STATE_HOME
chmod 755 "$WORK"
BUS=unix:$WORK/bus
export HOME=$WORK/home XDG_RUNTIME_DIR=$WORK/run
mkdir -m 700 "$HOME" "$XDG_RUNTIME_DIR"
# The search for leaks traces the process itself, which is forbidden to whom --run-as makes.
export ASAN_OPTIONS="${ASAN_OPTIONS:+$ASAN_OPTIONS:}detect_leaks=0"

# start OPTION...: busd; sets $pid. Its log is $WORK/log.
start() {
    rm -f "$WORK/ready"
    "$BUSD" --print-address "$@" >"$WORK/ready" 2>"$WORK/log" </dev/null &
    pid=$!
    children=("$pid")
    ready() { [ -s "$WORK/ready" ]; }
    until_true ready || not_ok "busd $* is ready" "$(cat "$WORK/log")"
}

stop() {
    kill "$pid"
    wait "$pid"
    STATUS=$?
    children=()
}

# fails TEXT OPTION...: busd does not start, and says so.
fails() {
    local words=$1
    shift
    run timeout 10 "$BUSD" "$@"
    check 1 "busd $*: does not start"
    err_has "$words" "busd $*: says why"
}

mode_of() { stat -c %a "$1"; }

bus() { "$BUSCTL" --address "$BUS" "$@"; }

# --- an address alone

start --address "$BUS"
run bus set org.test.x 1 --disk
check 1 "without a folder: status 1"
err_has "bus.StorageFailed" "without a folder: the error"
run bus get org.test.x
out 1 "without a folder: the value is there nevertheless"
run bus set org.test.x --clear
check 0 "without a folder: cleared"
stop
verify "without a folder: none is made" [ ! -e "$HOME/.local" ]

# --- the usual folder

start --user
run "$BUSCTL" set org.test.x 1
check 0 "a value for the bus"
verify "nothing is made before it is needed" [ ! -e "$HOME/.local" ]
run "$BUSCTL" set org.test.kept level:=80
run "$BUSCTL" publish org.test.disk '"there"' --retain disk
check 0 "a value for the disk"
stop
check_status() { [ "$STATUS" = 0 ]; }
verify "busd ends with status 0" check_status
folder=$HOME/.local/state/busd
verify "the folder is made, and is for its user alone" [ "$(mode_of "$folder")" = 700 ]
verify "so are those above" [ "$(mode_of "$HOME/.local")" = 700 ]
verify "so is what is in it" [ "$(mode_of "$folder/retained.db")" = 600 ]
start --user
run "$BUSCTL" get org.test.disk
out '"there"' "the value is there again"
run "$BUSCTL" get org.test.kept
check 4 "the one for the bus is not"
run "$BUSCTL" call bus Retained topic=org.test.disk
out_has '"sender":"bus","level":"disk"' "it is from the bus"
fails "$folder: another busd uses it: stop that one" --address "$WORK/other" --state "$folder"
verify "and leaves nothing behind" [ ! -e "$WORK/other" ]
run "$BUSCTL" set org.test.disk --clear
stop
start --user
run "$BUSCTL" get org.test.disk
check 4 "what has been cleared stays so"
stop
mkdir "$WORK/state-home"
XDG_STATE_HOME=$WORK/state-home start --user
run "$BUSCTL" set org.test.disk 2 --disk
stop
verify "XDG_STATE_HOME says where it is" [ -e "$WORK/state-home/busd/retained.db" ]

# --- what it must be

fails "state folder $WORK/not/there: the folder that it should lie in does not exist" \
    --address "$BUS" --state "$WORK/not/there"
ln -s "$folder" "$WORK/link"
fails "it is a symbolic link: name the folder itself" --address "$BUS" --state "$WORK/link/"
echo text >"$WORK/file"
fails "it is no folder" --address "$BUS" --state "$WORK/file"
mkdir -m 755 "$WORK/open"
fails "others have rights to it: take those away" --address "$BUS" \
    --state "$WORK/open"
run "$BUSD" --state ''
check 2 "--state without a folder: status 2"
start --address "$BUS" --state "$WORK/late"
echo text >"$WORK/late"
run bus set org.test.x 1 --disk
verify "what is wrong later does not end the bus" bus ping bus
verify "but is said" grep -q "late: it is no folder" "$WORK/log"
rm "$WORK/late"
run bus set org.test.x 1 --disk
check 0 "and is well when it has been put right"
stop
verify "... and is well ..." [ -e "$WORK/late/retained.db" ]

# --- a damaged database

echo "this is no database" >"$WORK/late/retained.db"
start --address "$BUS" --state "$WORK/late"
verify "it is set aside" grep -q "it is now $WORK/late/retained.db.damaged-2" "$WORK/log"
run bus set org.test.x 3 --disk
check 0 "and another one begun"
kill -KILL "$pid"
wait "$pid" 2>/dev/null
start --address "$BUS" --state "$WORK/late"
run bus get org.test.x
out 3 "which is all right"
stop

# --- a full disk

command -v prlimit >/dev/null && {
    start --address "$BUS" --state "$WORK/late"
    prlimit --fsize=65536:unlimited --pid "$pid"
    printf '"%0100000d"' 0 >"$WORK/large"
    run bus set org.test.large --disk "@$WORK/large"
    check 1 "a full disk: status 1"
    err_has "bus.StorageFailed.*the disk is full" "a full disk: the error"
    run bus publish org.test.small --retain disk --receipt 7
    out '{"matched":0,"queued":0,"dropped":0}' "a full disk: what fits is kept"
    prlimit --fsize=unlimited:unlimited --pid "$pid"
    run bus set org.test.large --disk "@$WORK/large"
    check 0 "when there is room again, all is well"
    stop
}

# --- the configuration

cat >"$WORK/busd.json" <<END
{"listeners": [{"address": "$BUS"}],
 "state": "$WORK/configured"}
END
start --config "$WORK/busd.json"
run bus set org.test.x 4 --disk
check 0 "a folder in the configuration"
stop
verify "is where values are" [ -e "$WORK/configured/retained.db" ]
start --config "$WORK/busd.json" --state "$WORK/late"
run bus get org.test.x
out 3 "the command line counts more"
stop

# --- another user

if [ "$(id -u)" = 0 ]; then
    options=(--run-as nobody)
    [ -z "${HAS_SECCOMP:-}" ] || options+=(--seccomp)
    as_nobody() { start --address "$BUS" --state "$WORK/theirs" "${options[@]}"; }
    as_nobody
    verify "the folder is given to who busd becomes" \
        [ "$(stat -c '%U %a' "$WORK/theirs")" = "nobody 700" ]
    for value in 1 2 3 4 5; do
        run bus set org.test.$value $value --disk
        check 0 "${options[*]}: a value for the disk"
    done
    stop
    verify "${options[*]}: ends with status 0" check_status
    as_nobody
    run bus get 'org.test.*'
    verify "${options[*]}: the values are there again" [ "$(wc -l <"$OUT")" = 5 ]
    stop
    start --address "$BUS" --state "$WORK/late" "${options[@]}"
    run bus set org.test.x 5 --disk
    check 0 "what root has put there is given, too"
    stop
    verify "... given, too" check_status
else
    echo "# not root: nobody else has been tried"
fi

finish
