"""What decoded pictures become: images in a depth that is kept, masks as the integers that were stored."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFile

from perpixel.data.formats.axes import channels_first, one_hot_advice, rewritten

Array = npt.NDArray[Any]

COLOUR_PLANES = 4
"""Planes of a picture that shows colours and transparency."""

_UNPACKED = re.compile("L;([24]?)(I?)R?")  # Pillow's raw modes of grey
_AS_FLOAT = (np.int16, np.float64)  # float32 holds all of the one, and more of the other than a network sees


class WrongChannels(ValueError):
    """An image has other channels than it is read with.

    Attributes:
        channels: those it has.
    """

    def __init__(self, message: str, channels: int = 0) -> None:
        super().__init__(message)  # alone when torch builds it anew from a data worker's message
        self.channels = channels


def as_asked(image: Image.Image, channels: int, path: Path) -> Array:
    """Pillow's picture with so many channels, where it has them or grey and RGB can stand for each other."""
    mode = {1: "L", 3: "RGB"}.get(channels)
    if mode and image.mode in ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr"):
        image = image.convert(mode)
    return with_channels(as_hwc(np.array(image), path), channels, path)


def as_hwc(array: Array, path: Path) -> Array:
    """(H, W) or (H, W, C) → (H, W, C), in a depth that is kept: uint8, uint16 or float32.

    Raises:
        ValueError: the file holds other numbers, or some that are not finite.
    """
    if array.ndim == 2:
        array = array[..., None]
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    if array.dtype in _AS_FLOAT:
        with np.errstate(over="ignore"):  # becomes infinite, which is told below
            array = array.astype(np.float32)
    if array.dtype == np.float32 and not (finite := np.isfinite(array)).all():
        raise ValueError(
            f"'{path}' holds {array.size - int(finite.sum()):,} values that are NaN or infinite; they would spoil the "
            f"weights. Fill them (with 0, say), and give those pixels the ignore value in the mask."
        )
    if array.dtype in (np.uint8, np.uint16, np.float32):
        return np.ascontiguousarray(array)
    if array.dtype == np.bool_:
        return array.astype(np.uint8) * np.uint8(255)
    raise ValueError(f"'{path}' holds {array.dtype} values: store images as uint8, uint16, int16, float32 or float64.")


def with_channels(array: Array, channels: int, path: Path) -> Array:
    """(H, W, C) with so many channels: grey is repeated for RGB.

    Raises:
        WrongChannels: the file has another number.
        ValueError: its axes seem to stand in another order.
    """
    if array.shape[2] == channels:
        return array
    if array.shape[2] == 1 and channels == 3:
        return np.repeat(array, 3, axis=2)
    if advice := channels_first(path, array.shape):
        raise ValueError(f"image {advice}")
    raise WrongChannels(
        f"image '{path}' has {array.shape[2]} channels, but the data set is read with {channels}: "
        f"set data.source.channels={array.shape[2]}, or convert the file.",
        array.shape[2],
    )


def picture_values(image: Image.Image, colours: bool, path: Path, is_gif: bool = False) -> Array:
    """A mask's values in Pillow's picture: of a palette's indices, or with ``colours`` what they stand for."""
    if colours and image.mode in ("P", "PA"):
        return np.array(image.convert("RGB"))
    if is_gif and image.mode == "P" and _is_grey(image):  # writers of GIF give grey a palette of the values that occur
        image = image.convert("L")
    return label_values(np.array(image), path)


def _is_grey(image: Image.Image) -> bool:
    """Whether all colours of the palette that occur are grey."""
    colours = np.unique(np.array(image.convert("RGB")).reshape(-1, 3), axis=0)
    return bool((colours == colours[:, :1]).all())


def unpacked_as(image: ImageFile.ImageFile) -> str:
    """What Pillow will do to stored grey to show it, before it has: "L;2" spreads 2 bits over 0…255, "L;I" inverts."""
    if image.mode != "L" or not image.tile:
        return ""
    how = image.tile[0].args
    return str(how[0] if isinstance(how, tuple) else how)


def as_stored(shown: Array, unpacked_as: str) -> Array:
    """What was stored, of grey as Pillow shows it (see `unpacked_as`)."""
    found = _UNPACKED.fullmatch(unpacked_as)
    if found is None:
        return shown
    bits, inverted = found.groups()
    return np.asarray((~shown if inverted else shown) >> (8 - int(bits or 8)))


def whole_numbers(array: Array, path: Path) -> Array:
    """Floats as the integers that they are.

    Raises:
        ValueError: some are none; says what they seem to be, and how integers are made of them.
    """
    what, change = f"mask '{path}' has {array.dtype} values", ""
    if lost := int(array.size - np.isfinite(array).sum()):
        what += f", of which {lost:,} are NaN or infinite; masks hold integers. Give these pixels the ignore value"
        change = "np.nan_to_num(a, nan=255, posinf=255, neginf=255).round().astype('uint8')"
    elif (array != np.rint(array)).any():
        probable = array.min() >= 0 and array.max() <= 1
        what += ", not all of them whole; masks hold integers. "
        what += "Probabilities become classes by a threshold" if probable else "Round them, if they were blended"
        change = "(a > 0.5).astype('uint8')" if probable else "a.round().astype('uint8')"
    if change:
        how = rewritten(path, change) if path.suffix.lower() == ".npy" else f"for its array a, {change}"
        raise ValueError(f"{what}: {how}")
    return array.astype(np.int64)


def refuse_planes(array: Array, path: Path) -> None:
    """A mask with more planes than a picture has colours, of which all but the first would be dropped.

    Raises:
        ValueError: says how to save it.
    """
    planes = array.shape[2] if array.ndim == 3 else 1
    if planes > COLOUR_PLANES or (planes == 2 and path.suffix.lower() == ".npy"):
        raise ValueError(f"{one_hot_advice(path, array.shape)}.")


def label_values(array: Array, path: Path) -> Array:
    """(H, W) integers, or (H, W, 3) of a mask in colours.

    Raises:
        ValueError: the file holds something else.
    """
    if array.dtype == np.bool_:
        array = array.astype(np.uint8)
    if array.ndim == 3:
        array = array[..., :3] if array.shape[2] >= 3 else array[..., :1]  # alpha is no label
        if (array == array[..., :1]).all():
            array = array[..., 0]
    if array.dtype.kind == "f":
        array = whole_numbers(array, path)
    if not np.issubdtype(array.dtype, np.integer):
        raise ValueError(
            f"mask '{path}' has shape {array.shape} and {array.dtype} values: masks are (H, W) integers. Save it as "
            "such, with .astype('uint8')."
        )
    return np.ascontiguousarray(array)
