"""Jaccard: the IoU, made differentiable."""

from __future__ import annotations

from torch import Tensor

from perpixel.losses.overlap import Overlap
from perpixel.losses.pixels import SoftCounts, ratio


class Jaccard(Overlap):
    """1 − mean over classes of Σ p·y / (Σ p + Σ y − Σ p·y), the soft IoU (Rahman & Wang 2016).

    A class absent from the truth is left out of the mean. What else holds for all overlap losses, `Overlap` says.
    """

    def score(self, counts: SoftCounts) -> Tensor:
        """Soft IoU per class."""
        union = counts.predicted + counts.truth - counts.intersection
        return ratio(counts.intersection + self.smooth, union + self.smooth)
