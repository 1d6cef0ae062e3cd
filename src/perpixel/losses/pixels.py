"""One batch as the losses see it: what several of them need is computed once."""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from perpixel.losses.evidence import Evidence, check_range, evidence


class SoftCounts(NamedTuple):
    """Per class, in pixels: the differentiable cousins of true positives, predictions and truth.

    Attributes:
        intersection: (B, C) or (C,), Σ p_c over the valid pixels whose class is c.
        predicted: the same shape, Σ p_c over all valid pixels.
        truth: the same shape, number of valid pixels whose class is c.
    """

    intersection: Tensor
    predicted: Tensor
    truth: Tensor


class Pixels:
    """Logits and labels of one batch, and what losses draw from them, each computed at the first use.

    Args:
        logits: (B, C, H, W) float of any width; what is derived has 32 bits (64 for float64 logits).
        target: (B, H, W) integer.
        ignore_index: target value of pixels without a label.

    Raises:
        ValueError: the shapes do not fit together, the target is not integer or (on a CPU, where looking costs nothing)
            holds a value that is neither a class nor ``ignore_index``.
    """

    def __init__(self, logits: Tensor, target: Tensor, ignore_index: int) -> None:
        _check_shapes(logits, target)
        self.logits = logits
        self.target = target
        self.ignore_index = ignore_index

    @property
    def num_classes(self) -> int:
        """C."""
        return self.logits.shape[1]

    @property
    def dtype(self) -> torch.dtype:
        """Precision of all that is derived."""
        return torch.float64 if self.logits.dtype == torch.float64 else torch.float32

    @cached_property
    def valid(self) -> Tensor:
        """(B, H, W) bool: pixels that have a label."""
        return self.target != self.ignore_index

    @cached_property
    def labels(self) -> Tensor:
        """(B, H, W) int64: the target with 0 where there is no label, safe as an index."""
        labels = self.target.long().masked_fill(~self.valid, 0)
        check_range(labels, self.num_classes, self.ignore_index)
        return labels

    @cached_property
    def log_probs(self) -> Tensor:
        """(B, C, H, W): log-softmax of the logits, for losses that need the probability of every class everywhere."""
        return F.log_softmax(self.logits, dim=1, dtype=self.dtype)

    @cached_property
    def evidence(self) -> Evidence:
        """All that can be drawn from one pass over the logits."""
        return evidence(self.logits, self.target, self.ignore_index)

    @property
    def soft_counts(self) -> SoftCounts:
        """Soft true positives, predictions and truth per image and class."""
        return SoftCounts(self.evidence.intersection, self.evidence.predicted, self.evidence.truth)

    def weight(self, class_weights: Tensor | None) -> Tensor:
        """(B, H, W): each pixel's weight, that of its class (1 without class weights), 0 where there is no label."""
        if class_weights is None:
            return self.valid.to(self.dtype)
        return class_weights.to(self.dtype)[self.labels] * self.valid


def ratio(part: Tensor, whole: Tensor) -> Tensor:
    """``part / whole``, and ``part`` itself where the whole is 0 (an empty sum over an empty count)."""
    return part / torch.where(whole > 0, whole, torch.ones_like(whole))


def weighted_mean(values: Tensor, weight: Tensor) -> Tensor:
    """Σ w·v / Σ w over all elements, and 0 (with zero gradient) where all weights are 0."""
    return ratio((values * weight).sum(), weight.sum())


def _check_shapes(logits: Tensor, target: Tensor) -> None:
    if logits.dim() != 4 or target.shape != (logits.shape[0], *logits.shape[2:]):
        raise ValueError(
            f"a loss takes logits (B, C, H, W) and target (B, H, W); it was given {tuple(logits.shape)} and "
            f"{tuple(target.shape)}. A one-hot target becomes labels with target.argmax(1)."
        )
    if target.is_floating_point() or target.is_complex():
        raise ValueError(f"a loss takes integer labels, int64 as a rule, not {target.dtype}: call target.long().")
