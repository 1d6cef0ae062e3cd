"""What a training draws of its data can be seen, whatever their depth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from perpixel.augment import Plain
from perpixel.data import DataModule, Folder
from perpixel.workflows.pictures import Pictures


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_images_of_any_depth_are_drawn_from_dark_to_bright(tmp_path: Path, dtype: type[np.generic]) -> None:
    for kind in ("images", "masks"):
        (tmp_path / kind).mkdir()
    values = np.linspace(0, 250 if dtype == np.uint8 else 3000, 16 * 16).reshape(16, 16, 1).repeat(3, axis=2)
    for index in range(6):
        np.save(tmp_path / "images" / f"{index}.npy", values.astype(dtype))
        np.save(tmp_path / "masks" / f"{index}.npy", np.zeros((16, 16), np.uint8))
    data = DataModule(Folder(str(tmp_path), ["a"]), Plain(size=(16, 16)), batch_size=2)
    input_alone = _drawn_input(data, tmp_path)
    assert np.percentile(input_alone, 2) < 60
    assert np.percentile(input_alone, 98) > 200
    assert 80 < input_alone.mean() < 180


def test_each_split_is_drawn_in_its_own_depth(tmp_path: Path) -> None:
    """12 bits in 16, which an 8-bit training would leave black."""
    for index, part in enumerate(["train", "train", "val"]):
        for kind in ("images", "masks"):
            (tmp_path / kind / part).mkdir(parents=True, exist_ok=True)
        values = np.linspace(0, 250 if part == "train" else 3000, 16 * 16).reshape(16, 16, 1).repeat(3, axis=2)
        depth = np.uint8 if part == "train" else np.uint16
        np.save(tmp_path / "images" / part / f"{index}.npy", values.astype(depth))
        np.save(tmp_path / "masks" / part / f"{index}.npy", np.zeros((16, 16), np.uint8))
    source = Folder(str(tmp_path), ["a"], split="folders")
    assert _drawn_input(DataModule(source, Plain(size=(16, 16)), batch_size=2), tmp_path).max() > 200


def _drawn_input(data: DataModule, run: Path) -> np.ndarray:
    """The first picture of the first validation sample's strip."""
    batch = next(iter(data.val_dataloader()))
    Pictures(data, run).overlay(data.on_after_batch_transfer(batch, 0), 0, batch["mask"][0].long())
    (path,) = (run / "overlays").glob("*.png")
    strip = np.asarray(Image.open(path))
    return strip[:, : strip.shape[1] // 5]
