"""What the chunks of a PNG say (https://www.w3.org/TR/png-3/, 5.2): its size and depth, and whether all of it is there.

Decoders leave rows that never come black, and not all compare the checksums of pixels. So pixels are unpacked and
counted here.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

SIGNATURE = b"\x89PNG\r\n\x1a\n"

_BANDS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type
_WHOLE = [(0, 0, 1, 1)]
_ADAM7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
"""Passes of an interlaced picture: first column and row, and the steps to the next."""

_DEEP_BANDS = {b"\x10\x02": 3, b"\x10\x04": 1, b"\x10\x06": 3}  # by depth and colour type
_NOTES = (b"XML:com.adobe.xmp", b"Raw profile type ")  # texts in which an orientation may be kept

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


def png_shape(data: bytes) -> tuple[int, int] | None:
    """(H, W) of a PNG that nothing says is to be turned; None for others. (Pillow looks behind the pixels for an
    orientation, and decodes them all.)"""
    if not data.startswith(SIGNATURE) or len(data) < 33 or _may_be_turned(data):
        return None
    height, width = int.from_bytes(data[20:24], "big"), int.from_bytes(data[16:20], "big")
    return (height, width) if height and width else None  # Pillow refuses those without pixels


def _may_be_turned(data: bytes) -> bool:
    return any(
        kind == b"eXIf" or (kind in (b"iTXt", b"tEXt", b"zTXt") and data.startswith(_NOTES, start))
        for kind, start, _ in chunks(data)
    )


def deep_bands(path: Path) -> int:
    """Bands, without alpha, of 16-bit colour and grey with alpha, whatever the file is called: Pillow gives their upper
    8 bits only. 0 for others, 16-bit grey among them, which it reads whole."""
    with suppress(OSError), path.open("rb") as file:
        header = file.read(26)
        return _DEEP_BANDS.get(header[24:], 0) if header.startswith(SIGNATURE) else 0
    return 0


def read_text(data: bytes, keyword: str) -> str | None:
    """A text that a PNG carries before its pixels; None where it has none of that keyword.

    Args:
        data: the file, or its beginning.
        keyword: of the tEXt chunk.
    """
    if not data.startswith(SIGNATURE):
        return None
    for kind, start, stop in chunks(data):
        if kind == b"IDAT":
            return None
        name, _, text = data[start:stop].partition(b"\0")
        if kind == b"tEXt" and name == keyword.encode("latin-1"):
            return text.decode("latin-1")
    return None
