"""Depths of images."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from perpixel.spec import FULL_SCALE


def full_scale(image: npt.NDArray[Any]) -> float | npt.NDArray[np.float32]:
    """What changes of brightness are measured by.

    8-bit images fill their range, so their scale is the dtype's. Floats and 16-bit integers are what a sensor gives
    (reflectances of 0…10 000, 12-bit counts, decibels, metres), which need not fill anything: floats within 0…1 count
    as they are; else each band's scale is its mean magnitude, (C,), which is as dark as the band is.
    """
    if image.dtype == np.uint8:
        return FULL_SCALE["uint8"]
    present = np.isfinite(image)
    magnitude = np.abs(np.where(present, image, 0))
    if image.dtype.kind == "f" and magnitude.max(initial=0) <= 1:
        return FULL_SCALE[image.dtype.name]
    counts = np.maximum(present.sum(axis=(0, 1)), 1)
    return np.asarray(magnitude.sum(axis=(0, 1), dtype=np.float64) / counts, np.float32)


def in_depth(values: npt.NDArray[Any], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """Values as a dtype: integers are rounded and saturate at black and white, floats have neither."""
    if dtype.kind == "f":
        return np.asarray(values, dtype)
    return np.asarray(np.rint(np.clip(values, 0, FULL_SCALE[dtype.name])), dtype)
