from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from perpixel.data import Folder
from perpixel.data.jpeg import ends_early

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
