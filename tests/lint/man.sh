#!/bin/sh
# SPDX-License-Identifier: MIT
# The manual pages are well-formed, and the protocol's page names every key, error and
# method that there is.
set -eu
cd "${SOURCE_DIR:-$(dirname "$0")/../..}"
status=0
page=libbus/man/bus-protocol.7

complain() {
    echo "$1"
    status=1
}

if command -v mandoc >/dev/null; then
    # Pages of others may not be installed here.
    found=$(mandoc -T lint -W style libbus/man/*.[1-8] 2>&1 |
        grep -v -e 'referenced manual not found' -e 'outdated mandoc.db') && complain "$found"
else
    echo 'there is no mandoc: only the contents are checked'
fi

# named WHAT WORD...: whether the page has each of them.
named() {
    what=$1
    shift
    for word; do
        grep -qwF -e "$word" "$page" || complain "$page: the $what $word is missing"
    done
}

named key $(sed -n 's/^ *X(arg, [A-Z_]*, "\([a-z_]*\)".*/\1/p' libbus/wire/envelope.c)
named error $(sed -n 's/^ *X([A-Z_]*, "\(bus\.[A-Za-z]*\)".*/\1/p' libbus/wire/errors.h |
    grep -v bus.Disconnected)
named method $(sed -n '/^static const struct driver_method methods/,/^};/s/^ *{"\([A-Za-z]*\)".*/\1/p' \
    busd/driver.c)
exit "$status"
