"""Counts per image on disk: one small ``.npz`` beside the scores that follow from them."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from perpixel.uncertainty.per_image import PerImage

_CONDITION = "condition."


def counts_file(scores: Path) -> Path:
    """Where the counts lie: ``metrics.json`` → ``metrics_images.npz``."""
    return scores.with_name(f"{scores.stem}_images.npz")


def write_counts(file: BinaryIO, splits: Mapping[str, PerImage]) -> None:
    """Write the counts of each split, compressed.

    Per split the arrays ``names``, ``counts`` (N, 3, C), ``classes``, ``sizes`` (N, 2), ``groups_are`` and one
    ``condition.<name>`` per condition, under ``<split>/``. No array holds Python objects.
    """
    arrays: dict[str, Any] = {}
    for split, found in splits.items():
        texts = {"names": found.names, "classes": found.classes, "groups_are": (found.groups_are,)}
        texts |= {f"{_CONDITION}{name}": values for name, values in found.conditions.items()}
        arrays |= {f"{split}/{key}": np.array(values, dtype=np.str_) for key, values in texts.items()}
        arrays |= {f"{split}/counts": _narrow(found.counts), f"{split}/sizes": found.sizes}
    np.savez_compressed(file, **arrays)


def read_counts(path: Path) -> dict[str, PerImage]:
    """What `write_counts` wrote, by split; empty where there is no such file or it is damaged."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            splits = dict.fromkeys(key.partition("/")[0] for key in stored.files if "/" in key)
            return {split: _read(stored, split) for split in splits}
    except (OSError, ValueError, KeyError, EOFError, MemoryError, zipfile.BadZipFile, zlib.error):
        return {}


def _read(stored: np.lib.npyio.NpzFile, split: str) -> PerImage:
    names, classes, groups_are = (_texts(stored, f"{split}/{key}") for key in ("names", "classes", "groups_are"))
    start = f"{split}/{_CONDITION}"
    return PerImage(
        names,
        np.asarray(stored[f"{split}/counts"], np.int64),
        classes,
        np.asarray(stored[f"{split}/sizes"], np.int64),
        {key.removeprefix(start): _texts(stored, key) for key in stored.files if key.startswith(start)},
        groups_are[0],
    )


def _texts(stored: np.lib.npyio.NpzFile, key: str) -> tuple[str, ...]:
    return tuple(map(str, stored[key].ravel()))


def _narrow(counts: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> np.ndarray[tuple[int, ...], np.dtype[np.int_]]:
    """int32 where it holds all values, as of every image of less than 2³¹ pixels."""
    fits = counts.size == 0 or int(counts.max()) < 2**31
    return counts.astype(np.int32) if fits else counts
