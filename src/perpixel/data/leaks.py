"""What stands on both sides of a split: the same file, the same pixels, nearly the same picture, the same group.

A model that has seen its test images is not measured but asked to remember.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any, Literal, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from perpixel.augment.depth import FULL_SCALE
from perpixel.data.base import DataSource
from perpixel.data.files import FileSplit

Kind = Literal["file", "pixels", "near", "group"]

NEAR = 12
"""Differing bits, of 256, up to which two pictures count as nearly the same."""

_SIDE = 16
_FLAT = 24


class Leak(NamedTuple):
    """Two samples of different splits that should not be, and how many more pairs there are of that one content.

    Attributes:
        kind: ``file`` (one path), ``pixels`` (equal once decoded), ``near`` (alike by perceptual hash) or ``group``.
        first, second: split and sample name of either side; for ``group``, the name is the group's.
        pairs: of samples with this content in these two splits (1 for ``near`` and ``group``); the first one is named.
    """

    kind: Kind
    first: tuple[str, str]
    second: tuple[str, str]
    pairs: int = 1


class Print(NamedTuple):
    """A sample's identity: where it stands, its pixels' SHA-256, and its perceptual hash (None where it is flat)."""

    split: str
    name: str
    pixels: str
    look: npt.NDArray[np.uint64] | None


def find_leaks(source: DataSource, prints: Iterable[Print] | None = None) -> list[Leak]:
    """All leaks between the splits of a source, each content once for two splits, by its gravest kind.

    Args:
        source: whose splits are compared.
        prints: of all samples, where they were taken before; None reads every image.
    """
    taken = list(prints) if prints is not None else list(prints_of(source))
    leaks = [*_same_files(source), *_same("pixels", [(p.pixels, (p.split, p.name)) for p in taken])]
    leaks += _near(_first_of_each(taken))
    graver: dict[tuple[tuple[str, str], tuple[str, str]], Leak] = {}
    for leak in leaks:
        graver.setdefault((leak.first, leak.second), leak)
    return [*graver.values(), *_same_groups(source)]


def prints_of(source: DataSource) -> Iterator[Print]:
    """Read every sample of every split."""
    for name in source.splits:
        split = source.split(name)
        for index in range(len(split)):
            sample = split.read(index, np.random.default_rng(index))
            yield Print(name, sample.name, pixel_hash(sample.image), perceptual_hash(sample.image))


def pixel_hash(image: npt.NDArray[Any]) -> str:
    """SHA-256 (hex) of decoded pixels and their shape."""
    head = repr((image.shape, image.dtype.name)).encode()
    return hashlib.sha256(head + np.ascontiguousarray(image).tobytes()).hexdigest()


def perceptual_hash(image: npt.NDArray[Any]) -> npt.NDArray[np.uint64] | None:
    """256 bits that survive scaling, compression and small changes of colour; None for an image too flat to tell.

    Each bit says whether, in the grey image brought to 16 rows of 17, a pixel is darker than its right neighbour
    (the "difference hash").
    """
    parts = [cv2.resize(image[..., c], (_SIDE + 1, _SIDE), interpolation=cv2.INTER_AREA) for c in range(image.shape[2])]
    small = np.mean(parts, axis=0, dtype=np.float32) * np.float32(255 / FULL_SCALE[image.dtype.name])
    if np.ptp(small) < _FLAT:
        return None
    bits: npt.NDArray[np.uint8] = np.packbits(np.diff(small, axis=1) > 0)
    return bits.view(np.uint64)


def _same_files(source: DataSource) -> list[Leak]:
    entries: list[tuple[str, tuple[str, str]]] = []
    for name in source.splits:
        split = source.split(name)
        if isinstance(split, FileSplit):
            entries += [(f"{pair.image.resolve()} {pair.window}", (name, pair.name)) for pair in split.pairs]
    return _same("file", entries)


def _same_groups(source: DataSource) -> list[Leak]:
    entries: dict[tuple[str, tuple[str, str]], None] = {}
    for name in source.splits:
        split = source.split(name)
        if isinstance(split, FileSplit):
            entries |= dict.fromkeys((pair.group, (name, pair.group)) for pair in split.pairs if pair.group)
    return _same("group", list(entries))


def _same(kind: Kind, entries: Sequence[tuple[str, tuple[str, str]]]) -> list[Leak]:
    holders: Mapping[str, list[tuple[str, str]]] = defaultdict(list)
    for value, where in entries:
        holders[value].append(where)
    return [leak for same in holders.values() for leak in _between(kind, same)]


def _between(kind: Kind, same: Sequence[tuple[str, str]]) -> Iterator[Leak]:
    """One leak for each two splits that hold a content: 1500 equal tiles are one finding, and no million pairs."""
    by_split: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for where in same:
        by_split[where[0]].append(where)
    for first, second in combinations(by_split.values(), 2):
        yield Leak(kind, first[0], second[0], len(first) * len(second))


def _first_of_each(prints: Iterable[Print]) -> list[Print]:
    """One print for each content and split; equal pictures are told of already."""
    return list({(p.split, p.pixels): p for p in reversed(list(prints))}.values())[::-1]


def _near(prints: Sequence[Print]) -> list[Leak]:
    telling = [p for p in prints if p.look is not None]
    if len(telling) < 2:
        return []
    looks = np.stack([p.look for p in telling if p.look is not None])
    splits = np.array([p.split for p in telling])
    leaks = []
    for index, p in enumerate(telling):
        distance = np.bitwise_count(looks[index + 1 :] ^ looks[index]).sum(axis=1)
        for other in np.flatnonzero((distance <= NEAR) & (splits[index + 1 :] != p.split)) + index + 1:
            if telling[other].pixels == p.pixels:
                continue
            leaks.append(Leak("near", (p.split, p.name), (telling[other].split, telling[other].name)))
    return leaks
