"""A trained model in use: images of any size and format in, labels and probabilities out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from perpixel.bundle.prediction import Prediction
from perpixel.data.formats.decode import read_image, read_picture
from perpixel.data.formats.values import WrongChannels, as_hwc, with_channels
from perpixel.inference.backend import Backend
from perpixel.inference.images import to_unit_range
from perpixel.spec import ModelSpec

Array = npt.NDArray[Any]
Picture = str | Path | Image.Image | Array


class Predictor:
    """Runs a trained model on images. :func:`perpixel.load` makes one from a run directory or a bundle.

    Args:
        backend: runs the network.
        spec: what the model takes and what its classes are.
    """

    def __init__(self, backend: Backend, spec: ModelSpec) -> None:
        self.backend = backend
        self.spec = spec

    def predict(self, image: Picture) -> Prediction:
        """Label every pixel of one image.

        Args:
            image: a file (PNG, JPEG, WebP, TIFF, BMP, NumPy), a PIL image, or an array (H, W) or (H, W, C) of uint8,
                uint16, int16, float32 or float64. Files and PIL images are turned upright as their EXIF says, and
                their colours are RGB.

        Raises:
            ValueError: the image is damaged, or has other channels or another depth than the model was trained on.
        """
        pixels = self._read(image)
        logits = self.logits(torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))[None])
        return Prediction(pixels, logits[0].float().softmax(dim=0).cpu().numpy(), self.spec.labels)

    def logits(self, images: Tensor) -> Tensor:
        """(B, C, H, W) images in a stored depth (uint8, uint16, float32) → (B, K, H, W) logits, on its device."""
        return self.backend(to_unit_range(images))

    def _read(self, image: Picture) -> Array:
        """(H, W, C) as the model takes it."""
        where = Path(image) if isinstance(image, str | Path) else Path("the given image")
        try:
            return self._in_depth(_pixels(image, self.spec.in_channels, where), where)
        except WrongChannels as error:
            raise ValueError(
                f"'{where}' has {error.channels} channels, but the model was trained on images of "
                f"{self.spec.in_channels}: give it the same bands in the same order."
            ) from None

    def _in_depth(self, pixels: Array, where: Path) -> Array:
        trained = self.spec.image_dtype
        if pixels.dtype.name == trained:
            return pixels
        raise ValueError(
            f"'{where}' holds {pixels.dtype.name} values, but the model was trained on {trained} images, whose values "
            f"mean something else. Convert the image to {trained} as the training images were."
        )


def _pixels(image: Picture, channels: int, where: Path) -> Array:
    if isinstance(image, str | Path):
        return read_image(where, channels)
    if isinstance(image, Image.Image):
        return read_picture(image, channels, where)
    array = np.asarray(image)
    if array.ndim not in (2, 3) or 0 in array.shape:
        raise ValueError(f"the given array has shape {array.shape}: give (H, W) or (H, W, C), with pixels in it.")
    return with_channels(as_hwc(array, where), channels, where)
