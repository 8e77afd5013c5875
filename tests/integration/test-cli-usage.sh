#!/bin/bash
# SPDX-License-Identifier: MIT
# busctl-lite without a bus: help, mistakes on the command line, bodies, addresses.

. "$(dirname "$0")/cli-lib.sh"

fits_screen() {
    [ -s "$OUT" ] && [ "$(wc -l <"$OUT")" -le 24 ] && [ "$(wc -L <"$OUT")" -le 80 ]
}

narrow() {
    [ -s "$OUT" ] && [ "$(wc -L <"$OUT")" -le 80 ]
}

verbs="list status call channel publish subscribe get set monitor wait serve ping introspect stats explain reload run-session help"

# --- help

run "$BUSCTL"
check 0 "without a verb: status 0"
verify "without a verb: one screen" fits_screen
cp "$OUT" "$WORK/overview"
run "$BUSCTL" --help
check 0 "--help: status 0"
verify "--help is the same screen" cmp -s "$OUT" "$WORK/overview"
run "$BUSCTL" -h
verify "-h is the same screen" cmp -s "$OUT" "$WORK/overview"
run "$BUSCTL" help
verify "help is the same screen" cmp -s "$OUT" "$WORK/overview"
for verb in $verbs; do
    has "$WORK/overview" "^  $verb " "the screen lists $verb"
    run "$BUSCTL" help "$verb"
    check 0 "help $verb: status 0"
    out_has "^Usage: busctl-lite $verb" "help $verb says how to use it"
    verify "help $verb is at most 80 columns wide" narrow
    cp "$OUT" "$WORK/page"
    run "$BUSCTL" "$verb" --help
    verify "$verb --help is the same page" cmp -s "$OUT" "$WORK/page"
done
for verb in $verbs; do
    [ "$verb" = help ] && continue
    run "$BUSCTL" help "$verb"
    out_has "^Examples?:" "help $verb has an example"
done
run "$BUSCTL" help exit-status
for status in 0 1 2 3 4 5 6 7 8 9; do
    out_has "^  $status  " "help exit-status documents $status"
done
run "$BUSCTL" help body
out_has "key:=json" "help body shows the pairs"
run "$BUSCTL" --version
check 0 "--version: status 0"
out_has "^busctl-lite [0-9]+\.[0-9]+\.[0-9]+$" "--version prints the version"
run "$BUSCTL" help nonsense
check 2 "help of an unknown verb is wrong usage"

# --- mistakes

run "$BUSCTL" subscrbe
check 2 "an unknown verb: status 2"
err "busctl-lite: there is no verb 'subscrbe': did you mean 'subscribe'?
See 'busctl-lite --help'." "an unknown verb: the nearest one is suggested"
run "$BUSCTL" lsit
err_has "did you mean 'list'" "swapped letters are understood"
run "$BUSCTL" intro
err_has "did you mean 'introspect'" "the beginning of a verb is understood"
run "$BUSCTL" frobnicate
check 2 "a verb far from all: status 2"
err "busctl-lite: there is no verb 'frobnicate'
See 'busctl-lite --help'." "a verb far from all: no suggestion"
out "" "a usage error prints nothing on stdout"

run "$BUSCTL" --quite list
check 2 "an unknown global option: status 2"
err_has "no option '--quite': did you mean '--quiet'" "an unknown global option: suggestion"
run "$BUSCTL" subscribe a --cuont 3
check 2 "an unknown option of a verb: status 2"
err_has "^busctl-lite: subscribe: .*did you mean '--count'" "an unknown option of a verb: suggestion"
err_has "^See 'busctl-lite help subscribe'" "an unknown option of a verb: where to look"
run "$BUSCTL" list -x
check 2 "an unknown letter: status 2"
err_has "no option '-x'" "an unknown letter is named"
run "$BUSCTL" list --quiet=yes
check 2 "a value too many: status 2"
err_has "--quiet takes no value" "a value too many is named"
run "$BUSCTL" subscribe a --count
check 2 "a missing value: status 2"
err_has "--count needs a value: --count N" "a missing value is named"
for value in 0 -1 x 1x '' 1.5 99999999999999999999; do
    run "$BUSCTL" subscribe a "--count=$value"
    check 2 "--count '$value': status 2"
done
err_has "--count '9+': it must be a whole number from 1 on" "--count says what it takes"
for value in -1 x 1s '' inf nan 1e99; do
    run "$BUSCTL" list "--timeout=$value"
    check 2 "--timeout '$value': status 2"
done
err_has "--timeout '1e99': it must be a number of seconds" "--timeout says what it takes"
run "$BUSCTL" list --json=nice
check 2 "--json=nice: status 2"
err_has "it must be short, pretty or off" "--json says what it takes"
run "$BUSCTL" --user --system list
check 2 "two buses: status 2"
err_has "give one" "two buses: told to give one"

run "$BUSCTL" call
check 2 "call without operands: status 2"
err_has "busctl-lite call NAME METHOD" "call without operands: shows what is needed"
run "$BUSCTL" call org.example.A
check 2 "call without a method: status 2"
run "$BUSCTL" publish
check 2 "publish without a topic: status 2"
run "$BUSCTL" subscribe
check 2 "subscribe without a pattern: status 2"
run "$BUSCTL" wait
check 2 "wait without a topic: status 2"
run "$BUSCTL" wait a --name org.example.A
check 2 "wait with a topic and a name: status 2"
run "$BUSCTL" introspect
check 2 "introspect without a name: status 2"
run "$BUSCTL" list too many
check 2 "too many operands: status 2"
err_has "'too' is one argument too many" "too many operands: the first is named"
run "$BUSCTL" serve org.example.A Method
check 2 "serve without a command: status 2"
err_has "the command to run is missing" "serve without a command: said so"
run "$BUSCTL" serve org.example.A -- cat
check 2 "serve without a method: status 2"
run "$BUSCTL" run-session
check 2 "run-session without a command: status 2"
run "$BUSCTL" call org.example.A M --no-reply --save-fd "$WORK/d"
check 2 "--no-reply with --save-fd: status 2"
verify "--no-reply with --save-fd makes no directory" test ! -e "$WORK/d"
run "$BUSCTL" publish a '{}' --lines
check 2 "--lines with a body: status 2"
run "$BUSCTL" monitor kind=call
check 2 "an unknown filter: status 2"
run "$BUSCTL" monitor call
check 2 "a filter without value: status 2"
run "$BUSCTL" monitor type=call,type=reply
check 2 "a filter given twice: status 2"
run "$BUSCTL" monitor type=signal
check 2 "an unknown type: status 2"
err_has "it must be call, reply, error, event or cancel" "an unknown type: the types are named"

# --- names: the wrong character is pointed at

run "$BUSCTL" call org..example M
check 2 "a bad name: status 2"
run "$BUSCTL" call 'org.exa mple' M
check 2 "a name with a space: status 2"
err_has "^  org.exa mple$" "a name with a space is shown"
err_has "^         \^$" "a name with a space: a caret under the place"
run "$BUSCTL" call noname M
check 2 "a name of one segment: status 2"
run "$BUSCTL" call org.example.A 'Bad Method'
check 2 "a bad method: status 2"
run "$BUSCTL" publish 'a.*'
check 2 "a pattern is no topic: status 2"
run "$BUSCTL" subscribe 'a.#.b'
check 2 "a bad pattern: status 2"
run "$BUSCTL" subscribe a --sender 'x y'
check 2 "a bad sender: status 2"
run "$BUSCTL" wait --name :1
check 2 "a unique name cannot be waited for: status 2"
run "$BUSCTL" monitor 'topic=a..b'
check 2 "a bad topic filter: status 2"

# --- bodies, checked before there is any bus

export BUSD_ADDRESS=$WORK/nowhere
publish() { run "$BUSCTL" publish t "$@"; }

for body in '{"a":1}' '[1,2]' '"x"' 1 -1 true null '  {} ' a=b a:=1 'a=' _x=1 'a=b=c'; do
    publish "$body"
    check 3 "the body $body is accepted"
done
for body in '{"a":1' '{a:1}' tru hello "'x'" '[1,]' '' '1 2' 'a:=' 'a:={' '9a=1' '01' 'NaN'; do
    publish "$body"
    check 9 "the body '$body' is bad JSON"
done
publish '{"a":tru}'
err_has "the body is not valid JSON: line 1, column [0-9]+ \(byte [0-9]+\): " "bad JSON: place and reason"
err_has '^  \{"a":tru\}$' "bad JSON: the place is shown"
err_has '^  {5,10}\^$' "bad JSON: a caret under the place"
publish hello
err_has "'\"hello\"'" "a bare word: told how to write a string"
publish a:=tru
err_has "the value of 'a' is not valid JSON" "a bad value of a pair: the key is named"
publish a=1 '{}'
check 2 "pairs and JSON do not mix: status 2"
err_has "'\{\}': a body of several arguments is made of key=value" "pairs and JSON do not mix: said so"
publish a=1 a:=2
check 2 "a key given twice: status 2"
publish $'a=\xff'
check 9 "a pair that is not UTF-8: status 9"
publish "@$WORK/missing"
check 2 "a missing body file: status 2"
err_has "cannot open the body's file .*/missing: No such file" "a missing body file is named"
printf '{\n  "a": 1,\n  "b": nope\n}\n' >"$WORK/bad.json"
publish "@$WORK/bad.json"
check 9 "a bad body file: status 9"
err_has "the body from .*/bad.json is not valid JSON: line 3, column 8 " "a bad body file: line and column"
err_has '^    "b": nope$' "a bad body file: the line is shown"
run_with '{"a":' "$BUSCTL" publish t -
check 9 "a bad body on stdin: status 9"
err_has "the body from stdin is not valid JSON" "a bad body on stdin is named"

# --- addresses

run "$BUSCTL" list
check 3 "no bus there: status 3"
err_has "cannot connect to .*$WORK/nowhere: no such file: is busd running\? Start one with 'busd --user' or try 'busctl-lite run-session" \
    "no bus there: the address and what to do"
run "$BUSCTL" list --address "unix:@busctl-lite-test-$$"
check 3 "nobody listens: status 3"
err_has "nobody listens there" "nobody listens: said so"
run "$BUSCTL" --address 'tcp:host' list
check 3 "not an address: status 3"
err_has "'tcp:host'" "not an address: shown"
run "$BUSCTL" --address "/$(printf '%0200d' 0)" list
check 3 "a path too long: status 3"
err_has "too long" "a path too long: said so"
run env -u BUSD_ADDRESS -u XDG_RUNTIME_DIR "$BUSCTL" list
check 3 "nothing says which bus: status 3"
err_has "BUSD_ADDRESS" "nothing says which bus: says what would"
run env BUSD_SYSTEM_ADDRESS="$WORK/system" "$BUSCTL" --system list
check 3 "no system bus: status 3"
err_has "$WORK/system: .*'busd --system'" "no system bus: the address and what to do"
run "$BUSCTL" list --user
err_has "$WORK/nowhere" "--user is what BUSD_ADDRESS says"

finish
