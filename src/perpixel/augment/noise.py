"""Gaussian noise for images of any depth and number of channels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from perpixel.augment.backend import A
from perpixel.augment.depth import FULL_SCALE

Array = npt.NDArray[Any]


class Noise(A.ImageOnlyTransform):
    """Independent Gaussian noise per value (albumentations' own fails on 16-bit images).

    Args:
        std: least and greatest standard deviation, in units of full scale.
        p: probability.
    """

    def __init__(self, std: Sequence[float], p: float) -> None:
        super().__init__(p=p)
        self.std = (float(std[0]), float(std[1]))

    def get_params_dependent_on_data(self, params: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
        """Draw the noise, (H, W, C) float32 in units of full scale."""
        std = self.py_random.uniform(*self.std)
        noise = self.random_generator.standard_normal(data["image"].shape, np.float32)
        return {"noise": noise * np.float32(std)}

    def apply(self, img: Array, noise: Array, **params: Any) -> Array:
        """Add the noise, and clip to the range of the depth."""
        scale = FULL_SCALE[img.dtype.name]
        noisy = np.clip(img + noise * np.float32(scale), 0, scale)
        return np.asarray(noisy if img.dtype.kind == "f" else np.rint(noisy), img.dtype)
