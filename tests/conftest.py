"""Fixtures shared by all tests: a tiny data set on disk, and the overrides of a training that takes a second."""

from __future__ import annotations

import os
from pathlib import Path

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

import numpy as np
import pytest
import torch
from PIL import Image

from tests.commands import Shell, WarmShell

torch.set_num_threads(1)  # tests run side by side

CLASSES = ("ground", "square", "disc")


def paint(rng: np.random.Generator, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """An image whose classes have colours of their own, and its mask."""
    mask = np.zeros(size, np.uint8)
    row, column = rng.integers(2, size[0] - 14), rng.integers(2, size[1] - 14)
    mask[row : row + 12, column : column + 12] = 1
    centre = rng.integers(6, (size[0] - 6, size[1] - 6))
    rows, columns = np.ogrid[: size[0], : size[1]]
    mask[(rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 < 30] = 2
    colours = np.array([(60, 90, 60), (200, 60, 60), (60, 60, 220)])
    image = colours[mask] + rng.normal(0, 10, (*size, 3))
    return image.clip(0, 255).astype(np.uint8), mask


@pytest.fixture(scope="session")
def tiny_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 images of 32×48 pixels with masks of three classes, in the plain folder layout."""
    root = tmp_path_factory.mktemp("tiny")
    rng = np.random.default_rng(0)
    for part in ("images", "masks"):
        (root / part).mkdir()
    for number in range(24):
        image, mask = paint(rng, (32, 48))
        Image.fromarray(image).save(root / "images" / f"{number:02}.png")
        Image.fromarray(mask).save(root / "masks" / f"{number:02}.png")
    return root


def tiny_overrides(root: Path, output: Path) -> list[str]:
    """See ``tiny``."""
    return [
        "data=folder",
        f"data.source.root={root}",
        f"data.source.classes=[{','.join(CLASSES)}]",
        "data.size=[32,32]",
        "data.batch_size=4",
        "data.num_workers=0",
        "model=starter_unet",
        "model.width=4",
        "model.convs_per_block=1",
        "trainer.max_epochs=1",
        "trainer.accelerator=cpu",
        "trainer.enable_progress_bar=false",
        "training.overlays=1",
        f"output={output / 'runs'}",
    ]


@pytest.fixture
def tiny(tiny_root: Path, tmp_path: Path) -> list[str]:
    """Overrides of a training on ``tiny_root`` that takes about a second; runs go to ``tmp_path/runs``."""
    return tiny_overrides(tiny_root, tmp_path)


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


@pytest.fixture
def warm_shell(tmp_path: Path) -> WarmShell:
    return WarmShell(tmp_path)
