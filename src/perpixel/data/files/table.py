"""A million pairs that cost no memory: rows of text in one block, which may be a file that all processes share.

A tuple of a million pairs would be five million Python objects: a gigabyte, of which every worker process makes itself
a copy as it counts references.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import struct
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from perpixel.data.files.file_cache import write_whole
from perpixel.data.files.pairs import Pair
from perpixel.windows import Window

_HEADER = struct.Struct("<8s32sQQ")
"""Mark, SHA-256 of the rows, number of rows, their bytes; then the rows' ends (uint64), the rows, and the paths of all
files with zeros between them (a million are looked at without taking the rows apart)."""

_MARK = b"pairs\0\0\2"

_LONG = 0.5
"""Seconds from which on looking at all files is not done again at once …"""

_AGAIN = 10.0
"""… but after so many times as long."""


class PairTable(Sequence[Pair]):
    """Pairs as rows of a block of bytes.

    Args:
        block: as ``of`` writes it.
        path: the file that the block is mapped from, if any: other processes map it instead of getting a copy.

    Raises:
        ValueError: the block is no table, or a part of one.
    """

    def __init__(self, block: bytes | mmap.mmap, path: Path | None = None) -> None:
        if len(block) < _HEADER.size or (header := _HEADER.unpack_from(block))[0] != _MARK:
            raise ValueError("this is no table of pairs")
        self._block = block
        self._path = path
        self.key: str = header[1].hex()
        self._ends: npt.NDArray[np.uint64] = np.frombuffer(block, np.uint64, header[2], _HEADER.size)
        self._first = _HEADER.size + self._ends.nbytes
        self._paths = self._first + header[3]
        self._stamped = ("", 0.0)
        if len(block) < self._paths or block[-1:] != b"\0":
            raise ValueError("this is a part of a table of pairs")

    @classmethod
    def of(cls, pairs: Iterable[Pair]) -> PairTable:
        """The table of some pairs, in memory."""
        rows, paths = [], []
        for pair in pairs:
            rows.append(_row(pair))
            paths.extend([os.fsencode(path) for path in pair.files])
        ends = np.cumsum([len(row) for row in rows], dtype=np.uint64)
        text = b"".join(rows)
        header = _HEADER.pack(_MARK, hashlib.sha256(text).digest(), len(rows), len(text))
        return cls(b"".join((header, ends.tobytes(), text, b"\0".join(paths), b"\0")))

    @classmethod
    def mapped(cls, path: Path) -> PairTable:
        """The table that ``save`` wrote to a file.

        Raises:
            OSError, ValueError: there is none, or it is damaged.
        """
        with path.open("rb") as file:
            return cls(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), path)

    def save(self, path: Path) -> None:
        """Write the table, whole or not at all.

        Raises:
            OSError: the file cannot be written.
        """
        write_whole(path, bytes(self._block))

    def __len__(self) -> int:
        return len(self._ends)

    @overload
    def __getitem__(self, index: int) -> Pair: ...
    @overload
    def __getitem__(self, index: slice) -> list[Pair]: ...
    def __getitem__(self, index: int | slice) -> Pair | list[Pair]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        place = range(len(self))[index]
        start = int(self._ends[place - 1]) if place else 0
        return _pair(self._block[self._first + start : self._first + int(self._ends[place])])

    def __iter__(self) -> Iterator[Pair]:
        return (self[index] for index in range(len(self)))

    def __reduce__(self) -> tuple[Any, ...]:
        return (PairTable, (bytes(self._block),)) if self._path is None else (PairTable.mapped, (self._path,))

    def files(self) -> list[bytes]:
        """The paths of all files, in order."""
        return self._block[self._paths : -1].split(b"\0") if len(self) else []

    def stamp(self) -> str:
        """Changes when a pair comes, goes or moves, or a file is written to (by its size and times).

        An answer that took seconds is given again for ten times as long: a start asks several times.
        """
        start = time.monotonic()
        if start < self._stamped[1]:
            return self._stamped[0]
        states = np.array(
            [(state.st_size, state.st_mtime_ns, state.st_ctime_ns) for state in map(os.stat, self.files())], np.int64
        )
        stamp = hashlib.sha256(bytes.fromhex(self.key) + states.tobytes()).hexdigest()
        if (cost := time.monotonic() - start) > _LONG:
            self._stamped = (stamp, start + _AGAIN * cost)
        return stamp


def _row(pair: Pair) -> bytes:
    row: list[Any] = [pair.name, str(pair.image), str(pair.mask)]
    if pair[3:] != Pair("", pair.image, pair.mask)[3:]:
        row += [pair.group, pair.window, [str(path) for path in pair.extras], pair.conditions]
    return json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogateescape")


def _pair(row: bytes) -> Pair:
    name, image, mask, *rest = json.loads(row.decode("utf-8", "surrogateescape"))
    if not rest:
        return Pair(name, Path(image), Path(mask))
    group, window, extras, conditions = rest
    return Pair(
        name, Path(image), Path(mask), group, Window(*window) if window else None,
        tuple(map(Path, extras)), tuple((key, value) for key, value in conditions),
    )  # fmt: skip
