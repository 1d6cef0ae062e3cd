"""Parts of JPEG and PNG files equal the same parts of the whole, and damage within them is found."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from perpixel.data.formats import decode
from perpixel.data.formats import partial_decode as partial
from perpixel.data.formats.decode import image_shape, read_image, read_values
from perpixel.windows import Window

pytest.importorskip("kornia_rs", reason="needs perpixel[fast]")
pytest.importorskip("nvidia.nvimgcodec", reason="needs perpixel[fast]")

HEIGHT, WIDTH = 75, 101
WINDOWS = [(0, 0, 75, 101), (0, 0, 20, 30), (17, 33, 31, 47), (16, 32, 16, 16), (40, 61, 35, 40), (74, 100, 1, 1)]
JPEGS: list[dict[str, Any]] = [
    {"quality": 90},
    {"quality": 60, "subsampling": "4:4:4"},
    {"quality": 95, "subsampling": "4:2:2"},
    {"progressive": True},
    {"restart_marker_rows": 1},
    {"optimize": True, "quality": 30},
]


def picture(channels: int) -> Any:
    rng = np.random.default_rng(0)
    rough = Image.fromarray(rng.integers(0, 256, (9, 12, 3), np.uint8)).resize((WIDTH, HEIGHT), 3)
    noisy = np.asarray(rough) // 2 + rng.integers(0, 100, (HEIGHT, WIDTH, 3), np.uint8)
    return Image.fromarray(noisy if channels == 3 else noisy[..., 0])


def refuse(*_: object) -> None:
    raise AssertionError("the whole file was decoded")


@pytest.mark.parametrize("how", JPEGS, ids=str)
def test_parts_of_a_jpeg(how: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.jpg"
    picture(3).save(path, **how)
    whole = read_image(path)
    monkeypatch.setattr(decode, "_fast_jpeg", refuse)
    for window in map(Window._make, WINDOWS):
        np.testing.assert_array_equal(read_image(path, window=window), whole[window.slices])


@pytest.mark.parametrize("kind", ["L", "RGB", "P"])
def test_parts_of_a_png(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.png"
    image = picture(3 if kind == "RGB" else 1)
    if kind == "P":
        image.putpalette([value for index in range(256) for value in (index, 255 - index, index // 2)])
    image.save(path)
    read = read_image if kind == "RGB" else read_values
    whole = read(path)
    monkeypatch.setattr(decode, "_opened", refuse)
    for window in map(Window._make, WINDOWS):
        np.testing.assert_array_equal(read(path, window=window), whole[window.slices])


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_turned_files_are_turned_first(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix}"
    image = picture(3)
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(path, exif=exif)
    window = Window(60, 20, 30, 40)
    assert image_shape(path) == (WIDTH, HEIGHT)
    np.testing.assert_array_equal(read_image(path, window=window), read_image(path)[window.slices])


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_a_file_that_is_cut_short_is_an_error(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix}"
    picture(3).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ValueError, match=f"a{suffix}"):
        read_image(path, window=Window(0, 0, 10, 10))


def test_damage_within_a_png_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    picture(1).save(path)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 255
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"a\.png"):
        read_values(path, Window(60, 0, 10, 10))


def test_a_worker_decodes_after_the_training_process_has(tmp_path: Path) -> None:
    picture(3).save(tmp_path / "a.jpg")
    window = Window(17, 33, 31, 47)
    here = read_image(tmp_path / "a.jpg", window=window)
    with ProcessPoolExecutor(1, get_context("fork")) as pool, ThreadPoolExecutor(3) as threads:
        there = pool.submit(read_image, tmp_path / "a.jpg", 3, window).result(timeout=60)
        beside = list(threads.map(lambda _: read_image(tmp_path / "a.jpg", 3, window), range(9)))
    for part in (there, *beside):
        np.testing.assert_array_equal(part, here)


def test_without_the_extra_the_whole_file_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture(3).save(tmp_path / "a.jpg")
    picture(1).save(tmp_path / "a.png")
    window = Window(17, 33, 31, 47)
    parts = read_image(tmp_path / "a.jpg", window=window), read_values(tmp_path / "a.png", window)
    monkeypatch.setattr(partial, "_jpeg_decoder", lambda *_: None)
    monkeypatch.setattr(partial, "_png_decoder", lambda: None)
    np.testing.assert_array_equal(read_image(tmp_path / "a.jpg", window=window), parts[0])
    np.testing.assert_array_equal(read_values(tmp_path / "a.png", window), parts[1])
