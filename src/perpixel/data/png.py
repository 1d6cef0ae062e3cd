"""PNGs that decode although something of them is lost.

Decoders leave rows that never come black, and not all compare the checksums of pixels. So the file's chunks are walked
here (https://www.w3.org/TR/png-3/, 5.2), and its pixels unpacked and counted.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

SIGNATURE = b"\x89PNG\r\n\x1a\n"

_BANDS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type
_WHOLE = [(0, 0, 1, 1)]
_ADAM7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
"""Passes of an interlaced picture: first column and row, and the steps to the next."""

_PIECE = 1 << 16
"""Bytes unpacked at once, to 64 MB at most."""


def chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Kind, start and stop of each chunk's body, up to the end of the picture or of what there is of it."""
    start = 16
    while (kind := data[start - 4 : start]) not in (b"IEND", b""):
        stop = start + int.from_bytes(data[start - 8 : start - 4], "big")
        yield kind, start, stop
        start = stop + 12


def fault(data: bytes) -> str:
    """What is wrong with a PNG that can be decoded; empty if nothing is."""
    missing, unpacker, view = _unpacked_size(data[16:29]), zlib.decompressobj(), memoryview(data)
    for kind, start, stop in chunks(data):
        if kind != b"IDAT":
            continue
        if zlib.crc32(view[start - 4 : stop]) != int.from_bytes(data[stop : stop + 4], "big"):
            return "the checksum of its pixels differs"
        for place in range(start, stop, _PIECE):
            try:
                missing -= len(unpacker.decompress(view[place : min(place + _PIECE, stop)])) if missing > 0 else 0
            except zlib.error:  # below the window that was decoded
                return "its pixels cannot be unpacked"
    return "its data end before the picture does" if missing > 0 else ""


def _unpacked_size(header: bytes) -> int:
    """Bytes of all rows, each with its filter's."""
    width, height, depth, colour_type, _, _, interlaced = struct.unpack(">IIBBBBB", header)
    size = 0
    for left, top, across, down in _ADAM7 if interlaced else _WHOLE:
        columns, rows = -((left - width) // across), -((top - height) // down)
        size += rows * (1 + -(-columns * depth * _BANDS[colour_type] // 8)) if columns > 0 else 0
    return size
