"""Cross-entropy: the mean surprise at the true label."""

from __future__ import annotations

from torch import Tensor

from perpixel.labels import PADDING_INDEX
from perpixel.losses.base import Loss
from perpixel.losses.pixels import Pixels, ratio
from perpixel.losses.weights import ClassWeights, as_buffer


class CrossEntropy(Loss):
    """Mean of −log p(true class) over the labelled pixels, as ``torch.nn.CrossEntropyLoss`` defines it.

    With class weights w the mean is weighted: Σ w_y·(−log p_y) / Σ w_y. With label smoothing ε the target is
    (1 − ε) on the true class plus ε/C on every class (Szegedy et al. 2016). A class absent from the batch has no pixel
    and so no part in the value while ε = 0; smoothing asks for some probability of every class, of absent ones as well.

    Args:
        ignore_index: target value of pixels without a label.
        label_smoothing: ε in 0…1.
        class_weights: one non-negative number per class, or none.

    Raises:
        ValueError: ``label_smoothing`` is outside 0…1 or the weights are not numbers ≥ 0.
    """

    class_weights: Tensor | None

    def __init__(
        self,
        ignore_index: int = PADDING_INDEX,
        label_smoothing: float = 0.0,
        class_weights: ClassWeights = None,
    ) -> None:
        super().__init__(ignore_index)
        if not 0.0 <= label_smoothing <= 1.0:
            raise ValueError(f"label_smoothing is a share between 0 and 1, not {label_smoothing}.")
        self.label_smoothing = label_smoothing
        self.register_buffer("class_weights", as_buffer(class_weights), persistent=False)

    @property
    def needs_log_sums(self) -> bool:
        """For smoothing."""
        return self.label_smoothing > 0

    def measure(self, pixels: Pixels) -> Tensor:
        """Σ w_y·(−log p_y) / Σ w_y, mixed with the smoothing's Σ_x Σ_c w_c·(−log p_c)/C over the same weights."""
        of_class = -pixels.evidence.truth_log_sums.sum(0)
        if self.label_smoothing > 0:
            share, log_sums = self.label_smoothing, pixels.evidence.log_sums
            assert log_sums is not None  # see needs_log_sums
            of_class = (1 - share) * of_class - share / pixels.num_classes * log_sums.sum(0)
        weights = pixels.class_weights(self.class_weights)
        return ratio((of_class * weights).sum(), (pixels.evidence.truth.sum(0) * weights).sum())
