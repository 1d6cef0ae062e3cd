"""Counts along the edges of classes, image by image on the CPU; scores come from their sums."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from perpixel.metrics.maps import Labels, Mask, class_map, near_same, per_class, uniform


class EdgeCounts(NamedTuple):
    """Per class, in pixels, all (C,) int64; sums over images of one data set give its boundary scores.

    Attributes:
        common, either: in the inner edge band of truth and prediction, or of one of them: their ratio is boundary IoU.
        found, truth: pixels of the truth's contour near the prediction's, and all of them: boundary recall.
        right, predicted: pixels of the prediction's contour near the truth's, and all of them: boundary precision.
    """

    common: npt.NDArray[np.int64]
    either: npt.NDArray[np.int64]
    found: npt.NDArray[np.int64]
    truth: npt.NDArray[np.int64]
    right: npt.NDArray[np.int64]
    predicted: npt.NDArray[np.int64]


def edge_counts(prediction: Labels, target: Labels, num_classes: int, band: int, tolerance: float) -> EdgeCounts:
    """Count one image.

    Unlabelled pixels are left out of truth and prediction alike, so both have an edge where they begin, as they have at
    the image's border. Where the void is a rim around every object (PASCAL VOC's), that makes the scores possible:
    without it a perfect prediction would have no contour, and a nearly perfect one score 0. The price: a wide void area
    adds to both the same pixels along its border, and lifts their scores.

    Args:
        prediction: (H, W) class indices.
        target: (H, W) class indices; what is no class is unlabelled.
        num_classes: C.
        band: width in pixels of the inner edge (Cheng et al. 2021 take 2 % of the image diagonal).
        tolerance: distance in pixels at which a contour is still met (Csurka et al. 2013: 0.75 % of the diagonal).
    """
    truth = class_map(target, num_classes)
    guess = class_map(prediction, num_classes, truth != num_classes)
    common, truth_band, guess_band = _bands(truth, guess, num_classes, band)
    truth_line, guess_line = (np.where(inner_edge(m, num_classes, 1), m, num_classes) for m in (truth, guess))
    return EdgeCounts(
        common,
        truth_band + guess_band - common,
        per_class(truth, near_same(truth_line, guess_line, num_classes, tolerance), num_classes),
        per_class(truth, truth_line != num_classes, num_classes),
        per_class(guess, near_same(guess_line, truth_line, num_classes, tolerance), num_classes),
        per_class(guess, guess_line != num_classes, num_classes),
    )


def pixels_of_diagonal(share: float, height: int, width: int) -> int:
    """A share of the image's diagonal in whole pixels, at least 1."""
    return max(1, round(share * math.hypot(height, width)))


def inner_edge(labels: Labels, none: int, band: int) -> Mask:
    """Pixels of any class that ``band`` erosions of it by 3×3 remove; ``none``, and the outside, is no class."""
    framed = np.pad(labels, 1, constant_values=none)
    side = 2 * band + 1  # so many erosions by 3×3 are one by this square
    core = uniform(framed, np.ones((side, side), np.uint8))[1:-1, 1:-1]
    return np.asarray(~core & (labels != none))


def _bands(truth: Labels, guess: Labels, num_classes: int, band: int) -> tuple[npt.NDArray[np.int64], ...]:
    """Per class the pixels in both bands, in the truth's, and in the prediction's."""
    truth_band, guess_band = (inner_edge(labels, num_classes, band) for labels in (truth, guess))
    both = truth_band & guess_band & (truth == guess)
    return tuple(
        per_class(labels, chosen, num_classes)
        for labels, chosen in ((truth, both), (truth, truth_band), (guess, guess_band))
    )
