"""Focal loss: cross-entropy that looks away from what is already known."""

from __future__ import annotations

from torch import Tensor

from perpixel.labels import PADDING_INDEX
from perpixel.losses.base import Loss
from perpixel.losses.pixels import Pixels, weighted_mean
from perpixel.losses.weights import ClassWeights, as_buffer


class Focal(Loss):
    """Mean of −(1 − p)^γ·log p of the true class's softmax probability p (Lin et al. 2017, eq. 4).

    γ = 0 is cross-entropy. The mean is over labelled pixels, weighted by class weights (the paper's α) as in
    `CrossEntropy`. A class absent from the batch has no part in the value.

    Args:
        ignore_index: target value of pixels without a label.
        gamma: γ ≥ 0; the larger, the less a well-classified pixel counts.
        class_weights: one non-negative number per class, or none.

    Raises:
        ValueError: γ is negative or the weights are not numbers ≥ 0.
    """

    class_weights: Tensor | None

    def __init__(
        self,
        ignore_index: int = PADDING_INDEX,
        gamma: float = 2.0,
        class_weights: ClassWeights = None,
    ) -> None:
        super().__init__(ignore_index)
        if gamma < 0:
            raise ValueError(f"focal loss needs gamma ≥ 0, not {gamma}.")
        self.gamma = gamma
        self.register_buffer("class_weights", as_buffer(class_weights), persistent=False)

    def measure(self, pixels: Pixels) -> Tensor:
        """Σ w_y·(1 − p_y)^γ·(−log p_y) / Σ w_y."""
        log_p = pixels.evidence.truth_log_probs
        # −expm1 keeps the digits of 1 − p near p = 1; the floor keeps the power's slope finite at 0 for γ < 1.
        miss = (-log_p.expm1()).clamp_min(1e-12 if self.gamma < 1 else 0.0)
        return weighted_mean(-log_p * miss.pow(self.gamma), pixels.weight(self.class_weights))
