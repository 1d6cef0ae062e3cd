"""Counts on what is easily lost: thin structures and small objects of the truth, image by image on the CPU."""

from __future__ import annotations

import math

import cv2
import numpy as np
import numpy.typing as npt

from perpixel.metrics.edges import Labels, Mask


def thin_counts(prediction: Labels, target: Labels, num_classes: int, width: int) -> npt.NDArray[np.int64]:
    """Pixels of the truth's thin structures, and how many of them are predicted right.

    Args:
        prediction: (H, W) class indices.
        target: (H, W) class indices; what is no class is left out.
        num_classes: C.
        width: structures narrower than this many pixels are thin, see `thin_pixels`.

    Returns:
        (2, C): found, all.
    """
    counts = np.zeros((2, num_classes), np.int64)
    for index in _classes(target, num_classes):
        thin = thin_pixels(target == index, width)
        counts[:, index] = (thin & (prediction == index)).sum(), thin.sum()
    return counts


def thin_pixels(mask: Mask, width: int) -> Mask:
    """The pixels of a mask that lie in parts narrower than ``width`` pixels.

    The mask is doubled, so that widths odd and even have a middle; where the distance to the outside reaches ``width``
    (doubled: half of twice the width) the mask is wide, and its pixels within √2·width of such a place belong to the
    wide part: its corners do, and so does the first fifth of a width of a wire that leaves it. At the image's border
    the mask goes on as it ends.
    """
    doubled = mask.repeat(2, 0).repeat(2, 1).astype(np.uint8)
    frame = 2 * width
    framed = cv2.copyMakeBorder(doubled, frame, frame, frame, frame, cv2.BORDER_REPLICATE)
    if framed.all():
        return np.zeros_like(mask)
    wide = cv2.distanceTransform(framed, cv2.DIST_L2, cv2.DIST_MASK_PRECISE) >= width - 1e-3
    if not wide.any():
        return mask.copy()
    to_wide = cv2.distanceTransform((~wide).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    reached = to_wide[frame:-frame:2, frame:-frame:2] <= math.sqrt(2) * width + 1e-3
    return np.asarray(mask & ~reached)


def small_object_counts(prediction: Labels, target: Labels, num_classes: int, area: int) -> npt.NDArray[np.int64]:
    """Small objects of the truth, and how many of them are found: at least half of their pixels predicted right.

    Args:
        prediction: (H, W) class indices.
        target: (H, W) class indices; what is no class is left out.
        num_classes: C.
        area: connected components (over edges and corners) of fewer pixels are small.

    Returns:
        (2, C): found, all.
    """
    counts = np.zeros((2, num_classes), np.int64)
    for index in _classes(target, num_classes):
        mask = target == index
        _, objects = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
        sizes = np.bincount(objects[mask])
        right = np.bincount(objects[mask & (prediction == index)], minlength=len(sizes))
        small = (sizes > 0) & (sizes < area)
        counts[:, index] = (small & (2 * right >= sizes)).sum(), small.sum()
    return counts


def _classes(target: Labels, num_classes: int) -> npt.NDArray[np.integer]:
    return np.unique(target[(target >= 0) & (target < num_classes)])
