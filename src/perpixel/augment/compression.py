"""JPEG's traces, on images that a camera could have stored so."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from perpixel.augment.backend import A

Array = npt.NDArray[Any]


class Compression(A.ImageCompression):
    """JPEG compression of 8-bit grey and RGB; others stay as they are (albumentations' own cuts them to 8 bits)."""

    def apply(self, img: Array, quality: int, image_type: str, **params: Any) -> Array:
        """(H, W, C) → the same shape and dtype."""
        if img.dtype != np.uint8 or img.shape[2] not in (1, 3):
            return img
        return np.asarray(super().apply(img, quality, image_type, **params))
