"""The pictures that a training draws of its data and its predictions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from perpixel.data import DataModule
from perpixel.data.base import SplitName
from perpixel.data.formats.display import as_rgb
from perpixel.reporting.pictures import batch_picture, overlay_strip
from perpixel.tracking.files import make_directory, replacing

RGB = npt.NDArray[np.uint8]


class Pictures:
    """Draws training and validation batches of a data module into a run directory."""

    def __init__(self, data: DataModule, run: Path) -> None:
        self.data = data
        self.run = run
        self._deep: dict[SplitName, bool] = {}

    def first_batch(self, batch: Mapping[str, Any], path: Path) -> None:
        """The augmented samples of a training batch, with their masks."""
        images = np.stack([self._image(image, "train") for image in batch["image"]])
        sheet = batch_picture(images, batch["mask"].cpu().numpy(), self.data.source.labels, batch["name"])
        save_png(path, sheet)

    def overlay(self, batch: Mapping[str, Any], index: int, prediction: torch.Tensor) -> None:
        """Input, truth, prediction and errors of one validation sample."""
        strip = overlay_strip(
            self._image(batch["image"][index], "val"),
            batch["mask"][index].cpu().numpy(),
            prediction.cpu().numpy(),
            self.data.source.labels,
        )
        save_png(self.run / "overlays" / f"{batch['name'][index]}.png", strip)

    def _image(self, normalised: torch.Tensor, split: SplitName) -> RGB:
        """(C, H, W) as the network sees it → (H, W, 3) uint8."""
        pixels = normalised.float().cpu().permute(1, 2, 0).numpy() * self.data.normalise.std + self.data.normalise.mean
        return as_rgb(pixels if self._is_deep(split) else np.rint(pixels.clip(0, 1) * 255).astype(np.uint8))

    def _is_deep(self, split: SplitName) -> bool:
        """Whether a split's images, which have one depth, have more than 8 bits: they are stretched to be seen."""
        if split not in self._deep:
            first = self.data.source.split(split).read(0, np.random.default_rng(0))
            self._deep[split] = first.image.dtype != np.uint8
        return self._deep[split]


def save_png(path: Path, picture: RGB) -> None:
    """Write (H, W, 3) uint8 RGB; its folder is made where it is missing."""
    make_directory(path.parent)
    with replacing(path) as file:
        Image.fromarray(picture).save(file, format="PNG")
