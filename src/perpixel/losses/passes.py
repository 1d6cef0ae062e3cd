"""The arithmetic of one part of a batch: evidence from its logits, and their gradient from slopes at the evidence."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Slopes(NamedTuple):
    """The loss's slope at each of the evidences of a part, None where it has none."""

    truth_log_probs: Tensor | None
    truth_log_sums: Tensor | None
    intersection: Tensor | None
    predicted: Tensor | None
    log_sums: Tensor | None


def read(
    chunk: Tensor,
    labels: Tensor,
    ignore_index: int,
    weight: Tensor | None,
    normaliser: Tensor,
    truth_log_probs: Tensor,
    sums: Tensor,
    work: Tensor,
) -> None:
    """Fill a part's normaliser (n,), truth log-probabilities (n,) and sums (5, C), from its logits (C, n).

    The normaliser log Σ exp is +∞ at ignored pixels, so that every probability computed from it later is 0 there. A
    weight, where there are any, is 0 there.
    """
    ignored = labels == ignore_index
    index = labels.long().masked_fill(ignored, 0)
    check_range(index, len(chunk), ignore_index)
    largest = chunk.amax(0).to(work.dtype)
    powers = torch.sub(chunk, largest, out=_like(chunk, work[0])).exp_()
    total = powers.sum(0)
    torch.add(total.log(), largest, out=normaliser)
    torch.sub(chunk.gather(0, index.unsqueeze(0)).squeeze(0), normaliser, out=truth_log_probs).masked_fill_(ignored, 0)
    kept = (~ignored).to(work.dtype) if weight is None else weight
    log_probs = truth_log_probs if weight is None else truth_log_probs * kept
    for row, values in enumerate((kept, log_probs, truth_log_probs.exp() * kept)):
        sums[row] = _sums_by_class(index, values, len(chunk))
    sums[3] = torch.mv(powers, kept / total)
    sums[4] = torch.mv(chunk.to(work.dtype), kept) - torch.dot(normaliser, kept)
    normaliser.masked_fill_(ignored, torch.inf)


def write(
    chunk: Tensor,
    labels: Tensor,
    weight: Tensor | None,
    normaliser: Tensor,
    slopes: Slopes,
    gradient: Tensor,
    work: Tensor,
) -> None:
    """Fill the gradient (C, n) at a part's logits, from the slopes at its evidence.

    With p the softmax, slopes d_c at log p_c become d_c − p_c·Σ d at the logits.
    """
    ignored = normaliser.isinf()
    index = labels.long().masked_fill(ignored, 0)
    probs = torch.sub(chunk, normaliser, out=_like(chunk, work[0])).exp_()
    slope = gradient if gradient.dtype == work.dtype else probs  # straight into its place, if that is as wide
    at_truth = _slope_at_truth(probs, index, weight, slopes).masked_fill_(ignored, 0)
    total = at_truth
    if slopes.log_sums is not None:
        kept = ~ignored if weight is None else weight
        total = total + slopes.log_sums.sum() * kept
    if slopes.predicted is None:
        torch.mul(probs, -total, out=slope)
    else:
        mean = torch.mv(probs.t(), slopes.predicted)
        total = total + (mean if weight is None else mean * weight)
        own = slopes.predicted.unsqueeze(1) if weight is None else torch.outer(slopes.predicted, weight)
        torch.mul(probs, torch.sub(own, total, out=_like(chunk, work[1])), out=slope)
    if slopes.log_sums is not None:
        slope += torch.outer(slopes.log_sums, kept.to(slope.dtype))
    slope.scatter_add_(0, index.unsqueeze(0), at_truth.unsqueeze(0))
    if slope is not gradient:
        gradient.copy_(slope)


def _slope_at_truth(probs: Tensor, index: Tensor, weight: Tensor | None, slopes: Slopes) -> Tensor:
    """The slope (n,) at log p of each pixel's own class that comes by way of that class's pixels alone."""
    slope = torch.zeros_like(probs[0])
    if slopes.truth_log_sums is not None:
        slope += slopes.truth_log_sums[index]
    if slopes.intersection is not None:
        slope += slopes.intersection[index] * probs.gather(0, index.unsqueeze(0)).squeeze(0)
    if weight is not None:
        slope *= weight
    return slope if slopes.truth_log_probs is None else slope.add_(slopes.truth_log_probs)


def _sums_by_class(index: Tensor, values: Tensor, num_classes: int) -> Tensor:
    """Σ values (C,) by class; bincount is the fastest on a CPU, but waits for a GPU."""
    if index.device.type == "cpu":
        return torch.bincount(index, values, minlength=num_classes)
    return values.new_zeros(num_classes, dtype=torch.float64).scatter_add_(0, index, values.double())


def _like(chunk: Tensor, work: Tensor) -> Tensor:
    """The workspace laid out as a chunk is: channels last where the chunk's are."""
    classes, pixels = chunk.shape
    room = work[: classes * pixels]
    return room.view(pixels, classes).t() if chunk.stride(0) == 1 and pixels > 1 else room.view(classes, pixels)


def check_range(labels: Tensor, num_classes: int, ignore_index: int) -> None:
    """Refuse labels (ignored pixels already 0) that are no class. On a GPU looking means waiting: it does not look.

    Raises:
        ValueError: names the value and the classes.
    """
    if labels.device.type != "cpu":
        return
    low, high = (int(bound) for bound in labels.aminmax())
    if low < 0 or high >= num_classes:
        raise ValueError(
            f"the target holds the value {low if low < 0 else high}, but the logits have {num_classes} classes "
            f"(0…{num_classes - 1}) and ignore_index is {ignore_index}. Name all classes, or mend the masks."
        )
