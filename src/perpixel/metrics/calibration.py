"""Whether a confidence of 0.8 is right 8 times in 10."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from perpixel.labels import LabelSpace
from perpixel.metrics.base import PixelMetric, check_targets
from perpixel.metrics.invalid_labels import first_invalid, outside, seen_at_once
from perpixel.metrics.predictions import check_batch

UNIT = 2**24
"""Confidences are summed as whole multiples of 1/UNIT (a float32 near 1 knows no finer step), so that the sum is the
same in every order and over any number of ranks; int64 then holds 5·10¹¹ pixels."""


class Reliability(NamedTuple):
    """The reliability diagram, per bin of confidence, all (bins,) float64.

    Attributes:
        share: share of the pixels in the bin.
        confidence: their mean confidence, NaN without pixels.
        accuracy: the share of them that is right, NaN without pixels.
    """

    share: Tensor
    confidence: Tensor
    accuracy: Tensor

    @property
    def ece(self) -> Tensor:
        """Expected calibration error, Σ share·|accuracy − confidence| (Guo et al. 2017, eq. 3); NaN without pixels."""
        gap = (self.accuracy - self.confidence).abs().nan_to_num(0.0)
        return (self.share * gap).sum()


class Calibration(PixelMetric):
    """Expected calibration error of the largest softmax probability, in bins of equal width over 0…1.

    All labelled pixels of the data set count alike, whatever their image or class. ``details`` holds the diagram as
    ``reliability``: lists ``share``, ``confidence`` and ``accuracy``, the latter None in bins without pixels.

    Args:
        labels: the value that means "no label".
        bins: number of bins, of which each takes its upper bound.

    Raises:
        ValueError: there is no bin.
    """

    higher_is_better = False
    pixels: Tensor
    right: Tensor
    confidence: Tensor

    def __init__(self, labels: LabelSpace, bins: int = 15) -> None:
        super().__init__(labels)
        if bins < 1:
            raise ValueError(f"bins={bins}: give 1 or more (15 is usual).")
        self.bins = bins
        for name in ("pixels", "right", "confidence"):
            self._add_counts(name, bins)

    def update(self, logits: Tensor, target: Tensor, names: Sequence[str] | None = None) -> None:
        """Count a batch.

        Args:
            logits: (B, C, H, W) floating; labels would hold no confidence.
            target: (B, H, W) integer class indices, ``labels.fill`` where there is no label.
            names: of the B samples, for the error.

        Raises:
            ValueError: these are no logits of these classes, or a target is neither a class nor the ignore index (on a
                GPU, `compute` raises that).
        """
        if logits.dim() != 4 or not logits.is_floating_point():
            raise ValueError(f"calibration needs logits (B, C, H, W), not {logits.dtype} {tuple(logits.shape)}.")
        check_batch(logits, target, self.labels.num_classes)
        if seen_at_once(target):
            check_targets(target, self.labels, names)
        else:
            wrong = outside(target, self.labels.num_classes, self.labels.fill).flatten()
            self._note_strays(first_invalid(wrong, target.flatten(), wrong), target, names)
        for image, truth in zip(logits, target, strict=True):  # one by one: the softmax of a batch would be large
            self._update(*confidences(image), truth)

    def compute(self) -> dict[str, Tensor]:
        """``ECE``, a float64 scalar.

        Raises:
            ValueError: targets counted on a GPU held impossible values.
        """
        self._refuse_strays()
        diagram = self.reliability()
        lists = {name: [_number(value) for value in values.tolist()] for name, values in diagram._asdict().items()}
        self.details = {"reliability": lists}
        return {"ECE": diagram.ece}

    def reliability(self) -> Reliability:
        """The diagram of what was counted so far (on this rank)."""
        pixels = self.pixels.double()
        return Reliability(pixels / pixels.sum(), self.confidence.double() / UNIT / pixels, self.right / pixels)

    def _update(self, confidence: Tensor, guess: Tensor, target: Tensor) -> None:
        valid = (target != self.labels.fill).flatten()
        right, exact = (guess == target).flatten() & valid, confidence.flatten().double()
        bins = (exact * self.bins).ceil_().long().sub_(1).clamp_(0, self.bins - 1)
        self.pixels.scatter_add_(0, bins, valid.long())
        self.right.scatter_add_(0, bins, right.long())
        self.confidence.scatter_add_(0, bins, exact.mul_(UNIT).round_().long() * valid)


def confidences(logits: Tensor) -> tuple[Tensor, Tensor]:
    """The largest softmax probability and its class: (C, H, W) → (H, W) each; 0 where a logit is NaN.

    The probability is float32, and float64 of float64 logits, whose differences float32 does not hold.
    """
    values = logits if logits.dtype == torch.float64 else logits.float()
    peak, guess = values.max(0)
    return (values - peak).exp_().sum(0).reciprocal_().nan_to_num_(0.0), guess


def _number(value: float) -> float | None:
    return value if value == value else None
