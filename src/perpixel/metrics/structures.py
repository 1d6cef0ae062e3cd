"""Counts on what is easily lost: thin structures and small objects of the truth, image by image on the CPU."""

from __future__ import annotations

import math

import cv2
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from perpixel.metrics.maps import Labels, Mask, class_map, disk, filled, near_same_dense, per_class, uniform


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
    truth = class_map(target, num_classes)
    thin = thin_pixels(truth, num_classes, width)
    return np.stack([per_class(truth, chosen, num_classes) for chosen in (thin & (prediction == truth), thin)])


def thin_pixels(target: Labels, num_classes: int, width: int) -> Mask:
    """The pixels that lie in parts of their class narrower than ``width`` pixels.

    The map is doubled, so that widths odd and even have a middle. Where the distance to anything else reaches ``width``
    (doubled: half of twice the width) a class is wide, and its pixels within √2·width of such a place belong to the
    wide part: its corners do, and so does the first fifth of a width of a wire that leaves it. At the image's border
    every class goes on as it ends.

    Args:
        target: (H, W) class indices; what is no class is never thin.
        num_classes: C.
        width: in pixels, 2 or more (nothing is narrower than 1).
    """
    doubled = class_map(target, num_classes).repeat(2, 0).repeat(2, 1)
    framed = np.pad(doubled, 2 * width, mode="edge")
    nearer = disk(math.sqrt(width**2 - 1))  # than width
    wide = uniform(framed, filled(nearer)) & (framed != num_classes)
    rest = np.where(wide, num_classes, framed)
    rest[: 2 * width] = rest[-2 * width :] = rest[:, : 2 * width] = rest[:, -2 * width :] = num_classes  # the frame
    centres = np.where(wide, framed, num_classes)
    reached = wide | near_same_dense(rest, centres, num_classes, math.sqrt(2) * width)
    inside = reached[2 * width : -2 * width, 2 * width : -2 * width]
    whole = inside.reshape(target.shape[0], 2, target.shape[1], 2).any((1, 3))
    return np.asarray(~whole & (target >= 0) & (target < num_classes))


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
    boxes = ndimage.find_objects(class_map(target, num_classes).astype(np.int32) + 1, num_classes)
    for index, box in enumerate(boxes):
        if box is not None:
            counts[:, index] = _small_objects(target[box] == index, prediction[box] == index, area)
    return counts


def _small_objects(mask: Mask, predicted: Mask, area: int) -> tuple[int, int]:
    _, objects = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    sizes = np.bincount(objects[mask])
    right = np.bincount(objects[mask & predicted], minlength=len(sizes))
    small = (sizes > 0) & (sizes < area)
    return int((small & (2 * right >= sizes)).sum()), int(small.sum())
