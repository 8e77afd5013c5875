#!/bin/sh
# SPDX-License-Identifier: MIT
# The programs and the library are built so that a bug is harder to exploit.
set -eu
source=${SOURCE_DIR:-$(dirname "$0")/../..}
build=${BUILD_DIR:-$source/build}
export LC_ALL=C
status=0

complain() {
    echo "$1: $2"
    status=1
}

for file in "$build/busd/busd" "$build/tools/busctl-lite/busctl-lite" "$build/libbus/libbus.so"; do
    [ -e "$file" ] || { complain "$file" 'is not built'; continue; }
    headers=$(readelf -hlW "$file")
    dynamic=$(readelf -dW "$file")
    symbols=$(nm -D "$file")

    echo "$headers" | grep -q 'Type:  *DYN' || complain "$file" 'is not position-independent'
    case "$file" in
    *.so) ;;
    *) echo "$dynamic" | grep -q 'FLAGS_1.*PIE' || complain "$file" 'is not a PIE' ;;
    esac
    echo "$headers" | grep -q 'GNU_RELRO' || complain "$file" 'has no RELRO segment'
    echo "$dynamic" | grep -Eq '\(BIND_NOW\)|FLAGS.*NOW' ||
        complain "$file" 'has only partial RELRO: it is not linked with -z now'
    echo "$headers" | grep 'GNU_STACK' | grep -q 'RWE' && complain "$file" 'has an executable stack'
    echo "$headers" | grep -q 'GNU_STACK' || complain "$file" 'lacks a GNU_STACK header'
    echo "$headers" | grep 'LOAD' | grep -q 'RWE' &&
        complain "$file" 'has a segment that is writable and executable'
    echo "$dynamic" | grep -Eq '\(RPATH\)' && complain "$file" 'has an RPATH'
    echo "$symbols" | grep -q '__stack_chk_fail' || complain "$file" 'has no stack protector'
    # Sanitizers check more than fortification does, and do not go with it.
    echo "$symbols" | grep -q '__asan_init' || echo "$symbols" | grep -q '_chk@' ||
        complain "$file" 'is not built with _FORTIFY_SOURCE'
done
exit "$status"
