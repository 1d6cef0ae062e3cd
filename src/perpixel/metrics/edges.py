"""Counts along the edges of classes, image by image on the CPU; scores come from their sums."""

from __future__ import annotations

import math
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.bool_]
Labels = npt.NDArray[np.integer]


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

    Args:
        prediction: (H, W) class indices.
        target: (H, W) class indices; what is no class is left out of both.
        num_classes: C.
        band: width in pixels of the inner edge (Cheng et al. 2021 take 2 % of the image diagonal).
        tolerance: distance in pixels at which a contour is still met (Csurka et al. 2013: 0.75 % of the diagonal).
    """
    counts = np.zeros((6, num_classes), np.int64)
    labelled = (target >= 0) & (target < num_classes)
    for index in np.union1d(np.unique(target[labelled]), np.unique(prediction[labelled])):
        truth, guess = (target == index) & labelled, (prediction == index) & labelled
        counts[:, index] = _of_class(truth, guess, band, tolerance)
    return EdgeCounts(*counts)


def pixels_of_diagonal(share: float, height: int, width: int) -> int:
    """A share of the image's diagonal in whole pixels, at least 1."""
    return max(1, round(share * math.hypot(height, width)))


def inner_edge(mask: Mask, band: int) -> Mask:
    """The pixels of a mask that ``band`` erosions by 3×3 remove; outside the image there is no mask."""
    framed = cv2.copyMakeBorder(mask.astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    core = cv2.erode(framed, np.ones((3, 3), np.uint8), iterations=band)[1:-1, 1:-1]
    return np.asarray(mask & (core == 0))


def _of_class(truth: Mask, guess: Mask, band: int, tolerance: float) -> list[int]:
    truth_band, guess_band = inner_edge(truth, band), inner_edge(guess, band)
    truth_line, guess_line = inner_edge(truth, 1), inner_edge(guess, 1)
    found, right = truth_line & _near(guess_line, tolerance), guess_line & _near(truth_line, tolerance)
    counted = (truth_band & guess_band, truth_band | guess_band, found, truth_line, right, guess_line)
    return [int(pixels.sum()) for pixels in counted]


def _near(line: Mask, tolerance: float) -> Mask:
    """Pixels within a Euclidean distance of a line; none where there is no line."""
    if not line.any():
        return np.zeros_like(line)
    distance = cv2.distanceTransform((~line).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.asarray(distance <= tolerance + 1e-3)  # distances are float32: √2 must count as √2
