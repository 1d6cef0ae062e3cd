"""Colours of classes: as given, or for those that come without."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

RGB = tuple[int, int, int]


def voc_colours(count: int) -> tuple[RGB, ...]:
    """PASCAL VOC's colour map: the bits of an index spread over the channels, so any number of colours differ."""
    return tuple(_voc_colour(index) for index in range(count))


def rgb(given: Any, where: str) -> RGB:
    """A colour as a user wrote it.

    Args:
        given: three numbers in 0…255.
        where: what it was given for, for errors.

    Raises:
        ValueError: it is anything else.
    """
    levels = list(given) if isinstance(given, Sequence) else []
    if len(levels) != 3 or not all(isinstance(level, int) and 0 <= level <= 255 for level in levels):
        raise ValueError(f"{where}: {given!r} is no colour: write red, green and blue in 0…255, as [220, 20, 60].")
    red, green, blue = levels
    return red, green, blue


def _voc_colour(index: int) -> RGB:
    red = green = blue = 0
    for bit in range(7, -1, -1):
        red |= (index & 1) << bit
        green |= (index >> 1 & 1) << bit
        blue |= (index >> 2 & 1) << bit
        index >>= 3
    return red, green, blue
