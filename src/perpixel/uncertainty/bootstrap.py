"""Drawing the units anew: one matrix product of drawn weights with the units' counts."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy import special

from perpixel.uncertainty.per_image import Floats

PART = 1000
"""Resamples worked on at once: their weights over 1000 units are 8 MB."""


def weights(units: int, resamples: int, rng: np.random.Generator) -> Iterator[Floats]:
    """Parts (R, G) of the numbers of times that each unit is drawn, in draws of G with replacement."""
    for start in range(0, resamples, PART):
        rows = min(PART, resamples - start)
        drawn = rng.integers(0, units, (rows, units), dtype=np.int32 if units * PART < 2**31 else np.int64)
        drawn += (np.arange(rows) * units)[:, None].astype(drawn.dtype)
        yield np.bincount(drawn.ravel(), minlength=rows * units).reshape(rows, units).astype(np.float64)


def resampled_sums(unit_sums: Floats, resamples: int, rng: np.random.Generator) -> Iterator[Floats]:
    """Parts (R, 2, C) of the sums over drawn units: the product (R, G) · (G, 2·C), in float64 exact to 2⁵³ pixels."""
    flat = np.ascontiguousarray(unit_sums.reshape(len(unit_sums), -1))
    for part in weights(len(flat), resamples, rng):
        yield (part @ flat).reshape(len(part), *unit_sums.shape[1:])


def bca(score: float, drawn: Floats, without: Floats, level: float) -> tuple[float, float]:
    """Bias-corrected and accelerated interval (Efron 1987).

    Args:
        score: of the data as they are.
        drawn: (R,) of each resample; NaN where undefined, which are left out.
        without: (G,) of all units but one, for the acceleration.
        level: of confidence.
    """
    drawn = drawn[~np.isnan(drawn)]
    below = ((drawn < score).mean() + (drawn <= score).mean()) / 2  # ties count half, as in scipy.stats.bootstrap
    bias = special.ndtri(np.clip(below, 0.5 / len(drawn), 1 - 0.5 / len(drawn)))
    gaps = without.mean() - without
    squares = (gaps**2).sum()
    acceleration = (gaps**3).sum() / (6 * squares**1.5) if squares > 0 else 0.0
    z = special.ndtri([(1 - level) / 2, (1 + level) / 2]) + bias
    low, high = np.quantile(drawn, special.ndtr(bias + z / (1 - acceleration * z)))
    return float(low), float(high)
