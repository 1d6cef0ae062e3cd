"""Files to arrays, strictly: a file that is cut short, too large or of another kind is an error that names it.

OpenCV gives a grey-filled image for a truncated JPEG and ignores the orientation of some formats; Pillow raises, so
Pillow decodes here all but complete RGB JPEGs. Images and masks are turned upright by the same EXIF rule.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageFile, ImageOps

from perpixel.data.formats import webp
from perpixel.data.formats.bounds import CUT, MAX_PIXELS, SET_TILE, TILES, check_bytes, check_pixels, too_many
from perpixel.data.formats.npy import load_npy
from perpixel.data.formats.orientation import orientation_of, upright, upright_shape
from perpixel.data.formats.partial_decode import jpeg_part, png_rows
from perpixel.data.formats.png import deep_bands, png_shape
from perpixel.data.formats.suffixes import TIFF_SUFFIXES
from perpixel.data.formats.tiff import TiffHeader, read_tiff, tiff_header
from perpixel.data.formats.values import (
    Array,
    as_asked,
    as_hwc,
    as_stored,
    label_values,
    picture_values,
    refuse_planes,
    unpacked_as,
    with_channels,
)
from perpixel.windows import Window

COLOUR_BANDS = 4
"""Bands of a picture that shows colours and transparency, whatever it is used for."""

SHARPENED = (
    "Take the originals; of 0/255 masks that exist as JPEG alone, sharp ones are made by "
    "python -c \"from pathlib import Path; from PIL import Image; [Image.open(p).convert('L').point(lambda v: 255 * (v "
    "> 127)).save(p.with_suffix('.png')) for p in Path('masks').rglob('*.jp*g')]\" (then data.source.binary=true)."
)
"""What to do about masks that were compressed with loss."""

_JPEGS = ("JPEG", "MPO")  # the second holds several, as cameras write them
_ENDS = dict.fromkeys((".jpg", ".jpeg", ".jpe", ".jfif"), b"\xff\xd9") | {".png": b"IEND\xae\x42\x60\x82"}


def read_image(path: Path, channels: int = 3, window: Window | None = None) -> Array:
    """Decode an image.

    Args:
        path: PNG, JPEG, WebP, TIFF (any depth and bands), BMP or NumPy file.
        channels: C of the result. Grey files become RGB, and 8-bit RGB ones grey, where 3 or 1 asks for it.
        window: the part to read, upright; tiled TIFFs and NumPy files are not read beyond it, JPEGs and PNGs only as
            far as need be (see ``perpixel.data.formats.partial_decode``).

    Returns:
        (H, W, C) in the file's depth (uint8, uint16 or float32), upright. Of signed 16-bit integers (heights,
        reflectances, decibels) and float64 the values as float32: the former's scale is their own, so full scale is 1.

    Raises:
        ValueError: the file is missing, damaged or too large, or has another number of channels.
    """
    direct = _read_directly(path, window, channels)
    if isinstance(direct, Image.Image):
        return as_asked(direct, channels, path)
    if direct is not None:
        return with_channels(as_hwc(direct, path), channels, path)
    if window is not None and channels == 3 and (part := _png_window(path, window)) is not None and part.ndim == 3:
        return part
    with _opened(path) as image:
        if image.format == "JPEG" and image.mode == "RGB" and channels == 3 and not is_cut_short(path):
            return _jpeg_window(path, image, window) if window else _fast_jpeg(path, image)
        return as_asked(_cropped(_upright(image), window, path), channels, path)


def read_picture(image: Image.Image, channels: int, path: Path) -> Array:
    """The pixels of an opened picture, as :func:`read_image` gives those of a file; ``path`` names it in errors."""
    check_pixels(image.height, image.width, f"'{path}'", TILES)
    return as_asked(_upright(image), channels, path)


def read_values(path: Path, window: Window | None = None, colours: bool = False) -> Array:
    """Decode a mask's stored values: (H, W) integers, or (H, W, 3) uint8 where the file holds colours.

    Palette files give their indices, or with ``colours`` the colours that they stand for, always (H, W, 3). Grey
    stored as RGB counts as grey. Grey of 2 or 4 bits, and of TIFFs that store white as 0, is given as it is stored;
    black and white is 0 and 1.

    Raises:
        ValueError: the file is missing, damaged, too large or coded as JPEG or lossy WebP (which change labels).
    """
    direct = _read_directly(path, window, 1, is_mask=True)
    if direct is None and window is not None and not colours:
        direct = _png_window(path, window)
    if isinstance(direct, Image.Image):
        return picture_values(direct, colours, path)
    if direct is not None:
        refuse_planes(direct, path)
        return label_values(direct, path)
    with _opened(path) as image:
        if getattr(image, "n_frames", 1) > 1 and image.format == "GIF":
            raise ValueError(f"mask '{path}' is animated, and which frame is meant is not known: save it as a PNG.")
        if image.format in _JPEGS:
            raise _blurred(path, "is a JPEG")
        if image.format == "WEBP" and webp.is_lossy(path):
            raise _blurred(path, "is a lossy WebP")
        stored_as = unpacked_as(image)
        picture = _cropped(_upright(image), window, path)
        values = picture_values(picture, colours, path, image.format == "GIF")
        return values if colours else as_stored(values, stored_as)


def image_shape(path: Path) -> tuple[int, int]:
    """(H, W) from a file's header, upright."""
    if path.suffix.lower() == ".npy":
        height, width, *_ = load_npy(path).shape
        return height, width
    if path.suffix.lower() in TIFF_SUFFIXES:
        return tiff_header(path).shape
    if path.suffix.lower() == ".png" and path.is_file() and (shape := png_shape(path.read_bytes())):
        check_pixels(*shape, f"'{path}'", TILES)
        return shape
    with _opened(path) as image:
        width, height = image.size
        return upright_shape((height, width), orientation_of(image))


def stored_channels(path: Path) -> int:
    """How many channels ``read_image`` would have to be asked for to get all that a file shows.

    A palette's colours and those beside transparency are three, grey beside transparency one.

    Raises:
        ValueError: the file cannot be read.
    """
    if path.suffix.lower() == ".npy":
        return int((*load_npy(path).shape, 1)[2])
    if path.suffix.lower() in TIFF_SUFFIXES:
        header = tiff_header(path)
        if header.plain:
            return 1 if header.palette is None and header.bands < 3 else 3
        return header.bands
    if bands := deep_bands(path):
        return bands
    with _opened(path) as image:
        return 1 if image.mode in ("1", "L", "LA", "I", "I;16", "F") else 3


def stored_orientation(path: Path) -> int:
    """How a file's header has it turned, by EXIF's number; 1 where it says nothing, or is no picture."""
    with suppress(ValueError):
        if path.suffix.lower() in TIFF_SUFFIXES:
            return tiff_header(path).orientation
        with _opened(path) as image:
            return orientation_of(image)
    return 1


def is_cut_short(path: Path) -> bool:
    """Whether a JPEG, PNG or WebP lacks its proper end: it is truncated, or something was appended."""
    suffix = path.suffix.lower()
    with path.open("rb") as file:
        head = file.read(8)
        end = file.seek(0, 2)
        file.seek(max(0, end - 8))
        tail = file.read()
    if suffix == ".webp":
        return int.from_bytes(head[4:8], "little") + 8 != end
    return not tail.endswith(_ENDS.get(suffix, b""))


def _blurred(path: Path, what: str) -> ValueError:
    return ValueError(f"mask '{path}' {what}, which blurs labels: save masks as PNG. {SHARPENED}")


def _read_directly(
    path: Path, window: Window | None, channels: int, is_mask: bool = False
) -> Array | Image.Image | None:
    """Formats that Pillow does not read, narrows to 8 bits or reads whole; None for the others."""
    suffix = path.suffix.lower()
    if suffix == ".npy":
        array = load_npy(path)
        return array if window is None else array[window.slices]
    if suffix in TIFF_SUFFIXES:
        return _tiff(path, window, channels, is_mask)
    if bands := deep_bands(path):
        return _deep_png(path, bands, window)
    return None


def _tiff(path: Path, window: Window | None, channels: int, is_mask: bool) -> Array | Image.Image | None:
    """None where Pillow is to read it: plain pictures whose windows cannot be had alone."""
    header = tiff_header(path)
    if is_mask and header.blurred:
        raise _blurred(path, "is compressed as JPEG")
    if header.pages > 1 and (is_mask or not header.pages == header.bands == channels):
        raise _several_pages(path, header, is_mask)
    if header.plain and not header.by_window:
        needs = f"to read it by window, install '{header.needs}' (pip install 'perpixel[geo]'), {CUT}"
        check_pixels(*header.shape, f"'{path}'", needs if window and header.needs else TILES)
        return None
    height, width = window[2:] if window else header.shape
    mend = SET_TILE if window is None else TILES
    check_pixels(height, width, f"'{path}'", mend)
    if header.bands > max(channels, COLOUR_BANDS):  # a header can claim 65535
        raise ValueError(f"'{path}' has {header.bands} bands, but the data set is read with {channels} channels.")
    check_bytes(height * width * header.pixel_bytes, f"'{path}'", mend)
    if window is not None:
        window.check_within(header.shape, path)
    pixels = read_tiff(path, window)
    if header.white_is_zero and not is_mask and pixels.dtype.kind == "u":
        pixels = header.white_is_zero - pixels
    return _as_picture(pixels, header.palette) if header.plain else pixels


def _several_pages(path: Path, header: TiffHeader, is_mask: bool) -> ValueError:
    mend = "save each page as a file"
    if header.pages == header.bands and not is_mask:
        mend += f", or set data.source.channels={header.pages} if they are the bands of one image"
    return ValueError(f"'{path}' has {header.pages} pages of the same size, and which is meant is not known: {mend}.")


def _as_picture(pixels: Array, palette: bytes | None) -> Image.Image:
    """As Pillow would have opened it."""
    image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    if palette is not None:
        image.putpalette(palette)
    return image


def _deep_png(path: Path, bands: int, window: Window | None) -> Array:
    with _opened(path) as image:
        turn = orientation_of(image)
        image.load()  # OpenCV would fill what is missing of a truncated file
    pixels = np.asarray(cv2.imread(str(path), cv2.IMREAD_UNCHANGED))  # grey with alpha as BGRA, too
    pixels = upright(pixels[..., 2::-1][..., :bands], turn)
    return pixels if window is None else pixels[window.slices]


def _fast_jpeg(path: Path, image: Image.Image) -> Array:
    """OpenCV decodes complete JPEGs in half Pillow's time; it would fill what is missing with grey."""
    pixels = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)  # it knows no XMP
    if pixels is None:
        raise OSError("not decodable")
    return np.ascontiguousarray(upright(np.asarray(pixels), orientation_of(image)))


def _jpeg_window(path: Path, image: Image.Image, window: Window) -> Array:
    part = jpeg_part(path.read_bytes(), window) if orientation_of(image) == 1 else None
    return np.ascontiguousarray(_fast_jpeg(path, image)[window.slices]) if part is None else part


def _png_window(path: Path, window: Window) -> Array | None:
    """None where all of the file must be decoded, or looked at more closely for what is wrong with it."""
    if path.suffix.lower() != ".png" or not path.is_file():
        return None
    data = path.read_bytes()
    height, width = png_shape(data) or (0, 0)
    within = window.top + window.height <= height and window.left + window.width <= width
    if not within or too_many(height, width) or not data.endswith(_ENDS[".png"]):
        return None
    rows = png_rows(data, window.top + window.height)
    return None if rows is None else np.ascontiguousarray(rows[window.slices])


def _cropped(image: Image.Image, window: Window | None, path: Path) -> Image.Image:
    if window is None:
        return image
    window.check_within((image.height, image.width), path)  # Pillow would fill up with 0
    return image.crop((window.left, window.top, window.left + window.width, window.top + window.height))


@contextmanager
def _opened(path: Path) -> Iterator[ImageFile.ImageFile]:
    """An image whose pixels are not decoded yet; whatever Pillow raises becomes an error that names the file."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                if image.format == "TIFF" and path.suffix.lower() not in TIFF_SUFFIXES:  # whose depth would be lost
                    raise ValueError(f"'{path}' is a TIFF by another name: let it end in .tif.")
                check_pixels(image.height, image.width, f"'{path}'", TILES)
                image.filename = ""  # else Pillow maps the pixels as they lie, turned by 90° or not
                yield image
    except FileNotFoundError:
        raise ValueError(f"'{path}' does not exist.") from None
    except Image.DecompressionBombError:  # Pillow keeps the size to itself
        raise ValueError(f"'{path}' has more than {MAX_PIXELS:,} pixels: {TILES}.") from None
    except Exception as error:  # a damaged file shows as whatever its bytes lead to
        if isinstance(error, ValueError) and str(path) in str(error):
            raise
        raise ValueError(f"'{path}' cannot be decoded ({error}): copy it again, or remove it.") from None


def _upright(image: Image.Image) -> Image.Image:
    return ImageOps.exif_transpose(image)
