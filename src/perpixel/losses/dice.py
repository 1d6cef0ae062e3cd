"""Dice: the overlap of prediction and truth, class by class."""

from __future__ import annotations

from torch import Tensor

from perpixel.losses.overlap import Overlap
from perpixel.losses.pixels import SoftCounts, ratio


class Dice(Overlap):
    """1 − mean over classes of 2·Σ p·y / (Σ p + Σ y) (Sudre et al. 2017; Milletari et al. 2016 without squares).

    p are softmax probabilities, y the one-hot truth, sums run over the labelled pixels of the whole batch, so a class
    that is rare in one image is still judged on many pixels. A class absent from the truth is left out of the mean.
    What else holds for all overlap losses, `Overlap` says.
    """

    def score(self, counts: SoftCounts) -> Tensor:
        """Soft Dice (F1) per class."""
        return ratio(2 * counts.intersection + self.smooth, counts.predicted + counts.truth + self.smooth)
