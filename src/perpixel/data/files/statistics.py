"""Channel means and deviations of images, for normalisation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from perpixel.spec import FULL_SCALE

SAMPLES = 128
"""Images that are looked at: enough for two digits."""

_CONSTANT = 1e-6
"""Deviation, as a share of the root mean square, below which there is nothing but what rounding leaves."""

T = TypeVar("T")


def evenly(items: Sequence[T], count: int = SAMPLES) -> list[T]:
    """At most ``count`` items, evenly spaced over the sequence."""
    places = np.unique(np.linspace(0, len(items) - 1, min(len(items), count)).astype(int))
    return [items[int(place)] for place in places]


def readable(items: Sequence[T], read: Callable[[T], npt.NDArray[Any]]) -> Iterator[npt.NDArray[Any]]:
    """The images that can be read; faulty ones are the business of the check before training, which lists them all.

    Raises:
        ValueError: not one can be read: the reason of the last.
    """
    last: ValueError | None = None
    some = False
    for item in items:
        try:
            image = read(item)
        except ValueError as error:
            last = error
            continue
        some = True
        yield image
    if not some and last is not None:
        raise last


def channel_statistics(images: Iterable[npt.NDArray[Any]]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation per channel over all pixels of (H, W, C) images, in units of full scale.

    To six significant digits: a band of small numbers has small deviations. That of a constant channel is given as 1,
    for nobody may divide by 0.
    """
    sums = [_sums(image) for image in images]
    count = sum(pixels for pixels, _, _ in sums)
    mean = np.sum([first for _, first, _ in sums], axis=0) / count
    square = np.sum([second for _, _, second in sums], axis=0) / count
    std = np.sqrt(np.maximum(square - mean**2, 0))
    std = np.where(std <= _CONSTANT * np.sqrt(square), 1.0, std)
    return _rounded(mean), _rounded(std)


def _rounded(values: npt.NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(float(f"{value:.6g}") for value in values)


def _sums(image: npt.NDArray[Any]) -> tuple[int, npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    pixels = image.reshape(-1, image.shape[2]).astype(np.float64) / FULL_SCALE[image.dtype.name]
    return len(pixels), pixels.sum(axis=0), (pixels**2).sum(axis=0)
