"""What all metrics of a training have in common, so that whoever feeds them need not know them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torchmetrics import Metric

from perpixel.labels import LabelSpace
from perpixel.metrics.invalid_labels import NOTHING, first_offender, invalid_label_error, outside

MOST_NAMED = 5
"""An error names so many samples at most."""

NAMES_KEPT = 2**16
"""Names of the latest samples kept on the host, of which a GPU may later say that one was wrong."""


class PixelMetric(Metric):
    """Counts pixels batch by batch in states, of fixed size as a rule, summed over ranks; scores come from the sums.

    Args:
        labels: class names and the value that means "no label".

    Attributes:
        details: what pictures and tables need beside the scores (a confusion matrix, say), ready for JSON but for
            ``images`` (see `ImageCounts`); of all ranks, as of the last ``compute()``.
    """

    full_state_update = False
    is_differentiable = False
    details: dict[str, Any]
    strays: Tensor
    offender: Tensor

    def __init__(self, labels: LabelSpace) -> None:
        super().__init__()
        self.labels = labels
        self.details = {}
        self._add_counts("strays")
        self.add_state("offender", torch.tensor(NOTHING), dist_reduce_fx=first_offender)
        self._seen = 0
        self._names: dict[int, str] = {}

    @abstractmethod
    def update(self, logits_or_labels: Tensor, target: Tensor, names: Sequence[str] | None = None) -> None:
        """Count one batch.

        Args:
            logits_or_labels: (B, C, H, W) float logits or, where the metric needs no more, (B, H, W) integer classes.
            target: (B, H, W) integer class indices, ``labels.fill`` where there is no label.
            names: of the B samples, for the error.

        Raises:
            ValueError: a target is neither a class nor the ignore index; names value, pixel count and sample. On a GPU
                `compute` raises it.
        """

    @abstractmethod
    def compute(self) -> dict[str, Tensor]:
        """Scores by name, float64 scalars; NaN where undefined."""

    def _add_counts(self, name: str, *shape: int) -> None:
        self.add_state(name, torch.zeros(shape, dtype=torch.int64), dist_reduce_fx="sum")

    def _note_strays(self, found: Tensor, target: Tensor, names: Sequence[str] | None) -> None:
        """Keep what `first_invalid` tells of a batch on a GPU, without waiting for it.

        Samples are numbered for as long as the metric lives: a number stays true when `forward` resets between batches.
        """
        count, at, value, predicted = found.unbind()
        sample = at // max(target[0].numel() if len(target) else 1, 1) + self._seen
        row = torch.stack([sample, value, predicted, torch.full_like(value, _rank())])
        self.offender = torch.where((count > 0) & (self.offender[0] < 0), row, self.offender)
        self.strays += count
        for index, name in enumerate(names or ()):
            self._names[self._seen + index] = name
        self._seen += len(target)
        for oldest in list(self._names)[: max(len(self._names) - NAMES_KEPT, 0)]:
            del self._names[oldest]

    def _refuse_strays(self) -> None:
        """Raise what a GPU has noted."""
        count = int(self.strays)
        if not count:
            return
        sample, value, predicted, rank = self.offender.tolist()
        known = self._names.get(sample) if rank == _rank() else None
        where = f" in '{known}'" if known is not None else f" in sample {sample} of rank {rank}"
        raise invalid_label_error(count, value, bool(predicted), where, self.labels.num_classes, self.labels.fill)


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
    strays = outside(target, labels.num_classes, labels.fill)
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


def _rank() -> int:
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def _values(strays: Tensor) -> str:
    values, counts = strays.unique(return_counts=True)
    pairs = zip(values.tolist(), counts.tolist(), strict=True)
    return ", ".join(f"{value} ({count:,} pixels)" for value, count in pairs)


def _sample(index: int, names: Sequence[str] | None) -> str:
    return f"sample {index} of the batch" if names is None else f"'{names[index]}'"
