"""The cluster jackknife: what each unit's absence changes."""

from __future__ import annotations

import numpy as np
from scipy import special

from perpixel.uncertainty.per_image import Floats, iou, with_mean


def scores_without(unit_sums: Floats) -> Floats:
    """(G, 2, C) sums → (G, 1 + C): mIoU and IoU of all units but one, for each."""
    return with_mean(iou(unit_sums.sum(0) - unit_sums))


def variance(without: Floats) -> Floats:
    """(G, …) values without each unit → (…) variance of the whole's value, (G−1)/G · Σ (θ₋ᵢ − mean)² (Efron 1982)."""
    units = len(without)
    return np.asarray((units - 1) / units * ((without - without.mean(0)) ** 2).sum(0))


def logit_interval(score: float, without: Floats, units: float, level: float) -> tuple[float, float]:
    """An interval for a score in 0…1: on the logit scale with Student's t of G − 1 degrees of freedom.

    Ratios near 0 or 1 are skewed, and few clusters make the normal quantile too short (Cameron and Miller 2015); a
    score whose logit is not finite without some unit is taken on its own scale.

    Args:
        score: of all units.
        without: (G,) of all units but one.
        units: G, how many of equal size that hold the class they amount to: the others add no evidence.
        level: of confidence.
    """
    both = np.append(without, score)
    quantile = special.stdtrit(max(units - 1, 1.0), 0.5 + level / 2)
    if both.min() <= 0 or both.max() >= 1:
        half = quantile * np.sqrt(variance(without))
        return max(0.0, score - float(half)), min(1.0, score + float(half))
    half = quantile * np.sqrt(variance(special.logit(without)))
    low, high = special.expit(special.logit(score) + np.array([-half, half]))
    return float(low), float(high)
