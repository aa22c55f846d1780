"""Takes one incremental backup over NBD, as backup tools do: incremental-backup.py URI CONTEXT FILE

FILE holds the state that the bitmap CONTEXT counts from; afterwards it holds the export's. Strict about what the server
says: every context of a reply covers the same bytes, none more than was asked for, neighbours differ, and only the
statuses that backup tools know appear. Prints the number of bytes that changed.
"""
import sys

import nbd

MAX_REQUEST = 2**32 - 4096
PIECE = 32 * 2**20


def extents_of(handle, wanted):
    """Extents [(offset, length, status)] of the whole export by context."""
    found = {context: [] for context in wanted}
    size = handle.get_size()
    offset = 0
    while offset < size:
        request = min(MAX_REQUEST, size - offset)
        covered = {}

        def note(context, start, entries, _error):
            assert start == offset, (start, offset)
            at = start
            before = None
            for length, status in zip(entries[::2], entries[1::2]):
                assert length > 0 and (length % 4096 == 0 or at + length == size), length
                assert status != before, "neighbours of equal status"
                before = status
                found[context].append((at, length, status))
                at += length
            covered[context] = at - start

        handle.block_status(request, offset, note)
        assert sorted(covered) == sorted(wanted), covered
        assert len(set(covered.values())) == 1, covered
        step = covered[wanted[0]]
        assert 0 < step <= request, (step, request)
        offset += step
    return found


def copy(handle, file, offset, length):
    end = offset + length
    while offset < end:
        step = min(PIECE, end - offset)
        file.seek(offset)
        file.write(handle.pread(step, offset))
        offset += step


def main(uri, bitmap, path):
    handle = nbd.NBD()
    handle.add_meta_context("base:allocation")
    handle.add_meta_context(bitmap)
    handle.connect_uri(uri)
    assert handle.is_read_only()
    found = extents_of(handle, ["base:allocation", bitmap])
    assert all(status in (0, 2, 3) for _, _, status in found["base:allocation"])
    assert all(status in (0, 1) for _, _, status in found[bitmap])
    changed = 0
    with open(path, "r+b") as file:
        file.truncate(handle.get_size())
        for offset, length, status in found[bitmap]:
            if status == 1:
                changed += length
                copy(handle, file, offset, length)
    handle.shutdown()
    print(changed)


main(*sys.argv[1:])
