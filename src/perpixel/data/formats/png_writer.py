"""PNG files written row by row: a picture of any height takes no more memory than the rows at hand.

PNG, third edition (W3C 2023), sections 9 (filters) and 11 (chunks).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from perpixel.data.formats.png import SIGNATURE

Array = npt.NDArray[Any]

_GREY, _RGB, _PALETTE = 0, 2, 3
_NONE, _UP = 0, 2
LEVEL = 4
"""Of compression: masks are as small as with 9 but for a few percent, in half the time."""


class PngWriter:
    """Writes a PNG of a known size from the top.

    Args:
        file: opened for writing, at its beginning.
        shape: (H, W) of the picture.
        dtype: uint8, or uint16 for grey.
        bands: 1 (grey, or indices with a palette) or 3 (RGB).
        palette: (N, 3) RGB for the values 0…N−1.
        text: Latin-1 texts that the file carries, by keyword; they stand at its beginning (see :func:`read_text`).
    """

    def __init__(
        self,
        file: BinaryIO,
        shape: tuple[int, int],
        dtype: npt.DTypeLike = np.uint8,
        bands: int = 1,
        palette: Sequence[Sequence[int]] | Array | None = None,
        text: Mapping[str, str] | None = None,
    ) -> None:
        self.file = file
        self.height, self.width = shape
        self.bands = bands
        self.stored = np.dtype(dtype).newbyteorder(">")
        # Differences of indices compress worse than the indices do.
        self._filter = _NONE if palette is not None else _UP
        self._above = np.zeros(self.width * bands * self.stored.itemsize, np.uint8)
        self._rows = 0
        self._packer = zlib.compressobj(LEVEL)
        kind = _PALETTE if palette is not None else _RGB if bands == 3 else _GREY
        file.write(SIGNATURE)
        self._chunk(b"IHDR", struct.pack(">IIBBBBB", self.width, self.height, 8 * self.stored.itemsize, kind, 0, 0, 0))
        for keyword, content in (text or {}).items():
            self._chunk(b"tEXt", keyword.encode("latin-1") + b"\0" + content.encode("latin-1"))
        if palette is not None:
            self._chunk(b"PLTE", np.asarray(palette, np.uint8).tobytes())

    def write(self, rows: Array) -> None:
        """Append (rows, W) or (rows, W, bands); the last ones complete the file."""
        packed = np.ascontiguousarray(rows, self.stored).view(np.uint8).reshape(len(rows), -1)
        lines = np.empty((len(rows), 1 + packed.shape[1]), np.uint8)
        lines[:, 0] = self._filter
        if self._filter == _UP:
            np.subtract(packed[:1], self._above, out=lines[:1, 1:])
            np.subtract(packed[1:], packed[:-1], out=lines[1:, 1:])
            self._above = packed[-1].copy()
        else:
            lines[:, 1:] = packed
        self._rows += len(rows)
        if data := self._packer.compress(lines.tobytes()):
            self._chunk(b"IDAT", data)
        if self._rows == self.height:
            self._chunk(b"IDAT", self._packer.flush())
            self._chunk(b"IEND", b"")

    def _chunk(self, kind: bytes, data: bytes) -> None:
        self.file.write(struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)))
