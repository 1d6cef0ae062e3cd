"""RGB without its colours."""

from __future__ import annotations

from typing import Any, ClassVar

import cv2
import numpy as np
import numpy.typing as npt

from perpixel.augment.backend import A

Array = npt.NDArray[Any]

GREY = np.array([0.299, 0.587, 0.114])
"""How red, green and blue are weighed (ITU-R BT.601, as torchvision and OpenCV do)."""


class Grey(A.ImageOnlyTransform):
    """The grey of RGB in all three channels, at any depth; what has one channel is grey already."""

    needs_rgb: ClassVar[str] = "augment.grey=0"

    def apply(self, img: Array, **params: Any) -> Array:
        """(H, W, C) → the same shape and dtype."""
        return img if img.shape[2] == 1 else np.asarray(cv2.transform(img, np.tile(GREY, (3, 1))))
