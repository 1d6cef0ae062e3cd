"""Two runs on the same images: how far apart they are, how sure that is, and many such tests together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

from perpixel.uncertainty.bootstrap import PART, bca, resampled_sums
from perpixel.uncertainty.intervals import BCA_UNITS, LEVEL, RESAMPLES, too_few
from perpixel.uncertainty.jackknife import scores_without, variance
from perpixel.uncertainty.per_image import Floats, PerImage, iou, with_mean

ALPHA = 0.05
"""A difference is shown where p lies below it."""

EXACT_UNITS = 13
"""With so few units all 2ᴳ ways to exchange two runs are tried, 8192 at most."""

OTHER_IMAGES = "not scored on the same images"


@dataclass(frozen=True)
class Comparison:
    """One run's mIoU minus another's.

    Attributes:
        difference: of mIoU; NaN where the runs were not scored on the same images.
        low, high: its 95 % interval, over groups or images; None where there is none.
        p: of the paired permutation test of no difference; None where there is no test.
        units, units_are: over how many of what.
        why: why there is no test; empty where there is one.
    """

    difference: float
    low: float | None = None
    high: float | None = None
    p: float | None = None
    units: int = 0
    units_are: str = ""
    why: str = ""


def compare(ours: PerImage, theirs: PerImage, resamples: int = RESAMPLES, seed: int = 0) -> Comparison:
    """Hold two runs against each other on the same images.

    The interval is paired: both runs see the same draws. From 150 units on it is BCa, below the jackknife with
    t(G − 1). The test exchanges the two runs within each unit, at random or, up to 13 units, in all ways (Good 2005,
    ch. 3): its p is the share of exchanges with a difference at least as large.

    Args:
        ours, theirs: counts of every image, of the same classes.
        resamples: of the bootstrap, and exchanges of the test.
        seed: of both.
    """
    theirs_again = aligned(ours, theirs)
    if theirs_again is None:
        return Comparison(float("nan"), why=OTHER_IMAGES)
    a, b, units = ours.unit_sums, theirs_again.unit_sums, ours.units
    number = len(units.names)
    difference = float(_miou(a.sum(0)) - _miou(b.sum(0)))
    if why := too_few(number, units.are):
        return Comparison(difference, units=number, units_are=units.are, why=why.replace("interval", "test"))
    low, high = _interval(difference, a, b, float(ours.effective_units[0]), resamples, seed)
    return Comparison(difference, low, high, _permutation(a, b, resamples, seed), number, units.are)


def aligned(ours: PerImage, theirs: PerImage) -> PerImage | None:
    """The second's images in the order of the first's; None where images, truth or classes are not the same."""
    if ours.classes != theirs.classes or set(ours.names) != set(theirs.names):
        return None
    if ours.names != theirs.names:
        places = {name: place for place, name in enumerate(theirs.names)}
        theirs = theirs.chosen([places[name] for name in ours.names])
    first, second = (images.counts[:, 0] + images.counts[:, 2] for images in (ours, theirs))
    return theirs if np.array_equal(first, second) else None


def holm(ps: Sequence[float | None]) -> list[float | None]:
    """p values of several tests, raised so that the chance of any false alarm among them stays below α (Holm 1979).

    None stands for no test, stays None, and does not count.
    """
    tested = [place for place, p in enumerate(ps) if p is not None]
    known = np.array([ps[place] for place in tested], np.float64)
    order = np.argsort(known, kind="stable")
    steps = known[order] * np.arange(len(known), 0, -1)
    raised = np.empty(len(known))
    raised[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    found: list[float | None] = [None] * len(ps)
    for place, p in zip(tested, raised.tolist(), strict=True):
        found[place] = p
    return found


def _interval(
    difference: float, a: Floats, b: Floats, effective: float, resamples: int, seed: int
) -> tuple[float, float]:
    without = scores_without(a)[:, 0] - scores_without(b)[:, 0]
    if effective >= BCA_UNITS and np.ptp(without) > 0:
        both = np.concatenate([a, b], axis=1)  # one product for the pair
        parts = resampled_sums(both, resamples, np.random.default_rng(seed))
        drawn = np.concatenate([_miou(part[:, :2]) - _miou(part[:, 2:]) for part in parts])
        return bca(difference, drawn, without, LEVEL)
    half = float(special.stdtrit(max(effective - 1, 1.0), 0.5 + LEVEL / 2) * np.sqrt(variance(without)))
    return difference - half, difference + half


def _permutation(a: Floats, b: Floats, resamples: int, seed: int) -> float:
    """Exchanging a unit moves its gap from one run's sums to the other's: again one product for all exchanges."""
    gaps = (b - a).reshape(len(a), -1)
    observed = abs(float(_miou(a.sum(0)) - _miou(b.sum(0))))
    exact = len(a) <= EXACT_UNITS
    reached, tried = 0, 0
    for exchanged in _exchanges(len(a), resamples, seed):
        moved = (exchanged @ gaps).reshape(len(exchanged), *a.shape[1:])
        found = np.abs(_miou(a.sum(0) + moved) - _miou(b.sum(0) - moved))
        reached += int((found >= observed - 1e-12).sum())
        tried += len(exchanged)
    return reached / tried if exact else (reached + 1) / (tried + 1)


def _exchanges(units: int, resamples: int, seed: int) -> Iterator[Floats]:
    """Parts (R, G) of ones where a unit is exchanged."""
    if units <= EXACT_UNITS:
        every: npt.NDArray[np.int64] = np.arange(2**units)[:, None] >> np.arange(units) & 1
        yield every.astype(np.float64)
        return
    rng = np.random.default_rng(seed)
    for start in range(0, resamples, PART):
        yield rng.integers(0, 2, (min(PART, resamples - start), units)).astype(np.float64)


def _miou(sums: Floats) -> Floats:
    return with_mean(iou(sums))[..., 0]
