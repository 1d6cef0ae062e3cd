"""Log-softmax and what losses draw from it, in one pass over the logits and without a copy of them.

The logits are read in parts that fit the processor's cache; of the log-softmax only its normaliser, one number per
pixel, is kept, and the backward pass makes the probabilities anew from it (as FlashAttention does, Dao et al. 2022).
Memory above the logits is the gradient itself and two (B, H, W) planes; a plain chain of PyTorch operations keeps two
to six tensors as large as the logits.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from perpixel.threads import for_each

PART_BYTES = {"cpu": 2**21, "cuda": 2**28}
"""Bytes of logits worked on at once: what a core's caches hold; on a GPU few launches matter more."""


class Evidence(NamedTuple):
    """What losses draw from the log-softmax; all but ``truth`` differentiable, sums over the labelled pixels.

    Attributes:
        truth_log_probs: (B, H, W), log p of each pixel's own class, 0 where there is no label.
        truth: (B, C), pixels whose class is c.
        truth_log_sums: (B, C), Σ log p_c over the pixels whose class is c.
        intersection: (B, C), Σ p_c over the pixels whose class is c.
        predicted: (B, C), Σ p_c.
        log_sums: (B, C), Σ log p_c.
    """

    truth_log_probs: Tensor
    truth: Tensor
    truth_log_sums: Tensor
    intersection: Tensor
    predicted: Tensor
    log_sums: Tensor


def evidence(logits: Tensor, target: Tensor, ignore_index: int) -> Evidence:
    """The `Evidence` of a batch, computed in 32 bits (64 for float64 logits).

    Args:
        logits: (B, C, H, W) floating.
        target: (B, H, W) integer.
        ignore_index: target value of pixels without a label.

    Raises:
        ValueError: on a CPU, where looking costs little: the target holds a value that is no class and not ignored.
    """
    return Evidence(*_Evidence.apply(logits, target, ignore_index))


class _Evidence(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, logits: Tensor, target: Tensor, ignore_index: int) -> tuple[Tensor, ...]:
        batch, classes = logits.shape[:2]
        exact = torch.float64 if logits.dtype == torch.float64 else torch.float32
        flat, labels = logits.flatten(2), target.flatten(1)
        normaliser = torch.empty_like(labels, dtype=exact)
        truth_log_probs = torch.empty_like(normaliser)
        parts = _parts(logits)
        sums = logits.new_zeros((5, len(parts), classes), dtype=torch.float64)

        def read(part: Part, work: Tensor) -> None:
            at = part.image, part.pixels
            results = normaliser[at], truth_log_probs[at], sums[:, part.number]
            _read(flat[part.image, :, part.pixels], labels[at], ignore_index, *results, work)

        for_each(read, parts, logits.device, lambda: _work(logits, exact))
        ctx.save_for_backward(logits, target, normaliser)
        ctx.set_materialize_grads(False)
        truth, *others = sums.view(5, batch, -1, classes).sum(2).to(exact)
        ctx.mark_non_differentiable(truth)
        return truth_log_probs.view_as(target), truth, *others

    @staticmethod
    @once_differentiable
    def backward(
        ctx: FunctionCtx, for_pixels: Tensor | None, _: Tensor | None, *for_sums: Tensor | None
    ) -> tuple[Tensor, None, None]:
        logits, target, normaliser = ctx.saved_tensors  # type: ignore[attr-defined]
        flat, labels = logits.flatten(2), target.flatten(1)
        gradient = torch.empty_like(logits)
        filled = gradient.flatten(2)
        of_pixels = None if for_pixels is None else for_pixels.flatten(1)

        def write(part: Part, work: Tensor) -> None:
            at = part.image, part.pixels
            slopes = Slopes(
                None if of_pixels is None else of_pixels[at],
                *(None if slope is None else slope[part.image] for slope in for_sums),
            )
            chunk = flat[part.image, :, part.pixels]
            filled[part.image, :, part.pixels] = _slope(chunk, labels[at], normaliser[at], slopes, work)

        for_each(write, _parts(logits), logits.device, lambda: _work(logits, normaliser.dtype))
        return gradient, None, None


class Slopes(NamedTuple):
    """The loss's slope at each of the evidences of a part, None where it has none."""

    truth_log_probs: Tensor | None
    truth_log_sums: Tensor | None
    intersection: Tensor | None
    predicted: Tensor | None
    log_sums: Tensor | None


class Part(NamedTuple):
    """A range of one image's pixels, and its place among all of the batch's."""

    number: int
    image: int
    pixels: slice


def _parts(logits: Tensor) -> list[Part]:
    """The batch in parts of about `PART_BYTES` of logits, equally many of each image."""
    starts = range(0, logits.shape[2] * logits.shape[3], _length(logits))
    return [
        Part(image * len(starts) + number, image, slice(start, start + _length(logits)))
        for image in range(len(logits))
        for number, start in enumerate(starts)
    ]


def _length(logits: Tensor) -> int:
    """Pixels in a part."""
    classes, pixels = logits.shape[1], logits.shape[2] * logits.shape[3]
    return max(1, min(pixels, PART_BYTES.get(logits.device.type, 2**28) // (4 * classes)))


def _work(logits: Tensor, exact: torch.dtype) -> Tensor:
    """Room for two results as large as a part."""
    return torch.empty(2, logits.shape[1] * _length(logits), dtype=exact, device=logits.device)


def _read(
    chunk: Tensor,
    labels: Tensor,
    ignore_index: int,
    normaliser: Tensor,
    truth_log_probs: Tensor,
    sums: Tensor,
    work: Tensor,
) -> None:
    """Fill a part's normaliser (n,), truth log-probabilities (n,) and sums (5, C), from its logits (C, n).

    The normaliser log Σ exp is +∞ at ignored pixels, so that every probability computed from it later is 0 there.
    """
    ignored = labels == ignore_index
    index = labels.long().masked_fill(ignored, 0)
    check_range(index, len(chunk), ignore_index)
    largest = chunk.amax(0).to(work.dtype)
    powers = torch.sub(chunk, largest, out=_like(chunk, work[0])).exp_()
    total = powers.sum(0)
    torch.add(total.log(), largest, out=normaliser)
    torch.sub(chunk.gather(0, index.unsqueeze(0)).squeeze(0), normaliser, out=truth_log_probs).masked_fill_(ignored, 0)
    kept = (~ignored).to(work.dtype)
    for row, values in enumerate((kept, truth_log_probs, truth_log_probs.exp() * kept)):
        sums[row] = _sums_by_class(index, values, len(chunk))
    sums[3] = torch.mv(powers, kept / total)
    sums[4] = torch.mv(chunk.to(work.dtype), kept) - torch.dot(normaliser, kept)
    normaliser.masked_fill_(ignored, torch.inf)


def _slope(chunk: Tensor, labels: Tensor, normaliser: Tensor, slopes: Slopes, work: Tensor) -> Tensor:
    """The gradient (C, n) at a part's logits, from the slopes at its evidence.

    With p the softmax, slopes d_c at log p_c become d_c − p_c·Σ d at the logits.
    """
    ignored = normaliser.isinf()
    index = labels.long().masked_fill(ignored, 0)
    probs = torch.sub(chunk, normaliser, out=_like(chunk, work[0])).exp_()
    at_truth = _slope_at_truth(probs, index, slopes).masked_fill_(ignored, 0)
    total = at_truth
    if slopes.log_sums is not None:
        total = total + slopes.log_sums.sum() * ~ignored
    if slopes.predicted is None:
        slope = probs.mul_(-total)
    else:
        total = total + torch.mv(probs.t(), slopes.predicted)
        slope = probs.mul_(torch.sub(slopes.predicted.unsqueeze(1), total, out=_like(chunk, work[1])))
    if slopes.log_sums is not None:
        slope += torch.outer(slopes.log_sums, (~ignored).to(slope.dtype))
    return slope.scatter_add_(0, index.unsqueeze(0), at_truth.unsqueeze(0))


def _slope_at_truth(probs: Tensor, index: Tensor, slopes: Slopes) -> Tensor:
    """The slope (n,) at log p of each pixel's own class that comes by way of that class's pixels alone."""
    slope = torch.zeros_like(probs[0]) if slopes.truth_log_probs is None else slopes.truth_log_probs.clone()
    if slopes.truth_log_sums is not None:
        slope += slopes.truth_log_sums[index]
    if slopes.intersection is not None:
        slope += slopes.intersection[index] * probs.gather(0, index.unsqueeze(0)).squeeze(0)
    return slope


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
