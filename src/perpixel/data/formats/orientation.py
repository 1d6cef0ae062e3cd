"""Pictures that a camera stored turned: the EXIF rule, the same one for every format, for images and masks.

An orientation is EXIF's number: 1 is upright; see https://exiftool.org/TagNames/EXIF.html, tag 0x0112. Where EXIF has
none, the same number in XMP counts, as it does for Pillow.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

Array = npt.NDArray[Any]
Rectangle = tuple[int, int, int, int]

TAG = 0x0112

_BOTTOM_UP, _MIRRORED, _SIDEWAYS = {3, 4, 6, 7}, {2, 3, 7, 8}, {5, 6, 7, 8}
_XMP = re.compile(rb'tiff:Orientation(?:="|>)([0-9])')


def orientation_of(picture: Image.Image) -> int:
    """From a picture's header (a PNG may say it behind its pixels, which are then decoded)."""
    return int(picture.getexif().get(TAG, 1))


def orientation_in_xmp(text: bytes) -> int:
    """From an XMP packet; 1 where it says none."""
    found = _XMP.search(text)
    return int(found[1]) if found else 1


def upright_shape(shape: tuple[int, int], orientation: int) -> tuple[int, int]:
    """(H, W) after turning, from (H, W) as stored; and back, which is the same."""
    return (shape[1], shape[0]) if orientation in _SIDEWAYS else shape


def upright(pixels: Array, orientation: int) -> Array:
    """A view of stored pixels, (H, W, …), turned."""
    pixels = pixels[::-1] if orientation in _BOTTOM_UP else pixels
    pixels = pixels[:, ::-1] if orientation in _MIRRORED else pixels
    return np.swapaxes(pixels, 0, 1) if orientation in _SIDEWAYS else pixels


def as_stored(window: Rectangle, shape: tuple[int, int], orientation: int) -> Rectangle:
    """Where the pixels of an upright window (top, left, height, width) lie in a file that stores (H, W)."""
    top, left, height, width = window
    if orientation in _SIDEWAYS:
        top, left, height, width = left, top, width, height
    top = shape[0] - top - height if orientation in _BOTTOM_UP else top
    left = shape[1] - left - width if orientation in _MIRRORED else left
    return top, left, height, width
