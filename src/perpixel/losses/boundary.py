"""Losses that know how far a pixel is from the edge of its class."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from perpixel.labels import PADDING_INDEX
from perpixel.losses.base import Loss
from perpixel.losses.pixels import Pixels, ratio, weighted_mean

Floats = npt.NDArray[np.float32]


class Boundary(Loss):
    """Mean over labelled pixels of Σ p_c·φ_c, φ_c the signed distance to the edge of class c (Kervadec et al. 2019).

    φ is in pixels, negative inside: probability is cheap deep in its class and dear far outside. The value may be
    negative. (The paper divides by the number of classes as well.) On its own it is weak at the start of training: sum
    it with a region loss, its weight growing, as ``boundary.yaml`` does. Edges to ignored pixels are none, so a class
    that is nowhere among an image's labelled pixels, or everywhere, has no part in that image's value. Distances are
    found on the CPU.

    Args:
        ignore_index: target value of pixels without a label.
    """

    unweighted_because = "its distances are to the edges of whole masks, which a weight for each pixel does not move"

    def measure(self, pixels: Pixels) -> Tensor:
        """Σ_x Σ_c p_c·φ_c / number of labelled pixels."""
        labels = torch.where(pixels.valid, pixels.labels, -1).cpu().numpy()
        distances = np.stack([signed_distances(image, pixels.num_classes) for image in labels])
        costs = torch.from_numpy(distances).to(pixels.logits.device, pixels.dtype)
        return ratio((pixels.probs * costs).sum(), pixels.valid.sum())


class BoundaryCrossEntropy(Loss):
    """Cross-entropy in which pixels near an edge between classes count more (Ronneberger et al. 2015, eq. 2).

    The weight is 1 + extra·exp(−d²/2σ²), d the distance in pixels to the nearest pixel that has a neighbour (of four)
    of another class; edges to ignored pixels are none. A class absent from the batch has no part in the value.

    Args:
        ignore_index: target value of pixels without a label.
        extra: weight ≥ 0 that a pixel on the edge has beyond 1.
        sigma: σ > 0 in pixels, how far the extra weight reaches.

    Raises:
        ValueError: ``extra`` is negative or σ not positive.
    """

    def __init__(self, ignore_index: int = PADDING_INDEX, extra: float = 4.0, sigma: float = 3.0) -> None:
        super().__init__(ignore_index)
        if extra < 0 or sigma <= 0:
            raise ValueError(f"boundary cross-entropy needs extra ≥ 0 and sigma > 0, not {extra} and {sigma}.")
        self.extra = extra
        self.sigma = sigma

    def measure(self, pixels: Pixels) -> Tensor:
        """Σ w·(−log p_y) / Σ w over the labelled pixels."""
        labels = torch.where(pixels.valid, pixels.labels, -1).cpu().numpy()
        distances = torch.from_numpy(np.stack([edge_distances(image) for image in labels]))
        nearness = distances.to(pixels.logits.device, pixels.dtype).div(self.sigma).square().div(-2).exp()
        weight = (1 + self.extra * nearness) * pixels.weight()
        return weighted_mean(-pixels.evidence.truth_log_probs, weight)


def signed_distances(labels: npt.NDArray[np.int64], num_classes: int) -> Floats:
    """Per class, each pixel's distance to it outside, and 1 minus that to the nearest pixel of another class inside.

    Pixels next to another class have 0 so; pixels without a label are of no class.

    Args:
        labels: (H, W), class indices, negative where there is no label.
        num_classes: C.

    Returns:
        (C, H, W) in pixels; zeros for a class that no labelled pixel has, or all have.
    """
    distances = np.zeros((num_classes, *labels.shape), np.float32)
    for index in np.unique(labels[labels >= 0]):
        inside = labels == index
        others = (labels >= 0) & ~inside
        if others.any():
            distances[index] = np.where(inside, 1 - _distance_to_zero(~others), _distance_to_zero(~inside))
    return distances


def edge_distances(labels: npt.NDArray[np.int64]) -> Floats:
    """(H, W) distance in pixels to the nearest pixel with a labelled neighbour of another class, ∞ without such."""
    edge = np.zeros(labels.shape, bool)
    for one, other in ((np.s_[1:, :], np.s_[:-1, :]), (np.s_[:, 1:], np.s_[:, :-1])):
        differ = (labels[one] != labels[other]) & (labels[one] >= 0) & (labels[other] >= 0)
        edge[one] |= differ
        edge[other] |= differ
    return _distance_to_zero(~edge) if edge.any() else np.full(labels.shape, np.inf, np.float32)


def _distance_to_zero(mask: npt.NDArray[np.bool_]) -> Floats:
    """Exact Euclidean distance of each pixel to the nearest False one."""
    return np.asarray(cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE), np.float32)
