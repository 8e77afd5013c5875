#!/bin/sh
# SPDX-License-Identifier: MIT
# The example service and its clients, as a person would use them, on a private
# bus: what they print, how they end, and what is in the file afterwards.
set -eu

if [ "${1-}" != --inside ]; then
    source=$(cd "${SOURCE_DIR:-$(dirname "$0")/../..}" && pwd)
    build=$(cd "${BUILD_DIR:-$source/build}" && pwd)
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    PATH=$build/libbus/examples:$source/libbus/examples:$build/tools/busctl-lite:$build/busd:$PATH
    script=$source/tests/integration/test-addressbook.sh
    cd "$work"
    timeout 100 busctl-lite run-session -- "$script" --inside
    exit
fi

fail() {
    echo "FAILED: $*" >&2
    exit 1
}

# expect STATUS PATTERN COMMAND...: the status, and an extended regular expression
# for what is printed; an empty one stands for no output.
expect() {
    wanted=$1 pattern=$2
    shift 2
    status=0
    output=$("$@" 2>&1) || status=$?
    [ "$status" = "$wanted" ] || fail "$*: status $status, not $wanted: $output"
    if [ -z "$pattern" ]; then
        [ -z "$output" ] || fail "$*: printed '$output', should print nothing"
    else
        printf '%s\n' "$output" | grep -Eq -e "$pattern" ||
            fail "$*: printed '$output', should print '$pattern'"
    fi
}

# await FILE PATTERN
await() {
    tries=0
    until grep -Eqs -e "$2" "$1"; do
        tries=$((tries + 1))
        [ "$tries" -lt 200 ] || fail "$1 never held '$2': $(cat "$1")"
        sleep 0.05
    done
}

# start_server FILE: leaves its pid in $server.
start_server() {
    : >server.log
    address-book-server "$1" >server.log 2>&1 &
    server=$!
    await server.log '^org.example.AddressBook: '
}

# stop PID [SIGNAL]
stop() {
    kill -"${2:-TERM}" "$1"
    wait "$1" 2>/dev/null || :
}

subscriptions() { busctl-lite --json=short stats | sed 's/.*"subscriptions":\([0-9]*\).*/\1/'; }

open_fds() { ls "/proc/$server/fd" | wc -l; }

# refused METHOD BODY PATTERN: the call is answered with bus.InvalidArguments, and the
# sentence says why.
refused() {
    expect 1 'bus\.InvalidArguments' busctl-lite call org.example.AddressBook "$1" "$2"
    expect 1 "$3" busctl-lite call org.example.AddressBook "$1" "$2"
}

text() { head -c "$1" /dev/zero | tr '\0' x; }

# ------------------------------------------------------ without a server

expect 1 'not running' address-book list
expect 2 '^usage' address-book
expect 2 '^usage' address-book frobnicate
expect 2 '^usage' address-book add
expect 2 '^usage' address-book list now
expect 1 'not an ID' address-book remove seven
expect 2 '^usage' address-book-server --help
expect 2 'no FILE given' env -u HOME -u XDG_DATA_HOME address-book-server
expect 1 'missing/book.json' address-book-server missing/book.json
[ ! -e missing ] || fail 'a directory was made'

# ------------------------------------------------------------- a session

start_server book.json
grep -qx 'org.example.AddressBook: 0 entries in book.json' server.log || fail "$(cat server.log)"
before=$(open_fds)
subscribed=$(subscriptions)
address-book watch >watch.log 2>&1 &
watcher=$!
tries=0
until [ "$(subscriptions)" -gt "$subscribed" ]; do
    tries=$((tries + 1))
    [ "$tries" -lt 200 ] || fail 'watch never subscribed'
    sleep 0.05
done

expect 0 '^1$' address-book add 'Ada Lovelace' ada@example.org
expect 0 '^2$' address-book add 'Grace Hopper' grace@example.org 555-1906
expect 0 '^3$' address-book add 'Änne Ölm'
expect 0 '^\{"id": ?4\}$' busctl-lite call org.example.AddressBook Add name=Zoë phone=1
expect 0 '^   2  Grace Hopper +grace@example.org  555-1906$' address-book list
expect 0 'Ada Lovelace' address-book find aDA@
expect 0 'Änne Ölm' address-book find 'änne öLM'
expect 0 '' address-book find nobody
expect 0 '^\{"entries": ?\[\]\}$' busctl-lite call org.example.AddressBook Find text=nobody
expect 0 '' address-book remove 4
expect 1 'there is no entry 4' address-book remove 4
expect 1 'AddressBook.NoSuchEntry' busctl-lite call org.example.AddressBook Remove id:=-1
expect 0 'Grace' busctl-lite call org.example.AddressBook List '{}'

refused Add '{}' 'Add takes'
refused Add 'null' 'Add takes'
refused Add '[1]' 'Add takes'
refused Add '{"name":1}' 'Add takes'
refused Add '{"name":"x","nmae":"y"}' 'nmae'
refused Add '{"name":""}' '"name\\?" must not be empty'
refused Add '{"name":"x","email":""}' '"email\\?" must not be empty'
refused Add '{"name":"x","phone":"1\n2"}' '"phone\\?" must not hold control characters'
refused Add "{\"name\":\"$(text 256)\"}" 'at most 255 bytes'
refused Add '{"name":"a\u0000b"}' '.'
refused Remove '{}' 'Remove takes'
refused Remove '{"id":"1"}' 'Remove takes'
refused Remove '{"id":1.0}' 'Remove takes'
refused Remove '{"id":123456789012345678901234567890}' '.'
refused Find '{}' 'Find takes'
refused Find '{"text":""}' 'must not be empty'
refused List '{"all":true}' 'List takes none'
refused Export '[]' 'Export takes none'
expect 4 'bus\.MethodUnknown' busctl-lite call org.example.AddressBook Delete
expect 0 "^\{\"id\": ?5\}\$" busctl-lite call org.example.AddressBook Add name="$(text 255)"
expect 0 '' address-book remove 5

expect 0 'Grace Hopper' client.py 'Alan Turing' alan@example.org
expect 1 'email. must not be empty' client.py 'Alan Turing' ''

# The descriptor is the file itself, cannot be written through, and stays the book of
# that moment.
expect 0 '' address-book export copy.json
cmp copy.json book.json || fail 'Export gave something else than the file'
expect 1 'copy.json: File exists' address-book export copy.json
expect 0 'json' busctl-lite call --save-fd received org.example.AddressBook Export
cmp received/* book.json || fail '--save-fd saved something else than the file'

await watch.log 'added .*Alan Turing'
cat >expected <<'END'
added     1  Ada Lovelace              ada@example.org
added     2  Grace Hopper              grace@example.org  555-1906
END
head -n 2 watch.log | cmp - expected || fail "watch: $(cat watch.log)"
[ "$(grep -c '^added ' watch.log)" = 6 ] || fail "watch: $(cat watch.log)"
[ "$(grep -c '^removed' watch.log)" = 2 ] || fail "watch: $(cat watch.log)"

# Nobody else can announce changes.
expect 5 'bus\.AccessDenied' busctl-lite publish org.example.AddressBook.added name=Mallory

# --------------------------------------------------- two at a time, restarts

expect 1 'another process has this address book open' address-book-server book.json
expect 1 'is running on this bus already' address-book-server other.json
[ "$(open_fds)" = "$before" ] || fail "the server has $(open_fds) fds open, had $before"

stop "$server" KILL
cp book.json kept.json
start_server book.json
grep -q ': 4 entries' server.log || fail "$(cat server.log)"
expect 0 '^7$' address-book add 'Edsger Dijkstra'
await watch.log 'added .*Edsger Dijkstra'
stop "$server"

# A file that cannot be stored: the book stays as it was, in memory too.
mkdir small
start_server small/book.json
expect 0 '^1$' address-book add Kept
rm -r small
expect 1 'could not be stored' address-book add Lost
expect 1 'AddressBook.StorageFailed' busctl-lite call org.example.AddressBook Remove id:=1
expect 1 'AddressBook.StorageFailed' busctl-lite call org.example.AddressBook Export
[ "$(address-book list | wc -l)" = 1 ] || fail "$(address-book list)"
stop "$server"

# The largest book still goes through List.
python3 - >large.json <<'END'
import json
text = '"' * 255
entries = [{"id": i, "name": text, "email": text, "phone": text} for i in range(1, 501)]
print(json.dumps({"next_id": 501, "entries": entries}))
END
start_server large.json
[ "$(address-book list | wc -l)" = 500 ] || fail 'the largest book cannot be listed'
expect 1 'the book is full: it holds 500 entries' address-book add more
stop "$server"

# --------------------------------------------------------- damaged files

# damaged PATTERN TEXT
damaged() {
    printf '%s' "$2" >damaged.json
    cp damaged.json damaged.copy
    expect 1 "damaged.json$1" address-book-server damaged.json
    cmp damaged.json damaged.copy || fail "a damaged file was changed: $2"
    [ ! -e damaged.json.new ] || fail 'something was written beside a damaged file'
}
damaged ':1:0: ' ''
damaged ':3:[0-9]+: ' '{
  "next_id": 1,
  entries: []
}'
damaged ':1:[0-9]+: duplicate' '{"next_id":1,"next_id":1,"entries":[]}'
damaged ': not an address book: ' '[]'
damaged ': not an address book: .*entries' '{"next_id":1}'
damaged ': not an address book: "entries" is not an array' '{"next_id":1,"entries":{}}'
damaged ': not an address book: .*more' '{"next_id":1,"entries":[],"more":1}'
damaged ': not an address book: entries\[0\] is not' '{"next_id":2,"entries":[{"id":1}]}'
damaged ': not an address book: entries\[1\] has an "id"' \
    '{"next_id":2,"entries":[{"id":1,"name":"a"},{"id":1,"name":"b"}]}'
damaged ': not an address book: entries\[0\] has an "id"' \
    '{"next_id":1,"entries":[{"id":1,"name":"a"}]}'
damaged ': not an address book: entries\[0\] has a text' \
    '{"next_id":2,"entries":[{"id":1,"name":""}]}'
sed 's/"next_id": 501/"next_id": 502/; s/\]}$/, {"id": 501, "name": "one more"}]}/' \
    large.json >toolarge.json
expect 1 'toolarge.json: holds more than 500 entries' address-book-server toolarge.json
mkdir damaged.dir
expect 1 'damaged.dir:1:0: ' address-book-server damaged.dir

stop "$watcher"

# ------------------------------------------------------ the end of the bus

# With sanitizers, a program that ends by itself also says what it has leaked.
BUSD_ADDRESS=unix:$PWD/own
export BUSD_ADDRESS
busd --address "$BUSD_ADDRESS" --print-address >ready &
bus=$!
trap 'kill "$bus" 2>/dev/null || :' EXIT
await ready own
start_server last.json
expect 0 '^1$' address-book add Last
expect 0 '' address-book export last.copy
stop "$bus"
status=0
wait "$server" || status=$?
[ "$status" = 1 ] || fail "the server ended with status $status"
[ "$(wc -l <server.log)" = 2 ] || fail "the server's last words: $(cat server.log)"
grep -q 'the bus is gone: the bus is shutting down$' server.log || fail "$(cat server.log)"
expect 1 'cannot connect to the bus: No such file' address-book list
expect 1 'cannot connect to the bus: No such file' address-book-server last.json

echo 'address book: all as it should be'
