"""One job over TLS, for fio lets libnbd read no certificates: python3 encrypted-job.py URI JOB, where JOB is JSON:
{"write": bool, "blockBytes": N, "depth": N, "sizeBytes": N, "seconds": N, "burstBytes": N or 0}.

Keeps `depth` requests in flight, small ones at random, large ones in order. Ends with one JSON line.
"""
import json
import os
import random
import sys
import time

import nbd

job = json.loads(sys.argv[2])
block = job["blockBytes"]
blocks = job["sizeBytes"] // block
handle = nbd.NBD()
handle.set_uri_allow_local_file(True)
handle.connect_uri(sys.argv[1])
buffers = [nbd.Buffer.from_bytearray(bytearray(os.urandom(block))) for _ in range(job["depth"])]
latencies = []
issued = 0
started = time.perf_counter()


def is_over():
    if job["burstBytes"] > 0:
        return issued * block >= job["burstBytes"]
    return time.perf_counter() - started >= job["seconds"]


def submit(buffer):
    global issued
    at = (random.randrange(blocks) if block < 1 << 20 else issued % blocks) * block
    issued += 1
    begun = time.perf_counter()

    # Called inside poll, where the handle may not be used: the loop below goes on.
    def done(error):
        if error:
            failures.append(error)
        latencies.append(time.perf_counter() - begun)
        free.append(buffer)
        return 1

    if job["write"]:
        handle.aio_pwrite(buffer, at, completion=done)
    else:
        handle.aio_pread(buffer, at, completion=done)


free = buffers
failures = []
while not failures:
    while free and not is_over():
        submit(free.pop())
    if handle.aio_in_flight() == 0:
        break
    handle.poll(-1)
if failures:
    sys.exit(f"request failed: errno {failures[0]}")
seconds = time.perf_counter() - started
handle.shutdown()
latencies.sort()
count = len(latencies)
print(json.dumps({
    "operations": count,
    "seconds": seconds,
    "p50Us": latencies[count // 2] * 1e6,
    "p99Us": latencies[count * 99 // 100] * 1e6,
}))
