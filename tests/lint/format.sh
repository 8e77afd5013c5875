#!/bin/sh
# SPDX-License-Identifier: MIT
# Every C file is as clang-format would write it, by .clang-format at the root.
set -eu
cd "${SOURCE_DIR:-$(dirname "$0")/../..}"

find busd libbus tools include tests -name '*.[ch]' | LC_ALL=C sort |
    xargs clang-format --style=file --dry-run -Werror
