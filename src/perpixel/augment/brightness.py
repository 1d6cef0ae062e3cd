"""Brightness and contrast for images of any depth and number of channels."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from perpixel.augment.backend import A
from perpixel.augment.depth import full_scale

Array = npt.NDArray[Any]


class BrightnessContrast(A.RandomBrightnessContrast):
    """``factor · image + shift`` (albumentations' own cuts floats to 0…1, whatever a sensor's values are).

    Draws are albumentations', and so are the results on integers. Floats keep their range; their shift is measured by
    ``perpixel.augment.depth.full_scale``.
    """

    def apply(self, img: Array, alpha: float, beta: float, **params: Any) -> Array:
        """(H, W, C) → the same shape and dtype."""
        if img.dtype.kind != "f":
            return np.asarray(super().apply(img, alpha, beta, **params))
        return np.asarray(img * np.float32(alpha) + np.float32(beta) * full_scale(img), img.dtype)
