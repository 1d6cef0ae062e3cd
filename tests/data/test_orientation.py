"""One rule for all formats: header, pixels and windows agree with what Pillow shows."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageOps, PngImagePlugin

from perpixel.data.files.inspection import check_sizes
from perpixel.data.files.pairs import Pair
from perpixel.data.formats.decode import image_shape, read_image, read_values
from perpixel.data.formats.orientation import upright
from perpixel.windows import Window

STORED = np.random.default_rng(0).integers(0, 65536, (20, 30, 3), np.uint16)
WINDOW = Window(3, 5, 11, 7)


def shown(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """By Pillow, channel by channel."""

    def one(channel: np.ndarray) -> np.ndarray:
        image = Image.fromarray(channel)
        image.getexif()[0x0112] = orientation
        return np.asarray(ImageOps.exif_transpose(image))

    return np.stack([one(pixels[..., channel]) for channel in range(3)], axis=-1)


def with_xmp(path: Path, orientation: int) -> None:
    note = PngImagePlugin.PngInfo()
    note.add_itxt("XML:com.adobe.xmp", f'<rdf tiff:Orientation="{orientation}"/>')
    Image.fromarray(STORED.astype(np.uint8)).save(path, pnginfo=note)


def with_exif(path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(STORED.astype(np.uint8)).save(path, exif=exif, **({"lossless": True} if path.suffix else {}))


def deep_png(path: Path, orientation: int) -> None:
    cv2.imwrite(str(path), STORED[..., ::-1])
    data, exif = path.read_bytes(), Image.Exif()
    exif[0x0112] = orientation
    body = b"eXIf" + exif.tobytes()[6:]
    chunk = (len(body) - 4).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")
    path.write_bytes(data[:33] + chunk + data[33:])


def tiff(dtype: type, xmp: bool = False) -> Any:
    def write(path: Path, orientation: int) -> None:
        packet = f'<rdf tiff:Orientation="{orientation}"/>'.encode()
        tag = (700, 1, len(packet), packet, True) if xmp else (274, 3, 1, orientation, True)
        tifffile.imwrite(path, STORED.astype(dtype), photometric="rgb", tile=(16, 16), extratags=[tag])

    return write


WRITERS = {
    "8-bit.tif": tiff(np.uint8), "16-bit.tif": tiff(np.uint16), "xmp.tif": tiff(np.uint8, xmp=True),
    "exif.png": with_exif, "xmp.png": with_xmp, "16-bit.png": deep_png, "exif.webp": with_exif,
}  # fmt: skip


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", WRITERS)
def test_header_pixels_and_windows_agree(tmp_path: Path, name: str, orientation: int) -> None:
    WRITERS[name](tmp_path / name, orientation)
    pixels = STORED if "16-bit" in name else STORED.astype(np.uint8)
    expected = shown(pixels, orientation)
    assert image_shape(tmp_path / name) == expected.shape[:2]
    np.testing.assert_array_equal(read_image(tmp_path / name), expected)
    np.testing.assert_array_equal(read_image(tmp_path / name, 3, WINDOW), expected[WINDOW.slices])


PLAIN: dict[str, tuple[int, dict[str, Any]]] = {
    "grey": (1, {"photometric": "minisblack"}),
    "palette": (1, {"photometric": "palette", "colormap": np.arange(768, dtype=np.uint16).reshape(3, 256) * 80}),
    "RGB": (3, {"photometric": "rgb"}),
    "RGBA": (4, {"photometric": "rgb", "extrasamples": ["unassalpha"]}),
    "CMYK": (4, {"photometric": "separated"}),
    "big-endian BigTIFF": (1, {"photometric": "minisblack", "bigtiff": True, "byteorder": ">"}),
}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", PLAIN)
def test_plain_tiffs_are_turned_and_not_reflowed(tmp_path: Path, kind: str, orientation: int) -> None:
    """Uncompressed and of 8 bits: Pillow would map them into memory as they lie."""
    path, (bands, options) = tmp_path / "a.tif", PLAIN[kind]
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, bands), np.uint8)
    tifffile.imwrite(path, pixels.squeeze(), extratags=[(274, 3, 1, orientation, True)], **options)
    expected = upright(pixels, orientation)
    assert image_shape(path) == expected.shape[:2]
    for window in (None, WINDOW):
        read = read_values(path, window)[..., None] if bands == 1 else read_image(path, bands, window)
        np.testing.assert_array_equal(read, expected if window is None else expected[window.slices])


@pytest.mark.parametrize("name", ["8-bit.tif", "exif.png", "exif.webp"])
def test_an_orientation_that_only_the_image_has_is_told(tmp_path: Path, name: str) -> None:
    WRITERS[name](tmp_path / name, 6)
    for mask, told in (("mask.png", r"orientation 6, the mask's by 1 \(1 is upright\)"), (name, r"same size\.$")):
        Image.fromarray(STORED[..., 0].astype(np.uint8)).save(tmp_path / "mask.png")
        with pytest.raises(ValueError, match=told):
            check_sizes(Pair("a", tmp_path / name, tmp_path / mask), (30, 20), (20, 30))
