"""Tversky: Dice with a price of its own for each kind of error."""

from __future__ import annotations

from torch import Tensor

from perpixel.labels import PADDING_INDEX
from perpixel.losses.overlap import Overlap
from perpixel.losses.pixels import SoftCounts, ratio
from perpixel.losses.weights import ClassWeights


class Tversky(Overlap):
    """1 − mean over classes of TP / (TP + α·FP + β·FN) with soft counts (Salehi et al. 2017).

    α = β = 0.5 is Dice, α = β = 1 is Jaccard; β > α asks for recall. A class absent from the truth is left out of the
    mean.

    Args:
        ignore_index: target value of pixels without a label.
        alpha: α ≥ 0, the price of probability where the class is not.
        beta: β ≥ 0, the price of probability missing where the class is.
        smooth, per_image, class_weights: as for all overlap losses, see `Overlap`.

    Raises:
        ValueError: α or β is negative.
    """

    def __init__(
        self,
        ignore_index: int = PADDING_INDEX,
        alpha: float = 0.3,
        beta: float = 0.7,
        smooth: float = 0.0,
        per_image: bool = False,
        class_weights: ClassWeights = None,
    ) -> None:
        super().__init__(ignore_index, smooth, per_image, class_weights)
        if alpha < 0 or beta < 0:
            raise ValueError(f"Tversky loss needs alpha and beta ≥ 0, not {alpha} and {beta}.")
        self.alpha = alpha
        self.beta = beta

    def score(self, counts: SoftCounts) -> Tensor:
        """The Tversky index per class."""
        invented = counts.predicted - counts.intersection
        missed = counts.truth - counts.intersection
        priced = counts.intersection + self.alpha * invented + self.beta * missed
        return ratio(counts.intersection + self.smooth, priced + self.smooth)


class FocalTversky(Tversky):
    """Mean over classes of (1 − Tversky index)^γ (Abraham & Khan 2019; their exponent is written 1/γ).

    γ < 1 keeps the slope up for classes that are nearly right, γ > 1 turns to those that are not. Above an index of
    1 − 1e-6 the power is a straight line to 0: its slope would be infinite at the end. A class absent from the truth is
    left out of the mean.

    Args:
        gamma: γ > 0.
        ignore_index, alpha, beta, smooth, per_image, class_weights: as of `Tversky`.

    Raises:
        ValueError: γ is not positive.
    """

    def __init__(
        self,
        ignore_index: int = PADDING_INDEX,
        alpha: float = 0.3,
        beta: float = 0.7,
        gamma: float = 0.75,
        smooth: float = 0.0,
        per_image: bool = False,
        class_weights: ClassWeights = None,
    ) -> None:
        super().__init__(ignore_index, alpha, beta, smooth, per_image, class_weights)
        if gamma <= 0:
            raise ValueError(f"focal Tversky loss needs gamma > 0, not {gamma}.")
        self.gamma = gamma

    def loss_of(self, score: Tensor) -> Tensor:
        """(1 − score)^γ, its slope kept finite where the score is 1."""
        miss = 1 - score
        return miss * miss.clamp_min(1e-6).pow(self.gamma - 1)
