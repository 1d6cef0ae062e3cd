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

    The normaliser log Σ exp is +∞ at ignored pixels, so that every probability computed from it later is 0 there, but
    −∞ at those whose logits have no softmax (NaN, ∞), of which whoever computes something has to take care. A weight,
    where there are any, is 0 at ignored pixels.
    """
    ignored = labels == ignore_index
    index = labels.long().masked_fill(ignored, 0)
    check_range(index, len(chunk), ignore_index)
    largest = chunk.amax(0).to(work.dtype)
    powers = torch.sub(chunk, largest, out=_like(chunk, work[0])).exp_()
    total = powers.sum(0)
    torch.add(total.log(), largest, out=normaliser)
    spoilt = normaliser.isnan().logical_and_(ignored)
    normaliser.masked_fill_(spoilt, 0)
    torch.sub(chunk.gather(0, index.unsqueeze(0)).squeeze(0), normaliser, out=truth_log_probs).masked_fill_(ignored, 0)
    kept = (~ignored).to(work.dtype) if weight is None else weight
    log_probs = truth_log_probs if weight is None else truth_log_probs * kept
    for row, values in enumerate((kept, log_probs, truth_log_probs.exp() * kept)):
        sums[row] = _sums_by_class(index, values, len(chunk))
    room = _like(chunk, work[1])
    sums[3] = _sum_of_kept(powers, (kept / total).masked_fill_(ignored, 0), ignored, room)
    sums[4] = _sum_of_kept(chunk.to(work.dtype), kept, ignored, room) - torch.dot(normaliser, kept)
    normaliser.masked_fill_(ignored, torch.inf).masked_fill_(spoilt, -torch.inf)


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
    clear_spoilt(slope, normaliser)
    if slope is not gradient:
        gradient.copy_(slope)


def clear_spoilt(values: Tensor, normaliser: Tensor) -> None:
    """Make 0 of what was computed at ignored pixels from logits that have no softmax.

    On a CPU it looks first whether there are any; looking at a GPU would mean waiting for it.
    """
    if normaliser.device.type != "cpu" or bool(normaliser.isneginf().any()):
        values.masked_fill_(normaliser.isinf(), 0)


def _sum_of_kept(values: Tensor, weight: Tensor, ignored: Tensor, room: Tensor) -> Tensor:
    """Σ values·weight (C,) of (C, n) and (n,), the weight 0 at ignored pixels, where NaN and ∞ are nothing as well.

    0·NaN is NaN. On a CPU a glance at the sums tells whether there was one; a GPU would have to be waited for.
    """
    total = torch.mv(values, weight)
    if total.device.type == "cpu" and bool(total.isfinite().all()):
        return total
    return torch.mv(room.copy_(values).masked_fill_(ignored, 0), weight)


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
