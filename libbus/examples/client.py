#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The address book without a library: `client.py` lists it and prints every change
to come; `client.py NAME EMAIL` adds an entry and ends when its event has come."""
import json, os, socket, sys

BOOK = "org.example.AddressBook"
address = os.environ.get("BUSD_ADDRESS") or os.environ["XDG_RUNTIME_DIR"] + "/busd/bus"
path = address.removeprefix("unix:")
bus = socket.socket(socket.AF_UNIX)
bus.connect("\0" + path[1:] if path.startswith("@") else path)

def call(**message):
    bus.sendall(json.dumps({"type": "call", **message}).encode() + b"\n")

call(id=1, to="bus", method="Subscribe", body={"topic": BOOK + ".*", "sender": BOOK})
call(id=2, to=BOOK, method="List")
if len(sys.argv) == 3:
    call(id=3, to=BOOK, method="Add", body={"name": sys.argv[1], "email": sys.argv[2]})

for message in map(json.loads, bus.makefile("rb")):
    if message["type"] == "error":
        sys.exit("client.py: " + message.get("message", message["error"]))
    if message["type"] == "reply" and message["id"] == 2:
        print(*message["body"]["entries"], sep="\n")
    if message["type"] == "event" and message["topic"].startswith(BOOK):
        print(message["topic"], message["body"], flush=True)
        if len(sys.argv) == 3 and message["body"]["name"] == sys.argv[1]:
            break
