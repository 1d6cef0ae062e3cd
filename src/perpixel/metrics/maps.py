"""Label maps of one image as OpenCV takes them, and what all classes can be asked at once instead of one by one."""

from __future__ import annotations

import math

import cv2
import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.bool_]
Labels = npt.NDArray[np.integer]


def class_map(labels: Labels, num_classes: int, labelled: Mask | None = None) -> Labels:
    """(H, W) of the narrowest type that holds C + 1 values: what is no class, or not labelled, is C."""
    inside = (labels >= 0) & (labels < num_classes)
    if labelled is not None:
        inside &= labelled
    narrow = np.uint8 if num_classes < 2**8 else np.uint16
    return np.where(inside, labels, num_classes).astype(narrow)


def disk(radius: float) -> npt.NDArray[np.int64]:
    """(N, 2) row and column offsets of the pixels at most ``radius`` away, nearest first."""
    reach = np.arange(-math.floor(radius), math.floor(radius) + 1)
    offsets = np.stack(np.meshgrid(reach, reach, indexing="ij"), -1).reshape(-1, 2)
    squares = (offsets**2).sum(1)
    inside = squares <= radius**2 + 1e-6
    return np.asarray(offsets[inside][np.argsort(squares[inside], kind="stable")])


def uniform(labels: Labels, footprint: npt.NDArray[np.uint8]) -> Mask:
    """Where all pixels under a footprint have one label: for every class its erosion, in two passes for all."""
    return np.asarray(cv2.erode(labels, footprint) == cv2.dilate(labels, footprint))


def near_same(points: Labels, others: Labels, none: int, radius: float) -> Mask:
    """Which points have a pixel of their own class within a distance of them in another map.

    Args:
        points: (H, W) classes, ``none`` where there is no point.
        others: (H, W) classes, ``none`` where there is nothing to be near to.
        none: the value that is no class.
        radius: Euclidean distance in pixels.

    Returns:
        (H, W), false where there is no point. Sparse points cost little, and those with a near neighbour least.
    """
    reach = math.floor(radius)
    framed = np.pad(others, reach, constant_values=none)
    rows, columns = np.nonzero(points != none)
    seeking = points[rows, columns]
    place = (rows + reach) * framed.shape[1] + columns + reach
    at = rows * points.shape[1] + columns
    found = np.zeros(points.size, bool)
    for step in disk(radius) @ (framed.shape[1], 1):
        met = framed.take(place + step) == seeking
        found[at[met]] = True
        place, at, seeking = place[~met], at[~met], seeking[~met]
        if not len(place):
            break
    return found.reshape(points.shape)


def near_same_dense(points: Labels, others: Labels, none: int, radius: float) -> Mask:
    """As `near_same`, for many points and a small radius.

    The least and the greatest class under a disk settle nearly all points at once; what is left lies between three
    classes.
    """
    footprint = filled(disk(radius))
    least = cv2.erode(others, footprint)
    greatest = cv2.dilate(np.where(others == none, 0, others + 1).astype(others.dtype), footprint)
    found = (points == least) | (points + 1 == greatest)
    open_ = (points > least) & (points + 1 < greatest)
    return np.asarray((points != none) & (found | near_same(np.where(open_, points, none), others, none, radius)))


def filled(offsets: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
    """(N, 2) offsets as a footprint of ones."""
    reach = int(np.abs(offsets).max())
    footprint = np.zeros((2 * reach + 1, 2 * reach + 1), np.uint8)
    footprint[tuple((offsets + reach).T)] = 1
    return footprint


def per_class(labels: Labels, chosen: Mask, num_classes: int) -> npt.NDArray[np.int64]:
    """(C,) chosen pixels of each class."""
    return np.bincount(labels[chosen], minlength=num_classes + 1)[:num_classes]
