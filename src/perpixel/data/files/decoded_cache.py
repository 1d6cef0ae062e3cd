"""Decoded samples kept on disk and mapped into memory: a crop then reads its own pixels and decodes nothing."""

from __future__ import annotations

import errno
import mmap
import os
import struct
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from perpixel.data.files.file_cache import SCHEMA, cache_folder, stamp, write_whole
from perpixel.data.files.pairs import Pair
from perpixel.data.hashing import digest

Array = npt.NDArray[Any]

_HEADER = struct.Struct("<8s3I8s8s")
"""Mark, H, W, C, and the dtypes of image and mask; their pixels follow. (Reading the headers of two .npy files took
three times as long as cutting a crop.)"""

_MARK = b"perpixel"

KEPT_BYTES = 32 << 30
"""Of entries that a process keeps mapped: to map one again takes an eighth of the time of a crop. They are the page
cache's memory, not the process's; what it pays are tables of a five-hundredth."""

KEPT_MAPPINGS = 1 << 14
"""A quarter of what Linux allows a process."""


def decoded(pair: Pair, meaning: str, decode: Callable[[], tuple[Array, Array]]) -> tuple[Array, Array]:
    """Image and mask of a pair, mapped from the cache; decoded and written there the first time.

    An entry belongs to the files as they are and to what their values mean. Its key is made of their paths, sizes,
    inodes and times (see ``stamp``), which stand in for a hash of their content: that would have to read, at every
    sample, the very files that need not be read any more. So a file that is written to gets a new entry, and so does
    one that only moved. Several processes may write an entry at once: it appears whole, by renaming. Where nothing can
    be written, the decoded arrays are returned.

    Nothing is ever taken out of the folder: entries of files that changed or went stay. To clear the cache, delete the
    folder ``perpixel/data/decoded`` in the user's cache folder (``$XDG_CACHE_HOME``, or ``~/.cache``) while no training
    reads it; what is still needed is decoded and kept again.

    Args:
        pair: the files.
        meaning: what the arrays depend on besides the files.
        decode: gives image, (H, W, C), and mask, (H, W).

    Returns:
        Read-only arrays.
    """
    key = digest(str(SCHEMA), stamp((pair.image, pair.mask)), str(pair.window), meaning)
    if (kept := _KEPT.get(key)) is not None:
        return kept
    entry = cache_folder() / "decoded" / key[:2] / key  # a folder of a million entries would be slow to look into
    with suppress(OSError, ValueError):
        return _KEPT.keep(key, _mapped(entry))
    image, mask = decode()
    try:
        _write(entry, image, mask)
        return _KEPT.keep(key, _mapped(entry))
    except OSError:  # a full disk must not end a training
        return image, mask


class Mappings:
    """The entries that were mapped last, by key; what is too much for the limits is let go."""

    def __init__(self) -> None:
        self._entries: OrderedDict[str, tuple[Array, Array]] = OrderedDict()
        self._bytes = 0

    def get(self, key: str) -> tuple[Array, Array] | None:
        """The entry, if it is kept."""
        if key not in self._entries:
            return None
        self._entries.move_to_end(key)
        return self._entries[key]

    def keep(self, key: str, entry: tuple[Array, Array]) -> tuple[Array, Array]:
        """Keep an entry, and give it."""
        self._entries[key] = entry
        self._bytes += _size(entry)
        while self._bytes > KEPT_BYTES or len(self._entries) > KEPT_MAPPINGS:
            self._bytes -= _size(self._entries.popitem(last=False)[1])
        return entry

    def clear(self) -> None:
        """Let all go."""
        self._entries.clear()
        self._bytes = 0


_KEPT = Mappings()


def _size(entry: tuple[Array, Array]) -> int:
    return entry[0].nbytes + entry[1].nbytes


def _mapped(entry: Path) -> tuple[Array, Array]:
    """Raises ValueError for a file that is no entry, or only a part of one."""
    try:
        return _map(entry)
    except OSError as error:
        if error.errno != errno.ENOMEM:
            raise
        _KEPT.clear()  # a process's address space may be limited (ulimit -v)
        return _map(entry)


def _map(entry: Path) -> tuple[Array, Array]:
    file = os.open(entry, os.O_RDONLY)
    try:
        memory = mmap.mmap(file, 0, access=mmap.ACCESS_READ)
    finally:
        os.close(file)
    if len(memory) < _HEADER.size:
        raise ValueError("no header")
    mark, height, width, channels, *kinds = _HEADER.unpack_from(memory)
    if mark != _MARK:
        raise ValueError("another format")
    of_image, of_mask = (np.dtype(kind.rstrip(b"\0").decode()) for kind in kinds)
    pixels = height * width
    start = _HEADER.size + pixels * channels * of_image.itemsize
    image: Array = np.frombuffer(memory, of_image, pixels * channels, _HEADER.size)
    mask: Array = np.frombuffer(memory, of_mask, pixels, start)
    return image.reshape(height, width, channels), mask.reshape(height, width)


def _write(entry: Path, image: Array, mask: Array) -> None:
    header = _HEADER.pack(_MARK, *image.shape, image.dtype.str.encode(), mask.dtype.str.encode())
    write_whole(entry, header, np.ascontiguousarray(image).data, np.ascontiguousarray(mask).data)
