"""Gaussian noise for images of any depth and number of channels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from perpixel.augment.backend import A
from perpixel.augment.depth import full_scale, in_depth

Array = npt.NDArray[Any]


class Noise(A.ImageOnlyTransform):
    """Independent Gaussian noise per value (albumentations' own fails on 16-bit images).

    Args:
        std: least and greatest standard deviation, in units of full scale (see ``perpixel.augment.depth.full_scale``).
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
        """Add the noise; integers saturate, floats keep the range of their sensor."""
        return in_depth(img + noise * np.float32(full_scale(img)), img.dtype)
