#!/bin/sh
# SPDX-License-Identifier: MIT
# What libbus.so exports, what libbus.map lists and what the public headers declare
# is the same, and the library needs the C library and jansson only.
set -eu
source=${SOURCE_DIR:-$(dirname "$0")/../..}
build=${BUILD_DIR:-$source/build}
library=$build/libbus/libbus.so
export LC_ALL=C
status=0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

[ -e "$library" ] || { echo "$library: is not built"; exit 1; }

# Declarations may run over several lines; comments may hold anything.
sed '/^#/d' "$source"/include/bus/*.h | cc -fpreprocessed -E -P - | tr '\n' ' ' |
    grep -o 'BUS_PUBLIC [^(;]*(' | sed 's/(//; s/.*[ *]//' | sort >"$work/declared"
sed 's/#.*//' "$source/libbus/libbus.map" | tr -d ' \t' | grep -o '^[a-z0-9_*]*;' | tr -d ';' |
    grep -vx '\*' | sort >"$work/listed"
nm -D --defined-only "$library" | awk '$2 != "A" { sub(/@.*/, "", $3); print $3 }' |
    sort >"$work/exported"

[ -s "$work/declared" ] || { echo "$source/include/bus: no BUS_PUBLIC function found"; status=1; }

# compare FILE FILE TEXT: what the first has and the second has not.
compare() {
    comm -23 "$work/$1" "$work/$2" >"$work/difference"
    [ -s "$work/difference" ] || return 0
    sed "s/\$/: $3/" "$work/difference"
    status=1
}
compare declared listed 'is declared BUS_PUBLIC but not listed in libbus.map'
compare listed declared 'is listed in libbus.map but not declared BUS_PUBLIC'
compare declared exported 'is declared BUS_PUBLIC but not exported by libbus.so'
compare exported declared 'is exported by libbus.so but not declared BUS_PUBLIC'

soname=$(readelf -dW "$library" | sed -n 's/.*(SONAME).*\[\(.*\)\]/\1/p')
[ "$soname" = libbus.so.0 ] || {
    echo "$library: its soname is '$soname', not libbus.so.0"
    status=1
}

for needed in $(readelf -dW "$library" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p'); do
    case "$needed" in
    libc.so.* | ld-linux* | libjansson.so.*) ;;
    libasan.so.* | libubsan.so.* | libm.so.*)
        nm -D "$library" | grep -q ' __asan_init' || {
            echo "$library: needs $needed"
            status=1
        } ;;
    *) echo "$library: needs $needed"; status=1 ;;
    esac
done
exit "$status"
