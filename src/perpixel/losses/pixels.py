"""One batch as the losses see it: what several of them need is computed once."""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from perpixel.losses.probabilities import probabilities
from perpixel.losses.softmax_kernels import check_range, split_labels
from perpixel.losses.softmax_stats import SoftmaxStats, evidence


class SoftCounts(NamedTuple):
    """Per class, in pixels: the differentiable cousins of true positives, predictions and truth.

    A pixel counts as many times as its weight says, once if there are none. All are float64.

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
        weight: (B, H, W) float ≥ 0, what each pixel counts; a pixel of weight 0 is an ignored one. 1 if not given.
        log_sums: whether the evidence shall have them.

    Raises:
        ValueError: the shapes do not fit together or hold nothing, logits are not floating-point, the target is not
            integer or (on a CPU, where looking costs nothing) holds a value that is neither a class nor
            ``ignore_index``, or a weight is negative or not finite.
    """

    def __init__(
        self, logits: Tensor, target: Tensor, ignore_index: int, weight: Tensor | None = None, log_sums: bool = True
    ) -> None:
        _check_shapes(logits, target)
        self.logits = logits
        self.target = target
        self.ignore_index = ignore_index
        self.log_sums = log_sums
        self.pixel_weight: Tensor | None = None
        if weight is not None:
            _check_weight(weight, target)
            self.pixel_weight = weight.detach().to(self.dtype).masked_fill(target.long() == ignore_index, 0)
            self.target = target.long().masked_fill(self.pixel_weight == 0, ignore_index)

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
        """(B, H, W) bool: pixels that have a label, and no weight of 0."""
        return self.target.long() != self.ignore_index  # −100 in uint8 would be 156

    @cached_property
    def labels(self) -> Tensor:
        """(B, H, W) int64: the target with 0 where there is no label, safe as an index."""
        labels = split_labels(self.target, self.ignore_index)[1]
        check_range(labels, self.num_classes, self.ignore_index)
        return labels

    @cached_property
    def evidence(self) -> SoftmaxStats:
        """All that can be drawn from one pass over the logits, the only one that normalises them."""
        return evidence(self.logits, self.target, self.ignore_index, self.pixel_weight, self.log_sums)

    @cached_property
    def probs(self) -> Tensor:
        """(B, C, H, W): softmax, 0 where there is no label; for losses that need every class everywhere."""
        return probabilities(self.logits, self.evidence.peak, self.evidence.mass, self.valid)

    @property
    def soft_counts(self) -> SoftCounts:
        """Soft true positives, predictions and truth per image and class."""
        return SoftCounts(self.evidence.intersection, self.evidence.predicted, self.evidence.truth)

    def weight(self, class_weights: Tensor | None = None) -> Tensor:
        """(B, H, W): each pixel's weight times that of its class (each 1 if not given), 0 where there is no label."""
        own = self.valid.to(self.dtype) if self.pixel_weight is None else self.pixel_weight
        return own if class_weights is None else self.class_weights(class_weights)[self.labels] * own

    def class_weights(self, given: Tensor | None) -> Tensor:
        """(C,): the weights of the classes, each 1 if none are given.

        Raises:
            ValueError: there are more or fewer weights than classes.
        """
        if given is None:
            return self.logits.new_ones(self.num_classes, dtype=self.dtype)
        if len(given) != self.num_classes:
            raise ValueError(
                f"class_weights needs one weight per class: it has {len(given)}, the logits have {self.num_classes} "
                "classes."
            )
        return given.to(self.dtype)


def ratio(part: Tensor, whole: Tensor) -> Tensor:
    """``part / whole``, and ``part`` itself where the whole is 0 (an empty sum over an empty count); NaN stays NaN."""
    return part / torch.where(whole == 0, torch.ones_like(whole), whole)


def weighted_mean(values: Tensor, weight: Tensor) -> Tensor:
    """Σ w·v / Σ w over all elements, and 0 (with zero gradient) where all weights are 0."""
    return ratio((values * weight).sum(), weight.sum())


def _check_shapes(logits: Tensor, target: Tensor) -> None:
    if logits.dim() != 4 or target.shape != (logits.shape[0], *logits.shape[2:]):
        raise ValueError(
            f"a loss takes logits (B, C, H, W) and target (B, H, W); it was given {tuple(logits.shape)} and "
            f"{tuple(target.shape)}. A one-hot target becomes labels with target.argmax(1)."
        )
    if logits.numel() == 0:
        raise ValueError(f"a loss takes at least one pixel and class; these logits are {tuple(logits.shape)}.")
    if not logits.is_floating_point():
        raise ValueError(f"a loss takes floating-point logits, not {logits.dtype}.")
    if target.is_floating_point() or target.is_complex():
        raise ValueError(f"a loss takes integer labels, int64 as a rule, not {target.dtype}: call target.long().")


def _check_weight(weight: Tensor, target: Tensor) -> None:
    if weight.shape != target.shape or not weight.is_floating_point():
        raise ValueError(
            f"pixel weights are floating-point and shaped as the target, {tuple(target.shape)}; these are "
            f"{weight.dtype} and {tuple(weight.shape)}."
        )
    if weight.device.type != "cpu" or weight.numel() == 0:  # looking at a GPU's values means waiting for them
        return
    low, high = (float(bound) for bound in weight.aminmax())  # NaN, if there is one, is both
    if not (low >= 0 and high < float("inf")):
        raise ValueError(f"pixel weights must be finite numbers ≥ 0, but these reach from {low} to {high}.")
