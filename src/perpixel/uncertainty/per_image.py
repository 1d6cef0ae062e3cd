"""Counts of every image of a split, and the units that intervals are taken over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

GROUP = "group"
"""The condition that says which images belong together."""


class Units(NamedTuple):
    """What is drawn when a data set is drawn anew.

    Attributes:
        of: (N,) the unit of each image, 0…G−1.
        names: of the G units.
        are: what they are, in the plural: ``images``, ``groups``, ``15° cells``.
    """

    of: Integers
    names: tuple[str, ...]
    are: str


class Conditions(NamedTuple):
    """What is known of the images of a split.

    Attributes:
        of: by image name, the values by condition (``{"group": "berlin", "camera": "bus"}``).
        groups_are: what the groups are, in the plural.
    """

    of: Mapping[str, Mapping[str, str]] = {}
    groups_are: str = "groups"


@dataclass(frozen=True)
class PerImage:
    """True positives, false positives and false negatives of every image and class, in pixels.

    Args:
        names: of the N images, unique.
        counts: (N, 3, C) int64: TP, FP, FN.
        classes: names of the C classes.
        sizes: (N, 2) int64 height and width.
        conditions: what each image was taken under, by name of the condition (``group``, ``camera``), "" where unknown.
        groups_are: what the groups of the data are, in the plural.

    Raises:
        ValueError: the shapes do not fit together.
    """

    names: tuple[str, ...]
    counts: Integers
    classes: tuple[str, ...]
    sizes: Integers
    conditions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    groups_are: str = "groups"

    def __post_init__(self) -> None:
        number = len(self.names)
        fits = self.counts.shape == (number, 3, len(self.classes)) and self.sizes.shape == (number, 2)
        if not fits or any(len(values) != number for values in self.conditions.values()):
            raise ValueError(
                f"counts {self.counts.shape} and sizes {self.sizes.shape} do not fit {number} images of "
                f"{len(self.classes)} classes: give (N, 3, C) and (N, 2), and one value per image for each condition."
            )

    @classmethod
    def of(cls, counted: Mapping[str, Any], classes: Sequence[str], known: Conditions) -> PerImage:
        """From what `perpixel.metrics.ImageCounts` counted, with what is known of the images."""
        names = tuple(counted["names"])
        about = [known.of.get(name, {}) for name in names]
        keys = dict.fromkeys(key for one in about for key in one)
        conditions = {key: tuple(str(one.get(key, "")) for one in about) for key in keys}
        return cls(names, counted["counts"], tuple(classes), counted["sizes"], conditions, known.groups_are)

    @cached_property
    def units(self) -> Units:
        """The groups, where the data have some (an image without one stands for itself), else the images."""
        groups = self.conditions.get(GROUP, ())
        if not any(groups):
            return Units(np.arange(len(self.names)), self.names, "images")
        keys = [(group, "") if group else ("", name) for group, name in zip(groups, self.names, strict=True)]
        places = {key: place for place, key in enumerate(sorted(set(keys)))}
        return Units(np.array([places[key] for key in keys]), tuple(map("".join, places)), self.groups_are)

    @cached_property
    def unit_sums(self) -> Floats:
        """(G, 2, C): intersection and union of each unit, see `sums_of`."""
        summed = np.zeros((len(self.units.names), *self.counts.shape[1:]), np.int64)
        np.add.at(summed, self.units.of, self.counts)
        return sums_of(summed)

    @cached_property
    def effective_units(self) -> Floats:
        """(1 + C,) how many units of equal size carry as much: (Σ n)² / Σ n², n the images of each unit.

        Of all images for the first, then of those that hold each class, in truth or prediction. Equals G for images
        and for groups of one size; groups of unequal sizes know less than their number says (Kish 1965; for t
        quantiles Carter, Schnepel and Steigerwald 2017). 0 for a class that no image holds.
        """
        held = np.concatenate([np.ones((len(self.names), 1)), self.counts.sum(1) > 0], 1)
        images = np.zeros((len(self.units.names), held.shape[1]))
        np.add.at(images, self.units.of, held)
        squares = (images**2).sum(0)
        return np.asarray(np.divide(images.sum(0) ** 2, squares, out=np.zeros(len(squares)), where=squares > 0))

    def chosen(self, images: Sequence[int] | npt.NDArray[np.bool_]) -> PerImage:
        """Only some of the images, in that order."""
        places = np.arange(len(self.names))[np.asarray(images)]
        pick = {key: tuple(values[place] for place in places) for key, values in self.conditions.items()}
        return PerImage(
            tuple(self.names[place] for place in places),
            self.counts[places],
            self.classes,
            self.sizes[places],
            pick,
            self.groups_are,
        )


def sums_of(counts: Integers) -> Floats:
    """(…, 3, C) TP, FP, FN → (…, 2, C) float64 intersection TP and union TP + FP + FN: IoU needs no more."""
    return np.stack([counts[..., 0, :], counts.sum(-2)], -2).astype(np.float64)


def iou(sums: Floats) -> Floats:
    """(…, 2, C) intersection and union → (…, C); NaN for a class that is neither in truth nor in prediction."""
    union = sums[..., 1, :]
    return np.asarray(np.divide(sums[..., 0, :], union, out=np.full(union.shape, np.nan), where=union > 0))


def with_mean(values: Floats) -> Floats:
    """(…, C) → (…, 1 + C): the mean over the classes that have a score (NaN if none has) stands before them."""
    known = ~np.isnan(values)
    number = known.sum(-1, keepdims=True)
    total = np.where(known, values, 0.0).sum(-1, keepdims=True)
    mean = np.divide(total, number, out=np.full(total.shape, np.nan), where=number > 0)
    return np.concatenate([mean, values], -1)
