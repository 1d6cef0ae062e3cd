"""Images of any depth and number of bands, as a screen shows them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

ENDS = (1.0, 99.0)
"""Percentiles between which a deep image is stretched: a few hot pixels do not leave the rest black."""


def as_rgb(image: npt.NDArray[Any], ends: tuple[float, float] | None = None) -> npt.NDArray[np.uint8]:
    """The first three bands of an image, or the only one thrice.

    8 bits are shown as they are. What is deeper rarely fills its depth (a camera of 12 bits stored in 16, reflectances
    of 0…3000), so it is stretched, all bands alike, from its darkest percent to its brightest.

    Args:
        image: (H, W, C) in any dtype that images have.
        ends: values shown as black and white, of an image that is shown in parts (see :func:`stretch`); None takes
            this image's own.

    Returns:
        (H, W, 3) uint8.
    """
    picture = image[..., :3] if image.shape[2] >= 3 else np.repeat(image[..., :1], 3, axis=2)
    if picture.dtype == np.uint8:
        return np.ascontiguousarray(picture)
    low, high = stretch(image) if ends is None else ends
    picture = np.nan_to_num(picture.astype(np.float32))  # it may be what a training stumbled over
    scaled = (picture - np.float32(low)) * np.float32(255 / max(high - low, 1e-12))
    return np.asarray(np.rint(scaled.clip(0, 255)), np.uint8)


def stretch(image: npt.NDArray[Any]) -> tuple[float, float]:
    """The values of (H, W, C) that are shown as black and white."""
    shown = image[..., :3] if image.shape[2] >= 3 else image[..., :1]
    low, high = np.percentile(np.nan_to_num(shown.astype(np.float32)), ENDS)
    return float(low), float(high)
