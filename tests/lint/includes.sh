#!/bin/sh
# SPDX-License-Identifier: MIT
# Includes go strictly downward. For the broker:
#
#     main > broker* > listener > dispatch > {driver* revoke stream} > snapshot
#     > {audience persist retain} > {announce answer} > deliver > sharing
#     > {access guard patience} > hub > peer > connection* > {latest shares} > outq > config
#     > rules > policy > {names topics calls receipts monitor presence retained store lane}
#     > {args database documents quota groups topicset trie}
#     > {limits backlog deadlines overflow chunk closer credentials document endpoint privileges
#     sandbox sqlite statedir watch fatal}
#     > wire > base
#
# for the library libbus/*.c > wire > base. Tools and examples see the public
# headers and their own folder. Tests may include anything.
#
# Also: recvmsg and sendmsg stand in libbus/wire/sockio.c alone, and includes come
# as own header, system, project, each sorted.
set -eu
cd "${SOURCE_DIR:-$(dirname "$0")/../..}"

find busd libbus tools include tests -name '*.[ch]' | LC_ALL=C sort | LC_ALL=C xargs awk '
function complain(text) {
    printf "%s:%d: %s\n", FILENAME, FNR, text
    bad = 1
}

# The layer of a file of ours; 0 when there is none for it.
function rank(path,    name) {
    if (path ~ /^libbus\/base\//)
        return 1
    if (path ~ /^libbus\/wire\//)
        return 2
    if (path !~ /^busd\/[^\/]*$/)
        return 0
    name = path
    sub(/^busd\//, "", name)
    sub(/\.[ch]$/, "", name)
    sub(/-.*/, "", name)
    return layer[name]
}

# Files that serve one header together: driver-names.c is of the driver.
function series(path) {
    sub(/^.*\//, "", path)
    sub(/[-.].*$/, "", path)
    return path
}

function is_own(path,    a, b) {
    a = FILENAME; b = path
    sub(/\.[ch]$/, "", a); sub(/\.[ch]$/, "", b)
    return a == b
}

# A header may be served by several files, and libbus/*.c serve the public one: what
# stands first and lies in the same folder counts as own.
function is_own_header(path) {
    if (FILENAME !~ /\.c$/)
        return 0
    return is_own(path) || (last_kind == 0 && (folder(path) == folder(FILENAME) || path ~ /^bus\//))
}

function folder(path) {
    sub(/\/[^\/]*$/, "", path)
    return path
}

# What our file may include of ours; "" or what is wrong.
function direction(path) {
    if (FILENAME ~ /^tests\//)
        return ""
    if (FILENAME ~ /^include\//)
        return path ~ /^bus\// ? "" : "a public header includes public headers only"
    if (FILENAME ~ /^tools\// || FILENAME ~ /^libbus\/examples\//)
        return folder(path) == folder(FILENAME) ? "" : \
            "only <bus/...> and its own folder are open to it"
    if (FILENAME ~ /^libbus\/[^\/]*$/)
        return folder(path) ~ /^(bus|libbus)$/ || rank(path) == 1 || rank(path) == 2 ? "" : \
            "the library includes bus/, libbus/, libbus/wire/ and libbus/base/ only"
    if (!rank(FILENAME))
        return "the file has no layer: add it to the order in tests/lint/includes.sh"
    if (!rank(path))
        return "it belongs to no layer below"
    if (is_own(path) || rank(path) < rank(FILENAME))
        return ""
    if (rank(path) == rank(FILENAME) && (rank(path) <= 2 || series(path) == series(FILENAME)))
        return ""
    return rank(path) == rank(FILENAME) ? "it is of the same layer" : "it is a higher layer"
}

# What our file may include of others.
function foreign(name) {
    if (FILENAME ~ /^libbus\/(wire|base)\// && name ~ /^(uv|jansson)\.h$|\// && \
        name !~ /^(sys|linux|arpa|netinet)\//)
        return "wire and base know the C library only"
    if (FILENAME ~ /^libbus\// && name == "uv.h")
        return "the library does not know libuv"
    if (FILENAME ~ /^busd\// && name ~ /^bus\//)
        return "the broker does not use the client library"
    return ""
}

function check_order(kind, name) {
    # What stands under an #if has its place by its condition, and cmocka.h wants other
    # headers before it.
    if (depth > (FILENAME ~ /\.h$/ ? 1 : 0) || name == "cmocka.h")
        return
    if (kind < last_kind)
        complain("the include of " name " comes too late: own header, system, project")
    else if (kind == last_kind && name <= last_name)
        complain("the include of " name " belongs before that of " last_name)
    last_kind = kind
    last_name = name
}

BEGIN {
    base_rank = 3
    count = split("limits,backlog,deadlines,overflow,chunk,closer,credentials,document,endpoint,privileges,sandbox,sqlite,statedir,watch,fatal " \
                  "args,database,documents,quota,groups,topicset,trie " \
                  "names,topics,calls,receipts,monitor,presence,retained,store,lane policy rules config outq latest,shares connection peer hub " \
                  "access,guard,patience sharing deliver announce,answer audience,persist,retain snapshot revoke,driver,stream dispatch listener broker main", groups, " ")
    for (i = 1; i <= count; i++) {
        n = split(groups[i], members, ",")
        for (j = 1; j <= n; j++)
            layer[members[j]] = base_rank + i - 1
    }
}

FNR == 1 {
    depth = 0; last_kind = 0; last_name = ""; comment = 0
}

# Comments are not code. Strings with comment signs in them do not occur before code.
{
    code = $0
    if (comment) {
        if (!sub(/^.*\*\//, "", code))
            next
        comment = 0
    }
    gsub(/\/\*([^*]|\*[^\/])*\*\//, "", code)
    if (sub(/\/\*.*$/, "", code))
        comment = 1
}

code ~ /^#[ \t]*if/ { depth++ }
code ~ /^#[ \t]*endif/ { depth-- }

code ~ /(^|[^A-Za-z0-9_])(recvmsg|sendmsg|recvmmsg|sendmmsg)[ \t]*\(/ {
    if (FILENAME != "libbus/wire/sockio.c" && FILENAME !~ /^tests\//)
        complain("only libbus/wire/sockio.c calls recvmsg and sendmsg")
}

code ~ /^#[ \t]*include[ \t]*"/ {
    split(code, part, "\"")
    path = part[2] ~ /^bus\// ? "include/" part[2] : part[2]
    if ((getline ignored < path) < 0)
        complain("\"" part[2] "\" is not a path from the root of the project")
    else if ((wrong = direction(part[2])) != "")
        complain("includes \"" part[2] "\": " wrong)
    close(path)
    check_order(is_own_header(part[2]) ? 1 : 3, part[2])
}

code ~ /^#[ \t]*include[ \t]*</ {
    split(code, part, /[<>]/)
    if ((wrong = foreign(part[2])) != "")
        complain("includes <" part[2] ">: " wrong)
    check_order(2, part[2])
}

END { exit bad }
'
