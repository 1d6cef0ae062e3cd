"""Which part of an image: rectangles of pixels, and arrays that decode only the part that is read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Rectangle = tuple[int, int, int, int]


class Window(NamedTuple):
    """A rectangle of pixels."""

    top: int
    left: int
    height: int
    width: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """Rows and columns, to index an array with."""
        return slice(self.top, self.top + self.height), slice(self.left, self.left + self.width)

    def check_within(self, shape: tuple[int, int], where: object) -> None:
        """Refuse a window that reaches outside an image of (H, W).

        Raises:
            ValueError: names the image, its size and the window.
        """
        if self.top + self.height > shape[0] or self.left + self.width > shape[1] or min(self) < 0:
            raise ValueError(
                f"'{where}' is {shape[0]}×{shape[1]} (H×W), but rows {self.top}…{self.top + self.height} and columns "
                f"{self.left}…{self.left + self.width} are asked for: all files of a sample must be the same picture "
                "at the same size."
            )

    def part(self, rectangle: tuple[int, int, int, int]) -> Window:
        """A rectangle of the window (its top, left, height, width), in the picture's own coordinates."""
        top, left, height, width = rectangle
        return Window(self.top + top, self.left + left, height, width)


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
