"""Compressed segments of a TIFF, held to the size that their page declares: a kilobyte can unpack to megabytes."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import tifffile

_HARMLESS = 1 << 28  # bytes
_DEFLATE = (8, 32946, 50013)
_LZMA = 34925
_ZSTD = (34926, 50000)
_IMAGECODECS = "imagecodecs"


def _lzma() -> Any:
    import lzma  # a Python may be built without it

    return lzma.LZMADecompressor()


_DECODERS: dict[int, tuple[Callable[[], Any], int]] = {
    **dict.fromkeys(_DEFLATE, (zlib.decompressobj, 1032)),
    _LZMA: (_lzma, 1 << 13),
}
"""By compression, what unpacks step by step, and the greatest ratio: of deflate by zlib.net/zlib_tech.html; of LZMA
7079, as its longest match, 273 bytes, takes 14 coded bits, of which none costs less than log2(2048/2017)."""


def needed_package(compression: int) -> str:
    """What must be installed to unpack it; empty if nothing."""
    if compression in _ZSTD:  # tifffile's own decoder needs Python 3.14, and has no bound
        return "" if find_spec(_IMAGECODECS) else _IMAGECODECS
    return "" if compression == 1 or compression in tifffile.TIFF.DECOMPRESSORS else _IMAGECODECS


def harmless(data: bytes, compression: int, declared: int, index: int) -> bytes:
    """A segment's data, without what follows their end, once it is sure that they unpack to no more than declared.

    tifffile's own decoders have no bound; imagecodecs' stop by themselves.

    Raises:
        tifffile.TiffFileError: they unpack to more bytes.
    """
    start, ratio = _DECODERS.get(compression, (None, 0))
    if start is None or len(data) * ratio <= max(declared, _HARMLESS):
        return data
    decoder = start()
    if len(decoder.decompress(data, declared + 1)) > declared:
        raise tifffile.TiffFileError(f"segment {index} unpacks to more than its {declared:,} bytes")
    return data[: len(data) - len(decoder.unused_data)]  # LZMA's streams may follow each other
