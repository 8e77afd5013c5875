#!/bin/bash
# SPDX-License-Identifier: MIT
# The order in which busd starts, seen by strace: who may connect is settled before
# anybody can, and rights are gone before anybody is served. As root also what is left of
# the rights afterwards.
set -euo pipefail

fail() {
    echo "test-startup: $*" >&2
    exit 1
}

skip() {
    echo "test-startup: skipped: $*"
    exit 77
}

command -v strace >/dev/null || skip "there is no strace"
strace -o /dev/null true 2>/dev/null || skip "strace may not trace here"

work=$(mktemp -d)
chmod 755 "$work"
pid=
cleanup() {
    [ -z "$pid" ] || kill -KILL "$pid" 2>/dev/null || true
    rm -rf "$work"
}
trap cleanup EXIT
# The search for leaks traces the process itself, which only one can do.
export ASAN_OPTIONS="${ASAN_OPTIONS:+$ASAN_OPTIONS:}detect_leaks=0"

# wait_for FILE: until something is in it.
wait_for() {
    for _ in $(seq 1000); do
        [ ! -s "$1" ] || return 0
        sleep 0.01
    done
    cat "$work/error" >&2 || true
    fail "nothing came to $1"
}

# start [--traced] OPTION...: busd at $work/bus; sets $pid.
start() {
    local tracer=
    if [ "$1" = --traced ]; then
        tracer="strace -o $work/trace"
        shift
    fi
    rm -f "$work/out" "$work/pid" "$work/error"
    # shellcheck disable=SC2016,SC2086
    $tracer sh -c 'echo $$ >"$0/pid"; exec "$@"' "$work" \
        "$BUSD" --address "$work/bus" --print-address "$@" >"$work/out" 2>"$work/error" &
    job=$!
    wait_for "$work/out"
    pid=$(cat "$work/pid")
}

# stop: it ends with status 0; strace gives it on.
stop() {
    kill "$pid"
    pid=
    wait "$job" || fail "busd ended with $?: $(cat "$work/error")"
}

# in_order: the regular expressions on standard input match lines of the trace, one after
# the other. What the shell did before it became busd does not count.
in_order() {
    sed -n '/execve(.*busd/,$p' "$work/trace" >"$work/calls"
    awk 'NR == FNR { wanted[++n] = $0; next }
         i < n && $0 ~ wanted[i + 1] { i++ }
         END { if (i < n) print (i ? "not after " wanted[i] : "not at all") ": " wanted[i + 1] }' \
        - "$work/calls" >"$work/missing"
    [ ! -s "$work/missing" ] || fail "$(cat "$work/missing" "$work/calls")"
}

# never_before FIRST SECOND: no line that matches SECOND stands before one of FIRST.
never_before() {
    awk -v first="$1" -v second="$2" '
        $0 ~ second && !seen { print; bad = 1 }
        $0 ~ first { seen = 1 }
        END { exit bad || !seen }' "$work/calls" || fail "that is before $1"
}

sockets='umask\(077\)
openat\(AT_FDCWD, "[^"]*", .*O_NOFOLLOW.*O_DIRECTORY
openat\([0-9]+, "bus\.lock", .*O_CREAT.*O_NOFOLLOW
flock\([0-9]+, LOCK_EX\|LOCK_NB\) += 0
bind\(.*/bus"
fstatat\([0-9]+, "bus", \{st_mode=S_IFSOCK
fchownat\([0-9]+, "bus", .*AT_SYMLINK_NOFOLLOW\) += 0
listen\(.* = 0
RLIMIT_NOFILE, \{'

# ------------------------------------------------ any user, no rights to lose

start --traced
printf '%s\n' "$sockets" 'epoll_create1' 'write\([0-9]+, "unix:' | in_order
never_before 'listen\(' 'accept4'
grep -q 'S_IFSOCK|0600' "$work/calls" || fail "the socket had not its mode when it was made"
grep -q 'chmod(' "$work/calls" && fail "the mode was mended after the socket had been made"
[ "$(grep -c 'listen(' "$work/calls")" = 1 ] || fail "it listens more than once"
stop
[ ! -e "$work/bus" ] && [ ! -e "$work/bus.lock" ] || fail "it left files behind"

# The file descriptors 0 to 2 are busd's own, even if nobody gave them: what is written
# to the log must not end in a client's socket.
rm -f "$work/out" "$work/error"
"$BUSD" --address "$work/bus" --print-address=7 7>"$work/out" <&- >&- 2>&- &
job=$!
wait_for "$work/out"
pid=$job
for fd in 0 1 2; do
    [ "$(readlink "/proc/$pid/fd/$fd")" = /dev/null ] || fail "fd $fd leads elsewhere"
done
stop

refused() {
    local status=0
    timeout 10 "$@" >"$work/out" 2>"$work/error" || status=$?
    [ "$status" = "$wanted" ] || fail "$*: status $status: $(cat "$work/error")"
    grep -q "$said" "$work/error" || fail "$*: $(cat "$work/error")"
    [ ! -e "$work/bus" ] || fail "$*: a socket is left"
}
wanted=2
said='no user'
refused "$BUSD" --address "$work/bus" --run-as 'no such user'
refused "$BUSD" --address "$work/bus" --run-as ''
refused "$BUSD" --address "$work/bus" --run-as 4294967295
refused "$BUSD" --address "$work/bus" --run-as 99999999999999999999
said='fewer rights'
refused "$BUSD" --address "$work/bus" --run-as root
refused "$BUSD" --address "$work/bus" --run-as 0

if [ "$(id -u)" != 0 ]; then
    said='only root'
    other=nobody
    [ "$(id -un)" != nobody ] || other=daemon
    refused "$BUSD" --address "$work/bus" --run-as "$other"
    echo "test-startup: not root: what becomes of root's rights was not tested"
    exit 0
fi

# ------------------------------------------------------------- rights to lose

# Whether busd was built with libseccomp is for the build to say.
seccomp=${HAS_SECCOMP:+--seccomp}
start --traced --system --config-folder "$SOURCE_DIR/conf" --run-as nobody $seccomp
rights='prctl\(PR_CAPBSET_DROP, (0|CAP_CHOWN)
setgroups\(0, NULL\) += 0
setresgid\(65534, 65534, 65534\) += 0
setresuid\(65534, 65534, 65534\) += 0
getresuid\(\[65534\], \[65534\], \[65534\]\)
getresgid\(\[65534\], \[65534\], \[65534\]\)
getgroups\(0, NULL\) += 0
capset\(
capget\(
prctl\(PR_SET_NO_NEW_PRIVS, 1
prctl\(PR_SET_DUMPABLE, (0|SUID_DUMP_DISABLE)\)
epoll_create1'
printf '%s\n' "$sockets" "$rights" ${seccomp:+'seccomp\(SECCOMP_SET_MODE_FILTER, .*TSYNC.* = 0'} \
    'write\([0-9]+, "unix:' | in_order
never_before 'listen\(.* = 0' 'setgroups|setresgid|setresuid'
never_before 'PR_SET_DUMPABLE' 'epoll_create|io_uring_setup|clone3?\('
grep -q 'S_IFSOCK|0666' "$work/calls" || fail "the socket had not its mode when it was made"

# status KEY VALUE: what the kernel says about the process.
status() {
    local value
    value=$(sed -n "s/^$1:[[:space:]]*//p" "/proc/$pid/status" | tr '\t' ' ' | sed 's/ *$//')
    [ "$value" = "$2" ] || fail "$1 is '$value' instead of '$2'"
}
status Uid '65534 65534 65534 65534'
status Gid '65534 65534 65534 65534'
status Groups ''
for set in CapInh CapPrm CapEff CapBnd CapAmb; do
    status "$set" 0000000000000000
done
status NoNewPrivs 1
[ -z "$seccomp" ] || status Seccomp 2
# Who is not dumpable has its files in /proc belong to root.
[ "$(stat -c %u "/proc/$pid/environ")" = 0 ] || fail "it can be traced by its own user"
[ "$(stat -c %u "$work/bus")" = 65534 ] || fail "the socket is not whose the daemon is"
BUSD_ADDRESS=unix:$work/bus "$BUSCTL" ping bus >/dev/null || fail "it does not serve"

# The folder is root's, so the files stay; they are in nobody's way.
stop
[ -S "$work/bus" ] && [ -f "$work/bus.lock" ] || fail "nobody could remove files of root's folder"
start --system --config-folder "$SOURCE_DIR/conf" --run-as nobody
grep -q 'replaced the stale socket' "$work/error" || fail "the stale socket was not noticed"
stop
start --system --config-folder "$SOURCE_DIR/conf"
stop
[ ! -e "$work/bus" ] && [ ! -e "$work/bus.lock" ] || fail "root left files behind"

# A folder of its own it can tidy up.
chown 65534 "$work"
start --system --config-folder "$SOURCE_DIR/conf" --run-as 65534 $seccomp
stop
[ ! -e "$work/bus" ] && [ ! -e "$work/bus.lock" ] || fail "it left files in its own folder"
exit 0
