#!/bin/sh
# SPDX-License-Identifier: MIT
# Each public header compiles alone, without a warning, as C99, C11 and C++17.
set -eu
cd "${SOURCE_DIR:-$(dirname "$0")/../..}"
status=0
warnings='-Wall -Wextra -Wno-unused-parameter -pedantic -Werror'

# compile HEADER MODULE COMPILER...
compile() {
    header=$1 module=$2
    shift 2
    printf '#include <%s>\nint main(void) { return 0; }\n' "$header" |
        "$@" $warnings -Iinclude $(pkg-config --cflags jansson "$module") -fsyntax-only - || {
        echo "include/$header: does not compile alone with: $*"
        status=1
    }
}

for file in include/bus/*.h; do
    header=${file#include/}
    # Adapters stand for a library, which has requirements of its own on the C library.
    case "$header" in
    bus/uv.h) module=libuv defines=-D_GNU_SOURCE ;;
    *) module=jansson defines= ;;
    esac
    compile "$header" "$module" cc -xc -std=c99 $defines
    compile "$header" "$module" cc -xc -std=c11 $defines
    compile "$header" "$module" c++ -xc++ -std=c++17 $defines
done
exit "$status"
