#!/bin/sh
# SPDX-License-Identifier: MIT
# README.md's session on the wire: types its lines into a bus and compares what comes
# back, byte by byte, but for the greeting, which README.md shows cut.
set -eu
SOURCE_DIR=$(cd "${SOURCE_DIR:-$(dirname "$0")/../..}" && pwd)
build=${BUILD_DIR:-$SOURCE_DIR/build}
export SOURCE_DIR

timeout 60 "${BUSCTL:-$build/tools/busctl-lite/busctl-lite}" run-session \
    --busd "${BUSD:-$build/busd/busd}" -- python3 -c '
import os, socket, sys

lines = open(os.environ["SOURCE_DIR"] + "/README.md", encoding="utf-8").read().split("\n")
start = next(i for i, line in enumerate(lines) if line.startswith("$ socat - "))
session = lines[start + 1:lines.index("```", start)]

bus = socket.socket(socket.AF_UNIX)
bus.settimeout(10)
bus.connect(os.environ["BUSD_ADDRESS"].removeprefix("unix:"))
answers = bus.makefile("r", encoding="utf-8", newline="\n")
typed = 0
for line in session:
    mark, text = line[:2], line[2:]
    if mark == "> ":
        bus.sendall(text.encode() + b"\n")
        typed += 1
        continue
    answer = answers.readline().rstrip("\n")
    same = answer.startswith(text.split("\"name\"")[0]) if "…" in text else answer == text
    if not same:
        sys.exit("README.md shows\n  " + text + "\nand the bus says\n  " + answer)
if typed == 0:
    sys.exit("README.md has no session with socat in it")
print("README.md:", typed, "lines typed, all answers as shown")
'
