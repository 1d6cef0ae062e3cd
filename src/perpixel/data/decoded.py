"""Decoded samples kept on disk and mapped into memory: a crop then reads its own pixels and decodes nothing."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from perpixel.data.hashing import digest
from perpixel.data.pairs import Pair
from perpixel.data.remembered import cache_folder, stamp

Array = npt.NDArray[Any]


def decoded(pair: Pair, meaning: str, decode: Callable[[], tuple[Array, Array]]) -> tuple[Array, Array]:
    """Image and mask of a pair, mapped from the cache; decoded and written there the first time.

    An entry belongs to the files as they are (path, size, time of change) and to what their values mean. Several
    processes may write it at once: it appears whole, by renaming. Where nothing can be written, the decoded arrays are
    returned.

    Args:
        pair: the files.
        meaning: what the arrays depend on besides the files.
        decode: gives image and mask.

    Returns:
        Read-only arrays.
    """
    entry = cache_folder() / "decoded" / digest(stamp((pair.image, pair.mask)), str(pair.window), meaning)
    with suppress(OSError):
        return _mapped(entry)
    image, mask = decode()
    try:
        _write(entry, image, mask)
        return _mapped(entry)
    except OSError:  # a full disk must not end a training
        return image, mask


def _mapped(entry: Path) -> tuple[Array, Array]:
    image: Array = np.load(entry / "image.npy", mmap_mode="r", allow_pickle=False)
    mask: Array = np.load(entry / "mask.npy", mmap_mode="r", allow_pickle=False)
    return image, mask


def _write(entry: Path, image: Array, mask: Array) -> None:
    entry.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=entry.parent, ignore_cleanup_errors=True) as draft:
        whole = Path(draft) / "entry"
        whole.mkdir()
        np.save(whole / "image.npy", image)
        np.save(whole / "mask.npy", mask)
        with suppress(OSError):  # another process was first
            whole.rename(entry)
