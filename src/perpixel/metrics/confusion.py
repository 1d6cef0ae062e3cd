"""Counts: how often each class was taken for each other one."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from perpixel.metrics.invalid_labels import first_invalid, invalid_label_error, outside, seen_at_once
from perpixel.metrics.predictions import check_integers, check_labels, within
from perpixel.threads import for_each

PART_PIXELS = 2**14, 2**17
"""Least and most pixels counted at once: few enough that threads share small maps, enough to be worth a call."""

ROWS = 256
"""Target values that one byte holds: counting them all costs nothing and shows ignored and impossible values."""

COPIES = 64
"""Counters per pair on a GPU: so many threads may add at once without waiting for each other."""


def confusion_matrix(prediction: Tensor, target: Tensor, num_classes: int, ignore_index: int) -> Tensor:
    """Count the pairs (truth, prediction) over all labelled pixels; one image or many, all shapes alike.

    Args:
        prediction: integer class indices of any shape; also at ignored pixels they must be classes.
        target: integers of the same shape, ``ignore_index`` where there is no label.
        num_classes: C.
        ignore_index: target value to skip.

    Returns:
        (C, C) int64, rows are the truth, columns the prediction.

    Raises:
        ValueError: the shapes differ, the target is of fractions, or a value is neither a class nor (in the target) the
            ignore index.
    """
    confusion, strays = count_pairs(prediction, target, num_classes, ignore_index)
    count, _, value, predicted = strays.tolist()
    if count:
        raise invalid_label_error(count, value, bool(predicted), "", num_classes, ignore_index)
    return confusion


def count_pairs(prediction: Tensor, target: Tensor, num_classes: int, ignore_index: int) -> tuple[Tensor, Tensor]:
    """As `confusion_matrix`, but never waiting for a GPU: there, impossible values are counted, not refused.

    Returns:
        (C, C) int64 counts, and what `first_invalid` tells of impossible values, always zeros on a CPU.
    """
    if prediction.shape != target.shape:
        raise ValueError(f"prediction {tuple(prediction.shape)} and target {tuple(target.shape)} must have one shape.")
    check_integers(target)
    guess, truth = prediction.flatten(), target.flatten()
    if not seen_at_once(truth):
        return _count_on_device(guess, truth, num_classes, ignore_index)
    none = torch.zeros(4, dtype=torch.int64)
    table = None
    if num_classes <= ROWS and (truth.dtype == torch.uint8 or 0 <= ignore_index < ROWS):
        table = _count_bytes(guess, truth, num_classes)
    if table is None:
        return _count_any(guess, truth, num_classes, ignore_index), none
    _check_rows(table, num_classes, ignore_index)
    if 0 <= ignore_index < num_classes:
        table[ignore_index] = 0
    return torch.from_numpy(table[:num_classes]), none


def _count_bytes(guess: Tensor, truth: Tensor, num_classes: int) -> npt.NDArray[np.int64] | None:
    """(256, C): pairs of every value a byte can have with every class; None if the target holds other values."""
    size = ROWS * num_classes
    narrow = np.int16 if size <= 2**15 else np.int32
    least, most = PART_PIXELS
    length = max(least, size, min(most, len(truth) // 8))  # a part pays for a table of that size, too
    counters: list[Tensor] = []
    too_wide: list[slice] = []

    def fresh() -> tuple[Tensor, Tensor]:
        counters.append(torch.zeros(size, dtype=torch.int64))
        return counters[-1], torch.from_numpy(np.empty((2, min(length, len(truth))), narrow))

    def count(part: slice, own: tuple[Tensor, Tensor]) -> None:
        counter, room = own
        check_labels(guess[part], num_classes)
        if truth.dtype != torch.uint8 and not within(truth[part], ROWS):
            too_wide.append(part)
            return
        # Into room that is there already: new memory costs as much as the sum. (NumPy's, because in deterministic mode
        # torch fills what it calls empty.)
        rows, columns = (into[: len(of)].copy_(of) for into, of in zip(room, (truth[part], guess[part]), strict=True))
        counter += torch.bincount(torch.add(columns, rows, alpha=num_classes, out=rows), minlength=size)

    parts = [slice(start, start + length) for start in range(0, len(truth), length)]
    for_each(count, parts, truth.device, fresh)
    if too_wide:
        return None
    table: npt.NDArray[np.int64] = np.stack([counter.numpy() for counter in counters]).sum(0)
    return table.reshape(ROWS, num_classes)


def _count_any(guess: Tensor, truth: Tensor, num_classes: int, ignore_index: int) -> Tensor:
    """(C, C) int64 for values that a byte does not hold, such as an ignore index of −100."""
    check_labels(guess, num_classes)
    values, counts = (found.numpy() for found in truth.unique(return_counts=True))
    _refuse_values(values, counts, (values >= 0) & (values < num_classes) | (values == ignore_index), num_classes)
    pairs = torch.where(truth == ignore_index, num_classes, truth.long()) * num_classes + guess
    counted = torch.bincount(pairs, minlength=(num_classes + 1) * num_classes)
    return counted.view(num_classes + 1, num_classes)[:num_classes]


def _count_on_device(guess: Tensor, truth: Tensor, num_classes: int, ignore_index: int) -> tuple[Tensor, Tensor]:
    """Two rows more than classes: ignored pixels, and those with impossible values.

    bincount asks the device for the largest value, and waits; adding ones to a table of known size does not.
    """
    wrong_truth = outside(truth, num_classes, ignore_index)
    wrong = wrong_truth | outside(guess, num_classes)
    row = torch.where(truth == ignore_index, num_classes, truth.long()).masked_fill_(wrong, num_classes + 1)
    cells = row.mul_(num_classes).add_(guess.long().clamp(0, num_classes - 1))
    size = (num_classes + 2) * num_classes
    cells += torch.arange(len(cells), device=cells.device).remainder_(COPIES).mul_(size)
    counts = torch.zeros(COPIES * size, dtype=torch.int64, device=cells.device)
    counts.scatter_add_(0, cells, torch.ones_like(cells))
    table = counts.view(COPIES, num_classes + 2, num_classes).sum(0)
    return table[:num_classes], first_invalid(wrong, truth, wrong_truth, guess)


def _check_rows(table: npt.NDArray[np.int64], num_classes: int, ignore_index: int) -> None:
    values, pixels = np.arange(ROWS), table.sum(1)
    allowed = (values < num_classes) | (values == ignore_index) | (pixels == 0)
    _refuse_values(values, pixels, allowed, num_classes)


def _refuse_values(
    values: npt.NDArray[np.integer],
    counts: npt.NDArray[np.int64],
    allowed: npt.NDArray[np.bool_],
    num_classes: int,
) -> None:
    if allowed.all():
        return
    pairs = zip(values[~allowed].tolist(), counts[~allowed].tolist(), strict=True)
    named = ", ".join(f"{value} ({count:,} pixels)" for value, count in pairs)
    raise ValueError(
        f"the target holds the value {named}, but there are {num_classes} classes (0…{num_classes - 1}). "
        "Name all classes in data.source.classes, set the ignore index, or mend the masks."
    )
