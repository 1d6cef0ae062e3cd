"""What the audit needs to know of one sample."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from perpixel.data.base import Sample, Split
from perpixel.data.checks.leaks import Print
from perpixel.data.files.class_pixels import pixels_of
from perpixel.data.files.source import FileSplit
from perpixel.data.formats.decode import read_image

AREA_BINS = 24
THICKNESS_BINS = 12
"""Structures are counted by the power of two of their area and thickness, in pixels."""

SMALL = 32 * 32
"""Structures of fewer pixels are small (COCO's measure)."""

THIN = 8
"""Structures that are nowhere thicker, in pixels, are thin."""

Counts = npt.NDArray[np.int64]


class Structures(NamedTuple):
    """Connected areas of the K classes that a mask shows: of 150 a handful, and there may be a million masks.

    Attributes:
        classes: (K,) their indices.
        areas: (K, AREA_BINS) their number by power of two of the area.
        thicknesses: (K, THICKNESS_BINS) the same by the greatest thickness.
        small, thin: (K,) pixels in small and in thin structures.
    """

    classes: Counts
    areas: Counts
    thicknesses: Counts
    small: Counts
    thin: Counts


@dataclass(frozen=True)
class SampleFacts:
    """One sample.

    Attributes:
        split, index, name: where it stands.
        conditions: what it was taken under, and its group.
        shape: (H, W).
        brightness: mean over all channels, of the values as they are stored.
        deep: whether the image has more than 8 bits.
        pixels: (classes,) pixel counts.
        unlabelled: pixels without a label.
        weight: mean weight of the labelled pixels, None where the data brings no weights.
        structures: the connected areas of the classes shown.
        identity: hashes, to find leaks by.
    """

    split: str
    index: int
    name: str
    conditions: Mapping[str, str]
    shape: tuple[int, int]
    brightness: float
    deep: bool
    pixels: npt.NDArray[np.int64]
    unlabelled: int
    weight: float | None
    structures: Structures
    identity: Print


@dataclass(frozen=True)
class Fault:
    """A sample that cannot be used, or a split.

    Attributes:
        split, index: where it stands; no index where the split is at fault as a whole.
        reason: what is wrong, with the file's name and the mend.
        identity: hashes of its image, where that at least can be read.
    """

    split: str
    index: int | None
    reason: str
    identity: Print | None = None


def look_at(split: Split, split_name: str, index: int, num_classes: int) -> SampleFacts | Fault:
    """Read and measure one sample."""
    try:
        sample = split.read(index, np.random.default_rng(index))
    except (ValueError, OSError) as error:
        return Fault(split_name, index, str(error), _identity_alone(split, split_name, index))
    image, mask, name = sample.image, sample.mask, sample.name
    pixels = pixels_of(mask, num_classes)
    return SampleFacts(
        split=split_name,
        index=index,
        name=name,
        conditions=dict(split.conditions(index)),
        shape=(mask.shape[0], mask.shape[1]),
        brightness=float(image.mean(dtype=np.float64)),
        deep=image.dtype != np.uint8,
        pixels=pixels,
        unlabelled=int(mask.size - pixels.sum()),
        weight=_mean_weight(sample, num_classes),
        structures=structures(mask, num_classes),
        identity=Print.of(split_name, name, image),
    )


def _identity_alone(split: Split, split_name: str, index: int) -> Print | None:
    """Of the image, whatever is wrong with its mask: copies are found even where no mask can be read."""
    if not isinstance(split, FileSplit):
        return None
    pair = split.pairs[index]
    try:
        return Print.of(split_name, pair.name, read_image(pair.image, split.channels, pair.window))
    except (ValueError, OSError):
        return None


def _mean_weight(sample: Sample, num_classes: int) -> float | None:
    if "weight" not in sample.extras:
        return None
    labelled = sample.extras["weight"][sample.mask < num_classes]
    return float(labelled.mean()) if labelled.size else 0.0


def structures(mask: npt.NDArray[np.integer[Any]], num_classes: int) -> Structures:
    """The connected areas of each class shown.

    Thickness is twice the greatest distance of a structure's pixel to the nearest pixel outside: 2 for a line of one
    pixel, 4 for one of three.
    """
    shown = np.flatnonzero(pixels_of(mask, num_classes))
    found = no_structures(shown)
    depth = _depth(mask)
    for row, index in enumerate(shown):
        area, thickness = _areas_and_thicknesses((mask == index).astype(np.uint8), depth)
        found.areas[row] = _by_power(area, AREA_BINS)
        found.thicknesses[row] = _by_power(thickness, THICKNESS_BINS)
        found.small[row] = area[area < SMALL].sum()
        found.thin[row] = area[thickness <= THIN].sum()
    return found


def no_structures(classes: Counts) -> Structures:
    """Counts of nothing for some classes."""
    number = len(classes)
    return Structures(
        classes,
        np.zeros((number, AREA_BINS), np.int64),
        np.zeros((number, THICKNESS_BINS), np.int64),
        np.zeros(number, np.int64),
        np.zeros(number, np.int64),
    )


def _depth(mask: npt.NDArray[np.integer[Any]]) -> npt.NDArray[np.float32]:
    """Distance of each pixel to the nearest pixel of another class or beyond the picture, for all classes at once."""
    framed = np.pad(mask.astype(np.int16), 1, constant_values=-1)
    middle = framed[1:-1, 1:-1]
    neighbours = (framed[:-2, 1:-1], framed[2:, 1:-1], framed[1:-1, :-2], framed[1:-1, 2:])
    inner = np.logical_and.reduce([middle == neighbour for neighbour in neighbours])
    return np.asarray(cv2.distanceTransform(inner.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE) + 1, np.float32)


def _areas_and_thicknesses(
    inside: npt.NDArray[np.uint8], depth: npt.NDArray[np.float32]
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    left, top, width, height = cv2.boundingRect(inside)
    box = np.s_[top : top + height, left : left + width]
    count, labels, stats, _ = cv2.connectedComponentsWithStats(inside[box], connectivity=8)
    greatest = np.zeros(count, np.float32)
    where = inside[box].astype(bool)
    np.maximum.at(greatest, labels[where], depth[box][where])
    return stats[1:, cv2.CC_STAT_AREA], 2 * greatest[1:]


def _by_power(values: npt.NDArray[Any], bins: int) -> npt.NDArray[np.int64]:
    powers = np.log2(np.maximum(values, 1)).astype(int).clip(max=bins - 1)
    return np.bincount(powers, minlength=bins).astype(np.int64)
