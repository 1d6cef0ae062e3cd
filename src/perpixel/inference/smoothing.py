"""Smoothing over time: the probabilities of a video's frames follow those before them, but not across cuts."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
from torch import Tensor

CUT = 0.35
"""Share of the pixels whose colour must have changed its place in the histogram for a cut."""

SIDE, BINS = 64, 8


class Smoothing:
    """p ← share · p + (1 − share) · q, with q the probabilities of the present frame (exponential smoothing).

    It begins anew at a cut: where the colours of two consecutive frames (8×8×8 bins, 64×64 pixels) differ by more than
    ``CUT``, half the L1 distance of their histograms. A pan moves colours but hardly changes how many there are.

    Args:
        share: what the frames before count, 0…1 without 1; 0 leaves frames as they are.

    Raises:
        ValueError: the share is out of its range.
    """

    def __init__(self, share: float) -> None:
        if not 0 <= share < 1:
            raise ValueError(f"smoothing={share}: give a share from 0 (off) to below 1, as 0.6.")
        self.share = share
        self.cuts = 0
        self._probabilities: Tensor | None = None
        self._colours: npt.NDArray[np.float32] | None = None

    def __call__(self, logits: Tensor, pixels: npt.NDArray[np.uint8]) -> Tensor:
        """Logits (K, H, W) of a frame, whose softmax is smoothed, from its own logits and pixels (H, W, 3)."""
        if not self.share:
            return logits
        probabilities, colours = logits.float().softmax(dim=0), _histogram(pixels)
        before, self._colours = self._colours, colours
        is_cut = before is None or float(np.abs(colours - before).sum()) / 2 > CUT
        self.cuts += is_cut and before is not None
        if self._probabilities is not None and not is_cut:
            probabilities = self.share * self._probabilities + (1 - self.share) * probabilities
        self._probabilities = probabilities
        return probabilities.clamp(min=1e-12).log()


def _histogram(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    small = cv2.resize(pixels, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    bins = (small // (256 // BINS)).astype(np.int64) @ np.array([BINS * BINS, BINS, 1])
    return np.asarray(np.bincount(bins.ravel(), minlength=BINS**3) / SIDE**2, np.float32)
