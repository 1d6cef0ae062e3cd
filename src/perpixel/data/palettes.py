"""Colours for classes that come without."""

from __future__ import annotations

RGB = tuple[int, int, int]


def voc_colours(count: int) -> tuple[RGB, ...]:
    """PASCAL VOC's colour map: the bits of an index spread over the channels, so any number of colours differ."""
    return tuple(_voc_colour(index) for index in range(count))


def _voc_colour(index: int) -> RGB:
    red = green = blue = 0
    for bit in range(7, -1, -1):
        red |= (index & 1) << bit
        green |= (index >> 1 & 1) << bit
        blue |= (index >> 2 & 1) << bit
        index >>= 3
    return red, green, blue
