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
    nor gradient, a batch of nothing but them gives 0 with zero gradient, 16-bit logits stay finite; a pixel weight of
    0 is an ignored pixel, and weights of 1 are none.

    Args:
        ignore_index: target value of pixels without a label; any integer that is not a class.

    Attributes:
        part_names: of the weighted parts, from the start; empty for a loss of one part.
        parts: after each call, the detached scalar value of every weighted part by name.
        scheduled: the present weight of every part whose weight follows a schedule, by name.
        progress: how much of the training is over, 0…1.
        unweighted_because: why the loss cannot count pixels by weight; empty where it can.
    """

    unweighted_because: str = ""

    def __init__(self, ignore_index: int = PADDING_INDEX) -> None:
        super().__init__()
        self.ignore_index = ignore_index
        self.part_names: tuple[str, ...] = ()
        self.parts: dict[str, Tensor] = {}
        self.scheduled: dict[str, float] = {}
        self.progress = 0.0

    @abstractmethod
    def measure(self, pixels: Pixels) -> Tensor:
        """The loss of one batch: a differentiable scalar of at least 32 bits."""

    def forward(self, logits: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """The loss of one batch.

        Args:
            logits: (B, C, H, W) float; 16-bit values are computed in 32 bits.
            target: (B, H, W) int64 class indices, ``ignore_index`` where there is no label.
            weight: (B, H, W) float ≥ 0, how much each pixel counts (times its class weight where the loss has those).
                Means over pixels become Σ w·l / Σ w, soft counts Σ w·p; only ratios of weights matter, and a pixel of
                weight 0 is an ignored one. No gradient flows to it. Without it every pixel counts 1.

        Returns:
            A scalar, float32 (float64 for float64 logits).

        Raises:
            ValueError: the shapes do not fit together, the target is not integer, a weight is negative or not finite,
                or the loss takes no weights (see `check_pixel_weights`).
        """
        if weight is not None:
            self.check_pixel_weights()
        with torch.autocast(logits.device.type, enabled=False):
            pixels = Pixels(logits, target, self.ignore_index, weight, self.needs_log_sums)
            return self.measure(pixels).to(pixels.dtype)

    def from_log_probs(self, log_probs: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """The loss of log-probabilities: ``loss(logits, y)`` equals ``loss.from_log_probs(log_softmax(logits, 1), y)``.

        Log-softmax leaves log-probabilities as they are, so this is `forward` by its other name.
        """
        return self.forward(log_probs, target, weight)

    @property
    def needs_log_sums(self) -> bool:
        """Whether `measure` draws on ``evidence.log_sums``, which cost a pass of their own and are None without it.

        A loss does if one within it does; one that draws on them itself says so here.
        """
        return any(part.needs_log_sums for part in self.modules() if isinstance(part, Loss) and part is not self)

    @property
    def takes_pixel_weights(self) -> bool:
        """Whether `forward` takes a ``weight``."""
        return not self.unweighted_because

    def check_pixel_weights(self) -> None:
        """Refuse, before training, a loss that cannot count pixels by weight.

        Raises:
            ValueError: says why it cannot, and which losses can.
        """
        if not self.takes_pixel_weights:
            raise ValueError(
                f"{type(self).__name__} takes no pixel weights: {self.unweighted_because}. Take a loss that does (ce, "
                "focal, ohem, boundary_ce, dice, jaccard, tversky, focal_tversky or a sum of these), or no weights."
            )

    def set_progress(self, fraction: float) -> None:
        """Tell the loss how much of the training is over (0…1); training calls this before every step."""
        self.progress = min(max(fraction, 0.0), 1.0)
