"""A made-up data set in Cityscapes' size: pictures with structure at all scales, masks of regions with ragged borders.

Files are as large as real ones: about 530 KB a JPEG (quality 90), 55 KB a mask.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

HEIGHT, WIDTH = 1024, 2048
CROP = (512, 512)
BATCH = 8
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CLASSES = [f"class{index}" for index in range(19)]
DISTINCT = 16
"""Files beyond so many are copies, to keep the preparation short."""


def write(root: Path, count: int) -> None:
    """``images`` and ``masks``, with ``count`` pairs in ``train`` and one in ``val``."""
    for kind in ("images", "masks"):
        for split in ("train", "val"):
            (root / kind / split).mkdir(parents=True)
    for index in range(count + 1):
        split = "val" if index == count else "train"
        image, mask = (
            root / kind / split / f"{index:04}{end}" for kind, end in (("images", ".jpg"), ("masks", ".png"))
        )
        if index < DISTINCT:
            pixels, labels = scene(index)
            Image.fromarray(pixels).save(image, quality=90)
            Image.fromarray(labels).save(mask)
            continue
        for path in (image, mask):
            original = root / path.relative_to(root).parts[0] / "train" / f"{index % DISTINCT:04}{path.suffix}"
            path.write_bytes(original.read_bytes())


def scene(seed: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """(1024, 2048, 3) colours and (1024, 2048) classes."""
    rng = np.random.default_rng(seed)
    fields = _noise(rng, ((4, 1.0), (16, 0.6), (64, 0.25)), len(CLASSES), HEIGHT // 2)
    labels = cv2.resize(fields.argmax(2).astype(np.uint8), (WIDTH, HEIGHT), interpolation=cv2.INTER_NEAREST)
    colours = rng.integers(40, 216, (len(CLASSES), 3)).astype(np.float32)
    texture = _noise(rng, ((8, 30.0), (32, 16.0), (128, 12.0), (512, 7.0)), 3, HEIGHT)
    pixels = np.clip(colours[labels] + texture, 0, 255).astype(np.uint8)
    return np.asarray(cv2.GaussianBlur(pixels, (0, 0), 0.7), np.uint8), np.asarray(labels, np.uint8)


def _noise(rng: np.random.Generator, scales: tuple[tuple[int, float], ...], channels: int, height: int) -> npt.NDArray:
    rough = [(rng.standard_normal((rows, 2 * rows, channels)).astype(np.float32), size) for rows, size in scales]
    return sum(cv2.resize(grid, (2 * height, height), interpolation=cv2.INTER_CUBIC) * size for grid, size in rough)
