"""95 % intervals of mIoU and of each class's IoU from the counts of every image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from perpixel.uncertainty.bootstrap import bca, resampled_sums
from perpixel.uncertainty.jackknife import logit_interval, scores_without
from perpixel.uncertainty.per_image import Floats, PerImage, iou, with_mean

LEVEL = 0.95
LEAST_UNITS = 6
"""Below so many groups or images there is no interval: whatever is computed from them does not hold what it says."""

BCA_UNITS = 150
"""From so many on (of equal size, see `effective_units`) the bootstrap is taken; below, its intervals are too short."""

RESAMPLES = 10_000


@dataclass(frozen=True)
class Interval:
    """An interval, or why there is none.

    Attributes:
        low, high: its ends; None where there is none.
        method: ``jackknife`` or ``bca``; empty where there is none.
        units: how many groups or images it is over, those that hold the class.
        units_are: what they are, in the plural.
        why: why there is none; empty where there is one.
    """

    low: float | None
    high: float | None
    method: str
    units: int
    units_are: str
    why: str = ""

    @property
    def half(self) -> float | None:
        """Half of its length: what stands behind ±."""
        return None if self.low is None or self.high is None else (self.high - self.low) / 2

    def plain(self) -> dict[str, Any]:
        """For JSON; `read` takes it back."""
        return {key: value for key, value in vars(self).items() if value not in (None, "")}

    @classmethod
    def read(cls, found: object) -> Interval | None:
        """What `plain` gave; None for anything else."""
        if not isinstance(found, Mapping) or not isinstance(found.get("units"), int):
            return None
        ends = [float(end) if isinstance(end := found.get(key), int | float) else None for key in ("low", "high")]
        words = [str(found.get(key, "")) for key in ("method", "units_are", "why")]
        return cls(ends[0], ends[1], words[0], int(found["units"]), words[1], words[2])


def intervals(images: PerImage, resamples: int = RESAMPLES, seed: int = 0) -> dict[str, Interval]:
    """Intervals of ``mIoU`` and ``IoU/<class>``.

    Over groups where the data have groups, else over images. From 150 units on BCa (Efron 1987), below the cluster
    jackknife on the logit scale with t(G − 1), below 6 none. Groups of unequal sizes count as fewer of equal size. A
    class counts the units that hold it, in truth or prediction. Classes without a score have no entry.

    Args:
        images: counts of every image.
        resamples: of the bootstrap.
        seed: of its draws: the same counts give the same interval.
    """
    sums, are = images.unit_sums, images.units.are
    if not len(sums):
        return {}
    scores, without = with_mean(iou(sums.sum(0))), scores_without(sums)
    held = np.append(len(sums), (sums[:, 1] > 0).sum(0))
    effective = images.effective_units
    drawn = _drawn(sums, resamples, seed) if effective.max() >= BCA_UNITS else None
    names = ["mIoU", *(f"IoU/{name}" for name in images.classes)]
    return {
        name: _interval(
            scores[place],
            without[:, place],
            drawn[:, place] if drawn is not None and effective[place] >= BCA_UNITS else None,
            (units, effective[place], are),
        )
        for place, (name, units) in enumerate(zip(names, held.tolist(), strict=True))
        if not np.isnan(scores[place])
    }


def read_intervals(found: object) -> dict[str, Interval]:
    """The ``intervals`` of a split in a file of scores, by name; what is none is left out."""
    read = {name: Interval.read(one) for name, one in found.items()} if isinstance(found, Mapping) else {}
    return {name: one for name, one in read.items() if one is not None}


def too_few(units: int, are: str) -> str:
    """Why so few units give no interval; empty where they are enough."""
    if units >= LEAST_UNITS:
        return ""
    return f"no interval: {units} {are[:-1] if units == 1 and are.endswith('s') else are}, and it takes {LEAST_UNITS}"


def _drawn(sums: Floats, resamples: int, seed: int) -> Floats:
    """(R, 1 + C) scores of the resamples."""
    rng = np.random.default_rng(seed)
    return np.concatenate([with_mean(iou(part)) for part in resampled_sums(sums, resamples, rng)])


def _interval(score: float, without: Floats, drawn: Floats | None, over: tuple[int, float, str]) -> Interval:
    units, effective, are = over
    if why := too_few(units, are):
        return Interval(None, None, "", units, are, why)
    if np.ptp(without) == 0:
        return Interval(None, None, "", units, are, f"no interval: none of {units} {are} changes the score")
    if drawn is not None:
        return Interval(*bca(score, drawn, without, LEVEL), "bca", units, are)
    return Interval(*logit_interval(score, without, effective, LEVEL), "jackknife", units, are)
