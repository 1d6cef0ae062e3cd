"""How many pixels of each class each sample holds."""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from perpixel.data.base import Split
from perpixel.data.files.file_cache import remembered, stamp
from perpixel.data.files.pairs import Pair
from perpixel.data.hashing import digest
from perpixel.data.masks.reader import MaskReader
from perpixel.labels import LabelSpace, PixelCounts

Counts = npt.NDArray[np.int64]
_THREADS = 4


def pixels_of(mask: npt.NDArray[np.integer], num_classes: int) -> Counts:
    """(num_classes,) pixel counts of a mask; what is no class does not count."""
    return np.bincount(mask.ravel(), minlength=256)[:num_classes].astype(np.int64)


def class_pixels_of_pairs(pairs: Sequence[Pair], read_mask: MaskReader) -> Counts:
    """(samples, classes) pixel counts, from the mask files alone; counted once for unchanged files.

    Masks that cannot be read count nothing: to tell of them, or leave them out, comes after.
    """
    key = digest(stamp(pair.mask for pair in pairs), read_mask.key(), *(f"{pair.mask} {pair.window}" for pair in pairs))

    def count() -> str:
        with ThreadPoolExecutor(_THREADS) as pool:
            return json.dumps(list(pool.map(lambda pair: _pixels_or_none(pair, read_mask), pairs)))

    return np.array(json.loads(remembered("pixels", key, count)), np.int64).reshape(len(pairs), -1)


def _pixels_or_none(pair: Pair, read_mask: MaskReader) -> list[int]:
    labels = read_mask.labels
    try:
        return list(pixels_of(read_mask(pair.mask, pair.window), labels.num_classes).tolist())
    except (ValueError, OSError):
        return [0] * labels.num_classes


def total_pixels(split: Split, labels: LabelSpace) -> PixelCounts:
    """What the rules of class weights know of a split, counted once for the same content."""
    text = remembered("totals", split.fingerprint(), lambda: json.dumps(added_up(class_pixels(split, labels))))
    return PixelCounts(*json.loads(text))


def added_up(counts: Counts) -> PixelCounts:
    """(samples, classes) pixel counts as those of a split."""
    room = np.where(counts > 0, counts.sum(1, keepdims=True), 0).sum(0)
    return PixelCounts(counts.sum(0).tolist(), room.tolist())


def class_pixels(split: Split, labels: LabelSpace) -> Counts:
    """(samples, classes) pixel counts of any split."""
    counts = [pixels_of(split.read(i, np.random.default_rng(i)).mask, labels.num_classes) for i in range(len(split))]
    return np.stack(counts)
