"""What the overlap losses share: soft counts per class, a score from them, a mean over the classes there are."""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor

from perpixel.labels import PADDING_INDEX
from perpixel.losses.base import Loss
from perpixel.losses.pixels import Pixels, SoftCounts, weighted_mean
from perpixel.losses.weights import ClassWeights, as_buffer


class Overlap(Loss):
    """One minus a score of soft counts, averaged over classes.

    A class absent from the truth is left out of the mean: its score would be 0 however good the prediction, and its
    probability mass is already punished as the other classes' missing overlap.

    Args:
        ignore_index: target value of pixels without a label.
        smooth: pixels added to numerator and denominator; 0 is the plain ratio.
        per_image: score each image by itself and average, instead of counting over the batch.
        class_weights: one non-negative number per class, the weights of the mean over classes, or none.

    Raises:
        ValueError: ``smooth`` is negative or the weights are not numbers ≥ 0.
    """

    class_weights: Tensor | None

    def __init__(
        self,
        ignore_index: int = PADDING_INDEX,
        smooth: float = 0.0,
        per_image: bool = False,
        class_weights: ClassWeights = None,
    ) -> None:
        super().__init__(ignore_index)
        if smooth < 0:
            raise ValueError(f"smooth is a number of pixels ≥ 0, not {smooth}.")
        self.smooth = smooth
        self.per_image = per_image
        self.register_buffer("class_weights", as_buffer(class_weights), persistent=False)

    @abstractmethod
    def score(self, counts: SoftCounts) -> Tensor:
        """The overlap per class, 0…1, shaped as the counts are; any finite number for a class without truth."""

    def loss_of(self, score: Tensor) -> Tensor:
        """What a score costs: 1 − score."""
        return 1 - score

    def measure(self, pixels: Pixels) -> Tensor:
        """Weighted mean of `loss_of` over the classes present."""
        counts = pixels.soft_counts
        if not self.per_image:
            counts = SoftCounts(*(count.sum(0) for count in counts))
        weight = (counts.truth > 0) * pixels.class_weights(self.class_weights)
        return weighted_mean(self.loss_of(self.score(counts)), weight)
