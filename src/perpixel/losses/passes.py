"""The arithmetic of one part of a batch: evidence from its logits, and their gradient from slopes at the evidence."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

RUN = 2**13
"""Pixels that are added up in 32 bits."""

FEW = 1 / 8
"""Share of ignored pixels up to which writing to each costs less than a pass over all."""


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
    """Fill a part's normaliser (n,), truth log-probabilities (n,) and sums (4 or 5, C), from its logits (C, n).

    The normaliser log Σ exp is whatever the logits make it, at ignored pixels, too. The fifth sum is that of all
    log-probabilities, of which only label smoothing makes use. A weight, where there are any, is 0 at ignored pixels.
    """
    ignored = labels == ignore_index
    index = safe_index(labels, ignored, len(chunk), ignore_index)
    largest = chunk.amax(0).to(work.dtype)
    powers = torch.sub(chunk, largest, out=_like(chunk, work[0])).exp_()
    total = powers.sum(0)
    torch.add(total.log(), largest, out=normaliser)
    torch.sub(chunk.gather(0, index.unsqueeze(0)).squeeze(0), normaliser, out=truth_log_probs).masked_fill_(ignored, 0)
    kept = (~ignored).to(work.dtype) if weight is None else weight
    log_probs = truth_log_probs if weight is None else truth_log_probs * kept
    for row, values in enumerate((kept, log_probs, truth_log_probs.exp() * kept)):
        sums[row] = _sums_by_class(index, values, len(chunk))
    sums[3] = _sum_of_kept(powers, kept / total, ignored, work[1])
    if len(sums) > 4:
        whole = (normaliser.masked_fill(ignored, 0) * kept).sum(dtype=torch.float64)
        sums[4] = _sum_of_kept(chunk.to(work.dtype), kept, ignored, work[1]) - whole


def write(
    chunk: Tensor,
    labels: Tensor,
    ignore_index: int,
    weight: Tensor | None,
    normaliser: Tensor,
    truth_log_probs: Tensor,
    slopes: Slopes,
    gradient: Tensor,
    work: Tensor,
) -> None:
    """Fill the gradient (C, n) at a part's logits, from the slopes at its evidence.

    With p the softmax, slopes d_c at log p_c become d_c − p_c·Σ d at the logits. What is computed at ignored pixels on
    the way is of no account: in the end it is cleared.
    """
    ignored = labels == ignore_index
    index = labels.long().masked_fill(ignored, 0)
    probs = torch.sub(chunk, normaliser, out=_like(chunk, work[0])).exp_()
    slope = gradient if gradient.dtype == work.dtype else probs  # straight into its place, if that is as wide
    at_truth = total = _slope_at_truth(truth_log_probs, index, weight, slopes)
    if slopes.log_sums is not None:
        kept = torch.ones_like(normaliser) if weight is None else weight
        total = total + slopes.log_sums.sum() * kept
    if slopes.predicted is None:
        torch.mul(probs, -total, out=slope)
    else:
        mean = torch.mv(probs.t(), slopes.predicted)
        total = total + (mean if weight is None else mean * weight)
        own = slopes.predicted.unsqueeze(1) if weight is None else torch.outer(slopes.predicted, weight)
        torch.mul(probs, torch.sub(own, total, out=_like(chunk, work[1])), out=slope)
    if slopes.log_sums is not None:
        slope += torch.outer(slopes.log_sums, kept)
    slope.scatter_add_(0, index.unsqueeze(0), at_truth.unsqueeze(0))
    clear(slope, ignored)
    if slope is not gradient:
        gradient.copy_(slope)


def clear(values: Tensor, ignored: Tensor) -> None:
    """Make (C, n) 0 at the ignored pixels (n,), NaN and ∞ as well.

    A CPU writes to these alone, as long as they are few. (It would seem easier to let their normaliser be ∞, for then
    their softmax is 0; but exp(−∞) took four times as long as any other.)
    """
    if values.device.type == "cpu":
        places = ignored.nonzero().squeeze(1)
        if len(places) <= FEW * len(ignored):
            values.index_fill_(1, places, 0)
            return
    values.masked_fill_(ignored, 0)


def safe_index(target: Tensor, ignored: Tensor, num_classes: int, ignore_index: int) -> Tensor:
    """The target as int64 with 0 at ignored pixels: safe as an index.

    Raises:
        ValueError: on a CPU, where looking costs little: a label is no class.
    """
    index = target.long().masked_fill(ignored, 0)
    _check_range(index, num_classes, ignore_index)
    return index


def _sum_of_kept(values: Tensor, weight: Tensor, ignored: Tensor, work: Tensor) -> Tensor:
    """Σ values·weight (C,) of (C, n) and (n,) over the pixels that are not ignored, at which there may be NaN and ∞.

    On a CPU a glance at the sums tells whether there were some; a GPU would have to be waited for.
    """
    total = _product(values, weight)
    if total.device.type == "cpu" and bool(total.isfinite().all()):
        return total
    return _product(_like(values, work).copy_(values).masked_fill_(ignored, 0), weight.masked_fill(ignored, 0))


def _product(values: Tensor, weight: Tensor) -> Tensor:
    """Σ values·weight (C,), on a CPU in 64 bits from run to run: it adds pixel by pixel, which loses digits in 32."""
    if values.device.type != "cpu":
        return torch.mv(values, weight)
    runs = zip(values.split(RUN, dim=1), weight.split(RUN), strict=True)
    return torch.stack([torch.mv(run, of_run) for run, of_run in runs]).sum(0, dtype=torch.float64)


def _slope_at_truth(truth_log_probs: Tensor, index: Tensor, weight: Tensor | None, slopes: Slopes) -> Tensor:
    """The slope (n,) at log p of each pixel's own class that comes by way of that class's pixels alone."""
    slope = torch.zeros_like(truth_log_probs)
    if slopes.intersection is not None:
        slope.add_(truth_log_probs).exp_().mul_(slopes.intersection.index_select(0, index))
    if slopes.truth_log_sums is not None:
        slope += slopes.truth_log_sums.index_select(0, index)
    if weight is not None:
        slope *= weight
    return slope if slopes.truth_log_probs is None else slope.add_(slopes.truth_log_probs)


def _sums_by_class(index: Tensor, values: Tensor, num_classes: int) -> Tensor:
    """Σ values (C,) by class, in 64 bits; bincount, which adds in the precision that it is given, waits for a GPU."""
    if index.device.type == "cpu":
        return torch.bincount(index, values.double(), minlength=num_classes)
    return values.new_zeros(num_classes, dtype=torch.float64).scatter_add_(0, index, values.double())


def _like(chunk: Tensor, work: Tensor) -> Tensor:
    """The workspace laid out as a chunk is: channels last where the chunk's are."""
    classes, pixels = chunk.shape
    room = work[: classes * pixels]
    return room.view(pixels, classes).t() if chunk.stride(0) == 1 and pixels > 1 else room.view(classes, pixels)


def _check_range(labels: Tensor, num_classes: int, ignore_index: int) -> None:
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
