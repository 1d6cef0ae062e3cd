"""One prediction as a strip of four panels: input | truth | prediction | errors."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from perpixel.labels import LabelSpace

GAP = 4
"""White pixels between two panels."""

VIEWABLE = 256
"""Panels whose longer side is shorter than this are enlarged, by a whole factor so that pixels stay pixels."""

_WRONG = np.array((229, 41, 41), np.uint8)
_LUMA = np.array((0.299, 0.587, 0.114), np.float32)  # ITU-R BT.601

RGB = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.integer[Any]]


def overlay_strip(image: RGB, target: Mask, prediction: Mask, labels: LabelSpace) -> RGB:
    """Four equal panels side by side: input | truth | prediction | errors.

    In the errors panel wrong pixels are red on the dimmed grey image, right ones show the image, and pixels without a
    label are hatched, as they are in the truth.

    Args:
        image: (H, W, 3) uint8 RGB.
        target: (H, W) class indices, ``labels.fill`` where there is no label.
        prediction: (H, W) class indices.
        labels: names the ignore value and the colours.

    Returns:
        (kH, 4kW + 3·GAP, 3) uint8, where k = 1 unless the image is small, see ``VIEWABLE``.

    Raises:
        ValueError: the three sizes differ, or the image is not (H, W, 3) uint8.
    """
    _check(image, target, prediction)
    factor = max(1, math.ceil(VIEWABLE / max(target.shape)))
    image, target, prediction = (_enlarge(array, factor) for array in (image, target, prediction))
    ignored = target == labels.fill
    hatch = _hatch(*target.shape)
    truth = np.where(ignored[..., None], hatch, labels.colour(target))
    wrong = (prediction != target) & ~ignored
    errors = np.where(wrong[..., None], _WRONG, np.where(ignored[..., None], hatch, _dimmed(image)))
    return _beside(image, truth, labels.colour(prediction), errors)


def panels(strip: RGB) -> tuple[RGB, ...]:
    """Take a strip apart again: (H, 4W + 3·GAP, 3) → four (H, W, 3) views."""
    width = (strip.shape[1] - 3 * GAP) // 4
    return tuple(strip[:, start : start + width] for start in range(0, 4 * (width + GAP), width + GAP))


def _check(image: RGB, target: Mask, prediction: Mask) -> None:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(
            f"an overlay needs an (H, W, 3) uint8 image, not {image.shape} {image.dtype}; "
            "choose three channels and scale them to 0…255 first."
        )
    if not image.shape[:2] == target.shape == prediction.shape:
        raise ValueError(
            f"image {image.shape[:2]}, target {target.shape} and prediction {prediction.shape} must have one "
            "size (H, W): crop the padding off the prediction, or resize it to the target by nearest."
        )


def _enlarge(array: npt.NDArray[Any], factor: int) -> npt.NDArray[Any]:
    return array.repeat(factor, axis=0).repeat(factor, axis=1)


def _dimmed(image: RGB) -> RGB:
    """The image as dark grey, so that a colour on it stands out."""
    grey = 20 + 0.45 * (image.astype(np.float32) @ _LUMA)
    return np.repeat(grey[..., None], 3, axis=2).astype(np.uint8)


def _hatch(height: int, width: int) -> RGB:
    """(H, W, 3) of diagonal grey stripes."""
    diagonal = np.add.outer(np.arange(height), np.arange(width)) // 4 % 2
    return np.repeat(np.where(diagonal, 168, 132)[..., None], 3, axis=2).astype(np.uint8)


def _beside(*pictures: RGB) -> RGB:
    gap = np.full((pictures[0].shape[0], GAP, 3), 255, np.uint8)
    row = [part for picture in pictures for part in (gap, picture)]
    return np.concatenate(row[1:], axis=1)
