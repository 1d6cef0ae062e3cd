"""Weighted sums of losses, the log-softmax computed once."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import cast

import torch
from torch import Tensor, nn

from perpixel.labels import PADDING_INDEX
from perpixel.losses.base import Loss
from perpixel.losses.pixels import Pixels

Weight = float | Sequence[float]
"""A number, or a weight's values at evenly spaced moments from the first to the last step, linear in between."""


class Sum(Loss):
    """Σ weight·loss. A class absent from the batch is treated as each part treats it.

    A part whose weight is 0, for now or for good, is measured for `parts` but not counted: neither its value nor its
    gradient reaches the sum, whatever they are.

    Args:
        losses: the parts; all see the sum's ``ignore_index``.
        weights: one per part: a number, or a list of its values at evenly spaced moments of the training with straight
            lines between them (``[0, 1]`` grows all the way, ``[0, 0, 1]`` in the second half; see `set_progress`).
        ignore_index: target value of pixels without a label.

    Raises:
        ValueError: no losses, another number of weights than losses, an empty list as weight, or a weight that is
            negative or not finite.
    """

    def __init__(self, losses: list[Loss], weights: list[Weight], ignore_index: int = PADDING_INDEX) -> None:
        super().__init__(ignore_index)
        if fault := sum_fault(losses, weights):
            raise ValueError(fault)
        self.losses = nn.ModuleList(losses)
        self.names = tuple(_names(losses))
        inner = [[name, *_within(name, loss.part_names)] for name, loss in zip(self.names, losses, strict=True)]
        self.part_names = tuple(chain.from_iterable(inner))
        self.weights = list(weights)
        self._schedule()
        self.unweighted_because = "; ".join(
            f"its part {type(loss).__name__} does not, {loss.unweighted_because}"
            for loss in losses
            if not loss.takes_pixel_weights
        )

    def measure(self, pixels: Pixels) -> Tensor:
        """Σ weight·loss, leaving each part's unweighted value in `parts`; parts of a sum within as ``sum/dice``."""
        values = [loss.measure(pixels).to(pixels.dtype) for loss in self._losses]
        self.parts = {}
        for name, loss, value in zip(self.names, self._losses, values, strict=True):
            self.parts[name] = value.detach()
            self.parts |= dict(zip(_within(name, loss.parts), loss.parts.values(), strict=True))
        weights = [weight_at(weight, self.progress) for weight in self.weights]
        counted = [(weight, value) for weight, value in zip(weights, values, strict=True) if weight]  # 0·∞ is NaN
        if not counted:
            return pixels.logits[:0].sum(dtype=pixels.dtype)  # 0 with zero gradient, whatever the logits hold
        return values[0].new_tensor([weight for weight, _ in counted]) @ torch.stack([value for _, value in counted])

    def set_progress(self, fraction: float) -> None:
        """Move the scheduled weights, here and in parts that are sums themselves, and tell them in `scheduled`."""
        super().set_progress(fraction)
        for loss in self._losses:
            loss.set_progress(fraction)
        self._schedule()

    def _schedule(self) -> None:
        self.scheduled = {}
        for name, loss, weight in zip(self.names, self._losses, self.weights, strict=True):
            if isinstance(weight, Sequence):
                self.scheduled[name] = weight_at(weight, self.progress)
            self.scheduled |= dict(zip(_within(name, loss.scheduled), loss.scheduled.values(), strict=True))

    @property
    def _losses(self) -> list[Loss]:
        return cast(list[Loss], list(self.losses))


def sum_fault(losses: Sequence[object], weights: Sequence[Weight]) -> str:
    """What is wrong with a sum, told without building its losses; empty if nothing is."""
    if not losses or len(losses) != len(weights):
        return f"a sum needs one weight per loss; it has {len(losses)} losses and {len(weights)} weights."
    values = [list(weight) if isinstance(weight, Sequence) else [weight] for weight in weights]
    if not all(each and all(math.isfinite(value) and value >= 0 for value in each) for each in values):
        return f"a weight is a finite number ≥ 0, or a list of at least one; the weights are {list(weights)}."
    return ""


def weight_at(weight: Weight, progress: float) -> float:
    """The value of a weight when ``progress`` (0…1) of the training is over."""
    if not isinstance(weight, Sequence):
        return weight
    position = progress * (len(weight) - 1)
    before = min(int(position), max(len(weight) - 2, 0))
    after = min(before + 1, len(weight) - 1)
    return weight[before] + (weight[after] - weight[before]) * (position - before)


def _within(name: str, inner: Iterable[str]) -> list[str]:
    """Names of the parts of a part."""
    return [f"{name}/{each}" for each in inner]


def _names(losses: list[Loss]) -> Iterator[str]:
    """``cross_entropy``, ``dice``, …; a class that stands again is counted: ``dice_2``."""
    seen: list[str] = []
    for loss in losses:
        name = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(loss).__name__).lower()
        seen.append(name)
        yield name if seen.count(name) == 1 else f"{name}_{seen.count(name)}"
