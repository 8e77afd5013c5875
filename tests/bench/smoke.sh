#!/bin/sh
# SPDX-License-Identifier: MIT
# Usage: smoke.sh BENCH BUSD. The benchmark works: it measures busd and the relay, for a
# few milliseconds each, and writes down what it found.
set -eu
bench=$1 busd=$2
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
export TMPDIR="$out"

complain() {
    echo "$1"
    exit 1
}

"$bench" --peers busd,relay --rounds 2 --seconds 0.02 --no-plots --out "$out" \
    --only 'call*,events-1-1,events-8-8,connect,start,memory' >"$out/table" ||
    complain "it failed: $(cat "$out/table")"

# peers WORKLOAD: who has two good rounds of it, and something in them.
peers() {
    python3 - "$out/results.jsonl" "$1" <<'END'
import json, sys
for line in open(sys.argv[1]):
    record = json.loads(line)
    if record.get("workload") == sys.argv[2] and record["lost"] == 0:
        rounds = record["value"]["rounds"]
        if len(rounds) == 2 and min(rounds) > 0:
            print(record["peer"], end=" ")
END
}

for workload in call-1cpu call call-64 call-1m events-1-1; do
    [ "$(peers "$workload")" = 'busd relay ' ] ||
        complain "$workload: measured for '$(peers "$workload")', not for busd and relay"
done
for workload in call-direct call-direct-1cpu events-8-8 connect start memory; do
    [ "$(peers "$workload")" = 'busd ' ] ||
        complain "$workload: measured for '$(peers "$workload")', not for busd alone"
done
head -n 1 "$out/results.jsonl" | grep -q '"record":"run".*"kernel":.*"versions":' ||
    complain 'the first line does not tell the machine and the versions'
grep -q '^call, one core, us  *[0-9]' "$out/table" || complain "no table: $(cat "$out/table")"
for leftover in "$out"/busd-bench-*; do
    [ ! -e "$leftover" ] || complain "$leftover was left behind"
done

"$bench" --quick --peers busd --rounds 1 --seconds 0.02 --no-plots --out "$out" \
    --only 'bodies*' >"$out/table" || complain "bodies: $(cat "$out/table")"
[ "$(grep -c '^  1024 KiB  *[0-9]' "$out/table")" = 2 ] || complain "no bodies: $(cat "$out/table")"

# Who drops events is told so: here a busd that lets hardly anything wait.
cat >"$out/forgetful" <<END
#!/bin/sh
exec $busd "\$@" --limit queue_bytes=4096
END
chmod +x "$out/forgetful"
BUSD=$out/forgetful "$bench" --peers busd --only events-1-1-1cpu --rounds 1 --seconds 0.02 \
    --no-plots --out "$out/lost" >"$out/table" && complain 'lost events end well'
grep -q '^  busd lost [1-9][0-9]* of [1-9][0-9]* deliveries$' "$out/table" ||
    complain "lost events are not told: $(cat "$out/table")"

"$bench" --peers nobody --out "$out" >/dev/null 2>&1 && complain 'a peer that does not exist passes'
"$bench" --only nothing --peers relay --out "$out" --no-plots >/dev/null 2>&1 &&
    complain 'a workload that does not exist passes'
exit 0
