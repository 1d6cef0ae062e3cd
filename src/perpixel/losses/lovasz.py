"""Lovász-softmax: a convex stand-in for the IoU itself."""

from __future__ import annotations

import torch
from torch import Tensor

from perpixel.labels import PADDING_INDEX
from perpixel.losses.base import Loss
from perpixel.losses.pixels import Pixels, weighted_mean
from perpixel.losses.weights import ClassWeights, as_buffer


class Lovasz(Loss):
    """Lovász extension of the Jaccard loss on softmax errors (Berman et al. 2018, algorithm 1), over the batch.

    Per class: sort the errors |y − p| descending and weigh each by how much it lowers the IoU. A class absent from the
    batch is left out of the mean over classes.

    Args:
        ignore_index: target value of pixels without a label.
        class_weights: one non-negative number per class, the weights of the mean over classes, or none.

    Raises:
        ValueError: the weights are not numbers ≥ 0.
    """

    class_weights: Tensor | None

    def __init__(self, ignore_index: int = PADDING_INDEX, class_weights: ClassWeights = None) -> None:
        super().__init__(ignore_index)
        self.register_buffer("class_weights", as_buffer(class_weights), persistent=False)

    def measure(self, pixels: Pixels) -> Tensor:
        """Weighted mean over the classes present of the extension at their errors."""
        probs = pixels.log_probs.exp().transpose(0, 1).flatten(1)
        labels = torch.where(pixels.valid, pixels.labels, -1).flatten()
        truth = torch.arange(pixels.num_classes, device=labels.device).unsqueeze(1) == labels
        # Ignored pixels get error 0 and no gradient, and −1 as sorting key: behind all others, they carry no weight.
        errors = torch.where(pixels.valid.flatten(), (truth.to(probs.dtype) - probs).abs(), 0.0)
        order = torch.where(pixels.valid.flatten(), errors, -1.0).argsort(1, descending=True)
        slopes = jaccard_slopes(truth.gather(1, order)).to(probs.dtype)
        weight = truth.any(1).to(probs.dtype)
        if self.class_weights is not None:
            weight = weight * self.class_weights.to(weight.dtype)
        return weighted_mean((errors.gather(1, order) * slopes).sum(1), weight)


def jaccard_slopes(truth: Tensor) -> Tensor:
    """How much the Jaccard loss grows when errors are made one after the other.

    Args:
        truth: (C, N) bool, whether the pixel is of the class, in descending order of error.

    Returns:
        (C, N): loss with the first n errors made, minus loss with the first n − 1.
    """
    total = truth.sum(1, keepdim=True)
    missed = truth.cumsum(1)
    invented = (~truth).cumsum(1)
    loss = 1 - (total - missed).double() / (total + invented).clamp_min(1)
    return torch.diff(loss, dim=1, prepend=loss.new_zeros(loss.shape[0], 1))
