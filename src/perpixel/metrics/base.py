"""What all metrics of a training have in common, so that whoever feeds them need not know them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from perpixel.labels import LabelSpace

MOST_NAMED = 5
"""An error names so many samples at most."""


class PixelMetric(Metric):
    """Counts pixels batch by batch in states of fixed size that are summed over ranks; scores come from the sums.

    Args:
        labels: class names and the value that means "no label".

    Attributes:
        details: what pictures and tables need beside the scores (a confusion matrix, say), ready for JSON; of all
            ranks, as of the last ``compute()``.
    """

    full_state_update = False
    is_differentiable = False
    details: dict[str, Any]

    def __init__(self, labels: LabelSpace) -> None:
        super().__init__()
        self.labels = labels
        self.details = {}

    @abstractmethod
    def update(self, logits_or_labels: Tensor, target: Tensor, names: Sequence[str] | None = None) -> None:
        """Count one batch.

        Args:
            logits_or_labels: (B, C, H, W) float logits or, where the metric needs no more, (B, H, W) integer classes.
            target: (B, H, W) integer class indices, ``labels.fill`` where there is no label.
            names: of the B samples, for the error.

        Raises:
            ValueError: a target is neither a class nor the ignore index; names value, pixel count and sample.
        """

    @abstractmethod
    def compute(self) -> dict[str, Tensor]:
        """Scores by name, float64 scalars; NaN where undefined."""

    def _add_counts(self, name: str, *shape: int) -> None:
        self.add_state(name, torch.zeros(shape, dtype=torch.int64), dist_reduce_fx="sum")


def check_targets(target: Tensor, labels: LabelSpace, names: Sequence[str] | None) -> None:
    """Refuse targets that are neither a class nor the ignore index.

    Args:
        target: (B, H, W) integers on the CPU.
        labels: the classes and the ignore index.
        names: of the B samples, None where they are not known.

    Raises:
        ValueError: names value, pixel count and sample.
    """
    target = target.long()  # an ignore index of −100 is no byte
    strays = ((target < 0) | (target >= labels.num_classes)) & (target != labels.fill)
    found = strays.flatten(1).any(1).nonzero().flatten().tolist()
    if not found:
        return
    told = [f"{_values(target[i][strays[i]])} in {_sample(i, names)}" for i in found[:MOST_NAMED]]
    more = f" and in {len(found) - MOST_NAMED} more samples" if len(found) > MOST_NAMED else ""
    raise ValueError(
        f"the target holds the value {'; '.join(told)}{more}, but there are {labels.num_classes} classes "
        f"(0…{labels.num_classes - 1}) and the ignore index is {labels.fill}. "
        "Name all classes in data.source.classes, set the ignore index, or mend the masks."
    )


def _values(strays: Tensor) -> str:
    values, counts = strays.unique(return_counts=True)
    pairs = zip(values.tolist(), counts.tolist(), strict=True)
    return ", ".join(f"{value} ({count:,} pixels)" for value, count in pairs)


def _sample(index: int, names: Sequence[str] | None) -> str:
    return f"sample {index} of the batch" if names is None else f"'{names[index]}'"
