"""Lovász-softmax: a convex stand-in for the IoU itself."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from perpixel.labels import PADDING_INDEX
from perpixel.losses.base import Loss
from perpixel.losses.pixels import Pixels, weighted_mean
from perpixel.losses.weights import ClassWeights, as_buffer
from perpixel.threads import for_each


class Lovasz(Loss):
    """Lovász extension of the Jaccard loss on softmax errors (Berman et al. 2018, algorithm 1), over the batch.

    Per class: sort the errors ``|y − p|`` descending and weigh each by how much it lowers the IoU. A class absent from
    the batch is left out of the mean over classes.

    Args:
        ignore_index: target value of pixels without a label.
        class_weights: one non-negative number per class, the weights of the mean over classes, or none.

    Raises:
        ValueError: the weights are not numbers ≥ 0.
    """

    class_weights: Tensor | None
    unweighted_because = (
        "the IoU that it extends counts whole pixels, and each one's slope hangs on all that rank before it"
    )

    def __init__(self, ignore_index: int = PADDING_INDEX, class_weights: ClassWeights = None) -> None:
        super().__init__(ignore_index)
        self.register_buffer("class_weights", as_buffer(class_weights), persistent=False)

    def measure(self, pixels: Pixels) -> Tensor:
        """Weighted mean over the classes present of the extension at their errors."""
        values = lovasz_extensions(pixels.probs, pixels.labels, pixels.valid)
        weight = (pixels.evidence.truth.sum(0) > 0) * pixels.class_weights(self.class_weights)
        return weighted_mean(values, weight)


def lovasz_extensions(probs: Tensor, labels: Tensor, valid: Tensor) -> Tensor:
    """Per class, the Lovász extension of the Jaccard loss at the errors ``|y − p|``; 0 for a class without truth.

    Args:
        probs: (B, C, H, W) float32 or float64 in 0…1.
        labels: (B, H, W) int64 in 0…C−1.
        valid: (B, H, W) bool, False at pixels to leave out.

    Returns:
        (C,), differentiable once.
    """
    values: Tensor = _Extensions.apply(probs, labels, valid)
    return values


class _Extensions(torch.autograd.Function):
    """Sorting gives value and slope at once, so the forward pass makes both."""

    @staticmethod
    def forward(ctx: FunctionCtx, probs: Tensor, labels: Tensor, valid: Tensor) -> Tensor:
        keep = valid.flatten().nonzero().squeeze(1)
        truth = labels.flatten().index_select(0, keep)
        values = probs.new_zeros(probs.shape[1])
        slopes = torch.zeros_like(probs)
        ranks = torch.arange(len(keep), device=probs.device)

        def extend(index: int, _: None) -> None:
            of_class = probs[:, index].flatten()
            values[index], slope = _extension(of_class.index_select(0, keep), truth == index, ranks)
            slopes[:, index] = torch.zeros_like(of_class).index_copy_(0, keep, slope).view_as(labels)

        for_each(extend, truth.unique().tolist(), probs.device, lambda: None)
        ctx.save_for_backward(slopes)
        return values

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[Tensor, None, None]:
        (slopes,) = ctx.saved_tensors  # type: ignore[attr-defined]
        return slopes * gradient.view(1, -1, 1, 1), None, None


def _extension(probs: Tensor, truth: Tensor, ranks: Tensor) -> tuple[Tensor, Tensor]:
    """Value (a scalar) and slope (N,) at the probabilities of one class, with at least one true pixel.

    Making the errors in descending order, a missed pixel lowers the intersection i by 1 over an unchanged union u, and
    an invented one raises the union: the Jaccard loss grows by 1/u, or by i/(u − 1)/u. So written, no digits cancel.
    """
    errors = torch.where(truth, 1 - probs, probs)
    order, missed = _descending(errors, truth, ranks)
    misses = missed.cumsum(0, dtype=torch.int32)
    intersection = (misses[-1] - misses).to(probs.dtype)
    before = intersection + ranks  # the union less 1
    union = before + 1
    growth = torch.where(missed, 1.0, intersection / before) / union
    growth = torch.zeros_like(probs).scatter_(0, order, growth)
    return (growth * errors).sum(), torch.where(truth, -growth, growth)


def _descending(errors: Tensor, truth: Tensor, ranks: Tensor) -> tuple[Tensor, Tensor]:
    """(N,) indices of errors ≥ 0 from the largest to the smallest, the first of equals first, and the truth there.

    The bits of non-negative floats are ordered as the floats are: 31 of them above the index and the truth make one
    integer, and NumPy sorts integers five times as fast as PyTorch, without an index beside each.
    ``experiments/races/races.py --only Lovász`` times the whole.
    """
    if errors.dtype != torch.float32 or errors.device.type != "cpu":
        order = errors.argsort(descending=True, stable=True)
        return order, truth[order]
    keys = (torch.iinfo(torch.int32).max - errors.view(torch.int32)).long() << 32
    keys += ranks << 1
    keys += truth
    keys.numpy().sort()
    return (keys & 0xFFFFFFFF) >> 1, (keys & 1).bool()
