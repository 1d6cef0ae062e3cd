"""Gaussian blur for images of any depth and number of channels."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from perpixel.augment.backend import A

Array = npt.NDArray[Any]


class Blur(A.GaussianBlur):
    """Albumentations' blur, but floats keep their range (its own cuts them to 0…1)."""

    def apply(self, img: Array, kernel: Array, **params: Any) -> Array:
        """(H, W, C) → the same shape and dtype."""
        if img.dtype.kind != "f":
            return np.asarray(super().apply(img, kernel, **params))
        blurred = cv2.sepFilter2D(img, -1, kernel, kernel, borderType=cv2.BORDER_REFLECT_101)
        return np.asarray(blurred).reshape(img.shape)  # OpenCV drops a single channel
