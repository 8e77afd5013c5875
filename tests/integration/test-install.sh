#!/bin/sh
# SPDX-License-Identifier: MIT
# Installs into a temporary prefix and builds README.md's programs against what
# lies there: with pkg-config, with CMake's find_package, shared and static. Then
# runs them on a bus of the installed programs. So README.md's code is always true.
set -eu

if [ "${1-}" = --inside ]; then
    # On the private bus: subscriber and publisher of the directory given.
    "$2/subscriber" >"$2/events" &
    tries=0
    until busctl-lite --json=short stats | grep -q '"subscriptions":1[,}]'; do
        tries=$((tries + 1))
        [ "$tries" -lt 100 ] || { echo "$2: the subscriber never subscribed" >&2; exit 1; }
        sleep 0.1
    done
    "$2/publisher" 'from README'
    until grep -qx 'org.example.greeting "from README"' "$2/events"; do
        tries=$((tries + 1))
        [ "$tries" -lt 200 ] || { echo "$2: the event never came" >&2; exit 1; }
        sleep 0.1
    done
    exit 0
fi

source=$(cd "${SOURCE_DIR:-$(dirname "$0")/../..}" && pwd)
build=$(cd "${BUILD_DIR:-$source/build}" && pwd)
script=$source/tests/integration/test-install.sh
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
prefix=$work/prefix

fail() {
    echo "FAILED: $*" >&2
    exit 1
}

# What links a library that was built with sanitizers needs them too.
sanitize=
! grep -q '^BUSD_SANITIZE:BOOL=ON' "$build/CMakeCache.txt" || sanitize=-fsanitize=address,undefined

cmake --install "$build" --prefix "$prefix" >"$work/install.log" ||
    fail "$(cat "$work/install.log")"
libdir=$(dirname "$(dirname "$(find "$prefix" -name libbus.pc)")")
for file in bin/busd bin/busctl-lite include/bus/bus.h share/man/man7/bus-protocol.7 share/busd/user.json share/busd/system.json \
    share/doc/busd/conf/README.md share/doc/busd/conf/sandbox.json; do
    [ -e "$prefix/$file" ] || fail "$file was not installed"
done
for file in libbus.so libbus.so.0 libbus.a pkgconfig/libbus.pc cmake/libbus/libbus-config.cmake; do
    [ -e "$libdir/$file" ] || fail "$file was not installed"
done
[ -L "$libdir/libbus.so" ] || fail 'libbus.so should be a link to the versioned library'

# ----------------------------------------------------- README's programs

# extract NAME: the code block that follows the line <!-- libbus/examples/NAME.c -->.
mkdir "$work/code"
extract() {
    awk -v mark="<!-- libbus/examples/$1.c -->" '
        $0 == mark { found = 1; next }
        found && /^```/ { if (inside) exit; inside = 1; next }
        inside { print }' "$source/README.md" >"$work/code/$1.c"
    cmp "$work/code/$1.c" "$source/libbus/examples/$1.c" ||
        fail "README.md and libbus/examples/$1.c differ"
}
extract subscriber
extract publisher

# ------------------------------------------------------------ pkg-config

export PKG_CONFIG_PATH="$libdir/pkgconfig"
version=$(sed -n 's/^project(busd VERSION \([0-9.]*\).*/\1/p' "$source/CMakeLists.txt")
[ "$(pkg-config --modversion libbus)" = "$version" ] || fail 'libbus.pc has another version'
[ "$(realpath "$(pkg-config --variable=includedir libbus)")" = "$(realpath "$prefix/include")" ] ||
    fail "libbus.pc does not point to where it was installed: $(pkg-config --cflags libbus)"
mkdir "$work/pkg-config"
for program in subscriber publisher; do
    cc -Wall -Werror $sanitize -o "$work/pkg-config/$program" "$work/code/$program.c" \
        $(pkg-config --cflags --libs libbus) -Wl,-rpath,"$libdir" || fail "$program with pkg-config"
done

# ----------------------------------------------------------- find_package

cat >"$work/code/CMakeLists.txt" <<'END'
cmake_minimum_required(VERSION 3.20)
project(readme LANGUAGES C)
find_package(libbus 0.1 REQUIRED)
foreach(program subscriber publisher)
  add_executable(${program} ${program}.c)
  target_link_libraries(${program} PRIVATE ${LIBBUS_TARGET})
endforeach()
END
for target in bus bus-static; do
    cmake -S "$work/code" -B "$work/$target" -DCMAKE_PREFIX_PATH="$prefix" \
        -DLIBBUS_TARGET="libbus::$target" -DCMAKE_C_FLAGS="$sanitize" >"$work/cmake.log" 2>&1 &&
        cmake --build "$work/$target" >>"$work/cmake.log" 2>&1 || {
        cat "$work/cmake.log" >&2
        fail "find_package(libbus) with libbus::$target"
    }
done
readelf -dW "$work/bus/subscriber" | grep -q 'NEEDED.*libbus\.so\.0' ||
    fail 'libbus::bus does not link the shared library'
! readelf -dW "$work/bus-static/subscriber" | grep -q 'NEEDED.*libbus' ||
    fail 'libbus::bus-static does not link the static library'

# --------------------------------------------------------- on a real bus

PATH=$prefix/bin:$PATH
export LD_LIBRARY_PATH="$libdir"
for way in pkg-config bus bus-static; do
    timeout 60 busctl-lite run-session -- "$script" --inside "$work/$way" || fail "$way: see above"
done
echo 'install: all as it should be'
