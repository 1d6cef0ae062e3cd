"""One batch as the losses see it: what several of them need is computed once."""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class SoftCounts(NamedTuple):
    """Per image and class, in pixels: the differentiable cousins of true positives, predictions and truth.

    Attributes:
        intersection: (B, C), Σ p_c over the valid pixels whose class is c.
        predicted: (B, C), Σ p_c over all valid pixels.
        truth: (B, C), number of valid pixels whose class is c.
    """

    intersection: Tensor
    predicted: Tensor
    truth: Tensor


class Pixels:
    """Logits and labels of one batch, and their common derivatives, each computed at the first use.

    Args:
        logits: (B, C, H, W) float; 16-bit values are widened to 32 bits.
        target: (B, H, W) integer.
        ignore_index: target value of pixels without a label.

    Raises:
        ValueError: the shapes do not fit together, or the target is not integer.
    """

    def __init__(self, logits: Tensor, target: Tensor, ignore_index: int) -> None:
        _check(logits, target)
        self.logits = logits if logits.dtype == torch.float64 else logits.float()
        self.target = target.long()
        self.ignore_index = ignore_index

    @property
    def num_classes(self) -> int:
        """C."""
        return self.logits.shape[1]

    @cached_property
    def valid(self) -> Tensor:
        """(B, H, W) bool: pixels that have a label."""
        return self.target != self.ignore_index

    @cached_property
    def labels(self) -> Tensor:
        """(B, H, W) int64: the target with 0 where there is no label, safe as an index."""
        return self.target.masked_fill(~self.valid, 0)

    @cached_property
    def log_probs(self) -> Tensor:
        """(B, C, H, W): log-softmax of the logits."""
        return F.log_softmax(self.logits, dim=1)

    @cached_property
    def truth_log_probs(self) -> Tensor:
        """(B, H, W): log-probability of each pixel's own class, 0 where there is no label."""
        return self.log_probs.gather(1, self.labels.unsqueeze(1)).squeeze(1) * self.valid

    @cached_property
    def soft_counts(self) -> SoftCounts:
        """Soft true positives, predictions and truth per image and class."""
        probs = (self.log_probs.exp() * self.valid.unsqueeze(1)).flatten(2)
        of_truth = (self.truth_log_probs.exp() * self.valid).flatten(1)
        labels = self.labels.flatten(1)
        empty = probs.new_zeros(probs.shape[:2])
        intersection = empty.scatter_add(1, labels, of_truth)
        truth = empty.scatter_add(1, labels, self.valid.flatten(1).to(empty.dtype))
        return SoftCounts(intersection, probs.sum(2), truth)

    def weight(self, class_weights: Tensor | None) -> Tensor:
        """(B, H, W): each pixel's weight, that of its class (1 without class weights), 0 where there is no label."""
        if class_weights is None:
            return self.valid.to(self.logits.dtype)
        return class_weights.to(self.logits.dtype)[self.labels] * self.valid


def weighted_mean(values: Tensor, weight: Tensor) -> Tensor:
    """Σ w·v / Σ w over all elements, and 0 (with zero gradient) where all weights are 0."""
    total = weight.sum()
    return (values * weight).sum() / torch.where(total > 0, total, torch.ones_like(total))


def _check(logits: Tensor, target: Tensor) -> None:
    if logits.dim() != 4 or target.shape != (logits.shape[0], *logits.shape[2:]):
        raise ValueError(
            f"a loss takes logits (B, C, H, W) and target (B, H, W); it was given {tuple(logits.shape)} and "
            f"{tuple(target.shape)}. A one-hot target becomes labels with target.argmax(1)."
        )
    if target.is_floating_point() or target.is_complex():
        raise ValueError(
            f"a loss takes integer labels, int64 as a rule; this target is {target.dtype}: call target.long()."
        )
