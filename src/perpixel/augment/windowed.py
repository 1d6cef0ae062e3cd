"""Pixels that are decoded where they are looked at."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Rectangle = tuple[int, int, int, int]


class Windowed:
    """An image or a mask in a file: slicing rows and columns decodes that part, whatever needs it all decodes it all.

    Args:
        shape: (H, W), whatever the channels.
        read: gives the pixels of a rectangle (top, left, height, width) that lies within the shape.
    """

    def __init__(self, shape: tuple[int, int], read: Callable[[Rectangle], Array]) -> None:
        self.shape = shape
        self._read = read
        self._whole: Array | None = None

    def __getitem__(self, part: tuple[slice, slice]) -> Array:
        if self._whole is not None:
            return self._whole[part]
        (top, bottom, _), (left, right, _) = (key.indices(side) for key, side in zip(part, self.shape, strict=True))
        return self._read((top, left, max(bottom - top, 0), max(right - left, 0)))

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> Array:
        if self._whole is None:
            self._whole = self._read((0, 0, *self.shape))
        return np.array(self._whole, dtype, copy=copy)
