"""Scores from counts: every number here follows from one confusion matrix."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Counts(NamedTuple):
    """Per class, in pixels, float64 so that the ratios are exact to the last digit that matters.

    Attributes:
        hits: (C,) true positives.
        truth: (C,) pixels of the class.
        predicted: (C,) pixels taken for the class.
    """

    hits: Tensor
    truth: Tensor
    predicted: Tensor

    @property
    def present(self) -> Tensor:
        """(C,) bool: classes with truth or prediction pixels; the others have no score."""
        return (self.truth + self.predicted) > 0


def counts_of(confusion: Tensor) -> Counts:
    """Row, column and diagonal sums of a (C, C) confusion matrix (rows are the truth)."""
    exact = confusion.double()
    return Counts(exact.diagonal(), exact.sum(1), exact.sum(0))


def iou(counts: Counts) -> Tensor:
    """(C,) intersection over union, TP / (TP + FP + FN)."""
    return _ratio(counts.hits, counts.truth + counts.predicted - counts.hits, counts)


def dice(counts: Counts) -> Tensor:
    """(C,) Dice or F1, 2·TP / (2·TP + FP + FN)."""
    return _ratio(2 * counts.hits, counts.truth + counts.predicted, counts)


def precision(counts: Counts) -> Tensor:
    """(C,) TP / (TP + FP); 0 for a class that is in the truth and never predicted."""
    return _ratio(counts.hits, counts.predicted, counts)


def recall(counts: Counts) -> Tensor:
    """(C,) TP / (TP + FN); 0 for a class that is predicted and nowhere in the truth."""
    return _ratio(counts.hits, counts.truth, counts)


def fw_iou(counts: Counts) -> Tensor:
    """IoU averaged with the classes' pixel shares of the truth as weights."""
    share = counts.truth / counts.truth.sum()
    return (share * iou(counts).nan_to_num(0.0)).sum()


def pixel_accuracy(counts: Counts) -> Tensor:
    """Share of the labelled pixels that are right."""
    return counts.hits.sum() / counts.truth.sum()


def mean_accuracy(counts: Counts) -> Tensor:
    """Recall averaged over the classes that the truth holds (balanced accuracy)."""
    return (counts.hits / counts.truth)[counts.truth > 0].mean()


def kappa(counts: Counts) -> Tensor:
    """Cohen's κ: agreement beyond what the two class mixes give by chance, (p_o − p_e) / (1 − p_e)."""
    total = counts.truth.sum()
    by_chance = (counts.truth * counts.predicted).sum() / total**2
    return (pixel_accuracy(counts) - by_chance) / (1 - by_chance)


PER_CLASS = {"IoU": iou, "Dice": dice, "precision": precision, "recall": recall}
"""Name and function of the scores that every class has; the mean of each over the present classes has its own name."""

MEANS = {"IoU": "mIoU", "Dice": "mDice", "precision": "mPrecision", "recall": "mRecall"}

OVERALL = {"fwIoU": fw_iou, "pixel_accuracy": pixel_accuracy, "mean_accuracy": mean_accuracy, "kappa": kappa}
"""Name and function of the scores that are one number."""


def scores(confusion: Tensor, names: tuple[str, ...]) -> dict[str, Tensor]:
    """All scores of a confusion matrix by name: the overall ones first, then ``IoU/<class>`` and its like.

    The averaging stands in the name: ``m…`` and ``mean_…`` are plain means over classes, ``fw…`` weighs them by their
    pixels; ``pixel_accuracy`` and ``kappa`` are of all labelled pixels alike, without an average.

    A class with neither truth nor prediction pixels scores NaN and is left out of the means; a class with either of
    them scores 0 where its ratio would be 0/0, as scikit-learn's ``zero_division=0``. Without a single labelled pixel
    every score is NaN.

    Args:
        confusion: (C, C) integer, rows are the truth.
        names: the C class names.

    Returns:
        float64 scalars on the matrix's device.
    """
    counts = counts_of(confusion)
    per_class = {score: function(counts) for score, function in PER_CLASS.items()}
    named = {MEANS[score]: values.nanmean() for score, values in per_class.items()}
    named |= {score: function(counts) for score, function in OVERALL.items()}
    for score, values in per_class.items():
        named |= {f"{score}/{name}": value for name, value in zip(names, values, strict=True)}
    return named


def _ratio(part: Tensor, whole: Tensor, counts: Counts) -> Tensor:
    return torch.where(counts.present, part / whole.clamp_min(1), torch.nan)
