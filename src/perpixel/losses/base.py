"""What every loss is: logits and labels in, one number out, ignored pixels unseen."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from perpixel.labels import PADDING_INDEX
from perpixel.losses.pixels import Pixels


class Loss(nn.Module, ABC):
    """A segmentation loss.

    A subclass says in `measure` how its value follows from the `Pixels` of a batch; what several losses need of them
    (the log-softmax above all) is computed there once, which is why a `Sum` costs little more than its dearest part.

    Contract, held for every loss by ``tests/contracts/test_losses.py``: pixels of the ignore index change neither value
    nor gradient, a batch of nothing but them gives 0 with zero gradient, 16-bit logits stay finite.

    Args:
        ignore_index: target value of pixels without a label; any integer that is not a class.

    Attributes:
        parts: after each call, the detached scalar value of every weighted part by name; empty for a loss of one part.
        progress: how much of the training is over, 0…1.
    """

    def __init__(self, ignore_index: int = PADDING_INDEX) -> None:
        super().__init__()
        self.ignore_index = ignore_index
        self.parts: dict[str, Tensor] = {}
        self.progress = 0.0

    @abstractmethod
    def measure(self, pixels: Pixels) -> Tensor:
        """The loss of one batch: a differentiable scalar in the batch's precision (at least 32 bits)."""

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """The loss of one batch.

        Args:
            logits: (B, C, H, W) float; 16-bit values are computed in 32 bits.
            target: (B, H, W) int64 class indices, ``ignore_index`` where there is no label.

        Returns:
            A scalar, float32 (float64 for float64 logits).

        Raises:
            ValueError: the shapes do not fit together, or the target is not integer.
        """
        with torch.autocast(logits.device.type, enabled=False):
            return self.measure(Pixels(logits, target, self.ignore_index))

    def from_log_probs(self, log_probs: Tensor, target: Tensor) -> Tensor:
        """The loss of log-probabilities: ``loss(logits, y)`` equals ``loss.from_log_probs(log_softmax(logits, 1), y)``.

        Log-softmax leaves log-probabilities as they are, so this is `forward` by its other name.
        """
        return self.forward(log_probs, target)

    def set_progress(self, fraction: float) -> None:
        """Tell the loss how much of the training is over (0…1); training calls this before every step."""
        self.progress = min(max(fraction, 0.0), 1.0)
