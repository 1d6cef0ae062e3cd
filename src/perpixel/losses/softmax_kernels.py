"""The arithmetic of one part of a batch: evidence from its logits, and their gradient from slopes at the evidence."""

from __future__ import annotations

import math
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
    peak: Tensor,
    mass: Tensor,
    truth_log_probs: Tensor,
    sums: Tensor,
    work: Tensor,
) -> None:
    """Fill a part's peak, mass and truth log-probabilities (n,) and its sums (4 or 5, C), from its logits (C, n).

    The peak is a pixel's largest logit and the mass Σ exp(logit − peak), so log p = (logit − peak) − log mass. (One
    number, log Σ exp, would do; but of a p near 1 it loses the digits of 1 − p, for it is rounded at the size of the
    logits.) At ignored pixels they are whatever the logits make them. The fifth sum is that of all log-probabilities,
    of which only label smoothing makes use. A weight, where there are any, is 0 at ignored pixels.
    """
    ignored, index = split_labels(labels, ignore_index)
    check_range(index, len(chunk), ignore_index)
    peak.copy_(chunk.amax(0))
    shifted = torch.sub(chunk, peak, out=_like(chunk, work[0]))
    truth_log_probs.copy_(shifted.gather(0, index.unsqueeze(0)).squeeze(0))
    kept = (~ignored).to(work.dtype) if weight is None else weight
    if len(sums) > 4:
        sums[4] = _sum_of_kept(shifted, kept, ignored, work[1])
    powers = shifted.exp_()
    torch.sum(powers, 0, out=mass)
    log_mass = mass.log()
    truth_log_probs.sub_(log_mass).masked_fill_(ignored, 0)
    log_probs = truth_log_probs if weight is None else truth_log_probs * kept
    for row, values in enumerate((kept, log_probs, truth_log_probs.exp() * kept)):
        sums[row] = _sums_by_class(index, values, len(chunk))
    others = powers.scatter_(0, index.unsqueeze(0), 0)  # p beside a sum of thousands of them keeps no digits of 1 − p
    sums[3] = sums[2] + _sum_of_kept(others, kept / mass, ignored, work[1])
    if len(sums) > 4:
        sums[4] -= (log_mass.masked_fill_(ignored, 0) * kept).sum(dtype=torch.float64)


def write(
    chunk: Tensor,
    labels: Tensor,
    ignore_index: int,
    weight: Tensor | None,
    peak: Tensor,
    mass: Tensor,
    truth_log_probs: Tensor,
    slopes: Slopes,
    gradient: Tensor,
    work: Tensor,
) -> None:
    """Fill the gradient (C, n) at a part's logits, from the slopes at its evidence.

    With p the softmax, slopes d_c at log p_c become d_c − p_c·Σ d at the logits; both d are 0 at ignored pixels.
    """
    ignored, index = split_labels(labels, ignore_index)
    kept = (~ignored).to(work.dtype) if weight is None else weight
    powers = torch.sub(chunk, peak, out=_like(chunk, work[0])).exp_()
    slope = gradient if gradient.dtype == work.dtype else powers  # straight into its place, if that is as wide
    share = kept / mass  # of a power in w·p
    at_truth = total = _slope_at_truth(truth_log_probs, index, kept, ignored, slopes)
    if slopes.log_sums is not None:
        total = total + slopes.log_sums.sum() * kept
    if slopes.predicted is None:
        torch.mul(powers, (total / mass).neg_(), out=slope)
    else:
        total = torch.mv(powers.t(), slopes.predicted).mul_(share).add_(total).div_(mass).neg_()
        own = torch.addcmul(total, slopes.predicted.unsqueeze(1), share, out=_like(chunk, work[1]))
        torch.mul(powers, own, out=slope)
    if slopes.log_sums is not None:
        slope += torch.outer(slopes.log_sums, kept)
    slope.scatter_add_(0, index.unsqueeze(0), at_truth.unsqueeze(0))
    if slope.device.type != "cpu" or not math.isfinite(mass.sum()):  # 0·NaN; a GPU would have to be waited for
        clear(slope, ignored)
    if slope is not gradient:
        gradient.copy_(slope)


def clear(values: Tensor, ignored: Tensor) -> None:
    """Make (C, n) 0 at the ignored pixels (n,), NaN and ∞ as well.

    A CPU writes to these alone, as long as they are few. (To let their softmax be 0 from the start would take exp(−∞),
    which is four times as slow as any other.)
    """
    if values.device.type == "cpu":
        places = ignored.nonzero().squeeze(1)
        if len(places) <= FEW * len(ignored):
            values.index_fill_(1, places, 0)
            return
    values.masked_fill_(ignored, 0)


def split_labels(labels: Tensor, ignore_index: int) -> tuple[Tensor, Tensor]:
    """Which pixels are ignored, and all labels as int64 with 0 at these: safe as an index."""
    index = labels.long()  # before it is compared: −100 in uint8 would be 156
    ignored = index == ignore_index
    return ignored, torch.where(ignored, 0, index)


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


def _slope_at_truth(truth_log_probs: Tensor, index: Tensor, kept: Tensor, ignored: Tensor, slopes: Slopes) -> Tensor:
    """The slope (n,) at log p of each pixel's own class that comes by way of that class's pixels alone."""
    slope = torch.zeros_like(truth_log_probs)
    if slopes.intersection is not None:
        slope.add_(truth_log_probs).exp_().mul_(slopes.intersection.index_select(0, index))
    if slopes.truth_log_sums is not None:
        slope += slopes.truth_log_sums.index_select(0, index)
    slope *= kept
    return slope if slopes.truth_log_probs is None else slope.add_(slopes.truth_log_probs).masked_fill_(ignored, 0)


def _sums_by_class(index: Tensor, values: Tensor, num_classes: int) -> Tensor:
    """Σ values (C,) by class, in 64 bits."""
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
