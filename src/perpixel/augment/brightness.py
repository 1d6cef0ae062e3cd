"""Brightness and contrast for images of any depth and number of channels."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from perpixel.augment.backend import A
from perpixel.augment.depth import full_scale, in_depth
from perpixel.spec import FULL_SCALE

Array = npt.NDArray[Any]


class BrightnessContrast(A.RandomBrightnessContrast):
    """``factor · image + shift`` (albumentations' own cuts floats to 0…1, whatever a sensor's values are).

    Draws are albumentations', and so are the results on 8-bit images. Elsewhere the shift is measured by
    ``perpixel.augment.depth.full_scale``; 16-bit integers saturate, floats keep their range.
    """

    def apply(self, img: Array, alpha: float, beta: float, **params: Any) -> Array:
        """(H, W, C) → the same shape and dtype."""
        if img.dtype == np.uint8:
            return np.asarray(super().apply(img, alpha, beta, **params))
        share = np.float32(beta / FULL_SCALE[img.dtype.name])  # albumentations drew it in units of the dtype
        return in_depth(img * np.float32(alpha) + share * full_scale(img), img.dtype)
