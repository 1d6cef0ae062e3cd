"""From logits to class indices, in one pass over the logits on a CPU."""

from __future__ import annotations

import torch
from torch import Tensor

from perpixel.threads import for_each

PART_VALUES = 2**18
"""Logits worked on at once: a megabyte, about one core's second-level cache."""

GROUP = 24
"""Classes told apart by one sum of powers of two: float32 holds 24 binary digits exactly."""


def to_labels(logits_or_labels: Tensor) -> Tensor:
    """(B, H, W) class indices: integer labels as they are, logits (B, C, H, W) by their largest class (`argmax`).

    Raises:
        ValueError: a float tensor that is not (B, C, H, W).
    """
    if not logits_or_labels.is_floating_point():
        return logits_or_labels
    if logits_or_labels.dim() != 4:
        raise ValueError(
            f"predictions are logits (B, C, H, W) or integer labels, not float {tuple(logits_or_labels.shape)}."
        )
    return argmax(logits_or_labels)


def check_batch(logits_or_labels: Tensor, target: Tensor, num_classes: int) -> None:
    """Refuse logits with another number of channels than there are classes, and targets of fractions; reads no value.

    Raises:
        ValueError: names both numbers, or the target's dtype.
    """
    check_integers(target)
    if logits_or_labels.is_floating_point() and logits_or_labels.dim() == 4:
        channels = logits_or_labels.shape[1]
        if channels != num_classes:
            raise ValueError(
                f"logits of {channels} channels (B, C, H, W) for {num_classes} classes: "
                "the network and the label space must have the same classes."
            )


def check_integers(target: Tensor) -> None:
    """Refuse targets that would have to be rounded.

    Raises:
        ValueError: names the dtype.
    """
    if target.is_floating_point() or target.is_complex():
        raise ValueError(f"a metric takes integer labels as target, int64 as a rule, not {target.dtype}.")


def check_labels(labels: Tensor, num_classes: int) -> None:
    """Refuse predicted labels that are no class; waits for a GPU.

    Raises:
        ValueError: names one of them.
    """
    if labels.numel() > 0 and not within(labels, num_classes):
        low, high = (int(limit) for limit in labels.aminmax())
        wrong = low if low < 0 else high
        raise ValueError(f"the prediction holds the value {wrong}, but there are {num_classes} classes.")


def within(values: Tensor, bound: int) -> bool:
    """Whether all values, of which there are some, are in 0…bound−1."""
    low, high = (int(limit) for limit in values.aminmax())
    return low >= 0 and high < bound


def argmax(logits: Tensor) -> Tensor:
    """Index of the largest class per pixel, the first of equals, as ``logits.argmax(1)``.

    Args:
        logits: (B, C, H, W) floating.

    Returns:
        (B, H, W), uint8 where C ≤ 256 on a CPU, else int64. float64, whose differences float32 does not hold, is left
        to PyTorch and gives int64, too.
    """
    batch, classes, height, width = logits.shape
    if logits.device.type != "cpu" or classes > 256 or logits.dtype == torch.float64:
        return logits.argmax(1)
    flat = logits.detach().flatten(2)
    labels = torch.empty((batch, height * width), dtype=torch.uint8)
    length = max(1, PART_VALUES // classes)
    parts = [(image, slice(at, at + length)) for image in range(batch) for at in range(0, height * width, length)]
    weights = torch.exp2(torch.arange(GROUP - 1, -1, -1, dtype=torch.float32))

    def label(part: tuple[int, slice], work: Tensor) -> None:
        chunk = flat[part[0], :, part[1]]
        labels[part] = _first_largest(chunk.float(), weights, work[: chunk.numel()])

    for_each(label, parts, logits.device, lambda: torch.empty(length * classes))
    return labels.view(batch, height, width)


def _first_largest(chunk: Tensor, weights: Tensor, work: Tensor) -> Tensor:
    """(n,) uint8 index of the largest of (C, n), the first of equals.

    Every class that equals the largest adds a power of two, the first class the highest: one matrix product finds all
    pixels' sums, and the exponent of a sum names the first class in it. A NaN equals nothing: such a part is left to
    PyTorch.
    """
    hits = torch.eq(chunk, chunk.amax(0), out=work.view(chunk.shape))
    label = torch.zeros(chunk.shape[1], dtype=torch.uint8)
    known = None
    for start in range(0, len(chunk), GROUP):
        group = hits[start : start + GROUP]
        sums = torch.mv(group.t(), weights[: len(group)])
        # A float32's exponent stands above 23 digits and is raised by 127; 2²³ is the first class of the group.
        first = (start + GROUP - 1 + 127) - (sums.view(torch.int32) >> 23)
        found = sums > 0
        label = torch.where(found if known is None else found & ~known, first.to(torch.uint8), label)
        known = found if known is None else known | found
    return label if known is not None and bool(known.all()) else chunk.argmax(0).to(torch.uint8)
