"""What a model says about one image."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from torch import Tensor

from perpixel.data.formats.display import as_rgb
from perpixel.labels import LabelSpace
from perpixel.metrics.predictions import argmax
from perpixel.tracking.files import replacing

Array = npt.NDArray[Any]
SMALL = 256
"""Most class indices that fit into uint8, and into the palette of a PNG."""


@dataclass(frozen=True, eq=False)
class Prediction:
    """Labels and probabilities of one image, or of a band of its rows.

    Attributes:
        image: (H, W, C) as it was read, upright, in its stored dtype.
        logits: (K, H, W) on any device; their softmax over the classes are the probabilities.
        labels: names and colours of the K classes.
        ends: values of a deep image that pictures show as black and white; None takes them from ``image``.
    """

    image: Array
    logits: Tensor
    labels: LabelSpace
    ends: tuple[float, float] | None = None

    @cached_property
    def mask(self) -> npt.NDArray[np.unsignedinteger[Any]]:
        """(H, W) class indices, the most probable class: uint8, or uint16 with more than 256 classes."""
        dtype = np.uint8 if len(self.classes) <= SMALL else np.uint16
        return argmax(self.logits[None])[0].cpu().numpy().astype(dtype, copy=False)

    @cached_property
    def probabilities(self) -> npt.NDArray[np.float32]:
        """(K, H, W) float32; they sum to 1 over the classes."""
        return np.asarray(self.logits.float().softmax(dim=0).cpu().numpy())

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, in the order of their indices."""
        return self.labels.names

    @property
    def palette(self) -> tuple[tuple[int, int, int], ...]:
        """An (R, G, B) triple in 0…255 per class."""
        return self.labels.palette

    @cached_property
    def confidence(self) -> npt.NDArray[np.float32]:
        """(H, W) float32: the probability of the predicted class."""
        return np.asarray(self.probabilities.max(axis=0))

    @cached_property
    def entropy(self) -> npt.NDArray[np.float32]:
        """(H, W) float32 in 0…1: −Σ p·ln p / ln K, 0 where the model is certain and 1 where all classes are equal."""
        logs = np.log(self.probabilities, where=self.probabilities > 0, out=np.zeros_like(self.probabilities))
        return np.asarray(-(self.probabilities * logs).sum(axis=0) / np.log(max(len(self.classes), 2)), np.float32)

    def overlay(self, opacity: float = 0.5) -> npt.NDArray[np.uint8]:
        """(H, W, 3) uint8: the image under the classes' colours.

        Args:
            opacity: of the colours, 0…1.

        Raises:
            ValueError: the opacity is out of its range.
        """
        if not 0 <= opacity <= 1:
            raise ValueError(f"opacity={opacity}: give a number from 0 (image only) to 1 (colours only).")
        colours = self.labels.colour(self.mask).astype(np.float32)
        return np.rint((1 - opacity) * as_rgb(self.image, self.ends) + opacity * colours).astype(np.uint8)

    def save(self, path: Path | str) -> None:
        """Write the mask as a PNG in the image's size: indices with the classes' palette; 16-bit grey past 256 classes.

        The file is complete or absent, whenever it is read.

        Raises:
            ValueError: the path does not end in .png.
            OSError: with the file's name.
        """
        path = Path(path)
        if path.suffix.lower() != ".png":
            raise ValueError(f"'{path}': masks are saved as PNG, without loss; give a path that ends in .png.")
        with replacing(path) as file:
            mask_picture(self.mask, self.labels).save(file, format="PNG")

    def _repr_png_(self) -> bytes:
        """What a notebook shows: the overlay."""
        buffer = BytesIO()
        Image.fromarray(self.overlay()).save(buffer, format="PNG")
        return buffer.getvalue()


def mask_picture(mask: npt.NDArray[np.unsignedinteger[Any]], labels: LabelSpace) -> Image.Image:
    """A mask as a picture: (H, W) uint8 with the classes' palette (white outside the classes), uint16 as grey."""
    if mask.dtype != np.uint8:
        return Image.fromarray(mask.astype(np.uint16))
    colours = labels.colour(np.arange(SMALL))
    picture = Image.fromarray(mask)
    picture.putpalette(colours.tobytes())
    return picture
