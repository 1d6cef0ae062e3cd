from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from perpixel.data import Folder
from perpixel.data.formats.jpeg import ends_early

NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (75, 90, 3), np.uint8))
KINDS: list[dict[str, Any]] = [
    {}, {"progressive": True}, {"subsampling": 0, "quality": 95}, {"optimize": True}, {"restart_marker_blocks": 3},
]  # fmt: skip


@pytest.mark.parametrize("options", KINDS)
@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("flat", [False, True])
def test_half_a_jpeg_with_an_end_is_told_from_a_whole_one(
    tmp_path: Path, options: dict[str, Any], mode: str, flat: bool
) -> None:
    path = tmp_path / "a.jpg"
    image = Image.new("RGB", (90, 75), (128, 128, 128)) if flat else NOISE
    image.convert(mode).save(path, **options)
    assert not ends_early(path)
    if not flat:
        path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3] + b"\xff\xd9")
        assert ends_early(path)


def encoded(image: Image.Image, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", **options)
    return file.getvalue()


def photo() -> Image.Image:
    """Smooth, with noise; its lower half is flat."""
    y, x = np.mgrid[:160, :200]
    pixels = np.stack([x, y, x + y], axis=-1) + np.random.default_rng(0).normal(0, 6, (160, 200, 3))
    pixels[80:] = 128
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


MORE_KINDS = [*KINDS, {"progressive": True, "restart_marker_rows": 1}, {"progressive": True, "quality": 100}]
BEHIND: dict[str, bytes] = {
    "nothing": b"", "zeros": bytes(3000), "a preview": encoded(NOISE), "text": b"\r\nnotes \xff\xd9",
}  # fmt: skip


@pytest.mark.parametrize("options", MORE_KINDS)
def test_what_a_jpeg_ends_with_is_not_mistaken(tmp_path: Path, options: dict[str, Any]) -> None:
    """Cut copies are found whatever fills them up or comes behind them, and whole pictures pass."""
    path, exif = tmp_path / "a.jpg", Image.Exif()
    exif[0x010E] = "a comment with \xff\xd9"
    for mode in ("RGB", "L", "CMYK"):
        whole = encoded(photo().convert(mode), exif=exif, comment=b"\xff\xd9", **options)
        half = whole[: len(whole) // 3]
        fill = bytes(len(whole) - len(half))
        for what, behind in BEHIND.items():
            path.write_bytes(whole + behind)
            assert not ends_early(path), f"{mode}, {what} behind a whole picture"
            path.write_bytes(half + b"\xff\xd9" + behind)
            assert ends_early(path), f"{mode}, {what} behind a cut one"
        for filled in (half + fill + b"\xff\xd9", half + fill):
            path.write_bytes(filled)
            assert ends_early(path), f"{mode}, filled up with zeros"


def test_flat_pictures_and_several_in_one_file_are_whole(tmp_path: Path) -> None:
    """A flat picture may be stored as a kilobyte of zeros."""
    path = tmp_path / "a.jpg"
    for options in MORE_KINDS:
        for colour in ("black", "white", (128, 128, 128)):
            path.write_bytes(encoded(Image.new("RGB", (641, 483), colour), **options))
            assert not ends_early(path), (options, colour)
    NOISE.save(path, "MPO", save_all=True, append_images=[photo()])
    assert not ends_early(path)


@pytest.mark.parametrize("options", [{"restart_marker_blocks": 3}, {"progressive": True}])
def test_a_jpeg_cut_between_its_parts(tmp_path: Path, options: dict[str, Any]) -> None:
    """Where a restart, or another scan, was to follow, no half-used code tells of the cut."""
    path, mark = tmp_path / "a.jpg", b"\xff\xd4" if "restart_marker_blocks" in options else b"\xff\xda"
    whole = encoded(NOISE, **options)
    path.write_bytes(whole[: whole.rindex(mark)] + b"\xff\xd9")
    assert ends_early(path)


def test_half_a_jpeg_is_listed_before_training(make_folder: Callable[..., Path]) -> None:
    root = make_folder(
        [f"{part}/{i}" for part in ("train", "val") for i in range(3)], lambda rng: np.zeros((75, 90), "u1")
    )
    for path in sorted((root / "images").rglob("*.png")):
        NOISE.save(path.with_suffix(".jpg"))
        path.unlink()
    bad = root / "images" / "train" / "1.jpg"
    bad.write_bytes(bad.read_bytes()[: bad.stat().st_size // 2] + b"\xff\xd9")
    split = Folder(str(root), ["a", "b", "c"], split="folders").split("train")
    with pytest.raises(ValueError, match=r"1 of 3 pairs are faulty:\n.*1\.jpg' cannot be decoded \(its data end"):
        split.verify()
