"""A client that remembers what was acknowledged, and checks it after every crash of the server.

    usage: stamped-writer.py URI ROUNDS REGION_BYTES SEED

Rounds: connect (waiting until the server is back), read the whole region and compare it with what must be there, then
write with many requests in flight until the connection dies. It prints one line when a round has begun to write
("writing ROUND"), so that the caller can kill the server, and one when a round was checked ("checked ROUND ..."). After the
last round it checks once more and prints "done". Any difference is printed as "WRONG ..." and ends it with code 1.

The unit is a 512-byte sector; its content says its number and the sequence of the write it belongs to. Per sector:

    expected[sector]   sequence of the last acknowledged write; 0 = zeros (never written, zeroed or trimmed)
    uncertain[sector]  what a request left unanswered by the crash may have made of it

Requests in flight never overlap, so after a crash a sector holds one of two values, and all sectors of one write
request of at most 1 MiB hold the same one of the two: old or new.
"""

import errno
import random
import struct
import sys
import time

import nbd

SECTOR = 512
IN_FLIGHT_MAX = 32
RECONNECT_SECONDS = 60
WRITE_SECONDS_MAX = 30
# What libnbd reports for requests whose connection died.
DEATH = (errno.ENOTCONN, errno.ECONNRESET, errno.EPIPE)


class Request:
    """One request in flight: its sectors and the sequence they hold when it is done."""

    def __init__(self, first, count, sequence, is_atomic):
        self.first = first
        self.count = count
        self.sequence = sequence
        self.is_atomic = is_atomic


def content(first, count, sequence):
    """Bytes of `count` sectors written by request `sequence`; sequence 0 stands for zeros."""
    if sequence == 0:
        return bytes(count * SECTOR)
    return b"".join(
        struct.pack("<QQ", sector, sequence) * (SECTOR // 16) for sector in range(first, first + count)
    )


class Writer:
    def __init__(self, uri, region_bytes, seed):
        self.uri = uri
        self.sectors = region_bytes // SECTOR
        self.random = random.Random(seed)
        self.expected = [0] * self.sectors
        self.sequence = 0
        self.in_flight = {}
        self.busy = bytearray(self.sectors)
        self.acknowledged = 0
        self.refusals = []

    def connect(self):
        end = time.monotonic() + RECONNECT_SECONDS
        while True:
            handle = nbd.NBD()
            try:
                handle.connect_uri(self.uri)
                return handle
            except nbd.Error:
                if time.monotonic() > end:
                    raise
                time.sleep(0.02)

    def read_region(self, handle):
        step = 1 << 20
        size = self.sectors * SECTOR
        return b"".join(handle.pread(min(step, size - at), at) for at in range(0, size, step))

    def check(self, handle, round_number):
        """Compares the region with what must be there and settles what was uncertain."""
        data = self.read_region(handle)
        faults = []
        unanswered = list(self.in_flight.values())
        for request in unanswered:
            self.settle(request, data, faults)
        self.in_flight = {}
        self.busy = bytearray(self.sectors)
        for sector in range(self.sectors):
            at = sector * SECTOR
            if data[at : at + SECTOR] != content(sector, 1, self.expected[sector]):
                found = struct.unpack_from("<QQ", data, at)
                faults.append(f"sector {sector}: expected sequence {self.expected[sector]}, found {found}")
        for fault in faults[:20]:
            print(f"WRONG round {round_number}: {fault}", flush=True)
        if faults:
            print(f"WRONG round {round_number}: {len(faults)} faults", flush=True)
            sys.exit(1)
        print(
            f"checked {round_number} acknowledged={self.acknowledged} unanswered={len(unanswered)}",
            flush=True,
        )

    def settle(self, request, data, faults):
        """A request without an answer happened or did not; a write of at most 1 MiB not by halves."""
        states = set()
        for sector in range(request.first, request.first + request.count):
            at = sector * SECTOR
            is_new = data[at : at + SECTOR] == content(sector, 1, request.sequence)
            was_same = self.expected[sector] == request.sequence
            if is_new and not was_same:
                self.expected[sector] = request.sequence
            if not was_same:
                states.add(is_new)
        if request.is_atomic and len(states) > 1:
            faults.append(f"torn write of {request.count} sectors at {request.first}")

    def pick(self):
        """A free range: mostly whole 4 KiB blocks, sometimes large, sometimes a few sectors anywhere."""
        kind = self.random.random()
        if kind < 0.15:
            count = self.random.randrange(1, 12)
            first = self.random.randrange(0, self.sectors - count)
        else:
            blocks = 1 if kind < 0.7 else self.random.randrange(1, 65 if kind < 0.97 else 257)
            count = blocks * 8
            first = self.random.randrange(0, self.sectors // 8 - blocks) * 8
        if any(self.busy[first : first + count]):
            return None
        return first, count

    def submit(self, handle):
        picked = self.pick()
        if picked is None:
            return
        first, count = picked
        kind = self.random.random()
        self.sequence += 1
        is_write = kind < 0.9
        request = Request(first, count, self.sequence if is_write else 0, is_write)
        token = self.sequence
        self.in_flight[token] = request
        self.busy[first : first + count] = b"\x01" * count

        def done(error):
            if error.value == 0:
                self.answer(token)
            elif error.value not in DEATH:
                self.refusals.append(f"request {token}: error {error.value}")
            return 1

        offset, length = first * SECTOR, count * SECTOR
        if is_write:
            data = content(first, count, request.sequence)
            handle.aio_pwrite(nbd.Buffer.from_bytearray(bytearray(data)), offset, done)
        elif kind < 0.95:
            handle.aio_zero(length, offset, done)
        else:
            handle.aio_trim(length, offset, done)

    def answer(self, token):
        request = self.in_flight.pop(token)
        end = request.first + request.count
        self.expected[request.first : end] = [request.sequence] * request.count
        self.busy[request.first : end] = bytes(request.count)
        self.acknowledged += 1

    def write_until_death(self, handle):
        end = time.monotonic() + WRITE_SECONDS_MAX
        try:
            while time.monotonic() < end:
                while handle.aio_in_flight() < IN_FLIGHT_MAX:
                    self.submit(handle)
                handle.poll(1000)
                if self.refusals:
                    print(f"WRONG: refused while alive: {self.refusals[0]}", flush=True)
                    sys.exit(1)
        except nbd.Error:
            return
        print("WRONG: the server was not killed in time", flush=True)
        sys.exit(1)


def main():
    uri, rounds, region_bytes, seed = sys.argv[1], *map(int, sys.argv[2:5])
    writer = Writer(uri, region_bytes, seed)
    for round_number in range(rounds):
        handle = writer.connect()
        writer.check(handle, round_number)
        print(f"writing {round_number}", flush=True)
        writer.write_until_death(handle)
    writer.check(writer.connect(), rounds)
    print(f"done acknowledged={writer.acknowledged}", flush=True)


main()
