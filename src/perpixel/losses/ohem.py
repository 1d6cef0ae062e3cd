"""Online hard example mining: cross-entropy of the pixels that are not yet right."""

from __future__ import annotations

import math

from torch import Tensor

from perpixel.labels import PADDING_INDEX
from perpixel.losses.base import Loss
from perpixel.losses.pixels import Pixels, weighted_mean
from perpixel.losses.weights import ClassWeights, as_buffer


class OHEM(Loss):
    """Mean cross-entropy of the pixels whose true class has a probability below a threshold (Shrivastava et al. 2016).

    At least a share of the batch's labelled pixels is kept, the hardest ones; pixel weights do not change which, only
    how much each of them counts. A class absent from the batch has no pixel and so no part in the value.

    Args:
        ignore_index: target value of pixels without a label.
        threshold: probability (above 0, at most 1) of the true class from which a pixel counts as right.
        min_kept: share (0…1) of the labelled pixels to keep at least.
        class_weights: one non-negative number per class, or none.

    Raises:
        ValueError: the threshold is not above 0 and up to 1, or min_kept is outside 0…1.
    """

    class_weights: Tensor | None

    def __init__(
        self,
        ignore_index: int = PADDING_INDEX,
        threshold: float = 0.7,
        min_kept: float = 0.0625,
        class_weights: ClassWeights = None,
    ) -> None:
        super().__init__(ignore_index)
        if not (0 < threshold <= 1 and 0 <= min_kept <= 1):
            raise ValueError(
                f"OHEM needs a threshold above 0 and up to 1, and min_kept in 0…1, not {threshold} and {min_kept}."
            )
        self.bound = -math.log(threshold)
        self.min_kept = min_kept
        self.register_buffer("class_weights", as_buffer(class_weights), persistent=False)

    def measure(self, pixels: Pixels) -> Tensor:
        """Σ w_y·(−log p_y) / Σ w_y over the hard pixels."""
        surprise = -pixels.evidence.truth_log_probs
        weight = pixels.weight(self.class_weights)
        return weighted_mean(surprise, weight * self._hard(surprise.detach(), pixels.valid))

    def _hard(self, surprise: Tensor, valid: Tensor) -> Tensor:
        """(B, H, W) bool: labelled pixels above the bound, or among the share that is always kept; NaN is above all."""
        surprise = surprise.masked_fill(~valid, -1.0)
        if self.min_kept == 0:
            return valid & ~(surprise < self.bound)
        rank = (valid.sum().double() * self.min_kept).ceil().long().sub(1).clamp_min(0)
        hardest = surprise.flatten().sort(descending=True).values
        return valid & ~(surprise < hardest.index_select(0, rank.view(1)).clamp_max(self.bound))
