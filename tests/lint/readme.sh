#!/bin/sh
# SPDX-License-Identifier: MIT
# What README.md says is so: its links lead somewhere, its limits are those of
# busd/limits.h, and busd's own help is the one that it shows. (That its programs
# work is checked by test-install.sh.)
set -eu
cd "${SOURCE_DIR:-$(dirname "$0")/../..}"
busd=${BUSD:-${BUILD_DIR:-build}/busd/busd}
export LC_ALL=C
status=0

complain() {
    echo "README.md: $1"
    status=1
}

for link in $(grep -o '](\([^)#:]*\))' README.md | sed 's/](\(.*\))/\1/'); do
    [ -e "$link" ] || complain "links to $link, which does not exist"
done

for limit in $(sed -n 's/^    X(\([a-z_]*\),.*/\1/p' busd/limits.h); do
    grep -q "^| \`$limit\` |" README.md || complain "the table of limits lacks $limit"
done
for limit in $(sed -n 's/^| `\([a-z_]*\)` | .* | .* | .* |$/\1/p' README.md); do
    grep -q "^    X($limit," busd/limits.h || complain "there is no limit $limit in busd/limits.h"
done

"$busd" --help | while IFS= read -r line; do
    grep -qxF -e "$line" README.md || {
        complain "busd --help says, and README.md does not: $line"
        exit 1
    }
done || status=1
exit "$status"
