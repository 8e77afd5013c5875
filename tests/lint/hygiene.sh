#!/bin/sh
# SPDX-License-Identifier: MIT
# Every source has its licence line, nothing is marked as unfinished, and the top
# level holds only what belongs there.
set -eu
cd "${SOURCE_DIR:-$(dirname "$0")/../..}"
export LC_ALL=C
status=0

complain() {
    echo "$1"
    status=1
}

for entry in *; do
    case "$entry" in
    CMakeLists.txt | LICENSE | README.md | busd | conf | include | libbus | tests | tools) ;;
    build*) ;;
    *) complain "$entry: does not belong to the top level" ;;
    esac
done

files=$(find CMakeLists.txt README.md busd conf include libbus tests tools .ci -type f \
    ! -name '*.pyc' ! -path 'tests/vectors/*' ! -path 'tests/fuzz/corpus/*' | sort)

for file in $files; do
    case "$file" in
    *.[ch] | *.py | *.sh) ;;
    *) head -c 2 "$file" | grep -q '#!' || continue ;;
    esac
    head -n 3 "$file" | grep -q 'SPDX-License-Identifier: MIT' ||
        complain "$file:1: the first three lines have no SPDX-License-Identifier: MIT"
done

# The words are put together here so that this file does not hold them.
marks="TO""DO|FIX""ME|X""XX|HA""CK"
for file in $files; do
    found=$(grep -InEw "$marks" "$file" /dev/null) && complain "$found"
    found=$(grep -In '[[:space:]]$' "$file" /dev/null) && complain "$found: ends in a space"
done

exit "$status"
