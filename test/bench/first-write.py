"""Times single writes after snapshots: python3 first-write.py URI ROUNDS.

Prints "snapshot" and waits for a line before each round; then times one 4 KiB write to a leaf (2 MiB) that the
snapshot shares, and three more to the same leaf. Ends with one JSON line: microseconds of first and later writes.
"""
import json
import os
import sys
import time

import nbd

LEAF = 2 << 20
BLOCK = 4096

handle = nbd.NBD()
handle.connect_uri(sys.argv[1])
leaves = handle.get_size() // LEAF
payload = os.urandom(BLOCK)
first, later = [], []


def timed_write(offset):
    started = time.perf_counter()
    handle.pwrite(payload, offset)
    return (time.perf_counter() - started) * 1e6


# Every leaf has content before: what is measured is sharing, not growing.
for leaf in range(leaves):
    handle.pwrite(payload, leaf * LEAF)
for round_number in range(int(sys.argv[2])):
    print("snapshot", flush=True)
    sys.stdin.readline()
    leaf = (round_number * 7) % leaves * LEAF
    # Another leaf before: the first writes after the client has waited pay for waking everybody.
    for block in range(4):
        timed_write((round_number * 7 + 3) % leaves * LEAF + block * BLOCK)
    first.append(timed_write(leaf + BLOCK))
    for block in range(2, 5):
        later.append(timed_write(leaf + block * BLOCK))
print(json.dumps({"first": first, "later": later}))
handle.shutdown()
