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

from perpixel.data.base import DataSource
from perpixel.data.files.source import FileSplit

Kind = Literal["file", "pixels", "near", "group"]

NEAR = 12
"""Differing bits, of 256, up to which two pictures count as nearly the same."""

UNLIKE = 6.0
"""Mean difference of two thumbnails, in grey levels, their brightness set equal, from which they are not the same
picture: compression, blur and scaling leave 1 to 3."""

_SIDE = 16
_FLAT = 24
_THUMB = 32
_COMPARED = 256
_MANY = 5
_MUCH = 0.2


class Leak(NamedTuple):
    """Two samples of different splits that should not be, and how many more pairs there are of that one content.

    Attributes:
        kind: ``file`` (one path), ``pixels`` (equal once decoded), ``near`` (alike by perceptual hash) or ``group``.
        first, second: split and sample name of either side; for ``group``, the name is the group's.
        pairs: of samples with this content in these two splits (1 for ``group``), of which the first is named. For
            ``near``: how many pictures of the first split the second side is like (of 256 at most), of which the likest
            is named.
    """

    kind: Kind
    first: tuple[str, str]
    second: tuple[str, str]
    pairs: int = 1


class Print(NamedTuple):
    """A sample's identity.

    Attributes:
        split, name: where it stands.
        pixels: SHA-256 of its decoded pixels.
        look: its perceptual hash, None where it is flat.
        thumb: (32, 32) uint8 grey, by which likeness is confirmed.
    """

    split: str
    name: str
    pixels: str
    look: npt.NDArray[np.uint64] | None
    thumb: npt.NDArray[np.uint8] = np.zeros((_THUMB, _THUMB), np.uint8)

    @classmethod
    def of(cls, split: str, name: str, image: npt.NDArray[Any]) -> Print:
        """The identity of an image (H, W, C) of any depth."""
        return cls(
            split,
            name,
            pixel_hash(image),
            perceptual_hash(image),
            np.rint(_small(image, _THUMB, _THUMB)).astype(np.uint8),
        )


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
            yield Print.of(name, sample.name, sample.image)


def pixel_hash(image: npt.NDArray[Any]) -> str:
    """SHA-256 (hex) of decoded pixels and their shape."""
    head = repr((image.shape, image.dtype.name)).encode()
    return hashlib.sha256(head + np.ascontiguousarray(image).tobytes()).hexdigest()


def perceptual_hash(image: npt.NDArray[Any]) -> npt.NDArray[np.uint64] | None:
    """256 bits that survive scaling, compression and small changes of colour; None for an image too flat to tell.

    Each bit says whether, in the grey image brought to 16 rows of 17, a pixel is darker than its right neighbour
    (the "difference hash").
    """
    small = _small(image, _SIDE, _SIDE + 1)
    if np.ptp(small) < _FLAT:
        return None
    bits: npt.NDArray[np.uint8] = np.packbits(np.diff(small, axis=1) > 0)
    return bits.view(np.uint64)


def _small(image: npt.NDArray[Any], height: int, width: int) -> npt.NDArray[np.float32]:
    """(H, W, C) of any depth → (height, width) mean over the channels, 0…255.

    Of 8 bits the values as they are. What is deeper rarely fills its depth: it is stretched to its own range, unless
    that is as small a part of its values as makes 8 bits flat.
    """
    parts = [cv2.resize(image[..., c], (width, height), interpolation=cv2.INTER_AREA) for c in range(image.shape[2])]
    small = np.asarray(np.mean(parts, axis=0, dtype=np.float32))
    if image.dtype == np.uint8:
        return small
    span, most = float(np.ptp(small)), float(np.abs(small).max())
    flat = span <= _FLAT / 255 * most
    return np.zeros_like(small) if flat else (small - small.min()) * np.float32(255 / span)


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
    """One leak for each sample and earlier split that holds its like: what a user may take out, and no pair each."""
    by_split: dict[str, list[Print]] = defaultdict(list)
    for p in prints:
        if p.look is not None:
            by_split[p.split].append(p)
    return [leak for first, second in combinations(by_split.values(), 2) for leak in _alike(first, second)]


def _alike(first: Sequence[Print], second: Sequence[Print]) -> Iterator[Leak]:
    looks = np.stack([p.look for p in first if p.look is not None])
    for p in second:
        distance = np.bitwise_count(looks ^ np.asarray(p.look)).sum(axis=1)
        near = np.flatnonzero(distance <= NEAR)
        likest = [first[at] for at in near[np.argsort(distance[near], kind="stable")[:_COMPARED]]]
        like = [other for other, same in zip(likest, _confirmed(p, likest), strict=True) if same]
        if like:
            yield Leak("near", (like[0].split, like[0].name), (p.split, p.name), len(like))


def _confirmed(one: Print, others: Sequence[Print]) -> list[bool]:
    """Whether thumbnails show one picture too; equal pixels are told of already."""
    if not others:
        return []
    apart = np.stack([other.thumb for other in others]).reshape(len(others), -1) - one.thumb.astype(np.float32).ravel()
    difference = np.abs(apart - apart.mean(axis=1, keepdims=True)).mean(axis=1)
    return [bool(d < UNLIKE) and o.pixels != one.pixels for d, o in zip(difference, others, strict=True)]


def crowds(leaks: Iterable[Leak], sizes: Mapping[str, int]) -> list[str]:
    """Where so much is alike that likeness says nothing, in words, as with cameras that never move.

    Args:
        leaks: all that were found.
        sizes: samples of each split.
    """
    between: dict[tuple[str, str], list[int]] = defaultdict(list)
    for leak in leaks:
        if leak.kind == "near":
            between[leak.first[0], leak.second[0]].append(leak.pairs)
    return [
        f"{len(pairs):,} of the {sizes[second]:,} samples of {second} look like samples of {first}, "
        f"{np.mean(pairs):,.0f} each on average: the perceptual hash cannot tell these pictures apart. If one camera "
        "took them from one place, split by camera or by time (data.source.group_by), which no hash can do for you."
        for (first, second), pairs in between.items()
        if len(pairs) > _MUCH * sizes[second] and np.mean(pairs) > _MANY
    ]
