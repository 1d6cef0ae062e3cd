"""Counts: how often each class was taken for each other one."""

from __future__ import annotations

import torch
from torch import Tensor


def to_labels(logits_or_labels: Tensor) -> Tensor:
    """(B, H, W) class indices: integer labels as they are, logits (B, C, H, W) by their largest class.

    Raises:
        ValueError: a float tensor that is not (B, C, H, W).
    """
    if not logits_or_labels.is_floating_point():
        return logits_or_labels
    if logits_or_labels.dim() != 4:
        raise ValueError(
            f"predictions are logits (B, C, H, W) or integer labels, not float {tuple(logits_or_labels.shape)}."
        )
    return logits_or_labels.argmax(1)


def confusion_matrix(prediction: Tensor, target: Tensor, num_classes: int, ignore_index: int) -> Tensor:
    """Count the pairs (truth, prediction) over all labelled pixels; one image or many, all shapes alike.

    Args:
        prediction: integer class indices of any shape.
        target: integers of the same shape, ``ignore_index`` where there is no label.
        num_classes: C.
        ignore_index: target value to skip.

    Returns:
        (C, C) int64, rows are the truth, columns the prediction.

    Raises:
        ValueError: the shapes differ, or a value is neither a class nor (in the target) the ignore index.
    """
    if prediction.shape != target.shape:
        raise ValueError(f"prediction {tuple(prediction.shape)} and target {tuple(target.shape)} must have one shape.")
    valid = target != ignore_index
    truth, guess = target[valid].long(), prediction[valid].long()
    _check_range("target", truth, num_classes, ignore_index)
    _check_range("prediction", guess, num_classes, ignore_index)
    return torch.bincount(truth * num_classes + guess, minlength=num_classes**2).view(num_classes, num_classes)


def _check_range(what: str, values: Tensor, num_classes: int, ignore_index: int) -> None:
    strays = values[(values < 0) | (values >= num_classes)]
    if strays.numel() == 0:
        return
    found, counts = strays.unique(return_counts=True)
    named = ", ".join(
        f"{value} ({count:,} pixels)" for value, count in zip(found.tolist(), counts.tolist(), strict=True)
    )
    raise ValueError(
        f"the {what} holds {named}, but the classes are 0…{num_classes - 1} and ignore_index is {ignore_index}. "
        "Name all classes in data.source.classes, or mend the masks."
    )
