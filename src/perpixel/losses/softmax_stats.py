"""Log-softmax and what losses draw from it, in one pass over the logits and without a copy of them.

The logits are read in parts that fit the processor's caches; of the log-softmax three numbers per pixel are kept, and
the backward pass makes the probabilities anew from them (as FlashAttention does, Dao et al. 2022). Memory above the
logits is the gradient itself, three (B, H, W) planes and two parts for each thread, where a plain chain of PyTorch
operations keeps tensors as large as the logits: ``experiments/races/races.py --only Dice`` measures both.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from perpixel.losses.softmax_kernels import Slopes, read, write
from perpixel.threads import for_each

PART_BYTES = {"cpu": 2**23, "cuda": 2**28}
"""Bytes of logits worked on at once: on a CPU what its caches hold, but so much that the threads meet seldom in the
interpreter, where only one can be (parts of a quarter took 1.2 to 1.3 times as long); on a GPU few launches matter
more."""


class SoftmaxStats(NamedTuple):
    """What losses draw from the log-softmax; sums over the labelled pixels, each counted with its pixel weight w.

    The sums are float64: a loss of 0.01 is one minus a ratio of them, of which float32 would leave five digits.
    All but ``truth``, ``peak`` and ``mass`` are differentiable.

    Attributes:
        truth_log_probs: (B, H, W), log p of each pixel's own class, 0 where there is no label; without w.
        truth: (B, C), Σ w over the pixels whose class is c.
        truth_log_sums: (B, C), Σ w·log p_c over the pixels whose class is c.
        intersection: (B, C), Σ w·p_c over the pixels whose class is c.
        predicted: (B, C), Σ w·p_c.
        log_sums: (B, C), Σ w·log p_c; None if they were not asked for.
        peak: (B, H, W), the largest logit; where there is no label of no meaning.
        mass: (B, H, W), Σ_c exp(logit_c − peak); likewise.
    """

    truth_log_probs: Tensor
    truth: Tensor
    truth_log_sums: Tensor
    intersection: Tensor
    predicted: Tensor
    log_sums: Tensor | None
    peak: Tensor
    mass: Tensor


def evidence(
    logits: Tensor, target: Tensor, ignore_index: int, weight: Tensor | None = None, log_sums: bool = True
) -> SoftmaxStats:
    """The `SoftmaxStats` of a batch, computed in 32 bits (64 for float64 logits).

    Args:
        logits: (B, C, H, W) floating.
        target: (B, H, W) integer.
        ignore_index: target value of pixels without a label.
        weight: (B, H, W), w of each pixel in the sums, 0 at ignored ones, in the precision of the computation; 1 if
            not given.
        log_sums: whether these are wanted.

    Raises:
        ValueError: on a CPU, where looking costs little: the target holds a value that is no class and not ignored.
    """
    return SoftmaxStats(*_SoftmaxStats.apply(logits, target, ignore_index, weight, log_sums))


class _SoftmaxStats(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: FunctionCtx, logits: Tensor, target: Tensor, ignore_index: int, weight: Tensor | None, log_sums: bool
    ) -> tuple[Tensor | None, ...]:
        batch, classes = logits.shape[:2]
        flat, labels, weights = logits.flatten(2), target.flatten(1), _flat(weight)
        exact = torch.float64 if logits.dtype == torch.float64 else torch.float32
        planes = [torch.empty_like(labels, dtype=exact) for _ in range(3)]  # peak, mass, truth_log_probs
        parts = _parts(logits)
        sums = logits.new_zeros((4 + log_sums, len(parts), classes), dtype=torch.float64)

        def fill(part: Part, work: Tensor) -> None:
            at = part.image, part.pixels
            peak, mass, log_probs = (plane[at] for plane in planes)
            results = peak, mass, log_probs, sums[:, part.number]
            read(flat[part.image, :, part.pixels], labels[at], ignore_index, _at(weights, part), *results, work)

        for_each(fill, parts, logits.device, lambda: _work(logits, exact))
        peak, mass, truth_log_probs = (plane.view_as(target) for plane in planes)
        ctx.save_for_backward(logits, target, weight, peak, mass, truth_log_probs)  # type: ignore[arg-type]  # None too
        ctx.ignore_index = ignore_index  # type: ignore[attr-defined]
        ctx.set_materialize_grads(False)
        truth, *others = sums.view(len(sums), batch, -1, classes).sum(2)
        ctx.mark_non_differentiable(truth, peak, mass)
        return truth_log_probs, truth, *others, *([] if log_sums else [None]), peak, mass

    @staticmethod
    @once_differentiable
    def backward(
        ctx: FunctionCtx, for_pixels: Tensor | None, _truth: None, *others: Tensor | None
    ) -> tuple[Tensor, None, None, None, None]:
        logits, target, weight, *planes = ctx.saved_tensors  # type: ignore[attr-defined]
        exact = planes[0].dtype
        for_sums = [None if s is None else s.to(exact) for s in others[:-2]]  # behind them those of peak and mass: none
        flat, labels, known = logits.flatten(2), target.flatten(1), [plane.flatten(1) for plane in planes]
        ignore_index: int = ctx.ignore_index  # type: ignore[attr-defined]
        filled = torch.empty_like(flat)  # not like the logits: of some layouts their flattening would be a copy
        of_pixels, weights = _flat(for_pixels), _flat(weight)

        def fill(part: Part, work: Tensor) -> None:
            at, chunk = (part.image, part.pixels), (part.image, slice(None), part.pixels)
            slopes = Slopes(_at(of_pixels, part), *(None if s is None else s[part.image] for s in for_sums))
            peak, mass, log_probs = (plane[at] for plane in known)
            of_part = labels[at], ignore_index, _at(weights, part), peak, mass, log_probs
            write(flat[chunk], *of_part, slopes, filled[chunk], work)

        for_each(fill, _parts(logits), logits.device, lambda: _work(logits, exact))
        return filled.view(logits.shape), None, None, None, None


class Part(NamedTuple):
    """A range of one image's pixels, and its place among all of the batch's."""

    number: int
    image: int
    pixels: slice


def _flat(plane: Tensor | None) -> Tensor | None:
    return None if plane is None else plane.flatten(1)


def _at(plane: Tensor | None, part: Part) -> Tensor | None:
    return None if plane is None else plane[part.image, part.pixels]


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
