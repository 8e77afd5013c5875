# SPDX-License-Identifier: MIT
# What the tests of busctl-lite share; to be sourced by bash. BUSCTL and BUSD are
# the paths of the two programs.
#
#     run COMMAND...             stdout to $OUT, stderr to $ERR, the status to $STATUS
#     check STATUS WHAT          the last run ended with this status
#     out TEXT WHAT, err ...     stdout or stderr of the last run is exactly this
#     out_has REGEX WHAT, ...    ... has a line that matches
#     verify WHAT COMMAND...     the command succeeds
#     finish                     at the end: the exit status of the script

set -u

: "${BUSCTL:?is to be the path of busctl-lite}" "${BUSD:?is to be the path of busd}"
BUSCTL=$(realpath "$BUSCTL")
BUSD=$(realpath "$BUSD")
export BUSCTL BUSD
export LC_ALL=C.UTF-8
unset NO_COLOR

count=0
failed=0
STATUS=0
WORK=$(mktemp -d)
OUT=$WORK/stdout
ERR=$WORK/stderr
children=()

tidy() {
    for pid in "${children[@]}"; do
        kill "$pid" 2>/dev/null
    done
    rm -rf "$WORK"
}
trap tidy EXIT

ok() {
    count=$((count + 1))
    echo "ok $count - $1"
}

not_ok() {
    count=$((count + 1))
    failed=$((failed + 1))
    echo "not ok $count - $1"
    shift
    printf '#   %s\n' "$@"
    cut -c 1-400 "$OUT" | sed 's/^/#   stdout: /' | head -5
    cut -c 1-400 "$ERR" | sed 's/^/#   stderr: /' | head -5
}

run() {
    "$@" >"$OUT" 2>"$ERR" </dev/null
    STATUS=$?
}

# With something on stdin: run_with TEXT COMMAND...
run_with() {
    printf '%s' "$1" >"$WORK/stdin"
    shift
    "$@" >"$OUT" 2>"$ERR" <"$WORK/stdin"
    STATUS=$?
}

check() {
    if [ "$STATUS" -eq "$1" ]; then
        ok "$2"
    else
        not_ok "$2" "exit status $STATUS, expected $1"
    fi
}

same() { # FILE TEXT WHAT
    if [ "$(cat "$1")" = "$2" ]; then
        ok "$3"
    else
        not_ok "$3" "expected: $2"
    fi
}

has() { # FILE REGEX WHAT
    if grep -Eq -e "$2" "$1"; then
        ok "$3"
    else
        not_ok "$3" "expected a match of: $2"
    fi
}

out() { same "$OUT" "$@"; }
err() { same "$ERR" "$@"; }
out_has() { has "$OUT" "$@"; }
err_has() { has "$ERR" "$@"; }

verify() {
    local what=$1
    shift
    if "$@"; then
        ok "$what"
    else
        not_ok "$what" "failed: $*"
    fi
}

# Waits at most ten seconds for a command to succeed.
until_true() {
    local i
    for i in $(seq 500); do
        "$@" >/dev/null 2>&1 && return 0
        sleep 0.02
    done
    return 1
}

# Starts a command in the background; its pid is in $LAST. Its output goes to the
# files $1.out and $1.err of the working directory.
background() {
    local name=$WORK/$1
    shift
    "$@" >"$name.out" 2>"$name.err" </dev/null &
    LAST=$!
    children+=("$LAST")
}

# The process ends within ten seconds; its status is then in $STATUS.
ended() {
    until_true gone "$1" || return 1
    wait "$1"
    STATUS=$?
}

# SIGKILL, without the shell's own remark about it.
kill_silently() {
    {
        kill -9 "$1"
        wait "$1"
    } 2>/dev/null
}

gone() {
    case $(sed 's/.*) //' "/proc/$1/stat" 2>/dev/null) in
    "" | Z*) return 0 ;;
    *) return 1 ;;
    esac
}

# The processes whose parent is $1; with $2, those of that name.
children_of() {
    local stat rest
    for stat in /proc/[0-9]*/stat; do
        read -r rest 2>/dev/null <"$stat" || continue
        set -- "$1" "${2:-}" "${rest%% *}" "${rest#*(}" "${rest##*) }"
        [ -z "$2" ] || [ "${4%)*}" = "$2" ] || continue
        case $5 in
        Z*) ;;
        ?" $1 "*) echo "$3" ;;
        esac
    done | grep .
}
export -f children_of

# The unique name of the connection that the process $1 has.
name_of() {
    "$BUSCTL" list --unique | grep "\"pid\":$1," | grep -o '"name":"[^"]*"' | cut -d'"' -f4
}

# Whether the process $1 has at least $2 subscriptions.
has_subscriptions() {
    [ "$("$BUSCTL" status "$(name_of "$1")" | grep -o '"topic":' | wc -l)" -ge "$2" ]
}

# Starts `busctl-lite subscribe ...` as background $1 and waits until the bus has its
# patterns, which come before any option.
subscriber() {
    local name=$1 patterns=0 argument
    shift
    for argument; do
        case $argument in
        --*) break ;;
        *) patterns=$((patterns + 1)) ;;
        esac
    done
    background "$name" "$BUSCTL" subscribe "$@"
    # One more is for the notices of loss, and one for the name of a sender.
    case " $* " in
    *" --sender "*) patterns=$((patterns + 1)) ;;
    esac
    until_true has_subscriptions "$LAST" $((patterns + 1)) || not_ok "the subscriber $name starts"
}

lines_reach() {
    [ "$(wc -l <"$1")" -ge "$2" ]
}

served() {
    "$BUSCTL" wait --name "$1" --timeout 10 >/dev/null
}

finish() {
    echo "1..$count"
    if [ "$failed" -gt 0 ]; then
        echo "# $failed of $count failed"
        exit 1
    fi
    exit 0
}

# Runs the script again on a private bus, unless it is that run.
on_private_bus() {
    [ -n "${CLI_TEST_INSIDE:-}" ] && return
    rm -rf "$WORK"
    CLI_TEST_INSIDE=1 exec "$BUSCTL" run-session --busd "$BUSD" -- bash "$0"
}
