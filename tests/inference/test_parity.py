"""What training's evaluation does to an image is what ``predict`` does: one confusion, to the pixel."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image
from tests.conftest import paint, tiny_overrides

import perpixel
from perpixel.data.formats.decode import read_values
from perpixel.inference.sliding_window import SlidingWindow
from perpixel.metrics.confusion import confusion_matrix
from perpixel.workflows.predict import Request, predict_files
from perpixel.workflows.predicted_files import Maps

TURNED = Image.Exif()
TURNED[0x0112] = 6


def png(path: Path, pixels: np.ndarray) -> None:
    Image.fromarray(pixels).save(path.with_suffix(".png"))


def turned(path: Path, pixels: np.ndarray) -> None:
    """Stored lying on its side."""
    Image.fromarray(np.rot90(pixels)).save(path.with_suffix(".png"), exif=TURNED)


def deep(path: Path, pixels: np.ndarray) -> None:
    tifffile.imwrite(path.with_suffix(".tif"), pixels.astype(np.uint16) * 40 + 7, photometric="rgb")


def bands(path: Path, pixels: np.ndarray) -> None:
    """Five of float32, each a page."""
    five = np.concatenate([pixels, pixels[..., :2][..., ::-1]], axis=2).astype(np.float32) / 200
    tifffile.imwrite(path.with_suffix(".tif"), five.transpose(2, 0, 1), photometric="minisblack")


KINDS: dict[str, tuple[Callable[[Path, np.ndarray], None], list[str], SlidingWindow | None]] = {
    "folder": (png, [], None),
    "tiled": (png, ["data.source.tile=[24,32]"], SlidingWindow((24, 32), overlap=0)),
    "16-bit": (deep, [], None),
    "multispectral": (bands, ["data.source.channels=5"], None),
    "EXIF": (turned, [], None),
}


@pytest.mark.parametrize("kind", KINDS)
def test_predicted_files_have_the_confusion_of_the_runs_own_test(kind: str, tmp_path: Path) -> None:
    save, more, window = KINDS[kind]
    root, rng = tmp_path / "data", np.random.default_rng(3)
    sizes = [(32, 48), (50, 39), (37, 70)]
    for part, count in (("train", 8), ("val", 2), ("test", 5)):
        for number in range(count):
            pixels, mask = paint(rng, (32, 48) if part == "train" else sizes[number % 3])
            mask[:3, :4] = 255
            for folder, values, write in (("images", pixels, save), ("masks", mask, turned if kind == "EXIF" else png)):
                (root / folder / part).mkdir(parents=True, exist_ok=True)
                write(root / folder / part / f"{number}", values)
    overrides = [*tiny_overrides(root, tmp_path), "data.source.split=folders", "trainer.max_epochs=4", "loss=ce", *more]
    overrides += ["optimizer.lr=0.02", "training.ema_decay=null", "data.eval_batch_size=1", "training.overlays=0"]
    overrides += ["evaluation=none"]
    run = perpixel.train(overrides).directory
    expected: Any = np.array(json.loads((run / "metrics.json").read_text())["test"]["confusion"])
    request = Request([run], str(root / "images" / "test"), tmp_path / "out", maps=Maps(False), window=window)
    assert not predict_files(request).bad
    found = torch.zeros(3, 3, dtype=torch.int64)
    for file in sorted((root / "masks" / "test").iterdir()):
        truth = read_values(file)
        guess = np.array(Image.open(tmp_path / "out" / "masks" / file.name))
        found += confusion_matrix(torch.from_numpy(guess), torch.from_numpy(truth), 3, 255)
    assert np.array_equal(found.numpy(), expected)
    assert np.count_nonzero(expected.sum(axis=0)) > 1, "several classes are predicted, so that equality says something"
