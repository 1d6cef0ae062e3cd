"""Files to arrays, strictly: a file that is cut short, too large or of another kind is an error that names it.

OpenCV gives a grey-filled image for a truncated JPEG and ignores the orientation of some formats; Pillow raises, so
Pillow decodes here all but complete RGB JPEGs. Images and masks are turned upright by the same EXIF rule.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tokenize import TokenError
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFile, ImageOps

from perpixel.data.orientation import orientation_of, upright, upright_shape
from perpixel.data.partial import jpeg_part, png_rows
from perpixel.data.png import SIGNATURE, chunks
from perpixel.data.tiff import TiffHeader, Window, read_tiff, tiff_header

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".tif", ".tiff", ".bmp", ".npy")
UNREAD_SUFFIXES = (
    ".arw", ".avif", ".cr2", ".cr3", ".dcm", ".dng", ".exr", ".gif", ".hdr", ".heic", ".heif", ".j2k", ".jp2", ".jxl",
    ".mat", ".nef", ".nii", ".npz", ".pbm", ".pgm", ".ppm", ".pnm", ".psd", ".tga",
)  # fmt: skip
"""Endings of pictures that are not read, and so are told of where they lie among images. Whatever ends otherwise
(README.txt, Thumbs.db, JSON) is taken for no image, and nobody is bothered with it."""

TIFF_SUFFIXES = (".tif", ".tiff")
MASK_SUFFIXES = (".png", ".tif", ".tiff", ".bmp", ".npy", ".webp")

MAX_PIXELS = 178_956_970
"""Pixels above which an image, or the window of one that can be read by window, is refused from its header: a small
file can decode to gigabytes. (It is Pillow's own default bound, which any library in the process may have switched
off.)"""

MAX_BYTES = 1 << 32
"""The same of a decoded TIFF's bytes, whose bands and depth no bound on pixels counts: a Sentinel-2 scene with all its
13 bands of 16 bits, 3 GB, may still be read whole."""

_CUT = "or cut it into tiles"
_SET_TILE = f"set data.source.tile=[1024,1024] to have it read by window, {_CUT}"
_TILES = f"save it as a TIFF with tiles or strips and set data.source.tile, {_CUT}"

COLOUR_BANDS = 4
"""Bands of a picture that shows colours and transparency, whatever it is used for."""

_NOTES = (b"XML:com.adobe.xmp", b"Raw profile type ")  # texts in which a PNG may keep an orientation
_JPEGS = ("JPEG", "MPO")  # the second holds several, as cameras write them
_DEEP_PNG_BANDS = {b"\x10\x02": 3, b"\x10\x04": 1, b"\x10\x06": 3}  # by depth and colour type
_UNPACKED = re.compile("L;([24]?)(I?)R?")  # Pillow's raw modes of grey
_AS_FLOAT = (np.int16, np.float64)  # float32 holds all of the one, and more of the other than a network sees
_ENDS = dict.fromkeys((".jpg", ".jpeg", ".jpe", ".jfif"), b"\xff\xd9") | {".png": b"IEND\xae\x42\x60\x82"}

Array = npt.NDArray[Any]


def read_image(path: Path, channels: int = 3, window: Window | None = None) -> Array:
    """Decode an image.

    Args:
        path: PNG, JPEG, WebP, TIFF (any depth and bands), BMP or NumPy file.
        channels: C of the result. Grey files become RGB, and 8-bit RGB ones grey, where 3 or 1 asks for it.
        window: the part to read, upright; tiled TIFFs and NumPy files are not read beyond it, JPEGs and PNGs only as
            far as need be (see ``perpixel.data.partial``).

    Returns:
        (H, W, C) in the file's depth (uint8, uint16 or float32), upright. Of signed 16-bit integers (heights,
        reflectances, decibels) and float64 the values as float32: the former's scale is their own, so full scale is 1.

    Raises:
        ValueError: the file is missing, damaged or too large, or has another number of channels.
    """
    direct = _read_directly(path, window, channels)
    if isinstance(direct, Image.Image):
        return _as_asked(direct, channels, path)
    if direct is not None:
        return _with_channels(_as_hwc(direct, path), channels, path)
    if window is not None and channels == 3 and (part := _png_window(path, window)) is not None and part.ndim == 3:
        return part
    with _opened(path) as image:
        if image.format == "JPEG" and image.mode == "RGB" and channels == 3 and not is_cut_short(path):
            return _jpeg_window(path, image, window) if window else _fast_jpeg(path, image)
        return _as_asked(_cropped(_upright(image), window, path), channels, path)


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
        return _picture_values(direct, colours, path)
    if direct is not None:
        return _label_values(direct, path)
    with _opened(path) as image:
        if image.format in _JPEGS:
            raise _blurred(path, "is a JPEG")
        if image.format == "WEBP" and _is_lossy_webp(path):
            raise _blurred(path, "is a lossy WebP")
        unpacked_as = _unpacked_as(image)
        values = _picture_values(_cropped(_upright(image), window, path), colours, path)
        return values if colours else _as_stored(values, unpacked_as)


def image_shape(path: Path) -> tuple[int, int]:
    """(H, W) from a file's header, upright."""
    if path.suffix.lower() == ".npy":
        height, width, *_ = _load_npy(path).shape
        return height, width
    if path.suffix.lower() in TIFF_SUFFIXES:
        return tiff_header(path).shape
    if path.suffix.lower() == ".png" and path.is_file() and (shape := _png_shape(path.read_bytes())):
        check_pixels(*shape, f"'{path}'", _TILES)
        return shape
    with _opened(path) as image:
        width, height = image.size
        return upright_shape((height, width), orientation_of(image))


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


def check_pixels(height: int, width: int, what: str, mend: str) -> None:
    """Refuse more pixels than an image may have, before they are decoded or drawn: a small file can ask for terabytes.

    Raises:
        ValueError: says how large ``what`` is, the bound and the mend.
    """
    if height * width > MAX_PIXELS:
        raise ValueError(f"{what} is {height}×{width} (H×W), more than {MAX_PIXELS:,} pixels: {mend}.")


def _as_asked(image: Image.Image, channels: int, path: Path) -> Array:
    mode = {1: "L", 3: "RGB"}.get(channels)
    if mode and image.mode in ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr"):
        image = image.convert(mode)
    return _with_channels(_as_hwc(np.array(image), path), channels, path)


def _blurred(path: Path, what: str) -> ValueError:
    return ValueError(f"mask '{path}' {what}, which blurs labels: save masks as PNG.")


def _is_lossy_webp(path: Path) -> bool:
    """Whether pixels are coded as VP8, as in JPEG, rather than VP8L."""
    data, start = path.read_bytes(), 12
    while kind := data[start : start + 4]:
        if kind == b"VP8 ":
            return True
        size = int.from_bytes(data[start + 4 : start + 8], "little")
        start += 8 + (16 if kind == b"ANMF" else size + size % 2)  # a frame of an animation holds chunks of its own
    return False


def _read_directly(
    path: Path, window: Window | None, channels: int, is_mask: bool = False
) -> Array | Image.Image | None:
    """Formats that Pillow does not read, narrows to 8 bits or reads whole; None for the others."""
    suffix = path.suffix.lower()
    if suffix == ".npy":
        array = _load_npy(path)
        return array if window is None else array[window.slices]
    if suffix in TIFF_SUFFIXES:
        return _tiff(path, window, channels, is_mask)
    if bands := _deep_png_bands(path):
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
        needs = f"to read it by window, install '{header.needs}' (pip install 'perpixel[geo]'), {_CUT}"
        check_pixels(*header.shape, f"'{path}'", needs if window and header.needs else _TILES)
        return None
    height, width = window[2:] if window else header.shape
    mend = _SET_TILE if window is None else _TILES
    check_pixels(height, width, f"'{path}'", mend)
    if header.bands > max(channels, COLOUR_BANDS):  # a header can claim 65535
        raise ValueError(f"'{path}' has {header.bands} bands, but the data set is read with {channels} channels.")
    if (size := height * width * header.pixel_bytes) > MAX_BYTES:
        raise ValueError(f"'{path}' takes {size:,} bytes decoded, more than {MAX_BYTES:,}: {mend}.")
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


def _deep_png_bands(path: Path) -> int:
    """Bands, without alpha, of 16-bit colour and grey with alpha, whatever the file is called: Pillow gives their upper
    8 bits only. 0 for others, 16-bit grey among them, which it reads whole."""
    with suppress(OSError), path.open("rb") as file:
        header = file.read(26)
        return _DEEP_PNG_BANDS.get(header[24:], 0) if header.startswith(SIGNATURE) else 0
    return 0


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
    height, width = _png_shape(data) or (0, 0)
    within = window.top + window.height <= height and window.left + window.width <= width
    if not within or height * width > MAX_PIXELS or not data.endswith(_ENDS[".png"]):
        return None
    rows = png_rows(data, window.top + window.height)
    return None if rows is None else np.ascontiguousarray(rows[window.slices])


def _png_shape(data: bytes) -> tuple[int, int] | None:
    """(H, W) of a PNG that nothing says is to be turned; None for others. (Pillow looks behind the pixels for an
    orientation, and decodes them all.)"""
    if not data.startswith(SIGNATURE) or len(data) < 33 or _may_be_turned(data):
        return None
    height, width = int.from_bytes(data[20:24], "big"), int.from_bytes(data[16:20], "big")
    return (height, width) if height and width else None  # Pillow refuses those without pixels


def _may_be_turned(data: bytes) -> bool:
    return any(
        kind == b"eXIf" or (kind in (b"iTXt", b"tEXt", b"zTXt") and data.startswith(_NOTES, start))
        for kind, start, _ in chunks(data)
    )


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
                check_pixels(image.height, image.width, f"'{path}'", _TILES)
                image.filename = ""  # else Pillow maps the pixels as they lie, turned by 90° or not
                yield image
    except FileNotFoundError:
        raise ValueError(f"'{path}' does not exist.") from None
    except Image.DecompressionBombError:  # Pillow keeps the size to itself
        raise ValueError(f"'{path}' has more than {MAX_PIXELS:,} pixels: {_TILES}.") from None
    except Exception as error:  # a damaged file shows as whatever its bytes lead to
        if isinstance(error, ValueError) and str(path) in str(error):
            raise
        raise ValueError(f"'{path}' cannot be decoded ({error}): copy it again, or remove it.") from None


def _upright(image: Image.Image) -> Image.Image:
    return ImageOps.exif_transpose(image)


def _load_npy(path: Path) -> Array:
    try:
        array: Array = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise ValueError(f"'{path}' does not exist.") from None
    except (OSError, ValueError, EOFError, SyntaxError, TokenError) as error:  # the header is a Python literal
        raise ValueError(f"'{path}' is no NumPy array that can be read ({error}).") from None
    if not isinstance(array, np.ndarray):  # an .npz by another name
        raise ValueError(f"'{path}' is an archive of arrays: save one array with numpy.save.")
    if array.ndim not in (2, 3):
        raise ValueError(f"'{path}' has shape {array.shape}: save pictures as (H, W) or (H, W, C), masks as (H, W).")
    if not array.size:
        raise ValueError(f"'{path}' has shape {array.shape}, and so no pixels: save it again, or remove it.")
    return array


def _as_hwc(array: Array, path: Path) -> Array:
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


def _with_channels(array: Array, channels: int, path: Path) -> Array:
    if array.shape[2] == channels:
        return array
    if array.shape[2] == 1 and channels == 3:
        return np.repeat(array, 3, axis=2)
    raise ValueError(
        f"image '{path}' has {array.shape[2]} channels, but the data set is read with {channels}: "
        f"set data.source.channels={array.shape[2]}, or convert the file."
    )


def _picture_values(image: Image.Image, colours: bool, path: Path) -> Array:
    if colours and image.mode in ("P", "PA"):
        return np.array(image.convert("RGB"))
    return _label_values(np.array(image), path)


def _unpacked_as(image: ImageFile.ImageFile) -> str:
    """What Pillow will do to stored grey to show it, before it has: "L;2" spreads 2 bits over 0…255, "L;I" inverts."""
    if image.mode != "L" or not image.tile:
        return ""
    how = image.tile[0].args
    return str(how[0] if isinstance(how, tuple) else how)


def _as_stored(shown: Array, unpacked_as: str) -> Array:
    found = _UNPACKED.fullmatch(unpacked_as)
    if found is None:
        return shown
    bits, inverted = found.groups()
    return np.asarray((~shown if inverted else shown) >> (8 - int(bits or 8)))


def _label_values(array: Array, path: Path) -> Array:
    if array.dtype == np.bool_:
        array = array.astype(np.uint8)
    if array.ndim == 3:
        array = array[..., :3] if array.shape[2] >= 3 else array[..., :1]  # alpha is no label
        if (array == array[..., :1]).all():
            array = array[..., 0]
    if not np.issubdtype(array.dtype, np.integer):
        raise ValueError(f"mask '{path}' has shape {array.shape} and {array.dtype} values: masks are (H, W) integers.")
    return np.ascontiguousarray(array)
