"""Impossible values on a GPU: noted there while batches go by, told at the end, never waited for.

On a CPU a batch is refused at once. On a GPU looking at a value means waiting for all work before it, so its number,
the first value and where it was stay on the device in a state of fixed size until the scores are asked for.
"""

from __future__ import annotations

import torch
from torch import Tensor

NOTHING = (-1, 0, 0, 0)
"""The first offender, as long as there is none: sample, value, whether it was predicted, rank."""


def seen_at_once(values: Tensor) -> bool:
    """Whether looking at a value waits for nothing."""
    return values.device.type == "cpu"


def outside(values: Tensor, num_classes: int, ignore_index: int | None = None) -> Tensor:
    """Bool of the same shape: neither a class nor the ignore index."""
    wrong = (values < 0) | (values >= num_classes)
    return wrong if ignore_index is None else wrong & (values != ignore_index)


def first_invalid(wrong: Tensor, target: Tensor, wrong_target: Tensor, prediction: Tensor | None = None) -> Tensor:
    """(4,) int64 on the device: number of strays, position of the first, its value, 1 if it was predicted.

    Args:
        wrong: (N,) bool, the strays.
        target: (N,) integers.
        wrong_target: (N,) bool, the strays among the targets; where it is false a stray is one of the prediction.
        prediction: (N,) integers; None where they cannot be wrong.
    """
    if wrong.numel() == 0:
        return torch.zeros(4, dtype=torch.int64, device=wrong.device)
    at = wrong.view(torch.uint8).argmax().view(1)  # an index on the device: indexing with it would wait
    value = target.index_select(0, at).long()
    predicted = ~wrong_target.index_select(0, at)
    if prediction is not None:
        value = torch.where(predicted, prediction.index_select(0, at).long(), value)
    return torch.cat([wrong.sum().view(1), at, value, predicted.long()])


def first_offender(rows: Tensor) -> Tensor:
    """(R, 4) of several ranks, or of earlier and later batches, → (4,): the first row that holds an offender."""
    return rows.index_select(0, (rows[:, 0] >= 0).to(torch.uint8).argmax().view(1))[0]


def invalid_label_error(
    count: int, value: int, predicted: bool, sample: str, num_classes: int, ignore_index: int
) -> ValueError:
    """What to raise: of how many pixels, the first value and where it was.

    Args:
        count: pixels with impossible values, in targets and predictions.
        value: the first of them.
        predicted: whether that one is in a prediction.
        sample: where, such as " in 'berlin'"; empty where it is not known.
        num_classes: C.
        ignore_index: the target value that means "no label".
    """
    whose = "prediction" if predicted else "target"
    mend = (
        "Give labels of those classes."
        if predicted
        else "Name all classes in data.source.classes, set the ignore index, or mend the masks."
    )
    return ValueError(
        f"the {whose} holds the value {value}{sample}, the first of {count:,} pixels with impossible values: there are "
        f"{num_classes} classes (0…{num_classes - 1}) and the ignore index is {ignore_index}. {mend}"
    )
