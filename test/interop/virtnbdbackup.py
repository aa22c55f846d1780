"""Backs up and restores with the modules of virtnbdbackup themselves, without libvirt and a domain.

virtnbdbackup.py backup SOCKET EXPORT CONTEXT FILE    connects with its client, asks for extents with its handler, writes its format;
                                                     CONTEXT "" = full. Prints the bytes of data.
virtnbdbackup.py restore FILE IMAGE                   reads its format into a raw image, as virtnbdrestore does
"""
import argparse
import sys

from libvirtnbdbackup import nbdcli
from libvirtnbdbackup.extenthandler.extenthandler import ExtentHandler
from libvirtnbdbackup.sparsestream import streamer, types

PIECE = 2**25

stream = streamer.SparseStream(types)
kinds = types.SparseStreamTypes()


def backup(socket, export, context, path):
    level = "inc" if context else "full"
    connection = nbdcli.client(nbdcli.Unix(export, context, socket)).connect()
    extents = ExtentHandler(connection, connection.cType).queryBlockStatus()
    data_bytes = sum(extent.length for extent in extents if extent.data)
    disk = argparse.Namespace(target="sda", format="raw")
    checkpoint = argparse.Namespace(name=export, parent="")
    args = argparse.Namespace(cpt=checkpoint, compress=False, level=level)
    size = connection.nbd.get_size()
    piece = min(PIECE, connection.maxRequestSize)
    with open(path, "wb") as out:
        meta = stream.dumpMetadata(args, size, data_bytes, disk)
        stream.writeFrame(out, kinds.META, 0, len(meta))
        out.write(meta + kinds.TERM)
        for extent in extents:
            if not extent.data:
                stream.writeFrame(out, kinds.ZERO, extent.offset, extent.length)
                continue
            stream.writeFrame(out, kinds.DATA, extent.offset, extent.length)
            end = extent.offset + extent.length
            for at in range(extent.offset, end, piece):
                out.write(connection.nbd.pread(min(piece, end - at), at))
            out.write(kinds.TERM)
        stream.writeFrame(out, kinds.STOP, 0, 0)
    connection.disconnect()
    print(data_bytes)


def restore(path, image):
    with open(path, "rb") as source, open(image, "r+b") as out:
        kind, _start, length = stream.readFrame(source)
        assert kind == kinds.META, kind
        meta = stream.loadMetadata(source.read(length))
        assert source.read(len(kinds.TERM)) == kinds.TERM
        out.truncate(meta["virtualSize"])
        while True:
            kind, start, length = stream.readFrame(source)
            if kind == kinds.STOP:
                return
            if kind == kinds.DATA:
                out.seek(start)
                out.write(source.read(length))
                assert source.read(len(kinds.TERM)) == kinds.TERM


{"backup": backup, "restore": restore}[sys.argv[1]](*sys.argv[2:])
