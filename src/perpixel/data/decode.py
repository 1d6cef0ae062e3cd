"""Files to arrays, strictly: a file that is cut short, too large or of another kind is an error that names it.

OpenCV gives a grey-filled image for a truncated JPEG and ignores the orientation of some formats; Pillow raises, so
Pillow decodes here. Images and masks are turned upright by the same EXIF rule.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".npy")
MASK_SUFFIXES = (".png", ".tif", ".tiff", ".bmp", ".npy", ".webp")

MAX_PIXELS = 178_956_970
"""Pixels above which an image is refused from its header: a small file can decode to gigabytes. (It is Pillow's own
default bound, which any library in the process may have switched off.)"""

_TRANSPOSED = {5, 6, 7, 8}  # EXIF orientations that swap height and width
_ORIENTATION = 0x0112

Array = npt.NDArray[Any]


def read_image(path: Path, channels: int = 3) -> Array:
    """Decode an image.

    Args:
        path: PNG, JPEG, WebP, TIFF, BMP or NumPy file.
        channels: C of the result. Grey files become RGB, and RGB ones grey, where 3 or 1 asks for it.

    Returns:
        (H, W, C) in the file's depth (uint8, uint16 or float32), upright.

    Raises:
        ValueError: the file is missing, damaged or too large, or has another number of channels.
    """
    if path.suffix.lower() == ".npy":
        return _with_channels(_as_hwc(_load_npy(path), path), channels, path)
    with _opened(path) as image:
        upright = _upright(image)
        mode = {1: "L", 3: "RGB"}.get(channels)
        if mode and upright.mode in ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr"):
            upright = upright.convert(mode)
        return _with_channels(_as_hwc(np.array(upright), path), channels, path)


def read_values(path: Path) -> Array:
    """Decode a mask's stored values: (H, W) integers, or (H, W, 3) uint8 where the file holds colours.

    Palette files give their indices, not their colours. Grey stored as RGB counts as grey.

    Raises:
        ValueError: the file is missing, damaged, too large or a JPEG (which changes labels).
    """
    if path.suffix.lower() in (".jpg", ".jpeg"):
        raise ValueError(f"mask '{path}' is a JPEG, which blurs labels: save masks as PNG.")
    if path.suffix.lower() == ".npy":
        return _label_values(_load_npy(path), path)
    with _opened(path) as image:
        return _label_values(np.array(_upright(image)), path)


def image_shape(path: Path) -> tuple[int, int]:
    """(H, W) from a file's header, upright."""
    if path.suffix.lower() == ".npy":
        height, width = _load_npy(path).shape[:2]
        return int(height), int(width)
    with _opened(path) as image:
        width, height = image.size
        turned = image.getexif().get(_ORIENTATION) in _TRANSPOSED
    return (width, height) if turned else (height, width)


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """An image whose pixels are not decoded yet; whatever Pillow raises becomes an error that names the file."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise Image.DecompressionBombError
                yield image
    except FileNotFoundError:
        raise ValueError(f"'{path}' does not exist.") from None
    except Image.DecompressionBombError:
        raise ValueError(f"'{path}' has more than {MAX_PIXELS:,} pixels: cut it into tiles first.") from None
    except (OSError, SyntaxError) as error:
        raise ValueError(f"'{path}' cannot be decoded ({error}): copy it again, or remove it.") from None


def _upright(image: Image.Image) -> Image.Image:
    return ImageOps.exif_transpose(image)


def _load_npy(path: Path) -> Array:
    try:
        array: Array = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise ValueError(f"'{path}' does not exist.") from None
    except (OSError, ValueError, EOFError) as error:
        raise ValueError(f"'{path}' is no NumPy array that can be read ({error}).") from None
    return array


def _as_hwc(array: Array, path: Path) -> Array:
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3:
        raise ValueError(f"'{path}' has shape {array.shape}, but an image is (H, W) or (H, W, C).")
    if array.dtype in (np.uint8, np.uint16, np.float32):
        return np.ascontiguousarray(array)
    if array.dtype == np.bool_:
        return array.astype(np.uint8) * np.uint8(255)
    raise ValueError(f"'{path}' holds {array.dtype} values: store images as uint8, uint16 or float32.")


def _with_channels(array: Array, channels: int, path: Path) -> Array:
    if array.shape[2] == channels:
        return array
    if array.shape[2] == 1 and channels == 3:
        return np.repeat(array, 3, axis=2)
    raise ValueError(
        f"image '{path}' has {array.shape[2]} channels, but the data set is read with {channels}: "
        f"set data.source.channels={array.shape[2]}, or convert the file."
    )


def _label_values(array: Array, path: Path) -> Array:
    if array.dtype == np.bool_:
        array = array.astype(np.uint8)
    if array.ndim == 3:
        array = array[..., :3] if array.shape[2] >= 3 else array[..., :1]  # alpha is no label
        if (array == array[..., :1]).all():
            array = array[..., 0]
    if array.ndim not in (2, 3) or not np.issubdtype(array.dtype, np.integer):
        raise ValueError(f"mask '{path}' has shape {array.shape} and {array.dtype} values: masks are (H, W) integers.")
    return np.ascontiguousarray(array)
