"""Random scale and crop as one step."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from perpixel.augment.backend import A, Targets
from perpixel.augment.ranges import probabilities, two_factors

Array = npt.NDArray[Any]
Window = tuple[int, int, int, int]


class RandomScaleCrop(A.DualTransform):
    """Scale by a random factor, then cut a random window of ``size``; what lies outside the image is padded.

    The window is cut first and only then scaled, so the cost depends on ``size`` and not on the image. The factor is
    drawn log-uniformly: halving is as likely as doubling. Where the scaled image is smaller than the window, it lies
    at a random place within it.

    With ``focus``, some windows are laid around a pixel of an object (a connected area of one class): first a class is
    drawn evenly from those in the mask, then one of its objects, whatever their sizes, then a pixel of it. So within an
    image, rare classes and small objects are seen as often as large ones. It does not balance between images: each is
    seen once an epoch, and a class that few of them show stays as rare as they are (for that: class weights in the
    loss, or ``copy_paste``).

    Args:
        size: (H, W) of the result.
        scale: least and greatest factor; (1, 1) only crops.
        focus: probability of such a window.
    """

    _targets = (Targets.IMAGE, Targets.MASK)

    def __init__(self, size: Sequence[int], scale: Sequence[float] = (1.0, 1.0), focus: float = 0.0) -> None:
        super().__init__(p=1.0)
        self.size = (int(size[0]), int(size[1]))
        self.scale = two_factors("scale", scale)
        probabilities(focus=focus)
        self.focus = focus
        self.fill: float = 0
        self.fill_mask: float = 0  # the recipe sets it

    def get_params_dependent_on_data(self, params: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
        """Draw the window."""
        return {"window": self._draw(params["shape"][:2], data.get("mask"))}

    def cut_first(self, targets: Mapping[str, Any], treated: Mapping[str, str]) -> dict[str, Array]:
        """What a call does, for arrays that decode only what is cut out of them (``Windowed``) as for others.

        Args:
            targets: ``image``, ``mask`` and others by name.
            treated: ``image`` or ``mask`` for each of the others.
        """
        window = self._draw(targets["image"].shape[:2], targets.get("mask"))
        return {
            name: self.apply_to_mask(array, window, self.fill_mask)
            if treated.get(name, name) == "mask"
            else self.apply(array, window, self.fill)
            for name, array in targets.items()
        }

    def _draw(self, shape: tuple[int, int], mask: Any) -> Window:
        """A window, in pixels of the input: top, left, height, width."""
        low, high = self.scale
        factor = math.exp(self.py_random.uniform(math.log(low), math.log(high)))
        height, width = (max(1, round(side / factor)) for side in self.size)
        row = column = None
        if self.focus > 0 and mask is not None and self.py_random.random() < self.focus:
            row, column = self._pixel_of_an_object(np.asarray(mask))
        rows, columns = shape
        return self._start(rows, height, row), self._start(columns, width, column), height, width

    def _start(self, side: int, window: int, inside: int | None) -> int:
        """A start of a window within the image (or around it, where it is larger) that holds the place ``inside``."""
        slack = side - window
        low, high = min(0, slack), max(0, slack)
        if inside is not None:
            low, high = max(low, inside - window + 1), min(high, inside)
        return int(self.py_random.randint(low, high))

    def _pixel_of_an_object(self, mask: Array) -> tuple[int, int] | tuple[None, None]:
        present = [int(value) for value in np.flatnonzero(np.bincount(mask.ravel())) if value != self.fill_mask]
        if not present:
            return None, None
        inside = (mask == self.py_random.choice(present)).astype(np.uint8)
        count, objects = cv2.connectedComponents(inside, connectivity=8)
        places = np.flatnonzero(objects == self.py_random.randrange(1, count))
        row, column = divmod(int(places[self.py_random.randrange(len(places))]), mask.shape[1])
        return row, column

    def apply(self, img: Array, window: Window, fill: float, **params: Any) -> Array:
        """(H, W, C) → (size, C), bilinear."""
        return self._resized(cut(img, window, fill), cv2.INTER_LINEAR)

    def apply_to_mask(self, mask: Array, window: Window, fill_mask: float, **params: Any) -> Array:
        """(H, W) → (size), nearest-exact."""
        return self._resized(cut(mask, window, fill_mask), cv2.INTER_NEAREST_EXACT)

    def _resized(self, array: Array, interpolation: int) -> Array:
        if array.shape[:2] == self.size:
            return array
        resized = cv2.resize(array, self.size[::-1], interpolation=interpolation)
        return np.asarray(resized).reshape(*self.size, *array.shape[2:])  # OpenCV drops a single channel


def cut(array: Array, window: Window, fill: float) -> Array:
    """The window (top, left, height, width) of (H, W) or (H, W, C); what lies outside the array becomes ``fill``."""
    top, left, height, width = window
    bottom, right = top + height, left + width
    inside = array[max(top, 0) : bottom, max(left, 0) : right]
    if inside.shape[:2] == (height, width):
        return inside
    result = np.full((height, width, *inside.shape[2:]), fill, inside.dtype)
    row, column = max(-top, 0), max(-left, 0)
    result[row : row + inside.shape[0], column : column + inside.shape[1]] = inside
    return result
