"""Hues of 8-bit RGB, turned by arithmetic on bytes: exact to half a level, where HSV kept in bytes is a dozen off."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from perpixel.augment.backend import look_up

Image = npt.NDArray[np.uint8]
Plane = Any  # an (h, W) uint8 array, as OpenCV's functions take and give it

STRIP = 1 << 16
"""Pixels that are worked on together: a dozen of their planes fit a core's cache with room to spare."""


def turn_hues(pixels: Image, turn: float) -> Image:
    """Turn the hue of every pixel on HSV's hexagon (Smith 1978), in place; value and chroma stay.

    The hexagon's corners are a sixth of the circle apart. A turn of r sixths, |r| ≤ ½, moves a pixel's middle channel
    by d = |r| · (most − least), towards ``most`` or ``least``. If it gets there, the channel that was there before
    moves by what is left of d. With ``next`` for the channel after each in the direction of the turn, one formula says
    this of all three, wherever they stand, and (x)₊ is what a byte's arithmetic gives by itself:

        v' = max(least, min(most, v + (least + d − next)₊) − (next + d − most)₊)

    Three sixths mirror the channels, v' = most + least − v, two sixths exchange them; so any turn is one of these and a
    rest of half a sixth at most. Only d is rounded.

    Args:
        pixels: (H, W, 3) uint8, contiguous; written over.
        turn: part of the circle, from red towards green; any number, of which whole circles do nothing.

    Returns:
        The same array.
    """
    sixths = round(6 * turn)
    rest = 6 * turn - sixths
    if sixths % 6 == 0 and rest == 0:
        return pixels
    moves = np.rint(np.arange(256) * abs(rest)).astype(np.uint8)
    rows = max(1, STRIP // pixels.shape[1])
    planes = np.empty((11, min(rows, len(pixels)), pixels.shape[1]), np.uint8)
    for top in range(0, len(pixels), rows):
        strip = pixels[top : top + rows]
        _turn(strip, list(planes[:, : len(strip)]), 1 if rest > 0 else 2, moves, sixths)
    return pixels


def _turn(strip: Image, planes: Sequence[Plane], ahead: int, moves: npt.NDArray[np.uint8], sixths: int) -> None:
    most, least, low, high, part, *turned = planes[3:]
    before = cv2.split(strip, planes[:3])
    cv2.max(cv2.max(before[0], before[1], most), before[2], most)
    cv2.min(cv2.min(before[0], before[1], least), before[2], least)
    distance = look_up(cv2.subtract(most, least, low), moves)
    cv2.subtract(most, distance, high)
    cv2.add(least, distance, low)
    for channel, after in enumerate(turned):
        following = before[(channel + ahead) % 3]
        cv2.min(cv2.add(before[channel], cv2.subtract(low, following, part), after), most, after)
        cv2.max(cv2.subtract(after, cv2.subtract(following, high, part), after), least, after)
        if sixths % 2:
            cv2.subtract(most, cv2.subtract(after, least, after), after)
    places = (sixths + 3 * (sixths % 2)) // 2  # three sixths are mirrored, the others are exchanges
    cv2.merge([turned[(channel - places) % 3] for channel in range(3)], strip)
