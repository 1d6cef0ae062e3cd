"""PNGs that decode although something of them is lost are found before training."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from perpixel.data import Folder
from perpixel.data.formats.decode import read_image, read_values
from perpixel.data.formats.png import SIGNATURE, fault

HEADERS = [(1, 0), (2, 0), (4, 0), (8, 0), (16, 0), (8, 2), (16, 2), (1, 3), (4, 3), (8, 3), (8, 4), (16, 4), (8, 6)]
BANDS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(size: tuple[int, int], depth: int, colour_type: int, rows: int) -> bytes:
    """(H, W), of which only so many rows come."""
    height, width = size
    stride = 1 + -(-width * depth * BANDS[colour_type] // 8)
    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    palette = chunk(b"PLTE", bytes(6)) if colour_type == 3 else b""
    pixels = chunk(b"IDAT", zlib.compress(bytes(rows * stride)))
    return SIGNATURE + chunk(b"IHDR", header) + palette + pixels + chunk(b"IEND", b"")


@pytest.mark.parametrize(("depth", "colour_type"), HEADERS)
@pytest.mark.parametrize("size", [(5, 13), (8, 8), (1, 1), (700, 900)])
def test_rows_are_counted(size: tuple[int, int], depth: int, colour_type: int) -> None:
    assert fault(png(size, depth, colour_type, size[0])) == ""
    assert fault(png(size, depth, colour_type, size[0] - 1)) == "its data end before the picture does"


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (5, 13), (8, 8), (33, 20)])
@pytest.mark.parametrize("bands", [1, 3, 4])
def test_rows_of_interlaced_pictures_are_counted(size: tuple[int, int], bands: int) -> None:
    """The seven passes hold each pixel once: (H, W) pixels, and a filter's byte for each row of a pass."""
    height, width = size
    rows = [
        len(range(left, width, across)) * bands + 1
        for left, top, across, down in [
            (0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2),
        ]
        for _ in range(top, height, down)
        if len(range(left, width, across))
    ]  # fmt: skip
    header = struct.pack(">IIBBBBB", width, height, 8, {1: 0, 3: 2, 4: 6}[bands], 0, 0, 1)
    for missing, expected in ((0, ""), (1, "its data end before the picture does")):
        pixels = chunk(b"IDAT", zlib.compress(bytes(sum(rows) - missing)))
        assert fault(SIGNATURE + chunk(b"IHDR", header) + pixels + chunk(b"IEND", b"")) == expected


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_whole_pictures_are_whole(mode: str) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (300, 301, 3), np.uint8))
    file = io.BytesIO()
    (noise.convert("L").convert("I;16") if mode == "I;16" else noise.convert(mode)).save(file, "PNG")
    assert fault(file.getvalue()) == ""


def halved(path: Path) -> None:
    with Image.open(path) as image:
        size = (image.height, image.width)
    path.write_bytes(png(size, 8, 0, size[0] // 2))


def of_another_sum(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-13] ^= 1  # the last chunk of pixels ends with its sum; twelve bytes of IEND come behind
    path.write_bytes(data)


def test_pixels_that_cannot_be_unpacked() -> None:
    data, stream = png((64, 64), 8, 0, 64), zlib.compress(np.random.default_rng(0).bytes(65 * 64))
    spoilt = stream[:-4] + bytes(4)
    start = data.index(b"IDAT") - 4
    data = data[:start] + chunk(b"IDAT", spoilt) + chunk(b"IEND", b"")
    assert fault(data) == "its pixels cannot be unpacked"


@pytest.mark.parametrize("spoil", [halved, of_another_sum])
@pytest.mark.parametrize("tile", [None, [8, 8]])
@pytest.mark.parametrize("kind", ["images", "masks"])
def test_what_decodes_but_is_damaged_is_listed_before_training(
    make_folder: Callable[..., Path], kind: str, tile: list[int] | None, spoil: Callable[[Path], None]
) -> None:
    root = make_folder([f"{part}/{i}" for part in ("train", "val") for i in range(3)])
    bad = root / kind / "train" / "1.png"
    spoil(bad)
    read_image(bad) if kind == "images" else read_values(bad)
    options: dict[str, Any] = {"split": "folders", "tile": tile, "mean": [0.5] * 3, "std": [0.5] * 3}
    with pytest.raises(ValueError, match=r"pairs are faulty:\n'.*train.1\.png' cannot be decoded"):
        Folder(str(root), ["a", "b", "c"], **options).split("train").verify()


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_pictures_that_are_called_jpeg_are_no_half_ones(make_folder: Callable[..., Path], kind: str) -> None:
    root = make_folder([f"{part}/{i}" for part in ("train", "val") for i in range(3)])
    for path in sorted((root / "images").rglob("*.png")):
        with Image.open(path) as image:
            image.save(path.with_suffix(".jpg"), kind, lossless=True)
        path.unlink()
    options: dict[str, Any] = {"split": "folders", "mean": [0.5] * 3, "std": [0.5] * 3}
    Folder(str(root), ["a", "b", "c"], **options).split("train").verify()
