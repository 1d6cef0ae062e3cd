"""Scores of parts of a split: by what its images were taken under, and by their size."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from perpixel.uncertainty.intervals import Interval, intervals
from perpixel.uncertainty.per_image import PerImage, iou, with_mean

SIZE = "image size"
RESAMPLES = 2000
MOST_LEVELS = 40
"""Of a condition with more values the largest slices are kept."""


@dataclass(frozen=True)
class Slice:
    """The images with one value of a condition.

    Attributes:
        condition: ``camera``, ``group``, ``image size``.
        value: of it.
        images: how many.
        score: mIoU over the classes that these images hold, in truth or prediction; None without a labelled pixel.
        classes: how many those are: slices with other classes do not compare.
        interval: of the score.
    """

    condition: str
    value: str
    images: int
    score: float | None
    classes: int
    interval: Interval | None

    def plain(self) -> dict[str, Any]:
        """For JSON; `read` takes it back."""
        return {**vars(self), "interval": self.interval.plain() if self.interval else None}

    @classmethod
    def read(cls, found: object) -> Slice | None:
        """What `plain` gave; None for anything else."""
        if not isinstance(found, dict):
            return None
        try:
            score = None if found["score"] is None else float(found["score"])
            texts = str(found["condition"]), str(found["value"])
            return cls(*texts, int(found["images"]), score, int(found["classes"]), Interval.read(found["interval"]))
        except (KeyError, TypeError, ValueError):
            return None


def slices(images: PerImage) -> list[Slice]:
    """Every value of every condition that varies and that several images share, worst first within each; then sizes."""
    found: list[Slice] = []
    for condition, values in (*images.conditions.items(), (SIZE, _sizes(images))):
        levels = sorted(set(values) - {""}, key=lambda level: -values.count(level))[:MOST_LEVELS]
        if 1 < len(set(values)) < len(values):
            found += sorted(_of(images, condition, values, levels), key=_score)
    return found


def _of(images: PerImage, condition: str, values: tuple[str, ...], levels: list[str]) -> Iterator[Slice]:
    for level in levels:
        part = images.chosen(np.array(values) == level)
        each = iou(part.unit_sums.sum(0))
        score = float(with_mean(each)[0])
        known = None if np.isnan(score) else score
        interval = intervals(part, RESAMPLES).get("mIoU")
        yield Slice(condition, level, len(part.names), known, int((~np.isnan(each)).sum()), interval)


def _score(one: Slice) -> float:
    return 2.0 if one.score is None else one.score


def _sizes(images: PerImage) -> tuple[str, ...]:
    """Each image's third of the pixel counts, or its size where there are few; empty for a split of one size."""
    exact = [f"{height}×{width}" for height, width in images.sizes.tolist()]
    if len(set(exact)) <= 3:
        return tuple(exact)
    pixels = images.sizes.prod(1)
    low, high = np.quantile(pixels, [1 / 3, 2 / 3])
    names = f"up to {low:,.0f} pixels", f"up to {high:,.0f} pixels", f"more than {high:,.0f} pixels"
    return tuple(names[int(count > low) + int(count > high)] for count in pixels)
