"""Weighted sums of several runs' mIoU, sure over images and over seeds: means, differences, effects, interactions."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import optimize, special

from perpixel.uncertainty.comparison import OTHER_IMAGES, aligned
from perpixel.uncertainty.intervals import LEVEL, too_few
from perpixel.uncertainty.jackknife import scores_without, variance
from perpixel.uncertainty.per_image import PerImage, iou, with_mean


@dataclass(frozen=True)
class Contrast:
    """A weighted sum of runs' mIoU.

    Attributes:
        value: the sum.
        low, high: its 95 % interval; None where there is none.
        p: of no effect (two-sided t test); None where there is no interval.
        over_seeds: whether seeds are in the interval; without several of a cell it is over images alone, and another
            training may give another value.
        units, units_are: over how many of what.
        why: why there is no interval; empty where there is one.
    """

    value: float
    low: float | None = None
    high: float | None = None
    p: float | None = None
    over_seeds: bool = False
    units: int = 0
    units_are: str = ""
    why: str = ""


class Measured:
    """Runs on the same images: their mIoU, and what it is without each group or image.

    Args:
        runs: counts of every image, by whatever names the runs.

    Attributes:
        scores: (R,) mIoU, in the runs' order.
        without: (G, R) mIoU without each unit; None where the runs were not scored on the same images.
        units, units_are: G, and of what.
        effective: of how many of equal size, see `PerImage.effective_units`.
    """

    def __init__(self, runs: Mapping[Hashable, PerImage]) -> None:
        self.place = {key: place for place, key in enumerate(runs)}
        found = list(runs.values())
        same = [aligned(found[0], run) for run in found]
        sums = [(run if again is None else again).unit_sums for run, again in zip(found, same, strict=True)]
        self.scores = np.array([with_mean(iou(one.sum(0)))[0] for one in sums])
        self.units, self.units_are = len(sums[0]), found[0].units.are
        self.effective = float(found[0].effective_units[0])
        shared = all(again is not None for again in same)
        self.without = np.stack([scores_without(one)[:, 0] for one in sums], 1) if shared else None


def contrast(
    measured: Measured, weights: Mapping[Hashable, float], cells: Mapping[Hashable, Hashable], is_score: bool = False
) -> Contrast:
    """Σ weight · mIoU with an interval over both levels at which chance enters.

    Images (or their groups) and seeds are crossed: every seed's run is scored on the same images. The variance over the
    units is the jackknife's, of the whole sum at once; that over seeds is Σ weight² · s², where s² is the variance
    between the seeds of a cell, pooled over the cells. The half-length is √(t₁²·V₁ + t₂²·V₂), each variance with the t
    quantile of its own degrees of freedom (Zou and Donner 2008): two or three seeds that happen to lie close do not
    make it short, as Satterthwaite's one quantile for both would. What seeds and images do only together is in both
    terms, so it is rather too long than too short.

    Args:
        measured: the runs.
        weights: by run: of a mean they sum to 1, of a difference or an effect to 0.
        cells: by run: runs of one cell differ in nothing but their seed.
        is_score: whether the sum is a score in 0…1, whose interval is taken on the logit scale.
    """
    row = np.zeros(len(measured.scores))
    for key, weight in weights.items():
        row[measured.place[key]] = weight
    value = float(row @ measured.scores)
    if measured.without is None:
        return Contrast(value, why=f"no interval: {OTHER_IMAGES}")
    facts = {"units": measured.units, "units_are": measured.units_are}
    if why := too_few(measured.units, measured.units_are):
        return Contrast(value, **facts, why=why)  # type: ignore[arg-type]
    images = float(variance(measured.without @ row))
    between, free = _between_seeds(measured, cells)
    seeds = float((row**2).sum() * between) if free else 0.0
    if images + seeds == 0:
        return Contrast(value, **facts, why="no interval: nothing varies")  # type: ignore[arg-type]
    parts = [(images, max(measured.effective - 1, 1.0)), *([(seeds, float(free))] if free else [])]
    low, high = _ends(value, _half(parts, 1 - LEVEL), is_score)
    return Contrast(value, low, high, _p(value, parts), free > 0, **facts)  # type: ignore[arg-type]


def _between_seeds(measured: Measured, cells: Mapping[Hashable, Hashable]) -> tuple[float, int]:
    """Pooled variance within the cells, and its degrees of freedom, 0 where no cell has several seeds."""
    members: dict[Hashable, list[float]] = {}
    for key, cell in cells.items():
        members.setdefault(cell, []).append(float(measured.scores[measured.place[key]]))
    free = sum(len(values) - 1 for values in members.values())
    squares = sum(float(((np.array(values) - np.mean(values)) ** 2).sum()) for values in members.values())
    return (squares / free if free else 0.0), free


def _half(parts: Sequence[tuple[float, float]], alpha: float) -> float:
    """Half of an interval's length from variances and their degrees of freedom."""
    return math.sqrt(sum(float(special.stdtrit(freedom, 1 - alpha / 2)) ** 2 * part for part, freedom in parts))


def _p(value: float, parts: Sequence[tuple[float, float]]) -> float:
    """The α at which the interval just reaches 0."""
    least = 1e-9
    if abs(value) >= _half(parts, least):
        return least
    return float(optimize.brentq(lambda alpha: _half(parts, alpha) - abs(value), least, 1.0))


def _ends(value: float, half: float, is_score: bool) -> tuple[float, float]:
    if is_score and 0 < value < 1:
        half /= value * (1 - value)  # the delta method
        low, high = special.expit(special.logit(value) + np.array([-half, half]))
        return float(low), float(high)
    return value - half, value + half


def mean_weights(runs: Sequence[Hashable]) -> dict[Hashable, float]:
    """Equal weights of a mean."""
    return dict.fromkeys(runs, 1 / len(runs))
