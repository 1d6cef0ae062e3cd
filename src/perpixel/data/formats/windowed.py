"""Images of any size opened to be read by window: where the format can, only that part is decoded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tifffile

from perpixel.data.formats.decode import image_shape, read_image
from perpixel.data.formats.suffixes import TIFF_SUFFIXES
from perpixel.data.formats.tiff import tiff_header
from perpixel.windows import Rectangle, Window, Windowed

WHOLE_BYTES = 1 << 26
"""Decoded bytes up to which a TIFF is read at once: opening it for every window costs more."""


def open_windowed(path: Path, channels: int) -> Windowed:
    """An image of which NumPy files, and TIFFs in strips or tiles, are read by window; others are decoded whole.

    Args:
        path: as :func:`~perpixel.data.formats.decode.read_image` takes it.
        channels: C of what is read.

    Returns:
        (H, W) in shape; slices of it are (h, w, C) in the file's depth, upright.

    Raises:
        ValueError: the file is damaged, or is too large and cannot be read by window; when it is opened or sliced.
    """
    shape = image_shape(path)
    if is_by_window(path):
        return Windowed(shape, lambda part: read_image(path, channels, Window(*part)))
    pixels = read_image(path, channels)

    def cut(part: Rectangle) -> np.ndarray:
        return pixels[Window(*part).slices]

    return Windowed(shape, cut)


def is_by_window(path: Path) -> bool:
    """Whether a window of the file is read without decoding all of it, and it is large enough to be worth it."""
    suffix = path.suffix.lower()
    if suffix == ".npy":
        return True
    if suffix not in TIFF_SUFFIXES:
        return False
    header = tiff_header(path)
    height, width = header.shape
    if height * width * header.pixel_bytes <= WHOLE_BYTES or (header.plain and not header.by_window):
        return False
    with tifffile.TiffFile(path) as file:
        return len(file.pages[0].dataoffsets) > 1  # one strip holds all rows, and is decoded for each window
