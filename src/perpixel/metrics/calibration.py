"""Whether a confidence of 0.8 is right 8 times in 10."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torchmetrics import Metric

from perpixel.labels import LabelSpace


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


class Calibration(Metric):
    """Expected calibration error of the largest softmax probability, in bins of equal width over 0…1.

    Args:
        labels: the value that means "no label".
        bins: number of bins, of which each takes its upper bound.
    """

    full_state_update = False
    higher_is_better = False
    is_differentiable = False
    pixels: Tensor
    right: Tensor
    confidence: Tensor

    def __init__(self, labels: LabelSpace, bins: int = 15) -> None:
        super().__init__()
        self.labels = labels
        self.bins = bins
        self.add_state("pixels", torch.zeros(bins, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("right", torch.zeros(bins, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("confidence", torch.zeros(bins, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, logits: Tensor, target: Tensor) -> None:
        """Count a batch: logits (B, C, H, W), target (B, H, W) with ``labels.fill`` for no label."""
        confidence, guess = logits.float().softmax(1).max(1)
        self._update(confidence.flatten(), (guess == target).flatten(), (target != self.labels.fill).flatten())

    def compute(self) -> dict[str, Tensor]:
        """``ECE``, a float64 scalar."""
        return {"ECE": self.reliability().ece}

    def reliability(self) -> Reliability:
        """The diagram of what was counted so far (on this rank)."""
        pixels = self.pixels.double()
        return Reliability(pixels / pixels.sum(), self.confidence / pixels, self.right / pixels)

    def _update(self, confidence: Tensor, right: Tensor, valid: Tensor) -> None:
        bins = (confidence.double() * self.bins).ceil().long().sub_(1).clamp_(0, self.bins - 1)
        self.pixels.scatter_add_(0, bins, valid.long())
        self.right.scatter_add_(0, bins, (right & valid).long())
        self.confidence.scatter_add_(0, bins, confidence.double() * valid)
